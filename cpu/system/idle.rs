//! HLT and PAUSE. SDM volume 2.

use crate::events::{Exception, Flow};
use crate::state::Activity;
use crate::vcpu::Cpu;
use undercroft_decode::{Insn, Mnemonic};

/// The instructions of the module.
pub(super) fn execute(cpu: &mut Cpu, _i: &Insn, m: Mnemonic) -> Option<Result<Flow, Exception>> {
    Some(match m {
        Mnemonic::Hlt if cpu.s.cpl != 0 => Err(Exception::gp(0)),
        Mnemonic::Hlt => {
            cpu.s.activity = Activity::Halted;
            cpu.attention = true;
            Ok(Flow::Next)
        }
        Mnemonic::Pause => {
            // Somebody waits for another processor: its turn may come.
            cpu.attention = true;
            cpu.yields = true;
            Ok(Flow::Next)
        }
        _ => return None,
    })
}
