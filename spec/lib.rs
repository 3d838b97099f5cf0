//! What the manuals say: layouts, encodings and names. No behaviour, no state, no `unsafe`.
//!
//! Names are the manuals' own. SDM citations name a section's title, since section numbers move.
#![no_std]

pub mod addr;
pub mod apic;
pub mod pci;
pub mod x86;

pub use addr::{DmaAddr, GuestPhysAddr, LinearAddr, PhysAddr};
