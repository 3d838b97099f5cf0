//! Code that changes while it may be cached: by itself, through aliases, across pages, by paging, by another processor.
//! Intel SDM volume 3, "Handling Self- and Cross-Modifying Code", "Self-Modifying Code".

use bare_metal_runtime::context::reg;
use bare_metal_runtime::control::invlpg;
use bare_metal_runtime::exceptions::DONE;
use bare_metal_runtime::framework::Check;
use bare_metal_runtime::paging::{self, P, Size, TEST_BASE, U, W};
use bare_metal_runtime::{Context, processors, run, snippet, tests};
use core::sync::atomic::{AtomicU64, Ordering};

tests! {
    store_to_next_instruction_takes_effect,
    store_into_immediate_of_later_instruction_takes_effect,
    store_through_alias_takes_effect,
    store_across_code_page_boundary_takes_effect,
    instruction_across_pages_changed_in_second_page_takes_effect,
    rep_stos_over_following_code_takes_effect,
    loop_that_patches_itself_sees_each_value,
    locked_store_to_code_takes_effect,
    push_onto_code_takes_effect,
    code_page_remapped_runs_new_page,
    same_page_at_two_addresses_runs_alike,
    code_written_between_runs_takes_effect,
    data_beside_code_keeps_its_values,
    code_changed_by_another_processor_takes_effect,
}

const CODE: u64 = TEST_BASE;

/// Two writable pages of code at [`CODE`], and a second mapping of them behind.
fn code_pages() {
    for i in 0..2 {
        let page = paging::physical(paging::new_page());
        paging::map(CODE + i * 4096, page, P | W | U, Size::Page4K);
        paging::map(CODE + 0x10000 + i * 4096, page, P | W | U, Size::Page4K);
    }
}

/// Copies a snippet (up to 128 bytes of it) to an address and makes a context that begins there.
fn placed(code: extern "C" fn(), at: u64) -> Context {
    let from = code as usize as *const u8;
    unsafe { core::ptr::copy_nonoverlapping(from, at as *mut u8, 128) };
    let mut context = Context::kernel(code);
    context.rip = at;
    context
}

fn result(context: &Context) -> (u8, u64) {
    let f = run(context);
    (f.vector, f.regs[reg::RAX])
}

fn store_to_next_instruction_takes_effect(c: &mut Check) {
    code_pages();
    // The store changes MOV EAX, 1 right behind it into MOV EAX, 2.
    snippet!(code: "mov byte ptr [rip + 2f + 1], 2", "2: mov eax, 1",);
    for _ in 0..3 {
        c.equal("vector, RAX", result(&placed(code, CODE)), (DONE, 2));
    }
    // The whole next instruction: MOV EAX, 1 becomes XOR EAX, EAX and INC EAX twice (31 C0 FF C0 90).
    snippet!(whole: "mov dword ptr [rip + 2f], 0xC0FFC031", "2: mov eax, 0x90000001", "inc eax",);
    c.equal("vector, RAX", result(&placed(whole, CODE)), (DONE, 2));
}

fn store_into_immediate_of_later_instruction_takes_effect(c: &mut Check) {
    code_pages();
    snippet!(code: "mov dword ptr [rip + 2f + 1], 0x55", "nop", "nop", "mov ecx, 3", "3: dec ecx", "jnz 3b", "2: mov eax, 1",);
    c.equal("vector, RAX", result(&placed(code, CODE)), (DONE, 0x55));
}

fn store_through_alias_takes_effect(c: &mut Check) {
    code_pages();
    snippet!(code: "mov byte ptr [rdi + 4], 9", "2: mov eax, 1",);
    // The store is 4 bytes long; the immediate's first byte is at 5.
    let start = placed(code, CODE).with(reg::RDI, CODE + 0x10000 + 1);
    c.equal("vector, RAX", result(&start), (DONE, 9));
}

fn store_across_code_page_boundary_takes_effect(c: &mut Check) {
    code_pages();
    // MOV EAX, imm32 with its immediate across the boundary; one store changes it in both pages.
    snippet!(code: "mov dword ptr [rdi], 0x44332211", "mov eax, 0x01020304",);
    let at = CODE + 4096 - 6 - 3;
    let start = placed(code, at).with(reg::RDI, at + 7);
    c.equal("vector, RAX", result(&start), (DONE, 0x4433_2211));
}

fn instruction_across_pages_changed_in_second_page_takes_effect(c: &mut Check) {
    code_pages();
    snippet!(code: "mov eax, 0x01020304",);
    let at = CODE + 4096 - 2;
    let start = placed(code, at);
    c.equal("before", result(&start), (DONE, 0x0102_0304));
    unsafe { ((CODE + 4096 + 2) as *mut u8).write_volatile(0x77) };
    c.equal("second page", result(&start), (DONE, 0x7702_0304));
    unsafe { ((CODE + 4096 - 1) as *mut u8).write_volatile(0x88) };
    c.equal("first page", result(&start), (DONE, 0x7702_0388));
    // The second page is exchanged for another.
    let other = paging::new_page();
    other.0[0] = u64::from_le_bytes([0xAA, 0xBB, 0xCC, 0xCD, DONE, 0, 0, 0]);
    paging::map(CODE + 4096, paging::physical(other), P | W, Size::Page4K);
    c.equal("second page exchanged", result(&start), (DONE, 0xCCBB_AA88));
}

fn rep_stos_over_following_code_takes_effect(c: &mut Check) {
    code_pages();
    // Fills the eight bytes behind with NOPs: the two instructions there disappear.
    snippet!(code: "mov al, 0x90", "mov ecx, 8", "lea rdi, [rip + 2f]", "xor ebx, ebx", "rep stosb", "2: mov ebx, 1", ".byte 0x48, 0xFF, 0xC3", "mov eax, ebx",);
    c.equal("vector, RAX", result(&placed(code, CODE)), (DONE, 0));
}

fn loop_that_patches_itself_sees_each_value(c: &mut Check) {
    code_pages();
    snippet!(code: "xor ebx, ebx", "mov ecx, 200", "2: mov [rip + 3f + 1], ecx", "nop", "3: mov eax, 0", "add ebx, eax", "dec ecx", "jnz 2b", "mov eax, ebx",);
    c.equal("vector, sum of 1 to 200", result(&placed(code, CODE)), (DONE, 20100));
}

fn locked_store_to_code_takes_effect(c: &mut Check) {
    code_pages();
    snippet!(code: "lock add dword ptr [rip + 2f + 1], 5", "2: mov eax, 1", "lea rdx, [rip + 2b + 1]",);
    c.equal("LOCK ADD", result(&placed(code, CODE)), (DONE, 6));
    snippet!(xchg: "mov ecx, 0x66", "xchg [rip + 2f + 1], ecx", "2: mov eax, 1",);
    c.equal("XCHG", result(&placed(xchg, CODE)), (DONE, 0x66));
    snippet!(sse: "movdqu xmm0, [rsi]", "movdqu [rdi], xmm0", "2: mov eax, 1",);
    // The 16 bytes replace MOV EAX, 1 and what follows.
    let page = paging::new_page();
    page.0[0] = u64::from_le_bytes([0xB8, 0x34, 0x12, 0, 0, 0xCD, DONE, 0x90]);
    let start = placed(sse, CODE).with(reg::RSI, paging::physical(page)).with(reg::RDI, CODE + 8);
    c.equal("MOVDQU", result(&start), (DONE, 0x1234));
}

fn push_onto_code_takes_effect(c: &mut Check) {
    code_pages();
    // The stack lies over the code: PUSH writes MOV EAX, 7 / NOPs over MOV EAX, 1.
    snippet!(code: "mov rdx, rsp", "lea rsp, [rip + 2f + 8]", "mov rax, 0x90909000000007B8", "push rax", "2: mov eax, 1", "nop", "nop", "nop", "mov rsp, rdx",);
    c.equal("vector, RAX", result(&placed(code, CODE)), (DONE, 7));
}

snippet!(give_1: "mov eax, 1",);
snippet!(give_2: "mov eax, 2",);

fn code_page_remapped_runs_new_page(c: &mut Check) {
    code_pages();
    let start = placed(give_1, CODE);
    placed(give_2, CODE + 4096);
    c.equal("first", result(&start), (DONE, 1));
    let second = *paging::entry(CODE + 4096, 1).expect("mapped");
    let first = *paging::entry(CODE, 1).expect("mapped");
    for _ in 0..5 {
        paging::set_entry(CODE, 1, second);
        c.equal("other page", result(&start), (DONE, 2));
        paging::set_entry(CODE, 1, first);
        c.equal("back", result(&start), (DONE, 1));
    }
}

fn same_page_at_two_addresses_runs_alike(c: &mut Check) {
    code_pages();
    // The same bytes at two addresses see different RIPs.
    snippet!(code: "lea rax, [rip]",);
    let mut start = placed(code, CODE);
    c.equal("first", result(&start), (DONE, CODE + 7));
    start.rip = CODE + 0x10000;
    c.equal("second", result(&start), (DONE, CODE + 0x10000 + 7));
}

fn code_written_between_runs_takes_effect(c: &mut Check) {
    code_pages();
    let start = placed(give_1, CODE);
    for value in 0..100u32 {
        unsafe { ((CODE + 1) as *mut u32).write_unaligned(value) };
        c.equal("value", result(&start), (DONE, value as u64));
    }
}

fn data_beside_code_keeps_its_values(c: &mut Check) {
    code_pages();
    // Counts in a word of its own page, thousands of times: slow for a machine that throws its translations away, but right.
    snippet!(code: "mov ecx, 3000", "2: inc dword ptr [rip + 3f + 2]", "dec ecx", "jnz 2b", "mov eax, [rip + 3f + 2]", "3: jmp 4f", ".long 0", "4: nop",);
    c.equal("vector, RAX", result(&placed(code, CODE)), (DONE, 3000));
    // INVLPG of the code page in between changes nothing.
    unsafe { invlpg(CODE) };
    c.equal("again", result(&placed(code, CODE)), (DONE, 3000));
}

fn code_changed_by_another_processor_takes_effect(c: &mut Check) {
    if processors::start_all() < 2 {
        c.skip("one processor");
        return;
    }
    static WHERE: AtomicU64 = AtomicU64::new(0);
    let page = paging::new_page();
    let at = paging::physical(page);
    WHERE.store(at, Ordering::Relaxed);
    let start = placed(give_1, at);
    for value in 1..20u64 {
        processors::post(
            1,
            |value| unsafe { ((WHERE.load(Ordering::Relaxed) + 1) as *mut u32).write_unaligned(value as u32) },
            value,
        );
        c.that("work is done", processors::wait(1));
        // A serializing instruction, as the manual asks for cross-modifying code.
        core::hint::black_box(bare_metal_runtime::control::cpuid(0, 0));
        c.equal("value", result(&start), (DONE, value));
    }
}
