//! Task switches, by every instruction that makes them and through the IDT.

use crate::events::{Exception, Flow, Pending, deliver_exception, deliver_interrupt, pending};
use crate::state::LazyFlags;
use crate::testing::{self as t, IDT, TSS, descriptor, execute, sel};
use crate::vcpu::Cpu;
use undercroft_decode::{Reg, Seg};
use undercroft_spec::x86::control::{cr0, rflags as f};
use undercroft_spec::x86::vector;

/// Selector and address of the second task's TSS.
const OTHER: u16 = sel::FREE;
const OTHER_TSS: u64 = 0x6000;
const OTHER_STACK: u64 = 0x1_a000;

fn descriptor_type(cpu: &Cpu, selector: u16) -> u64 {
    cpu.ram.load(t::GDT + u64::from(selector) + 5, 1).expect("RAM") & 15
}

/// A processor at this level in the first task (whose descriptor is busy), and a second task that is ready in ring 0 at 9000H.
fn two_tasks(cpl: u8) -> Cpu {
    let cpu = t::protected(cpl);
    let put = |selector: u16, raw: u64| assert!(cpu.ram.store(t::GDT + u64::from(selector), 8, raw));
    put(sel::TSS, descriptor(TSS, 0x2fff, 0x8b));
    put(OTHER, descriptor(OTHER_TSS, 0x67, 0xe9));
    let field = |at: u64, value: u64| assert!(cpu.ram.store(OTHER_TSS + at, 4, value));
    field(32, 0x9000);
    field(36, f::FIXED | f::ZF);
    for n in 0..8 {
        field(40 + 4 * n, if n == 4 { OTHER_STACK } else { 0x100 + n });
    }
    for (n, selector) in [sel::DATA, sel::CODE32, sel::DATA, sel::DATA, 0, 0].into_iter().enumerate() {
        field(72 + 4 * n as u64, selector.into());
    }
    cpu
}
/// CALL FAR and JMP FAR to the second task.
const CALL: [u8; 7] = [0x9a, 0, 0, 0, 0, OTHER as u8, 0];
const JMP: [u8; 7] = [0xea, 0, 0, 0, 0, OTHER as u8, 0];

#[test]
fn call_to_task_saves_the_old_one_and_iret_returns_to_it() {
    let mut cpu = two_tasks(0);
    cpu.s.regs[0] = 0xaaaa;
    cpu.s.dr7 = 0x4ff;
    let sp = cpu.s.regs[Reg::Rsp as usize];
    cpu.s.flags = LazyFlags::new(f::FIXED | f::CF);
    assert_eq!(execute(&mut cpu, &CALL), Ok(Flow::Jump));
    assert_eq!((cpu.s.rip, cpu.s.cpl, cpu.s.rflags()), (0x9000, 0, f::FIXED | f::ZF | f::NT));
    assert_eq!((cpu.s.regs[0], cpu.s.regs[Reg::Rsp as usize]), (0x100, OTHER_STACK));
    assert_eq!((cpu.s.tr.selector, cpu.s.tr.base, cpu.s.tr.kind()), (OTHER, OTHER_TSS, 11));
    assert!(cpu.s.segment(Seg::Fs).is_unusable());
    assert_ne!(cpu.s.cr0 & cr0::TS, 0);
    assert_eq!(cpu.s.dr7, 0x4aa);
    assert_eq!((descriptor_type(&cpu, sel::TSS), descriptor_type(&cpu, OTHER)), (11, 11));
    assert_eq!(cpu.ram.load(OTHER_TSS, 2), Some(sel::TSS.into()));
    assert_eq!(cpu.ram.load(TSS + 32, 4), Some(t::CODE + 7));
    assert_eq!(cpu.ram.load(TSS + 36, 4), Some(f::FIXED | f::CF));
    assert_eq!(cpu.ram.load(TSS + 40, 4), Some(0xaaaa));
    // And back.
    assert_eq!(execute(&mut cpu, &[0xcf]), Ok(Flow::Jump));
    assert_eq!((cpu.s.rip, cpu.s.rflags()), (t::CODE + 7, f::FIXED | f::CF));
    assert_eq!((cpu.s.regs[0], cpu.s.regs[Reg::Rsp as usize], cpu.s.tr.selector), (0xaaaa, sp, sel::TSS));
    assert_eq!((descriptor_type(&cpu, sel::TSS), descriptor_type(&cpu, OTHER)), (11, 9));
    // NT is not in the saved image of the task that ended.
    assert_eq!(cpu.ram.load(OTHER_TSS + 36, 4), Some(f::FIXED | f::ZF));
}

#[test]
fn jump_to_task_frees_the_old_one_and_does_not_nest() {
    let mut cpu = two_tasks(3);
    cpu.s.flags = LazyFlags::new(f::FIXED | f::NT);
    assert_eq!(execute(&mut cpu, &JMP), Ok(Flow::Jump));
    assert_eq!((cpu.s.rip, cpu.s.cpl, cpu.s.rflags()), (0x9000, 0, f::FIXED | f::ZF));
    assert_eq!((descriptor_type(&cpu, sel::TSS), descriptor_type(&cpu, OTHER)), (9, 11));
    assert_eq!(cpu.ram.load(TSS + 36, 4), Some(f::FIXED | f::NT));
    assert_eq!(cpu.ram.load(OTHER_TSS, 2), Some(0));
}

#[test]
fn jump_to_busy_or_short_task_faults_in_the_old_task() {
    let mut cpu = two_tasks(0);
    assert!(cpu.ram.store(t::GDT + u64::from(OTHER), 8, descriptor(OTHER_TSS, 0x67, 0xeb)));
    let before = cpu.s.clone();
    assert_eq!(execute(&mut cpu, &JMP), Err(Exception::gp(OTHER.into())));
    assert!(cpu.ram.store(t::GDT + u64::from(OTHER), 8, descriptor(OTHER_TSS, 0x66, 0xe9)));
    assert_eq!(execute(&mut cpu, &JMP), Err(Exception::ts(OTHER.into())));
    assert!(cpu.ram.store(t::GDT + u64::from(OTHER), 8, descriptor(OTHER_TSS, 0x67, 0x69)));
    assert_eq!(execute(&mut cpu, &JMP), Err(Exception::np(OTHER.into())));
    cpu.s.regs[Reg::BlockRip as usize] = 0;
    assert_eq!((cpu.s.rip, cpu.s.tr, cpu.s.regs), (before.rip, before.tr, before.regs));
}

#[test]
fn bad_segments_of_the_new_task_fault_in_its_context() {
    let cases: [(u64, u16, Exception); 6] = [
        (96, 0x1000, Exception::ts(0x1000)),
        (76, sel::DATA, Exception::ts(sel::DATA.into())),
        (76, sel::USER_CODE32 & !3, Exception::ts((sel::USER_CODE32 & !3).into())),
        (80, 0, Exception::ts(0)),
        (80, sel::USER_DATA, Exception::ts((sel::USER_DATA & !3).into())),
        (84, sel::TSS, Exception::ts(sel::TSS.into())),
    ];
    for (offset, selector, expected) in cases {
        let mut cpu = two_tasks(0);
        assert!(cpu.ram.store(OTHER_TSS + offset, 2, selector.into()));
        assert_eq!(execute(&mut cpu, &JMP), Err(expected), "{offset} {selector:x}");
        assert_eq!((cpu.s.rip, cpu.s.tr.selector), (0x9000, OTHER));
        assert_eq!(descriptor_type(&cpu, sel::TSS), 9);
    }
}

#[test]
fn iret_with_nt_and_bad_link_is_invalid_tss() {
    let mut cpu = two_tasks(0);
    cpu.s.flags = LazyFlags::new(f::FIXED | f::NT);
    assert!(cpu.ram.store(TSS, 2, OTHER.into()));
    // Available, not busy.
    assert_eq!(execute(&mut cpu, &[0xcf]), Err(Exception::ts(OTHER.into())));
    assert!(cpu.ram.store(TSS, 2, 4));
    assert_eq!(execute(&mut cpu, &[0xcf]), Err(Exception::ts(4)));
}

#[test]
fn exception_through_task_gate_pushes_error_code_in_the_new_task() {
    let mut cpu = two_tasks(3);
    assert!(cpu.ram.store(IDT + u64::from(vector::GP) * 8, 8, u64::from(OTHER) << 16 | 0x85 << 40));
    deliver_exception(&mut cpu, Exception::gp(0x123), 0);
    assert_eq!((cpu.s.rip, cpu.s.cpl), (0x9000, 0));
    assert_eq!(cpu.s.regs[Reg::Rsp as usize], OTHER_STACK - 4);
    assert_eq!(cpu.ram.load(OTHER_STACK - 4, 4), Some(0x123));
    assert_eq!(cpu.ram.load(TSS + 32, 4), Some(t::CODE));
    assert_eq!(cpu.ram.load(TSS + 36, 4), Some(f::FIXED | f::RF));
    assert_ne!(cpu.s.rflags() & f::NT, 0);
}

#[test]
fn interrupt_through_task_gate_to_busy_task_is_gp_with_ext() {
    let mut cpu = two_tasks(0);
    assert!(cpu.ram.store(IDT + 0x20 * 8, 8, u64::from(sel::TSS) << 16 | 0x85 << 40));
    t::gate32(&cpu, vector::GP, sel::CODE32, 0xa000, 0x8e);
    deliver_interrupt(&mut cpu, 0x20);
    assert_eq!(cpu.s.rip, 0xa000);
    assert_eq!(cpu.ram.load(cpu.s.regs[Reg::Rsp as usize], 4), Some(u64::from(sel::TSS) | 1));
}

#[test]
fn switch_to_task_with_t_flag_leaves_a_debug_trap() {
    let mut cpu = two_tasks(0);
    assert!(cpu.ram.store(OTHER_TSS + 100, 1, 1));
    assert_eq!(execute(&mut cpu, &JMP), Ok(Flow::Jump));
    assert_eq!(pending(&cpu), Some(Pending::DebugTrap(1 << 15)));
}

#[test]
fn switch_to_v8086_task_loads_segments_in_its_style() {
    let mut cpu = two_tasks(0);
    assert!(cpu.ram.store(OTHER_TSS + 36, 4, f::FIXED | f::VM | f::IF));
    assert!(cpu.ram.store(OTHER_TSS + 76, 2, 0x1234) && cpu.ram.store(OTHER_TSS + 84, 2, 0x5678));
    assert_eq!(execute(&mut cpu, &JMP), Ok(Flow::Jump));
    assert!(cpu.s.is_v8086() && cpu.s.cpl == 3);
    assert_eq!((cpu.s.segment(Seg::Cs).base, cpu.s.segment(Seg::Ds).base), (0x1_2340, 0x5_6780));
}

#[test]
fn switch_between_16_bit_and_32_bit_tasks_uses_each_format() {
    let mut cpu = two_tasks(0);
    assert!(cpu.ram.store(t::GDT + u64::from(OTHER), 8, descriptor(OTHER_TSS, 0x2b, 0x81)));
    let field = |cpu: &Cpu, at: u64, value: u64| assert!(cpu.ram.store(OTHER_TSS + at, 2, value));
    field(&cpu, 14, 0x9100);
    field(&cpu, 16, f::FIXED);
    for n in 0..8 {
        field(&cpu, 18 + 2 * n, 0x200 + n);
    }
    for (n, selector) in [sel::DATA16, sel::CODE16, sel::DATA16, sel::DATA16].into_iter().enumerate() {
        field(&cpu, 34 + 2 * n as u64, selector.into());
    }
    field(&cpu, 42, 0);
    assert_eq!(execute(&mut cpu, &CALL), Ok(Flow::Jump));
    assert_eq!((cpu.s.rip, cpu.s.tr.kind(), cpu.s.regs[0] & 0xffff), (0x9100, 3, 0x200));
    assert_eq!((cpu.s.segment(Seg::Cs).selector, cpu.s.segment(Seg::Gs).selector), (sel::CODE16, 0));
    cpu.s.regs[1] = 0x7777;
    // IRETW
    assert_eq!(execute(&mut cpu, &[0xcf]), Ok(Flow::Jump));
    assert_eq!((cpu.s.rip, cpu.s.tr.selector), (t::CODE + 7, sel::TSS));
    assert_eq!(cpu.ram.load(OTHER_TSS + 20, 2), Some(0x7777));
    assert_eq!(cpu.ram.load(OTHER_TSS + 14, 2), Some(0x9101));
}

#[test]
fn task_gate_in_the_gdt_checks_its_own_level_only() {
    let mut cpu = two_tasks(3);
    // The TSS descriptor has DPL 0, the gate DPL 3.
    assert!(cpu.ram.store(t::GDT + u64::from(OTHER), 8, descriptor(OTHER_TSS, 0x67, 0x89)));
    assert_eq!(execute(&mut cpu, &JMP), Err(Exception::gp(OTHER.into())));
    assert!(cpu.ram.store(t::GDT + u64::from(OTHER) + 8, 8, u64::from(OTHER) << 16 | 0xe5 << 40));
    assert_eq!(execute(&mut cpu, &[0xea, 0, 0, 0, 0, OTHER as u8 + 8, 0]), Ok(Flow::Jump));
    assert_eq!(cpu.s.rip, 0x9000);
}
