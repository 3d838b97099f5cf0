//! Operands of general-register instructions.

use crate::Ops;
use undercroft_decode::{Insn, Reg, Shape, Size};

/// A general register of this width, zero-extended.
#[inline(always)]
pub fn get<O: Ops>(o: &mut O, r: Reg, size: Size) -> O::V {
    if !O::FAST && r.is_high_byte() {
        let whole = o.reg(Reg::gpr(r as u8 & 3));
        let eight = o.imm(8);
        let shifted = o.shr(whole, eight);
        return o.zext(Size::B1, shifted);
    }
    let whole = o.reg(r);
    if size as u8 == Size::B8 as u8 { whole } else { o.zext(size, whole) }
}

/// Writes a general register of this width: 32 bits clear the upper half, 8 and 16 bits leave the rest.
#[inline(always)]
pub fn set<O: Ops>(o: &mut O, r: Reg, size: Size, v: O::V) {
    let (slot, whole) = written(o, r, size, v);
    o.set_reg(slot, whole);
}

/// What [`set`] writes, and to which slot: for a body that decides later whether it does.
#[inline(always)]
pub fn written<O: Ops>(o: &mut O, r: Reg, size: Size, v: O::V) -> (Reg, O::V) {
    if !O::FAST && r.is_high_byte() {
        let slot = Reg::gpr(r as u8 & 3);
        let low = o.zext(Size::B1, v);
        let eight = o.imm(8);
        let shifted = o.shl(low, eight);
        return (slot, merged(o, slot, 0xff00, shifted));
    }
    match size {
        Size::B8 => (r, v),
        Size::B4 => (r, o.zext(size, v)),
        _ => {
            let low = o.zext(size, v);
            (r, merged(o, r, size.mask(), low))
        }
    }
}

#[inline(always)]
fn merged<O: Ops>(o: &mut O, r: Reg, mask: u64, v: O::V) -> O::V {
    let old = o.reg(r);
    let keep = o.imm(!mask);
    let rest = o.and(old, keep);
    o.or(rest, v)
}

/// The immediate, of this width.
#[inline(always)]
pub fn imm<O: Ops>(o: &mut O, i: &Insn, size: Size) -> O::V {
    o.imm(i.imm64() & size.mask())
}

/// The second operand: a register, memory or an immediate.
#[inline(always)]
pub fn source<O: Ops>(o: &mut O, i: &Insn, size: Size, shape: Shape) -> Result<O::V, O::Fault> {
    match shape {
        Shape::RR | Shape::MR => Ok(get(o, i.src, size)),
        Shape::RM => {
            let ea = o.ea(i);
            o.load(i.seg, ea, size)
        }
        _ => Ok(imm(o, i, size)),
    }
}

/// The only, or first, operand, to be read: a register or memory.
#[inline(always)]
pub fn first<O: Ops>(o: &mut O, i: &Insn, size: Size, shape: Shape) -> Result<O::V, O::Fault> {
    if shape.memory_first() {
        let ea = o.ea(i);
        o.load(i.seg, ea, size)
    } else {
        Ok(get(o, i.dst, size))
    }
}

/// Where a result goes.
pub enum Destination<O: Ops> {
    /// A register.
    Register,
    /// Memory.
    Memory(O::Place),
}

/// The first operand, to be read and then written.
#[inline(always)]
pub fn modify<O: Ops>(o: &mut O, i: &Insn, size: Size, shape: Shape) -> Result<(O::V, Destination<O>), O::Fault> {
    if shape.memory_first() {
        let ea = o.ea(i);
        let (v, place) = o.load_place(i.seg, ea, size)?;
        Ok((v, Destination::Memory(place)))
    } else {
        Ok((get(o, i.dst, size), Destination::Register))
    }
}

/// Writes the result of [`modify`].
#[inline(always)]
pub fn commit<O: Ops>(o: &mut O, i: &Insn, size: Size, to: Destination<O>, v: O::V) {
    match to {
        Destination::Register => set(o, i.dst, size, v),
        Destination::Memory(place) => o.store_place(place, size, v),
    }
}
