//! Data movement between general registers and memory. SDM volume 2.

use crate::Ops;
use crate::operand::{get, imm, set, source};
use crate::pure::Pure;
use undercroft_decode::{Insn, Op, Reg, Shape, Size};

/// MOV.
#[inline(always)]
pub fn mov<O: Ops>(o: &mut O, i: &Insn, size: Size, shape: Shape) -> Result<(), O::Fault> {
    if shape as u8 == Shape::RI as u8 && size as u8 == Size::B8 as u8 {
        let v = o.imm(i.wide_imm());
        set(o, i.dst, size, v);
        return Ok(());
    }
    if shape.memory_first() {
        let v = if shape as u8 == Shape::MR as u8 { get(o, i.src, size) } else { imm(o, i, size) };
        let ea = o.ea(i);
        return o.store(i.seg, ea, size, v);
    }
    let v = source(o, i, size, shape)?;
    set(o, i.dst, size, v);
    Ok(())
}

/// MOVZX, MOVSX, MOVSXD.
#[inline(always)]
pub fn extend<O: Ops>(o: &mut O, i: &Insn, op: Op, size: Size, shape: Shape) -> Result<(), O::Fault> {
    let from = match op {
        Op::Movzx8 | Op::Movsx8 => Size::B1,
        Op::Movzx16 | Op::Movsx16 => Size::B2,
        _ => Size::B4,
    };
    let v = source(o, i, from, shape)?;
    let wide = if matches!(op, Op::Movzx8 | Op::Movzx16) { v } else { o.sext(from, v) };
    set(o, i.dst, size, wide);
    Ok(())
}

/// LEA.
#[inline(always)]
pub fn lea<O: Ops>(o: &mut O, i: &Insn, size: Size) -> Result<(), O::Fault> {
    let ea = o.ea(i);
    set(o, i.dst, size, ea);
    Ok(())
}

/// XCHG.
#[inline(always)]
pub fn xchg<O: Ops>(o: &mut O, i: &Insn, size: Size, shape: Shape) -> Result<(), O::Fault> {
    // Either operand may be the memory one; the register is then the other.
    if shape.has_memory() {
        let register = if shape as u8 == Shape::RM as u8 { i.dst } else { i.src };
        let ea = o.ea(i);
        let (old, place) = o.load_place(i.seg, ea, size)?;
        let v = get(o, register, size);
        o.store_place(place, size, v);
        set(o, register, size, old);
        return Ok(());
    }
    let a = get(o, i.dst, size);
    let b = get(o, i.src, size);
    set(o, i.dst, size, b);
    set(o, i.src, size, a);
    Ok(())
}

#[inline(always)]
fn swap<O: Ops>(o: &mut O, v: O::V, size: Size) -> O::V {
    let swapped = o.pure(Pure::SwapBytes, v, v);
    let n = o.imm(64 - u64::from(size.bits()));
    o.shr(swapped, n)
}

/// BSWAP. Of a 16-bit register it gives 0 (the SDM leaves it undefined; that is what processors do).
#[inline(always)]
pub fn bswap<O: Ops>(o: &mut O, i: &Insn, size: Size) -> Result<(), O::Fault> {
    let r = if size as u8 == Size::B2 as u8 {
        o.imm(0)
    } else {
        let v = get(o, i.dst, size);
        swap(o, v, size)
    };
    set(o, i.dst, size, r);
    Ok(())
}

/// MOVBE.
#[inline(always)]
pub fn movbe<O: Ops>(o: &mut O, i: &Insn, size: Size, shape: Shape) -> Result<(), O::Fault> {
    let ea = o.ea(i);
    if shape.memory_first() {
        let v = get(o, i.src, size);
        let r = swap(o, v, size);
        return o.store(i.seg, ea, size, r);
    }
    let v = o.load(i.seg, ea, size)?;
    let r = swap(o, v, size);
    set(o, i.dst, size, r);
    Ok(())
}

/// CBW, CWDE, CDQE; CWD, CDQ, CQO. `size` is that of the result, or of each half of it.
#[inline(always)]
pub fn convert<O: Ops>(o: &mut O, op: Op, size: Size) -> Result<(), O::Fault> {
    let rax = o.reg(Reg::Rax);
    if op as u8 == Op::Cbw as u8 {
        let half = match size {
            Size::B2 => Size::B1,
            Size::B4 => Size::B2,
            _ => Size::B4,
        };
        let v = o.sext(half, rax);
        set(o, Reg::Rax, size, v);
    } else {
        let wide = o.sext(size, rax);
        let n = o.imm(63);
        let sign = o.sar(wide, n);
        set(o, Reg::Rdx, size, sign);
    }
    Ok(())
}

/// SETcc.
#[inline(always)]
pub fn setcc<O: Ops>(o: &mut O, i: &Insn, shape: Shape) -> Result<(), O::Fault> {
    let holds = o.cond(i.cond());
    let one = o.imm(1);
    let zero = o.imm(0);
    let v = o.select(holds, one, zero);
    if shape.memory_first() {
        let ea = o.ea(i);
        return o.store(i.seg, ea, Size::B1, v);
    }
    set(o, i.dst, Size::B1, v);
    Ok(())
}

/// CMOVcc. The source is read in any case, and a 32-bit destination is zero-extended in any case.
#[inline(always)]
pub fn cmov<O: Ops>(o: &mut O, i: &Insn, size: Size, shape: Shape) -> Result<(), O::Fault> {
    let b = source(o, i, size, shape)?;
    let a = get(o, i.dst, size);
    let holds = o.cond(i.cond());
    let v = o.select(holds, b, a);
    set(o, i.dst, size, v);
    Ok(())
}

/// XLATB.
#[inline(always)]
pub fn xlat<O: Ops>(o: &mut O, i: &Insn) -> Result<(), O::Fault> {
    let table = o.reg(Reg::Rbx);
    let al = get(o, Reg::Rax, Size::B1);
    let sum = o.add(table, al);
    let ea = o.zext(i.addr_size(), sum);
    let v = o.load(i.seg, ea, Size::B1)?;
    set(o, Reg::Rax, Size::B1, v);
    Ok(())
}
