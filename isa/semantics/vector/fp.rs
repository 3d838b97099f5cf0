//! SSE floating-point operations on whole registers: names, element order, joining of flags.
//!
//! Intel SDM volume 1, "SIMD Floating-Point Exceptions", "Exception Priority"; volume 2, the instruction of each name. The arithmetic
//! of one element is `undercroft-float`'s.
//!
//! # What the caller does with the flags
//!
//! 1. MXCSR := MXCSR OR flags, always.
//! 2. If a flag's mask bit in MXCSR is clear: #XM (#UD while CR4.OSXMMEXCPT is clear), and no register or status flag changes: the
//!    value is then without meaning.
//! 3. Else the value is written.
//!
//! An instruction's elements are judged together and in two steps. Invalid, denormal and divide-by-zero are found before computing;
//! if one of them is unmasked in any element, nothing is computed, and overflow, underflow and inexact are reported by none. Else the
//! flags of all elements are joined. Both steps are done here; DPPS and DPPD do them after the multiplication and after each
//! addition.

use undercroft_float::{Env, F32, F64, Flags, fast, sse};

use super::fp_approximate::{reciprocal, reciprocal_square_root};
use super::fp_convert as convert;
use super::logic::{CF, PF, ZF};

macro_rules! operations {
    ($($name:ident)*) => {
        /// A floating-point operation, by the manual's mnemonic. Conversions from or to general-purpose registers end in the
        /// register's width. CVTPD2PI and CVTTPD2PI are CVTPD2DQ and CVTTPD2DQ.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[repr(u8)]
        #[allow(missing_docs)]
        pub enum FpOp { $($name,)* }

        impl FpOp {
            /// Every operation, in the order of the discriminants.
            pub const ALL: &[FpOp] = &[$(FpOp::$name,)*];
        }
    };
}

operations! {
    Addps Addpd Addss Addsd Subps Subpd Subss Subsd Mulps Mulpd Mulss Mulsd Divps Divpd Divss Divsd
    Minps Minpd Minss Minsd Maxps Maxpd Maxss Maxsd Sqrtps Sqrtpd Sqrtss Sqrtsd
    Cmpps Cmppd Cmpss Cmpsd Roundps Roundpd Roundss Roundsd
    Addsubps Addsubpd Haddps Haddpd Hsubps Hsubpd Dpps Dppd
    Rcpps Rcpss Rsqrtps Rsqrtss Ucomiss Ucomisd Comiss Comisd
    Cvtpi2ps Cvtpi2pd Cvtsi2ss32 Cvtsi2ss64 Cvtsi2sd32 Cvtsi2sd64 Cvtdq2ps Cvtdq2pd
    Cvtps2pi Cvttps2pi Cvtps2dq Cvttps2dq Cvtpd2dq Cvttpd2dq
    Cvtss2si32 Cvtss2si64 Cvttss2si32 Cvttss2si64 Cvtsd2si32 Cvtsd2si64 Cvttsd2si32 Cvttsd2si64
    Cvtps2pd Cvtpd2ps Cvtss2sd Cvtsd2ss
}

impl FpOp {
    /// Whether the operation can yield flags at all. The approximations do not look at MXCSR, and every 32-bit integer is a double.
    pub const fn reports_exceptions(self) -> bool {
        use FpOp::*;
        !matches!(self, Rcpps | Rcpss | Rsqrtps | Rsqrtss | Cvtpi2pd | Cvtdq2pd | Cvtsi2sd32)
    }
}

/// A value and the exceptions that computing it reports.
pub(super) type Outcome<T> = (T, Flags);

/// The first operand's new value, or the status flags for the comparisons UCOMISx and COMISx, with the exception flags. The module's
/// text says what to do with them. PE may be missing where `mxcsr` has it already.
#[inline]
pub fn eval_fp(op: FpOp, dst: u128, src: u128, imm: u8, mxcsr: u32) -> Outcome<u128> {
    use FpOp::*;
    let env = || Env::from_mxcsr(mxcsr);
    let (d32, s32, d64, s64) = (dst as u32, src as u32, dst as u64, src as u64);
    match op {
        Addss => merge32(dst, fast::add::<F32>(mxcsr, d32, s32)),
        Addsd => merge64(dst, fast::add::<F64>(mxcsr, d64, s64)),
        Subss => merge32(dst, fast::sub::<F32>(mxcsr, d32, s32)),
        Subsd => merge64(dst, fast::sub::<F64>(mxcsr, d64, s64)),
        Mulss => merge32(dst, fast::mul::<F32>(mxcsr, d32, s32)),
        Mulsd => merge64(dst, fast::mul::<F64>(mxcsr, d64, s64)),
        Divss => merge32(dst, fast::div::<F32>(mxcsr, d32, s32)),
        Divsd => merge64(dst, fast::div::<F64>(mxcsr, d64, s64)),
        Minss => merge32(dst, sse::min::<F32>(env(), d32, s32)),
        Minsd => merge64(dst, sse::min::<F64>(env(), d64, s64)),
        Maxss => merge32(dst, sse::max::<F32>(env(), d32, s32)),
        Maxsd => merge64(dst, sse::max::<F64>(env(), d64, s64)),
        Sqrtss => merge32(dst, fast::sqrt::<F32>(mxcsr, s32)),
        Sqrtsd => merge64(dst, fast::sqrt::<F64>(mxcsr, s64)),
        Ucomiss => relation_flags(sse::compare::<F32>(env(), d32, s32, sse::Signals::SignallingNans)),
        Ucomisd => relation_flags(sse::compare::<F64>(env(), d64, s64, sse::Signals::SignallingNans)),
        Comiss => relation_flags(sse::compare::<F32>(env(), d32, s32, sse::Signals::AllNans)),
        Comisd => relation_flags(sse::compare::<F64>(env(), d64, s64, sse::Signals::AllNans)),
        Cvtsi2ss32 => merge32(dst, sse::from_i32::<F32>(env(), s32 as i32)),
        Cvtsi2ss64 => merge32(dst, sse::from_i64::<F32>(env(), s64 as i64)),
        Cvtsi2sd32 => merge64(dst, sse::from_i32::<F64>(env(), s32 as i32)),
        Cvtsi2sd64 => merge64(dst, sse::from_i64::<F64>(env(), s64 as i64)),
        Cvtss2si32 => low32(sse::to_i32::<F32>(env(), s32)),
        Cvtss2si64 => low64(sse::to_i64::<F32>(env(), s32)),
        Cvttss2si32 => low32(sse::to_i32_truncate::<F32>(env(), s32)),
        Cvttss2si64 => low64(sse::to_i64_truncate::<F32>(env(), s32)),
        Cvtsd2si32 => low32(sse::to_i32::<F64>(env(), s64)),
        Cvtsd2si64 => low64(sse::to_i64::<F64>(env(), s64)),
        Cvttsd2si32 => low32(sse::to_i32_truncate::<F64>(env(), s64)),
        Cvttsd2si64 => low64(sse::to_i64_truncate::<F64>(env(), s64)),
        Cvtss2sd => merge64(dst, sse::convert::<F32, F64>(env(), s32)),
        Cvtsd2ss => merge32(dst, sse::convert::<F64, F32>(env(), s64)),
        _ => packed(op, dst, src, imm, mxcsr),
    }
}

/// The packed operations, and the scalar ones that are rare.
#[inline(never)]
fn packed(op: FpOp, dst: u128, src: u128, imm: u8, mxcsr: u32) -> Outcome<u128> {
    use FpOp::*;
    let env = Env::from_mxcsr(mxcsr);
    let compare32 = |a, b| mask(sse::compare_predicate::<F32>(env, a, b, imm & 7), u32::MAX);
    let compare64 = |a, b| mask(sse::compare_predicate::<F64>(env, a, b, imm & 7), u64::MAX);
    match op {
        Addps => zip32(env, dst, src, |a, b| fast::add::<F32>(mxcsr, a, b)),
        Addpd => zip64(env, dst, src, |a, b| fast::add::<F64>(mxcsr, a, b)),
        Subps => zip32(env, dst, src, |a, b| fast::sub::<F32>(mxcsr, a, b)),
        Subpd => zip64(env, dst, src, |a, b| fast::sub::<F64>(mxcsr, a, b)),
        Mulps => zip32(env, dst, src, |a, b| fast::mul::<F32>(mxcsr, a, b)),
        Mulpd => zip64(env, dst, src, |a, b| fast::mul::<F64>(mxcsr, a, b)),
        Divps => zip32(env, dst, src, |a, b| fast::div::<F32>(mxcsr, a, b)),
        Divpd => zip64(env, dst, src, |a, b| fast::div::<F64>(mxcsr, a, b)),
        Minps => zip32(env, dst, src, |a, b| sse::min::<F32>(env, a, b)),
        Minpd => zip64(env, dst, src, |a, b| sse::min::<F64>(env, a, b)),
        Maxps => zip32(env, dst, src, |a, b| sse::max::<F32>(env, a, b)),
        Maxpd => zip64(env, dst, src, |a, b| sse::max::<F64>(env, a, b)),
        Sqrtps => zip32(env, dst, src, |_, b| fast::sqrt::<F32>(mxcsr, b)),
        Sqrtpd => zip64(env, dst, src, |_, b| fast::sqrt::<F64>(mxcsr, b)),
        Cmpps => zip32(env, dst, src, compare32),
        Cmppd => zip64(env, dst, src, compare64),
        Cmpss => merge32(dst, compare32(dst as u32, src as u32)),
        Cmpsd => merge64(dst, compare64(dst as u64, src as u64)),
        Roundps => zip32(env, dst, src, |_, b| sse::round_to_integral::<F32>(env, b, imm)),
        Roundpd => zip64(env, dst, src, |_, b| sse::round_to_integral::<F64>(env, b, imm)),
        Roundss => merge32(dst, sse::round_to_integral::<F32>(env, src as u32, imm)),
        Roundsd => merge64(dst, sse::round_to_integral::<F64>(env, src as u64, imm)),
        Rcpps => zip32(env, dst, src, |_, b| (reciprocal(b), Flags::empty())),
        Rcpss => merge32(dst, (reciprocal(src as u32), Flags::empty())),
        Rsqrtps => zip32(env, dst, src, |_, b| (reciprocal_square_root(b), Flags::empty())),
        Rsqrtss => merge32(dst, (reciprocal_square_root(src as u32), Flags::empty())),
        _ => across(op, dst, src, imm, mxcsr),
    }
}

/// The operations whose elements do not stand in the same place in operands and result.
fn across(op: FpOp, dst: u128, src: u128, imm: u8, mxcsr: u32) -> Outcome<u128> {
    use FpOp::*;
    let env = Env::from_mxcsr(mxcsr);
    let add_sub32 = |adds: bool, a, b| if adds { fast::add::<F32>(mxcsr, a, b) } else { fast::sub::<F32>(mxcsr, a, b) };
    let add_sub64 = |adds: bool, a, b| if adds { fast::add::<F64>(mxcsr, a, b) } else { fast::sub::<F64>(mxcsr, a, b) };
    // Neighbours in the first operand, then in the second.
    let pair32 = |i: usize| {
        let operand = if i < 2 { dst } else { src };
        (lane32(operand, 2 * i), lane32(operand, 2 * i + 1))
    };
    let pair64 = |i: usize| {
        let operand = if i < 1 { dst } else { src };
        (lane64(operand, 0), lane64(operand, 1))
    };
    match op {
        Addsubps => from32(env, |i| add_sub32(i & 1 != 0, lane32(dst, i), lane32(src, i))),
        Addsubpd => from64(env, |i| add_sub64(i & 1 != 0, lane64(dst, i), lane64(src, i))),
        Haddps | Hsubps => from32(env, |i| {
            let (low, high) = pair32(i);
            add_sub32(op == Haddps, low, high)
        }),
        Haddpd | Hsubpd => from64(env, |i| {
            let (low, high) = pair64(i);
            add_sub64(op == Haddpd, low, high)
        }),
        Dpps => dot_product32(dst, src, imm, mxcsr),
        Dppd => dot_product64(dst, src, imm, mxcsr),
        _ => convert::packed(op, dst, src, env),
    }
}

/// DPPS: products where immediate bits 7:4 say so, summed in pairs, stored where bits 3:0 say so.
fn dot_product32(dst: u128, src: u128, imm: u8, mxcsr: u32) -> Outcome<u128> {
    let env = Env::from_mxcsr(mxcsr);
    let (products, f1) = from32(env, |i| match imm >> (4 + i) & 1 {
        0 => (0, Flags::empty()),
        _ => fast::mul::<F32>(mxcsr, lane32(dst, i), lane32(src, i)),
    });
    if !f1.unmasked(env).is_empty() {
        return (dst, f1);
    }
    let sum = |a, b, i, j| fast::add::<F32>(mxcsr, lane32(a, i), lane32(b, j));
    let (halves, f2) = join(env, [sum(products, products, 0, 1), sum(products, products, 2, 3)]);
    if !f2.unmasked(env).is_empty() {
        return (dst, f1 | f2);
    }
    let (total, f3) = fast::add::<F32>(mxcsr, halves[0], halves[1]);
    let (value, _) = from32(env, |i| (if imm >> i & 1 != 0 { total } else { 0 }, Flags::empty()));
    (value, f1 | f2 | f3)
}

/// DPPD: products where immediate bits 5:4 say so, summed, stored where bits 1:0 say so.
fn dot_product64(dst: u128, src: u128, imm: u8, mxcsr: u32) -> Outcome<u128> {
    let env = Env::from_mxcsr(mxcsr);
    let (products, f1) = from64(env, |i| match imm >> (4 + i) & 1 {
        0 => (0, Flags::empty()),
        _ => fast::mul::<F64>(mxcsr, lane64(dst, i), lane64(src, i)),
    });
    if !f1.unmasked(env).is_empty() {
        return (dst, f1);
    }
    let (total, f2) = fast::add::<F64>(mxcsr, lane64(products, 0), lane64(products, 1));
    let (value, _) = from64(env, |i| (if imm >> i & 1 != 0 { total } else { 0 }, Flags::empty()));
    (value, f1 | f2)
}

/// ZF, PF and CF of a comparison; OF, AF and SF are zero.
#[inline(always)]
fn relation_flags((relation, flags): Outcome<sse::Relation>) -> Outcome<u128> {
    let status = match relation {
        sse::Relation::Unordered => ZF | PF | CF,
        sse::Relation::Less => CF,
        sse::Relation::Equal => ZF,
        sse::Relation::Greater => 0,
    };
    (status as u128, flags)
}

fn mask<T: Default>((holds, flags): Outcome<bool>, ones: T) -> Outcome<T> {
    (if holds { ones } else { T::default() }, flags)
}

#[inline(always)]
pub(super) fn lane32(value: u128, index: usize) -> u32 {
    (value >> (32 * (index & 3))) as u32
}

#[inline(always)]
pub(super) fn lane64(value: u128, index: usize) -> u64 {
    (value >> (64 * (index & 1))) as u64
}

/// The low element replaced, the rest of the first operand kept.
#[inline(always)]
fn merge32(dst: u128, (value, flags): Outcome<u32>) -> Outcome<u128> {
    (dst & !(u32::MAX as u128) | value as u128, flags)
}

/// The low element replaced, the rest of the first operand kept.
#[inline(always)]
fn merge64(dst: u128, (value, flags): Outcome<u64>) -> Outcome<u128> {
    (dst & !(u64::MAX as u128) | value as u128, flags)
}

fn low32((value, flags): Outcome<i32>) -> Outcome<u128> {
    (value as u32 as u128, flags)
}

fn low64((value, flags): Outcome<i64>) -> Outcome<u128> {
    (value as u64 as u128, flags)
}

/// The elements of one instruction, with their flags joined as the module's text says.
#[inline(always)]
pub(super) fn join<T: Copy, const N: usize>(env: Env, elements: [Outcome<T>; N]) -> Outcome<[T; N]> {
    (elements.map(|e| e.0), sse::packed_flags(env, &elements.map(|e| e.1)))
}

/// Four elements in a register.
#[inline(always)]
pub(super) fn from32(env: Env, f: impl Fn(usize) -> Outcome<u32>) -> Outcome<u128> {
    let (v, flags) = join(env, [f(0), f(1), f(2), f(3)]);
    (v[0] as u128 | (v[1] as u128) << 32 | (v[2] as u128) << 64 | (v[3] as u128) << 96, flags)
}

/// Two elements in a register.
#[inline(always)]
pub(super) fn from64(env: Env, f: impl Fn(usize) -> Outcome<u64>) -> Outcome<u128> {
    let (v, flags) = join(env, [f(0), f(1)]);
    (v[0] as u128 | (v[1] as u128) << 64, flags)
}

#[inline(always)]
fn zip32(env: Env, a: u128, b: u128, f: impl Fn(u32, u32) -> Outcome<u32>) -> Outcome<u128> {
    from32(env, |i| f(lane32(a, i), lane32(b, i)))
}

#[inline(always)]
fn zip64(env: Env, a: u128, b: u128, f: impl Fn(u64, u64) -> Outcome<u64>) -> Outcome<u128> {
    from64(env, |i| f(lane64(a, i), lane64(b, i)))
}
