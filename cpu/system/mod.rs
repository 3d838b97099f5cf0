//! Instructions that are not written over `Ops`: what concerns the system rather than values. SDM volume 2, "Operation" of each.
//!
//! Each family is a file with one entry, `execute(cpu, insn, mnemonic) -> Option<Result<Flow, Exception>>`: `None` means that the instruction is not
//! of this family. A function changes nothing architectural before its last possible exception (accessed and dirty flags aside).

pub mod cpuid;
pub(crate) mod descriptor;
mod descriptor_query;
mod far_return;
mod far_transfer;
mod fast_call;
mod flags_image;
mod fs_gs_base;
mod fxsave;
mod idle;
mod iret;
mod msr;
mod operand;
mod segment_load;
mod software_interrupt;
pub(crate) mod stack;
mod stack_frame;
mod table_register;
pub(crate) mod task_switch;
#[cfg(test)]
mod tests;
mod x87;
mod xsave;

use crate::events::{Exception, Flow};
use crate::vcpu::Cpu;
use undercroft_decode::Insn;

/// Runs an instruction whose `op` is `Helper`. Instructions that no family knows are undefined.
pub fn execute(cpu: &mut Cpu, i: &Insn) -> Result<Flow, Exception> {
    let m = i.mnemonic();
    // One line for each family, those that kernels use most first.
    let done = fast_call::execute(cpu, i, m)
        .or_else(|| iret::execute(cpu, i, m))
        .or_else(|| fs_gs_base::execute(cpu, i, m))
        .or_else(|| flags_image::execute(cpu, i, m))
        .or_else(|| idle::execute(cpu, i, m))
        .or_else(|| segment_load::execute(cpu, i, m))
        .or_else(|| software_interrupt::execute(cpu, i, m))
        .or_else(|| far_transfer::execute(cpu, i, m))
        .or_else(|| far_return::execute(cpu, i, m))
        .or_else(|| stack_frame::execute(cpu, i, m))
        .or_else(|| table_register::execute(cpu, i, m))
        .or_else(|| descriptor_query::execute(cpu, i, m))
        .or_else(|| x87::execute(cpu, i, m))
        .or_else(|| msr::execute(cpu, i, m))
        .or_else(|| xsave::execute(cpu, i, m))
        .or_else(|| fxsave::execute(cpu, i, m))
        .or_else(|| cpuid::execute(cpu, i, m));
    done.unwrap_or(Err(Exception::ud()))
}
