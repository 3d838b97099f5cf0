//! Tracking: which pages of RAM serve as paging structures of cached translations, and what a change to them means.

use super::contexts::Mmu;
use rustc_hash::FxHashMap as HashMap;
use undercroft_ram::page_flags;
use undercroft_walk::Format;

/// Uses of one page that a space notes one by one. Beyond them there is one note for all: any change empties the space.
const USES_BY_SPACE: usize = 4;
/// Uses that are noted in all, stale ones included. Beyond them everything is forgotten: the memory that tracking takes stays
/// bounded, and each forgetting is paid for by as many walks.
const MAX_USES: usize = 1 << 20;
/// In place of a level: the page is used in more ways than are noted.
const ANY_LEVEL: u8 = 0;

/// One use of a page as a paging structure.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Use {
    /// Of the space when this was noted. If it has another now, the use is stale.
    serial: u64,
    /// First linear address that the structure maps.
    base: u64,
    space: u32,
    level: u8,
}

/// By page of RAM. A page that is here has the flag `TABLE`; whoever stores to it calls [`Mmu::entries_change`] first.
#[derive(Default)]
pub struct Uses {
    pages: HashMap<u64, Vec<Use>>,
    count: usize,
}

impl Mmu {
    /// A walk that filled (or is about to fill) a cache of a space used a page as a structure.
    pub(super) fn note_use(&mut self, page: u64, slot: u32, level: u8, base: u64) {
        let serial = self.spaces[slot as usize].serial;
        let new = Use { space: slot, serial, level, base };
        let uses = self.tables.pages.entry(page).or_default();
        let mut own = 0;
        for u in uses.iter().filter(|u| u.space == slot && u.serial == serial) {
            if u.level == ANY_LEVEL || *u == new {
                return;
            }
            own += 1;
        }
        let before = uses.len();
        let spaces = &self.spaces;
        uses.retain(|u| spaces[u.space as usize].serial == u.serial);
        if own < USES_BY_SPACE {
            uses.push(new);
        } else {
            uses.retain(|u| u.space != slot);
            uses.push(Use { level: ANY_LEVEL, base: 0, ..new });
        }
        self.tables.count = self.tables.count + uses.len() - before;
        if self.ram.flags(page) & page_flags::TABLE == 0 {
            self.ram.set_flags(page, page_flags::TABLE);
            self.forbid_writes(page);
        }
    }
    /// Makes sure that another walk's uses can be noted.
    pub(super) fn limit_uses(&mut self) {
        if self.tables.count <= MAX_USES {
            return;
        }
        for slot in 0..self.spaces.len() as u32 {
            self.clear_space(slot);
        }
        for page in self.tables.pages.keys() {
            self.ram.clear_flags(*page, page_flags::TABLE);
        }
        self.tables = Uses::default();
    }

    /// The bytes from `offset` in page `page` of RAM, which serves as a paging structure, are about to change.
    pub fn entries_change(&mut self, page: u64, offset: u64, len: u64) {
        self.change(page, |mmu, u, format| {
            let size = format.entry_size();
            let mut entry = offset & !(size - 1);
            while entry < offset + len && mmu.spaces[u.space as usize].serial == u.serial {
                // An entry that is not present was used by no walk that is cached.
                if mmu.ram.load(page << 12 | entry, size).unwrap_or(0) & 1 != 0 {
                    mmu.drop_use(u, entry, format);
                }
                entry += size;
            }
        });
    }
    /// A walk sets flags in the 4-byte entry at `offset`. For 4-byte entries these are A and D, which change no translation, and for 8-byte
    /// entries too if they have them at the same place; else they are bits of an address.
    pub(super) fn entry_is_marked(&mut self, page: u64, offset: u64) {
        if offset & 4 == 0 {
            return;
        }
        self.change(page, |mmu, u, format| {
            if format.entry_size() == 8 {
                mmu.clear_space(u.space);
            }
        });
    }
    /// A device wrote to a page that serves as a paging structure: forgets what every space that uses it caches.
    pub fn table_overwritten(&mut self, page: u64) {
        self.change(page, |mmu, u, _| mmu.clear_space(u.space));
    }

    /// How many uses of a page are noted.
    #[cfg(test)]
    pub fn uses_of(&self, page: u64) -> usize {
        self.tables.pages.get(&page).map_or(0, Vec::len)
    }
    /// Does something for each use of a page that is not stale, and forgets those that are.
    fn change(&mut self, page: u64, mut each: impl FnMut(&mut Mmu, Use, Format)) {
        let mut uses = self.tables.pages.remove(&page).unwrap_or_default();
        self.tables.count -= uses.len();
        for u in &uses {
            let space = &self.spaces[u.space as usize];
            if space.serial == u.serial
                && let Some(format) = space.context.format
            {
                each(self, *u, format);
            }
        }
        uses.retain(|u| self.spaces[u.space as usize].serial == u.serial);
        if uses.is_empty() {
            self.ram.clear_flags(page, page_flags::TABLE);
        } else {
            self.tables.count += uses.len();
            self.tables.pages.insert(page, uses);
        }
    }
    /// A present entry at an offset of a structure changes.
    fn drop_use(&mut self, u: Use, offset: u64, format: Format) {
        if u.level == 1 {
            let linear = u.base.wrapping_add(offset / format.entry_size() << 12);
            self.counters.drops += 1;
            for view in self.spaces[u.space as usize].views.into_iter().flatten() {
                if self.tlb.drop_page(view, canonical(format, linear)) {
                    self.epoch += 1;
                }
            }
            return;
        }
        let is_root =
            matches!((format, u.level), (Format::Level4, 4) | (Format::Level5, 5) | (Format::Bits32 { .. }, 2));
        if is_root && !self.live.contains(&u.space) {
            // Nobody runs in this space and its root changes: most likely the page is on its way to another life.
            self.retire(u.space);
        } else {
            self.clear_space(u.space);
        }
    }
}

/// The linear address with the sign that 4- and 5-level paging demand.
fn canonical(format: Format, linear: u64) -> u64 {
    match format {
        Format::Level4 => ((linear << 16) as i64 >> 16) as u64,
        Format::Level5 => ((linear << 7) as i64 >> 7) as u64,
        _ => linear & 0xffff_ffff,
    }
}
