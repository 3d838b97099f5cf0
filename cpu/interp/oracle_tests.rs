//! What the native oracle found: see `tests/native_oracle`.

use crate::events::{Exception, Flow};
use crate::testing::{STACK, long};
use crate::vcpu::Cpu;
use undercroft_decode::Reg;
use undercroft_spec::LinearAddr;
use undercroft_spec::x86::control::{cr0, cr4};

/// Address of the first page that is not there.
const UNMAPPED: u64 = 512 << 21;

fn step(cpu: &mut Cpu, bytes: &[u8]) -> Result<Flow, Exception> {
    let insn = undercroft_decode::decode(cpu.s.code_size(), bytes, 0).unwrap_or_else(|e| panic!("{e:?}")).insn;
    cpu.s.regs[Reg::BlockRip as usize] = cpu.s.rip;
    cpu.s.cr4 |= cr4::OSFXSR;
    cpu.s.cr0 |= cr0::NE;
    cpu.context_forgotten();
    crate::interp::step(cpu, &insn)
}
fn set(cpu: &mut Cpu, r: Reg, v: u64) {
    cpu.s.regs[r as usize] = v;
}

#[test]
fn enter_reads_outer_frames_after_it_pushed_over_them() {
    let mut cpu = long(0);
    // The frame pointers are read from where they are just being pushed.
    set(&mut cpu, Reg::Rbp, STACK);
    assert!(cpu.ram.store(STACK - 8, 8, 0x1111) && cpu.ram.store(STACK - 16, 8, 0x2222));
    assert_eq!(step(&mut cpu, &[0xc8, 0, 0, 3]), Ok(Flow::Next));
    let at = |n: u64| cpu.ram.load(STACK - 8 * n, 8);
    assert_eq!([at(1), at(2), at(3), at(4)], [Some(STACK), Some(STACK), Some(STACK), Some(STACK - 8)]);
}

#[test]
fn enter_on_unmapped_stack_faults_as_a_write() {
    let mut cpu = long(0);
    set(&mut cpu, Reg::Rsp, UNMAPPED + 64);
    set(&mut cpu, Reg::Rbp, UNMAPPED + 64);
    assert_eq!(step(&mut cpu, &[0xc8, 0, 0, 3]), Err(Exception::pf(LinearAddr(UNMAPPED + 56), 2)));
}

#[test]
fn emms_sets_top_to_zero() {
    let mut cpu = long(0);
    cpu.s.fpu.status = 0x3800;
    cpu.s.fpu.tag = 0;
    assert_eq!(step(&mut cpu, &[0x0f, 0x77]), Ok(Flow::Next));
    assert_eq!((cpu.s.fpu.status, cpu.s.fpu.tag), (0, 0xffff));
}

#[test]
fn maskmovdqu_without_selected_bytes_still_needs_its_operand() {
    let mut cpu = long(0);
    set(&mut cpu, Reg::Rdi, UNMAPPED - 8);
    let fault = Err(Exception::pf(LinearAddr(UNMAPPED), 2));
    assert!(cpu.ram.len() < UNMAPPED);
    assert_eq!(step(&mut cpu, &[0x66, 0x0f, 0xf7, 0xc1]), fault);
}

#[test]
fn aligned_operand_neither_aligned_nor_canonical_is_gp_even_on_the_stack() {
    let mut cpu = long(0);
    set(&mut cpu, Reg::Rsp, 0x8000_0000_0000_0008);
    // paddb xmm0, [rsp]; cmpxchg16b [rsp]; then aligned.
    assert_eq!(step(&mut cpu, &[0x66, 0x0f, 0xfc, 0x04, 0x24]), Err(Exception::gp(0)));
    assert_eq!(step(&mut cpu, &[0x48, 0x0f, 0xc7, 0x0c, 0x24]), Err(Exception::gp(0)));
    set(&mut cpu, Reg::Rsp, 0x8000_0000_0000_0010);
    assert_eq!(step(&mut cpu, &[0x66, 0x0f, 0xfc, 0x04, 0x24]), Err(Exception::ss(0)));
}

#[test]
fn fist_of_nan_unmasked_faults_on_memory_before_it_reports() {
    let mut cpu = long(0);
    cpu.s.fpu.control = 0x37e;
    cpu.s.fpu.tag = 0;
    cpu.s.fpu.significand[0] = 3 << 62;
    cpu.s.fpu.sign_exponent[0] = 0x7fff;
    set(&mut cpu, Reg::Rax, UNMAPPED);
    // fistp dword ptr [rax]
    assert_eq!(step(&mut cpu, &[0xdb, 0x18]), Err(Exception::pf(LinearAddr(UNMAPPED), 2)));
    assert_eq!(cpu.s.fpu.status, 0);
}

#[test]
fn fxsave_needs_the_bytes_that_it_does_not_write() {
    let mut cpu = long(0);
    set(&mut cpu, Reg::Rax, UNMAPPED - 496);
    let before = cpu.ram.load(0, 8);
    // fxsave [rax]
    assert_eq!(step(&mut cpu, &[0x0f, 0xae, 0x00]), Err(Exception::pf(LinearAddr(UNMAPPED), 2)));
    assert_eq!(cpu.ram.load(0, 8), before);
}

#[test]
fn repne_scasb_writes_flags_with_its_last_step() {
    let mut cpu = long(0);
    // repne scasb; hlt: zeros are searched for a one.
    let code = [0xf2, 0xae, 0xf4];
    assert!(cpu.ram.write(crate::testing::CODE, &code));
    cpu.s.rip = crate::testing::CODE;
    cpu.s.set_rflags(0x8d7);
    set(&mut cpu, Reg::Rax, 1);
    set(&mut cpu, Reg::Rcx, 4);
    set(&mut cpu, Reg::Rdi, 0x5000);
    // Three steps without a match: nothing was written yet.
    cpu.context_forgotten();
    cpu.run(3);
    assert_eq!((cpu.s.regs[Reg::Rcx as usize], cpu.s.rflags()), (1, 0x8d7));
    cpu.run(4);
    assert_eq!((cpu.s.regs[Reg::Rcx as usize], cpu.s.rip), (0, crate::testing::CODE + 2));
    assert_eq!(cpu.s.rflags() & 0x8d5, 0);
}
