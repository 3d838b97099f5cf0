//! The legacy and power-management devices of a Q35-like south bridge.

pub mod hpet;
pub mod pit_i8254;
pub mod pm_ich9;
pub mod reset_control;
pub mod rtc_mc146818;
pub mod uart_ns16550;
