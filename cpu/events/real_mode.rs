//! Delivery through the interrupt vector table: in real-address mode, and of software interrupts that virtual-8086 mode hands back to the
//! 8086 program. SDM volume 3, "Interrupt and Exception Handling" of "Real-Address Mode", "Class 3 - Software Interrupt Handling in
//! Virtual-8086 Mode".

use super::delivery::flags_image;
use super::event::Event;
use super::exception::Exception;
use crate::mmu::Privilege;
use crate::vcpu::Cpu;
use undercroft_decode::{Reg, Seg, Size};
use undercroft_spec::LinearAddr;
use undercroft_spec::x86::control::rflags;

/// Delivers the event in real-address mode. There are no error codes.
pub(super) fn deliver(cpu: &mut Cpu, event: &Event) -> Result<(), Exception> {
    let index = u64::from(event.vector) * 4;
    if index + 3 > u64::from(cpu.s.idtr.limit) {
        return Err(Exception::gp(0));
    }
    let at = LinearAddr(cpu.s.idtr.base.wrapping_add(index) & 0xffff_ffff);
    let vector = cpu.load_linear(at, 4, Privilege::Implicit)?;
    let flags = flags_image(cpu, event);
    enter(cpu, vector, flags, event.return_rip)?;
    cpu.s.flags.set_other(rflags::IF | rflags::TF | rflags::RF | rflags::AC, 0);
    Ok(())
}

/// Pushes FLAGS, CS and IP, and goes to the far pointer `vector`.
fn enter(cpu: &mut Cpu, vector: u64, flags: u64, return_rip: u64) -> Result<(), Exception> {
    let cs = u64::from(cpu.s.segment(Seg::Cs).selector);
    let sp = cpu.stack().push(cpu, Size::B2, &[flags, cs, return_rip])?;
    cpu.s.regs[Reg::Rsp as usize] = sp;
    let segment = cpu.real_mode_segment(Seg::Cs, (vector >> 16) as u16);
    cpu.enter_code(segment, cpu.s.cpl, vector & 0xffff);
    Ok(())
}

/// INT n in virtual-8086 mode with CR4.VME = 1 and the vector's bit in the redirection bitmap clear: to the 8086 program's own handler.
pub(crate) fn redirect_to_8086_program(cpu: &mut Cpu, vector: u8, next_rip: u64) -> Result<(), Exception> {
    let vector = cpu.load_linear(LinearAddr(u64::from(vector) * 4), 4, Privilege::Current)?;
    let flags = cpu.s.flags.get();
    if cpu.s.iopl() == 3 {
        enter(cpu, vector, flags, next_rip)?;
        cpu.write_flags(rflags::IF | rflags::TF | rflags::RF, 0);
    } else {
        // The program sees VIF in the place of IF, and IOPL 3.
        let interrupt_flag = if flags & rflags::VIF != 0 { rflags::IF } else { 0 };
        let image = flags & !rflags::IF | rflags::IOPL | interrupt_flag;
        enter(cpu, vector, image, next_rip)?;
        cpu.write_flags(rflags::VIF | rflags::TF | rflags::RF, 0);
    }
    Ok(())
}
