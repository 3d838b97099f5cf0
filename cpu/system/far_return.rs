//! Far RET. SDM volume 2, "RET - Return From Procedure".

use super::descriptor::{Descriptor, is_null, rpl, selector_code};
use super::far_transfer::check_target;
use super::stack::Stack;
use crate::events::{Exception, Flow};
use crate::state::Segment;
use crate::vcpu::Cpu;
use undercroft_decode::{Insn, Mnemonic, Reg, Seg};

/// RETF with and without immediate.
pub(super) fn execute(cpu: &mut Cpu, i: &Insn, m: Mnemonic) -> Option<Result<Flow, Exception>> {
    if m != Mnemonic::Retf {
        return None;
    }
    Some(far_return(cpu, i).map(|()| Flow::Jump))
}

fn far_return(cpu: &mut Cpu, i: &Insn) -> Result<(), Exception> {
    let size = i.size();
    let released = u64::from(i.imm as u16);
    let stack = cpu.stack();
    let rip = stack.peek(cpu, size, 0)?;
    let selector = stack.peek(cpu, size, 1)? as u16;
    let popped = 2 * size.bytes();
    if cpu.s.is_real() || cpu.s.is_v8086() {
        let cs = cpu.real_mode_segment(Seg::Cs, selector);
        if rip > u64::from(cs.limit) {
            return Err(Exception::gp(0));
        }
        cpu.s.regs[Reg::Rsp as usize] = stack.popped(popped + released);
        cpu.enter_code(cs, cpu.s.cpl, rip);
        return Ok(());
    }
    let mut code = cpu.return_code(selector)?;
    let cpl = rpl(selector);
    let cs = code.code_segment(cpl);
    if cpl == cpu.s.cpl {
        let target = check_target(cpu, &cs, rip)?;
        cpu.set_accessed(&mut code)?;
        cpu.s.regs[Reg::Rsp as usize] = stack.popped(popped + released);
        cpu.enter_code(cs, cpl, target);
        return Ok(());
    }
    // RETURN-TO-OUTER-PRIVILEGE-LEVEL.
    let sp = stack.peek_bytes(cpu, size, popped + released)?;
    let ss_selector = stack.peek_bytes(cpu, size, popped + released + size.bytes())? as u16;
    let ss = cpu.return_stack(ss_selector, &cs, Exception::ss)?;
    let target = check_target(cpu, &cs, rip)?;
    cpu.set_accessed(&mut code)?;
    cpu.set_outer_stack(ss, sp, &cs, released);
    cpu.enter_code(cs, cpl, target);
    cpu.drop_inner_segments();
    Ok(())
}

impl Cpu {
    /// The code segment that RETF or IRET goes to, after its checks.
    pub(super) fn return_code(&mut self, selector: u16) -> Result<Descriptor, Exception> {
        if is_null(selector) {
            return Err(Exception::gp(0));
        }
        let wrong = Exception::gp(selector_code(selector));
        let code = self.read_descriptor(selector, wrong)?;
        let level = rpl(selector);
        let level_fits = if code.is_conforming() { code.dpl() <= level } else { code.dpl() == level };
        if !code.is_code() || level < self.s.cpl || !level_fits || (self.s.is_ia32e() && code.is_long_and_big()) {
            return Err(wrong);
        }
        if !code.is_present() {
            return Err(Exception::np(selector_code(selector)));
        }
        Ok(code)
    }
    /// The stack segment that RETF or IRET returns to together with the code segment `cs`. A segment that is not present is what `absent`
    /// makes of its selector: `#SS` for RETF, `#NP` for IRET.
    pub(super) fn return_stack(
        &mut self,
        selector: u16,
        cs: &Segment,
        absent: fn(u32) -> Exception,
    ) -> Result<Segment, Exception> {
        let level = rpl(cs.selector);
        if is_null(selector) {
            let long = self.s.is_ia32e() && cs.is_long();
            // Also the RPL must be that of the code: a null stack of another level is refused like any other selector.
            if long && level != 3 && rpl(selector) == level {
                return Ok(Segment::null_stack(selector));
            }
            return Err(Exception::gp(0));
        }
        let code = selector_code(selector);
        self.stack_segment_for(selector, level, Exception::gp(code), absent(code))
    }
    /// Loads the stack of an outer level, `released` bytes of parameters above its pointer.
    pub(super) fn set_outer_stack(&mut self, ss: Segment, sp: u64, cs: &Segment, released: u64) {
        let old = self.s.regs[Reg::Rsp as usize];
        self.s.set_segment(Seg::Ss, ss);
        self.s.regs[Reg::Rsp as usize] = if self.s.is_ia32e() && cs.is_long() {
            sp.wrapping_add(released)
        } else {
            // A 16-bit stack leaves the upper half of ESP as it was.
            let stack = Stack::legacy(ss, if ss.is_big() { sp } else { old & 0xffff_0000 | sp & 0xffff }, 3, 0);
            stack.popped(released)
        };
    }
}
