//! RCPPS and RSQRTPS: approximations of which the architecture bounds the error, not the value.
//!
//! Intel SDM volume 2, "RCPPS - Compute Reciprocals of Packed Single Precision Floating-Point Values" and "RSQRTPS": relative
//! error at most 1.5 * 2^-12, no exceptions, no effect of MXCSR. This machine's value is the exact one, rounded to 12 fraction
//! bits (to nearest, half away from zero): relative error at most 2^-13.

const SIGN: u32 = 1 << 31;
const INFINITY: u32 = 0xff << 23;
const QUIET: u32 = 1 << 22;
/// The default NaN of an invalid operation.
const INDEFINITE: u32 = 0xffc0_0000;

/// The approximation of `1 / a`.
pub(super) fn reciprocal(a: u32) -> u32 {
    let sign = a & SIGN;
    match a & !SIGN {
        magnitude if magnitude > INFINITY => a | QUIET,
        INFINITY => sign,
        // A denormal counts as zero.
        magnitude if magnitude >> 23 == 0 => sign | INFINITY,
        magnitude => sign | narrow(1.0 / f32::from_bits(magnitude) as f64),
    }
}

/// The approximation of `1 / sqrt(a)`.
pub(super) fn reciprocal_square_root(a: u32) -> u32 {
    match a & !SIGN {
        magnitude if magnitude > INFINITY => a | QUIET,
        magnitude if magnitude >> 23 == 0 => a & SIGN | INFINITY,
        _ if a & SIGN != 0 => INDEFINITE,
        INFINITY => 0,
        magnitude => narrow(1.0 / (f32::from_bits(magnitude) as f64).sqrt()),
    }
}

/// A positive double, rounded to 12 fraction bits, as a single; zero if that would be denormal. IEEE division and square root
/// yield the same double on every host.
fn narrow(value: f64) -> u32 {
    let rounded = (value.to_bits() + (1 << 39)) >> 40;
    // Exponent and 12 fraction bits, with the bias of a double.
    match rounded.checked_sub((1023 - 127) << 12) {
        Some(biased) if biased >= 1 << 12 => (biased << 11) as u32,
        _ => 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reciprocal_any_normal_stays_within_the_bound() {
        for step in 0..1 << 16 {
            let a = (1 << 23) + step * 0x7e81 % 0x7e00_0000;
            let (x, y) = (f32::from_bits(a) as f64, f32::from_bits(reciprocal(a)) as f64);
            assert!((x * y - 1.0).abs() <= 1.5 / 4096.0, "1/{x} = {y}");
            let y = f32::from_bits(reciprocal_square_root(a)) as f64;
            assert!((x.sqrt() * y - 1.0).abs() <= 1.5 / 4096.0, "1/sqrt({x}) = {y}");
        }
    }

    #[test]
    fn reciprocal_tiny_result_is_flushed() {
        let at = |x: f64| reciprocal((x as f32).to_bits());
        assert_eq!(at(2f64.powi(126)), 1 << 23);
        assert_eq!(at(-2f64.powi(127)), SIGN);
        assert_eq!(reciprocal(INFINITY | SIGN), SIGN);
        assert_eq!(reciprocal(SIGN | 1), SIGN | INFINITY);
        assert_eq!(reciprocal(INFINITY | 1), INFINITY | QUIET | 1);
    }

    #[test]
    fn reciprocal_square_root_negative_is_indefinite_but_minus_zero_is_infinite() {
        assert_eq!(reciprocal_square_root((-4f32).to_bits()), INDEFINITE);
        assert_eq!(reciprocal_square_root(SIGN), SIGN | INFINITY);
        assert_eq!(reciprocal_square_root(SIGN | INFINITY), INDEFINITE);
        assert_eq!(reciprocal_square_root(4f32.to_bits()), 0.5f32.to_bits());
    }
}
