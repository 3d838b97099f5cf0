//! Stack faults, reporting of exceptions, pointers, environments: what lies around the arithmetic.

use super::environment::full_tag_word;
use crate::events::{Exception, Flow};
use crate::state::Segment;
use crate::testing::{execute, long, protected, real, real_with_log};
use crate::vcpu::Cpu;
use undercroft_decode::{Reg, Seg};
use undercroft_float::F80;
use undercroft_spec::x86::control::{cr0, cr4, rflags};

const NEXT: Result<Flow, Exception> = Ok(Flow::Next);
/// Where memory operands lie; RAX points there.
const AREA: u64 = 0x6_0000;
/// A page that is not present; RBX points there.
const HOLE: u64 = 0x4000_0000;

const FNINIT: &[u8] = &[0xdb, 0xe3];
const FLD1: &[u8] = &[0xd9, 0xe8];
const FLDZ: &[u8] = &[0xd9, 0xee];
const FWAIT: &[u8] = &[0x9b];
const FADDP: &[u8] = &[0xde, 0xc1];
const FSTP_M64: &[u8] = &[0xdd, 0x18];

fn prepared(mut cpu: Cpu) -> Cpu {
    cpu.s.cr0 |= cr0::NE | cr0::MP;
    cpu.s.regs[Reg::Rax as usize] = AREA;
    cpu.s.regs[Reg::Rbx as usize] = HOLE;
    run(&mut cpu, &[FNINIT]);
    cpu
}
fn run(cpu: &mut Cpu, instructions: &[&[u8]]) {
    for bytes in instructions {
        assert_eq!(execute(cpu, bytes), NEXT, "{bytes:x?}");
    }
}
/// Masks only these exceptions.
fn set_masks(cpu: &mut Cpu, masks: u16) {
    assert!(cpu.ram.store(AREA, 2, u64::from(0x340 | masks)));
    run(cpu, &[&[0xd9, 0x28]]);
}
/// Any instruction, those that are no helpers of this folder too.
fn step(cpu: &mut Cpu, bytes: &[u8]) -> Result<Flow, Exception> {
    let insn = undercroft_decode::decode(cpu.s.code_size(), bytes, 0).unwrap_or_else(|e| panic!("{e:?}")).insn;
    crate::interp::step(cpu, &insn)
}
fn status(cpu: &Cpu) -> u16 {
    cpu.s.fpu.status
}
fn top(cpu: &Cpu) -> u16 {
    cpu.s.fpu.status >> 11 & 7
}
fn memory(cpu: &Cpu, at: u64, len: u64) -> u64 {
    cpu.ram.load(AREA + at, len).expect("RAM")
}

#[test]
fn fld_eight_times_fills_stack_and_ninth_overflows_with_c1() {
    let mut cpu = prepared(long(0));
    run(&mut cpu, &[FLD1; 8]);
    assert_eq!((status(&cpu), cpu.s.fpu.tag), (0, 0));
    run(&mut cpu, &[FLDZ]);
    assert_eq!(status(&cpu), 0x3a41);
    assert_eq!(cpu.s.fpu.st(0), F80::INDEFINITE);
}
#[test]
fn fld_overflow_unmasked_leaves_stack_and_sets_es() {
    let mut cpu = prepared(long(0));
    run(&mut cpu, &[FLD1; 8]);
    set_masks(&mut cpu, 0x3e);
    run(&mut cpu, &[FLDZ]);
    assert_eq!(status(&cpu), 0x82c1);
    assert_eq!(cpu.s.fpu.st(7), F80::ONE);
    assert_eq!(execute(&mut cpu, FWAIT), Err(Exception::mf()));
}
#[test]
fn faddp_underflow_masked_gives_indefinite_and_pops() {
    let mut cpu = prepared(long(0));
    run(&mut cpu, &[FLD1, FADDP]);
    assert_eq!(status(&cpu), 0x41);
    assert_eq!(cpu.s.fpu.st(0), F80::INDEFINITE);
    assert_eq!(cpu.s.fpu.tag, 0xfffc);
}
#[test]
fn faddp_underflow_unmasked_leaves_stack() {
    let mut cpu = prepared(long(0));
    set_masks(&mut cpu, 0);
    run(&mut cpu, &[FLD1, FADDP]);
    assert_eq!((status(&cpu), cpu.s.fpu.tag), (0xb8c1, 0x3fff));
    assert_eq!(cpu.s.fpu.st(0), F80::ONE);
}
#[test]
fn fld_sti_empty_source_underflows_even_into_full_register() {
    let mut cpu = prepared(long(0));
    run(&mut cpu, &[FLD1; 8]);
    // FFREE ST(3), FLD ST(3).
    run(&mut cpu, &[&[0xdd, 0xc3], &[0xd9, 0xc3]]);
    assert_eq!(status(&cpu), 0x3841);
    assert_eq!(cpu.s.fpu.st(0), F80::INDEFINITE);
}
#[test]
fn fcmovb_not_taken_with_empty_source_underflows() {
    let mut cpu = prepared(long(0));
    cpu.s.flags.set_arithmetic(0);
    run(&mut cpu, &[FLD1, &[0xda, 0xc3]]);
    assert_eq!((status(&cpu), cpu.s.fpu.st(0)), (0x3841, F80::INDEFINITE));
}
#[test]
fn fcmove_follows_zero_flag() {
    let mut cpu = prepared(long(0));
    run(&mut cpu, &[FLD1, FLDZ]);
    cpu.s.flags.set_arithmetic(0);
    run(&mut cpu, &[&[0xda, 0xc9]]);
    assert_eq!(cpu.s.fpu.st(0), F80::ZERO);
    cpu.s.flags.set_arithmetic(rflags::ZF);
    run(&mut cpu, &[&[0xda, 0xc9]]);
    assert_eq!(cpu.s.fpu.st(0), F80::ONE);
}
#[test]
fn fxch_with_empty_register_exchanges_indefinite() {
    let mut cpu = prepared(long(0));
    run(&mut cpu, &[FLD1, &[0xd9, 0xca]]);
    assert_eq!((status(&cpu), cpu.s.fpu.st(0), cpu.s.fpu.st(2)), (0x3841, F80::INDEFINITE, F80::ONE));
}
#[test]
fn fstpnce_empty_pops_without_exception() {
    let mut cpu = prepared(long(0));
    run(&mut cpu, &[FLD1, FLDZ, &[0xdd, 0xc0], &[0xd9, 0xd9]]);
    assert_eq!((status(&cpu), cpu.s.fpu.tag, cpu.s.fpu.st(0)), (0x3800, 0x3fff, F80::ONE));
}
#[test]
fn ffreep_empties_and_pops() {
    let mut cpu = prepared(long(0));
    run(&mut cpu, &[FLD1, FLDZ, &[0xdf, 0xc1]]);
    assert_eq!((status(&cpu), cpu.s.fpu.tag), (0x3800, 0xffff));
}
#[test]
fn fxtract_full_stack_overflows_and_leaves_two_indefinites() {
    let mut cpu = prepared(long(0));
    run(&mut cpu, &[FLD1; 8]);
    run(&mut cpu, &[&[0xd9, 0xf4]]);
    assert_eq!((status(&cpu), full_tag_word(&cpu.s.fpu)), (0x3a41, 0x8002));
}
#[test]
fn fxam_empty_tells_sign() {
    let mut cpu = prepared(long(0));
    // FLD1, FCHS, FFREE, FXAM.
    run(&mut cpu, &[FLD1, &[0xd9, 0xe0], &[0xdd, 0xc0], &[0xd9, 0xe5]]);
    assert_eq!(status(&cpu), 0x7b00);
}
#[test]
fn fcom_relations_give_condition_codes() {
    let mut cpu = prepared(long(0));
    let fcom: &[u8] = &[0xd8, 0xd1];
    run(&mut cpu, &[FLD1, FLDZ, fcom]);
    assert_eq!(status(&cpu) & 0x4700, 0x100);
    run(&mut cpu, &[&[0xd9, 0xc9], fcom]);
    assert_eq!(status(&cpu) & 0x4700, 0);
    run(&mut cpu, &[FLD1, fcom]);
    assert_eq!(status(&cpu) & 0x4700, 0x4000);
    // FCOMPP with one operand: unordered, and both are popped.
    run(&mut cpu, &[FNINIT, FLD1, &[0xde, 0xd9]]);
    assert_eq!((status(&cpu), cpu.s.fpu.tag), (0x4d41, 0xffff));
}
#[test]
fn fcomi_sets_flags_and_clears_the_others() {
    let mut cpu = prepared(long(0));
    cpu.s.flags.set_arithmetic(rflags::OF | rflags::SF | rflags::AF);
    run(&mut cpu, &[FLD1, FLDZ, &[0xdb, 0xf1]]);
    assert_eq!(cpu.s.rflags() & rflags::ARITHMETIC, rflags::CF);
    run(&mut cpu, &[&[0xdb, 0xf0]]);
    assert_eq!(cpu.s.rflags() & rflags::ARITHMETIC, rflags::ZF);
}
#[test]
fn fcomi_unmasked_invalid_leaves_flags_and_stack() {
    let mut cpu = prepared(long(0));
    run(&mut cpu, &[FLD1]);
    set_masks(&mut cpu, 0x3e);
    cpu.s.flags.set_arithmetic(rflags::SF);
    // FUCOMIP with an empty operand.
    run(&mut cpu, &[&[0xdf, 0xe9]]);
    assert_eq!((status(&cpu), cpu.s.rflags() & rflags::ARITHMETIC), (0xb8c1, rflags::SF));
}
#[test]
fn fcomp_unmasked_denormal_sets_codes_without_pop() {
    let mut cpu = prepared(long(0));
    run(&mut cpu, &[FLD1, FLD1]);
    (cpu.s.fpu.significand[6], cpu.s.fpu.sign_exponent[6]) = (1, 0);
    set_masks(&mut cpu, 0x3d);
    run(&mut cpu, &[&[0xd8, 0xd9]]);
    assert_eq!(status(&cpu), 0xb182);
}
#[test]
fn pending_exception_is_reported_by_waiting_instructions_only() {
    let mut cpu = prepared(long(0));
    set_masks(&mut cpu, 0x3b);
    // 1 / 0.
    run(&mut cpu, &[FLDZ, FLD1, &[0xd8, 0xf1]]);
    assert_eq!((status(&cpu), cpu.s.fpu.st(0)), (0xb084, F80::ONE));
    for waiting in [FWAIT, FLD1, FLDZ, &[0xd9, 0x28], &[0xd9, 0xd0]] {
        assert_eq!(execute(&mut cpu, waiting), Err(Exception::mf()), "{waiting:x?}");
    }
    // FNSTSW AX, FNSTCW, FNCLEX.
    run(&mut cpu, &[&[0xdf, 0xe0], &[0xd9, 0x38], &[0xdb, 0xe2], FWAIT]);
    assert_eq!(cpu.s.regs[Reg::Rax as usize], AREA & !0xffff | 0xb084);
    assert_eq!(status(&cpu), 0x3000);
}
#[test]
fn fldcw_that_unmasks_a_flag_sets_es_and_masking_clears_it() {
    let mut cpu = prepared(long(0));
    run(&mut cpu, &[FLDZ, FLD1, &[0xd8, 0xf1]]);
    assert_eq!(status(&cpu), 0x3004);
    set_masks(&mut cpu, 0x3b);
    assert_eq!(status(&cpu), 0xb084);
    assert_eq!(execute(&mut cpu, FLD1), Err(Exception::mf()));
    // FNSTENV saves ES and masks everything.
    run(&mut cpu, &[&[0xd9, 0x70, 0x40]]);
    assert_eq!((status(&cpu), cpu.s.fpu.control), (0x3004, 0x37f));
    assert_eq!(memory(&cpu, 0x40, 4), 0xffff_037b);
    assert_eq!(memory(&cpu, 0x44, 4), 0xffff_b084);
}
#[test]
fn pending_exception_without_ne_goes_to_the_bus() {
    let (cpu, log) = real_with_log();
    let mut cpu = prepared(cpu);
    cpu.s.cr0 &= !cr0::NE;
    cpu.s.cr4 |= cr4::OSFXSR;
    run(&mut cpu, &[FLDZ, FLD1, &[0xd8, 0xf1]]);
    cpu.s.fpu.control = 0x37b;
    cpu.s.fpu.summarize();
    // PXOR MM0, MM0 waits as x87 instructions do.
    let pxor: &[u8] = &[0x0f, 0xef, 0xc0];
    log.borrow_mut().waits = true;
    for bytes in [FWAIT, FLD1, pxor] {
        let before = cpu.s.fpu.clone();
        assert_eq!(step(&mut cpu, bytes), Ok(Flow::Again));
        assert_eq!(cpu.s.fpu, before);
    }
    assert_eq!(log.borrow().errors, 3);
    // FNSTSW AX does not wait.
    run(&mut cpu, &[&[0xdf, 0xe0]]);
    assert_eq!(log.borrow().errors, 3);
    // IGNNE#: on without regard to the exception.
    log.borrow_mut().waits = false;
    run(&mut cpu, &[FWAIT, FLDZ]);
    assert_eq!((log.borrow().errors, cpu.s.fpu.st(0)), (5, F80::ZERO));
}
#[test]
fn mmx_registers_are_physical_registers_and_their_use_sets_top_and_tags() {
    let mut cpu = prepared(long(0));
    // ST(0) is R6 here.
    run(&mut cpu, &[FLD1, FLD1]);
    assert!(cpu.ram.store(AREA, 8, 0x1122_3344_5566_7788));
    // MOVQ MM6, [RAX].
    assert_eq!(step(&mut cpu, &[0x0f, 0x6f, 0x30]), NEXT);
    assert_eq!((status(&cpu), cpu.s.fpu.tag), (0, 0));
    assert_eq!(cpu.s.fpu.st(6), F80 { significand: 0x1122_3344_5566_7788, sign_exponent: 0xffff });
    assert_eq!(cpu.s.fpu.st(7), F80::ONE);
    // A store reads MM7, which is where the first FLD1 went.
    assert_eq!(step(&mut cpu, &[0x0f, 0x7f, 0x38]), NEXT);
    assert_eq!(memory(&cpu, 0, 8), 1 << 63);
    // FNSTENV shows what the registers hold; EMMS empties all.
    run(&mut cpu, &[&[0xd9, 0x70, 0x20]]);
    assert_eq!(memory(&cpu, 0x28, 2), 0x2555);
    run(&mut cpu, &[&[0xd9, 0xf7]]);
    assert_eq!(step(&mut cpu, &[0x0f, 0x77]), NEXT);
    assert_eq!((status(&cpu), cpu.s.fpu.tag), (0, 0xffff));
}
#[test]
fn mmx_that_faults_leaves_top_and_tags() {
    let mut cpu = prepared(long(0));
    run(&mut cpu, &[FLD1]);
    let before = cpu.s.fpu.clone();
    for bytes in [&[0x0f, 0x6f, 0x03], &[0x0f, 0x7f, 0x03]] {
        assert_eq!(step(&mut cpu, bytes).expect_err("page fault").vector, 14);
        assert_eq!(cpu.s.fpu, before);
    }
    cpu.s.cr0 |= cr0::TS;
    assert_eq!(step(&mut cpu, &[0x0f, 0x77]), Err(Exception::nm()));
    cpu.s.cr0 |= cr0::EM;
    assert_eq!(step(&mut cpu, &[0x0f, 0x77]), Err(Exception::ud()));
}
#[test]
fn mmx_reports_pending_exception_before_its_memory_fault() {
    let mut cpu = prepared(long(0));
    run(&mut cpu, &[FLDZ, FLD1, &[0xd8, 0xf1]]);
    set_masks(&mut cpu, 0x3b);
    assert_eq!(step(&mut cpu, &[0x0f, 0x6f, 0x03]), Err(Exception::mf()));
    assert_eq!(step(&mut cpu, &[0x0f, 0x77]), Err(Exception::mf()));
}
#[test]
fn fxsave_abridged_tag_follows_physical_registers() {
    let mut cpu = prepared(long(0));
    // R7, R6, R5 valid; R6 freed.
    run(&mut cpu, &[FLD1, FLDZ, FLD1, &[0xdd, 0xc1]]);
    assert_eq!(step(&mut cpu, &[0x0f, 0xae, 0x00]), NEXT);
    assert_eq!((memory(&cpu, 4, 1), memory(&cpu, 2, 2)), (0xa0, 0x2800));
    let before = cpu.s.fpu.clone();
    run(&mut cpu, &[FNINIT]);
    assert_eq!(step(&mut cpu, &[0x0f, 0xae, 0x08]), NEXT);
    assert_eq!(full_tag_word(&cpu.s.fpu), full_tag_word(&before));
    assert_eq!((status(&cpu), cpu.s.fpu.st(0)), (0x2800, F80::ONE));
}
#[test]
fn availability_by_ts_em_and_mp() {
    let mut cpu = prepared(long(0));
    for bit in [cr0::TS, cr0::EM] {
        cpu.s.cr0 |= bit;
        for bytes in [FLD1, FNINIT, &[0xdf, 0xe0], &[0xd9, 0x30]] {
            assert_eq!(execute(&mut cpu, bytes), Err(Exception::nm()), "{bytes:x?}");
        }
        cpu.s.cr0 &= !bit;
    }
    cpu.s.cr0 |= cr0::EM;
    run(&mut cpu, &[FWAIT]);
    cpu.s.cr0 = cpu.s.cr0 & !cr0::EM | cr0::TS;
    assert_eq!(execute(&mut cpu, FWAIT), Err(Exception::nm()));
    cpu.s.cr0 &= !cr0::MP;
    run(&mut cpu, &[FWAIT]);
}
#[test]
fn fstp_that_faults_changes_nothing() {
    let mut cpu = prepared(long(0));
    run(&mut cpu, &[FLD1]);
    let before = cpu.s.fpu.clone();
    // FSTP m32, m64, m80, FISTP m32, FBSTP, FNSAVE, FNSTENV; below FSTP of an empty register.
    let stores: [&[u8]; 7] =
        [&[0xd9, 0x1b], &[0xdd, 0x1b], &[0xdb, 0x3b], &[0xdb, 0x1b], &[0xdf, 0x33], &[0xdd, 0x33], &[0xd9, 0x33]];
    for bytes in stores {
        let fault = execute(&mut cpu, bytes).expect_err("page fault");
        assert_eq!((fault.vector, &cpu.s.fpu), (14, &before), "{bytes:x?}");
    }
    run(&mut cpu, &[FNINIT]);
    let before = cpu.s.fpu.clone();
    assert_eq!(execute(&mut cpu, &[0xdd, 0x1b]).expect_err("page fault").vector, 14);
    assert_eq!(cpu.s.fpu, before);
}
#[test]
fn fst_unmasked_overflow_stores_nothing_and_keeps_stack() {
    let mut cpu = prepared(long(0));
    run(&mut cpu, &[FLD1]);
    cpu.s.fpu.sign_exponent[7] = 0x7000;
    set_masks(&mut cpu, 0x37);
    assert!(cpu.ram.store(AREA, 8, 0x55));
    run(&mut cpu, &[FSTP_M64]);
    assert_eq!((memory(&cpu, 0, 8), status(&cpu)), (0x55, 0xb888));
    // It faults as the store would.
    run(&mut cpu, &[&[0xdb, 0xe2]]);
    let before = cpu.s.fpu.clone();
    assert_eq!(execute(&mut cpu, &[0xdd, 0x1b]).expect_err("page fault").vector, 14);
    assert_eq!(cpu.s.fpu, before);
}
#[test]
fn fist_empty_stores_integer_indefinite() {
    let mut cpu = prepared(long(0));
    // FISTP m16, FBSTP.
    run(&mut cpu, &[&[0xdf, 0x18], &[0xdf, 0x70, 0x10]]);
    assert_eq!((memory(&cpu, 0, 4), memory(&cpu, 0x16, 4)), (0x8000, 0xffff_c000));
    assert_eq!(top(&cpu), 2);
}
#[test]
fn loads_and_stores_round_trip() {
    let mut cpu = prepared(long(0));
    assert!(cpu.ram.store(AREA, 8, (-5i64) as u64));
    // FILD m64; FST m64; FSTP m80; FLD m80; FISTTP m32.
    run(&mut cpu, &[&[0xdf, 0x28], &[0xdd, 0x50, 0x10], &[0xdb, 0x78, 0x20], &[0xdb, 0x68, 0x20], &[0xdb, 0x48, 0x30]]);
    assert_eq!(memory(&cpu, 0x10, 8), (-5f64).to_bits());
    assert_eq!((memory(&cpu, 0x20, 8), memory(&cpu, 0x28, 4)), (0xa000_0000_0000_0000, 0xc001));
    assert_eq!(memory(&cpu, 0x30, 4), 0xffff_fffb);
    assert_eq!((status(&cpu), cpu.s.fpu.tag), (0, 0xffff));
}
#[test]
fn constants_follow_rounding_control() {
    let mut cpu = prepared(long(0));
    let pi = |cpu: &mut Cpu, control: u64| {
        assert!(cpu.ram.store(AREA, 2, control));
        run(cpu, &[&[0xd9, 0x28], &[0xd9, 0xeb]]);
        cpu.s.fpu.st(0).significand & 0xff
    };
    let found = [0x37f, 0x77f, 0xb7f, 0xf7f].map(|control| pi(&mut cpu, control));
    assert_eq!(found, [0x35, 0x34, 0x35, 0x34]);
}
#[test]
fn pointers_tell_of_last_computing_instruction() {
    let mut cpu = prepared(long(0));
    let rip = cpu.s.rip;
    run(&mut cpu, &[FLD1, &[0xd8, 0x40, 0x10]]);
    let cs = cpu.s.segment(Seg::Cs).selector;
    let f = &cpu.s.fpu;
    assert_eq!((f.instruction, f.instruction_selector, f.data, f.opcode), (rip, cs, AREA + 0x10, 0));
    cpu.s.rip += 0x100;
    // Control instructions leave them.
    run(&mut cpu, &[&[0xd9, 0x38], &[0xdf, 0xe0]]);
    assert_eq!(cpu.s.fpu.instruction, rip);
}
#[test]
fn opcode_is_kept_of_instructions_with_unmasked_exceptions() {
    let mut cpu = prepared(long(0));
    set_masks(&mut cpu, 0);
    for (at, byte) in [0x67, 0xdc, 0x40, 0x08].iter().enumerate() {
        assert!(cpu.ram.store(cpu.s.rip + at as u64, 1, *byte));
    }
    // FADD m64 on an empty stack, with a prefix that changes nothing.
    run(&mut cpu, &[&[0x67, 0xdc, 0x40, 0x08]]);
    assert_eq!(cpu.s.fpu.opcode, 0x440);
}

/// State with a value in every field, ST(0) being R6.
fn distinct(cpu: &mut Cpu) {
    run(cpu, &[FLD1, FLDZ]);
    let f = &mut cpu.s.fpu;
    f.opcode = 0x5a7;
    (f.instruction, f.instruction_selector) = (0x1234_5678, 0x08);
    (f.data, f.data_selector) = (0x8765_4321, 0x10);
}
#[test]
fn fnstenv_32_bit_protected_format() {
    let mut cpu = prepared(long(0));
    distinct(&mut cpu);
    run(&mut cpu, &[&[0xd9, 0x30]]);
    let words: Vec<u64> = (0..7).map(|n| memory(&cpu, 4 * n, 4)).collect();
    assert_eq!(words, [0xffff_037f, 0xffff_3000, 0xffff_1fff, 0x1234_5678, 0x05a7_0008, 0x8765_4321, 0xffff_0010]);
}
#[test]
fn fnstenv_16_bit_protected_format() {
    let mut cpu = prepared(protected(0));
    distinct(&mut cpu);
    run(&mut cpu, &[&[0x66, 0xd9, 0x30]]);
    let words: Vec<u64> = (0..7).map(|n| memory(&cpu, 2 * n, 2)).collect();
    assert_eq!(words, [0x37f, 0x3000, 0x1fff, 0x5678, 0x08, 0x4321, 0x10]);
}
#[test]
fn fnstenv_real_formats_hold_linear_addresses() {
    let mut cpu = prepared(real());
    cpu.s.set_segment(Seg::Ds, Segment::real_mode(0x6000));
    distinct(&mut cpu);
    let f = &mut cpu.s.fpu;
    (f.instruction, f.instruction_selector) = (0x5678, 0x9abc);
    (f.data, f.data_selector) = (0x4321, 0xf000);
    cpu.s.regs[Reg::Rbx as usize] = 0x40;
    cpu.s.regs[Reg::Rsi as usize] = 0;
    // FNSTENV [SI], with operand sizes 16 and 32; linear 9ABC0H + 5678H, F0000H + 4321H.
    run(&mut cpu, &[&[0xd9, 0x34], &[0x66, 0xd9, 0x37]]);
    let words: Vec<u64> = (0..7).map(|n| memory(&cpu, 2 * n, 2)).collect();
    assert_eq!(words, [0x37f, 0x3000, 0x1fff, 0x0238, 0xa5a7, 0x4321, 0xf000]);
    let words: Vec<u64> = (0..7).map(|n| memory(&cpu, 0x40 + 4 * n, 4)).collect();
    assert_eq!(words, [0xffff_037f, 0xffff_3000, 0xffff_1fff, 0xffff_0238, 0xa5a7, 0xffff_4321, 0xf000]);
    // FLDENV takes them back.
    cpu.s.fpu.opcode = 0;
    run(&mut cpu, &[&[0xd9, 0x24]]);
    assert_eq!((cpu.s.fpu.instruction, cpu.s.fpu.data, cpu.s.fpu.opcode), (0xa_0238, 0xf_4321, 0x5a7));
}
#[test]
fn fnsave_then_frstor_restores_everything() {
    let formats: [(&[u8], &[u8]); 2] = [(&[0xdd, 0x30], &[0xdd, 0x20]), (&[0x66, 0xdd, 0x30], &[0x66, 0xdd, 0x20])];
    for (save, restore) in formats {
        let mut cpu = prepared(long(0));
        distinct(&mut cpu);
        (cpu.s.fpu.instruction, cpu.s.fpu.data) = (0x5678, 0x4321);
        if save[0] == 0x66 {
            cpu.s.fpu.opcode = 0;
        }
        let before = cpu.s.fpu.clone();
        run(&mut cpu, &[save]);
        assert_eq!((cpu.s.fpu.tag, status(&cpu), cpu.s.fpu.data), (0xffff, 0, 0));
        cpu.s.fpu.significand = [0; 8];
        cpu.s.fpu.sign_exponent = [0; 8];
        run(&mut cpu, &[restore]);
        assert_eq!(full_tag_word(&before), cpu.s.fpu.tag);
        cpu.s.fpu.tag = before.tag;
        assert_eq!(cpu.s.fpu, before);
    }
}
#[test]
fn fldenv_with_unmasked_flag_sets_es() {
    let mut cpu = prepared(long(0));
    run(&mut cpu, &[&[0xd9, 0x30]]);
    assert!(cpu.ram.store(AREA, 2, 0x37e) && cpu.ram.store(AREA + 4, 2, 1));
    run(&mut cpu, &[&[0xd9, 0x20]]);
    assert_eq!((status(&cpu), execute(&mut cpu, FWAIT)), (0x8081, Err(Exception::mf())));
}
#[test]
fn fsin_out_of_range_sets_c2_only() {
    let mut cpu = prepared(long(0));
    run(&mut cpu, &[FLD1]);
    cpu.s.fpu.sign_exponent[7] = 0x3fff + 63;
    let before = cpu.s.fpu.st(0);
    run(&mut cpu, &[&[0xd9, 0xfe]]);
    assert_eq!((status(&cpu), cpu.s.fpu.st(0)), (0x3c00, before));
    run(&mut cpu, &[FLDZ, &[0xd9, 0xfe]]);
    assert_eq!(status(&cpu), 0x3000);
}
#[test]
fn every_x87_encoding_is_an_instruction_or_undefined_without_panic() {
    for first in 0xd8..=0xdfu8 {
        for modrm in 0..=255u8 {
            let bytes = [first, modrm, 0, 0, 0, 0, 0, 0];
            let Ok(decoded) = undercroft_decode::decode(undercroft_decode::CodeSize::Bits64, &bytes, 0) else {
                continue;
            };
            let mut cpu = prepared(long(0));
            run(&mut cpu, &[FLD1, FLD1]);
            for r in 0..16 {
                cpu.s.regs[r] = AREA;
            }
            let len = usize::from(decoded.insn.len);
            let outcome = execute(&mut cpu, &bytes[..len]);
            assert_ne!(outcome, Err(Exception::ud()), "{bytes:x?} {:?}", decoded.insn.code());
        }
    }
}

/// A small generator, the same in each run.
struct Random(u64);
impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        self.0 >> 33
    }
}
/// Encodings with quick handlers; memory operands are [RAX + disp8].
fn random_instruction(random: &mut Random) -> Vec<u8> {
    let st = random.next() as u8 & 3;
    let disp = (random.next() as u8 & 7) * 16;
    let arithmetic = random.next() as u8 & 7;
    match random.next() % 12 {
        0 => vec![0xd8, 0xc0 | arithmetic << 3 | st],
        // FADD to FDIV with ST(i) as destination, with and without pop; never DC D0 and DE D0.
        1 => vec![0xdc, [0xc0, 0xc8, 0xe0, 0xe8, 0xf0, 0xf8][random.next() as usize % 6] | st],
        2 => vec![0xde, [0xc0, 0xc8, 0xe0, 0xe8, 0xf0, 0xf8][random.next() as usize % 6] | st],
        3 => vec![[0xd8, 0xdc, 0xda, 0xde][random.next() as usize % 4], 0x40 | arithmetic << 3, disp],
        4 | 5 => vec![[0xd9, 0xdd, 0xdb, 0xdf][random.next() as usize % 4], 0x40, disp],
        6 => vec![0xdb, 0x68, disp],
        7 => vec![[0xd9, 0xdd, 0xdb, 0xdf][random.next() as usize % 4], 0x58, disp],
        8 => vec![0xd9, [0xc0, 0xc8][random.next() as usize % 2] | st],
        9 => vec![0xdd, [0xd0, 0xd8, 0xe0, 0xe8][random.next() as usize % 4] | st],
        10 => vec![[0xdb, 0xdf][random.next() as usize % 2], [0xe8, 0xf0][random.next() as usize % 2] | st],
        _ => vec![0xd9, [0xe0, 0xe1, 0xe4, 0xe5, 0xe8, 0xeb, 0xee, 0xf6, 0xf7, 0xfa][random.next() as usize % 10]],
    }
}
#[test]
fn quick_handlers_agree_with_general_instructions() {
    use crate::testing::CODE;
    const COUNT: u64 = 40;
    let mut random = Random(1);
    let mut valid = 0;
    for round in 0..2000 {
        let mut quick = prepared(long(0));
        let mut general = prepared(long(0));
        let control = 0x37f & !0xf00 | (random.next() as u16 & 0xf00);
        let control = if round % 2 == 0 { 0x37f } else { control };
        for at in (0..256).step_by(4) {
            // Numbers of moderate size in every format, and now and then anything.
            let word = match (at / 4 % 4, random.next() % 16) {
                (_, 0) => random.next() << 1,
                (0, _) => random.next() & 0x7f_ffff | 0x3f80_0000,
                (1, _) => random.next() & 0xf_ffff | 0xbff0_0000,
                (2, _) => (0x3ffe + (random.next() & 3)) | ((random.next() & 1) << 15),
                _ => 0,
            };
            for cpu in [&quick, &general] {
                assert!(cpu.ram.store(AREA + at, 4, word));
            }
        }
        let mut code = Vec::new();
        let mut starts = Vec::new();
        for n in 0..COUNT {
            starts.push(code.len());
            // Mostly loads first, so that the stack is not empty.
            let bytes = if n < 3 { vec![0xdd, 0x40, n as u8 * 16] } else { random_instruction(&mut random) };
            code.extend(bytes);
        }
        starts.push(code.len());
        for cpu in [&mut quick, &mut general] {
            cpu.s.fpu.control = control;
            assert!(cpu.ram.write(CODE, &code));
            cpu.s.rip = CODE;
        }
        // Once so that the TLB knows the area, then for good.
        quick.load(Seg::Ds, AREA, undercroft_decode::Size::B8).expect("mapped");
        quick.store(Seg::Ds, AREA + 0x100, undercroft_decode::Size::B8, 0).expect("mapped");
        quick.run(COUNT);
        for n in 0..COUNT as usize {
            general.s.rip = CODE + starts[n] as u64;
            assert_eq!(execute(&mut general, &code[starts[n]..starts[n + 1]]), NEXT);
        }
        let text = format!("round {round}: {code:x?}");
        assert_eq!(quick.s.fpu, general.s.fpu, "{text}");
        assert_eq!(quick.s.rflags(), general.s.rflags(), "{text}");
        for at in (0..256).step_by(8) {
            assert_eq!(memory(&quick, at, 8), memory(&general, at, 8), "{at:x} {text}");
        }
        valid += u32::from(quick.s.fpu.status & 0x40 == 0);
    }
    assert!(valid > 50, "{valid} rounds without stack faults");
}
