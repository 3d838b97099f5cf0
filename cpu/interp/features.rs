//! Instructions that exist only with a flag of CPUID: without it they are undefined. SDM volume 2, "CPUID Feature Flag" column of each
//! instruction's table.
//!
//! TZCNT and LZCNT are not here, nor are hints: without their flags these opcodes are other instructions.

use crate::vcpu::Cpu;
use std::sync::OnceLock;
use undercroft_decode::{Code, CpuidFeature as C, Insn, Mnemonic};
use undercroft_spec::x86::cpuid::Feature as F;

/// The decoder's name for a feature, and ours. The position is the bit of a set.
const FEATURES: [(C, F); 37] = [
    (C::ADX, F::ADX),
    (C::AES, F::AESNI),
    (C::BMI1, F::BMI1),
    (C::BMI2, F::BMI2),
    (C::CLFLUSHOPT, F::CLFLUSHOPT),
    (C::CLFSH, F::CLFSH),
    (C::CLWB, F::CLWB),
    (C::CMOV, F::CMOV),
    (C::CMPXCHG16B, F::CMPXCHG16B),
    (C::CX8, F::CX8),
    (C::FSGSBASE, F::FSGSBASE),
    (C::FXSR, F::FXSR),
    (C::INVPCID, F::INVPCID),
    (C::MMX, F::MMX),
    (C::MONITOR, F::MONITOR),
    (C::MOVBE, F::MOVBE),
    (C::MSR, F::MSR),
    (C::PCLMULQDQ, F::PCLMULQDQ),
    (C::PKU, F::PKU),
    (C::POPCNT, F::POPCNT),
    (C::RDPID, F::RDPID),
    (C::RDRAND, F::RDRAND),
    (C::RDSEED, F::RDSEED),
    (C::RDTSCP, F::RDTSCP),
    (C::SEP, F::SEP),
    (C::SHA, F::SHA),
    (C::SMAP, F::SMAP),
    (C::SSE, F::SSE),
    (C::SSE2, F::SSE2),
    (C::SSE3, F::SSE3),
    (C::SSE4_1, F::SSE4_1),
    (C::SSE4_2, F::SSE4_2),
    (C::SSSE3, F::SSSE3),
    (C::TSC, F::TSC),
    (C::XSAVE, F::XSAVE),
    (C::XSAVEC, F::XSAVEC),
    (C::XSAVEOPT, F::XSAVEOPT),
];

/// What each code needs, as a set: made once.
static NEEDED: OnceLock<Box<[u64]>> = OnceLock::new();

fn needed(code: Code) -> u64 {
    let table = NEEDED.get_or_init(|| Code::values().map(set).collect());
    table.get(code as usize).copied().unwrap_or(0)
}
fn set(code: Code) -> u64 {
    let other_without = matches!(
        code.mnemonic(),
        Mnemonic::Tzcnt | Mnemonic::Prefetchnta | Mnemonic::Prefetcht0 | Mnemonic::Prefetcht1 | Mnemonic::Prefetcht2
    );
    if other_without {
        return 0;
    }
    let features = code.cpuid_features();
    FEATURES.iter().enumerate().filter(|(_, (c, _))| features.contains(c)).fold(0, |bits, (n, _)| bits | 1 << n)
}

impl Cpu {
    /// Has the processor what the instruction needs to exist?
    pub(crate) fn offers(&self, i: &Insn) -> bool {
        let mut rest = needed(i.code());
        while rest != 0 {
            let (_, feature) = FEATURES[rest.trailing_zeros() as usize];
            if !self.model.has(feature) {
                return false;
            }
            rest &= rest - 1;
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{CODE, long};
    use crate::vcpu::Exit;
    use undercroft_spec::x86::control::cr4;
    use undercroft_spec::x86::vector;

    #[test]
    fn instruction_without_its_feature_is_ud() {
        let cases: [(&[u8], F); 5] = [
            (&[0xf3, 0x0f, 0xb8, 0xc1], F::POPCNT),
            (&[0x66, 0x0f, 0x38, 0x00, 0xc1], F::SSSE3),
            (&[0x0f, 0x44, 0xc1], F::CMOV),
            (&[0x0f, 0xc7, 0xf0], F::RDRAND),
            (&[0x66, 0x0f, 0x38, 0xf6, 0xc1], F::ADX),
        ];
        for (bytes, feature) in cases {
            for on in [true, false] {
                let mut cpu = long(0);
                cpu.s.cr4 |= cr4::OSFXSR;
                cpu.model.set(feature, on);
                assert!(cpu.ram.write(CODE, bytes) && cpu.ram.write(CODE + bytes.len() as u64, &[0xf4]));
                cpu.context_forgotten();
                let end = cpu.run(100);
                if on {
                    assert_eq!(
                        (end, cpu.s.rip),
                        (Exit::Idle { next: None }, CODE + bytes.len() as u64 + 1),
                        "{bytes:x?}"
                    );
                } else {
                    // There is no handler.
                    assert_eq!(cpu.s.exception_log[0], (vector::UD, 0, CODE), "{bytes:x?}");
                }
            }
        }
    }
    #[test]
    fn tzcnt_without_bmi1_is_not_refused() {
        let mut cpu = long(0);
        cpu.model.set(F::BMI1, false);
        assert!(cpu.ram.write(CODE, &[0xf3, 0x0f, 0xbc, 0xc1, 0xf4]));
        cpu.s.regs[1] = 8;
        cpu.context_forgotten();
        assert_eq!(cpu.run(100), Exit::Idle { next: None });
        assert_eq!(cpu.s.regs[0], 3);
    }
}
