//! `Ops` over plain values, the fast domain: 64-bit code, flat memory operands, pages that the TLB knows. Anything else is refused with
//! [`Bail`], and the general instance does the instruction again: until then nothing was changed.

use super::Cursor;
use crate::vcpu::Cpu;
use undercroft_decode::{Cond, Insn, Reg, Seg, Size};
use undercroft_semantics::flags::{self, FlagOp};
use undercroft_semantics::{Ops, muldiv};
use undercroft_spec::x86::control::rflags;
use undercroft_tlb::Place;

/// Not here: let the general instance do it.
pub struct Bail;

/// Where control goes after the instruction.
#[derive(Clone, Copy)]
pub enum Next {
    /// To the next record.
    Fall,
    /// To the instruction's own target.
    Taken,
    /// To an address.
    To(u64),
}

/// Flags of the operation just before in the same handler: known to the optimiser.
#[derive(Clone, Copy)]
struct Last {
    op: FlagOp,
    size: Size,
    a: u64,
    r: u64,
}

/// The domain.
pub struct Plain<'a> {
    pub cpu: &'a mut Cpu,
    pub next: Next,
    /// The block at the address of `Next::To`.
    pub block: Option<Cursor>,
    last: Option<Last>,
}

impl<'a> Plain<'a> {
    #[inline(always)]
    pub fn new(cpu: &'a mut Cpu) -> Self {
        Plain { cpu, next: Next::Fall, block: None, last: None }
    }
}

impl Ops for Plain<'_> {
    undercroft_semantics::plain_values!();

    type Place = Place;
    type Fault = Bail;
    const FAST: bool = true;

    #[inline(always)]
    fn reg(&mut self, r: Reg) -> u64 {
        self.cpu.s.regs[r as usize]
    }
    #[inline(always)]
    fn set_reg(&mut self, r: Reg, v: u64) {
        self.cpu.s.regs[r as usize] = v;
    }
    #[inline(always)]
    fn ea(&mut self, i: &Insn) -> u64 {
        let r = &self.cpu.s.regs;
        r[i.base as usize].wrapping_add(r[i.index as usize] << i.scale()).wrapping_add(i.disp as i64 as u64)
    }
    #[inline(always)]
    fn ea_with_rsp(&mut self, i: &Insn, rsp: u64) -> u64 {
        let r = &self.cpu.s.regs;
        let base = if i.base as u8 == Reg::Rsp as u8 { rsp } else { r[i.base as usize] };
        base.wrapping_add(r[i.index as usize] << i.scale()).wrapping_add(i.disp as i64 as u64)
    }
    #[inline(always)]
    fn load(&mut self, _seg: Seg, at: u64, size: Size) -> Result<u64, Bail> {
        let tlb = &self.cpu.mmu.tlb;
        let value = match size {
            Size::B1 => tlb.load::<u8>(at).map(u64::from),
            Size::B2 => tlb.load::<u16>(at).map(u64::from),
            Size::B4 => tlb.load::<u32>(at).map(u64::from),
            Size::B8 => tlb.load::<u64>(at),
        };
        value.ok_or(Bail)
    }
    #[inline(always)]
    fn store(&mut self, _seg: Seg, at: u64, size: Size, v: u64) -> Result<(), Bail> {
        let tlb = &self.cpu.mmu.tlb;
        let done = match size {
            Size::B1 => tlb.store(at, v as u8),
            Size::B2 => tlb.store(at, v as u16),
            Size::B4 => tlb.store(at, v as u32),
            Size::B8 => tlb.store(at, v),
        };
        if done { Ok(()) } else { Err(Bail) }
    }
    #[inline(always)]
    fn load_place(&mut self, _seg: Seg, at: u64, size: Size) -> Result<(u64, Place), Bail> {
        let tlb = &self.cpu.mmu.tlb;
        let place = match size {
            Size::B1 => tlb.place::<u8>(at),
            Size::B2 => tlb.place::<u16>(at),
            Size::B4 => tlb.place::<u32>(at),
            Size::B8 => tlb.place::<u64>(at),
        };
        let place = place.ok_or(Bail)?;
        let value = match size {
            Size::B1 => tlb.load_place::<u8>(place).map(u64::from),
            Size::B2 => tlb.load_place::<u16>(place).map(u64::from),
            Size::B4 => tlb.load_place::<u32>(place).map(u64::from),
            Size::B8 => tlb.load_place::<u64>(place),
        };
        Ok((value.ok_or(Bail)?, place))
    }
    #[inline(always)]
    fn store_place(&mut self, place: Place, size: Size, v: u64) {
        let tlb = &self.cpu.mmu.tlb;
        match size {
            Size::B1 => tlb.store_place(place, v as u8),
            Size::B2 => tlb.store_place(place, v as u16),
            Size::B4 => tlb.store_place(place, v as u32),
            Size::B8 => tlb.store_place(place, v),
        }
    }
    #[inline(always)]
    fn stack_address(&mut self, v: u64) -> u64 {
        v
    }
    #[inline(always)]
    fn rsp_with(&mut self, v: u64) -> u64 {
        v
    }
    #[inline(always)]
    fn flags(&mut self, op: FlagOp, size: Size, a: u64, r: u64) {
        self.cpu.s.flags.record(op, size, a, r);
        self.last = Some(Last { op, size, a, r });
    }
    #[inline(always)]
    fn flags_if(&mut self, b: bool, op: FlagOp, size: Size, a: u64, r: u64) {
        if b {
            self.cpu.s.flags.record(op, size, a, r);
        }
        self.last = None;
    }
    #[inline(always)]
    fn flags_by_carry(&mut self, c: u64, zero: FlagOp, one: FlagOp, size: Size, a: u64, r: u64) {
        self.cpu.s.flags.record(if c == 0 { zero } else { one }, size, a, r);
        self.last = None;
    }
    #[inline(always)]
    fn flags_some(&mut self, mask: u64, v: u64) {
        if mask == rflags::ARITHMETIC {
            self.cpu.s.flags.set_arithmetic(v);
        } else {
            self.cpu.s.flags.set_some(mask, v);
        }
        self.last = None;
    }
    #[inline(always)]
    fn flags_some_if(&mut self, b: bool, mask: u64, v: u64) {
        if b {
            self.flags_some(mask, v);
        }
    }
    #[inline(always)]
    fn set_direction(&mut self, down: bool) {
        self.cpu.s.flags.set_other(rflags::DF, if down { rflags::DF } else { 0 });
    }
    #[inline(always)]
    fn direction(&mut self) -> bool {
        self.cpu.s.flags.other() & rflags::DF != 0
    }
    #[inline(always)]
    fn carry(&mut self) -> u64 {
        u64::from(self.cpu.s.flags.carry())
    }
    #[inline(always)]
    fn all_flags(&mut self) -> u64 {
        self.cpu.s.flags.arithmetic()
    }
    #[inline(always)]
    fn cond(&mut self, cc: Cond) -> bool {
        match self.last {
            Some(l) => flags::cond(cc, l.op, l.size, l.a, l.r),
            None => self.cpu.s.flags.cond(cc),
        }
    }
    #[inline(always)]
    fn divide(&mut self, signed: bool, size: Size, high: u64, low: u64, divisor: u64) -> Result<(u64, u64), Bail> {
        // What compilers make: a dividend that is only as wide as the divisor, and a result that fits.
        if !signed && high == 0 && divisor != 0 {
            return Ok((low / divisor, low % divisor));
        }
        muldiv::divide(signed, size, high, low, divisor).ok_or(Bail)
    }
    #[inline(always)]
    fn rip(&mut self, _i: &Insn, offset: i32) -> u64 {
        self.cpu.s.regs[Reg::BlockRip as usize].wrapping_add(offset as i64 as u64)
    }
    #[inline(always)]
    fn check_target(&mut self, v: u64) -> Result<(), Bail> {
        // What was executed under the same tag is an address that may be executed.
        self.block = Some(self.cpu.code.target(v, self.cpu.fetch_tag).ok_or(Bail)?);
        Ok(())
    }
    #[inline(always)]
    fn jump(&mut self, _i: &Insn) -> Result<(), Bail> {
        self.next = Next::Taken;
        Ok(())
    }
    #[inline(always)]
    fn branch(&mut self, b: bool, _i: &Insn) -> Result<(), Bail> {
        self.next = if b { Next::Taken } else { Next::Fall };
        Ok(())
    }
    #[inline(always)]
    fn jump_to(&mut self, v: u64) {
        self.next = Next::To(v);
    }
    #[inline(always)]
    fn again_if(&mut self, _b: bool) {}
    #[inline(always)]
    fn helper(&mut self, _i: &Insn) -> Result<(), Bail> {
        Err(Bail)
    }
    #[inline(always)]
    fn string_bulk(&mut self, _i: &Insn) -> Result<bool, Bail> {
        Err(Bail)
    }
}
