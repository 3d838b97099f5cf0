//! IRET in all its forms. SDM volume 2, "IRET/IRETD/IRETQ - Interrupt Return".

use super::descriptor::{in_ldt, rpl, selector_code};
use super::far_transfer::check_target;
use super::flags_image::{PLAIN, WIDE};
use super::stack::Stack;
use super::task_switch::{self, Cause};
use crate::events::{Exception, Flow};
use crate::vcpu::Cpu;
use undercroft_decode::{Insn, Mnemonic, Reg, Seg, Size};
use undercroft_spec::x86::control::{cr4, rflags as f};
use undercroft_spec::x86::descriptor::tss32;

/// IRET, IRETD, IRETQ.
pub(super) fn execute(cpu: &mut Cpu, i: &Insn, m: Mnemonic) -> Option<Result<Flow, Exception>> {
    if !matches!(m, Mnemonic::Iret | Mnemonic::Iretd | Mnemonic::Iretq) {
        return None;
    }
    // NMIs are unblocked even if the instruction faults.
    if cpu.s.nmi_blocked {
        cpu.s.nmi_blocked = false;
        cpu.attention = true;
    }
    let size = i.size();
    let done = if cpu.s.is_long() {
        from_long(cpu, size)
    } else if cpu.s.is_real() {
        from_real_mode(cpu, size)
    } else if cpu.s.is_v8086() {
        from_v8086(cpu, size)
    } else if cpu.s.flags.other() & f::NT != 0 {
        task_return(cpu, i)
    } else {
        from_protected(cpu, size)
    };
    Some(done.map(|()| Flow::Jump))
}

/// Flags that IRET loads at a privilege level, VM and what virtual-8086 mode changes apart.
fn flags_mask(cpu: &Cpu, size: Size) -> u64 {
    let cpl = cpu.s.cpl;
    let mut mask = PLAIN;
    if size != Size::B2 {
        mask |= WIDE | f::RF;
    }
    if cpl <= cpu.s.iopl() {
        mask |= f::IF;
    }
    if cpl == 0 {
        mask |= f::IOPL;
        if size != Size::B2 {
            mask |= f::VIF | f::VIP;
        }
    }
    mask
}

fn from_real_mode(cpu: &mut Cpu, size: Size) -> Result<(), Exception> {
    let stack = cpu.stack();
    let [rip, selector, flags] = pop3(cpu, &stack, size)?;
    let cs = cpu.real_mode_segment(Seg::Cs, selector as u16);
    if rip > u64::from(cs.limit) {
        return Err(Exception::gp(0));
    }
    let wide = if size == Size::B2 { 0 } else { WIDE | f::RF };
    cpu.write_flags(PLAIN | f::IF | f::IOPL | wide, flags);
    cpu.s.regs[Reg::Rsp as usize] = stack.popped(3 * size.bytes());
    cpu.enter_code(cs, 0, rip);
    Ok(())
}

fn pop3(cpu: &mut Cpu, stack: &Stack, size: Size) -> Result<[u64; 3], Exception> {
    Ok([stack.peek(cpu, size, 0)?, stack.peek(cpu, size, 1)?, stack.peek(cpu, size, 2)?])
}

/// RETURN-FROM-VIRTUAL-8086-MODE.
fn from_v8086(cpu: &mut Cpu, size: Size) -> Result<(), Exception> {
    let guarded = cpu.s.iopl() < 3;
    if guarded && (cpu.s.cr4 & cr4::VME == 0 || size != Size::B2) {
        return Err(Exception::gp(0));
    }
    let stack = cpu.stack();
    let [rip, selector, flags] = pop3(cpu, &stack, size)?;
    let cs = cpu.real_mode_segment(Seg::Cs, selector as u16);
    if rip > u64::from(cs.limit) {
        return Err(Exception::gp(0));
    }
    if guarded {
        cpu.write_virtual_flags(flags)?;
    } else {
        let wide = if size == Size::B2 { 0 } else { WIDE | f::RF };
        cpu.write_flags(PLAIN | f::IF | wide, flags);
    }
    cpu.s.regs[Reg::Rsp as usize] = stack.popped(3 * size.bytes());
    cpu.enter_code(cs, 3, rip);
    Ok(())
}

/// TASK-RETURN: to the task that the back link names.
fn task_return(cpu: &mut Cpu, i: &Insn) -> Result<(), Exception> {
    if cpu.s.is_ia32e() {
        return Err(Exception::gp(0));
    }
    let selector = cpu.load_tss(tss32::LINK, 2)? as u16;
    let wrong = Exception::ts(selector_code(selector));
    if in_ldt(selector) {
        return Err(wrong);
    }
    let tss = cpu.read_descriptor(selector, wrong)?;
    if !tss.is_busy_tss() {
        return Err(wrong);
    }
    if !tss.is_present() {
        return Err(Exception::np(selector_code(selector)));
    }
    let next = cpu.next_rip(i);
    task_switch::switch(cpu, tss, Cause::Iret, next)
}

/// PROTECTED-MODE-RETURN, from compatibility mode too.
fn from_protected(cpu: &mut Cpu, size: Size) -> Result<(), Exception> {
    let stack = cpu.stack();
    let [rip, selector, flags] = pop3(cpu, &stack, size)?;
    if flags & f::VM != 0 && cpu.s.cpl == 0 && !cpu.s.is_ia32e() && size == Size::B4 {
        return to_v8086(cpu, &stack, rip, selector as u16, flags);
    }
    let selector = selector as u16;
    let mut code = cpu.return_code(selector)?;
    let cpl = rpl(selector);
    let cs = code.code_segment(cpl);
    let mask = flags_mask(cpu, size);
    if cpl == cpu.s.cpl {
        let target = check_target(cpu, &cs, rip)?;
        cpu.set_accessed(&mut code)?;
        cpu.write_flags(mask, flags);
        cpu.s.regs[Reg::Rsp as usize] = stack.popped(3 * size.bytes());
        cpu.enter_code(cs, cpl, target);
        return Ok(());
    }
    let sp = stack.peek(cpu, size, 3)?;
    let ss_selector = stack.peek(cpu, size, 4)? as u16;
    let ss = cpu.return_stack(ss_selector, &cs, Exception::np)?;
    let target = check_target(cpu, &cs, rip)?;
    cpu.set_accessed(&mut code)?;
    cpu.write_flags(mask, flags);
    cpu.set_outer_stack(ss, sp, &cs, 0);
    cpu.enter_code(cs, cpl, target);
    cpu.drop_inner_segments();
    Ok(())
}

/// RETURN-TO-VIRTUAL-8086-MODE.
fn to_v8086(cpu: &mut Cpu, stack: &Stack, rip: u64, selector: u16, flags: u64) -> Result<(), Exception> {
    let mut rest = [0; 6];
    for (n, value) in rest.iter_mut().enumerate() {
        *value = stack.peek(cpu, Size::B4, 3 + n as u64)?;
    }
    if rip > 0xffff {
        return Err(Exception::gp(0));
    }
    let mask = PLAIN | WIDE | f::RF | f::IF | f::IOPL | f::VIF | f::VIP | f::VM;
    cpu.write_flags(mask, flags);
    let [sp, ss, es, ds, fs, gs] = rest;
    cpu.s.regs[Reg::Rsp as usize] = sp;
    for (seg, selector) in [(Seg::Ss, ss), (Seg::Es, es), (Seg::Ds, ds), (Seg::Fs, fs), (Seg::Gs, gs)] {
        let segment = cpu.real_mode_segment(seg, selector as u16);
        cpu.s.set_segment(seg, segment);
    }
    let cs = cpu.real_mode_segment(Seg::Cs, selector);
    cpu.enter_code(cs, 3, rip);
    Ok(())
}

/// IA-32e-MODE, from 64-bit code: SS and RSP are popped whether or not the level changes.
fn from_long(cpu: &mut Cpu, size: Size) -> Result<(), Exception> {
    if cpu.s.flags.other() & f::NT != 0 {
        return Err(Exception::gp(0));
    }
    let [rip, selector, flags, sp, ss] = pop5(cpu, size)?;
    let selector = selector as u16;
    let mut code = cpu.return_code(selector)?;
    let cpl = rpl(selector);
    let cs = code.code_segment(cpl);
    let ss = cpu.return_stack(ss as u16, &cs, Exception::np)?;
    let target = check_target(cpu, &cs, rip)?;
    cpu.set_accessed(&mut code)?;
    let outer = cpl != cpu.s.cpl;
    let mask = flags_mask(cpu, size);
    let old = cpu.s.flags.get();
    let new = old & !mask | flags & mask;
    cpu.s.flags.set(new);
    cpu.set_outer_stack(ss, sp, &cs, 0);
    cpu.enter_code(cs, cpl, target);
    if outer {
        cpu.drop_inner_segments();
    } else if (old ^ new) & f::AC != 0 {
        cpu.context_changed();
    }
    Ok(())
}

/// The five values of a 64-bit frame.
fn pop5(cpu: &mut Cpu, size: Size) -> Result<[u64; 5], Exception> {
    let stack = cpu.stack();
    let mut values = [0; 5];
    for (n, value) in values.iter_mut().enumerate() {
        *value = stack.peek(cpu, size, n as u64)?;
    }
    Ok(values)
}
