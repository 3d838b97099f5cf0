//! What a device offers to the board, and what the board lends to a device during an access.
//!
//! A device is plain data (serde) and changes only when the board calls it: an access to its registers, or the arrival of the tick that
//! it asked for. It keeps no reference to anything: interrupt outputs are levels that the board reads after each call and wires on.

pub mod byte_lanes;
#[cfg(test)]
pub mod conformance;

use crate::clock::Tick;
use undercroft_spec::DmaAddr;

/// What the board lends to a device while it calls it.
pub struct Context<'a> {
    /// Virtual time of the access.
    pub now: Tick,
    /// The device's way to memory.
    pub dma: &'a mut dyn Dma,
    /// Message-signalled interrupts that the device sends in this call.
    pub msi: &'a mut Vec<Msi>,
}

/// A message-signalled interrupt: a 4-byte write into the interrupt address range. SDM volume 3, "Message Signalled Interrupts".
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Msi {
    /// Address of the write.
    pub address: u64,
    /// Data of the write.
    pub data: u32,
}

/// Memory as a device sees it. An access that leaves memory, wholly or in part, fails and changes nothing.
pub trait Dma {
    /// Reads `data.len()` bytes at `addr`.
    fn read(&mut self, addr: DmaAddr, data: &mut [u8]) -> Result<(), DmaFault>;
    /// Writes `data` at `addr`.
    fn write(&mut self, addr: DmaAddr, data: &[u8]) -> Result<(), DmaFault>;
}

/// The access was not to memory that the device may reach.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct DmaFault {
    /// Where the access began.
    pub addr: DmaAddr,
}

/// A device with registers, in I/O-port or memory space. `offset` counts from the first register of the range that the board gave it;
/// `size` is 1, 2, 4 or 8 bytes; values are zero-extended. A device tolerates every offset, size and value.
pub trait Registers {
    /// A read, with its side effects.
    fn read(&mut self, cx: &mut Context<'_>, offset: u64, size: u8) -> u64;
    /// A write.
    fn write(&mut self, cx: &mut Context<'_>, offset: u64, size: u8, value: u64);
}

/// A device to which time matters by itself.
pub trait Timed {
    /// The tick at which it next changes without being accessed, if any. Never in the past of the last call.
    fn next_event(&self) -> Option<Tick>;
    /// Time has reached `cx.now`: do what was due. Harmless when nothing is due.
    fn advance(&mut self, cx: &mut Context<'_>);
}

/// What the board does at power-on and at a platform reset.
pub trait Reset {
    /// Back to the state after power-on; configuration (sizes, files) stays.
    fn reset(&mut self);
}
