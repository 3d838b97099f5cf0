//! The walk through paging structures: four formats of one radix tree. SDM volume 3, "Paging".
//!
//! [`walk`] finds the entry that maps an address and collects what all levels say; it decides nothing about the access. [`permits`]
//! decides, and gives the bits of the page-fault error code. [`mark_used`] sets accessed and dirty flags. The caller composes them.

mod format;
mod permission;

pub use format::{Format, Step, Translation, WalkFault, mark_used, reserved_in_last_level, walk};
pub use permission::{Access, AccessKind, Allowed, Rules, permits};

/// Where paging structures lie.
pub trait Tables {
    /// A naturally aligned 4- or 8-byte entry. Addresses that are not memory read as the bus answers.
    fn load(&mut self, addr: u64, size: u64) -> u64;
    /// Writes an entry back, with flags set that were not.
    fn store(&mut self, addr: u64, size: u64, value: u64);
}

#[cfg(test)]
mod tests;
