//! What each instruction does, written once over the trait [`Ops`](ops::Ops).

pub mod vector;
