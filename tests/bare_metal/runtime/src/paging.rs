//! The page tables that images run on, and a toolkit to change them entry by entry.
//!
//! The lower 4 GiB are mapped one to one with 2 MiB pages. Tests map what they like from [`TEST_BASE`] on.
//! Intel SDM volume 3, "Paging".

use crate::control::{cpuid, invlpg, read_cr3, read_cr4, write_cr3};
use crate::descriptors::Shared;

/// Present.
pub const P: u64 = 1 << 0;
/// Writable.
pub const W: u64 = 1 << 1;
/// User.
pub const U: u64 = 1 << 2;
/// Page-level write-through.
pub const PWT: u64 = 1 << 3;
/// Page-level cache disable.
pub const PCD: u64 = 1 << 4;
/// Accessed.
pub const A: u64 = 1 << 5;
/// Dirty.
pub const D: u64 = 1 << 6;
/// Page size: this entry maps a page.
pub const PS: u64 = 1 << 7;
/// Global.
pub const G: u64 = 1 << 8;
/// Execute-disable.
pub const NX: u64 = 1 << 63;

/// First linear address that tests may map (4-level paging: PML4 entry 32).
pub const TEST_BASE: u64 = 0x1000_0000_0000;

/// Size of the mapping that an entry makes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Size {
    /// 4 KiB: a PTE.
    Page4K,
    /// 2 MiB: a PDE.
    Page2M,
    /// 1 GiB: a PDPTE.
    Page1G,
}

impl Size {
    /// The level of its entry: 1 is a PTE.
    pub fn level(self) -> u32 {
        match self {
            Size::Page4K => 1,
            Size::Page2M => 2,
            Size::Page1G => 3,
        }
    }
}

/// A page that can be a paging structure or test data.
#[repr(C, align(4096))]
pub struct Page(pub [u64; 512]);

const POOL_PAGES: usize = 160;
static POOL: Shared<[Page; POOL_PAGES]> = Shared::new([const { Page([0; 512]) }; POOL_PAGES]);
static POOL_USED: Shared<usize> = Shared::new(0);

/// A zeroed page from the pool. Pages come back only by [`reset`].
pub fn new_page() -> &'static mut Page {
    unsafe {
        let used = &mut *POOL_USED.get();
        assert!(*used < POOL_PAGES, "the runtime's page pool is empty");
        let page = &mut (*POOL.get())[*used];
        *used += 1;
        page.0.fill(0);
        page
    }
}

/// Physical address of something in the image: linear equals physical there.
pub fn physical<T>(thing: *const T) -> u64 {
    thing as u64
}

/// Highest paging-structure level in use: 4, or 5 with CR4.LA57.
pub fn levels() -> u32 {
    if read_cr4() & 1 << 12 != 0 { 5 } else { 4 }
}

/// Physical address width.
pub fn physical_address_bits() -> u32 {
    match cpuid(0x8000_0008, 0).eax & 0xFF {
        0 => 36,
        bits => bits,
    }
}

/// The mask of an entry's address field, bits 51:12.
pub const ADDRESS: u64 = 0x000F_FFFF_FFFF_F000;

/// The entry that translates an address at a level, if the structures above are present. Level 4 is the PML4E.
pub fn entry(linear: u64, level: u32) -> Option<&'static mut u64> {
    let mut table = (read_cr3() & ADDRESS) as *mut u64;
    for l in (level..=levels()).rev() {
        let e = unsafe { &mut *table.add((linear >> (12 + 9 * (l - 1)) & 0x1FF) as usize) };
        if l == level {
            return Some(e);
        }
        if *e & P == 0 || (*e & PS != 0 && l <= 3) {
            return None;
        }
        table = (*e & ADDRESS) as *mut u64;
    }
    None
}

/// The entry at a level, with the structures above made where there are none (present, writable, user).
pub fn entry_or_make(linear: u64, level: u32) -> &'static mut u64 {
    for l in (level + 1..=levels()).rev() {
        let e = entry(linear, l).expect("made top down");
        if *e & P == 0 {
            *e = physical(new_page()) | P | W | U;
        }
    }
    entry(linear, level).expect("just made")
}

/// Maps one page with exactly these flags (PS is added as the size needs it).
pub fn map(linear: u64, physical: u64, flags: u64, size: Size) {
    let ps = if size == Size::Page4K { 0 } else { PS };
    *entry_or_make(linear, size.level()) = physical | flags | ps;
    unsafe { invlpg(linear) };
}

/// Changes the entry of a mapped page and invalidates its translation.
pub fn set_entry(linear: u64, level: u32, value: u64) {
    *entry(linear, level).expect("mapped") = value;
    unsafe { invlpg(linear) };
}

/// Makes a page not present, keeping the rest of its entry.
pub fn unmap(linear: u64, size: Size) {
    let e = entry(linear, size.level()).expect("mapped");
    *e &= !P;
    unsafe { invlpg(linear) };
}

/// Forgets all that tests have mapped and returns the pool's pages.
pub fn reset() {
    unsafe {
        let top = (read_cr3() & ADDRESS) as *mut u64;
        if levels() == 4 {
            for i in 1..512 {
                *top.add(i) = 0;
            }
        }
        *POOL_USED.get() = 0;
        flush_all();
    }
}

/// Drops every translation of the running processor, global ones too.
pub fn flush_all() {
    unsafe {
        let cr4 = read_cr4();
        crate::control::write_cr4(cr4 ^ 1 << 7);
        crate::control::write_cr4(cr4);
        write_cr3(read_cr3());
    }
}

/// While it lives, the image's own pages allow user access (by their one PML4 entry), so that level 3 can run there.
/// CR4.SMEP and CR4.SMAP must be clear meanwhile, since the handlers run on the same pages.
pub struct UserImage(());

impl UserImage {
    /// Opens the image to level 3.
    #[allow(clippy::new_without_default)]
    pub fn new() -> Self {
        *entry(0, 4).expect("the image is mapped") |= U;
        flush_all();
        UserImage(())
    }
}

impl Drop for UserImage {
    fn drop(&mut self) {
        *entry(0, 4).expect("the image is mapped") &= !U;
        flush_all();
    }
}
