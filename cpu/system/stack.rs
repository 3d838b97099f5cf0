//! Stacks of helpers: the current one, and those that a change of privilege is about to make current.
//! SDM volume 1, "Procedure Calls, Interrupts, and Exceptions"; volume 3, "Stack Switching".

use crate::events::Exception;
use crate::mmu::{Privilege, is_canonical};
use crate::state::Segment;
use crate::vcpu::Cpu;
use undercroft_decode::{Reg, Seg, Size};
use undercroft_spec::LinearAddr;
use undercroft_spec::x86::control::rflags;
use undercroft_walk::AccessKind;

/// A stack: that of SS and RSP, or one to be switched to.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Stack {
    /// SS.
    pub ss: Segment,
    /// Stack pointer, whole.
    pub sp: u64,
    /// Bits of the stack pointer that count: 16, 32 or 64.
    pub mask: u64,
    /// Privilege level of accesses.
    pub cpl: u8,
    /// Error code of `#SS` when a value does not fit.
    pub code: u32,
}

/// Most values that one transfer pushes: 31 parameters and four more through a call gate, 33 of ENTER.
const MAX_VALUES: usize = 40;

impl Stack {
    /// A stack of 64-bit mode.
    pub(crate) fn long(ss: Segment, sp: u64, cpl: u8) -> Stack {
        Stack { ss, sp, mask: u64::MAX, cpl, code: 0 }
    }
    /// A stack outside 64-bit mode; its width is the segment's B flag.
    pub(crate) fn legacy(ss: Segment, sp: u64, cpl: u8, code: u32) -> Stack {
        Stack { ss, sp, mask: if ss.is_big() { 0xffff_ffff } else { 0xffff }, cpl, code }
    }
    /// The stack pointer moved by so many bytes.
    fn moved(&self, by: u64) -> u64 {
        self.sp.wrapping_add(by) & self.mask
    }
    /// What the stack pointer register becomes for a new pointer: bits that do not count stay, but 32 bits clear the upper half.
    pub(crate) fn register(&self, sp: u64) -> u64 {
        match self.mask {
            0xffff => self.sp & 0xffff_0000 | sp & 0xffff,
            mask => sp & mask,
        }
    }
    /// Linear address of `len` bytes at `offset`, after the segment's checks.
    fn address(&self, cpu: &Cpu, offset: u64, len: u64, write: bool) -> Result<LinearAddr, Exception> {
        let fault = Exception::ss(self.code);
        if self.mask == u64::MAX {
            let last = offset.wrapping_add(len - 1);
            let canonical = is_canonical(&cpu.s, offset) && is_canonical(&cpu.s, last);
            return if canonical { Ok(LinearAddr(offset)) } else { Err(fault) };
        }
        let last = offset + (len - 1);
        let checked = cpu.s.is_protected() && !cpu.s.is_v8086();
        if checked && (self.ss.is_unusable() || (write && !self.ss.is_writable())) {
            return Err(fault);
        }
        let within = if self.ss.is_expand_down() && cpu.s.is_protected() {
            offset > u64::from(self.ss.limit) && last <= self.mask
        } else {
            last <= u64::from(self.ss.limit)
        };
        if !within {
            return Err(fault);
        }
        Ok(LinearAddr(self.ss.base.wrapping_add(offset) & 0xffff_ffff))
    }

    /// Pushes values of one width, the first one first; all or nothing. The new stack pointer register, which is not written.
    /// The privilege level becomes the stack's if this succeeds: it must be the last step of a transfer that can fail.
    pub(crate) fn push(&self, cpu: &mut Cpu, size: Size, values: &[u64]) -> Result<u64, Exception> {
        let old = cpu.s.cpl;
        cpu.set_cpl(self.cpl);
        let done = self.push_at_level(cpu, size, values);
        if done.is_err() {
            cpu.set_cpl(old);
        }
        done
    }
    fn push_at_level(&self, cpu: &mut Cpu, size: Size, values: &[u64]) -> Result<u64, Exception> {
        let bytes = size.bytes();
        let total = bytes * values.len() as u64;
        let low = self.moved(total.wrapping_neg());
        let contiguous = (self.mask == u64::MAX || self.sp & self.mask >= total) && values.len() <= MAX_VALUES;
        if contiguous && let Ok(linear) = self.address(cpu, low, total, true) {
            // Within one page the first value decides for all.
            if linear.page_offset() + total <= 4096 && cpu.check_alignment(linear, bytes).is_ok() {
                for (n, value) in values.iter().rev().enumerate().rev() {
                    let at = linear.wrapping_add(bytes * n as u64);
                    cpu.store_linear(at, bytes, *value, Privilege::Current)?;
                }
                return Ok(self.register(low));
            }
        }
        // One by one, so that the fault is that of the first value that does not fit; none is written before all can be.
        let mut place = [LinearAddr(0); MAX_VALUES];
        for (n, place) in place.iter_mut().take(values.len()).enumerate() {
            let offset = self.moved((bytes * (n as u64 + 1)).wrapping_neg());
            *place = self.address(cpu, offset, bytes, true)?;
            cpu.check_alignment(*place, bytes)?;
            cpu.translate_range(*place, bytes, AccessKind::Write, Privilege::Current)?;
        }
        for (linear, value) in place.iter().zip(values) {
            cpu.store_linear(*linear, bytes, *value, Privilege::Current)?;
        }
        Ok(self.register(low))
    }
    /// `#SS`, or a page fault, if so many values cannot be pushed.
    pub(crate) fn check_room(&self, cpu: &mut Cpu, size: Size, count: u64) -> Result<(), Exception> {
        for n in 1..=count {
            let linear = self.address(cpu, self.moved((size.bytes() * n).wrapping_neg()), size.bytes(), true)?;
            cpu.translate_range(linear, size.bytes(), AccessKind::Write, Privilege::Current)?;
        }
        Ok(())
    }
    /// Reads the `n`-th value of this width above the stack pointer, without moving it.
    pub(crate) fn peek(&self, cpu: &mut Cpu, size: Size, n: u64) -> Result<u64, Exception> {
        self.peek_bytes(cpu, size, n * size.bytes())
    }
    /// Reads a value at a distance from the stack pointer.
    pub(crate) fn peek_bytes(&self, cpu: &mut Cpu, size: Size, distance: u64) -> Result<u64, Exception> {
        let linear = self.address(cpu, self.moved(distance), size.bytes(), false)?;
        cpu.check_alignment(linear, size.bytes())?;
        cpu.load_linear(linear, size.bytes(), Privilege::Current)
    }
    /// The stack pointer register after popping so many bytes.
    pub(crate) fn popped(&self, bytes: u64) -> u64 {
        self.register(self.moved(bytes))
    }
}

impl Cpu {
    /// Changes the privilege level.
    #[inline]
    pub(crate) fn set_cpl(&mut self, cpl: u8) {
        if self.s.cpl != cpl {
            self.s.cpl = cpl;
            self.attention = true;
            self.context_changed();
        }
    }
    /// Loads CS with the privilege level, and RIP: the last step of every far transfer.
    #[inline]
    pub(crate) fn enter_code(&mut self, cs: Segment, cpl: u8, rip: u64) {
        let size = self.s.code_size();
        self.s.set_segment(Seg::Cs, cs);
        if self.s.cpl != cpl {
            self.set_cpl(cpl);
        } else if self.s.code_size() != size {
            self.fetch_tag_changed();
        }
        self.s.rip = rip;
        self.attention = true;
    }
    /// Writes RFLAGS within `mask`.
    pub(crate) fn write_flags(&mut self, mask: u64, value: u64) {
        let old = self.s.flags.get();
        let new = old & !mask | value & mask;
        self.s.flags.set(new);
        self.attention = true;
        if (old ^ new) & (rflags::AC | rflags::VM) != 0 {
            self.context_changed();
        }
    }
    /// The current stack.
    pub(crate) fn stack(&self) -> Stack {
        let (ss, sp) = (*self.s.segment(Seg::Ss), self.s.regs[Reg::Rsp as usize]);
        if self.s.is_long() { Stack::long(ss, sp, self.s.cpl) } else { Stack::legacy(ss, sp, self.s.cpl, 0) }
    }
    /// Pushes values on the current stack, and moves the stack pointer.
    pub(crate) fn push_values(&mut self, size: Size, values: &[u64]) -> Result<(), Exception> {
        let sp = self.stack().push(self, size, values)?;
        self.s.regs[Reg::Rsp as usize] = sp;
        Ok(())
    }
}
