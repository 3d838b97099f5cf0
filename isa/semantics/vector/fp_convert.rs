//! Packed conversions between integers, singles and doubles.
//!
//! Intel SDM volume 2, the CVT instructions; volume 1, "SSE and SSE2 Conversion Instructions".

use undercroft_float::{Env, F32, F64, Flags, Rounding, sse};

use super::fp::{FpOp, Outcome, from32, from64, join, lane32, lane64};

/// The packed conversion `op`. Operations that are no conversion never get here; they would return the first operand unchanged.
pub(super) fn packed(op: FpOp, dst: u128, src: u128, env: Env) -> Outcome<u128> {
    let truncate = env.with_rounding(Rounding::Truncate);
    let int = |i| lane32(src, i) as i32;
    match op {
        FpOp::Cvtdq2ps => from32(env, |i| sse::from_i32::<F32>(env, int(i))),
        FpOp::Cvtdq2pd | FpOp::Cvtpi2pd => from64(env, |i| sse::from_i32::<F64>(env, int(i))),
        // Only the low two elements are written.
        FpOp::Cvtpi2ps => {
            let (low, flags) = low_pair(env, |i| sse::from_i32::<F32>(env, int(i)));
            (dst >> 64 << 64 | low, flags)
        }
        FpOp::Cvtps2dq => from32(env, |i| single_to_int(env, src, i)),
        FpOp::Cvttps2dq => from32(env, |i| single_to_int(truncate, src, i)),
        FpOp::Cvtps2pi => low_pair(env, |i| single_to_int(env, src, i)),
        FpOp::Cvttps2pi => low_pair(env, |i| single_to_int(truncate, src, i)),
        FpOp::Cvtpd2dq => low_pair(env, |i| double_to_int(env, src, i)),
        FpOp::Cvttpd2dq => low_pair(env, |i| double_to_int(truncate, src, i)),
        FpOp::Cvtps2pd => from64(env, |i| sse::convert::<F32, F64>(env, lane32(src, i))),
        FpOp::Cvtpd2ps => low_pair(env, |i| sse::convert::<F64, F32>(env, lane64(src, i))),
        _ => (dst, Flags::empty()),
    }
}

fn single_to_int(env: Env, src: u128, i: usize) -> Outcome<u32> {
    let (value, flags) = sse::to_i32::<F32>(env, lane32(src, i));
    (value as u32, flags)
}

fn double_to_int(env: Env, src: u128, i: usize) -> Outcome<u32> {
    let (value, flags) = sse::to_i32::<F64>(env, lane64(src, i));
    (value as u32, flags)
}

/// Two elements in bits 63:0, zeros above.
fn low_pair(env: Env, f: impl Fn(usize) -> Outcome<u32>) -> Outcome<u128> {
    let (v, flags) = join(env, [f(0), f(1)]);
    (v[0] as u128 | (v[1] as u128) << 32, flags)
}
