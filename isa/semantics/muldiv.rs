//! Multiplication and division. SDM volume 2, "MUL", "IMUL", "DIV", "IDIV", "MULX".

use crate::Ops;
use crate::operand::{first, get, imm, set, source};
use undercroft_decode::{Insn, Op, Reg, Shape, Size};
use undercroft_spec::x86::control::rflags::{ARITHMETIC, CF, OF};

/// CF = OF = overflow; the other arithmetic flags are undefined by the SDM and cleared here.
#[inline(always)]
fn overflow_flags<O: Ops>(o: &mut O, fits: O::B) {
    let none = o.imm(0);
    let both = o.imm(CF | OF);
    let f = o.select(fits, none, both);
    o.flags_some(ARITHMETIC, f);
}

/// IMUL with two and three operands.
#[inline(always)]
pub fn imul<O: Ops>(o: &mut O, i: &Insn, op: Op, size: Size, shape: Shape) -> Result<(), O::Fault> {
    let b = source(o, i, size, shape)?;
    let a = if op as u8 == Op::Imul3 as u8 { imm(o, i, size) } else { get(o, i.dst, size) };
    let (r, fits) = if size as u8 == Size::B8 as u8 {
        let low = o.mul(a, b);
        let high = o.mul_high_signed(a, b);
        let n = o.imm(63);
        let sign = o.sar(low, n);
        (low, o.eq(high, sign))
    } else {
        let x = o.sext(size, a);
        let y = o.sext(size, b);
        let product = o.mul(x, y);
        let back = o.sext(size, product);
        (product, o.eq(product, back))
    };
    set(o, i.dst, size, r);
    overflow_flags(o, fits);
    Ok(())
}

/// MUL and IMUL with one operand: the product is twice as wide.
#[inline(always)]
pub fn widening<O: Ops>(o: &mut O, i: &Insn, op: Op, size: Size, shape: Shape) -> Result<(), O::Fault> {
    let b = first(o, i, size, shape)?;
    let a = get(o, Reg::Rax, size);
    let signed = op as u8 == Op::Imul1 as u8;
    if size as u8 == Size::B8 as u8 {
        let low = o.mul(a, b);
        let high = if signed { o.mul_high_signed(a, b) } else { o.mul_high(a, b) };
        o.set_reg(Reg::Rax, low);
        o.set_reg(Reg::Rdx, high);
        let fits = if signed {
            let n = o.imm(63);
            let sign = o.sar(low, n);
            o.eq(high, sign)
        } else {
            let zero = o.imm(0);
            o.eq(high, zero)
        };
        overflow_flags(o, fits);
        return Ok(());
    }
    let (x, y) = if signed { (o.sext(size, a), o.sext(size, b)) } else { (a, b) };
    let product = o.mul(x, y);
    let back = if signed { o.sext(size, product) } else { o.zext(size, product) };
    let fits = o.eq(product, back);
    if size as u8 == Size::B1 as u8 {
        set(o, Reg::Rax, Size::B2, product);
    } else {
        let n = o.imm(u64::from(size.bits()));
        let high = o.shr(product, n);
        set(o, Reg::Rax, size, product);
        set(o, Reg::Rdx, size, high);
    }
    overflow_flags(o, fits);
    Ok(())
}

/// MULX: no flags; the high half goes to the first operand, and wins if both destinations are the same.
#[inline(always)]
pub fn mulx<O: Ops>(o: &mut O, i: &Insn, size: Size, shape: Shape) -> Result<(), O::Fault> {
    let b = if shape.has_memory() {
        let ea = o.ea(i);
        o.load(i.seg, ea, size)?
    } else {
        get(o, i.src2, size)
    };
    let a = get(o, Reg::Rdx, size);
    let low = o.mul(a, b);
    let high = if size as u8 == Size::B8 as u8 {
        o.mul_high(a, b)
    } else {
        let n = o.imm(32);
        o.shr(low, n)
    };
    set(o, i.src, size, low);
    set(o, i.dst, size, high);
    Ok(())
}

/// DIV, IDIV. The arithmetic flags are undefined by the SDM and stay as they are.
#[inline(always)]
pub fn div<O: Ops>(o: &mut O, i: &Insn, op: Op, size: Size, shape: Shape) -> Result<(), O::Fault> {
    let d = first(o, i, size, shape)?;
    let (high, low) = if size as u8 == Size::B1 as u8 {
        let ax = get(o, Reg::Rax, Size::B2);
        let eight = o.imm(8);
        (o.shr(ax, eight), o.zext(Size::B1, ax))
    } else {
        (get(o, Reg::Rdx, size), get(o, Reg::Rax, size))
    };
    let (quotient, remainder) = o.divide(op as u8 == Op::Idiv as u8, size, high, low, d)?;
    if size as u8 == Size::B1 as u8 {
        let eight = o.imm(8);
        let ah = o.shl(remainder, eight);
        let al = o.zext(Size::B1, quotient);
        let ax = o.or(ah, al);
        set(o, Reg::Rax, Size::B2, ax);
    } else {
        set(o, Reg::Rax, size, quotient);
        set(o, Reg::Rdx, size, remainder);
    }
    Ok(())
}

/// The division itself, on plain values: `None` is `#DE`.
pub fn divide(signed: bool, size: Size, high: u64, low: u64, divisor: u64) -> Option<(u64, u64)> {
    let bits = size.bits();
    let mask = size.mask();
    if divisor & mask == 0 {
        return None;
    }
    let dividend = u128::from(high & mask) << bits | u128::from(low & mask);
    if !signed {
        let d = u128::from(divisor & mask);
        let quotient = dividend / d;
        return if quotient > u128::from(mask) { None } else { Some((quotient as u64, (dividend % d) as u64)) };
    }
    let unused = 128 - 2 * bits;
    let dividend = (dividend << unused) as i128 >> unused;
    let d = i128::from(crate::flags::signed(size, divisor));
    // i128::MIN / -1 overflows; it is too wide anyway.
    let quotient = dividend.checked_div(d)?;
    let limit = 1i128 << (bits - 1);
    if quotient >= limit || quotient < -limit {
        return None;
    }
    Some((quotient as u64 & mask, (dividend % d) as u64 & mask))
}
