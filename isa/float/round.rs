//! From an exact result to one that a format can hold: rounding, overflow, underflow.
//!
//! SDM volume 1, "Rounding", "Numeric Overflow Exception (#O)", "Numeric Underflow Exception (#U)". Tininess is detected after
//! rounding, for SSE and x87 alike.

use crate::env::{Env, Flags, Rounding};
use crate::format::{Class, F80, Format, Number};

/// A nonzero result before rounding: `significand * 2^(exponent - 127)` with bit 127 set. What lies below bit 0 is told by bit 0
/// (sticky).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Exact {
    pub sign: bool,
    pub exponent: i32,
    pub significand: u128,
}

impl Exact {
    /// A finite nonzero number as it is.
    #[inline]
    pub(crate) fn from_number(n: Number) -> Exact {
        Exact { sign: n.sign, exponent: n.exponent, significand: u128::from(n.significand) << 64 }
    }
}

/// Where a result goes, and under which rules.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Destination {
    pub env: Env,
    /// Bits of significand to keep: 24, 53 or 64.
    pub precision: u32,
    pub emin: i32,
    pub emax: i32,
    /// How far an unmasked overflow or underflow moves the exponent; 0 when the destination is not an x87 register, for then
    /// nothing is stored.
    pub bias_adjustment: i32,
    /// Whether a tiny result is replaced by zero (MXCSR.FTZ and underflow masked).
    pub flush_to_zero: bool,
}

impl Destination {
    /// An XMM register or memory in format `F`, written by an SSE instruction.
    #[inline]
    pub(crate) fn sse<F: Format>(env: Env) -> Destination {
        Destination {
            env,
            precision: F::PRECISION,
            emin: F::EMIN,
            emax: F::EMAX,
            bias_adjustment: 0,
            flush_to_zero: env.flush_to_zero && env.masks(Flags::UE),
        }
    }

    /// An x87 register, the result rounded to `precision` bits.
    #[inline]
    pub(crate) fn register(env: Env, precision: u32) -> Destination {
        Destination { env, precision, emin: F80::EMIN, emax: F80::EMAX, bias_adjustment: 24576, flush_to_zero: false }
    }

    /// Memory in format `F`, written by an x87 store.
    #[inline]
    pub(crate) fn memory<F: Format>(env: Env) -> Destination {
        Destination {
            env,
            precision: F::PRECISION,
            emin: F::EMIN,
            emax: F::EMAX,
            bias_adjustment: 0,
            flush_to_zero: false,
        }
    }
}

/// A rounded result.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Rounded {
    pub number: Number,
    pub flags: Flags,
    /// The magnitude was rounded up (C1).
    pub up: bool,
}

/// A significand rounded to `precision` bits, again with its top bit in bit 63 if it had been in bit 127.
#[derive(Clone, Copy)]
struct Significand {
    kept: u64,
    /// Rounding carried out of the top: the value is 2^64, `kept` is 0.
    carry: bool,
    inexact: bool,
    up: bool,
}

/// Whether a magnitude goes up, given the discarded fraction (of 2^128) and whether the last kept bit is odd.
#[inline]
pub(crate) fn rounds_up(rounding: Rounding, sign: bool, odd: bool, discarded: u128) -> bool {
    const HALF: u128 = 1 << 127;
    match rounding {
        Rounding::Nearest => discarded > HALF || (discarded == HALF && odd),
        Rounding::Down => sign && discarded != 0,
        Rounding::Up => !sign && discarded != 0,
        Rounding::Truncate => false,
    }
}

#[inline]
fn round_significand(rounding: Rounding, sign: bool, significand: u128, precision: u32) -> Significand {
    let top = (significand >> 64) as u64;
    let unit = 1u64 << (64 - precision);
    let discarded = significand << precision;
    let kept = top & unit.wrapping_neg();
    let up = rounds_up(rounding, sign, top & unit != 0, discarded);
    let (kept, carry) = if up { kept.overflowing_add(unit) } else { (kept, false) };
    Significand { kept, carry, inexact: discarded != 0, up }
}

/// `value` shifted right by `count`, the bits lost kept as a sticky bit 0.
#[inline]
pub(crate) fn shift_right_sticky(value: u128, count: u32) -> u128 {
    match count {
        0 => value,
        1..=127 => value >> count | u128::from(value << (128 - count) != 0),
        _ => u128::from(value != 0),
    }
}

/// Rounds an exact result into `to`, with the response to overflow and underflow that the masks ask for.
#[inline]
pub(crate) fn round(to: &Destination, x: Exact) -> Rounded {
    let s = round_significand(to.env.rounding, x.sign, x.significand, to.precision);
    let (exponent, significand) = if s.carry { (x.exponent + 1, 1 << 63) } else { (x.exponent, s.kept) };
    if exponent > to.emax {
        return overflow(to, x.sign, exponent, significand, s);
    }
    if exponent < to.emin || x.exponent < to.emin {
        return underflow(to, x, exponent, significand, s);
    }
    let flags = if s.inexact { Flags::PE } else { Flags::empty() };
    Rounded { number: Number { sign: x.sign, class: Class::Normal, exponent, significand }, flags, up: s.up }
}

#[cold]
fn overflow(to: &Destination, sign: bool, exponent: i32, significand: u64, s: Significand) -> Rounded {
    if !to.env.masks(Flags::OE) {
        let flags = if s.inexact { Flags::OE | Flags::PE } else { Flags::OE };
        let exponent = exponent - to.bias_adjustment;
        if exponent > to.emax && to.bias_adjustment != 0 {
            // FSCALE's massive overflow.
            return Rounded { number: Number::infinity(sign), flags: Flags::OE | Flags::PE, up: true };
        }
        return Rounded { number: Number { sign, class: Class::Normal, exponent, significand }, flags, up: s.up };
    }
    let to_infinity = match to.env.rounding {
        Rounding::Nearest => true,
        Rounding::Down => sign,
        Rounding::Up => !sign,
        Rounding::Truncate => false,
    };
    let number = if to_infinity {
        Number::infinity(sign)
    } else {
        let significand = u64::MAX << (64 - to.precision);
        Number { sign, class: Class::Normal, exponent: to.emax, significand }
    };
    Rounded { number, flags: Flags::OE | Flags::PE, up: to_infinity }
}

/// The result lies below the smallest normal number, before rounding at least; `exponent`, `significand` and `s` are the result
/// rounded as if the exponent had no bounds.
#[cold]
fn underflow(to: &Destination, x: Exact, exponent: i32, significand: u64, s: Significand) -> Rounded {
    let tiny = exponent < to.emin;
    if tiny && !to.env.masks(Flags::UE) {
        let flags = if s.inexact { Flags::UE | Flags::PE } else { Flags::UE };
        let exponent = exponent + to.bias_adjustment;
        if exponent < to.emin && to.bias_adjustment != 0 {
            // FSCALE's massive underflow.
            return Rounded { number: Number::zero(x.sign), flags: Flags::UE | Flags::PE, up: false };
        }
        return Rounded {
            number: Number { sign: x.sign, class: Class::Normal, exponent, significand },
            flags,
            up: s.up,
        };
    }
    if tiny && to.flush_to_zero {
        return Rounded { number: Number::zero(x.sign), flags: Flags::UE | Flags::PE, up: false };
    }
    let shifted = shift_right_sticky(x.significand, (to.emin - x.exponent) as u32);
    let s = round_significand(to.env.rounding, x.sign, shifted, to.precision);
    let flags = match (s.inexact, tiny) {
        (false, _) => Flags::empty(),
        (true, false) => Flags::PE,
        (true, true) => Flags::UE | Flags::PE,
    };
    let shift = s.kept.leading_zeros();
    let number = if s.kept == 0 {
        Number::zero(x.sign)
    } else {
        let class = if shift == 0 { Class::Normal } else { Class::Denormal };
        Number { sign: x.sign, class, exponent: to.emin - shift as i32, significand: s.kept << shift }
    };
    Rounded { number, flags, up: s.up }
}
