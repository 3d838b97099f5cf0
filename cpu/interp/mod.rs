//! The interpreter: `Ops` over plain values, the reference for every other tier.
//!
//! Decoded blocks are runs of records, each with a handler. A handler is a plain function that ends by calling the next record's handler in tail
//! position, which the optimiser turns into a jump. Handlers for common forms are compiled from the semantics with everything
//! constant that the form fixes ([`handlers`]), over a domain that gives up where anything is out of the ordinary ([`plain`]); then, and for
//! all other instructions, the one general instance does the instruction ([`slow`]).

pub mod code;
mod decode;
mod features;
mod handlers;
mod plain;
mod slow;
mod strings;
mod vector;

#[cfg(test)]
mod oracle_tests;
#[cfg(test)]
mod tests;

use crate::vcpu::Cpu;
use undercroft_records as records;

/// What executes a record: returns the budget that is left when control goes back to the run loop, with RIP written.
#[derive(Clone, Copy)]
#[repr(transparent)]
pub struct Handler(pub fn(&mut Cpu, Cursor, i64) -> i64);

/// Points at a record.
pub type Cursor = records::Cursor<Handler>;
/// A record.
pub type Record = records::Record<Handler>;

pub(crate) use handlers::general;
pub use slow::step;

/// Runs a block, and those it leads to, for at most `budget` instructions. RIP is that of the block.
#[inline]
pub(crate) fn enter(cpu: &mut Cpu, block: Cursor, budget: i64) -> i64 {
    handlers::enter(cpu, block, cpu.s.rip, budget)
}
