//! Which range is whose: a sorted list, rebuilt when configuration changes. It is a cache of the configuration spaces and never saved.

use super::bar::Space;
use super::function::Bdf;

/// Whose a range is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Owner {
    /// The memory-mapped configuration space.
    Ecam,
    /// The chipset configuration registers.
    ChipsetConfiguration,
    /// The range of a base address register.
    Bar(Bdf, u8),
}

/// A range of one space.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Window {
    /// First address.
    pub base: u64,
    /// Last address.
    pub last: u64,
    /// Whose it is.
    pub owner: Owner,
}

/// The ranges of both spaces, sorted and without overlap.
#[derive(Clone, Default, PartialEq, Eq, Debug)]
pub(super) struct DecodeMap {
    memory: Vec<Window>,
    io: Vec<Window>,
}

impl DecodeMap {
    /// Adds a range. Where it overlaps one that was added before, that one claims and this is not decoded: what two functions at one
    /// address do is undefined on a bus, and must only be the same each time here.
    pub fn add(&mut self, space: Space, window: Window) {
        let windows = match space {
            Space::Memory => &mut self.memory,
            Space::Io => &mut self.io,
        };
        let at = windows.partition_point(|other| other.base <= window.base);
        let overlaps_before = at > 0 && windows[at - 1].last >= window.base;
        let overlaps_after = windows.get(at).is_some_and(|next| next.base <= window.last);
        if !overlaps_before && !overlaps_after {
            windows.insert(at, window);
        }
    }

    /// The range that an address lies in.
    pub fn find(&self, space: Space, addr: u64) -> Option<&Window> {
        let windows = self.windows(space);
        let at = windows.partition_point(|window| window.base <= addr);
        windows.get(at.checked_sub(1)?).filter(|window| addr <= window.last)
    }

    /// The ranges of a space, in ascending order.
    pub fn windows(&self, space: Space) -> &[Window] {
        match space {
            Space::Memory => &self.memory,
            Space::Io => &self.io,
        }
    }
}
