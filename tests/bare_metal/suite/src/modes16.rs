//! Real-address mode and virtual-8086 mode, without and with the virtual-8086 mode extensions.
//! Intel SDM volume 3, "8086 Emulation".

use bare_metal_runtime::context::address_of;
use bare_metal_runtime::exceptions::{DONE, vector};
use bare_metal_runtime::features;
use bare_metal_runtime::framework::Check;
use bare_metal_runtime::legacy::*;
use bare_metal_runtime::{snippet, tests};

tests! {
    real_mode_code_runs_and_returns,
    real_mode_interrupt_pushes_flags_cs_ip,
    real_mode_interrupt_beyond_idt_limit_is_gp,
    real_mode_limit_violation_is_gp_and_ss,
    real_mode_faults_report_own_ip,
    real_mode_protected_instructions_are_ud,
    real_mode_addresses_are_segment_times_16,
    real_mode_address_above_1m_is_reached,
    real_mode_push_sp_pushes_old_value,
    real_mode_single_step_uses_vector_1,
    real_mode_32_bit_operands_work,
    real_mode_iret_restores_flags,
    v86_code_runs_with_segment_times_16,
    v86_interrupt_frame_has_all_segments,
    v86_int_with_iopl_below_3_is_gp,
    v86_sensitive_instructions_depend_on_iopl,
    v86_int3_ignores_iopl,
    v86_io_uses_bitmap_only,
    v86_limit_violation_is_gp_and_ss,
    v86_protected_instructions_are_ud_or_gp,
    v86_interrupt_gate_must_lead_to_level_0,
    v86_iret_from_level_0_restores_all_segments,
    vme_int_with_bit_clear_uses_8086_handler,
    vme_int_with_bit_set_uses_gate,
    vme_cli_sti_change_vif,
    vme_sti_with_vip_is_gp,
    vme_pushf_popf_show_vif_as_if,
    vme_popf_with_tf_is_gp,
    vme_iret_restores_vif,
}

/// Copies 16-bit code to segment 1000H.
fn place(code: extern "C" fn()) {
    unsafe { place_16(0, core::slice::from_raw_parts(address_of(code) as *const u8, 64)) };
}

/// Runs 16-bit code in real mode.
fn real(code: extern "C" fn(), state: State16) -> State16 {
    prepare_real();
    place(code);
    run_real(&state, 0x3FF)
}

fn data16(offset: u64) -> u16 {
    unsafe { ((DATA_16 + offset) as *const u16).read_volatile() }
}

fn real_mode_code_runs_and_returns(c: &mut Check) {
    snippet!(code: ".code16", "mov ax, 0x1234", "mov bx, cs", "mov cx, ds", ".code64",);
    let s = real(code, State16::start().with(0, 0xFFFF_0000));
    c.equal("vector, EAX", (s.vector, s.regs[0]), (DONE as u32, 0xFFFF_1234));
    c.equal("CS, DS", (s.regs[3] as u16, s.regs[1] as u16), (0x1000, 0x2000));
}

fn real_mode_interrupt_pushes_flags_cs_ip(c: &mut Check) {
    snippet!(code: ".code16", "sti", "stc", "int 0x40", ".code64",);
    let s = real(code, State16::start());
    c.equal("vector, CS:IP", (s.vector, s.cs, s.eip), (0x40, 0x1000, 4));
    c.equal("FLAGS pushed: IF, CF", s.eflags & 0x201, 0x201);
    c.equal("IF, TF in the handler", s.handler_flags & 0x300, 0);
    c.equal("SP after the frame", s.regs[4] & 0xFFFF, 0xFFE0 - 6);
}

fn real_mode_interrupt_beyond_idt_limit_is_gp(c: &mut Check) {
    prepare_real();
    snippet!(code: ".code16", "int 0x40", ".code64",);
    place(code);
    let s = run_real(&State16::start(), 0x40 * 4 + 2);
    c.equal("vector, IP", (s.vector, s.eip), (vector::GP as u32, 0));
}

fn real_mode_limit_violation_is_gp_and_ss(c: &mut Check) {
    snippet!(word: ".code16", "mov ax, [di]", ".code64",);
    snippet!(stack: ".code16", "mov bp, di", "mov ax, [bp]", ".code64",);
    snippet!(push: ".code16", "mov sp, 1", "push ax", ".code64",);
    c.equal("word at FFFF", real(word, State16::start().with(7, 0xFFFF)).vector, vector::GP as u32);
    c.equal("word at FFFE", real(word, State16::start().with(7, 0xFFFE)).vector, DONE as u32);
    c.equal("word at SS:FFFF", real(stack, State16::start().with(7, 0xFFFF)).vector, vector::SS as u32);
    // PUSH with SP = 1 would write a word at FFFF; the exception's own frame does not fit either: shutdown on a real processor.
    let _ = push;
    snippet!(large: ".code16", "mov eax, [edi]", ".code64",);
    c.equal(
        "32-bit address above the limit",
        real(large, State16::start().with(7, 0x1_0000)).vector,
        vector::GP as u32,
    );
}

fn real_mode_faults_report_own_ip(c: &mut Check) {
    snippet!(div: ".code16", "xor cx, cx", "div cx", ".code64",);
    let s = real(div, State16::start());
    c.equal("DIV", (s.vector, s.eip), (vector::DE as u32, 2));
    snippet!(bound: ".code16", "bound ax, [di]", ".code64",);
    unsafe { (DATA_16 as *mut u32).write_volatile(0x0005_0001) };
    let s = real(bound, State16::start().with(0, 9));
    c.equal("BOUND", (s.vector, s.eip), (vector::BR as u32, 0));
}

fn real_mode_protected_instructions_are_ud(c: &mut Check) {
    snippet!(arpl: ".byte 0x63, 0xC8",);
    snippet!(lldt: ".byte 0x0F, 0x00, 0xD0",);
    snippet!(ltr: ".byte 0x0F, 0x00, 0xD8",);
    snippet!(sldt: ".byte 0x0F, 0x00, 0xC0",);
    snippet!(verr: ".byte 0x0F, 0x00, 0xE0",);
    snippet!(lar: ".byte 0x0F, 0x02, 0xC0",);
    snippet!(lsl: ".byte 0x0F, 0x03, 0xC0",);
    for (name, code) in [
        ("ARPL", arpl as extern "C" fn()),
        ("LLDT", lldt),
        ("LTR", ltr),
        ("SLDT", sldt),
        ("VERR", verr),
        ("LAR", lar),
        ("LSL", lsl),
    ] {
        let s = real(code, State16::start());
        c.equal(name, (s.vector, s.eip), (vector::UD as u32, 0));
    }
}

fn real_mode_addresses_are_segment_times_16(c: &mut Check) {
    snippet!(code: ".code16", "mov ax, 0x2001", "mov es, ax", "mov word ptr es:[0x10], 0xBEEF", ".code64",);
    let s = real(code, State16::start());
    c.equal("vector, memory", (s.vector, data16(0x20)), (DONE as u32, 0xBEEF));
}

fn real_mode_address_above_1m_is_reached(c: &mut Check) {
    // A20 is open on this machine: FFFF:0010 is 1 MiB, where the image begins with its multiboot magic.
    snippet!(code: ".code16", "mov ax, 0xFFFF", "mov es, ax", "mov eax, es:[0x14]", ".code64",);
    let s = real(code, State16::start());
    c.equal("vector, EAX", (s.vector, s.regs[0]), (DONE as u32, unsafe { (0x10_0004 as *const u32).read() }));
}

fn real_mode_push_sp_pushes_old_value(c: &mut Check) {
    snippet!(code: ".code16", "push sp", "pop ax", ".code64",);
    c.equal("AX", real(code, State16::start()).regs[0] & 0xFFFF, 0xFFE0);
}

fn real_mode_single_step_uses_vector_1(c: &mut Check) {
    snippet!(code: ".code16", "nop", "nop", ".code64",);
    let mut start = State16::start();
    start.eflags |= 0x100;
    let s = real(code, start);
    c.equal("vector, IP", (s.vector, s.eip), (1, 1));
}

fn real_mode_32_bit_operands_work(c: &mut Check) {
    snippet!(code: ".code16", "mov eax, 0x12345678", "imul eax, eax, 3", "push eax", "pop ecx", "movzx edx, cl", ".code64",);
    let s = real(code, State16::start());
    c.equal("vector, ECX, EDX", (s.vector, s.regs[1], s.regs[2]), (DONE as u32, 0x369D_0368, 0x68));
}

fn real_mode_iret_restores_flags(c: &mut Check) {
    snippet!(code: ".code16", "push 0x0AD7", "push cs", "push 7", "iret", "nop", "nop", "pushf", "pop ax", "cli", ".code64",);
    // push imm16 (3), push cs (1), push imm8 (2), iret (1) = 7.
    let s = real(code, State16::start());
    c.equal("vector, FLAGS", (s.vector, s.regs[0] & 0xFFF), (DONE as u32, 0xAD7));
}

/// Runs 16-bit code in virtual-8086 mode.
fn v86(code: extern "C" fn(), iopl: u32, change: impl FnOnce(&mut State32)) -> Event32 {
    place(code);
    let mut s = State32::virtual_8086(0x1000, 0, 0x2000, iopl);
    change(&mut s);
    run32(&s)
}

fn v86_code_runs_with_segment_times_16(c: &mut Check) {
    tables();
    snippet!(code: ".code16", "mov ax, 0x2003", "mov es, ax", "mov word ptr es:[0], 0xCAFE", "mov bx, cs", ".code64",);
    let e = v86(code, 3, |_| ());
    c.equal("vector, BX", (e.vector(), e.reg(3) & 0xFFFF), (DONE, 0x1000));
    c.equal("memory", data16(0x30), 0xCAFE);
}

fn v86_interrupt_frame_has_all_segments(c: &mut Check) {
    tables();
    snippet!(code: ".code16", "nop", ".code64",);
    let e = v86(code, 3, |s| {
        (s.es, s.ds, s.fs, s.gs) = (0x2001, 0x2002, 0x2003, 0x2004);
    });
    c.equal("vector, CS, EIP", (e.vector(), e.cs(), e.eip()), (DONE, 0x1000, 3));
    c.equal("VM pushed, VM in the handler", (e.eflags() >> 17 & 1, e.handler_eflags >> 17 & 1), (1, 0));
    c.equal("ESP, SS", (e.pushed(3), e.pushed(4)), (0xFFE0, 0x2000));
    c.equal("ES, DS, FS, GS", [5, 6, 7, 8].map(|i| e.pushed(i) & 0xFFFF), [0x2001, 0x2002, 0x2003, 0x2004]);
    c.equal("in the handler", [0, 3, 4, 5].map(|n| e.segment(n)), [0, 0, 0, 0]);
    c.equal("handler's stack", e.handler_esp_at_entry(), stack32(0) - 36);
}

fn v86_int_with_iopl_below_3_is_gp(c: &mut Check) {
    tables();
    snippet!(code: ".code16", "int 0x7F", ".code64",);
    for iopl in 0..3 {
        let e = v86(code, iopl, |_| ());
        c.equal("vector, error, EIP", (e.vector(), e.error(), e.eip()), (vector::GP, 0, 0));
    }
}

snippet!(s_cli: ".code16", "cli", "int3", ".code64",);
snippet!(s_sti: ".code16", "sti", "int3", ".code64",);
snippet!(s_pushf: ".code16", "pushf", "int3", ".code64",);
snippet!(s_popf: ".code16", "push 0x202", "popf", "int3", ".code64",);
snippet!(s_iret: ".code16", "push 0x202", "push cs", "push 0x20", "iret", ".code64",);

fn v86_sensitive_instructions_depend_on_iopl(c: &mut Check) {
    tables();
    // Where IRET of the test goes.
    place_16(0x20, &[0xCC]);
    for (name, code) in [("CLI", s_cli as extern "C" fn()), ("STI", s_sti), ("PUSHF", s_pushf), ("POPF", s_popf)] {
        let e = v86(code, 3, |_| ());
        c.equal(name, e.vector(), vector::BP);
        for iopl in 0..3 {
            let e = v86(code, iopl, |_| ());
            c.equal(name, (e.vector(), e.error()), (vector::GP, 0));
        }
    }
    let e = v86(s_iret, 1, |_| ());
    c.equal("IRET", (e.vector(), e.error()), (vector::GP, 0));
    let e = v86(s_sti, 3, |_| ());
    c.equal("STI sets IF", e.eflags() & 0x200, 0x200);
    let e = v86(s_popf, 3, |_| ());
    c.equal("POPF sets IF, keeps IOPL", e.eflags() & 0x3200, 0x3200);
}

fn v86_int3_ignores_iopl(c: &mut Check) {
    tables();
    snippet!(code: ".code16", "int3", ".code64",);
    let e = v86(code, 0, |_| ());
    c.equal("vector, EIP", (e.vector(), e.eip()), (vector::BP, 1));
    snippet!(into: ".code16", "into", "int3", ".code64",);
    let e = v86(into, 0, |s| s.eflags |= 0x800);
    c.equal("INTO", (e.vector(), e.eip()), (vector::OF, 1));
}

fn v86_io_uses_bitmap_only(c: &mut Check) {
    snippet!(code: ".code16", "in al, 0x80", "int3", ".code64",);
    for (allowed, iopl) in [(false, 3), (true, 0)] {
        let t = tables();
        t.gdt[tss_selector(0) as usize / 8] |= 0xFF;
        for w in 26..60 {
            t.tss[0][w] = if allowed { 0 } else { !0 };
        }
        let e = v86(code, iopl, |_| ());
        c.equal("allowed, vector", (allowed, e.vector()), (allowed, if allowed { vector::BP } else { vector::GP }));
    }
}

fn v86_limit_violation_is_gp_and_ss(c: &mut Check) {
    tables();
    snippet!(word: ".code16", "mov ax, [di]", "int3", ".code64",);
    snippet!(stack: ".code16", "mov bp, di", "mov ax, [bp]", "int3", ".code64",);
    snippet!(push: ".code16", "mov sp, 1", "push ax", "int3", ".code64",);
    let at = |code, di| {
        let e = v86(code, 0, |s| s.regs[7] = di);
        (e.vector(), e.error())
    };
    c.equal("word at FFFF", at(word, 0xFFFF), (vector::GP, 0));
    c.equal("word at FFFE", at(word, 0xFFFE), (vector::BP, 0));
    c.equal("word at SS:FFFF", at(stack, 0xFFFF), (vector::SS, 0));
    c.equal("PUSH with SP 1", at(push, 0), (vector::SS, 0));
}

fn v86_protected_instructions_are_ud_or_gp(c: &mut Check) {
    tables();
    snippet!(arpl: ".byte 0x63, 0xC8",);
    snippet!(lldt: ".byte 0x0F, 0x00, 0xD0",);
    snippet!(lar: ".byte 0x0F, 0x02, 0xC0",);
    snippet!(hlt: ".byte 0xF4",);
    snippet!(mov_cr0: ".byte 0x0F, 0x20, 0xC0",);
    snippet!(lgdt: ".byte 0x0F, 0x01, 0x15",);
    snippet!(clts: ".byte 0x0F, 0x06",);
    for (name, code, v) in [
        ("ARPL", arpl as extern "C" fn(), vector::UD),
        ("LLDT", lldt, vector::UD),
        ("LAR", lar, vector::UD),
        ("HLT", hlt, vector::GP),
        ("MOV CR0", mov_cr0, vector::GP),
        ("LGDT", lgdt, vector::GP),
        ("CLTS", clts, vector::GP),
    ] {
        let e = v86(code, 3, |_| ());
        c.equal(name, (e.vector(), e.error()), (v, 0));
    }
}

fn v86_interrupt_gate_must_lead_to_level_0(c: &mut Check) {
    let t = tables();
    t.idt[0x40] = gate32(stub32(0x40), 0x20 | 3, 14, 3, 0); // code of level 3
    snippet!(code: ".code16", "int 0x40", ".code64",);
    let e = v86(code, 3, |_| ());
    c.equal("vector, error", (e.vector(), e.error()), (vector::GP, 0x20));
    // A gate of level below 3 is #GP with the IDT bit.
    let t = tables();
    t.idt[0x40] = gate32(stub32(0x40), 0x18, 14, 0, 0);
    let e = v86(code, 3, |_| ());
    c.equal("gate of level 0", (e.vector(), e.error()), (vector::GP, 0x40 << 3 | 2));
}

fn v86_iret_from_level_0_restores_all_segments(c: &mut Check) {
    tables();
    snippet!(code: ".code16", "mov ax, es", "mov bx, ds", "mov cx, fs", "mov dx, gs", "int3", ".code64",);
    let e = v86(code, 0, |s| (s.es, s.ds, s.fs, s.gs) = (1, 2, 3, 4));
    c.equal("ES, DS, FS, GS", [0, 3, 1, 2].map(|r| e.reg(r) & 0xFFFF), [1, 2, 3, 4]);
}

const VIF: u32 = 1 << 19;
const VIP: u32 = 1 << 20;

/// The tables with an interrupt redirection bitmap before the I/O map; bit `n` of the map is set when `redirected`.
fn vme_tables(vector: u8, through_gate: bool) {
    let t = tables();
    // I/O map base 88H: the 32 bytes below are the redirection bitmap.
    t.tss[0][25] = 0x88 << 16;
    t.gdt[tss_selector(0) as usize / 8] |= 0xFF;
    for w in 26..34 {
        t.tss[0][w] = !0;
    }
    t.tss[0][34] = !0;
    if !through_gate {
        t.tss[0][26 + vector as usize / 32] &= !(1 << (vector % 32));
    }
}

/// Virtual-8086 mode with CR4.VME.
fn vme(code: extern "C" fn(), iopl: u32, flags: u32) -> Event32 {
    v86(code, iopl, |s| {
        s.cr4 |= 1;
        s.eflags |= flags;
    })
}

fn vme_int_with_bit_clear_uses_8086_handler(c: &mut Check) {
    if !c.needs(features::VME) {
        return;
    }
    let entry = (0x40u64 * 4) as *mut u32;
    let usual = unsafe { core::hint::black_box(entry).read_volatile() };
    // The 8086 handler at 1000:0030 is INT3.
    unsafe { core::hint::black_box(entry).write_volatile(0x1000_0030) };
    snippet!(code: ".code16", "int 0x40", ".code64",);
    for iopl in [0, 3] {
        vme_tables(0x40, false);
        place_16(0x30, &[0xCC]);
        place(code);
        place_16(0x30, &[0xCC]);
        let mut s = State32::virtual_8086(0x1000, 0, 0x2000, iopl);
        s.cr4 |= 1;
        s.eflags |= VIF | 0x201;
        let e = run32(&s);
        c.equal("vector, CS, IP", (e.vector(), e.cs(), e.eip()), (vector::BP, 0x1000, 0x31));
        let frame = [0xFFDA, 0xFFDC, 0xFFDE].map(data16);
        c.equal("IP, CS", (frame[0], frame[1]), (2, 0x1000));
        c.equal("FLAGS: IF, IOPL, CF", frame[2] & 0x3201, 0x3201);
        // With IOPL 3 IF itself is cleared, else VIF.
        let cleared = if iopl == 3 { 0x200 } else { VIF };
        c.equal("interrupt flag in the 8086 handler", e.eflags() & cleared, 0);
    }
    unsafe { core::hint::black_box(entry).write_volatile(usual) };
}

fn vme_int_with_bit_set_uses_gate(c: &mut Check) {
    if !c.needs(features::VME) {
        return;
    }
    snippet!(code: ".code16", "int 0x7F", ".code64",);
    vme_tables(0x7F, true);
    let e = vme(code, 3, 0);
    c.equal("IOPL 3", (e.vector(), e.eip()), (DONE, 2));
    let e = vme(code, 0, 0);
    c.equal("IOPL 0", (e.vector(), e.error()), (vector::GP, 0));
}

fn vme_cli_sti_change_vif(c: &mut Check) {
    if !c.needs(features::VME) {
        return;
    }
    vme_tables(0, true);
    let e = vme(s_cli, 0, VIF | 0x200);
    c.equal("CLI", (e.vector(), e.eflags() & (VIF | 0x200)), (vector::BP, 0x200));
    let e = vme(s_sti, 0, 0);
    c.equal("STI", (e.vector(), e.eflags() & (VIF | 0x200)), (vector::BP, VIF));
    let e = vme(s_sti, 3, 0);
    c.equal("STI with IOPL 3", (e.vector(), e.eflags() & (VIF | 0x200)), (vector::BP, 0x200));
}

fn vme_sti_with_vip_is_gp(c: &mut Check) {
    if !c.needs(features::VME) {
        return;
    }
    vme_tables(0, true);
    let e = vme(s_sti, 0, VIP);
    c.equal("vector, error, EIP", (e.vector(), e.error(), e.eip()), (vector::GP, 0, 0));
}

fn vme_pushf_popf_show_vif_as_if(c: &mut Check) {
    if !c.needs(features::VME) {
        return;
    }
    vme_tables(0, true);
    snippet!(pushf: ".code16", "pushf", "pop ax", "int3", ".code64",);
    let e = vme(pushf, 0, VIF);
    c.equal("PUSHF: IF from VIF, IOPL 3", (e.vector(), e.reg(0) & 0x3200), (vector::BP, 0x3200));
    let e = vme(pushf, 0, 0x200);
    c.equal("PUSHF: VIF clear", e.reg(0) & 0x3200, 0x3000);
    let e = vme(s_popf, 0, 0);
    c.equal("POPF sets VIF, not IF", (e.vector(), e.eflags() & (VIF | 0x3200)), (vector::BP, VIF));
    snippet!(pushfd: ".code16", "pushfd", "int3", ".code64",);
    let e = vme(pushfd, 0, 0);
    c.equal("PUSHFD", (e.vector(), e.error()), (vector::GP, 0));
}

fn vme_popf_with_tf_is_gp(c: &mut Check) {
    if !c.needs(features::VME) {
        return;
    }
    vme_tables(0, true);
    snippet!(code: ".code16", "push 0x102", "popf", "int3", ".code64",);
    let e = vme(code, 0, 0);
    c.equal("TF", (e.vector(), e.error(), e.eip()), (vector::GP, 0, 3));
    let e = vme(s_popf, 0, VIP);
    c.equal("IF with VIP", (e.vector(), e.error()), (vector::GP, 0));
}

fn vme_iret_restores_vif(c: &mut Check) {
    if !c.needs(features::VME) {
        return;
    }
    vme_tables(0, true);
    place(s_iret);
    place_16(0x20, &[0xCC]);
    let mut s = State32::virtual_8086(0x1000, 0, 0x2000, 0);
    s.cr4 |= 1;
    let e = run32(&s);
    c.equal("vector, IP, flags", (e.vector(), e.eip(), e.eflags() & (VIF | 0x200)), (vector::BP, 0x21, VIF));
}
