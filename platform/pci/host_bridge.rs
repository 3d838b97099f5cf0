//! The host bridge at 00:00.0. Intel 3 Series Express Chipset Family datasheet, "DRAM Controller Registers (D0:F0)".
//!
//! PCIEXBAR decides where the memory-mapped configuration space lies. The programmable attribute maps and the memory-size registers hold
//! values; system management RAM is not there, so that SMRAM and ESMRAMC keep their value after reset.

use super::config::{ConfigSpace, Identity};
use super::function::PciFunction;
use serde::{Deserialize, Serialize};
use undercroft_spec::pci::q35::{self, pciexbar};
use undercroft_spec::pci::{class, header};

/// SMRAM after reset: compatible segment at A0000, closed.
const SMRAM_RESET: u8 = 0x02;

/// The host bridge.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct HostBridge {
    // State.
    config: ConfigSpace,
}

impl HostBridge {
    /// A host bridge after power-on.
    pub fn new() -> Self {
        let mut config = ConfigSpace::new(&Identity {
            vendor: q35::VENDOR_INTEL,
            device: q35::DEVICE_HOST_BRIDGE,
            subsystem_vendor: 0,
            subsystem: 0,
            revision: 2,
            class: class::BRIDGE_HOST,
        });
        // The bridge always decodes memory and is always a master; it has no I/O range.
        config.define_u16(header::COMMAND, header::command::MEMORY_SPACE | header::command::BUS_MASTER, 0);
        config.define(q35::PCIEXBAR, &[0; 8], &pciexbar::WRITABLE.to_le_bytes());
        config.define_u8(q35::PAM0, 0, 0x30);
        for pam in 1..q35::PAM_COUNT {
            config.define_u8(q35::PAM0 + pam, 0, 0x33);
        }
        config.define_u8(q35::SMRAM, SMRAM_RESET, 0);
        config.define_u16(q35::TOM, 0, 0x03ff);
        config.define_u16(q35::TOUUD, 0, 0xffff);
        config.define_u16(q35::TOLUD, 0x0010, 0xfff0);
        config.define_u32(q35::SKPD, 0, !0);
        HostBridge { config }
    }

    /// Where the memory-mapped configuration space lies, if it is enabled: its first and its last address.
    pub fn ecam_range(&self) -> Option<(u64, u64)> {
        let low = u64::from(self.config.read(q35::PCIEXBAR, 4));
        let register = u64::from(self.config.read(q35::PCIEXBAR + 4, 4)) << 32 | low;
        let length_code = (register & pciexbar::LENGTH) >> pciexbar::LENGTH_SHIFT;
        if register & pciexbar::ENABLE == 0 || length_code == 3 {
            return None;
        }
        let bytes = 0x1000_0000u64 >> length_code;
        let base = register & pciexbar::ADDRESS & !(bytes - 1);
        Some((base, base + (bytes - 1)))
    }

    /// Programs PCIEXBAR for 256 buses at `base`, as firmware would.
    pub fn set_ecam_base(&mut self, base: u64) {
        let register = base & pciexbar::ADDRESS & !0x0fff_ffff | pciexbar::ENABLE;
        self.config.set(q35::PCIEXBAR, 4, register as u32);
        self.config.set(q35::PCIEXBAR + 4, 4, (register >> 32) as u32);
    }

    /// Programs the memory-size registers, as firmware would: the end of RAM below 4 GBytes and the end of RAM above (4 GBytes when
    /// there is none), in bytes.
    pub fn set_memory_ends(&mut self, low_end: u64, high_end: u64) {
        let total = low_end.saturating_add(high_end.saturating_sub(1 << 32));
        self.config.set(q35::TOM, 2, (total >> 26).min(0x3ff) as u32);
        self.config.set(q35::TOUUD, 2, (high_end >> 26).min(0xffff) as u32);
        self.config.set(q35::TOLUD, 2, ((low_end >> 20).min(0xfff) << 4) as u32);
    }

    /// Programmable attribute map `index` (0 to 6) as its register holds it: read enable in bits 0 and 4, write enable in bits 1 and 5.
    /// "PAM0 - Programmable Attribute Map 0" and following.
    pub fn attribute_map(&self, index: u8) -> u8 {
        self.config.read(q35::PAM0 + u16::from(index.min(6)), 1) as u8
    }
}

impl Default for HostBridge {
    fn default() -> Self {
        HostBridge::new()
    }
}

impl PciFunction for HostBridge {
    fn config(&self) -> &ConfigSpace {
        &self.config
    }

    fn config_mut(&mut self) -> &mut ConfigSpace {
        &mut self.config
    }
}
