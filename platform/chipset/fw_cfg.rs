//! The firmware configuration device: named items of data that the board gives to firmware and kernels.
//!
//! Specification: QEMU, "QEMU Firmware Configuration (fw_cfg) Device", as far as software can see. Items are read-only.
//!
//! Register offsets (from port 510h): 0 the selector, 1 the data port, 4-11 the DMA address register, big-endian, whose low half starts
//! the transfer.

use crate::device::{Context, Registers, Reset, byte_lanes};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use undercroft_spec::DmaAddr;

/// Selector keys that the device itself defines.
pub mod key {
    /// The signature, "QEMU".
    pub const SIGNATURE: u16 = 0x0000;
    /// Features: bit 0 the traditional interface, bit 1 DMA.
    pub const ID: u16 = 0x0001;
    /// The directory of named files.
    pub const FILE_DIR: u16 = 0x0019;
    /// The first named file.
    pub const FILE_FIRST: u16 = 0x0020;
}

/// What [`key::ID`] holds, little-endian.
const FEATURES: [u8; 4] = [0x3, 0, 0, 0];
/// What the DMA address register reads as: "QEMU CFG".
const DMA_SIGNATURE: u64 = 0x5145_4d55_2043_4647;
/// Length of a name in the directory, with its terminating zero.
const NAME_SIZE: usize = 56;
/// Named files that keys can address.
const FILES_MAX: usize = 0x3fe0;
/// Bytes moved at a time.
const CHUNK: usize = 4096;
/// A transfer may run past its item by this much (it reads zeros there); one that asks for more fails, so that it ends soon.
const OVERRUN_MAX: u64 = 1 << 20;

/// The control field of a DMA descriptor.
mod dma {
    pub const ERROR: u32 = 1 << 0;
    pub const READ: u32 = 1 << 1;
    pub const SKIP: u32 = 1 << 2;
    pub const SELECT: u32 = 1 << 3;
    pub const WRITE: u32 = 1 << 4;
}

/// What cannot be an item.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum ItemError {
    /// The directory has 55 bytes for a name.
    #[error("the name of fw_cfg file {0:?} is empty, holds a zero, or is longer than 55 bytes")]
    Name(String),
    /// The directory's entries are numbered in 14 bits.
    #[error("more than {FILES_MAX} fw_cfg files")]
    TooMany,
    /// The directory's sizes are 32 bits wide.
    #[error("fw_cfg file {0:?} is larger than 4 GBytes")]
    Size(String),
    /// Keys below 20h that the device defines, or keys of files.
    #[error("fw_cfg key {0:#x} is not free for an item")]
    Key(u16),
}

/// The items, part of the machine's configuration.
#[derive(Clone, PartialEq, Eq, Default, Debug, Serialize, Deserialize)]
pub struct Items {
    numbered: BTreeMap<u16, Vec<u8>>,
    files: BTreeMap<String, Vec<u8>>,
}

impl Items {
    /// Adds a named file, or replaces it.
    pub fn add_file(&mut self, name: &str, data: Vec<u8>) -> Result<(), ItemError> {
        if name.is_empty() || name.len() >= NAME_SIZE || name.contains('\0') {
            return Err(ItemError::Name(name.into()));
        }
        if u32::try_from(data.len()).is_err() {
            return Err(ItemError::Size(name.into()));
        }
        if self.files.len() >= FILES_MAX && !self.files.contains_key(name) {
            return Err(ItemError::TooMany);
        }
        self.files.insert(name.into(), data);
        Ok(())
    }

    /// Adds an item with a well-known key (2 to 18h).
    pub fn add_numbered(&mut self, key: u16, data: Vec<u8>) -> Result<(), ItemError> {
        if matches!(key, key::SIGNATURE | key::ID) || key >= key::FILE_DIR {
            return Err(ItemError::Key(key));
        }
        self.numbered.insert(key, data);
        Ok(())
    }

    /// The directory: files sorted by name, keys in that order.
    fn directory(&self) -> Vec<u8> {
        let mut directory = (self.files.len() as u32).to_be_bytes().to_vec();
        for (index, (name, data)) in self.files.iter().enumerate() {
            directory.extend((data.len() as u32).to_be_bytes());
            directory.extend((key::FILE_FIRST + index as u16).to_be_bytes());
            directory.extend([0; 2]);
            directory.extend(name.bytes());
            directory.resize(4 + (index + 1) * (8 + NAME_SIZE), 0);
        }
        directory
    }
}

/// The device.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct FwCfg {
    // configuration
    items: Items,
    /// The file directory, which follows from the items.
    directory: Vec<u8>,
    // state
    selected: u16,
    position: u64,
    dma_address: u64,
}

impl FwCfg {
    /// After power-on, with these items.
    pub fn new(items: Items) -> Self {
        let directory = items.directory();
        Self { items, directory, selected: 0, position: 0, dma_address: 0 }
    }

    /// The items it was made with.
    pub fn items(&self) -> &Items {
        &self.items
    }

    fn select(&mut self, key: u16) {
        // Bit 14 asks for write access, which no item grants; bit 15 is the architecture's own space, which is empty.
        self.selected = key & !0x4000;
        self.position = 0;
    }

    /// The data behind the selected key; a key without data is empty.
    fn data(&self) -> &[u8] {
        match self.selected {
            key::SIGNATURE => b"QEMU",
            key::ID => &FEATURES,
            key::FILE_DIR => &self.directory,
            key @ key::FILE_FIRST.. => {
                self.items.files.values().nth(usize::from(key - key::FILE_FIRST)).map_or(&[], Vec::as_slice)
            }
            key => self.items.numbered.get(&key).map_or(&[], Vec::as_slice),
        }
    }

    fn rest(&self) -> &[u8] {
        let data = self.data();
        usize::try_from(self.position).ok().and_then(|from| data.get(from..)).unwrap_or(&[])
    }

    /// A byte beyond the end reads as 0.
    fn next_byte(&mut self) -> u8 {
        let byte = self.rest().first().copied().unwrap_or(0);
        self.position = self.position.saturating_add(1);
        byte
    }

    fn write_dma_address(&mut self, cx: &mut Context<'_>, offset: u64, size: u8, value: u64) {
        // Registers are big-endian: the byte at the lowest offset is the highest.
        let mut bytes = self.dma_address.to_be_bytes();
        byte_lanes::write_bytes(offset, size, value, |at, byte| {
            if let Some(lane) = bytes.get_mut(at.wrapping_sub(4) as usize) {
                *lane = byte;
            }
        });
        self.dma_address = u64::from_be_bytes(bytes);
        let completes = (offset..offset.saturating_add(size.into())).contains(&11);
        if completes {
            let descriptor = DmaAddr(std::mem::take(&mut self.dma_address));
            self.transfer(cx, descriptor);
        }
    }

    /// Executes the descriptor at `at`: control, length, address, all big-endian. The device clears the control field when done.
    fn transfer(&mut self, cx: &mut Context<'_>, at: DmaAddr) {
        let mut descriptor = [0; 16];
        if cx.dma.read(at, &mut descriptor).is_err() {
            return;
        }
        let word = |at: usize| descriptor[at..at + 4].iter().fold(0u32, |word, byte| word << 8 | u32::from(*byte));
        let (control, length) = (word(0), u64::from(word(4)));
        let address = DmaAddr(u64::from(word(8)) << 32 | u64::from(word(12)));
        if control & dma::SELECT != 0 {
            self.select((control >> 16) as u16);
        }
        let done = if control & dma::READ != 0 {
            self.copy_out(cx, address, length)
        } else if control & dma::WRITE != 0 {
            Err(())
        } else {
            if control & dma::SKIP != 0 {
                self.position = self.position.saturating_add(length);
            }
            Ok(())
        };
        let result = if done.is_ok() { 0 } else { dma::ERROR };
        // A descriptor that cannot be written back is software's own affair.
        let _ = cx.dma.write(at, &result.to_be_bytes());
    }

    fn copy_out(&mut self, cx: &mut Context<'_>, address: DmaAddr, length: u64) -> Result<(), ()> {
        if length > self.rest().len() as u64 + OVERRUN_MAX {
            return Err(());
        }
        let mut done = 0;
        while done < length {
            let size = (length - done).min(CHUNK as u64) as usize;
            let mut chunk = [0; CHUNK];
            let rest = self.rest();
            let present = rest.len().min(size);
            chunk[..present].copy_from_slice(&rest[..present]);
            cx.dma.write(address.wrapping_add(done), &chunk[..size]).map_err(|_| ())?;
            self.position = self.position.saturating_add(size as u64);
            done += size as u64;
        }
        Ok(())
    }
}

impl Registers for FwCfg {
    fn read(&mut self, _cx: &mut Context<'_>, offset: u64, size: u8) -> u64 {
        match offset {
            1 => u64::from(self.next_byte()),
            4..=11 => byte_lanes::extract(DMA_SIGNATURE.swap_bytes(), 4, 8, offset, size),
            _ => 0,
        }
    }

    fn write(&mut self, cx: &mut Context<'_>, offset: u64, size: u8, value: u64) {
        match offset {
            0 if size == 2 => self.select(value as u16),
            4..=11 => self.write_dma_address(cx, offset, size, value),
            _ => {}
        }
    }
}

impl Reset for FwCfg {
    fn reset(&mut self) {
        let Self { items: _, directory: _, selected, position, dma_address } = self;
        (*selected, *position, *dma_address) = (0, 0, 0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::device::conformance::{Bench, conformance};

    fn device() -> FwCfg {
        let mut items = Items::default();
        items.add_file("opt/b", b"second".to_vec()).unwrap();
        items.add_file("etc/a", vec![7; 5000]).unwrap();
        items.add_numbered(0x05, 2u16.to_le_bytes().to_vec()).unwrap();
        FwCfg::new(items)
    }

    conformance!(device(), registers = 12);

    fn read(d: &mut FwCfg, b: &mut Bench, key: u16, size: usize) -> Vec<u8> {
        d.write(&mut b.cx(), 0, 2, key.into());
        (0..size).map(|_| b.inb(d, 1)).collect()
    }

    #[test]
    fn signature_features_and_numbered_items_are_read_bytewise() {
        let (mut d, mut b) = (device(), Bench::new());
        assert_eq!(read(&mut d, &mut b, 0, 5), b"QEMU\0");
        assert_eq!(read(&mut d, &mut b, 1, 4), [3, 0, 0, 0]);
        assert_eq!(read(&mut d, &mut b, 5, 3), [2, 0, 0]);
        assert_eq!(read(&mut d, &mut b, 0x7777, 2), [0, 0]);
    }

    #[test]
    fn directory_is_sorted_and_its_keys_select_the_files() {
        let (mut d, mut b) = (device(), Bench::new());
        let directory = read(&mut d, &mut b, 0x19, 4 + 2 * 64);
        assert_eq!(directory[..12], [0, 0, 0, 2, 0, 0, 0x13, 0x88, 0, 0x20, 0, 0]);
        assert_eq!(&directory[12..18], b"etc/a\0");
        assert_eq!(directory[68..76], [0, 0, 0, 6, 0, 0x21, 0, 0]);
        assert_eq!(&directory[76..82], b"opt/b\0");
        assert_eq!(read(&mut d, &mut b, 0x21, 6), b"second");
    }

    fn descriptor(b: &mut Bench, control: u32, length: u32, address: u64) {
        let mut bytes = control.to_be_bytes().to_vec();
        bytes.extend(length.to_be_bytes());
        bytes.extend(address.to_be_bytes());
        b.memory.0[0x100..0x110].copy_from_slice(&bytes);
    }

    fn start(d: &mut FwCfg, b: &mut Bench) {
        b.writel(d, 4, 0);
        b.writel(d, 8, 0x100u32.to_be());
    }

    #[test]
    fn dma_select_and_read_copies_the_item_and_clears_control() {
        let (mut d, mut b) = (device(), Bench::new());
        assert_eq!(b.readl(&mut d, 4).to_le_bytes(), *b"QEMU");
        assert_eq!(b.readl(&mut d, 8).to_le_bytes(), *b" CFG");
        descriptor(&mut b, 0x0020_000a, 5001, 0x1000);
        start(&mut d, &mut b);
        assert_eq!(b.memory.0[0x100..0x104], [0; 4]);
        assert!(b.memory.0[0x1000..0x1000 + 5000].iter().all(|byte| *byte == 7));
        assert_eq!(b.memory.0[0x1000 + 5000], 0);
    }

    #[test]
    fn dma_skip_then_read_continues_there() {
        let (mut d, mut b) = (device(), Bench::new());
        descriptor(&mut b, 0x0021_000c, 2, 0);
        start(&mut d, &mut b);
        descriptor(&mut b, 0x0000_0002, 4, 0x2000);
        d.write(&mut b.cx(), 4, 8, 0x100u64.to_be());
        assert_eq!(&b.memory.0[0x2000..0x2004], b"cond");
    }

    #[test]
    fn dma_write_or_bad_memory_or_endless_length_fails() {
        let (mut d, mut b) = (device(), Bench::new());
        for (control, length, address) in
            [(0x0021_0018, 1, 0), (0x0021_000a, 6, 0xffff_ffff_0000), (0x0021_000a, u32::MAX, 0x1000)]
        {
            descriptor(&mut b, control, length, address);
            start(&mut d, &mut b);
            assert_eq!(b.memory.0[0x100..0x104], [0, 0, 0, 1]);
        }
    }

    #[test]
    fn items_that_cannot_be_are_refused() {
        let mut items = Items::default();
        assert!(matches!(items.add_file(&"x".repeat(56), Vec::new()), Err(ItemError::Name(_))));
        assert!(items.add_file(&"x".repeat(55), Vec::new()).is_ok());
        assert!(matches!(items.add_numbered(1, Vec::new()), Err(ItemError::Key(1))));
        assert!(matches!(items.add_numbered(0x20, Vec::new()), Err(ItemError::Key(0x20))));
    }
}
