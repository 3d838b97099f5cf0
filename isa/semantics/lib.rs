//! What each instruction does, written once over the trait [`Ops`].
//!
//! A domain implements [`Ops`]: plain integers (the interpreter), emitted host code (the compiler). The bodies here decide with Rust's own
//! `if` and `match` only on what is known when an instruction is decoded (operation, width, shape, registers); everything that depends on
//! values goes through the domain. A body changes no state before its last access to memory has succeeded, so that a fault leaves nothing
//! half done and a fast path may give up and have the instruction done again.

pub mod arith;
pub mod bits;
pub mod branch;
pub mod flags;
pub mod moves;
pub mod muldiv;
pub mod operand;
mod ops;
mod plain_values;
pub mod pure;
pub mod shift;
pub mod stack;
pub mod strings;
pub mod vector;

pub use ops::{Ops, exec};
/// For [`plain_values`], whose users may not name the decoder.
pub use undercroft_decode::Size;
