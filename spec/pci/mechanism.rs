//! How software reaches configuration space. PCI Local Bus Specification, "Configuration Mechanism #1"; PCI Express Base
//! Specification, "PCI Express Enhanced Configuration Access Mechanism (ECAM)".

/// I/O port of CONFIG_ADDRESS, which answers to 4-byte accesses only.
pub const CONFIG_ADDRESS_PORT: u16 = 0xcf8;
/// First of the four I/O ports of CONFIG_DATA.
pub const CONFIG_DATA_PORT: u16 = 0xcfc;

/// CONFIG_ADDRESS: accesses to CONFIG_DATA become configuration cycles.
pub const CONFIG_ADDRESS_ENABLE: u32 = 1 << 31;
/// CONFIG_ADDRESS: bus number, bits 23:16.
pub const CONFIG_ADDRESS_BUS_SHIFT: u32 = 16;
/// CONFIG_ADDRESS: device number, bits 15:11.
pub const CONFIG_ADDRESS_DEVICE_SHIFT: u32 = 11;
/// CONFIG_ADDRESS: function number, bits 10:8.
pub const CONFIG_ADDRESS_FUNCTION_SHIFT: u32 = 8;
/// CONFIG_ADDRESS: register number with bits 1:0 zero, bits 7:2.
pub const CONFIG_ADDRESS_REGISTER: u32 = 0xfc;
/// CONFIG_ADDRESS: the bits that hold a value; the others read zero.
pub const CONFIG_ADDRESS_WRITABLE: u32 = 0x80ff_fffc;

/// ECAM: bytes of one function's configuration space.
pub const ECAM_FUNCTION_BYTES: u64 = 4096;
/// ECAM: bus number, address bits 27:20.
pub const ECAM_BUS_SHIFT: u32 = 20;
/// ECAM: device number, address bits 19:15.
pub const ECAM_DEVICE_SHIFT: u32 = 15;
/// ECAM: function number, address bits 14:12.
pub const ECAM_FUNCTION_SHIFT: u32 = 12;
