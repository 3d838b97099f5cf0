//! The formats, and the walk itself. SDM volume 3, "32-Bit Paging", "PAE Paging", "4-Level Paging and 5-Level Paging".

use crate::Tables;

const P: u64 = 1;
const RW: u64 = 1 << 1;
const US: u64 = 1 << 2;
const A: u64 = 1 << 5;
const D: u64 = 1 << 6;
const PS: u64 = 1 << 7;
const G: u64 = 1 << 8;
const NX: u64 = 1 << 63;
/// Bits 51:12 of an 8-byte entry.
const ADDR: u64 = 0x000f_ffff_ffff_f000;

/// Format of the paging structures.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub enum Format {
    /// 32-bit paging: two levels of 4-byte entries; 4-MByte pages if CR4.PSE.
    Bits32 {
        /// CR4.PSE.
        large_pages: bool,
    },
    /// PAE paging: the page-directory-pointer entries are registers, then two levels of 8-byte entries.
    Pae,
    /// 4-level paging.
    Level4,
    /// 5-level paging.
    Level5,
}

/// One entry that a walk used.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Step {
    /// Physical address of the entry.
    pub addr: u64,
    /// Its value.
    pub value: u64,
    /// Its level: 1 maps 4-KByte pages.
    pub level: u8,
}

/// What a walk found.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Translation {
    /// Physical address of the byte asked for.
    pub addr: u64,
    /// log2 of the page's size: 12, 21, 22 or 30.
    pub page_shift: u8,
    /// Every level allows writes.
    pub writable: bool,
    /// Every level allows user-mode accesses.
    pub user: bool,
    /// Some level forbids instruction fetches.
    pub no_execute: bool,
    /// The page's D flag.
    pub dirty: bool,
    /// The page's G flag.
    pub global: bool,
    /// The page's protection key.
    pub key: u8,
    /// Index into the PAT: PAT, PCD, PWT of the page's entry.
    pub pat_index: u8,
    /// The entries used, from the top.
    pub steps: [Step; 5],
    /// How many of them.
    pub depth: u8,
}

/// Why there is no translation.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum WalkFault {
    /// An entry is not present.
    NotPresent,
    /// A present entry has a reserved bit set.
    Reserved,
}

impl Format {
    const fn levels(self) -> u8 {
        match self {
            Format::Bits32 { .. } | Format::Pae => 2,
            Format::Level4 => 4,
            Format::Level5 => 5,
        }
    }
    /// Bytes of an entry.
    pub const fn entry_size(self) -> u64 {
        match self {
            Format::Bits32 { .. } => 4,
            _ => 8,
        }
    }
    /// log2 of how much an entry of this level maps.
    pub const fn shift(self, level: u8) -> u8 {
        match self {
            Format::Bits32 { .. } => 12 + 10 * (level - 1),
            _ => 12 + 9 * (level - 1),
        }
    }
    const fn index(self, linear: u64, level: u8) -> u64 {
        let bits = if matches!(self, Format::Bits32 { .. }) { 10 } else { 9 };
        linear >> self.shift(level) & ((1 << bits) - 1)
    }
    /// May an entry of this level map a page, when its PS flag is set?
    const fn maps_large(self, level: u8) -> bool {
        match self {
            Format::Bits32 { large_pages } => large_pages && level == 2,
            Format::Pae => level == 2,
            _ => level == 2 || level == 3,
        }
    }
    /// Reserved bits of a present entry.
    fn reserved(self, value: u64, level: u8, large: bool, nxe: bool, phys_bits: u32) -> u64 {
        if let Format::Bits32 { .. } = self {
            // A 4-MByte page's bits 20:13 are address bits 39:32 ("PSE-36"), bit 21 is reserved.
            let high = if phys_bits >= 40 { 0 } else { 0xff << 13 & !((1 << (phys_bits.max(32) - 32 + 13)) - 1) };
            return if large { value & (1 << 21 | high) } else { 0 };
        }
        let mut mask = ADDR & !((1u64 << phys_bits) - 1);
        if !nxe {
            mask |= NX;
        }
        if self == Format::Pae {
            mask |= 0x7ff << 52;
        }
        if large {
            // Bit 12 is PAT; from 13 up to the page's size reserved.
            mask |= (1u64 << self.shift(level)) - (1 << 13);
        } else if level >= 4 {
            mask |= PS;
        }
        value & mask
    }
    fn large_base(self, value: u64, level: u8) -> u64 {
        match self {
            Format::Bits32 { .. } => value & 0xffc0_0000 | (value >> 13 & 0xff) << 32,
            _ => value & ADDR & !((1 << self.shift(level)) - 1),
        }
    }
}

/// Walks from `root` (CR3's address bits, or for PAE the page directory that PDPTE `linear[31:30]` names) to the page of `linear`.
/// `nxe` is IA32_EFER.NXE, `phys_bits` the width of physical addresses.
pub fn walk<T: Tables>(
    tables: &mut T,
    format: Format,
    root: u64,
    linear: u64,
    nxe: bool,
    phys_bits: u32,
) -> Result<Translation, WalkFault> {
    let mut found = Translation { writable: true, user: true, ..Translation::default() };
    let mut table = root;
    let mut level = format.levels();
    loop {
        let addr = table + format.index(linear, level) * format.entry_size();
        let value = tables.load(addr, format.entry_size());
        if value & P == 0 {
            return Err(WalkFault::NotPresent);
        }
        let large = level > 1 && value & PS != 0 && format.maps_large(level);
        if format.reserved(value, level, large, nxe, phys_bits) != 0 {
            return Err(WalkFault::Reserved);
        }
        found.steps[found.depth as usize] = Step { addr, value, level };
        found.depth += 1;
        found.writable &= value & RW != 0;
        found.user &= value & US != 0;
        found.no_execute |= value & NX != 0 && format.entry_size() == 8;
        if large || level == 1 {
            finish(&mut found, format, value, level, large, linear);
            return Ok(found);
        }
        table = if format.entry_size() == 4 { value & 0xffff_f000 } else { value & ADDR };
        level -= 1;
    }
}

/// Bits of a last-level entry of which none may be set where it is present.
pub fn reserved_in_last_level(format: Format, nxe: bool, phys_bits: u32) -> u64 {
    format.reserved(u64::MAX, 1, false, nxe, phys_bits)
}

fn finish(found: &mut Translation, format: Format, value: u64, level: u8, large: bool, linear: u64) {
    let shift = format.shift(level);
    let base = match (large, format.entry_size()) {
        (true, _) => format.large_base(value, level),
        (false, 4) => value & 0xffff_f000,
        (false, _) => value & ADDR,
    };
    let pat = value >> if large { 12 } else { 7 } & 1;
    found.addr = base | linear & ((1 << shift) - 1);
    found.page_shift = shift;
    found.dirty = value & D != 0;
    found.global = value & G != 0;
    found.pat_index = (pat << 2 | value >> 3 & 3) as u8;
    // Protection keys exist in 4- and 5-level paging only.
    found.key = if matches!(format, Format::Level4 | Format::Level5) { (value >> 59 & 15) as u8 } else { 0 };
}

/// Sets the accessed flag in every entry used, and the dirty flag of the page when the access is a write. Writes only what changes.
/// "Accessed and Dirty Flags".
pub fn mark_used<T: Tables>(tables: &mut T, format: Format, found: &mut Translation, write: bool) {
    let depth = found.depth as usize;
    for n in 0..depth {
        let step = &mut found.steps[n];
        let is_page = n + 1 == depth;
        let value = step.value | A | if is_page && write { D } else { 0 };
        if value != step.value {
            tables.store(step.addr, format.entry_size(), value);
            step.value = value;
        }
    }
    found.dirty |= write;
}
