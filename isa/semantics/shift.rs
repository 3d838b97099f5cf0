//! Shifts and rotates. A count of zero changes no flag. SDM volume 2, "SAL/SAR/SHL/SHR", "RCL/RCR/ROL/ROR", "SHLD", "SHRD".

use crate::Ops;
use crate::flags::FlagOp;
use crate::operand::{commit, get, modify, set, source};
use undercroft_decode::{Insn, Op, Reg, Shape, Size};
use undercroft_spec::x86::control::rflags::{CF, OF};

const fn count_mask(size: Size) -> u64 {
    if size as u8 == Size::B8 as u8 { 63 } else { 31 }
}

/// The count: an immediate or CL, masked.
#[inline(always)]
fn count<O: Ops>(o: &mut O, i: &Insn, size: Size, shape: Shape) -> O::V {
    if matches!(shape, Shape::RI | Shape::MI) {
        o.imm(i.imm64() & count_mask(size))
    } else {
        let cl = o.reg(Reg::Rcx);
        let mask = o.imm(count_mask(size));
        o.and(cl, mask)
    }
}

/// SHL, SHR, SAR, ROL, ROR, RCL, RCR.
#[inline(always)]
pub fn shift<O: Ops>(o: &mut O, i: &Insn, op: Op, size: Size, shape: Shape) -> Result<(), O::Fault> {
    let (a, to) = modify(o, i, size, shape)?;
    let n = count(o, i, size, shape);
    let zero = o.imm(0);
    let none = o.eq(n, zero);
    let some = o.not(none);
    match op {
        Op::Rcl | Op::Rcr => {
            let c = o.carry();
            let (r, c) = o.rotate_carry(op as u8 == Op::Rcl as u8, size, a, n, c);
            commit(o, i, size, to, r);
            let f = rotate_flags(o, op, size, r, c);
            o.flags_some_if(some, CF | OF, f);
        }
        Op::Rol | Op::Ror => {
            let r = rotate(o, op, size, a, n);
            commit(o, i, size, to, r);
            let c = if op as u8 == Op::Rol as u8 { low_bit(o, r) } else { top_bit(o, size, r) };
            let f = rotate_flags(o, op, size, r, c);
            o.flags_some_if(some, CF | OF, f);
        }
        _ => {
            let (before, after) = shifted(o, op, size, a, n);
            let r = o.select(none, a, after);
            commit(o, i, size, to, r);
            let kind = if op as u8 == Op::Shl as u8 { FlagOp::Shl } else { FlagOp::Shr };
            o.flags_if(some, kind, size, before, r);
        }
    }
    Ok(())
}

/// The operand shifted by one less than the count, and by the count. The first is what CF comes from.
#[inline(always)]
fn shifted<O: Ops>(o: &mut O, op: Op, size: Size, a: O::V, n: O::V) -> (O::V, O::V) {
    let one = o.imm(1);
    let less = o.sub(n, one);
    let mask = o.imm(63);
    let less = o.and(less, mask);
    match op {
        Op::Shl => {
            let before = o.shl(a, less);
            let before = o.zext(size, before);
            let after = o.shl(before, one);
            (before, o.zext(size, after))
        }
        Op::Shr => {
            let before = o.shr(a, less);
            (before, o.shr(before, one))
        }
        _ => {
            let wide = o.sext(size, a);
            let before = o.sar(wide, less);
            let after = o.sar(before, one);
            let before = o.zext(size, before);
            (before, o.zext(size, after))
        }
    }
}

#[inline(always)]
fn rotate<O: Ops>(o: &mut O, op: Op, size: Size, a: O::V, n: O::V) -> O::V {
    let bits = u64::from(size.bits());
    let mask = o.imm(bits - 1);
    let n = o.and(n, mask);
    let width = o.imm(bits);
    let back = o.sub(width, n);
    let back = o.and(back, mask);
    let (left, right) = if op as u8 == Op::Rol as u8 { (n, back) } else { (back, n) };
    let x = o.shl(a, left);
    let y = o.shr(a, right);
    let r = o.or(x, y);
    o.zext(size, r)
}

#[inline(always)]
fn low_bit<O: Ops>(o: &mut O, v: O::V) -> O::V {
    let one = o.imm(1);
    o.and(v, one)
}
#[inline(always)]
fn top_bit<O: Ops>(o: &mut O, size: Size, v: O::V) -> O::V {
    let n = o.imm(u64::from(size.bits()) - 1);
    o.shr(v, n)
}

/// RCL and RCR on plain values: a rotation of one bit more than the operand has. Result and carry. SDM volume 2, "RCL/RCR/ROL/ROR".
#[inline(always)]
pub fn rotate_carry(left: bool, size: Size, a: u64, count: u64, c: u64) -> (u64, u64) {
    let bits = u64::from(size.bits()) + 1;
    let n = count % bits;
    if n == 0 {
        return (a, c);
    }
    let wide = u128::from(c) << size.bits() | u128::from(a);
    let n = if left { n } else { bits - n };
    let rotated = wide << n | wide >> (bits - n);
    (rotated as u64 & size.mask(), (rotated >> size.bits()) as u64 & 1)
}

/// CF and OF of a rotation: OF is defined for counts of one, and computed alike for others.
#[inline(always)]
fn rotate_flags<O: Ops>(o: &mut O, op: Op, size: Size, r: O::V, c: O::V) -> O::V {
    let top = top_bit(o, size, r);
    let other = if matches!(op, Op::Rol | Op::Rcl) {
        c
    } else {
        let n = o.imm(u64::from(size.bits()) - 2);
        let second = o.shr(r, n);
        low_bit(o, second)
    };
    let of = o.xor(top, other);
    let n = o.imm(11);
    let of = o.shl(of, n);
    o.or(of, c)
}

/// SHLD, SHRD. For 16 bits a count above 16 is undefined by the SDM; ours shifts the concatenation.
#[inline(always)]
pub fn double<O: Ops>(o: &mut O, i: &Insn, op: Op, size: Size, shape: Shape) -> Result<(), O::Fault> {
    let (a, to) = modify(o, i, size, shape)?;
    let b = get(o, i.src, size);
    let by_cl = i.imm == 0 && matches!(i.src2, Reg::Rcx);
    let n = if by_cl {
        let cl = o.reg(Reg::Rcx);
        let mask = o.imm(count_mask(size));
        o.and(cl, mask)
    } else {
        o.imm(i.imm64() & count_mask(size))
    };
    let zero = o.imm(0);
    let none = o.eq(n, zero);
    let some = o.not(none);
    let one = o.imm(1);
    let less = o.sub(n, one);
    let mask = o.imm(63);
    let less = o.and(less, mask);
    let bits = u64::from(size.bits());
    let width = o.imm(bits);
    let rest = o.sub(width, n);
    let rest = o.and(rest, mask);
    let (before, r, kind) = if op as u8 == Op::Shld as u8 {
        let before = o.shl(a, less);
        let before = o.zext(size, before);
        let high = o.shl(before, one);
        let low = o.shr(b, rest);
        (before, o.or(high, low), FlagOp::Shl)
    } else {
        let before = o.shr(a, less);
        let low = o.shr(before, one);
        let high = o.shl(b, rest);
        (before, o.or(high, low), FlagOp::Shr)
    };
    let r = o.zext(size, r);
    let r = o.select(none, a, r);
    commit(o, i, size, to, r);
    o.flags_if(some, kind, size, before, r);
    Ok(())
}

/// RORX, SARX, SHLX, SHRX.
#[inline(always)]
pub fn flagless<O: Ops>(o: &mut O, i: &Insn, op: Op, size: Size, shape: Shape) -> Result<(), O::Fault> {
    let a = source(o, i, size, shape)?;
    let n = if op as u8 == Op::Rorx as u8 {
        o.imm(i.imm64() & count_mask(size))
    } else {
        let v = o.reg(i.src2);
        let mask = o.imm(count_mask(size));
        o.and(v, mask)
    };
    let r = match op {
        Op::Rorx => rotate(o, Op::Ror, size, a, n),
        Op::Shlx => o.shl(a, n),
        Op::Shrx => o.shr(a, n),
        _ => {
            let wide = o.sext(size, a);
            o.sar(wide, n)
        }
    };
    set(o, i.dst, size, r);
    Ok(())
}
