//! SSE arithmetic in the common case on the host's own IEEE arithmetic, in every other case through [`crate::sse`].
//!
//! The common case: rounding to nearest, FTZ and DAZ clear, PE masked, no operand denormal, NaN or infinite, the result zero
//! only where it is exact, and else at least twice the smallest normal number (so that it is not tiny before rounding either).
//! IEEE results of such operations are the same on every host. PE is the only flag they can raise; unless MXCSR has it already,
//! exactness is checked in integers.

mod convert;

use crate::env::{Env, Flags};
use crate::format::{F32, F64, Format};
use crate::sse;
pub use convert::{
    compare, from_i32, from_i64, max, min, narrow, to_i32, to_i32_truncate, to_i64, to_i64_truncate, widen,
};

/// MXCSR bits that must have one value: PM (12) set; RC (14:13), FTZ (15), DAZ (6) clear.
const CONTROL: u32 = 0xf040;
const CONTROL_DEFAULT: u32 = 0x1000;
/// MXCSR.PE.
const STICKY_PE: u32 = 0x20;

/// A format the host computes in.
pub trait HostFormat: Format {
    #[doc(hidden)]
    const FRACTION_BITS: u32;
    #[doc(hidden)]
    fn widen(bits: Self::Bits) -> u64;
    #[doc(hidden)]
    fn host_add(a: Self::Bits, b: Self::Bits) -> Self::Bits;
    #[doc(hidden)]
    fn host_sub(a: Self::Bits, b: Self::Bits) -> Self::Bits;
    #[doc(hidden)]
    fn host_mul(a: Self::Bits, b: Self::Bits) -> Self::Bits;
    #[doc(hidden)]
    fn host_div(a: Self::Bits, b: Self::Bits) -> Self::Bits;
    #[doc(hidden)]
    fn host_sqrt(a: Self::Bits) -> Self::Bits;
    #[doc(hidden)]
    fn to_f64(a: Self::Bits) -> f64;
    #[doc(hidden)]
    fn from_i64(a: i64) -> Self::Bits;
    #[doc(hidden)]
    fn negate(a: Self::Bits) -> Self::Bits;
    /// Whether `sum`, a finite rounded `a + b`, is exact.
    #[doc(hidden)]
    fn sum_is_exact(a: Self::Bits, b: Self::Bits, sum: Self::Bits) -> bool;
}

macro_rules! host_format {
    ($format:ty, $float:ty, $bits:ty, $fraction_bits:expr) => {
        impl HostFormat for $format {
            const FRACTION_BITS: u32 = $fraction_bits;
            #[inline(always)]
            fn widen(bits: $bits) -> u64 {
                bits.into()
            }
            #[inline(always)]
            fn host_add(a: $bits, b: $bits) -> $bits {
                (<$float>::from_bits(a) + <$float>::from_bits(b)).to_bits()
            }
            #[inline(always)]
            fn host_sub(a: $bits, b: $bits) -> $bits {
                (<$float>::from_bits(a) - <$float>::from_bits(b)).to_bits()
            }
            #[inline(always)]
            fn host_mul(a: $bits, b: $bits) -> $bits {
                (<$float>::from_bits(a) * <$float>::from_bits(b)).to_bits()
            }
            #[inline(always)]
            fn host_div(a: $bits, b: $bits) -> $bits {
                (<$float>::from_bits(a) / <$float>::from_bits(b)).to_bits()
            }
            #[inline(always)]
            fn host_sqrt(a: $bits) -> $bits {
                <$float>::from_bits(a).sqrt().to_bits()
            }
            #[inline(always)]
            fn sum_is_exact(a: $bits, b: $bits, sum: $bits) -> bool {
                let (a, b, sum) = (<$float>::from_bits(a), <$float>::from_bits(b), <$float>::from_bits(sum));
                // Dekker's fast two-sum: what the sum took of the smaller operand is exact, and cannot overflow.
                let (large, small) = if a.abs() >= b.abs() { (a, b) } else { (b, a) };
                sum - large == small
            }
            #[inline(always)]
            fn to_f64(a: $bits) -> f64 {
                <$float>::from_bits(a).into()
            }
            #[inline(always)]
            fn from_i64(a: i64) -> $bits {
                (a as $float).to_bits()
            }
            #[inline(always)]
            fn negate(a: $bits) -> $bits {
                a ^ 1 << (<$bits>::BITS - 1)
            }
        }
    };
}

host_format!(F32, f32, u32, 23);
host_format!(F64, f64, u64, 52);

#[inline(always)]
fn exponent_mask<F: HostFormat>() -> u64 {
    (2 * F::EMAX + 1) as u64
}

/// The biased exponent.
#[inline(always)]
fn exponent<F: HostFormat>(bits: F::Bits) -> u64 {
    F::widen(bits) >> F::FRACTION_BITS & exponent_mask::<F>()
}

#[inline(always)]
fn magnitude<F: HostFormat>(bits: F::Bits) -> u64 {
    F::widen(bits) & (((exponent_mask::<F>() + 1) << F::FRACTION_BITS) - 1)
}

/// The significand, integer bit included, of a normal number.
#[inline(always)]
fn significand<F: HostFormat>(bits: F::Bits) -> u64 {
    F::widen(bits) & ((1 << F::FRACTION_BITS) - 1) | 1 << F::FRACTION_BITS
}

/// A normal finite operand.
#[inline(always)]
fn is_normal<F: HostFormat>(bits: F::Bits) -> bool {
    exponent::<F>(bits).wrapping_sub(1) < exponent_mask::<F>() - 1
}

/// Zero or normal.
#[inline(always)]
fn is_plain<F: HostFormat>(bits: F::Bits) -> bool {
    is_normal::<F>(bits) || magnitude::<F>(bits) == 0
}

/// A finite result that cannot have been tiny.
#[inline(always)]
fn is_safe<F: HostFormat>(bits: F::Bits) -> bool {
    exponent::<F>(bits).wrapping_sub(2) < exponent_mask::<F>() - 2
}

#[inline(always)]
fn inexact_unless(exact: bool) -> Flags {
    if exact { Flags::empty() } else { Flags::PE }
}

/// Whether `x * y`, of normal numbers, is exactly a number of at most the format's precision.
#[inline(always)]
fn product_is_exact<F: HostFormat>(x: F::Bits, y: F::Bits) -> bool {
    let product = u128::from(significand::<F>(x)) * u128::from(significand::<F>(y));
    let excess = 128 - product.leading_zeros() - F::PRECISION;
    product.trailing_zeros() >= excess
}

/// [`sse::add`] under `mxcsr`. PE may be left out where `mxcsr` has it already.
#[inline]
pub fn add<F: HostFormat>(mxcsr: u32, a: F::Bits, b: F::Bits) -> (F::Bits, Flags) {
    if mxcsr & CONTROL == CONTROL_DEFAULT && is_plain::<F>(a) && is_plain::<F>(b) {
        let sum = F::host_add(a, b);
        // A zero sum of such operands is exact.
        if is_safe::<F>(sum) || magnitude::<F>(sum) == 0 {
            return (sum, inexact_unless(mxcsr & STICKY_PE != 0 || F::sum_is_exact(a, b, sum)));
        }
    }
    slow(sse::add::<F>, mxcsr, a, b)
}

/// [`sse::sub`] under `mxcsr`. PE may be left out where `mxcsr` has it already.
#[inline]
pub fn sub<F: HostFormat>(mxcsr: u32, a: F::Bits, b: F::Bits) -> (F::Bits, Flags) {
    if mxcsr & CONTROL == CONTROL_DEFAULT && is_plain::<F>(a) && is_plain::<F>(b) {
        let difference = F::host_sub(a, b);
        if is_safe::<F>(difference) || magnitude::<F>(difference) == 0 {
            let exact = mxcsr & STICKY_PE != 0 || F::sum_is_exact(a, F::negate(b), difference);
            return (difference, inexact_unless(exact));
        }
    }
    slow(sse::sub::<F>, mxcsr, a, b)
}

/// [`sse::mul`] under `mxcsr`. PE may be left out where `mxcsr` has it already.
#[inline]
pub fn mul<F: HostFormat>(mxcsr: u32, a: F::Bits, b: F::Bits) -> (F::Bits, Flags) {
    if mxcsr & CONTROL == CONTROL_DEFAULT && is_plain::<F>(a) && is_plain::<F>(b) {
        let product = F::host_mul(a, b);
        if is_safe::<F>(product) {
            return (product, inexact_unless(mxcsr & STICKY_PE != 0 || product_is_exact::<F>(a, b)));
        }
        if magnitude::<F>(a) == 0 || magnitude::<F>(b) == 0 {
            return (product, Flags::empty());
        }
    }
    slow(sse::mul::<F>, mxcsr, a, b)
}

/// [`sse::div`] under `mxcsr`. PE may be left out where `mxcsr` has it already.
#[inline]
pub fn div<F: HostFormat>(mxcsr: u32, a: F::Bits, b: F::Bits) -> (F::Bits, Flags) {
    if mxcsr & CONTROL == CONTROL_DEFAULT && is_plain::<F>(a) && is_normal::<F>(b) {
        let quotient = F::host_div(a, b);
        if is_safe::<F>(quotient) {
            return (quotient, inexact_unless(mxcsr & STICKY_PE != 0 || quotient_is_exact::<F>(a, b, quotient)));
        }
        if magnitude::<F>(a) == 0 {
            return (quotient, Flags::empty());
        }
    }
    slow(sse::div::<F>, mxcsr, a, b)
}

/// Whether `quotient`, the rounded `a / b` of normal numbers, times `b` gives `a` again.
#[inline(always)]
fn quotient_is_exact<F: HostFormat>(a: F::Bits, b: F::Bits, quotient: F::Bits) -> bool {
    // As significands, q * b is a * 2^fraction_bits or twice that; a rounding error would be less than one part in that many.
    let product = u128::from(significand::<F>(quotient)) * u128::from(significand::<F>(b));
    let dividend = u128::from(significand::<F>(a)) << F::FRACTION_BITS;
    product == dividend || product == dividend << 1
}

/// [`sse::sqrt`] under `mxcsr`. PE may be left out where `mxcsr` has it already.
#[inline]
pub fn sqrt<F: HostFormat>(mxcsr: u32, a: F::Bits) -> (F::Bits, Flags) {
    let negative = magnitude::<F>(a) != F::widen(a);
    if mxcsr & CONTROL == CONTROL_DEFAULT && is_normal::<F>(a) && !negative {
        let root = F::host_sqrt(a);
        return (root, inexact_unless(mxcsr & STICKY_PE != 0 || quotient_is_exact::<F>(a, root, root)));
    }
    sqrt_slow::<F>(mxcsr, a)
}

#[cold]
#[inline(never)]
fn slow<B>(exact: fn(Env, B, B) -> (B, Flags), mxcsr: u32, a: B, b: B) -> (B, Flags) {
    exact(Env::from_mxcsr(mxcsr), a, b)
}

#[cold]
#[inline(never)]
fn sqrt_slow<F: HostFormat>(mxcsr: u32, a: F::Bits) -> (F::Bits, Flags) {
    sse::sqrt::<F>(Env::from_mxcsr(mxcsr), a)
}
