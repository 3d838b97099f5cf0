//! Control registers, model-specific registers, CPUID, and the XSAVE family.
//! Intel SDM volume 3, "Control Registers", "Extended Feature Enable Register"; volume 1, "Managing State Using the XSAVE Feature Set".

use crate::access::*;
use bare_metal_runtime::context::reg;
use bare_metal_runtime::control::*;
use bare_metal_runtime::exceptions::{DONE, vector};
use bare_metal_runtime::features;
use bare_metal_runtime::framework::Check;
use bare_metal_runtime::paging;
use bare_metal_runtime::{Context, catch, run, snippet, tests};
use core::arch::asm;

tests! {
    cr0_reserved_and_fixed_bits,
    cr0_invalid_combinations_are_gp,
    cr4_reserved_bits_are_gp,
    cr4_pae_clear_in_long_mode_is_gp,
    cr4_osxsave_shows_in_cpuid,
    cr_moves_ignore_mod_field,
    efer_reserved_bits_are_gp,
    efer_lme_change_with_paging_is_gp,
    efer_lma_write_is_ignored,
    absent_msr_is_gp,
    msr_upper_register_halves_are_ignored,
    pat_memory_types_are_checked,
    mtrr_values_are_checked,
    cpuid_leaves_are_consistent,
    cpuid_clears_upper_halves,
    cpuid_beyond_highest_leaf_gives_highest_basic_leaf,
    rdtscp_gives_tsc_aux,
    clts_lmsw_smsw_work,
    invd_and_wbinvd_keep_memory,
    xsetbv_faults,
    xgetbv_faults,
    xcr0_gates_avx,
    xsave_area_sizes_match_cpuid,
    xsave_restores_what_it_saved,
    xsave_with_mask_writes_selected_parts_only,
    xsave_misaligned_is_gp,
    xrstor_of_bad_header_is_gp,
    xrstor_initializes_components_with_clear_bits,
    xrstor_of_bad_mxcsr_is_gp,
    xsaveopt_after_xrstor_matches_xsave,
    xsavec_writes_compacted_format,
    xsaves_needs_level_0,
    xinuse_is_reported_by_xgetbv_1,
    fxrstor_of_bad_mxcsr_is_gp,
    ldmxcsr_reserved_bits_are_gp,
    monitor_mwait_faults,
    mwait_wakes_for_interrupt,
    pause_and_hints_execute,
}

fn cr0_reserved_and_fixed_bits(c: &mut Check) {
    expect_fault(c, "upper half", catch(|| unsafe { write_cr0(read_cr0() | 1 << 32) }), vector::GP, 0);
    let cr0 = read_cr0();
    unsafe { write_cr0(cr0 & !(1 << 4)) };
    c.equal("ET is fixed", read_cr0() >> 4 & 1, 1);
    // Reserved bits of the lower half are ignored or kept; ET and the defined ones read as written.
    unsafe { write_cr0(cr0) };
    c.equal("CR0", read_cr0(), cr0);
}

fn cr0_invalid_combinations_are_gp(c: &mut Check) {
    let cr0 = read_cr0();
    expect_fault(c, "NW without CD", catch(|| unsafe { write_cr0(cr0 | 1 << 29) }), vector::GP, 0);
    expect_fault(c, "PG without PE", catch(|| unsafe { write_cr0(cr0 & !1) }), vector::GP, 0);
    // Paging can not be left from 64-bit code.
    expect_fault(c, "PG clear in 64-bit mode", catch(|| unsafe { write_cr0(cr0 & !(1 << 31)) }), vector::GP, 0);
    expect_none(
        c,
        "CD",
        catch(|| unsafe {
            write_cr0(cr0 | 1 << 30);
            write_cr0(cr0)
        }),
    );
    c.equal("CR0", read_cr0(), cr0);
}

fn cr4_reserved_bits_are_gp(c: &mut Check) {
    let cr4 = read_cr4();
    // Bit 15 and those above 32 have no meaning on any processor; 13 (VMXE) and others depend on CPUID.
    for bit in [15, 31, 33, 40, 63] {
        expect_fault(c, "reserved", catch(|| unsafe { write_cr4(cr4 | 1 << bit) }), vector::GP, 0);
    }
    for (feature, bit) in [
        (features::PCID, 17),
        (features::SMEP, 20),
        (features::SMAP, 21),
        (features::PKU, 22),
        (features::UMIP, 11),
        (features::FSGSBASE, 16),
        (features::XSAVE, 18),
        (features::PKS, 24),
        (features::VMX, 13),
    ] {
        if !feature.present() {
            expect_fault(c, feature.name, catch(|| unsafe { write_cr4(cr4 | 1 << bit) }), vector::GP, 0);
        }
    }
    c.equal("CR4", read_cr4(), cr4);
}

fn cr4_pae_clear_in_long_mode_is_gp(c: &mut Check) {
    expect_fault(c, "PAE", catch(|| unsafe { write_cr4(read_cr4() & !(1 << 5)) }), vector::GP, 0);
}

fn cr4_osxsave_shows_in_cpuid(c: &mut Check) {
    if !c.needs(features::XSAVE) {
        return;
    }
    c.equal("clear", cpuid(1, 0).ecx >> 27 & 1, 0);
    unsafe { write_cr4(read_cr4() | 1 << 18) };
    c.equal("set", cpuid(1, 0).ecx >> 27 & 1, 1);
}

fn cr_moves_ignore_mod_field(c: &mut Check) {
    // MOV RAX, CR0 with mod = 0: the field is ignored and the operand is a register.
    snippet!(code: ".byte 0x0F, 0x20, 0x00",);
    let f = run(&Context::kernel(code).with(reg::RAX, 7));
    c.equal("vector, RAX", (f.vector, f.regs[reg::RAX]), (DONE, read_cr0()));
    // The operand size is 64 bits without a prefix.
    snippet!(write: "mov rcx, cr3", ".byte 0x0F, 0x22, 0xD9", "mov rax, cr3",);
    c.equal("MOV CR3", run(&Context::kernel(write)).regs[reg::RAX], read_cr3());
}

fn efer_reserved_bits_are_gp(c: &mut Check) {
    let efer = unsafe { rdmsr(IA32_EFER) };
    for bit in [1, 2, 7, 9, 20, 40, 63] {
        expect_fault(c, "reserved", catch(|| unsafe { wrmsr(IA32_EFER, efer | 1 << bit) }), vector::GP, 0);
    }
}

fn efer_lme_change_with_paging_is_gp(c: &mut Check) {
    let efer = unsafe { rdmsr(IA32_EFER) };
    expect_fault(c, "LME", catch(|| unsafe { wrmsr(IA32_EFER, efer & !(1 << 8)) }), vector::GP, 0);
}

fn efer_lma_write_is_ignored(c: &mut Check) {
    unsafe {
        let efer = rdmsr(IA32_EFER);
        expect_none(c, "write with LMA clear", catch(|| wrmsr(IA32_EFER, efer & !(1 << 10))));
        c.equal("EFER", rdmsr(IA32_EFER), efer);
    }
}

fn absent_msr_is_gp(c: &mut Check) {
    for msr in [0x4000_0FFF, 0x1234_5678, 0xC000_1FFF, u32::MAX] {
        expect_fault(
            c,
            "RDMSR",
            catch(|| unsafe {
                rdmsr(msr);
            }),
            vector::GP,
            0,
        );
        expect_fault(c, "WRMSR", catch(|| unsafe { wrmsr(msr, 0) }), vector::GP, 0);
    }
}

fn msr_upper_register_halves_are_ignored(c: &mut Check) {
    snippet!(read: "rdmsr",);
    let start = Context::kernel(read)
        .with(reg::RCX, 0xFFFF_FFFF_0000_0000 | IA32_EFER as u64)
        .with(reg::RAX, u64::MAX)
        .with(reg::RDX, u64::MAX);
    let f = run(&start);
    let efer = unsafe { rdmsr(IA32_EFER) };
    c.equal("vector, RAX, RDX", (f.vector, f.regs[reg::RAX], f.regs[reg::RDX]), (DONE, efer & 0xFFFF_FFFF, efer >> 32));
}

fn pat_memory_types_are_checked(c: &mut Check) {
    if !c.needs(features::PAT) {
        return;
    }
    const IA32_PAT: u32 = 0x277;
    unsafe {
        let usual = rdmsr(IA32_PAT);
        for entry in 0..8 {
            for kind in [2u64, 3, 8, 0x80] {
                let value = usual & !(0xFF << (entry * 8)) | kind << (entry * 8);
                expect_fault(c, "reserved type", catch(|| wrmsr(IA32_PAT, value)), vector::GP, 0);
            }
            for kind in [0u64, 1, 4, 5, 6, 7] {
                let value = usual & !(0xFF << (entry * 8)) | kind << (entry * 8);
                expect_none(c, "type", catch(|| wrmsr(IA32_PAT, value)));
                c.equal("read back", rdmsr(IA32_PAT), value);
            }
        }
        wrmsr(IA32_PAT, usual);
    }
}

fn mtrr_values_are_checked(c: &mut Check) {
    if !c.needs(features::MTRR) {
        return;
    }
    const IA32_MTRRCAP: u32 = 0xFE;
    const IA32_MTRR_DEF_TYPE: u32 = 0x2FF;
    unsafe {
        let capability = rdmsr(IA32_MTRRCAP);
        expect_fault(c, "MTRRCAP is read-only", catch(|| wrmsr(IA32_MTRRCAP, capability)), vector::GP, 0);
        let usual = rdmsr(IA32_MTRR_DEF_TYPE);
        for kind in [2u64, 3, 7, 8] {
            expect_fault(c, "default type", catch(|| wrmsr(IA32_MTRR_DEF_TYPE, usual & !0xFF | kind)), vector::GP, 0);
        }
        expect_fault(c, "reserved bit", catch(|| wrmsr(IA32_MTRR_DEF_TYPE, usual | 1 << 9)), vector::GP, 0);
        if capability & 0xFF != 0 {
            let usual = rdmsr(0x200);
            expect_fault(c, "PHYSBASE type", catch(|| wrmsr(0x200, 2)), vector::GP, 0);
            expect_fault(c, "PHYSBASE reserved bit", catch(|| wrmsr(0x200, 1 << 8)), vector::GP, 0);
            let high = 1u64 << paging::physical_address_bits();
            if high < 1 << 52 {
                expect_fault(c, "PHYSBASE address", catch(|| wrmsr(0x200, high)), vector::GP, 0);
            }
            wrmsr(0x200, usual);
        }
    }
}

fn cpuid_leaves_are_consistent(c: &mut Check) {
    let highest = cpuid_raw(0, 0).eax;
    c.that("leaf 7 exists", highest >= 7);
    c.that("extended leaf 80000008H exists", cpuid_raw(0x8000_0000, 0).eax >= 0x8000_0008);
    for f in [features::FPU, features::TSC, features::PAE, features::SSE2, features::SYSCALL, features::PSE] {
        c.that(f.name, f.present());
    }
    c.that("long mode", cpuid(0x8000_0001, 0).edx >> 29 & 1 == 1);
    let bits = cpuid(0x8000_0008, 0).eax;
    c.that("physical address width", (32..=52).contains(&(bits & 0xFF)));
    let linear = if features::LA57.present() { 57 } else { 48 };
    c.equal("linear address width", bits >> 8 & 0xFF, linear);
    c.equal("initial APIC identifier", cpuid(1, 0).ebx >> 24, bare_metal_runtime::interrupt_controllers::lapic_id());
    if features::AVX2.present() {
        c.that("AVX2 comes with AVX", features::AVX.present());
    }
    if features::AVX.present() {
        c.that("AVX comes with XSAVE", features::XSAVE.present());
    }
    c.that("no reserved leaf 1 bits", cpuid(1, 0).edx >> 10 & 1 == 0 && cpuid(1, 0).edx >> 20 & 1 == 0);
}

fn cpuid_clears_upper_halves(c: &mut Check) {
    snippet!(code: "cpuid",);
    let start = [reg::RAX, reg::RBX, reg::RCX, reg::RDX]
        .into_iter()
        .fold(Context::kernel(code), |s, r| s.with(r, 0xFFFF_FFFF_0000_0000));
    let f = run(&start);
    for r in [reg::RAX, reg::RBX, reg::RCX, reg::RDX] {
        c.equal("upper half", f.regs[r] >> 32, 0);
    }
}

fn cpuid_beyond_highest_leaf_gives_highest_basic_leaf(c: &mut Check) {
    let highest = cpuid_raw(0, 0).eax;
    if matches!(highest, 0xB | 0x1F | 0xD) {
        // The last leaf's own answer depends on more than its number.
        c.skip("the highest basic leaf is a topology or XSAVE leaf");
        return;
    }
    let same = cpuid_raw(highest, 0);
    for leaf in [highest + 1, 0x2000_0000, 0x7FFF_FFFF] {
        let r = cpuid_raw(leaf, 0);
        c.equal("EAX, EBX, ECX, EDX", [r.eax, r.ebx, r.ecx, r.edx], [same.eax, same.ebx, same.ecx, same.edx]);
    }
}

fn rdtscp_gives_tsc_aux(c: &mut Check) {
    if !c.needs(features::RDTSCP) {
        return;
    }
    const IA32_TSC_AUX: u32 = 0xC000_0103;
    unsafe { wrmsr(IA32_TSC_AUX, 0x1234_5678) };
    snippet!(code: "rdtscp",);
    let f = run(&Context::kernel(code).with(reg::RCX, u64::MAX));
    c.equal("vector, RCX", (f.vector, f.regs[reg::RCX]), (DONE, 0x1234_5678));
    expect_fault(c, "upper half", catch(|| unsafe { wrmsr(IA32_TSC_AUX, 1 << 32) }), vector::GP, 0);
    if features::RDPID.present() {
        snippet!(rdpid: ".byte 0xF3, 0x0F, 0xC7, 0xF8",);
        c.equal("RDPID", run(&Context::kernel(rdpid)).regs[reg::RAX], 0x1234_5678);
    }
    unsafe { wrmsr(IA32_TSC_AUX, 0) };
}

fn clts_lmsw_smsw_work(c: &mut Check) {
    snippet!(code: "mov rax, cr0", "or eax, 8", "mov cr0, rax", "smsw ecx", "clts", "smsw edx", "mov ebx, 0xE", "lmsw bx", "mov rdi, cr0",);
    let f = run(&Context::kernel(code));
    c.equal("vector", f.vector, DONE);
    c.equal("SMSW r32 gives CR0", f.regs[reg::RCX], read_cr0() | 8);
    c.equal("CLTS", f.regs[reg::RDX], read_cr0());
    c.equal("LMSW sets MP, EM, TS and leaves PE", f.regs[reg::RDI] & 0xF, 0xF);
}

fn invd_and_wbinvd_keep_memory(c: &mut Check) {
    let page = paging::new_page();
    let p = &raw mut page.0[0];
    unsafe {
        p.write_volatile(0x77);
        asm!("wbinvd");
        c.equal("WBINVD", p.read_volatile(), 0x77);
        asm!("clflush [{}]", in(reg) p);
        c.equal("CLFLUSH", p.read_volatile(), 0x77);
    }
}

/// Runs with CR4.OSXSAVE and XCR0 as given; XCR0 is all that there is afterwards.
fn with_xcr0(xcr0: u64, f: impl FnOnce()) {
    unsafe {
        write_cr4(read_cr4() | 1 << 18);
        xsetbv(0, xcr0);
        f();
        xsetbv(0, 1);
        write_cr4(read_cr4() & !(1 << 18));
    }
}

/// The components of XCR0 that the processor has.
fn supported() -> u64 {
    let r = cpuid(0xD, 0);
    (r.edx as u64) << 32 | r.eax as u64
}

fn xsetbv_faults(c: &mut Check) {
    if !c.needs(features::XSAVE) {
        return;
    }
    snippet!(code: "xsetbv",);
    let set = |xcr: u64, value: u64| {
        let f = run(&Context::kernel(code)
            .with(reg::RCX, xcr)
            .with(reg::RAX, value & 0xFFFF_FFFF)
            .with(reg::RDX, value >> 32));
        (f.vector, f.error)
    };
    c.equal("without OSXSAVE", set(0, 1), (vector::UD, 0));
    with_xcr0(1, || {
        c.equal("x87 clear", set(0, 2), (vector::GP, 0));
        c.equal("zero", set(0, 0), (vector::GP, 0));
        c.equal("XCR1", set(1, 1), (vector::GP, 0));
        c.equal("bit 63", set(0, 1 | 1 << 63), (vector::GP, 0));
        if supported() & 4 != 0 {
            c.equal("AVX without SSE", set(0, 5), (vector::GP, 0));
            c.equal("AVX", set(0, 7), (DONE, 0));
        } else {
            c.equal("AVX that is not there", set(0, 7), (vector::GP, 0));
        }
        for bit in 0..63 {
            if supported() >> bit & 1 == 0 {
                c.equal("component that is not there", set(0, 3 | 1 << bit), (vector::GP, 0));
            }
        }
        if supported() & 0xE0 == 0xE0 {
            for part in [0x20, 0x40, 0x80, 0x60, 0xC0, 0xA0] {
                c.equal("part of AVX-512", set(0, 7 | part), (vector::GP, 0));
            }
            c.equal("AVX-512 without AVX", set(0, 0xE3), (vector::GP, 0));
        }
    });
}

fn xgetbv_faults(c: &mut Check) {
    if !c.needs(features::XSAVE) {
        return;
    }
    snippet!(code: "xgetbv",);
    c.equal("without OSXSAVE", run(&Context::kernel(code)).vector, vector::UD);
    with_xcr0(3, || {
        let f = run(&Context::kernel(code).with(reg::RAX, u64::MAX).with(reg::RDX, u64::MAX));
        c.equal("XCR0", (f.vector, f.regs[reg::RAX], f.regs[reg::RDX]), (DONE, 3, 0));
        let f = run(&Context::kernel(code).with(reg::RCX, 9));
        c.equal("XCR9", (f.vector, f.error), (vector::GP, 0));
        if !features::XGETBV_1.present() {
            let f = run(&Context::kernel(code).with(reg::RCX, 1));
            c.equal("XCR1 that is not there", (f.vector, f.error), (vector::GP, 0));
        }
    });
}

fn xcr0_gates_avx(c: &mut Check) {
    if !c.needs(features::AVX) {
        return;
    }
    snippet!(code: "vpxor xmm0, xmm1, xmm2",);
    with_xcr0(3, || c.equal("XCR0.AVX clear", run(&Context::kernel(code)).vector, vector::UD));
    with_xcr0(7, || c.equal("XCR0.AVX set", run(&Context::kernel(code)).vector, DONE));
    snippet!(ts: "mov rax, cr0", "or eax, 8", "mov cr0, rax", "vpxor xmm0, xmm1, xmm2",);
    with_xcr0(7, || c.equal("CR0.TS", run(&Context::kernel(ts)).vector, vector::NM));
    with_xcr0(3, || c.equal("CR0.TS, XCR0.AVX clear", run(&Context::kernel(ts)).vector, vector::UD));
}

fn xsave_area_sizes_match_cpuid(c: &mut Check) {
    if !c.needs(features::XSAVE) {
        return;
    }
    with_xcr0(1, || c.equal("x87 only", cpuid(0xD, 0).ebx, 576));
    with_xcr0(3, || c.equal("x87 and SSE", cpuid(0xD, 0).ebx, 576));
    if supported() & 4 != 0 {
        let part = cpuid(0xD, 2);
        c.equal("AVX: size, offset", (part.eax, part.ebx), (256, 576));
        with_xcr0(7, || c.equal("with AVX", cpuid(0xD, 0).ebx, 832));
    }
    let all = supported();
    let end = (2..63).filter(|b| all >> b & 1 != 0).map(|b| cpuid(0xD, b)).map(|p| p.eax + p.ebx).max().unwrap_or(576);
    c.equal("maximum size", cpuid(0xD, 0).ecx, end);
}

/// An XSAVE area, zeroed.
#[repr(C, align(64))]
struct Area([u8; 4096]);

impl Area {
    fn new() -> &'static mut Area {
        // SAFETY: a page is larger and more aligned than an area.
        unsafe { &mut *(paging::new_page() as *mut paging::Page as *mut Area) }
    }
    fn word(&self, offset: usize) -> u64 {
        u64::from_le_bytes(core::array::from_fn(|i| self.0[offset + i]))
    }
    fn set(&mut self, offset: usize, value: u64) {
        self.0[offset..offset + 8].copy_from_slice(&value.to_le_bytes());
    }
}

const XSTATE_BV: usize = 512;
const XCOMP_BV: usize = 520;

unsafe fn xsave(area: *mut Area, mask: u64) {
    asm!("xsave64 [{}]", in(reg) area, in("eax") mask as u32, in("edx") (mask >> 32) as u32);
}

unsafe fn xrstor(area: *const Area, mask: u64) {
    asm!("xrstor64 [{}]", in(reg) area, in("eax") mask as u32, in("edx") (mask >> 32) as u32);
}

fn load_ymm(value: &[u64; 4]) {
    unsafe { asm!("vmovdqu ymm5, [{}]", in(reg) value) };
}

fn store_ymm() -> [u64; 4] {
    let mut value = [0; 4];
    unsafe { asm!("vmovdqu [{}], ymm5", in(reg) &mut value) };
    value
}

fn xsave_restores_what_it_saved(c: &mut Check) {
    if !c.needs(features::AVX) {
        return;
    }
    let area = Area::new();
    let value = [1, 2, 3, 4];
    with_xcr0(7, || unsafe {
        load_ymm(&value);
        xsave(area, 7);
        load_ymm(&[9; 4]);
        xrstor(area, 7);
        c.equal("YMM5", store_ymm(), value);
        c.equal("XMM5 in the area", (area.word(160 + 5 * 16), area.word(168 + 5 * 16)), (1, 2));
        c.equal("upper half in the area", (area.word(576 + 5 * 16), area.word(584 + 5 * 16)), (3, 4));
        c.equal("XSTATE_BV has SSE and AVX", area.word(XSTATE_BV) & 6, 6);
        c.equal("XCOMP_BV", area.word(XCOMP_BV), 0);
        asm!("vzeroall");
    });
}

fn xsave_with_mask_writes_selected_parts_only(c: &mut Check) {
    if !c.needs(features::AVX) {
        return;
    }
    let area = Area::new();
    area.0.fill(0xAA);
    area.set(XSTATE_BV, 0xF0);
    with_xcr0(7, || unsafe {
        load_ymm(&[1, 2, 3, 4]);
        xsave(area, 4);
        asm!("vzeroall");
    });
    c.equal("x87 part is not written", area.word(0), 0xAAAA_AAAA_AAAA_AAAA);
    c.equal("XMM part is not written", area.word(160 + 5 * 16), 0xAAAA_AAAA_AAAA_AAAA);
    c.equal("AVX part", area.word(576 + 5 * 16), 3);
    // XSTATE_BV: the requested bits are replaced, the others kept.
    c.equal("XSTATE_BV", area.word(XSTATE_BV), 0xF4);
    c.equal("rest of the header", area.word(XCOMP_BV), 0xAAAA_AAAA_AAAA_AAAA);
    // MXCSR is written when SSE or AVX is requested.
    c.equal("MXCSR", area.word(24) & 0xFFFF_FFFF, 0x1F80);
}

fn xsave_misaligned_is_gp(c: &mut Check) {
    if !c.needs(features::XSAVE) {
        return;
    }
    let area = Area::new() as *mut Area as u64;
    snippet!(save: "mov eax, 3", "xor edx, edx", "xsave [rdi]",);
    snippet!(restore: "mov eax, 3", "xor edx, edx", "xrstor [rdi]",);
    with_xcr0(3, || {
        for code in [save as extern "C" fn(), restore] {
            let f = run(&Context::kernel(code).with(reg::RDI, area + 16));
            c.equal("vector, error", (f.vector, f.error), (vector::GP, 0));
        }
    });
    c.equal("without OSXSAVE", run(&Context::kernel(save).with(reg::RDI, area)).vector, vector::UD);
}

fn xrstor_of_bad_header_is_gp(c: &mut Check) {
    if !c.needs(features::XSAVE) {
        return;
    }
    snippet!(restore: "mov eax, 3", "xor edx, edx", "xrstor [rdi]",);
    let area = Area::new();
    area.set(24, 0x1F80);
    let at = area as *mut Area as u64;
    with_xcr0(3, || {
        let mut with = |offset: usize, value: u64| {
            area.set(offset, value);
            let f = run(&Context::kernel(restore).with(reg::RDI, at));
            area.set(offset, 0);
            (f.vector, f.error)
        };
        c.equal("good", with(XSTATE_BV, 3).0, DONE);
        c.equal("XSTATE_BV beyond XCR0", with(XSTATE_BV, 7), (vector::GP, 0));
        c.equal("XSTATE_BV bit 63", with(XSTATE_BV, 1 << 63), (vector::GP, 0));
        c.equal("XCOMP_BV in the standard format", with(XCOMP_BV, 1), (vector::GP, 0));
        c.equal("byte 16 of the header", with(XCOMP_BV + 8, 1), (vector::GP, 0));
        if !features::XSAVEC.present() {
            c.equal("compacted format that is not there", with(XCOMP_BV, 1 << 63 | 3), (vector::GP, 0));
        }
    });
}

fn xrstor_initializes_components_with_clear_bits(c: &mut Check) {
    if !c.needs(features::AVX) {
        return;
    }
    let area = Area::new();
    area.set(24, 0x1F80);
    for i in 0..16 {
        area.set(576 + i * 16, 0x55);
    }
    with_xcr0(7, || unsafe {
        load_ymm(&[1, 2, 3, 4]);
        xrstor(area, 4);
        c.equal("only AVX is requested", store_ymm(), [1, 2, 0, 0]);
        load_ymm(&[1, 2, 3, 4]);
        xrstor(area, 2);
        c.equal("only SSE is requested", store_ymm(), [0, 0, 3, 4]);
        asm!("fld1", "fldpi");
        xrstor(area, 1);
        let mut fx = [0u16; 14];
        asm!("fnstenv [{}]", in(reg) &mut fx);
        c.equal("x87: control, status, tag", (fx[0], fx[2], fx[4]), (0x37F, 0, 0xFFFF));
        asm!("vzeroall", "fninit");
    });
}

fn xrstor_of_bad_mxcsr_is_gp(c: &mut Check) {
    if !c.needs(features::XSAVE) {
        return;
    }
    snippet!(restore: "mov eax, 2", "xor edx, edx", "xrstor [rdi]",);
    let area = Area::new();
    area.set(XSTATE_BV, 2);
    area.set(24, 0x1_1F80);
    let at = area as *mut Area as u64;
    with_xcr0(3, || {
        let f = run(&Context::kernel(restore).with(reg::RDI, at));
        c.equal("vector, error", (f.vector, f.error), (vector::GP, 0));
    });
}

fn xsaveopt_after_xrstor_matches_xsave(c: &mut Check) {
    if !c.needs(features::XSAVEOPT) || !c.needs(features::AVX) {
        return;
    }
    let (area, other) = (Area::new(), Area::new());
    with_xcr0(7, || unsafe {
        load_ymm(&[5, 6, 7, 8]);
        xsave(area, 7);
        xrstor(area, 7);
        load_ymm(&[1, 2, 3, 4]);
        // Modified since: must be written whatever the optimization tracks.
        asm!("xsaveopt64 [{}]", in(reg) &mut *area, in("eax") 7, in("edx") 0);
        asm!("xsaveopt64 [{}]", in(reg) &mut *other, in("eax") 7, in("edx") 0);
        asm!("vzeroall");
    });
    c.equal("same area", (area.word(160 + 5 * 16), area.word(576 + 5 * 16)), (1, 3));
    c.equal("another area", (other.word(160 + 5 * 16), other.word(576 + 5 * 16)), (1, 3));
}

fn xsavec_writes_compacted_format(c: &mut Check) {
    if !c.needs(features::XSAVEC) || !c.needs(features::AVX) {
        return;
    }
    let area = Area::new();
    with_xcr0(7, || unsafe {
        load_ymm(&[5, 6, 7, 8]);
        asm!("xsavec64 [{}]", in(reg) &mut *area, in("eax") 4, in("edx") 0);
        asm!("vzeroall");
        c.equal("XCOMP_BV", area.word(XCOMP_BV), 1 << 63 | 4);
        c.equal("XSTATE_BV", area.word(XSTATE_BV), 4);
        c.equal("AVX part", area.word(576 + 5 * 16), 7);
        xrstor(area, 4);
        c.equal("restored", store_ymm(), [0, 0, 7, 8]);
        asm!("vzeroall");
        // A component in its initial state is not written, and its bit is clear.
        asm!("xsavec64 [{}]", in(reg) &mut *area, in("eax") 4, in("edx") 0);
        c.equal("XSTATE_BV of the initial state", area.word(XSTATE_BV), 0);
    });
}

fn xsaves_needs_level_0(c: &mut Check) {
    if !c.needs(features::XSAVES) {
        return;
    }
    const IA32_XSS: u32 = 0xDA0;
    let area = Area::new() as *mut Area as u64;
    snippet!(code: "mov eax, 3", "xor edx, edx", "xsaves64 [rdi]",);
    with_xcr0(3, || {
        c.equal("level 0", run(&Context::kernel(code).with(reg::RDI, area)).vector, DONE);
        let _image = paging::UserImage::new();
        let f = run(&Context::user(code).with(reg::RDI, area));
        c.equal("level 3", (f.vector, f.error), (vector::GP, 0));
    });
    expect_fault(c, "IA32_XSS bit 0", catch(|| unsafe { wrmsr(IA32_XSS, 1) }), vector::GP, 0);
}

fn xinuse_is_reported_by_xgetbv_1(c: &mut Check) {
    if !c.needs(features::XGETBV_1) || !c.needs(features::AVX) {
        return;
    }
    with_xcr0(7, || unsafe {
        asm!("vzeroall");
        let clear = xgetbv(1);
        load_ymm(&[0, 0, 1, 0]);
        let set = xgetbv(1);
        asm!("vzeroall");
        c.equal("nothing beyond XCR0", clear & !7, 0);
        c.equal("AVX in use", set & 4, 4);
    });
}

fn fxrstor_of_bad_mxcsr_is_gp(c: &mut Check) {
    snippet!(code: "fxrstor64 [rdi]",);
    let area = Area::new();
    area.set(24, 0x1_1F80);
    let f = run(&Context::kernel(code).with(reg::RDI, area as *mut Area as u64));
    c.equal("vector, error", (f.vector, f.error), (vector::GP, 0));
    snippet!(save: "fxsave64 [rdi]",);
    let f = run(&Context::kernel(save).with(reg::RDI, area as *mut Area as u64 + 8));
    c.equal("FXSAVE misaligned", (f.vector, f.error), (vector::GP, 0));
}

fn ldmxcsr_reserved_bits_are_gp(c: &mut Check) {
    for value in [0x1_1F80u32, 0x8000_1F80] {
        let fault = catch(|| unsafe { asm!("ldmxcsr [{}]", in(reg) &value) });
        expect_fault(c, "LDMXCSR", fault, vector::GP, 0);
    }
}

fn monitor_mwait_faults(c: &mut Check) {
    snippet!(monitor: "mov rax, rsp", "xor ecx, ecx", "xor edx, edx", "monitor",);
    snippet!(monitor_ecx: "mov rax, rsp", "mov ecx, 1", "xor edx, edx", "monitor",);
    snippet!(mwait_ecx: "mov ecx, 0x80", "xor eax, eax", "mwait",);
    let _image = paging::UserImage::new();
    if !features::MONITOR.present() {
        c.equal("MONITOR that is not there", run(&Context::kernel(monitor)).vector, vector::UD);
        return;
    }
    c.equal("MONITOR", run(&Context::kernel(monitor)).vector, DONE);
    let f = run(&Context::kernel(monitor_ecx));
    c.equal("MONITOR with ECX", (f.vector, f.error), (vector::GP, 0));
    let f = run(&Context::kernel(mwait_ecx));
    c.equal("MWAIT with ECX", (f.vector, f.error), (vector::GP, 0));
    c.equal("MONITOR at level 3", run(&Context::user(monitor)).vector, vector::UD);
    c.equal("MWAIT at level 3", run(&Context::user(mwait_ecx)).vector, vector::UD);
}

fn mwait_wakes_for_interrupt(c: &mut Check) {
    if !c.needs(features::MONITOR) {
        return;
    }
    use bare_metal_runtime::interrupt_controllers::*;
    bare_metal_runtime::exceptions::set_handler(0x5B, Some(|_| lapic_eoi()));
    lapic_write(lapic::TIMER_DIVIDE, 0xB);
    lapic_write(lapic::LVT_TIMER, 0x5B);
    lapic_write(lapic::TIMER_INITIAL, 100_000);
    snippet!(code: "mov rax, rsp", "xor ecx, ecx", "xor edx, edx", "monitor", "xor eax, eax", "sti", "mwait", "nop", "cli",);
    c.equal("vector", run(&Context::kernel(code)).vector, DONE);
    lapic_write(lapic::TIMER_INITIAL, 0);
    lapic_write(lapic::LVT_TIMER, 1 << 16);
    unsafe { interrupt_window() };
}

fn pause_and_hints_execute(c: &mut Check) {
    snippet!(code: "pause", "prefetcht0 [rdi]", "nop dword ptr [rdi]", ".byte 0xF3, 0x0F, 0x1E, 0xFA", "lfence", "mfence", "sfence",);
    c.equal("vector", run(&Context::kernel(code).with(reg::RDI, paging::TEST_BASE)).vector, DONE);
}
