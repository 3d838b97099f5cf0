//! String instructions, one step at a time. SDM volume 2, "REP/REPE/REPZ/REPNE/REPNZ".
//!
//! A repeated instruction is a loop through its own RIP: each step is an instruction boundary at which faults, interrupts and single steps
//! are exact. A domain may do several steps in one ([`Ops::string_bulk`]) as long as nobody can tell.

use crate::Ops;
use crate::flags::FlagOp;
use crate::operand::{get, set};
use undercroft_decode::{Insn, Op, Reg, Rep, Seg, Size};

/// MOVS, STOS, LODS, SCAS, CMPS.
#[inline(always)]
pub fn string<O: Ops>(o: &mut O, i: &Insn, op: Op, size: Size) -> Result<(), O::Fault> {
    let width = i.addr_size();
    let repeated = i.rep() as u8 != Rep::None as u8;
    if repeated {
        let count = get(o, Reg::Rcx, width);
        let zero = o.imm(0);
        let none = o.eq(count, zero);
        if o.finish_if(none) || o.string_bulk(i)? {
            return Ok(());
        }
    }
    let down = o.direction();
    let up = o.imm(size.bytes());
    let back = o.imm(size.bytes().wrapping_neg());
    let step = o.select(down, back, up);
    let reads = matches!(op, Op::Movs | Op::Lods | Op::Cmps);
    let si = get(o, Reg::Rsi, width);
    let di = get(o, Reg::Rdi, width);
    let mut compared = None;
    match op {
        Op::Movs => {
            let v = o.load(i.seg, si, size)?;
            o.store(Seg::Es, di, size, v)?;
        }
        Op::Stos => {
            let v = get(o, Reg::Rax, size);
            o.store(Seg::Es, di, size, v)?;
        }
        Op::Lods => {
            let v = o.load(i.seg, si, size)?;
            set(o, Reg::Rax, size, v);
        }
        Op::Scas => {
            let b = o.load(Seg::Es, di, size)?;
            compared = Some((get(o, Reg::Rax, size), b));
        }
        _ => {
            let a = o.load(i.seg, si, size)?;
            let b = o.load(Seg::Es, di, size)?;
            compared = Some((a, b));
        }
    }
    if reads {
        let next = o.add(si, step);
        set(o, Reg::Rsi, width, next);
    }
    if op as u8 != Op::Lods as u8 {
        let next = o.add(di, step);
        set(o, Reg::Rdi, width, next);
    }
    let result = compared.map(|(a, b)| {
        let wide = o.sub(a, b);
        (a, o.zext(size, wide))
    });
    if repeated {
        count_down(o, i, result, size, width);
    } else if let Some((a, r)) = result {
        o.flags(FlagOp::Sub, size, a, r);
    }
    Ok(())
}

/// Counts down and decides whether there is another step. Comparisons write the flags with the last step only: when a step faults, the flags are
/// those from before the instruction. SDM volume 2, "REP/REPE/REPZ/REPNE/REPNZ".
#[inline(always)]
fn count_down<O: Ops>(o: &mut O, i: &Insn, compared: Option<(O::V, O::V)>, size: Size, width: Size) {
    let zero = o.imm(0);
    let one = o.imm(1);
    let old = get(o, Reg::Rcx, width);
    let new = o.sub(old, one);
    let new = o.zext(width, new);
    set(o, Reg::Rcx, width, new);
    let done = o.eq(new, zero);
    let Some((a, r)) = compared else {
        let more = o.not(done);
        o.again_if(more);
        return;
    };
    let equal = o.eq(r, zero);
    let holds = if i.rep() as u8 == Rep::Repne as u8 { o.not(equal) } else { equal };
    let yes = o.select(holds, one, zero);
    let both = o.select(done, zero, yes);
    let stop = o.eq(both, zero);
    o.flags_if(stop, FlagOp::Sub, size, a, r);
    let more = o.not(stop);
    o.again_if(more);
}
