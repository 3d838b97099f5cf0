//! Instructions that are not written over `Ops`: what concerns the system rather than values. SDM volume 2, "Operation" of each.
//!
//! Each family is a file with one entry, `execute(cpu, insn, mnemonic) -> Option<Result<Flow, Exception>>`: `None` means that the instruction is not
//! of this family. A function changes nothing architectural before its last possible exception (accessed and dirty flags aside).

mod control_register;
pub mod cpuid;
mod debug_register;
mod decimal;
pub(crate) mod descriptor;
mod descriptor_query;
mod far_return;
mod far_transfer;
mod fast_call;
mod flags_image;
mod fs_gs_base;
mod fxsave;
#[cfg(test)]
mod hostile_tests;
mod idle;
mod invalidation;
mod iret;
mod monitor;
mod msr;
mod operand;
mod port_io;
mod random;
#[cfg(test)]
mod register_tests;
mod segment_load;
mod software_interrupt;
pub(crate) mod stack;
mod stack_frame;
mod table_register;
pub(crate) mod task_switch;
#[cfg(test)]
mod task_tests;
#[cfg(test)]
mod tests;
mod timestamp;
mod wide_move;
pub(crate) mod x87;
mod xsave;

use crate::events::{Exception, Flow};
use crate::vcpu::Cpu;
use undercroft_decode::{Insn, Mnemonic};

/// One family's entry: `None` for instructions of others.
type Family = fn(&mut Cpu, &Insn, Mnemonic) -> Option<Result<Flow, Exception>>;

/// All families.
const FAMILIES: &[Family] = &[
    fast_call::execute,
    iret::execute,
    fs_gs_base::execute,
    flags_image::execute,
    idle::execute,
    segment_load::execute,
    software_interrupt::execute,
    far_transfer::execute,
    far_return::execute,
    stack_frame::execute,
    table_register::execute,
    descriptor_query::execute,
    x87::execute,
    control_register::execute,
    msr::execute,
    port_io::execute,
    timestamp::execute,
    wide_move::execute,
    invalidation::execute,
    xsave::execute,
    fxsave::execute,
    cpuid::execute,
    monitor::execute,
    random::execute,
    debug_register::execute,
    decimal::execute,
];

/// Which family a mnemonic belongs to, as far as it was met: asking each is a long way.
pub(crate) struct FamilyCache(Vec<u8>);

impl FamilyCache {
    const UNKNOWN: u8 = u8::MAX;

    /// Nothing met yet.
    pub(crate) fn new() -> FamilyCache {
        FamilyCache(vec![Self::UNKNOWN; Mnemonic::values().count()])
    }
}

/// Runs an instruction whose `op` is `Helper`. Instructions that no family knows are undefined.
pub fn execute(cpu: &mut Cpu, i: &Insn) -> Result<Flow, Exception> {
    let m = i.mnemonic();
    let known = usize::from(cpu.families.0[m as usize]);
    if let Some(family) = FAMILIES.get(known)
        && let Some(done) = family(cpu, i, m)
    {
        return done;
    }
    for (n, family) in FAMILIES.iter().enumerate() {
        if let Some(done) = family(cpu, i, m) {
            cpu.families.0[m as usize] = n as u8;
            return done;
        }
    }
    Err(Exception::ud())
}
