//! Delivery through a gate of protected mode's IDT, from virtual-8086 mode too. SDM volume 2, "INT n/INTO/INT3/INT1 - Call to Interrupt
//! Procedure", PROTECTED-MODE and below; volume 3, "Exception and Interrupt Handling" and "Virtual-8086 Mode".

use super::delivery::flags_image;
use super::event::Event;
use super::exception::Exception;
use crate::mmu::Privilege;
use crate::state::Segment;
use crate::system::descriptor::{Descriptor, is_null, selector_code};
use crate::system::stack::Stack;
use crate::vcpu::Cpu;
use undercroft_decode::{Reg, Seg, Size};
use undercroft_spec::LinearAddr;
use undercroft_spec::x86::control::rflags;
use undercroft_spec::x86::descriptor::{system_type as ty, tss16, tss32};
use undercroft_spec::x86::selector_error;

/// Delivers the event; on failure nothing has changed. Error codes come without EXT, which the caller adds.
pub(super) fn deliver(cpu: &mut Cpu, event: &Event) -> Result<(), Exception> {
    let gate = read_gate(cpu, event)?;
    let kind = gate.kind();
    if kind == ty::TASK_GATE {
        return crate::system::task_switch::through_interrupt_gate(cpu, gate.gate_selector(), event);
    }
    let size = if matches!(kind, ty::INTERRUPT_GATE | ty::TRAP_GATE) { Size::B4 } else { Size::B2 };
    let code = handler_code(cpu, gate.gate_selector())?;
    let rip = gate.gate_offset() & size.mask();
    let from_v8086 = cpu.s.is_v8086();
    let inner = !code.is_conforming() && code.dpl() < cpu.s.cpl;
    if from_v8086 && (!inner || code.dpl() != 0) {
        return Err(Exception::gp(selector_code(code.selector)));
    }
    if inner {
        to_inner(cpu, event, size, code, rip)?
    } else {
        to_same(cpu, event, size, code, rip)?
    }
    if from_v8086 {
        for seg in [Seg::Es, Seg::Ds, Seg::Fs, Seg::Gs] {
            cpu.s.set_segment(seg, Segment::null(0));
        }
    }
    let interrupt_flag = if matches!(kind, ty::INTERRUPT_GATE | ty::INTERRUPT_GATE16) { rflags::IF } else { 0 };
    cpu.s.flags.set_other(rflags::TF | rflags::NT | rflags::RF | rflags::VM | interrupt_flag, 0);
    Ok(())
}

/// The gate, after the checks of the gate itself.
fn read_gate(cpu: &mut Cpu, event: &Event) -> Result<Descriptor, Exception> {
    let index = u64::from(event.vector) * 8;
    let code = index as u32 | selector_error::IDT;
    if index + 7 > u64::from(cpu.s.idtr.limit) {
        return Err(Exception::gp(code));
    }
    let at = LinearAddr(cpu.s.idtr.base.wrapping_add(index) & 0xffff_ffff);
    let raw = cpu.load_linear(at, 8, Privilege::Implicit)?;
    let gate = Descriptor { raw, at, selector: 0 };
    let is_gate = matches!(
        gate.system_kind(),
        Some(ty::TASK_GATE | ty::INTERRUPT_GATE16 | ty::TRAP_GATE16 | ty::INTERRUPT_GATE | ty::TRAP_GATE)
    );
    if !is_gate || (event.kind.is_software() && gate.dpl() < cpu.s.cpl) {
        return Err(Exception::gp(code));
    }
    if !gate.is_present() {
        return Err(Exception::np(code));
    }
    Ok(gate)
}

/// The handler's code segment, after its checks.
fn handler_code(cpu: &mut Cpu, selector: u16) -> Result<Descriptor, Exception> {
    if is_null(selector) {
        return Err(Exception::gp(0));
    }
    let wrong = Exception::gp(selector_code(selector));
    let code = cpu.read_descriptor(selector, wrong)?;
    if !code.is_code() || code.dpl() > cpu.s.cpl {
        return Err(wrong);
    }
    if !code.is_present() {
        return Err(Exception::np(selector_code(selector)));
    }
    Ok(code)
}

/// INTER-PRIVILEGE-LEVEL-INTERRUPT, and INTERRUPT-FROM-VIRTUAL-8086-MODE, which pushes the data segment registers first.
fn to_inner(cpu: &mut Cpu, event: &Event, size: Size, mut code: Descriptor, rip: u64) -> Result<(), Exception> {
    let cpl = code.dpl();
    let (ss, sp) = cpu.inner_stack(cpl)?;
    let code_segment = code.code_segment(cpl);
    if rip > u64::from(code_segment.limit) {
        return Err(Exception::gp(0));
    }
    cpu.set_accessed(&mut code)?;
    let selector = |seg: Seg| u64::from(cpu.s.segment(seg).selector);
    let mut frame = [0; 10];
    let mut len = 0;
    let mut put = |value: u64| {
        frame[len] = value;
        len += 1;
    };
    if cpu.s.is_v8086() {
        for seg in [Seg::Gs, Seg::Fs, Seg::Ds, Seg::Es] {
            put(selector(seg));
        }
    }
    put(selector(Seg::Ss));
    put(cpu.s.regs[Reg::Rsp as usize]);
    put(flags_image(cpu, event));
    put(selector(Seg::Cs));
    put(event.return_rip);
    if let Some(error) = event.error_code {
        put(u64::from(error));
    }
    let stack = Stack::legacy(ss, sp, cpl, selector_code(ss.selector));
    let vm = cpu.s.flags.other() & rflags::VM;
    // The new stack is that of protected mode.
    cpu.s.flags.set_other(rflags::VM, 0);
    let pushed = stack.push(cpu, size, &frame[..len]);
    cpu.s.flags.set_other(rflags::VM, vm);
    let sp = pushed?;
    cpu.s.set_segment(Seg::Ss, ss);
    cpu.s.regs[Reg::Rsp as usize] = sp;
    cpu.enter_code(code_segment, cpl, rip);
    Ok(())
}

/// INTRA-PRIVILEGE-LEVEL-INTERRUPT.
fn to_same(cpu: &mut Cpu, event: &Event, size: Size, mut code: Descriptor, rip: u64) -> Result<(), Exception> {
    let cpl = cpu.s.cpl;
    let code_segment = code.code_segment(cpl);
    if rip > u64::from(code_segment.limit) {
        return Err(Exception::gp(0));
    }
    cpu.set_accessed(&mut code)?;
    let frame = [
        flags_image(cpu, event),
        u64::from(cpu.s.segment(Seg::Cs).selector),
        event.return_rip,
        u64::from(event.error_code.unwrap_or(0)),
    ];
    let pushed = if event.error_code.is_some() { &frame[..] } else { &frame[..3] };
    let sp = cpu.stack().push(cpu, size, pushed)?;
    cpu.s.regs[Reg::Rsp as usize] = sp;
    cpu.enter_code(code_segment, cpl, rip);
    Ok(())
}

impl Cpu {
    /// SS and ESP of an inner privilege level, from the 16- or 32-bit TSS, SS checked: what calls and interrupts switch to.
    pub(crate) fn inner_stack(&mut self, level: u8) -> Result<(Segment, u64), Exception> {
        let in_tss = Exception::ts(selector_code(self.s.tr.selector));
        let limit = u64::from(self.s.tr.limit);
        let (selector, sp) = if matches!(self.s.tr.kind(), ty::TSS_BUSY | ty::TSS_AVAILABLE) {
            let at = tss32::ESP0 + u64::from(level) * 8;
            if at + 5 > limit {
                return Err(in_tss);
            }
            (self.load_tss(at + 4, 2)?, self.load_tss(at, 4)?)
        } else {
            let at = tss16::SP0 + u64::from(level) * 4;
            if at + 3 > limit {
                return Err(in_tss);
            }
            (self.load_tss(at + 2, 2)?, self.load_tss(at, 2)?)
        };
        let selector = selector as u16;
        if is_null(selector) {
            return Err(Exception::ts(0));
        }
        let code = selector_code(selector);
        let ss = self.stack_segment_for(selector, level, Exception::ts(code), Exception::ss(code))?;
        Ok((ss, sp))
    }
}
