//! Functions of one or two stack registers: FABS to FPREM1, transcendentals. SDM volume 2, each instruction.

use super::Body;
use super::stack::{Response, StackFault};
use crate::events::Exception;
use crate::state::Fpu;
use crate::vcpu::Cpu;
use undercroft_decode::Code;
use undercroft_float::x87::{self, C0, C1, C2, C3, Computed, Quotient, Trigonometric};
use undercroft_float::{Env, F80, Flags};

type C = Code;
type Done = Result<(), Exception>;

/// The instruction's body, if it is one of this file.
pub(super) fn body(code: Code) -> Option<Body> {
    let body: Body = match code {
        C::Fabs => |c, _| unary(c, |_, a| exact(a.absolute())),
        C::Fchs => |c, _| unary(c, |_, a| exact(a.negated())),
        C::Fsqrt => |c, _| unary(c, x87::sqrt),
        C::Frndint => |c, _| unary(c, x87::round_to_integral),
        C::F2xm1 => |c, _| unary(c, x87::exponential),
        C::Fscale => |c, _| scale(c),
        C::Fprem => |c, _| remainder(c, Quotient::Truncated),
        C::Fprem1 => |c, _| remainder(c, Quotient::Nearest),
        C::Fyl2x => |c, _| binary_pop(c, x87::log_times),
        C::Fyl2xp1 => |c, _| binary_pop(c, x87::log_plus_one_times),
        C::Fpatan => |c, _| binary_pop(c, x87::angle),
        C::Fxtract => |c, _| extract(c),
        C::Fsin => |c, _| trigonometric(c, x87::sin),
        C::Fcos => |c, _| trigonometric(c, x87::cos),
        C::Fsincos => |c, _| sin_cos(c),
        C::Fptan => |c, _| tan(c),
        _ => return None,
    };
    Some(body)
}

fn exact(value: F80) -> Computed<F80> {
    Computed { value, flags: Flags::empty(), c1: false }
}
fn unary(cpu: &mut Cpu, f: impl Fn(Env, F80) -> Computed<F80>) -> Done {
    let fpu = &mut cpu.s.fpu;
    if fpu.is_empty(0) {
        fpu.underflow_into(0);
    } else {
        let result = f(fpu.env(), fpu.st(0));
        fpu.deliver(0, result);
    }
    Ok(())
}
fn scale(cpu: &mut Cpu) -> Done {
    let fpu = &mut cpu.s.fpu;
    if fpu.is_empty(0) || fpu.is_empty(1) {
        fpu.underflow_into(0);
    } else {
        let result = x87::scale(fpu.env(), fpu.st(0), fpu.st(1));
        fpu.deliver(0, result);
    }
    Ok(())
}
/// ST(1) becomes a function of ST(0) and ST(1), then the stack is popped.
fn binary_pop(cpu: &mut Cpu, f: impl Fn(Env, F80, F80) -> Computed<F80>) -> Done {
    let fpu = &mut cpu.s.fpu;
    let response = if fpu.is_empty(0) || fpu.is_empty(1) {
        fpu.underflow_into(1)
    } else {
        let result = f(fpu.env(), fpu.st(0), fpu.st(1));
        fpu.deliver(1, result)
    };
    if response == Response::Masked {
        fpu.pop();
    }
    Ok(())
}
fn remainder(cpu: &mut Cpu, quotient: Quotient) -> Done {
    let fpu = &mut cpu.s.fpu;
    fpu.status &= !C2;
    if fpu.is_empty(0) || fpu.is_empty(1) {
        fpu.underflow_into(0);
        return Ok(());
    }
    let result = x87::remainder(fpu.env(), fpu.st(0), fpu.st(1), quotient);
    if fpu.respond(result.flags) == Response::Stopped {
        return Ok(());
    }
    // Without a quotient its bits stay what they were.
    let has_quotient = result.value.sign_exponent & 0x7fff != 0x7fff;
    let written = if has_quotient { C0 | C1 | C2 | C3 } else { C1 | C2 };
    fpu.status = fpu.status & !written | result.condition & written;
    fpu.set_st(0, result.value);
    Ok(())
}

/// What FXTRACT, FSINCOS and FPTAN begin with: ST(0) must be there, and a register to push into. False: that was all.
fn may_push(fpu: &mut Fpu) -> bool {
    let fault = match (fpu.is_empty(0), fpu.is_empty(7)) {
        (true, _) => StackFault::Underflow,
        (false, false) => StackFault::Overflow,
        (false, true) => return true,
    };
    if fpu.stack_fault(fault) == Response::Masked {
        fpu.set_st(0, F80::INDEFINITE);
        fpu.push(F80::INDEFINITE);
    }
    false
}
/// Two results with the exceptions of both: one for ST(0), the other to be pushed.
fn deliver_two(fpu: &mut Fpu, stays: F80, pushed: F80, flags: Flags, c1: bool) {
    fpu.raise(flags, c1);
    if !flags.stops(fpu.env()) {
        fpu.set_st(0, stays);
        fpu.push(pushed);
    }
}
fn extract(cpu: &mut Cpu) -> Done {
    let fpu = &mut cpu.s.fpu;
    if may_push(fpu) {
        let (significand, exponent, flags) = x87::extract(fpu.env(), fpu.st(0));
        deliver_two(fpu, exponent, significand, flags, false);
    }
    Ok(())
}
fn out_of_range(fpu: &mut Fpu) {
    fpu.status = fpu.status & !C1 | C2;
}
fn trigonometric(cpu: &mut Cpu, f: impl Fn(Env, F80) -> Trigonometric<Computed<F80>>) -> Done {
    let fpu = &mut cpu.s.fpu;
    fpu.status &= !C2;
    if fpu.is_empty(0) {
        fpu.underflow_into(0);
        return Ok(());
    }
    match f(fpu.env(), fpu.st(0)) {
        Trigonometric::Complete(result) => {
            fpu.deliver(0, result);
        }
        Trigonometric::OutOfRange => out_of_range(fpu),
    }
    Ok(())
}
fn sin_cos(cpu: &mut Cpu) -> Done {
    let fpu = &mut cpu.s.fpu;
    fpu.status &= !C2;
    if may_push(fpu) {
        match x87::sin_cos(fpu.env(), fpu.st(0)) {
            Trigonometric::Complete((sine, cosine)) => {
                // C1 tells of the value that is pushed last.
                deliver_two(fpu, sine.value, cosine.value, sine.flags | cosine.flags, cosine.c1);
            }
            Trigonometric::OutOfRange => out_of_range(fpu),
        }
    }
    Ok(())
}
fn tan(cpu: &mut Cpu) -> Done {
    let fpu = &mut cpu.s.fpu;
    fpu.status &= !C2;
    if may_push(fpu) {
        match x87::tan(fpu.env(), fpu.st(0)) {
            Trigonometric::Complete((tangent, pushed)) => {
                deliver_two(fpu, tangent.value, pushed, tangent.flags, tangent.c1);
            }
            Trigonometric::OutOfRange => out_of_range(fpu),
        }
    }
    Ok(())
}
