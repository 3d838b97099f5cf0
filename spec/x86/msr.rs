//! Numbers and bits of model-specific registers. SDM volume 4, "Architectural MSRs".

macro_rules! numbers {
    ($($name:ident $number:literal $doc:literal),* $(,)?) => { $(#[doc = $doc] pub const $name: u32 = $number;)* };
}

numbers! {
    IA32_TIME_STAMP_COUNTER     0x0010 "Time-stamp counter.",
    IA32_PLATFORM_ID            0x0017 "Platform identification.",
    IA32_APIC_BASE              0x001b "Local APIC location and status.",
    IA32_FEATURE_CONTROL        0x003a "Control of VMX and SMX.",
    IA32_TSC_ADJUST             0x003b "Adjustment of the TSC.",
    IA32_SPEC_CTRL              0x0048 "Speculation control.",
    IA32_PRED_CMD               0x0049 "Prediction command, write-only.",
    IA32_BIOS_UPDT_TRIG         0x0079 "Microcode update trigger, write-only.",
    IA32_BIOS_SIGN_ID           0x008b "Microcode revision.",
    MSR_PLATFORM_INFO           0x00ce "Ratios of the processor's clocks.",
    IA32_MTRRCAP                0x00fe "MTRR capabilities.",
    IA32_ARCH_CAPABILITIES      0x010a "What the processor is not affected by.",
    IA32_FLUSH_CMD              0x010b "Flush command, write-only.",
    IA32_SYSENTER_CS            0x0174 "CS of SYSENTER.",
    IA32_SYSENTER_ESP           0x0175 "ESP of SYSENTER.",
    IA32_SYSENTER_EIP           0x0176 "EIP of SYSENTER.",
    IA32_MCG_CAP                0x0179 "Machine-check capabilities.",
    IA32_MCG_STATUS             0x017a "Machine-check status.",
    IA32_MISC_ENABLE            0x01a0 "Miscellaneous features.",
    IA32_DEBUGCTL               0x01d9 "Debug control.",
    IA32_MTRR_PHYSBASE0         0x0200 "First of the variable-range MTRRs; base and mask alternate.",
    IA32_MTRR_FIX64K_00000      0x0250 "Fixed-range MTRR of 0 to 7FFFFH.",
    IA32_MTRR_FIX16K_80000      0x0258 "Fixed-range MTRR of 80000H to 9FFFFH.",
    IA32_MTRR_FIX16K_A0000      0x0259 "Fixed-range MTRR of A0000H to BFFFFH.",
    IA32_MTRR_FIX4K_C0000       0x0268 "First of eight fixed-range MTRRs of 8 x 4 KBytes.",
    IA32_MTRR_FIX4K_F8000       0x026f "Last of them.",
    IA32_PAT                    0x0277 "Page attribute table.",
    IA32_MTRR_DEF_TYPE          0x02ff "Default memory type and enables of MTRRs.",
    IA32_MC0_CTL                0x0400 "First of the machine-check banks: CTL, STATUS, ADDR, MISC.",
    IA32_TSC_DEADLINE           0x06e0 "Deadline of the local APIC's timer.",
    X2APIC_FIRST                0x0800 "First register of x2APIC.",
    X2APIC_LAST                 0x08ff "Last register of x2APIC.",
    IA32_XSS                    0x0da0 "Supervisor states of XSAVES.",
    IA32_EFER                   0xc000_0080 "Extended features.",
    IA32_STAR                   0xc000_0081 "Selectors of SYSCALL and SYSRET.",
    IA32_LSTAR                  0xc000_0082 "RIP of SYSCALL.",
    IA32_CSTAR                  0xc000_0083 "RIP of SYSCALL in compatibility mode (unused by Intel).",
    IA32_FMASK                  0xc000_0084 "RFLAGS that SYSCALL clears.",
    IA32_FS_BASE                0xc000_0100 "Base of FS.",
    IA32_GS_BASE                0xc000_0101 "Base of GS.",
    IA32_KERNEL_GS_BASE         0xc000_0102 "What SWAPGS exchanges with the base of GS.",
    IA32_TSC_AUX                0xc000_0103 "Signature of RDTSCP and RDPID.",
}

/// Bits of IA32_MISC_ENABLE.
pub mod misc_enable {
    /// Fast strings enable.
    pub const FAST_STRINGS: u64 = 1 << 0;
    /// Branch trace storage unavailable (read-only).
    pub const BTS_UNAVAILABLE: u64 = 1 << 11;
    /// Processor event-based sampling unavailable (read-only).
    pub const PEBS_UNAVAILABLE: u64 = 1 << 12;
    /// Enable MONITOR FSM: MONITOR, MWAIT and their CPUID flag.
    pub const MONITOR: u64 = 1 << 18;
    /// Limit CPUID's highest basic leaf to 2.
    pub const LIMIT_CPUID: u64 = 1 << 22;
    /// XD bit disable: no CPUID flag of execute-disable, no EFER.NXE.
    pub const XD_DISABLE: u64 = 1 << 34;
}

/// Bits of IA32_ARCH_CAPABILITIES.
pub mod arch_capabilities {
    /// No rogue data cache load.
    pub const RDCL_NO: u64 = 1 << 0;
    /// Enhanced IBRS.
    pub const IBRS_ALL: u64 = 1 << 1;
    /// No L1D flush needed at VM entry.
    pub const SKIP_L1DFL_VMENTRY: u64 = 1 << 3;
    /// No speculative store bypass.
    pub const SSB_NO: u64 = 1 << 4;
    /// No microarchitectural data sampling.
    pub const MDS_NO: u64 = 1 << 5;
    /// No machine check on page size change.
    pub const IF_PSCHANGE_MC_NO: u64 = 1 << 6;
    /// No TSX asynchronous abort.
    pub const TAA_NO: u64 = 1 << 8;
    /// No shared buffers data read nor sideband stale data.
    pub const SBDR_SSDP_NO: u64 = 1 << 13;
    /// No fill-buffer stale data propagation.
    pub const FBSDP_NO: u64 = 1 << 14;
    /// No primary stale data propagation.
    pub const PSDP_NO: u64 = 1 << 15;
    /// No branch history injection.
    pub const BHI_NO: u64 = 1 << 20;
    /// No post-barrier return stack buffer predictions.
    pub const PBRSB_NO: u64 = 1 << 24;
    /// No gather data sampling.
    pub const GDS_NO: u64 = 1 << 26;
    /// No register file data sampling.
    pub const RFDS_NO: u64 = 1 << 27;
    /// No indirect target selection.
    pub const ITS_NO: u64 = 1 << 62;
}

/// Bits of IA32_SPEC_CTRL.
pub mod spec_ctrl {
    /// Indirect branch restricted speculation.
    pub const IBRS: u64 = 1 << 0;
    /// Single thread indirect branch predictors.
    pub const STIBP: u64 = 1 << 1;
    /// Speculative store bypass disable.
    pub const SSBD: u64 = 1 << 2;
}

/// Bits of IA32_DEBUGCTL.
pub mod debugctl {
    /// Record branches.
    pub const LBR: u64 = 1 << 0;
    /// RFLAGS.TF traps on branches only.
    pub const BTF: u64 = 1 << 1;
}

/// Memory types, as MTRRs and PAT encode them. SDM volume 3, "Memory Types and Their Properties".
pub mod memory_type {
    /// Uncacheable.
    pub const UC: u8 = 0;
    /// Write combining.
    pub const WC: u8 = 1;
    /// Write-through.
    pub const WT: u8 = 4;
    /// Write-protected.
    pub const WP: u8 = 5;
    /// Write-back.
    pub const WB: u8 = 6;
    /// Uncached, which MTRRs may override; PAT only.
    pub const UC_MINUS: u8 = 7;
}
