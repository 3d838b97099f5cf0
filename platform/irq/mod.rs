//! Interrupt controllers outside the processor.

pub mod io_apic;
pub mod pic_i8259;
