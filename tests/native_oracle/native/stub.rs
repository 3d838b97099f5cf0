//! Into a case and out of it: the only code that runs with the case's registers.

use super::fault;
use crate::case::{Fault, Fx, Registers};
use crate::layout::{CONTROL, CS, EXIT, SS};
use std::arch::global_asm;
use std::mem::offset_of;

/// What lies in the control page. The assembly addresses its fields absolutely.
#[repr(C, align(64))]
pub struct Control {
    /// Where the last jump of a case goes: read by the case.
    pub exit: u64,
    /// The stack of `enter`.
    pub host_rsp: u64,
    host_fs: u64,
    host_gs: u64,
    /// Not zero while the case's registers are loaded.
    pub inside: u64,
    /// Timer signals since the case began.
    pub ticks: u64,
    host_mxcsr: u64,
    /// Filled by the signal handler: vector + 1, or 0.
    pub signal: u64,
    /// Error code.
    pub error: u64,
    /// CR2.
    pub cr2: u64,
    /// RIP at the signal.
    pub rip: u64,
    in_rip: u64,
    in_rflags: u64,
    in_fs: u64,
    in_gs: u64,
    /// FS base afterwards.
    pub out_fs: u64,
    /// GS base afterwards.
    pub out_gs: u64,
    /// RFLAGS afterwards.
    pub out_rflags: u64,
    in_gpr: [u64; 16],
    /// General registers afterwards, in the order of their numbers.
    pub out_gpr: [u64; 16],
    in_fx: Fx,
    /// x87 and SSE afterwards.
    pub out_fx: Fx,
}

impl Control {
    /// Before a case.
    pub fn load(&mut self, r: &Registers) {
        self.ticks = 0;
        self.signal = 0;
        self.in_rip = r.rip;
        self.in_rflags = r.rflags;
        self.in_fs = r.fs_base;
        self.in_gs = r.gs_base;
        self.in_gpr = r.gpr;
        self.in_fx = r.fx.clone();
    }
    /// After a case.
    pub fn take(&self, r: &mut Registers) -> Option<Fault> {
        r.rip = self.rip;
        r.rflags = self.out_rflags;
        r.fs_base = self.out_fs;
        r.gs_base = self.out_gs;
        r.gpr = self.out_gpr;
        r.fx.clone_from(&self.out_fx);
        if self.signal == 0 { None } else { Some(fault(self.signal - 1, self.error, self.cr2)) }
    }
}

unsafe extern "C" {
    fn native_oracle_enter();
    static native_oracle_exit: u8;
    static native_oracle_resume: u8;
    static native_oracle_exit_end: u8;
    /// The signal handler's first instructions.
    pub fn native_oracle_handler();
}

/// Where the signal handler lets the program go on.
pub fn resume() -> u64 {
    EXIT + (&raw const native_oracle_resume as u64 - &raw const native_oracle_exit as u64)
}

/// Writes the exit code into its page, and the cell.
///
/// # Safety
/// The control and exit pages are mapped and writable, and nobody uses them.
pub unsafe fn install() {
    unsafe {
        let from = &raw const native_oracle_exit;
        let len = &raw const native_oracle_exit_end as usize - from as usize;
        std::ptr::copy_nonoverlapping(from, EXIT as *mut u8, len);
        let control = CONTROL as *mut Control;
        (*control).exit = EXIT;
        (*control).host_mxcsr = 0x1f80;
    }
}

/// Runs what was loaded.
///
/// # Safety
/// Everything is installed, and the case is one that the module's argument covers.
pub unsafe fn enter() {
    unsafe { native_oracle_enter() }
}

global_asm!(
    ".pushsection .text.native_oracle, \"ax\", @progbits",
    ".globl native_oracle_enter",
    "native_oracle_enter:",
    "push rbx", "push rbp", "push r12", "push r13", "push r14", "push r15",
    "mov qword ptr [{c} + {host_rsp}], rsp",
    "rdfsbase rax", "mov qword ptr [{c} + {host_fs}], rax",
    "rdgsbase rax", "mov qword ptr [{c} + {host_gs}], rax",
    "fxrstor64 [{c} + {in_fx}]",
    "push {ss}",
    "push qword ptr [{c} + {in_gpr} + 32]",
    "push qword ptr [{c} + {in_rflags}]",
    "push {cs}",
    "push qword ptr [{c} + {in_rip}]",
    "mov rax, qword ptr [{c} + {in_fs}]", "wrfsbase rax",
    "mov rax, qword ptr [{c} + {in_gs}]", "wrgsbase rax",
    "mov rax, qword ptr [{c} + {in_gpr}]",
    "mov rcx, qword ptr [{c} + {in_gpr} + 8]",
    "mov rdx, qword ptr [{c} + {in_gpr} + 16]",
    "mov rbx, qword ptr [{c} + {in_gpr} + 24]",
    "mov rbp, qword ptr [{c} + {in_gpr} + 40]",
    "mov rsi, qword ptr [{c} + {in_gpr} + 48]",
    "mov rdi, qword ptr [{c} + {in_gpr} + 56]",
    "mov r8, qword ptr [{c} + {in_gpr} + 64]",
    "mov r9, qword ptr [{c} + {in_gpr} + 72]",
    "mov r10, qword ptr [{c} + {in_gpr} + 80]",
    "mov r11, qword ptr [{c} + {in_gpr} + 88]",
    "mov r12, qword ptr [{c} + {in_gpr} + 96]",
    "mov r13, qword ptr [{c} + {in_gpr} + 104]",
    "mov r14, qword ptr [{c} + {in_gpr} + 112]",
    "mov r15, qword ptr [{c} + {in_gpr} + 120]",
    "mov qword ptr [{c} + {inside}], 1",
    "iretq",
    // Copied to the exit page: addresses nothing relative to RIP.
    ".globl native_oracle_exit",
    "native_oracle_exit:",
    "mov qword ptr [{c} + {out_gpr}], rax",
    "mov qword ptr [{c} + {out_gpr} + 8], rcx",
    "mov qword ptr [{c} + {out_gpr} + 16], rdx",
    "mov qword ptr [{c} + {out_gpr} + 24], rbx",
    "mov qword ptr [{c} + {out_gpr} + 32], rsp",
    "mov qword ptr [{c} + {out_gpr} + 40], rbp",
    "mov qword ptr [{c} + {out_gpr} + 48], rsi",
    "mov qword ptr [{c} + {out_gpr} + 56], rdi",
    "mov qword ptr [{c} + {out_gpr} + 64], r8",
    "mov qword ptr [{c} + {out_gpr} + 72], r9",
    "mov qword ptr [{c} + {out_gpr} + 80], r10",
    "mov qword ptr [{c} + {out_gpr} + 88], r11",
    "mov qword ptr [{c} + {out_gpr} + 96], r12",
    "mov qword ptr [{c} + {out_gpr} + 104], r13",
    "mov qword ptr [{c} + {out_gpr} + 112], r14",
    "mov qword ptr [{c} + {out_gpr} + 120], r15",
    "rdfsbase rax", "mov qword ptr [{c} + {out_fs}], rax",
    "rdgsbase rax", "mov qword ptr [{c} + {out_gs}], rax",
    "mov rsp, qword ptr [{c} + {host_rsp}]",
    "pushfq", "pop qword ptr [{c} + {out_rflags}]",
    "fxsave64 [{c} + {out_fx}]",
    "mov rax, qword ptr [{c} + {host_fs}]", "wrfsbase rax",
    "mov rax, qword ptr [{c} + {host_gs}]", "wrgsbase rax",
    "mov qword ptr [{c} + {inside}], 0",
    ".globl native_oracle_resume",
    "native_oracle_resume:",
    "fninit",
    "ldmxcsr [{c} + {host_mxcsr}]",
    "push 0x202", "popfq",
    "pop r15", "pop r14", "pop r13", "pop r12", "pop rbp", "pop rbx",
    "ret",
    ".globl native_oracle_exit_end",
    "native_oracle_exit_end:",
    // Signal handler: the kernel leaves AC and the FS base as the case had them; no Rust code may run with those.
    ".globl native_oracle_handler",
    "native_oracle_handler:",
    "pushfq", "and dword ptr [rsp], 0xfffbffff", "popfq",
    "cmp edi, {sigalrm}",
    "jne 2f",
    "inc qword ptr [{c} + {ticks}]",
    "cmp qword ptr [{c} + {ticks}], 4",
    "jb 4f",
    "cmp qword ptr [{c} + {inside}], 0",
    "je 4f",
    "2:",
    "cmp qword ptr [{c} + {inside}], 0",
    "je 3f",
    "rdfsbase rax", "mov qword ptr [{c} + {out_fs}], rax",
    "rdgsbase rax", "mov qword ptr [{c} + {out_gs}], rax",
    "mov rax, qword ptr [{c} + {host_fs}]", "wrfsbase rax",
    "mov rax, qword ptr [{c} + {host_gs}]", "wrgsbase rax",
    "3:",
    "jmp {on_signal}",
    "4:",
    "ret",
    ".popsection",
    c = const CONTROL,
    cs = const CS,
    ss = const SS,
    sigalrm = const libc::SIGALRM,
    on_signal = sym super::signals::on_signal,
    host_rsp = const offset_of!(Control, host_rsp),
    host_fs = const offset_of!(Control, host_fs),
    host_gs = const offset_of!(Control, host_gs),
    host_mxcsr = const offset_of!(Control, host_mxcsr),
    inside = const offset_of!(Control, inside),
    ticks = const offset_of!(Control, ticks),
    in_rip = const offset_of!(Control, in_rip),
    in_rflags = const offset_of!(Control, in_rflags),
    in_fs = const offset_of!(Control, in_fs),
    in_gs = const offset_of!(Control, in_gs),
    in_gpr = const offset_of!(Control, in_gpr),
    in_fx = const offset_of!(Control, in_fx),
    out_gpr = const offset_of!(Control, out_gpr),
    out_fx = const offset_of!(Control, out_fx),
    out_fs = const offset_of!(Control, out_fs),
    out_gs = const offset_of!(Control, out_gs),
    out_rflags = const offset_of!(Control, out_rflags),
);
