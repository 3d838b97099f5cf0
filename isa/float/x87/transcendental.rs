//! F2XM1, FYL2X, FYL2XP1, FPATAN, FSIN, FCOS, FSINCOS, FPTAN.
//!
//! The manual asks for less than one unit in the last place; this is, next to always, the correctly rounded result. The trigonometric
//! functions reduce their argument with the 66-bit π that the manual describes, as processors do.
//!
//! SDM volume 1, "Transcendental Instruction Accuracy", "Approximation of Pi"; volume 2, the instructions' tables of special operands.

use super::wide::{self, Terms, series};
use super::{Computed, FULL_PRECISION, denormal_flag, finish, special_operands};
use crate::arith::Outcome;
use crate::env::{Env, Flags};
use crate::format::{Class, F80, Format, Number};
use crate::round::Exact;

const fn constant(exponent: i32, significand: u128) -> Exact {
    Exact { sign: false, exponent, significand }
}

const LN_2: Exact = constant(-1, 0xb172_17f7_d1cf_79ab_c9e3_b398_03f2_f6af);
const TWO_OVER_LN_2: Exact = constant(1, 0xb8aa_3b29_5c17_f0bb_be87_fed0_691d_3e89);
const PI: Exact = constant(1, 0xc90f_daa2_2168_c234_c4c6_628b_80dc_1cd1);
const HALF_PI: Exact = constant(0, 0xc90f_daa2_2168_c234_c4c6_628b_80dc_1cd1);
const ONE: Exact = constant(0, 1 << 127);
const TWO: Exact = constant(1, 1 << 127);
/// The square root of two as a significand.
const SQRT_2: u128 = 0xb504_f333_f9de_6484_597d_89b3_754a_be9f;

fn infinity(sign: bool, flags: Flags) -> Computed<F80> {
    Computed::exact(F80::pack(Number::infinity(sign)), flags)
}

fn zero(sign: bool, flags: Flags) -> Computed<F80> {
    Computed::exact(F80::pack(Number::zero(sign)), flags)
}

fn invalid() -> Computed<F80> {
    Computed::exact(F80::INDEFINITE, Flags::IE)
}

fn rounded(env: Env, denormal: Flags, value: Exact) -> Computed<F80> {
    finish(env, FULL_PRECISION, denormal, Outcome::Exact(value))
}

/// F2XM1: `2^a - 1` for `a` from -1 to +1. Beyond, where the manual leaves the result undefined, it is `a`.
pub fn exponential(env: Env, a: F80) -> Computed<F80> {
    const COEFFICIENTS: [u128; 30] = wide::reciprocal_factorials(1, 1);
    let n = F80::unpack(a);
    if let Some(result) = special_operands(n, n) {
        return result;
    }
    let denormal = denormal_flag(n, n);
    if n.is_zero() {
        return Computed::exact(a, denormal);
    }
    if n.is_infinity() {
        return if n.sign { Computed::exact(F80::ONE.negated(), denormal) } else { Computed::exact(a, denormal) };
    }
    if n.exponent >= 0 {
        // 2^1 - 1 is 1, 2^-1 - 1 is -1/2.
        let minus_one = a == F80::ONE.negated();
        return Computed::exact(if minus_one { F80 { sign_exponent: 0xbffe, ..a } } else { a }, denormal);
    }
    let y = Exact::from_number(n).mul(LN_2);
    let terms = if n.sign { Terms::Alternating } else { Terms::Positive };
    let factor = Exact::from_fixed(series(y.fraction(), &COEFFICIENTS, terms));
    rounded(env, denormal, y.mul(factor).inexact())
}

/// Twice the area tangent of `s` over ln 2, for `|s|` up to 0.172: `log2((1 + s) / (1 - s))`.
fn log2_of_ratio(s: Exact) -> Exact {
    const COEFFICIENTS: [u128; 25] = wide::reciprocals(2);
    let factor = Exact::from_fixed(series(s.mul(s).fraction(), &COEFFICIENTS, Terms::Positive));
    s.mul(factor).mul(TWO_OVER_LN_2)
}

/// The binary logarithm of a positive number, and whether it is an integer; `None` for zero, the logarithm of one.
fn log2(x: Exact) -> Option<(Exact, bool)> {
    const UNIT: u128 = 1 << 127;
    // x is 2^power * m with m between the roots of 1/2 and of 2; m - 1 and (m + 1) / 2, both at the scale of the significand.
    let (power, negative, difference, half_sum) = if x.significand <= SQRT_2 {
        (x.exponent, false, x.significand - UNIT, (x.significand >> 1) + (UNIT >> 1))
    } else {
        (x.exponent + 1, true, x.significand.wrapping_neg() >> 1, (x.significand >> 2) + (UNIT >> 1))
    };
    let whole = Exact::from_i32(power);
    if difference == 0 {
        return Some((whole?, true));
    }
    let s = Exact::from_integer(negative, difference, -128).div(Exact::from_integer(false, half_sum, -127));
    let fraction = log2_of_ratio(s);
    let sum = match whole {
        None => fraction,
        Some(whole) => whole.add(fraction)?,
    };
    Some((sum, false))
}

/// FYL2X: `y * log2(x)`, `x` being ST0 and `y` ST1.
pub fn log_times(env: Env, x: F80, y: F80) -> Computed<F80> {
    let (x, y) = (F80::unpack(x), F80::unpack(y));
    if let Some(result) = special_operands(x, y) {
        return result;
    }
    let denormal = denormal_flag(x, y);
    if x.is_zero() {
        return match (y.is_zero(), y.is_infinity()) {
            (true, _) => invalid(),
            (_, true) => infinity(!y.sign, denormal),
            _ => infinity(!y.sign, Flags::ZE),
        };
    }
    if x.sign {
        return invalid();
    }
    if x.is_infinity() {
        return if y.is_zero() { invalid() } else { infinity(y.sign, denormal) };
    }
    let logarithm = log2(Exact::from_number(x));
    let below_one = logarithm.is_some_and(|(l, _)| l.sign);
    if y.is_infinity() {
        return if logarithm.is_none() { invalid() } else { infinity(y.sign ^ below_one, denormal) };
    }
    match logarithm {
        Some((l, integer)) if !y.is_zero() => {
            let product = Exact::from_number(y).mul(l);
            rounded(env, denormal, if integer { product } else { product.inexact() })
        }
        _ => zero(y.sign ^ below_one, denormal),
    }
}

/// FYL2XP1: `y * log2(x + 1)`, `x` being ST0 and `y` ST1. Where the manual leaves the result undefined: `x` from 1 - √½ up is
/// computed alike, -1 gives what FYL2X gives for zero, less than -1 is invalid.
pub fn log_plus_one_times(env: Env, x: F80, y: F80) -> Computed<F80> {
    let (a, b) = (F80::unpack(x), F80::unpack(y));
    if let Some(result) = special_operands(a, b) {
        return result;
    }
    let denormal = denormal_flag(a, b);
    if a.is_zero() {
        return if b.is_infinity() { invalid() } else { zero(a.sign ^ b.sign, denormal) };
    }
    if a.is_infinity() || (a.sign && a.exponent >= 0) {
        let argument = if x == F80::ONE.negated() { F80::ZERO } else { x };
        return log_times(env, argument, y);
    }
    if b.is_infinity() {
        return infinity(a.sign ^ b.sign, denormal);
    }
    if b.is_zero() {
        return zero(a.sign ^ b.sign, denormal);
    }
    let (a, b) = (Exact::from_number(a), Exact::from_number(b));
    let logarithm = if a.exponent < -2 {
        // s = x / (2 + x) keeps the relative precision of a small x.
        TWO.add(a).map(|sum| (log2_of_ratio(a.div(sum)), false))
    } else {
        ONE.add(a).and_then(log2)
    };
    match logarithm {
        None => zero(false, denormal),
        Some((l, integer)) => {
            let product = b.mul(l);
            rounded(env, denormal, if integer { product } else { product.inexact() })
        }
    }
}

/// atan(k/16), with the constants of [`Exact`].
const ARC_TANGENTS: [Exact; 17] = arc_tangents();

const ARC_TANGENT_COEFFICIENTS: [u128; 14] = wide::reciprocals(2);

const fn arc_tangents() -> [Exact; 17] {
    // atan(k/16) - atan((k-1)/16) = atan(16 / (256 + k(k-1))), and sums of these as fractions of 2^128.
    const COEFFICIENTS: [u128; 17] = wide::reciprocals(2);
    let mut table = [constant(i32::MIN / 2, 1 << 127); 17];
    let mut sum = 0u128;
    let mut k = 1;
    while k <= 16 {
        let divisor = 256 + (k * (k - 1)) as u128;
        let u = u128::MAX / divisor * 16 + (u128::MAX % divisor) * 16 / divisor;
        let factor = series(wide::mul_high(u, u), &COEFFICIENTS, Terms::Alternating);
        sum += wide::mul_high(u, factor) << 1;
        table[k] = Exact::from_integer(false, sum, -128);
        k += 1;
    }
    table
}

/// atan(|b / a|) of two finite numbers, `b` not the larger.
fn arc_tangent(b: Number, a: Number) -> Exact {
    let distance = a.exponent - b.exponent;
    let mut nearest = 0;
    let mut u = Exact::from_number(b).div(Exact::from_number(a)).negated_if(a.sign != b.sign);
    if distance < 6 {
        let numerator = i128::from(b.significand);
        let denominator = i128::from(a.significand) << distance;
        nearest = ((numerator * 32 / denominator + 1) / 2) as usize;
        if nearest != 0 {
            let k = nearest as i128;
            let (rest, whole) = (numerator * 16 - k * denominator, denominator * 16 + k * numerator);
            if rest == 0 {
                return ARC_TANGENTS[nearest];
            }
            let divisor = Exact::from_integer(false, whole as u128, 0);
            u = Exact::from_integer(rest < 0, rest.unsigned_abs(), 0).div(divisor);
        }
    }
    let factor = series(u.mul(u).fraction(), &ARC_TANGENT_COEFFICIENTS, Terms::Alternating);
    let small = u.mul(Exact::from_fixed(factor));
    if nearest == 0 {
        return small;
    }
    ARC_TANGENTS[nearest].add(small).unwrap_or(small)
}

/// FPATAN: the angle of the point (`x`, `y`), `x` being ST0 and `y` ST1; between -π and π.
pub fn angle(env: Env, x: F80, y: F80) -> Computed<F80> {
    let (x, y) = (F80::unpack(x), F80::unpack(y));
    if let Some(result) = special_operands(x, y) {
        return result;
    }
    let denormal = denormal_flag(x, y);
    let inexact = |value: Exact| rounded(env, denormal, value.negated_if(y.sign).inexact());
    if y.is_zero() || (x.is_infinity() && !y.is_infinity()) {
        return if x.sign { inexact(PI) } else { zero(y.sign, denormal) };
    }
    if x.is_zero() || (y.is_infinity() && !x.is_infinity()) {
        return inexact(HALF_PI);
    }
    let steep = (y.exponent, y.significand) > (x.exponent, x.significand);
    let first_octant = match (x.is_infinity(), steep) {
        (true, _) => ARC_TANGENTS[16],
        (false, true) => arc_tangent(x, y),
        (false, false) => arc_tangent(y, x),
    };
    let first_quadrant = if steep { HALF_PI.add(first_octant.negated_if(true)) } else { Some(first_octant) };
    let value = match first_quadrant {
        Some(angle) if x.sign => PI.add(angle.negated_if(true)),
        other => other,
    };
    inexact(value.unwrap_or(HALF_PI))
}

/// What a trigonometric instruction gives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Trigonometric<T> {
    /// The result.
    Complete(T),
    /// The operand lies outside -2^63 to 2^63: C2 is set, nothing else changes.
    OutOfRange,
}

/// An angle brought into -π/4 to π/4 by a number of right angles.
struct Reduced {
    right_angles: u32,
    rest: Exact,
}

/// Exact modulo the 66-bit π; `n` is finite, nonzero and below 2^63.
fn reduce(n: Number) -> Reduced {
    /// π/2 in units of 2^-65.
    const HALF_PI_66: u128 = 0x3_243f_6a88_85a3_08d3;
    if n.exponent < -1 {
        return Reduced { right_angles: 0, rest: Exact::from_number(n) };
    }
    let angle = u128::from(n.significand) << (n.exponent + 2);
    let (quotient, rest) = (angle / HALF_PI_66, angle % HALF_PI_66);
    let (quotient, sign, rest) =
        if rest > HALF_PI_66 / 2 { (quotient + 1, true, HALF_PI_66 - rest) } else { (quotient, false, rest) };
    // The divisor is odd and longer than a significand: no rest is zero.
    let right_angles = (quotient & 3) as u32;
    let right_angles = if n.sign { right_angles.wrapping_neg() & 3 } else { right_angles };
    Reduced { right_angles, rest: Exact::from_integer(sign ^ n.sign, rest, -65) }
}

/// The sine of a reduced angle.
fn sine(x: Exact) -> Exact {
    const COEFFICIENTS: [u128; 17] = wide::reciprocal_factorials(1, 2);
    x.mul(Exact::from_fixed(series(x.mul(x).fraction(), &COEFFICIENTS, Terms::Alternating)))
}

/// The cosine of a reduced angle.
fn cosine(x: Exact) -> Exact {
    const COEFFICIENTS: [u128; 17] = wide::reciprocal_factorials(0, 2);
    Exact::from_fixed(series(x.mul(x).fraction(), &COEFFICIENTS, Terms::Alternating))
}

impl Reduced {
    fn sine(&self) -> Exact {
        let value = if self.right_angles & 1 == 0 { sine(self.rest) } else { cosine(self.rest) };
        value.negated_if(self.right_angles & 2 != 0)
    }

    fn cosine(&self) -> Exact {
        let value = if self.right_angles & 1 == 0 { cosine(self.rest) } else { sine(self.rest) };
        value.negated_if(matches!(self.right_angles, 1 | 2))
    }
}

/// An operand ready for a trigonometric function, or the end of the matter.
enum Angle {
    Special(Computed<F80>),
    Zero,
    OutOfRange,
    Finite(Reduced, Flags),
}

fn angle_operand(env: Env, a: F80) -> Angle {
    let n = F80::unpack(a);
    if let Some(result) = special_operands(n, n) {
        return Angle::Special(result);
    }
    let denormal = denormal_flag(n, n);
    match n.class {
        Class::Infinity => Angle::Special(invalid()),
        Class::Zero => Angle::Zero,
        _ if n.exponent >= 63 => Angle::OutOfRange,
        _ if denormal.stops(env) => Angle::Special(Computed::exact(F80::INDEFINITE, denormal)),
        _ => Angle::Finite(reduce(n), denormal),
    }
}

/// FSIN.
pub fn sin(env: Env, a: F80) -> Trigonometric<Computed<F80>> {
    Trigonometric::Complete(match angle_operand(env, a) {
        Angle::OutOfRange => return Trigonometric::OutOfRange,
        Angle::Special(result) => result,
        Angle::Zero => Computed::exact(a, Flags::empty()),
        Angle::Finite(angle, denormal) => rounded(env, denormal, angle.sine().inexact()),
    })
}

/// FCOS.
pub fn cos(env: Env, a: F80) -> Trigonometric<Computed<F80>> {
    Trigonometric::Complete(match angle_operand(env, a) {
        Angle::OutOfRange => return Trigonometric::OutOfRange,
        Angle::Special(result) => result,
        Angle::Zero => Computed::exact(F80::ONE, Flags::empty()),
        Angle::Finite(angle, denormal) => rounded(env, denormal, angle.cosine().inexact()),
    })
}

/// FSINCOS: the sine (to stay in place) and the cosine (to be pushed). The flags of both together are the instruction's.
pub fn sin_cos(env: Env, a: F80) -> Trigonometric<(Computed<F80>, Computed<F80>)> {
    match (sin(env, a), cos(env, a)) {
        (Trigonometric::Complete(sine), Trigonometric::Complete(cosine)) => Trigonometric::Complete((sine, cosine)),
        _ => Trigonometric::OutOfRange,
    }
}

/// FPTAN: the tangent (to stay in place) and what is pushed after it: one, or the NaN again when the result is one.
pub fn tan(env: Env, a: F80) -> Trigonometric<(Computed<F80>, F80)> {
    Trigonometric::Complete(match angle_operand(env, a) {
        Angle::OutOfRange => return Trigonometric::OutOfRange,
        Angle::Special(result) => (result, result.value),
        Angle::Zero => (Computed::exact(a, Flags::empty()), F80::ONE),
        Angle::Finite(angle, denormal) => {
            (rounded(env, denormal, angle.sine().div(angle.cosine()).inexact()), F80::ONE)
        }
    })
}
