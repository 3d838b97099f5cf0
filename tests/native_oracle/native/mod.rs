//! Execution on the host processor: in process, without fork.
//!
//! The arenas of [`crate::layout`] are mapped at their fixed addresses. [`stub`] loads every register and enters the case by IRET; the case leaves
//! through the jump at its end, or by a signal, whose handler keeps what the processor reported and resumes behind the case.
//!
//! Soundness: a case can reach memory only through the addresses that its registers and displacements give. The generator aims them at the arenas
//! or at addresses that are not mapped (below 4 GBytes nothing else is; canonical addresses far from that are not aimed at), so nothing of the
//! program itself changes. One [`Native`] exists at a time, on one thread.

mod signals;
mod stub;

use crate::case::{Case, Fault, Outcome, Subject};
use crate::layout::{CODE, CODE_LEN, CONTROL, EXIT, FILL, PAGE, READ_ONLY, WRITABLE};
use std::io;
use std::marker::PhantomData;
use std::sync::{Mutex, MutexGuard, PoisonError};
use stub::Control;

static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());

/// The host processor.
pub struct Native {
    code: *mut u8,
    written: (usize, usize),
    _signals: signals::Installed,
    _lock: MutexGuard<'static, ()>,
    /// Signals and the FS base are a thread's own.
    _thread: PhantomData<*mut ()>,
}

impl Native {
    /// Maps the arenas and takes over the signals of faults. Waits until no other exists.
    pub fn new() -> io::Result<Native> {
        let lock = ONE_AT_A_TIME.lock().unwrap_or_else(PoisonError::into_inner);
        use libc::{PROT_EXEC, PROT_READ, PROT_WRITE};
        map(CONTROL, PAGE, PROT_READ | PROT_WRITE)?;
        map(EXIT, PAGE, PROT_READ | PROT_WRITE)?;
        let code = map_code()?;
        for page in WRITABLE {
            map(page, PAGE, PROT_READ | PROT_WRITE)?;
        }
        map(READ_ONLY, PAGE, PROT_READ | PROT_WRITE)?;
        // SAFETY: the mappings are those made above, and nobody else knows of them.
        unsafe {
            stub::install();
            std::ptr::copy_nonoverlapping(crate::templates::read_only().as_ptr(), READ_ONLY as *mut u8, PAGE as usize);
            check(libc::mprotect(READ_ONLY as *mut _, PAGE as usize, PROT_READ))?;
            check(libc::mprotect(EXIT as *mut _, PAGE as usize, PROT_READ | PROT_EXEC))?;
        }
        let signals = signals::Installed::new()?;
        Ok(Native { code, written: (0, 0), _signals: signals, _lock: lock, _thread: PhantomData })
    }

    fn write_code(&mut self, case: &Case) {
        let (old, old_len) = self.written;
        let code = case.code();
        let at = (case.registers.rip - CODE) as usize;
        assert!(at + code.len() <= CODE_LEN as usize);
        // SAFETY: both ranges lie in the code pages' writable mapping. Entry by IRET serialises before the bytes are fetched.
        unsafe {
            std::ptr::write_bytes(self.code.add(old), FILL, old_len);
            std::ptr::copy_nonoverlapping(code.as_ptr(), self.code.add(at), code.len());
        }
        self.written = (at, code.len());
    }
}

impl Subject for Native {
    fn run(&mut self, case: &Case, outcome: &mut Outcome) {
        self.write_code(case);
        case.fill(&mut outcome.memory);
        let control = CONTROL as *mut Control;
        // SAFETY: see the module's argument; `control` is the mapping that `new` made, and only this thread uses it.
        unsafe {
            for (n, page) in WRITABLE.iter().enumerate() {
                let from = outcome.memory.as_ptr().add(n * PAGE as usize);
                std::ptr::copy_nonoverlapping(from, *page as *mut u8, PAGE as usize);
            }
            (*control).load(&case.registers);
            stub::enter();
            let signal = (*control).take(&mut outcome.registers);
            for (n, page) in WRITABLE.iter().enumerate() {
                let to = outcome.memory.as_mut_ptr().add(n * PAGE as usize);
                std::ptr::copy_nonoverlapping(*page as *const u8, to, PAGE as usize);
            }
            outcome.fault = signal;
        }
        if outcome.fault.is_none() {
            outcome.registers.rip = EXIT;
        }
    }
}

fn check(result: libc::c_int) -> io::Result<()> {
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// Fresh zeroed memory at a fixed address; replaces what an earlier [`Native`] left there.
fn map(at: u64, len: u64, protection: libc::c_int) -> io::Result<()> {
    let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_FIXED | libc::MAP_POPULATE;
    // SAFETY: the fixed addresses are this module's own: nothing else of a position-independent program lies below 4 GBytes.
    let got = unsafe { libc::mmap(at as *mut _, len as usize, protection, flags, -1, 0) };
    if got == libc::MAP_FAILED { Err(io::Error::last_os_error()) } else { Ok(()) }
}

/// The code pages twice: executable at their address, writable at the address returned.
fn map_code() -> io::Result<*mut u8> {
    let len = CODE_LEN as usize;
    // SAFETY: new mappings of a new file in memory, which stays alive through them.
    unsafe {
        let file = libc::memfd_create(c"native-oracle".as_ptr(), 0);
        if file < 0 {
            return Err(io::Error::last_os_error());
        }
        check(libc::ftruncate(file, len as libc::off_t))?;
        let both = libc::PROT_READ | libc::PROT_WRITE;
        let shared = libc::MAP_SHARED | libc::MAP_POPULATE;
        let writable = libc::mmap(std::ptr::null_mut(), len, both, shared, file, 0);
        let executable = libc::PROT_READ | libc::PROT_EXEC;
        let fixed = libc::mmap(CODE as *mut _, len, executable, shared | libc::MAP_FIXED, file, 0);
        let failed = writable == libc::MAP_FAILED || fixed == libc::MAP_FAILED;
        libc::close(file);
        if failed {
            return Err(io::Error::last_os_error());
        }
        std::ptr::write_bytes(writable.cast::<u8>(), FILL, len);
        Ok(writable.cast())
    }
}

/// CR2 means something only for page faults.
fn fault(vector: u64, error: u64, cr2: u64) -> Fault {
    Fault { vector: vector as u8, error, cr2: if vector == 14 { cr2 } else { 0 } }
}
