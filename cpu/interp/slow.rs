//! `Ops` over plain values, the general domain: every mode, every operand, every fault. One instance of all semantics, with everything chosen at
//! run time. Also what executes single instructions.

use crate::events::{Exception, Flow};
use crate::vcpu::Cpu;
use undercroft_decode::{Cond, Insn, Reg, Rep, Seg, Size};
use undercroft_semantics::flags::FlagOp;
use undercroft_semantics::{Ops, exec, muldiv};
use undercroft_spec::x86::control::rflags;
use undercroft_spec::{LinearAddr, PhysAddr};
use undercroft_walk::AccessKind;

/// The domain.
struct Slow<'a> {
    cpu: &'a mut Cpu,
    flow: Flow,
}

/// Memory that was read for writing: translated, page by page.
#[derive(Clone, Copy)]
struct Place {
    linear: LinearAddr,
    first: PhysAddr,
    second: Option<PhysAddr>,
}

/// Does one instruction. `cpu.s.rip`, `cpu.now` and the block's RIP are exact. RIP is written only if it jumps.
pub fn step(cpu: &mut Cpu, i: &Insn) -> Result<Flow, Exception> {
    let mut o = Slow { cpu, flow: Flow::Next };
    exec(&mut o, i, i.op, i.size(), i.shape())?;
    let flow = o.flow;
    // x87 instructions that wait for an interrupt have not begun.
    if flow == Flow::Again && i.rep() != Rep::None {
        cpu.s.between_iterations = true;
    }
    Ok(flow)
}

impl Slow<'_> {
    fn stack_mask(&self) -> u64 {
        let s = &self.cpu.s;
        match () {
            () if s.is_long() => u64::MAX,
            () if s.segment(Seg::Ss).is_big() => 0xffff_ffff,
            () => 0xffff,
        }
    }
    /// RIP of an offset from the block's start, of the operand's width.
    fn rip_of(&self, i: &Insn, offset: i32) -> u64 {
        let rip = self.cpu.block_rip().wrapping_add(offset as i64 as u64);
        if i.is_long() { rip } else { rip & 0xffff_ffff }
    }
    fn target(&self, i: &Insn) -> u64 {
        let rip = self.rip_of(i, i.imm);
        // A 16-bit operand size truncates the target.
        if i.size() == Size::B2 { rip & 0xffff } else { rip }
    }
}

impl Ops for Slow<'_> {
    undercroft_semantics::plain_values!();

    type Place = Place;
    type Fault = Exception;
    const FAST: bool = false;

    fn reg(&mut self, r: Reg) -> u64 {
        self.cpu.s.regs[r as usize]
    }
    fn set_reg(&mut self, r: Reg, v: u64) {
        self.cpu.s.regs[r as usize] = v;
    }
    fn ea(&mut self, i: &Insn) -> u64 {
        self.cpu.effective_address(i)
    }
    fn ea_with_rsp(&mut self, i: &Insn, rsp: u64) -> u64 {
        self.cpu.effective_address_with_rsp(i, rsp)
    }
    fn load(&mut self, seg: Seg, offset: u64, size: Size) -> Result<u64, Exception> {
        self.cpu.load(seg, offset, size)
    }
    fn store(&mut self, seg: Seg, offset: u64, size: Size, v: u64) -> Result<(), Exception> {
        self.cpu.store(seg, offset, size, v)
    }
    fn load_place(&mut self, seg: Seg, offset: u64, size: Size) -> Result<(u64, Place), Exception> {
        let cpu = &mut *self.cpu;
        let len = size.bytes();
        let linear = cpu.segment_address(seg, offset, len, true)?;
        cpu.check_alignment(linear, len)?;
        let (first, second) = cpu.translate_range(linear, len, AccessKind::Write, crate::mmu::Privilege::Current)?;
        cpu.watch_data(linear, len, true);
        let place = Place { linear, first, second };
        if second.is_none() {
            return Ok((cpu.phys_read(first, len), place));
        }
        let mut bytes = [0; 8];
        let split = (4096 - linear.page_offset()) as usize;
        let (low, high) = bytes[..len as usize].split_at_mut(split);
        cpu.phys_read_bytes(first, low);
        if let Some(second) = second {
            cpu.phys_read_bytes(second, high);
        }
        Ok((u64::from_le_bytes(bytes), place))
    }
    fn store_place(&mut self, place: Place, size: Size, v: u64) {
        let Some(second) = place.second else {
            self.cpu.phys_write(place.first, size.bytes(), v);
            return;
        };
        let bytes = v.to_le_bytes();
        let split = (4096 - place.linear.page_offset()) as usize;
        let (low, high) = bytes[..size.bytes() as usize].split_at(split);
        self.cpu.phys_write_bytes(place.first, low);
        self.cpu.phys_write_bytes(second, high);
    }
    fn stack_address(&mut self, v: u64) -> u64 {
        v & self.stack_mask()
    }
    fn rsp_with(&mut self, v: u64) -> u64 {
        let mask = self.stack_mask();
        // A 32-bit stack pointer is written as a 32-bit register is.
        let keep = if mask == 0xffff { self.cpu.s.regs[Reg::Rsp as usize] & !mask } else { 0 };
        keep | v & mask
    }
    fn flags(&mut self, op: FlagOp, size: Size, a: u64, r: u64) {
        self.cpu.s.flags.record(op, size, a, r);
    }
    fn flags_if(&mut self, b: bool, op: FlagOp, size: Size, a: u64, r: u64) {
        if b {
            self.cpu.s.flags.record(op, size, a, r);
        }
    }
    fn flags_by_carry(&mut self, c: u64, zero: FlagOp, one: FlagOp, size: Size, a: u64, r: u64) {
        self.cpu.s.flags.record(if c == 0 { zero } else { one }, size, a, r);
    }
    fn flags_some(&mut self, mask: u64, v: u64) {
        self.cpu.s.flags.set_some(mask, v);
    }
    fn flags_some_if(&mut self, b: bool, mask: u64, v: u64) {
        if b {
            self.cpu.s.flags.set_some(mask, v);
        }
    }
    fn set_direction(&mut self, down: bool) {
        self.cpu.s.flags.set_other(rflags::DF, if down { rflags::DF } else { 0 });
    }
    fn direction(&mut self) -> bool {
        self.cpu.s.flags.other() & rflags::DF != 0
    }
    fn carry(&mut self) -> u64 {
        u64::from(self.cpu.s.flags.carry())
    }
    fn all_flags(&mut self) -> u64 {
        self.cpu.s.flags.arithmetic()
    }
    fn cond(&mut self, cc: Cond) -> bool {
        self.cpu.s.flags.cond(cc)
    }
    fn divide(&mut self, signed: bool, size: Size, high: u64, low: u64, divisor: u64) -> Result<(u64, u64), Exception> {
        muldiv::divide(signed, size, high, low, divisor).ok_or(Exception::de())
    }
    fn rip(&mut self, i: &Insn, offset: i32) -> u64 {
        self.rip_of(i, offset) & i.size().mask()
    }
    fn check_target(&mut self, v: u64) -> Result<(), Exception> {
        let s = &self.cpu.s;
        let fits = if s.is_long() { crate::mmu::is_canonical(s, v) } else { v <= u64::from(s.segment(Seg::Cs).limit) };
        if fits { Ok(()) } else { Err(Exception::gp(0)) }
    }
    fn jump(&mut self, i: &Insn) -> Result<(), Exception> {
        let target = self.target(i);
        self.check_target(target)?;
        self.jump_to(target);
        Ok(())
    }
    fn branch(&mut self, b: bool, i: &Insn) -> Result<(), Exception> {
        if b { self.jump(i) } else { Ok(()) }
    }
    fn jump_to(&mut self, v: u64) {
        self.cpu.s.rip = v;
        self.flow = Flow::Jump;
    }
    fn again_if(&mut self, b: bool) {
        if b {
            self.flow = Flow::Again;
        }
    }
    fn helper(&mut self, i: &Insn) -> Result<(), Exception> {
        self.flow = match super::vector::describe(i) {
            Some(v) => super::vector::execute(self.cpu, i, v)?,
            None => crate::system::execute(self.cpu, i)?,
        };
        Ok(())
    }
    fn string_bulk(&mut self, i: &Insn) -> Result<bool, Exception> {
        let done = super::strings::bulk(self.cpu, i)?;
        if let Some(flow) = done {
            self.flow = flow;
        }
        Ok(done.is_some())
    }
}
