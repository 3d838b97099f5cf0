//! Far JMP and CALL: direct, through call gates, to tasks. SDM volume 2, "JMP - Jump", "CALL - Call Procedure"; volume 3, "Call Gates".

use super::descriptor::{Descriptor, in_ldt, is_null, rpl, selector_code};
use super::stack::Stack;
use super::task_switch::{self, Cause};
use crate::events::{Exception, Flow};
use crate::mmu::is_canonical;
use crate::state::Segment;
use crate::vcpu::Cpu;
use undercroft_decode::{Code, Insn, Mnemonic, Reg, Seg, Size};
use undercroft_spec::x86::descriptor::{system_type as ty, tss64};

/// The instructions of the module; near forms belong to the interpreter.
pub(super) fn execute(cpu: &mut Cpu, i: &Insn, m: Mnemonic) -> Option<Result<Flow, Exception>> {
    use Code as C;
    if !matches!(m, Mnemonic::Jmp | Mnemonic::Call) {
        return None;
    }
    let direct = |size: Size| Ok((i.imm as u32 as u64 & size.mask(), i.disp as u16, size));
    let target = match i.code() {
        C::Jmp_ptr1616 | C::Call_ptr1616 => direct(Size::B2),
        C::Jmp_ptr1632 | C::Call_ptr1632 => direct(Size::B4),
        C::Jmp_m1616 | C::Call_m1616 => indirect(cpu, i, Size::B2),
        C::Jmp_m1632 | C::Call_m1632 => indirect(cpu, i, Size::B4),
        C::Jmp_m1664 | C::Call_m1664 => indirect(cpu, i, Size::B8),
        _ => return None,
    };
    Some(target.and_then(|(offset, selector, size)| {
        let how = if m == Mnemonic::Jmp { How::Jmp } else { How::Call };
        let transfer = Transfer { how, offset, selector, size, next: cpu.next_rip(i) };
        transfer.run(cpu).map(|()| Flow::Jump)
    }))
}

fn indirect(cpu: &mut Cpu, i: &Insn, size: Size) -> Result<(u64, u16, Size), Exception> {
    if !i.has_memory() {
        return Err(Exception::ud());
    }
    cpu.load_pointer(i, size).map(|(offset, selector)| (offset, selector, size))
}

/// JMP or CALL.
#[derive(Clone, Copy, PartialEq, Eq)]
enum How {
    Jmp,
    Call,
}

/// A far JMP or CALL with its operand read.
struct Transfer {
    how: How,
    offset: u64,
    selector: u16,
    size: Size,
    /// RIP of the next instruction.
    next: u64,
}

impl Transfer {
    fn run(&self, cpu: &mut Cpu) -> Result<(), Exception> {
        if cpu.s.is_real() || cpu.s.is_v8086() {
            return self.real_mode(cpu);
        }
        if is_null(self.selector) {
            return Err(Exception::gp(0));
        }
        let wrong = Exception::gp(selector_code(self.selector));
        let d = cpu.read_descriptor(self.selector, wrong)?;
        match d.system_kind() {
            None if d.is_code() => self.to_code(cpu, d),
            Some(ty::CALL_GATE) => self.through_call_gate(cpu, d),
            Some(ty::CALL_GATE16) if !cpu.s.is_ia32e() => self.through_call_gate(cpu, d),
            Some(ty::TASK_GATE) if !cpu.s.is_ia32e() => self.through_task_gate(cpu, d),
            Some(ty::TSS_AVAILABLE | ty::TSS16_AVAILABLE) if !cpu.s.is_ia32e() => self.to_tss(cpu, d),
            _ => Err(wrong),
        }
    }

    /// REAL-ADDRESS-MODE or VIRTUAL-8086-MODE.
    fn real_mode(&self, cpu: &mut Cpu) -> Result<(), Exception> {
        let cs = cpu.real_mode_segment(Seg::Cs, self.selector);
        // A call's stack fault comes before the check of the target.
        if self.how == How::Call {
            let old = u64::from(cpu.s.segment(Seg::Cs).selector);
            if self.offset > u64::from(cs.limit) {
                cpu.stack().check_room(cpu, self.size, 2)?;
                return Err(Exception::gp(0));
            }
            cpu.push_values(self.size, &[old, self.next])?;
        }
        if self.offset > u64::from(cs.limit) {
            return Err(Exception::gp(0));
        }
        cpu.enter_code(cs, cpu.s.cpl, self.offset);
        Ok(())
    }

    /// CONFORMING-CODE-SEGMENT and NONCONFORMING-CODE-SEGMENT.
    fn to_code(&self, cpu: &mut Cpu, mut d: Descriptor) -> Result<(), Exception> {
        let wrong = Exception::gp(selector_code(self.selector));
        let cpl = cpu.s.cpl;
        if cpu.s.is_ia32e() && d.is_long_and_big() {
            return Err(wrong);
        }
        let allowed = if d.is_conforming() { d.dpl() <= cpl } else { rpl(self.selector) <= cpl && d.dpl() == cpl };
        if !allowed {
            return Err(wrong);
        }
        if !d.is_present() {
            return Err(Exception::np(selector_code(self.selector)));
        }
        let segment = d.code_segment(cpl);
        let target = check_target(cpu, &segment, self.offset)?;
        cpu.set_accessed(&mut d)?;
        if self.how == How::Call {
            let old = u64::from(cpu.s.segment(Seg::Cs).selector);
            cpu.push_values(self.size, &[old, self.next])?;
        }
        cpu.enter_code(segment, cpl, target);
        Ok(())
    }

    /// CALL-GATE.
    fn through_call_gate(&self, cpu: &mut Cpu, gate: Descriptor) -> Result<(), Exception> {
        let gate_wrong = Exception::gp(selector_code(self.selector));
        let cpl = cpu.s.cpl;
        if gate.dpl() < cpl || rpl(self.selector) > gate.dpl() {
            return Err(gate_wrong);
        }
        if !gate.is_present() {
            return Err(Exception::np(selector_code(self.selector)));
        }
        let long = cpu.s.is_ia32e();
        let mut offset = gate.gate_offset();
        let size = match gate.kind() {
            _ if long => Size::B8,
            ty::CALL_GATE => Size::B4,
            _ => Size::B2,
        };
        if long {
            offset |= cpu.read_upper_descriptor(&gate, gate_wrong)? << 32;
        }
        let selector = gate.gate_selector();
        if is_null(selector) {
            return Err(Exception::gp(0));
        }
        let wrong = Exception::gp(selector_code(selector));
        let mut code = cpu.read_descriptor(selector, wrong)?;
        let level_fits = match self.how {
            How::Jmp if !code.is_conforming() => code.dpl() == cpl,
            _ => code.dpl() <= cpl,
        };
        let wide_fits = !long || (code.is_long() && !code.is_long_and_big());
        if !code.is_code() || !level_fits || !wide_fits {
            return Err(wrong);
        }
        if !code.is_present() {
            return Err(Exception::np(selector_code(selector)));
        }
        let offset = offset & size.mask();
        match self.how {
            How::Call if !code.is_conforming() && code.dpl() < cpl => self.to_inner(cpu, &gate, code, offset, size),
            _ => {
                let segment = code.code_segment(cpl);
                let target = check_target(cpu, &segment, offset)?;
                cpu.set_accessed(&mut code)?;
                if self.how == How::Call {
                    let old = u64::from(cpu.s.segment(Seg::Cs).selector);
                    // The stack is that of the mode that is left: in compatibility mode not yet a 64-bit one.
                    cpu.push_values(size, &[old, self.next])?;
                }
                cpu.enter_code(segment, cpl, target);
                Ok(())
            }
        }
    }

    /// MORE-PRIVILEGE: a call to an inner level, with a stack switch and, outside IA-32e mode, a copy of parameters.
    fn to_inner(
        &self,
        cpu: &mut Cpu,
        gate: &Descriptor,
        mut code: Descriptor,
        offset: u64,
        size: Size,
    ) -> Result<(), Exception> {
        let cpl = code.dpl();
        let segment = code.code_segment(cpl);
        let old_cs = u64::from(cpu.s.segment(Seg::Cs).selector);
        let old_ss = u64::from(cpu.s.segment(Seg::Ss).selector);
        let old_sp = cpu.s.regs[Reg::Rsp as usize];
        let mut frame = [0; 35];
        let (stack, len) = if size == Size::B8 {
            let sp = cpu.long_stack_pointer(tss64::RSP0 + u64::from(cpl) * 8)?;
            frame[..4].copy_from_slice(&[old_ss, old_sp, old_cs, self.next]);
            (Stack::long(Segment::null_stack(u16::from(cpl)), sp, cpl), 4)
        } else {
            let (ss, sp) = cpu.inner_stack(cpl)?;
            let count = (gate.raw >> 32 & 31) as usize;
            frame[..2].copy_from_slice(&[old_ss, old_sp]);
            let old = cpu.stack();
            for n in 0..count {
                frame[2 + n] = old.peek(cpu, size, (count - 1 - n) as u64)?;
            }
            frame[2 + count..4 + count].copy_from_slice(&[old_cs, self.next]);
            (Stack::legacy(ss, sp, cpl, selector_code(ss.selector)), 4 + count)
        };
        let target = check_target(cpu, &segment, offset)?;
        cpu.set_accessed(&mut code)?;
        let sp = stack.push(cpu, size, &frame[..len])?;
        cpu.s.set_segment(Seg::Ss, stack.ss);
        cpu.s.regs[Reg::Rsp as usize] = sp;
        cpu.enter_code(segment, cpl, target);
        Ok(())
    }

    /// TASK-GATE.
    fn through_task_gate(&self, cpu: &mut Cpu, gate: Descriptor) -> Result<(), Exception> {
        if gate.dpl() < cpu.s.cpl || rpl(self.selector) > gate.dpl() {
            return Err(Exception::gp(selector_code(self.selector)));
        }
        if !gate.is_present() {
            return Err(Exception::np(selector_code(self.selector)));
        }
        let selector = gate.gate_selector();
        let wrong = Exception::gp(selector_code(selector));
        if in_ldt(selector) {
            return Err(wrong);
        }
        let tss = cpu.read_descriptor(selector, wrong)?;
        self.switch(cpu, tss)
    }

    /// TASK-STATE-SEGMENT.
    fn to_tss(&self, cpu: &mut Cpu, tss: Descriptor) -> Result<(), Exception> {
        if tss.dpl() < cpu.s.cpl || rpl(self.selector) > tss.dpl() || in_ldt(self.selector) {
            return Err(Exception::gp(selector_code(self.selector)));
        }
        self.switch(cpu, tss)
    }

    fn switch(&self, cpu: &mut Cpu, tss: Descriptor) -> Result<(), Exception> {
        if !tss.is_available_tss() {
            return Err(Exception::gp(selector_code(tss.selector)));
        }
        if !tss.is_present() {
            return Err(Exception::np(selector_code(tss.selector)));
        }
        let cause = if self.how == How::Jmp { Cause::Jmp } else { Cause::Call };
        task_switch::switch(cpu, tss, cause, self.next)
    }
}

/// The target in a code segment that is about to be loaded: `#GP(0)` beyond its limit, or if it is not canonical.
pub(super) fn check_target(cpu: &Cpu, segment: &Segment, offset: u64) -> Result<u64, Exception> {
    let long = cpu.s.is_ia32e() && segment.is_long();
    let target = if long { offset } else { offset & 0xffff_ffff };
    let fits = if long { is_canonical(&cpu.s, target) } else { target <= u64::from(segment.limit) };
    if fits { Ok(target) } else { Err(Exception::gp(0)) }
}
