//! RFLAGS as a whole and its system flags: PUSHF, POPF, CLI, STI, STAC, CLAC. SDM volume 2; volume 3, "Protected-Mode Virtual Interrupts".

use crate::events::{Exception, Flow};
use crate::vcpu::Cpu;
use undercroft_decode::{Insn, Mnemonic, Reg, Size};
use undercroft_spec::x86::control::{cr4, rflags as f};

/// Flags of every POPF and IRET.
pub(super) const PLAIN: u64 = f::ARITHMETIC | f::TF | f::DF | f::NT;
/// Flags that 32- and 64-bit images have besides, RF apart.
pub(super) const WIDE: u64 = f::AC | f::ID;

/// The instructions of the module.
pub(super) fn execute(cpu: &mut Cpu, i: &Insn, m: Mnemonic) -> Option<Result<Flow, Exception>> {
    use Mnemonic as M;
    Some(match m {
        M::Pushf | M::Pushfd | M::Pushfq => pushf(cpu, i),
        M::Popf | M::Popfd | M::Popfq => popf(cpu, i),
        M::Cli => cli(cpu),
        M::Sti => sti(cpu),
        M::Stac => alignment_check_flag(cpu, f::AC),
        M::Clac => alignment_check_flag(cpu, 0),
        _ => return None,
    })
}

/// Virtual-8086 mode with IOPL below 3, where IF is not the program's.
fn is_guarded_v8086(cpu: &Cpu) -> bool {
    cpu.s.is_v8086() && cpu.s.iopl() < 3
}

fn pushf(cpu: &mut Cpu, i: &Insn) -> Result<Flow, Exception> {
    let flags = cpu.s.flags.get();
    let image = if is_guarded_v8086(cpu) {
        if cpu.s.cr4 & cr4::VME == 0 || i.size() != Size::B2 {
            return Err(Exception::gp(0));
        }
        virtual_image(flags)
    } else {
        flags & !(f::RF | f::VM)
    };
    cpu.push_values(i.size(), &[image])?;
    Ok(Flow::Next)
}

/// What an 8086 program with virtual interrupts sees: VIF in the place of IF, and IOPL 3.
fn virtual_image(flags: u64) -> u64 {
    let interrupt_flag = if flags & f::VIF != 0 { f::IF } else { 0 };
    flags & !f::IF | f::IOPL | interrupt_flag
}

fn popf(cpu: &mut Cpu, i: &Insn) -> Result<Flow, Exception> {
    let size = i.size();
    let guarded = is_guarded_v8086(cpu);
    if guarded && (cpu.s.cr4 & cr4::VME == 0 || size != Size::B2) {
        return Err(Exception::gp(0));
    }
    let stack = cpu.stack();
    let image = stack.peek(cpu, size, 0)?;
    if guarded {
        cpu.write_virtual_flags(image)?;
    } else {
        let mut mask = PLAIN | if size == Size::B2 { 0 } else { WIDE };
        if cpu.s.cpl <= cpu.s.iopl() {
            mask |= f::IF;
        }
        if cpu.s.cpl == 0 {
            mask |= f::IOPL;
        }
        cpu.write_flags(mask, image);
    }
    cpu.s.flags.set_other(f::RF, 0);
    cpu.s.regs[Reg::Rsp as usize] = stack.popped(size.bytes());
    Ok(Flow::Next)
}

fn cli(cpu: &mut Cpu) -> Result<Flow, Exception> {
    cpu.s.flags.set_other(interrupt_flag(cpu)?, 0);
    cpu.attention = true;
    Ok(Flow::Next)
}

fn sti(cpu: &mut Cpu) -> Result<Flow, Exception> {
    let flag = interrupt_flag(cpu)?;
    let old = cpu.s.flags.other();
    if flag == f::VIF && old & f::VIP != 0 {
        return Err(Exception::gp(0));
    }
    cpu.s.flags.set_other(flag, flag);
    if flag == f::IF && old & f::IF == 0 {
        cpu.s.sti_shadow = true;
    }
    cpu.attention = true;
    Ok(Flow::Next)
}

/// The flag that CLI and STI change: IF, or VIF where interrupts are virtual. `#GP(0)` where neither may be changed.
fn interrupt_flag(cpu: &Cpu) -> Result<u64, Exception> {
    let s = &cpu.s;
    if s.is_real() || s.cpl <= s.iopl() {
        return Ok(f::IF);
    }
    let virtual_interrupts = if s.is_v8086() { s.cr4 & cr4::VME != 0 } else { s.cpl == 3 && s.cr4 & cr4::PVI != 0 };
    if virtual_interrupts { Ok(f::VIF) } else { Err(Exception::gp(0)) }
}

fn alignment_check_flag(cpu: &mut Cpu, value: u64) -> Result<Flow, Exception> {
    if cpu.s.cpl != 0 {
        return Err(Exception::ud());
    }
    cpu.write_flags(f::AC, value);
    Ok(Flow::Next)
}

impl Cpu {
    /// Writes the 16-bit FLAGS of an 8086 program with virtual interrupts (POPF and IRET with IOPL < 3 and CR4.VME = 1).
    pub(super) fn write_virtual_flags(&mut self, image: u64) -> Result<(), Exception> {
        let pending = self.s.flags.other() & f::VIP != 0;
        if image & f::TF != 0 || (pending && image & f::IF != 0) {
            return Err(Exception::gp(0));
        }
        let vif = if image & f::IF != 0 { f::VIF } else { 0 };
        self.write_flags(PLAIN | f::VIF, image & PLAIN | vif);
        Ok(())
    }
}
