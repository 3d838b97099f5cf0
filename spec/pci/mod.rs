//! PCI and PCI Express: configuration space, capabilities, message-signalled interrupts, the Q35 chipset's bridges, virtio over PCI.
//!
//! Sources: PCI Local Bus Specification 3.0; PCI Express Base Specification; Intel 3 Series Express Chipset Family datasheet;
//! Intel I/O Controller Hub 9 (ICH9) Family datasheet; Virtual I/O Device (VIRTIO) Version 1.2. Sections are cited by title.

pub mod capability;
pub mod class;
pub mod express;
pub mod header;
pub mod ich9;
pub mod mechanism;
pub mod msi;
pub mod q35;
pub mod virtio;
