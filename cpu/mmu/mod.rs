//! Linear to physical.
//!
//! The defined behaviour is that every access walks the paging structures, A and D flags included (docs/design/0001). What is cached here
//! is a pure cache of that and can never be seen.

mod access;
#[cfg(test)]
mod coherence_tests;
mod contexts;
mod paging;
#[cfg(test)]
mod tests;
mod tracking;
mod translate;
mod writers;

pub use access::Privilege;
pub use contexts::{Class, Counters, Mmu};
pub use paging::{Context, PHYS_BITS, is_canonical};
pub use translate::Selected;
