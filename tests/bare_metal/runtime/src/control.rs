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
