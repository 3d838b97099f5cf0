//! What happens between instructions. SDM volume 3, "Prioritization of Concurrent Events", classes 2 to 7.

use super::debug::{dr6, instruction_breakpoints};
use super::delivery::{deliver_exception, deliver_interrupt, deliver_nmi};
use super::exception::Exception;
use crate::state::Activity;
use crate::vcpu::Cpu;
use undercroft_spec::x86::control::rflags;

/// What comes next, before the next instruction.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Pending {
    /// INIT: the run loop resets the processor.
    Init,
    /// A start-up IPI arrives at a processor that waits for it: the run loop starts it at this vector.
    Startup(u8),
    /// A debug trap on the previous instruction, with these bits of DR6.
    DebugTrap(u64),
    /// NMI.
    Nmi,
    /// A maskable interrupt.
    Interrupt,
    /// An instruction breakpoint at RIP, with these bits of DR6.
    InstructionBreakpoint(u64),
}

/// The event of highest priority that can happen now. `None`: execute the next instruction (or stay inactive).
///
/// Debug traps are what the run loop and data accesses gathered in `pending_debug`; after MOV SS or POP SS they wait, but a single-step trap on
/// that instruction is lost.
pub fn pending(cpu: &Cpu) -> Option<Pending> {
    let s = &cpu.s;
    let active = s.activity == Activity::Active;
    // Class 2: trap on task switch.
    if s.pending_debug & dr6::BT != 0 && active {
        return Some(Pending::DebugTrap(s.pending_debug));
    }
    // Class 3: external hardware interventions.
    if s.init_pending && s.activity != Activity::WaitForSipi {
        return Some(Pending::Init);
    }
    if s.activity == Activity::WaitForSipi {
        return s.sipi_pending.map(Pending::Startup);
    }
    if s.activity == Activity::Shutdown {
        return if s.nmi_pending && !s.nmi_blocked { Some(Pending::Nmi) } else { None };
    }
    // Class 4: traps on the previous instruction.
    let traps = if s.mov_ss_shadow { 0 } else { s.pending_debug };
    if traps != 0 {
        return Some(Pending::DebugTrap(traps));
    }
    // Class 5: NMI. Real processors differ in whether STI holds it off for an instruction; ours holds it off after MOV SS only.
    if s.nmi_pending && !s.nmi_blocked && !s.mov_ss_shadow {
        return Some(Pending::Nmi);
    }
    // Class 6: maskable interrupts.
    let unmasked = s.flags.other() & rflags::IF != 0 && !s.sti_shadow && !s.mov_ss_shadow;
    if unmasked && cpu.interrupt_pending() {
        return Some(Pending::Interrupt);
    }
    // Class 7: code breakpoint.
    if active && !s.mov_ss_shadow {
        let bits = instruction_breakpoints(s);
        if bits != 0 {
            return Some(Pending::InstructionBreakpoint(bits));
        }
    }
    None
}

/// Delivers what [`pending`] reported. INIT and start-up are the run loop's: they come back.
pub fn take(cpu: &mut Cpu, event: Pending) -> Option<Pending> {
    let rip = cpu.s.rip;
    match event {
        Pending::Init | Pending::Startup(_) => return Some(event),
        Pending::DebugTrap(bits) => {
            cpu.s.pending_debug = 0;
            deliver_exception(cpu, Exception::db_trap(bits), rip);
        }
        Pending::Nmi => {
            cpu.s.nmi_pending = false;
            deliver_nmi(cpu);
        }
        Pending::Interrupt => {
            let vector = cpu.acknowledge_interrupt();
            deliver_interrupt(cpu, vector);
        }
        Pending::InstructionBreakpoint(bits) => deliver_exception(cpu, Exception::db_fault(bits), rip),
    }
    None
}
