//! Control registers, model-specific registers, CPUID and their neighbours.

use core::arch::asm;

/// IA32_EFER, extended feature enables.
pub const IA32_EFER: u32 = 0xC000_0080;
/// IA32_APIC_BASE.
pub const IA32_APIC_BASE: u32 = 0x1B;

pub use core::arch::x86_64::CpuidResult;

/// CPUID of a leaf and subleaf. Leaves above the highest one give zero instead of Intel's "data of the last leaf".
pub fn cpuid(leaf: u32, subleaf: u32) -> CpuidResult {
    let highest = cpuid_raw(leaf & 0xFFFF_0000, 0).eax;
    if leaf > highest || highest < (leaf & 0xFFFF_0000) {
        return CpuidResult { eax: 0, ebx: 0, ecx: 0, edx: 0 };
    }
    cpuid_raw(leaf, subleaf)
}

/// CPUID as the processor answers it.
pub fn cpuid_raw(leaf: u32, subleaf: u32) -> CpuidResult {
    core::arch::x86_64::__cpuid_count(leaf, subleaf)
}

macro_rules! control_register {
    ($read:ident, $write:ident, $reg:literal) => {
        #[doc = concat!("Reads ", $reg, ".")]
        pub fn $read() -> u64 {
            let v: u64;
            unsafe { asm!(concat!("mov {}, ", $reg), out(reg) v, options(nostack, preserves_flags)) };
            v
        }
        #[doc = concat!("Writes ", $reg, ".")]
        pub unsafe fn $write(v: u64) {
            asm!(concat!("mov ", $reg, ", {}"), in(reg) v, options(nostack, preserves_flags));
        }
    };
}
control_register!(read_cr0, write_cr0, "cr0");
control_register!(read_cr2, write_cr2, "cr2");
control_register!(read_cr3, write_cr3, "cr3");
control_register!(read_cr4, write_cr4, "cr4");
control_register!(read_cr8, write_cr8, "cr8");
control_register!(read_dr0, write_dr0, "dr0");
control_register!(read_dr1, write_dr1, "dr1");
control_register!(read_dr2, write_dr2, "dr2");
control_register!(read_dr3, write_dr3, "dr3");
control_register!(read_dr6, write_dr6, "dr6");
control_register!(read_dr7, write_dr7, "dr7");

/// Reads a model-specific register; #GP if there is none (see [`crate::catch`]).
pub unsafe fn rdmsr(msr: u32) -> u64 {
    let (lo, hi): (u32, u32);
    asm!("rdmsr", in("ecx") msr, out("eax") lo, out("edx") hi, options(nostack, preserves_flags));
    (hi as u64) << 32 | lo as u64
}

/// Writes a model-specific register; #GP if it does not take the value.
pub unsafe fn wrmsr(msr: u32, v: u64) {
    asm!("wrmsr", in("ecx") msr, in("eax") v as u32, in("edx") (v >> 32) as u32, options(nostack, preserves_flags));
}

/// Reads an extended control register.
pub unsafe fn xgetbv(index: u32) -> u64 {
    let (lo, hi): (u32, u32);
    asm!("xgetbv", in("ecx") index, out("eax") lo, out("edx") hi, options(nostack, preserves_flags));
    (hi as u64) << 32 | lo as u64
}

/// Writes an extended control register.
pub unsafe fn xsetbv(index: u32, v: u64) {
    asm!("xsetbv", in("ecx") index, in("eax") v as u32, in("edx") (v >> 32) as u32, options(nostack, preserves_flags));
}

/// The time-stamp counter.
pub fn rdtsc() -> u64 {
    unsafe { core::arch::x86_64::_rdtsc() }
}

/// RFLAGS.
pub fn rflags() -> u64 {
    let v: u64;
    unsafe { asm!("pushfq", "pop {}", out(reg) v, options(preserves_flags)) };
    v
}

/// INVLPG.
pub unsafe fn invlpg(linear: u64) {
    asm!("invlpg [{}]", in(reg) linear, options(nostack, preserves_flags));
}

/// Masks maskable interrupts.
pub unsafe fn cli() {
    asm!("cli", options(nostack));
}

/// Allows maskable interrupts, from the instruction after the next on.
pub unsafe fn sti() {
    asm!("sti", options(nostack));
}

/// Opens a window of a few instructions for maskable interrupts.
pub unsafe fn interrupt_window() {
    asm!("sti", "nop", "nop", "cli", options(nostack));
}

/// STI and HLT without a gap, then CLI: sleeps until an interrupt has been handled.
pub unsafe fn sleep() {
    asm!("sti", "hlt", "cli", options(nostack));
}

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
