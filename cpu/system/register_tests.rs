//! System registers, ports, save areas: random state and random operands. Nothing panics, and an instruction that raises has changed nothing.

use crate::events::dr6;
use crate::testing::{self as t, CODE, IDT, sel};
use crate::vcpu::{Cpu, Exit};
use undercroft_decode::{CodeSize, Op, Reg, decode};
use undercroft_spec::x86::control::{cr0, cr4, rflags};
use undercroft_spec::x86::msr::{IA32_DEBUGCTL, debugctl};

/// A small generator: the sequence is the same in every run.
struct Random(u64);
impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
        self.0 ^ self.0 >> 29
    }
    fn below(&mut self, n: u64) -> u64 {
        (self.next() >> 16) % n
    }
    /// Near the ends of what matters: addresses, MSR numbers, register values.
    fn value(&mut self) -> u64 {
        match self.below(12) {
            0 => self.next(),
            1 => u64::MAX - self.below(1024),
            2 => self.below(64),
            3 => 0xffff_ffff - self.below(1024),
            4 => 0x7fff_ffff_ffff - self.below(1024),
            5 => 0xffff - self.below(1024),
            6 => 1 << self.below(64),
            7 => [0xc000_0080, 0x800, 0x200, 0x400, 0x170, 0][self.below(6) as usize] + self.below(32),
            8 => self.below(1 << 20) & !0x3f,
            _ => self.below(1 << 20),
        }
    }
}

/// Opcodes of the families; operands follow at random.
const OPCODES: [&[u8]; 44] = [
    &[0x0f, 0x20],
    &[0x0f, 0x21],
    &[0x0f, 0x22],
    &[0x44, 0x0f, 0x22],
    &[0x0f, 0x23],
    &[0x0f, 0x01],
    &[0x0f, 0x06],
    &[0x0f, 0x08],
    &[0x0f, 0x09],
    &[0x0f, 0x30],
    &[0x0f, 0x31],
    &[0x0f, 0x32],
    &[0x0f, 0x33],
    &[0x0f, 0xa2],
    &[0x0f, 0xae],
    &[0x48, 0x0f, 0xae],
    &[0x66, 0x0f, 0xae],
    &[0xf3, 0x0f, 0xae],
    &[0x0f, 0xc7],
    &[0x48, 0x0f, 0xc7],
    &[0xf3, 0x0f, 0xc7],
    &[0x0f, 0xc3],
    &[0x66, 0x0f, 0x38, 0x82],
    &[0xe4],
    &[0xe7],
    &[0xec],
    &[0xef],
    &[0x6c],
    &[0xf3, 0x6d],
    &[0x6e],
    &[0xf2, 0x6f],
    &[0x67, 0xf3, 0x6f],
    &[0x27],
    &[0x2f],
    &[0x37],
    &[0x3f],
    &[0xd4],
    &[0xd5],
    &[0xd6],
    &[0x0f, 0x01, 0xd1],
    &[0x0f, 0x01, 0xef],
    &[0x0f, 0x01, 0xc8],
    &[0x48, 0xa1],
    &[0x48, 0xa3],
];

fn machine(r: &mut Random) -> Cpu {
    let cpl = if r.below(3) != 0 { 0 } else { 3 };
    let mut cpu = match r.below(4) {
        0 => t::real(),
        1 => t::protected(cpl),
        _ => t::long(cpl),
    };
    cpu.s.cr4 |= (cr4::OSXSAVE | cr4::OSFXSR | cr4::PKE | cr4::UMIP | cr4::DE | cr4::TSD) & r.next();
    cpu.s.cr0 |= (cr0::TS | cr0::EM | cr0::AM) & r.next() & r.next();
    cpu.s.xcr0 = if r.below(2) == 0 { 0x203 } else { 1 };
    cpu.s.set_rflags((rflags::DF | rflags::IOPL | rflags::AC | rflags::ARITHMETIC) & r.next());
    cpu.s.tr.limit = r.value() as u32;
    cpu.context_changed();
    for n in 0..16 {
        let value = r.value();
        cpu.s.set_gpr(n, value);
    }
    cpu
}

#[test]
fn random_instructions_that_raise_change_nothing() {
    let mut r = Random(11);
    let mut completed = 0;
    for _ in 0..6000 {
        let mut cpu = machine(&mut r);
        let mut bytes = OPCODES[r.below(OPCODES.len() as u64) as usize].to_vec();
        bytes.extend(r.next().to_le_bytes());
        bytes.extend(r.value().to_le_bytes());
        let Ok(d) = decode(cpu.s.code_size(), &bytes, 0) else { continue };
        if d.insn.op != Op::Helper {
            continue;
        }
        cpu.s.regs[Reg::BlockRip as usize] = cpu.s.rip;
        let before = cpu.s.clone();
        match super::execute(&mut cpu, &d.insn) {
            Ok(_) => completed += 1,
            Err(_) => assert_eq!(cpu.s, before, "{}", d.instruction),
        }
        assert_eq!(cpu.s.regs[Reg::Zero as usize], 0);
    }
    assert!(completed > 500, "{completed}");
}

#[test]
fn reserved_nops_do_nothing() {
    // RDSSPQ, RDSSPD, and what MPX and prefetch hints would be.
    let forms: [&[u8]; 6] = [
        &[0xf3, 0x48, 0x0f, 0x1e, 0xc8],
        &[0xf3, 0x0f, 0x1e, 0xca],
        &[0x66, 0x0f, 0x1a, 0xc1],
        &[0xf3, 0x0f, 0x1b, 0x00],
        &[0x0f, 0x18, 0x3d, 0, 0, 0, 0],
        &[0x0f, 0x18, 0xf0],
    ];
    for bytes in forms {
        let d = decode(CodeSize::Bits64, bytes, 0).unwrap_or_else(|e| panic!("{bytes:x?}: {e:?}"));
        assert_eq!(d.insn.op, Op::Nop, "{}", d.instruction);
    }
}

#[test]
fn single_step_with_btf_traps_on_branches_only() {
    let mut cpu = t::long(0);
    // nop; nop; jmp over a nop; nop; hlt. The handler of #DB stops.
    assert!(cpu.ram.write(CODE, &[0x90, 0x90, 0xeb, 0x01, 0x90, 0x90, 0xf4]));
    assert!(cpu.ram.store(CODE + 0x100, 1, 0xf4));
    t::gate64(&cpu, 1, sel::CODE64, CODE + 0x100, 0x8e, 0);
    assert_eq!(cpu.s.idtr.base, IDT);
    cpu.s.rip = CODE;
    cpu.s.set_rflags(rflags::TF | rflags::FIXED);
    assert_eq!(cpu.write_msr(IA32_DEBUGCTL, debugctl::BTF), Ok(()));
    assert_eq!(cpu.run(20), Exit::Idle { next: None });
    let frame = cpu.s.regs[Reg::Rsp as usize];
    assert_eq!(cpu.ram.load(frame, 8), Some(CODE + 5));
    assert_eq!(cpu.s.dr6 & dr6::BS, dr6::BS);
    assert_eq!(cpu.s.msr.debugctl, 0);
}
