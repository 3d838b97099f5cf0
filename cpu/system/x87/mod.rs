//! x87 instructions. SDM volume 1, "Programming with the x87 FPU"; volume 2, the instructions.
//!
//! Branch `x87` has an engineer of its own for this folder.

use crate::events::{Exception, Flow};
use crate::vcpu::Cpu;
use undercroft_decode::{Insn, Mnemonic};

/// The instructions of the module.
pub(super) fn execute(_cpu: &mut Cpu, _i: &Insn, _m: Mnemonic) -> Option<Result<Flow, Exception>> {
    None
}
