//! Base address registers. PCI Local Bus Specification, "Base Addresses". Sizing needs no code: a register keeps only the bits above its
//! size, so that writing all ones reads back the size's complement.

use serde::{Deserialize, Serialize};

/// Which of the two address spaces a range lies in.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize, Deserialize)]
pub enum Space {
    /// Memory.
    Memory,
    /// I/O ports.
    Io,
}

/// What kind of register it is.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum BarKind {
    /// I/O ports.
    Io,
    /// Memory below 4 GBytes.
    Memory32,
    /// Memory anywhere.
    Memory64,
    /// Memory anywhere, whose reads have no side effects.
    Prefetchable64,
}

impl BarKind {
    /// The space that the register's range lies in.
    pub const fn space(self) -> Space {
        match self {
            BarKind::Io => Space::Io,
            BarKind::Memory32 | BarKind::Memory64 | BarKind::Prefetchable64 => Space::Memory,
        }
    }

    /// Whether the register takes two places.
    pub const fn is_64_bit(self) -> bool {
        matches!(self, BarKind::Memory64 | BarKind::Prefetchable64)
    }

    /// The smallest range in bytes that the register's format can express.
    pub const fn smallest_size(self) -> u64 {
        match self.space() {
            Space::Io => 4,
            Space::Memory => 16,
        }
    }
}

/// A base address register of a function.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Bar {
    /// Its kind.
    pub kind: BarKind,
    /// Bytes of its range, a power of two.
    pub size: u64,
}

/// A range that a function responds to.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct DecodedBar {
    /// Index of the base address register.
    pub index: u8,
    /// The space of the range.
    pub space: Space,
    /// First address.
    pub base: u64,
    /// Last address.
    pub last: u64,
}
