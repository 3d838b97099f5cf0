//! Supervisor-mode prevention (SMEP, SMAP), UMIP and protection keys.
//! Intel SDM volume 3, "Access Rights", "Protection Keys", "Page-Fault Exceptions"; volume 3, "Control Registers" (UMIP).

use crate::access::*;
use bare_metal_runtime::context::reg;
use bare_metal_runtime::control::*;
use bare_metal_runtime::descriptors::{TEST_SLOT, gdt, segment};
use bare_metal_runtime::exceptions::{DONE, vector};
use bare_metal_runtime::features;
use bare_metal_runtime::framework::Check;
use bare_metal_runtime::paging::*;
use bare_metal_runtime::{Context, catch, run, snippet, tests};
use core::arch::asm;

tests! {
    smep_fetch_of_user_page_faults,
    smep_fetch_of_page_that_is_supervisor_at_one_level_is_allowed,
    smep_without_nxe_reports_id,
    smap_data_access_of_user_page_needs_ac,
    smap_implicit_access_ignores_ac,
    smap_clear_ignores_ac,
    stac_at_level_3_is_ud,
    stac_clac_change_ac,
    umip_user_store_of_table_registers_is_gp,
    umip_supervisor_is_allowed,
    pku_rights_decide_data_access,
    pku_reports_pk_together_with_other_violations,
    pku_ignores_supervisor_pages,
    rdpkru_wrpkru_faults,
    ospke_follows_cr4_pke,
    pks_rights_decide_data_access,
    user_access_of_supervisor_page_through_segment_override_faults,
    privileged_instructions_at_level_3_are_gp,
    alignment_check_at_level_3_is_ac,
    alignment_check_at_level_0_is_silent,
}

const AC: u64 = 1 << 18;
const SMEP: u64 = 1 << 20;
const SMAP: u64 = 1 << 21;

/// A user page filled with RETs at the test address.
fn user_page() -> u64 {
    let page = new_page();
    page.0.fill(RET_FILL);
    map(TEST_BASE, physical(page), P | W | U, Size::Page4K);
    TEST_BASE
}

fn set_cr4(bits: u64) {
    unsafe { write_cr4(read_cr4() | bits) };
}

fn smep_fetch_of_user_page_faults(c: &mut Check) {
    if !c.needs(features::SMEP) {
        return;
    }
    let linear = user_page();
    expect_none(c, "without SMEP", access(Kind::Fetch, Level::Supervisor, linear));
    set_cr4(SMEP);
    expect_page_fault(c, "fetch", access(Kind::Fetch, Level::Supervisor, linear), 0x11, linear);
    expect_page_fault(c, "fetch with AC", access_with(Kind::Fetch, Level::Supervisor, linear, AC), 0x11, linear);
    expect_none(c, "read", access(Kind::Read, Level::Supervisor, linear));
    expect_none(c, "write", access(Kind::Write, Level::Supervisor, linear));
}

fn smep_fetch_of_page_that_is_supervisor_at_one_level_is_allowed(c: &mut Check) {
    if !c.needs(features::SMEP) {
        return;
    }
    let linear = user_page();
    set_cr4(SMEP);
    for level in 1..=4 {
        let usual = *entry(linear, level).expect("mapped");
        set_entry(linear, level, usual & !U);
        expect_none(c, "fetch", access(Kind::Fetch, Level::Supervisor, linear));
        set_entry(linear, level, usual);
    }
}

fn smep_without_nxe_reports_id(c: &mut Check) {
    if !c.needs(features::SMEP) {
        return;
    }
    let linear = user_page();
    set_cr4(SMEP);
    unsafe {
        let efer = rdmsr(IA32_EFER);
        wrmsr(IA32_EFER, efer & !(1 << 11));
        let user = access(Kind::Fetch, Level::Supervisor, linear);
        let absent = access(Kind::Fetch, Level::Supervisor, linear + 4096);
        wrmsr(IA32_EFER, efer);
        expect_page_fault(c, "user page", user, 0x11, linear);
        expect_page_fault(c, "absent page", absent, 0x10, linear + 4096);
    }
}

fn smap_data_access_of_user_page_needs_ac(c: &mut Check) {
    if !c.needs(features::SMAP) {
        return;
    }
    let linear = user_page();
    set_cr4(SMAP);
    for wp in [1 << 16, 0] {
        unsafe { write_cr0(read_cr0() & !(1 << 16) | wp) };
        expect_page_fault(c, "read", access(Kind::Read, Level::Supervisor, linear), 1, linear);
        expect_page_fault(c, "write", access(Kind::Write, Level::Supervisor, linear), 3, linear);
        expect_none(c, "fetch", access(Kind::Fetch, Level::Supervisor, linear));
        expect_none(c, "read with AC", access_with(Kind::Read, Level::Supervisor, linear, AC));
        expect_none(c, "write with AC", access_with(Kind::Write, Level::Supervisor, linear, AC));
    }
    // A page that is supervisor at any level is no user page.
    let usual = *entry(linear, 2).expect("mapped");
    set_entry(linear, 2, usual & !U);
    expect_none(c, "supervisor page", access(Kind::Write, Level::Supervisor, linear));
    set_entry(linear, 2, usual);
    // AC does not give what the page does not.
    unsafe { write_cr0(read_cr0() | 1 << 16) };
    let usual = *entry(linear, 1).expect("mapped");
    set_entry(linear, 1, usual & !W);
    expect_page_fault(c, "read-only", access_with(Kind::Write, Level::Supervisor, linear, AC), 3, linear);
}

fn smap_implicit_access_ignores_ac(c: &mut Check) {
    if !c.needs(features::SMAP) {
        return;
    }
    // An LDT in a user page: loading a segment register from it is an implicit supervisor access.
    let linear = user_page();
    unsafe {
        (linear as *mut u64).write_volatile(segment(0, 0xF_FFFF, 0x93, 0xC));
        let slot = TEST_SLOT as usize / 8;
        gdt()[slot] = segment(linear as u32, 127, 0x82, 0) | (linear >> 24 & 0xFF) << 56;
        gdt()[slot + 1] = linear >> 32;
        set_cr4(SMAP);
        asm!("lldt {:x}", in(reg) TEST_SLOT);
        snippet!(load_fs: "mov eax, 4", "mov fs, eax",);
        for flags in [0, AC] {
            let f = run(&Context::kernel(load_fs).flags(flags));
            expect_page_fault(c, "MOV FS", Some(f), 1, linear);
        }
        write_cr4(read_cr4() & !SMAP);
        let f = run(&Context::kernel(load_fs));
        c.equal("without SMAP", f.vector, DONE);
        asm!("lldt {:x}", in(reg) 0);
    }
}

fn smap_clear_ignores_ac(c: &mut Check) {
    let linear = user_page();
    expect_none(c, "read", access(Kind::Read, Level::Supervisor, linear));
    expect_none(c, "read with AC", access_with(Kind::Read, Level::Supervisor, linear, AC));
}

snippet!(stac: "stac",);
snippet!(clac: "clac",);

fn stac_at_level_3_is_ud(c: &mut Check) {
    if !c.needs(features::SMAP) {
        return;
    }
    let _image = UserImage::new();
    expect_fault(c, "STAC", Some(run(&Context::user(stac))), vector::UD, 0);
    expect_fault(c, "CLAC", Some(run(&Context::user(clac))), vector::UD, 0);
    expect_fault(c, "STAC with IOPL 3", Some(run(&Context::user(stac).flags(3 << 12))), vector::UD, 0);
}

fn stac_clac_change_ac(c: &mut Check) {
    if !c.needs(features::SMAP) {
        return;
    }
    let f = run(&Context::kernel(stac));
    c.equal("STAC", (f.vector, f.rflags & AC), (DONE, AC));
    let f = run(&Context::kernel(clac).flags(AC));
    c.equal("CLAC", (f.vector, f.rflags & AC), (DONE, 0));
}

snippet!(do_sgdt: "sgdt [rsp - 64]",);
snippet!(do_sidt: "sidt [rsp - 64]",);
snippet!(do_sldt: "sldt eax",);
snippet!(do_sldt_memory: "sldt [rsp - 64]",);
snippet!(do_str: "str eax",);
snippet!(do_smsw: "smsw eax",);

const STORES: [(&str, extern "C" fn()); 6] = [
    ("SGDT", do_sgdt),
    ("SIDT", do_sidt),
    ("SLDT", do_sldt),
    ("SLDT m16", do_sldt_memory),
    ("STR", do_str),
    ("SMSW", do_smsw),
];

fn umip_user_store_of_table_registers_is_gp(c: &mut Check) {
    if !c.needs(features::UMIP) {
        return;
    }
    let _image = UserImage::new();
    for umip in [true, false] {
        unsafe { write_cr4(read_cr4() & !(1 << 11) | (umip as u64) << 11) };
        for (name, code) in STORES {
            let f = run(&Context::user(code));
            let expected = if umip { vector::GP } else { DONE };
            c.equal(name, (f.vector, f.error), (expected, 0));
        }
    }
}

fn umip_supervisor_is_allowed(c: &mut Check) {
    if !c.needs(features::UMIP) {
        return;
    }
    set_cr4(1 << 11);
    for (name, code) in STORES {
        c.equal(name, run(&Context::kernel(code)).vector, DONE);
    }
}

/// The test key.
const KEY: u64 = 5;

unsafe fn wrpkru(v: u32) {
    asm!("wrpkru", in("eax") v, in("ecx") 0, in("edx") 0);
}

fn pku_rights_decide_data_access(c: &mut Check) {
    if !c.needs(features::PKU) {
        return;
    }
    let _image = UserImage::new();
    let linear = user_page();
    let e = *entry(linear, 1).expect("mapped");
    set_entry(linear, 1, e | KEY << 59);
    set_cr4(1 << 22);
    for rights in 0..4u32 {
        let (access_disabled, write_disabled) = (rights & 1 != 0, rights & 2 != 0);
        for wp in [true, false] {
            for level in LEVELS {
                for kind in KINDS {
                    unsafe {
                        write_cr0(read_cr0() & !(1 << 16) | (wp as u64) << 16);
                        wrpkru(rights << (KEY * 2));
                    }
                    let got = access(kind, level, linear);
                    unsafe { wrpkru(0) };
                    let user = level == Level::User;
                    let denied = match kind {
                        Kind::Fetch => false,
                        Kind::Read => access_disabled,
                        Kind::Write => access_disabled || write_disabled && (user || wp),
                    };
                    let error = 0x21 | if user { 4 } else { 0 } | if kind == Kind::Write { 2 } else { 0 };
                    if denied {
                        expect_page_fault(c, "denied", got, error, linear);
                    } else {
                        expect_none(c, "allowed", got);
                    }
                }
            }
        }
    }
}

fn pku_reports_pk_together_with_other_violations(c: &mut Check) {
    if !c.needs(features::PKU) {
        return;
    }
    let _image = UserImage::new();
    let linear = user_page();
    let e = *entry(linear, 1).expect("mapped");
    set_cr4(1 << 22);
    unsafe { wrpkru(3 << (KEY * 2)) };
    set_entry(linear, 1, e & !W | KEY << 59);
    let read_only = access(Kind::Write, Level::User, linear);
    set_entry(linear, 1, 0);
    let absent = access(Kind::Write, Level::User, linear);
    unsafe { wrpkru(0) };
    expect_page_fault(c, "read-only and key", read_only, 0x27, linear);
    expect_page_fault(c, "absent", absent, 6, linear);
}

fn pku_ignores_supervisor_pages(c: &mut Check) {
    if !c.needs(features::PKU) {
        return;
    }
    let linear = user_page();
    let e = *entry(linear, 1).expect("mapped");
    set_entry(linear, 1, e & !U | KEY << 59);
    set_cr4(1 << 22);
    unsafe { wrpkru(3 << (KEY * 2)) };
    let fault = access(Kind::Write, Level::Supervisor, linear);
    unsafe { wrpkru(0) };
    expect_none(c, "write", fault);
}

snippet!(do_rdpkru: "rdpkru",);
snippet!(do_wrpkru: "wrpkru",);

fn rdpkru_wrpkru_faults(c: &mut Check) {
    if !c.needs(features::PKU) {
        return;
    }
    expect_fault(c, "RDPKRU without PKE", Some(run(&Context::kernel(do_rdpkru))), vector::UD, 0);
    expect_fault(c, "WRPKRU without PKE", Some(run(&Context::kernel(do_wrpkru))), vector::UD, 0);
    set_cr4(1 << 22);
    let f = run(&Context::kernel(do_rdpkru).with(reg::RDX, 7));
    c.equal("RDPKRU clears EDX", (f.vector, f.regs[reg::RDX]), (DONE, 0));
    expect_fault(c, "RDPKRU, ECX", Some(run(&Context::kernel(do_rdpkru).with(reg::RCX, 1))), vector::GP, 0);
    expect_fault(c, "WRPKRU, ECX", Some(run(&Context::kernel(do_wrpkru).with(reg::RCX, 1))), vector::GP, 0);
    expect_fault(c, "WRPKRU, EDX", Some(run(&Context::kernel(do_wrpkru).with(reg::RDX, 1))), vector::GP, 0);
}

fn ospke_follows_cr4_pke(c: &mut Check) {
    if !c.needs(features::PKU) {
        return;
    }
    c.equal("before", cpuid(7, 0).ecx >> 4 & 1, 0);
    set_cr4(1 << 22);
    c.equal("after", cpuid(7, 0).ecx >> 4 & 1, 1);
}

fn pks_rights_decide_data_access(c: &mut Check) {
    if !c.needs(features::PKS) {
        return;
    }
    const IA32_PKRS: u32 = 0x6E1;
    let linear = user_page();
    let e = *entry(linear, 1).expect("mapped");
    set_entry(linear, 1, e & !U | KEY << 59);
    set_cr4(1 << 24);
    for rights in 0..4u64 {
        for wp in [true, false] {
            for kind in KINDS {
                unsafe {
                    write_cr0(read_cr0() & !(1 << 16) | (wp as u64) << 16);
                    wrmsr(IA32_PKRS, rights << (KEY * 2));
                }
                let got = access(kind, Level::Supervisor, linear);
                unsafe { wrmsr(IA32_PKRS, 0) };
                let denied = match kind {
                    Kind::Fetch => false,
                    Kind::Read => rights & 1 != 0,
                    Kind::Write => rights & 1 != 0 || rights & 2 != 0 && wp,
                };
                if denied {
                    expect_page_fault(c, "denied", got, 0x21 | if kind == Kind::Write { 2 } else { 0 }, linear);
                } else {
                    expect_none(c, "allowed", got);
                }
            }
        }
    }
    expect_fault(c, "upper half of IA32_PKRS", catch(|| unsafe { wrmsr(IA32_PKRS, 1 << 32) }), vector::GP, 0);
}

fn user_access_of_supervisor_page_through_segment_override_faults(c: &mut Check) {
    let _image = UserImage::new();
    let linear = user_page();
    let e = *entry(linear, 1).expect("mapped");
    set_entry(linear, 1, e & !U);
    snippet!(through_fs: "mov al, fs:[rdi]",);
    let f = run(&Context::user(through_fs).with(reg::RDI, linear));
    expect_page_fault(c, "FS", Some(f), 5, linear);
}

snippet!(p_hlt: "hlt",);
snippet!(p_cli: "cli",);
snippet!(p_sti: "sti",);
snippet!(p_in: "in al, 0x61",);
snippet!(p_out: "out 0x80, al",);
snippet!(p_ins: "mov edx, 0x61", "mov rdi, rsp", "insb",);
snippet!(p_cr0: "mov rax, cr0",);
snippet!(p_cr3: "mov cr3, rax",);
snippet!(p_cr8: "mov rax, cr8",);
snippet!(p_dr7: "mov rax, dr7",);
snippet!(p_lgdt: "lgdt [rsp]",);
snippet!(p_lidt: "lidt [rsp]",);
snippet!(p_lldt: "xor eax, eax", "lldt ax",);
snippet!(p_ltr: "xor eax, eax", "ltr ax",);
snippet!(p_lmsw: "lmsw ax",);
snippet!(p_clts: "clts",);
snippet!(p_invd: "invd",);
snippet!(p_wbinvd: "wbinvd",);
snippet!(p_invlpg: "invlpg [rsp]",);
snippet!(p_rdmsr: "mov ecx, 0x10", "rdmsr",);
snippet!(p_wrmsr: "mov ecx, 0x10", "wrmsr",);
snippet!(p_swapgs: "swapgs",);
snippet!(p_sysret: "sysretq",);
snippet!(p_sysexit: "sysexit",);
snippet!(p_xsetbv: "xsetbv",);
snippet!(p_rdpmc: "mov ecx, 0", "rdpmc",);
snippet!(p_int_dpl0: "int 0x30",);

fn privileged_instructions_at_level_3_are_gp(c: &mut Check) {
    let _image = UserImage::new();
    let codes: [(&str, extern "C" fn(), u64); 24] = [
        ("HLT", p_hlt, 0),
        ("CLI", p_cli, 0),
        ("STI", p_sti, 0),
        ("IN", p_in, 0),
        ("OUT", p_out, 0),
        ("INS", p_ins, 0),
        ("MOV from CR0", p_cr0, 0),
        ("MOV to CR3", p_cr3, 0),
        ("MOV from CR8", p_cr8, 0),
        ("MOV from DR7", p_dr7, 0),
        ("LGDT", p_lgdt, 0),
        ("LIDT", p_lidt, 0),
        ("LLDT", p_lldt, 0),
        ("LTR", p_ltr, 0),
        ("LMSW", p_lmsw, 0),
        ("CLTS", p_clts, 0),
        ("INVD", p_invd, 0),
        ("WBINVD", p_wbinvd, 0),
        ("INVLPG", p_invlpg, 0),
        ("RDMSR", p_rdmsr, 0),
        ("WRMSR", p_wrmsr, 0),
        ("SWAPGS", p_swapgs, 0),
        ("RDPMC", p_rdpmc, 0),
        ("INT to a gate of level 0", p_int_dpl0, 0x30 << 3 | 2),
    ];
    for (name, code, error) in codes {
        let f = run(&Context::user(code));
        expect_fault(c, name, Some(f), vector::GP, error);
    }
    let f = run(&Context::user(p_sysexit));
    expect_fault(c, "SYSEXIT", Some(f), vector::GP, 0);
    // SYSRET without IA32_EFER.SCE is #UD before the privilege check; with it #GP.
    unsafe {
        let efer = rdmsr(IA32_EFER);
        wrmsr(IA32_EFER, efer | 1);
        expect_fault(c, "SYSRET", Some(run(&Context::user(p_sysret))), vector::GP, 0);
        wrmsr(IA32_EFER, efer);
    }
    if features::XSAVE.present() {
        set_cr4(1 << 18);
        expect_fault(c, "XSETBV", Some(run(&Context::user(p_xsetbv))), vector::GP, 0);
    }
    // IOPL 3 allows CLI, STI and I/O.
    for (name, code) in [("CLI", p_cli as extern "C" fn()), ("STI", p_sti), ("IN", p_in)] {
        c.equal(name, run(&Context::user(code).flags(3 << 12)).vector, DONE);
    }
}

snippet!(misaligned: "mov eax, [rsp + 1]",);

fn alignment_check_at_level_3_is_ac(c: &mut Check) {
    let _image = UserImage::new();
    unsafe { write_cr0(read_cr0() | 1 << 18) };
    expect_fault(c, "AM and AC", Some(run(&Context::user(misaligned).flags(AC))), vector::AC, 0);
    c.equal("AM without AC", run(&Context::user(misaligned)).vector, DONE);
    unsafe { write_cr0(read_cr0() & !(1 << 18)) };
    c.equal("AC without AM", run(&Context::user(misaligned).flags(AC)).vector, DONE);
}

fn alignment_check_at_level_0_is_silent(c: &mut Check) {
    unsafe { write_cr0(read_cr0() | 1 << 18) };
    c.equal("vector", run(&Context::kernel(misaligned).flags(AC)).vector, DONE);
}
