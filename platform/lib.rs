//! Everything outside the processor: plain state machines on the virtual clock.
//!
//! No module here names the processor (invariant A of ARCHITECTURE.md), reads host time, randomness or files
//! (invariant D; `backend` is the exception and is wrapped by the machine's input log), or keeps a reference to another device:
//! the board asks a device for its outputs and wires them.

pub mod backend;
pub mod chipset;
pub mod clock;
pub mod device;
pub mod irq;
pub mod pci;
pub mod virtio;
