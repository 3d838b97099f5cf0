//! System descriptors, gates and task-state segments. SDM volume 3, "System Descriptor Types", "Task-State Segment (TSS)", "Task Management
//! in 64-bit Mode".

/// Types of system descriptors (S = 0).
pub mod system_type {
    /// 16-bit TSS, available.
    pub const TSS16_AVAILABLE: u8 = 1;
    /// LDT.
    pub const LDT: u8 = 2;
    /// 16-bit TSS, busy.
    pub const TSS16_BUSY: u8 = 3;
    /// 16-bit call gate.
    pub const CALL_GATE16: u8 = 4;
    /// Task gate.
    pub const TASK_GATE: u8 = 5;
    /// 16-bit interrupt gate.
    pub const INTERRUPT_GATE16: u8 = 6;
    /// 16-bit trap gate.
    pub const TRAP_GATE16: u8 = 7;
    /// 32-bit TSS, available; in IA-32e mode 64-bit TSS.
    pub const TSS_AVAILABLE: u8 = 9;
    /// 32-bit TSS, busy; in IA-32e mode 64-bit TSS.
    pub const TSS_BUSY: u8 = 0xb;
    /// 32-bit call gate; in IA-32e mode 64-bit.
    pub const CALL_GATE: u8 = 0xc;
    /// 32-bit interrupt gate; in IA-32e mode 64-bit.
    pub const INTERRUPT_GATE: u8 = 0xe;
    /// 32-bit trap gate; in IA-32e mode 64-bit.
    pub const TRAP_GATE: u8 = 0xf;
    /// Added to the type of an available TSS when it is busy.
    pub const BUSY: u8 = 2;
}

/// Offsets in the 32-bit TSS.
pub mod tss32 {
    /// Selector of the previous task.
    pub const LINK: u64 = 0;
    /// ESP and SS of privilege level 0; those of 1 and 2 follow, 8 bytes each.
    pub const ESP0: u64 = 4;
    /// CR3.
    pub const CR3: u64 = 28;
    /// EIP; EFLAGS and the eight general registers follow, 4 bytes each.
    pub const EIP: u64 = 32;
    /// EFLAGS.
    pub const EFLAGS: u64 = 36;
    /// EAX, ECX, EDX, EBX, ESP, EBP, ESI, EDI.
    pub const EAX: u64 = 40;
    /// ES, CS, SS, DS, FS, GS, 4 bytes each.
    pub const ES: u64 = 72;
    /// Selector of the LDT.
    pub const LDT: u64 = 96;
    /// T: debug trap on a switch to this task (bit 0).
    pub const T: u64 = 100;
    /// Offset of the I/O permission bitmap (2 bytes).
    pub const IO_MAP: u64 = 102;
    /// Smallest limit of the segment.
    pub const MIN_LIMIT: u32 = 0x67;
}

/// Offsets in the 16-bit TSS.
pub mod tss16 {
    /// Selector of the previous task.
    pub const LINK: u64 = 0;
    /// SP and SS of privilege level 0; those of 1 and 2 follow, 4 bytes each.
    pub const SP0: u64 = 2;
    /// IP; FLAGS and the eight general registers follow, 2 bytes each.
    pub const IP: u64 = 14;
    /// FLAGS.
    pub const FLAGS: u64 = 16;
    /// AX, CX, DX, BX, SP, BP, SI, DI.
    pub const AX: u64 = 18;
    /// ES, CS, SS, DS.
    pub const ES: u64 = 34;
    /// Selector of the LDT.
    pub const LDT: u64 = 42;
    /// Smallest limit of the segment.
    pub const MIN_LIMIT: u32 = 0x2b;
}

/// Offsets in the 64-bit TSS.
pub mod tss64 {
    /// RSP of privilege level 0; those of 1 and 2 follow.
    pub const RSP0: u64 = 4;
    /// IST1; those of 2 to 7 follow.
    pub const IST1: u64 = 36;
    /// Offset of the I/O permission bitmap (2 bytes).
    pub const IO_MAP: u64 = 102;
}
