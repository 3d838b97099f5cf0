//! Signals that faults arrive as, and a timer for cases that do not end.

use super::{check, stub};
use crate::case::Fault;
use crate::layout::CONTROL;
use libc::{c_int, c_void, siginfo_t, ucontext_t};
use std::io;
use std::mem::zeroed;
use std::ptr;

const FAULTS: [c_int; 5] = [libc::SIGSEGV, libc::SIGBUS, libc::SIGILL, libc::SIGFPE, libc::SIGTRAP];
const STACK_LEN: usize = 1 << 16;
/// A case that runs longer than a few of these does not end.
const TICK_NS: libc::c_long = 50_000_000;

/// Handlers, their stack and the timer, until dropped.
pub struct Installed {
    timer: libc::timer_t,
}

impl Installed {
    pub fn new() -> io::Result<Installed> {
        // SAFETY: the handler is written for any interrupted state of this thread; the stack is memory of its own that is never freed.
        unsafe {
            let read_write = libc::PROT_READ | libc::PROT_WRITE;
            let anonymous = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS;
            let stack = libc::mmap(ptr::null_mut(), STACK_LEN, read_write, anonymous, -1, 0);
            if stack == libc::MAP_FAILED {
                return Err(io::Error::last_os_error());
            }
            let stack = libc::stack_t { ss_sp: stack, ss_flags: 0, ss_size: STACK_LEN };
            check(libc::sigaltstack(&stack, ptr::null_mut()))?;
            let mut action: libc::sigaction = zeroed();
            action.sa_sigaction = stub::native_oracle_handler as *const () as usize;
            action.sa_flags = libc::SA_SIGINFO | libc::SA_ONSTACK | libc::SA_RESTART;
            libc::sigfillset(&mut action.sa_mask);
            for signal in FAULTS {
                check(libc::sigaction(signal, &action, ptr::null_mut()))?;
            }
            check(libc::sigaction(libc::SIGALRM, &action, ptr::null_mut()))?;
            Ok(Installed { timer: start_timer()? })
        }
    }
}

impl Drop for Installed {
    fn drop(&mut self) {
        // SAFETY: the timer is ours.
        unsafe { libc::timer_delete(self.timer) };
    }
}

/// SIGALRM to this thread, again and again, as it uses time.
unsafe fn start_timer() -> io::Result<libc::timer_t> {
    unsafe {
        let mut event: libc::sigevent = zeroed();
        event.sigev_notify = libc::SIGEV_THREAD_ID;
        event.sigev_signo = libc::SIGALRM;
        event.sigev_notify_thread_id = libc::gettid();
        let mut timer: libc::timer_t = ptr::null_mut();
        check(libc::timer_create(libc::CLOCK_THREAD_CPUTIME_ID, &mut event, &mut timer))?;
        let tick = libc::timespec { tv_sec: 0, tv_nsec: TICK_NS };
        check(libc::timer_settime(timer, 0, &libc::itimerspec { it_interval: tick, it_value: tick }, ptr::null_mut()))?;
        Ok(timer)
    }
}

/// The order of the general registers in a case, as Linux numbers them.
const ORDER: [c_int; 16] = [
    libc::REG_RAX,
    libc::REG_RCX,
    libc::REG_RDX,
    libc::REG_RBX,
    libc::REG_RSP,
    libc::REG_RBP,
    libc::REG_RSI,
    libc::REG_RDI,
    libc::REG_R8,
    libc::REG_R9,
    libc::REG_R10,
    libc::REG_R11,
    libc::REG_R12,
    libc::REG_R13,
    libc::REG_R14,
    libc::REG_R15,
];

/// What the handler does with the host's FS base restored.
pub unsafe extern "C" fn on_signal(signal: c_int, _: *mut siginfo_t, context: *mut c_void) {
    // SAFETY: the kernel's context of the interrupted code; the control page is mapped while handlers are installed.
    unsafe {
        let control = &mut *(CONTROL as *mut stub::Control);
        if control.inside == 0 {
            // A fault of the program itself: once more, and then it ends.
            libc::signal(signal, libc::SIG_DFL);
            return;
        }
        let context = &mut (*context.cast::<ucontext_t>()).uc_mcontext;
        let registers = &mut context.gregs;
        for (to, from) in control.out_gpr.iter_mut().zip(ORDER) {
            *to = registers[from as usize] as u64;
        }
        let vector =
            if signal == libc::SIGALRM { i64::from(Fault::ENDLESS) } else { registers[libc::REG_TRAPNO as usize] };
        control.signal = vector as u64 + 1;
        control.error = registers[libc::REG_ERR as usize] as u64;
        control.cr2 = registers[libc::REG_CR2 as usize] as u64;
        control.rip = registers[libc::REG_RIP as usize] as u64;
        control.out_rflags = registers[libc::REG_EFL as usize] as u64;
        ptr::copy_nonoverlapping(context.fpregs.cast::<u8>(), control.out_fx.0.as_mut_ptr(), 512);
        registers[libc::REG_RIP as usize] = stub::resume() as i64;
        registers[libc::REG_RSP as usize] = control.host_rsp as i64;
        registers[libc::REG_EFL as usize] = 0x202;
        control.inside = 0;
    }
}
