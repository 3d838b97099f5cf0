//! Near transfers. SDM volume 2, "CALL", "RET", "JMP", "LOOP/LOOPcc", "Jcc".

use crate::Ops;
use crate::operand::{first, get, set};
use crate::stack::{push_value, set_sp, sp};
use undercroft_decode::{Cond, Insn, Op, Reg, Seg, Shape, Size};

/// CALL rel.
#[inline(always)]
pub fn call_rel<O: Ops>(o: &mut O, i: &Insn, size: Size) -> Result<(), O::Fault> {
    let back = o.rip(i, i.next_offset() as i32);
    if !O::FAST {
        let target = o.rip(i, i.imm);
        o.check_target(target)?;
    }
    push_value(o, size, back)?;
    o.jump(i)
}

/// CALL r/m.
#[inline(always)]
pub fn call_ind<O: Ops>(o: &mut O, i: &Insn, size: Size, shape: Shape) -> Result<(), O::Fault> {
    let target = first(o, i, size, shape)?;
    o.check_target(target)?;
    let back = o.rip(i, i.next_offset() as i32);
    push_value(o, size, back)?;
    o.jump_to(target);
    Ok(())
}

/// RET, RET imm16.
#[inline(always)]
pub fn ret<O: Ops>(o: &mut O, i: &Insn, size: Size, shape: Shape) -> Result<(), O::Fault> {
    let old = sp(o);
    let target = o.load(Seg::Ss, old, size)?;
    o.check_target(target)?;
    let extra = if shape as u8 == Shape::I as u8 { u64::from(i.imm as u16) } else { 0 };
    let n = o.imm(size.bytes() + extra);
    let new = o.add(old, n);
    set_sp(o, new);
    o.jump_to(target);
    Ok(())
}

/// JMP r/m.
#[inline(always)]
pub fn jmp_ind<O: Ops>(o: &mut O, i: &Insn, size: Size, shape: Shape) -> Result<(), O::Fault> {
    let target = first(o, i, size, shape)?;
    o.check_target(target)?;
    o.jump_to(target);
    Ok(())
}

/// LOOP, LOOPE, LOOPNE, JCXZ, JECXZ, JRCXZ. The counter is as wide as addresses.
#[inline(always)]
pub fn counted<O: Ops>(o: &mut O, i: &Insn, op: Op) -> Result<(), O::Fault> {
    let width = i.addr_size();
    let old = get(o, Reg::Rcx, width);
    let zero = o.imm(0);
    if op as u8 == Op::Jrcxz as u8 {
        let taken = o.eq(old, zero);
        return o.branch(taken, i);
    }
    let one = o.imm(1);
    let new = o.sub(old, one);
    let new = o.zext(width, new);
    let done = o.eq(new, zero);
    let counting = o.not(done);
    let taken = match op {
        Op::Loope | Op::Loopne => {
            let cc = if op as u8 == Op::Loope as u8 { Cond::E } else { Cond::Ne };
            let holds = o.cond(cc);
            let one = o.imm(1);
            let yes = o.select(holds, one, zero);
            let both = o.select(counting, yes, zero);
            let neither = o.eq(both, zero);
            o.not(neither)
        }
        _ => counting,
    };
    // A branch beyond the segment faults and leaves the counter.
    o.branch(taken, i)?;
    set(o, Reg::Rcx, width, new);
    Ok(())
}
