//! Exceptions: gates, error codes, stacks, the double-fault table, and which of several exceptions comes first.
//! Intel SDM volume 3, "Interrupt and Exception Handling", "Interrupt 8: Double Fault Exception (#DF)",
//! "Priority Among Concurrent Events".

use crate::access::*;
use bare_metal_runtime::context::reg;
use bare_metal_runtime::control::*;
use bare_metal_runtime::descriptors::*;
use bare_metal_runtime::exceptions::{DONE, Fault, stub, vector};
use bare_metal_runtime::features;
use bare_metal_runtime::framework::Check;
use bare_metal_runtime::paging::{self, P, TEST_BASE, U, W};
use bare_metal_runtime::{Context, catch, run, snippet, tests};
use core::arch::asm;

tests! {
    software_interrupts_push_next_rip,
    faults_push_own_rip,
    gate_absent_is_np_with_idt_bit,
    gate_beyond_idt_limit_is_gp_with_idt_bit,
    gate_of_wrong_type_is_gp_with_idt_bit,
    gate_with_bad_code_segment_faults_with_selector,
    gate_with_non_canonical_target_is_gp,
    gate_dpl_below_cpl_is_gp_for_software_interrupts_only,
    interrupt_gate_clears_if_and_trap_gate_keeps_it,
    delivery_clears_tf_nt_rf,
    delivery_aligns_stack_to_16_bytes,
    delivery_on_ist_uses_its_stack,
    delivery_from_level_3_uses_rsp0_and_null_ss,
    delivery_pushes_old_stack_and_flags,
    double_fault_table_contributory_after_contributory_is_df,
    double_fault_table_page_fault_after_contributory_is_serial,
    double_fault_table_any_after_page_fault_is_df,
    double_fault_table_any_after_benign_is_serial,
    external_bit_is_clear_for_software_interrupts,
    opcodes_without_meaning_in_64_bit_mode_are_ud,
    lock_prefix_is_legal_on_memory_writes_only,
    instruction_of_fifteen_bytes_executes,
    instruction_of_sixteen_bytes_is_gp,
    undefined_opcode_comes_before_privilege_and_page_fault,
    device_not_available_depends_on_ts_em_mp,
    sse_without_osfxsr_is_ud_before_nm,
    sse_with_em_is_ud_before_nm,
    nm_comes_before_page_fault,
    segment_register_load_errors,
    mov_to_segment_registers_that_are_not_there_is_ud,
    null_selector_in_ss_is_allowed_at_level_0_only,
    div_errors_are_de,
    into_and_bound_are_ud_in_64_bit_mode,
    rex_prefix_before_another_prefix_is_ignored,
}

snippet!(c_int3: "int3",);
snippet!(c_int40: "int 0x40",);
snippet!(c_int1: ".byte 0xF1",);
snippet!(c_ud2: "ud2",);
snippet!(c_div0: "xor ecx, ecx", "div ecx",);
snippet!(c_load: "mov al, [rdi]",);
snippet!(c_gp: "mov eax, 0x1230", "mov ds, eax",);
snippet!(c_nop: "nop",);

fn software_interrupts_push_next_rip(c: &mut Check) {
    for (name, code, vector, length) in [
        ("INT3", c_int3 as extern "C" fn(), vector::BP, 1),
        ("INT 40H", c_int40, 0x40, 2),
        ("INT1", c_int1, vector::DB, 1),
    ] {
        let start = Context::kernel(code);
        let f = run(&start);
        c.equal(name, (f.vector, f.error, f.rip - start.rip), (vector, 0, length));
    }
}

fn faults_push_own_rip(c: &mut Check) {
    let start = Context::kernel(c_ud2);
    let f = run(&start);
    c.equal("UD2", (f.vector, f.rip), (vector::UD, start.rip));
    let start = Context::kernel(c_div0);
    let f = run(&start);
    c.equal("DIV", (f.vector, f.rip - start.rip), (vector::DE, 2));
}

fn gate_absent_is_np_with_idt_bit(c: &mut Check) {
    idt()[0x40].low &= !(1 << 47);
    let start = Context::kernel(c_int40);
    let f = run(&start);
    c.equal("vector, error, RIP", (f.vector, f.error, f.rip), (vector::NP, 0x40 << 3 | 2, start.rip));
}

fn gate_beyond_idt_limit_is_gp_with_idt_bit(c: &mut Check) {
    let usual = sidt();
    // The last byte of the gate is missing. DONE lies above, so the code must not come to its end.
    unsafe { lidt(&TablePointer { limit: 0x41 * 16 - 2, ..usual }) };
    let f = run(&Context::kernel(c_int40));
    unsafe { lidt(&usual) };
    c.equal("vector, error", (f.vector, f.error), (vector::GP, 0x40 << 3 | 2));
}

fn gate_of_wrong_type_is_gp_with_idt_bit(c: &mut Check) {
    for kind in (0..32).filter(|k| !matches!(k, 14 | 15)) {
        let usual = idt()[0x40];
        idt()[0x40].low = usual.low & !(0x1F << 40) | kind << 40;
        let f = run(&Context::kernel(c_int40));
        idt()[0x40] = usual;
        c.equal("vector, error", (f.vector, f.error), (vector::GP, 0x40 << 3 | 2));
    }
}

fn gate_with_bad_code_segment_faults_with_selector(c: &mut Check) {
    let slot = TEST_SLOT as usize / 8;
    let gates: [(&str, u64, u16, u8, u64); 7] = [
        ("null", 0, 0, vector::GP, 0),
        ("beyond the GDT", 0, 0xFFF8, vector::GP, 0xFFF8),
        ("data", segment(0, 0xF_FFFF, 0x93, 0xC), TEST_SLOT, vector::GP, TEST_SLOT as u64),
        ("32-bit code", segment(0, 0xF_FFFF, 0x9B, 0xC), TEST_SLOT, vector::GP, TEST_SLOT as u64),
        ("code of level 3", segment(0, 0xF_FFFF, 0xFB, 0xA), TEST_SLOT, vector::GP, TEST_SLOT as u64),
        ("L and D", segment(0, 0xF_FFFF, 0x9B, 0xE), TEST_SLOT, vector::GP, TEST_SLOT as u64),
        ("absent", segment(0, 0xF_FFFF, 0x1B, 0xA), TEST_SLOT, vector::NP, TEST_SLOT as u64),
    ];
    for (name, descriptor, selector, vector, error) in gates {
        gdt()[slot] = descriptor;
        let usual = idt()[0x40];
        idt()[0x40] = Gate64::new(stub(0x40), selector, 0, 14, 0);
        let f = run(&Context::kernel(c_int40));
        idt()[0x40] = usual;
        c.equal(name, (f.vector, f.error), (vector, error));
    }
}

fn gate_with_non_canonical_target_is_gp(c: &mut Check) {
    idt()[0x40] = Gate64::new(1 << 62, CODE64, 0, 14, 0);
    let f = run(&Context::kernel(c_int40));
    c.equal("vector, error", (f.vector, f.error), (vector::GP, 0));
}

fn gate_dpl_below_cpl_is_gp_for_software_interrupts_only(c: &mut Check) {
    let _image = paging::UserImage::new();
    let f = run(&Context::user(c_int40));
    c.equal("INT n", (f.vector, f.error), (vector::GP, 0x40 << 3 | 2));
    idt()[3] = Gate64::new(stub(3), CODE64, 0, 14, 0);
    let f = run(&Context::user(c_int3));
    c.equal("INT3", (f.vector, f.error), (vector::GP, 3 << 3 | 2));
    let f = run(&Context::user(c_int1));
    c.equal("INT1", f.vector, vector::DB);
    let f = run(&Context::user(c_ud2));
    c.equal("#UD", f.vector, vector::UD);
}

const IF: u64 = 1 << 9;

fn interrupt_gate_clears_if_and_trap_gate_keeps_it(c: &mut Check) {
    for (kind, expected) in [(14, 0), (15, IF)] {
        idt()[0x40] = Gate64::new(stub(0x40), CODE64, 0, kind, 0);
        let f = run(&Context::kernel(c_int40).flags(IF));
        unsafe { cli() };
        c.equal("vector, IF", (f.vector, f.handler_rflags & IF, f.rflags & IF), (0x40, expected, IF));
    }
}

fn delivery_clears_tf_nt_rf(c: &mut Check) {
    const NT: u64 = 1 << 14;
    // A context that is entered by IRETQ with NT set would fault there: set NT in the code.
    snippet!(with_nt: "pushfq", "or dword ptr [rsp], 0x4000", "popfq", "int 0x40",);
    let f = run(&Context::kernel(with_nt));
    c.equal("vector, NT before and after", (f.vector, f.rflags & NT, f.handler_rflags & NT), (0x40, NT, 0));
    snippet!(with_tf: "pushfq", "or dword ptr [rsp], 0x100", "popfq", "int 0x40",);
    let f = run(&Context::kernel(with_tf));
    c.equal("vector, TF before and after", (f.vector, f.rflags >> 8 & 1, f.handler_rflags >> 8 & 1), (0x40, 1, 0));
}

fn delivery_aligns_stack_to_16_bytes(c: &mut Check) {
    let top = bare_metal_runtime::context::stack_top(false);
    for offset in 0..16 {
        let f = run(&Context::kernel(c_int40).with(reg::RSP, top - offset));
        c.equal("saved RSP", f.regs[reg::RSP], top - offset);
        c.equal("handler's RSP", f.handler_rsp, ((top - offset) & !15) - 40);
        let f = run(&Context::kernel(c_gp).with(reg::RSP, top - offset));
        c.equal("with an error code", f.handler_rsp, ((top - offset) & !15) - 40);
    }
}

fn delivery_on_ist_uses_its_stack(c: &mut Check) {
    let page = paging::physical(paging::new_page());
    let tss = &mut this_processor().tss;
    for ist in 1..=7u8 {
        let saved = tss.ist[ist as usize - 1];
        tss.ist[ist as usize - 1] = page + 4096 - 5;
        idt()[0x40] = Gate64::new(stub(0x40), CODE64, ist, 14, 0);
        let f = run(&Context::kernel(c_int40));
        tss.ist[ist as usize - 1] = saved;
        c.equal("vector", f.vector, 0x40);
        c.equal("handler's RSP", f.handler_rsp, ((page + 4096 - 5) & !15) - 40);
    }
}

fn delivery_from_level_3_uses_rsp0_and_null_ss(c: &mut Check) {
    let _image = paging::UserImage::new();
    idt()[0x40].low |= 3 << 45;
    static SS: Shared<u16> = Shared::new(0xFFFF);
    let start = Context::user(c_int40);
    bare_metal_runtime::exceptions::set_handler(
        0x40,
        Some(|_| unsafe {
            let ss: u16;
            asm!("mov {:x}, ss", out(reg) ss);
            *SS.get() = ss;
        }),
    );
    let f = run(&start);
    c.equal("back at level 3", (f.vector, f.cs), (DONE, USER_CODE64));
    c.equal("SS in the handler", unsafe { *SS.get() }, 0);
    bare_metal_runtime::exceptions::set_handler(0x40, None);
    let f = run(&start);
    c.equal("handler's RSP", f.handler_rsp, (this_processor().tss.rsp[0] & !15) - 40);
}

fn delivery_pushes_old_stack_and_flags(c: &mut Check) {
    let _image = paging::UserImage::new();
    let flags = 0x8D5 | 1 << 21;
    let start = Context::user(c_gp).flags(flags).with(reg::RSP, TEST_BASE + 7);
    let f = run(&start);
    c.equal("vector, error", (f.vector, f.error), (vector::GP, 0x1230));
    c.equal("CS, SS, RSP", (f.cs, f.ss, f.regs[reg::RSP]), (USER_CODE64, USER_DATA, TEST_BASE + 7));
    c.equal("flags", f.rflags & flags, flags);
    c.equal("RIP", f.rip - start.rip, 5);
}

/// How the delivery of a vector is made to fail.
#[derive(Clone, Copy, Debug)]
enum Broken {
    /// The gate is not present: #NP, contributory.
    Gate,
    /// The stack is not mapped: #PF.
    Stack,
    /// The handler's code segment is null: #GP, contributory.
    Segment,
}

/// Breaks a vector's delivery, runs code that raises it, and restores the gate.
fn with_broken(v: u8, how: Broken, code: extern "C" fn()) -> Fault {
    let usual = idt()[v as usize];
    let tss = &mut this_processor().tss;
    tss.ist[6] = TEST_BASE + 8 * 4096;
    match how {
        Broken::Gate => idt()[v as usize].low &= !(1 << 47),
        Broken::Stack => idt()[v as usize].low |= 7 << 32,
        Broken::Segment => idt()[v as usize].low &= !(0xFFFF << 16),
    }
    let f = run(&Context::kernel(code).with(reg::RDI, TEST_BASE + 5));
    idt()[v as usize] = usual;
    f
}

snippet!(c_np: "mov eax, 0x60", "mov ds, eax",);
snippet!(c_ss: "mov rbp, 0x8000000000000000", "mov al, [rbp]",);
snippet!(c_page: "mov al, [rdi]",);
snippet!(c_nm: "mov rax, cr0", "or eax, 8", "mov cr0, rax", "fnop",);

/// Codes that raise the contributory exceptions of 64-bit mode.
fn contributory() -> [(u8, extern "C" fn()); 4] {
    // Data, not present: loading it is #NP.
    gdt()[TEST_SLOT as usize / 8] = segment(0, 0xF_FFFF, 0x13, 0xC);
    [(vector::DE, c_div0), (vector::NP, c_np), (vector::SS, c_ss), (vector::GP, c_gp)]
}

fn double_fault_table_contributory_after_contributory_is_df(c: &mut Check) {
    for (v, code) in contributory() {
        for how in [Broken::Gate, Broken::Segment] {
            let f = with_broken(v, how, code);
            c.equal("vector, error", (f.vector, f.error), (vector::DF, 0));
        }
    }
}

fn double_fault_table_page_fault_after_contributory_is_serial(c: &mut Check) {
    for (v, code) in contributory() {
        let f = with_broken(v, Broken::Stack, code);
        c.equal("vector, error", (f.vector, f.error), (vector::PF, 2));
        c.equal("CR2", f.cr2 & !0xFFF, TEST_BASE + 7 * 4096);
    }
}

fn double_fault_table_any_after_page_fault_is_df(c: &mut Check) {
    for how in [Broken::Gate, Broken::Segment, Broken::Stack] {
        let f = with_broken(vector::PF, how, c_page);
        c.equal("vector, error", (f.vector, f.error), (vector::DF, 0));
    }
    // CR2 is the second page fault's.
    let f = with_broken(vector::PF, Broken::Stack, c_page);
    c.equal("CR2", f.cr2 & !0xFFF, TEST_BASE + 7 * 4096);
}

fn double_fault_table_any_after_benign_is_serial(c: &mut Check) {
    for (v, code) in [(vector::UD, c_ud2 as extern "C" fn()), (vector::NM, c_nm)] {
        let f = with_broken(v, Broken::Gate, code);
        c.equal("#NP", (f.vector, f.error), (vector::NP, (v as u64) << 3 | 3));
        let f = with_broken(v, Broken::Segment, code);
        c.equal("#GP", (f.vector, f.error), (vector::GP, 1));
        let f = with_broken(v, Broken::Stack, code);
        c.equal("#PF", (f.vector, f.error), (vector::PF, 2));
    }
}

fn external_bit_is_clear_for_software_interrupts(c: &mut Check) {
    let f = with_broken(vector::BP, Broken::Gate, c_int3);
    c.equal("INT3", (f.vector, f.error), (vector::NP, 3 << 3 | 2));
    let f = with_broken(0x40, Broken::Segment, c_int40);
    c.equal("INT n", (f.vector, f.error), (vector::GP, 0));
    // INT1 counts as an external event.
    let f = with_broken(vector::DB, Broken::Gate, c_int1);
    c.equal("INT1", (f.vector, f.error), (vector::NP, 1 << 3 | 3));
}

/// Runs bytes as code (followed by INT DONE), with RDI at an absent page.
fn run_bytes(code: &[u8], user: bool) -> Fault {
    let page = paging::new_page();
    let at = paging::TEST_BASE + 16 * 4096;
    paging::map(at, paging::physical(page), P | W | U, paging::Size::Page4K);
    unsafe {
        core::ptr::copy_nonoverlapping(code.as_ptr(), at as *mut u8, code.len());
        core::ptr::copy_nonoverlapping([0xCDu8, DONE].as_ptr(), (at + code.len() as u64) as *mut u8, 2);
    }
    let mut context = if user { Context::user(c_nop) } else { Context::kernel(c_nop) };
    context.rip = at;
    run(&context.with(reg::RDI, paging::TEST_BASE).with(reg::RBX, bare_metal_runtime::context::stack_top(true) - 256))
}

fn opcodes_without_meaning_in_64_bit_mode_are_ud(c: &mut Check) {
    let one_byte =
        [0x06, 0x07, 0x0E, 0x16, 0x17, 0x1E, 0x1F, 0x27, 0x2F, 0x37, 0x3F, 0x60, 0x61, 0xCE, 0xD4, 0xD5, 0xD6];
    for opcode in one_byte {
        let f = run_bytes(&[opcode, 0, 0, 0, 0, 0, 0, 0], false);
        if f.vector != vector::UD {
            c.fail(format_args!("opcode {opcode:#x}: expected vector 6 got {}", f.vector));
        }
        paging::reset();
    }
    let longer: [&[u8]; 14] = [
        &[0x82, 0xC0, 1],          // the alias of group 1
        &[0x9A, 0, 0, 0, 0, 8, 0], // CALL far ptr16:32
        &[0xEA, 0, 0, 0, 0, 8, 0], // JMP far ptr16:32
        &[0x0F, 0x0B],             // UD2
        &[0x0F, 0xB9, 0xC0],       // UD1
        &[0x0F, 0xFF, 0xC0],       // UD0
        &[0x0F, 0x04],             // nothing
        &[0x0F, 0x0A],             // nothing
        &[0x0F, 0xC7, 0xC8],       // CMPXCHG8B with a register
        &[0x0F, 0x01, 0xC8 + 7],   // a hole of group 7
        &[0xFF, 0xF8],             // group 5 /7
        &[0xFE, 0xD0],             // group 4 /2
        &[0xC6, 0xC8, 0],          // group 11 /1
        &[0x8D, 0xC0],             // LEA with a register
    ];
    for code in longer {
        let f = run_bytes(code, false);
        if f.vector != vector::UD {
            c.fail(format_args!("{code:x?}: expected vector 6 got {}", f.vector));
        }
        paging::reset();
    }
}

fn lock_prefix_is_legal_on_memory_writes_only(c: &mut Check) {
    // All at [rdi], which is absent: #UD comes first where LOCK is not legal.
    let legal: [&[u8]; 22] = [
        &[0xF0, 0x01, 0x07],          // add
        &[0xF0, 0x09, 0x07],          // or
        &[0xF0, 0x11, 0x07],          // adc
        &[0xF0, 0x19, 0x07],          // sbb
        &[0xF0, 0x21, 0x07],          // and
        &[0xF0, 0x29, 0x07],          // sub
        &[0xF0, 0x31, 0x07],          // xor
        &[0xF0, 0x83, 0x07, 1],       // add imm8
        &[0xF0, 0xFF, 0x07],          // inc
        &[0xF0, 0xFF, 0x0F],          // dec
        &[0xF0, 0xF7, 0x17],          // not
        &[0xF0, 0xF7, 0x1F],          // neg
        &[0xF0, 0x87, 0x07],          // xchg
        &[0xF0, 0x0F, 0xC1, 0x07],    // xadd
        &[0xF0, 0x0F, 0xB1, 0x07],    // cmpxchg
        &[0xF0, 0x0F, 0xC7, 0x0F],    // cmpxchg8b
        &[0xF0, 0x0F, 0xAB, 0x07],    // bts
        &[0xF0, 0x0F, 0xB3, 0x07],    // btr
        &[0xF0, 0x0F, 0xBB, 0x07],    // btc
        &[0xF0, 0x0F, 0xBA, 0x2F, 1], // bts imm8
        &[0xF0, 0xFE, 0x07],          // inc m8
        &[0xF0, 0x00, 0x07],          // add m8
    ];
    for code in legal {
        let f = run_bytes(code, false);
        if (f.vector, f.error) != (vector::PF, 2) {
            c.fail(format_args!("{code:x?}: expected #PF(2) got vector {} error {:#x}", f.vector, f.error));
        }
        paging::reset();
    }
    let illegal: [&[u8]; 24] = [
        &[0xF0, 0x39, 0x07],             // cmp
        &[0xF0, 0x03, 0x07],             // add r, m
        &[0xF0, 0x01, 0xC0],             // add r, r
        &[0xF0, 0x87, 0xC0],             // xchg r, r
        &[0xF0, 0x89, 0x07],             // mov
        &[0xF0, 0x8B, 0x07],             // mov
        &[0xF0, 0x90],                   // nop
        &[0xF0, 0x83, 0x3F, 1],          // cmp imm8
        &[0xF0, 0xF7, 0x07, 0, 0, 0, 0], // test
        &[0xF0, 0xF7, 0x27],             // mul
        &[0xF0, 0xFF, 0x37],             // push
        &[0xF0, 0xFF, 0x17],             // call
        &[0xF0, 0xD1, 0x27],             // shl
        &[0xF0, 0x0F, 0xA3, 0x07],       // bt
        &[0xF0, 0x0F, 0xBA, 0x27, 1],    // bt imm8
        &[0xF0, 0x0F, 0xBA, 0xE8, 1],    // bts r, imm8
        &[0xF0, 0xA4],                   // movs
        &[0xF0, 0xAB],                   // stos
        &[0xF0, 0x8F, 0x07],             // pop
        &[0xF0, 0xC3],                   // ret
        &[0xF0, 0x0F, 0x11, 0x07],       // movups
        &[0xF0, 0x0F, 0x01, 0x07],       // sgdt
        &[0xF0, 0x0F, 0xAE, 0x07],       // fxsave
        &[0xF0, 0xD9, 0x07],             // fld
    ];
    for code in illegal {
        let f = run_bytes(code, false);
        if f.vector != vector::UD {
            c.fail(format_args!("{code:x?}: expected vector 6 got {} error {:#x}", f.vector, f.error));
        }
        paging::reset();
    }
}

fn instruction_of_fifteen_bytes_executes(c: &mut Check) {
    // Fourteen prefixes and NOP; eleven and MOV EAX, imm16 and so on.
    let mut code = [0x66u8; 15];
    code[14] = 0x90;
    c.equal("NOP", run_bytes(&code, false).vector, DONE);
    paging::reset();
    // ADD qword [rbx+rcx*4+disp32], imm32 is 12 bytes; with three prefixes 15.
    let code = [0x3E, 0x3E, 0x3E, 0x48, 0x81, 0x84, 0x8B, 0, 0, 0, 0, 1, 0, 0, 0];
    c.equal("ADD", run_bytes(&code, false).vector, DONE);
}

fn instruction_of_sixteen_bytes_is_gp(c: &mut Check) {
    let mut code = [0x66u8; 16];
    code[15] = 0x90;
    let f = run_bytes(&code, false);
    c.equal("NOP", (f.vector, f.error), (vector::GP, 0));
    paging::reset();
    let code = [0x3E, 0x3E, 0x3E, 0x3E, 0x48, 0x81, 0x84, 0x8B, 0, 0, 0, 0, 1, 0, 0, 0];
    let f = run_bytes(&code, false);
    c.equal("ADD", (f.vector, f.error), (vector::GP, 0));
    paging::reset();
    // Too long comes before an invalid opcode.
    let mut code = [0x66u8; 17];
    code[15..].copy_from_slice(&[0x0F, 0x0B]);
    let f = run_bytes(&code, false);
    c.equal("UD2", (f.vector, f.error), (vector::GP, 0));
}

fn undefined_opcode_comes_before_privilege_and_page_fault(c: &mut Check) {
    let _image = paging::UserImage::new();
    let codes: [(&str, &[u8]); 6] = [
        ("LOCK HLT", &[0xF0, 0xF4]),
        ("MOV CR1", &[0x0F, 0x20, 0xC8]),
        ("MOV CR5", &[0x0F, 0x22, 0xE8]),
        ("LOCK LGDT", &[0xF0, 0x0F, 0x01, 0x17]),
        ("SGDT with a register", &[0x0F, 0x01, 0xC0 + 0x06]),
        ("LOCK MOV m", &[0xF0, 0x8B, 0x07]),
    ];
    for (name, code) in codes {
        let f = run_bytes(code, true);
        c.equal(name, f.vector, vector::UD);
        // Not `reset`: the image must stay open.
    }
}

const MP: u64 = 2;
const EM: u64 = 4;
const TS: u64 = 8;

/// The vector that an instruction ends with under these bits of CR0.
fn under_cr0(bits: u64, code: &[u8]) -> u8 {
    let page = paging::new_page();
    paging::map(paging::TEST_BASE + 16 * 4096, paging::physical(page), P | W | U, paging::Size::Page4K);
    let usual = read_cr0();
    // The code sets CR0 itself: the runtime's own code needs the usual value.
    let mut all = [0u8; 64];
    let prologue = [0x0F, 0x20, 0xC0, 0x48, 0x83, 0xE0, 0xF1, 0x48, 0x83, 0xC8, bits as u8, 0x0F, 0x22, 0xC0];
    all[..14].copy_from_slice(&prologue);
    all[14..14 + code.len()].copy_from_slice(code);
    let f = run_bytes(&all[..14 + code.len()], false);
    unsafe { write_cr0(usual) };
    paging::reset();
    f.vector
}

fn device_not_available_depends_on_ts_em_mp(c: &mut Check) {
    let fnop: &[u8] = &[0xD9, 0xD0];
    let fwait: &[u8] = &[0x9B];
    let sse: &[u8] = &[0x0F, 0x28, 0xC1];
    let mmx: &[u8] = &[0x0F, 0x6F, 0xC1];
    for bits in [0, MP, EM, EM | MP, TS, TS | MP, TS | EM, TS | EM | MP] {
        let x87 = if bits & (EM | TS) != 0 { vector::NM } else { DONE };
        let wait = if bits & (MP | TS) == MP | TS { vector::NM } else { DONE };
        let simd = match bits & (EM | TS) {
            0 => DONE,
            TS => vector::NM,
            _ => vector::UD,
        };
        c.equal("x87", (bits, under_cr0(bits, fnop)), (bits, x87));
        c.equal("FWAIT", (bits, under_cr0(bits, fwait)), (bits, wait));
        c.equal("SSE", (bits, under_cr0(bits, sse)), (bits, simd));
        c.equal("MMX", (bits, under_cr0(bits, mmx)), (bits, simd));
    }
}

fn sse_without_osfxsr_is_ud_before_nm(c: &mut Check) {
    snippet!(no_osfxsr: "mov rax, cr4", "and rax, ~0x200", "mov cr4, rax", "movaps xmm0, xmm1",);
    snippet!(no_osfxsr_ts: "mov rax, cr4", "and rax, ~0x200", "mov cr4, rax", "mov rax, cr0", "or eax, 8", "mov cr0, rax", "movaps xmm0, xmm1",);
    snippet!(no_osfxsr_memory: "mov rax, cr4", "and rax, ~0x200", "mov cr4, rax", "movaps xmm0, [rdi]",);
    snippet!(no_osfxsr_fxsave: "mov rax, cr4", "and rax, ~0x200", "mov cr4, rax", "fxsave [rbx]",);
    let buffer = paging::physical(paging::new_page());
    for (name, code, expected) in [
        ("MOVAPS", no_osfxsr as extern "C" fn(), vector::UD),
        ("with TS", no_osfxsr_ts, vector::UD),
        ("with an absent operand", no_osfxsr_memory, vector::UD),
        ("FXSAVE", no_osfxsr_fxsave, DONE),
    ] {
        let f = run(&Context::kernel(code).with(reg::RDI, TEST_BASE).with(reg::RBX, buffer));
        c.equal(name, f.vector, expected);
    }
}

fn sse_with_em_is_ud_before_nm(c: &mut Check) {
    c.equal("EM and TS", under_cr0(EM | TS, &[0x0F, 0x28, 0xC1]), vector::UD);
    // LDMXCSR, FXSAVE: FXSAVE with EM is #NM.
    c.equal("FXSAVE with EM", under_cr0(EM, &[0x0F, 0xAE, 0x03]), vector::NM);
    c.equal("LDMXCSR with EM", under_cr0(EM, &[0x0F, 0xAE, 0x13]), vector::UD);
}

fn nm_comes_before_page_fault(c: &mut Check) {
    c.equal("MOVAPS [absent]", under_cr0(TS, &[0x0F, 0x28, 0x07]), vector::NM);
    c.equal("FLD [absent]", under_cr0(TS, &[0xD9, 0x07]), vector::NM);
}

fn segment_register_load_errors(c: &mut Check) {
    let slot = TEST_SLOT as usize / 8;
    let data = |access: u8| segment(0, 0xF_FFFF, access, 0xC);
    // Descriptor, RPL, what MOV DS and MOV SS do.
    let s = TEST_SLOT as u64;
    type Event = (u8, u64);
    let cases: [(&str, u64, u64, Event, Event); 9] = [
        ("writable data", data(0x93), 0, (DONE, 0), (DONE, 0)),
        ("read-only data", data(0x91), 0, (DONE, 0), (vector::GP, s)),
        ("data, RPL 3", data(0x93), 3, (vector::GP, s), (vector::GP, s)),
        ("data of level 3, RPL 3", data(0xF3), 3, (DONE, 0), (vector::GP, s)),
        ("readable code", data(0x9B), 0, (DONE, 0), (vector::GP, s)),
        ("execute-only code", data(0x99), 0, (vector::GP, s), (vector::GP, s)),
        ("conforming readable code, RPL 3", data(0x9F), 3, (DONE, 0), (vector::GP, s)),
        ("absent data", data(0x13), 0, (vector::NP, s), (vector::SS, s)),
        ("system", segment(0, 0xFF, 0x82, 0), 0, (vector::GP, s), (vector::GP, s)),
    ];
    snippet!(mov_ds: "mov ds, eax",);
    snippet!(mov_ss: "mov ss, eax",);
    snippet!(mov_fs: "mov fs, eax",);
    for (name, descriptor, rpl, in_ds, in_ss) in cases {
        gdt()[slot] = descriptor;
        for (code, expected) in [(mov_ds as extern "C" fn(), in_ds), (mov_fs, in_ds), (mov_ss, in_ss)] {
            let f = run(&Context::kernel(code).with(reg::RAX, s | rpl));
            c.equal(name, (f.vector, f.error), expected);
        }
    }
    let f = run(&Context::kernel(mov_ds).with(reg::RAX, 0xFFFB));
    c.equal("beyond the GDT", (f.vector, f.error), (vector::GP, 0xFFF8));
    let f = run(&Context::kernel(mov_ds).with(reg::RAX, 0x0F));
    c.equal("LDT without one", (f.vector, f.error), (vector::GP, 0x0C));
    for null in 0..4 {
        c.equal("null", run(&Context::kernel(mov_ds).with(reg::RAX, null)).vector, DONE);
    }
    // The accessed bit is set by the load.
    gdt()[slot] = data(0x92);
    run(&Context::kernel(mov_ds).with(reg::RAX, s));
    c.equal("accessed", unsafe { (&raw const gdt()[slot]).read_volatile() } >> 40 & 1, 1);
}

fn mov_to_segment_registers_that_are_not_there_is_ud(c: &mut Check) {
    for modrm in [0xC8u8, 0xF0, 0xF8] {
        let f = run_bytes(&[0x8E, modrm], false); // CS, 6, 7
        c.equal("MOV Sreg", f.vector, vector::UD);
        paging::reset();
    }
    for modrm in [0xF0u8, 0xF8] {
        let f = run_bytes(&[0x8C, modrm], false);
        c.equal("MOV from Sreg", f.vector, vector::UD);
        paging::reset();
    }
}

fn null_selector_in_ss_is_allowed_at_level_0_only(c: &mut Check) {
    snippet!(null_ss: "xor eax, eax", "mov ss, eax",);
    c.equal("level 0", run(&Context::kernel(null_ss)).vector, DONE);
    snippet!(null_ss_rpl: "mov eax, 3", "mov ss, eax",);
    let f = run(&Context::kernel(null_ss_rpl));
    c.equal("level 0, RPL 3", (f.vector, f.error), (vector::GP, 0));
    let _image = paging::UserImage::new();
    let f = run(&Context::user(null_ss_rpl));
    c.equal("level 3", (f.vector, f.error), (vector::GP, 0));
}

fn div_errors_are_de(c: &mut Check) {
    snippet!(d_div8: "mov eax, 0x1000", "mov ecx, 0x10", "div cl",);
    snippet!(d_idiv32: "mov eax, 0x80000000", "cdq", "mov ecx, -1", "idiv ecx",);
    snippet!(d_idiv64: "mov rax, 0x8000000000000000", "cqo", "mov rcx, -1", "idiv rcx",);
    snippet!(d_div64: "mov edx, 2", "mov ecx, 2", "div rcx",);
    for (name, code) in
        [("DIV r8", d_div8 as extern "C" fn()), ("IDIV r32", d_idiv32), ("IDIV r64", d_idiv64), ("DIV r64", d_div64)]
    {
        c.equal(name, run(&Context::kernel(code)).vector, vector::DE);
    }
    snippet!(d_absent: "xor edx, edx", "div qword ptr [rdi]",);
    expect_page_fault(
        c,
        "absent divisor",
        Some(run(&Context::kernel(d_absent).with(reg::RDI, TEST_BASE))),
        0,
        TEST_BASE,
    );
}

fn into_and_bound_are_ud_in_64_bit_mode(c: &mut Check) {
    c.equal("INTO", run_bytes(&[0xCE], false).vector, vector::UD);
    paging::reset();
    // 62H is the EVEX prefix now; this is none that is valid.
    c.equal("BOUND", run_bytes(&[0x62, 0x07, 0x00, 0x00, 0x00, 0x00], false).vector, vector::UD);
    if features::AVX.present() {
        // VEX without OSXSAVE.
        let off = catch(|| unsafe { write_cr4(read_cr4() & !(1 << 18)) });
        expect_none(c, "clearing OSXSAVE", off);
        c.equal("VEX", run_bytes(&[0xC5, 0xF8, 0x77], false).vector, vector::UD);
    }
}

fn rex_prefix_before_another_prefix_is_ignored(c: &mut Check) {
    // 48 66 B8 imm16: REX.W does not count, so this is MOV AX, imm16.
    let f = run_bytes(&[0x31, 0xC0, 0x48, 0x66, 0xB8, 0x34, 0x12], false);
    c.equal("RAX", (f.vector, f.regs[reg::RAX]), (DONE, 0x1234));
}
