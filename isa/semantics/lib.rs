//! What each instruction does, written once over the trait `Ops`.

pub mod flags;
