//! The register stack, its tags and faults, and what raising an exception does to the status word. SDM volume 1, "x87 FPU Data Registers",
//! "Stack Overflow or Underflow Exception (#IS)", "x87 FPU Status Register".

use crate::state::Fpu;
use undercroft_float::x87::{C1, Computed};
use undercroft_float::{Env, F80, Flags};

/// FSW.SF: stack fault.
pub(super) const SF: u16 = 1 << 6;
/// FSW.ES: an unmasked exception is pending.
pub(super) const ES: u16 = 1 << 7;
/// FSW.B: as ES.
pub(super) const B: u16 = 1 << 15;
/// FSW.TOP.
const TOP_SHIFT: u16 = 11;
const TOP: u16 = 7 << TOP_SHIFT;
/// The six exception flags of the status word, and their masks in the control word.
pub(super) const EXCEPTIONS: u16 = 0x3f;
/// Tag of an empty register.
pub(super) const EMPTY: u16 = 3;

/// Which way a stack fault went. Its flag in C1.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum StackFault {
    /// A source is empty.
    Underflow,
    /// The register to be pushed into is not empty.
    Overflow,
}

/// What follows a raised exception.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Response {
    /// All that was raised is masked: the masked response goes ahead.
    Masked,
    /// Operands and results stay as they are; ES is set.
    Stopped,
}

impl Fpu {
    /// Number of the physical register that is ST(n).
    #[inline(always)]
    pub(super) fn physical(&self, n: u8) -> usize {
        ((self.status >> TOP_SHIFT).wrapping_add(u16::from(n)) & 7) as usize
    }
    /// Is ST(n) empty? ST(7) is where a push goes.
    #[inline(always)]
    pub(super) fn is_empty(&self, n: u8) -> bool {
        self.tag >> (2 * self.physical(n)) & EMPTY == EMPTY
    }
    /// ST(n), whatever its tag.
    #[inline(always)]
    pub(super) fn st(&self, n: u8) -> F80 {
        let at = self.physical(n);
        F80 { significand: self.significand[at], sign_exponent: self.sign_exponent[at] }
    }
    /// Writes ST(n), which is not empty thereafter.
    #[inline(always)]
    pub(super) fn set_st(&mut self, n: u8, value: F80) {
        let at = self.physical(n);
        self.significand[at] = value.significand;
        self.sign_exponent[at] = value.sign_exponent;
        self.tag &= !(EMPTY << (2 * at));
    }
    /// Makes ST(n) empty.
    #[inline(always)]
    pub(super) fn free(&mut self, n: u8) {
        self.tag |= EMPTY << (2 * self.physical(n));
    }
    /// Adds to TOP.
    #[inline(always)]
    pub(super) fn rotate(&mut self, by: u16) {
        let top = self.status.wrapping_add(by << TOP_SHIFT) & TOP;
        self.status = self.status & !TOP | top;
    }
    /// Pushes a value; whether the register was empty is the caller's concern.
    #[inline(always)]
    pub(super) fn push(&mut self, value: F80) {
        self.rotate(7);
        self.set_st(0, value);
    }
    /// Pops the stack.
    #[inline(always)]
    pub(super) fn pop(&mut self) {
        self.free(0);
        self.rotate(1);
    }
    /// Rounding, precision and masks of the control word.
    #[inline(always)]
    pub(super) fn env(&self) -> Env {
        Env::from_fcw(self.control)
    }
    /// ES and B from the flags and their masks.
    pub(super) fn summarize(&mut self) {
        let pending = self.status & !self.control & EXCEPTIONS != 0;
        self.status = self.status & !(ES | B) | if pending { ES | B } else { 0 };
    }
    /// Sets exception flags and C1; unmasked ones set ES and B.
    #[inline]
    pub(super) fn raise(&mut self, flags: Flags, c1: bool) {
        self.status = self.status & !C1 | u16::from(flags.bits()) | if c1 { C1 } else { 0 };
        if u16::from(flags.bits()) & !self.control != 0 {
            self.status |= ES | B;
        }
    }
    /// Sets exception flags and clears C1; says whether one stops the instruction.
    #[inline]
    pub(super) fn respond(&mut self, flags: Flags) -> Response {
        self.raise(flags, false);
        if flags.stops(self.env()) { Response::Stopped } else { Response::Masked }
    }
    /// Stack overflow or underflow: IE, SF, and C1 by the direction.
    #[cold]
    pub(super) fn stack_fault(&mut self, fault: StackFault) -> Response {
        self.raise(Flags::IE, fault == StackFault::Overflow);
        self.status |= SF;
        if Flags::IE.stops(self.env()) { Response::Stopped } else { Response::Masked }
    }
    /// A result for ST(n): raises its flags, and writes it unless they stop the instruction.
    #[inline]
    pub(super) fn deliver(&mut self, n: u8, result: Computed<F80>) -> Response {
        self.raise(result.flags, result.c1);
        if result.flags.stops(self.env()) {
            return Response::Stopped;
        }
        self.set_st(n, result.value);
        Response::Masked
    }
    /// Underflow whose masked response is the indefinite in ST(n).
    #[cold]
    pub(super) fn underflow_into(&mut self, n: u8) -> Response {
        let response = self.stack_fault(StackFault::Underflow);
        if response == Response::Masked {
            self.set_st(n, F80::INDEFINITE);
        }
        response
    }
    /// Overflow whose masked response pushes the indefinite over what is there.
    #[cold]
    pub(super) fn overflow(&mut self) {
        if self.stack_fault(StackFault::Overflow) == Response::Masked {
            self.push(F80::INDEFINITE);
        }
    }
}
