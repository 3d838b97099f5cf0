//! Feature flags of CPUID: where each is and what it is called. SDM volume 2, "CPUID—CPU Identification".

/// One of the four registers that CPUID writes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Register {
    /// EAX.
    Eax = 0,
    /// EBX.
    Ebx = 1,
    /// ECX.
    Ecx = 2,
    /// EDX.
    Edx = 3,
}

/// A feature flag.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Feature {
    /// Value of EAX that asks for it.
    pub leaf: u32,
    /// Value of ECX, where it counts.
    pub subleaf: u32,
    /// The register that holds the flag.
    pub register: Register,
    /// Its bit.
    pub bit: u8,
    /// The manual's name in lower case.
    pub name: &'static str,
}

macro_rules! features {
    ($($leaf:literal $subleaf:literal $register:ident { $($bit:literal $name:ident $text:literal $doc:literal),* $(,)? })*) => {
        impl Feature {
            $($(
                #[doc = $doc]
                pub const $name: Feature =
                    Feature { leaf: $leaf, subleaf: $subleaf, register: Register::$register, bit: $bit, name: $text };
            )*)*
            /// All flags that have a name here, in the order of leaves.
            pub const ALL: &[Feature] = &[$($(Feature::$name),*),*];
        }
    };
}

features! {
    0x1 0 Edx {
        0 FPU "fpu" "x87 on the chip.", 1 VME "vme" "Virtual-8086 mode enhancements.", 2 DE "de" "Debugging extensions.",
        3 PSE "pse" "Page size extension.", 4 TSC "tsc" "Time-stamp counter.", 5 MSR "msr" "RDMSR and WRMSR.",
        6 PAE "pae" "Physical address extension.", 7 MCE "mce" "Machine-check exception.", 8 CX8 "cx8" "CMPXCHG8B.",
        9 APIC "apic" "Local APIC.", 11 SEP "sep" "SYSENTER and SYSEXIT.", 12 MTRR "mtrr" "Memory type range registers.",
        13 PGE "pge" "Global pages.", 14 MCA "mca" "Machine-check architecture.", 15 CMOV "cmov" "CMOVcc.",
        16 PAT "pat" "Page attribute table.", 17 PSE36 "pse36" "4-MByte pages above 4 GBytes.", 19 CLFSH "clfsh" "CLFLUSH.",
        23 MMX "mmx" "MMX.", 24 FXSR "fxsr" "FXSAVE and FXRSTOR.", 25 SSE "sse" "SSE.", 26 SSE2 "sse2" "SSE2.",
        27 SS "ss" "Self snoop.", 28 HTT "htt" "More than one logical processor in the package.",
    }
    0x1 0 Ecx {
        0 SSE3 "sse3" "SSE3.", 1 PCLMULQDQ "pclmulqdq" "PCLMULQDQ.", 3 MONITOR "monitor" "MONITOR and MWAIT.",
        5 VMX "vmx" "Virtual-machine extensions.", 6 SMX "smx" "Safer mode extensions.", 9 SSSE3 "ssse3" "SSSE3.",
        13 CMPXCHG16B "cmpxchg16b" "CMPXCHG16B.", 17 PCID "pcid" "Process-context identifiers.", 19 SSE4_1 "sse4_1" "SSE4.1.",
        20 SSE4_2 "sse4_2" "SSE4.2.", 21 X2APIC "x2apic" "x2APIC.", 22 MOVBE "movbe" "MOVBE.", 23 POPCNT "popcnt" "POPCNT.",
        24 TSC_DEADLINE "tsc_deadline" "TSC-deadline mode of the local APIC's timer.", 25 AESNI "aesni" "AES instructions.",
        26 XSAVE "xsave" "XSAVE and extended states.", 27 OSXSAVE "osxsave" "CR4.OSXSAVE as it is.", 28 AVX "avx" "AVX.",
        30 RDRAND "rdrand" "RDRAND.",
    }
    0x6 0 Eax { 2 ARAT "arat" "The local APIC's timer always runs." }
    0x7 0 Ebx {
        0 FSGSBASE "fsgsbase" "RDFSBASE and its like.", 1 TSC_ADJUST "tsc_adjust" "IA32_TSC_ADJUST.", 3 BMI1 "bmi1" "BMI1.",
        7 SMEP "smep" "Supervisor-mode execution prevention.", 8 BMI2 "bmi2" "BMI2.", 9 ERMS "erms" "Enhanced REP MOVSB and STOSB.",
        10 INVPCID "invpcid" "INVPCID.", 18 RDSEED "rdseed" "RDSEED.", 19 ADX "adx" "ADCX and ADOX.",
        20 SMAP "smap" "Supervisor-mode access prevention.", 23 CLFLUSHOPT "clflushopt" "CLFLUSHOPT.", 24 CLWB "clwb" "CLWB.",
        29 SHA "sha" "SHA instructions.",
    }
    0x7 0 Ecx {
        2 UMIP "umip" "User-mode instruction prevention.", 3 PKU "pku" "Protection keys for user-mode pages.",
        4 OSPKE "ospke" "CR4.PKE as it is.", 16 LA57 "la57" "57-bit linear addresses.", 22 RDPID "rdpid" "RDPID.",
    }
    0x7 0 Edx {
        4 FSRM "fsrm" "Fast short REP MOVSB.", 26 IBRS "ibrs" "IA32_SPEC_CTRL.IBRS and IA32_PRED_CMD.",
        27 STIBP "stibp" "IA32_SPEC_CTRL.STIBP.", 28 L1D_FLUSH "l1d_flush" "IA32_FLUSH_CMD.",
        29 ARCH_CAPABILITIES "arch_capabilities" "IA32_ARCH_CAPABILITIES.", 31 SSBD "ssbd" "IA32_SPEC_CTRL.SSBD.",
    }
    0xd 1 Eax {
        0 XSAVEOPT "xsaveopt" "XSAVEOPT.", 1 XSAVEC "xsavec" "XSAVEC and the compacted form.",
        2 XGETBV_1 "xgetbv_1" "XGETBV with ECX = 1.", 3 XSAVES "xsaves" "XSAVES, XRSTORS and IA32_XSS.",
    }
    0x8000_0001 0 Ecx {
        0 LAHF "lahf" "LAHF and SAHF in 64-bit mode.", 5 LZCNT "lzcnt" "LZCNT.", 8 PREFETCHW "prefetchw" "PREFETCHW.",
    }
    0x8000_0001 0 Edx {
        11 SYSCALL "syscall" "SYSCALL and SYSRET in 64-bit mode.", 20 NX "nx" "Execute-disable.",
        26 PAGE1GB "page1gb" "1-GByte pages.", 27 RDTSCP "rdtscp" "RDTSCP and IA32_TSC_AUX.", 29 LM "lm" "Intel 64.",
    }
    0x8000_0007 0 Edx { 8 INVARIANT_TSC "invariant_tsc" "The TSC's rate never changes." }
}

impl Feature {
    /// The flag of this name.
    pub fn by_name(name: &str) -> Option<Feature> {
        Feature::ALL.iter().find(|f| f.name == name).copied()
    }
}
