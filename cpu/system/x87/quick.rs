//! The common instructions where nothing is out of the ordinary: 64-bit code with a flat memory operand in a page that the TLB knows, all
//! exceptions masked, none pending, no empty or full register where it matters. Otherwise nothing is changed and the general handler
//! does the instruction from the start. The values come from the same functions as in the other files.

use super::compare::{arithmetic_flags, codes};
use super::number;
use super::stack::{ES, EXCEPTIONS};
use crate::interp::{Cursor, Handler, general};
use crate::vcpu::Cpu;
use undercroft_decode::{Code, Insn, Reg, Seg};
use undercroft_float::x87::{self, C0, C1, C2, C3, Computed, M32, M64, Operand};
use undercroft_float::{Env, F80, Flags, Precision, Rounding, Signals};
use undercroft_spec::x86::control::cr0;

/// Control-word bits of what FNINIT sets: all masked, 64 bits, to nearest.
const DEFAULT_CONTROL: u16 = 0x33f;
const CONTROL: u16 = 0xf3f;
const DEFAULT_ENV: Env = Env {
    rounding: Rounding::Nearest,
    precision: Precision::Extended,
    flush_to_zero: false,
    denormals_are_zero: false,
    masks: 0x3f,
};

macro_rules! handlers {
    ($($($code:ident)|+ => $body:expr;)*) => {
        /// The quick handler of an instruction, if it has one.
        pub(crate) fn handler(i: &Insn) -> Option<Handler> {
            if !i.is_flat() || i.is_segment_folded() {
                return None;
            }
            match i.code() {
                $($(Code::$code)|+ => {
                    // A function of its own: a handler must not have a frame of its own.
                    #[inline(never)]
                    fn done(cpu: &mut Cpu, i: &Insn) -> bool {
                        let body: fn(&mut Cpu, &Insn) -> Option<()> = $body;
                        ready(cpu) && body(cpu, i).is_some()
                    }
                    fn run(cpu: &mut Cpu, at: Cursor, budget: i64) -> i64 {
                        if done(cpu, at.insn()) {
                            let next = at.next();
                            return (next.handler().0)(cpu, next, budget);
                        }
                        general(cpu, at, budget)
                    }
                    Some(Handler(run))
                })*
                _ => None,
            }
        }
    };
}

handlers! {
    Fadd_st0_sti | Fadd_sti_st0 => registers::<Add>;
    Fmul_st0_sti | Fmul_sti_st0 => registers::<Mul>;
    Fsub_st0_sti | Fsub_sti_st0 => registers::<Sub>;
    Fsubr_st0_sti | Fsubr_sti_st0 => registers::<SubReverse>;
    Fdiv_st0_sti | Fdiv_sti_st0 => registers::<Div>;
    Fdivr_st0_sti | Fdivr_sti_st0 => registers::<DivReverse>;
    Faddp_sti_st0 => registers_pop::<Add>;
    Fmulp_sti_st0 => registers_pop::<Mul>;
    Fsubp_sti_st0 => registers_pop::<Sub>;
    Fsubrp_sti_st0 => registers_pop::<SubReverse>;
    Fdivp_sti_st0 => registers_pop::<Div>;
    Fdivrp_sti_st0 => registers_pop::<DivReverse>;
    Fadd_m32fp => single::<Add>;
    Fmul_m32fp => single::<Mul>;
    Fsub_m32fp => single::<Sub>;
    Fsubr_m32fp => single::<SubReverse>;
    Fdiv_m32fp => single::<Div>;
    Fdivr_m32fp => single::<DivReverse>;
    Fadd_m64fp => double::<Add>;
    Fmul_m64fp => double::<Mul>;
    Fsub_m64fp => double::<Sub>;
    Fsubr_m64fp => double::<SubReverse>;
    Fdiv_m64fp => double::<Div>;
    Fdivr_m64fp => double::<DivReverse>;
    Fld_m32fp => |c, i| load32(c, i, x87::load_f32);
    Fld_m64fp => |c, i| load64(c, i, x87::load_f64);
    Fld_m80fp => load_extended;
    Fild_m32int => |c, i| load32(c, i, |v| (x87::load_i64(i64::from(v as i32)), Flags::empty()));
    Fild_m64int => |c, i| load64(c, i, |v| (x87::load_i64(v as i64), Flags::empty()));
    Fst_m32fp => |c, i| store32(c, i, x87::store_f32);
    Fstp_m32fp => |c, i| store32(c, i, x87::store_f32).map(|()| c.s.fpu.pop());
    Fst_m64fp => |c, i| store64(c, i, x87::store_f64);
    Fstp_m64fp => |c, i| store64(c, i, x87::store_f64).map(|()| c.s.fpu.pop());
    Fstp_m80fp => store_extended;
    Fistp_m32int => |c, i| store32(c, i, |e, a| unsigned32(x87::store_i32(e, a))).map(|()| c.s.fpu.pop());
    Fistp_m64int => |c, i| store64(c, i, |e, a| unsigned64(x87::store_i64(e, a))).map(|()| c.s.fpu.pop());
    Fisttp_m32int => |c, i| {
        store32(c, i, |e, a| unsigned32(x87::store_i32(e.with_rounding(Rounding::Truncate), a))).map(|()| c.s.fpu.pop())
    };
    Fisttp_m64int => |c, i| {
        store64(c, i, |e, a| unsigned64(x87::store_i64(e.with_rounding(Rounding::Truncate), a))).map(|()| c.s.fpu.pop())
    };
    Fld_sti => duplicate;
    Fst_sti => copy;
    Fstp_sti => |c, i| copy(c, i).map(|()| c.s.fpu.pop());
    Fxch_st0_sti => exchange;
    Fld1 => |c, i| push(c, i, F80::ONE);
    Fldz => |c, i| push(c, i, F80::ZERO);
    Fabs => |c, i| sign(c, i, F80::absolute);
    Fchs => |c, i| sign(c, i, F80::negated);
    Fcom_st0_sti => |c, i| compare(c, i, Signals::AllNans);
    Fcomp_st0_sti => |c, i| compare(c, i, Signals::AllNans).map(|()| c.s.fpu.pop());
    Fucom_st0_sti => |c, i| compare(c, i, Signals::SignallingNans);
    Fucomp_st0_sti => |c, i| compare(c, i, Signals::SignallingNans).map(|()| c.s.fpu.pop());
    Fcomi_st0_sti => |c, i| compare_flags(c, i, Signals::AllNans);
    Fcomip_st0_sti => |c, i| compare_flags(c, i, Signals::AllNans).map(|()| c.s.fpu.pop());
    Fucomi_st0_sti => |c, i| compare_flags(c, i, Signals::SignallingNans);
    Fucomip_st0_sti => |c, i| compare_flags(c, i, Signals::SignallingNans).map(|()| c.s.fpu.pop());
}

/// No #NM, no #MF, no unmasked exception.
#[inline(always)]
fn ready(cpu: &Cpu) -> bool {
    let fpu = &cpu.s.fpu;
    cpu.s.cr0 & (cr0::EM | cr0::TS) == 0 && fpu.status & ES == 0 && fpu.control & EXCEPTIONS == EXCEPTIONS
}
/// The instruction pointer: the last thing to do.
#[inline(always)]
fn note(cpu: &mut Cpu, i: &Insn) -> Option<()> {
    cpu.s.fpu.instruction = cpu.s.regs[Reg::BlockRip as usize].wrapping_add(u64::from(i.offset));
    cpu.s.fpu.instruction_selector = cpu.s.segments[Seg::Cs as usize].selector;
    Some(())
}
/// Both pointers.
#[inline(always)]
fn note_data(cpu: &mut Cpu, i: &Insn, address: u64) -> Option<()> {
    cpu.s.fpu.data = address;
    cpu.s.fpu.data_selector = cpu.s.segments[i.seg as usize].selector;
    note(cpu, i)
}
#[inline(always)]
fn address(cpu: &Cpu, i: &Insn) -> u64 {
    let r = &cpu.s.regs;
    r[i.base as usize].wrapping_add(r[i.index as usize] << i.scale()).wrapping_add(i.disp as i64 as u64)
}
/// ST(n), unless it is empty.
#[inline(always)]
fn valid(cpu: &Cpu, n: u8) -> Option<F80> {
    let fpu = &cpu.s.fpu;
    if fpu.is_empty(n) { None } else { Some(fpu.st(n)) }
}
/// Flags and C1; all are masked.
#[inline(always)]
fn raise(cpu: &mut Cpu, flags: Flags, c1: bool) {
    let fpu = &mut cpu.s.fpu;
    fpu.status = fpu.status & !C1 | u16::from(flags.bits()) | (u16::from(c1) * C1);
}

/// An arithmetic operation. A trait, since only a method can be forced to become part of its caller.
trait Operation {
    fn apply<A: Operand, B: Operand>(env: Env, a: A, b: B) -> Computed<F80>;
}
macro_rules! operations {
    ($($name:ident |$e:ident, $a:ident, $b:ident| $value:expr;)*) => {$(
        struct $name;
        impl Operation for $name {
            #[inline(always)]
            fn apply<A: Operand, B: Operand>($e: Env, $a: A, $b: B) -> Computed<F80> {
                $value
            }
        }
    )*};
}
operations! {
    Add |e, a, b| x87::add(e, a, b);
    Mul |e, a, b| x87::mul(e, a, b);
    Sub |e, a, b| x87::sub(e, a, b);
    SubReverse |e, a, b| x87::sub(e, b, a);
    Div |e, a, b| x87::div(e, a, b);
    DivReverse |e, a, b| x87::div(e, b, a);
}

/// The operation in the environment of the control word, the usual one being a constant.
#[inline(always)]
fn compute<O: Operation, A: Operand, B: Operand>(cpu: &Cpu, a: A, b: B) -> Computed<F80> {
    let control = cpu.s.fpu.control;
    if control & CONTROL == DEFAULT_CONTROL { O::apply(DEFAULT_ENV, a, b) } else { unusual::<O, A, B>(control, a, b) }
}
#[inline(never)]
fn unusual<O: Operation, A: Operand, B: Operand>(control: u16, a: A, b: B) -> Computed<F80> {
    O::apply(Env::from_fcw(control), a, b)
}

#[inline(always)]
fn registers<O: Operation>(cpu: &mut Cpu, i: &Insn) -> Option<()> {
    let (to, from) = (number(i.dst), number(i.src));
    let result = compute::<O, F80, F80>(cpu, valid(cpu, to)?, valid(cpu, from)?);
    raise(cpu, result.flags, result.c1);
    cpu.s.fpu.set_st(to, result.value);
    note(cpu, i)
}
#[inline(always)]
fn registers_pop<O: Operation>(cpu: &mut Cpu, i: &Insn) -> Option<()> {
    registers::<O>(cpu, i)?;
    cpu.s.fpu.pop();
    Some(())
}
#[inline(always)]
fn with_memory<O: Operation, M: Operand>(cpu: &mut Cpu, i: &Insn, at: u64, operand: M) -> Option<()> {
    let result = compute::<O, F80, M>(cpu, valid(cpu, 0)?, operand);
    raise(cpu, result.flags, result.c1);
    cpu.s.fpu.set_st(0, result.value);
    note_data(cpu, i, at)
}
#[inline(always)]
fn single<O: Operation>(cpu: &mut Cpu, i: &Insn) -> Option<()> {
    let at = address(cpu, i);
    let operand = cpu.mmu.tlb.load::<u32>(at)?;
    with_memory::<O, M32>(cpu, i, at, M32(operand))
}
#[inline(always)]
fn double<O: Operation>(cpu: &mut Cpu, i: &Insn) -> Option<()> {
    let at = address(cpu, i);
    let operand = cpu.mmu.tlb.load::<u64>(at)?;
    with_memory::<O, M64>(cpu, i, at, M64(operand))
}

#[inline(always)]
fn push(cpu: &mut Cpu, i: &Insn, value: F80) -> Option<()> {
    if !cpu.s.fpu.is_empty(7) {
        return None;
    }
    cpu.s.fpu.status &= !C1;
    cpu.s.fpu.push(value);
    note(cpu, i)
}
#[inline(always)]
fn push_loaded(cpu: &mut Cpu, i: &Insn, at: u64, (value, flags): (F80, Flags)) -> Option<()> {
    push(cpu, i, value)?;
    cpu.s.fpu.status |= u16::from(flags.bits());
    note_data(cpu, i, at)
}
#[inline(always)]
fn load32(cpu: &mut Cpu, i: &Insn, f: impl Fn(u32) -> (F80, Flags)) -> Option<()> {
    let at = address(cpu, i);
    let bits = cpu.mmu.tlb.load::<u32>(at)?;
    push_loaded(cpu, i, at, f(bits))
}
#[inline(always)]
fn load64(cpu: &mut Cpu, i: &Insn, f: impl Fn(u64) -> (F80, Flags)) -> Option<()> {
    let at = address(cpu, i);
    let bits = cpu.mmu.tlb.load::<u64>(at)?;
    push_loaded(cpu, i, at, f(bits))
}
#[inline(always)]
fn load_extended(cpu: &mut Cpu, i: &Insn) -> Option<()> {
    let at = address(cpu, i);
    let significand = cpu.mmu.tlb.load::<u64>(at)?;
    let sign_exponent = cpu.mmu.tlb.load::<u16>(at.wrapping_add(8))?;
    push_loaded(cpu, i, at, (F80 { significand, sign_exponent }, Flags::empty()))
}

#[inline(always)]
fn unsigned32(r: Computed<i32>) -> Computed<u32> {
    Computed { value: r.value as u32, flags: r.flags, c1: r.c1 }
}
#[inline(always)]
fn unsigned64(r: Computed<i64>) -> Computed<u64> {
    Computed { value: r.value as u64, flags: r.flags, c1: r.c1 }
}
#[inline(always)]
fn store32(cpu: &mut Cpu, i: &Insn, f: impl Fn(Env, F80) -> Computed<u32>) -> Option<()> {
    let at = address(cpu, i);
    let result = f(cpu.s.fpu.env(), valid(cpu, 0)?);
    if !cpu.mmu.tlb.store(at, result.value) {
        return None;
    }
    raise(cpu, result.flags, result.c1);
    note_data(cpu, i, at)
}
#[inline(always)]
fn store64(cpu: &mut Cpu, i: &Insn, f: impl Fn(Env, F80) -> Computed<u64>) -> Option<()> {
    let at = address(cpu, i);
    let result = f(cpu.s.fpu.env(), valid(cpu, 0)?);
    if !cpu.mmu.tlb.store(at, result.value) {
        return None;
    }
    raise(cpu, result.flags, result.c1);
    note_data(cpu, i, at)
}
#[inline(always)]
fn store_extended(cpu: &mut Cpu, i: &Insn) -> Option<()> {
    let at = address(cpu, i);
    let value = valid(cpu, 0)?;
    // Within one page, so that both parts are stored or neither.
    if at & 0xfff > 0x1000 - 10 || !cpu.mmu.tlb.store(at, value.significand) {
        return None;
    }
    if !cpu.mmu.tlb.store(at.wrapping_add(8), value.sign_exponent) {
        return None;
    }
    cpu.s.fpu.status &= !C1;
    cpu.s.fpu.pop();
    note_data(cpu, i, at)
}

#[inline(always)]
fn duplicate(cpu: &mut Cpu, i: &Insn) -> Option<()> {
    let value = valid(cpu, number(i.dst))?;
    push(cpu, i, value)
}
#[inline(always)]
fn copy(cpu: &mut Cpu, i: &Insn) -> Option<()> {
    let value = valid(cpu, 0)?;
    cpu.s.fpu.status &= !C1;
    cpu.s.fpu.set_st(number(i.dst), value);
    note(cpu, i)
}
#[inline(always)]
fn exchange(cpu: &mut Cpu, i: &Insn) -> Option<()> {
    let other = number(i.src);
    let (a, b) = (valid(cpu, 0)?, valid(cpu, other)?);
    cpu.s.fpu.status &= !C1;
    cpu.s.fpu.set_st(0, b);
    cpu.s.fpu.set_st(other, a);
    note(cpu, i)
}
#[inline(always)]
fn sign(cpu: &mut Cpu, i: &Insn, f: impl Fn(F80) -> F80) -> Option<()> {
    let value = valid(cpu, 0)?;
    cpu.s.fpu.status &= !C1;
    cpu.s.fpu.set_st(0, f(value));
    note(cpu, i)
}
#[inline(always)]
fn compare(cpu: &mut Cpu, i: &Insn, signals: Signals) -> Option<()> {
    let (relation, flags) = x87::compare(valid(cpu, 0)?, valid(cpu, number(i.src))?, signals);
    raise(cpu, flags, false);
    cpu.s.fpu.status = cpu.s.fpu.status & !(C0 | C2 | C3) | codes(relation);
    note(cpu, i)
}
#[inline(always)]
fn compare_flags(cpu: &mut Cpu, i: &Insn, signals: Signals) -> Option<()> {
    let (relation, flags) = x87::compare(valid(cpu, 0)?, valid(cpu, number(i.src))?, signals);
    raise(cpu, flags, false);
    cpu.s.flags.set_arithmetic(arithmetic_flags(relation));
    note(cpu, i)
}
