//! The memory map that firmware reports: ACPI specification, "System Address Map Interfaces" (INT 15h, E820h).

use super::layout::{Layout, TablesError};
use serde::{Deserialize, Serialize};

/// What a range of the address space is. "Address Range Types".
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[repr(u32)]
pub enum E820Type {
    /// AddressRangeMemory: usable RAM.
    Ram = 1,
    /// AddressRangeReserved: in use or not suitable.
    Reserved = 2,
    /// AddressRangeACPI: RAM that is free once the ACPI tables have been read.
    Acpi = 3,
    /// AddressRangeNVS: RAM that firmware uses while the system runs (the FACS).
    AcpiNvs = 4,
}

/// A range of the address space.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct E820Entry {
    /// First address.
    pub start: u64,
    /// Length in bytes.
    pub len: u64,
    /// What it is.
    pub kind: E820Type,
}

impl E820Entry {
    /// A range from `start` up to, not including, `end`.
    pub fn range(start: u64, end: u64, kind: E820Type) -> Self {
        Self { start, len: end.saturating_sub(start), kind }
    }

    /// The 20 bytes in which E820h and Linux's zero page hold an entry.
    pub fn to_bytes(self) -> [u8; 20] {
        let mut bytes = [0; 20];
        bytes[..8].copy_from_slice(&self.start.to_le_bytes());
        bytes[8..16].copy_from_slice(&self.len.to_le_bytes());
        bytes[16..].copy_from_slice(&(self.kind as u32).to_le_bytes());
        bytes
    }
}

/// Where the RAM below 640 KiB ends and the extended BIOS data area begins.
pub const EBDA_START: u64 = 0x9_fc00;
/// Where the hole of the PC for video memory and adapters begins.
pub const HOLE_START: u64 = 0xa_0000;
/// Where firmware's last 64 KiB below 1 MiB begin; the ACPI root pointer is there.
pub const BIOS_START: u64 = 0xf_0000;
/// Where the hole ends.
pub const HOLE_END: u64 = 0x10_0000;
/// Where RAM continues that did not fit below [`Layout::low_ram_limit`].
pub const HIGH_RAM_START: u64 = 1 << 32;

/// The RAM of the board: (start, end) of each range, in order.
pub fn ram_ranges(layout: &Layout) -> Vec<(u64, u64)> {
    let low_end = layout.ram_bytes.min(layout.low_ram_limit);
    let mut ranges = vec![(0, low_end)];
    if layout.ram_bytes > low_end {
        ranges.push((HIGH_RAM_START, HIGH_RAM_START.saturating_add(layout.ram_bytes - low_end)));
    }
    ranges
}

/// The memory map in the order of addresses.
///
/// RAM lies below the hole, between 1 MiB and the ACPI tables, and above 4 GiB. The tables take the top of the low RAM, the FACS
/// behind them as NVS, since the operating system may write it while it runs. The ECAM window is reserved: Linux asks for that.
///
/// # Errors
/// [`TablesError`], when the layout contradicts itself.
pub fn memory_map(layout: &Layout) -> Result<Vec<E820Entry>, TablesError> {
    layout.check()?;
    let (tables, facs) = (layout.tables_start()?, layout.facs_start()?);
    let low_end = layout.ram_bytes.min(layout.low_ram_limit);
    let mut map = vec![
        E820Entry::range(0, EBDA_START, E820Type::Ram),
        E820Entry::range(EBDA_START, HOLE_START, E820Type::Reserved),
        E820Entry::range(BIOS_START, HOLE_END, E820Type::Reserved),
        E820Entry::range(HOLE_END, tables, E820Type::Ram),
        E820Entry::range(tables, facs, E820Type::Acpi),
        E820Entry::range(facs, low_end, E820Type::AcpiNvs),
        E820Entry { start: layout.ecam_base, len: layout.ecam_len(), kind: E820Type::Reserved },
    ];
    for (start, end) in ram_ranges(layout).into_iter().skip(1) {
        map.push(E820Entry::range(start, end, E820Type::Ram));
    }
    map.sort_by_key(|entry| entry.start);
    Ok(map)
}
