//! Delivery in every mode, seen from the frame.

use super::*;
use crate::state::{Activity, LazyFlags};
use crate::testing::{self as t, IDT, STACK, STACK0, USER_STACK, sel};
use crate::vcpu::Cpu;
use undercroft_decode::{Reg, Seg};
use undercroft_spec::LinearAddr;
use undercroft_spec::x86::control::rflags as f;
use undercroft_spec::x86::vector;

fn frame64(cpu: &Cpu, n: usize) -> Vec<u64> {
    let sp = cpu.s.regs[Reg::Rsp as usize];
    (0..n as u64).map(|k| cpu.ram.load(sp + 8 * k, 8).expect("in RAM")).collect()
}
fn frame32(cpu: &Cpu, n: usize) -> Vec<u64> {
    let sp = cpu.s.regs[Reg::Rsp as usize];
    (0..n as u64).map(|k| cpu.ram.load(sp + 4 * k, 4).expect("in RAM")).collect()
}

#[test]
fn page_fault_in_64_bit_user_mode_switches_stack_and_pushes_error_code() {
    let mut cpu = t::long(3);
    t::gate64(&cpu, vector::PF, sel::CODE64, 0xffff_8000_0000_1234, 0x8e, 0);
    cpu.s.flags = LazyFlags::new(f::FIXED | f::IF | f::TF | f::ZF | f::AC);
    deliver_exception(&mut cpu, Exception::pf(LinearAddr(0xdead_b000), 6), 0);
    assert_eq!(cpu.s.rip, 0xffff_8000_0000_1234);
    assert_eq!((cpu.s.cpl, cpu.s.segment(Seg::Cs).selector, cpu.s.segment(Seg::Ss).selector), (0, sel::CODE64, 0));
    assert_eq!(cpu.s.cr2, 0xdead_b000);
    assert_eq!(cpu.s.regs[Reg::Rsp as usize], STACK0 - 48);
    let flags = f::FIXED | f::IF | f::TF | f::ZF | f::AC | f::RF;
    let expected = [6, t::CODE, u64::from(sel::USER_CODE64), flags, USER_STACK, u64::from(sel::USER_DATA)];
    assert_eq!(frame64(&cpu, 6), expected);
    assert_eq!(cpu.s.rflags(), f::FIXED | f::ZF | f::AC);
    assert_eq!(cpu.s.exception_log, [(vector::PF, 6, t::CODE)]);
}

#[test]
fn interrupt_in_64_bit_kernel_mode_aligns_stack_and_keeps_ss() {
    let mut cpu = t::long(0);
    t::gate64(&cpu, 0x40, sel::CODE64, 0x9000, 0x8f, 0);
    cpu.s.regs[Reg::Rsp as usize] = STACK - 5;
    cpu.s.flags = LazyFlags::new(f::FIXED | f::IF);
    cpu.s.activity = Activity::Halted;
    deliver_interrupt(&mut cpu, 0x40);
    assert_eq!(cpu.s.regs[Reg::Rsp as usize], STACK - 16 - 40);
    assert_eq!(frame64(&cpu, 5), [t::CODE, 8, f::FIXED | f::IF, STACK - 5, u64::from(sel::DATA)]);
    // A trap gate leaves IF.
    assert_eq!(cpu.s.rflags(), f::FIXED | f::IF);
    assert_eq!(cpu.s.segment(Seg::Ss).selector, sel::DATA);
    assert_eq!(cpu.s.activity, Activity::Active);
}

#[test]
fn nmi_through_ist_uses_its_stack_and_blocks_nmis() {
    let mut cpu = t::long(0);
    t::gate64(&cpu, vector::NMI, sel::CODE64, 0x9000, 0x8e, 1);
    deliver_nmi(&mut cpu);
    assert_eq!(cpu.s.regs[Reg::Rsp as usize], 0x5_0000 - 40);
    assert!(cpu.s.nmi_blocked);
    cpu.s.nmi_pending = true;
    assert_eq!(pending(&cpu), None);
}

#[test]
fn software_interrupt_through_gate_of_inner_level_is_gp_with_idt_bit() {
    let mut cpu = t::long(3);
    t::gate64(&cpu, 0x80, sel::CODE64, 0x9000, 0x8e, 0);
    t::gate64(&cpu, vector::GP, sel::CODE64, 0xa000, 0x8e, 0);
    deliver_exception(&mut cpu, Exception::software(0x80), t::CODE + 2);
    assert_eq!(cpu.s.rip, 0xa000);
    // No EXT: the event was the program's.
    assert_eq!(frame64(&cpu, 2), [0x80 * 8 + 2, t::CODE]);
}

#[test]
fn external_interrupt_without_gate_is_gp_with_ext_bit() {
    let mut cpu = t::long(3);
    t::gate64(&cpu, vector::GP, sel::CODE64, 0xa000, 0x8e, 0);
    deliver_interrupt(&mut cpu, 0x81);
    assert_eq!(frame64(&cpu, 1), [0x81 * 8 + 3]);
}

#[test]
fn fault_during_fault_is_double_fault_and_then_shutdown() {
    let mut cpu = t::long(0);
    t::gate64(&cpu, vector::DF, sel::CODE64, 0xb000, 0x8e, 0);
    // #GP is contributory, its gate is missing: #GP again.
    deliver_exception(&mut cpu, Exception::gp(0), 0);
    assert_eq!(cpu.s.rip, 0xb000);
    assert_eq!(frame64(&cpu, 2), [0, t::CODE]);
    let mut cpu = t::long(0);
    deliver_exception(&mut cpu, Exception::gp(0), 0);
    assert_eq!(cpu.s.activity, Activity::Shutdown);
    assert_eq!(cpu.s.rip, t::CODE);
    let vectors: Vec<u8> = cpu.s.exception_log.iter().map(|e| e.0).collect();
    assert_eq!(vectors, [vector::GP, vector::GP, vector::DF, vector::GP]);
}

#[test]
fn benign_exception_with_faulting_delivery_delivers_the_second_alone() {
    let mut cpu = t::long(0);
    t::gate64(&cpu, vector::NP, sel::CODE64, 0xb000, 0x8e, 0);
    t::gate64(&cpu, vector::UD, sel::CODE64, 0xb000, 0x0e, 0);
    deliver_exception(&mut cpu, Exception::ud(), 0);
    assert_eq!(cpu.s.rip, 0xb000);
    assert_eq!(frame64(&cpu, 2), [u64::from(vector::UD) * 8 + 3, t::CODE]);
}

#[test]
fn stack_fault_on_unmapped_kernel_stack_reports_first_pushed_value() {
    let mut cpu = t::long(3);
    t::gate64(&cpu, vector::GP, sel::CODE64, 0xa000, 0x8e, 0);
    t::gate64(&cpu, vector::DF, sel::CODE64, 0xb000, 0x8e, 1);
    // RSP0 in the middle of nowhere.
    assert!(cpu.ram.store(t::TSS + 4, 8, 0x8000_0000));
    deliver_exception(&mut cpu, Exception::gp(0), 0);
    // #GP then #PF is serial (contributory, then page fault); #PF has no gate: #GP during #PF makes the double fault.
    assert_eq!(cpu.s.cr2, 0x8000_0000 - 8);
    assert_eq!(cpu.s.rip, 0xb000);
}

#[test]
fn interrupt_in_32_bit_user_mode_switches_stack() {
    let mut cpu = t::protected(3);
    t::gate32(&cpu, vector::GP, sel::CODE32, 0x12_3456, 0x8e);
    cpu.s.flags = LazyFlags::new(f::FIXED | f::IF | f::NT);
    deliver_exception(&mut cpu, Exception::gp(0x18), 0);
    assert_eq!((cpu.s.rip, cpu.s.cpl), (0x12_3456, 0));
    assert_eq!(cpu.s.segment(Seg::Ss).selector, sel::DATA);
    let flags = f::FIXED | f::IF | f::NT | f::RF;
    let expected = [0x18, t::CODE, u64::from(sel::USER_CODE32), flags, USER_STACK, u64::from(sel::USER_DATA)];
    assert_eq!(frame32(&cpu, 6), expected);
    assert_eq!(cpu.s.rflags(), f::FIXED);
}

#[test]
fn interrupt_through_16_bit_gate_pushes_16_bit_frame() {
    let mut cpu = t::protected(0);
    t::gate32(&cpu, 0x20, sel::CODE32, 0xffff_9000, 0x86);
    deliver_interrupt(&mut cpu, 0x20);
    assert_eq!(cpu.s.rip, 0x9000);
    assert_eq!(cpu.s.regs[Reg::Rsp as usize], STACK - 6);
    assert_eq!(cpu.ram.load(STACK - 6, 2), Some(t::CODE));
}

#[test]
fn inner_stack_with_wrong_level_is_invalid_tss() {
    let mut cpu = t::protected(3);
    t::gate32(&cpu, 0x20, sel::CODE32, 0x9000, 0x8e);
    assert!(cpu.ram.store(t::TSS + 8, 2, u64::from(sel::USER_DATA)));
    let event = Event::interrupt(0x20, Kind::External, cpu.s.rip);
    let before = cpu.s.clone();
    let done = gate::deliver(&mut cpu, &event);
    assert_eq!(done, Err(Exception::ts(u32::from(sel::USER_DATA & !3))));
    assert_eq!(cpu.s, before);
}

#[test]
fn interrupt_from_v8086_pushes_data_segments_and_clears_them() {
    let mut cpu = t::protected(3);
    t::gate32(&cpu, vector::GP, sel::CODE32, 0x9000, 0x8e);
    cpu.s.flags = LazyFlags::new(f::FIXED | f::VM | f::IF);
    for (n, seg) in Seg::ALL.into_iter().enumerate() {
        cpu.s.set_segment(seg, crate::state::Segment { rights: 0xf3, ..crate::state::Segment::real_mode(n as u16) });
    }
    cpu.s.regs[Reg::Rsp as usize] = 0x1000;
    deliver_exception(&mut cpu, Exception::gp(0), 0);
    assert_eq!(frame32(&cpu, 10), [0, t::CODE, 1, f::FIXED | f::VM | f::IF | f::RF, 0x1000, 2, 0, 3, 4, 5]);
    assert!(!cpu.s.is_v8086());
    for seg in [Seg::Es, Seg::Ds, Seg::Fs, Seg::Gs] {
        assert!(cpu.s.segment(seg).is_unusable());
    }
}

#[test]
fn interrupt_in_real_mode_goes_through_the_vector_table() {
    let mut cpu = t::real();
    assert!(cpu.ram.store(0x20 * 4, 4, 0x0123_4567));
    cpu.s.flags = LazyFlags::new(f::FIXED | f::IF | f::TF | f::CF);
    deliver_interrupt(&mut cpu, 0x20);
    assert_eq!((cpu.s.rip, cpu.s.segment(Seg::Cs).base), (0x4567, 0x1230));
    assert_eq!(cpu.ram.load(0x7000 - 6, 4), Some(t::CODE));
    assert_eq!(cpu.ram.load(0x7000 - 2, 2), Some(f::FIXED | f::IF | f::TF | f::CF));
    assert_eq!(cpu.s.rflags(), f::FIXED | f::CF);
}

#[test]
fn vector_beyond_idt_limit_in_real_mode_shuts_down() {
    let mut cpu = t::real();
    cpu.s.idtr.limit = 0;
    deliver_exception(&mut cpu, Exception::ud(), 0);
    assert_eq!(cpu.s.activity, Activity::Shutdown);
}

#[test]
fn debug_trap_writes_dr6_and_clears_general_detect() {
    let mut cpu = t::long(0);
    t::gate64(&cpu, vector::DB, sel::CODE64, 0x9000, 0x8e, 0);
    cpu.s.dr7 |= 1 << 13;
    cpu.s.dr6 = 0xffff_0ff3;
    cpu.s.pending_debug = 1 << 14 | 4;
    let event = pending(&cpu).expect("a trap");
    assert_eq!(event, Pending::DebugTrap(1 << 14 | 4));
    assert_eq!(take(&mut cpu, event), None);
    assert_eq!(cpu.s.dr6, 0xffff_0ff4 | 1 << 14);
    assert_eq!(cpu.s.dr7 & 1 << 13, 0);
    assert_eq!(cpu.s.pending_debug, 0);
}

#[test]
fn pending_events_follow_the_order_of_priority() {
    let (mut cpu, log) = t::real_with_log();
    // Without its local APIC the processor listens to the 8259 pair.
    cpu.apics[0].write_apic_base(0xfee0_0100).expect("disabled");
    log.borrow_mut().intr = true;
    cpu.listen_to_bus();
    log.borrow_mut().vector = 0x21;
    assert_eq!(pending(&cpu), None);
    cpu.s.flags = LazyFlags::new(f::FIXED | f::IF);
    assert_eq!(pending(&cpu), Some(Pending::Interrupt));
    cpu.s.sti_shadow = true;
    assert_eq!(pending(&cpu), None);
    cpu.s.nmi_pending = true;
    assert_eq!(pending(&cpu), Some(Pending::Nmi));
    cpu.s.mov_ss_shadow = true;
    assert_eq!(pending(&cpu), None);
    cpu.s.mov_ss_shadow = false;
    cpu.s.pending_debug = 1;
    assert_eq!(pending(&cpu), Some(Pending::DebugTrap(1)));
    cpu.s.init_pending = true;
    assert_eq!(pending(&cpu), Some(Pending::Init));
    cpu.s.activity = Activity::WaitForSipi;
    assert_eq!(pending(&cpu), None);
    cpu.s.sipi_pending = Some(9);
    assert_eq!(pending(&cpu), Some(Pending::Startup(9)));
    cpu.s.activity = Activity::Active;
    cpu.s.init_pending = false;
    cpu.s.pending_debug = 0;
    cpu.s.nmi_pending = false;
    cpu.s.sti_shadow = false;
    assert!(cpu.ram.store(0x21 * 4, 4, 0x9000));
    assert_eq!(take(&mut cpu, Pending::Interrupt), None);
    assert_eq!(cpu.s.rip, 0x9000);
}

#[test]
fn instruction_breakpoint_matches_unless_rf_is_set() {
    let mut cpu = t::long(0);
    cpu.s.dr[2] = t::CODE;
    cpu.s.dr7 = 0x400 | 1 << 4;
    assert_eq!(pending(&cpu), Some(Pending::InstructionBreakpoint(4)));
    cpu.s.flags.set_other(f::RF, f::RF);
    assert_eq!(pending(&cpu), None);
}

#[test]
fn data_breakpoint_matches_overlapping_accesses_of_its_kind() {
    let mut cpu = t::long(0);
    cpu.s.dr[1] = 0x5003;
    // DR1: writes, 4 bytes (the address's low bits do not count).
    cpu.s.dr7 = 0x400 | 1 << 2 | 0b1101 << 20;
    let matches = |addr: u64, len, write| data_breakpoints(&cpu.s, LinearAddr(addr), len, write);
    assert_eq!(matches(0x4fff, 1, true), 0);
    assert_eq!(matches(0x4fff, 2, true), 2);
    assert_eq!(matches(0x5003, 8, true), 2);
    assert_eq!(matches(0x5004, 8, true), 0);
    assert_eq!(matches(0x5000, 4, false), 0);
    assert_eq!(matches(u64::MAX - 1, 8, true), 0);
}

#[test]
fn idt_far_away_raises_page_fault_without_ext() {
    let mut cpu = t::long(0);
    cpu.s.idtr.base = 0x7fff_0000_0000;
    let event = Event::interrupt(0x30, Kind::External, cpu.s.rip);
    let e = gate_long::deliver(&mut cpu, &event).expect_err("no IDT");
    assert_eq!((e.vector, e.error_code), (vector::PF, Some(0)));
    assert_ne!(cpu.s.idtr.base, IDT);
}
