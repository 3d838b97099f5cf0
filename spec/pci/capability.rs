//! The capability list. PCI Local Bus Specification, "Capabilities List"; the identifiers are in its appendix "Capability IDs".

/// Offset of the identifier in a capability, 1 byte.
pub const ID: u16 = 0x0;
/// Offset of the pointer to the next capability, 1 byte; zero ends the list.
pub const NEXT: u16 = 0x1;
/// Bytes of the two.
pub const HEADER_BYTES: u16 = 2;

/// Power management.
pub const ID_POWER_MANAGEMENT: u8 = 0x01;
/// Message-signalled interrupts.
pub const ID_MSI: u8 = 0x05;
/// Vendor-specific; the third byte is the length.
pub const ID_VENDOR_SPECIFIC: u8 = 0x09;
/// PCI Express.
pub const ID_EXPRESS: u8 = 0x10;
/// MSI-X.
pub const ID_MSIX: u8 = 0x11;
