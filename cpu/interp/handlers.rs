//! Handlers: the semantics compiled for each common form, and the table that chooses.
//!
//! Every way out of a handler is a call in tail position of a function of the same signature. The optimiser makes these jumps (a test runs long
//! enough on a small stack to notice if not); a handler that calls anything else would need a frame, so whatever is rare is a handler of its own.

use super::plain::{Bail, Next, Plain};
use super::{Cursor, Handler, Record, slow};
use crate::events::Flow;
use crate::vcpu::Cpu;
use undercroft_decode::{Cond, Insn, Op, Reg, Shape, Size};
use undercroft_semantics::{Ops, exec};

/// Handler of end records: goes on behind the block.
pub const END: Handler = Handler(fall_out);

/// Begins a block at `rip` if the budget allows all of it.
#[inline(always)]
pub fn enter(cpu: &mut Cpu, block: Cursor, rip: u64, budget: i64) -> i64 {
    let left = budget - i64::from(block.insn().left);
    if left < 0 {
        cpu.s.rip = rip;
        return budget;
    }
    cpu.s.regs[Reg::BlockRip as usize] = rip;
    (block.handler().0)(cpu, block, left)
}

#[inline(always)]
fn fall(cpu: &mut Cpu, at: Cursor, budget: i64) -> i64 {
    let next = at.next();
    (next.handler().0)(cpu, next, budget)
}
#[inline(always)]
fn offset_rip(cpu: &Cpu, offset: i32) -> u64 {
    cpu.s.regs[Reg::BlockRip as usize].wrapping_add(offset as i64 as u64)
}
#[inline(always)]
fn taken(cpu: &mut Cpu, at: Cursor, budget: i64) -> i64 {
    match at.links().taken.get() {
        Some(block) => {
            let rip = offset_rip(cpu, at.insn().imm);
            enter(cpu, block, rip, budget)
        }
        None => resolve_taken(cpu, at, budget),
    }
}
#[inline(always)]
fn not_taken(cpu: &mut Cpu, at: Cursor, budget: i64) -> i64 {
    match at.links().fall.get() {
        Some(block) => {
            let rip = offset_rip(cpu, at.insn().next_offset() as i32);
            enter(cpu, block, rip, budget)
        }
        None => resolve_fall(cpu, at, budget),
    }
}
#[inline(always)]
fn leave(cpu: &mut Cpu, _at: Cursor, rip: u64, budget: i64) -> i64 {
    cpu.s.rip = rip;
    budget
}

/// A branch whose target is not linked yet.
#[cold]
#[inline(never)]
fn resolve_taken(cpu: &mut Cpu, at: Cursor, budget: i64) -> i64 {
    let rip = offset_rip(cpu, at.insn().imm);
    let link = same_page(cpu, rip);
    go(cpu, at, rip, budget, |block| {
        if link {
            at.links().taken.set(Some(block));
        }
    })
}
#[cold]
#[inline(never)]
fn resolve_fall(cpu: &mut Cpu, at: Cursor, budget: i64) -> i64 {
    let rip = offset_rip(cpu, at.insn().next_offset() as i32);
    let link = same_page(cpu, rip);
    go(cpu, at, rip, budget, |block| {
        if link {
            at.links().fall.set(Some(block));
        }
    })
}
/// Links stay within a page: there the target is right for every mapping, and is forgotten together with the block that names it.
fn same_page(cpu: &Cpu, rip: u64) -> bool {
    rip >> 12 == cpu.s.regs[Reg::BlockRip as usize] >> 12
}
fn go(cpu: &mut Cpu, at: Cursor, rip: u64, budget: i64, link: impl FnOnce(Cursor)) -> i64 {
    match cpu.code.target(rip, cpu.fetch_tag) {
        Some(block) => {
            link(block);
            enter(cpu, block, rip, budget)
        }
        None => leave(cpu, at, rip, budget),
    }
}

/// The end of a block that no branch ends.
fn fall_out(cpu: &mut Cpu, at: Cursor, budget: i64) -> i64 {
    match at.links().fall.get() {
        Some(block) => {
            let rip = offset_rip(cpu, i32::from(at.insn().offset));
            if at.insn().is_long() { enter(cpu, block, rip, budget) } else { leave(cpu, at, rip & 0xffff_ffff, budget) }
        }
        None => resolve_end(cpu, at, budget),
    }
}
#[cold]
#[inline(never)]
fn resolve_end(cpu: &mut Cpu, at: Cursor, budget: i64) -> i64 {
    let rip = offset_rip(cpu, i32::from(at.insn().offset));
    if !at.insn().is_long() {
        return leave(cpu, at, rip & 0xffff_ffff, budget);
    }
    let link = same_page(cpu, rip);
    go(cpu, at, rip, budget, |block| {
        if link {
            at.links().fall.set(Some(block));
        }
    })
}

/// The general instance: any instruction, any fault. Also where a fast handler gave up.
///
/// What needs a frame is in a function of its own that returns before the next handler is called.
#[inline(never)]
pub fn general(cpu: &mut Cpu, at: Cursor, budget: i64) -> i64 {
    let left = run_general(cpu, at, budget);
    if left == GOES_ON { fall(cpu, at, budget) } else { left }
}
/// Result of [`run_general`] when the next record follows. No budget is ever that.
const GOES_ON: i64 = i64::MIN;

#[inline(never)]
fn run_general(cpu: &mut Cpu, at: Cursor, budget: i64) -> i64 {
    let i = *at.insn();
    let left = i64::from(i.left);
    let rip = offset_rip(cpu, i32::from(i.offset));
    cpu.s.rip = if i.is_long() { rip } else { rip & 0xffff_ffff };
    cpu.now = cpu.deadline.wrapping_sub((budget + left) as u64);
    match slow::step(cpu, &i) {
        Ok(Flow::Next) if !cpu.attention => GOES_ON,
        Ok(Flow::Next) => {
            cpu.s.rip = next_rip(&i, cpu.s.rip);
            budget + left - 1
        }
        Ok(Flow::Jump | Flow::Again) => budget + left - 1,
        Err(e) => {
            cpu.raised = Some((e, next_rip(&i, cpu.s.rip)));
            budget + left
        }
    }
}
fn next_rip(i: &Insn, rip: u64) -> u64 {
    let next = rip.wrapping_add(u64::from(i.len));
    if i.is_long() { next } else { next & 0xffff_ffff }
}

/// One form, with everything constant that the form fixes.
fn form<const OP: u8, const SIZE: u8, const SHAPE: u8>(cpu: &mut Cpu, at: Cursor, budget: i64) -> i64 {
    let op = const { Op::ALL[OP as usize] };
    let mut o = Plain::new(cpu);
    match exec(&mut o, at.insn(), op, Size::from_bits(SIZE), Shape::from_bits(SHAPE)) {
        Ok(()) => match o.next {
            Next::Fall => fall(cpu, at, budget),
            Next::Taken => taken(cpu, at, budget),
            Next::To(rip) => match o.block {
                Some(block) => enter(cpu, block, rip, budget),
                None => leave(cpu, at, rip, budget),
            },
        },
        Err(Bail) => general(cpu, at, budget),
    }
}
/// A conditional jump.
fn jcc<const CC: u8>(cpu: &mut Cpu, at: Cursor, budget: i64) -> i64 {
    let mut o = Plain::new(cpu);
    if o.cond(Cond::from_bits(CC)) { taken(cpu, at, budget) } else { not_taken(cpu, at, budget) }
}
/// Two records in one: an operation and the conditional jump behind it, whose condition then needs no flags.
fn pair<const OP: u8, const SIZE: u8, const SHAPE: u8, const CC: u8>(cpu: &mut Cpu, at: Cursor, budget: i64) -> i64 {
    let op = const { Op::ALL[OP as usize] };
    let mut o = Plain::new(cpu);
    match exec(&mut o, at.insn(), op, Size::from_bits(SIZE), Shape::from_bits(SHAPE)) {
        Ok(()) => {
            let at = at.next();
            if o.cond(Cond::from_bits(CC)) { taken(cpu, at, budget) } else { not_taken(cpu, at, budget) }
        }
        Err(Bail) => general(cpu, at, budget),
    }
}
/// Any form that the fast domain can do, chosen at run time.
fn any(cpu: &mut Cpu, at: Cursor, budget: i64) -> i64 {
    let i = at.insn();
    if run_any(cpu, i) { fall(cpu, at, budget) } else { general(cpu, at, budget) }
}
#[inline(never)]
fn run_any(cpu: &mut Cpu, i: &Insn) -> bool {
    let mut o = Plain::new(cpu);
    exec(&mut o, i, i.op, i.size(), i.shape()).is_ok()
}

macro_rules! by_size {
    ($i:expr, $op:ident, $shape:ident) => {
        match $i.size() {
            Size::B1 => Handler(form::<{ Op::$op as u8 }, 0, { Shape::$shape as u8 }>),
            Size::B2 => Handler(form::<{ Op::$op as u8 }, 1, { Shape::$shape as u8 }>),
            Size::B4 => Handler(form::<{ Op::$op as u8 }, 2, { Shape::$shape as u8 }>),
            Size::B8 => Handler(form::<{ Op::$op as u8 }, 3, { Shape::$shape as u8 }>),
        }
    };
}
macro_rules! by_shape {
    ($i:expr, $op:ident, $($shape:ident)*) => {
        match $i.shape() {
            $(Shape::$shape => by_size!($i, $op, $shape),)*
            _ => Handler(any),
        }
    };
}
macro_rules! wide_only {
    ($i:expr, $op:ident, $($shape:ident)*) => {
        match ($i.shape(), $i.size()) {
            $((Shape::$shape, Size::B4) => Handler(form::<{ Op::$op as u8 }, 2, { Shape::$shape as u8 }>),
              (Shape::$shape, Size::B8) => Handler(form::<{ Op::$op as u8 }, 3, { Shape::$shape as u8 }>),)*
            _ => Handler(any),
        }
    };
}
macro_rules! long_only {
    ($i:expr, $op:ident, $($shape:ident)*) => {
        match ($i.shape(), $i.size()) {
            $((Shape::$shape, Size::B8) => Handler(form::<{ Op::$op as u8 }, 3, { Shape::$shape as u8 }>),)*
            _ => Handler(general),
        }
    };
}
macro_rules! by_cond {
    ($cc:expr, $name:ident $(, $rest:expr)*) => {
        match $cc as u8 {
            0 => Handler($name::<$($rest,)* 0>),
            1 => Handler($name::<$($rest,)* 1>),
            2 => Handler($name::<$($rest,)* 2>),
            3 => Handler($name::<$($rest,)* 3>),
            4 => Handler($name::<$($rest,)* 4>),
            5 => Handler($name::<$($rest,)* 5>),
            6 => Handler($name::<$($rest,)* 6>),
            7 => Handler($name::<$($rest,)* 7>),
            8 => Handler($name::<$($rest,)* 8>),
            9 => Handler($name::<$($rest,)* 9>),
            10 => Handler($name::<$($rest,)* 10>),
            11 => Handler($name::<$($rest,)* 11>),
            12 => Handler($name::<$($rest,)* 12>),
            13 => Handler($name::<$($rest,)* 13>),
            14 => Handler($name::<$($rest,)* 14>),
            _ => Handler($name::<$($rest,)* 15>),
        }
    };
}

fn uses_high_byte(i: &Insn) -> bool {
    i.dst.is_high_byte() || i.src.is_high_byte() || i.src2.is_high_byte()
}

/// The handler of an instruction.
pub fn choose(i: &Insn) -> Handler {
    if i.op == Op::Helper
        && let Some(handler) = super::vector::handler(i).or_else(|| crate::system::x87::handler(i))
    {
        return handler;
    }
    if !i.is_flat() || uses_high_byte(i) {
        return Handler(general);
    }
    match i.op {
        Op::Mov => by_shape!(i, Mov, RR RM MR RI MI),
        Op::Add => by_shape!(i, Add, RR RM MR RI MI),
        Op::Or => by_shape!(i, Or, RR RM MR RI MI),
        Op::And => by_shape!(i, And, RR RM MR RI MI),
        Op::Sub => by_shape!(i, Sub, RR RM MR RI MI),
        Op::Xor => by_shape!(i, Xor, RR RM MR RI MI),
        Op::Cmp => by_shape!(i, Cmp, RR RM MR RI MI),
        Op::Test => by_shape!(i, Test, RR MR RI MI),
        Op::Adc => wide_only!(i, Adc, RR RM RI),
        Op::Sbb => wide_only!(i, Sbb, RR RM RI),
        Op::Movzx8 => by_shape!(i, Movzx8, RR RM),
        Op::Movzx16 => by_shape!(i, Movzx16, RR RM),
        Op::Movsx8 => by_shape!(i, Movsx8, RR RM),
        Op::Movsx16 => by_shape!(i, Movsx16, RR RM),
        Op::Movsx32 => by_shape!(i, Movsx32, RR RM),
        Op::Lea => wide_only!(i, Lea, RM),
        Op::Inc => wide_only!(i, Inc, R M),
        Op::Dec => wide_only!(i, Dec, R M),
        Op::Neg => wide_only!(i, Neg, R),
        Op::Not => wide_only!(i, Not, R),
        Op::Shl => wide_only!(i, Shl, RI RR),
        Op::Shr => wide_only!(i, Shr, RI RR),
        Op::Sar => wide_only!(i, Sar, RI RR),
        Op::Rol => wide_only!(i, Rol, RI RR),
        Op::Ror => wide_only!(i, Ror, RI RR),
        Op::Imul2 => wide_only!(i, Imul2, RR RM),
        Op::Imul3 => wide_only!(i, Imul3, RR RM),
        Op::Mul1 => wide_only!(i, Mul1, R M),
        Op::Div => wide_only!(i, Div, R M),
        Op::Cbw => wide_only!(i, Cbw, None),
        Op::Cwd => wide_only!(i, Cwd, None),
        Op::Bt => wide_only!(i, Bt, RI RR MI),
        Op::Xchg => wide_only!(i, Xchg, RR MR),
        Op::Cmpxchg => wide_only!(i, Cmpxchg, MR),
        Op::Xadd => wide_only!(i, Xadd, MR),
        Op::Bsf => wide_only!(i, Bsf, RR),
        Op::Bsr => wide_only!(i, Bsr, RR),
        Op::Bswap => wide_only!(i, Bswap, R),
        Op::Setcc => Handler(any),
        Op::Cmovcc => wide_only!(i, Cmovcc, RR RM),
        Op::Nop => Handler(form::<{ Op::Nop as u8 }, 2, 0>),
        Op::Push => long_only!(i, Push, R I M),
        Op::Pop => long_only!(i, Pop, R),
        Op::Leave => long_only!(i, Leave, None),
        Op::CallRel if i.size() == Size::B8 => Handler(form::<{ Op::CallRel as u8 }, 3, 0>),
        Op::CallInd => long_only!(i, CallInd, R M),
        Op::Ret => long_only!(i, Ret, None I),
        Op::JmpRel if i.size() == Size::B8 => Handler(form::<{ Op::JmpRel as u8 }, 3, 0>),
        Op::JmpInd => long_only!(i, JmpInd, R M),
        Op::Jcc if i.size() == Size::B8 => by_cond!(i.cond(), jcc),
        Op::Bts
        | Op::Btr
        | Op::Btc
        | Op::Tzcnt
        | Op::Lzcnt
        | Op::Popcnt
        | Op::Movbe
        | Op::Andn
        | Op::Bextr
        | Op::Blsi => Handler(any),
        Op::Blsmsk
        | Op::Blsr
        | Op::Bzhi
        | Op::Mulx
        | Op::Pdep
        | Op::Pext
        | Op::Rorx
        | Op::Sarx
        | Op::Shlx
        | Op::Shrx => Handler(any),
        Op::Rcl | Op::Rcr | Op::Shld | Op::Shrd | Op::Imul1 | Op::Idiv | Op::Adcx | Op::Adox | Op::Crc32 => {
            Handler(any)
        }
        Op::Lahf | Op::Sahf | Op::Clc | Op::Stc | Op::Cmc | Op::Cld | Op::Std | Op::Xlat => Handler(any),
        _ => Handler(general),
    }
}

macro_rules! fused {
    ($i:expr, $cc:expr, $op:ident, $($shape:ident)*) => {
        match ($i.shape(), $i.size()) {
            $((Shape::$shape, Size::B1) => Some(by_cond!($cc, pair, { Op::$op as u8 }, 0, { Shape::$shape as u8 })),
              (Shape::$shape, Size::B4) => Some(by_cond!($cc, pair, { Op::$op as u8 }, 2, { Shape::$shape as u8 })),
              (Shape::$shape, Size::B8) => Some(by_cond!($cc, pair, { Op::$op as u8 }, 3, { Shape::$shape as u8 })),)*
            _ => None,
        }
    };
}

/// Makes a comparison and the conditional jump behind it, at the end of a block, one handler.
pub fn fuse(records: &mut [Record]) {
    let [.., first, second] = records else { return };
    let (i, j) = (first.insn, second.insn);
    if j.op != Op::Jcc || j.size() != Size::B8 || !i.is_flat() || uses_high_byte(&i) {
        return;
    }
    let cc = j.cond();
    let handler = match i.op {
        Op::Cmp => fused!(i, cc, Cmp, RR RI RM MI MR),
        Op::Test => fused!(i, cc, Test, RR RI MI),
        Op::Sub => fused!(i, cc, Sub, RR RI),
        Op::Add => fused!(i, cc, Add, RR RI),
        Op::And => fused!(i, cc, And, RI),
        _ => None,
    };
    if let Some(handler) = handler {
        first.handler = handler;
    }
}
