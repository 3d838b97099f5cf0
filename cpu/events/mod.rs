//! Exceptions and interrupts.

mod exception;

pub use exception::{Class, Detail, Exception, Flow};
