//! Random operands in classes, from a fixed seed.
#![allow(dead_code)]

use undercroft_float::F80;

/// SplitMix64.
pub struct Random(u64);

impl Random {
    pub fn new(seed: u64) -> Random {
        Random(seed)
    }

    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ z >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ z >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ z >> 31
    }

    pub fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound
    }

    /// A pattern with few or many ones, runs, or plain random bits.
    pub fn pattern(&mut self) -> u64 {
        match self.below(6) {
            0 => 0,
            1 => u64::MAX << self.below(64),
            2 => u64::MAX >> self.below(64),
            3 => 1 << self.below(64) | 1 << self.below(64),
            4 => self.next() << self.below(64),
            _ => self.next(),
        }
    }

    /// A biased exponent near `near` half of the time, else anywhere below `all`.
    fn exponent(&mut self, near: u64, all: u64) -> u64 {
        match self.below(8) {
            0..=3 => near.wrapping_add(self.below(140)).wrapping_sub(70) % all,
            4 => self.below(80.min(all)),
            5 => all - 1 - self.below(80.min(all)),
            _ => self.below(all),
        }
    }

    fn interchange(&mut self, fraction_bits: u32, exponent_bits: u32) -> u64 {
        let ones = (1u64 << exponent_bits) - 1;
        let fraction = self.pattern() >> (64 - fraction_bits);
        let quiet = 1 << (fraction_bits - 1);
        let sign = self.below(2) << (fraction_bits + exponent_bits);
        let magnitude = match self.below(24) {
            0 => 0,
            1 => ones << fraction_bits,
            2 => ones << fraction_bits | quiet | fraction,
            3 => ones << fraction_bits | 1 | fraction & !quiet,
            4..=6 => fraction,
            _ => self.exponent(ones / 2, ones) << fraction_bits | fraction,
        };
        sign | magnitude
    }

    pub fn f32(&mut self) -> u32 {
        self.interchange(23, 8) as u32
    }

    pub fn f64(&mut self) -> u64 {
        self.interchange(52, 11)
    }

    /// Any 80-bit pattern, the unsupported ones included.
    pub fn f80(&mut self) -> F80 {
        const TOP: u64 = 1 << 63;
        let fraction = self.pattern() >> 1;
        // Often only as many bits as a float or double has, so that exact results and ties happen.
        let fraction = match self.below(4) {
            0 => fraction & !0 << 40,
            1 => fraction & !0 << 11,
            _ => fraction,
        };
        let sign = (self.below(2) as u16) << 15;
        let (exponent, significand) = match self.below(28) {
            0 => (0, 0),
            1 => (0x7fff, TOP),
            2 => (0x7fff, TOP | TOP >> 1 | fraction),
            3 => (0x7fff, (TOP | 1 | fraction) & !(TOP >> 1)),
            4..=6 => (0, fraction),
            7 => (0, TOP | fraction),
            8 => (self.below(0x8000), fraction),
            9 => (0x7fff, fraction),
            _ => (self.exponent(0x3fff, 0x7fff), TOP | fraction),
        };
        F80 { significand, sign_exponent: sign | exponent as u16 }
    }

    /// A second operand that often lies close to the first.
    pub fn f80_near(&mut self, a: F80) -> F80 {
        if self.below(4) != 0 {
            return self.f80();
        }
        let exponent = (a.sign_exponent & 0x7fff).wrapping_add(self.below(5) as u16).wrapping_sub(2) & 0x7fff;
        let significand = match self.below(3) {
            0 => a.significand,
            1 => a.significand ^ 1 << self.below(64),
            _ => a.significand.wrapping_add(self.below(9)).wrapping_sub(4),
        };
        F80 { significand, sign_exponent: exponent | (self.below(2) as u16) << 15 }
    }
}
