//! The legacy and power-management devices of a Q35-like south bridge.

pub mod pit_i8254;
pub mod uart_ns16550;
