//! The translation cache: linear page to the host address of a page of RAM.
//!
//! A *view* is a direct-mapped array of entries for one context and one kind of privilege; one view is selected. An entry has a tag for each
//! kind of access and one addend: where a tag matches, `linear + addend` is the host address of the byte. It knows nothing of paging: who
//! fills it says what it may be used for.
//!
//! # Soundness
//!
//! Host memory is touched only through [`Tlb::load`] and [`Tlb::store`] and their bulk forms, after the probe proved that the access lies within the 4096
//! bytes of the entry's page. An entry's addend is written only by [`Tlb::fill`], which takes it from [`Ram::host_page`] of the `Ram` that this
//! `Tlb` holds a handle to, so the page stays mapped as long as the `Tlb` lives. Accesses copy; no reference into RAM is made; everything
//! stays on one thread (`Ram` is not `Send`). `selected` points into a box in `views`, which is dropped only after another was selected.

use std::ptr::NonNull;
use undercroft_ram::Ram;

/// log2 of the number of entries of a view.
const BITS: u32 = 10;
/// Entries of a view.
pub const ENTRIES: usize = 1 << BITS;
/// Tag of nothing for entry `at`: the page has another index, so no address that is looked up in this entry matches it.
const fn none(at: usize) -> u64 {
    ((at ^ 1) as u64) << 12
}

/// What an entry may be used for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Permissions {
    /// Data reads.
    pub read: bool,
    /// Data writes.
    pub write: bool,
    /// Instruction fetches.
    pub fetch: bool,
}

#[repr(C, align(32))]
#[derive(Clone, Copy)]
struct Entry {
    read: u64,
    write: u64,
    fetch: u64,
    addend: u64,
}

const fn empty(at: usize) -> Entry {
    Entry { read: none(at), write: none(at), fetch: none(at), addend: 0 }
}
static EMPTY_VIEW: [Entry; ENTRIES] = {
    let mut entries = [empty(0); ENTRIES];
    let mut at = 0;
    while at < ENTRIES {
        entries[at] = empty(at);
        at += 1;
    }
    entries
};

struct View {
    entries: [Entry; ENTRIES],
    /// Entries, a bit each, that made room for another page although instructions were fetched by them since the last
    /// [`Tlb::drop_page`] or [`Tlb::clear`]: who fetched may remember what it found there.
    displaced: [u64; ENTRIES / 64],
    /// Was anything filled since it was emptied?
    used: bool,
}

impl View {
    fn new() -> Box<View> {
        Box::new(View { entries: EMPTY_VIEW, displaced: [0; ENTRIES / 64], used: false })
    }
}

/// Name of a view.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ViewId(pub u32);

/// A value that memory holds. Sealed: implemented for the unsigned integers of 1 to 16 bytes.
pub trait Pod: Copy + sealed::Sealed {}
mod sealed {
    pub trait Sealed {}
}
macro_rules! pod { ($($t:ty)*) => { $(impl sealed::Sealed for $t {} impl Pod for $t {})* } }
pod!(u8 u16 u32 u64 u128);

/// The views, and which of them is selected.
pub struct Tlb {
    selected: NonNull<View>,
    selected_id: ViewId,
    views: Vec<Box<View>>,
    ram: Ram,
}

#[inline(always)]
fn index(linear: u64) -> usize {
    (linear >> 12) as usize & (ENTRIES - 1)
}

impl Tlb {
    /// With one view, number 0, selected; it is never to be filled, so that every access through it misses.
    pub fn new(ram: Ram) -> Tlb {
        let mut first = View::new();
        let selected = NonNull::from(first.as_mut());
        Tlb { selected, selected_id: ViewId(0), views: vec![first], ram }
    }
    /// The view that always misses.
    pub const MISSING: ViewId = ViewId(0);

    /// A new, empty view.
    pub fn add_view(&mut self) -> ViewId {
        self.views.push(View::new());
        ViewId(self.views.len() as u32 - 1)
    }
    /// Selects a view; one that does not exist selects the view that always misses.
    #[inline]
    pub fn select(&mut self, id: ViewId) {
        let id = if (id.0 as usize) < self.views.len() { id } else { Self::MISSING };
        self.selected = NonNull::from(self.views[id.0 as usize].as_mut());
        self.selected_id = id;
    }
    /// The selected view.
    #[inline(always)]
    pub fn selected(&self) -> ViewId {
        self.selected_id
    }
    #[inline(always)]
    fn entry(&self, linear: u64) -> &Entry {
        // SAFETY: `selected` points into a live box of `views`; nothing else refers to it while `self` is borrowed.
        unsafe { &(*self.selected.as_ptr()).entries[index(linear)] }
    }

    /// Host address of `len` bytes that the probe allows, else `None`. The xor leaves the offset in the page exactly if the tag matches.
    #[inline(always)]
    fn probe(tag: u64, addend: u64, linear: u64, len: u64) -> Option<*mut u8> {
        if linear ^ tag <= 4096 - len { Some(linear.wrapping_add(addend) as *mut u8) } else { None }
    }

    /// Reads a value, if the page's translation for reads is here and the value lies within the page.
    #[inline(always)]
    pub fn load<T: Pod>(&self, linear: u64) -> Option<T> {
        let e = self.entry(linear);
        let at = Self::probe(e.read, e.addend, linear, size_of::<T>() as u64)?;
        // SAFETY: within a mapped page of RAM (see the crate's argument); `T` is a plain integer, read unaligned.
        Some(unsafe { at.cast::<T>().read_unaligned() })
    }
    /// Writes a value, if the page's translation for writes is here and the value lies within the page.
    #[inline(always)]
    #[must_use]
    pub fn store<T: Pod>(&self, linear: u64, v: T) -> bool {
        let e = self.entry(linear);
        match Self::probe(e.write, e.addend, linear, size_of::<T>() as u64) {
            // SAFETY: as in `load`; the page is mapped writable.
            Some(at) => unsafe {
                at.cast::<T>().write_unaligned(v);
                true
            },
            None => false,
        }
    }
    /// Where a value lies that may be read and written, for a second access in the same instruction.
    #[inline(always)]
    pub fn place<T: Pod>(&self, linear: u64) -> Option<Place> {
        let e = self.entry(linear);
        let at = Self::probe(e.write, e.addend, linear, size_of::<T>() as u64)?;
        Some(Place { at, len: size_of::<T>() as u8 })
    }
    /// Reads a place. `None` if the value is wider than the place was made for.
    #[inline(always)]
    pub fn load_place<T: Pod>(&self, place: Place) -> Option<T> {
        if size_of::<T>() > place.len as usize {
            return None;
        }
        // SAFETY: the place was probed for at least this length, and RAM stays mapped while `self` lives.
        Some(unsafe { place.at.cast::<T>().read_unaligned() })
    }
    /// Writes a place; nothing if the value is wider than the place was made for.
    #[inline(always)]
    pub fn store_place<T: Pod>(&self, place: Place, v: T) {
        if size_of::<T>() <= place.len as usize {
            // SAFETY: as in `load_place`.
            unsafe { place.at.cast::<T>().write_unaligned(v) };
        }
    }

    /// Copies `len` bytes within pages whose translations are here, lowest address first a byte at a time where they overlap; `None` if one is
    /// missing or the range leaves its page.
    #[inline]
    pub fn copy(&self, from: u64, to: u64, len: u64) -> Option<()> {
        if len == 0 || len > 4096 {
            return None;
        }
        let (f, t) = (self.entry(from), self.entry(to));
        let source = Self::probe(f.read, f.addend, from, len)?;
        let target = Self::probe(t.write, t.addend, to, len)?;
        let distance = (target as usize).wrapping_sub(source as usize);
        if distance == 0 || distance >= len as usize {
            // SAFETY: both ranges lie within mapped pages of RAM; `copy` allows overlap, and copying forward is right when the target
            // does not begin inside the source.
            unsafe { std::ptr::copy(source, target, len as usize) };
            return Some(());
        }
        None
    }
    /// Fills `count` values of type `T` if the range lies within one page whose translation for writes is here.
    #[inline]
    pub fn fill_range<T: Pod>(&self, to: u64, count: u64, v: T) -> Option<()> {
        let len = count.checked_mul(size_of::<T>() as u64)?;
        if len == 0 || len > 4096 {
            return None;
        }
        let e = self.entry(to);
        let target = Self::probe(e.write, e.addend, to, len)?.cast::<T>();
        for n in 0..count as usize {
            // SAFETY: `(n + 1) * size <= len`, within a mapped page of RAM.
            unsafe { target.add(n).write_unaligned(v) };
        }
        Some(())
    }

    /// Is the page's translation for fetches here? Gives the page's number in RAM.
    #[inline]
    pub fn fetch_page(&self, linear: u64) -> Option<u64> {
        let e = self.entry(linear);
        if e.fetch != linear & !0xfff {
            return None;
        }
        let base = self.ram.host_page(0)? as u64;
        Some((linear & !0xfff).wrapping_add(e.addend).wrapping_sub(base) >> 12)
    }

    /// Caches a translation in a view: the page of `linear` is page `ram_page` of RAM. What an entry for the same page allows already, it goes on to
    /// allow. False if there is no such page.
    pub fn fill(&mut self, view: ViewId, linear: u64, ram_page: u64, allow: Permissions) -> bool {
        let Some(host) = self.ram.host_page(ram_page) else { return false };
        if view == Self::MISSING {
            return false;
        }
        let Some(view) = self.views.get_mut(view.0 as usize) else { return false };
        let page = linear & !0xfff;
        let addend = (host as u64).wrapping_sub(page);
        let at = index(linear);
        let e = &mut view.entries[at];
        let same = e.addend == addend;
        let tag = |old: u64, allowed: bool| if allowed || same && old == page { page } else { none(at) };
        let new = Entry {
            read: tag(e.read, allow.read),
            write: tag(e.write, allow.write),
            fetch: tag(e.fetch, allow.fetch),
            addend,
        };
        if e.fetch != none(at) && e.fetch != new.fetch {
            view.displaced[at / 64] |= 1 << (at % 64);
        }
        *e = new;
        view.used = true;
        true
    }
    /// Drops what a view knows of a linear page. True if instructions may have been fetched by it since it, or its predecessor in this
    /// place, was dropped: then whoever remembers what was fetched has to forget it.
    pub fn drop_page(&mut self, view: ViewId, linear: u64) -> bool {
        let Some(view) = self.views.get_mut(view.0 as usize) else { return false };
        let page = linear & !0xfff;
        let at = index(linear);
        let e = &mut view.entries[at];
        let fetched = e.fetch == page || view.displaced[at / 64] >> (at % 64) & 1 != 0;
        if e.read == page || e.write == page || e.fetch == page {
            *e = empty(at);
        }
        view.displaced[at / 64] &= !(1 << (at % 64));
        fetched
    }
    /// Makes stores to a page of RAM miss where entry `at` of a view maps it.
    pub fn forbid_writes(&mut self, view: ViewId, at: usize, ram_page: u64) {
        let Some(host) = self.ram.host_page(ram_page) else { return };
        let Some(e) = self.views.get_mut(view.0 as usize).and_then(|v| v.entries.get_mut(at)) else { return };
        if e.write != none(at) && e.write.wrapping_add(e.addend) == host as u64 {
            e.write = none(at);
        }
    }
    /// Does entry `at` of a view let stores go to a page of RAM?
    pub fn writes_to(&self, view: ViewId, at: usize, ram_page: u64) -> bool {
        let Some(host) = self.ram.host_page(ram_page) else { return false };
        let entry = self.views.get(view.0 as usize).and_then(|v| v.entries.get(at));
        entry.is_some_and(|e| e.write != none(at) && e.write.wrapping_add(e.addend) == host as u64)
    }
    /// Index of the entry for a linear address.
    pub fn index_of(linear: u64) -> usize {
        index(linear)
    }
    /// Makes stores to a page of RAM miss where entry `at` of any view maps it.
    pub fn forbid_writes_at(&mut self, at: usize, ram_page: u64) {
        for view in 0..self.views.len() as u32 {
            self.forbid_writes(ViewId(view), at, ram_page);
        }
    }
    /// Empties a view. False if nothing was filled since it was last empty.
    pub fn clear(&mut self, view: ViewId) -> bool {
        match self.views.get_mut(view.0 as usize) {
            Some(view) if view.used => {
                view.entries = EMPTY_VIEW;
                view.displaced = [0; ENTRIES / 64];
                view.used = false;
                true
            }
            _ => false,
        }
    }
    /// Makes every store miss, everywhere.
    pub fn forbid_all_writes(&mut self) {
        for view in &mut self.views {
            for (at, e) in view.entries.iter_mut().enumerate() {
                e.write = none(at);
            }
        }
    }
    /// Number of views.
    pub fn views(&self) -> usize {
        self.views.len()
    }
}

/// Memory that was probed for writing. Valid for the rest of the instruction.
#[derive(Clone, Copy)]
pub struct Place {
    at: *mut u8,
    len: u8,
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALL: Permissions = Permissions { read: true, write: true, fetch: true };

    #[test]
    fn probe_misses_across_pages_and_for_other_kinds() {
        let ram = Ram::new(4 * 4096).expect("RAM");
        assert!(ram.store(2 * 4096 + 8, 8, 0x1122_3344_5566_7788));
        let mut tlb = Tlb::new(ram.clone());
        let view = tlb.add_view();
        tlb.select(view);
        assert!(tlb.fill(view, 0xffff_8000_0000_1000, 2, Permissions { read: true, write: false, fetch: false }));
        assert_eq!(tlb.load::<u64>(0xffff_8000_0000_1008), Some(0x1122_3344_5566_7788));
        assert_eq!(tlb.load::<u64>(0xffff_8000_0000_1ff9), None);
        assert_eq!(tlb.load::<u64>(0xffff_8000_0000_0ffc), None);
        assert!(!tlb.store(0xffff_8000_0000_1008, 1u8));
        assert_eq!(tlb.fetch_page(0xffff_8000_0000_1008), None);
        assert!(tlb.fill(view, 0xffff_8000_0000_1000, 2, Permissions { read: false, write: true, fetch: false }));
        assert_eq!(tlb.load::<u8>(0xffff_8000_0000_1fff), Some(0));
        assert!(tlb.store(0xffff_8000_0000_1fff, 1u8));
        assert_eq!(ram.load(3 * 4096 - 1, 1), Some(1));
        assert!(!tlb.fill(view, 0, 4, ALL));
    }

    #[test]
    fn forbidden_writes_miss_until_filled_again() {
        let mut tlb = Tlb::new(Ram::new(2 * 4096).expect("RAM"));
        let view = tlb.add_view();
        tlb.select(view);
        assert!(tlb.fill(view, 0x5000, 1, ALL));
        assert_eq!(tlb.fetch_page(0x5123), Some(1));
        assert!(tlb.store(0x5000, 1u64));
        tlb.forbid_writes(view, Tlb::index_of(0x5000), 0);
        assert!(tlb.store(0x5000, 1u64));
        tlb.forbid_writes_at(Tlb::index_of(0x5000), 1);
        assert!(!tlb.store(0x5000, 1u64));
        assert_eq!(tlb.load::<u64>(0x5000), Some(1));
        assert!(tlb.drop_page(view, 0x5fff));
        assert_eq!(tlb.load::<u64>(0x5000), None);
    }

    #[test]
    fn dropped_page_whose_fetch_entry_was_displaced_counts_as_fetched() {
        let mut tlb = Tlb::new(Ram::new(3 * 4096).expect("RAM"));
        let view = tlb.add_view();
        assert!(tlb.fill(view, 0x5000, 1, ALL));
        let other = 0x5000 + ((ENTRIES as u64) << 12);
        assert!(tlb.fill(view, other, 2, Permissions { read: true, write: true, fetch: false }));
        assert!(tlb.drop_page(view, 0x5000));
        assert!(!tlb.drop_page(view, 0x5000), "nothing was fetched since");
        assert!(tlb.clear(view));
        assert!(!tlb.clear(view), "nothing was filled since");
    }

    #[test]
    fn missing_view_never_fills() {
        let mut tlb = Tlb::new(Ram::new(4096).expect("RAM"));
        assert!(!tlb.fill(Tlb::MISSING, 0, 0, ALL));
        assert_eq!(tlb.load::<u8>(0), None);
    }
}
