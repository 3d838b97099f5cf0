//! Debug registers: which breakpoints match. SDM volume 3, "Debug Registers".

use crate::state::State;
use undercroft_spec::LinearAddr;
use undercroft_spec::x86::control::{cr4, rflags};

/// Bits of DR6.
pub(crate) mod dr6 {
    /// B0 to B3: breakpoint conditions.
    pub const B: u64 = 0xf;
    /// BD: access to a debug register while DR7.GD = 1.
    pub const BD: u64 = 1 << 13;
    /// BS: single step.
    #[allow(dead_code)] // The run loop's.
    pub const BS: u64 = 1 << 14;
    /// BT: switch to a task with the T flag.
    pub const BT: u64 = 1 << 15;
}
/// Bits of DR7.
pub(crate) mod dr7 {
    /// L0 to G3: a breakpoint is on.
    pub const ENABLES: u64 = 0xff;
    /// L0 to L3 and LE: cleared by task switches.
    pub const LOCAL: u64 = 0x155;
    /// GD: general detect.
    pub const GD: u64 = 1 << 13;
}
/// Bits of IA32_DEBUGCTL.
pub(crate) mod debugctl {
    /// LBR: last branches are recorded.
    pub const LBR: u64 = 1;
    /// BTF: RFLAGS.TF traps on branches only.
    pub const BTF: u64 = 2;
}

/// Breakpoint conditions (R/Wn fields of DR7).
const EXECUTE: u64 = 0;
const WRITE: u64 = 1;
const IO: u64 = 2;

/// B0 to B3 of the enabled instruction breakpoints at RIP, unless RFLAGS.RF holds them off or the instruction has begun.
#[inline]
pub fn instruction_breakpoints(s: &State) -> u64 {
    if s.dr7 & dr7::ENABLES == 0 || s.flags.other() & rflags::RF != 0 || s.between_iterations {
        return 0;
    }
    let linear =
        if s.is_long() { s.rip } else { s.segment(undercroft_decode::Seg::Cs).base.wrapping_add(s.rip) & 0xffff_ffff };
    matching(s, |n, condition, _| condition == EXECUTE && s.dr[n] == linear)
}

/// B0 to B3 of the enabled data breakpoints that an access touches.
#[inline]
pub fn data_breakpoints(s: &State, linear: LinearAddr, len: u64, write: bool) -> u64 {
    if s.dr7 & dr7::ENABLES == 0 || len == 0 {
        return 0;
    }
    matching(s, |n, condition, size| {
        let wanted = match condition {
            EXECUTE => false,
            // Without CR4.DE this encoding is undefined; with it, it is I/O. Neither is a data access.
            IO => false,
            WRITE => write,
            _ => true,
        };
        let base = s.dr[n] & !(size - 1);
        let first = linear.get();
        // The ranges overlap, computed so that neither end wraps.
        wanted && (first.wrapping_sub(base) < size || base.wrapping_sub(first) < len)
    })
}

/// B0 to B3 of the enabled I/O breakpoints that an access touches.
pub fn io_breakpoints(s: &State, port: u16, len: u64) -> u64 {
    if s.dr7 & dr7::ENABLES == 0 || s.cr4 & cr4::DE == 0 {
        return 0;
    }
    matching(s, |n, condition, size| {
        let base = s.dr[n] & 0xffff & !(size - 1);
        let first = u64::from(port);
        condition == IO && (first.wrapping_sub(base) < size || base.wrapping_sub(first) < len)
    })
}

/// B bits of the enabled breakpoints for which the predicate (number, condition, length) holds.
fn matching(s: &State, holds: impl Fn(usize, u64, u64) -> bool) -> u64 {
    let mut bits = 0;
    for n in 0..4 {
        if s.dr7 >> (2 * n) & 3 != 0 {
            let control = s.dr7 >> (16 + 4 * n) & 15;
            let size = [1, 2, 8, 4][(control >> 2) as usize];
            if holds(n, control & 3, size) {
                bits |= 1 << n;
            }
        }
    }
    bits
}
