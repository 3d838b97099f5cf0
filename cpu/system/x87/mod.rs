//! x87 instructions. SDM volume 1, "Programming with the x87 FPU"; volume 2, the instructions.
//!
//! | file | what |
//! | --- | --- |
//! | `stack` | the register stack, tags, raising of exceptions |
//! | `arithmetic` | FADD to FDIVR in all forms |
//! | `transfer` | loads, stores, FXCH, FCMOVcc, constants, moves of TOP |
//! | `compare` | FCOM and its relatives, FTST, FXAM |
//! | `function` | FSQRT, FRNDINT, FSCALE, FXTRACT, FPREM, FABS, FCHS, transcendentals |
//! | `control` | control and status word, FNINIT, FNCLEX, WAIT |
//! | `environment` | FNSTENV, FLDENV, FNSAVE, FRSTOR |
//! | `quick` | the common instructions once more for the interpreter's handlers, where nothing is out of the ordinary |
//!
//! What the manual leaves to implementations: the opcode (FOP) is kept of instructions with an unmasked exception only, as "Fopcode
//! Compatibility Sub-mode" describes for processors without IA32_MISC_ENABLE[2]; the data pointer stays when an instruction has no memory
//! operand; a store that an unmasked exception stops raises the faults of its memory operand all the same.

mod arithmetic;
mod compare;
mod control;
mod environment;
mod function;
mod quick;
mod stack;
#[cfg(test)]
mod tests;
mod transfer;

pub(crate) use quick::handler;

use crate::events::{Exception, Flow};
use crate::mmu::Privilege;
use crate::vcpu::Cpu;
use undercroft_decode::{Code, Insn, Mnemonic, Reg, Seg};
use undercroft_spec::LinearAddr;
use undercroft_spec::x86::control::cr0;
use undercroft_walk::AccessKind;

/// What an instruction does after the checks that all have in common. On an exception nothing has changed.
type Body = fn(&mut Cpu, &Insn) -> Result<(), Exception>;

/// An instruction, by what is done around its body.
#[derive(Clone, Copy)]
enum Entry {
    /// Reports no pending exception and leaves the pointers: FNINIT, FNSTSW and others whose names begin with FN.
    NoWait(Body),
    /// Reports a pending exception, leaves the pointers: FLDCW, FLDENV, FRSTOR.
    Control(Body),
    /// Reports a pending exception and moves the instruction and data pointers.
    Computing(Body),
    /// WAIT.
    Wait,
}

fn entry(code: Code) -> Option<Entry> {
    if code == Code::Wait {
        return Some(Entry::Wait);
    }
    let computing = arithmetic::body(code)
        .or_else(|| transfer::body(code))
        .or_else(|| compare::body(code))
        .or_else(|| function::body(code));
    computing.map(Entry::Computing).or_else(|| control::entry(code)).or_else(|| environment::entry(code))
}

/// The instructions of the module.
pub(super) fn execute(cpu: &mut Cpu, i: &Insn, _m: Mnemonic) -> Option<Result<Flow, Exception>> {
    entry(i.code()).map(|entry| run(cpu, i, entry))
}

fn run(cpu: &mut Cpu, i: &Insn, entry: Entry) -> Result<Flow, Exception> {
    // CR0.EM does not concern WAIT. SDM volume 2, "WAIT/FWAIT".
    let trapped = match entry {
        Entry::Wait => cpu.s.cr0 & (cr0::MP | cr0::TS) == cr0::MP | cr0::TS,
        _ => cpu.s.cr0 & (cr0::EM | cr0::TS) != 0,
    };
    if trapped {
        return Err(Exception::nm());
    }
    if !matches!(entry, Entry::NoWait(_)) && report_pending(cpu)? {
        return Ok(Flow::Again);
    }
    match entry {
        Entry::NoWait(body) | Entry::Control(body) => body(cpu, i)?,
        Entry::Computing(body) => {
            body(cpu, i)?;
            note_pointers(cpu, i);
        }
        Entry::Wait => {}
    }
    Ok(Flow::Next)
}

/// An exception that an earlier instruction left pending is reported now: `#MF`, or with CR0.NE = 0 by FERR#. True: the processor waits for the
/// interrupt that the machine makes of FERR#. SDM volume 1, "Software Exception Handling"; appendix "MS-DOS* Compatibility Sub-mode".
pub(crate) fn report_pending(cpu: &mut Cpu) -> Result<bool, Exception> {
    if cpu.s.fpu.status & stack::ES == 0 {
        return Ok(false);
    }
    if cpu.s.cr0 & cr0::NE != 0 {
        return Err(Exception::mf());
    }
    let now = cpu.now;
    cpu.listen = true;
    cpu.attention = true;
    Ok(!cpu.bus.floating_point_error(now))
}

/// FIP, FDP and, if an exception is now pending, FOP. SDM volume 1, "x87 FPU Instruction and Data (Operand) Pointers".
fn note_pointers(cpu: &mut Cpu, i: &Insn) {
    cpu.s.fpu.instruction = cpu.s.rip;
    cpu.s.fpu.instruction_selector = cpu.s.segment(Seg::Cs).selector;
    if i.has_memory() {
        cpu.s.fpu.data = cpu.effective_address(i);
        cpu.s.fpu.data_selector = cpu.s.segment(i.seg).selector;
    }
    if cpu.s.fpu.status & stack::ES != 0 {
        note_opcode(cpu, i);
    }
}

/// FOP from the instruction's bytes, since decoded instructions do not keep them: the low three bits of the first byte and the ModR/M byte.
#[cold]
fn note_opcode(cpu: &mut Cpu, i: &Insn) {
    let mut bytes = [0; 15];
    let base = if cpu.s.is_long() { 0 } else { cpu.s.segment(Seg::Cs).base };
    for (n, byte) in bytes.iter_mut().enumerate().take(usize::from(i.len)) {
        let linear = base.wrapping_add(cpu.s.rip).wrapping_add(n as u64);
        let linear = LinearAddr(if cpu.s.is_long() { linear } else { linear & 0xffff_ffff });
        // The instruction was fetched, so this does not fail.
        let Ok(pa) = cpu.translate(linear, AccessKind::Fetch, Privilege::Current) else { return };
        cpu.phys_read_bytes(pa, std::slice::from_mut(byte));
    }
    if let Some(at) = bytes.iter().position(|byte| byte & 0xf8 == 0xd8)
        && let Some(modrm) = bytes.get(at + 1)
    {
        cpu.s.fpu.opcode = u16::from(bytes[at] & 7) << 8 | u16::from(*modrm);
    }
}

/// The stack register that a slot names.
#[inline(always)]
fn number(r: Reg) -> u8 {
    r.number() & 7
}

impl Cpu {
    /// Linear address of an x87 memory operand of `len` bytes whose alignment, if checked, is `align`. SDM volume 3, "Alignment Check Exception
    /// (#AC)", table "Alignment Requirements by Data Type".
    fn x87_operand(&self, i: &Insn, len: u64, align: u64, access: AccessKind) -> Result<LinearAddr, Exception> {
        let write = access == AccessKind::Write;
        let linear = self.segment_address(i.seg, self.effective_address(i), len, write)?;
        self.check_alignment(linear, align)?;
        Ok(linear)
    }
    fn x87_load_bytes<const N: usize>(&mut self, i: &Insn, align: u64) -> Result<[u8; N], Exception> {
        let linear = self.x87_operand(i, N as u64, align, AccessKind::Read)?;
        let mut bytes = [0; N];
        self.load_linear_bytes(linear, &mut bytes, Privilege::Current)?;
        Ok(bytes)
    }
    fn x87_store_bytes(&mut self, i: &Insn, align: u64, bytes: &[u8]) -> Result<(), Exception> {
        let linear = self.x87_operand(i, bytes.len() as u64, align, AccessKind::Write)?;
        self.store_linear_bytes(linear, bytes, Privilege::Current)
    }
}
