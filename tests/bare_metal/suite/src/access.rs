//! Single memory accesses of each kind and privilege level, and the fault they end with.

use bare_metal_runtime::context::reg;
use bare_metal_runtime::exceptions::{DONE, Fault, vector};
use bare_metal_runtime::framework::Check;
use bare_metal_runtime::{Context, run, snippet};

/// What an instruction does with memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A load.
    Read,
    /// A store.
    Write,
    /// A call of code there; the page must hold a RET.
    Fetch,
}

/// All kinds.
pub const KINDS: [Kind; 3] = [Kind::Read, Kind::Write, Kind::Fetch];

/// Who accesses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Level {
    /// Privilege level 0.
    Supervisor,
    /// Privilege level 3.
    User,
}

/// Both levels.
pub const LEVELS: [Level; 2] = [Level::Supervisor, Level::User];

snippet!(read_byte: "mov al, [rdi]",);
snippet!(write_byte: "mov byte ptr [rdi], 0xC3",);
snippet!(fetch: "call rdi",);

/// A machine instruction that does nothing but return, which a fetched page holds in each byte.
pub const RET_FILL: u64 = 0xC3C3_C3C3_C3C3_C3C3;

/// Makes the access with RFLAGS bits set in addition; `None` if it ended well. The image must be open to user access for
/// [`Level::User`].
pub fn access_with(kind: Kind, level: Level, linear: u64, flags: u64) -> Option<Fault> {
    let code = match kind {
        Kind::Read => read_byte,
        Kind::Write => write_byte,
        Kind::Fetch => fetch,
    };
    let context = match level {
        Level::Supervisor => Context::kernel(code),
        Level::User => Context::user(code),
    };
    let fault = run(&context.with(reg::RDI, linear).flags(flags));
    (fault.vector != DONE).then_some(fault)
}

/// Makes the access with usual flags.
pub fn access(kind: Kind, level: Level, linear: u64) -> Option<Fault> {
    access_with(kind, level, linear, 0)
}

/// Expects a page fault with an error code at an address.
pub fn expect_page_fault(c: &mut Check, what: &str, fault: Option<Fault>, error: u64, address: u64) {
    match fault {
        None => c.fail(format_args!("{what}: expected #PF({error:#x}) got no fault")),
        Some(f) if f.vector != vector::PF || f.error != error || f.cr2 != address => c.fail(format_args!(
            "{what}: expected #PF({error:#x}) at {address:#x} got vector {} error {:#x} cr2 {:#x} rip {:#x}",
            f.vector, f.error, f.cr2, f.rip
        )),
        _ => {}
    }
}

/// Expects an exception with an error code (0 for those without).
pub fn expect_fault(c: &mut Check, what: &str, fault: Option<Fault>, vector: u8, error: u64) {
    match fault {
        None => c.fail(format_args!("{what}: expected vector {vector} error {error:#x} got no fault")),
        Some(f) if f.vector != vector || f.error != error => c.fail(format_args!(
            "{what}: expected vector {vector} error {error:#x} got vector {} error {:#x} cr2 {:#x} rip {:#x}",
            f.vector, f.error, f.cr2, f.rip
        )),
        _ => {}
    }
}

/// Expects that nothing faults.
pub fn expect_none(c: &mut Check, what: &str, fault: Option<Fault>) {
    if let Some(f) = fault {
        c.fail(format_args!(
            "{what}: expected no fault got vector {} error {:#x} cr2 {:#x} rip {:#x}",
            f.vector, f.error, f.cr2, f.rip
        ));
    }
}
