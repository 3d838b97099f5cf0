//! Decimal adjustments and SALC: instructions of the 8086 that 64-bit mode does not have. SDM volume 2, each.
//!
//! Flags that the manual leaves undefined: after AAA and AAS those of AL's value with OF = 0; after AAM and AAD CF, AF and OF are 0; after DAA and
//! DAS OF is 0.

use crate::events::{Exception, Flow};
use crate::vcpu::Cpu;
use undercroft_decode::{Insn, Mnemonic, Reg};
use undercroft_spec::x86::control::rflags as f;

/// This family's instructions.
pub(super) fn execute(cpu: &mut Cpu, i: &Insn, m: Mnemonic) -> Option<Result<Flow, Exception>> {
    use Mnemonic as M;
    match m {
        M::Aaa => ascii_adjust(cpu, 0x106),
        M::Aas => ascii_adjust(cpu, 0x106u16.wrapping_neg()),
        M::Aam => {
            let base = i.imm as u8;
            if base == 0 {
                return Some(Err(Exception::de()));
            }
            let al = cpu.s.regs[Reg::Rax as usize] as u8;
            finish(cpu, u16::from(al / base) << 8 | u16::from(al % base), 0);
        }
        M::Aad => {
            let [al, ah] = (cpu.s.regs[Reg::Rax as usize] as u16).to_le_bytes();
            finish(cpu, u16::from(al.wrapping_add(ah.wrapping_mul(i.imm as u8))), 0);
        }
        M::Daa => decimal_adjust(cpu, u8::wrapping_add),
        M::Das => decimal_adjust(cpu, u8::wrapping_sub),
        M::Salc => {
            let al = if cpu.s.flags.carry() { 0xff } else { 0 };
            cpu.write_reg(Reg::Rax, undercroft_decode::Size::B1, al);
        }
        _ => return None,
    }
    Some(Ok(Flow::Next))
}

/// Writes AX, and the flags: those of AL, and these of CF and AF.
fn finish(cpu: &mut Cpu, ax: u16, carries: u64) {
    cpu.write_reg(Reg::Rax, undercroft_decode::Size::B2, u64::from(ax));
    let al = ax as u8;
    let bit = |condition, flag| if condition { flag } else { 0 };
    let value = bit(al == 0, f::ZF) | bit(al & 0x80 != 0, f::SF) | bit(al.count_ones().is_multiple_of(2), f::PF);
    cpu.s.flags.set_arithmetic(value | carries);
}

/// AAA and AAS: what is added to AX when the low digit needs it.
fn ascii_adjust(cpu: &mut Cpu, correction: u16) {
    let ax = cpu.s.regs[Reg::Rax as usize] as u16;
    let adjusts = ax & 15 > 9 || cpu.s.flags.get() & f::AF != 0;
    let (ax, carries) = if adjusts { (ax.wrapping_add(correction), f::CF | f::AF) } else { (ax, 0) };
    finish(cpu, ax & 0xff0f, carries);
}

fn decimal_adjust(cpu: &mut Cpu, correct: fn(u8, u8) -> u8) {
    let ax = cpu.s.regs[Reg::Rax as usize] as u16;
    let flags = cpu.s.flags.get();
    let old = ax as u8;
    let mut al = old;
    let mut carries = 0;
    if old & 15 > 9 || flags & f::AF != 0 {
        al = correct(al, 6);
        // A borrow or carry out of the byte by the first correction counts too.
        let overflowed = if correct(1, 1) == 2 { old > 0xf9 } else { old < 6 };
        carries |= f::AF | if overflowed { f::CF } else { 0 };
    }
    if old > 0x99 || flags & f::CF != 0 {
        al = correct(al, 0x60);
        carries |= f::CF;
    }
    finish(cpu, ax & 0xff00 | u16::from(al), carries);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{execute, real};

    fn run(bytes: &[u8], ax: u64, flags: u64) -> (u64, u64) {
        let mut cpu = real();
        cpu.s.regs[Reg::Rax as usize] = ax;
        cpu.s.flags.set_arithmetic(flags);
        assert_eq!(execute(&mut cpu, bytes), Ok(Flow::Next));
        (cpu.s.regs[Reg::Rax as usize], cpu.s.flags.arithmetic())
    }

    #[test]
    fn daa_das_give_packed_decimals() {
        for a in 0..100u8 {
            for b in 0..100u8 {
                let bcd = |n: u8| ((n / 10) << 4) | (n % 10);
                let (x, y) = (bcd(a), bcd(b));
                let sum = x.wrapping_add(y);
                let mut flags = if x & 15 > 15 - (y & 15) { f::AF } else { 0 };
                flags |= if x.checked_add(y).is_none() { f::CF } else { 0 };
                let (al, after) = run(&[0x27], u64::from(sum), flags);
                assert_eq!((al, after & f::CF), (u64::from(bcd((a + b) % 100)), u64::from(a + b > 99)), "{a}+{b}");
                let mut flags = if x & 15 < y & 15 { f::AF } else { 0 };
                flags |= if x < y { f::CF } else { 0 };
                let (al, after) = run(&[0x2f], u64::from(x.wrapping_sub(y)), flags);
                assert_eq!((al, after & f::CF), (u64::from(bcd((100 + a - b) % 100)), u64::from(a < b)), "{a}-{b}");
            }
        }
    }
    #[test]
    fn aaa_aas_carry_into_ah() {
        assert_eq!(run(&[0x37], 0x020b, 0), (0x0301, f::CF | f::AF));
        assert_eq!(run(&[0x37], 0x0205, 0).0, 0x0205);
        assert_eq!(run(&[0x37], 0x02fa, 0).0, 0x0400);
        assert_eq!(run(&[0x3f], 0x02fe, f::AF), (0x0108, f::CF | f::AF));
    }
    #[test]
    fn aam_aad_use_their_base() {
        assert_eq!(run(&[0xd4, 10], 0x3f, 0), (0x0603, f::PF));
        assert_eq!(run(&[0xd5, 16], 0x0304, 0).0, 0x0034);
        let mut cpu = real();
        assert_eq!(execute(&mut cpu, &[0xd4, 0]), Err(Exception::de()));
    }
    #[test]
    fn salc_copies_carry() {
        assert_eq!(run(&[0xd6], 0x1200, f::CF), (0x12ff, f::CF));
        assert_eq!(run(&[0xd6], 0x1234, 0), (0x1200, 0));
    }
}
