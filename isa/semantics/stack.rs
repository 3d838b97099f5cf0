//! PUSH, POP, LEAVE. SDM volume 2.

use crate::Ops;
use crate::operand::{get, imm, set};
use undercroft_decode::{Insn, Reg, Seg, Shape, Size};

/// Pushes a value: the store comes first, so that a fault leaves the stack pointer.
#[inline(always)]
pub fn push_value<O: Ops>(o: &mut O, size: Size, v: O::V) -> Result<(), O::Fault> {
    let sp = o.sp();
    let n = o.imm(size.bytes());
    let new = o.sub(sp, n);
    let new = o.wrap_sp(new);
    o.store(Seg::Ss, new, size, v)?;
    o.set_sp(new);
    Ok(())
}

/// PUSH.
#[inline(always)]
pub fn push<O: Ops>(o: &mut O, i: &Insn, size: Size, shape: Shape) -> Result<(), O::Fault> {
    let v = match shape {
        Shape::M => {
            let ea = o.ea(i);
            o.load(i.seg, ea, size)?
        }
        Shape::R => get(o, i.dst, size),
        _ => imm(o, i, size),
    };
    push_value(o, size, v)
}

/// POP. An address with RSP as base uses the incremented value; POP RSP leaves the popped one.
#[inline(always)]
pub fn pop<O: Ops>(o: &mut O, i: &Insn, size: Size, shape: Shape) -> Result<(), O::Fault> {
    let sp = o.sp();
    let v = o.load(Seg::Ss, sp, size)?;
    let n = o.imm(size.bytes());
    let new = o.add(sp, n);
    if shape as u8 == Shape::M as u8 {
        let before = o.reg(Reg::Rsp);
        o.set_sp(new);
        let ea = o.ea(i);
        let after = o.reg(Reg::Rsp);
        // Until the store has succeeded the stack pointer is as before.
        o.set_reg(Reg::Rsp, before);
        o.store(i.seg, ea, size, v)?;
        o.set_reg(Reg::Rsp, after);
        return Ok(());
    }
    o.set_sp(new);
    set(o, i.dst, size, v);
    Ok(())
}

/// LEAVE.
#[inline(always)]
pub fn leave<O: Ops>(o: &mut O, size: Size) -> Result<(), O::Fault> {
    let before = o.reg(Reg::Rsp);
    let frame = o.reg(Reg::Rbp);
    o.set_sp(frame);
    let at = o.sp();
    let moved = o.reg(Reg::Rsp);
    o.set_reg(Reg::Rsp, before);
    let v = o.load(Seg::Ss, at, size)?;
    o.set_reg(Reg::Rsp, moved);
    let n = o.imm(size.bytes());
    let new = o.add(at, n);
    o.set_sp(new);
    set(o, Reg::Rbp, size, v);
    Ok(())
}
