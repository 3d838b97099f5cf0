//! Vector instructions: operands and exceptions around the values that `undercroft_semantics::vector` computes.

use super::{Cursor, Handler};
use crate::events::{Exception, Flow};
use crate::vcpu::Cpu;
use std::sync::OnceLock;
use undercroft_decode::{Code, Insn, Reg, Seg};
use undercroft_semantics::vector::{self, Action, Class, MmxState, Operand, StringLength, StringOutput, VecInsn};
use undercroft_spec::LinearAddr;
use undercroft_spec::x86::control::{cr0, cr4, rflags};

/// Descriptions by number of the code: made once, since asking by code is a long way.
static TABLE: OnceLock<Box<[Option<VecInsn>]>> = OnceLock::new();

/// The description of a vector instruction; `None` for all others.
pub fn describe(i: &Insn) -> Option<&'static VecInsn> {
    let table = TABLE.get_or_init(|| Code::values().map(vector::describe).collect());
    table.get(i.code() as usize)?.as_ref()
}

/// The handler of an instruction, if it is a vector instruction in 64-bit code.
pub fn handler(i: &Insn) -> Option<Handler> {
    if i.is_long() && describe(i).is_some() { Some(Handler(run)) } else { None }
}

/// A vector instruction without more around it than a fault needs.
fn run(cpu: &mut Cpu, at: Cursor, budget: i64) -> i64 {
    if is_trivial(cpu, at.insn()) && run_inner(cpu, at.insn()) {
        let next = at.next();
        return (next.handler().0)(cpu, next, budget);
    }
    super::handlers::general(cpu, at, budget)
}
#[inline(never)]
fn run_inner(cpu: &mut Cpu, i: &Insn) -> bool {
    match describe(i) {
        Some(v) if v.class() == Class::Xmm && !matches!(v.action, Action::MaskedStore) => {
            execute_flat(cpu, i, v).is_some()
        }
        _ => false,
    }
}
#[inline(always)]
fn is_trivial(cpu: &Cpu, i: &Insn) -> bool {
    i.is_flat() && cpu.s.cr0 & (cr0::EM | cr0::TS) == 0 && cpu.s.cr4 & cr4::OSFXSR != 0
}

/// The instruction if nothing can go wrong: its memory is in the TLB and aligned, and no exception is unmasked. `None`, and nothing changed, if not.
#[inline(always)]
fn execute_flat(cpu: &mut Cpu, i: &Insn, v: &VecInsn) -> Option<()> {
    let memory = i.has_memory();
    let action = if memory { v.memory_action } else { v.action };
    let stores = memory && v.first.may_be_memory();
    let mut linear = 0;
    if memory {
        let r = &cpu.s.regs;
        linear = r[i.base as usize].wrapping_add(r[i.index as usize] << i.scale()).wrapping_add(i.disp as i64 as u64);
        if v.aligned && linear & 15 != 0 {
            return None;
        }
    }
    let first = if stores { 0 } else { register(cpu, v.first, i.dst) };
    let second = match v.second {
        Operand::Imm8 => u128::from(i.imm as u8),
        o if memory && o.may_be_memory() && !stores => {
            let tlb = &cpu.mmu.tlb;
            match v.memory_bytes {
                16 => tlb.load::<u128>(linear)?,
                8 => u128::from(tlb.load::<u64>(linear)?),
                4 => u128::from(tlb.load::<u32>(linear)?),
                _ => return None,
            }
        }
        o => register(cpu, o, i.src),
    };
    let imm = if v.imm8 { i.imm as u8 } else { 0 };
    let value = match action {
        Action::Value(op) => vector::eval(op, first, second, imm),
        Action::Fp(op) | Action::FpFlags(op) => {
            let (value, flags) = vector::eval_fp(op, first, second, imm, cpu.s.fpu.mxcsr);
            let raised = u32::from(flags.bits());
            if raised & !(cpu.s.fpu.mxcsr >> 7) & 0x3f != 0 {
                return None;
            }
            cpu.s.fpu.mxcsr |= raised;
            if matches!(action, Action::FpFlags(_)) {
                cpu.s.flags.set_arithmetic(value as u64);
                return Some(());
            }
            value
        }
        _ => return None,
    };
    if stores {
        let tlb = &cpu.mmu.tlb;
        let done = match v.memory_bytes {
            16 => tlb.store(linear, value),
            8 => tlb.store(linear, value as u64),
            4 => tlb.store(linear, value as u32),
            _ => false,
        };
        return if done { Some(()) } else { None };
    }
    write_register(cpu, v.first, i.dst, value);
    Some(())
}

/// Any vector instruction, with all of its exceptions.
pub fn execute(cpu: &mut Cpu, i: &Insn, v: &VecInsn) -> Result<Flow, Exception> {
    available(cpu, v)?;
    if uses_mmx(i, v) && crate::system::x87::report_pending(cpu)? {
        return Ok(Flow::Again);
    }
    let memory = i.has_memory();
    let action = if memory { v.memory_action } else { v.action };
    if action == Action::MaskedStore {
        masked_store(cpu, i, v)?;
        touch_mmx(cpu, i, v);
        return Ok(Flow::Next);
    }
    let stores = memory && v.first.may_be_memory();
    let first = if stores { 0 } else { register(cpu, v.first, i.dst) };
    let second = match v.second {
        Operand::Imm8 => u128::from(i.imm as u8),
        o if memory && o.may_be_memory() && !stores => load(cpu, i, v)?,
        o => register(cpu, o, i.src),
    };
    let imm = if v.imm8 { i.imm as u8 } else { 0 };
    let value = match action {
        Action::Value(op) if v.class() == Class::Mmx => {
            u128::from(vector::eval_mmx(op, first as u64, second as u64, imm))
        }
        Action::Value(op) => vector::eval(op, first, second, imm),
        Action::ValueXmm0(op) => vector::eval_xmm0(op, first, second, cpu.s.fpu.xmm[0]),
        Action::Flags(op) => {
            cpu.s.flags.set_arithmetic(vector::eval(op, first, second, imm) as u64);
            return Ok(Flow::Next);
        }
        Action::Fp(op) | Action::FpFlags(op) => {
            let (value, flags) = vector::eval_fp(op, first, second, imm, cpu.s.fpu.mxcsr);
            let raised = u32::from(flags.bits());
            let unmasked = raised & !(cpu.s.fpu.mxcsr >> 7) & 0x3f != 0;
            if unmasked && cpu.s.cr4 & cr4::OSXMMEXCPT == 0 {
                cpu.s.fpu.mxcsr |= raised;
                return Err(Exception::ud());
            }
            if !unmasked && stores {
                store(cpu, i, v, value)?;
            }
            cpu.s.fpu.mxcsr |= raised;
            if unmasked {
                return Err(Exception::xm());
            }
            if matches!(action, Action::FpFlags(_)) {
                cpu.s.flags.set_arithmetic(value as u64);
                return Ok(Flow::Next);
            }
            value
        }
        Action::String(length, output) => {
            string(cpu, first, second, imm, length, output);
            return Ok(Flow::Next);
        }
        Action::MaskedStore | Action::Empty => 0,
    };
    if stores {
        store(cpu, i, v, value)?;
        touch_mmx(cpu, i, v);
    } else {
        touch_mmx(cpu, i, v);
        write_register(cpu, v.first, i.dst, value);
    }
    Ok(Flow::Next)
}

/// #UD, #NM: may the instruction run at all? SDM volume 3, "Exceptions Type", volume 2, "Exception Conditions of ... Legacy SIMD".
fn available(cpu: &Cpu, v: &VecInsn) -> Result<(), Exception> {
    let s = &cpu.s;
    let sse = matches!(v.class(), Class::Xmm | Class::MmxAndXmm);
    if s.cr0 & cr0::EM != 0 || sse && s.cr4 & cr4::OSFXSR == 0 {
        return Err(Exception::ud());
    }
    if s.cr0 & cr0::TS != 0 {
        return Err(Exception::nm());
    }
    Ok(())
}

/// Does it use MMX registers, so that a pending x87 exception is reported first?
fn uses_mmx(i: &Insn, v: &VecInsn) -> bool {
    match v.mmx_state {
        MmxState::Untouched => false,
        MmxState::EntersUnlessMemory => !i.has_memory(),
        MmxState::Enters | MmxState::Empties => true,
    }
}

/// What the use of MMX registers does to the x87 state.
fn touch_mmx(cpu: &mut Cpu, i: &Insn, v: &VecInsn) {
    let fpu = &mut cpu.s.fpu;
    match v.mmx_state {
        MmxState::Untouched => {}
        MmxState::EntersUnlessMemory if i.has_memory() => {}
        MmxState::Enters | MmxState::EntersUnlessMemory => {
            fpu.status &= !0x3800;
            fpu.tag = 0;
        }
        MmxState::Empties => {
            fpu.status &= !0x3800;
            fpu.tag = 0xffff;
        }
    }
}

fn string(cpu: &mut Cpu, first: u128, second: u128, imm: u8, length: StringLength, output: StringOutput) {
    let (rax, rdx) = (cpu.s.regs[Reg::Rax as usize], cpu.s.regs[Reg::Rdx as usize]);
    let result = match length {
        StringLength::Implicit => vector::pcmpistr(first, second, imm),
        StringLength::Explicit32 => vector::pcmpestr(first, i64::from(rax as i32), second, i64::from(rdx as i32), imm),
        StringLength::Explicit64 => vector::pcmpestr(first, rax as i64, second, rdx as i64, imm),
    };
    cpu.s.flags.set_arithmetic(u64::from(result.flags) & rflags::ARITHMETIC);
    match output {
        StringOutput::Index => cpu.s.regs[Reg::Rcx as usize] = u64::from(result.index),
        StringOutput::Mask => cpu.s.fpu.xmm[0] = result.mask,
    }
}

#[inline(always)]
fn register(cpu: &Cpu, operand: Operand, r: Reg) -> u128 {
    let n = r.number() as usize;
    match operand {
        Operand::Xmm | Operand::XmmOrMem => cpu.s.fpu.xmm[n],
        Operand::Mm | Operand::MmOrMem => u128::from(cpu.s.fpu.significand[n & 7]),
        Operand::Gpr32 | Operand::Gpr32OrMem => u128::from(cpu.s.regs[r as usize] as u32),
        Operand::Gpr64 | Operand::Gpr64OrMem => u128::from(cpu.s.regs[r as usize]),
        _ => 0,
    }
}

#[inline(always)]
fn write_register(cpu: &mut Cpu, operand: Operand, r: Reg, value: u128) {
    let n = r.number() as usize;
    match operand {
        Operand::Xmm | Operand::XmmOrMem => cpu.s.fpu.xmm[n] = value,
        Operand::Mm | Operand::MmOrMem => {
            cpu.s.fpu.significand[n & 7] = value as u64;
            cpu.s.fpu.sign_exponent[n & 7] = 0xffff;
        }
        Operand::Gpr32 | Operand::Gpr32OrMem => cpu.s.regs[r as usize] = u64::from(value as u32),
        Operand::Gpr64 | Operand::Gpr64OrMem => cpu.s.regs[r as usize] = value as u64,
        _ => {}
    }
}

fn address(cpu: &Cpu, i: &Insn, v: &VecInsn, write: bool) -> Result<LinearAddr, Exception> {
    let offset = cpu.effective_address(i);
    // An operand that is neither aligned nor canonical is #GP even in the stack segment.
    if v.aligned && i.is_long() && cpu.s.segment(i.seg).base.wrapping_add(offset) & 15 != 0 {
        return Err(Exception::gp(0));
    }
    let linear = cpu.segment_address(i.seg, offset, u64::from(v.memory_bytes), write)?;
    if v.aligned && linear.get() & 15 != 0 {
        return Err(Exception::gp(0));
    }
    // Alignment checks apply to what need not be aligned to 16 bytes; wider accesses are checked as such only up to 8 bytes.
    if !v.aligned && v.memory_bytes.is_power_of_two() {
        cpu.check_alignment(linear, u64::from(v.memory_bytes))?;
    }
    Ok(linear)
}
fn load(cpu: &mut Cpu, i: &Insn, v: &VecInsn) -> Result<u128, Exception> {
    let linear = address(cpu, i, v, false)?;
    let mut bytes = [0; 16];
    let part = bytes.get_mut(..v.memory_bytes as usize).ok_or(Exception::ud())?;
    cpu.load_linear_bytes(linear, part, crate::mmu::Privilege::Current)?;
    Ok(u128::from_le_bytes(bytes))
}
fn store(cpu: &mut Cpu, i: &Insn, v: &VecInsn, value: u128) -> Result<(), Exception> {
    let linear = address(cpu, i, v, true)?;
    let bytes = value.to_le_bytes();
    let part = bytes.get(..v.memory_bytes as usize).ok_or(Exception::ud())?;
    cpu.store_linear_bytes(linear, part, crate::mmu::Privilege::Current)
}

/// MASKMOVQ, MASKMOVDQU: bytes of a register go to where DI points, as the mask says.
fn masked_store(cpu: &mut Cpu, i: &Insn, v: &VecInsn) -> Result<(), Exception> {
    let value = register(cpu, v.first, i.src).to_le_bytes();
    let mask = vector::masked_bytes(register(cpu, v.second, i.src2));
    let offset = cpu.s.regs[Reg::Rdi as usize] & i.addr_size().mask();
    let seg: Seg = i.seg;
    // The whole operand must be writable, whatever the mask says.
    if i.is_long() {
        let len = u64::from(v.memory_bytes);
        let linear = cpu.segment_address(seg, offset, len, true)?;
        // Both store quadwords.
        cpu.check_alignment(linear, 8)?;
        cpu.translate_range(linear, len, undercroft_walk::AccessKind::Write, crate::mmu::Privilege::Current)?;
        for n in (0..len).filter(|n| mask >> n & 1 != 0) {
            let at = LinearAddr(linear.get().wrapping_add(n));
            cpu.store_linear(at, 1, u64::from(value[n as usize]), crate::mmu::Privilege::Current)?;
        }
        return Ok(());
    }
    // Outside 64-bit mode it may wrap around at the end of the segment.
    for n in 0..u64::from(v.memory_bytes) {
        let linear = cpu.segment_address(seg, offset.wrapping_add(n) & i.addr_size().mask(), 1, true)?;
        cpu.translate(linear, undercroft_walk::AccessKind::Write, crate::mmu::Privilege::Current)?;
    }
    for n in (0..u64::from(v.memory_bytes)).filter(|n| mask >> n & 1 != 0) {
        let at = n as usize;
        cpu.store_bytes(seg, offset.wrapping_add(n) & i.addr_size().mask(), &value[at..at + 1])?;
    }
    Ok(())
}
