//! Register arithmetic in the common case: two normal operands, rounding to nearest at 64 bits, a result far from either end of
//! the exponent range; also comparisons and stores of normal numbers. `None` sends the caller to the general path, which computes the same.

use super::Computed;
use crate::arith::{Relation, divide_significands};
use crate::env::{Env, Flags, Precision, Rounding};
use crate::format::{F80, INTEGER_BIT};
use crate::round::shift_right_sticky;

/// A normal operand: sign bit in place, biased exponent, significand.
#[derive(Clone, Copy)]
struct Normal {
    sign: u16,
    exponent: i32,
    significand: u64,
}

#[inline(always)]
fn normal(a: F80) -> Option<Normal> {
    let exponent = i32::from(a.sign_exponent & 0x7fff);
    let is_normal = a.significand & INTEGER_BIT != 0 && (exponent as u32).wrapping_sub(1) < 0x7ffe;
    is_normal.then_some(Normal { sign: a.sign_exponent & 0x8000, exponent, significand: a.significand })
}

#[inline(always)]
fn operands(env: Env, a: F80, b: F80) -> Option<(Normal, Normal)> {
    if env.rounding != Rounding::Nearest || env.precision != Precision::Extended {
        return None;
    }
    Some((normal(a)?, normal(b)?))
}

/// Rounds `significand` (bit 127 set, bit 0 sticky) to nearest even, `exponent` being biased.
#[inline(always)]
fn round_nearest(sign: u16, exponent: i32, significand: u128) -> Option<Computed<F80>> {
    let (high, low) = ((significand >> 64) as u64, significand as u64);
    // Above one half, or exactly one half and odd.
    let up = low > INTEGER_BIT - (high & 1);
    let (rounded, carry) = high.overflowing_add(u64::from(up));
    if (exponent as u32).wrapping_sub(2) >= 0x7ffc {
        return None;
    }
    let value = F80 {
        significand: rounded | u64::from(carry) << 63,
        sign_exponent: sign | (exponent + i32::from(carry)) as u16,
    };
    Some(Computed { value, flags: if low != 0 { Flags::PE } else { Flags::empty() }, c1: up })
}

#[inline(always)]
pub(super) fn add(env: Env, a: F80, b: F80) -> Option<Computed<F80>> {
    let (a, b) = operands(env, a, b)?;
    let (large, small) = if (a.exponent, a.significand) >= (b.exponent, b.significand) { (a, b) } else { (b, a) };
    let distance = (large.exponent - small.exponent) as u32;
    let l = u128::from(large.significand) << 64;
    // Up to a distance of 64 nothing is lost.
    let s = match distance {
        0..=64 => u128::from(small.significand) << (64 - distance),
        _ => shift_right_sticky(u128::from(small.significand), distance - 64),
    };
    if a.sign == b.sign {
        let (sum, carry) = l.overflowing_add(s);
        let carry_out = u32::from(carry);
        let normalised = sum >> carry_out | (sum & u128::from(carry_out)) | u128::from(carry_out) << 127;
        return round_nearest(large.sign, large.exponent + carry_out as i32, normalised);
    }
    let difference = l - s;
    if difference == 0 {
        return None;
    }
    let shift = difference.leading_zeros();
    round_nearest(large.sign, large.exponent - shift as i32, difference << shift)
}

#[inline(always)]
pub(super) fn sub(env: Env, a: F80, b: F80) -> Option<Computed<F80>> {
    add(env, a, b.negated())
}

#[inline(always)]
pub(super) fn mul(env: Env, a: F80, b: F80) -> Option<Computed<F80>> {
    let (a, b) = operands(env, a, b)?;
    let product = u128::from(a.significand) * u128::from(b.significand);
    let shift = product.leading_zeros();
    let exponent = a.exponent + b.exponent - 0x3fff + 1 - shift as i32;
    round_nearest(a.sign ^ b.sign, exponent, product << shift)
}

#[inline(always)]
pub(super) fn div(env: Env, a: F80, b: F80) -> Option<Computed<F80>> {
    let (a, b) = operands(env, a, b)?;
    let (exponent, significand) = divide_significands(a.significand, b.significand);
    round_nearest(a.sign ^ b.sign, a.exponent - b.exponent + 0x3fff + exponent, significand)
}

#[inline(always)]
pub(super) fn compare(a: F80, b: F80) -> Option<Relation> {
    let (a, b) = (normal(a)?, normal(b)?);
    let magnitude = |n: Normal| (n.exponent, n.significand);
    let (a_key, b_key) = (magnitude(a), magnitude(b));
    if a.sign == b.sign && a_key == b_key {
        return Some(Relation::Equal);
    }
    // Of numbers with different signs the negative one is less; of two negative ones the larger magnitude.
    let less = if a.sign != b.sign { a.sign != 0 } else { (a_key < b_key) != (a.sign != 0) };
    Some(if less { Relation::Less } else { Relation::Greater })
}

/// A normal number in a memory format of `bits` bits of significand and exponents up to `emax`, of which it reaches neither end: the encoding
/// without the sign.
#[inline(always)]
pub(super) fn narrow(env: Env, a: F80, bits: u32, emax: i32) -> Option<Computed<u64>> {
    let n = normal(a)?;
    let exponent = n.exponent - 0x3fff;
    if env.rounding != Rounding::Nearest || exponent <= 1 - emax || exponent >= emax {
        return None;
    }
    let shift = 64 - bits;
    let (kept, lost) = (n.significand >> shift, n.significand << bits);
    let up = lost > INTEGER_BIT - (kept & 1);
    // The integer bit adds one to the exponent field, and so does a carry.
    let value = (((exponent + emax - 1) as u64) << (bits - 1)) + kept + u64::from(up);
    Some(Computed { value, flags: if lost != 0 { Flags::PE } else { Flags::empty() }, c1: up })
}
