//! The features that CPUID enumerates, by the manual's names in lower case.

use crate::control::cpuid;

/// What a feature test looks at: one bit of a CPUID leaf.
#[derive(Clone, Copy)]
pub struct Feature {
    /// The manual's name.
    pub name: &'static str,
    leaf: u32,
    subleaf: u32,
    register: u8,
    bit: u8,
}

impl Feature {
    const fn new(name: &'static str, leaf: u32, subleaf: u32, register: u8, bit: u8) -> Self {
        Feature { name, leaf, subleaf, register, bit }
    }

    /// Whether the processor has it.
    pub fn present(self) -> bool {
        let r = cpuid(self.leaf, self.subleaf);
        [r.eax, r.ebx, r.ecx, r.edx][self.register as usize] >> self.bit & 1 != 0
    }
}

macro_rules! features {
    ($($(#[$doc:meta])* $id:ident = $name:literal, $leaf:literal, $sub:literal, $reg:literal, $bit:literal;)*) => {
        $(#[doc = concat!("CPUID feature ", $name, ".")] pub const $id: Feature = Feature::new($name, $leaf, $sub, $reg, $bit);)*
        /// Every feature that the runtime knows by name, in CPUID order.
        pub const FEATURES: &[Feature] = &[$($id),*];
    };
}
features! {
    SSE3 = "sse3", 1, 0, 2, 0;
    PCLMULQDQ = "pclmulqdq", 1, 0, 2, 1;
    MONITOR = "monitor", 1, 0, 2, 3;
    VMX = "vmx", 1, 0, 2, 5;
    SSSE3 = "ssse3", 1, 0, 2, 9;
    FMA = "fma", 1, 0, 2, 12;
    CMPXCHG16B = "cmpxchg16b", 1, 0, 2, 13;
    PCID = "pcid", 1, 0, 2, 17;
    SSE4_1 = "sse4.1", 1, 0, 2, 19;
    SSE4_2 = "sse4.2", 1, 0, 2, 20;
    X2APIC = "x2apic", 1, 0, 2, 21;
    MOVBE = "movbe", 1, 0, 2, 22;
    POPCNT = "popcnt", 1, 0, 2, 23;
    TSC_DEADLINE = "tsc-deadline", 1, 0, 2, 24;
    AES = "aes", 1, 0, 2, 25;
    XSAVE = "xsave", 1, 0, 2, 26;
    AVX = "avx", 1, 0, 2, 28;
    F16C = "f16c", 1, 0, 2, 29;
    RDRAND = "rdrand", 1, 0, 2, 30;
    HYPERVISOR = "hypervisor", 1, 0, 2, 31;
    FPU = "fpu", 1, 0, 3, 0;
    VME = "vme", 1, 0, 3, 1;
    DE = "de", 1, 0, 3, 2;
    PSE = "pse", 1, 0, 3, 3;
    TSC = "tsc", 1, 0, 3, 4;
    PAE = "pae", 1, 0, 3, 6;
    APIC = "apic", 1, 0, 3, 9;
    SEP = "sep", 1, 0, 3, 11;
    MTRR = "mtrr", 1, 0, 3, 12;
    PGE = "pge", 1, 0, 3, 13;
    PAT = "pat", 1, 0, 3, 16;
    CLFSH = "clfsh", 1, 0, 3, 19;
    SSE2 = "sse2", 1, 0, 3, 26;
    HTT = "htt", 1, 0, 3, 28;
    FSGSBASE = "fsgsbase", 7, 0, 1, 0;
    BMI1 = "bmi1", 7, 0, 1, 3;
    AVX2 = "avx2", 7, 0, 1, 5;
    SMEP = "smep", 7, 0, 1, 7;
    BMI2 = "bmi2", 7, 0, 1, 8;
    INVPCID = "invpcid", 7, 0, 1, 10;
    AVX512F = "avx512f", 7, 0, 1, 16;
    RDSEED = "rdseed", 7, 0, 1, 18;
    ADX = "adx", 7, 0, 1, 19;
    SMAP = "smap", 7, 0, 1, 20;
    CLFLUSHOPT = "clflushopt", 7, 0, 1, 23;
    SHA = "sha", 7, 0, 1, 29;
    UMIP = "umip", 7, 0, 2, 2;
    PKU = "pku", 7, 0, 2, 3;
    LA57 = "la57", 7, 0, 2, 16;
    RDPID = "rdpid", 7, 0, 2, 22;
    PKS = "pks", 7, 0, 2, 31;
    XSAVEOPT = "xsaveopt", 0xD, 1, 0, 0;
    XSAVEC = "xsavec", 0xD, 1, 0, 1;
    XGETBV_1 = "xgetbv-ecx1", 0xD, 1, 0, 2;
    XSAVES = "xsaves", 0xD, 1, 0, 3;
    SYSCALL = "syscall", 0x8000_0001, 0, 3, 11;
    NX = "nx", 0x8000_0001, 0, 3, 20;
    PAGE_1G = "pdpe1gb", 0x8000_0001, 0, 3, 26;
    RDTSCP = "rdtscp", 0x8000_0001, 0, 3, 27;
    INVARIANT_TSC = "invariant-tsc", 0x8000_0007, 0, 3, 8;
}
