//! Repeated string instructions, many steps at once.
//!
//! One *turn* of a repeated MOVS or STOS goes as far as the page of either operand does; it is what the clock counts as an instruction, and where
//! interrupts are looked at. It depends on addresses and count only, never on what is cached. With single-stepping or breakpoints a turn is one step.

use crate::events::{Exception, Flow};
use crate::vcpu::Cpu;
use undercroft_decode::{Insn, Op, Reg, Rep, Seg, Size};
use undercroft_spec::x86::control::rflags;

fn counter(cpu: &Cpu, i: &Insn) -> u64 {
    cpu.s.regs[Reg::Rcx as usize] & i.addr_size().mask()
}

fn set_sized(cpu: &mut Cpu, r: Reg, width: Size, v: u64) {
    let slot = &mut cpu.s.regs[r as usize];
    *slot = match width {
        Size::B8 => v,
        Size::B4 => v & 0xffff_ffff,
        _ => *slot & !width.mask() | v & width.mask(),
    };
}

/// Several steps, if they can be done in one go. `None`: do one step by the ordinary way.
pub fn bulk(cpu: &mut Cpu, i: &Insn) -> Result<Option<Flow>, Exception> {
    if i.rep() == Rep::None {
        return Ok(None);
    }
    let count = counter(cpu, i);
    let ordinary = !matches!(i.op, Op::Movs | Op::Stos)
        || !i.is_flat()
        || cpu.s.flags.other() & (rflags::DF | rflags::TF) != 0
        || cpu.s.dr7 & 0xff != 0
        || cpu.alignment_checked();
    if ordinary {
        return Ok(None);
    }
    let size = i.size().bytes();
    let di = cpu.s.regs[Reg::Rdi as usize];
    let si = cpu.s.regs[Reg::Rsi as usize];
    let left = |at: u64| (4096 - (at & 0xfff)) / size;
    let steps = count.min(left(di)).min(if i.op == Op::Movs { left(si) } else { u64::MAX });
    // The step that crosses a page is done by itself.
    if steps < 2 {
        return Ok(None);
    }
    if !at_once(cpu, i, steps) {
        // Both pages become known to the TLB, in the order of a single step; faults are those of the first step.
        if i.op == Op::Movs {
            prepare(cpu, i.seg, si, size, false)?;
        }
        prepare(cpu, Seg::Es, di, size, true)?;
        if !at_once(cpu, i, steps) {
            return Ok(Some(one_by_one(cpu, i, steps)?));
        }
    }
    advance(cpu, i, steps);
    Ok(Some(if counter(cpu, i) == 0 { Flow::Next } else { Flow::Again }))
}

/// Copies or fills through the TLB, if it knows the pages and the operands do not overlap so that it matters.
fn at_once(cpu: &Cpu, i: &Insn, steps: u64) -> bool {
    let tlb = &cpu.mmu.tlb;
    let (si, di, rax) = (cpu.s.regs[Reg::Rsi as usize], cpu.s.regs[Reg::Rdi as usize], cpu.s.regs[Reg::Rax as usize]);
    let done = match (i.op, i.size()) {
        (Op::Movs, size) => tlb.copy(si, di, steps * size.bytes()),
        (_, Size::B1) => tlb.fill_range(di, steps, rax as u8),
        (_, Size::B2) => tlb.fill_range(di, steps, rax as u16),
        (_, Size::B4) => tlb.fill_range(di, steps, rax as u32),
        (_, Size::B8) => tlb.fill_range(di, steps, rax),
    };
    done.is_some()
}

fn advance(cpu: &mut Cpu, i: &Insn, steps: u64) {
    let len = steps * i.size().bytes();
    let width = i.addr_size();
    let new = counter(cpu, i) - steps;
    set_sized(cpu, Reg::Rcx, width, new);
    let di = cpu.s.regs[Reg::Rdi as usize].wrapping_add(len);
    set_sized(cpu, Reg::Rdi, width, di);
    if i.op == Op::Movs {
        let si = cpu.s.regs[Reg::Rsi as usize].wrapping_add(len);
        set_sized(cpu, Reg::Rsi, width, si);
    }
}

/// Brings a page into the TLB without an access that a device could notice: the access that follows is checked again.
fn prepare(cpu: &mut Cpu, seg: Seg, at: u64, size: u64, write: bool) -> Result<(), Exception> {
    use undercroft_walk::AccessKind;
    let linear = cpu.segment_address(seg, at, size, write)?;
    let kind = if write { AccessKind::Write } else { AccessKind::Read };
    cpu.translate(linear, kind, crate::mmu::Privilege::Current)?;
    Ok(())
}

/// The same steps, each by itself: devices, pages that hold code, operands that overlap.
fn one_by_one(cpu: &mut Cpu, i: &Insn, steps: u64) -> Result<Flow, Exception> {
    for _ in 0..steps {
        let di = cpu.s.regs[Reg::Rdi as usize];
        let value = if i.op == Op::Movs {
            let si = cpu.s.regs[Reg::Rsi as usize];
            cpu.load(i.seg, si, i.size())
        } else {
            Ok(cpu.s.regs[Reg::Rax as usize])
        };
        // Steps done stay done; a fault is that of the step which did not happen.
        value.and_then(|v| cpu.store(Seg::Es, di, i.size(), v))?;
        advance(cpu, i, 1);
    }
    Ok(if counter(cpu, i) == 0 { Flow::Next } else { Flow::Again })
}
