//! FADD, FSUB, FSUBR, FMUL, FDIV, FDIVR, with their pop and integer forms. SDM volume 2, each instruction.

use super::stack::Response;
use super::{Body, number};
use crate::events::Exception;
use crate::vcpu::Cpu;
use undercroft_decode::{Code, Insn, Size};
use undercroft_float::x87::{self, Computed, M32, M64};
use undercroft_float::{Env, F80};

type C = Code;
type Done = Result<(), Exception>;

/// The instruction's body, if it is one of this file.
pub(super) fn body(code: Code) -> Option<Body> {
    let body: Body = match code {
        C::Fadd_m32fp => |c, i| single(c, i, x87::add),
        C::Fadd_m64fp => |c, i| double(c, i, x87::add),
        C::Fiadd_m16int => |c, i| word(c, i, x87::add),
        C::Fiadd_m32int => |c, i| short(c, i, x87::add),
        C::Fadd_st0_sti | C::Fadd_sti_st0 => |c, i| registers(c, i, x87::add),
        C::Faddp_sti_st0 => |c, i| registers_pop(c, i, x87::add),
        C::Fmul_m32fp => |c, i| single(c, i, x87::mul),
        C::Fmul_m64fp => |c, i| double(c, i, x87::mul),
        C::Fimul_m16int => |c, i| word(c, i, x87::mul),
        C::Fimul_m32int => |c, i| short(c, i, x87::mul),
        C::Fmul_st0_sti | C::Fmul_sti_st0 => |c, i| registers(c, i, x87::mul),
        C::Fmulp_sti_st0 => |c, i| registers_pop(c, i, x87::mul),
        C::Fsub_m32fp => |c, i| single(c, i, x87::sub),
        C::Fsub_m64fp => |c, i| double(c, i, x87::sub),
        C::Fisub_m16int => |c, i| word(c, i, x87::sub),
        C::Fisub_m32int => |c, i| short(c, i, x87::sub),
        C::Fsub_st0_sti | C::Fsub_sti_st0 => |c, i| registers(c, i, x87::sub),
        C::Fsubp_sti_st0 => |c, i| registers_pop(c, i, x87::sub),
        C::Fsubr_m32fp => |c, i| single(c, i, |e, a, b| x87::sub(e, b, a)),
        C::Fsubr_m64fp => |c, i| double(c, i, |e, a, b| x87::sub(e, b, a)),
        C::Fisubr_m16int => |c, i| word(c, i, |e, a, b| x87::sub(e, b, a)),
        C::Fisubr_m32int => |c, i| short(c, i, |e, a, b| x87::sub(e, b, a)),
        C::Fsubr_st0_sti | C::Fsubr_sti_st0 => |c, i| registers(c, i, |e, a, b| x87::sub(e, b, a)),
        C::Fsubrp_sti_st0 => |c, i| registers_pop(c, i, |e, a, b| x87::sub(e, b, a)),
        C::Fdiv_m32fp => |c, i| single(c, i, x87::div),
        C::Fdiv_m64fp => |c, i| double(c, i, x87::div),
        C::Fidiv_m16int => |c, i| word(c, i, x87::div),
        C::Fidiv_m32int => |c, i| short(c, i, x87::div),
        C::Fdiv_st0_sti | C::Fdiv_sti_st0 => |c, i| registers(c, i, x87::div),
        C::Fdivp_sti_st0 => |c, i| registers_pop(c, i, x87::div),
        C::Fdivr_m32fp => |c, i| single(c, i, |e, a, b| x87::div(e, b, a)),
        C::Fdivr_m64fp => |c, i| double(c, i, |e, a, b| x87::div(e, b, a)),
        C::Fidivr_m16int => |c, i| word(c, i, |e, a, b| x87::div(e, b, a)),
        C::Fidivr_m32int => |c, i| short(c, i, |e, a, b| x87::div(e, b, a)),
        C::Fdivr_st0_sti | C::Fdivr_sti_st0 => |c, i| registers(c, i, |e, a, b| x87::div(e, b, a)),
        C::Fdivrp_sti_st0 => |c, i| registers_pop(c, i, |e, a, b| x87::div(e, b, a)),
        _ => return None,
    };
    Some(body)
}

/// ST(0) and an operand that was read from memory.
fn with_memory<M>(cpu: &mut Cpu, operand: M, f: impl Fn(Env, F80, M) -> Computed<F80>) -> Done {
    let fpu = &mut cpu.s.fpu;
    if fpu.is_empty(0) {
        fpu.underflow_into(0);
    } else {
        let result = f(fpu.env(), fpu.st(0), operand);
        fpu.deliver(0, result);
    }
    Ok(())
}
fn single(cpu: &mut Cpu, i: &Insn, f: impl Fn(Env, F80, M32) -> Computed<F80>) -> Done {
    let operand = cpu.load(i.seg, cpu.effective_address(i), Size::B4)?;
    with_memory(cpu, M32(operand as u32), f)
}
fn double(cpu: &mut Cpu, i: &Insn, f: impl Fn(Env, F80, M64) -> Computed<F80>) -> Done {
    let operand = cpu.load(i.seg, cpu.effective_address(i), Size::B8)?;
    with_memory(cpu, M64(operand), f)
}
fn word(cpu: &mut Cpu, i: &Insn, f: impl Fn(Env, F80, i16) -> Computed<F80>) -> Done {
    let operand = cpu.load(i.seg, cpu.effective_address(i), Size::B2)?;
    with_memory(cpu, operand as i16, f)
}
fn short(cpu: &mut Cpu, i: &Insn, f: impl Fn(Env, F80, i32) -> Computed<F80>) -> Done {
    let operand = cpu.load(i.seg, cpu.effective_address(i), Size::B4)?;
    with_memory(cpu, operand as i32, f)
}

/// The destination (first) operand, to which `f` is applied first, and the source.
fn binary(cpu: &mut Cpu, i: &Insn, f: impl Fn(Env, F80, F80) -> Computed<F80>) -> Response {
    let fpu = &mut cpu.s.fpu;
    let (to, from) = (number(i.dst), number(i.src));
    if fpu.is_empty(to) || fpu.is_empty(from) {
        return fpu.underflow_into(to);
    }
    let result = f(fpu.env(), fpu.st(to), fpu.st(from));
    fpu.deliver(to, result)
}
fn registers(cpu: &mut Cpu, i: &Insn, f: impl Fn(Env, F80, F80) -> Computed<F80>) -> Done {
    binary(cpu, i, f);
    Ok(())
}
fn registers_pop(cpu: &mut Cpu, i: &Insn, f: impl Fn(Env, F80, F80) -> Computed<F80>) -> Done {
    if binary(cpu, i, f) == Response::Masked {
        cpu.s.fpu.pop();
    }
    Ok(())
}
