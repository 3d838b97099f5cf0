//! The legacy and power-management devices of a Q35-like south bridge, and the ports through which software talks to us.

pub mod debug_console;
pub mod debug_exit;
pub mod fw_cfg;
pub mod hpet;
pub mod keyboard_i8042;
pub mod pit_i8254;
pub mod pm_ich9;
pub mod reset_control;
pub mod rtc_mc146818;
pub mod uart_ns16550;
