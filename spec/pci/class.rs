//! Class codes: base class, sub-class and programming interface, as a 24-bit number. PCI Local Bus Specification, "Class Codes".

/// Storage: other mass storage controller.
pub const STORAGE_OTHER: u32 = 0x01_80_00;
/// Storage: SCSI bus controller.
pub const STORAGE_SCSI: u32 = 0x01_00_00;
/// Storage: serial ATA controller, AHCI interface.
pub const STORAGE_SATA_AHCI: u32 = 0x01_06_01;
/// Network: Ethernet controller.
pub const NETWORK_ETHERNET: u32 = 0x02_00_00;
/// Bridge: host.
pub const BRIDGE_HOST: u32 = 0x06_00_00;
/// Bridge: ISA.
pub const BRIDGE_ISA: u32 = 0x06_01_00;
/// Bridge: PCI to PCI.
pub const BRIDGE_PCI: u32 = 0x06_04_00;
/// Simple communication: other.
pub const COMMUNICATION_OTHER: u32 = 0x07_80_00;
/// System peripheral: other.
pub const SYSTEM_OTHER: u32 = 0x08_80_00;
/// Encryption: other.
pub const ENCRYPTION_OTHER: u32 = 0x10_80_00;
