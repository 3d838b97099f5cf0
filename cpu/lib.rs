//! The processor. It names no device: what it needs from the outside is in [`ports`].
//!
//! | module | what |
//! | --- | --- |
//! | `state` | architectural state of one logical processor: plain data |
//! | `ports` | the traits that the machine implements for the processor |
//! | `mmu` | linear to physical: contexts, the paging walk, coherence by write tracking |
//! | `events` | exceptions and interrupts: priority, delivery, double and triple fault |
//! | `system` | instructions that are not written over `Ops`: far transfers, task switch, system registers |
//! | `local_apic` | xAPIC and x2APIC |
//! | `interp` | `Ops` over plain values, and the handlers that run decoded blocks |
//! | `vcpu` | the run loop, and the set of logical processors |

pub mod events;
pub mod interp;
pub mod local_apic;
pub mod mmu;
pub mod ports;
pub mod state;
pub mod system;
#[cfg(test)]
pub(crate) mod testing;
pub mod vcpu;

/// Frequency of the local APIC timers before division, and of the core crystal clock (CPUID leaf 15H).
pub const TIMER_HZ: u64 = 25_000_000;
