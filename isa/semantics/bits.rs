//! Bit tests, scans, BMI1, BMI2, POPCNT, CRC32. SDM volume 2.

use crate::Ops;
use crate::operand::{Destination, commit, get, set, source, written};
use crate::pure::Pure;
use undercroft_decode::{Insn, Op, Shape, Size};
use undercroft_spec::x86::control::rflags::{ARITHMETIC, CF, SF, ZF};

/// BT, BTS, BTR, BTC. A bit offset in a register reaches beyond a memory operand, up or down.
#[inline(always)]
pub fn bit_test<O: Ops>(o: &mut O, i: &Insn, op: Op, size: Size, shape: Shape) -> Result<(), O::Fault> {
    let bits = u64::from(size.bits());
    let by_register = matches!(shape, Shape::RR | Shape::MR);
    let index = if by_register { get(o, i.src, size) } else { o.imm(i.imm64()) };
    let mask = o.imm(bits - 1);
    let n = o.and(index, mask);
    let reads_only = op as u8 == Op::Bt as u8;
    let (a, to) = if shape.memory_first() {
        let mut ea = o.ea(i);
        if by_register {
            let signed = o.sext(size, index);
            let log = o.imm(u64::from(size.bits().trailing_zeros()));
            let units = o.sar(signed, log);
            let log = o.imm(u64::from(size.bytes().trailing_zeros()));
            let bytes = o.shl(units, log);
            ea = o.add(ea, bytes);
            ea = o.zext(i.addr_size(), ea);
        }
        if reads_only {
            (o.load(i.seg, ea, size)?, None)
        } else {
            let (v, place) = o.load_place(i.seg, ea, size)?;
            (v, Some(Destination::Memory(place)))
        }
    } else {
        (get(o, i.dst, size), if reads_only { None } else { Some(Destination::Register) })
    };
    let one = o.imm(1);
    let shifted = o.shr(a, n);
    let c = o.and(shifted, one);
    if let Some(to) = to {
        let bit = o.shl(one, n);
        let r = match op {
            Op::Bts => o.or(a, bit),
            Op::Btc => o.xor(a, bit),
            _ => {
                let ones = o.imm(u64::MAX);
                let keep = o.xor(bit, ones);
                o.and(a, keep)
            }
        };
        commit(o, i, size, to, r);
    }
    o.flags_some(CF, c);
    Ok(())
}

/// BSF, BSR, TZCNT, LZCNT, POPCNT. BSF and BSR of zero leave the destination (the SDM leaves it undefined; that is what processors do).
#[inline(always)]
pub fn scan<O: Ops>(o: &mut O, i: &Insn, op: Op, size: Size, shape: Shape) -> Result<(), O::Fault> {
    let a = source(o, i, size, shape)?;
    let zero = o.imm(0);
    let empty = o.eq(a, zero);
    let bits = o.imm(u64::from(size.bits()));
    let last = o.imm(63);
    let none = o.imm(0);
    match op {
        Op::Bsf | Op::Bsr => {
            let r = if op as u8 == Op::Bsf as u8 {
                o.pure(Pure::TrailingZeros, a, a)
            } else {
                let n = o.pure(Pure::LeadingZeros, a, a);
                o.sub(last, n)
            };
            // A 32-bit destination is not zero-extended when the source is zero.
            let (slot, after) = written(o, i.dst, size, r);
            let before = o.reg(slot);
            let kept = o.select(empty, before, after);
            o.set_reg(slot, kept);
            let zf = o.imm(ZF);
            let f = o.select(empty, zf, none);
            o.flags_some(ZF, f);
        }
        Op::Popcnt => {
            let r = o.pure(Pure::Ones, a, a);
            set(o, i.dst, size, r);
            let zf = o.imm(ZF);
            let f = o.select(empty, zf, none);
            o.flags_some(ARITHMETIC, f);
        }
        _ => {
            let counted = if op as u8 == Op::Tzcnt as u8 {
                o.pure(Pure::TrailingZeros, a, a)
            } else {
                let n = o.pure(Pure::LeadingZeros, a, a);
                let unused = o.imm(64 - u64::from(size.bits()));
                o.sub(n, unused)
            };
            let r = o.select(empty, bits, counted);
            set(o, i.dst, size, r);
            let cf = o.imm(CF);
            let c = o.select(empty, cf, none);
            let no_count = o.eq(r, zero);
            let zf = o.imm(ZF);
            let z = o.select(no_count, zf, none);
            let f = o.or(c, z);
            o.flags_some(CF | ZF, f);
        }
    }
    Ok(())
}

/// SF and ZF of a result, and a given CF; OF = 0; AF and PF, undefined by the SDM, cleared.
#[inline(always)]
fn bmi_flags<O: Ops>(o: &mut O, size: Size, r: O::V, c: Option<O::B>) {
    let zero = o.imm(0);
    let empty = o.eq(r, zero);
    let zf = o.imm(ZF);
    let mut f = o.select(empty, zf, zero);
    let n = o.imm(u64::from(size.bits()) - 1);
    let top = o.shr(r, n);
    let one = o.imm(1);
    let top = o.and(top, one);
    let seven = o.imm(u64::from(SF.trailing_zeros()));
    let s = o.shl(top, seven);
    f = o.or(f, s);
    if let Some(c) = c {
        let cf = o.imm(CF);
        let c = o.select(c, cf, zero);
        f = o.or(f, c);
    }
    o.flags_some(ARITHMETIC, f);
}

/// ANDN, BEXTR, BLSI, BLSMSK, BLSR, BZHI.
#[inline(always)]
pub fn bmi<O: Ops>(o: &mut O, i: &Insn, op: Op, size: Size, shape: Shape) -> Result<(), O::Fault> {
    let zero = o.imm(0);
    if op as u8 == Op::Andn as u8 {
        // dst = ~first & second; the second is the register or memory operand.
        let b = if shape.has_memory() {
            let ea = o.ea(i);
            o.load(i.seg, ea, size)?
        } else {
            get(o, i.src2, size)
        };
        let a = get(o, i.src, size);
        let all = o.imm(size.mask());
        let inverse = o.xor(a, all);
        let r = o.and(inverse, b);
        set(o, i.dst, size, r);
        bmi_flags(o, size, r, None);
        return Ok(());
    }
    let a = source(o, i, size, shape)?;
    let (r, c) = match op {
        Op::Bextr | Op::Bzhi => {
            let control = get(o, i.src2, size);
            if op as u8 == Op::Bextr as u8 {
                (o.pure(Pure::Bextr, a, control), None)
            } else {
                let byte = o.imm(0xff);
                let n = o.and(control, byte);
                let last = o.imm(u64::from(size.bits()) - 1);
                let beyond = o.lt(last, n);
                (o.pure(Pure::Bzhi, a, control), Some(beyond))
            }
        }
        Op::Blsi => {
            let minus = o.sub(zero, a);
            let empty = o.eq(a, zero);
            (o.and(a, minus), Some(o.not(empty)))
        }
        _ => {
            let one = o.imm(1);
            let less = o.sub(a, one);
            let empty = o.eq(a, zero);
            let r = if op as u8 == Op::Blsr as u8 { o.and(a, less) } else { o.xor(a, less) };
            (r, Some(empty))
        }
    };
    let r = o.zext(size, r);
    set(o, i.dst, size, r);
    bmi_flags(o, size, r, c);
    Ok(())
}

/// PDEP, PEXT.
#[inline(always)]
pub fn deposit_extract<O: Ops>(o: &mut O, i: &Insn, op: Op, size: Size, shape: Shape) -> Result<(), O::Fault> {
    let mask = if shape.has_memory() {
        let ea = o.ea(i);
        o.load(i.seg, ea, size)?
    } else {
        get(o, i.src2, size)
    };
    let a = get(o, i.src, size);
    let r = o.pure(if op as u8 == Op::Pdep as u8 { Pure::Pdep } else { Pure::Pext }, a, mask);
    set(o, i.dst, size, r);
    Ok(())
}

/// CRC32. `size` is that of the destination; the source's is in the form.
#[inline(always)]
pub fn crc32<O: Ops>(o: &mut O, i: &Insn, size: Size, shape: Shape) -> Result<(), O::Fault> {
    use undercroft_decode::Code;
    let (from, f) = match i.code() {
        Code::Crc32_r32_rm8 | Code::Crc32_r64_rm8 => (Size::B1, Pure::Crc32Of8),
        Code::Crc32_r32_rm16 => (Size::B2, Pure::Crc32Of16),
        Code::Crc32_r32_rm32 => (Size::B4, Pure::Crc32Of32),
        _ => (Size::B8, Pure::Crc32Of64),
    };
    let data = source(o, i, from, shape)?;
    let crc = get(o, i.dst, Size::B4);
    let r = o.pure(f, crc, data);
    set(o, i.dst, if size as u8 == Size::B8 as u8 { Size::B8 } else { Size::B4 }, r);
    Ok(())
}
