//! Message-signalled interrupts of a function. PCI Local Bus Specification, "Message Signaled Interrupts".

use super::config::ConfigSpace;
use crate::device::Msi;
use serde::{Deserialize, Serialize};
use undercroft_spec::pci::capability;
use undercroft_spec::pci::msi::{self, msi_control, msix_control};

/// The MSI capability, with 64-bit addresses and per-vector masking. Its state is in the configuration space.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct MsiCapability {
    // Configuration.
    at: u16,
    vectors: u8,
}

impl MsiCapability {
    /// Adds the capability for 1, 2, 4, 8, 16 or 32 vectors.
    ///
    /// # Panics
    /// On another number: an error of the device's author.
    pub fn define(config: &mut ConfigSpace, vectors: u8) -> Self {
        assert!(vectors.is_power_of_two() && vectors <= 32);
        let at = config.define_capability(capability::ID_MSI, msi::MSI_BYTES_64_MASKABLE);
        let capable = (vectors.trailing_zeros() as u16) << msi_control::MULTIPLE_MESSAGE_CAPABLE_SHIFT;
        config.define_u16(
            at + msi::MSI_CONTROL,
            capable | msi_control::ADDRESS_64 | msi_control::PER_VECTOR_MASKING,
            msi_control::ENABLE | msi_control::MULTIPLE_MESSAGE_ENABLE,
        );
        config.define_u32(at + msi::MSI_ADDRESS, 0, !3);
        config.define_u32(at + msi::MSI_ADDRESS_HIGH, 0, !0);
        config.define_u16(at + msi::MSI_DATA_64, 0, !0);
        let mask = if vectors == 32 { u32::MAX } else { (1 << vectors) - 1 };
        config.define_u32(at + msi::MSI_MASK_64, 0, mask);
        MsiCapability { at, vectors }
    }

    /// Whether software has chosen MSI; INTx# is not to be used then.
    pub fn is_enabled(&self, config: &ConfigSpace) -> bool {
        config.read_u16(self.at + msi::MSI_CONTROL) & msi_control::ENABLE != 0
    }

    /// Sends a vector, or makes it pending while it is masked. Nothing happens when MSI is not enabled.
    /// A vector beyond those that software gave is sent as one of them ("System software may allocate fewer vectors").
    pub fn trigger(&self, config: &mut ConfigSpace, vector: u8, out: &mut Vec<Msi>) {
        if !self.is_enabled(config) || vector >= self.vectors {
            return;
        }
        let given = self.given(config);
        self.set_pending(config, self.pending(config) | 1 << (vector & (given - 1)));
        self.deliver(config, out);
    }

    /// Sends what is pending and no longer masked: to be called after each write to the configuration space.
    pub fn deliver(&self, config: &mut ConfigSpace, out: &mut Vec<Msi>) {
        if !self.is_enabled(config) || !config.is_bus_master() {
            return;
        }
        let ready = self.pending(config) & !config.read(self.at + msi::MSI_MASK_64, 4);
        if ready == 0 {
            return;
        }
        self.set_pending(config, self.pending(config) & !ready);
        let low = u64::from(config.read(self.at + msi::MSI_ADDRESS, 4));
        let address = u64::from(config.read(self.at + msi::MSI_ADDRESS_HIGH, 4)) << 32 | low;
        let data = config.read(self.at + msi::MSI_DATA_64, 2) & !(u32::from(self.given(config)) - 1);
        for vector in (0..32).filter(|vector| ready >> vector & 1 != 0) {
            out.push(Msi { address, data: data | vector });
        }
    }

    /// How many vectors software gave: a power of two, at most as many as there are.
    fn given(&self, config: &ConfigSpace) -> u8 {
        let control = config.read_u16(self.at + msi::MSI_CONTROL);
        let log = (control & msi_control::MULTIPLE_MESSAGE_ENABLE) >> msi_control::MULTIPLE_MESSAGE_ENABLE_SHIFT;
        (1u8 << log.min(5)).min(self.vectors)
    }

    fn pending(&self, config: &ConfigSpace) -> u32 {
        config.read(self.at + msi::MSI_PENDING_64, 4)
    }

    fn set_pending(&self, config: &mut ConfigSpace, pending: u32) {
        config.set(self.at + msi::MSI_PENDING_64, 4, pending);
    }
}

/// An entry of an MSI-X table.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
struct MsixEntry {
    address: u64,
    data: u32,
    control: u32,
}

/// An entry after reset: masked. "Vector Control for MSI-X Table Entries".
const MSIX_ENTRY_RESET: MsixEntry = MsixEntry { address: 0, data: 0, control: msi::MSIX_VECTOR_MASK };

/// The MSI-X table and pending-bit array of a function; the message control is in its configuration space.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct MsixTable {
    // Configuration.
    at: u16,
    pending_offset: u64,
    // State.
    entries: Vec<MsixEntry>,
    pending: Vec<u64>,
}

impl MsixTable {
    /// Adds the capability for `vectors` vectors, with the table at the start of a BAR and the pending-bit array at `pending_offset` in it.
    ///
    /// # Panics
    /// When the parts overlap or there are too many vectors: an error of the device's author.
    pub fn define(config: &mut ConfigSpace, vectors: u16, bar: u8, pending_offset: u32) -> Self {
        assert!((1..=msi::MSIX_MAX_ENTRIES).contains(&usize::from(vectors)) && bar < 6);
        assert!(
            pending_offset.is_multiple_of(8) && u64::from(pending_offset) >= u64::from(vectors) * msi::MSIX_ENTRY_BYTES
        );
        let at = config.define_capability(capability::ID_MSIX, msi::MSIX_BYTES);
        config.define_u16(at + msi::MSIX_CONTROL, vectors - 1, msix_control::ENABLE | msix_control::FUNCTION_MASK);
        config.define_u32(at + msi::MSIX_TABLE, u32::from(bar), 0);
        config.define_u32(at + msi::MSIX_PENDING, pending_offset | u32::from(bar), 0);
        MsixTable {
            at,
            pending_offset: u64::from(pending_offset),
            entries: vec![MSIX_ENTRY_RESET; usize::from(vectors)],
            pending: vec![0; usize::from(vectors).div_ceil(64)],
        }
    }

    /// How many vectors there are.
    pub fn vectors(&self) -> u16 {
        self.entries.len() as u16
    }

    /// Whether software has chosen MSI-X; INTx# is not to be used then.
    pub fn is_enabled(&self, config: &ConfigSpace) -> bool {
        config.read_u16(self.at + msi::MSIX_CONTROL) & msix_control::ENABLE != 0
    }

    /// Sends a vector, or makes it pending while it is masked. Nothing happens when MSI-X is not enabled or there is no such vector.
    pub fn trigger(&mut self, config: &ConfigSpace, vector: u16, out: &mut Vec<Msi>) {
        if !self.is_enabled(config) || vector >= self.vectors() {
            return;
        }
        if let Some(word) = self.pending.get_mut(usize::from(vector) / 64) {
            *word |= 1 << (vector % 64);
        }
        self.deliver(config, out);
    }

    /// Sends what is pending and no longer masked: to be called after each write to the configuration space.
    pub fn deliver(&mut self, config: &ConfigSpace, out: &mut Vec<Msi>) {
        let control = config.read_u16(self.at + msi::MSIX_CONTROL);
        let enabled = control & (msix_control::ENABLE | msix_control::FUNCTION_MASK) == msix_control::ENABLE;
        if !enabled || !config.is_bus_master() {
            return;
        }
        for (word_index, word) in self.pending.iter_mut().enumerate() {
            let mut left = *word;
            while left != 0 {
                let bit = left.trailing_zeros();
                left &= left - 1;
                let Some(entry) = self.entries.get(word_index * 64 + bit as usize) else { break };
                if entry.control & msi::MSIX_VECTOR_MASK == 0 {
                    *word &= !(1 << bit);
                    out.push(Msi { address: entry.address, data: entry.data });
                }
            }
        }
    }

    /// Software reads in the BAR that holds the table. Accesses are of 4 or 8 naturally aligned bytes; others give zero.
    pub fn read(&self, offset: u64, size: u8) -> u64 {
        match size {
            4 if offset.is_multiple_of(4) => u64::from(self.read_u32(offset)),
            8 if offset.is_multiple_of(8) => {
                u64::from(self.read_u32(offset)) | u64::from(self.read_u32(offset + 4)) << 32
            }
            _ => 0,
        }
    }

    /// Software writes in the BAR that holds the table. Accesses are of 4 or 8 naturally aligned bytes; others have no effect.
    pub fn write(&mut self, config: &ConfigSpace, offset: u64, size: u8, value: u64, out: &mut Vec<Msi>) {
        match size {
            4 if offset.is_multiple_of(4) => self.write_u32(offset, value as u32),
            8 if offset.is_multiple_of(8) => {
                self.write_u32(offset, value as u32);
                self.write_u32(offset + 4, (value >> 32) as u32);
            }
            _ => return,
        }
        self.deliver(config, out);
    }

    /// All vectors masked, none pending.
    pub fn reset(&mut self) {
        self.entries.fill(MSIX_ENTRY_RESET);
        self.pending.fill(0);
    }

    fn read_u32(&self, offset: u64) -> u32 {
        if let Some(entry) = self.entries.get((offset / msi::MSIX_ENTRY_BYTES) as usize) {
            return match offset % msi::MSIX_ENTRY_BYTES {
                msi::MSIX_ENTRY_ADDRESS => entry.address as u32,
                msi::MSIX_ENTRY_ADDRESS_HIGH => (entry.address >> 32) as u32,
                msi::MSIX_ENTRY_DATA => entry.data,
                _ => entry.control,
            };
        }
        let Some(within) = offset.checked_sub(self.pending_offset) else { return 0 };
        let word = self.pending.get((within / 8) as usize).copied().unwrap_or(0);
        (word >> (8 * (within & 4))) as u32
    }

    fn write_u32(&mut self, offset: u64, value: u32) {
        let Some(entry) = self.entries.get_mut((offset / msi::MSIX_ENTRY_BYTES) as usize) else { return };
        let high = entry.address & !0xffff_ffff;
        match offset % msi::MSIX_ENTRY_BYTES {
            msi::MSIX_ENTRY_ADDRESS => entry.address = high | u64::from(value & !3),
            msi::MSIX_ENTRY_ADDRESS_HIGH => entry.address = u64::from(value) << 32 | entry.address & 0xffff_ffff,
            msi::MSIX_ENTRY_DATA => entry.data = value,
            _ => entry.control = value & msi::MSIX_VECTOR_MASK,
        }
    }
}
