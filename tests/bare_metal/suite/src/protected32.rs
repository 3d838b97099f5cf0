//! Protected mode without IA-32e: segmentation with its limits and types, gates, stacks, and 32-bit and PAE paging.
//! Intel SDM volume 3, "Protected-Mode Memory Management", "Protection", "32-Bit Paging", "PAE Paging".

use bare_metal_runtime::context::address_of;
use bare_metal_runtime::descriptors::{CODE32, DATA, USER_CODE32, USER_DATA, segment};
use bare_metal_runtime::exceptions::{DONE, vector};
use bare_metal_runtime::features;
use bare_metal_runtime::framework::Check;
use bare_metal_runtime::legacy::*;
use bare_metal_runtime::paging::{self, A, D, P, PS, U, W};
use bare_metal_runtime::{snippet, tests};

tests! {
    flat_code_runs_and_returns,
    expand_up_limit_decides_last_byte,
    expand_down_limit_decides_first_byte,
    expand_down_upper_bound_depends_on_big_flag,
    granularity_scales_limit,
    segment_types_restrict_access,
    null_segment_access_is_gp,
    stack_limit_violation_is_ss,
    code_limit_violation_is_gp,
    stack_with_small_flag_uses_sp,
    code_with_small_flag_is_16_bit,
    ldt_descriptor_is_used_by_ti_selectors,
    lldt_null_makes_ti_selectors_fault,
    far_call_to_conforming_code_keeps_cpl,
    far_call_privilege_errors,
    call_gate_copies_parameters_between_stacks,
    call_gate_of_16_bits_copies_words,
    call_gate_stack_errors_are_ts,
    far_return_to_outer_level_nulls_segments,
    interrupt_from_level_3_switches_stack,
    interrupt_gate_of_16_bits_pushes_words,
    trap_gate_keeps_if,
    into_traps_and_bound_faults,
    arpl_adjusts_rpl,
    lar_lsl_know_legacy_types,
    les_lds_load_and_fault,
    pusha_popa_round_trip,
    io_map_of_32_bit_tss_decides,
    accessed_bit_is_set_by_load,
    paging_32_bit_rights_decide_access,
    paging_32_bit_4m_page_rights_and_pse_reserved,
    paging_32_bit_accessed_dirty,
    paging_pae_rights_decide_access,
    paging_pae_pdpte_reserved_bits_are_gp,
    paging_pae_absent_pdpte_faults,
    cr0_pg_without_pe_is_gp,
    cr0_nw_without_cd_is_gp,
}

snippet!(nothing: "nop",);
snippet!(load8: ".code32", "mov es, ecx", "mov al, es:[edi]", ".code64",);
snippet!(load32: ".code32", "mov es, ecx", "mov eax, es:[edi]", ".code64",);
snippet!(store8: ".code32", "mov es, ecx", "mov es:[edi], al", ".code64",);

const FREE: u64 = FREE32 as u64;
const ECX: usize = 1;
const EDX: usize = 2;
const EBX: usize = 3;
const ESP: usize = 4;
const EDI: usize = 7;

/// The vector and error code of code that loads ES with the first free descriptor and uses [EDI].
fn through_es(code: extern "C" fn(), descriptor: u64, edi: u32) -> (u8, u32) {
    tables().gdt[FREE32 as usize / 8] = descriptor;
    let e = run32(&State32::flat(code).with(ECX, FREE32 as u32).with(EDI, edi));
    (e.vector(), e.error())
}

const OK: (u8, u32) = (DONE, 0);
const GP0: (u8, u32) = (vector::GP, 0);

fn data_page() -> u32 {
    paging::physical(paging::new_page()) as u32
}

fn flat_code_runs_and_returns(c: &mut Check) {
    tables();
    snippet!(code: ".code32", "mov eax, 0x12345678", "push eax", "pop edx", ".code64",);
    let e = run32(&State32::flat(code));
    c.equal("vector, EDX", (e.vector(), e.reg(EDX)), (DONE, 0x1234_5678));
    c.equal("CS, CR0.PG", (e.cs(), e.cr0 >> 31), (CODE32, 0));
}

fn expand_up_limit_decides_last_byte(c: &mut Check) {
    let base = data_page();
    let d = segment(base, 0x1FF, 0x93, 4);
    c.equal("last byte", through_es(load8, d, 0x1FF), OK);
    c.equal("beyond", through_es(load8, d, 0x200), GP0);
    c.equal("last doubleword", through_es(load32, d, 0x1FC), OK);
    c.equal("doubleword over the limit", through_es(load32, d, 0x1FD), GP0);
    // An access around 4 GiB of a flat segment may or may not fault.
}

fn expand_down_limit_decides_first_byte(c: &mut Check) {
    let d = segment(data_page(), 0x1FF, 0x97, 4);
    c.equal("at the limit", through_es(load8, d, 0x1FF), GP0);
    c.equal("above", through_es(load8, d, 0x200), OK);
    c.equal("doubleword from the limit", through_es(load32, d, 0x1FF), GP0);
}

fn expand_down_upper_bound_depends_on_big_flag(c: &mut Check) {
    let base = data_page();
    c.equal("B clear, FFFF", through_es(load8, segment(base, 0x1FF, 0x97, 0), 0xFFFF), OK);
    c.equal("B clear, 10000", through_es(load8, segment(base, 0x1FF, 0x97, 0), 0x1_0000), GP0);
    c.equal("B clear, doubleword at FFFD", through_es(load32, segment(base, 0x1FF, 0x97, 0), 0xFFFD), GP0);
    c.equal("B set, 10000", through_es(load8, segment(base, 0x1FF, 0x97, 4), 0x1_0000), OK);
}

fn granularity_scales_limit(c: &mut Check) {
    let base = data_page();
    c.equal("limit 0 in pages", through_es(load8, segment(base, 0, 0x93, 0xC), 0xFFF), OK);
    c.equal("beyond", through_es(load8, segment(base, 0, 0x93, 0xC), 0x1000), GP0);
}

fn segment_types_restrict_access(c: &mut Check) {
    let base = data_page();
    let with = |access: u8| segment(base, 0xFFF, access, 4);
    c.equal("read-only, load", through_es(load8, with(0x91), 0), OK);
    c.equal("read-only, store", through_es(store8, with(0x91), 0), GP0);
    c.equal("readable code, load", through_es(load8, with(0x9B), 0), OK);
    c.equal("readable code, store", through_es(store8, with(0x9B), 0), GP0);
    let f = FREE as u32;
    c.equal("execute-only code", through_es(load8, with(0x99), 0), (vector::GP, f));
    c.equal("absent", through_es(load8, with(0x13), 0), (vector::NP, f));
    c.equal("system", through_es(load8, with(0x82), 0), (vector::GP, f));
}

fn null_segment_access_is_gp(c: &mut Check) {
    tables();
    for null in 0..4 {
        let e = run32(&State32::flat(load8).with(ECX, null).with(EDI, data_page()));
        c.equal("vector, error", (e.vector(), e.error()), GP0);
    }
}

fn stack_limit_violation_is_ss(c: &mut Check) {
    let base = data_page();
    snippet!(read: ".code32", "mov ebx, ss", "mov ss, ecx", "mov eax, ss:[edi]", "mov ss, ebx", ".code64",);
    snippet!(bp: ".code32", "mov ebx, ss", "mov ss, ecx", "mov ebp, edi", "mov eax, [ebp]", "mov ss, ebx", ".code64",);
    for code in [read as extern "C" fn(), bp] {
        let t = tables();
        t.gdt[FREE32 as usize / 8] = segment(base, 0xFFF, 0x93, 4);
        // The exception comes at level 0 on the small stack: it must have room.
        let e = run32(&State32::flat(code).with(ECX, FREE32 as u32).with(EDI, 0x1000).with(ESP, 0x800));
        c.equal("vector, error", (e.vector(), e.error()), (vector::SS, 0));
        c.equal("handler's SS", e.handler_ss, FREE32 as u32);
    }
    // PUSH below zero of an expand-up stack, from level 3 so that the handler has another stack.
    let t = tables();
    t.gdt[FREE32 as usize / 8] = segment(base, 0xFFF, 0xF3, 4);
    snippet!(push: ".code32", "mov ss, ecx", "mov esp, 2", "push eax", ".code64",);
    let e = run32(&State32::user(push).with(ECX, FREE32 as u32 | 3));
    c.equal("PUSH", (e.vector(), e.error(), e.pushed(3)), (vector::SS, 0, 2));
}

fn code_limit_violation_is_gp(c: &mut Check) {
    let t = tables();
    snippet!(code: ".code32", "nop", "nop", "mov eax, 0x11223344", ".code64",);
    let base = address_of(code) as u32;
    t.gdt[FREE32 as usize / 8] = segment(base, 4, 0x9B, 4);
    let mut s = State32::flat(code);
    (s.cs, s.eip) = (FREE32 as u32, 0);
    let e = run32(&s);
    c.equal("vector, error, EIP", (e.vector(), e.error(), e.eip()), (vector::GP, 0, 2));
    // A jump beyond the limit faults at the jump.
    snippet!(jump: ".code32", "jmp edi", ".code64",);
    t.gdt[FREE32 as usize / 8] = segment(address_of(jump) as u32, 4, 0x9B, 4);
    let e = run32(&s.with(EDI, 5));
    c.equal("JMP", (e.vector(), e.error(), e.eip()), (vector::GP, 0, 0));
}

fn stack_with_small_flag_uses_sp(c: &mut Check) {
    let base = data_page();
    // At level 3, so that what goes wrong is reported on another stack.
    let t = tables();
    t.gdt[FREE32 as usize / 8] = segment(base, 0xFFFF, 0xF3, 0);
    snippet!(code: ".code32", "mov ebx, ss", "mov edx, esp", "mov ss, ecx", "mov esp, 0x12340002", "push ax", "mov edi, esp",
        "mov ss, ebx", "mov esp, edx", ".code64",);
    let e = run32(&State32::user(code).with(ECX, FREE32 as u32 | 3));
    c.equal("vector, ESP", (e.vector(), e.reg(EDI)), (DONE, 0x1234_0000));
    snippet!(wrap: ".code32", "mov ebx, ss", "mov edx, esp", "mov ss, ecx", "mov esp, 0x56780000", "push eax", "mov edi, esp",
        "mov ss, ebx", "mov esp, edx", ".code64",);
    let e = run32(&State32::user(wrap).with(ECX, FREE32 as u32 | 3));
    c.equal("wrapped", (e.vector(), e.reg(EDI)), (DONE, 0x5678_FFFC));
}

fn code_with_small_flag_is_16_bit(c: &mut Check) {
    let t = tables();
    // B8 34 12 is MOV AX, 1234H; in 32-bit code it would take two more bytes.
    snippet!(code: ".byte 0xB8, 0x34, 0x12, 0x66, 0xB9, 1, 2, 3, 4",);
    t.gdt[FREE32 as usize / 8] = segment(address_of(code) as u32, 0xFFFF, 0x9B, 0);
    let mut s = State32::flat(code);
    (s.cs, s.eip) = (FREE32 as u32, 0);
    let e = run32(&s.with(0, 0xAAAA_BBBB));
    c.equal("vector, EAX, ECX", (e.vector(), e.reg(0), e.reg(ECX)), (DONE, 0xAAAA_1234, 0x0403_0201));
}

fn ldt_descriptor_is_used_by_ti_selectors(c: &mut Check) {
    let base = data_page();
    unsafe { (base as *mut u32).write_volatile(0x77) };
    let t = tables();
    t.ldt[3] = segment(base, 0xFFF, 0x93, 4);
    let mut s = State32::flat(load32).with(ECX, 3 << 3 | 4);
    s.ldtr = LDT32 as u32;
    let e = run32(&s);
    c.equal("vector, EAX, LDTR", (e.vector(), e.reg(0), e.ldtr), (DONE, 0x77, LDT32 as u32));
    let e = run32(&s.with(ECX, 16 << 3 | 4));
    c.equal("beyond the LDT", (e.vector(), e.error()), (vector::GP, 16 << 3 | 4));
    let e = run32(&s.with(ECX, 4));
    c.equal("first descriptor, empty", (e.vector(), e.error()), (vector::GP, 4));
}

fn lldt_null_makes_ti_selectors_fault(c: &mut Check) {
    tables();
    let e = run32(&State32::flat(load32).with(ECX, 3 << 3 | 4));
    c.equal("vector, error", (e.vector(), e.error()), (vector::GP, 3 << 3 | 4));
}

/// A far pointer in memory.
fn far(offset: u32, selector: u16) -> u32 {
    let page = paging::new_page();
    page.0[0] = offset as u64 | (selector as u64) << 32;
    paging::physical(page) as u32
}

snippet!(far_call: ".code32", "call fword ptr [edi]", ".code64",);
snippet!(report_cs: ".code32", "mov eax, cs", "mov edx, ss", ".code64",);

fn far_call_to_conforming_code_keeps_cpl(c: &mut Check) {
    let t = tables();
    t.gdt[FREE32 as usize / 8] = segment(0, 0xF_FFFF, 0x9F, 0xC);
    let e = run32(&State32::user(far_call).with(EDI, far(address_of(report_cs) as u32, FREE32)));
    c.equal("vector, CS", (e.vector(), e.reg(0)), (DONE, FREE32 as u32 | 3));
}

fn far_call_privilege_errors(c: &mut Check) {
    let target = address_of(report_cs) as u32;
    let call = |user: bool, descriptor: u64, rpl: u16| {
        tables().gdt[FREE32 as usize / 8] = descriptor;
        let s = if user { State32::user(far_call) } else { State32::flat(far_call) };
        let e = run32(&s.with(EDI, far(target, FREE32 | rpl)));
        (e.vector(), e.error())
    };
    let f = FREE as u32;
    c.equal("level 0 code from level 3", call(true, segment(0, 0xF_FFFF, 0x9B, 0xC), 0), (vector::GP, f));
    c.equal("level 3 code from level 0", call(false, segment(0, 0xF_FFFF, 0xFB, 0xC), 0), (vector::GP, f));
    c.equal("RPL above CPL", call(false, segment(0, 0xF_FFFF, 0x9B, 0xC), 3), (vector::GP, f));
    c.equal("conforming, DPL above CPL", call(false, segment(0, 0xF_FFFF, 0xFF, 0xC), 0), (vector::GP, f));
    c.equal("data", call(false, segment(0, 0xF_FFFF, 0x93, 0xC), 0), (vector::GP, f));
    c.equal("absent", call(false, segment(0, 0xF_FFFF, 0x1B, 0xC), 0), (vector::NP, f));
    c.equal("offset beyond the limit", call(false, segment(0, 0xFF, 0x9B, 0x4), 0), GP0);
    c.equal("same level", call(false, segment(0, 0xF_FFFF, 0x9B, 0xC), 0), OK);
}

fn call_gate_copies_parameters_between_stacks(c: &mut Check) {
    let t = tables();
    t.gdt[FREE32 as usize / 8] = gate32(address_of(report_cs) as u32, CODE32, 12, 3, 3);
    snippet!(code: ".code32", "push 0x11", "push 0x22", "push 0x33", "call fword ptr [edi]", ".code64",);
    let s = State32::user(code).with(EDI, far(0, FREE32 | 3));
    let e = run32(&s);
    c.equal("vector, CS, SS", (e.vector(), e.reg(0), e.reg(EDX)), (DONE, CODE32 as u32, DATA as u32));
    // Above what DONE pushed: EIP, CS, three parameters, ESP, SS.
    let frame = [3, 4, 5, 6, 7, 8, 9].map(|i| e.pushed(i));
    let eip = address_of(code) as u32 + 6 + 2;
    c.equal("frame", frame, [eip, USER_CODE32 as u32, 0x33, 0x22, 0x11, s.regs[ESP] - 12, USER_DATA as u32]);
    c.equal("ESP", e.handler_esp_at_entry() + 12, stack32(0) - 28);
}

fn call_gate_of_16_bits_copies_words(c: &mut Check) {
    let t = tables();
    // A 16-bit gate's offset has 16 bits, so the code segment's base is the target.
    t.gdt[FREE32 as usize / 8 + 1] = segment(address_of(report_cs) as u32, 0xFFFF, 0x9B, 4);
    t.gdt[FREE32 as usize / 8] = gate32(0, FREE32 + 8, 4, 3, 2);
    snippet!(code: ".code32", "push 0x22221111", "call fword ptr [edi]", ".code64",);
    let s = State32::user(code).with(EDI, far(0, FREE32 | 3));
    let e = run32(&s);
    c.equal("vector", e.vector(), DONE);
    let words = [3, 4, 5].map(|i| e.pushed(i));
    let ip = (address_of(code) as u32 + 7) & 0xFFFF;
    let sp = (s.regs[ESP] - 4) & 0xFFFF;
    let expected = [ip | (USER_CODE32 as u32) << 16, 0x2222_1111, sp | (USER_DATA as u32) << 16];
    c.equal("frame", words, expected);
}

fn call_gate_stack_errors_are_ts(c: &mut Check) {
    let call = |ss0: u32, descriptor: u64| {
        let t = tables();
        t.gdt[FREE32 as usize / 8] = gate32(address_of(report_cs) as u32, FREE32 + 16, 12, 3, 0);
        t.gdt[FREE32 as usize / 8 + 1] = descriptor;
        // The gate leads to level 1, so that the fault itself (to level 0) finds a good stack.
        t.gdt[FREE32 as usize / 8 + 2] = segment(0, 0xF_FFFF, 0xBB, 0xC);
        t.tss[0][4] = ss0;
        let e = run32(&State32::user(far_call).with(EDI, far(0, FREE32 | 3)));
        (e.vector(), e.error())
    };
    let f = FREE as u32 + 8;
    let good = segment(0, 0xF_FFFF, 0xB3, 0xC);
    c.equal("good", call(f | 1, good).0, DONE);
    c.equal("null SS", call(0, good), (vector::TS, 0));
    c.equal("wrong RPL", call(f, good), (vector::TS, f));
    c.equal("wrong DPL", call(f | 1, segment(0, 0xF_FFFF, 0x93, 0xC)), (vector::TS, f));
    c.equal("read-only", call(f | 1, segment(0, 0xF_FFFF, 0xB1, 0xC)), (vector::TS, f));
    c.equal("absent", call(f | 1, segment(0, 0xF_FFFF, 0x33, 0xC)), (vector::SS, f));
    c.equal("beyond the GDT", call(0xFFF9, good), (vector::TS, 0xFFF8));
    c.equal("no room", call(f | 1, segment(0, 3, 0xB3, 0x4)), (vector::SS, f));
}

fn far_return_to_outer_level_nulls_segments(c: &mut Check) {
    let t = tables();
    t.gdt[FREE32 as usize / 8] = segment(0, 0xF_FFFF, 0x9F, 0xC); // conforming, stays
    snippet!(code: ".code32", "push 0x2B", "push esi", "push 0", "push 0", "push 0x23", "push edi", "retf 8", ".code64",);
    let mut s = State32::flat(code).with(EDI, address_of(nothing) as u32).with(6, stack32(3));
    (s.ds, s.es, s.fs, s.gs) = (DATA as u32, USER_DATA as u32, FREE32 as u32, CODE32 as u32);
    let e = run32(&s);
    c.equal("vector, CS", (e.vector(), e.cs()), (DONE, USER_CODE32));
    c.equal("DS, ES, FS, GS", [3, 0, 4, 5].map(|n| e.segment(n)), [0, USER_DATA, FREE32, 0]);
    c.equal("ESP", e.pushed(3), stack32(3) + 8);
}

fn interrupt_from_level_3_switches_stack(c: &mut Check) {
    tables();
    let s = State32::user(nothing);
    let e = run32(&s);
    c.equal("vector", e.vector(), DONE);
    c.equal("SS, ESP", (e.handler_ss as u16, e.handler_esp_at_entry()), (DATA, stack32(0) - 20));
    c.equal("pushed ESP, SS", (e.pushed(3), e.pushed(4) as u16), (s.regs[ESP], USER_DATA));
    c.equal("data segments stay", e.segment(3), USER_DATA);
    // With an error code the frame is one doubleword longer.
    snippet!(gp: ".code32", "mov eax, 0xFFF8", "mov ds, eax", ".code64",);
    let e = run32(&State32::user(gp));
    c.equal(
        "vector, error, ESP",
        (e.vector(), e.error(), e.handler_esp_at_entry()),
        (vector::GP, 0xFFF8, stack32(0) - 24),
    );
    // A null SS0 is #TS(0), whose own delivery to level 0 fails for the same reason: double fault, then nothing is left
    // but a shutdown, so only the level-1 case is tested (see call gates).
}

fn interrupt_gate_of_16_bits_pushes_words(c: &mut Check) {
    let t = tables();
    t.gdt[FREE32 as usize / 8] = segment(stub32(0x40), 0xFFFF, 0x9B, 4);
    t.idt[0x40] = gate32(0, FREE32, 6, 3, 0);
    // The stub jumps relative to its own place: give it a segment whose base makes that work.
    t.gdt[FREE32 as usize / 8] = segment(stub32(0x40) & !0xFFF, 0xF_FFFF, 0x9B, 0xC);
    t.idt[0x40] = gate32(stub32(0x40) & 0xFFF, FREE32, 6, 3, 0);
    snippet!(code: ".code32", "int 0x40", ".code64",);
    let e = run32(&State32::flat(code));
    c.equal("vector", e.vector(), 0x40);
    let ip = (address_of(code) as u32 + 2) & 0xFFFF;
    c.equal("IP, CS", e.pushed(0), ip | (CODE32 as u32) << 16);
    c.equal("ESP", e.handler_esp_at_entry(), stack32(0) - 6);
}

fn trap_gate_keeps_if(c: &mut Check) {
    snippet!(code: ".code32", "sti", "int 0x40", ".code64",);
    for (kind, expected) in [(14, 0), (15, 0x200)] {
        let t = tables();
        t.idt[0x40] = gate32(stub32(0x40), CODE32, kind, 0, 0);
        let e = run32(&State32::flat(code));
        c.equal("vector, IF", (e.vector(), e.handler_eflags & 0x200), (0x40, expected));
    }
}

fn into_traps_and_bound_faults(c: &mut Check) {
    tables();
    snippet!(into: ".code32", ".byte 0xCE", ".code64",);
    let mut s = State32::flat(into);
    c.equal("OF clear", run32(&s).vector(), DONE);
    s.eflags |= 0x800;
    let e = run32(&s);
    c.equal("OF set", (e.vector(), e.eip() - s.eip), (vector::OF, 1));
    snippet!(bound: ".code32", ".byte 0x62, 0x07", ".code64",); // BOUND EAX, [EDI]
    let page = paging::new_page();
    page.0[0] = 10 | 20 << 32;
    let s = State32::flat(bound).with(EDI, paging::physical(page) as u32);
    for (index, v) in [(9, vector::BR), (10, DONE), (20, DONE), (21, vector::BR), (-1i32 as u32, vector::BR)] {
        let e = run32(&s.with(0, index));
        c.equal("BOUND", (index, e.vector()), (index, v));
    }
    c.equal("EIP", run32(&s.with(0, 0)).eip(), s.eip);
}

fn arpl_adjusts_rpl(c: &mut Check) {
    tables();
    snippet!(code: ".code32", ".byte 0x63, 0xC8", ".code64",); // ARPL AX, CX
    let ask = |ax: u32, cx: u32| {
        let e = run32(&State32::flat(code).with(0, ax).with(ECX, cx));
        (e.reg(0), e.eflags() >> 6 & 1)
    };
    c.equal("raised", ask(0x10, 3), (0x13, 1));
    c.equal("equal", ask(0x13, 3), (0x13, 0));
    c.equal("above", ask(0x12, 1), (0x12, 0));
}

fn lar_lsl_know_legacy_types(c: &mut Check) {
    snippet!(lar: ".code32", "lar eax, ecx", ".code64",);
    snippet!(lsl: ".code32", "lsl eax, ecx", ".code64",);
    for kind in 0..16u32 {
        let t = tables();
        t.gdt[FREE32 as usize / 8] = segment(0, 0x67, 0x80 | kind as u8, 0);
        let in_lar = matches!(kind, 1 | 2 | 3 | 4 | 5 | 9 | 11 | 12);
        let in_lsl = matches!(kind, 1 | 2 | 3 | 9 | 11);
        for (code, expected) in [(lar as extern "C" fn(), in_lar), (lsl, in_lsl)] {
            let e = run32(&State32::flat(code).with(ECX, FREE32 as u32));
            c.equal("type, ZF", (kind, e.eflags() >> 6 & 1 == 1), (kind, expected));
        }
    }
}

fn les_lds_load_and_fault(c: &mut Check) {
    tables();
    snippet!(les: ".code32", ".byte 0xC4, 0x07", "mov edx, es", ".code64",); // LES EAX, [EDI]
    let e = run32(&State32::flat(les).with(EDI, far(0x1234_5678, DATA)));
    c.equal("vector, EAX, ES", (e.vector(), e.reg(0), e.reg(EDX)), (DONE, 0x1234_5678, DATA as u32));
    let e = run32(&State32::flat(les).with(0, 7).with(EDI, far(0x1234_5678, 0xFFF8)));
    c.equal("bad selector: nothing is loaded", (e.vector(), e.error(), e.reg(0)), (vector::GP, 0xFFF8, 7));
}

fn pusha_popa_round_trip(c: &mut Check) {
    tables();
    snippet!(code: ".code32", "mov ebx, esp", "pushad", "mov eax, [esp + 12]", "mov dword ptr [esp + 12], 0", "mov [esp + 28], eax",
        "popad", "sub ebx, esp", ".code64",);
    let s = State32::flat(code).with(ECX, 0x11).with(EDX, 0x22);
    let e = run32(&s);
    c.equal("EAX is the ESP that PUSHA stored", (e.vector(), e.reg(0)), (DONE, s.regs[ESP]));
    // EBX was popped as it was pushed, then ESP taken off it.
    c.equal("ESP is not popped", e.reg(EBX), 0);
    c.equal("ECX, EDX", (e.reg(ECX), e.reg(EDX)), (0x11, 0x22));
}

fn io_map_of_32_bit_tss_decides(c: &mut Check) {
    snippet!(code: ".code32", "in al, dx", ".code64",);
    let ask = |map_bit_clear: bool, limit: u64| {
        let t = tables();
        // The map begins at 68H: ports from 0 on.
        for w in 26..60 {
            t.tss[0][w] = !0;
        }
        if map_bit_clear {
            t.tss[0][26 + 0x80 / 32] = !1;
        }
        let d = &mut t.gdt[tss_selector(0) as usize / 8];
        *d = *d & !0xFFFF | limit;
        let e = run32(&State32::user(code).with(EDX, 0x80));
        (e.vector(), e.error())
    };
    c.equal("denied", ask(false, 0xEF), GP0);
    c.equal("allowed", ask(true, 0xEF), OK);
    c.equal("map beyond the limit", ask(true, 0x67), GP0);
    c.equal("second byte beyond the limit", ask(true, 0x68 + 0x10), GP0);
}

fn accessed_bit_is_set_by_load(c: &mut Check) {
    let t = tables();
    t.gdt[FREE32 as usize / 8] = segment(0, 0xF_FFFF, 0x92, 0xC);
    run32(&State32::flat(load8).with(ECX, FREE32 as u32).with(EDI, data_page()));
    c.equal("access", unsafe { (&raw const t.gdt[FREE32 as usize / 8]).read_volatile() } >> 40 & 0xFF, 0x93);
}

/// Linear address of the tests' page, beyond the identity map.
const LINEAR: u32 = 0x4000_0000;

const CR4_PSE: u32 = 0x10;
const CR4_PAE: u32 = 0x20;
const PG_WP: u32 = 0x8001_0033;

/// A page directory that maps the first GiB one to one with 4 MiB user pages, and its table for [`LINEAR`].
fn directory_32() -> (&'static mut [u32; 1024], &'static mut [u32; 1024]) {
    let page = |p: &'static mut paging::Page| unsafe { &mut *(p as *mut paging::Page as *mut [u32; 1024]) };
    let (directory, table) = (page(paging::new_page()), page(paging::new_page()));
    for i in 0..256u32 {
        directory[i as usize] = i << 22 | 0xE7;
    }
    directory[256] = table as *const _ as u32 | 7;
    (directory, table)
}

snippet!(p_read: ".code32", "mov al, [edi]", ".code64",);
snippet!(p_write: ".code32", "mov byte ptr [edi], 0xC3", ".code64",);
snippet!(p_fetch: ".code32", "call edi", ".code64",);

/// Makes every access under both levels and both settings of WP and compares with the rules for P, W, U (and NX, if used).
fn check_rights(c: &mut Check, what: &str, cr3: u32, cr4: u32, flags: u32, nx: Option<bool>) {
    for wp in [true, false] {
        for user in [false, true] {
            for (code, is_write, is_fetch) in
                [(p_read as extern "C" fn(), false, false), (p_write, true, false), (p_fetch, false, true)]
            {
                let mut s = if user { State32::user(code) } else { State32::flat(code) };
                s.cr0 = PG_WP & !(1 << 16) | (wp as u32) << 16;
                (s.cr3, s.cr4) = (cr3, 0x600 | cr4);
                let e = run32(&s.with(EDI, LINEAR));
                let mut error = (is_write as u32) << 1 | (user as u32) << 2;
                if is_fetch && nx.is_some() {
                    error |= 0x10;
                }
                let denied = user && flags & U as u32 == 0
                    || is_write && flags & W as u32 == 0 && (user || wp)
                    || is_fetch && nx == Some(true);
                let expected = if flags & 1 == 0 {
                    (vector::PF, error)
                } else if denied {
                    (vector::PF, error | 1)
                } else {
                    OK
                };
                let got = (e.vector(), e.error());
                if got != expected && !c.has_failed() {
                    c.fail(format_args!(
                        "{what} flags {flags:#x} nx {nx:?} wp {wp} user {user} write {is_write} fetch {is_fetch}: expected {expected:x?} got {got:x?} cr2 {:#x}",
                        e.cr2
                    ));
                }
                if got.0 == vector::PF {
                    c.equal("CR2", e.cr2, LINEAR);
                }
            }
        }
    }
}

fn paging_32_bit_rights_decide_access(c: &mut Check) {
    tables();
    let (directory, table) = directory_32();
    let page = paging::new_page();
    page.0.fill(crate::access::RET_FILL);
    let page = paging::physical(page) as u32;
    for flags in 0..8 {
        table[0] = page | flags;
        check_rights(c, "PTE", directory.as_ptr() as u32, CR4_PSE, flags, None);
    }
    table[0] = page | 7;
    let usual = directory[256] & !7;
    for flags in 0..8 {
        directory[256] = usual | flags;
        check_rights(c, "PDE", directory.as_ptr() as u32, CR4_PSE, flags, None);
    }
}

fn paging_32_bit_4m_page_rights_and_pse_reserved(c: &mut Check) {
    tables();
    let (directory, _) = directory_32();
    let memory = 32u32 << 20;
    unsafe { core::slice::from_raw_parts_mut(memory as *mut u64, 512).fill(crate::access::RET_FILL) };
    for flags in 0..8 {
        directory[256] = memory | PS as u32 | flags;
        check_rights(c, "PDE", directory.as_ptr() as u32, CR4_PSE, flags, None);
    }
    // Bit 21 is reserved in a 4 MiB entry.
    directory[256] = memory | 1 << 21 | PS as u32 | 7;
    let mut s = State32::flat(p_read);
    (s.cr0, s.cr3, s.cr4) = (PG_WP, directory.as_ptr() as u32, 0x600 | CR4_PSE);
    let e = run32(&s.with(EDI, LINEAR));
    c.equal("bit 21", (e.vector(), e.error()), (vector::PF, 9));
}

fn paging_32_bit_accessed_dirty(c: &mut Check) {
    tables();
    let (directory, table) = directory_32();
    let (a, d) = (A as u32, D as u32);
    table[0] = data_page() | 7;
    directory[256] &= !a;
    let mut s = State32::flat(p_read);
    (s.cr0, s.cr3, s.cr4) = (PG_WP, directory.as_ptr() as u32, 0x600 | CR4_PSE);
    let flags = |e: &u32| unsafe { (e as *const u32).read_volatile() } & (a | d);
    c.equal("read", run32(&s.with(EDI, LINEAR)).vector(), DONE);
    c.equal("PTE, PDE", (flags(&table[0]), flags(&directory[256])), (a, a));
    s.eip = address_of(p_write) as u32;
    c.equal("write", run32(&s.with(EDI, LINEAR)).vector(), DONE);
    c.equal("PTE, PDE", (flags(&table[0]), flags(&directory[256])), (a | d, a));
}

/// PAE structures: the first GiB one to one with 2 MiB user pages; PDPTE 1 leads to [`LINEAR`].
struct Pae {
    pdpt: &'static mut [u64; 512],
    directory: &'static mut [u64; 512],
    table: &'static mut [u64; 512],
}

fn pae() -> Pae {
    let identity = paging::new_page();
    for i in 0..512u64 {
        identity.0[i as usize] = i << 21 | 0xE7;
    }
    let (pdpt, directory, table) = (paging::new_page(), paging::new_page(), paging::new_page());
    table.0[0] = paging::physical(paging::new_page()) | 7;
    directory.0[0] = paging::physical(table) | 7;
    pdpt.0[0] = paging::physical(identity) | P;
    pdpt.0[1] = paging::physical(directory) | P;
    Pae { pdpt: &mut pdpt.0, directory: &mut directory.0, table: &mut table.0 }
}

fn paging_pae_rights_decide_access(c: &mut Check) {
    tables();
    let s = pae();
    let page = (s.table[0] & paging::ADDRESS) as *mut u64;
    unsafe { core::slice::from_raw_parts_mut(page, 512).fill(crate::access::RET_FILL) };
    let nx = features::NX.present();
    for flags in 0..16u64 {
        let no_execute = flags & 8 != 0;
        if no_execute && !nx {
            continue;
        }
        let nx_given = nx.then_some(no_execute);
        s.table[0] = page as u64 | flags & 7 | (no_execute as u64) << 63;
        check_rights(c, "PTE", s.pdpt.as_ptr() as u32, CR4_PAE, (flags & 7) as u32, nx_given);
        s.table[0] = page as u64 | 7;
        let usual = s.directory[0];
        s.directory[0] = usual & !7 | flags & 7 | (no_execute as u64) << 63;
        check_rights(c, "PDE", s.pdpt.as_ptr() as u32, CR4_PAE, (flags & 7) as u32, nx_given);
        s.directory[0] = usual;
    }
}

fn paging_pae_pdpte_reserved_bits_are_gp(c: &mut Check) {
    tables();
    let s = pae();
    snippet!(code: ".code32", "mov eax, cr3", "mov dword ptr [esi], edx", "mov cr3, eax", ".code64",);
    let mut start = State32::flat(code);
    (start.cr0, start.cr3, start.cr4) = (PG_WP, s.pdpt.as_ptr() as u32, 0x600 | CR4_PAE);
    let third = &raw mut s.pdpt[3] as u32;
    for bit in [1, 2, 5, 6, 7, 8] {
        let e = run32(&start.with(6, third).with(EDX, 1 | 1 << bit));
        s.pdpt[3] = 0;
        c.equal("reserved bit in a present PDPTE", (bit, e.vector(), e.error()), (bit, vector::GP, 0));
    }
    let e = run32(&start.with(6, third).with(EDX, 1 << 5 | 1 << 8));
    s.pdpt[3] = 0;
    c.equal("in an absent one", e.vector(), DONE);
}

fn paging_pae_absent_pdpte_faults(c: &mut Check) {
    tables();
    let s = pae();
    let mut start = State32::flat(p_read);
    (start.cr0, start.cr3, start.cr4) = (PG_WP, s.pdpt.as_ptr() as u32, 0x600 | CR4_PAE);
    let e = run32(&start.with(EDI, 0x8000_0010));
    c.equal("vector, error, CR2", (e.vector(), e.error(), e.cr2), (vector::PF, 0, 0x8000_0010));
    // The PDPTEs are registers: a change in memory counts only when CR3 is loaded.
    snippet!(code: ".code32", "mov dword ptr [esi], 0", "mov al, [edi]", "mov eax, cr3", "mov cr3, eax", "mov al, [edi]", ".code64",);
    start.eip = address_of(code) as u32;
    let e = run32(&start.with(6, &raw const s.pdpt[1] as u32).with(EDI, LINEAR));
    c.equal("vector, error", (e.vector(), e.error()), (vector::PF, 0));
    c.equal("offset of the fault", e.eip() - start.eip, 14);
}

fn cr0_pg_without_pe_is_gp(c: &mut Check) {
    tables();
    snippet!(code: ".code32", "mov eax, cr0", "or eax, 0x80000000", "and eax, 0xFFFFFFFE", "mov cr0, eax", ".code64",);
    let e = run32(&State32::flat(code));
    c.equal("vector, error", (e.vector(), e.error()), GP0);
}

fn cr0_nw_without_cd_is_gp(c: &mut Check) {
    tables();
    snippet!(code: ".code32", "mov eax, cr0", "or eax, 0x20000000", "mov cr0, eax", ".code64",);
    let e = run32(&State32::flat(code));
    c.equal("vector, error", (e.vector(), e.error()), GP0);
    // LMSW can set PE but not clear it.
    snippet!(lmsw: ".code32", "xor eax, eax", "lmsw ax", "mov eax, cr0", ".code64",);
    let e = run32(&State32::flat(lmsw));
    c.equal("LMSW", (e.vector(), e.reg(0) & 1), (DONE, 1));
}
