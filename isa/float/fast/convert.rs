//! Comparison and conversion in the common case. Where nothing but zeros and normal numbers takes part, MXCSR matters for rounding
//! only; the flags are complete, PE included, whatever MXCSR holds.

use super::{HostFormat, STICKY_PE, inexact_unless, is_plain, is_safe, magnitude};
use crate::arith::{Relation, Signals};
use crate::env::{Env, Flags};
use crate::format::{F32, F64, Format};
use crate::sse;

/// MXCSR.RC.
const ROUNDING: u32 = 0x6000;
/// Adding and subtracting this rounds a double below 2^51 to an integer.
const ROUNDER: f64 = 1.5 * (1u64 << 52) as f64;

/// [`sse::compare`] under `mxcsr`.
#[inline]
pub fn compare<F: HostFormat>(mxcsr: u32, a: F::Bits, b: F::Bits, signals: Signals) -> (Relation, Flags) {
    if !is_plain::<F>(a) || !is_plain::<F>(b) {
        return compare_slow::<F>(mxcsr, a, b, signals);
    }
    let (a, b) = (F::to_f64(a), F::to_f64(b));
    let relation = if a < b {
        Relation::Less
    } else if a == b {
        Relation::Equal
    } else {
        Relation::Greater
    };
    (relation, Flags::empty())
}

#[cold]
#[inline(never)]
fn compare_slow<F: HostFormat>(mxcsr: u32, a: F::Bits, b: F::Bits, signals: Signals) -> (Relation, Flags) {
    sse::compare::<F>(Env::from_mxcsr(mxcsr), a, b, signals)
}

/// [`sse::min`] under `mxcsr`.
#[inline]
pub fn min<F: HostFormat>(mxcsr: u32, a: F::Bits, b: F::Bits) -> (F::Bits, Flags) {
    if is_plain::<F>(a) && is_plain::<F>(b) {
        return (if F::to_f64(a) < F::to_f64(b) { a } else { b }, Flags::empty());
    }
    super::slow(sse::min::<F>, mxcsr, a, b)
}

/// [`sse::max`] under `mxcsr`.
#[inline]
pub fn max<F: HostFormat>(mxcsr: u32, a: F::Bits, b: F::Bits) -> (F::Bits, Flags) {
    if is_plain::<F>(a) && is_plain::<F>(b) {
        return (if F::to_f64(a) > F::to_f64(b) { a } else { b }, Flags::empty());
    }
    super::slow(sse::max::<F>, mxcsr, a, b)
}

/// CVTSS2SD: [`sse::convert`] from single to double under `mxcsr`.
#[inline]
pub fn widen(mxcsr: u32, a: u32) -> (u64, Flags) {
    if is_plain::<F32>(a) {
        return (f64::from(f32::from_bits(a)).to_bits(), Flags::empty());
    }
    convert_slow::<F32, F64>(mxcsr, a)
}

/// CVTSD2SS: [`sse::convert`] from double to single under `mxcsr`.
#[inline]
pub fn narrow(mxcsr: u32, a: u64) -> (u32, Flags) {
    if mxcsr & ROUNDING == 0 && is_plain::<F64>(a) {
        let exact = f64::from_bits(a);
        let result = exact as f32;
        if is_safe::<F32>(result.to_bits()) || magnitude::<F64>(a) == 0 {
            return (result.to_bits(), inexact_unless(mxcsr & STICKY_PE != 0 || f64::from(result) == exact));
        }
    }
    convert_slow::<F64, F32>(mxcsr, a)
}

#[cold]
#[inline(never)]
fn convert_slow<From: Format, To: Format>(mxcsr: u32, a: From::Bits) -> (To::Bits, Flags) {
    sse::convert::<From, To>(Env::from_mxcsr(mxcsr), a)
}

/// A plain operand of moderate size rounded to nearest by the host, with PE if that changed it.
#[inline(always)]
fn nearest<F: HostFormat>(mxcsr: u32, a: F::Bits, limit: f64) -> Option<(i64, Flags)> {
    let value = F::to_f64(a);
    if mxcsr & ROUNDING != 0 || !is_plain::<F>(a) || value.abs() >= limit {
        return None;
    }
    let rounded = (value + ROUNDER) - ROUNDER;
    Some((rounded as i64, inexact_unless(rounded == value)))
}

/// A plain operand of moderate size truncated by the host, with PE if that changed it.
#[inline(always)]
fn truncated<F: HostFormat>(a: F::Bits, limit: f64) -> Option<(i64, Flags)> {
    let value = F::to_f64(a);
    if !is_plain::<F>(a) || value.abs() >= limit {
        return None;
    }
    let whole = value as i64;
    Some((whole, inexact_unless(whole as f64 == value)))
}

/// [`sse::to_i32`] under `mxcsr`.
#[inline]
pub fn to_i32<F: HostFormat>(mxcsr: u32, a: F::Bits) -> (i32, Flags) {
    match nearest::<F>(mxcsr, a, (i32::MAX as f64) - 0.5) {
        Some((value, flags)) => (value as i32, flags),
        None => integer_slow(sse::to_i32::<F>, mxcsr, a),
    }
}

/// [`sse::to_i64`] under `mxcsr`.
#[inline]
pub fn to_i64<F: HostFormat>(mxcsr: u32, a: F::Bits) -> (i64, Flags) {
    match nearest::<F>(mxcsr, a, (1u64 << 51) as f64) {
        Some(result) => result,
        None => integer_slow(sse::to_i64::<F>, mxcsr, a),
    }
}

/// [`sse::to_i32_truncate`] under `mxcsr`.
#[inline]
pub fn to_i32_truncate<F: HostFormat>(mxcsr: u32, a: F::Bits) -> (i32, Flags) {
    match truncated::<F>(a, (1u64 << 31) as f64) {
        Some((value, flags)) => (value as i32, flags),
        None => integer_slow(sse::to_i32_truncate::<F>, mxcsr, a),
    }
}

/// [`sse::to_i64_truncate`] under `mxcsr`.
#[inline]
pub fn to_i64_truncate<F: HostFormat>(mxcsr: u32, a: F::Bits) -> (i64, Flags) {
    match truncated::<F>(a, (1u64 << 62) as f64) {
        Some(result) => result,
        None => integer_slow(sse::to_i64_truncate::<F>, mxcsr, a),
    }
}

#[cold]
#[inline(never)]
fn integer_slow<B, I>(exact: fn(Env, B) -> (I, Flags), mxcsr: u32, a: B) -> (I, Flags) {
    exact(Env::from_mxcsr(mxcsr), a)
}

/// [`sse::from_i32`] under `mxcsr`.
#[inline]
pub fn from_i32<F: HostFormat>(mxcsr: u32, a: i32) -> (F::Bits, Flags) {
    from_i64::<F>(mxcsr, a.into())
}

/// [`sse::from_i64`] under `mxcsr`.
#[inline]
pub fn from_i64<F: HostFormat>(mxcsr: u32, a: i64) -> (F::Bits, Flags) {
    // What fits the significand is exact; anything more is left to the general path unless rounding is the host's.
    if a.unsigned_abs() >> F::PRECISION == 0 {
        return (F::from_i64(a), Flags::empty());
    }
    if mxcsr & ROUNDING == 0 && a.unsigned_abs() >> 62 == 0 {
        let result = F::from_i64(a);
        return (result, inexact_unless(F::to_f64(result) as i64 == a));
    }
    integer_slow(sse::from_i64::<F>, mxcsr, a)
}
