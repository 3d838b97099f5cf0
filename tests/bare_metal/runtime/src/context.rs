//! Running a piece of code from a completely given register state until the next exception or interrupt.

use crate::descriptors::{CODE64, DATA, Shared, USER_CODE64, USER_DATA};
use crate::exceptions::{Fault, catch};
use core::arch::global_asm;

/// The state to start from.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub struct Context {
    /// General registers in encoding order: RAX, RCX, RDX, RBX, RSP, RBP, RSI, RDI, R8 to R15.
    pub regs: [u64; 16],
    /// RIP.
    pub rip: u64,
    /// CS.
    pub cs: u64,
    /// RFLAGS.
    pub rflags: u64,
    /// SS.
    pub ss: u64,
    /// DS.
    pub ds: u64,
    /// ES.
    pub es: u64,
    /// FS.
    pub fs: u64,
    /// GS.
    pub gs: u64,
}

/// Indices into [`Context::regs`] and [`Fault::regs`].
pub mod reg {
    #![allow(missing_docs)]
    pub const RAX: usize = 0;
    pub const RCX: usize = 1;
    pub const RDX: usize = 2;
    pub const RBX: usize = 3;
    pub const RSP: usize = 4;
    pub const RBP: usize = 5;
    pub const RSI: usize = 6;
    pub const RDI: usize = 7;
    pub const R8: usize = 8;
    pub const R11: usize = 11;
}

#[repr(C, align(4096))]
struct Stack([u8; 8192]);
static STACKS: Shared<[Stack; 2]> = Shared::new([const { Stack([0; 8192]) }; 2]);

/// Address of a snippet's first instruction.
pub fn address_of(code: extern "C" fn()) -> u64 {
    code as usize as u64
}

/// Top of the stack that [`Context::kernel`] and [`Context::user`] give out (levels 0 and 3).
pub fn stack_top(user: bool) -> u64 {
    unsafe { &raw const (*STACKS.get())[user as usize] as u64 + 8192 - 64 }
}

impl Context {
    /// 64-bit code at privilege level 0, interrupts masked.
    pub fn kernel(code: extern "C" fn()) -> Self {
        let mut c = Context {
            regs: [0; 16],
            rip: code as usize as u64,
            cs: CODE64 as u64,
            rflags: 2,
            ss: DATA as u64,
            ds: DATA as u64,
            es: DATA as u64,
            fs: 0,
            gs: 0,
        };
        c.regs[reg::RSP] = stack_top(false);
        c
    }

    /// 64-bit code at privilege level 3; needs [`crate::paging::UserImage`].
    pub fn user(code: extern "C" fn()) -> Self {
        let mut c = Self::kernel(code);
        c.cs = USER_CODE64 as u64;
        c.ss = USER_DATA as u64;
        c.ds = USER_DATA as u64;
        c.es = USER_DATA as u64;
        c.regs[reg::RSP] = stack_top(true);
        c
    }

    /// The same with a register set.
    pub fn with(mut self, register: usize, value: u64) -> Self {
        self.regs[register] = value;
        self
    }

    /// The same with RFLAGS bits set.
    pub fn flags(mut self, flags: u64) -> Self {
        self.rflags |= flags;
        self
    }
}

global_asm!(
    ".section .text.context, \"ax\"",
    ".global run_context",
    // run_context(context: rdi)
    "run_context:",
    "    mov eax, [rdi + 20*8]",
    "    mov ds, eax",
    "    mov eax, [rdi + 21*8]",
    "    mov es, eax",
    "    mov eax, [rdi + 22*8]",
    "    mov fs, eax",
    "    mov eax, [rdi + 23*8]",
    "    mov gs, eax",
    "    push [rdi + 19*8]",
    "    push [rdi + 4*8]",
    "    push [rdi + 18*8]",
    "    push [rdi + 17*8]",
    "    push [rdi + 16*8]",
    "    mov rax, [rdi]",
    "    mov rcx, [rdi + 8]",
    "    mov rdx, [rdi + 16]",
    "    mov rbx, [rdi + 24]",
    "    mov rbp, [rdi + 40]",
    "    mov rsi, [rdi + 48]",
    "    mov r8, [rdi + 64]",
    "    mov r9, [rdi + 72]",
    "    mov r10, [rdi + 80]",
    "    mov r11, [rdi + 88]",
    "    mov r12, [rdi + 96]",
    "    mov r13, [rdi + 104]",
    "    mov r14, [rdi + 112]",
    "    mov r15, [rdi + 120]",
    "    mov rdi, [rdi + 56]",
    ".global run_context_enter",
    "run_context_enter:",
    "    iretq",
    ".text",
);

unsafe extern "C" {
    fn run_context(context: *const Context) -> !;
    static run_context_enter: u8;
}

/// Address of the IRETQ that enters a context: a fault there is a fault of the entry, not of the code.
pub fn entry_instruction() -> u64 {
    &raw const run_context_enter as u64
}

/// Runs from a state to the next event. [`crate::exceptions::DONE`] means that the snippet came to its end.
pub fn run(context: &Context) -> Fault {
    catch(|| unsafe { run_context(context) }).expect("a context never returns")
}

/// Defines a function that is a piece of assembly, never called but run by [`run`]. It ends with `int 0x7F`,
/// and its address is the function's.
#[macro_export]
macro_rules! snippet {
    ($(#[$meta:meta])* $name:ident: $($line:expr),+ $(,)?) => {
        $(#[$meta])*
        #[unsafe(naked)]
        pub extern "C" fn $name() {
            core::arch::naked_asm!($($line,)+ "int 0x7F")
        }
    };
}
