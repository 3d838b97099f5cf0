//! What an operation depends on and what it reports besides its value: rounding and precision control, exception masks and flags.
//!
//! SDM volume 1, "Floating-Point Exceptions", "x87 FPU Control Word" and "MXCSR Control and Status Register".

use bitflags::bitflags;
use serde::{Deserialize, Serialize};

bitflags! {
    /// Exception flags, in the bit order that MXCSR and the x87 status word share. As masks, the same bits mean "masked".
    #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
    pub struct Flags: u8 {
        /// Invalid operation.
        const IE = 1 << 0;
        /// Denormal operand.
        const DE = 1 << 1;
        /// Divide by zero.
        const ZE = 1 << 2;
        /// Numeric overflow.
        const OE = 1 << 3;
        /// Numeric underflow.
        const UE = 1 << 4;
        /// Inexact result (precision).
        const PE = 1 << 5;
    }
}

impl Flags {
    /// Exceptions found before a result is computed; unmasked, they suppress the computation and the exceptions found after it.
    pub const PRE_COMPUTATION: Flags = Flags::IE.union(Flags::DE).union(Flags::ZE);

    /// Those of `self` that `env` does not mask. Not empty means: #XM for SSE, ES set for x87.
    #[inline]
    #[must_use]
    pub fn unmasked(self, env: Env) -> Flags {
        Flags::from_bits_truncate(self.bits() & !env.masks)
    }

    /// Whether an exception that is found before computing is raised and not masked: the destination must stay as it is.
    #[inline]
    #[must_use]
    pub fn stops(self, env: Env) -> bool {
        !(self & Flags::PRE_COMPUTATION).unmasked(env).is_empty()
    }
}

/// Rounding control, by its encoding in MXCSR.RC, FCW.RC and the immediate of ROUNDSS.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Rounding {
    /// 00: to nearest, ties to even.
    #[default]
    Nearest,
    /// 01: toward minus infinity.
    Down,
    /// 10: toward plus infinity.
    Up,
    /// 11: toward zero.
    Truncate,
}

impl Rounding {
    /// From a two-bit RC field; higher bits are ignored.
    #[inline]
    #[must_use]
    pub const fn from_bits(rc: u32) -> Rounding {
        match rc & 3 {
            0 => Rounding::Nearest,
            1 => Rounding::Down,
            2 => Rounding::Up,
            _ => Rounding::Truncate,
        }
    }
}

/// x87 precision control: to how many bits of significand FADD, FSUB, FMUL, FDIV and FSQRT round.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Precision {
    /// PC 00: 24 bits.
    Single,
    /// PC 10: 53 bits.
    Double,
    /// PC 11 (and the reserved 01): 64 bits.
    #[default]
    Extended,
}

impl Precision {
    /// From a two-bit PC field; higher bits are ignored.
    #[inline]
    #[must_use]
    pub const fn from_bits(pc: u32) -> Precision {
        match pc & 3 {
            0 => Precision::Single,
            2 => Precision::Double,
            _ => Precision::Extended,
        }
    }

    /// Bits of significand, the integer bit included.
    #[inline]
    #[must_use]
    pub const fn bits(self) -> u32 {
        match self {
            Precision::Single => 24,
            Precision::Double => 53,
            Precision::Extended => 64,
        }
    }
}

/// Everything besides the operands that a result depends on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Env {
    /// Rounding control.
    pub rounding: Rounding,
    /// x87 precision control; SSE ignores it.
    pub precision: Precision,
    /// MXCSR.FTZ; x87 ignores it.
    pub flush_to_zero: bool,
    /// MXCSR.DAZ; x87 ignores it.
    pub denormals_are_zero: bool,
    /// The six exception masks in the bit order of [`Flags`]; 1 is masked.
    pub masks: u8,
}

impl Default for Env {
    /// MXCSR 1F80H and FCW 037FH: nearest, 64 bits, everything masked.
    fn default() -> Env {
        Env {
            rounding: Rounding::Nearest,
            precision: Precision::Extended,
            flush_to_zero: false,
            denormals_are_zero: false,
            masks: 0x3f,
        }
    }
}

impl Env {
    /// From MXCSR: masks 12:7, RC 14:13, FTZ 15, DAZ 6.
    #[inline]
    #[must_use]
    pub const fn from_mxcsr(mxcsr: u32) -> Env {
        Env {
            rounding: Rounding::from_bits(mxcsr >> 13),
            precision: Precision::Extended,
            flush_to_zero: mxcsr & 1 << 15 != 0,
            denormals_are_zero: mxcsr & 1 << 6 != 0,
            masks: (mxcsr >> 7) as u8 & 0x3f,
        }
    }

    /// From the x87 control word: masks 5:0, PC 9:8, RC 11:10.
    #[inline]
    #[must_use]
    pub const fn from_fcw(fcw: u16) -> Env {
        Env {
            rounding: Rounding::from_bits(fcw as u32 >> 10),
            precision: Precision::from_bits(fcw as u32 >> 8),
            flush_to_zero: false,
            denormals_are_zero: false,
            masks: fcw as u8 & 0x3f,
        }
    }

    /// The same environment with another rounding control, as for the truncating conversions.
    #[inline]
    #[must_use]
    pub const fn with_rounding(self, rounding: Rounding) -> Env {
        Env { rounding, ..self }
    }

    /// Whether all of `flags` are masked.
    #[inline]
    pub(crate) fn masks(self, flags: Flags) -> bool {
        self.masks & flags.bits() == flags.bits()
    }
}
