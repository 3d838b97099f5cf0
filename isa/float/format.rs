//! The three formats and the one unpacked form that every operation works on.
//!
//! SDM volume 1, "Floating-Point Data Types" and "Unsupported Double Extended-Precision Floating-Point Encodings and Pseudo-Denormals".

use core::fmt::Debug;

use serde::{Deserialize, Serialize};

/// What an encoding stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Class {
    /// Plus or minus zero.
    Zero,
    /// Denormal, or an 80-bit pseudo-denormal.
    Denormal,
    /// Normal finite.
    Normal,
    /// Infinity.
    Infinity,
    /// Quiet NaN.
    QuietNan,
    /// Signalling NaN.
    SignallingNan,
    /// 80-bit unnormal, pseudo-NaN or pseudo-infinity.
    Unsupported,
}

/// A number out of its encoding. Finite and nonzero: the value is `significand * 2^(exponent - 63)` with bit 63 set, denormals
/// too. NaN: the significand as the 80-bit format would hold it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Number {
    /// Negative.
    pub sign: bool,
    /// The kind of encoding it came from.
    pub class: Class,
    /// Unbiased exponent, when finite and nonzero.
    pub exponent: i32,
    /// Significand, integer bit in bit 63.
    pub significand: u64,
}

/// Bit 62 of a NaN's significand: quiet.
pub(crate) const QUIET_BIT: u64 = 1 << 62;
/// Bit 63 of a significand: the integer bit.
pub(crate) const INTEGER_BIT: u64 = 1 << 63;

impl Number {
    pub(crate) const fn zero(sign: bool) -> Number {
        Number { sign, class: Class::Zero, exponent: 0, significand: 0 }
    }

    pub(crate) const fn infinity(sign: bool) -> Number {
        Number { sign, class: Class::Infinity, exponent: 0, significand: INTEGER_BIT }
    }

    /// The QNaN floating-point indefinite: negative, quiet, empty payload.
    pub(crate) const INDEFINITE: Number =
        Number { sign: true, class: Class::QuietNan, exponent: 0, significand: INTEGER_BIT | QUIET_BIT };

    #[inline]
    pub(crate) fn is_nan(self) -> bool {
        matches!(self.class, Class::QuietNan | Class::SignallingNan)
    }

    #[inline]
    pub(crate) fn is_zero(self) -> bool {
        self.class == Class::Zero
    }

    #[inline]
    pub(crate) fn is_infinity(self) -> bool {
        self.class == Class::Infinity
    }

    #[inline]
    pub(crate) fn is_denormal(self) -> bool {
        self.class == Class::Denormal
    }

    /// A NaN made quiet; nothing else changes.
    #[inline]
    pub(crate) fn quieted(self) -> Number {
        Number { class: Class::QuietNan, significand: self.significand | QUIET_BIT, ..self }
    }

    #[inline]
    pub(crate) fn negated_if(self, negate: bool) -> Number {
        Number { sign: self.sign ^ negate, ..self }
    }

    /// A signed integer, exactly.
    #[inline]
    pub(crate) fn from_i64(value: i64) -> Number {
        Number::from_magnitude(value < 0, value.unsigned_abs())
    }

    /// An integer given as sign and magnitude, exactly.
    #[inline]
    pub(crate) fn from_magnitude(sign: bool, magnitude: u64) -> Number {
        if magnitude == 0 {
            return Number::zero(sign);
        }
        let shift = magnitude.leading_zeros();
        Number { sign, class: Class::Normal, exponent: 63 - shift as i32, significand: magnitude << shift }
    }
}

/// A floating-point format.
pub trait Format: Copy + Debug + 'static {
    /// The encoding.
    type Bits: Copy + Eq + Debug;
    /// Bits of significand, the integer bit included.
    const PRECISION: u32;
    /// The largest exponent of a finite number, which is also the bias.
    const EMAX: i32;
    /// The smallest exponent of a normal number.
    const EMIN: i32 = 1 - Self::EMAX;

    /// Takes an encoding apart.
    fn unpack(bits: Self::Bits) -> Number;
    /// Puts a number together. It must be one that the format can hold; [`crate::round`] sees to that.
    fn pack(number: Number) -> Self::Bits;
}

/// Single precision; encodings are `u32`.
#[derive(Clone, Copy, Debug)]
pub struct F32;

/// Double precision; encodings are `u64`.
#[derive(Clone, Copy, Debug)]
pub struct F64;

/// Double extended precision; the encoding is the value itself, as in a register or in ten bytes of memory.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct F80 {
    /// Bits 63:0, the integer bit explicit in bit 63.
    pub significand: u64,
    /// Bits 79:64: sign in bit 15, biased exponent below.
    pub sign_exponent: u16,
}

/// A format without an explicit integer bit: `fraction_bits` of fraction, then the exponent, then the sign.
#[inline]
fn unpack_interchange(bits: u64, fraction_bits: u32, emax: i32) -> Number {
    let exponent_mask = (2 * emax + 1) as u64;
    let biased = (bits >> fraction_bits) & exponent_mask;
    let sign = bits >> fraction_bits > exponent_mask;
    let fraction = (bits & ((1 << fraction_bits) - 1)) << (63 - fraction_bits);
    if biased == exponent_mask {
        let class = match fraction {
            0 => Class::Infinity,
            f if f & QUIET_BIT != 0 => Class::QuietNan,
            _ => Class::SignallingNan,
        };
        return Number { sign, class, exponent: 0, significand: fraction | INTEGER_BIT };
    }
    if biased != 0 {
        return Number {
            sign,
            class: Class::Normal,
            exponent: biased as i32 - emax,
            significand: fraction | INTEGER_BIT,
        };
    }
    if fraction == 0 {
        return Number::zero(sign);
    }
    let shift = fraction.leading_zeros();
    Number { sign, class: Class::Denormal, exponent: 1 - emax - shift as i32, significand: fraction << shift }
}

#[inline]
fn pack_interchange(number: Number, fraction_bits: u32, emax: i32) -> u64 {
    let exponent_mask = (2 * emax + 1) as u64;
    let fraction = (number.significand << 1) >> (64 - fraction_bits);
    let (biased, fraction) = match number.class {
        Class::Zero => (0, 0),
        Class::Infinity => (exponent_mask, 0),
        Class::QuietNan | Class::SignallingNan | Class::Unsupported => (exponent_mask, fraction),
        Class::Normal | Class::Denormal => {
            let shift = 1 - emax - number.exponent;
            if shift > 0 {
                (0, number.significand.checked_shr(shift as u32).unwrap_or(0) >> (63 - fraction_bits))
            } else {
                ((number.exponent + emax) as u64, fraction)
            }
        }
    };
    let sign = if number.sign { exponent_mask + 1 } else { 0 };
    (sign | biased) << fraction_bits | fraction
}

impl Format for F32 {
    type Bits = u32;
    const PRECISION: u32 = 24;
    const EMAX: i32 = 127;

    #[inline]
    fn unpack(bits: u32) -> Number {
        unpack_interchange(bits.into(), 23, Self::EMAX)
    }

    #[inline]
    fn pack(number: Number) -> u32 {
        pack_interchange(number, 23, Self::EMAX) as u32
    }
}

impl Format for F64 {
    type Bits = u64;
    const PRECISION: u32 = 53;
    const EMAX: i32 = 1023;

    #[inline]
    fn unpack(bits: u64) -> Number {
        unpack_interchange(bits, 52, Self::EMAX)
    }

    #[inline]
    fn pack(number: Number) -> u64 {
        pack_interchange(number, 52, Self::EMAX)
    }
}

impl Format for F80 {
    type Bits = F80;
    const PRECISION: u32 = 64;
    const EMAX: i32 = 16383;

    #[inline]
    fn unpack(bits: F80) -> Number {
        let sign = bits.sign_exponent >> 15 != 0;
        let biased = i32::from(bits.sign_exponent & 0x7fff);
        let significand = bits.significand;
        let number = |class, exponent, significand| Number { sign, class, exponent, significand };
        if biased == 0 {
            if significand == 0 {
                return Number::zero(sign);
            }
            // A pseudo-denormal has the integer bit set and still counts with the exponent of a denormal.
            let shift = significand.leading_zeros();
            return number(Class::Denormal, Self::EMIN - shift as i32, significand << shift);
        }
        if significand & INTEGER_BIT == 0 {
            return number(Class::Unsupported, 0, significand);
        }
        if biased != 0x7fff {
            return number(Class::Normal, biased - Self::EMAX, significand);
        }
        let class = match significand << 1 {
            0 => Class::Infinity,
            f if f >> 63 != 0 => Class::QuietNan,
            _ => Class::SignallingNan,
        };
        number(class, 0, significand)
    }

    #[inline]
    fn pack(number: Number) -> F80 {
        let (biased, significand) = match number.class {
            Class::Zero => (0, 0),
            Class::Infinity => (0x7fff, INTEGER_BIT),
            Class::QuietNan | Class::SignallingNan | Class::Unsupported => (0x7fff, number.significand),
            Class::Normal | Class::Denormal => {
                let shift = Self::EMIN - number.exponent;
                if shift > 0 {
                    (0, number.significand.checked_shr(shift as u32).unwrap_or(0))
                } else {
                    ((number.exponent + Self::EMAX) as u16, number.significand)
                }
            }
        };
        F80 { significand, sign_exponent: u16::from(number.sign) << 15 | biased }
    }
}

impl F80 {
    /// The QNaN floating-point indefinite.
    pub const INDEFINITE: F80 = F80 { significand: INTEGER_BIT | QUIET_BIT, sign_exponent: 0xffff };
    /// Plus zero (FLDZ).
    pub const ZERO: F80 = F80 { significand: 0, sign_exponent: 0 };
    /// Plus one (FLD1).
    pub const ONE: F80 = F80 { significand: INTEGER_BIT, sign_exponent: 0x3fff };

    /// From the ten bytes of memory or of an XSAVE image.
    #[inline]
    #[must_use]
    pub fn from_bytes(bytes: [u8; 10]) -> F80 {
        let [s0, s1, s2, s3, s4, s5, s6, s7, e0, e1] = bytes;
        F80 {
            significand: u64::from_le_bytes([s0, s1, s2, s3, s4, s5, s6, s7]),
            sign_exponent: u16::from_le_bytes([e0, e1]),
        }
    }

    /// To the ten bytes of memory.
    #[inline]
    #[must_use]
    pub fn to_bytes(self) -> [u8; 10] {
        let mut bytes = [0; 10];
        bytes[..8].copy_from_slice(&self.significand.to_le_bytes());
        bytes[8..].copy_from_slice(&self.sign_exponent.to_le_bytes());
        bytes
    }

    /// FCHS: the sign inverted, whatever the encoding.
    #[inline]
    #[must_use]
    pub fn negated(self) -> F80 {
        F80 { sign_exponent: self.sign_exponent ^ 0x8000, ..self }
    }

    /// FABS: the sign cleared, whatever the encoding.
    #[inline]
    #[must_use]
    pub fn absolute(self) -> F80 {
        F80 { sign_exponent: self.sign_exponent & 0x7fff, ..self }
    }
}
