//! The configuration space header. PCI Local Bus Specification, "Configuration Space Organization" and "Configuration Space Functions".

/// Vendor ID, 2 bytes; all ones when no function is there.
pub const VENDOR_ID: u16 = 0x00;
/// Device ID, 2 bytes.
pub const DEVICE_ID: u16 = 0x02;
/// Command, 2 bytes: see [`command`].
pub const COMMAND: u16 = 0x04;
/// Status, 2 bytes: see [`status`].
pub const STATUS: u16 = 0x06;
/// Revision ID, 1 byte.
pub const REVISION_ID: u16 = 0x08;
/// Class code, 3 bytes: programming interface, sub-class, base class.
pub const CLASS_CODE: u16 = 0x09;
/// Cache line size in 4-byte units, 1 byte.
pub const CACHE_LINE_SIZE: u16 = 0x0c;
/// Latency timer, 1 byte.
pub const LATENCY_TIMER: u16 = 0x0d;
/// Header type, 1 byte: layout in bits 6:0, [`HEADER_TYPE_MULTI_FUNCTION`].
pub const HEADER_TYPE: u16 = 0x0e;
/// Built-in self test, 1 byte.
pub const BIST: u16 = 0x0f;
/// First of six base address registers of 4 bytes (header type 0).
pub const BASE_ADDRESS_0: u16 = 0x10;
/// Cardbus CIS pointer, 4 bytes.
pub const CARDBUS_CIS: u16 = 0x28;
/// Subsystem vendor ID, 2 bytes.
pub const SUBSYSTEM_VENDOR_ID: u16 = 0x2c;
/// Subsystem ID, 2 bytes.
pub const SUBSYSTEM_ID: u16 = 0x2e;
/// Expansion ROM base address, 4 bytes.
pub const EXPANSION_ROM: u16 = 0x30;
/// Capabilities pointer, 1 byte.
pub const CAPABILITIES_POINTER: u16 = 0x34;
/// Interrupt line, 1 byte: software's note, with no effect.
pub const INTERRUPT_LINE: u16 = 0x3c;
/// Interrupt pin, 1 byte: 0 none, 1 to 4 for INTA# to INTD#.
pub const INTERRUPT_PIN: u16 = 0x3d;
/// First byte after the header, where capabilities may lie.
pub const HEADER_END: u16 = 0x40;
/// Bytes of the conventional configuration space.
pub const CONVENTIONAL_BYTES: u16 = 256;
/// Bytes of the extended configuration space.
pub const EXTENDED_BYTES: u16 = 4096;
/// How many base address registers a header of type 0 has.
pub const BASE_ADDRESS_COUNT: usize = 6;

/// Header type: functions other than 0 may exist in this device.
pub const HEADER_TYPE_MULTI_FUNCTION: u8 = 0x80;

/// Bits of the command register. "Device Control".
pub mod command {
    /// Responds to I/O space accesses.
    pub const IO_SPACE: u16 = 1 << 0;
    /// Responds to memory space accesses.
    pub const MEMORY_SPACE: u16 = 1 << 1;
    /// May start transactions: DMA and message-signalled interrupts.
    pub const BUS_MASTER: u16 = 1 << 2;
    /// Parity error response.
    pub const PARITY_ERROR_RESPONSE: u16 = 1 << 6;
    /// SERR# enable.
    pub const SERR_ENABLE: u16 = 1 << 8;
    /// Does not assert INTx#.
    pub const INTERRUPT_DISABLE: u16 = 1 << 10;
}

/// Bits of the status register. "Device Status".
pub mod status {
    /// The function's INTx# would be asserted, but for the command register's interrupt disable.
    pub const INTERRUPT_STATUS: u16 = 1 << 3;
    /// There is a capability list.
    pub const CAPABILITIES_LIST: u16 = 1 << 4;
    /// Errors, each cleared by writing one: master data parity error, signalled and received aborts, system error, parity error.
    pub const WRITE_ONE_TO_CLEAR: u16 = 0xf900;
}

/// Bits of a base address register. "Base Addresses".
pub mod base_address {
    /// I/O space; clear for memory space.
    pub const IO: u32 = 1 << 0;
    /// Memory type: anywhere in 64-bit address space; the next register holds the upper half.
    pub const MEMORY_64: u32 = 2 << 1;
    /// Memory is prefetchable.
    pub const PREFETCHABLE: u32 = 1 << 3;
    /// Bits below the address in a memory register.
    pub const MEMORY_FLAGS: u32 = 0xf;
    /// Bits below the address in an I/O register.
    pub const IO_FLAGS: u32 = 0x3;
}
