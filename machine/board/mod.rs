//! The board: the address map, the wiring and what firmware would have left in memory.

pub mod firmware_tables;
