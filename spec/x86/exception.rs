//! Exceptions and interrupts. SDM volume 3, "Exception and Interrupt Vectors" and "Error Code".

/// Vectors of the architectural exceptions.
pub mod vector {
    /// Divide error.
    pub const DE: u8 = 0;
    /// Debug exception.
    pub const DB: u8 = 1;
    /// Non-maskable interrupt.
    pub const NMI: u8 = 2;
    /// Breakpoint (INT3).
    pub const BP: u8 = 3;
    /// Overflow (INTO).
    pub const OF: u8 = 4;
    /// BOUND range exceeded.
    pub const BR: u8 = 5;
    /// Invalid opcode.
    pub const UD: u8 = 6;
    /// Device not available.
    pub const NM: u8 = 7;
    /// Double fault.
    pub const DF: u8 = 8;
    /// Invalid TSS.
    pub const TS: u8 = 10;
    /// Segment not present.
    pub const NP: u8 = 11;
    /// Stack-segment fault.
    pub const SS: u8 = 12;
    /// General protection.
    pub const GP: u8 = 13;
    /// Page fault.
    pub const PF: u8 = 14;
    /// x87 floating-point error.
    pub const MF: u8 = 16;
    /// Alignment check.
    pub const AC: u8 = 17;
    /// Machine check.
    pub const MC: u8 = 18;
    /// SIMD floating-point exception.
    pub const XM: u8 = 19;
    /// Virtualization exception.
    pub const VE: u8 = 20;
    /// Control protection.
    pub const CP: u8 = 21;
}

/// Bits of a selector error code. "Error Code".
pub mod selector_error {
    /// EXT: the event was external to the program.
    pub const EXT: u32 = 1 << 0;
    /// IDT: the index names a gate in the IDT.
    pub const IDT: u32 = 1 << 1;
    /// TI: the index names a descriptor in the LDT.
    pub const TI: u32 = 1 << 2;
}

/// Bits of a page-fault error code. "Page-Fault Exceptions".
pub mod page_fault {
    /// P: a translation existed, the access broke its protection.
    pub const P: u32 = 1 << 0;
    /// W/R: the access was a write.
    pub const W: u32 = 1 << 1;
    /// U/S: the access was a user-mode access.
    pub const U: u32 = 1 << 2;
    /// RSVD: a reserved bit was set in a paging-structure entry.
    pub const RSVD: u32 = 1 << 3;
    /// I/D: the access was an instruction fetch.
    pub const ID: u32 = 1 << 4;
    /// PK: a protection key forbade the access.
    pub const PK: u32 = 1 << 5;
}
