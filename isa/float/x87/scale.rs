//! FSCALE and FXTRACT.

use super::convert::finish_number;
use super::{Computed, denormal_flag, special_operands};
use crate::arith;
use crate::env::{Env, Flags, Rounding};
use crate::format::{Class, F80, Format, Number};

/// More than any exponent difference the format knows: scaling by it always over- or underflows, bias-adjusted or not.
const MASSIVE: i32 = 0x1_8000;

/// FSCALE: `a` (ST0) times two to the integer part of `b` (ST1). Precision control does not matter.
pub fn scale(env: Env, a: F80, b: F80) -> Computed<F80> {
    let (a, b) = (F80::unpack(a), F80::unpack(b));
    if let Some(result) = special_operands(a, b) {
        return result;
    }
    let denormal = denormal_flag(a, b);
    if b.is_infinity() {
        return match (b.sign, a.is_zero(), a.is_infinity()) {
            (false, true, _) | (true, _, true) => Computed::exact(F80::INDEFINITE, Flags::IE),
            (false, ..) => Computed::exact(F80::pack(Number::infinity(a.sign)), denormal),
            (true, ..) => Computed::exact(F80::pack(Number::zero(a.sign)), denormal),
        };
    }
    if a.is_zero() || a.is_infinity() {
        return Computed::exact(F80::pack(a), denormal);
    }
    let magnitude = arith::to_integer(Rounding::Truncate, b).map_or(u64::MAX, |integer| integer.magnitude);
    let magnitude = magnitude.min(MASSIVE as u64) as i32;
    let exponent = a.exponent + if b.sign { -magnitude } else { magnitude };
    finish_number(env, denormal, Number { exponent, ..a })
}

/// FXTRACT: the significand (to be pushed) and the exponent (to stay in place) of `a`.
pub fn extract(env: Env, a: F80) -> (F80, F80, Flags) {
    let n = F80::unpack(a);
    if let Some(result) = special_operands(n, n) {
        return (result.value, result.value, result.flags);
    }
    let denormal = denormal_flag(n, n);
    match n.class {
        Class::Zero => (a, F80::pack(Number::infinity(true)), Flags::ZE),
        Class::Infinity => (a, F80::pack(Number::infinity(false)), Flags::empty()),
        _ if denormal.stops(env) => (a, a, denormal),
        _ => {
            let significand = Number { class: Class::Normal, exponent: 0, ..n };
            (F80::pack(significand), F80::pack(Number::from_i64(n.exponent.into())), denormal)
        }
    }
}
