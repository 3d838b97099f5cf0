//! Task switches in 32-bit protected mode. Intel SDM volume 3, "Task Management", "Task Switching".

use bare_metal_runtime::context::address_of;
use bare_metal_runtime::descriptors::{CODE32, DATA, USER_DATA, segment};
use bare_metal_runtime::exceptions::{DONE, vector};
use bare_metal_runtime::framework::Check;
use bare_metal_runtime::legacy::*;
use bare_metal_runtime::{paging, snippet, tests};

tests! {
    jmp_to_tss_switches_and_moves_busy,
    call_to_tss_nests_and_iret_returns,
    task_gate_leads_to_its_tss,
    task_gate_privilege_is_its_own,
    interrupt_through_task_gate_nests,
    exception_through_task_gate_pushes_error_code_on_new_stack,
    switch_saves_registers_in_old_tss,
    switch_sets_cr0_ts,
    jmp_to_busy_tss_is_gp,
    jmp_to_absent_tss_is_np,
    short_tss_limit_is_ts,
    tss_selector_in_ldt_is_gp,
    tss_dpl_below_cpl_is_gp,
    new_task_with_null_cs_is_ts,
    new_task_with_absent_cs_is_np,
    new_task_with_bad_ss_is_ts_or_ss,
    new_task_with_bad_data_segment_is_ts,
    new_task_with_bad_ldt_is_ts,
    new_task_with_eip_beyond_limit_is_gp,
    iret_to_tss_that_is_not_busy_is_ts,
    debug_trap_flag_traps_in_new_task,
    switch_to_16_bit_tss_loads_words,
    switch_to_level_3_task_uses_its_stack,
    switch_with_paging_loads_cr3,
    ldt_of_new_task_is_loaded,
}

// Doubleword indices in a 32-bit TSS.
const LINK: usize = 0;
const CR3: usize = 7;
const EIP: usize = 8;
const EFLAGS: usize = 9;
const EAX: usize = 10;
const ESP: usize = 14;
const ES: usize = 18;
const CS: usize = 19;
const SS: usize = 20;
const DS: usize = 21;
const FS: usize = 22;
const LDT: usize = 24;
const TRAP: usize = 25;

const OLD: u16 = tss_selector(0);
const NEW: u16 = tss_selector(1);
const NT: u32 = 1 << 14;

snippet!(in_new: ".code32", "mov ebx, 0x99", ".code64",);
snippet!(jmp: ".code32", "jmp fword ptr [edi]", "mov edx, 0x77", ".code64",);
snippet!(call: ".code32", "call fword ptr [edi]", "mov edx, 0x77", ".code64",);

/// The tables, with a second task that runs a snippet at level 0.
fn two_tasks(code: extern "C" fn()) -> &'static mut Tables32 {
    let t = tables();
    let new = &mut t.tss[1];
    new[EIP] = address_of(code) as u32;
    new[EFLAGS] = 2;
    new[EAX] = 0xA0;
    new[EAX + 1] = 0xC0;
    new[ESP] = stack32(1);
    new[CS] = CODE32 as u32;
    for s in [ES, SS, DS] {
        new[s] = DATA as u32;
    }
    t
}

fn far(offset: u32, selector: u16) -> u32 {
    let page = paging::new_page();
    page.0[0] = offset as u64 | (selector as u64) << 32;
    paging::physical(page) as u32
}

/// The state of the first task, about to transfer to a selector.
fn to(code: extern "C" fn(), selector: u16) -> State32 {
    State32::flat(code).with(7, far(0xDEAD_BEEF, selector))
}

/// Bit 1 of the type of a TSS descriptor.
fn busy(t: &Tables32, selector: u16) -> bool {
    unsafe { (&raw const t.gdt[selector as usize / 8]).read_volatile() >> 41 & 1 != 0 }
}

fn word(t: &Tables32, task: usize, index: usize) -> u32 {
    unsafe { (&raw const t.tss[task][index]).read_volatile() }
}

fn jmp_to_tss_switches_and_moves_busy(c: &mut Check) {
    let t = two_tasks(in_new);
    t.tss[1][LINK] = 0x5A5A;
    let e = run32(&to(jmp, NEW));
    c.equal("vector, TR", (e.vector(), e.tr as u16), (DONE, NEW));
    c.equal("EAX, ECX, EBX", [0, 1, 3].map(|r| e.reg(r)), [0xA0, 0xC0, 0x99]);
    c.equal("busy: old, new", (busy(t, OLD), busy(t, NEW)), (false, true));
    c.equal("NT", e.eflags() & NT, 0);
    c.equal("link of the new task", word(t, 1, LINK), 0x5A5A);
    c.equal("ESP", e.handler_esp_at_entry() + 12, stack32(1));
}

fn call_to_tss_nests_and_iret_returns(c: &mut Check) {
    let t = two_tasks(in_new);
    let e = run32(&to(call, NEW));
    c.equal("vector, TR", (e.vector(), e.tr as u16), (DONE, NEW));
    c.equal("busy: old, new", (busy(t, OLD), busy(t, NEW)), (true, true));
    c.equal("NT, link", (e.eflags() & NT, word(t, 1, LINK) as u16), (NT, OLD));
    snippet!(back: ".code32", "mov eax, 0x55", "iretd", "mov eax, 0x66", ".code64",);
    let t = two_tasks(back);
    let s = to(call, NEW);
    let e = run32(&s);
    c.equal("vector, TR", (e.vector(), e.tr as u16), (DONE, OLD));
    c.equal("EDX of the code behind CALL", e.reg(2), 0x77);
    c.equal("busy: old, new", (busy(t, OLD), busy(t, NEW)), (true, false));
    c.equal("NT now, NT saved", (e.eflags() & NT, word(t, 1, EFLAGS) & NT), (0, 0));
    c.equal(
        "EAX and EIP saved in the task left",
        (word(t, 1, EAX), word(t, 1, EIP)),
        (0x55, address_of(back) as u32 + 6),
    );
}

fn task_gate_leads_to_its_tss(c: &mut Check) {
    for code in [jmp as extern "C" fn(), call] {
        let t = two_tasks(in_new);
        t.gdt[FREE32 as usize / 8] = gate32(0, NEW, 5, 0, 0);
        let e = run32(&to(code, FREE32));
        c.equal("vector, TR", (e.vector(), e.tr as u16), (DONE, NEW));
        c.equal("busy", (busy(t, NEW), e.reg(3)), (true, 0x99));
    }
    let t = two_tasks(in_new);
    t.gdt[FREE32 as usize / 8] = gate32(0, NEW, 5, 0, 0) & !(1 << 47);
    let e = run32(&to(jmp, FREE32));
    c.equal("absent gate", (e.vector(), e.error()), (vector::NP, FREE32 as u32));
    t.gdt[FREE32 as usize / 8] = gate32(0, DATA, 5, 0, 0);
    let e = run32(&to(jmp, FREE32));
    c.equal("gate to data", (e.vector(), e.error()), (vector::GP, DATA as u32));
}

fn task_gate_privilege_is_its_own(c: &mut Check) {
    let mut s = State32::user(jmp);
    let t = two_tasks(in_new);
    s.regs[7] = far(0, FREE32 | 3);
    t.gdt[FREE32 as usize / 8] = gate32(0, NEW, 5, 3, 0);
    let e = run32(&s);
    c.equal("gate of level 3", (e.vector(), e.tr as u16), (DONE, NEW));
    let t = two_tasks(in_new);
    s.regs[7] = far(0, FREE32 | 3);
    t.gdt[FREE32 as usize / 8] = gate32(0, NEW, 5, 2, 0);
    let e = run32(&s);
    c.equal("gate of level 2", (e.vector(), e.error()), (vector::GP, FREE32 as u32));
}

fn interrupt_through_task_gate_nests(c: &mut Check) {
    let t = two_tasks(in_new);
    t.idt[0x40] = gate32(0, NEW, 5, 0, 0);
    snippet!(int: ".code32", "int 0x40", "nop", ".code64",);
    let s = State32::flat(int);
    let e = run32(&s);
    c.equal("vector, TR, NT", (e.vector(), e.tr as u16, e.eflags() & NT), (DONE, NEW, NT));
    c.equal("link", word(t, 1, LINK) as u16, OLD);
    c.equal("EIP saved", word(t, 0, EIP), s.eip + 2);
    c.equal("nothing is pushed", e.handler_esp_at_entry() + 12, stack32(1));
}

fn exception_through_task_gate_pushes_error_code_on_new_stack(c: &mut Check) {
    let t = two_tasks(in_new);
    t.idt[13] = gate32(0, NEW, 5, 0, 0);
    snippet!(gp: ".code32", "mov eax, 0xFFF8", "mov ds, eax", ".code64",);
    let s = State32::flat(gp);
    let e = run32(&s);
    c.equal("vector, TR", (e.vector(), e.tr as u16), (DONE, NEW));
    c.equal("ESP", e.handler_esp_at_entry() + 12, stack32(1) - 4);
    c.equal("error code", e.pushed(3), 0xFFF8);
    c.equal("EIP saved: the faulting instruction", word(t, 0, EIP), s.eip + 5);
}

fn switch_saves_registers_in_old_tss(c: &mut Check) {
    let t = two_tasks(in_new);
    let mut s = to(jmp, NEW);
    s.fs = USER_DATA as u32;
    s.eflags |= 0x8D5;
    for (i, r) in [0, 1, 2, 3, 5, 6].into_iter().enumerate() {
        s.regs[r] = 0x1000 + i as u32;
    }
    run32(&s);
    let saved = [EAX, EAX + 1, EAX + 2, EAX + 3, EAX + 5, EAX + 6].map(|i| word(t, 0, i));
    c.equal("registers", saved, [0x1000, 0x1001, 0x1002, 0x1003, 0x1004, 0x1005]);
    c.equal("ESP", word(t, 0, ESP), s.regs[4]);
    c.equal("EIP", word(t, 0, EIP), s.eip + 2);
    c.equal("EFLAGS", word(t, 0, EFLAGS) & 0x8D5, 0x8D5);
    let selectors = [CS, SS, DS, ES, FS].map(|i| word(t, 0, i) as u16);
    c.equal("CS, SS, DS, ES, FS", selectors, [CODE32, DATA, DATA, DATA, USER_DATA]);
    c.equal("fixed fields stay", (word(t, 0, 1), word(t, 0, LDT)), (stack32(0), 0));
}

fn switch_sets_cr0_ts(c: &mut Check) {
    two_tasks(in_new);
    let e = run32(&to(jmp, NEW));
    c.equal("CR0.TS", e.cr0 & 8, 8);
}

/// The exceptions of a task switch, each with a task of its own as its handler: the new task's segments can not be
/// relied upon (the manual asks for task gates there).
const HANDLED: [(u8, usize); 4] = [(vector::TS, 2), (vector::NP, 3), (vector::SS, 4), (vector::GP, 5)];

/// Vector and error code of a JMP to the second task with its descriptor or TSS changed, and the task in which it was
/// reported. A switch that succeeds gives [`DONE`], 0 and the new task.
fn broken(change: impl FnOnce(&mut Tables32)) -> (u8, u32, u16) {
    let t = two_tasks(in_new);
    for (v, task) in HANDLED {
        t.tss[task] = t.tss[1];
        t.tss[task][ESP] = stack32(2);
        t.idt[v as usize] = gate32(0, tss_selector(task as u16), 5, 0, 0);
    }
    change(t);
    let e = run32(&to(jmp, NEW));
    match HANDLED.iter().find(|&&(_, task)| e.tr as u16 == tss_selector(task as u16)) {
        Some(&(v, task)) => (v, e.pushed(3), word(t, task, LINK) as u16),
        None => (e.vector(), e.error(), e.tr as u16),
    }
}

fn jmp_to_busy_tss_is_gp(c: &mut Check) {
    let got = broken(|t| t.gdt[NEW as usize / 8] |= 1 << 41);
    c.equal("vector, error, TR", got, (vector::GP, NEW as u32, OLD));
    two_tasks(in_new);
    let e = run32(&to(call, OLD));
    c.equal("CALL of itself", (e.vector(), e.error()), (vector::GP, OLD as u32));
}

fn jmp_to_absent_tss_is_np(c: &mut Check) {
    let got = broken(|t| t.gdt[NEW as usize / 8] &= !(1 << 47));
    c.equal("vector, error, TR", got, (vector::NP, NEW as u32, OLD));
}

fn short_tss_limit_is_ts(c: &mut Check) {
    let got = broken(|t| t.gdt[NEW as usize / 8] = t.gdt[NEW as usize / 8] & !0xFFFF | 0x66);
    c.equal("vector, error, TR", got, (vector::TS, NEW as u32, OLD));
}

fn tss_selector_in_ldt_is_gp(c: &mut Check) {
    let t = two_tasks(in_new);
    t.ldt[1] = t.gdt[NEW as usize / 8];
    let mut s = to(jmp, 1 << 3 | 4);
    s.ldtr = LDT32 as u32;
    let e = run32(&s);
    c.equal("vector, error", (e.vector(), e.error()), (vector::GP, 1 << 3 | 4));
}

fn tss_dpl_below_cpl_is_gp(c: &mut Check) {
    two_tasks(in_new);
    let mut s = State32::user(jmp);
    s.regs[7] = far(0, NEW | 3);
    let e = run32(&s);
    c.equal("vector, error", (e.vector(), e.error()), (vector::GP, NEW as u32));
}

fn new_task_with_null_cs_is_ts(c: &mut Check) {
    c.equal("null", broken(|t| t.tss[1][CS] = 0), (vector::TS, 0, NEW));
    c.equal("data", broken(|t| t.tss[1][CS] = DATA as u32), (vector::TS, DATA as u32, NEW));
    c.equal("beyond the GDT", broken(|t| t.tss[1][CS] = 0xFFF8), (vector::TS, 0xFFF8, NEW));
    // Code of level 3 with RPL 0.
    c.equal("DPL is not RPL", broken(|t| t.tss[1][CS] = 0x20), (vector::TS, 0x20, NEW));
}

fn new_task_with_absent_cs_is_np(c: &mut Check) {
    let got = broken(|t| {
        t.gdt[FREE32 as usize / 8] = segment(0, 0xF_FFFF, 0x1B, 0xC);
        t.tss[1][CS] = FREE32 as u32;
    });
    c.equal("vector, error, TR", got, (vector::NP, FREE32 as u32, NEW));
}

fn new_task_with_bad_ss_is_ts_or_ss(c: &mut Check) {
    c.equal("null", broken(|t| t.tss[1][SS] = 0), (vector::TS, 0, NEW));
    c.equal("code", broken(|t| t.tss[1][SS] = CODE32 as u32), (vector::TS, CODE32 as u32, NEW));
    c.equal("beyond the GDT", broken(|t| t.tss[1][SS] = 0xFFF8), (vector::TS, 0xFFF8, NEW));
    c.equal("of level 3", broken(|t| t.tss[1][SS] = USER_DATA as u32), (vector::TS, USER_DATA as u32 & !3, NEW));
    let absent = broken(|t| {
        t.gdt[FREE32 as usize / 8] = segment(0, 0xF_FFFF, 0x13, 0xC);
        t.tss[1][SS] = FREE32 as u32;
    });
    c.equal("absent", absent, (vector::SS, FREE32 as u32, NEW));
}

fn new_task_with_bad_data_segment_is_ts(c: &mut Check) {
    for s in [ES, DS, FS, FS + 1] {
        c.equal("beyond the GDT", broken(|t| t.tss[1][s] = 0xFFF8), (vector::TS, 0xFFF8, NEW));
        let absent = broken(|t| {
            t.gdt[FREE32 as usize / 8] = segment(0, 0xF_FFFF, 0x13, 0xC);
            t.tss[1][s] = FREE32 as u32;
        });
        c.equal("absent", absent, (vector::NP, FREE32 as u32, NEW));
        c.equal("null is allowed", broken(|t| t.tss[1][s] = 0).0, DONE);
    }
}

fn new_task_with_bad_ldt_is_ts(c: &mut Check) {
    c.equal("data", broken(|t| t.tss[1][LDT] = DATA as u32), (vector::TS, DATA as u32, NEW));
    let absent = broken(|t| {
        t.gdt[FREE32 as usize / 8] = segment(0, 0x67, 0x02, 0);
        t.tss[1][LDT] = FREE32 as u32;
    });
    c.equal("absent", absent, (vector::TS, FREE32 as u32, NEW));
}

fn new_task_with_eip_beyond_limit_is_gp(c: &mut Check) {
    let got = broken(|t| {
        t.gdt[FREE32 as usize / 8] = segment(0, 0xFF, 0x9B, 4);
        t.tss[1][CS] = FREE32 as u32;
    });
    c.equal("vector, error, TR", got, (vector::GP, 0, NEW));
}

fn iret_to_tss_that_is_not_busy_is_ts(c: &mut Check) {
    let t = two_tasks(in_new);
    t.tss[0][LINK] = NEW as u32;
    snippet!(iret: ".code32", "pushfd", "or dword ptr [esp], 0x4000", "popfd", "iretd", ".code64",);
    let e = run32(&State32::flat(iret));
    c.equal("vector, error", (e.vector(), e.error()), (vector::TS, NEW as u32));
}

fn debug_trap_flag_traps_in_new_task(c: &mut Check) {
    let t = two_tasks(in_new);
    t.tss[1][TRAP] |= 1;
    let e = run32(&to(jmp, NEW));
    c.equal("vector, EIP", (e.vector(), e.eip()), (vector::DB, address_of(in_new) as u32));
    c.equal("DR6.BT", e.dr6 & 0x8000, 0x8000);
    unsafe { bare_metal_runtime::control::write_dr6(0xFFFF_0FF0) };
}

fn switch_to_16_bit_tss_loads_words(c: &mut Check) {
    // The upper halves of the registers are undefined after such a switch.
    snippet!(small: ".code32", "movzx esp, sp", "mov ebx, 0x99", ".code64",);
    let t = two_tasks(small);
    // 16-bit TSS: IP at 14, FLAGS, AX, CX, DX, BX, SP, BP, SI, DI, ES, CS, SS, DS, LDT. Code within reach of IP.
    let words = unsafe { &mut *(&raw mut t.tss[1] as *mut [u16; 128]) };
    words.fill(0);
    t.gdt[FREE32 as usize / 8] = segment(address_of(small) as u32, 0xFFFF, 0x9B, 4);
    t.gdt[FREE32 as usize / 8 + 1] = segment(stack32(1) - 512, 0x1FF, 0x93, 4);
    words[8] = 2;
    words[9] = 0x1234;
    words[13] = 0x100;
    words[17] = DATA;
    words[18] = FREE32;
    words[19] = FREE32 + 8;
    words[20] = DATA;
    t.gdt[NEW as usize / 8] = segment(&raw const t.tss[1] as u32, 43, 0x81, 0);
    let e = run32(&to(jmp, NEW));
    c.equal("vector, TR, AX, EBX", (e.vector(), e.tr as u16, e.reg(0) & 0xFFFF, e.reg(3)), (DONE, NEW, 0x1234, 0x99));
}

fn switch_to_level_3_task_uses_its_stack(c: &mut Check) {
    let t = two_tasks(in_new);
    let new = &mut t.tss[1];
    new[CS] = 0x23;
    for s in [ES, SS, DS] {
        new[s] = USER_DATA as u32;
    }
    new[ESP] = stack32(3);
    // Its own level-0 stack, for the interrupt that ends it.
    new[1] = stack32(2);
    let e = run32(&to(jmp, NEW));
    c.equal("vector, CS", (e.vector(), e.cs()), (DONE, 0x23));
    c.equal("pushed ESP", e.pushed(3), stack32(3));
    c.equal("handler's stack", e.handler_esp_at_entry(), stack32(2) - 20);
}

fn switch_with_paging_loads_cr3(c: &mut Check) {
    let t = two_tasks(in_new);
    let directory = || {
        let page = paging::new_page();
        let entries = unsafe { &mut *(page as *mut paging::Page as *mut [u32; 1024]) };
        for i in 0..1024u32 {
            entries[i as usize] = i << 22 | 0xE7;
        }
        entries.as_ptr() as u32
    };
    let (old, new) = (directory(), directory());
    t.tss[1][CR3] = new;
    let mut s = to(jmp, NEW);
    (s.cr0, s.cr3, s.cr4) = (0x8001_0033, old, 0x610);
    let e = run32(&s);
    c.equal("vector, CR3", (e.vector(), e.cr3), (DONE, new));
    c.equal("CR3 is not saved", word(t, 0, CR3), 0);
}

fn ldt_of_new_task_is_loaded(c: &mut Check) {
    let t = two_tasks(in_new);
    t.ldt[2] = segment(0, 0xF_FFFF, 0x93, 0xC);
    t.tss[1][LDT] = LDT32 as u32;
    t.tss[1][FS] = 2 << 3 | 4;
    let e = run32(&to(jmp, NEW));
    c.equal("vector, LDTR, FS", (e.vector(), e.ldtr as u16, e.segment(4)), (DONE, LDT32, 2 << 3 | 4));
}
