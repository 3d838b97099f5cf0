//! Exceptions and interrupts. SDM volume 3, "Interrupt and Exception Handling".
//!
//! An instruction raises an [`Exception`]; the run loop hands it to [`deliver_exception`]. Between instructions the run loop asks
//! [`pending`] what comes next and has it done by [`take`]. All of them become an [`Event`], and `route` alone decides who takes an event: the IDT, or
//! (later) a hypervisor.

mod debug;
mod delivery;
mod event;
mod exception;
mod gate;
mod gate_long;
mod pending;
mod real_mode;
#[cfg(test)]
mod run_tests;
#[cfg(test)]
mod tests;

pub use debug::{data_breakpoints, instruction_breakpoints, io_breakpoints};
pub(crate) use debug::{dr6, dr7};
pub(crate) use delivery::flags_image;
pub use delivery::{deliver_exception, deliver_interrupt, deliver_nmi};
pub(crate) use event::Event;
pub use event::Kind;
pub use exception::{Class, Detail, Exception, Flow};
pub use pending::{Pending, pending, take};
pub(crate) use real_mode::redirect_to_8086_program;
