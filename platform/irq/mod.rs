//! Interrupt controllers outside the processor.

pub mod pic_i8259;
