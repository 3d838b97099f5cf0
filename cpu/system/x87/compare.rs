//! FCOM, FUCOM, FICOM, FCOMI, FUCOMI with their pop forms, FTST, FXAM. SDM volume 2, each instruction.

use super::stack::{Response, StackFault};
use super::{Body, number};
use crate::events::Exception;
use crate::vcpu::Cpu;
use undercroft_decode::{Code, Insn, Size};
use undercroft_float::x87::{self, C0, C1, C2, C3, M32, M64, Operand};
use undercroft_float::{F80, Flags, Relation, Signals};
use undercroft_spec::x86::control::rflags;

type C = Code;
type Done = Result<(), Exception>;

/// The instruction's body, if it is one of this file.
pub(super) fn body(code: Code) -> Option<Body> {
    let body: Body = match code {
        C::Fcom_st0_sti | C::Fcom_st0_sti_DCD0 => |c, i| registers(c, i, Signals::AllNans, 0),
        C::Fcomp_st0_sti | C::Fcomp_st0_sti_DCD8 | C::Fcomp_st0_sti_DED0 => |c, i| registers(c, i, Signals::AllNans, 1),
        C::Fcompp => |c, _| condition_codes(c, 1, Signals::AllNans, 2),
        C::Fucom_st0_sti => |c, i| registers(c, i, Signals::SignallingNans, 0),
        C::Fucomp_st0_sti => |c, i| registers(c, i, Signals::SignallingNans, 1),
        C::Fucompp => |c, _| condition_codes(c, 1, Signals::SignallingNans, 2),
        C::Fcom_m32fp => |c, i| single(c, i, 0),
        C::Fcomp_m32fp => |c, i| single(c, i, 1),
        C::Fcom_m64fp => |c, i| double(c, i, 0),
        C::Fcomp_m64fp => |c, i| double(c, i, 1),
        C::Ficom_m16int => |c, i| word(c, i, 0),
        C::Ficomp_m16int => |c, i| word(c, i, 1),
        C::Ficom_m32int => |c, i| short(c, i, 0),
        C::Ficomp_m32int => |c, i| short(c, i, 1),
        C::Ftst => |c, _| with(c, F80::ZERO, Signals::AllNans, 0),
        C::Fcomi_st0_sti => |c, i| flags(c, i, Signals::AllNans, 0),
        C::Fcomip_st0_sti => |c, i| flags(c, i, Signals::AllNans, 1),
        C::Fucomi_st0_sti => |c, i| flags(c, i, Signals::SignallingNans, 0),
        C::Fucomip_st0_sti => |c, i| flags(c, i, Signals::SignallingNans, 1),
        C::Fxam => |c, _| examine(c),
        _ => return None,
    };
    Some(body)
}

const CONDITIONS: u16 = C0 | C1 | C2 | C3;

/// C3, C2 and C0 of a relation. Table "FCOM/FCOMP/FCOMPP Results".
#[inline(always)]
pub(super) fn codes(relation: Relation) -> u16 {
    match relation {
        Relation::Greater => 0,
        Relation::Less => C0,
        Relation::Equal => C3,
        Relation::Unordered => C3 | C2 | C0,
    }
}
/// ZF, PF and CF of a relation; OF, SF and AF become zero. Table "FCOMI/FCOMIP/FUCOMI/FUCOMIP Results".
#[inline(always)]
pub(super) fn arithmetic_flags(relation: Relation) -> u64 {
    match relation {
        Relation::Greater => 0,
        Relation::Less => rflags::CF,
        Relation::Equal => rflags::ZF,
        Relation::Unordered => rflags::ZF | rflags::PF | rflags::CF,
    }
}

fn pops(cpu: &mut Cpu, count: u8) {
    for _ in 0..count {
        cpu.s.fpu.pop();
    }
}
/// What a comparison found: the relation, unless an unmasked invalid operation withholds it; and whether the stack is to be popped.
type Found = (Option<Relation>, Response);

/// Empty operands.
fn underflow(cpu: &mut Cpu) -> Found {
    let response = cpu.s.fpu.stack_fault(StackFault::Underflow);
    ((response == Response::Masked).then_some(Relation::Unordered), response)
}
/// ST(0) and an operand. An unmasked denormal operand only keeps the stack from being popped.
fn relation(cpu: &mut Cpu, operand: impl Operand, signals: Signals) -> Found {
    let fpu = &mut cpu.s.fpu;
    let (relation, raised) = x87::compare(fpu.st(0), operand, signals);
    let withheld = (raised & Flags::IE).stops(fpu.env());
    ((!withheld).then_some(relation), fpu.respond(raised))
}
fn set_codes(cpu: &mut Cpu, (relation, response): Found, pop: u8) -> Done {
    if let Some(relation) = relation {
        cpu.s.fpu.status = cpu.s.fpu.status & !CONDITIONS | codes(relation);
    }
    if response == Response::Masked {
        pops(cpu, pop);
    }
    Ok(())
}
fn with(cpu: &mut Cpu, operand: impl Operand, signals: Signals, pop: u8) -> Done {
    let found = if cpu.s.fpu.is_empty(0) { underflow(cpu) } else { relation(cpu, operand, signals) };
    set_codes(cpu, found, pop)
}
fn pair(cpu: &mut Cpu, n: u8, signals: Signals) -> Found {
    let fpu = &cpu.s.fpu;
    if fpu.is_empty(0) || fpu.is_empty(n) {
        return underflow(cpu);
    }
    let operand = fpu.st(n);
    relation(cpu, operand, signals)
}
fn condition_codes(cpu: &mut Cpu, n: u8, signals: Signals, pop: u8) -> Done {
    let found = pair(cpu, n, signals);
    set_codes(cpu, found, pop)
}
fn registers(cpu: &mut Cpu, i: &Insn, signals: Signals, pop: u8) -> Done {
    condition_codes(cpu, number(i.src), signals, pop)
}
fn flags(cpu: &mut Cpu, i: &Insn, signals: Signals, pop: u8) -> Done {
    let (relation, response) = pair(cpu, number(i.src), signals);
    if let Some(relation) = relation {
        cpu.s.flags.set_arithmetic(arithmetic_flags(relation));
    }
    if response == Response::Masked {
        pops(cpu, pop);
    }
    Ok(())
}
fn single(cpu: &mut Cpu, i: &Insn, pop: u8) -> Done {
    let operand = cpu.load(i.seg, cpu.effective_address(i), Size::B4)?;
    with(cpu, M32(operand as u32), Signals::AllNans, pop)
}
fn double(cpu: &mut Cpu, i: &Insn, pop: u8) -> Done {
    let operand = cpu.load(i.seg, cpu.effective_address(i), Size::B8)?;
    with(cpu, M64(operand), Signals::AllNans, pop)
}
fn word(cpu: &mut Cpu, i: &Insn, pop: u8) -> Done {
    let operand = cpu.load(i.seg, cpu.effective_address(i), Size::B2)?;
    with(cpu, operand as i16, Signals::AllNans, pop)
}
fn short(cpu: &mut Cpu, i: &Insn, pop: u8) -> Done {
    let operand = cpu.load(i.seg, cpu.effective_address(i), Size::B4)?;
    with(cpu, operand as i32, Signals::AllNans, pop)
}
fn examine(cpu: &mut Cpu) -> Done {
    let fpu = &mut cpu.s.fpu;
    let class = x87::examine(fpu.st(0));
    // An empty register has its sign in C1 all the same.
    let class = if fpu.is_empty(0) { class & C1 | C3 | C0 } else { class };
    fpu.status = fpu.status & !CONDITIONS | class;
    Ok(())
}
