//! Addition, subtraction, logic, comparison, and the instructions on single flags. SDM volume 2.

use crate::Ops;
use crate::flags::FlagOp;
use crate::operand::{Destination, commit, first, get, modify, set, source, written};
use undercroft_decode::{Insn, Op, Reg, Shape, Size};
use undercroft_spec::x86::control::rflags::{AF, CF, OF, PF, SF, ZF};

/// ADD, OR, ADC, SBB, AND, SUB, XOR.
#[inline(always)]
pub fn binary<O: Ops>(o: &mut O, i: &Insn, op: Op, size: Size, shape: Shape) -> Result<(), O::Fault> {
    let b = source(o, i, size, shape)?;
    let (a, to) = modify(o, i, size, shape)?;
    let c = if matches!(op, Op::Adc | Op::Sbb) { Some(o.carry()) } else { None };
    let wide = match op {
        Op::Add => o.add(a, b),
        Op::Sub => o.sub(a, b),
        Op::And => o.and(a, b),
        Op::Or => o.or(a, b),
        Op::Xor => o.xor(a, b),
        Op::Adc => {
            let sum = o.add(a, b);
            c.map_or(sum, |c| o.add(sum, c))
        }
        _ => {
            let difference = o.sub(a, b);
            c.map_or(difference, |c| o.sub(difference, c))
        }
    };
    let r = if size as u8 == Size::B8 as u8 { wide } else { o.zext(size, wide) };
    commit(o, i, size, to, r);
    match (op, c) {
        (Op::Add, _) => o.flags(FlagOp::Add, size, a, r),
        (Op::Sub, _) => o.flags(FlagOp::Sub, size, a, r),
        (Op::Adc, Some(c)) => o.flags_by_carry(c, FlagOp::Add, FlagOp::AddCarry, size, a, r),
        (Op::Sbb, Some(c)) => o.flags_by_carry(c, FlagOp::Sub, FlagOp::SubBorrow, size, a, r),
        _ => o.flags(FlagOp::Logic, size, a, r),
    }
    Ok(())
}

/// CMP, TEST.
#[inline(always)]
pub fn compare<O: Ops>(o: &mut O, i: &Insn, op: Op, size: Size, shape: Shape) -> Result<(), O::Fault> {
    let b = source(o, i, size, shape)?;
    let a = first(o, i, size, shape)?;
    if op as u8 == Op::Cmp as u8 {
        let wide = o.sub(a, b);
        let r = o.zext(size, wide);
        o.flags(FlagOp::Sub, size, a, r);
    } else {
        let r = o.and(a, b);
        o.flags(FlagOp::Logic, size, a, r);
    }
    Ok(())
}

/// INC, DEC, NEG, NOT.
#[inline(always)]
pub fn unary<O: Ops>(o: &mut O, i: &Insn, op: Op, size: Size, shape: Shape) -> Result<(), O::Fault> {
    let (a, to) = modify(o, i, size, shape)?;
    let wide = match op {
        Op::Inc => {
            let one = o.imm(1);
            o.add(a, one)
        }
        Op::Dec => {
            let one = o.imm(1);
            o.sub(a, one)
        }
        Op::Neg => {
            let zero = o.imm(0);
            o.sub(zero, a)
        }
        _ => {
            let ones = o.imm(u64::MAX);
            o.xor(a, ones)
        }
    };
    let r = o.zext(size, wide);
    commit(o, i, size, to, r);
    match op {
        Op::Inc => {
            let c = o.carry();
            o.flags_by_carry(c, FlagOp::Inc, FlagOp::IncCarry, size, a, r);
        }
        Op::Dec => {
            let c = o.carry();
            o.flags_by_carry(c, FlagOp::Dec, FlagOp::DecCarry, size, a, r);
        }
        Op::Neg => {
            let zero = o.imm(0);
            o.flags(FlagOp::Sub, size, zero, r);
        }
        _ => {}
    }
    Ok(())
}

/// CMPXCHG. The destination is written in any case: with its own value when the comparison fails.
#[inline(always)]
pub fn cmpxchg<O: Ops>(o: &mut O, i: &Insn, size: Size, shape: Shape) -> Result<(), O::Fault> {
    let (old, to) = modify(o, i, size, shape)?;
    let accumulator = get(o, Reg::Rax, size);
    let new = get(o, i.src, size);
    let wide = o.sub(accumulator, old);
    let r = o.zext(size, wide);
    let equal = o.eq(accumulator, old);
    match to {
        Destination::Register => replace_if(o, equal, i.dst, size, new),
        Destination::Memory(place) => {
            let v = o.select(equal, new, old);
            o.store_place(place, size, v);
        }
    }
    let differ = o.not(equal);
    replace_if(o, differ, Reg::Rax, size, old);
    o.flags(FlagOp::Sub, size, accumulator, r);
    Ok(())
}

/// Writes a register if a condition holds; if not, not even the upper half of a 32-bit one changes.
#[inline(always)]
fn replace_if<O: Ops>(o: &mut O, b: O::B, r: Reg, size: Size, v: O::V) {
    let (slot, after) = written(o, r, size, v);
    let before = o.reg(slot);
    let kept = o.select(b, after, before);
    o.set_reg(slot, kept);
}

/// XADD.
#[inline(always)]
pub fn xadd<O: Ops>(o: &mut O, i: &Insn, size: Size, shape: Shape) -> Result<(), O::Fault> {
    let (a, to) = modify(o, i, size, shape)?;
    let b = get(o, i.src, size);
    let wide = o.add(a, b);
    let r = o.zext(size, wide);
    // The source is written first: with both operands the same register the sum stays.
    set(o, i.src, size, a);
    commit(o, i, size, to, r);
    o.flags(FlagOp::Add, size, a, r);
    Ok(())
}

/// ADCX, ADOX: addition with one flag as carry in and out, the others untouched.
#[inline(always)]
pub fn adcx_adox<O: Ops>(o: &mut O, i: &Insn, op: Op, size: Size, shape: Shape) -> Result<(), O::Fault> {
    let b = source(o, i, size, shape)?;
    let a = get(o, i.dst, size);
    let (flag, shift) = if op as u8 == Op::Adcx as u8 { (CF, 0) } else { (OF, 11) };
    let all = o.all_flags();
    let n = o.imm(shift);
    let moved = o.shr(all, n);
    let one = o.imm(1);
    let c = o.and(moved, one);
    let partial = o.add(a, b);
    let partial = o.zext(size, partial);
    let sum = o.add(partial, c);
    let r = o.zext(size, sum);
    let over1 = o.lt(partial, a);
    let over2 = o.lt(r, partial);
    let set_flag = o.imm(flag);
    let none = o.imm(0);
    let f2 = o.select(over2, set_flag, none);
    let f = o.select(over1, set_flag, f2);
    set(o, i.dst, size, r);
    o.flags_some(flag, f);
    Ok(())
}

/// LAHF, SAHF, CLC, STC, CMC, CLD, STD.
#[inline(always)]
pub fn flag_ops<O: Ops>(o: &mut O, op: Op) -> Result<(), O::Fault> {
    match op {
        Op::Cld => o.set_direction(false),
        Op::Std => o.set_direction(true),
        Op::Lahf => {
            let all = o.all_flags();
            let mask = o.imm(SF | ZF | AF | PF | CF);
            let low = o.and(all, mask);
            let fixed = o.imm(2);
            let byte = o.or(low, fixed);
            let eight = o.imm(8);
            let shifted = o.shl(byte, eight);
            let rax = o.reg(Reg::Rax);
            let keep = o.imm(!0xff00);
            let rest = o.and(rax, keep);
            let r = o.or(rest, shifted);
            o.set_reg(Reg::Rax, r);
        }
        Op::Sahf => {
            let rax = o.reg(Reg::Rax);
            let eight = o.imm(8);
            let ah = o.shr(rax, eight);
            o.flags_some(SF | ZF | AF | PF | CF, ah);
        }
        Op::Cmc => {
            let c = o.carry();
            let one = o.imm(1);
            let flipped = o.xor(c, one);
            o.flags_some(CF, flipped);
        }
        _ => {
            let v = o.imm(if op as u8 == Op::Stc as u8 { CF } else { 0 });
            o.flags_some(CF, v);
        }
    }
    Ok(())
}
