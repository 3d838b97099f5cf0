//! Delivery through a gate of IA-32e mode's IDT. SDM volume 3, "Exception and Interrupt Handling in 64-bit Mode".

use super::delivery::flags_image;
use super::event::Event;
use super::exception::Exception;
use crate::mmu::{Privilege, is_canonical};
use crate::state::Segment;
use crate::system::descriptor::{is_null, selector_code};
use crate::system::stack::Stack;
use crate::vcpu::Cpu;
use undercroft_decode::{Reg, Seg, Size};
use undercroft_spec::LinearAddr;
use undercroft_spec::x86::control::rflags;
use undercroft_spec::x86::descriptor::{system_type, tss64};
use undercroft_spec::x86::selector_error;

/// Delivers the event; on failure nothing has changed. Error codes come without EXT, which the caller adds.
pub(super) fn deliver(cpu: &mut Cpu, event: &Event) -> Result<(), Exception> {
    let level = cpu.s.cpl;
    // The tables are read as a supervisor anyway; at level 0 their translations are found where the handler's will be.
    cpu.set_cpl(0);
    let done = deliver_from(cpu, event, level);
    if done.is_err() {
        cpu.set_cpl(level);
    }
    done
}

fn deliver_from(cpu: &mut Cpu, event: &Event, level: u8) -> Result<(), Exception> {
    // The gate.
    let index = u64::from(event.vector) * 16;
    let gate_code = u32::from(event.vector) << 3 | selector_error::IDT;
    if index + 15 > u64::from(cpu.s.idtr.limit) {
        return Err(Exception::gp(gate_code));
    }
    let at = LinearAddr(cpu.s.idtr.base.wrapping_add(index));
    let low = cpu.load_linear(at, 8, Privilege::Implicit)?;
    let high = cpu.load_linear(at.wrapping_add(8), 8, Privilege::Implicit)?;
    let kind = (low >> 40 & 0x1f) as u8;
    // S = 0 and the type; bits 12:8 of the fourth doubleword must be zero.
    if !matches!(kind, system_type::INTERRUPT_GATE | system_type::TRAP_GATE) || high >> 40 & 0x1f != 0 {
        return Err(Exception::gp(gate_code));
    }
    if event.kind.is_software() && ((low >> 45 & 3) as u8) < level {
        return Err(Exception::gp(gate_code));
    }
    if low >> 47 & 1 == 0 {
        return Err(Exception::np(gate_code));
    }
    let rip = low & 0xffff | low >> 32 & 0xffff_0000 | high << 32;
    // The code segment.
    let selector = (low >> 16) as u16;
    if is_null(selector) {
        return Err(Exception::gp(0));
    }
    let wrong = Exception::gp(selector_code(selector));
    let mut code = cpu.read_descriptor(selector, wrong)?;
    if !code.is_code() || code.dpl() > level || !code.is_long() || code.is_long_and_big() {
        return Err(wrong);
    }
    if !code.is_present() {
        return Err(Exception::np(selector_code(selector)));
    }
    let inner = !code.is_conforming() && code.dpl() < level;
    let cpl = if inner { code.dpl() } else { level };
    // The stack.
    let ist = low >> 32 & 7;
    let old_sp = cpu.s.regs[Reg::Rsp as usize];
    let sp = match (ist, inner) {
        (0, false) => old_sp,
        (0, true) => cpu.long_stack_pointer(tss64::RSP0 + u64::from(cpl) * 8)?,
        _ => cpu.long_stack_pointer(tss64::IST1 + (ist - 1) * 8)?,
    };
    if !is_canonical(&cpu.s, rip) {
        return Err(Exception::gp(0));
    }
    cpu.set_accessed(&mut code)?;
    let old_ss = *cpu.s.segment(Seg::Ss);
    let new_ss = if inner { Segment::null_stack(u16::from(cpl)) } else { old_ss };
    let flags = flags_image(cpu, event);
    let cs = u64::from(cpu.s.segment(Seg::Cs).selector);
    let frame =
        [u64::from(old_ss.selector), old_sp, flags, cs, event.return_rip, u64::from(event.error_code.unwrap_or(0))];
    let pushed = if event.error_code.is_some() { &frame[..] } else { &frame[..5] };
    let sp = Stack::long(new_ss, sp & !15, cpl).push(cpu, Size::B8, pushed)?;
    // Nothing fails from here on.
    cpu.s.regs[Reg::Rsp as usize] = sp;
    if inner {
        cpu.s.set_segment(Seg::Ss, new_ss);
    }
    let interrupt_flag = if kind == system_type::INTERRUPT_GATE { rflags::IF } else { 0 };
    cpu.s.flags.set_other(rflags::TF | rflags::NT | rflags::RF | rflags::VM | interrupt_flag, 0);
    cpu.enter_code(code.code_segment(cpl), cpl, rip);
    Ok(())
}

impl Cpu {
    /// A stack pointer of the 64-bit TSS. `#TS` with TR's selector beyond the limit, `#SS(0)` if it is not canonical.
    pub(crate) fn long_stack_pointer(&mut self, offset: u64) -> Result<u64, Exception> {
        if offset + 7 > u64::from(self.s.tr.limit) {
            return Err(Exception::ts(selector_code(self.s.tr.selector)));
        }
        let sp = self.load_tss(offset, 8)?;
        if !is_canonical(&self.s, sp) {
            return Err(Exception::ss(0));
        }
        Ok(sp)
    }
}
