//! SSE arithmetic against the host's own SSE unit, value and flags, every exception masked.
//!
//! The one place in this crate with unsafe code: the inline assembly that asks the host.
#![allow(unsafe_code)]
#![cfg(target_arch = "x86_64")]

#[path = "host/operands.rs"]
mod operands;

use std::arch::asm;

use operands::Random;
use undercroft_float::sse::{self, Relation, Signals};
use undercroft_float::{Env, F32, F64, Flags, fast};

const CASES: u64 = 200_000;

/// Runs one SSE instruction on `a` and `b` under `mxcsr`; gives its result and the flags it set.
macro_rules! host {
    ($name:ident, $instruction:literal $($tail:literal)*, $a:ty, $b:ty) => {
        fn $name(mxcsr: u32, a: $a, b: $b) -> ($a, Flags) {
            let (mut result, mut out) = (a, 0u32);
            let (default, mxcsr) = (0x1f80u32, mxcsr);
            // SAFETY: reads and writes only the named registers and locals, and leaves MXCSR as it was.
            unsafe {
                asm!(
                    "movq {x}, {r:r}",
                    "movq {y}, {b:r}",
                    "ldmxcsr [{m}]",
                    concat!($instruction, " {x}, {y}" $(, $tail)*),
                    "stmxcsr [{o}]",
                    "ldmxcsr [{d}]",
                    "movq {r:r}, {x}",
                    x = out(xmm_reg) _, y = out(xmm_reg) _,
                    r = inout(reg) result, b = in(reg) b,
                    m = in(reg) &mxcsr, o = in(reg) &mut out, d = in(reg) &default,
                );
            }
            (result, Flags::from_bits_truncate(out as u8 & 0x3f))
        }
    };
}

/// Runs one conversion from an XMM register to a general one.
macro_rules! host_to_integer {
    ($name:ident, $instruction:literal, $a:ty, $r:ty, $modifier:literal) => {
        fn $name(mxcsr: u32, a: $a) -> ($r, Flags) {
            let result: $r;
            let mut out = 0u32;
            let (default, mxcsr) = (0x1f80u32, mxcsr);
            // SAFETY: reads and writes only the named registers and locals, and leaves MXCSR as it was.
            unsafe {
                asm!(
                    "movq {x}, {a:r}",
                    "ldmxcsr [{m}]",
                    concat!($instruction, " {r:", $modifier, "}, {x}"),
                    "stmxcsr [{o}]",
                    "ldmxcsr [{d}]",
                    x = out(xmm_reg) _, a = in(reg) a, r = out(reg) result,
                    m = in(reg) &mxcsr, o = in(reg) &mut out, d = in(reg) &default,
                );
            }
            (result, Flags::from_bits_truncate(out as u8 & 0x3f))
        }
    };
}

/// Runs one conversion from a general register to an XMM one.
macro_rules! host_from_integer {
    ($name:ident, $instruction:literal, $a:ty, $r:ty, $modifier:literal) => {
        fn $name(mxcsr: u32, a: $a) -> ($r, Flags) {
            let result: u64;
            let mut out = 0u32;
            let (default, mxcsr) = (0x1f80u32, mxcsr);
            // SAFETY: reads and writes only the named registers and locals, and leaves MXCSR as it was.
            unsafe {
                asm!(
                    "xorps {x}, {x}",
                    "ldmxcsr [{m}]",
                    concat!($instruction, " {x}, {a:", $modifier, "}"),
                    "stmxcsr [{o}]",
                    "ldmxcsr [{d}]",
                    "movq {r}, {x}",
                    x = out(xmm_reg) _, a = in(reg) a, r = out(reg) result,
                    m = in(reg) &mxcsr, o = in(reg) &mut out, d = in(reg) &default,
                );
            }
            (result as $r, Flags::from_bits_truncate(out as u8 & 0x3f))
        }
    };
}

/// Runs a comparison that sets ZF, PF and CF.
macro_rules! host_compare {
    ($name:ident, $instruction:literal, $a:ty) => {
        fn $name(mxcsr: u32, a: $a, b: $a) -> (Relation, Flags) {
            let rflags: u64;
            let mut out = 0u32;
            let (default, mxcsr) = (0x1f80u32, mxcsr);
            // SAFETY: reads and writes only the named registers, locals and the stack, and leaves MXCSR as it was.
            unsafe {
                asm!(
                    "movq {x}, {a:r}",
                    "movq {y}, {b:r}",
                    "ldmxcsr [{m}]",
                    concat!($instruction, " {x}, {y}"),
                    "pushfq",
                    "pop {f}",
                    "stmxcsr [{o}]",
                    "ldmxcsr [{d}]",
                    x = out(xmm_reg) _, y = out(xmm_reg) _, f = out(reg) rflags,
                    a = in(reg) a, b = in(reg) b,
                    m = in(reg) &mxcsr, o = in(reg) &mut out, d = in(reg) &default,
                );
            }
            let relation = match rflags & 0x45 {
                0x00 => Relation::Greater,
                0x01 => Relation::Less,
                0x40 => Relation::Equal,
                _ => Relation::Unordered,
            };
            (relation, Flags::from_bits_truncate(out as u8 & 0x3f))
        }
    };
}

/// A random MXCSR: any rounding, sometimes FTZ or DAZ, everything masked, no flag set.
fn random_mxcsr(random: &mut Random) -> u32 {
    const FTZ: u32 = 0x8000;
    const DAZ: u32 = 0x40;
    let ftz = if random.below(3) == 0 { FTZ } else { 0 };
    let daz = if random.below(3) == 0 { DAZ } else { 0 };
    0x1f80 | (random.below(4) as u32) << 13 | ftz | daz
}

macro_rules! binary_test {
    ($test:ident, $host:ident, $instruction:literal, $operation:ident, $fast:expr, $format:ty, $float:ident, $bits:ty) => {
        host!($host, $instruction, $bits, $bits);
        #[test]
        fn $test() {
            let mut random = Random::new(1);
            let fast: Option<fn(u32, $bits, $bits) -> ($bits, Flags)> = $fast;
            for _ in 0..CASES {
                let (mxcsr, a, b) = (random_mxcsr(&mut random), random.$float(), random.$float());
                let expected = $host(mxcsr, a, b);
                let got = sse::$operation::<$format>(Env::from_mxcsr(mxcsr), a, b);
                assert_eq!(got, expected, "{a:x} {b:x} mxcsr {mxcsr:x}: got {got:x?}, the host says {expected:x?}");
                let Some(fast) = fast else { continue };
                for mxcsr in [mxcsr, 0x1f80] {
                    let expected = $host(mxcsr, a, b);
                    let got = fast(mxcsr, a, b);
                    assert_eq!(got, expected, "fast: {a:x} {b:x} mxcsr {mxcsr:x}");
                    let (value, flags) = fast(mxcsr | 0x20, a, b);
                    assert_eq!(
                        (value, flags | Flags::PE),
                        (expected.0, expected.1 | Flags::PE),
                        "fast, PE set: {a:x} {b:x}"
                    );
                }
            }
        }
    };
}

binary_test!(addss_any_operands_equal_host, addss, "addss", add, Some(fast::add::<F32>), F32, f32, u32);
binary_test!(addsd_any_operands_equal_host, addsd, "addsd", add, Some(fast::add::<F64>), F64, f64, u64);
binary_test!(subss_any_operands_equal_host, subss, "subss", sub, Some(fast::sub::<F32>), F32, f32, u32);
binary_test!(subsd_any_operands_equal_host, subsd, "subsd", sub, Some(fast::sub::<F64>), F64, f64, u64);
binary_test!(mulss_any_operands_equal_host, mulss, "mulss", mul, Some(fast::mul::<F32>), F32, f32, u32);
binary_test!(mulsd_any_operands_equal_host, mulsd, "mulsd", mul, Some(fast::mul::<F64>), F64, f64, u64);
binary_test!(divss_any_operands_equal_host, divss, "divss", div, Some(fast::div::<F32>), F32, f32, u32);
binary_test!(divsd_any_operands_equal_host, divsd, "divsd", div, Some(fast::div::<F64>), F64, f64, u64);
binary_test!(minss_any_operands_equal_host, minss, "minss", min, Some(fast::min::<F32>), F32, f32, u32);
binary_test!(minsd_any_operands_equal_host, minsd, "minsd", min, Some(fast::min::<F64>), F64, f64, u64);
binary_test!(maxss_any_operands_equal_host, maxss, "maxss", max, Some(fast::max::<F32>), F32, f32, u32);
binary_test!(maxsd_any_operands_equal_host, maxsd, "maxsd", max, Some(fast::max::<F64>), F64, f64, u64);

macro_rules! unary_test {
    ($test:ident, $host:ident, $float:ident, $operation:expr) => {
        #[test]
        fn $test() {
            let mut random = Random::new(2);
            for _ in 0..CASES {
                let (mxcsr, a) = (random_mxcsr(&mut random), random.$float());
                let expected = $host(mxcsr, a.into(), a.into());
                let got = $operation(mxcsr, a);
                assert_eq!(got.0 as u64, expected.0 as u64, "{a:x} mxcsr {mxcsr:x}: {got:x?} {expected:x?}");
                assert_eq!(got.1, expected.1, "{a:x} mxcsr {mxcsr:x}: {got:x?} {expected:x?}");
            }
        }
    };
}

host!(sqrtss, "sqrtss", u32, u32);
host!(sqrtsd, "sqrtsd", u64, u64);
host!(cvtss2sd, "cvtss2sd", u64, u64);
host!(cvtsd2ss, "cvtsd2ss", u64, u64);
unary_test!(sqrtss_any_operand_equals_host, sqrtss, f32, |m, a| sse::sqrt::<F32>(Env::from_mxcsr(m), a));
unary_test!(sqrtsd_any_operand_equals_host, sqrtsd, f64, |m, a| sse::sqrt::<F64>(Env::from_mxcsr(m), a));
unary_test!(fast_sqrtss_any_operand_equals_host, sqrtss, f32, fast::sqrt::<F32>);
unary_test!(fast_sqrtsd_any_operand_equals_host, sqrtsd, f64, fast::sqrt::<F64>);
unary_test!(cvtss2sd_any_operand_equals_host, cvtss2sd, f32, |m, a| sse::convert::<F32, F64>(Env::from_mxcsr(m), a));
unary_test!(cvtsd2ss_any_operand_equals_host, cvtsd2ss_low, f64, |m, a| sse::convert::<F64, F32>(
    Env::from_mxcsr(m),
    a
));

unary_test!(fast_cvtss2sd_any_operand_equals_host, cvtss2sd, f32, fast::widen);
unary_test!(fast_cvtsd2ss_any_operand_equals_host, cvtsd2ss_low, f64, fast::narrow);

/// CVTSD2SS leaves bits 63:32 of its destination, which holds the operand here.
fn cvtsd2ss_low(mxcsr: u32, a: u64, b: u64) -> (u32, Flags) {
    let (value, flags) = cvtsd2ss(mxcsr, a, b);
    (value as u32, flags)
}

macro_rules! to_integer_test {
    ($test:ident, $host:ident, $instruction:literal, $modifier:literal, $float:ident, $a:ty, $r:ty, $($operation:tt)*) => {
        host_to_integer!($host, $instruction, $a, $r, $modifier);
        #[test]
        fn $test() {
            let mut random = Random::new(3);
            for _ in 0..CASES {
                let (mxcsr, a) = (random_mxcsr(&mut random), random.$float());
                let got = sse::$($operation)*(Env::from_mxcsr(mxcsr), a);
                assert_eq!(got, $host(mxcsr, a), "{a:x} mxcsr {mxcsr:x}");
                for mxcsr in [mxcsr, 0x1f80] {
                    assert_eq!(fast::$($operation)*(mxcsr, a), $host(mxcsr, a), "fast: {a:x} mxcsr {mxcsr:x}");
                }
            }
        }
    };
}

to_integer_test!(cvtss2si_to_32_bits_equals_host, cvtss2si, "cvtss2si", "e", f32, u32, i32, to_i32::<F32>);
to_integer_test!(cvtsd2si_to_32_bits_equals_host, cvtsd2si, "cvtsd2si", "e", f64, u64, i32, to_i32::<F64>);
to_integer_test!(cvtss2si_to_64_bits_equals_host, cvtss2siq, "cvtss2si", "r", f32, u32, i64, to_i64::<F32>);
to_integer_test!(cvtsd2si_to_64_bits_equals_host, cvtsd2siq, "cvtsd2si", "r", f64, u64, i64, to_i64::<F64>);
to_integer_test!(cvttss2si_to_32_bits_equals_host, cvttss2si, "cvttss2si", "e", f32, u32, i32, to_i32_truncate::<F32>);
to_integer_test!(cvttsd2si_to_64_bits_equals_host, cvttsd2siq, "cvttsd2si", "r", f64, u64, i64, to_i64_truncate::<F64>);

macro_rules! from_integer_test {
    ($test:ident, $host:ident, $instruction:literal, $modifier:literal, $a:ty, $r:ty, $($operation:tt)*) => {
        host_from_integer!($host, $instruction, $a, $r, $modifier);
        #[test]
        fn $test() {
            let mut random = Random::new(4);
            for _ in 0..CASES {
                let (mxcsr, a) = (random_mxcsr(&mut random), random.pattern() as $a);
                let got = sse::$($operation)*(Env::from_mxcsr(mxcsr), a);
                assert_eq!(got, $host(mxcsr, a), "{a:x} mxcsr {mxcsr:x}");
                for mxcsr in [mxcsr, 0x1f80] {
                    assert_eq!(fast::$($operation)*(mxcsr, a), $host(mxcsr, a), "fast: {a:x} mxcsr {mxcsr:x}");
                }
            }
        }
    };
}

from_integer_test!(cvtsi2ss_from_32_bits_equals_host, cvtsi2ss, "cvtsi2ss", "e", i32, u32, from_i32::<F32>);
from_integer_test!(cvtsi2sd_from_32_bits_equals_host, cvtsi2sd, "cvtsi2sd", "e", i32, u64, from_i32::<F64>);
from_integer_test!(cvtsi2ss_from_64_bits_equals_host, cvtsi2ssq, "cvtsi2ss", "r", i64, u32, from_i64::<F32>);
from_integer_test!(cvtsi2sd_from_64_bits_equals_host, cvtsi2sdq, "cvtsi2sd", "r", i64, u64, from_i64::<F64>);

macro_rules! compare_test {
    ($test:ident, $host:ident, $instruction:literal, $format:ty, $float:ident, $bits:ty, $signals:expr) => {
        host_compare!($host, $instruction, $bits);
        #[test]
        fn $test() {
            let mut random = Random::new(5);
            for _ in 0..CASES {
                let (mxcsr, a) = (random_mxcsr(&mut random), random.$float());
                let b = if random.below(4) == 0 {
                    a ^ 1 << random.below(64) % <$bits>::BITS as u64
                } else {
                    random.$float()
                };
                let got = sse::compare::<$format>(Env::from_mxcsr(mxcsr), a, b, $signals);
                let expected = $host(mxcsr, a, b);
                assert_eq!(got, expected, "{a:x} {b:x} mxcsr {mxcsr:x}");
                let got = fast::compare::<$format>(mxcsr, a, b, $signals);
                assert_eq!(got, expected, "fast: {a:x} {b:x} mxcsr {mxcsr:x}");
            }
        }
    };
}

compare_test!(comiss_any_operands_equal_host, comiss, "comiss", F32, f32, u32, Signals::AllNans);
compare_test!(comisd_any_operands_equal_host, comisd, "comisd", F64, f64, u64, Signals::AllNans);
compare_test!(ucomiss_any_operands_equal_host, ucomiss, "ucomiss", F32, f32, u32, Signals::SignallingNans);
compare_test!(ucomisd_any_operands_equal_host, ucomisd, "ucomisd", F64, f64, u64, Signals::SignallingNans);

macro_rules! predicate_tests {
    ($($predicate:literal)*) => {
        #[test]
        fn cmpsd_every_predicate_equals_host() {
            if !std::is_x86_feature_detected!("avx") {
                return;
            }
            $({
                host!(cmp, "vcmpsd {x}," ", " $predicate, u64, u64);
                let mut random = Random::new($predicate);
                for _ in 0..CASES / 16 {
                    let (mxcsr, a) = (random_mxcsr(&mut random), random.f64());
                    let b = if random.below(4) == 0 { a } else { random.f64() };
                    let (mask, flags) = sse::compare_predicate::<F64>(Env::from_mxcsr(mxcsr), a, b, $predicate);
                    let got = (if mask { u64::MAX } else { 0 }, flags);
                    assert_eq!(got, cmp(mxcsr, a, b), "{a:x} {b:x} predicate {}", $predicate);
                }
            })*
        }
    };
}
predicate_tests!(0 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20 21 22 23 24 25 26 27 28 29 30 31);

macro_rules! round_tests {
    ($($imm:literal)*) => {
        #[test]
        fn roundsd_every_immediate_equals_host() {
            if !std::is_x86_feature_detected!("sse4.1") {
                return;
            }
            $({
                host!(roundsd, "roundsd" ", " $imm, u64, u64);
                host!(roundss, "roundss" ", " $imm, u32, u32);
                let mut random = Random::new($imm);
                for _ in 0..CASES / 16 {
                    let (mxcsr, a) = (random_mxcsr(&mut random), random.f64());
                    let got = sse::round_to_integral::<F64>(Env::from_mxcsr(mxcsr), a, $imm);
                    assert_eq!(got, roundsd(mxcsr, 0, a), "{a:x} imm {}", $imm);
                    let a = random.f32();
                    let got = sse::round_to_integral::<F32>(Env::from_mxcsr(mxcsr), a, $imm);
                    assert_eq!(got, roundss(mxcsr, 0, a), "{a:x} imm {}", $imm);
                }
            })*
        }
    };
}
round_tests!(0 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15);

host!(rcpss, "rcpss", u32, u32);
host!(rsqrtss, "rsqrtss", u32, u32);

/// Two approximations, each within 1.5 * 2^-12 of the same number, or the same special value.
fn close(a: u32, b: u32) -> bool {
    let (x, y) = (f64::from(f32::from_bits(a)), f64::from(f32::from_bits(b)));
    a == b || (x - y).abs() <= 2.0 * 1.5 / 4096.0 * x.abs().max(y.abs())
}

#[test]
fn approximations_of_any_operand_are_close_to_host_and_set_no_flag() {
    let mut random = Random::new(6);
    for _ in 0..CASES {
        let (mxcsr, a) = (random_mxcsr(&mut random), random.f32());
        let magnitude = f32::from_bits(a & 0x7fff_ffff);
        // Around 2^126 the manual lets the reciprocal be flushed or not.
        if !(8.4e37..8.6e37).contains(&magnitude) {
            let (value, flags) = rcpss(mxcsr, a, a);
            assert!(close(sse::reciprocal(a), value), "1/{a:x}: {:x} {value:x}", sse::reciprocal(a));
            assert_eq!(flags, Flags::empty());
        }
        let (value, flags) = rsqrtss(mxcsr, a, a);
        assert!(close(sse::reciprocal_sqrt(a), value), "1/sqrt {a:x}: {:x} {value:x}", sse::reciprocal_sqrt(a));
        assert_eq!(flags, Flags::empty());
    }
}
