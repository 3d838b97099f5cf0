//! Linear to physical.
//!
//! The defined behaviour is that every access walks the paging structures, A and D flags included (docs/design/0001). What is cached here
//! is a pure cache of that and can never be seen.

mod access;
mod paging;

pub use access::Privilege;
pub use paging::{Context, PHYS_BITS};
