//! The processor, without its virtualization hardware. Source: Intel SDM, volumes 1 to 3.

pub mod control;
pub mod cpuid;
pub mod descriptor;
pub mod exception;
pub mod msr;

pub use exception::{page_fault, selector_error, vector};
