//! MSI and MSI-X. PCI Local Bus Specification, "Message Signaled Interrupts".

/// MSI capability: message control, 2 bytes.
pub const MSI_CONTROL: u16 = 0x02;
/// MSI capability: message address, low half, 4 bytes.
pub const MSI_ADDRESS: u16 = 0x04;
/// MSI capability with 64-bit addresses: message address, high half, 4 bytes.
pub const MSI_ADDRESS_HIGH: u16 = 0x08;
/// MSI capability with 32-bit addresses: message data, 2 bytes.
pub const MSI_DATA_32: u16 = 0x08;
/// MSI capability with 64-bit addresses: message data, 2 bytes.
pub const MSI_DATA_64: u16 = 0x0c;
/// MSI capability with 64-bit addresses and per-vector masking: mask bits, 4 bytes.
pub const MSI_MASK_64: u16 = 0x10;
/// MSI capability with 64-bit addresses and per-vector masking: pending bits, 4 bytes.
pub const MSI_PENDING_64: u16 = 0x14;
/// Bytes of an MSI capability with 64-bit addresses and per-vector masking.
pub const MSI_BYTES_64_MASKABLE: u16 = 0x18;

/// Bits of the MSI message control. "Message Control for MSI".
pub mod msi_control {
    /// MSI enable.
    pub const ENABLE: u16 = 1 << 0;
    /// Multiple message capable: base-2 logarithm of the vectors asked for, bits 3:1.
    pub const MULTIPLE_MESSAGE_CAPABLE_SHIFT: u16 = 1;
    /// Multiple message enable: base-2 logarithm of the vectors given, bits 6:4.
    pub const MULTIPLE_MESSAGE_ENABLE_SHIFT: u16 = 4;
    /// Multiple message enable, its bits.
    pub const MULTIPLE_MESSAGE_ENABLE: u16 = 7 << 4;
    /// 64-bit address capable.
    pub const ADDRESS_64: u16 = 1 << 7;
    /// Per-vector masking capable.
    pub const PER_VECTOR_MASKING: u16 = 1 << 8;
}

/// MSI-X capability: message control, 2 bytes.
pub const MSIX_CONTROL: u16 = 0x02;
/// MSI-X capability: table offset, with the BAR indicator in bits 2:0, 4 bytes.
pub const MSIX_TABLE: u16 = 0x04;
/// MSI-X capability: pending-bit array offset, with the BAR indicator in bits 2:0, 4 bytes.
pub const MSIX_PENDING: u16 = 0x08;
/// Bytes of an MSI-X capability.
pub const MSIX_BYTES: u16 = 0x0c;

/// Bits of the MSI-X message control. "Message Control for MSI-X".
pub mod msix_control {
    /// Table size minus one, bits 10:0.
    pub const TABLE_SIZE: u16 = 0x7ff;
    /// Function mask: all vectors are masked.
    pub const FUNCTION_MASK: u16 = 1 << 14;
    /// MSI-X enable.
    pub const ENABLE: u16 = 1 << 15;
}

/// MSI-X table entry: bytes of one.
pub const MSIX_ENTRY_BYTES: u64 = 16;
/// MSI-X table entry: message address, low half.
pub const MSIX_ENTRY_ADDRESS: u64 = 0x0;
/// MSI-X table entry: message address, high half.
pub const MSIX_ENTRY_ADDRESS_HIGH: u64 = 0x4;
/// MSI-X table entry: message data.
pub const MSIX_ENTRY_DATA: u64 = 0x8;
/// MSI-X table entry: vector control.
pub const MSIX_ENTRY_CONTROL: u64 = 0xc;
/// MSI-X vector control: mask bit.
pub const MSIX_VECTOR_MASK: u32 = 1;
/// Largest number of entries of an MSI-X table.
pub const MSIX_MAX_ENTRIES: usize = 2048;
