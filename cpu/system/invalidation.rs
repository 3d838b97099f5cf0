//! Caches and translations: INVLPG, INVPCID, INVD, WBINVD, WBNOINVD, CLFLUSH, CLFLUSHOPT, CLWB. SDM volume 2.
//!
//! There are no caches that software could see, and translations are never stale: what is left of these instructions is what they check.

use crate::events::{Exception, Flow};
use crate::mmu::Privilege;
use crate::vcpu::Cpu;
use undercroft_decode::{Insn, Mnemonic, Size};
use undercroft_spec::x86::control::cr4;
use undercroft_spec::x86::cpuid::Feature;
use undercroft_walk::AccessKind;

const GP: Exception = Exception::gp(0);

/// This family's instructions.
pub(super) fn execute(cpu: &mut Cpu, i: &Insn, m: Mnemonic) -> Option<Result<Flow, Exception>> {
    use Mnemonic as M;
    Some(match m {
        // An address that is not canonical, or beyond the limit, does not matter either.
        M::Invlpg | M::Invd | M::Wbinvd | M::Wbnoinvd => privileged(cpu),
        M::Invpcid => invpcid(cpu, i),
        M::Clflush => line(cpu, i, Feature::CLFSH),
        M::Clflushopt => line(cpu, i, Feature::CLFLUSHOPT),
        M::Clwb => line(cpu, i, Feature::CLWB),
        _ => return None,
    })
}

fn privileged(cpu: &Cpu) -> Result<Flow, Exception> {
    if cpu.s.cpl == 0 { Ok(Flow::Next) } else { Err(GP) }
}

fn invpcid(cpu: &mut Cpu, i: &Insn) -> Result<Flow, Exception> {
    if !cpu.model.has(Feature::INVPCID) {
        return Err(Exception::ud());
    }
    privileged(cpu)?;
    let kind = cpu.read_reg(i.dst, if i.is_long() { Size::B8 } else { Size::B4 });
    let mut descriptor = [0; 16];
    cpu.load_bytes(i.seg, cpu.effective_address(i), &mut descriptor)?;
    let word = |n: usize| descriptor[n..n + 8].iter().rev().fold(0, |v, b| v << 8 | u64::from(*b));
    let (pcid, linear) = (word(0), word(8));
    let bad = match kind {
        0 | 1 if pcid != 0 && cpu.s.cr4 & cr4::PCIDE == 0 => true,
        0 => pcid >> 12 != 0 || !cpu.model.is_canonical(linear),
        1..=3 => pcid >> 12 != 0,
        _ => true,
    };
    if bad { Err(GP) } else { Ok(Flow::Next) }
}

/// Faults like the load of a byte.
fn line(cpu: &mut Cpu, i: &Insn, feature: Feature) -> Result<Flow, Exception> {
    if !cpu.model.has(feature) {
        return Err(Exception::ud());
    }
    let linear = cpu.segment_address(i.seg, cpu.effective_address(i), 1, false)?;
    cpu.translate(linear, AccessKind::Read, Privilege::Current)?;
    Ok(Flow::Next)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{PML4, execute, long};
    use undercroft_decode::Reg;

    const AREA: u64 = 0x6_0000;

    fn invalidate(cpu: &mut Cpu, kind: u64, pcid: u64, linear: u64) -> Result<Flow, Exception> {
        cpu.s.regs[Reg::Rax as usize] = kind;
        cpu.s.regs[Reg::Rbx as usize] = AREA;
        assert!(cpu.ram.store(AREA, 8, pcid) && cpu.ram.store(AREA + 8, 8, linear));
        execute(cpu, &[0x66, 0x0f, 0x38, 0x82, 0x03])
    }

    #[test]
    fn invpcid_bad_descriptor_faults() {
        let mut cpu = long(0);
        let cases = [
            (0, 0, 0x1234, true),
            (0, 0, 0x0100_0000_0000_0000, false),
            (0, 1, 0x1234, false),
            (1, 1, 0, false),
            (1, 0, 1 << 60, true),
            (2, 0xfff, 0, true),
            (3, 0x1000, 0, false),
            (4, 0, 0, false),
            (1 << 32, 0, 0, false),
        ];
        for (kind, pcid, linear, works) in cases {
            let expected = if works { Ok(Flow::Next) } else { Err(GP) };
            assert_eq!(invalidate(&mut cpu, kind, pcid, linear), expected, "{kind} {pcid:x} {linear:x}");
        }
        cpu.s.cr4 |= cr4::PCIDE;
        assert_eq!(invalidate(&mut cpu, 1, 1, 0), Ok(Flow::Next));
        assert_eq!(invalidate(&mut long(3), 2, 0, 0), Err(GP));
    }
    #[test]
    fn invlpg_non_canonical_does_nothing() {
        let mut cpu = long(0);
        cpu.s.regs[Reg::Rax as usize] = 1 << 60;
        assert_eq!(execute(&mut cpu, &[0x0f, 0x01, 0x38]), Ok(Flow::Next));
        assert_eq!(execute(&mut long(3), &[0x0f, 0x01, 0x38]), Err(GP));
    }
    #[test]
    fn clflush_faults_like_a_load() {
        let mut cpu = long(3);
        cpu.s.regs[Reg::Rax as usize] = AREA;
        for form in [&[0x0f, 0xae, 0x38][..], &[0x66, 0x0f, 0xae, 0x38], &[0x66, 0x0f, 0xae, 0x30]] {
            assert_eq!(execute(&mut cpu, form), Ok(Flow::Next));
        }
        assert!(cpu.ram.store(PML4 + 0x2000 + 8, 8, 0));
        cpu.s.regs[Reg::Rax as usize] = 0x20_0000;
        assert_eq!(
            execute(&mut cpu, &[0x0f, 0xae, 0x38]),
            Err(Exception::pf(undercroft_spec::LinearAddr(0x20_0000), 4))
        );
        assert_eq!(execute(&mut cpu, &[0x0f, 0x09]), Err(GP));
    }
}
