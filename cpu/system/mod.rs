//! Instructions that are not written over `Ops`: what concerns the system rather than values. SDM volume 2, "Operation" of each.
//!
//! Each family is a file with one entry, `execute(cpu, insn, mnemonic) -> Option<Result<Flow, Exception>>`: `None` means that the instruction is not
//! of this family. A function changes nothing architectural before its last possible exception (accessed and dirty flags aside).

pub mod cpuid;
mod fxsave;
mod msr;
mod operand;
mod xsave;

use crate::events::{Exception, Flow};
use crate::vcpu::Cpu;
use undercroft_decode::Insn;

/// Runs an instruction whose `op` is `Helper`. Instructions that no family knows are undefined.
pub fn execute(cpu: &mut Cpu, i: &Insn) -> Result<Flow, Exception> {
    let m = i.mnemonic();
    // One line for each family.
    let done = None
        .or_else(|| cpuid::execute(cpu, i, m))
        .or_else(|| msr::execute(cpu, i, m))
        .or_else(|| fxsave::execute(cpu, i, m))
        .or_else(|| xsave::execute(cpu, i, m));
    done.unwrap_or(Err(Exception::ud()))
}
