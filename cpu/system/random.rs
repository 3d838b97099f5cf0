//! RDRAND and RDSEED, from a generator that is part of the machine's state. SDM volume 2.
//!
//! The generator is xoshiro256** (Blackman and Vigna, "Scrambled Linear Pseudorandom Number Generators"). It always delivers.

use crate::events::{Exception, Flow};
use crate::state::State;
use crate::vcpu::Cpu;
use undercroft_decode::{Insn, Mnemonic};
use undercroft_spec::x86::control::rflags;
use undercroft_spec::x86::cpuid::Feature;

/// This family's instructions.
pub(super) fn execute(cpu: &mut Cpu, i: &Insn, m: Mnemonic) -> Option<Result<Flow, Exception>> {
    match m {
        Mnemonic::Rdrand => Some(random(cpu, i, Feature::RDRAND)),
        Mnemonic::Rdseed => Some(random(cpu, i, Feature::RDSEED)),
        _ => None,
    }
}

fn random(cpu: &mut Cpu, i: &Insn, feature: Feature) -> Result<Flow, Exception> {
    if !cpu.model.has(feature) {
        return Err(Exception::ud());
    }
    let value = cpu.s.next_random();
    cpu.write_reg(i.dst, i.size(), value);
    cpu.s.flags.set_arithmetic(rflags::CF);
    Ok(Flow::Next)
}

impl State {
    /// Starts the generator of RDRAND and RDSEED anew. The machine gives every logical processor another seed.
    pub fn seed_random(&mut self, seed: u64) {
        // SplitMix64 spreads the seed; its outputs are never all zero.
        let mut x = seed;
        self.random = [(); 4].map(|()| {
            x = x.wrapping_add(0x9e37_79b9_7f4a_7c15);
            let mut z = x;
            z = (z ^ z >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
            z = (z ^ z >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
            z ^ z >> 31
        });
    }
    /// The generator's next value.
    pub(crate) fn next_random(&mut self) -> u64 {
        let s = &mut self.random;
        let result = s[1].wrapping_mul(5).rotate_left(7).wrapping_mul(9);
        let t = s[1] << 17;
        s[2] ^= s[0];
        s[3] ^= s[1];
        s[1] ^= s[2];
        s[0] ^= s[3];
        s[2] ^= t;
        s[3] = s[3].rotate_left(45);
        result
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{execute, long};
    use undercroft_decode::Reg;

    #[test]
    fn rdrand_is_a_function_of_the_seed() {
        let draw = |seed| {
            let mut cpu = long(3);
            cpu.s.seed_random(seed);
            [(); 3].map(|()| {
                cpu.s.flags.set_arithmetic(rflags::ARITHMETIC);
                assert_eq!(execute(&mut cpu, &[0x48, 0x0f, 0xc7, 0xf0]), Ok(Flow::Next));
                assert_eq!(cpu.s.flags.arithmetic(), rflags::CF);
                cpu.s.regs[Reg::Rax as usize]
            })
        };
        assert_eq!(draw(1), draw(1));
        assert_ne!(draw(1), draw(2));
        assert!(draw(1).windows(2).all(|w| w[0] != w[1]));
    }
    #[test]
    fn rdrand_16_bits_leaves_the_rest() {
        let mut cpu = long(3);
        cpu.s.seed_random(3);
        cpu.s.regs[Reg::Rax as usize] = u64::MAX;
        assert_eq!(execute(&mut cpu, &[0x66, 0x0f, 0xc7, 0xf0]), Ok(Flow::Next));
        assert_eq!(cpu.s.regs[Reg::Rax as usize] >> 16, u64::MAX >> 16);
        cpu.model.set(Feature::RDSEED, false);
        assert_eq!(execute(&mut cpu, &[0x0f, 0xc7, 0xf8]), Err(Exception::ud()));
    }
}
