//! virtio devices on the PCI bus, modern interface only. Virtual I/O Device (VIRTIO) Version 1.2.
//!
//! [`VirtioPci`] is the transport: configuration space, structures in BARs, feature negotiation, queues, interrupts. A [`VirtioDevice`]
//! is what lies behind it. Everything that the driver writes, in registers or in memory, is hostile; a ring that breaks the rules makes the
//! device stop and ask for a reset (DEVICE_NEEDS_RESET).
//!
//! Time: a queue is served one request at a time. A request that is available when the queue is idle completes after the device's service
//! time for it ([`VirtioDevice::service_ticks`], a function of its size alone), and only then is the next one taken from the ring. Memory is read and
//! written at completion. While a queue is busy the driver needs no notification, and with VIRTIO_F_EVENT_IDX it is told so.

pub mod block;
pub mod chain;
mod common_config;
pub mod entropy;
pub mod split_ring;
pub mod transport;

#[cfg(test)]
mod driver;
#[cfg(test)]
mod tests;

pub use block::{Block, BlockConfig};
pub use chain::{Chain, RingFault};
pub use entropy::Entropy;
pub use transport::{VirtioDevice, VirtioPci};

use crate::pci::{PciFunction, PciSlot};
use serde::{Deserialize, Serialize};

/// A block device on the PCI bus.
pub type VirtioBlock = VirtioPci<Block>;
/// An entropy source on the PCI bus.
pub type VirtioEntropy = VirtioPci<Entropy>;

/// One of the virtio functions: a slot for boards that have no others.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub enum VirtioFunction {
    /// A block device.
    Block(Box<VirtioBlock>),
    /// An entropy source.
    Entropy(Box<VirtioEntropy>),
}

impl PciSlot for VirtioFunction {
    fn as_function(&self) -> &dyn PciFunction {
        match self {
            VirtioFunction::Block(function) => function.as_ref(),
            VirtioFunction::Entropy(function) => function.as_ref(),
        }
    }

    fn as_function_mut(&mut self) -> &mut dyn PciFunction {
        match self {
            VirtioFunction::Block(function) => function.as_mut(),
            VirtioFunction::Entropy(function) => function.as_mut(),
        }
    }
}
