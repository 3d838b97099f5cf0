//! When and where x87 and SIMD floating-point exceptions are reported.
//! Intel SDM volume 1, "x87 FPU Exception Handling", "SIMD Floating-Point Exceptions"; volume 3, "Interrupt 16", "Interrupt 19".

use crate::access::expect_fault;
use bare_metal_runtime::context::reg;
use bare_metal_runtime::control::*;
use bare_metal_runtime::exceptions::{DONE, vector};
use bare_metal_runtime::framework::Check;
use bare_metal_runtime::paging;
use bare_metal_runtime::{Context, run, snippet, tests};

tests! {
    mf_is_reported_by_next_waiting_instruction,
    mf_is_not_reported_by_non_waiting_instructions,
    mf_of_faulting_operand_comes_before_page_fault,
    mf_with_ne_clear_raises_no_exception_16,
    mf_comes_after_nm,
    fnsave_fninit_clear_pending_exception,
    fwait_reports_pending_exception,
    mmx_reports_pending_exception,
    fldcw_unmasking_makes_exception_pending,
    x87_pointers_name_the_faulting_instruction,
    xm_is_reported_by_instruction_itself,
    xm_without_osxmmexcpt_is_ud,
    xm_leaves_destination_unchanged,
    xm_of_page_crossing_operand_comes_after_page_fault,
}

/// Unmasks zero divide and divides by zero.
macro_rules! pending {
    () => {
        "fninit\n push 0x37B\n fldcw word ptr [rsp]\n pop rax\n fld1\n fldz\n fdivp"
    };
}

fn mf_is_reported_by_next_waiting_instruction(c: &mut Check) {
    snippet!(code: pending!(), "nop", "mov ebx, 1", ".global x87_waiting", "x87_waiting: fld1",);
    unsafe extern "C" {
        static x87_waiting: u8;
    }
    let f = run(&Context::kernel(code));
    c.equal("vector, error, RBX", (f.vector, f.error, f.regs[reg::RBX]), (vector::MF, 0, 1));
    c.equal("RIP", f.rip, &raw const x87_waiting as u64);
    c.equal("status: ES, ZE", f.fsw() & 0x84, 0x84);
}

fn mf_is_not_reported_by_non_waiting_instructions(c: &mut Check) {
    snippet!(stsw: pending!(), "fnstsw ax",);
    snippet!(stcw: pending!(), "fnstcw word ptr [rsp - 8]",);
    snippet!(clex: pending!(), "fnclex", "fld1",);
    snippet!(stenv: pending!(), "fnstenv [rsp - 64]",);
    snippet!(fxsave: pending!(), "mov rdi, rsp", "and rdi, -16", "fxsave64 [rdi - 1024]",);
    for (name, code) in [
        ("FNSTSW", stsw as extern "C" fn()),
        ("FNSTCW", stcw),
        ("FNCLEX", clex),
        ("FNSTENV", stenv),
        ("FXSAVE", fxsave),
    ] {
        c.equal(name, run(&Context::kernel(code)).vector, DONE);
    }
}

fn mf_of_faulting_operand_comes_before_page_fault(c: &mut Check) {
    snippet!(code: pending!(), "fld qword ptr [rdi]",);
    expect_fault(c, "FLD", Some(run(&Context::kernel(code).with(reg::RDI, paging::TEST_BASE))), vector::MF, 0);
}

fn mf_with_ne_clear_raises_no_exception_16(c: &mut Check) {
    // The error goes to the FERR# pin and from there to IRQ 13, which is masked here: with IGNNE# inactive the
    // processor would stop until an interrupt, so only the first half is looked at.
    snippet!(code: "mov rax, cr0", "and eax, ~0x20", "mov cr0, rax", pending!(), "fnstsw ax", "fnclex",);
    let f = run(&Context::kernel(code));
    c.equal("vector, ES", (f.vector, f.regs[reg::RAX] & 0x80), (DONE, 0x80));
}

fn mf_comes_after_nm(c: &mut Check) {
    snippet!(code: pending!(), "mov rax, cr0", "or eax, 8", "mov cr0, rax", "fld1",);
    c.equal("vector", run(&Context::kernel(code)).vector, vector::NM);
}

fn fnsave_fninit_clear_pending_exception(c: &mut Check) {
    snippet!(save: pending!(), "fnsave [rsp - 256]", "fld1",);
    snippet!(init: pending!(), "fninit", "fld1",);
    for code in [save as extern "C" fn(), init] {
        c.equal("vector", run(&Context::kernel(code)).vector, DONE);
    }
}

fn fwait_reports_pending_exception(c: &mut Check) {
    snippet!(code: pending!(), "fwait",);
    c.equal("vector", run(&Context::kernel(code)).vector, vector::MF);
}

fn mmx_reports_pending_exception(c: &mut Check) {
    snippet!(code: pending!(), "pxor mm0, mm0",);
    c.equal("PXOR", run(&Context::kernel(code)).vector, vector::MF);
    snippet!(emms: pending!(), "emms",);
    c.equal("EMMS", run(&Context::kernel(emms)).vector, vector::MF);
    snippet!(sse: pending!(), "pxor xmm0, xmm0", "fnclex",);
    c.equal("SSE does not", run(&Context::kernel(sse)).vector, DONE);
}

fn fldcw_unmasking_makes_exception_pending(c: &mut Check) {
    // The exception is raised masked; unmasking it later makes it pending.
    snippet!(code: "fninit", "fld1", "fldz", "fdivp", "push 0x37B", "fldcw word ptr [rsp]", "pop rax", "fnstsw ax", "mov ebx, 1", "fld1",);
    let f = run(&Context::kernel(code));
    c.equal("vector, ES, RBX", (f.vector, f.regs[reg::RAX] & 0x80, f.regs[reg::RBX]), (vector::MF, 0x80, 1));
}

fn x87_pointers_name_the_faulting_instruction(c: &mut Check) {
    snippet!(code: "fninit", "push 0x37B", "fldcw word ptr [rsp]", "pop rax", "fld1", "fldz",
        ".global x87_divide", "x87_divide: fdivr qword ptr [rdi]", "nop", "fnstcw word ptr [rsp - 8]", "fwait",);
    unsafe extern "C" {
        static x87_divide: u8;
    }
    let page = paging::new_page();
    page.0[0] = 1f64.to_bits();
    let address = paging::physical(page);
    let f = run(&Context::kernel(code).with(reg::RDI, address));
    c.equal("vector", f.vector, vector::MF);
    let pointer = |i: usize| f.fx[i] as u64 | (f.fx[i + 1] as u64) << 32;
    c.equal("instruction pointer", pointer(2), &raw const x87_divide as u64);
    c.equal("data pointer", pointer(4), address);
    c.equal("opcode: DC 3F without its five high bits", f.fx[1] >> 16, 0x43F);
}

snippet!(divide: "ldmxcsr [rsi]", "movapd xmm1, [rdi]", "xorps xmm0, xmm0", "divpd xmm1, xmm0", "nop",);

/// MXCSR with zero divide unmasked, and two ones.
fn operands() -> (u64, u64) {
    let page = paging::new_page();
    page.0[0] = 1f64.to_bits();
    page.0[1] = 1f64.to_bits();
    page.0[2] = 0x1D80;
    let address = paging::physical(page);
    (address, address + 16)
}

fn xm_is_reported_by_instruction_itself(c: &mut Check) {
    unsafe { write_cr4(read_cr4() | 1 << 10) };
    let (data, mxcsr) = operands();
    let start = Context::kernel(divide).with(reg::RDI, data).with(reg::RSI, mxcsr);
    let f = run(&start);
    c.equal("vector, error", (f.vector, f.error), (vector::XM, 0));
    c.equal("RIP", f.rip - start.rip, 3 + 4 + 3);
    c.equal("MXCSR", f.mxcsr(), 0x1D84);
}

fn xm_without_osxmmexcpt_is_ud(c: &mut Check) {
    // The stub's own CR4 has the bit set: the code clears it.
    snippet!(code: "mov rax, cr4", "and eax, ~0x400", "mov cr4, rax", "ldmxcsr [rsi]", "movapd xmm1, [rdi]", "xorps xmm0, xmm0", "divpd xmm1, xmm0",);
    let (data, mxcsr) = operands();
    let f = run(&Context::kernel(code).with(reg::RDI, data).with(reg::RSI, mxcsr));
    c.equal("vector", f.vector, vector::UD);
}

fn xm_leaves_destination_unchanged(c: &mut Check) {
    bare_metal_runtime::exceptions::set_handler(vector::XM, Some(|frame| frame.rip += 4));
    snippet!(code: "ldmxcsr [rsi]", "movapd xmm1, [rdi]", "xorps xmm0, xmm0", "divpd xmm1, xmm0", "movq rax, xmm1",);
    let (data, mxcsr) = operands();
    let f = run(&Context::kernel(code).with(reg::RDI, data).with(reg::RSI, mxcsr));
    c.equal("vector, XMM1", (f.vector, f.regs[reg::RAX]), (DONE, 1f64.to_bits()));
}

fn xm_of_page_crossing_operand_comes_after_page_fault(c: &mut Check) {
    snippet!(code: "ldmxcsr [rsi]", "movapd xmm1, [rdi]", "divpd xmm1, [rdx]",);
    let (data, mxcsr) = operands();
    let f = run(&Context::kernel(code).with(reg::RDI, data).with(reg::RSI, mxcsr).with(reg::RDX, paging::TEST_BASE));
    c.equal("vector, CR2", (f.vector, f.cr2), (vector::PF, paging::TEST_BASE));
}
