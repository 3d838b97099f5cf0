//! Segmentation in 64-bit and compatibility mode: far transfers, call gates, IRET to outer levels, and the instructions that
//! look at descriptors. Intel SDM volume 3, "Protection"; volume 2, the instructions' pages.

use crate::access::*;
use bare_metal_runtime::context::{address_of, entry_instruction, reg, stack_top};
use bare_metal_runtime::control::*;
use bare_metal_runtime::descriptors::*;
use bare_metal_runtime::exceptions::{DONE, vector};
use bare_metal_runtime::features;
use bare_metal_runtime::framework::Check;
use bare_metal_runtime::paging::{self, P, TEST_BASE, U, UserImage, W};
use bare_metal_runtime::{Context, catch, run, snippet, tests};
use core::arch::asm;

tests! {
    iret_to_level_3_nulls_data_segments_of_lower_dpl,
    iret_with_nt_is_gp,
    iret_to_non_canonical_rip_is_gp,
    iret_with_bad_selectors_faults,
    iret_to_inner_level_is_gp,
    iret_of_32_bits_pops_narrow_frame,
    iret_at_level_3_keeps_if_and_iopl,
    far_return_to_level_3_changes_stack,
    far_return_same_level_pops_immediate,
    far_call_pushes_cs_and_rip,
    far_jump_to_compatibility_mode_truncates,
    call_gate_to_level_0_switches_stack,
    call_gate_same_level_keeps_stack,
    call_gate_errors,
    call_gate_of_16_bytes_needs_zero_type_above,
    compatibility_mode_uses_32_bit_addresses_and_limits_are_ignored_in_64,
    compatibility_mode_checks_limits,
    compatibility_mode_interrupt_returns_there,
    lar_lsl_report_by_type_and_privilege,
    verr_verw_report_by_type_and_privilege,
    lldt_ltr_errors,
    ltr_sets_busy,
    fs_gs_bases_from_descriptor_and_msr,
    fs_base_of_null_selector_load,
    swapgs_exchanges_bases,
    fsgsbase_needs_cr4_and_canonical,
    data_segment_bases_are_ignored_in_64_bit_mode,
    lgdt_lidt_of_non_canonical_base_is_gp,
    sgdt_sidt_store_ten_bytes,
    io_permission_bitmap_decides,
    syscall_sysret_transfer,
    syscall_without_sce_is_ud,
    sysret_to_compatibility_mode,
    sysret_to_non_canonical_rcx_is_gp,
    sysenter_sysexit_transfer,
    sysenter_with_null_cs_is_gp,
    sysexit_to_compatibility_mode,
    syscall_msrs_need_canonical_values,
}

const S: u64 = TEST_SLOT as u64;

fn slot(n: usize) -> &'static mut u64 {
    &mut gdt()[TEST_SLOT as usize / 8 + n]
}

snippet!(c_nop: "nop",);
snippet!(c_segments: "mov eax, ds", "mov ecx, es", "mov edx, fs", "mov ebx, gs",);

fn iret_to_level_3_nulls_data_segments_of_lower_dpl(c: &mut Check) {
    let _image = UserImage::new();
    *slot(0) = segment(0, 0xF_FFFF, 0x9F, 0xC); // conforming code: stays
    let mut start = Context::user(c_segments);
    (start.ds, start.es, start.fs, start.gs) = (DATA as u64, USER_DATA as u64, S, CODE32 as u64);
    let f = run(&start);
    c.equal("vector", f.vector, DONE);
    let seen = [reg::RAX, reg::RCX, reg::RDX, reg::RBX].map(|r| f.regs[r]);
    c.equal("DS, ES, FS, GS", seen, [0, USER_DATA as u64, S, 0]);
}

fn iret_with_nt_is_gp(c: &mut Check) {
    snippet!(code: "pushfq", "or dword ptr [rsp], 0x4000", "popfq", "iretq",);
    let f = run(&Context::kernel(code));
    c.equal("vector, error", (f.vector, f.error), (vector::GP, 0));
}

fn iret_to_non_canonical_rip_is_gp(c: &mut Check) {
    let mut start = Context::kernel(c_nop);
    start.rip = 1 << 62;
    let f = run(&start);
    c.equal("vector, error, RIP", (f.vector, f.error, f.rip), (vector::GP, 0, entry_instruction()));
}

fn iret_with_bad_selectors_faults(c: &mut Check) {
    let with = |cs: u64, ss: u64| {
        let mut start = Context::kernel(c_nop);
        (start.cs, start.ss) = (cs, ss);
        let f = run(&start);
        (f.vector, f.error, f.rip == entry_instruction())
    };
    c.equal("null CS", with(0, DATA as u64), (vector::GP, 0, true));
    c.equal("CS beyond the GDT", with(0xFFF8, DATA as u64), (vector::GP, 0xFFF8, true));
    c.equal("data as CS", with(DATA as u64, DATA as u64), (vector::GP, DATA as u64, true));
    c.equal("CS of level 3 with RPL 0", with(0x30, DATA as u64), (vector::GP, 0x30, true));
    c.equal("null SS with RPL 3", with(USER_CODE64 as u64, 3), (vector::GP, 0, true));
    c.equal("SS of level 0", with(USER_CODE64 as u64, DATA as u64), (vector::GP, DATA as u64, true));
    c.equal("code as SS", with(USER_CODE64 as u64, USER_CODE32 as u64), (vector::GP, USER_CODE32 as u64 & !3, true));
    *slot(0) = segment(0, 0xF_FFFF, 0x1B, 0xA);
    c.equal("absent CS", with(S, DATA as u64), (vector::NP, S, true));
    *slot(0) = segment(0, 0xF_FFFF, 0x73, 0xC);
    c.equal("absent SS", with(USER_CODE64 as u64, S | 3), (vector::NP, S, true));
}

fn iret_to_inner_level_is_gp(c: &mut Check) {
    let _image = UserImage::new();
    snippet!(code: "push 0x10", "push rsp", "push 2", "push 8", "push rdi", "iretq",);
    let f = run(&Context::user(code));
    c.equal("vector, error", (f.vector, f.error), (vector::GP, 8));
}

fn iret_of_32_bits_pops_narrow_frame(c: &mut Check) {
    // Within 64-bit mode every size of IRET pops SS and RSP, in its operand size.
    snippet!(code: "lea eax, [rip + 2f]", "mov ecx, esp",
        "sub rsp, 20", "mov [rsp], eax", "mov dword ptr [rsp + 4], 8", "mov dword ptr [rsp + 8], 0x46",
        "mov [rsp + 12], ecx", "mov dword ptr [rsp + 16], 0x10", "iretd", "2: mov rdx, rsp",);
    let start = Context::kernel(code);
    let f = run(&start);
    c.equal("vector, RSP", (f.vector, f.regs[reg::RDX]), (DONE, start.regs[reg::RSP]));
}

fn iret_at_level_3_keeps_if_and_iopl(c: &mut Check) {
    let _image = UserImage::new();
    snippet!(code: "mov rax, rsp", "push 0x2B", "push rax", "push 0x3202", "push 0x33", "lea rcx, [rip + 2f]", "push rcx", "iretq", "2: nop",);
    let f = run(&Context::user(code));
    c.equal("vector, IF and IOPL", (f.vector, f.rflags & 0x3200), (DONE, 0));
    let f = run(&Context::user(code).flags(0x3000));
    c.equal("with IOPL 3, IF", (f.vector, f.rflags & 0x3200), (DONE, 0x3200));
    unsafe { cli() };
}

fn far_return_to_level_3_changes_stack(c: &mut Check) {
    let _image = UserImage::new();
    snippet!(code: "push 0x2B", "push rdi", "push 0", "push 0", "push 0x33", "push rsi", "retfq 16",);
    let f = run(&Context::kernel(code).with(reg::RDI, stack_top(true)).with(reg::RSI, address_of(c_nop)));
    c.equal("vector, CS, SS", (f.vector, f.cs, f.ss), (DONE, USER_CODE64, USER_DATA));
    // The immediate is added to both stack pointers.
    c.equal("RSP", f.regs[reg::RSP], stack_top(true) + 16);
}

fn far_return_same_level_pops_immediate(c: &mut Check) {
    snippet!(code: "sub rsp, 24", "push 8", "lea rax, [rip + 2f]", "push rax", "retfq 24", "2: nop",);
    let start = Context::kernel(code);
    let f = run(&start);
    c.equal("vector, RSP", (f.vector, f.regs[reg::RSP]), (DONE, start.regs[reg::RSP]));
}

fn far_call_pushes_cs_and_rip(c: &mut Check) {
    #[repr(C, packed)]
    struct Pointer {
        offset: u32,
        selector: u16,
    }
    static TARGET: Shared<Pointer> = Shared::new(Pointer { offset: 0, selector: CODE64 });
    unsafe { (*TARGET.get()).offset = address_of(c_nop) as u32 };
    snippet!(code: "call fword ptr [rdi]",);
    let start = Context::kernel(code).with(reg::RDI, TARGET.get() as u64);
    let f = run(&start);
    let rsp = start.regs[reg::RSP] - 8;
    c.equal("vector, RSP", (f.vector, f.regs[reg::RSP]), (DONE, rsp));
    let pushed = unsafe { [(rsp as *const u32).read(), ((rsp + 4) as *const u32).read()] };
    c.equal("EIP, CS", pushed, [start.rip as u32 + 2, CODE64 as u32]);
}

/// A far pointer m16:32 in memory.
fn far_pointer(offset: u32, selector: u16) -> u64 {
    let page = paging::new_page();
    page.0[0] = offset as u64 | (selector as u64) << 32;
    paging::physical(page)
}

fn far_jump_to_compatibility_mode_truncates(c: &mut Check) {
    // In 32-bit code 48H is DEC EAX.
    snippet!(compat: ".byte 0x48", "nop",);
    snippet!(code: "mov rax, 0x100000005", "jmp fword ptr [rdi]",);
    let f = run(&Context::kernel(code).with(reg::RDI, far_pointer(address_of(compat) as u32, CODE32)));
    c.equal("vector, CS, RAX", (f.vector, f.cs, f.regs[reg::RAX] as u32), (DONE, CODE32, 4));
}

/// A 64-bit call gate in two test slots.
fn call_gate(offset: u64, selector: u16, dpl: u8) -> u16 {
    let gate = Gate64::new(offset, selector, 0, 12, dpl);
    *slot(4) = gate.low;
    *slot(5) = gate.high;
    TEST_SLOT + 32
}

snippet!(far_call: "call fword ptr [rdi]",);

fn call_gate_to_level_0_switches_stack(c: &mut Check) {
    let _image = UserImage::new();
    let gate = call_gate(address_of(c_nop), CODE64, 3);
    let start = Context::user(far_call).with(reg::RDI, far_pointer(0xFFFF_FFFF, gate | 3));
    let f = run(&start);
    let rsp0 = this_processor().tss.rsp[0];
    c.equal("vector, CS, SS", (f.vector, f.cs, f.ss), (DONE, CODE64, 0));
    c.equal("RSP", f.regs[reg::RSP], rsp0 - 32);
    let pushed = f.regs[reg::RSP] as *const u64;
    let pushed = unsafe { [0, 1, 2, 3].map(|i| pushed.add(i).read()) };
    // The handler of DONE has overwritten nothing: it pushed below.
    c.equal("RIP, CS, RSP, SS", pushed, [start.rip + 2, USER_CODE64 as u64, start.regs[reg::RSP], USER_DATA as u64]);
}

fn call_gate_same_level_keeps_stack(c: &mut Check) {
    let gate = call_gate(address_of(c_nop), CODE64, 0);
    let start = Context::kernel(far_call).with(reg::RDI, far_pointer(0, gate));
    let f = run(&start);
    c.equal("vector, RSP", (f.vector, f.regs[reg::RSP]), (DONE, start.regs[reg::RSP] - 16));
    let pushed = f.regs[reg::RSP] as *const u64;
    c.equal("RIP, CS", unsafe { [pushed.read(), pushed.add(1).read()] }, [start.rip + 2, CODE64 as u64]);
}

fn call_gate_errors(c: &mut Check) {
    let _image = UserImage::new();
    let call = |gate: u16, user: bool| {
        let start = if user { Context::user(far_call) } else { Context::kernel(far_call) };
        let f = run(&start.with(reg::RDI, far_pointer(0, gate)));
        (f.vector, f.error)
    };
    let code = address_of(c_nop);
    let gate = call_gate(code, CODE64, 0);
    let g = gate as u64;
    c.equal("gate of level 0 from level 3", call(gate, true), (vector::GP, g));
    let gate = call_gate(code, CODE64, 2);
    c.equal("RPL above the gate's level", call(gate | 3, false), (vector::GP, g));
    let gate = call_gate(code, 0, 3);
    c.equal("null code segment", call(gate, false), (vector::GP, 0));
    let gate = call_gate(code, CODE32, 3);
    c.equal("32-bit code segment", call(gate, false), (vector::GP, CODE32 as u64));
    let gate = call_gate(1 << 62, CODE64, 3);
    c.equal("target not canonical", call(gate, false), (vector::GP, 0));
    let gate = call_gate(code, CODE64, 3);
    *slot(4) &= !(1 << 47);
    c.equal("absent gate", call(gate, false), (vector::NP, g));
    // A level-3 code segment can not be reached from level 0.
    let gate = call_gate(code, USER_CODE64, 3);
    c.equal("outer code segment", call(gate, false), (vector::GP, USER_CODE64 as u64 & !3));
}

fn call_gate_of_16_bytes_needs_zero_type_above(c: &mut Check) {
    let gate = call_gate(address_of(c_nop), CODE64, 3);
    *slot(5) |= 1 << 40;
    let f = run(&Context::kernel(far_call).with(reg::RDI, far_pointer(0, gate)));
    c.equal("vector, error", (f.vector, f.error), (vector::GP, gate as u64));
    // A 32-bit gate's type is reserved where the 64-bit one's is not: in IA-32e mode type 4 is none.
    *slot(4) = *slot(4) & !(0x1F << 40) | 4 << 40;
    *slot(5) = 0;
    let f = run(&Context::kernel(far_call).with(reg::RDI, far_pointer(0, gate)));
    c.equal("16-bit gate", (f.vector, f.error), (vector::GP, gate as u64));
}

/// A context of 32-bit code at level 0 in compatibility mode.
fn compat(code: extern "C" fn()) -> Context {
    let mut start = Context::kernel(code);
    start.cs = CODE32 as u64;
    start
}

fn compatibility_mode_uses_32_bit_addresses_and_limits_are_ignored_in_64(c: &mut Check) {
    *slot(0) = segment(0x10_0000, 0, 0x93, 0); // limit 0: one byte
    let page = paging::new_page();
    page.0[0] = 0x77;
    let address = paging::physical(page);
    snippet!(load: "mov ds, edx", "mov eax, [rdi]",);
    let f = run(&Context::kernel(load).with(reg::RDI, address).with(reg::RDX, S));
    c.equal("64-bit mode: base and limit ignored", (f.vector, f.regs[reg::RAX]), (DONE, 0x77));
    // 8B 04 3C... [edi] wraps at 4 GiB: EDI + 8 with EDI = address - 8.
    snippet!(wrap: ".code32", "mov eax, [edi - 0x10]", ".code64",);
    let mut start = compat(wrap).with(reg::RDI, 0xFFFF_FFFF_0000_0010 + address);
    start.regs[reg::RDI] = 0x10 + address;
    let f = run(&start);
    c.equal("compatibility mode", (f.vector, f.regs[reg::RAX]), (DONE, 0x77));
}

fn compatibility_mode_checks_limits(c: &mut Check) {
    snippet!(code: ".code32", "mov ds, edx", "mov al, [edi]", ".code64",);
    snippet!(code_ss: ".code32", "mov ecx, ss", "mov ss, edx", "mov al, ss:[edi]", "mov ss, ecx", ".code64",);
    let page = paging::physical(paging::new_page()) as u32;
    let outcome = |code: extern "C" fn(), descriptor: u64, offset: u64| {
        *slot(0) = descriptor;
        let f = run(&compat(code).with(reg::RDI, offset).with(reg::RDX, S));
        (f.vector, f.error)
    };
    let up = segment(page, 0x1FF, 0x93, 4);
    c.equal("last byte", outcome(code, up, 0x1FF), (DONE, 0));
    c.equal("beyond", outcome(code, up, 0x200), (vector::GP, 0));
    let down = segment(page, 0x1FF, 0x97, 4);
    c.equal("expand-down, at the limit", outcome(code, down, 0x1FF), (vector::GP, 0));
    c.equal("expand-down, above", outcome(code, down, 0x200), (DONE, 0));
    let write_only = segment(page, 0x1FF, 0x91, 4);
    snippet!(store: ".code32", "mov ds, edx", "mov [edi], al", ".code64",);
    c.equal("read-only", outcome(store, write_only, 0), (vector::GP, 0));
    c.equal(
        "null",
        {
            let f = run(&compat(code).with(reg::RDI, 0).with(reg::RDX, 0));
            (f.vector, f.error)
        },
        (vector::GP, 0),
    );
    // A limit violation through SS is #SS, and #SS is delivered in 64-bit mode on whatever RSP holds.
    c.equal("SS", outcome(code_ss, up, 0x200), (vector::SS, 0));
}

fn compatibility_mode_interrupt_returns_there(c: &mut Check) {
    bare_metal_runtime::exceptions::set_handler(0x40, Some(|frame| frame.regs[reg::RCX] = frame.cs));
    idt()[0x40].low |= 3 << 45;
    snippet!(code: ".code32", "int 0x40", ".byte 0x40", "nop", ".code64",); // INC EAX
    let f = run(&compat(code).with(reg::RAX, 6));
    c.equal("vector, CS, RAX", (f.vector, f.regs[reg::RCX], f.regs[reg::RAX]), (DONE, CODE32 as u64, 7));
    let _image = UserImage::new();
    let mut start = Context::user(code).with(reg::RAX, 6);
    start.cs = USER_CODE32 as u64;
    let f = run(&start);
    c.equal("level 3", (f.vector, f.cs, f.regs[reg::RAX]), (DONE, USER_CODE32, 7));
}

const ZF: u64 = 1 << 6;

fn lar_lsl_report_by_type_and_privilege(c: &mut Check) {
    let _image = UserImage::new();
    snippet!(lar: "mov eax, 0x5555", "lar eax, ecx",);
    snippet!(lsl: "mov eax, 0x5555", "lsl eax, ecx",);
    let ask = |code: extern "C" fn(), selector: u64, user: bool| {
        let start = if user { Context::user(code) } else { Context::kernel(code) };
        let f = run(&start.with(reg::RCX, selector));
        // LAR's bits 19:16 are undefined.
        let mask = if address_of(code) == address_of(lar) { !0xF_0000 } else { !0 };
        (f.vector == DONE).then_some((f.rflags & ZF != 0).then_some(f.regs[reg::RAX] & mask))
    };
    *slot(0) = segment(0, 0x12345, 0x93, 0x5);
    c.equal("LAR data", ask(lar, S, false), Some(Some(0x0050_9300)));
    c.equal("LSL bytes", ask(lsl, S, false), Some(Some(0x12345)));
    *slot(0) = segment(0, 0x12345, 0xF3, 0xC);
    c.equal("LSL pages", ask(lsl, S | 3, true), Some(Some(0x1234_5FFF)));
    c.equal("LAR DPL below CPL", ask(lar, DATA as u64, true), Some(None));
    c.equal("LAR DPL below RPL", ask(lar, DATA as u64 | 3, false), Some(None));
    c.equal("LAR null", ask(lar, 0, false), Some(None));
    c.equal("LAR beyond the GDT", ask(lar, 0xFFF8, false), Some(None));
    c.equal("LSL LDT selector without LDT", ask(lsl, 4, false), Some(None));
    *slot(0) = segment(0, 0xF_FFFF, 0x9F, 0xC);
    c.equal("LAR conforming code of level 0 from level 3", ask(lar, S | 3, true), Some(Some(0x00C0_9F00)));
    // Types that exist in IA-32e mode: LDT 2, TSS 9 and B for both; call gate C for LAR only.
    for kind in 0..16u64 {
        *slot(0) = segment(0, 0x67, 0x80 | kind as u8, 0);
        *slot(1) = 0;
        let in_lar = matches!(kind, 2 | 9 | 11 | 12);
        let in_lsl = matches!(kind, 2 | 9 | 11);
        c.equal("LAR of system type", (kind, ask(lar, S, false).flatten().is_some()), (kind, in_lar));
        c.equal("LSL of system type", (kind, ask(lsl, S, false).flatten().is_some()), (kind, in_lsl));
    }
    // Not present does not matter.
    *slot(0) = segment(0, 0xFFF, 0x13, 0);
    c.equal("LSL absent", ask(lsl, S, false), Some(Some(0xFFF)));
}

fn verr_verw_report_by_type_and_privilege(c: &mut Check) {
    let _image = UserImage::new();
    snippet!(verr: "verr cx",);
    snippet!(verw: "verw cx",);
    let ask = |selector: u64, user: bool| {
        [verr as extern "C" fn(), verw].map(|code| {
            let start = if user { Context::user(code) } else { Context::kernel(code) };
            run(&start.with(reg::RCX, selector)).rflags & ZF != 0
        })
    };
    let with = |access: u8, rpl: u64, user: bool| {
        *slot(0) = segment(0, 0xFFF, access, 0xC);
        ask(S | rpl, user)
    };
    c.equal("writable data", with(0x93, 0, false), [true, true]);
    c.equal("read-only data", with(0x91, 0, false), [true, false]);
    c.equal("readable code", with(0x9B, 0, false), [true, false]);
    c.equal("execute-only code", with(0x99, 0, false), [false, false]);
    c.equal("data of level 0 at level 3", with(0x93, 0, true), [false, false]);
    c.equal("data of level 3, RPL 3", with(0xF3, 3, true), [true, true]);
    c.equal("conforming code of level 0 at level 3", with(0x9F, 3, true), [true, false]);
    c.equal("system", with(0x82, 0, false), [false, false]);
    c.equal("null", ask(0, false), [false, false]);
}

snippet!(do_lldt: "lldt cx",);
snippet!(do_ltr: "ltr cx",);

fn lldt_ltr_errors(c: &mut Check) {
    let ask = |code: extern "C" fn(), selector: u64| {
        let f = run(&Context::kernel(code).with(reg::RCX, selector));
        (f.vector, f.error)
    };
    c.equal("LLDT null", ask(do_lldt, 0), (DONE, 0));
    c.equal("LTR null", ask(do_ltr, 0), (vector::GP, 0));
    c.equal("LTR with TI", ask(do_ltr, S | 4), (vector::GP, S | 4));
    c.equal("LLDT with TI", ask(do_lldt, S | 4), (vector::GP, S | 4));
    c.equal("LLDT of data", ask(do_lldt, DATA as u64), (vector::GP, DATA as u64));
    c.equal("LTR of data", ask(do_ltr, DATA as u64), (vector::GP, DATA as u64));
    c.equal("LTR of a busy TSS", ask(do_ltr, TSS as u64), (vector::GP, TSS as u64));
    *slot(0) = segment(0, 0x67, 0x02, 0);
    *slot(1) = 0;
    c.equal("LLDT absent", ask(do_lldt, S), (vector::NP, S));
    *slot(0) = segment(0, 0x67, 0x09, 0);
    c.equal("LTR absent", ask(do_ltr, S), (vector::NP, S));
    // The base's upper half must be canonical, and the upper descriptor's type zero.
    *slot(0) = segment(0, 0x67, 0x82, 0);
    *slot(1) = 0x8000_0000;
    c.equal("LLDT base not canonical", ask(do_lldt, S), (vector::GP, S));
    *slot(1) = 1 << 40;
    c.equal("LLDT upper type", ask(do_lldt, S), (vector::GP, S));
    let f = run(&Context::kernel(do_lldt).with(reg::RCX, 0xFFF8));
    c.equal("LLDT beyond the GDT", (f.vector, f.error), (vector::GP, 0xFFF8));
}

fn ltr_sets_busy(c: &mut Check) {
    let tss = &raw const this_processor().tss as u64;
    *slot(0) = segment(tss as u32, size_of::<Tss64>() as u32 - 1, 0x89, 0);
    *slot(1) = tss >> 32;
    let f = run(&Context::kernel(do_ltr).with(reg::RCX, S));
    let access = unsafe { (slot(0) as *const u64).read_volatile() } >> 40 & 0xFF;
    unsafe { load_task_register() };
    c.equal("vector, access", (f.vector, access), (DONE, 0x8B));
}

/// The lowest address that no paging mode of the processor makes canonical: registers with bases and entry points are checked against
/// that, whatever CR4.LA57 is.
fn never_canonical() -> u64 {
    1 << if features::LA57.present() { 56 } else { 47 }
}

const FS_BASE: u32 = 0xC000_0100;
const GS_BASE: u32 = 0xC000_0101;
const KERNEL_GS_BASE: u32 = 0xC000_0102;

fn fs_gs_bases_from_descriptor_and_msr(c: &mut Check) {
    let page = paging::new_page();
    (page.0[0], page.0[1]) = (0x11, 0x22);
    let address = paging::physical(page);
    *slot(0) = segment(address as u32, 0, 0x93, 0);
    snippet!(code: "mov fs, ecx", "mov rax, fs:[8]", "mov rdx, fs:[rdi]",);
    let f = run(&Context::kernel(code).with(reg::RCX, S));
    c.equal("through the descriptor", (f.vector, f.regs[reg::RAX], f.regs[reg::RDX]), (DONE, 0x22, 0x11));
    unsafe {
        c.equal("FS base MSR", rdmsr(FS_BASE), address);
        let high = TEST_BASE + 0x10_0000_0000;
        paging::map(high, address, P | W, paging::Size::Page4K);
        wrmsr(GS_BASE, high);
        let seen: u64;
        asm!("mov {}, gs:[8]", out(reg) seen);
        wrmsr(GS_BASE, 0);
        wrmsr(FS_BASE, 0);
        c.equal("through the MSR, above 4 GiB", seen, 0x22);
    }
    for value in [never_canonical(), 1 << 63, !never_canonical()] {
        expect_fault(c, "not canonical", catch(|| unsafe { wrmsr(FS_BASE, value) }), vector::GP, 0);
        expect_fault(c, "not canonical", catch(|| unsafe { wrmsr(KERNEL_GS_BASE, value) }), vector::GP, 0);
    }
    // Base plus offset that is not canonical.
    unsafe { wrmsr(FS_BASE, 0x7FFF_FFFF_F000) };
    let fault = catch(|| unsafe { asm!("mov al, fs:[0x1000]", out("al") _) });
    unsafe { wrmsr(FS_BASE, 0) };
    expect_fault(c, "base plus offset", fault, vector::GP, 0);
}

fn fs_base_of_null_selector_load(c: &mut Check) {
    // A load of FS from a descriptor replaces all 64 bits of the base.
    unsafe { wrmsr(FS_BASE, 0x1234_5678_9000) };
    *slot(0) = segment(0x5000, 0xF_FFFF, 0x93, 0xC);
    snippet!(code: "mov fs, ecx",);
    run(&Context::kernel(code).with(reg::RCX, S));
    c.equal("base", unsafe { rdmsr(FS_BASE) }, 0x5000);
    unsafe { wrmsr(FS_BASE, 0) };
}

fn swapgs_exchanges_bases(c: &mut Check) {
    unsafe {
        wrmsr(GS_BASE, 0x1111);
        wrmsr(KERNEL_GS_BASE, 0x2222_0000_0000);
        asm!("swapgs");
        c.equal("GS base", rdmsr(GS_BASE), 0x2222_0000_0000);
        c.equal("kernel GS base", rdmsr(KERNEL_GS_BASE), 0x1111);
        wrmsr(GS_BASE, 0);
        wrmsr(KERNEL_GS_BASE, 0);
    }
}

fn fsgsbase_needs_cr4_and_canonical(c: &mut Check) {
    if !c.needs(features::FSGSBASE) {
        return;
    }
    snippet!(wr: "wrfsbase rax",);
    snippet!(rd: "rdfsbase rax",);
    snippet!(wr32: "wrfsbase eax", "rdfsbase rax",);
    c.equal("WRFSBASE without CR4.FSGSBASE", run(&Context::kernel(wr)).vector, vector::UD);
    c.equal("RDFSBASE without CR4.FSGSBASE", run(&Context::kernel(rd)).vector, vector::UD);
    unsafe { write_cr4(read_cr4() | 1 << 16) };
    let f = run(&Context::kernel(wr).with(reg::RAX, 1 << 60));
    c.equal("not canonical", (f.vector, f.error), (vector::GP, 0));
    let f = run(&Context::kernel(wr32).with(reg::RAX, 0xFFFF_FFFF_1234_5678));
    c.equal("32 bits", (f.vector, f.regs[reg::RAX]), (DONE, 0x1234_5678));
    unsafe { wrmsr(FS_BASE, 0) };
}

fn data_segment_bases_are_ignored_in_64_bit_mode(c: &mut Check) {
    *slot(0) = segment(0x1000, 0xF_FFFF, 0x93, 0xC);
    let page = paging::new_page();
    page.0[0] = 0x99;
    snippet!(code: "mov ds, ecx", "mov es, ecx", "mov ss, ecx", "mov rax, [rdi]", "mov rdx, es:[rdi]",);
    let f = run(&Context::kernel(code).with(reg::RCX, S).with(reg::RDI, paging::physical(page)));
    c.equal("loads", (f.vector, f.regs[reg::RAX], f.regs[reg::RDX]), (DONE, 0x99, 0x99));
}

fn lgdt_lidt_of_non_canonical_base_is_gp(c: &mut Check) {
    let p = TablePointer { limit: 0xFFF, base: 1 << 60 };
    expect_fault(c, "LGDT", catch(|| unsafe { lgdt(&p) }), vector::GP, 0);
    expect_fault(c, "LIDT", catch(|| unsafe { lidt(&p) }), vector::GP, 0);
}

fn sgdt_sidt_store_ten_bytes(c: &mut Check) {
    let buffer = paging::new_page();
    buffer.0.fill(u64::MAX);
    unsafe { asm!("sgdt [{}]", in(reg) buffer) };
    let p = sgdt();
    c.equal("base", (buffer.0[0] >> 16) | (buffer.0[1] << 48), p.base);
    c.equal("bytes behind", buffer.0[1] >> 16, u64::MAX >> 16);
}

fn io_permission_bitmap_decides(c: &mut Check) {
    let _image = UserImage::new();
    snippet!(in8: "in al, dx",);
    snippet!(in16: "in ax, dx",);
    snippet!(in32: "in eax, dx",);
    let tss = &mut this_processor().tss;
    let ask = |code: extern "C" fn(), port: u64| {
        let f = run(&Context::user(code).with(reg::RDX, port));
        (f.vector, f.error)
    };
    c.equal("denied", ask(in8, 0x80), (vector::GP, 0));
    tss.io_map[0x80 / 8] = !1;
    c.equal("allowed", ask(in8, 0x80), (DONE, 0));
    c.equal("next port", ask(in8, 0x81), (vector::GP, 0));
    c.equal("word over a denied port", ask(in16, 0x80), (vector::GP, 0));
    tss.io_map[0x80 / 8] = !0xF;
    c.equal("doubleword", ask(in32, 0x80), (DONE, 0));
    c.equal("doubleword over a denied port", ask(in32, 0x81), (vector::GP, 0));
    // A word across two bytes of the map.
    tss.io_map[0x80 / 8] = !0x80;
    tss.io_map[0x88 / 8] = !0x01;
    c.equal("word across bytes", ask(in16, 0x87), (DONE, 0));
    tss.io_map[0x80 / 8] = 0xFF;
    tss.io_map[0x88 / 8] = 0xFF;
    // The byte behind the map must lie within the limit too.
    let usual = gdt()[TSS as usize / 8];
    let limit = core::mem::offset_of!(Tss64, io_map) + 0x80 / 8;
    tss.io_map[0x80 / 8] = 0;
    gdt()[TSS as usize / 8] = usual & !0xFFFF | limit as u64;
    unsafe { load_task_register() };
    let cut = ask(in8, 0x80);
    gdt()[TSS as usize / 8] = usual;
    unsafe { load_task_register() };
    tss.io_map[0x80 / 8] = 0xFF;
    c.equal("second byte beyond the limit", cut, (vector::GP, 0));
    c.equal("IOPL 3", run(&Context::user(in8).with(reg::RDX, 0x80).flags(0x3000)).vector, DONE);
}

const STAR: u32 = 0xC000_0081;
const LSTAR: u32 = 0xC000_0082;
const FMASK: u32 = 0xC000_0084;
const SYSENTER_CS: u32 = 0x174;
const SYSENTER_ESP: u32 = 0x175;
const SYSENTER_EIP: u32 = 0x176;

/// Enables SYSCALL with its target at a snippet while something runs.
fn with_syscall(target: extern "C" fn(), f: impl FnOnce()) {
    unsafe {
        let efer = rdmsr(IA32_EFER);
        wrmsr(IA32_EFER, efer | 1);
        wrmsr(STAR, 0x0020_0008_0000_0000 | 3 << 48);
        wrmsr(LSTAR, address_of(target));
        wrmsr(FMASK, 0x4_0701);
        f();
        wrmsr(IA32_EFER, efer);
    }
}

snippet!(do_syscall: "syscall",);

fn syscall_sysret_transfer(c: &mut Check) {
    let _image = UserImage::new();
    with_syscall(c_nop, || {
        let start = Context::user(do_syscall).flags(0x8D5);
        let f = run(&start);
        c.equal("vector, CS, SS", (f.vector, f.cs, f.ss), (DONE, CODE64, DATA));
        c.equal("RCX", f.regs[reg::RCX], start.rip + 2);
        c.equal("R11", f.regs[reg::R11], 0x8D5 | 2);
        c.equal("flags", f.rflags & 0x8D5, 0x8D5 & !0x4_0701);
        c.equal("RSP is the user's", f.regs[reg::RSP], start.regs[reg::RSP]);
    });
    snippet!(back: "or r11, 0x4D000", "sysretq",);
    with_syscall(back, || {
        let f = run(&Context::user(do_syscall));
        c.equal("vector, CS, SS", (f.vector, f.cs, f.ss), (DONE, USER_CODE64, USER_DATA));
        // RF and VM are cleared, reserved bits as well.
        c.equal("flags", f.rflags & 0x7_D000, 0x4_5000);
    });
}

fn syscall_without_sce_is_ud(c: &mut Check) {
    let _image = UserImage::new();
    c.equal("SYSCALL", run(&Context::user(do_syscall)).vector, vector::UD);
    snippet!(sysret: "sysretq",);
    c.equal("SYSRET", run(&Context::kernel(sysret)).vector, vector::UD);
}

fn sysret_to_compatibility_mode(c: &mut Check) {
    let _image = UserImage::new();
    snippet!(code: "mov rcx, rdi", "mov r11d, 2", "sysret",);
    with_syscall(c_nop, || {
        let f = run(&Context::kernel(code).with(reg::RDI, 0xFFFF_FFFF_0000_0000 | address_of(c_nop)));
        c.equal("vector, CS, SS", (f.vector, f.cs, f.ss), (DONE, USER_CODE32, USER_DATA));
    });
}

fn sysret_to_non_canonical_rcx_is_gp(c: &mut Check) {
    snippet!(code: "mov rcx, rdi", "mov r11d, 2", "sysretq",);
    with_syscall(c_nop, || {
        let start = Context::kernel(code).with(reg::RDI, 1 << 47);
        let f = run(&start);
        c.equal("vector, error, CS", (f.vector, f.error, f.cs), (vector::GP, 0, CODE64));
        c.equal("RSP", f.regs[reg::RSP], start.regs[reg::RSP]);
    });
}

fn with_sysenter(target: extern "C" fn(), f: impl FnOnce()) {
    unsafe {
        wrmsr(SYSENTER_CS, CODE64 as u64);
        wrmsr(SYSENTER_ESP, stack_top(false) - 128);
        wrmsr(SYSENTER_EIP, address_of(target));
        f();
        wrmsr(SYSENTER_CS, 0);
    }
}

snippet!(do_sysenter: "sysenter",);

fn sysenter_sysexit_transfer(c: &mut Check) {
    if !c.needs(features::SEP) {
        return;
    }
    let _image = UserImage::new();
    with_sysenter(c_nop, || {
        let f = run(&Context::user(do_sysenter).flags(0x200 | 0x8D5));
        c.equal("vector, CS, SS", (f.vector, f.cs, f.ss), (DONE, CODE64, DATA));
        c.equal("RSP", f.regs[reg::RSP], stack_top(false) - 128);
        c.equal("flags: IF is cleared, others stay", f.rflags & 0xAD5, 0x8D5);
    });
    snippet!(exit: "mov rcx, rdi", "mov rdx, rsi", "sysexitq",);
    with_sysenter(exit, || {
        let start = Context::user(do_sysenter).with(reg::RDI, stack_top(true) - 64).with(reg::RSI, address_of(c_nop));
        let f = run(&start);
        c.equal("vector, CS, SS", (f.vector, f.cs, f.ss), (DONE, CODE64 + 32 + 3, CODE64 + 40 + 3));
        c.equal("RSP", f.regs[reg::RSP], stack_top(true) - 64);
        let f = run(&Context::kernel(exit).with(reg::RDI, 1 << 60).with(reg::RSI, address_of(c_nop)));
        c.equal("RSP not canonical", (f.vector, f.error), (vector::GP, 0));
        let f = run(&Context::kernel(exit).with(reg::RSI, 1 << 60));
        c.equal("RIP not canonical", (f.vector, f.error), (vector::GP, 0));
    });
}

fn sysenter_with_null_cs_is_gp(c: &mut Check) {
    if !c.needs(features::SEP) {
        return;
    }
    let _image = UserImage::new();
    unsafe { wrmsr(SYSENTER_CS, 0) };
    let f = run(&Context::user(do_sysenter));
    c.equal("SYSENTER", (f.vector, f.error), (vector::GP, 0));
    snippet!(exit: "sysexitq",);
    let f = run(&Context::kernel(exit));
    c.equal("SYSEXIT", (f.vector, f.error), (vector::GP, 0));
}

fn sysexit_to_compatibility_mode(c: &mut Check) {
    if !c.needs(features::SEP) {
        return;
    }
    let _image = UserImage::new();
    snippet!(exit: "mov ecx, edi", "mov edx, esi", "sysexit",);
    with_sysenter(c_nop, || {
        let start = Context::kernel(exit).with(reg::RDI, stack_top(true) - 64).with(reg::RSI, address_of(c_nop));
        let f = run(&start);
        c.equal("vector, CS, SS", (f.vector, f.cs, f.ss), (DONE, CODE64 + 16 + 3, CODE64 + 24 + 3));
    });
}

fn syscall_msrs_need_canonical_values(c: &mut Check) {
    for msr in [LSTAR, 0xC000_0083, SYSENTER_ESP, SYSENTER_EIP] {
        let usual = unsafe { rdmsr(msr) };
        expect_fault(c, "not canonical", catch(|| unsafe { wrmsr(msr, never_canonical()) }), vector::GP, 0);
        expect_none(c, "canonical", catch(|| unsafe { wrmsr(msr, 0xFFFF_8000_0000_0000) }));
        unsafe { wrmsr(msr, usual) };
    }
    expect_fault(c, "upper half of FMASK", catch(|| unsafe { wrmsr(FMASK, 1 << 32) }), vector::GP, 0);
    let _ = U;
}
