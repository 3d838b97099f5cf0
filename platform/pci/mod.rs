//! The PCI bus of a Q35-like chipset: configuration spaces, address decoding, interrupts.
//!
//! [`PciBus`] owns the functions and finds out which one an access is for ([`PciBus::memory_target`], [`PciBus::io_target`]). The board
//! then builds the [`Context`](crate::device::Context) of that function (its requester id decides the way its DMA takes) and carries the
//! access out ([`PciBus::read`], [`PciBus::write`]). After each call the board takes the messages from the context and reads the levels
//! ([`PciBus::io_apic_inputs`], [`PciBus::i8259_inputs`]).
//!
//! There is one bus, number 0, without bridges to others; all its functions have headers of type 0.

pub mod bar;
pub mod bus;
pub mod config;
mod decode;
pub mod firmware;
pub mod function;
pub mod host_bridge;
pub mod lpc;
pub mod msi;

#[cfg(test)]
mod tests;

pub use bar::{Bar, BarKind, DecodedBar, Space};
pub use bus::{PciBus, Target};
pub use config::{ConfigSpace, Identity};
pub use firmware::{FirmwareChoices, ResourceError};
pub use function::{Bdf, PciFunction, PciSlot};
pub use host_bridge::HostBridge;
pub use lpc::LpcBridge;
pub use msi::{MsiCapability, MsixTable};
