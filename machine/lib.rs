//! The assembled whole: the only crate that names the processor and the platform together.

pub mod board;
pub mod boot;
