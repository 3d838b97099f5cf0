//! The PCI Express capability. PCI Express Base Specification, "PCI Express Capability Structure".

/// PCI Express capabilities register, 2 bytes.
pub const CAPABILITIES: u16 = 0x02;
/// Device capabilities, 4 bytes.
pub const DEVICE_CAPABILITIES: u16 = 0x04;
/// Device control, 2 bytes.
pub const DEVICE_CONTROL: u16 = 0x08;
/// Device status, 2 bytes.
pub const DEVICE_STATUS: u16 = 0x0a;
/// Device capabilities 2, 4 bytes.
pub const DEVICE_CAPABILITIES_2: u16 = 0x24;
/// Device control 2, 2 bytes.
pub const DEVICE_CONTROL_2: u16 = 0x28;
/// Bytes of a capability of version 2.
pub const BYTES: u16 = 0x3c;

/// Bits of the PCI Express capabilities register. "PCI Express Capabilities Register".
pub mod capabilities {
    /// Capability version, bits 3:0: version 2 and later.
    pub const VERSION_2: u16 = 2;
    /// Device/port type, bits 7:4.
    pub const TYPE_SHIFT: u16 = 4;
    /// Device/port type: PCI Express endpoint.
    pub const TYPE_ENDPOINT: u16 = 0;
    /// Device/port type: root port.
    pub const TYPE_ROOT_PORT: u16 = 4;
    /// Device/port type: root complex integrated endpoint, which has no link.
    pub const TYPE_ROOT_COMPLEX_ENDPOINT: u16 = 9;
}

/// Bits of the device capabilities. "Device Capabilities Register".
pub mod device_capabilities {
    /// Role-based error reporting.
    pub const ROLE_BASED_ERROR_REPORTING: u32 = 1 << 15;
    /// Function level reset.
    pub const FUNCTION_LEVEL_RESET: u32 = 1 << 28;
}

/// Bits of the device control. "Device Control Register".
pub mod device_control {
    /// Bits that hold a value: error reporting enables, relaxed ordering, payload size, no snoop, read request size.
    pub const WRITABLE: u16 = 0x78ff;
    /// Relaxed ordering enable, which is set after reset.
    pub const RELAXED_ORDERING: u16 = 1 << 4;
    /// No snoop enable, which is set after reset.
    pub const NO_SNOOP: u16 = 1 << 11;
    /// Largest read request, bits 14:12; 2 is 512 bytes, the value after reset.
    pub const MAX_READ_REQUEST_512: u16 = 2 << 12;
    /// Initiate function level reset; always reads zero.
    pub const INITIATE_FUNCTION_LEVEL_RESET: u16 = 1 << 15;
}

/// Device status: correctable, non-fatal, fatal and unsupported-request bits, each cleared by writing one. "Device Status Register".
pub const DEVICE_STATUS_WRITE_ONE_TO_CLEAR: u16 = 0xf;
