//! The host bridge of the Q35 chipset, device 0. Intel 3 Series Express Chipset Family datasheet, "DRAM Controller Registers (D0:F0)".

/// Vendor of both bridges: Intel.
pub const VENDOR_INTEL: u16 = 0x8086;
/// Device ID of the DRAM controller.
pub const DEVICE_HOST_BRIDGE: u16 = 0x29c0;

/// PCIEXBAR, PCI Express register range base address, 8 bytes.
pub const PCIEXBAR: u16 = 0x60;
/// PAM0 to PAM6, programmable attribute maps, 7 bytes.
pub const PAM0: u16 = 0x90;
/// How many programmable attribute maps there are.
pub const PAM_COUNT: u16 = 7;
/// LAC, legacy access control, 1 byte.
pub const LAC: u16 = 0x97;
/// SMRAM, system management RAM control, 1 byte.
pub const SMRAM: u16 = 0x9d;
/// ESMRAMC, extended system management RAM control, 1 byte.
pub const ESMRAMC: u16 = 0x9e;
/// TOM, top of memory in units of 64 MBytes, 2 bytes.
pub const TOM: u16 = 0xa0;
/// TOUUD, top of upper usable DRAM in units of 64 MBytes, 2 bytes.
pub const TOUUD: u16 = 0xa2;
/// TOLUD, top of low usable DRAM, bits 15:4 in units of 1 MByte, 2 bytes.
pub const TOLUD: u16 = 0xb0;
/// SKPD, scratchpad data, 4 bytes.
pub const SKPD: u16 = 0xdc;

/// Fields of PCIEXBAR. "PCIEXBAR - PCI Express Register Range Base Address".
pub mod pciexbar {
    /// PCIEXBAR enable.
    pub const ENABLE: u64 = 1 << 0;
    /// Length, bits 2:1: 0 is 256 MBytes (buses 0 to 255), 1 is 128, 2 is 64, 3 is reserved.
    pub const LENGTH_SHIFT: u64 = 1;
    /// Length, its bits.
    pub const LENGTH: u64 = 3 << 1;
    /// Address, bits 35:26; bits 27 and 26 count only for the shorter lengths.
    pub const ADDRESS: u64 = 0xf_fc00_0000;
    /// The bits that hold a value.
    pub const WRITABLE: u64 = ADDRESS | LENGTH | ENABLE;
}
