//! (being written)

pub mod local_apic;
