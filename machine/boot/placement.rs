//! Where things go in the machine's RAM: a list of free ranges, from which each thing that is loaded takes its share.

use super::error::BootError;
use crate::board::firmware_tables::{E820Entry, E820Type};

/// First address that is not in the low 4 GiB: nothing is loaded above it.
pub(crate) const FOUR_GIB: u64 = 1 << 32;
/// Size of a page.
pub(crate) const PAGE: u64 = 0x1000;
/// Where free choices below 1 MiB begin: the real-mode vector table, the BIOS data area and the places which
/// operating systems like for their real-mode trampolines lie below.
pub(crate) const LOW_START: u64 = 0x1_0000;
/// Where the area for adapters and firmware begins.
pub(crate) const LOW_END: u64 = 0xa_0000;
/// Where the memory begins that is free of the habits of the PC.
pub(crate) const ONE_MIB: u64 = 0x10_0000;
/// The window of what has no reason to be low.
pub(crate) const ABOVE_1_MIB: (u64, u64) = (ONE_MIB, FOUR_GIB);

/// A range of the machine's RAM that something loaded occupies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Claim {
    /// What lies there.
    pub what: &'static str,
    /// First address.
    pub start: u64,
    /// Address after the last.
    pub end: u64,
}

/// The free RAM below 4 GiB, and what has been taken from it.
#[derive(Clone, Debug)]
pub(crate) struct Placement {
    /// Sorted, disjoint, not empty: (start, end).
    free: Vec<(u64, u64)>,
    claims: Vec<Claim>,
}

impl Placement {
    /// The RAM that the memory map calls usable, without what another entry calls something else.
    pub(crate) fn new(map: &[E820Entry]) -> Self {
        let mut this = Self { free: Vec::new(), claims: Vec::new() };
        for entry in map.iter().filter(|entry| entry.kind == E820Type::Ram) {
            let (start, end) = (entry.start.min(FOUR_GIB), entry.start.saturating_add(entry.len).min(FOUR_GIB));
            if start < end {
                this.free.push((start, end));
            }
        }
        this.free.sort_unstable();
        let mut merged: Vec<(u64, u64)> = Vec::new();
        for (start, end) in this.free.drain(..) {
            match merged.last_mut() {
                Some(last) if start <= last.1 => last.1 = last.1.max(end),
                _ => merged.push((start, end)),
            }
        }
        this.free = merged;
        for entry in map.iter().filter(|entry| entry.kind != E820Type::Ram) {
            this.remove(entry.start, entry.start.saturating_add(entry.len));
        }
        this
    }

    fn remove(&mut self, start: u64, end: u64) {
        if start >= end {
            return;
        }
        let mut left = Vec::with_capacity(self.free.len() + 1);
        for (from, to) in self.free.drain(..) {
            if end <= from || to <= start {
                left.push((from, to));
                continue;
            }
            if from < start {
                left.push((from, start));
            }
            if end < to {
                left.push((end, to));
            }
        }
        self.free = left;
    }

    fn take(&mut self, what: &'static str, start: u64, len: u64) -> u64 {
        self.remove(start, start + len);
        self.claims.push(Claim { what, start, end: start + len });
        start
    }

    /// Whether `len` bytes at `start` are free RAM.
    pub(crate) fn is_free(&self, start: u64, len: u64) -> bool {
        let Some(end) = start.checked_add(len) else { return false };
        self.free.iter().any(|&(from, to)| from <= start && end <= to)
    }

    /// Takes exactly these bytes. An empty range takes nothing.
    pub(crate) fn exact(&mut self, what: &'static str, start: u64, len: u64) -> Result<u64, BootError> {
        if len == 0 {
            return Ok(start);
        }
        if self.is_free(start, len) {
            return Ok(self.take(what, start, len));
        }
        let end = start.saturating_add(len);
        match self.claims.iter().find(|claim| claim.start < end && start < claim.end) {
            Some(claim) => Err(BootError::Overlap { what, start, end, other: claim.what }),
            None => Err(BootError::NotRam { what, start, end }),
        }
    }

    /// Takes the lowest free place within `window`; `align` is a power of two. An empty thing takes one byte.
    pub(crate) fn lowest(
        &mut self,
        what: &'static str,
        window: (u64, u64),
        len: u64,
        align: u64,
    ) -> Result<u64, BootError> {
        let len = len.max(1);
        let place = self.free.iter().find_map(|&(from, to)| {
            let start = align_up(from.max(window.0), align)?;
            let end = start.checked_add(len)?;
            (end <= to.min(window.1)).then_some(start)
        });
        match place {
            Some(start) => Ok(self.take(what, start, len)),
            None => Err(BootError::NoRoom { what, len, from: window.0, to: window.1 }),
        }
    }

    /// Takes the highest free place within `window`; `align` is a power of two. An empty thing takes one byte.
    pub(crate) fn highest(
        &mut self,
        what: &'static str,
        window: (u64, u64),
        len: u64,
        align: u64,
    ) -> Result<u64, BootError> {
        let len = len.max(1);
        let place = self.free.iter().rev().find_map(|&(from, to)| {
            let start = to.min(window.1).checked_sub(len)? & !(align - 1);
            (start >= from.max(window.0)).then_some(start)
        });
        match place {
            Some(start) => Ok(self.take(what, start, len)),
            None => Err(BootError::NoRoom { what, len, from: window.0, to: window.1 }),
        }
    }

    /// What was taken, in the order of taking.
    pub(crate) fn into_claims(self) -> Vec<Claim> {
        self.claims
    }
}

/// The next multiple of `align`, a power of two; None when it does not fit in 64 bits.
pub(crate) fn align_up(value: u64, align: u64) -> Option<u64> {
    value.checked_add(align - 1).map(|value| value & !(align - 1))
}
