//! Small programs through the run loop: what interrupts, traps and shadows do between instructions.

use super::*;
use crate::state::{Activity, LazyFlags};
use crate::testing::{self as t, CODE, STACK0, USER_STACK, sel};
use crate::vcpu::{Cpu, Exit};
use undercroft_decode::{Reg, Seg};
use undercroft_spec::x86::control::rflags as f;
use undercroft_spec::x86::vector;

const HANDLER: u64 = 0x9000;

fn program(cpu: &Cpu, at: u64, bytes: &[u8]) {
    assert!(cpu.ram.write(at, bytes));
}
/// In 64-bit mode with this program, whose handler of `vector` halts.
fn long_with_halting_handler(cpl: u8, vector: u8, bytes: &[u8]) -> Cpu {
    let cpu = t::long(cpl);
    t::gate64(&cpu, vector, sel::CODE64, HANDLER, 0xee, 0);
    program(&cpu, HANDLER, &[0xf4]);
    program(&cpu, CODE, bytes);
    cpu
}
/// RIP in the frame on top of the stack, after the handler halted.
fn saved_rip(cpu: &mut Cpu) -> u64 {
    assert_eq!(cpu.run(1000), Exit::Idle { next: None });
    assert_eq!((cpu.s.rip, cpu.s.activity), (HANDLER + 1, Activity::Halted));
    cpu.ram.load(cpu.s.regs[Reg::Rsp as usize], 8).expect("RAM")
}
#[test]
fn sti_lets_one_more_instruction_run_before_the_interrupt() {
    let (mut cpu, log) = t::long_with_log(0);
    // Without its local APIC the processor listens to the 8259 pair.
    cpu.apics[0].write_apic_base(0xfee0_0100).expect("off");
    t::gate64(&cpu, 0x30, sel::CODE64, HANDLER, 0x8e, 0);
    program(&cpu, HANDLER, &[0xf4]);
    // NOP; STI; NOP; NOP
    program(&cpu, CODE, &[0x90, 0xfb, 0x90, 0x90, 0x90]);
    log.borrow_mut().intr = true;
    log.borrow_mut().vector = 0x30;
    assert_eq!(saved_rip(&mut cpu), CODE + 3);
}

#[test]
fn mov_ss_holds_off_nmi_for_one_instruction() {
    // MOV SS, EAX; NOP; NOP
    let mut cpu = long_with_halting_handler(0, vector::NMI, &[0x8e, 0xd0, 0x90, 0x90]);
    cpu.s.regs[0] = sel::DATA.into();
    assert_eq!(cpu.run(1), Exit::Limit);
    assert_eq!(cpu.s.rip, CODE + 2);
    cpu.s.nmi_pending = true;
    assert_eq!(saved_rip(&mut cpu), CODE + 3);
}

#[test]
fn popf_that_sets_tf_traps_after_the_next_instruction() {
    // PUSH 102H; POPFQ; NOP; NOP
    let mut cpu = long_with_halting_handler(0, vector::DB, &[0x68, 2, 1, 0, 0, 0x9d, 0x90, 0x90]);
    assert_eq!(saved_rip(&mut cpu), CODE + 7);
    assert_eq!(cpu.s.dr6 & 0xf00f, dr6::BS);
}

#[test]
fn single_step_over_mov_ss_traps_after_the_following_instruction() {
    let mut cpu = long_with_halting_handler(0, vector::DB, &[0x8e, 0xd0, 0x90, 0x90]);
    cpu.s.regs[0] = sel::DATA.into();
    cpu.s.flags = LazyFlags::new(f::FIXED | f::TF);
    assert_eq!(saved_rip(&mut cpu), CODE + 3);
}

#[test]
fn data_breakpoint_traps_after_the_store() {
    // MOV [6000H], EAX
    let mut cpu = long_with_halting_handler(0, vector::DB, &[0x89, 0x04, 0x25, 0, 0x60, 0, 0, 0x90]);
    cpu.s.dr[3] = 0x6000;
    cpu.s.dr7 = 0x400 | 1 << 6 | 0b1101 << 28;
    cpu.context_forgotten();
    cpu.s.regs[0] = 0x1234;
    assert_eq!(saved_rip(&mut cpu), CODE + 7);
    assert_eq!((cpu.s.dr6 & 15, cpu.ram.load(0x6000, 4)), (8, Some(0x1234)));
}

#[test]
fn instruction_breakpoint_is_passed_once_with_rf() {
    let mut cpu = t::long(0);
    t::gate64(&cpu, vector::DB, sel::CODE64, HANDLER, 0x8e, 0);
    // The handler counts and sets RF in the frame: INC EBX; OR DWORD [RSP+18], 10000H; IRETQ
    program(&cpu, HANDLER, &[0xff, 0xc3, 0x81, 0x4c, 0x24, 0x10, 0, 0, 1, 0, 0x48, 0xcf]);
    // NOP; NOP; HLT
    program(&cpu, CODE, &[0x90, 0x90, 0xf4]);
    cpu.s.regs[3] = 0;
    cpu.s.dr[0] = CODE + 1;
    cpu.s.dr7 = 0x401;
    cpu.context_forgotten();
    assert_eq!(cpu.run(1000), Exit::Idle { next: None });
    assert_eq!((cpu.s.rip, cpu.s.regs[3]), (CODE + 3, 1));
}

#[test]
fn user_program_calls_the_kernel_and_faults_into_it() {
    let mut cpu = t::long(3);
    cpu.s.msr.star = u64::from(sel::CODE64) << 32 | 0x20 << 48;
    cpu.s.msr.lstar = 0xa000;
    // The kernel: INC EBX; SYSRETQ
    program(&cpu, 0xa000, &[0xff, 0xc3, 0x48, 0x0f, 0x07]);
    // SYSCALL; SYSCALL; MOV [80000000H], EAX
    program(&cpu, CODE, &[0x0f, 5, 0x0f, 5, 0xb9, 0, 0, 0, 0x80, 0x89, 1]);
    t::gate64(&cpu, vector::PF, sel::CODE64, HANDLER, 0x8e, 0);
    program(&cpu, HANDLER, &[0xf4]);
    cpu.s.regs[3] = 0;
    assert_eq!(cpu.run(1000), Exit::Idle { next: None });
    assert_eq!((cpu.s.regs[3], cpu.s.cr2, cpu.s.cpl), (2, 0x8000_0000, 0));
    let frame: Vec<u64> = (1..=6).map(|n| cpu.ram.load(STACK0 - 8 * n, 8).expect("RAM")).collect();
    let user = [sel::USER_DATA.into(), USER_STACK, f::FIXED | f::RF, sel::USER_CODE64.into(), CODE + 9, 6];
    assert_eq!(frame, user);
}

#[test]
fn real_mode_interrupt_handler_returns_to_the_program() {
    let mut cpu = t::real();
    assert!(cpu.ram.store(0x10 * 4, 4, 0x0900_0000));
    // INC AX; IRET
    program(&cpu, 0x9000, &[0x40, 0xcf]);
    // INT 10H; INT 10H; HLT
    program(&cpu, CODE, &[0xcd, 0x10, 0xcd, 0x10, 0xf4]);
    cpu.s.regs[0] = 0;
    assert_eq!(cpu.run(1000), Exit::Idle { next: None });
    assert_eq!((cpu.s.rip, cpu.s.regs[0], cpu.s.segment(Seg::Cs).selector), (CODE + 5, 2, 0));
}

#[test]
fn missing_handlers_shut_the_processor_down() {
    let mut cpu = t::long(0);
    // UD2
    program(&cpu, CODE, &[0x0f, 0x0b]);
    assert_eq!(cpu.run(1000), Exit::Shutdown(0));
    assert_eq!(cpu.s.exception_log[0], (vector::UD, 0, CODE));
    // An NMI that is blocked does not end it, and does not make the run endless.
    cpu.s.nmi_pending = true;
    cpu.s.nmi_blocked = true;
    assert!(matches!(cpu.run(1000), Exit::Idle { next: None } | Exit::Shutdown(0)));
}

#[test]
fn far_jump_between_compatibility_and_64_bit_code_changes_decoding() {
    let mut cpu = t::long(0);
    // JMP FAR [6000H] to 32-bit code, which increments by a one-byte INC (a REX prefix in 64-bit code), and jumps back.
    assert!(cpu.ram.store(0x6000, 6, 0x0018_0000_8100));
    program(&cpu, CODE, &[0xff, 0x2c, 0x25, 0, 0x60, 0, 0]);
    program(&cpu, 0x8100, &[0x43, 0xea, 0, 0x82, 0, 0, 8, 0]);
    // INC RBX (REX.W); HLT
    program(&cpu, 0x8200, &[0x48, 0xff, 0xc3, 0xf4]);
    cpu.s.regs[3] = 0xffff_fffe;
    assert_eq!(cpu.run(1000), Exit::Idle { next: None });
    assert_eq!((cpu.s.rip, cpu.s.regs[3]), (0x8204, 0x1_0000_0000));
}

/// RFLAGS in the frame on top of the stack, after the handler halted, with RCX.
fn saved_flags(cpu: &mut Cpu) -> (u64, u64) {
    assert_eq!(cpu.run(1000), Exit::Idle { next: None });
    (cpu.ram.load(cpu.s.regs[Reg::Rsp as usize] + 16, 8).expect("RAM"), cpu.s.regs[1])
}
/// About to execute REP LODSB (which goes one iteration at a time); NOP.
fn at_rep_lodsb(vector: u8, count: u64) -> Cpu {
    let mut cpu = long_with_halting_handler(0, vector, &[0xf3, 0xac, 0x90]);
    (cpu.s.regs[1], cpu.s.regs[6]) = (count, 0x6000);
    cpu
}

#[test]
fn interrupt_between_iterations_saves_rf_set() {
    let mut cpu = at_rep_lodsb(vector::NMI, 3);
    assert_eq!(cpu.run(1), Exit::Limit);
    cpu.s.nmi_pending = true;
    assert_eq!(saved_flags(&mut cpu), (f::FIXED | f::RF, 2));
    let mut cpu = at_rep_lodsb(vector::NMI, 1);
    assert_eq!(cpu.run(1), Exit::Limit);
    cpu.s.nmi_pending = true;
    assert_eq!(saved_flags(&mut cpu), (f::FIXED, 0));
}

#[test]
fn single_step_trap_between_iterations_saves_rf_set() {
    for (count, resume) in [(2, f::RF), (1, 0)] {
        let mut cpu = at_rep_lodsb(vector::DB, count);
        cpu.s.flags = LazyFlags::new(f::FIXED | f::TF);
        assert_eq!(saved_flags(&mut cpu), (f::FIXED | f::TF | resume, count - 1));
    }
}

#[test]
fn instruction_breakpoint_on_repeated_instruction_is_reported_once() {
    let mut cpu = at_rep_lodsb(vector::DB, 3);
    cpu.s.dr[0] = CODE;
    cpu.s.dr7 = 0x401;
    cpu.context_forgotten();
    assert_eq!(saved_flags(&mut cpu), (f::FIXED, 3));
    // IRETQ instead of HLT, with RF set in the frame; then HLT behind the string instruction.
    program(&cpu, HANDLER, &[0x48, 0xcf]);
    program(&cpu, CODE + 2, &[0xf4]);
    let flags = cpu.s.regs[Reg::Rsp as usize] + 16;
    assert!(cpu.ram.store(flags, 8, f::FIXED | f::RF));
    cpu.s.rip = HANDLER;
    cpu.s.activity = Activity::Active;
    cpu.context_forgotten();
    assert_eq!(cpu.run(1000), Exit::Idle { next: None });
    assert_eq!((cpu.s.rip, cpu.s.regs[1]), (CODE + 3, 0));
}

#[test]
fn push_on_16_bit_stack_wraps_at_its_width() {
    let mut cpu = t::protected(0);
    // PUSH EAX; HLT
    program(&cpu, CODE, &[0x50, 0xf4]);
    cpu.s.regs[0] = 0x1234_5678;
    let d = t::descriptor(0x2_0000, 0xffff, 0x0093);
    cpu.s.set_segment(Seg::Ss, crate::state::Segment::from_descriptor(sel::DATA16, d));
    cpu.s.regs[Reg::Rsp as usize] = 0x5678_0000;
    cpu.context_forgotten();
    assert_eq!(cpu.run(1000), Exit::Idle { next: None });
    assert_eq!((cpu.s.rip, cpu.s.regs[Reg::Rsp as usize]), (CODE + 2, 0x5678_fffc));
    assert_eq!(cpu.ram.load(0x2_fffc, 4), Some(0x1234_5678));
}

#[test]
fn invalid_opcode_before_absent_page_is_ud() {
    for (bytes, code) in [(0x06, vector::UD), (0xb8, vector::PF)] {
        let mut cpu = long_with_halting_handler(0, code, &[]);
        // The last byte of the first large page; the second is absent.
        assert!(cpu.ram.store(t::PML4 + 0x2000, 8, 0x87) && cpu.ram.store(t::PML4 + 0x2008, 8, 0));
        program(&cpu, 0x1f_ffff, &[bytes]);
        cpu.s.rip = 0x1f_ffff;
        cpu.context_forgotten();
        assert_eq!(cpu.run(1000), Exit::Idle { next: None });
        assert_eq!(cpu.s.exception_log[0].0, code);
    }
}
