//! Translation in 4-level and 5-level paging: rights, error codes, accessed and dirty flags, reserved bits, invalidation, PCIDs.
//! Intel SDM volume 3, "4-Level Paging and 5-Level Paging", "Access Rights", "Page-Fault Exceptions",
//! "Accessed and Dirty Flags", "Caching Translation Information".

use crate::access::*;
use bare_metal_runtime::control::*;
use bare_metal_runtime::exceptions::vector;
use bare_metal_runtime::framework::Check;
use bare_metal_runtime::paging::*;
use bare_metal_runtime::{catch, features, tests};
use core::arch::asm;

tests! {
    rights_of_each_level_decide_access,
    rights_of_levels_are_combined,
    rights_of_2m_page_decide_access,
    rights_of_1g_page_decide_access,
    not_present_entry_at_each_level_faults_with_p_clear,
    reserved_bit_in_each_entry_faults_with_rsvd,
    reserved_bits_of_large_pages_fault_with_rsvd,
    nx_bit_with_nxe_clear_is_reserved,
    fetch_fault_without_nxe_and_smep_has_id_clear,
    accessed_flag_after_read_is_set_at_every_level,
    dirty_flag_is_set_by_writes_only,
    dirty_flag_of_leaf_only_is_set,
    fault_leaves_accessed_and_dirty_of_leaf,
    dirty_flag_after_faulting_locked_write_is_clear,
    failed_cmpxchg_sets_dirty,
    large_pages_translate_with_their_offsets,
    entry_made_present_needs_no_invalidation,
    rights_granted_after_fault_need_no_invalidation,
    invlpg_after_entry_change_uses_new_entry,
    invlpg_after_upper_entry_change_uses_new_entry,
    mov_cr3_after_entry_change_uses_new_entry,
    global_page_after_cr4_pge_change_uses_new_entry,
    invlpg_of_non_canonical_address_does_nothing,
    canonical_violation_is_gp_and_ss,
    cr3_with_reserved_address_bits_is_gp,
    pcide_with_cr3_low_bits_is_gp,
    pcide_set_forbids_clearing_pg,
    pcid_contexts_translate_separately,
    invpcid_descriptor_errors_are_gp,
    invpcid_types_invalidate,
    la57_translates_57_bits,
    la57_toggle_in_long_mode_is_gp,
    self_map_shows_paging_structures,
    page_walk_uses_physical_addresses_only,
}

/// Maps the test page with all rights, filled with RETs, and returns its linear address.
fn full_page() -> u64 {
    let page = new_page();
    page.0.fill(RET_FILL);
    map(TEST_BASE, physical(page), P | W | U, Size::Page4K);
    TEST_BASE
}

/// The manual's rules for an access through entries with these flags combined (W and U: and; NX: or).
pub fn expected_error(present: bool, combined: u64, kind: Kind, level: Level, wp: bool) -> Option<u64> {
    let user = level == Level::User;
    let mut error = if kind == Kind::Write { W } else { 0 } | if user { U } else { 0 };
    if kind == Kind::Fetch {
        error |= 1 << 4; // NXE is set
    }
    if !present {
        return Some(error);
    }
    let denied = user && combined & U == 0
        || kind == Kind::Write && combined & W == 0 && (user || wp)
        || kind == Kind::Fetch && combined & NX != 0;
    denied.then_some(error | P)
}

/// Makes every kind of access under both settings of CR0.WP and compares with the rules.
fn check_all(c: &mut Check, what: &str, linear: u64, present: bool, combined: u64) {
    for wp in [true, false] {
        unsafe { write_cr0(read_cr0() & !(1 << 16) | (wp as u64) << 16) };
        for level in LEVELS {
            for kind in KINDS {
                let got = access(kind, level, linear);
                let expected = expected_error(present, combined, kind, level, wp);
                let same = match (&got, expected) {
                    (None, None) => true,
                    (Some(f), Some(e)) => f.vector == vector::PF && f.error == e && f.cr2 == linear,
                    _ => false,
                };
                if !same && !c.has_failed() {
                    let seen = got.map(|f| (f.vector, f.error, f.cr2));
                    c.fail(format_args!(
                        "{what} flags {combined:#x} wp {wp} {level:?} {kind:?}: expected {expected:x?} got {seen:x?}"
                    ));
                }
            }
        }
    }
}

/// The sixteen combinations of P, W, U and NX.
fn flag_combinations() -> impl Iterator<Item = u64> {
    (0..16u64).map(|i| i & 7 | (i >> 3) << 63)
}

fn rights_of_level(c: &mut Check, size: Size, address: u64) {
    let _image = UserImage::new();
    map(TEST_BASE, address, P | W | U, size);
    for level in size.level()..=4 {
        let usual = *entry(TEST_BASE, level).expect("mapped");
        for flags in flag_combinations() {
            set_entry(TEST_BASE, level, usual & !(P | W | U | NX) | flags);
            check_all(c, "entry", TEST_BASE, flags & P != 0, flags);
        }
        set_entry(TEST_BASE, level, usual);
    }
}

fn rights_of_each_level_decide_access(c: &mut Check) {
    let page = new_page();
    page.0.fill(RET_FILL);
    rights_of_level(c, Size::Page4K, physical(page));
}

fn rights_of_2m_page_decide_access(c: &mut Check) {
    rights_of_level(c, Size::Page2M, large_memory());
}

fn rights_of_1g_page_decide_access(c: &mut Check) {
    if c.needs(features::PAGE_1G) {
        let _image = UserImage::new();
        let memory = large_memory();
        let linear = TEST_BASE + memory;
        map(TEST_BASE, 0, P | W | U, Size::Page1G);
        for level in 3..=4 {
            let usual = *entry(TEST_BASE, level).expect("mapped");
            for flags in flag_combinations() {
                set_entry(TEST_BASE, level, usual & !(P | W | U | NX) | flags);
                unsafe { invlpg(linear) };
                check_all(c, "entry", linear, flags & P != 0, flags);
            }
            set_entry(TEST_BASE, level, usual);
        }
    }
}

/// Physical memory, 2 MiB aligned and away from the image, whose first page is filled with RETs.
fn large_memory() -> u64 {
    const ADDRESS: u64 = 32 << 20;
    unsafe { core::slice::from_raw_parts_mut(ADDRESS as *mut u64, 512).fill(RET_FILL) };
    ADDRESS
}

fn rights_of_levels_are_combined(c: &mut Check) {
    let _image = UserImage::new();
    let linear = full_page();
    let mut seed = 0x1234_5678u64;
    for _ in 0..200 {
        let mut combined = P | W | U;
        for level in 1..=4 {
            seed = seed.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
            let flags = P | (seed >> 33 & 1) << 1 | (seed >> 34 & 1) << 2 | (seed >> 35 & 1) << 63;
            // Mostly permissive, so that the lower levels matter too.
            let flags = if seed >> 40 & 3 == 0 { flags } else { P | W | U };
            let e = entry(linear, level).expect("mapped");
            *e = *e & !(P | W | U | NX) | flags;
            combined = combined & flags & (P | W | U) | (combined | flags) & NX;
        }
        unsafe { invlpg(linear) };
        check_all(c, "combined", linear, true, combined);
    }
}

fn not_present_entry_at_each_level_faults_with_p_clear(c: &mut Check) {
    let linear = full_page();
    for level in 1..=4 {
        let usual = *entry(linear, level).expect("mapped");
        // All other bits are ignored, reserved ones too.
        for value in [0, usual & !P, !P] {
            set_entry(linear, level, value);
            expect_page_fault(c, "read", access(Kind::Read, Level::Supervisor, linear + 8), 0, linear + 8);
            expect_page_fault(c, "write", access(Kind::Write, Level::Supervisor, linear + 8), 2, linear + 8);
            expect_page_fault(c, "fetch", access(Kind::Fetch, Level::Supervisor, linear + 8), 0x10, linear + 8);
            c.equal("entry after the faults", *entry(linear, level).expect("mapped"), value);
        }
        set_entry(linear, level, usual);
    }
}

fn expect_reserved(c: &mut Check, what: &str, linear: u64) {
    for (level, u) in [(Level::Supervisor, 0), (Level::User, 4)] {
        expect_page_fault(c, what, access(Kind::Read, level, linear), 0x9 | u, linear);
        expect_page_fault(c, what, access(Kind::Write, level, linear), 0xB | u, linear);
        expect_page_fault(c, what, access(Kind::Fetch, level, linear), 0x19 | u, linear);
    }
}

fn reserved_bit_in_each_entry_faults_with_rsvd(c: &mut Check) {
    let _image = UserImage::new();
    let linear = full_page();
    for level in 1..=4 {
        let usual = *entry(linear, level).expect("mapped");
        for bit in physical_address_bits()..52 {
            set_entry(linear, level, usual | 1 << bit);
            expect_reserved(c, "address bit", linear);
        }
        if level == 4 {
            set_entry(linear, level, usual | PS);
            expect_reserved(c, "PS in PML4E", linear);
        }
        if level == 3 && !features::PAGE_1G.present() {
            set_entry(linear, level, usual | PS);
            expect_reserved(c, "PS in PDPTE", linear);
        }
        // A missing right in the same entry does not hide the reserved bit, nor does one above.
        if physical_address_bits() < 52 {
            set_entry(linear, level, usual & !(W | U) | 1 << 51);
            expect_reserved(c, "reserved and no rights", linear);
            if level < 4 {
                let above = *entry(linear, level + 1).expect("mapped");
                set_entry(linear, level + 1, above & !(W | U));
                expect_reserved(c, "reserved below no rights", linear);
                set_entry(linear, level + 1, above);
            }
        }
        set_entry(linear, level, usual);
    }
    // Bits 62:52 and 11:9 are ignored (no protection keys here).
    let usual = *entry(linear, 1).expect("mapped");
    set_entry(linear, 1, usual | 0x7FF << 52 | 7 << 9);
    expect_none(c, "ignored bits", access(Kind::Read, Level::User, linear));
}

fn reserved_bits_of_large_pages_fault_with_rsvd(c: &mut Check) {
    let _image = UserImage::new();
    map(TEST_BASE, large_memory(), P | W | U, Size::Page2M);
    let usual = *entry(TEST_BASE, 2).expect("mapped");
    for bit in 13..21 {
        set_entry(TEST_BASE, 2, usual | 1 << bit);
        expect_reserved(c, "2 MiB address bit", TEST_BASE);
    }
    set_entry(TEST_BASE, 2, usual | 1 << 12); // PAT
    expect_none(c, "PAT of a 2 MiB page", access(Kind::Read, Level::User, TEST_BASE));
    if features::PAGE_1G.present() {
        let linear = TEST_BASE + (1 << 30);
        map(linear, 0, P | W | U, Size::Page1G);
        let usual = *entry(linear, 3).expect("mapped");
        for bit in 13..30 {
            set_entry(linear, 3, usual | 1 << bit);
            expect_reserved(c, "1 GiB address bit", linear);
        }
    }
}

/// Runs with IA32_EFER.NXE clear; no entry in use may have NX set meanwhile.
fn without_nxe(f: impl FnOnce()) {
    unsafe {
        let efer = rdmsr(IA32_EFER);
        wrmsr(IA32_EFER, efer & !(1 << 11));
        flush_all();
        f();
        wrmsr(IA32_EFER, efer);
        flush_all();
    }
}

fn nx_bit_with_nxe_clear_is_reserved(c: &mut Check) {
    if !c.needs(features::NX) {
        return;
    }
    let linear = full_page();
    without_nxe(|| {
        for level in 1..=4 {
            let usual = *entry(linear, level).expect("mapped");
            set_entry(linear, level, usual | NX);
            expect_page_fault(c, "read", access(Kind::Read, Level::Supervisor, linear), 9, linear);
            expect_page_fault(c, "write", access(Kind::Write, Level::Supervisor, linear), 0xB, linear);
            expect_page_fault(c, "fetch", access(Kind::Fetch, Level::Supervisor, linear), 9, linear);
            set_entry(linear, level, usual);
        }
    });
}

fn fetch_fault_without_nxe_and_smep_has_id_clear(c: &mut Check) {
    let _image = UserImage::new();
    let linear = full_page();
    set_entry(linear, 1, 0);
    without_nxe(|| {
        expect_page_fault(c, "fetch", access(Kind::Fetch, Level::Supervisor, linear), 0, linear);
        expect_page_fault(c, "user fetch", access(Kind::Fetch, Level::User, linear), 4, linear);
    });
    expect_page_fault(c, "with NXE", access(Kind::Fetch, Level::User, linear), 0x14, linear);
}

fn clear_flags(linear: u64) {
    for level in 1..=4 {
        *entry(linear, level).expect("mapped") &= !(A | D);
    }
    flush_all();
}

fn accessed_and_dirty(linear: u64, level: u32) -> u64 {
    *entry(linear, level).expect("mapped") & (A | D)
}

fn accessed_flag_after_read_is_set_at_every_level(c: &mut Check) {
    let linear = full_page();
    for kind in [Kind::Read, Kind::Fetch] {
        clear_flags(linear);
        expect_none(c, "access", access(kind, Level::Supervisor, linear));
        for level in 1..=4 {
            c.equal("accessed and dirty", accessed_and_dirty(linear, level), A);
        }
    }
}

fn dirty_flag_is_set_by_writes_only(c: &mut Check) {
    let linear = full_page();
    clear_flags(linear);
    expect_none(c, "read", access(Kind::Read, Level::Supervisor, linear));
    c.equal("after a read", accessed_and_dirty(linear, 1), A);
    // The translation is cached without D now: the write must still set it.
    expect_none(c, "write", access(Kind::Write, Level::Supervisor, linear));
    c.equal("after a write", accessed_and_dirty(linear, 1), A | D);
    clear_flags(linear);
    unsafe { asm!("mov ecx, 0", "mov rdi, {}", "rep stosb", in(reg) linear, out("rcx") _, out("rdi") _, in("al") 0u8) };
    c.equal("after REP STOS with count zero", accessed_and_dirty(linear, 1), 0);
}

fn dirty_flag_of_leaf_only_is_set(c: &mut Check) {
    let linear = full_page();
    clear_flags(linear);
    expect_none(c, "write", access(Kind::Write, Level::Supervisor, linear));
    c.equal("PTE", accessed_and_dirty(linear, 1), A | D);
    for level in 2..=4 {
        c.equal("upper entry", accessed_and_dirty(linear, level), A);
    }
    let linear = TEST_BASE + (1 << 30);
    map(linear, large_memory(), P | W, Size::Page2M);
    expect_none(c, "write", access(Kind::Write, Level::Supervisor, linear));
    c.equal("PDE of a 2 MiB page", *entry(linear, 2).expect("mapped") & (A | D), A | D);
    c.equal("PDPTE above it", *entry(linear, 3).expect("mapped") & (A | D), A);
}

fn fault_leaves_accessed_and_dirty_of_leaf(c: &mut Check) {
    let _image = UserImage::new();
    let linear = full_page();
    let usual = *entry(linear, 1).expect("mapped") & !(A | D);
    for (what, flags, kind, level) in [
        ("write to read-only", P | U, Kind::Write, Level::User),
        ("user to supervisor", P | W, Kind::Read, Level::User),
        ("fetch from NX", P | U | NX, Kind::Fetch, Level::User),
        ("write with WP", P, Kind::Write, Level::Supervisor),
    ] {
        clear_flags(linear);
        set_entry(linear, 1, usual & !(P | W | U) | flags);
        c.that(what, access(kind, level, linear).is_some_and(|f| f.vector == vector::PF));
        c.equal(what, accessed_and_dirty(linear, 1), 0);
        for upper in 2..=4 {
            c.equal("dirty flag above", accessed_and_dirty(linear, upper) & D, 0);
        }
    }
}

fn dirty_flag_after_faulting_locked_write_is_clear(c: &mut Check) {
    let linear = full_page();
    let usual = *entry(linear, 1).expect("mapped");
    clear_flags(linear);
    set_entry(linear, 1, usual & !(W | A | D));
    let fault = catch(|| unsafe { asm!("lock add dword ptr [{}], 1", in(reg) linear) });
    expect_page_fault(c, "LOCK ADD", fault, 3, linear);
    c.equal("flags", accessed_and_dirty(linear, 1), 0);
}

fn failed_cmpxchg_sets_dirty(c: &mut Check) {
    // CMPXCHG writes its destination back when the comparison fails: a write access in any case.
    let linear = full_page();
    clear_flags(linear);
    unsafe {
        asm!("lock cmpxchg [{}], {:e}", in(reg) linear, in(reg) 0, inout("eax") 1 => _);
    }
    c.equal("flags", accessed_and_dirty(linear, 1), A | D);
    let usual = *entry(linear, 1).expect("mapped");
    set_entry(linear, 1, usual & !W);
    let fault = catch(|| unsafe { asm!("lock cmpxchg [{}], {:e}", in(reg) linear, in(reg) 0, inout("eax") 1 => _) });
    expect_page_fault(c, "read-only page", fault, 3, linear);
}

fn large_pages_translate_with_their_offsets(c: &mut Check) {
    let memory = large_memory();
    unsafe { ((memory + 0x12_3458) as *mut u64).write_volatile(0xABCD) };
    map(TEST_BASE, memory, P, Size::Page2M);
    c.equal("2 MiB", unsafe { ((TEST_BASE + 0x12_3458) as *const u64).read_volatile() }, 0xABCD);
    if features::PAGE_1G.present() {
        let linear = TEST_BASE + (1 << 30);
        map(linear, 0, P, Size::Page1G);
        c.equal("1 GiB", unsafe { ((linear + memory + 0x12_3458) as *const u64).read_volatile() }, 0xABCD);
    }
}

fn entry_made_present_needs_no_invalidation(c: &mut Check) {
    let linear = full_page();
    for level in 1..=4 {
        let usual = *entry(linear, level).expect("mapped");
        set_entry(linear, level, usual & !P);
        expect_page_fault(c, "not present", access(Kind::Read, Level::Supervisor, linear), 0, linear);
        unsafe { (entry(linear, level).expect("mapped") as *mut u64).write_volatile(usual) };
        expect_none(c, "present", access(Kind::Read, Level::Supervisor, linear));
    }
}

fn rights_granted_after_fault_need_no_invalidation(c: &mut Check) {
    let linear = full_page();
    let usual = *entry(linear, 1).expect("mapped");
    set_entry(linear, 1, usual & !W);
    expect_none(c, "read", access(Kind::Read, Level::Supervisor, linear));
    expect_page_fault(c, "write", access(Kind::Write, Level::Supervisor, linear), 3, linear);
    unsafe { (entry(linear, 1).expect("mapped") as *mut u64).write_volatile(usual) };
    expect_none(c, "write after the grant", access(Kind::Write, Level::Supervisor, linear));
}

/// Two pages with different first words.
fn two_pages() -> (u64, u64) {
    let (a, b) = (new_page(), new_page());
    (a.0[0], b.0[0]) = (0xAAAA, 0xBBBB);
    (physical(a), physical(b))
}

fn word(linear: u64) -> u64 {
    unsafe { (linear as *const u64).read_volatile() }
}

fn invlpg_after_entry_change_uses_new_entry(c: &mut Check) {
    let (a, b) = two_pages();
    map(TEST_BASE, a, P | W, Size::Page4K);
    c.equal("before", word(TEST_BASE), 0xAAAA);
    *entry(TEST_BASE, 1).expect("mapped") = b | P | W;
    unsafe { invlpg(TEST_BASE + 0x123) };
    c.equal("after", word(TEST_BASE), 0xBBBB);
    *entry(TEST_BASE, 1).expect("mapped") = 0;
    unsafe { invlpg(TEST_BASE) };
    expect_page_fault(c, "not present", access(Kind::Read, Level::Supervisor, TEST_BASE), 0, TEST_BASE);
}

fn invlpg_after_upper_entry_change_uses_new_entry(c: &mut Check) {
    let (a, b) = two_pages();
    for level in 2..=4 {
        reset_mapping();
        map(TEST_BASE, a, P | W, Size::Page4K);
        c.equal("before", word(TEST_BASE), 0xAAAA);
        // A second set of structures below the entry of this level.
        let mut below = b | P | W;
        for l in 1..level {
            let table = new_page();
            table.0[(TEST_BASE >> (12 + 9 * (l - 1)) & 0x1FF) as usize] = below;
            below = physical(table) | P | W;
        }
        *entry(TEST_BASE, level).expect("mapped") = below;
        unsafe { invlpg(TEST_BASE) };
        c.equal("after", word(TEST_BASE), 0xBBBB);
    }
}

fn reset_mapping() {
    *entry(TEST_BASE, 4).expect("always there") = 0;
    flush_all();
}

fn mov_cr3_after_entry_change_uses_new_entry(c: &mut Check) {
    let (a, b) = two_pages();
    map(TEST_BASE, a, P | W, Size::Page4K);
    c.equal("before", word(TEST_BASE), 0xAAAA);
    *entry(TEST_BASE, 1).expect("mapped") = b | P | W;
    unsafe { write_cr3(read_cr3()) };
    c.equal("after", word(TEST_BASE), 0xBBBB);
}

fn global_page_after_cr4_pge_change_uses_new_entry(c: &mut Check) {
    let (a, b) = two_pages();
    unsafe { write_cr4(read_cr4() | 1 << 7) };
    map(TEST_BASE, a, P | W | G, Size::Page4K);
    c.equal("before", word(TEST_BASE), 0xAAAA);
    *entry(TEST_BASE, 1).expect("mapped") = b | P | W | G;
    unsafe {
        write_cr4(read_cr4() & !(1 << 7));
        c.equal("after PGE is cleared", word(TEST_BASE), 0xBBBB);
        *entry(TEST_BASE, 1).expect("mapped") = a | P | W | G;
        write_cr4(read_cr4() | 1 << 7);
        c.equal("after PGE is set", word(TEST_BASE), 0xAAAA);
        // INVLPG drops global translations too.
        *entry(TEST_BASE, 1).expect("mapped") = b | P | W | G;
        invlpg(TEST_BASE);
    }
    c.equal("after INVLPG", word(TEST_BASE), 0xBBBB);
}

fn invlpg_of_non_canonical_address_does_nothing(c: &mut Check) {
    expect_none(c, "INVLPG", catch(|| unsafe { invlpg(0x8000_0000_0000_0000) }));
}

fn canonical_violation_is_gp_and_ss(c: &mut Check) {
    for address in [0x0000_8000_0000_0000u64, 0xFFFF_7FFF_FFFF_FFFF, 0x8000_0000_0000_0000] {
        expect_fault(c, "load", access(Kind::Read, Level::Supervisor, address), vector::GP, 0);
        expect_fault(c, "store", access(Kind::Write, Level::Supervisor, address), vector::GP, 0);
        let through_rsp = catch(|| unsafe {
            asm!("mov {t}, rsp", "mov rsp, {a}", "mov al, [rsp]", "mov rsp, {t}", t = out(reg) _, a = in(reg) address)
        });
        // The handler's stack: #SS at level 0 stays on the faulting RSP, which is not canonical: #DF on its IST.
        expect_fault(c, "RSP", through_rsp, vector::DF, 0);
        let through_rbp = catch(|| unsafe {
            asm!("push rbp", "mov rbp, {a}", "mov al, [rbp]", "pop rbp", a = in(reg) address, out("al") _)
        });
        expect_fault(c, "RBP", through_rbp, vector::SS, 0);
        let jump = catch(|| unsafe { asm!("jmp {a}", a = in(reg) address) });
        expect_fault(c, "JMP", jump, vector::GP, 0);
    }
    // The last canonical byte and the first that is not, in one access: no page fault comes first.
    let split = catch(|| unsafe { asm!("mov {t}, [{a}]", t = out(reg) _, a = in(reg) 0x0000_7FFF_FFFF_FFFCu64) });
    c.that("split access faults", split.is_some_and(|f| f.vector == vector::GP || f.vector == vector::PF));
}

fn cr3_with_reserved_address_bits_is_gp(c: &mut Check) {
    for bit in physical_address_bits()..61 {
        let fault = catch(|| unsafe { write_cr3(read_cr3() | 1 << bit) });
        expect_fault(c, "MOV CR3", fault, vector::GP, 0);
    }
}

fn pcide_with_cr3_low_bits_is_gp(c: &mut Check) {
    if !c.needs(features::PCID) {
        return;
    }
    unsafe {
        let cr3 = read_cr3();
        write_cr3(cr3 | PCD);
        expect_fault(c, "MOV CR4", catch(|| write_cr4(read_cr4() | 1 << 17)), vector::GP, 0);
        write_cr3(cr3);
        // Without PCIDE bit 63 of the value is reserved.
        expect_fault(c, "MOV CR3 with bit 63", catch(|| write_cr3(cr3 | 1 << 63)), vector::GP, 0);
        expect_none(
            c,
            "with PCIDE",
            catch(|| {
                write_cr4(read_cr4() | 1 << 17);
                write_cr3(cr3 | 5 | 1 << 63);
                if read_cr3() != cr3 | 5 {
                    panic!("bit 63 reads back");
                }
                write_cr3(cr3);
            }),
        );
        write_cr4(read_cr4() & !(1 << 17));
    }
}

fn pcide_set_forbids_clearing_pg(c: &mut Check) {
    if !c.needs(features::PCID) {
        return;
    }
    unsafe {
        write_cr4(read_cr4() | 1 << 17);
        expect_fault(c, "MOV CR0", catch(|| write_cr0(read_cr0() & !(1 << 31))), vector::GP, 0);
    }
}

fn pcid_contexts_translate_separately(c: &mut Check) {
    if !c.needs(features::PCID) {
        return;
    }
    let (a, b) = two_pages();
    map(TEST_BASE, a, P | W, Size::Page4K);
    let other = new_page();
    unsafe {
        let cr3 = read_cr3();
        core::ptr::copy_nonoverlapping((cr3 & ADDRESS) as *const u64, other.0.as_mut_ptr(), 512);
        let mut below = b | P | W;
        for l in 1..=3 {
            let table = new_page();
            table.0[(TEST_BASE >> (12 + 9 * (l - 1)) & 0x1FF) as usize] = below;
            below = physical(table) | P | W;
        }
        other.0[32] = below;
        write_cr4(read_cr4() | 1 << 17);
        for _ in 0..3 {
            write_cr3(cr3 | 1 | 1 << 63);
            c.equal("PCID 1", word(TEST_BASE), 0xAAAA);
            write_cr3(physical(other) | 2 | 1 << 63);
            c.equal("PCID 2", word(TEST_BASE), 0xBBBB);
        }
        write_cr3(cr3);
        write_cr4(read_cr4() & !(1 << 17));
    }
}

unsafe fn invpcid(kind: u64, pcid: u64, linear: u64) {
    let descriptor = [pcid, linear];
    asm!("invpcid {}, [{}]", in(reg) kind, in(reg) &descriptor, options(nostack));
}

fn invpcid_descriptor_errors_are_gp(c: &mut Check) {
    if !c.needs(features::INVPCID) {
        return;
    }
    unsafe {
        for kind in [4, 5, 1 << 32, u64::MAX] {
            expect_fault(c, "type", catch(|| invpcid(kind, 0, 0)), vector::GP, 0);
        }
        expect_fault(c, "reserved bits", catch(|| invpcid(0, 1 << 12, 0)), vector::GP, 0);
        expect_fault(c, "not canonical", catch(|| invpcid(0, 0, 1 << 63)), vector::GP, 0);
        expect_none(c, "not canonical, type 1", catch(|| invpcid(1, 0, 1 << 63)));
        expect_fault(c, "PCID without PCIDE, type 0", catch(|| invpcid(0, 1, 0)), vector::GP, 0);
        expect_fault(c, "PCID without PCIDE, type 1", catch(|| invpcid(1, 1, 0)), vector::GP, 0);
        let far = TEST_BASE;
        let fault = catch(|| asm!("invpcid {}, [{}]", in(reg) 0u64, in(reg) far, options(nostack)));
        expect_page_fault(c, "descriptor not mapped", fault, 0, far);
    }
}

fn invpcid_types_invalidate(c: &mut Check) {
    if !c.needs(features::INVPCID) || !c.needs(features::PCID) {
        return;
    }
    let (a, b) = two_pages();
    map(TEST_BASE, a, P | W, Size::Page4K);
    unsafe {
        let cr3 = read_cr3();
        write_cr4(read_cr4() | 1 << 17);
        write_cr3(cr3 | 7);
        for kind in 0..4 {
            for (page, value) in [(b, 0xBBBB), (a, 0xAAAA)] {
                *entry(TEST_BASE, 1).expect("mapped") = page | P | W;
                invpcid(kind, 7, TEST_BASE);
                c.equal("after INVPCID", word(TEST_BASE), value);
            }
        }
        write_cr3(cr3);
        write_cr4(read_cr4() & !(1 << 17));
    }
}

/// Runs with 5-level paging, whose PML5 has the PML4 in entry 0.
fn with_la57(f: impl FnOnce(u64)) {
    let top = new_page();
    let (cr3, cr4) = (read_cr3(), read_cr4());
    top.0[0] = cr3 & ADDRESS | P | W | U;
    unsafe {
        bare_metal_runtime::legacy::set_paging(physical(top), cr4 | 1 << 12);
        f(physical(top));
        bare_metal_runtime::legacy::set_paging(cr3, cr4);
    }
}

fn la57_translates_57_bits(c: &mut Check) {
    if !c.needs(features::LA57) {
        return;
    }
    let (a, _) = two_pages();
    let linear = 0x0012_3456_789A_B000u64; // not canonical with 48 bits
    expect_fault(c, "4 levels", access(Kind::Read, Level::Supervisor, linear), vector::GP, 0);
    with_la57(|_| {
        c.equal("CR4.LA57", read_cr4() >> 12 & 1, 1);
        map(linear, a, P | W, Size::Page4K);
        c.equal("word", word(linear), 0xAAAA);
        for level in 1..=5 {
            let usual = *entry(linear, level).expect("mapped");
            c.equal("accessed", usual & A, A);
            set_entry(linear, level, usual & !W);
            expect_page_fault(c, "write", access(Kind::Write, Level::Supervisor, linear), 3, linear);
            set_entry(linear, level, usual | if level >= 4 { PS } else { 0 });
            if level >= 4 {
                expect_page_fault(c, "PS", access(Kind::Read, Level::Supervisor, linear), 9, linear);
            }
            set_entry(linear, level, 0);
            expect_page_fault(c, "not present", access(Kind::Read, Level::Supervisor, linear), 0, linear);
            set_entry(linear, level, usual);
        }
        expect_fault(c, "bit 56", access(Kind::Read, Level::Supervisor, 1 << 56), vector::GP, 0);
        let high = 0xFF00_0000_0000_0000u64;
        expect_page_fault(c, "high half", access(Kind::Read, Level::Supervisor, high), 0, high);
    });
}

fn la57_toggle_in_long_mode_is_gp(c: &mut Check) {
    let fault = catch(|| unsafe { write_cr4(read_cr4() ^ 1 << 12) });
    expect_fault(c, "MOV CR4", fault, vector::GP, 0);
}

fn self_map_shows_paging_structures(c: &mut Check) {
    let linear = full_page();
    unsafe {
        let top = (read_cr3() & ADDRESS) as *mut u64;
        *top.add(33) = read_cr3() & ADDRESS | P | W;
        let index = linear >> 12 & 0xF_FFFF_FFFF;
        let through_itself = (33u64 << 39 | index << 3) as *mut u64;
        c.equal("PTE", through_itself.read_volatile() & ADDRESS, *entry(linear, 1).expect("mapped") & ADDRESS);
        // A write to the entry through its own mapping counts for the next translation after INVLPG.
        through_itself.write_volatile(0);
        invlpg(linear);
    }
    expect_page_fault(c, "read", access(Kind::Read, Level::Supervisor, linear), 0, linear);
}

fn page_walk_uses_physical_addresses_only(c: &mut Check) {
    // The paging structures of the test range need no mapping of their own: take the pool's mapping away is not
    // possible (it is the image), but structures above 4 GiB of linear space work without one.
    let linear = full_page();
    let copy = 48u64 << 20; // physical memory beyond the image
    unsafe {
        core::ptr::copy_nonoverlapping(
            (*entry(linear, 2).expect("mapped") & ADDRESS) as *const u8,
            copy as *mut u8,
            4096,
        )
    };
    set_entry(linear, 2, copy | P | W | U);
    let identity = *entry(copy, 2).expect("identity map");
    set_entry(copy, 2, identity & !P);
    let fault = access(Kind::Read, Level::Supervisor, linear);
    set_entry(copy, 2, identity);
    expect_none(c, "read", fault);
}
