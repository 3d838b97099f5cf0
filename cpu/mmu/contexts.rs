//! Contexts: cached translations that live on when the processor switches to another address space and back (docs/design/0001).
//!
//! A *space* belongs to one [`Context`]. It has a TLB view for each kind of privilege: user, supervisor, supervisor with SMAP suspended.
//! Spaces are shared by all logical processors, since nothing in a context is particular to one.

use super::paging::Context;
use rustc_hash::FxHashMap as HashMap;
use undercroft_phys_map::PhysMap;
use undercroft_ram::{Ram, page_flags};
use undercroft_spec::PhysAddr;
use undercroft_tlb::{Permissions, Tlb, ViewId};
use undercroft_walk::{Format, Translation};

/// Spaces kept at most; the one unused for longest makes room.
const MAX_SPACES: usize = 96;
/// Entries of a space's cache of last-level tables.
const UPPER: usize = 64;

/// Kind of privilege: which view of a space an access uses.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Class {
    /// User-mode accesses.
    User = 0,
    /// Supervisor-mode accesses, SMAP in force.
    Supervisor = 1,
    /// Supervisor-mode accesses while RFLAGS.AC suspends SMAP.
    SupervisorAc = 2,
}

/// What walking down to a last-level table gave: where it is and what the levels above allow.
#[derive(Clone, Copy)]
pub struct Upper {
    tag: u64,
    /// Physical address of the last-level table.
    pub table: u64,
    /// What the levels above say.
    pub above: Translation,
}

struct Space {
    context: Context,
    serial: u32,
    views: [Option<ViewId>; 3],
    upper: Box<[Option<Upper>; UPPER]>,
    used: u64,
}

/// One use of a page as a paging structure.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Use {
    space: u32,
    serial: u32,
    level: u8,
    /// First linear address that the structure maps.
    base: u64,
}

/// All contexts, and the tracking that keeps them coherent.
pub struct Mmu {
    /// The translations.
    pub tlb: Tlb,
    ram: Ram,
    map: PhysMap,
    spaces: Vec<Space>,
    by_context: HashMap<Context, u32>,
    free_views: Vec<ViewId>,
    tables: HashMap<u64, Vec<Use>>,
    /// For each page of RAM, TLB entries that let stores go to it: view and index plus one; the last place all ones when there are more.
    writers: Vec<[u32; 4]>,
    /// Space that each logical processor uses.
    live: Vec<u32>,
    /// Changes whenever a translation that instructions were fetched by may have changed.
    pub epoch: u64,
    clock: u64,
    next_serial: u32,
    /// For `--stats`.
    pub counters: Counters,
}

/// What the memory management did. For people, not part of the machine's state.
#[derive(Clone, Copy, Default, Debug)]
pub struct Counters {
    /// Translations filled into the TLB.
    pub fills: u64,
    /// Walks of all levels.
    pub walks: u64,
    /// Spaces made.
    pub spaces: u64,
    /// Translations dropped since an entry changed.
    pub drops: u64,
    /// Views emptied since an entry of an upper level changed.
    pub clears: u64,
}

impl Mmu {
    /// For `cpus` logical processors, with nothing cached.
    pub fn new(ram: Ram, map: PhysMap, cpus: usize) -> Mmu {
        Mmu {
            tlb: Tlb::new(ram.clone()),
            spaces: Vec::new(),
            by_context: HashMap::default(),
            free_views: Vec::new(),
            tables: HashMap::default(),
            writers: vec![[0; 4]; ram.pages() as usize],
            live: vec![u32::MAX; cpus],
            epoch: 1,
            clock: 0,
            next_serial: 1,
            counters: Counters::default(),
            map,
            ram,
        }
    }

    /// The space of a context, for logical processor `cpu` which now uses it.
    pub fn space_for(&mut self, context: &Context, cpu: usize) -> u32 {
        self.clock += 1;
        let slot = match self.by_context.get(context) {
            Some(slot) => *slot,
            None => self.new_space(*context),
        };
        self.spaces[slot as usize].used = self.clock;
        if let Some(live) = self.live.get_mut(cpu) {
            *live = slot;
        }
        slot
    }
    fn new_space(&mut self, context: Context) -> u32 {
        self.counters.spaces += 1;
        self.next_serial = self.next_serial.wrapping_add(1);
        let space = Space {
            context,
            serial: self.next_serial,
            views: [None; 3],
            upper: Box::new([None; UPPER]),
            used: self.clock,
        };
        let slot = if self.spaces.len() < MAX_SPACES {
            self.spaces.push(space);
            self.spaces.len() as u32 - 1
        } else {
            let oldest = (0..self.spaces.len())
                .filter(|n| !self.live.contains(&(*n as u32)))
                .min_by_key(|n| self.spaces[*n].used);
            let slot = oldest.unwrap_or(0);
            self.retire(slot as u32);
            self.spaces[slot] = space;
            slot as u32
        };
        self.by_context.insert(context, slot);
        slot
    }
    /// Forgets all of a space. Its uses of tables become stale by their serial.
    fn retire(&mut self, slot: u32) {
        let space = &mut self.spaces[slot as usize];
        if self.by_context.get(&space.context) == Some(&slot) {
            self.by_context.remove(&space.context);
        }
        self.next_serial = self.next_serial.wrapping_add(1);
        space.serial = self.next_serial;
        space.upper.fill(None);
        for view in space.views.iter_mut().filter_map(Option::take) {
            self.tlb.clear(view);
            self.free_views.push(view);
        }
        self.epoch += 1;
    }
    /// The view of a space for a kind of privilege.
    pub fn view(&mut self, slot: u32, class: Class) -> ViewId {
        let space = &mut self.spaces[slot as usize];
        if let Some(view) = space.views[class as usize] {
            return view;
        }
        let view = self.free_views.pop().unwrap_or_else(|| self.tlb.add_view());
        space.views[class as usize] = Some(view);
        view
    }

    /// The last-level table for a linear address, if it was walked to before and nothing above it changed.
    pub fn upper(&self, slot: u32, linear: u64) -> Option<&Upper> {
        let region = linear >> 21;
        self.spaces[slot as usize].upper[region as usize % UPPER].as_ref().filter(|u| u.tag == region)
    }
    /// Notes the structures that a walk used, so that changes to them are seen.
    pub fn note_walk(&mut self, slot: u32, format: Format, linear: u64, found: &Translation) {
        self.counters.walks += 1;
        for step in &found.steps[..found.depth as usize] {
            let shift = format.shift(step.level) + if format.entry_size() == 4 { 10 } else { 9 };
            let base = if shift >= 64 { 0 } else { linear >> shift << shift };
            self.note_use(step.addr >> 12, slot, step.level, base);
        }
        let last = &found.steps[found.depth as usize - 1];
        // A later walk from the last level sets no flag above it: so all must be set already.
        let all_accessed = found.steps[..found.depth as usize - 1].iter().all(|step| step.value & 0x20 != 0);
        if last.level == 1 && format.entry_size() == 8 && all_accessed {
            let mut above = Translation { writable: true, user: true, ..Translation::default() };
            for step in &found.steps[..found.depth as usize - 1] {
                above.writable &= step.value & 2 != 0;
                above.user &= step.value & 4 != 0;
                above.no_execute |= step.value >> 63 != 0;
            }
            let region = linear >> 21;
            let upper = Upper { tag: region, table: last.addr & !0xfff, above };
            self.spaces[slot as usize].upper[region as usize % UPPER] = Some(upper);
        }
    }
    fn note_use(&mut self, phys_page: u64, slot: u32, level: u8, base: u64) {
        let serial = self.spaces[slot as usize].serial;
        let new = Use { space: slot, serial, level, base };
        let Some(page) = self.ram_page(phys_page) else { return };
        let uses = self.tables.entry(page).or_default();
        if uses.contains(&new) {
            return;
        }
        let spaces = &self.spaces;
        uses.retain(|u| spaces[u.space as usize].serial == u.serial);
        uses.push(new);
        if self.ram.flags(page) & page_flags::TABLE == 0 {
            self.ram.set_flags(page, page_flags::TABLE);
            self.forbid_writes(page);
        }
    }
    /// Number in RAM of a page of the physical address space.
    fn ram_page(&self, phys_page: u64) -> Option<u64> {
        self.map.ram_offset(PhysAddr(phys_page << 12)).map(|offset| offset >> 12)
    }

    /// Caches a translation. `ram_page` is where the page lies in RAM.
    pub fn fill(&mut self, view: ViewId, linear: u64, ram_page: u64, allow: Permissions) {
        self.counters.fills += 1;
        if self.tlb.fill(view, linear, ram_page, allow) && allow.write {
            self.note_writer(ram_page, view, Tlb::index_of(linear));
        }
    }
    fn note_writer(&mut self, page: u64, view: ViewId, index: usize) {
        let me = (view.0 << 10 | index as u32) + 1;
        let tlb = &self.tlb;
        let Some(writers) = self.writers.get_mut(page as usize) else { return };
        if writers.contains(&me) || writers[3] == u32::MAX {
            return;
        }
        let stale = |w: u32| w == 0 || !tlb.writes_to(ViewId((w - 1) >> 10), (w - 1) as usize & 0x3ff, page);
        match writers.iter_mut().find(|w| stale(**w)) {
            Some(place) => *place = me,
            None => writers[3] = u32::MAX,
        }
    }
    /// Makes stores to a page of RAM leave the fast path.
    pub fn forbid_writes(&mut self, page: u64) {
        let Some(writers) = self.writers.get_mut(page as usize) else { return };
        let who = std::mem::take(writers);
        if who[3] == u32::MAX {
            self.tlb.forbid_writes_everywhere(page);
            return;
        }
        for w in who.into_iter().filter(|w| *w != 0) {
            self.tlb.forbid_writes(ViewId((w - 1) >> 10), (w - 1) as usize & 0x3ff, page);
        }
    }

    /// The bytes from `offset` in page `page` of RAM, which serves as a paging structure, are about to change.
    pub fn entries_change(&mut self, page: u64, offset: u64, len: u64) {
        let Some(mut uses) = self.tables.remove(&page) else {
            self.ram.clear_flags(page, page_flags::TABLE);
            return;
        };
        let mut at = 0;
        while at < uses.len() {
            let u = uses[at];
            let space = &self.spaces[u.space as usize];
            let size = space.context.format.map_or(8, Format::entry_size);
            let mut entry = offset & !(size - 1);
            while entry < offset + len && self.spaces[u.space as usize].serial == u.serial {
                let old = self.ram.load(page << 12 | entry, size).unwrap_or(0);
                if old & 1 != 0 {
                    self.drop_use(u, entry, old);
                }
                entry += size;
            }
            at += 1;
        }
        uses.retain(|u| self.spaces[u.space as usize].serial == u.serial);
        if uses.is_empty() {
            self.ram.clear_flags(page, page_flags::TABLE);
        } else {
            self.tables.insert(page, uses);
        }
    }
    fn drop_use(&mut self, u: Use, offset: u64, old: u64) {
        let space = &self.spaces[u.space as usize];
        let Some(format) = space.context.format else { return };
        let shift = format.shift(u.level);
        let index = offset / format.entry_size();
        let linear = u.base.wrapping_add(index << shift);
        if u.level == 1 {
            self.counters.drops += 1;
            let views = space.views;
            for view in views.into_iter().flatten() {
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
            return;
        }
        self.clear_space(u.space);
        let is_page = old & 0x80 != 0 && u.level <= 3;
        if !is_page {
            let child = if format.entry_size() == 4 { old & 0xffff_f000 } else { old & 0x000f_ffff_ffff_f000 };
            self.forget_table(child >> 12, u.space, u.level - 1, linear, format);
        }
    }
    /// Empties the views of a space.
    fn clear_space(&mut self, slot: u32) {
        self.counters.clears += 1;
        let space = &mut self.spaces[slot as usize];
        space.upper.fill(None);
        let views = space.views;
        for view in views.into_iter().flatten() {
            self.tlb.clear(view);
        }
        self.epoch += 1;
    }
    /// A table is no longer reached from `base` in a space: it, and what hangs below it, is no paging structure of that space there.
    fn forget_table(&mut self, phys_page: u64, slot: u32, level: u8, base: u64, format: Format) {
        let Some(page) = self.ram_page(phys_page) else { return };
        let Some(uses) = self.tables.get_mut(&page) else { return };
        let before = uses.len();
        uses.retain(|u| !(u.space == slot && u.level == level && u.base == base));
        if uses.len() == before {
            return;
        }
        if uses.is_empty() {
            self.tables.remove(&page);
            self.ram.clear_flags(page, page_flags::TABLE);
        }
        if level == 1 {
            return;
        }
        let size = format.entry_size();
        for index in 0..4096 / size {
            let value = self.ram.load(page * 4096 + index * size, size).unwrap_or(0);
            if value & 1 != 0 && !(value & 0x80 != 0 && level <= 3) {
                let child = if size == 4 { value & 0xffff_f000 } else { value & 0x000f_ffff_ffff_f000 };
                self.forget_table(
                    child >> 12,
                    slot,
                    level - 1,
                    base.wrapping_add(index << format.shift(level)),
                    format,
                );
            }
        }
    }
    /// A device wrote to a page that serves as a paging structure: forgets every space that uses it.
    pub fn table_overwritten(&mut self, page: u64) {
        for u in self.tables.remove(&page).unwrap_or_default() {
            if self.spaces[u.space as usize].serial == u.serial {
                self.retire(u.space);
            }
        }
        self.ram.clear_flags(page, page_flags::TABLE);
        self.live.fill(u32::MAX);
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
