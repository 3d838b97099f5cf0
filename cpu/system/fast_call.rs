//! SYSCALL, SYSRET, SYSENTER, SYSEXIT. SDM volume 2; volume 3, "Fast System Calls in 64-Bit Mode".

use crate::events::{Exception, Flow};
use crate::mmu::is_canonical;
use crate::state::Segment;
use crate::vcpu::Cpu;
use undercroft_decode::{Insn, Mnemonic, Reg, Seg};
use undercroft_spec::x86::control::{efer, rflags};

/// The instructions of the module.
pub(super) fn execute(cpu: &mut Cpu, i: &Insn, m: Mnemonic) -> Option<Result<Flow, Exception>> {
    Some(match m {
        Mnemonic::Syscall => syscall(cpu, i),
        Mnemonic::Sysret => sysret(cpu, Width::Compatibility),
        Mnemonic::Sysretq => sysret(cpu, Width::Long),
        Mnemonic::Sysenter => sysenter(cpu),
        Mnemonic::Sysexit => sysexit(cpu, Width::Compatibility),
        Mnemonic::Sysexitq => sysexit(cpu, Width::Long),
        _ => return None,
    })
}

/// What SYSRET and SYSEXIT return to.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Width {
    /// 32-bit code.
    Compatibility,
    /// 64-bit code.
    Long,
}

/// The fixed code segment at a privilege level: flat, execute/read, accessed.
fn flat_code(selector: u16, cpl: u8, width: Width) -> Segment {
    let size = if width == Width::Long { 0xa000 } else { 0xc000 };
    flat(selector, cpl, 0x9b | size)
}
/// The fixed stack segment: flat, read/write, accessed.
fn flat_stack(selector: u16, cpl: u8) -> Segment {
    flat(selector, cpl, 0xc093)
}
const fn flat(selector: u16, cpl: u8, rights: u32) -> Segment {
    Segment { selector: selector & !3 | cpl as u16, base: 0, limit: u32::MAX, rights: rights | (cpl as u32) << 5 }
}

/// Flags that SYSRET takes from R11.
const SYSRET_FLAGS: u64 = 0x3c_7fd7;

fn syscall(cpu: &mut Cpu, i: &Insn) -> Result<Flow, Exception> {
    if !cpu.s.is_long() || cpu.s.msr.efer & efer::SCE == 0 {
        return Err(Exception::ud());
    }
    let flags = cpu.s.flags.get();
    cpu.s.regs[Reg::Rcx as usize] = cpu.next_rip(i);
    cpu.s.regs[Reg::R11 as usize] = flags & !rflags::RF;
    let selector = (cpu.s.msr.star >> 32) as u16 & !3;
    let mask = cpu.s.msr.fmask | rflags::RF;
    let ac = flags & mask & rflags::AC;
    cpu.s.flags.set(flags & !mask);
    // SS is the next descriptor of the table; the addition does not carry out of 16 bits.
    cpu.s.set_segment(Seg::Ss, flat_stack(selector.wrapping_add(8), 0));
    let level_changes = cpu.s.cpl != 0;
    cpu.enter_code(flat_code(selector, 0, Width::Long), 0, cpu.s.msr.lstar);
    if ac != 0 && !level_changes {
        cpu.context_changed();
    }
    Ok(Flow::Jump)
}

fn sysret(cpu: &mut Cpu, width: Width) -> Result<Flow, Exception> {
    if !cpu.s.is_long() || cpu.s.msr.efer & efer::SCE == 0 {
        return Err(Exception::ud());
    }
    let target = cpu.s.regs[Reg::Rcx as usize];
    if cpu.s.cpl != 0 || (width == Width::Long && !is_canonical(&cpu.s, target)) {
        return Err(Exception::gp(0));
    }
    let flags = cpu.s.regs[Reg::R11 as usize] & SYSRET_FLAGS | rflags::FIXED;
    let selector = (cpu.s.msr.star >> 48) as u16;
    cpu.s.flags.set(flags);
    cpu.s.set_segment(Seg::Ss, flat_stack(selector.wrapping_add(8), 3));
    let (selector, rip) = match width {
        Width::Long => (selector.wrapping_add(16), target),
        Width::Compatibility => (selector, target & 0xffff_ffff),
    };
    // The level changes always, so that the new flags count for translation too.
    cpu.enter_code(flat_code(selector, 3, width), 3, rip);
    Ok(Flow::Jump)
}

fn sysenter(cpu: &mut Cpu) -> Result<Flow, Exception> {
    let selector = cpu.s.msr.sysenter_cs as u16 & !3;
    if cpu.s.is_real() || selector == 0 {
        return Err(Exception::gp(0));
    }
    let (width, mask) = if cpu.s.is_ia32e() { (Width::Long, u64::MAX) } else { (Width::Compatibility, 0xffff_ffff) };
    cpu.s.flags.set_other(rflags::VM | rflags::IF | rflags::RF, 0);
    cpu.s.regs[Reg::Rsp as usize] = cpu.s.msr.sysenter_esp & mask;
    cpu.s.set_segment(Seg::Ss, flat_stack(selector.wrapping_add(8), 0));
    cpu.enter_code(flat_code(selector, 0, width), 0, cpu.s.msr.sysenter_eip & mask);
    Ok(Flow::Jump)
}

fn sysexit(cpu: &mut Cpu, width: Width) -> Result<Flow, Exception> {
    let selector = cpu.s.msr.sysenter_cs as u16 & !3;
    if cpu.s.is_real() || selector == 0 || cpu.s.cpl != 0 {
        return Err(Exception::gp(0));
    }
    let (rsp, rip) = (cpu.s.regs[Reg::Rcx as usize], cpu.s.regs[Reg::Rdx as usize]);
    let (code, stack, mask) = match width {
        Width::Long => (32, 40, u64::MAX),
        Width::Compatibility => (16, 24, 0xffff_ffff),
    };
    if width == Width::Long && !(is_canonical(&cpu.s, rsp) && is_canonical(&cpu.s, rip)) {
        return Err(Exception::gp(0));
    }
    cpu.s.regs[Reg::Rsp as usize] = rsp & mask;
    cpu.s.set_segment(Seg::Ss, flat_stack(selector.wrapping_add(stack), 3));
    cpu.enter_code(flat_code(selector.wrapping_add(code), 3, width), 3, rip & mask);
    Ok(Flow::Jump)
}
