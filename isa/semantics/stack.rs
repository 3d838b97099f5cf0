//! PUSH, POP, LEAVE. SDM volume 2.

use crate::Ops;
use crate::operand::{get, imm, set};
use undercroft_decode::{Insn, Reg, Seg, Shape, Size};

/// The stack pointer, of the stack's width.
#[inline(always)]
pub fn sp<O: Ops>(o: &mut O) -> O::V {
    let rsp = o.reg(Reg::Rsp);
    o.stack_address(rsp)
}

/// Writes the stack pointer, of the stack's width.
#[inline(always)]
pub fn set_sp<O: Ops>(o: &mut O, v: O::V) {
    let rsp = o.rsp_with(v);
    o.set_reg(Reg::Rsp, rsp);
}

/// Pushes a value: the store comes first, so that a fault leaves the stack pointer.
#[inline(always)]
pub fn push_value<O: Ops>(o: &mut O, size: Size, v: O::V) -> Result<(), O::Fault> {
    let old = sp(o);
    let n = o.imm(size.bytes());
    let new = o.sub(old, n);
    let new = o.stack_address(new);
    o.store(Seg::Ss, new, size, v)?;
    set_sp(o, new);
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
    let old = sp(o);
    let v = o.load(Seg::Ss, old, size)?;
    let n = o.imm(size.bytes());
    let new = o.add(old, n);
    if shape as u8 == Shape::M as u8 {
        let rsp = o.rsp_with(new);
        let ea = o.ea_with_rsp(i, rsp);
        o.store(i.seg, ea, size, v)?;
        o.set_reg(Reg::Rsp, rsp);
        return Ok(());
    }
    set_sp(o, new);
    set(o, i.dst, size, v);
    Ok(())
}

/// LEAVE.
#[inline(always)]
pub fn leave<O: Ops>(o: &mut O, size: Size) -> Result<(), O::Fault> {
    let frame = o.reg(Reg::Rbp);
    let at = o.stack_address(frame);
    let v = o.load(Seg::Ss, at, size)?;
    let n = o.imm(size.bytes());
    let new = o.add(at, n);
    set_sp(o, new);
    set(o, Reg::Rbp, size, v);
    Ok(())
}
