//! Debug exceptions: breakpoint instructions, single step, code, data and I/O breakpoints, DR6 and DR7.
//! Intel SDM volume 3, "Debug, Branch Profile, TSC, and Intel Resource Director Technology Features".

use crate::access::*;
use bare_metal_runtime::context::reg;
use bare_metal_runtime::control::*;
use bare_metal_runtime::descriptors::Shared;
use bare_metal_runtime::exceptions::{DONE, Fault, Frame, set_handler, vector};
use bare_metal_runtime::framework::Check;
use bare_metal_runtime::paging::{self, TEST_BASE};
use bare_metal_runtime::{Context, catch, run, snippet, tests};
use core::arch::asm;

tests! {
    single_step_traps_after_one_instruction,
    single_step_set_by_popf_traps_after_next_instruction,
    single_step_through_code_stops_at_each_instruction,
    single_step_over_rep_traps_after_each_iteration,
    single_step_of_software_interrupt_is_not_taken,
    single_step_of_faulting_instruction_is_not_taken,
    single_step_after_mov_ss_is_deferred,
    single_step_after_sti_is_taken,
    single_step_of_taken_jump_stops_at_target,
    single_step_cleared_by_popf_still_traps,
    int1_leaves_dr6,
    code_breakpoint_faults_before_instruction,
    code_breakpoint_with_rf_executes,
    code_breakpoint_comes_before_fetch_fault,
    code_breakpoint_needs_first_byte,
    code_breakpoint_of_other_length_never_matches_data,
    data_breakpoint_on_write_traps_after_instruction,
    data_breakpoint_on_access_sees_reads,
    data_breakpoint_lengths_match_overlapping_accesses,
    data_breakpoint_in_rep_movs_traps_after_iteration,
    data_breakpoint_of_faulting_store_is_not_taken,
    data_breakpoint_on_pushed_stack_traps,
    data_breakpoint_and_single_step_report_together,
    data_breakpoint_of_mov_ss_is_deferred,
    io_breakpoint_traps_after_out,
    io_breakpoint_without_de_is_undefined_encoding,
    general_detect_faults_on_access_and_is_cleared,
    dr6_bs_stays_until_software_clears_it,
    dr4_dr5_alias_without_de_and_are_ud_with_it,
    dr6_dr7_upper_halves_are_gp,
    dr6_dr7_fixed_bits_read_as_documented,
    breakpoint_of_local_and_global_enable_both_work,
}

const TF: u64 = 1 << 8;
const RF: u64 = 1 << 16;
const BS: u64 = 1 << 14;
const BD: u64 = 1 << 13;
/// DR6's bits that report something.
const REPORTS: u64 = 0xE00F;

/// DR7's fields of a breakpoint: what (0 execute, 1 write, 2 I/O, 3 access), length code (0, 1, 3 and 2 for 1, 2, 4, 8 bytes).
fn dr7(n: u64, what: u64, length: u64) -> u64 {
    0x400 | 1 << (n * 2) | what << (16 + n * 4) | length << (18 + n * 4)
}

unsafe fn arm(address: u64, what: u64, length: u64) {
    write_dr6(0xFFFF_0FF0);
    write_dr0(address);
    write_dr7(dr7(0, what, length));
}

unsafe fn disarm() {
    write_dr7(0x400);
}

snippet!(c_nops: "nop", "nop", "nop",);
snippet!(c_store: "mov dword ptr [rdi], eax", "nop",);
snippet!(c_load: "mov eax, dword ptr [rdi]", "nop",);

fn single_step_traps_after_one_instruction(c: &mut Check) {
    unsafe { write_dr6(0xFFFF_0FF0) };
    let start = Context::kernel(c_nops).flags(TF);
    let f = run(&start);
    c.equal("vector, RIP", (f.vector, f.rip - start.rip), (vector::DB, 1));
    c.equal("DR6", f.dr6 & REPORTS, BS);
    c.equal("TF, RF pushed", (f.rflags & TF, f.rflags & RF), (TF, 0));
    c.equal("TF in the handler", f.handler_rflags & TF, 0);
}

fn single_step_set_by_popf_traps_after_next_instruction(c: &mut Check) {
    snippet!(code: "pushfq", "or dword ptr [rsp], 0x100", "popfq", "mov eax, 1", "mov eax, 2",);
    let f = run(&Context::kernel(code));
    c.equal("vector, RAX", (f.vector, f.regs[reg::RAX]), (vector::DB, 1));
}

struct Steps {
    count: usize,
    at: [u64; 64],
    rcx: [u64; 64],
    rf: [bool; 64],
}
static STEPS: Shared<Steps> = Shared::new(Steps { count: 0, at: [0; 64], rcx: [0; 64], rf: [false; 64] });

fn record_step(frame: &mut Frame) {
    let steps = unsafe { &mut *STEPS.get() };
    if steps.count < 64 {
        steps.at[steps.count] = frame.rip;
        steps.rcx[steps.count] = frame.regs[reg::RCX];
        steps.rf[steps.count] = frame.rflags & RF != 0;
    }
    steps.count += 1;
}

/// Runs with every #DB recorded and returned from.
fn run_recording(context: &Context) -> (Fault, &'static Steps) {
    unsafe { (*STEPS.get()).count = 0 };
    set_handler(vector::DB, Some(record_step));
    let f = run(context);
    set_handler(vector::DB, None);
    (f, unsafe { &*STEPS.get() })
}

fn single_step_through_code_stops_at_each_instruction(c: &mut Check) {
    snippet!(code: "mov ecx, 2", "2: dec ecx", "jnz 2b", "push rax", "call 3f", "3: add rsp, 16",);
    let start = Context::kernel(code).flags(TF);
    let (f, steps) = run_recording(&start);
    c.equal("vector", f.vector, DONE);
    let at = [5, 7, 5, 7, 9, 10, 15, 19];
    c.equal("steps", steps.count, at.len());
    for (i, offset) in at.iter().enumerate() {
        c.equal("stop", steps.at[i].wrapping_sub(start.rip), *offset);
    }
}

fn single_step_over_rep_traps_after_each_iteration(c: &mut Check) {
    snippet!(code: "rep movsb", "nop",);
    let page = paging::physical(paging::new_page());
    let start = Context::kernel(code).with(reg::RCX, 3).with(reg::RSI, page).with(reg::RDI, page + 64).flags(TF);
    let (_, steps) = run_recording(&start);
    c.equal("steps", steps.count, 4);
    c.equal("stops", [0, 1, 2, 3].map(|i| steps.at[i] - start.rip), [0, 0, 2, 3]);
    c.equal("RCX", [0, 1, 2].map(|i| steps.rcx[i]), [2, 1, 0]);
    // RF is set in what is pushed after any iteration but the last.
    c.equal("RF", [0, 1, 2].map(|i| steps.rf[i]), [true, true, false]);
}

fn single_step_of_software_interrupt_is_not_taken(c: &mut Check) {
    snippet!(code: "int 0x40",);
    let f = run(&Context::kernel(code).flags(TF));
    c.equal("vector", f.vector, 0x40);
    c.equal("TF in the handler", f.handler_rflags & TF, 0);
    // And none is pending after a return to code without TF.
    set_handler(0x40, Some(|frame| frame.rflags &= !TF));
    let f = run(&Context::kernel(code).flags(TF));
    set_handler(0x40, None);
    c.equal("after IRET", f.vector, DONE);
}

fn single_step_of_faulting_instruction_is_not_taken(c: &mut Check) {
    unsafe { write_dr6(0xFFFF_0FF0) };
    snippet!(code: "ud2",);
    let f = run(&Context::kernel(code).flags(TF));
    c.equal("vector, TF", (f.vector, f.rflags & TF), (vector::UD, TF));
    c.equal("DR6", f.dr6 & REPORTS, 0);
    let f = run(&Context::kernel(c_store).with(reg::RDI, TEST_BASE).flags(TF));
    expect_page_fault(c, "store", Some(f), 2, TEST_BASE);
}

fn single_step_after_mov_ss_is_deferred(c: &mut Check) {
    snippet!(code: "mov ss, eax", "nop", "nop",);
    let start = Context::kernel(code).with(reg::RAX, 0x10).flags(TF);
    let f = run(&start);
    c.equal("vector, RIP", (f.vector, f.rip - start.rip), (vector::DB, 3));
}

fn single_step_after_sti_is_taken(c: &mut Check) {
    snippet!(code: "sti", "nop", "cli",);
    let start = Context::kernel(code).flags(TF);
    let f = run(&start);
    unsafe { cli() };
    c.equal("vector, RIP", (f.vector, f.rip - start.rip), (vector::DB, 1));
}

fn single_step_of_taken_jump_stops_at_target(c: &mut Check) {
    snippet!(code: "jmp 2f", "nop", "nop", "2: nop",);
    let start = Context::kernel(code).flags(TF);
    let f = run(&start);
    c.equal("RIP", f.rip - start.rip, 4);
}

fn single_step_cleared_by_popf_still_traps(c: &mut Check) {
    // TF is looked at as it was when the instruction began.
    snippet!(code: "push 2", "popfq", "nop", "nop",);
    let start = Context::kernel(code).flags(TF);
    let (f, steps) = run_recording(&start);
    c.equal("vector", f.vector, DONE);
    c.equal("steps", steps.count, 2);
    c.equal("last stop", steps.at[1] - start.rip, 3);
}

fn int1_leaves_dr6(c: &mut Check) {
    unsafe { write_dr6(0xFFFF_0FF0) };
    snippet!(code: ".byte 0xF1",);
    let f = run(&Context::kernel(code));
    c.equal("vector", f.vector, vector::DB);
    c.equal("DR6", f.dr6, 0xFFFF_0FF0);
}

fn code_breakpoint_faults_before_instruction(c: &mut Check) {
    snippet!(code: "nop", "mov eax, 1", "nop",);
    let start = Context::kernel(code);
    unsafe { arm(start.rip + 1, 0, 0) };
    let f = run(&start);
    unsafe { disarm() };
    c.equal("vector, RIP, RAX", (f.vector, f.rip - start.rip, f.regs[reg::RAX]), (vector::DB, 1, 0));
    c.equal("DR6", f.dr6 & REPORTS, 1);
    c.equal("RF pushed", f.rflags & RF, 0);
    c.equal("DR7 is kept", read_dr7(), 0x400);
}

fn code_breakpoint_with_rf_executes(c: &mut Check) {
    // A loop over the breakpoint: RF suppresses it for one instruction, not for the next turn.
    snippet!(code: "2: nop", "dec ecx", "jnz 2b",);
    let start = Context::kernel(code).with(reg::RCX, 3).flags(RF);
    unsafe { arm(start.rip, 0, 0) };
    set_handler(
        vector::DB,
        Some(|frame| {
            record_step(frame);
            frame.rflags |= RF;
        }),
    );
    unsafe { (*STEPS.get()).count = 0 };
    let f = run(&start);
    unsafe { disarm() };
    set_handler(vector::DB, None);
    c.equal("vector", f.vector, DONE);
    c.equal("breakpoints", unsafe { (*STEPS.get()).count }, 2);
}

fn code_breakpoint_comes_before_fetch_fault(c: &mut Check) {
    let mut start = Context::kernel(c_nops);
    start.rip = TEST_BASE;
    unsafe { arm(TEST_BASE, 0, 0) };
    let f = run(&start);
    unsafe { disarm() };
    c.equal("vector, RIP", (f.vector, f.rip), (vector::DB, TEST_BASE));
}

fn code_breakpoint_needs_first_byte(c: &mut Check) {
    snippet!(code: "mov eax, 0x90909090", "nop",);
    let start = Context::kernel(code);
    for offset in 1..5 {
        unsafe { arm(start.rip + offset, 0, 0) };
        c.equal("vector", run(&start).vector, DONE);
    }
    unsafe { disarm() };
}

fn code_breakpoint_of_other_length_never_matches_data(c: &mut Check) {
    let page = paging::physical(paging::new_page());
    let start = Context::kernel(c_load).with(reg::RDI, page);
    unsafe { arm(page, 0, 0) };
    let f = run(&start);
    unsafe { disarm() };
    c.equal("vector", f.vector, DONE);
}

fn data_breakpoint_on_write_traps_after_instruction(c: &mut Check) {
    let page = paging::new_page();
    let address = paging::physical(page);
    let start = Context::kernel(c_store).with(reg::RDI, address).with(reg::RAX, 0x55);
    unsafe { arm(address, 1, 3) };
    let f = run(&start);
    unsafe { disarm() };
    c.equal("vector, RIP", (f.vector, f.rip - start.rip), (vector::DB, 2));
    c.equal("DR6", f.dr6 & REPORTS, 1);
    c.equal("stored", unsafe { (&raw const page.0[0]).read_volatile() }, 0x55);
    unsafe { arm(address, 1, 3) };
    let f = run(&Context::kernel(c_load).with(reg::RDI, address));
    unsafe { disarm() };
    c.equal("a read", f.vector, DONE);
}

fn data_breakpoint_on_access_sees_reads(c: &mut Check) {
    let address = paging::physical(paging::new_page());
    for code in [c_load as extern "C" fn(), c_store] {
        unsafe { arm(address, 3, 3) };
        let start = Context::kernel(code).with(reg::RDI, address);
        let f = run(&start);
        unsafe { disarm() };
        c.equal("vector, RIP", (f.vector, f.rip - start.rip), (vector::DB, 2));
    }
}

fn data_breakpoint_lengths_match_overlapping_accesses(c: &mut Check) {
    let base = paging::physical(paging::new_page()) + 64;
    for (bytes, code) in [(1u64, 0u64), (2, 1), (4, 3), (8, 2)] {
        for offset in 0..24u64 {
            let address = base - 8 + offset; // the 4 bytes accessed
            unsafe { arm(base, 1, code) };
            let f = run(&Context::kernel(c_store).with(reg::RDI, address));
            unsafe { disarm() };
            let overlaps = address < base + bytes && base < address + 4;
            if (f.vector == vector::DB) != overlaps {
                c.fail(format_args!(
                    "length {bytes}, access at {}: overlap {overlaps}, vector {}",
                    offset as i64 - 8,
                    f.vector
                ));
            }
        }
    }
    // The low bits of the address that the length covers are ignored.
    unsafe { arm(base + 3, 1, 3) };
    let f = run(&Context::kernel(c_store).with(reg::RDI, base - 3));
    unsafe { disarm() };
    c.equal("address not aligned to the length", f.vector, vector::DB);
}

fn data_breakpoint_in_rep_movs_traps_after_iteration(c: &mut Check) {
    snippet!(code: "rep movsd", "nop",);
    let page = paging::physical(paging::new_page());
    let start = Context::kernel(code).with(reg::RCX, 10).with(reg::RSI, page).with(reg::RDI, page + 1024);
    unsafe { arm(page + 1024 + 12, 1, 3) };
    let f = run(&start);
    unsafe { disarm() };
    c.equal("vector, RIP", (f.vector, f.rip - start.rip), (vector::DB, 0));
    c.equal("RCX, RDI", (f.regs[reg::RCX], f.regs[reg::RDI]), (6, page + 1024 + 16));
    c.equal("RF pushed", f.rflags & RF, RF);
}

fn data_breakpoint_of_faulting_store_is_not_taken(c: &mut Check) {
    unsafe { arm(TEST_BASE, 1, 3) };
    let f = run(&Context::kernel(c_store).with(reg::RDI, TEST_BASE));
    unsafe { disarm() };
    expect_page_fault(c, "store", Some(f), 2, TEST_BASE);
}

fn data_breakpoint_on_pushed_stack_traps(c: &mut Check) {
    snippet!(code: "nop", "push rax", "nop",);
    let start = Context::kernel(code);
    unsafe { arm(start.regs[reg::RSP] - 8, 1, 2) };
    let f = run(&start);
    unsafe { disarm() };
    c.equal("vector, RIP", (f.vector, f.rip - start.rip), (vector::DB, 2));
}

fn data_breakpoint_and_single_step_report_together(c: &mut Check) {
    let address = paging::physical(paging::new_page());
    unsafe {
        arm(address, 1, 3);
        write_dr2(address + 2);
        write_dr7(dr7(0, 1, 3) | dr7(2, 3, 0));
    }
    let f = run(&Context::kernel(c_store).with(reg::RDI, address).flags(TF));
    unsafe { disarm() };
    c.equal("vector, DR6", (f.vector, f.dr6 & REPORTS), (vector::DB, BS | 5));
}

fn data_breakpoint_of_mov_ss_is_deferred(c: &mut Check) {
    let page = paging::new_page();
    page.0[0] = 0x10;
    let address = paging::physical(page);
    snippet!(code: "mov ss, word ptr [rdi]", "nop", "nop",);
    let start = Context::kernel(code).with(reg::RDI, address);
    unsafe { arm(address, 3, 1) };
    let f = run(&start);
    unsafe { disarm() };
    c.equal("vector, RIP", (f.vector, f.rip - start.rip), (vector::DB, 3));
    c.equal("DR6", f.dr6 & REPORTS, 1);
    // A software interrupt right behind is entered first; the debug exception comes at its handler's first instruction.
    snippet!(interrupt: "mov ss, word ptr [rdi]", "int 0x40",);
    unsafe { arm(address, 3, 1) };
    let start = Context::kernel(interrupt).with(reg::RDI, address);
    let f = run(&start);
    unsafe { disarm() };
    c.equal("vector", f.vector, vector::DB);
    c.equal("RIP", f.rip, bare_metal_runtime::exceptions::stub(0x40));
}

fn io_breakpoint_traps_after_out(c: &mut Check) {
    snippet!(code: "nop", "out dx, al", "nop",);
    let start = Context::kernel(code).with(reg::RDX, 0x80);
    unsafe {
        write_cr4(read_cr4() | 8);
        arm(0x80, 2, 0);
        let f = run(&start);
        disarm();
        c.equal("vector, RIP", (f.vector, f.rip - start.rip), (vector::DB, 2));
        c.equal("DR6", f.dr6 & REPORTS, 1);
        arm(0x81, 2, 0);
        let f = run(&start);
        disarm();
        c.equal("another port", f.vector, DONE);
        // Memory at the same number does not match.
        arm(0x1000, 2, 3);
        let f = run(&Context::kernel(c_load).with(reg::RDI, 0x1000));
        disarm();
        c.equal("memory", f.vector, DONE);
    }
}

fn io_breakpoint_without_de_is_undefined_encoding(c: &mut Check) {
    snippet!(code: "out dx, al", "nop",);
    unsafe { arm(0x80, 2, 0) };
    let f = run(&Context::kernel(code).with(reg::RDX, 0x80));
    unsafe { disarm() };
    c.equal("vector", f.vector, DONE);
}

fn general_detect_faults_on_access_and_is_cleared(c: &mut Check) {
    snippet!(read: "nop", "mov rax, dr0",);
    snippet!(write: "nop", "mov dr7, rax",);
    for code in [read as extern "C" fn(), write] {
        let start = Context::kernel(code).with(reg::RAX, 0x400);
        unsafe {
            write_dr6(0xFFFF_0FF0);
            write_dr7(0x2400);
        }
        let f = run(&start);
        let dr7 = read_dr7();
        unsafe { disarm() };
        c.equal("vector, RIP", (f.vector, f.rip - start.rip), (vector::DB, 1));
        c.equal("DR6", f.dr6 & REPORTS, BD);
        c.equal("DR7.GD in the handler", dr7 & 0x2000, 0);
    }
}

fn dr6_bs_stays_until_software_clears_it(c: &mut Check) {
    let address = paging::physical(paging::new_page());
    unsafe {
        arm(address, 1, 3);
        write_dr6(0xFFFF_0FF0 | BS);
    }
    let f = run(&Context::kernel(c_store).with(reg::RDI, address));
    unsafe { disarm() };
    c.equal("DR6", f.dr6 & (BS | 1), BS | 1);
}

fn dr4_dr5_alias_without_de_and_are_ud_with_it(c: &mut Check) {
    snippet!(dr4: ".byte 0x0F, 0x21, 0xE0",); // MOV RAX, DR4
    snippet!(dr5: ".byte 0x0F, 0x21, 0xE8",);
    unsafe { write_dr6(0xFFFF_0FF0) };
    let f = run(&Context::kernel(dr4));
    c.equal("DR4", (f.vector, f.regs[reg::RAX]), (DONE, 0xFFFF_0FF0));
    let f = run(&Context::kernel(dr5));
    c.equal("DR5", (f.vector, f.regs[reg::RAX]), (DONE, 0x400));
    unsafe { write_cr4(read_cr4() | 8) };
    c.equal("DR4 with DE", run(&Context::kernel(dr4)).vector, vector::UD);
    c.equal("DR5 with DE", run(&Context::kernel(dr5)).vector, vector::UD);
}

fn dr6_dr7_upper_halves_are_gp(c: &mut Check) {
    expect_fault(c, "DR6", catch(|| unsafe { write_dr6(1 << 32) }), vector::GP, 0);
    expect_fault(c, "DR7", catch(|| unsafe { write_dr7(1 << 32 | 0x400) }), vector::GP, 0);
    expect_none(c, "DR0", catch(|| unsafe { write_dr0(u64::MAX) }));
    c.equal("DR0", read_dr0(), u64::MAX);
    unsafe { write_dr0(0) };
}

fn dr6_dr7_fixed_bits_read_as_documented(c: &mut Check) {
    unsafe {
        write_dr6(0);
        // Bit 16 (RTM) and bit 11 (bus lock) may be writable where the features exist.
        c.equal("DR6 after writing zeros", read_dr6() & !0x1_0800, 0xFFFE_07F0);
        write_dr6(0xFFFF_FFFF);
        c.equal("DR6 bit 12 stays clear", read_dr6() & 0x1000, 0);
        write_dr6(0xFFFF_0FF0);
        write_dr7(0);
        c.equal("DR7", read_dr7(), 0x400);
        write_dr7(0x400);
    }
    // Reading has no effect on flags that software relies on.
    unsafe { asm!("mov {t}, dr7", t = out(reg) _) };
}

fn breakpoint_of_local_and_global_enable_both_work(c: &mut Check) {
    let address = paging::physical(paging::new_page());
    for n in 0..4u64 {
        for enable in [1, 2, 3, 0] {
            unsafe {
                write_dr6(0xFFFF_0FF0);
                match n {
                    0 => write_dr0(address),
                    1 => write_dr1(address),
                    2 => write_dr2(address),
                    _ => write_dr3(address),
                }
                write_dr7(0x400 | enable << (n * 2) | 1 << (16 + n * 4));
            }
            let f = run(&Context::kernel(c_store).with(reg::RDI, address));
            unsafe { disarm() };
            c.equal("enable, vector", (enable, f.vector), (enable, if enable == 0 { DONE } else { vector::DB }));
            if enable != 0 {
                c.equal("DR6", f.dr6 & REPORTS, 1 << n);
            }
        }
    }
}
