//! The machine's RAM: one anonymous host mapping, addressed by offset, with a flag byte for each page.
//!
//! # Soundness
//!
//! `unsafe` here rests on three facts. (1) `Inner` owns the mapping for as long as any handle lives, and its length never changes.
//! (2) Every access checks its whole range against that length before it touches memory. (3) A `Ram` and its clones stay on one thread (the
//! type is neither `Send` nor `Sync`), and no reference into the mapping is ever handed out, only copies: so there are no data races
//! and no aliasing of references.

use memmap2::{MmapMut, MmapOptions};
use std::cell::{Cell, RefCell};
use std::rc::Rc;

/// Size of a page in bytes.
pub const PAGE_SIZE: u64 = 4096;

/// Why RAM could not be had.
#[derive(Debug)]
pub struct RamError {
    /// Bytes asked for.
    pub bytes: u64,
    /// What the host said.
    pub source: std::io::Error,
}

impl std::fmt::Display for RamError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            f,
            "the host gives no {} bytes of memory for the machine's RAM ({}); ask for less",
            self.bytes, self.source
        )
    }
}
impl std::error::Error for RamError {}

/// Properties of a page that make stores to it leave the fast path.
pub mod page_flags {
    /// Holds instructions that were decoded.
    pub const CODE: u8 = 1;
    /// Serves as a paging structure of cached translations.
    pub const TABLE: u8 = 2;
    /// Holds a range armed by MONITOR.
    pub const MONITOR: u8 = 4;
    /// Among the pages that [`take_touched`](super::Ram::take_touched) will give: each is kept once, however often devices write it.
    pub const TOUCHED: u8 = 8;
}

/// A handle to the machine's RAM. Clones are handles to the same RAM.
#[derive(Clone)]
pub struct Ram {
    inner: Rc<Inner>,
}

struct Inner {
    base: *mut u8,
    len: u64,
    flags: Box<[Cell<u8>]>,
    touched: RefCell<Vec<u64>>,
    // Keeps `base` valid.
    _map: MmapMut,
}

impl Ram {
    /// `bytes` of zeroed RAM, rounded up to whole pages.
    pub fn new(bytes: u64) -> Result<Ram, RamError> {
        let len = bytes.max(1).next_multiple_of(PAGE_SIZE);
        let too_much = || RamError { bytes, source: std::io::Error::from(std::io::ErrorKind::OutOfMemory) };
        let size = usize::try_from(len).map_err(|_| too_much())?;
        let mut map =
            MmapOptions::new().len(size).no_reserve_swap().map_anon().map_err(|source| RamError { bytes, source })?;
        let flags = vec![Cell::new(0); (len / PAGE_SIZE) as usize].into_boxed_slice();
        Ok(Ram {
            inner: Rc::new(Inner { base: map.as_mut_ptr(), len, flags, touched: RefCell::new(Vec::new()), _map: map }),
        })
    }

    /// Size in bytes, a multiple of [`PAGE_SIZE`].
    #[inline(always)]
    pub fn len(&self) -> u64 {
        self.inner.len
    }
    /// Never: there is at least a page.
    pub fn is_empty(&self) -> bool {
        false
    }
    /// Number of pages.
    pub fn pages(&self) -> u64 {
        self.inner.len / PAGE_SIZE
    }
    /// Is `[offset, offset + len)` RAM?
    #[inline(always)]
    pub fn contains(&self, offset: u64, len: u64) -> bool {
        len <= self.inner.len && offset <= self.inner.len - len
    }
    /// Host address of a page, for the TLB, whose soundness argument says what it does with it.
    #[inline]
    pub fn host_page(&self, page: u64) -> Option<*mut u8> {
        if page < self.pages() { Some(self.inner.base.wrapping_add((page * PAGE_SIZE) as usize)) } else { None }
    }

    /// Copies out of RAM. False, and nothing copied, when the range leaves RAM.
    #[inline]
    #[must_use]
    pub fn read(&self, offset: u64, data: &mut [u8]) -> bool {
        if !self.contains(offset, data.len() as u64) {
            return false;
        }
        // SAFETY: the source range was just checked; the destination is a live exclusive slice outside the mapping.
        unsafe { std::ptr::copy_nonoverlapping(self.inner.base.add(offset as usize), data.as_mut_ptr(), data.len()) };
        true
    }
    /// Copies into RAM without regard to page flags. False, and nothing copied, when the range leaves RAM.
    #[inline]
    #[must_use]
    pub fn write(&self, offset: u64, data: &[u8]) -> bool {
        if !self.contains(offset, data.len() as u64) {
            return false;
        }
        // SAFETY: the destination range was just checked; the source is a live slice outside the mapping.
        unsafe { std::ptr::copy_nonoverlapping(data.as_ptr(), self.inner.base.add(offset as usize), data.len()) };
        true
    }
    /// Copies within RAM, as `memmove`. False, and nothing copied, when a range leaves RAM.
    #[must_use]
    pub fn copy_within(&self, from: u64, to: u64, len: u64) -> bool {
        if !self.contains(from, len) || !self.contains(to, len) {
            return false;
        }
        // SAFETY: both ranges were just checked; `copy` allows overlap.
        unsafe { std::ptr::copy(self.inner.base.add(from as usize), self.inner.base.add(to as usize), len as usize) };
        true
    }
    /// Fills a range with repetitions of the low `size` bytes of `value`. False, and nothing written, when it leaves RAM.
    #[must_use]
    pub fn fill(&self, offset: u64, size: u64, count: u64, value: u64) -> bool {
        let Some(len) = size.checked_mul(count) else { return false };
        if size == 0 || size > 8 || !self.contains(offset, len) {
            return false;
        }
        let bytes = value.to_le_bytes();
        if bytes[..size as usize].iter().all(|b| *b == bytes[0]) {
            // SAFETY: the range was just checked.
            unsafe { std::ptr::write_bytes(self.inner.base.add(offset as usize), bytes[0], len as usize) };
            return true;
        }
        for n in 0..count {
            // SAFETY: `offset + n * size + size <= offset + len`, checked above.
            unsafe {
                let to = self.inner.base.add((offset + n * size) as usize);
                std::ptr::copy_nonoverlapping(bytes.as_ptr(), to, size as usize);
            }
        }
        true
    }
    /// A little-endian value of 1, 2, 4 or 8 bytes. `None` when the range leaves RAM.
    #[inline]
    pub fn load(&self, offset: u64, size: u64) -> Option<u64> {
        let mut bytes = [0; 8];
        // The usual sizes by name, so that the copy is one instruction.
        let read = match size {
            8 => self.read(offset, &mut bytes),
            4 => self.read(offset, &mut bytes[..4]),
            1 => self.read(offset, &mut bytes[..1]),
            2 => self.read(offset, &mut bytes[..2]),
            _ => self.read(offset, bytes.get_mut(..size as usize)?),
        };
        if read { Some(u64::from_le_bytes(bytes)) } else { None }
    }
    /// Writes the low `size` bytes of a value without regard to page flags. False when the range leaves RAM.
    #[inline]
    #[must_use]
    pub fn store(&self, offset: u64, size: u64, value: u64) -> bool {
        let bytes = value.to_le_bytes();
        match size {
            8 => self.write(offset, &bytes),
            4 => self.write(offset, &bytes[..4]),
            1 => self.write(offset, &bytes[..1]),
            2 => self.write(offset, &bytes[..2]),
            _ => bytes.get(..size as usize).is_some_and(|part| self.write(offset, part)),
        }
    }

    /// Flags of a page: see [`page_flags`]. Pages that do not exist have none.
    #[inline(always)]
    pub fn flags(&self, page: u64) -> u8 {
        self.inner.flags.get(page as usize).map_or(0, Cell::get)
    }
    /// Sets flags of a page.
    pub fn set_flags(&self, page: u64, flags: u8) {
        if let Some(cell) = self.inner.flags.get(page as usize) {
            cell.set(cell.get() | flags);
        }
    }
    /// Clears flags of a page.
    pub fn clear_flags(&self, page: u64, flags: u8) {
        if let Some(cell) = self.inner.flags.get(page as usize) {
            cell.set(cell.get() & !flags);
        }
    }
    /// A device's write: as [`write`](Ram::write), and remembers which flagged pages it touched.
    #[must_use]
    pub fn write_by_device(&self, offset: u64, data: &[u8]) -> bool {
        if !self.write(offset, data) {
            return false;
        }
        if !data.is_empty() {
            let last = (offset + data.len() as u64 - 1) / PAGE_SIZE;
            for page in offset / PAGE_SIZE..=last {
                let flags = self.flags(page);
                if flags != 0 && flags & page_flags::TOUCHED == 0 {
                    self.set_flags(page, page_flags::TOUCHED);
                    self.inner.touched.borrow_mut().push(page);
                }
            }
        }
        true
    }
    /// Flagged pages that devices wrote since the last call.
    pub fn take_touched(&self) -> Vec<u64> {
        let touched = std::mem::take(&mut *self.inner.touched.borrow_mut());
        for page in &touched {
            self.clear_flags(*page, page_flags::TOUCHED);
        }
        touched
    }
    /// Did devices write flagged pages?
    #[inline]
    pub fn has_touched(&self) -> bool {
        !self.inner.touched.borrow().is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn access_outside_ram_fails_and_changes_nothing() {
        let ram = Ram::new(5000).expect("RAM");
        assert_eq!(ram.len(), 8192);
        assert!(ram.store(8184, 8, 0x1122_3344_5566_7788));
        assert!(!ram.store(8185, 8, 0));
        assert!(!ram.write(u64::MAX, &[1, 2]));
        assert_eq!(ram.load(8184, 8), Some(0x1122_3344_5566_7788));
        assert_eq!(ram.load(8190, 4), None);
        assert!(!ram.fill(8000, 8, u64::MAX / 4, 0));
        assert!(!ram.copy_within(0, 8000, 200));
    }

    #[test]
    fn device_write_to_flagged_page_is_remembered() {
        let ram = Ram::new(4 * PAGE_SIZE).expect("RAM");
        ram.set_flags(2, page_flags::CODE);
        assert!(ram.write_by_device(100, &[0; 10]));
        assert!(!ram.has_touched());
        assert!(ram.write_by_device(2 * PAGE_SIZE - 1, &[0; 2]));
        assert!(ram.write_by_device(2 * PAGE_SIZE, &[0; 2]));
        assert_eq!(ram.take_touched(), vec![2], "once");
        assert!(!ram.has_touched());
        assert_eq!(ram.flags(2), page_flags::CODE);
    }
}
