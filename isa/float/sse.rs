//! SSE arithmetic on one element: MXCSR rules for NaNs, denormals, flushing to zero.
//!
//! A packed instruction calls these per element and joins the flags with [`packed_flags`].
//!
//! SDM volume 1, "SSE and SSE2 Floating-Point Exceptions" ("SIMD Floating-Point Exceptions"), "Handling NaNs", "Flush-To-Zero",
//! "Denormals-Are-Zeros".
//!
//! Where an exception is not masked, the flags are those that MXCSR gets and the value means nothing: the instruction leaves its
//! destination alone.

use crate::arith::{self, Outcome};
pub use crate::arith::{Relation, Signals};
use crate::env::{Env, Flags, Rounding};
use crate::format::{Class, F32, Format, INTEGER_BIT, Number};
use crate::round::{Destination, Exact, round};

/// An operand as the instruction sees it: with DAZ, a denormal is a zero.
#[inline]
fn operand<F: Format>(env: Env, bits: F::Bits) -> Number {
    let n = F::unpack(bits);
    if env.denormals_are_zero && n.is_denormal() { Number::zero(n.sign) } else { n }
}

#[inline]
fn denormal_flag(a: Number, b: Number) -> Flags {
    if a.is_denormal() || b.is_denormal() { Flags::DE } else { Flags::empty() }
}

#[inline]
fn signalling_flag(a: Number, b: Number) -> Flags {
    let signalling = a.class == Class::SignallingNan || b.class == Class::SignallingNan;
    if signalling { Flags::IE } else { Flags::empty() }
}

/// Rounds and packs what an operation yields; `denormal` is DE or nothing.
#[inline]
fn finish<F: Format>(env: Env, denormal: Flags, outcome: Outcome) -> (F::Bits, Flags) {
    match outcome {
        Outcome::Invalid => (F::pack(Number::INDEFINITE), Flags::IE),
        Outcome::DivideByZero(sign) => (F::pack(Number::infinity(sign)), Flags::ZE),
        Outcome::Special(number) => (F::pack(number), denormal),
        Outcome::Exact(exact) => {
            if denormal.stops(env) {
                return (F::pack(Number::INDEFINITE), denormal);
            }
            let r = round(&Destination::sse::<F>(env), exact);
            (F::pack(r.number), r.flags | denormal)
        }
    }
}

#[inline]
fn binary<F: Format>(
    env: Env,
    a: F::Bits,
    b: F::Bits,
    operation: fn(Rounding, Number, Number) -> Outcome,
) -> (F::Bits, Flags) {
    let (a, b) = (operand::<F>(env, a), operand::<F>(env, b));
    if a.is_nan() || b.is_nan() {
        let nan = if a.is_nan() { a } else { b };
        return (F::pack(nan.quieted()), signalling_flag(a, b));
    }
    finish::<F>(env, denormal_flag(a, b), operation(env.rounding, a, b))
}

/// `a + b`; `a` is the first source (the destination of the legacy form).
pub fn add<F: Format>(env: Env, a: F::Bits, b: F::Bits) -> (F::Bits, Flags) {
    binary::<F>(env, a, b, arith::add)
}

/// `a - b`.
pub fn sub<F: Format>(env: Env, a: F::Bits, b: F::Bits) -> (F::Bits, Flags) {
    binary::<F>(env, a, b, arith::sub)
}

/// `a * b`.
pub fn mul<F: Format>(env: Env, a: F::Bits, b: F::Bits) -> (F::Bits, Flags) {
    binary::<F>(env, a, b, arith::mul)
}

/// `a / b`.
pub fn div<F: Format>(env: Env, a: F::Bits, b: F::Bits) -> (F::Bits, Flags) {
    binary::<F>(env, a, b, arith::div)
}

/// The square root of `a`.
pub fn sqrt<F: Format>(env: Env, a: F::Bits) -> (F::Bits, Flags) {
    let a = operand::<F>(env, a);
    if a.is_nan() {
        return (F::pack(a.quieted()), signalling_flag(a, a));
    }
    finish::<F>(env, denormal_flag(a, a), arith::sqrt(a))
}

/// The operand that stands in relation `first_if` to the other, the second one failing that.
#[inline]
fn choose<F: Format>(env: Env, a: F::Bits, b: F::Bits, first_if: Relation) -> (F::Bits, Flags) {
    let (x, y) = (operand::<F>(env, a), operand::<F>(env, b));
    if x.is_nan() || y.is_nan() {
        return (second::<F>(y, b), Flags::IE);
    }
    let flags = denormal_flag(x, y);
    if arith::compare(x, y) == first_if { (second::<F>(x, a), flags) } else { (second::<F>(y, b), flags) }
}

/// An operand that is returned unchanged, except that DAZ has made a denormal zero.
#[inline]
fn second<F: Format>(seen: Number, bits: F::Bits) -> F::Bits {
    if seen.is_zero() { F::pack(seen) } else { bits }
}

/// MINPS family: the second operand if either is a NaN (IE, for a quiet one too) or both are zero.
pub fn min<F: Format>(env: Env, a: F::Bits, b: F::Bits) -> (F::Bits, Flags) {
    choose::<F>(env, a, b, Relation::Less)
}

/// MAXPS family: the second operand if either is a NaN (IE, for a quiet one too) or both are zero.
pub fn max<F: Format>(env: Env, a: F::Bits, b: F::Bits) -> (F::Bits, Flags) {
    choose::<F>(env, a, b, Relation::Greater)
}

/// COMISS, UCOMISS and what CMPPS is made of.
pub fn compare<F: Format>(env: Env, a: F::Bits, b: F::Bits, signals: Signals) -> (Relation, Flags) {
    let (a, b) = (operand::<F>(env, a), operand::<F>(env, b));
    if a.is_nan() || b.is_nan() {
        let flags = if signals == Signals::AllNans { Flags::IE } else { signalling_flag(a, b) };
        return (Relation::Unordered, flags);
    }
    (arith::compare(a, b), denormal_flag(a, b))
}

/// CMPPS and VCMPPS with predicate `imm`, bits 4:0 (SSE instructions pass bits 2:0): whether it holds.
pub fn compare_predicate<F: Format>(env: Env, a: F::Bits, b: F::Bits, imm: u8) -> (bool, Flags) {
    // Predicates 10H to 1FH repeat the first sixteen with the signalling inverted; 8 to 0FH add "unordered" or false and true.
    let signalling = matches!(imm & 0xf, 1 | 2 | 5 | 6 | 9 | 10 | 13 | 14) != (imm & 0x10 != 0);
    let signals = if signalling { Signals::AllNans } else { Signals::SignallingNans };
    let (relation, flags) = compare::<F>(env, a, b, signals);
    use Relation::{Equal, Greater, Less, Unordered};
    let holds = match imm & 0xf {
        0 => relation == Equal,
        1 => relation == Less,
        2 => matches!(relation, Less | Equal),
        3 => relation == Unordered,
        4 => relation != Equal,
        5 => relation != Less,
        6 => !matches!(relation, Less | Equal),
        7 => relation != Unordered,
        8 => matches!(relation, Equal | Unordered),
        9 => !matches!(relation, Greater | Equal),
        10 => relation != Greater,
        11 => false,
        12 => !matches!(relation, Equal | Unordered),
        13 => matches!(relation, Greater | Equal),
        14 => relation == Greater,
        _ => true,
    };
    (holds, flags)
}

/// CVTSS2SD, CVTSD2SS.
pub fn convert<From: Format, To: Format>(env: Env, a: From::Bits) -> (To::Bits, Flags) {
    let a = operand::<From>(env, a);
    if a.is_nan() {
        return (To::pack(a.quieted()), signalling_flag(a, a));
    }
    let outcome =
        if a.is_zero() || a.is_infinity() { Outcome::Special(a) } else { Outcome::Exact(Exact::from_number(a)) };
    finish::<To>(env, denormal_flag(a, a), outcome)
}

/// To a signed integer of `bits` bits, rounded; `None` is the integer indefinite.
#[inline]
fn to_signed<F: Format>(env: Env, a: F::Bits, bits: u32) -> (Option<i64>, Flags) {
    let a = operand::<F>(env, a);
    if a.is_nan() || a.is_infinity() {
        return (None, Flags::IE);
    }
    let Some(integer) = arith::to_integer(env.rounding, a) else {
        return (None, Flags::IE);
    };
    let limit = (INTEGER_BIT >> (64 - bits)) - u64::from(!a.sign);
    if integer.magnitude > limit {
        return (None, Flags::IE);
    }
    let value = integer.magnitude as i64;
    let value = if a.sign { value.wrapping_neg() } else { value };
    (Some(value), if integer.inexact { Flags::PE } else { Flags::empty() })
}

/// CVTSS2SI, CVTPS2DQ, … to 32 bits with `env`'s rounding; 8000_0000H and IE when it does not fit.
pub fn to_i32<F: Format>(env: Env, a: F::Bits) -> (i32, Flags) {
    let (value, flags) = to_signed::<F>(env, a, 32);
    (value.map_or(i32::MIN, |v| v as i32), flags)
}

/// CVTSS2SI, CVTSD2SI to 64 bits with `env`'s rounding; 8000_0000_0000_0000H and IE when it does not fit.
pub fn to_i64<F: Format>(env: Env, a: F::Bits) -> (i64, Flags) {
    let (value, flags) = to_signed::<F>(env, a, 64);
    (value.unwrap_or(i64::MIN), flags)
}

/// CVTTSS2SI, CVTTPS2DQ, … to 32 bits, toward zero.
pub fn to_i32_truncate<F: Format>(env: Env, a: F::Bits) -> (i32, Flags) {
    to_i32::<F>(env.with_rounding(Rounding::Truncate), a)
}

/// CVTTSS2SI, CVTTSD2SI to 64 bits, toward zero.
pub fn to_i64_truncate<F: Format>(env: Env, a: F::Bits) -> (i64, Flags) {
    to_i64::<F>(env.with_rounding(Rounding::Truncate), a)
}

/// CVTSI2SS, CVTDQ2PS, … from 32 bits.
pub fn from_i32<F: Format>(env: Env, a: i32) -> (F::Bits, Flags) {
    from_i64::<F>(env, a.into())
}

/// CVTSI2SS, CVTSI2SD from 64 bits.
pub fn from_i64<F: Format>(env: Env, a: i64) -> (F::Bits, Flags) {
    let a = Number::from_i64(a);
    let outcome = if a.is_zero() { Outcome::Special(a) } else { Outcome::Exact(Exact::from_number(a)) };
    finish::<F>(env, Flags::empty(), outcome)
}

/// ROUNDPS family: to an integral value. `imm` bit 3 suppresses PE, bit 2 takes `env`'s rounding instead of bits 1:0.
pub fn round_to_integral<F: Format>(env: Env, a: F::Bits, imm: u8) -> (F::Bits, Flags) {
    let rounding = if imm & 4 != 0 { env.rounding } else { Rounding::from_bits(imm.into()) };
    let n = operand::<F>(env, a);
    if n.is_nan() {
        return (F::pack(n.quieted()), signalling_flag(n, n));
    }
    if n.is_zero() || n.is_infinity() {
        return (F::pack(n), Flags::empty());
    }
    match arith::to_integer(rounding, n) {
        Some(integer) if n.exponent < 63 => {
            let flags = if integer.inexact && imm & 8 == 0 { Flags::PE } else { Flags::empty() };
            (F::pack(Number::from_magnitude(n.sign, integer.magnitude)), flags)
        }
        _ => (a, Flags::empty()),
    }
}

/// A quotient or root of an approximation instruction: its fraction rounded to eleven bits, what is below the normal numbers
/// flushed to zero.
fn approximate(value: f32) -> u32 {
    let bits = value.to_bits();
    if value.abs() >= f32::MIN_POSITIVE { (bits + 0x800) & !0xfff } else { bits & 1 << 31 }
}

/// RCPPS, RCPSS: about `1 / a`. MXCSR does not matter and no flag is set.
///
/// The manual bounds the relative error by 1.5 * 2^-12 and leaves the bits open; this is the quotient rounded to twelve bits.
#[must_use]
pub fn reciprocal(a: u32) -> u32 {
    let n = F32::unpack(a);
    match n.class {
        Class::QuietNan | Class::SignallingNan => F32::pack(n.quieted()),
        Class::Zero | Class::Denormal => F32::pack(Number::infinity(n.sign)),
        _ => approximate(1.0 / f32::from_bits(a)),
    }
}

/// RSQRTPS, RSQRTSS: about `1 / sqrt(a)`, as exact as [`reciprocal`]. MXCSR does not matter and no flag is set.
#[must_use]
pub fn reciprocal_sqrt(a: u32) -> u32 {
    let n = F32::unpack(a);
    match n.class {
        Class::QuietNan | Class::SignallingNan => F32::pack(n.quieted()),
        Class::Zero | Class::Denormal => F32::pack(Number::infinity(n.sign)),
        _ if n.sign => F32::pack(Number::INDEFINITE),
        // In double precision the root and the quotient add nothing to the error.
        _ => approximate((1.0 / f64::from(f32::from_bits(a)).sqrt()) as f32),
    }
}

/// Joins the flags of a packed instruction's elements. An unmasked exception of one element that is found before computing keeps
/// every element from being computed, and so the flags found after computing from being set.
#[must_use]
pub fn packed_flags(env: Env, elements: &[Flags]) -> Flags {
    let all = elements.iter().fold(Flags::empty(), |all, &flags| all | flags);
    if all.stops(env) { all & Flags::PRE_COMPUTATION } else { all }
}
