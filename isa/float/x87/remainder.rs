//! FPREM and FPREM1: the exact remainder, in steps that reduce the exponent by at most 63.
//!
//! SDM volume 2, FPREM, FPREM1.

use super::convert::finish_number;
use super::{C0, C1, C2, C3, Computed, denormal_flag, special_operands};
use crate::env::{Env, Flags};
use crate::format::{Class, F80, Format, Number};

/// How the quotient is made an integer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Quotient {
    /// FPREM: toward zero.
    Truncated,
    /// FPREM1: to nearest, ties to even, as IEEE 754 has it.
    Nearest,
}

/// What FPREM and FPREM1 give.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Remainder {
    /// The remainder, or a partial one.
    pub value: F80,
    /// Exceptions raised.
    pub flags: Flags,
    /// C3 to C0 as bits of FSW: C2 set for a partial reduction, else C0, C3 and C1 are bits 2, 1 and 0 of the quotient.
    pub condition: u16,
}

fn complete(result: Computed<F80>, quotient: u64) -> Remainder {
    let condition = if quotient & 4 != 0 { C0 } else { 0 }
        | if quotient & 2 != 0 { C3 } else { 0 }
        | if quotient & 1 != 0 { C1 } else { 0 };
    Remainder { value: result.value, flags: result.flags, condition }
}

/// FPREM, FPREM1: `a` (ST0) modulo `b` (ST1).
pub fn remainder(env: Env, a: F80, b: F80, quotient: Quotient) -> Remainder {
    let (a, b) = (F80::unpack(a), F80::unpack(b));
    if let Some(result) = special_operands(a, b) {
        return complete(result, 0);
    }
    if a.is_infinity() || b.is_zero() {
        return complete(Computed::exact(F80::INDEFINITE, Flags::IE), 0);
    }
    let denormal = denormal_flag(a, b);
    if denormal.stops(env) {
        return complete(Computed::exact(F80::INDEFINITE, denormal), 0);
    }
    if a.is_zero() {
        return complete(Computed::exact(F80::pack(a), denormal), 0);
    }
    if b.is_infinity() {
        return complete(finish_number(env, denormal, a), 0);
    }
    let difference = a.exponent - b.exponent;
    if difference >= 64 {
        // The manual leaves the step open between 32 and 63; this one makes the difference a multiple of 32 in the first.
        let step = 32 + (difference & 31);
        let (_, rest) = divide(a.significand, step as u32, b.significand);
        let result = pack_rest(env, denormal, a, rest, b.exponent + difference - step);
        return Remainder { value: result.value, flags: result.flags, condition: C2 };
    }
    // Below: `rest` counts in units of the divisor's last bit times 2^(unit - b.exponent).
    let (mut whole, mut rest, unit) = match difference {
        0.. => {
            let (whole, rest) = divide(a.significand, difference as u32, b.significand);
            (whole, u128::from(rest), b.exponent)
        }
        _ => (0, u128::from(a.significand), a.exponent),
    };
    let mut sign = a.sign;
    if quotient == Quotient::Nearest && difference >= -1 {
        let divisor = u128::from(b.significand) << (b.exponent - unit);
        if rest * 2 > divisor || (rest * 2 == divisor && whole & 1 != 0) {
            whole += 1;
            rest = divisor - rest;
            sign = !sign;
        }
    }
    if rest == 0 {
        return complete(Computed::exact(F80::pack(Number::zero(a.sign)), denormal), whole);
    }
    // A remainder never has more than 64 significant bits: it is a multiple of the last bit of one operand and below the other.
    let shift = rest.leading_zeros() as i32 - 64;
    let significand = if shift >= 0 { (rest << shift) as u64 } else { (rest >> -shift) as u64 };
    let n = Number { sign, class: Class::Normal, exponent: unit - shift, significand };
    complete(finish_number(env, denormal, n), whole)
}

/// Quotient and remainder of `a * 2^shift` (`shift` below 64) by a significand. The quotient's bits from 64 up are lost.
fn divide(a: u64, shift: u32, divisor: u64) -> (u64, u64) {
    let (dividend, divisor) = (u128::from(a) << shift, u128::from(divisor));
    ((dividend / divisor) as u64, (dividend % divisor) as u64)
}

/// A remainder with the sign of `a` whose last bit has the weight of a significand with exponent `exponent`.
fn pack_rest(env: Env, denormal: Flags, a: Number, rest: u64, exponent: i32) -> Computed<F80> {
    if rest == 0 {
        return Computed::exact(F80::pack(Number::zero(a.sign)), denormal);
    }
    let n = Number::from_magnitude(a.sign, rest);
    finish_number(env, denormal, Number { exponent: n.exponent + exponent - 63, ..n })
}
