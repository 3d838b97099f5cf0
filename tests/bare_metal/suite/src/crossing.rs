//! Accesses and instructions that fault half way: what they have changed by then, and what they report.
//! Intel SDM volume 3, "Interrupt and Exception Handling", "Restarting Program or Task"; volume 2, "REP/REPE/REPZ/REPNE/REPNZ".

use crate::access::*;
use bare_metal_runtime::context::reg;
use bare_metal_runtime::exceptions::{DONE, Fault, vector};
use bare_metal_runtime::features;
use bare_metal_runtime::framework::Check;
use bare_metal_runtime::paging::*;
use bare_metal_runtime::{Context, run, snippet, tests};

tests! {
    store_crossing_into_absent_page_changes_nothing,
    store_crossing_into_read_only_page_changes_nothing,
    store_crossing_from_absent_page_changes_nothing,
    load_crossing_into_absent_page_changes_nothing,
    wide_save_crossing_into_absent_page_faults_there,
    push_crossing_into_absent_page_keeps_rsp,
    push_memory_with_faulting_source_keeps_rsp,
    pop_memory_with_faulting_destination_keeps_rsp,
    call_with_faulting_push_keeps_rsp_and_rip,
    ret_with_faulting_pop_keeps_rsp,
    enter_with_faulting_push_keeps_rsp_and_rbp,
    enter_whose_final_stack_is_not_writable_faults,
    leave_with_faulting_pop_keeps_rsp_and_rbp,
    rep_movs_fault_in_destination_reports_progress,
    rep_movs_fault_in_source_reports_progress,
    rep_movs_element_across_fault_is_not_written,
    rep_movs_downwards_fault_reports_progress,
    rep_stos_fault_reports_progress,
    rep_lods_fault_reports_progress,
    repe_cmps_fault_reports_progress,
    repne_scas_fault_reports_progress,
    rep_movs_with_32_bit_addresses_clears_upper_halves,
    rep_ins_fault_reports_progress,
    fetch_crossing_into_absent_page_reports_second_page,
    fetch_at_end_of_page_executes_before_fault,
    fetch_of_invalid_opcode_at_end_of_page_is_ud,
    fetch_of_sixteen_bytes_is_gp_before_page_fault,
    cmpxchg16b_misaligned_is_gp,
    movaps_misaligned_is_gp_even_if_absent,
    fault_reports_rf_set,
    jump_to_absent_page_faults_at_target,
    xchg_with_read_only_memory_keeps_register,
    cmpxchg_failing_on_read_only_page_keeps_rax,
    bts_with_register_offset_faults_at_addressed_word,
}

/// The boundary between the two test pages.
const EDGE: u64 = TEST_BASE + 4096;
const PATTERN: u64 = 0x1122_3344_5566_7788;
/// What the registers hold before each snippet.
const VALUE: u64 = 0xA1B2_C3D4_E5F6_0718;

/// Two consecutive pages full of the pattern, both writable; `flags` is for the second or, with `first`, for the first.
fn two_pages() -> &'static mut [u64; 1024] {
    for i in 0..2 {
        let page = new_page();
        map(TEST_BASE + i * 4096, physical(page), P | W | U, Size::Page4K);
    }
    let words = unsafe { &mut *(TEST_BASE as *mut [u64; 1024]) };
    words.fill(PATTERN);
    words
}

/// Gives a page's entry these flags.
fn set_flags(linear: u64, flags: u64) {
    let e = *entry(linear, 1).expect("mapped");
    set_entry(linear, 1, e & !(P | W | U) | flags);
}

/// Makes both pages writable again and says whether they still hold the pattern.
fn untouched() -> bool {
    set_flags(TEST_BASE, P | W);
    set_flags(EDGE, P | W);
    let words = unsafe { &*(TEST_BASE as *const [u64; 1024]) };
    words.iter().all(|&w| w == PATTERN)
}

/// All registers that snippets use hold [`VALUE`] but for RDI, the address.
fn context(code: extern "C" fn(), rdi: u64) -> Context {
    let mut context = Context::kernel(code);
    for r in [reg::RAX, reg::RCX, reg::RDX, reg::RBX, reg::RSI, reg::R8] {
        context.regs[r] = VALUE;
    }
    context.with(reg::RDI, rdi)
}

snippet!(s_mov16: "mov [rdi], ax",);
snippet!(s_mov32: "mov [rdi], eax",);
snippet!(s_mov64: "mov [rdi], rax",);
snippet!(s_imm: "mov qword ptr [rdi], 0x12345678",);
snippet!(s_add: "add [rdi], rax",);
snippet!(s_adc16: "adc [rdi], ax",);
snippet!(s_lock_add: "lock add [rdi], rax",);
snippet!(s_xadd: "lock xadd [rdi], rax",);
snippet!(s_xchg: "xchg [rdi], rax",);
snippet!(s_not: "not qword ptr [rdi]",);
snippet!(s_inc: "inc dword ptr [rdi]",);
snippet!(s_shl: "shl qword ptr [rdi], 3",);
snippet!(s_shld: "shld [rdi], rax, 5",);
snippet!(s_bts: "bts qword ptr [rdi], 40",);
snippet!(s_cmpxchg: "lock cmpxchg [rdi], rcx",);
snippet!(s_cmpxchg8b: "lock cmpxchg8b [rdi]",);
snippet!(s_movnti: "movnti [rdi], rax",);
snippet!(s_movbe: "movbe [rdi], rax",);
snippet!(s_movups: "movups [rdi], xmm0",);
snippet!(s_movdqu: "movdqu [rdi], xmm1",);
snippet!(s_movlps: "movlps [rdi], xmm0",);
snippet!(s_movsd: "movsd [rdi], xmm0",);
snippet!(s_fst32: "fninit", "fld1", "fst dword ptr [rdi]",);
snippet!(s_fst64: "fninit", "fld1", "fst qword ptr [rdi]",);
snippet!(s_fst80: "fninit", "fld1", "fstp tbyte ptr [rdi]",);
snippet!(s_fbstp: "fninit", "fld1", "fbstp [rdi]",);
snippet!(s_fistp: "fninit", "fld1", "fistp qword ptr [rdi]",);
snippet!(s_stosq: "stosq",);
snippet!(s_movsq: "lea rsi, [rsp]", "movsq",);
snippet!(s_sgdt: "sgdt [rdi]",);
snippet!(s_pop: "push rax", "pop qword ptr [rdi]",);

/// Name, code, bytes stored.
type Store = (&'static str, extern "C" fn(), u64);

const STORES: [Store; 31] = [
    ("mov m16", s_mov16, 2),
    ("mov m32", s_mov32, 4),
    ("mov m64", s_mov64, 8),
    ("mov m64, imm", s_imm, 8),
    ("add", s_add, 8),
    ("adc m16", s_adc16, 2),
    ("lock add", s_lock_add, 8),
    ("xadd", s_xadd, 8),
    ("xchg", s_xchg, 8),
    ("not", s_not, 8),
    ("inc", s_inc, 4),
    ("shl", s_shl, 8),
    ("shld", s_shld, 8),
    ("bts", s_bts, 8),
    ("cmpxchg", s_cmpxchg, 8),
    ("cmpxchg8b", s_cmpxchg8b, 8),
    ("movnti", s_movnti, 8),
    ("movbe", s_movbe, 8),
    ("movups", s_movups, 16),
    ("movdqu", s_movdqu, 16),
    ("movlps", s_movlps, 8),
    ("movsd", s_movsd, 8),
    ("fst m32", s_fst32, 4),
    ("fst m64", s_fst64, 8),
    ("fstp m80", s_fst80, 10),
    ("fbstp", s_fbstp, 10),
    ("fistp m64", s_fistp, 8),
    ("stosq", s_stosq, 8),
    ("movsq", s_movsq, 8),
    ("sgdt", s_sgdt, 10),
    ("pop m64", s_pop, 8),
];

fn store_crossing(c: &mut Check, flags: u64, error: u64) {
    two_pages();
    for (name, code, size) in STORES {
        if name == "movbe" && !features::MOVBE.present() {
            continue;
        }
        for before in 1..size {
            set_flags(EDGE, flags);
            let start = context(code, EDGE - before);
            let f = run(&start);
            expect_page_fault(c, name, Some(f), error, EDGE);
            c.equal(name, (f.regs[reg::RDI], f.regs[reg::RAX]), (start.regs[reg::RDI], VALUE));
            if !untouched() {
                c.fail(format_args!("{name}, {before} bytes before the edge: memory has changed"));
                two_pages();
            }
        }
    }
}

fn store_crossing_into_absent_page_changes_nothing(c: &mut Check) {
    store_crossing(c, 0, 2);
}

fn store_crossing_into_read_only_page_changes_nothing(c: &mut Check) {
    store_crossing(c, P, 3);
}

fn store_crossing_from_absent_page_changes_nothing(c: &mut Check) {
    two_pages();
    for (name, code, size) in STORES {
        if name == "movbe" && !features::MOVBE.present() {
            continue;
        }
        for before in 1..size {
            set_flags(TEST_BASE, 0);
            let f = run(&context(code, EDGE - before));
            expect_page_fault(c, name, Some(f), 2, EDGE - before);
            c.that(name, untouched());
        }
    }
}

snippet!(l_mov32: "mov eax, [rdi]",);
snippet!(l_mov64: "mov rax, [rdi]",);
snippet!(l_movzx: "movzx eax, word ptr [rdi]",);
snippet!(l_movsx: "movsxd rax, dword ptr [rdi]",);
snippet!(l_add: "add rax, [rdi]",);
snippet!(l_cmp: "cmp [rdi], rax",);
snippet!(l_imul: "imul rax, [rdi], 7",);
snippet!(l_div: "xor edx, edx", "mul qword ptr [rdi]",);
snippet!(l_cmov: "clc", "cmovc rax, [rdi]",);
snippet!(l_movups: "movups xmm0, [rdi]",);
snippet!(l_fld64: "fninit", "fld qword ptr [rdi]",);
snippet!(l_fld80: "fninit", "fld tbyte ptr [rdi]",);
snippet!(l_fild: "fninit", "fild qword ptr [rdi]",);
snippet!(l_bt: "bt qword ptr [rdi], 3",);
snippet!(l_push: "push qword ptr [rdi]",);
snippet!(l_jmp: "jmp qword ptr [rdi]",);
snippet!(l_lgdt: "lgdt [rdi]",);
snippet!(l_lodsq: "mov rsi, rdi", "lodsq",);

fn load_crossing_into_absent_page_changes_nothing(c: &mut Check) {
    two_pages();
    set_flags(EDGE, 0);
    let loads: [Store; 18] = [
        ("mov r32", l_mov32, 4),
        ("mov r64", l_mov64, 8),
        ("movzx", l_movzx, 2),
        ("movsxd", l_movsx, 4),
        ("add", l_add, 8),
        ("cmp", l_cmp, 8),
        ("imul", l_imul, 8),
        ("mul", l_div, 8),
        ("cmovc, condition false", l_cmov, 8),
        ("movups", l_movups, 16),
        ("fld m64", l_fld64, 8),
        ("fld m80", l_fld80, 10),
        ("fild m64", l_fild, 8),
        ("bt", l_bt, 8),
        ("push m64", l_push, 8),
        ("jmp m64", l_jmp, 8),
        ("lgdt", l_lgdt, 10),
        ("lodsq", l_lodsq, 8),
    ];
    for (name, code, size) in loads {
        for before in 1..size {
            let start = context(code, EDGE - before);
            let f = run(&start);
            expect_page_fault(c, name, Some(f), 0, EDGE);
            c.equal(name, (f.regs[reg::RAX], f.regs[reg::RSP]), (VALUE, start.regs[reg::RSP]));
        }
    }
}

snippet!(w_fxsave: "fxsave64 [rdi]",);
snippet!(w_fnsave: "fnsave [rdi]",);
snippet!(w_fxrstor: "fxrstor64 [rdi]",);

fn wide_save_crossing_into_absent_page_faults_there(c: &mut Check) {
    let words = two_pages();
    words[..512].fill(0);
    set_flags(EDGE, 0);
    for (name, code, error, at) in [
        ("FXSAVE", w_fxsave as extern "C" fn(), 2, EDGE - 256),
        ("FNSAVE", w_fnsave, 2, EDGE - 50),
        ("FXRSTOR", w_fxrstor, 0, EDGE - 256),
    ] {
        let f = run(&context(code, at));
        c.equal(name, (f.vector, f.error, f.cr2 & !0xFFF), (vector::PF, error, EDGE));
    }
}

snippet!(k_push: "push rax",);
snippet!(k_push_memory: "push qword ptr [rdi]",);
snippet!(k_pop_memory: "pop qword ptr [rdi]",);
snippet!(k_call: "call 2f", "2:",);
snippet!(k_ret: "ret",);
snippet!(k_enter: "enter 32, 0",);
snippet!(k_enter_3: "enter 32, 3",);
snippet!(k_enter_large: "enter 0x2000, 0",);
snippet!(k_leave: "leave",);
snippet!(k_pushf: "pushfq",);

/// Runs with RSP in the test pages; the handler gets a stack of its own through an IST, since RSP is the thing tested.
fn run_with_rsp(context: &Context, rsp: u64) -> Fault {
    use bare_metal_runtime::descriptors::idt;
    let (gate_pf, gate_done) = (idt()[14], idt()[DONE as usize]);
    for v in [14, DONE as usize] {
        idt()[v].low |= 2 << 32;
    }
    let f = run(&context.with(reg::RSP, rsp));
    (idt()[14], idt()[DONE as usize]) = (gate_pf, gate_done);
    f
}

fn push_crossing_into_absent_page_keeps_rsp(c: &mut Check) {
    two_pages();
    for (name, code) in [("PUSH", k_push as extern "C" fn()), ("PUSHFQ", k_pushf)] {
        for beyond in 1..8 {
            set_flags(EDGE, 0);
            let f = run_with_rsp(&context(code, 0), EDGE + beyond);
            expect_page_fault(c, name, Some(f), 2, EDGE);
            c.equal("RSP", f.regs[reg::RSP], EDGE + beyond);
            c.that("memory is unchanged", untouched());
        }
        set_flags(TEST_BASE, 0);
        let f = run_with_rsp(&context(code, 0), EDGE);
        expect_page_fault(c, name, Some(f), 2, EDGE - 8);
        c.equal("RSP", f.regs[reg::RSP], EDGE);
        set_flags(TEST_BASE, P | W);
    }
}

fn push_memory_with_faulting_source_keeps_rsp(c: &mut Check) {
    two_pages();
    set_flags(EDGE, 0);
    let f = run_with_rsp(&context(k_push_memory, EDGE + 16), EDGE);
    expect_page_fault(c, "source", Some(f), 0, EDGE + 16);
    c.equal("RSP", f.regs[reg::RSP], EDGE);
}

fn pop_memory_with_faulting_destination_keeps_rsp(c: &mut Check) {
    two_pages();
    set_flags(EDGE, P);
    let f = run_with_rsp(&context(k_pop_memory, EDGE + 16), EDGE - 64);
    expect_page_fault(c, "destination", Some(f), 3, EDGE + 16);
    c.equal("RSP", f.regs[reg::RSP], EDGE - 64);
}

fn call_with_faulting_push_keeps_rsp_and_rip(c: &mut Check) {
    two_pages();
    set_flags(TEST_BASE, P);
    let start = context(k_call, 0);
    let f = run_with_rsp(&start, EDGE);
    expect_page_fault(c, "CALL", Some(f), 3, EDGE - 8);
    c.equal("RSP and RIP", (f.regs[reg::RSP], f.rip), (EDGE, start.rip));
}

fn ret_with_faulting_pop_keeps_rsp(c: &mut Check) {
    two_pages();
    set_flags(EDGE, 0);
    let start = context(k_ret, 0);
    for before in [1, 4, 7] {
        let f = run_with_rsp(&start, EDGE - before);
        expect_page_fault(c, "RET", Some(f), 0, EDGE);
        c.equal("RSP and RIP", (f.regs[reg::RSP], f.rip), (EDGE - before, start.rip));
    }
}

fn enter_with_faulting_push_keeps_rsp_and_rbp(c: &mut Check) {
    let words = two_pages();
    words[1000] = 1;
    set_flags(TEST_BASE, 0);
    // Which of its stores comes first is not said: CR2 is somewhere in the page. Level 0: the push of RBP; level 3: RBP fits, then the second frame pointer does not.
    let f = run_with_rsp(&context(k_enter, 0).with(reg::RBP, VALUE), EDGE);
    c.equal("level 0", (f.vector, f.error, f.cr2 & !0xFFF), (vector::PF, 2, TEST_BASE));
    c.equal("RSP, RBP", (f.regs[reg::RSP], f.regs[reg::RBP]), (EDGE, VALUE));
    let rbp = EDGE + 512;
    let f = run_with_rsp(&context(k_enter_3, 0).with(reg::RBP, rbp), EDGE + 16);
    c.equal("level 3", (f.vector, f.error, f.cr2 & !0xFFF), (vector::PF, 2, TEST_BASE));
    c.equal("RSP, RBP", (f.regs[reg::RSP], f.regs[reg::RBP]), (EDGE + 16, rbp));
}

fn enter_whose_final_stack_is_not_writable_faults(c: &mut Check) {
    two_pages();
    let f = run_with_rsp(&context(k_enter_large, 0).with(reg::RBP, VALUE), EDGE + 16);
    c.equal("vector, error", (f.vector, f.error), (vector::PF, 2));
    c.equal("RSP, RBP", (f.regs[reg::RSP], f.regs[reg::RBP]), (EDGE + 16, VALUE));
}

fn leave_with_faulting_pop_keeps_rsp_and_rbp(c: &mut Check) {
    two_pages();
    set_flags(EDGE, 0);
    let f = run_with_rsp(&context(k_leave, 0).with(reg::RBP, EDGE - 3), TEST_BASE + 512);
    expect_page_fault(c, "LEAVE", Some(f), 0, EDGE);
    c.equal("RSP, RBP", (f.regs[reg::RSP], f.regs[reg::RBP]), (TEST_BASE + 512, EDGE - 3));
}

snippet!(r_movsb: "rep movsb",);
snippet!(r_movsd: "rep movsd",);
snippet!(r_movsq: "rep movsq",);
snippet!(r_movsb_32: "addr32 rep movsb",);
snippet!(r_stosw: "rep stosw",);
snippet!(r_lodsd: "rep lodsd",);
snippet!(r_cmpsb: "repe cmpsb",);
snippet!(r_scasw: "repne scasw",);
snippet!(r_insb: "rep insb",);

/// RCX, RSI, RDI and RIP's distance from the start.
fn progress(f: &Fault, start: &Context) -> [u64; 4] {
    [f.regs[reg::RCX], f.regs[reg::RSI], f.regs[reg::RDI], f.rip - start.rip]
}

fn source() -> u64 {
    let page = new_page();
    for (i, w) in page.0.iter_mut().enumerate() {
        *w = i as u64;
    }
    physical(page)
}

fn rep_movs_fault_in_destination_reports_progress(c: &mut Check) {
    let source = source();
    for (code, size) in [(r_movsb as extern "C" fn(), 1), (r_movsd, 4), (r_movsq, 8)] {
        let words = two_pages();
        set_flags(EDGE, P);
        let start = Context::kernel(code).with(reg::RCX, 100).with(reg::RSI, source).with(reg::RDI, EDGE - 5 * size);
        let f = run(&start);
        expect_page_fault(c, "REP MOVS", Some(f), 3, EDGE);
        c.equal("progress", progress(&f, &start), [95, source + 5 * size, EDGE, 0]);
        let moved = unsafe { core::slice::from_raw_parts((EDGE - 5 * size) as *const u8, 5 * size as usize) };
        let expected = unsafe { core::slice::from_raw_parts(source as *const u8, 5 * size as usize) };
        c.that("elements before the fault are written", moved == expected);
        c.equal("elements after it are not", words[512], PATTERN);
    }
}

fn rep_movs_fault_in_source_reports_progress(c: &mut Check) {
    two_pages();
    set_flags(EDGE, 0);
    let target = physical(new_page());
    let start = Context::kernel(r_movsq).with(reg::RCX, 100).with(reg::RSI, EDGE - 24).with(reg::RDI, target);
    let f = run(&start);
    expect_page_fault(c, "REP MOVSQ", Some(f), 0, EDGE);
    c.equal("progress", progress(&f, &start), [97, EDGE, target + 24, 0]);
}

fn rep_movs_element_across_fault_is_not_written(c: &mut Check) {
    let source = source();
    let words = two_pages();
    set_flags(EDGE, 0);
    let start = Context::kernel(r_movsq).with(reg::RCX, 10).with(reg::RSI, source).with(reg::RDI, EDGE - 19);
    let f = run(&start);
    expect_page_fault(c, "REP MOVSQ", Some(f), 2, EDGE);
    c.equal("progress", progress(&f, &start), [8, source + 16, EDGE - 3, 0]);
    c.equal("last word before the edge", words[511] >> 40, PATTERN >> 40);
}

fn rep_movs_downwards_fault_reports_progress(c: &mut Check) {
    let source = source() + 2048;
    two_pages();
    set_flags(TEST_BASE, P);
    let start =
        Context::kernel(r_movsd).with(reg::RCX, 10).with(reg::RSI, source).with(reg::RDI, EDGE + 8).flags(1 << 10);
    let f = run(&start);
    expect_page_fault(c, "REP MOVSD", Some(f), 3, EDGE - 4);
    c.equal("progress", progress(&f, &start), [7, source - 12, EDGE - 4, 0]);
}

fn rep_stos_fault_reports_progress(c: &mut Check) {
    two_pages();
    set_flags(EDGE, 0);
    let start = Context::kernel(r_stosw).with(reg::RCX, 1000).with(reg::RDI, EDGE - 200);
    let f = run(&start);
    expect_page_fault(c, "REP STOSW", Some(f), 2, EDGE);
    c.equal("progress", progress(&f, &start), [900, 0, EDGE, 0]);
}

fn rep_lods_fault_reports_progress(c: &mut Check) {
    two_pages();
    set_flags(EDGE, 0);
    let start = Context::kernel(r_lodsd).with(reg::RCX, 9).with(reg::RSI, EDGE - 16);
    let f = run(&start);
    expect_page_fault(c, "REP LODSD", Some(f), 0, EDGE);
    c.equal("progress", progress(&f, &start), [5, EDGE, 0, 0]);
    c.equal("EAX", f.regs[reg::RAX], PATTERN >> 32);
}

fn repe_cmps_fault_reports_progress(c: &mut Check) {
    two_pages();
    set_flags(EDGE, 0);
    let start = Context::kernel(r_cmpsb).with(reg::RCX, 100).with(reg::RSI, EDGE - 16).with(reg::RDI, EDGE - 32);
    let f = run(&start);
    expect_page_fault(c, "REPE CMPSB", Some(f), 0, EDGE);
    c.equal("progress", progress(&f, &start), [84, EDGE, EDGE - 16, 0]);
}

fn repne_scas_fault_reports_progress(c: &mut Check) {
    two_pages();
    set_flags(EDGE, 0);
    let start = Context::kernel(r_scasw).with(reg::RCX, 50).with(reg::RDI, EDGE - 20);
    let f = run(&start);
    expect_page_fault(c, "REPNE SCASW", Some(f), 0, EDGE);
    c.equal("progress", progress(&f, &start), [40, 0, EDGE, 0]);
}

fn rep_movs_with_32_bit_addresses_clears_upper_halves(c: &mut Check) {
    let (from, to) = (source(), physical(new_page()));
    let high = 0xFFFF_FFFF_0000_0000;
    let start =
        Context::kernel(r_movsb_32).with(reg::RCX, high | 8).with(reg::RSI, high | from).with(reg::RDI, high | to);
    let f = run(&start);
    c.equal("vector", f.vector, DONE);
    c.equal("registers", (f.regs[reg::RCX], f.regs[reg::RSI], f.regs[reg::RDI]), (0, from + 8, to + 8));
}

fn rep_ins_fault_reports_progress(c: &mut Check) {
    two_pages();
    set_flags(EDGE, 0);
    let start = Context::kernel(r_insb).with(reg::RCX, 10).with(reg::RDX, 0x80).with(reg::RDI, EDGE - 3);
    let f = run(&start);
    expect_page_fault(c, "REP INSB", Some(f), 2, EDGE);
    c.equal("progress", progress(&f, &start), [7, 0, EDGE, 0]);
}

/// Puts code so that `before` of its bytes lie before the edge, and runs it with the second page as it is.
fn run_at_edge(code: &[u8], before: usize) -> Fault {
    let at = EDGE - before as u64;
    let words = unsafe { core::slice::from_raw_parts_mut(TEST_BASE as *mut u8, 4096) };
    let (first, second) = code.split_at(before.min(code.len()));
    words[4096 - before..4096 - before + first.len()].copy_from_slice(first);
    let e = *entry(EDGE, 1).expect("mapped");
    let target = (e & ADDRESS) as *mut u8;
    unsafe { core::ptr::copy_nonoverlapping(second.as_ptr(), target, second.len()) };
    let mut context = Context::kernel(k_ret);
    context.rip = at;
    run(&context)
}

fn fetch_crossing_into_absent_page_reports_second_page(c: &mut Check) {
    two_pages();
    set_flags(EDGE, 0);
    let codes: [&[u8]; 7] = [
        &[0xB8, 1, 2, 3, 4],                               // mov eax, imm32
        &[0x48, 0xB8, 1, 2, 3, 4, 5, 6, 7, 8],             // mov rax, imm64
        &[0x0F, 0x0B],                                     // ud2
        &[0x66, 0x66, 0x66, 0x90],                         // nop with prefixes
        &[0x48, 0x81, 0x84, 0xB8, 0, 1, 0, 0, 4, 3, 2, 1], // add [rax+rdi*4+disp32], imm32
        &[0xEB, 0x00],                                     // jmp
        &[0x66, 0x0F, 0x3A, 0x0F, 0xC1, 3],                // palignr
    ];
    for code in codes {
        for before in 1..code.len() {
            let f = run_at_edge(code, before);
            expect_page_fault(c, "fetch", Some(f), 0x10, EDGE);
            c.equal("RIP", f.rip, EDGE - before as u64);
            c.equal("RAX", f.regs[reg::RAX], 0);
        }
    }
}

fn fetch_at_end_of_page_executes_before_fault(c: &mut Check) {
    two_pages();
    set_flags(EDGE, 0);
    let f = run_at_edge(&[0xB8, 1, 2, 3, 4], 5);
    expect_page_fault(c, "fetch", Some(f), 0x10, EDGE);
    c.equal("RIP, RAX", (f.rip, f.regs[reg::RAX]), (EDGE, 0x0403_0201));
}

fn fetch_of_invalid_opcode_at_end_of_page_is_ud(c: &mut Check) {
    two_pages();
    set_flags(EDGE, 0);
    // PUSH ES has no ModRM byte and no meaning in 64-bit mode.
    let f = run_at_edge(&[0x06], 1);
    c.equal("vector, RIP", (f.vector, f.rip), (vector::UD, EDGE - 1));
}

fn fetch_of_sixteen_bytes_is_gp_before_page_fault(c: &mut Check) {
    two_pages();
    set_flags(EDGE, 0);
    let f = run_at_edge(&[0x66; 15], 15);
    c.equal("15 prefixes", (f.vector, f.error, f.rip), (vector::GP, 0, EDGE - 15));
    let f = run_at_edge(&[0x66; 14], 14);
    expect_page_fault(c, "14 prefixes", Some(f), 0x10, EDGE);
}

snippet!(a_cmpxchg16b: "lock cmpxchg16b [rdi]",);
snippet!(a_movaps: "movaps xmm0, [rdi]",);
snippet!(a_movaps_store: "movaps [rdi], xmm0",);

fn cmpxchg16b_misaligned_is_gp(c: &mut Check) {
    if !c.needs(features::CMPXCHG16B) {
        return;
    }
    two_pages();
    for offset in [1, 4, 8] {
        expect_fault(c, "misaligned", Some(run(&context(a_cmpxchg16b, TEST_BASE + offset))), vector::GP, 0);
    }
    c.equal("aligned", run(&context(a_cmpxchg16b, TEST_BASE)).vector, DONE);
    set_flags(TEST_BASE, P);
    expect_page_fault(c, "read-only", Some(run(&context(a_cmpxchg16b, TEST_BASE))), 3, TEST_BASE);
    c.that("memory is unchanged", untouched());
}

fn movaps_misaligned_is_gp_even_if_absent(c: &mut Check) {
    two_pages();
    set_flags(EDGE, 0);
    for code in [a_movaps as extern "C" fn(), a_movaps_store] {
        expect_fault(c, "misaligned", Some(run(&context(code, EDGE + 8))), vector::GP, 0);
        expect_fault(c, "across the edge", Some(run(&context(code, EDGE - 8))), vector::GP, 0);
    }
    expect_page_fault(c, "aligned", Some(run(&context(a_movaps, EDGE))), 0, EDGE);
}

fn fault_reports_rf_set(c: &mut Check) {
    const RF: u64 = 1 << 16;
    two_pages();
    set_flags(EDGE, 0);
    c.equal("page fault", run(&context(l_mov32, EDGE)).rflags & RF, RF);
    let f = run(&Context::kernel(r_movsq).with(reg::RCX, 9).with(reg::RSI, TEST_BASE).with(reg::RDI, EDGE - 16));
    c.equal("page fault within REP", f.rflags & RF, RF);
    snippet!(ud: "ud2",);
    c.equal("#UD", run(&Context::kernel(ud)).rflags & RF, RF);
    c.equal("INT n", run(&Context::kernel(k_leave_done)).rflags & RF, 0);
}

snippet!(k_leave_done: "nop",);

fn jump_to_absent_page_faults_at_target(c: &mut Check) {
    two_pages();
    set_flags(EDGE, 0);
    snippet!(j_jmp: "jmp rdi",);
    snippet!(j_call: "call rdi",);
    let f = run(&context(j_jmp, EDGE + 5));
    expect_page_fault(c, "JMP", Some(f), 0x10, EDGE + 5);
    c.equal("RIP", f.rip, EDGE + 5);
    // The call itself has completed: its return address is pushed.
    let start = context(j_call, EDGE + 5);
    let f = run(&start);
    expect_page_fault(c, "CALL", Some(f), 0x10, EDGE + 5);
    c.equal("RIP, RSP", (f.rip, f.regs[reg::RSP]), (EDGE + 5, start.regs[reg::RSP] - 8));
}

fn xchg_with_read_only_memory_keeps_register(c: &mut Check) {
    two_pages();
    set_flags(TEST_BASE, P);
    for (name, code) in
        [("XCHG", s_xchg as extern "C" fn()), ("XADD", s_xadd), ("ADD", s_add), ("CMPXCHG8B", s_cmpxchg8b)]
    {
        let f = run(&context(code, TEST_BASE));
        expect_page_fault(c, name, Some(f), 3, TEST_BASE);
        c.equal(name, (f.regs[reg::RAX], f.regs[reg::RDX]), (VALUE, VALUE));
        c.equal("arithmetic flags", f.rflags & 0x8D5, 0);
    }
}

fn cmpxchg_failing_on_read_only_page_keeps_rax(c: &mut Check) {
    two_pages();
    set_flags(TEST_BASE, P);
    let f = run(&context(s_cmpxchg, TEST_BASE));
    expect_page_fault(c, "CMPXCHG", Some(f), 3, TEST_BASE);
    c.equal("RAX", f.regs[reg::RAX], VALUE);
}

fn bts_with_register_offset_faults_at_addressed_word(c: &mut Check) {
    two_pages();
    set_flags(EDGE, 0);
    snippet!(b_bts: "bts qword ptr [rdi], rcx",);
    let f = run(&context(b_bts, TEST_BASE).with(reg::RCX, 4096 * 8 + 64 * 3 + 7));
    expect_page_fault(c, "upwards", Some(f), 2, EDGE + 24);
    set_flags(EDGE, P | W);
    set_flags(TEST_BASE, P);
    let f = run(&context(b_bts, EDGE).with(reg::RCX, (-1i64) as u64));
    expect_page_fault(c, "downwards", Some(f), 3, EDGE - 8);
}
