//! The address spaces of the machine, one type each, so that they cannot be mixed up.

use core::fmt;
use serde::{Deserialize, Serialize};

macro_rules! address {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
        #[repr(transparent)]
        pub struct $name(pub u64);

        impl $name {
            /// The address as a number.
            #[inline(always)]
            pub const fn get(self) -> u64 { self.0 }
            /// Offset within its 4-KByte page.
            #[inline(always)]
            pub const fn page_offset(self) -> u64 { self.0 & 0xfff }
            /// Number of its 4-KByte page.
            #[inline(always)]
            pub const fn page_number(self) -> u64 { self.0 >> 12 }
            /// First address of its 4-KByte page.
            #[inline(always)]
            pub const fn page_base(self) -> Self { Self(self.0 & !0xfff) }
            /// The address `bytes` further on, modulo 2^64.
            #[inline(always)]
            pub const fn wrapping_add(self, bytes: u64) -> Self { Self(self.0.wrapping_add(bytes)) }
        }
        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result { write!(f, "{}({:#x})", stringify!($name), self.0) }
        }
        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result { write!(f, "{:#x}", self.0) }
        }
        impl fmt::LowerHex for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result { fmt::LowerHex::fmt(&self.0, f) }
        }
    };
}

address! {
    /// An address after segmentation and before paging.
    LinearAddr
}
address! {
    /// An address after paging and before EPT: what a guest in VMX non-root operation takes for physical.
    GuestPhysAddr
}
address! {
    /// An address on the machine's bus.
    PhysAddr
}
address! {
    /// An address that a device puts on the bus, before DMA remapping.
    DmaAddr
}
