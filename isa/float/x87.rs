//! x87 arithmetic on register and memory operands: the x87 rules for NaNs and unsupported encodings, precision control, C1.
//!
//! SDM volume 1, "x87 FPU Floating-Point Exception Handling", "Operating on SNaNs and QNaNs", "Floating-Point Exception Priority".
//!
//! Flags as in FSW. Where [`Flags::stops`] says so, the value means nothing and the instruction changes no register and no memory.
//! An unmasked overflow or underflow gives the bias-adjusted result when a register is written; a store to memory then stores
//! nothing either ([`Computed::stores`]).

mod convert;
mod fast;
mod remainder;
mod scale;
mod transcendental;
mod wide;

use crate::arith::{self, Outcome, Relation, Signals};
use crate::env::{Env, Flags, Precision, Rounding};
use crate::format::{Class, F32, F64, F80, Format, Number};
use crate::round::{Destination, round};
pub use convert::{
    load_bcd, load_f32, load_f64, load_i64, round_to_integral, store_bcd, store_f32, store_f64, store_i16, store_i32,
    store_i64,
};
pub use remainder::{Quotient, Remainder, remainder};
pub use scale::{extract, scale};
pub use transcendental::{Trigonometric, angle, cos, exponential, log_plus_one_times, log_times, sin, sin_cos, tan};

/// What an x87 instruction computed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Computed<T> {
    /// The result.
    pub value: T,
    /// Exceptions raised.
    pub flags: Flags,
    /// C1: the magnitude was rounded up.
    pub c1: bool,
}

impl<T> Computed<T> {
    #[inline]
    pub(crate) fn exact(value: T, flags: Flags) -> Computed<T> {
        Computed { value, flags, c1: false }
    }

    /// Whether a store to memory goes ahead: no exception but an inexact result is unmasked.
    #[inline]
    #[must_use]
    pub fn stores(&self, env: Env) -> bool {
        (self.flags - Flags::PE).unmasked(env).is_empty()
    }
}

/// A single-precision memory operand.
#[derive(Clone, Copy, Debug)]
pub struct M32(pub u32);

/// A double-precision memory operand.
#[derive(Clone, Copy, Debug)]
pub struct M64(pub u64);

/// What x87 arithmetic takes as an operand: a register, or memory in one of the formats that widen exactly.
pub trait Operand: Copy {
    /// The operand as a register would hold it, if it is normal when it is so in its own format.
    #[doc(hidden)]
    fn register(self) -> Option<F80>;
    /// The operand unpacked; a denormal keeps being one, in whatever format.
    fn number(self) -> Number;
}

impl Operand for F80 {
    #[inline]
    fn register(self) -> Option<F80> {
        Some(self)
    }
    #[inline]
    fn number(self) -> Number {
        F80::unpack(self)
    }
}

impl Operand for M32 {
    #[inline]
    fn register(self) -> Option<F80> {
        let n = self.number();
        (n.class == Class::Normal).then(|| F80::pack(n))
    }
    #[inline]
    fn number(self) -> Number {
        F32::unpack(self.0)
    }
}

impl Operand for M64 {
    #[inline]
    fn register(self) -> Option<F80> {
        let n = self.number();
        (n.class == Class::Normal).then(|| F80::pack(n))
    }
    #[inline]
    fn number(self) -> Number {
        F64::unpack(self.0)
    }
}

impl Operand for i16 {
    #[inline]
    fn register(self) -> Option<F80> {
        Some(F80::pack(self.number()))
    }
    #[inline]
    fn number(self) -> Number {
        Number::from_i64(self.into())
    }
}

impl Operand for i32 {
    #[inline]
    fn register(self) -> Option<F80> {
        Some(F80::pack(self.number()))
    }
    #[inline]
    fn number(self) -> Number {
        Number::from_i64(self.into())
    }
}

/// The result when an operand is unsupported or a NaN; `None` when arithmetic goes ahead.
#[inline]
pub(crate) fn special_operands(a: Number, b: Number) -> Option<Computed<F80>> {
    let ordinary = |n: Number| matches!(n.class, Class::Zero | Class::Denormal | Class::Normal | Class::Infinity);
    if ordinary(a) && ordinary(b) { None } else { Some(nan_result(a, b)) }
}

/// The result when at least one operand is unsupported or a NaN.
#[cold]
fn nan_result(a: Number, b: Number) -> Computed<F80> {
    if a.class == Class::Unsupported || b.class == Class::Unsupported {
        return Computed::exact(F80::INDEFINITE, Flags::IE);
    }
    let signalling = [a, b].map(|n| n.class == Class::SignallingNan);
    let flags = if signalling.contains(&true) { Flags::IE } else { Flags::empty() };
    let nan = match (a.is_nan(), b.is_nan()) {
        (true, false) => a,
        (false, true) => b,
        // A quiet NaN is taken before a signalling one, then the larger significand, then the positive sign.
        _ if signalling[0] != signalling[1] => {
            if signalling[0] {
                b
            } else {
                a
            }
        }
        _ if a.significand != b.significand => {
            if a.significand > b.significand {
                a
            } else {
                b
            }
        }
        _ => {
            if a.sign {
                b
            } else {
                a
            }
        }
    };
    Computed::exact(F80::pack(nan.quieted()), flags)
}

#[inline]
pub(crate) fn denormal_flag(a: Number, b: Number) -> Flags {
    if a.is_denormal() || b.is_denormal() { Flags::DE } else { Flags::empty() }
}

/// Rounds and packs what an operation yields into a register; `denormal` is DE or nothing.
#[inline]
pub(crate) fn finish(env: Env, precision: u32, denormal: Flags, outcome: Outcome) -> Computed<F80> {
    match outcome {
        Outcome::Invalid => Computed::exact(F80::INDEFINITE, Flags::IE),
        Outcome::DivideByZero(sign) => Computed::exact(F80::pack(Number::infinity(sign)), Flags::ZE),
        Outcome::Special(number) => Computed::exact(F80::pack(number), denormal),
        Outcome::Exact(_) if denormal.stops(env) => Computed::exact(F80::INDEFINITE, denormal),
        Outcome::Exact(exact) => {
            let r = round(&Destination::register(env, precision), exact);
            Computed { value: F80::pack(r.number), flags: r.flags | denormal, c1: r.up }
        }
    }
}

/// The general path, out of line: what [`fast`] does not do.
#[inline(never)]
fn general(
    env: Env,
    a: impl Operand,
    b: impl Operand,
    operation: impl Fn(Rounding, Number, Number) -> Outcome,
) -> Computed<F80> {
    let (a, b) = (a.number(), b.number());
    if let Some(result) = special_operands(a, b) {
        return result;
    }
    finish(env, env.precision.bits(), denormal_flag(a, b), operation(env.rounding, a, b))
}

/// FADD, FIADD: `a + b`.
#[inline(always)]
pub fn add<A: Operand, B: Operand>(env: Env, a: A, b: B) -> Computed<F80> {
    if let (Some(x), Some(y)) = (a.register(), b.register())
        && let Some(result) = fast::add(env, x, y)
    {
        return result;
    }
    general(env, a, b, arith::add)
}

/// FSUB, FSUBR, FISUB: `a - b`.
#[inline(always)]
pub fn sub<A: Operand, B: Operand>(env: Env, a: A, b: B) -> Computed<F80> {
    if let (Some(x), Some(y)) = (a.register(), b.register())
        && let Some(result) = fast::sub(env, x, y)
    {
        return result;
    }
    general(env, a, b, arith::sub)
}

/// FMUL, FIMUL: `a * b`.
#[inline(always)]
pub fn mul<A: Operand, B: Operand>(env: Env, a: A, b: B) -> Computed<F80> {
    if let (Some(x), Some(y)) = (a.register(), b.register())
        && let Some(result) = fast::mul(env, x, y)
    {
        return result;
    }
    general(env, a, b, arith::mul)
}

/// FDIV, FDIVR, FIDIV: `a / b`.
#[inline(always)]
pub fn div<A: Operand, B: Operand>(env: Env, a: A, b: B) -> Computed<F80> {
    if let (Some(x), Some(y)) = (a.register(), b.register())
        && let Some(result) = fast::div(env, x, y)
    {
        return result;
    }
    general(env, a, b, arith::div)
}

/// FSQRT.
pub fn sqrt(env: Env, a: F80) -> Computed<F80> {
    let a = a.number();
    if let Some(result) = special_operands(a, a) {
        return result;
    }
    finish(env, env.precision.bits(), denormal_flag(a, a), arith::sqrt(a))
}

/// FCOM, FICOM, FTST (`b` zero) with [`Signals::AllNans`]; FUCOM with [`Signals::SignallingNans`].
#[inline]
pub fn compare<A: Operand, B: Operand>(a: A, b: B, signals: Signals) -> (Relation, Flags) {
    if let (Some(x), Some(y)) = (a.register(), b.register())
        && let Some(relation) = fast::compare(x, y)
    {
        return (relation, Flags::empty());
    }
    general_compare(a, b, signals)
}

#[inline(never)]
fn general_compare(a: impl Operand, b: impl Operand, signals: Signals) -> (Relation, Flags) {
    let (a, b) = (a.number(), b.number());
    let any = |class| a.class == class || b.class == class;
    if any(Class::Unsupported) || any(Class::SignallingNan) {
        return (Relation::Unordered, Flags::IE);
    }
    if any(Class::QuietNan) {
        let flags = if signals == Signals::AllNans { Flags::IE } else { Flags::empty() };
        return (Relation::Unordered, flags);
    }
    (arith::compare(a, b), denormal_flag(a, b))
}

/// FSW.C0.
pub const C0: u16 = 1 << 8;
/// FSW.C1.
pub const C1: u16 = 1 << 9;
/// FSW.C2.
pub const C2: u16 = 1 << 10;
/// FSW.C3.
pub const C3: u16 = 1 << 14;

/// FXAM of a register that is not empty (an empty one is C3 and C0, and C1 its sign): C3 to C0 as bits of FSW.
#[must_use]
pub fn examine(a: F80) -> u16 {
    let class = match F80::unpack(a).class {
        Class::Unsupported => 0,
        Class::QuietNan | Class::SignallingNan => C0,
        Class::Normal => C2,
        Class::Infinity => C2 | C0,
        Class::Zero => C3,
        Class::Denormal => C3 | C2,
    };
    class | if a.sign_exponent >> 15 != 0 { C1 } else { 0 }
}

/// The precision that the instructions which ignore precision control round to.
pub(crate) const FULL_PRECISION: u32 = Precision::Extended.bits();
