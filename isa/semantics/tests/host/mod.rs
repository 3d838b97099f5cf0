//! Runs one vector instruction on the host processor, with all the registers it may touch taken from and returned to a [`State`].
//!
//! Faults (SIGFPE for #XM, SIGSEGV for #GP) resume after the instruction and are recorded.
#![allow(unsafe_code)]

use std::arch::asm;
use std::ffi::{c_int, c_void};
use std::ptr;

/// Registers and memory of one run. The assembly below knows the offsets.
#[repr(C, align(64))]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct State {
    /// XMM0 to XMM2.
    pub xmm: [[u8; 16]; 3],
    /// MM0 to MM2.
    pub mm: [u64; 3],
    pub rsi: u64,
    pub r8: u64,
    pub rax: u64,
    pub rdx: u64,
    pub rcx: u64,
    pub rflags: u64,
    pub mxcsr: u32,
    /// The signal that the instruction ended with, or 0.
    pub signal: u32,
    /// What memory operands address, through R9.
    pub memory: [u8; 64],
    /// Where a fault resumes.
    resume: u64,
    /// R9 and RDI.
    address: u64,
}

impl State {
    pub const fn new() -> State {
        State {
            xmm: [[0; 16]; 3],
            mm: [0; 3],
            rsi: 0,
            r8: 0,
            rax: 0,
            rdx: 0,
            rcx: 0,
            rflags: 0x202,
            mxcsr: 0x1f80,
            signal: 0,
            memory: [0; 64],
            resume: 0,
            address: 0,
        }
    }
}

const SIGFPE: c_int = 8;
const SIGSEGV: c_int = 11;

unsafe extern "C" {
    fn mmap(
        address: *mut c_void,
        length: usize,
        protection: c_int,
        flags: c_int,
        file: c_int,
        offset: i64,
    ) -> *mut c_void;
    fn sigaction(signal: c_int, action: *const Action, old: *mut Action) -> c_int;
}

/// `struct sigaction` of the C library on x86-64.
#[repr(C)]
struct Action {
    handler: unsafe extern "C" fn(c_int, *mut c_void, *mut u8),
    mask: [u64; 16],
    flags: c_int,
    restorer: usize,
}

/// Executable memory that holds one instruction and a return.
pub struct Host {
    code: *mut u8,
    length: usize,
}

impl Host {
    pub fn new() -> Host {
        const READ_WRITE_EXECUTE: c_int = 7;
        const PRIVATE_ANONYMOUS: c_int = 0x22;
        const SIGINFO_NODEFER: c_int = 0x4000_0004;
        // SAFETY: a fresh anonymous mapping; the handler is sound for faults of `run`, the only code of the process that raises them.
        let code = unsafe {
            let action = Action { handler: on_fault, mask: [0; 16], flags: SIGINFO_NODEFER, restorer: 0 };
            for signal in [SIGFPE, SIGSEGV] {
                assert_eq!(sigaction(signal, &action, ptr::null_mut()), 0);
            }
            mmap(ptr::null_mut(), 4096, READ_WRITE_EXECUTE, PRIVATE_ANONYMOUS, -1, 0)
        };
        assert_ne!(code as isize, -1, "no executable memory");
        Host { code: code.cast(), length: 0 }
    }

    /// Takes an instruction that changes only what [`State`] has.
    pub fn load(&mut self, instruction: &[u8]) {
        assert!(instruction.len() <= 15);
        const RET: u8 = 0xc3;
        // SAFETY: the page is ours and longer than this.
        unsafe {
            ptr::copy_nonoverlapping(instruction.as_ptr(), self.code, instruction.len());
            self.code.add(instruction.len()).write(RET);
        }
        self.length = instruction.len();
    }

    /// Executes it with R9 and RDI at `memory[offset]`.
    pub fn run(&self, state: &mut State, offset: usize) {
        assert!(offset < 48 && self.length > 0);
        state.signal = 0;
        state.resume = self.code as u64 + self.length as u64;
        state.address = state.memory.as_ptr() as u64 + offset as u64;
        // SAFETY: the loaded instruction touches the registers named here and memory inside `state.memory`; a fault resumes at RET.
        unsafe {
            asm!(
                "movups xmm0, [r10]", "movups xmm1, [r10 + 16]", "movups xmm2, [r10 + 32]",
                "movq mm0, [r10 + 48]", "movq mm1, [r10 + 56]", "movq mm2, [r10 + 64]",
                "mov rsi, [r10 + 72]", "mov r8, [r10 + 80]",
                "mov rax, [r10 + 88]", "mov rdx, [r10 + 96]", "mov rcx, [r10 + 104]",
                "mov r9, [r10 + 200]", "mov rdi, r9",
                "ldmxcsr [r10 + 120]",
                "push qword ptr [r10 + 112]", "popfq",
                "call r11",
                "pushfq", "pop qword ptr [r10 + 112]",
                "stmxcsr [r10 + 120]",
                "movups [r10], xmm0", "movups [r10 + 16], xmm1", "movups [r10 + 32], xmm2",
                "movq [r10 + 48], mm0", "movq [r10 + 56], mm1", "movq [r10 + 64], mm2",
                "mov [r10 + 72], rsi", "mov [r10 + 80], r8",
                "mov [r10 + 88], rax", "mov [r10 + 96], rdx", "mov [r10 + 104], rcx",
                "emms",
                "push 0x1f80", "ldmxcsr [rsp]", "pop rax",
                inout("r10") ptr::from_mut(state) => _,
                inout("r11") self.code => _,
                out("rax") _, out("rcx") _, out("rdx") _, out("rsi") _, out("rdi") _, out("r8") _, out("r9") _,
                out("xmm0") _, out("xmm1") _, out("xmm2") _,
                out("mm0") _, out("mm1") _, out("mm2") _,
                out("st(0)") _, out("st(1)") _, out("st(2)") _, out("st(3)") _,
                out("st(4)") _, out("st(5)") _, out("st(6)") _, out("st(7)") _,
            );
        }
    }
}

/// Resumes after the instruction. R10 is the [`State`]; the saved MXCSR gets its masks set, so that going on does not fault again.
unsafe extern "C" fn on_fault(signal: c_int, _: *mut c_void, context: *mut u8) {
    // SAFETY: the kernel's `ucontext_t` on x86-64: general registers at 40 (R10 third, RIP seventeenth), the FXSAVE image's address at
    // 224, MXCSR at its byte 24.
    unsafe {
        let registers = context.add(40).cast::<u64>();
        let state = registers.add(2).read() as *mut State;
        (*state).signal = signal as u32;
        registers.add(16).write((*state).resume);
        let mxcsr = context.add(224).cast::<*mut u8>().read().add(24).cast::<u32>();
        mxcsr.write(mxcsr.read() | 0x1f80);
    }
}

/// CRC32 of the low 1, 2, 4 and 8 bytes of `value`.
pub fn crc32(crc: u32, value: u64) -> [u32; 4] {
    use std::arch::x86_64::{_mm_crc32_u8, _mm_crc32_u16, _mm_crc32_u32, _mm_crc32_u64};
    assert!(std::arch::is_x86_feature_detected!("sse4.2"));
    // SAFETY: the host has the instruction.
    unsafe {
        [
            _mm_crc32_u8(crc, value as u8),
            _mm_crc32_u16(crc, value as u16),
            _mm_crc32_u32(crc, value as u32),
            _mm_crc32_u64(crc as u64, value) as u32,
        ]
    }
}

/// Whether the host processor is AMD's.
pub fn is_amd() -> bool {
    std::arch::x86_64::__cpuid(0).ebx == u32::from_le_bytes(*b"Auth")
}
