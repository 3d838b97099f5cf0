//! Contexts: cached translations that live on when the processor switches to another address space and back (docs/design/0001).
//!
//! A *space* belongs to one [`Context`]. It has a TLB view for each kind of privilege: user, supervisor, supervisor with SMAP suspended.
//! Spaces are shared by all logical processors, since nothing in a context is particular to one.
//!
//! # Why nothing stale can be seen
//!
//! A space caches what a walk found only if every structure of that walk lies in RAM and is noted as *used* by the space ([`tracking`]); the
//! page is flagged then, so that every store to it, by processors or devices, is reported before the space is used again. A store to an
//! entry that was present drops all that depended on it: one page for a last-level entry, else everything that the space caches.
//! Everything is forgotten by giving the space a new *serial*: its uses of tables and what it knows of last-level tables carry the old one and mean
//! nothing any more. So forgetting takes bounded time, whatever the tables look like (they may contain each other and themselves). Emptying views
//! is paid for by the misses that filled them: an empty view is not emptied again.
//!
//! [`tracking`]: super::tracking

use super::paging::{Context, PHYS_BITS};
use rustc_hash::FxHashMap as HashMap;
use undercroft_phys_map::PhysMap;
use undercroft_ram::Ram;
use undercroft_spec::PhysAddr;
use undercroft_tlb::{Permissions, Tlb, ViewId};
use undercroft_walk::{Allowed, Format, Translation, reserved_in_last_level};

/// Spaces kept at most; the one unused for longest makes room.
pub(super) const MAX_SPACES: usize = 96;
/// Regions of a space whose last level is known, at most.
const REGIONS: usize = 512;

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

/// A region: what an entry of level 2 maps, 2 MBytes (4 in 32-bit paging). What walking down to its last level gave. All entries above had
/// their A flag set, and for a large page its own.
#[derive(Clone, Copy, Default)]
pub struct Region {
    number: u64,
    /// Of the space, when this was noted; else it means nothing.
    serial: u64,
    /// Offset in RAM of the last-level table; for part of a large page the physical address that the region begins at.
    pub base: u64,
    /// What the levels above (or, for a large page, all levels) allow: see [`Allowed`].
    pub bits: u8,
    /// The region is (part of) a large page.
    pub large: bool,
    /// The large page's D flag.
    pub dirty: bool,
    /// The large page's protection key.
    pub key: u8,
}

/// What is cached of a context.
pub struct Space {
    pub(super) context: Context,
    /// Never the same again once it changed.
    pub(super) serial: u64,
    pub(super) views: [Option<ViewId>; 3],
    regions: Box<[Region]>,
    used: u64,
    /// What pages allow, by [`Class`].
    pub allowed: [Allowed; 3],
    /// Reserved bits of last-level entries.
    pub reserved: u64,
    /// Bytes of an entry.
    pub entry_size: u64,
    /// Entries that map a page have a protection key.
    pub has_keys: bool,
    /// log2 of a region's size.
    pub region_shift: u8,
}

impl Space {
    fn new(context: Context, serial: u64, regions: Box<[Region]>) -> Space {
        let rules = context.rules;
        let format = context.format.unwrap_or(Format::Level4);
        Space {
            context,
            serial,
            views: [None; 3],
            regions,
            used: 0,
            allowed: [(true, false), (false, false), (false, true)].map(|(user, ac)| Allowed::new(rules, user, ac)),
            reserved: reserved_in_last_level(format, rules.no_execute, PHYS_BITS),
            entry_size: format.entry_size(),
            has_keys: matches!(format, Format::Level4 | Format::Level5) && rules.pkru != 0,
            region_shift: format.shift(2),
        }
    }
    /// What is known of the region of a linear address.
    #[inline]
    pub fn region(&self, linear: u64) -> Option<&Region> {
        let number = linear >> self.region_shift;
        let region = &self.regions[number as usize % REGIONS];
        if region.number == number && region.serial == self.serial { Some(region) } else { None }
    }
    fn note_region(&mut self, linear: u64, bits: u8, found: &Translation, base: u64) {
        let number = linear >> self.region_shift;
        self.regions[number as usize % REGIONS] = Region {
            number,
            serial: self.serial,
            base,
            bits,
            large: found.page_shift > 12,
            dirty: found.dirty,
            key: if self.has_keys { found.key } else { 0 },
        };
    }
}

/// All contexts, and the tracking that keeps them coherent.
pub struct Mmu {
    /// The translations.
    pub tlb: Tlb,
    pub(super) ram: Ram,
    pub(super) map: PhysMap,
    pub(super) spaces: Vec<Space>,
    by_context: HashMap<Context, u32>,
    free_views: Vec<ViewId>,
    pub(super) tables: super::tracking::Uses,
    pub(super) writers: super::writers::Writers,
    /// Space that each logical processor uses.
    pub(super) live: Vec<u32>,
    /// Changes whenever a translation that instructions were fetched by may have changed.
    pub epoch: u64,
    clock: u64,
    next_serial: u64,
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
    /// Times all that a space cached was dropped since an entry of an upper level changed.
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
            tables: super::tracking::Uses::default(),
            writers: super::writers::Writers::new(ram.pages()),
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
        let serial = self.new_serial();
        let slot = if self.spaces.len() < MAX_SPACES {
            self.spaces.push(Space::new(context, serial, vec![Region::default(); REGIONS].into_boxed_slice()));
            self.spaces.len() - 1
        } else {
            let oldest =
                (0..MAX_SPACES).filter(|n| !self.live.contains(&(*n as u32))).min_by_key(|n| self.spaces[*n].used);
            // With so many logical processors that all are in use any will do: each looks its space up when its turn comes.
            let slot = oldest.unwrap_or(0);
            self.retire(slot as u32);
            let regions = std::mem::take(&mut self.spaces[slot].regions);
            self.spaces[slot] = Space::new(context, serial, regions);
            slot
        };
        self.by_context.insert(context, slot as u32);
        slot as u32
    }
    fn new_serial(&mut self) -> u64 {
        self.next_serial += 1;
        self.next_serial
    }
    /// Forgets a space and gives its views back.
    pub(super) fn retire(&mut self, slot: u32) {
        self.clear_space(slot);
        let space = &mut self.spaces[slot as usize];
        if self.by_context.get(&space.context) == Some(&slot) {
            self.by_context.remove(&space.context);
        }
        self.free_views.extend(space.views.iter_mut().filter_map(Option::take));
    }
    /// Forgets all that a space caches. Its uses of tables become stale by their serial.
    pub(super) fn clear_space(&mut self, slot: u32) {
        self.counters.clears += 1;
        let serial = self.new_serial();
        let space = &mut self.spaces[slot as usize];
        space.serial = serial;
        for view in space.views.into_iter().flatten() {
            // Nothing was fetched by a view that nothing was filled into.
            if self.tlb.clear(view) {
                self.epoch += 1;
            }
        }
    }
    /// A space.
    #[inline]
    pub fn space(&self, slot: u32) -> &Space {
        &self.spaces[slot as usize]
    }
    /// The view of a space for a kind of privilege.
    #[inline]
    pub fn view(&mut self, slot: u32, class: Class) -> ViewId {
        match self.spaces[slot as usize].views[class as usize] {
            Some(view) => view,
            None => self.new_view(slot, class),
        }
    }
    #[cold]
    fn new_view(&mut self, slot: u32, class: Class) -> ViewId {
        let view = self.free_views.pop().unwrap_or_else(|| self.tlb.add_view());
        self.spaces[slot as usize].views[class as usize] = Some(view);
        view
    }

    /// Notes the structures that a walk used, so that changes to them are seen, and what it found out about the region. The walk's A flags are set.
    /// False if a structure lies outside RAM, where changes cannot be seen: then nothing of the walk may be cached.
    pub fn note_walk(&mut self, slot: u32, format: Format, linear: u64, found: &Translation) -> bool {
        self.counters.walks += 1;
        let steps = &found.steps[..usize::from(found.depth)];
        let Some(last) = steps.last() else { return false };
        if steps.iter().any(|step| self.map.ram_offset(PhysAddr(step.addr)).is_none()) {
            return false;
        }
        self.limit_uses();
        let mut above = Allowed::WRITABLE | Allowed::USER | Allowed::EXECUTABLE;
        for (n, step) in steps.iter().enumerate() {
            let bits = if format.entry_size() == 4 { 10 } else { 9 };
            let shift = format.shift(step.level) + bits;
            if let Some(offset) = self.map.ram_offset(PhysAddr(step.addr)) {
                self.note_use(offset >> 12, slot, step.level, linear >> shift << shift);
            }
            if n + 1 < steps.len() || last.level > 1 {
                above &= page_bits(step.value);
            }
        }
        let space = &mut self.spaces[slot as usize];
        if last.level > 1 {
            space.note_region(linear, above, found, found.addr & !((1 << space.region_shift) - 1));
        } else if let Some(offset) = self.map.ram_offset(PhysAddr(last.addr)) {
            space.note_region(linear, above, found, offset & !0xfff);
        }
        true
    }

    /// Caches a translation. `ram_page` is where the page lies in RAM.
    #[inline]
    pub fn fill(&mut self, view: ViewId, linear: u64, ram_page: u64, allow: Permissions) {
        self.counters.fills += 1;
        if self.tlb.fill(view, linear, ram_page, allow) && allow.write {
            self.writers.note(&mut self.tlb, ram_page, view, Tlb::index_of(linear));
        }
    }
    /// Makes stores to a page of RAM leave the fast path.
    pub fn forbid_writes(&mut self, page: u64) {
        self.writers.forbid(&mut self.tlb, page);
    }
}

/// What an entry allows, as [`Allowed`] wants it. Bit 63 of a 4-byte entry is clear.
#[inline]
pub fn page_bits(entry: u64) -> u8 {
    (entry >> 1 & 3) as u8 | ((!entry >> 63) as u8) << 2
}
