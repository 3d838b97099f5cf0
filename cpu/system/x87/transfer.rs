//! FLD, FST, FILD, FIST, FISTTP, FBLD, FBSTP, FXCH, FCMOVcc, the constants, and what only moves TOP or tags. SDM volume 2, each instruction.

use super::stack::{Response, StackFault};
use super::{Body, number};
use crate::events::Exception;
use crate::mmu::Privilege;
use crate::vcpu::Cpu;
use undercroft_decode::{Code, Cond, Insn, Size};
use undercroft_float::x87::{self, C1, Computed};
use undercroft_float::{Env, F80, Flags, Rounding};
use undercroft_walk::AccessKind;

type C = Code;
type Done = Result<(), Exception>;

/// The instruction's body, if it is one of this file.
pub(super) fn body(code: Code) -> Option<Body> {
    let body: Body = match code {
        C::Fld_m32fp => |c, i| load(c, i, Size::B4, |bits| x87::load_f32(bits as u32)),
        C::Fld_m64fp => |c, i| load(c, i, Size::B8, x87::load_f64),
        C::Fld_m80fp => load_extended,
        C::Fild_m16int => |c, i| load(c, i, Size::B2, |bits| integer(i64::from(bits as i16))),
        C::Fild_m32int => |c, i| load(c, i, Size::B4, |bits| integer(i64::from(bits as i32))),
        C::Fild_m64int => |c, i| load(c, i, Size::B8, |bits| integer(bits as i64)),
        C::Fbld_m80bcd => load_decimal,
        C::Fst_m32fp => |c, i| store(c, i, &SINGLE, 0),
        C::Fstp_m32fp => |c, i| store(c, i, &SINGLE, 1),
        C::Fst_m64fp => |c, i| store(c, i, &DOUBLE, 0),
        C::Fstp_m64fp => |c, i| store(c, i, &DOUBLE, 1),
        C::Fstp_m80fp => |c, i| store(c, i, &EXTENDED, 1),
        C::Fist_m16int => |c, i| store(c, i, &WORD, 0),
        C::Fistp_m16int => |c, i| store(c, i, &WORD, 1),
        C::Fist_m32int => |c, i| store(c, i, &SHORT, 0),
        C::Fistp_m32int => |c, i| store(c, i, &SHORT, 1),
        C::Fistp_m64int => |c, i| store(c, i, &LONG, 1),
        C::Fisttp_m16int => |c, i| store(c, i, &WORD_TRUNCATED, 1),
        C::Fisttp_m32int => |c, i| store(c, i, &SHORT_TRUNCATED, 1),
        C::Fisttp_m64int => |c, i| store(c, i, &LONG_TRUNCATED, 1),
        C::Fbstp_m80bcd => |c, i| store(c, i, &DECIMAL, 1),
        _ => return register_body(code),
    };
    Some(body)
}

fn register_body(code: Code) -> Option<Body> {
    let body: Body = match code {
        C::Fld_sti => duplicate,
        C::Fst_sti => |c, i| copy(c, i).map(|_| ()),
        C::Fstp_sti | C::Fstp_sti_DFD0 | C::Fstp_sti_DFD8 => copy_pop,
        C::Fstpnce_sti => copy_pop_unchecked,
        C::Fxch_st0_sti | C::Fxch_st0_sti_DDC8 | C::Fxch_st0_sti_DFC8 => exchange,
        C::Fcmovb_st0_sti => |c, i| conditional(c, i, Cond::B),
        C::Fcmove_st0_sti => |c, i| conditional(c, i, Cond::E),
        C::Fcmovbe_st0_sti => |c, i| conditional(c, i, Cond::Be),
        C::Fcmovu_st0_sti => |c, i| conditional(c, i, Cond::P),
        C::Fcmovnb_st0_sti => |c, i| conditional(c, i, Cond::Ae),
        C::Fcmovne_st0_sti => |c, i| conditional(c, i, Cond::Ne),
        C::Fcmovnbe_st0_sti => |c, i| conditional(c, i, Cond::A),
        C::Fcmovnu_st0_sti => |c, i| conditional(c, i, Cond::Np),
        C::Fld1 => |c, _| push(c, F80::ONE),
        C::Fldz => |c, _| push(c, F80::ZERO),
        C::Fldl2t => |c, _| constant(c, &LOG2_10),
        C::Fldl2e => |c, _| constant(c, &LOG2_E),
        C::Fldpi => |c, _| constant(c, &PI),
        C::Fldlg2 => |c, _| constant(c, &LOG10_2),
        C::Fldln2 => |c, _| constant(c, &LN_2),
        C::Fincstp => |c, _| rotate(c, 1),
        C::Fdecstp => |c, _| rotate(c, 7),
        C::Ffree_sti => free,
        C::Ffreep_sti => free_pop,
        C::Fnop => |_, _| Ok(()),
        _ => return None,
    };
    Some(body)
}

/// Pushes what arithmetic cannot object to.
fn push(cpu: &mut Cpu, value: F80) -> Done {
    let fpu = &mut cpu.s.fpu;
    if !fpu.is_empty(7) {
        fpu.overflow();
        return Ok(());
    }
    fpu.status &= !C1;
    fpu.push(value);
    Ok(())
}
fn integer(value: i64) -> (F80, Flags) {
    (x87::load_i64(value), Flags::empty())
}
fn load(cpu: &mut Cpu, i: &Insn, size: Size, convert: impl Fn(u64) -> (F80, Flags)) -> Done {
    let bits = cpu.load(i.seg, cpu.effective_address(i), size)?;
    let fpu = &mut cpu.s.fpu;
    if !fpu.is_empty(7) {
        fpu.overflow();
        return Ok(());
    }
    let (value, flags) = convert(bits);
    fpu.raise(flags, false);
    // A denormal is pushed even when that is reported.
    if !(flags & Flags::IE).stops(fpu.env()) {
        fpu.push(value);
    }
    Ok(())
}
fn load_extended(cpu: &mut Cpu, i: &Insn) -> Done {
    let bytes = cpu.x87_load_bytes(i, 8)?;
    push(cpu, F80::from_bytes(bytes))
}
fn load_decimal(cpu: &mut Cpu, i: &Insn) -> Done {
    let bytes = cpu.x87_load_bytes(i, 8)?;
    push(cpu, x87::load_bcd(bytes))
}

/// A format of memory: how a register becomes it, and its indefinite.
struct Destination<T> {
    /// Length; the alignment that is checked is this, up to eight.
    bytes: u64,
    convert: fn(Env, F80) -> Computed<T>,
    indefinite: T,
    write: fn(&mut Cpu, &Insn, T) -> Done,
}

const SINGLE: Destination<u32> =
    Destination { bytes: 4, convert: x87::store_f32, indefinite: 0xffc0_0000, write: write32 };
const DOUBLE: Destination<u64> =
    Destination { bytes: 8, convert: x87::store_f64, indefinite: 0xfff8_0000_0000_0000, write: write64 };
const EXTENDED: Destination<F80> = Destination {
    bytes: 10,
    convert: |_, value| Computed { value, flags: Flags::empty(), c1: false },
    indefinite: F80::INDEFINITE,
    write: |cpu, i, value| cpu.x87_store_bytes(i, 8, &value.to_bytes()),
};
const WORD: Destination<i16> =
    Destination { bytes: 2, convert: x87::store_i16, indefinite: i16::MIN, write: write_i16 };
const SHORT: Destination<i32> =
    Destination { bytes: 4, convert: x87::store_i32, indefinite: i32::MIN, write: write_i32 };
const LONG: Destination<i64> =
    Destination { bytes: 8, convert: x87::store_i64, indefinite: i64::MIN, write: write_i64 };
const WORD_TRUNCATED: Destination<i16> =
    Destination { convert: |env, a| x87::store_i16(env.with_rounding(Rounding::Truncate), a), ..WORD };
const SHORT_TRUNCATED: Destination<i32> =
    Destination { convert: |env, a| x87::store_i32(env.with_rounding(Rounding::Truncate), a), ..SHORT };
const LONG_TRUNCATED: Destination<i64> =
    Destination { convert: |env, a| x87::store_i64(env.with_rounding(Rounding::Truncate), a), ..LONG };
const DECIMAL: Destination<[u8; 10]> = Destination {
    bytes: 10,
    convert: x87::store_bcd,
    indefinite: [0, 0, 0, 0, 0, 0, 0, 0xc0, 0xff, 0xff],
    write: |cpu, i, bytes| cpu.x87_store_bytes(i, 8, &bytes),
};

fn write_integer(cpu: &mut Cpu, i: &Insn, size: Size, value: u64) -> Done {
    let offset = cpu.effective_address(i);
    cpu.store(i.seg, offset, size, value & size.mask())
}
fn write32(cpu: &mut Cpu, i: &Insn, value: u32) -> Done {
    write_integer(cpu, i, Size::B4, value.into())
}
fn write64(cpu: &mut Cpu, i: &Insn, value: u64) -> Done {
    write_integer(cpu, i, Size::B8, value)
}
fn write_i16(cpu: &mut Cpu, i: &Insn, value: i16) -> Done {
    write_integer(cpu, i, Size::B2, value as u64)
}
fn write_i32(cpu: &mut Cpu, i: &Insn, value: i32) -> Done {
    write_integer(cpu, i, Size::B4, value as u64)
}
fn write_i64(cpu: &mut Cpu, i: &Insn, value: i64) -> Done {
    write_integer(cpu, i, Size::B8, value as u64)
}

/// The store comes first: if it faults, nothing was popped and no flag set.
fn store<T: Copy>(cpu: &mut Cpu, i: &Insn, to: &Destination<T>, pop: u8) -> Done {
    let env = cpu.s.fpu.env();
    let empty = cpu.s.fpu.is_empty(0);
    let result = if empty {
        Computed { value: to.indefinite, flags: Flags::IE, c1: false }
    } else {
        (to.convert)(env, cpu.s.fpu.st(0))
    };
    let stores = result.stores(env);
    if stores {
        (to.write)(cpu, i, result.value)?;
    } else {
        // Memory that may not be written is found before an exception that keeps the value from being written.
        let linear = cpu.x87_operand(i, to.bytes, to.bytes.min(8), AccessKind::Write)?;
        cpu.translate_range(linear, to.bytes, AccessKind::Write, Privilege::Current)?;
    }
    let fpu = &mut cpu.s.fpu;
    if empty {
        fpu.stack_fault(StackFault::Underflow);
    } else {
        fpu.raise(result.flags, result.c1);
    }
    if stores && pop != 0 {
        fpu.pop();
    }
    Ok(())
}

/// FLD ST(i). An empty source is found before a full stack.
fn duplicate(cpu: &mut Cpu, i: &Insn) -> Done {
    let fpu = &mut cpu.s.fpu;
    let from = number(i.dst);
    if fpu.is_empty(from) {
        if fpu.stack_fault(StackFault::Underflow) == Response::Masked {
            fpu.push(F80::INDEFINITE);
        }
        return Ok(());
    }
    let value = fpu.st(from);
    push(cpu, value)
}
fn copy(cpu: &mut Cpu, i: &Insn) -> Result<Response, Exception> {
    let fpu = &mut cpu.s.fpu;
    let to = number(i.dst);
    if fpu.is_empty(0) {
        return Ok(fpu.underflow_into(to));
    }
    fpu.status &= !C1;
    fpu.set_st(to, fpu.st(0));
    Ok(Response::Masked)
}
fn copy_pop(cpu: &mut Cpu, i: &Insn) -> Done {
    if copy(cpu, i)? == Response::Masked {
        cpu.s.fpu.pop();
    }
    Ok(())
}
/// D9 D8+i, an undocumented FSTP: it pops an empty register without a word.
fn copy_pop_unchecked(cpu: &mut Cpu, i: &Insn) -> Done {
    if cpu.s.fpu.is_empty(0) {
        cpu.s.fpu.status &= !C1;
        cpu.s.fpu.pop();
        return Ok(());
    }
    copy_pop(cpu, i)
}
fn exchange(cpu: &mut Cpu, i: &Insn) -> Done {
    let fpu = &mut cpu.s.fpu;
    let other = number(i.src);
    let empty = [fpu.is_empty(0), fpu.is_empty(other)];
    let value = |empty, value| if empty { F80::INDEFINITE } else { value };
    let (a, b) = (value(empty[0], fpu.st(0)), value(empty[1], fpu.st(other)));
    fpu.status &= !C1;
    if empty.contains(&true) && fpu.stack_fault(StackFault::Underflow) == Response::Stopped {
        return Ok(());
    }
    fpu.set_st(0, b);
    fpu.set_st(other, a);
    Ok(())
}
/// Empty registers are found whether the condition holds or not. C1 changes only then.
fn conditional(cpu: &mut Cpu, i: &Insn, condition: Cond) -> Done {
    let holds = cpu.s.flags.cond(condition);
    let fpu = &mut cpu.s.fpu;
    let from = number(i.src);
    if fpu.is_empty(0) || fpu.is_empty(from) {
        fpu.underflow_into(0);
    } else if holds {
        fpu.set_st(0, fpu.st(from));
    }
    Ok(())
}

/// A constant between two neighbouring values of the format: the lower one, and whether the nearest is the upper one.
pub(super) struct Constant {
    lower: F80,
    nearest_is_upper: bool,
}

const fn between(sign_exponent: u16, significand: u64, nearest_is_upper: bool) -> Constant {
    Constant { lower: F80 { significand, sign_exponent }, nearest_is_upper }
}

pub(super) const LOG2_10: Constant = between(0x4000, 0xd49a_784b_cd1b_8afe, false);
pub(super) const LOG2_E: Constant = between(0x3fff, 0xb8aa_3b29_5c17_f0bb, true);
pub(super) const PI: Constant = between(0x4000, 0xc90f_daa2_2168_c234, true);
pub(super) const LOG10_2: Constant = between(0x3ffd, 0x9a20_9a84_fbcf_f798, true);
pub(super) const LN_2: Constant = between(0x3ffe, 0xb172_17f7_d1cf_79ab, true);

/// A constant, rounded as RC says. No exception, C1 is zero. SDM volume 2, "FLD1/FLDL2T/FLDL2E/FLDPI/FLDLG2/FLDLN2/FLDZ".
fn constant(cpu: &mut Cpu, constant: &Constant) -> Done {
    let upper = match cpu.s.fpu.env().rounding {
        Rounding::Nearest => constant.nearest_is_upper,
        Rounding::Up => true,
        Rounding::Down | Rounding::Truncate => false,
    };
    let significand = constant.lower.significand + u64::from(upper);
    push(cpu, F80 { significand, ..constant.lower })
}

fn rotate(cpu: &mut Cpu, by: u16) -> Done {
    cpu.s.fpu.status &= !C1;
    cpu.s.fpu.rotate(by);
    Ok(())
}
fn free(cpu: &mut Cpu, i: &Insn) -> Done {
    cpu.s.fpu.status &= !C1;
    cpu.s.fpu.free(number(i.dst));
    Ok(())
}
/// DF C0+i, an undocumented FFREE that pops.
fn free_pop(cpu: &mut Cpu, i: &Insn) -> Done {
    free(cpu, i)?;
    cpu.s.fpu.pop();
    Ok(())
}
