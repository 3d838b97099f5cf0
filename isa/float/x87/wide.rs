//! Arithmetic at 128 bits of significand, for the transcendental instructions.
//!
//! Every operation here truncates; its relative error is a few units of 2^-127, and a result of these functions is good to about
//! 2^-118, so that rounding it to 64 bits differs from the correctly rounded one about once in 2^50.

use crate::format::Number;
use crate::round::{Exact, shift_right_sticky};

/// 1 in the fixed point format of series sums: one bit before the point, 127 after.
pub(super) const ONE: u128 = 1 << 127;

/// The upper half of a product of two fractions of 2^128.
pub(super) const fn mul_high(a: u128, b: u128) -> u128 {
    const LOW: u128 = u64::MAX as u128;
    let (a1, a0, b1, b0) = (a >> 64, a & LOW, b >> 64, b & LOW);
    let (middle1, middle2) = (a1 * b0, a0 * b1);
    let carry = (((a0 * b0) >> 64) + (middle1 & LOW) + (middle2 & LOW)) >> 64;
    a1 * b1 + (middle1 >> 64) + (middle2 >> 64) + carry
}

/// `1 / (step * k + 1)` for k from 0.
pub(super) const fn reciprocals<const N: usize>(step: u128) -> [u128; N] {
    let mut coefficients = [ONE; N];
    let mut k = 1;
    while k < N {
        coefficients[k] = ONE / (step * k as u128 + 1);
        k += 1;
    }
    coefficients
}

/// `first! / (first + stride * k)!` for k from 0, `first` being 0 or 1.
pub(super) const fn reciprocal_factorials<const N: usize>(first: u128, stride: u128) -> [u128; N] {
    let mut coefficients = [ONE; N];
    let mut factor = first;
    let mut k = 1;
    while k < N {
        let mut value = coefficients[k - 1];
        let end = factor + stride;
        while factor < end {
            factor += 1;
            value /= factor;
        }
        coefficients[k] = value;
        k += 1;
    }
    coefficients
}

/// The signs of a power series' terms.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Terms {
    Positive,
    Alternating,
}

/// `c0 ± c1 x ± c2 x^2 …` for a fraction `x` of 2^128, as fixed point like [`ONE`]. The coefficients fall fast enough that every
/// partial sum stays positive and below 2.
pub(super) const fn series(x: u128, coefficients: &[u128], terms: Terms) -> u128 {
    let mut k = coefficients.len() - 1;
    let mut sum = coefficients[k];
    while k > 0 {
        k -= 1;
        let term = mul_high(x, sum);
        sum = match terms {
            Terms::Positive => coefficients[k] + term,
            // Never quite nothing, so that the sum of a tiny x still lies on its side of one.
            Terms::Alternating => coefficients[k] - if term == 0 { 1 } else { term },
        };
    }
    sum
}

/// `rest / divisor` as a fraction of 2^128, for `rest` below `divisor` and bit 127 of `divisor` set.
fn divide_fraction(rest: u128, divisor: u128) -> u128 {
    let (high, rest) = divide_digit(rest, divisor);
    let (low, _) = divide_digit(rest, divisor);
    u128::from(high) << 64 | u128::from(low)
}

/// Quotient and rest of `rest * 2^64` by `divisor`: a step of long division in digits of 64 bits (Knuth's algorithm D).
fn divide_digit(rest: u128, divisor: u128) -> (u64, u128) {
    const DIGIT: u128 = 1 << 64;
    let (high, low) = (divisor >> 64, divisor & (DIGIT - 1));
    // An estimate from the divisor's high digit, at most two too large.
    let (mut quotient, mut left) = (rest / high, rest % high);
    while quotient >= DIGIT || quotient * low > left << 64 {
        quotient -= 1;
        left += high;
        if left >= DIGIT {
            break;
        }
    }
    (quotient as u64, (rest << 64).wrapping_sub(quotient.wrapping_mul(divisor)))
}

impl Exact {
    /// `value * 2^exponent`, for a nonzero value.
    pub(super) const fn from_integer(sign: bool, value: u128, exponent: i32) -> Exact {
        let shift = value.leading_zeros();
        Exact { sign, exponent: exponent + 127 - shift as i32, significand: value << shift }
    }

    /// A sum of [`series`].
    pub(super) const fn from_fixed(value: u128) -> Exact {
        Exact::from_integer(false, value, -127)
    }

    /// A number below one as a fraction of 2^128, its sign dropped.
    pub(super) const fn fraction(self) -> u128 {
        let shift = -1 - self.exponent;
        if shift < 0 || shift > 127 { 0 } else { self.significand >> shift }
    }

    pub(super) fn negated_if(self, negate: bool) -> Exact {
        Exact { sign: self.sign ^ negate, ..self }
    }

    pub(super) fn mul(self, other: Exact) -> Exact {
        let product = mul_high(self.significand, other.significand);
        let shift = product.leading_zeros();
        Exact {
            sign: self.sign != other.sign,
            exponent: self.exponent + other.exponent + 1 - shift as i32,
            significand: product << shift,
        }
    }

    pub(super) fn div(self, other: Exact) -> Exact {
        let (dividend, divisor) = (self.significand, other.significand);
        let sign = self.sign != other.sign;
        let exponent = self.exponent - other.exponent;
        if dividend < divisor {
            return Exact { sign, exponent: exponent - 1, significand: divide_fraction(dividend, divisor) };
        }
        let significand = 1 << 127 | divide_fraction(dividend - divisor, divisor) >> 1;
        Exact { sign, exponent, significand }
    }

    /// The sum; `None` when it is zero.
    pub(super) fn add(self, other: Exact) -> Option<Exact> {
        let key = |x: Exact| (x.exponent, x.significand);
        let (large, small) = if key(self) >= key(other) { (self, other) } else { (other, self) };
        let l = large.significand >> 1;
        let s = shift_right_sticky(small.significand, (large.exponent - small.exponent).saturating_add(1) as u32);
        let sum = if large.sign == small.sign { l + s } else { l - s };
        (sum != 0).then(|| Exact::from_integer(large.sign, sum, large.exponent - 126))
    }

    /// The same value marked as no number of the format: what a transcendental function gives.
    pub(super) fn inexact(self) -> Exact {
        Exact { significand: self.significand | 1, ..self }
    }

    /// An integer; `None` for zero.
    pub(super) fn from_i32(value: i32) -> Option<Exact> {
        (value != 0).then(|| Exact::from_number(Number::from_i64(value.into())))
    }
}
