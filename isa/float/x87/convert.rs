//! Loads, stores and rounding to an integer: between registers and the memory formats.
//!
//! SDM volume 2, FLD, FST, FILD, FIST, FISTTP, FBLD, FBSTP, FRNDINT.

use super::{Computed, FULL_PRECISION, denormal_flag, fast, finish, special_operands};
use crate::arith::{self, Outcome};
use crate::env::{Env, Flags};
use crate::format::{Class, F32, F64, F80, Format, INTEGER_BIT, Number};
use crate::round::{Destination, Exact, round};

/// FLD m32fp. With an unmasked IE nothing is pushed; an unmasked DE is reported and the value pushed all the same.
#[inline]
#[must_use]
pub fn load_f32(bits: u32) -> (F80, Flags) {
    load(F32::unpack(bits))
}

/// FLD m64fp. With an unmasked IE nothing is pushed; an unmasked DE is reported and the value pushed all the same.
#[inline]
#[must_use]
pub fn load_f64(bits: u64) -> (F80, Flags) {
    load(F64::unpack(bits))
}

#[inline]
fn load(n: Number) -> (F80, Flags) {
    match n.class {
        Class::SignallingNan => (F80::pack(n.quieted()), Flags::IE),
        Class::Denormal => (F80::pack(n), Flags::DE),
        _ => (F80::pack(n), Flags::empty()),
    }
}

/// FST m32fp. With an unmasked IE, OE or UE nothing is stored or popped.
#[inline]
pub fn store_f32(env: Env, a: F80) -> Computed<u32> {
    if let Some(r) = fast::narrow(env, a, F32::PRECISION, F32::EMAX) {
        let sign = u32::from(a.sign_exponent >> 15) << 31;
        return Computed { value: r.value as u32 | sign, flags: r.flags, c1: r.c1 };
    }
    store::<F32>(env, a)
}

/// FST m64fp. With an unmasked IE, OE or UE nothing is stored or popped.
#[inline]
pub fn store_f64(env: Env, a: F80) -> Computed<u64> {
    if let Some(r) = fast::narrow(env, a, F64::PRECISION, F64::EMAX) {
        return Computed { value: r.value | u64::from(a.sign_exponent >> 15) << 63, ..r };
    }
    store::<F64>(env, a)
}

#[inline(never)]
fn store<F: Format>(env: Env, a: F80) -> Computed<F::Bits> {
    let n = F80::unpack(a);
    match n.class {
        Class::Unsupported => Computed::exact(F::pack(Number::INDEFINITE), Flags::IE),
        Class::SignallingNan => Computed::exact(F::pack(n.quieted()), Flags::IE),
        Class::Zero | Class::Infinity | Class::QuietNan => Computed::exact(F::pack(n), Flags::empty()),
        Class::Normal | Class::Denormal => {
            let r = round(&Destination::memory::<F>(env), Exact::from_number(n));
            let computed = Computed { value: F::pack(r.number), flags: r.flags, c1: r.up };
            if computed.stores(env) {
                return computed;
            }
            // Nothing is stored, so nothing has been rounded.
            Computed::exact(computed.value, computed.flags - Flags::PE)
        }
    }
}

/// FILD: an integer of 16, 32 or 64 bits, exactly.
#[inline]
#[must_use]
pub fn load_i64(value: i64) -> F80 {
    F80::pack(Number::from_i64(value))
}

/// FIST m16int with `env`'s rounding; 8000H and IE when it does not fit.
pub fn store_i16(env: Env, a: F80) -> Computed<i16> {
    let r = store_signed(env, a, 16);
    Computed { value: r.value as i16, flags: r.flags, c1: r.c1 }
}

/// FIST m32int with `env`'s rounding; 8000_0000H and IE when it does not fit.
pub fn store_i32(env: Env, a: F80) -> Computed<i32> {
    let r = store_signed(env, a, 32);
    Computed { value: r.value as i32, flags: r.flags, c1: r.c1 }
}

/// FISTP m64int with `env`'s rounding; 8000_0000_0000_0000H and IE when it does not fit.
pub fn store_i64(env: Env, a: F80) -> Computed<i64> {
    store_signed(env, a, 64)
}

/// A register rounded to an integer whose magnitude is at most `limit(negative)`.
#[inline]
fn bounded_integer(env: Env, n: Number, limit: impl Fn(bool) -> u64) -> Option<arith::Integer> {
    if n.is_nan() || n.is_infinity() || n.class == Class::Unsupported {
        return None;
    }
    arith::to_integer(env.rounding, n).filter(|integer| integer.magnitude <= limit(n.sign))
}

#[inline]
fn inexact_flag(integer: arith::Integer) -> Flags {
    if integer.inexact { Flags::PE } else { Flags::empty() }
}

#[inline]
fn store_signed(env: Env, a: F80, bits: u32) -> Computed<i64> {
    let n = F80::unpack(a);
    let least = INTEGER_BIT >> (64 - bits);
    match bounded_integer(env, n, |negative| least - u64::from(!negative)) {
        None => Computed::exact((least as i64).wrapping_neg(), Flags::IE),
        Some(integer) => {
            let value = integer.magnitude as i64;
            let value = if n.sign { value.wrapping_neg() } else { value };
            Computed { value, flags: inexact_flag(integer), c1: integer.up }
        }
    }
}

/// FRNDINT: to an integral value with `env`'s rounding.
pub fn round_to_integral(env: Env, a: F80) -> Computed<F80> {
    let n = F80::unpack(a);
    if let Some(result) = special_operands(n, n) {
        return result;
    }
    let denormal = denormal_flag(n, n);
    if n.is_zero() || n.is_infinity() || n.exponent >= 63 {
        return Computed::exact(a, Flags::empty());
    }
    if denormal.stops(env) {
        return Computed::exact(a, denormal);
    }
    match arith::to_integer(env.rounding, n) {
        Some(integer) => {
            let value = F80::pack(Number::from_magnitude(n.sign, integer.magnitude));
            Computed { value, flags: inexact_flag(integer) | denormal, c1: integer.up }
        }
        None => Computed::exact(a, Flags::empty()),
    }
}

/// Decimal digits of the packed BCD format.
const BCD_DIGITS: usize = 18;

/// FBLD: eighteen packed BCD digits and a sign, exactly. What the manual leaves undefined, a digit above 9, counts as its value.
#[must_use]
pub fn load_bcd(bytes: [u8; 10]) -> F80 {
    let magnitude = bytes[..BCD_DIGITS / 2]
        .iter()
        .rev()
        .fold(0u64, |value, byte| value * 100 + u64::from(byte >> 4) * 10 + u64::from(byte & 15));
    F80::pack(Number::from_magnitude(bytes[9] >> 7 != 0, magnitude))
}

/// FBSTP with `env`'s rounding; the packed BCD indefinite and IE when it does not fit.
pub fn store_bcd(env: Env, a: F80) -> Computed<[u8; 10]> {
    let n = F80::unpack(a);
    let Some(integer) = bounded_integer(env, n, |_| 10u64.pow(BCD_DIGITS as u32) - 1) else {
        return Computed::exact([0, 0, 0, 0, 0, 0, 0, 0xc0, 0xff, 0xff], Flags::IE);
    };
    let mut value = [0; 10];
    let mut rest = integer.magnitude;
    for byte in &mut value[..BCD_DIGITS / 2] {
        let pair = (rest % 100) as u8;
        *byte = ((pair / 10) << 4) | (pair % 10);
        rest /= 100;
    }
    value[9] = if n.sign { 0x80 } else { 0 };
    Computed { value, flags: inexact_flag(integer), c1: integer.up }
}

/// An exact finite nonzero number, rounded into a register at full precision.
#[inline]
pub(super) fn finish_number(env: Env, denormal: Flags, n: Number) -> Computed<F80> {
    finish(env, FULL_PRECISION, denormal, Outcome::Exact(Exact::from_number(n)))
}
