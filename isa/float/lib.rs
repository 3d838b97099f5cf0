//! x87 and SSE arithmetic with exact exception flags: pure functions.
//!
//! | wanted | call |
//! | --- | --- |
//! | the environment | `Env::from_mxcsr(mxcsr)`, `Env::from_fcw(fcw)` |
//! | ADDSD, SUBPS, … | `sse::add::<F64>(env, a: u64, b: u64) -> (u64, Flags)`; `sub`, `mul`, `div`, `sqrt`, `min`, `max` alike |
//! | the same, fast | `fast::add::<F64>(mxcsr: u32, a, b) -> (u64, Flags)`; `sub`, `mul`, `div`, `sqrt`, `min`, `max`, `compare`, `to_i32`, …, `from_i64`, `widen`, `narrow` alike: use these |
//! | COMISD, UCOMISD | `sse::compare::<F64>(env, a, b, Signals::AllNans) -> (Relation, Flags)`; UCOMISD: `Signals::SignallingNans` |
//! | CMPPD imm | `sse::compare_predicate::<F64>(env, a, b, imm) -> (bool, Flags)` |
//! | CVTSD2SS | `sse::convert::<F64, F32>(env, a) -> (u32, Flags)` |
//! | CVTSD2SI, CVTTSD2SI | `sse::to_i32::<F64>(env, a) -> (i32, Flags)`, `to_i64`, `to_i32_truncate`, `to_i64_truncate` |
//! | CVTSI2SD | `sse::from_i32::<F64>(env, i) -> (u64, Flags)`, `from_i64` |
//! | ROUNDSD imm | `sse::round_to_integral::<F64>(env, a, imm) -> (u64, Flags)` |
//! | FADD, FSUB, FMUL, FDIV | `x87::add(env, a, b) -> Computed<F80>`; an operand is an `F80`, `M32(u32)`, `M64(u64)`, `i16` or `i32` |
//! | FSQRT, FRNDINT, FSCALE, FXTRACT | `x87::sqrt(env, a)`, `x87::round_to_integral`, `x87::scale(env, st0, st1)`, `x87::extract` |
//! | FPREM, FPREM1 | `x87::remainder(env, st0, st1, Quotient::Truncated or Nearest) -> Remainder` |
//! | FCOM, FUCOM, FTST | `x87::compare(env, a, b, Signals) -> (Relation, Flags)` |
//! | FLD m32, FST m64, … | `x87::load_f32(bits) -> (F80, Flags)`, `x87::store_f64(env, a) -> Computed<u64>` |
//! | FILD, FIST, FISTTP | `x87::load_i64(i)`, `x87::store_i32(env, a) -> Computed<i32>`; FISTTP: `env.with_rounding(Rounding::Truncate)` |
//! | FBLD, FBSTP | `x87::load_bcd([u8; 10])`, `x87::store_bcd(env, a) -> Computed<[u8; 10]>` |
//! | FXAM | `x87::examine(a) -> u16`, as bits of FSW |
//! | F2XM1, FYL2X, FYL2XP1 | `x87::exponential(env, st0) -> Computed<F80>`, `x87::log_times(env, st0, st1)`, `x87::log_plus_one_times` |
//! | FPATAN | `x87::angle(env, st0, st1) -> Computed<F80>` |
//! | FSIN, FCOS, FSINCOS, FPTAN | `x87::sin(env, st0) -> Trigonometric<Computed<F80>>`, `cos`, `sin_cos`, `tan` |
//! | RCPSS, RSQRTSS | `sse::reciprocal(a: u32) -> u32`, `sse::reciprocal_sqrt(a)`: no flags |
//! | flags of a packed instruction | `sse::packed_flags(env, &[Flags]) -> Flags` |
//! | what to do with flags | `MXCSR or FSW |= flags.bits()`; if `!flags.unmasked(env).is_empty()`: #XM (SSE, nothing stored) or ES (x87) |
//! | x87: nothing stored | `flags.stops(env)`: an unmasked IE, DE or ZE leaves registers and memory as they are |
//!
//! Left to the caller: FTZ and DAZ of x87 do not exist; the stack, its faults and tags; the condition codes' places in FSW.
#![forbid(unsafe_code)]

mod arith;
mod env;
pub mod fast;
mod format;
mod round;
pub mod sse;
pub mod x87;

pub use arith::{Relation, Signals};
pub use env::{Env, Flags, Precision, Rounding};
pub use format::{Class, F32, F64, F80, Format, Number};
