//! Exceptions and interrupts in 64-bit mode: entry stubs, handlers, and recovery.
//!
//! [`catch`] runs a closure and returns the exception that ended it, if one did. Interrupts that a test expects get
//! a handler by [`set_handler`]. Anything else ends the image with a report.
//!
//! Intel SDM volume 3, "Interrupt and Exception Handling in 64-bit Mode".

use crate::descriptors::{CODE64, Gate64, Shared, idt, this_processor};
use core::arch::global_asm;

/// Vector by which a snippet of code says that it is done; its gate may be used at any privilege level.
pub const DONE: u8 = 0x7F;

/// Vectors of the exceptions, by their mnemonics.
pub mod vector {
    #![allow(missing_docs)]
    pub const DE: u8 = 0;
    pub const DB: u8 = 1;
    pub const NMI: u8 = 2;
    pub const BP: u8 = 3;
    pub const OF: u8 = 4;
    pub const BR: u8 = 5;
    pub const UD: u8 = 6;
    pub const NM: u8 = 7;
    pub const DF: u8 = 8;
    pub const TS: u8 = 10;
    pub const NP: u8 = 11;
    pub const SS: u8 = 12;
    pub const GP: u8 = 13;
    pub const PF: u8 = 14;
    pub const MF: u8 = 16;
    pub const AC: u8 = 17;
    pub const MC: u8 = 18;
    pub const XM: u8 = 19;
}

/// What the entry stub leaves on the stack.
#[repr(C)]
pub struct Frame {
    /// CR4 and CR0 at entry.
    pub cr4: u64,
    /// CR0 at entry.
    pub cr0: u64,
    /// General registers in encoding order; index 4 (RSP) is not used, see `rsp`.
    pub regs: [u64; 16],
    /// Vector.
    pub vector: u64,
    /// Error code, 0 for vectors without one.
    pub error: u64,
    /// RIP pushed by the processor.
    pub rip: u64,
    /// CS.
    pub cs: u64,
    /// RFLAGS.
    pub rflags: u64,
    /// RSP.
    pub rsp: u64,
    /// SS.
    pub ss: u64,
}

/// An exception or interrupt and the state in which it was delivered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C)]
pub struct Fault {
    /// Vector.
    pub vector: u8,
    /// Error code, 0 for vectors without one.
    pub error: u64,
    /// CR2 at entry.
    pub cr2: u64,
    /// DR6 at entry.
    pub dr6: u64,
    /// General registers in encoding order, RSP included.
    pub regs: [u64; 16],
    /// RIP.
    pub rip: u64,
    /// CS.
    pub cs: u16,
    /// RFLAGS.
    pub rflags: u64,
    /// SS.
    pub ss: u16,
    /// CR0 at entry.
    pub cr0: u64,
    /// CR4 at entry.
    pub cr4: u64,
    /// RSP of the handler when the stub began, less what the processor pushed.
    pub handler_rsp: u64,
    /// RFLAGS in the handler; its arithmetic flags and DF are the stub's.
    pub handler_rflags: u64,
    /// x87 control, status and tag word, last instruction and operand pointers, MXCSR: the first 32 bytes of FXSAVE64.
    pub fx: [u32; 8],
}

impl Fault {
    /// x87 status word.
    pub fn fsw(&self) -> u16 {
        (self.fx[0] >> 16) as u16
    }
    /// MXCSR.
    pub fn mxcsr(&self) -> u32 {
        self.fx[6]
    }
}

/// A handler of a vector. What it changes in the frame is restored into the registers.
pub type Handler = fn(&mut Frame);

static HANDLERS: Shared<[Option<Handler>; 256]> = Shared::new([None; 256]);

/// Sets or removes a vector's handler, on all processors. A vector without one goes to [`catch`].
pub fn set_handler(vector: u8, handler: Option<Handler>) {
    unsafe { (*HANDLERS.get())[vector as usize] = handler };
}

global_asm!(
    ".section .text.exceptions, \"ax\"",
    ".global exception_stubs, recovery_arm, recovery_resume",
    ".balign 16",
    "exception_stubs:",
    ".set vector_number, 0",
    ".rept 256",
    "    .balign 16",
    "    .if (vector_number == 8) | ((vector_number >= 10) & (vector_number <= 14)) | (vector_number == 17) | (vector_number == 21)",
    "    .else",
    "    push 0",
    "    .endif",
    "    push vector_number",
    "    jmp exception_common",
    "    .set vector_number, vector_number + 1",
    ".endr",
    "exception_common:",
    "    push r15",
    "    push r14",
    "    push r13",
    "    push r12",
    "    push r11",
    "    push r10",
    "    push r9",
    "    push r8",
    "    push rdi",
    "    push rsi",
    "    push rbp",
    "    push 0",
    "    push rbx",
    "    push rdx",
    "    push rcx",
    "    push rax",
    "    cld",
    "    mov rax, cr0",
    "    push rax",
    "    mov rbx, cr4",
    "    push rbx",
    // FXSAVE and the compiler's SSE code need CR0.EM = CR0.TS = 0 and CR4.OSFXSR = 1, whatever the test has set.
    "    and rax, ~0xC",
    "    mov cr0, rax",
    "    or rbx, 0x600",
    "    mov cr4, rbx",
    "    mov rbp, rsp",
    "    sub rsp, 512",
    "    and rsp, -16",
    "    fxsave64 [rsp]",
    "    mov rdi, rbp",
    "    mov rsi, rsp",
    "    call exception_entry",
    "    fxrstor64 [rsp]",
    "    mov rsp, rbp",
    "    pop rbx",
    "    mov cr4, rbx",
    "    pop rax",
    "    mov cr0, rax",
    "    pop rax",
    "    pop rcx",
    "    pop rdx",
    "    pop rbx",
    "    add rsp, 8",
    "    pop rbp",
    "    pop rsi",
    "    pop rdi",
    "    pop r8",
    "    pop r9",
    "    pop r10",
    "    pop r11",
    "    pop r12",
    "    pop r13",
    "    pop r14",
    "    pop r15",
    "    add rsp, 16",
    "    iretq",
    // recovery_arm(rsp_slot: rdi, call: rsi, argument: rdx) -> 0 when the call returned, 1 when recovery_resume came.
    "recovery_arm:",
    "    pushfq",
    "    push rbp",
    "    push rbx",
    "    push r12",
    "    push r13",
    "    push r14",
    "    push r15",
    "    mov [rdi], rsp",
    "    mov rdi, rdx",
    "    call rsi",
    "    xor eax, eax",
    "    jmp 3f",
    // recovery_resume(rsp: rdi): by IRET, which also ends the blocking of NMIs.
    "recovery_resume:",
    "    mov eax, 0x10",
    "    mov ds, eax",
    "    mov es, eax",
    "    push rax",
    "    push rdi",
    "    push 2",
    "    push 8",
    "    lea rax, [rip + 2f]",
    "    push rax",
    "    iretq",
    "2:  mov eax, 1",
    "3:  pop r15",
    "    pop r14",
    "    pop r13",
    "    pop r12",
    "    pop rbx",
    "    pop rbp",
    "    popfq",
    "    ret",
    ".text",
);

unsafe extern "C" {
    static exception_stubs: u8;
    fn recovery_arm(slot: *mut u64, call: extern "C" fn(*mut u8), argument: *mut u8) -> u64;
    fn recovery_resume(rsp: u64) -> !;
}

/// Address of a vector's entry stub, for tests that write gates.
pub fn stub(vector: u8) -> u64 {
    &raw const exception_stubs as u64 + vector as u64 * 16
}

/// The gate that a vector has by default.
pub fn default_gate(vector: u8) -> Gate64 {
    let ist = match vector {
        vector::DF => 1,
        vector::NMI => 2,
        vector::MC => 3,
        _ => 0,
    };
    let dpl = if matches!(vector, vector::BP | vector::OF | DONE) { 3 } else { 0 };
    Gate64::new(stub(vector), CODE64, ist, 14, dpl)
}

/// Gives every vector its default gate again.
pub fn init() {
    for v in 0..=255 {
        idt()[v as usize] = default_gate(v);
    }
}

#[unsafe(no_mangle)]
unsafe extern "C" fn exception_entry(frame: &mut Frame, fx: *const [u32; 8]) {
    if let Some(handler) = (*HANDLERS.get())[frame.vector as usize] {
        handler(frame);
        return;
    }
    let p = this_processor();
    let fault = fault_of(frame, *fx);
    if p.recovery_rsp == 0 {
        crate::println!("unexpected event on processor {}: {:x?}", p.index, fault);
        crate::exit::end(crate::exit::Status::Panic);
    }
    p.fault = fault;
    let rsp = core::mem::take(&mut p.recovery_rsp);
    crate::control::write_cr4(p.recovery_cr4);
    crate::control::write_cr0(p.recovery_cr0);
    core::arch::asm!("fninit", "ldmxcsr [{}]", in(reg) &0x1F80u32);
    recovery_resume(rsp)
}

fn fault_of(frame: &Frame, fx: [u32; 8]) -> Fault {
    let mut regs = frame.regs;
    regs[4] = frame.rsp;
    Fault {
        vector: frame.vector as u8,
        error: frame.error,
        cr2: crate::control::read_cr2(),
        dr6: crate::control::read_dr6(),
        regs,
        rip: frame.rip,
        cs: frame.cs as u16,
        rflags: frame.rflags,
        ss: frame.ss as u16,
        cr0: frame.cr0,
        cr4: frame.cr4,
        handler_rsp: &raw const frame.rip as u64,
        handler_rflags: crate::control::rflags(),
        fx,
    }
}

/// Runs a closure. Returns the exception (or interrupt without handler) that ended it, or `None` if it returned.
///
/// After an exception CR0, CR4, the segment registers, RFLAGS and the callee-saved registers are as before; what
/// the closure owned is not dropped.
pub fn catch<F: FnOnce()>(f: F) -> Option<Fault> {
    extern "C" fn call<F: FnOnce()>(f: *mut u8) {
        let f = unsafe { (*(f as *mut Option<F>)).take() };
        if let Some(f) = f {
            f()
        }
    }
    let mut f = Some(f);
    let p = this_processor();
    let outer = (p.recovery_rsp, p.recovery_cr0, p.recovery_cr4);
    p.recovery_cr0 = crate::control::read_cr0();
    p.recovery_cr4 = crate::control::read_cr4();
    let faulted = unsafe { recovery_arm(&raw mut p.recovery_rsp, call::<F>, &raw mut f as *mut u8) };
    core::mem::forget(f);
    let p = this_processor();
    (p.recovery_rsp, p.recovery_cr0, p.recovery_cr4) = outer;
    (faulted != 0).then_some(p.fault)
}
