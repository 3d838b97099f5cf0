//! From bytes to meaning: instructions in a compact form of our own, made by iced-x86 once per block.
//!
//! [`Insn`] is what semantics are written over: 24 bytes, position-independent (offsets count from the start of its block), with
//! registers as slots of one register file so that "no index", RIP-relative and FS/GS-relative addressing cost no branch.
//! [`decode`] turns the bytes at one address into an `Insn`, or says why not: see [`Undecodable`]. Legality that depends on the processor's
//! state beyond the code size (CPL, CR0.TS, CPUID) is not decided here.

mod decoder;
mod insn;
mod operands;

pub use decoder::{CodeSize, Decoded, Undecodable, decode, is_undefined};
pub use iced_x86::{Code, CpuidFeature, Mnemonic};
pub use insn::{AddrSize, Cond, Insn, Kind, Op, Reg, Rep, Seg, Shape, Size};

#[cfg(test)]
mod tests;
