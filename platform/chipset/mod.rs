//! The legacy and power-management devices of a Q35-like south bridge.

pub mod uart_ns16550;
