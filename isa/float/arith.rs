//! The operations themselves on unpacked numbers that are no NaN: an exact result, a special one, or an exception.
//!
//! SDM volume 1, "Invalid Operation Exception (#I)", "Divide-By-Zero Exception (#Z)".

use crate::env::Rounding;
use crate::format::Number;
use crate::round::{Exact, shift_right_sticky};

/// What an operation yields before rounding.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Outcome {
    /// Nonzero and finite, still to be rounded.
    Exact(Exact),
    /// Zero or infinity, exactly.
    Special(Number),
    /// Invalid operation: the indefinite.
    Invalid,
    /// Infinity of this sign out of finite operands.
    DivideByZero(bool),
}

/// `a + b`. The rounding decides the sign of an exact zero.
#[inline]
pub(crate) fn add(rounding: Rounding, a: Number, b: Number) -> Outcome {
    if a.is_infinity() || b.is_infinity() {
        return if a.is_infinity() && b.is_infinity() && a.sign != b.sign {
            Outcome::Invalid
        } else {
            Outcome::Special(if a.is_infinity() { a } else { b })
        };
    }
    if a.is_zero() || b.is_zero() {
        return match (a.is_zero(), b.is_zero()) {
            (true, true) if a.sign != b.sign => Outcome::Special(Number::zero(rounding == Rounding::Down)),
            (true, true) => Outcome::Special(a),
            (true, false) => Outcome::Exact(Exact::from_number(b)),
            _ => Outcome::Exact(Exact::from_number(a)),
        };
    }
    let (large, small) = if (a.exponent, a.significand) >= (b.exponent, b.significand) { (a, b) } else { (b, a) };
    // One bit of room above for the carry.
    let l = u128::from(large.significand) << 63;
    let s = shift_right_sticky(u128::from(small.significand) << 63, (large.exponent - small.exponent) as u32);
    let sum = if a.sign == b.sign { l + s } else { l - s };
    if sum == 0 {
        return Outcome::Special(Number::zero(rounding == Rounding::Down));
    }
    let shift = sum.leading_zeros();
    Outcome::Exact(Exact { sign: large.sign, exponent: large.exponent + 1 - shift as i32, significand: sum << shift })
}

/// `a - b`.
#[inline]
pub(crate) fn sub(rounding: Rounding, a: Number, b: Number) -> Outcome {
    add(rounding, a, b.negated_if(true))
}

/// `a * b`.
#[inline]
pub(crate) fn mul(_: Rounding, a: Number, b: Number) -> Outcome {
    let sign = a.sign != b.sign;
    if a.is_infinity() || b.is_infinity() {
        return if a.is_zero() || b.is_zero() { Outcome::Invalid } else { Outcome::Special(Number::infinity(sign)) };
    }
    if a.is_zero() || b.is_zero() {
        return Outcome::Special(Number::zero(sign));
    }
    let product = u128::from(a.significand) * u128::from(b.significand);
    let shift = product.leading_zeros();
    Outcome::Exact(Exact { sign, exponent: a.exponent + b.exponent + 1 - shift as i32, significand: product << shift })
}

/// `a / b`.
#[inline]
pub(crate) fn div(_: Rounding, a: Number, b: Number) -> Outcome {
    let sign = a.sign != b.sign;
    if a.is_infinity() {
        return if b.is_infinity() { Outcome::Invalid } else { Outcome::Special(Number::infinity(sign)) };
    }
    if b.is_infinity() {
        return Outcome::Special(Number::zero(sign));
    }
    match (a.is_zero(), b.is_zero()) {
        (true, true) => Outcome::Invalid,
        (true, false) => Outcome::Special(Number::zero(sign)),
        (false, true) => Outcome::DivideByZero(sign),
        (false, false) => {
            let (exponent, significand) = divide_significands(a.significand, b.significand);
            Outcome::Exact(Exact { sign, exponent: a.exponent - b.exponent + exponent, significand })
        }
    }
}

/// The quotient of two significands with their top bits set: its exponent (0 or -1) and its normalised, sticky significand.
#[inline]
pub(crate) fn divide_significands(a: u64, b: u64) -> (i32, u128) {
    // The dividend is chosen so that the quotient has exactly 64 bits: its high half stays below the divisor.
    let (exponent, dividend) = if a >= b { (0, u128::from(a) << 63) } else { (-1, u128::from(a) << 64) };
    let divisor = u128::from(b);
    let quotient = dividend / divisor;
    let remainder = dividend - quotient * divisor;
    // Where the remainder stands to half of the divisor is all that rounding asks.
    let below = match (remainder * 2).cmp(&divisor) {
        _ if remainder == 0 => 0,
        core::cmp::Ordering::Less => 1,
        core::cmp::Ordering::Equal => 1 << 63,
        core::cmp::Ordering::Greater => 1 << 63 | 1,
    };
    (exponent, quotient << 64 | below)
}

/// The square root of `a`.
#[inline]
pub(crate) fn sqrt(a: Number) -> Outcome {
    if a.is_zero() {
        return Outcome::Special(a);
    }
    if a.sign {
        return Outcome::Invalid;
    }
    if a.is_infinity() {
        return Outcome::Special(a);
    }
    let odd = a.exponent & 1 != 0;
    let radicand = u128::from(a.significand) << if odd { 64 } else { 63 };
    let root = u128::from(integer_sqrt(radicand));
    let remainder = radicand - root * root;
    // (root + 1/2)^2 = root^2 + root + 1/4: never a tie.
    let below = match remainder {
        0 => 0,
        r if r > root => 1 << 63 | 1,
        _ => 1,
    };
    Outcome::Exact(Exact { sign: false, exponent: a.exponent >> 1, significand: root << 64 | below })
}

/// The integer part of the root of a number not below 2^126.
#[inline]
fn integer_sqrt(n: u128) -> u64 {
    // The host's double root is good to some 50 bits, one step of Newton's method in doubles to more than 64; what truncation
    // leaves is mended after. IEEE doubles make both the same everywhere.
    let estimate = (((n >> 64) as u64 as f64).sqrt() * (1u64 << 32) as f64) as u64;
    let error = n.wrapping_sub(u128::from(estimate) * u128::from(estimate)) as i128;
    let correction = (error >> 16) as i64 as f64 * 65536.0 / (2.0 * estimate as f64);
    let mut root = estimate.saturating_add_signed(correction as i64);
    let square = |root: u64| u128::from(root) * u128::from(root);
    while square(root) > n {
        root -= 1;
    }
    while root != u64::MAX && square(root + 1) <= n {
        root += 1;
    }
    root
}

/// How two operands compare.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Relation {
    /// The first is less.
    Less,
    /// Equal; zeros of either sign are.
    Equal,
    /// The first is greater.
    Greater,
    /// At least one is a NaN (or has an unsupported encoding).
    Unordered,
}

/// Which NaNs a comparison objects to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Signals {
    /// IE for signalling NaNs only (UCOMISS; CMPPS EQ, UNORD, NEQ, ORD; FUCOM).
    SignallingNans,
    /// IE for every NaN (COMISS; CMPPS LT, LE, NLT, NLE; FCOM).
    AllNans,
}

/// Compares two operands that are no NaN.
#[inline]
pub(crate) fn compare(a: Number, b: Number) -> Relation {
    // Zero ranks below every exponent, infinity above.
    let key = |n: Number| {
        let rank = if n.is_zero() {
            i32::MIN
        } else if n.is_infinity() {
            i32::MAX
        } else {
            n.exponent
        };
        (rank, n.significand)
    };
    if a.is_zero() && b.is_zero() {
        return Relation::Equal;
    }
    let ordering = match (a.sign, b.sign) {
        (false, true) => return Relation::Greater,
        (true, false) => return Relation::Less,
        (false, false) => key(a).cmp(&key(b)),
        (true, true) => key(b).cmp(&key(a)),
    };
    match ordering {
        core::cmp::Ordering::Less => Relation::Less,
        core::cmp::Ordering::Equal => Relation::Equal,
        core::cmp::Ordering::Greater => Relation::Greater,
    }
}

/// A magnitude rounded to an integer.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Integer {
    pub magnitude: u64,
    pub inexact: bool,
    pub up: bool,
}

/// Rounds a finite number to an integer; `None` when the magnitude needs more than 64 bits.
#[inline]
pub(crate) fn to_integer(rounding: Rounding, n: Number) -> Option<Integer> {
    if n.is_zero() {
        return Some(Integer { magnitude: 0, inexact: false, up: false });
    }
    if n.exponent > 63 {
        return None;
    }
    let fixed = shift_right_sticky(u128::from(n.significand) << 64, (63 - n.exponent) as u32);
    let (whole, fraction) = ((fixed >> 64) as u64, fixed << 64);
    let up = crate::round::rounds_up(rounding, n.sign, whole & 1 != 0, fraction);
    Some(Integer { magnitude: whole.wrapping_add(u64::from(up)), inexact: fraction != 0, up })
}
