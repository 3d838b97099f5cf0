//! `Ops` over plain values, on the compiler's environment: what emitted code is compared with.

use undercroft_decode::{Cond, Insn, Reg, Seg, Size};
use undercroft_jit::{Env, FlagRecord, Outcome};
use undercroft_semantics::flags::{self, FlagOp};
use undercroft_semantics::{Ops, exec, muldiv};
use undercroft_spec::x86::control::rflags;

/// Does a block.
pub fn run(env: &mut Env, insns: &[Insn]) -> Outcome {
    for (number, i) in insns.iter().enumerate() {
        let number = number as u32;
        let mut o = Plain { env, folded: i.is_segment_folded(), next: Outcome::Next, number };
        match exec(&mut o, i, i.op, i.size(), i.shape()) {
            Err(Bail) => return Outcome::Bail(number),
            Ok(()) if o.next != Outcome::Next => return o.next,
            Ok(()) => {}
        }
    }
    Outcome::Next
}

struct Bail;

struct Plain<'a> {
    env: &'a mut Env,
    folded: bool,
    next: Outcome,
    number: u32,
}

impl Plain<'_> {
    fn place(&self, seg: Seg, offset: u64, size: Size, write: bool) -> Result<(usize, usize), Bail> {
        let based = !self.folded && matches!(seg, Seg::Fs | Seg::Gs);
        let base = if based { self.env.regs[Reg::segment_base(seg) as usize] } else { 0 };
        self.env.probe(base.wrapping_add(offset), size.bytes(), write).ok_or(Bail)
    }
    fn read(&self, (page, at): (usize, usize), size: Size) -> u64 {
        let mut bytes = [0; 8];
        let len = size.bytes() as usize;
        bytes[..len].copy_from_slice(&self.env.memory()[page][at..at + len]);
        u64::from_le_bytes(bytes)
    }
    fn set_known(&mut self, v: u64) {
        self.env.flags = FlagRecord { a: v & rflags::ARITHMETIC, kind: 0, ..self.env.flags };
    }
}

impl Ops for Plain<'_> {
    undercroft_semantics::plain_values!();

    type Place = (usize, usize);
    type Fault = Bail;
    const FAST: bool = false;

    fn reg(&mut self, r: Reg) -> u64 {
        self.env.regs[r as usize]
    }
    fn set_reg(&mut self, r: Reg, v: u64) {
        self.env.regs[r as usize] = v;
    }
    fn ea(&mut self, i: &Insn) -> u64 {
        let rsp = self.env.regs[Reg::Rsp as usize];
        self.ea_with_rsp(i, rsp)
    }
    fn ea_with_rsp(&mut self, i: &Insn, rsp: u64) -> u64 {
        let r = &self.env.regs;
        let base = if i.base == Reg::Rsp { rsp } else { r[i.base as usize] };
        let sum = base.wrapping_add(r[i.index as usize] << i.scale()).wrapping_add(i.disp as i64 as u64);
        sum & i.addr_size().mask()
    }
    fn load(&mut self, seg: Seg, offset: u64, size: Size) -> Result<u64, Bail> {
        let place = self.place(seg, offset, size, false)?;
        Ok(self.read(place, size))
    }
    fn store(&mut self, seg: Seg, offset: u64, size: Size, v: u64) -> Result<(), Bail> {
        let place = self.place(seg, offset, size, true)?;
        self.store_place(place, size, v);
        Ok(())
    }
    fn load_place(&mut self, seg: Seg, offset: u64, size: Size) -> Result<(u64, (usize, usize)), Bail> {
        let place = self.place(seg, offset, size, true)?;
        Ok((self.read(place, size), place))
    }
    fn store_place(&mut self, (page, at): (usize, usize), size: Size, v: u64) {
        let len = size.bytes() as usize;
        self.env.memory_mut()[page][at..at + len].copy_from_slice(&v.to_le_bytes()[..len]);
    }
    fn stack_address(&mut self, v: u64) -> u64 {
        v
    }
    fn rsp_with(&mut self, v: u64) -> u64 {
        v
    }
    fn flags(&mut self, op: FlagOp, size: Size, a: u64, r: u64) {
        self.env.flags = FlagRecord { other: self.env.flags.other, ..FlagRecord::new(op, size, a, r) };
    }
    fn flags_if(&mut self, b: bool, op: FlagOp, size: Size, a: u64, r: u64) {
        if b {
            self.flags(op, size, a, r);
        }
    }
    fn flags_by_carry(&mut self, c: u64, zero: FlagOp, one: FlagOp, size: Size, a: u64, r: u64) {
        self.flags(if c == 0 { zero } else { one }, size, a, r);
    }
    fn flags_some(&mut self, mask: u64, v: u64) {
        let old = self.all_flags();
        self.set_known(old & !mask | v & mask);
    }
    fn flags_some_if(&mut self, b: bool, mask: u64, v: u64) {
        if b {
            self.flags_some(mask, v);
        }
    }
    fn set_direction(&mut self, down: bool) {
        let other = self.env.flags.other & !rflags::DF;
        self.env.flags.other = if down { other | rflags::DF } else { other };
    }
    fn direction(&mut self) -> bool {
        self.env.flags.other & rflags::DF != 0
    }
    fn carry(&mut self) -> u64 {
        u64::from(self.cond(Cond::B))
    }
    fn all_flags(&mut self) -> u64 {
        self.env.flags.arithmetic()
    }
    fn cond(&mut self, cc: Cond) -> bool {
        let f = &self.env.flags;
        flags::cond(cc, f.op(), f.size(), f.a, f.r)
    }
    fn divide(&mut self, signed: bool, size: Size, high: u64, low: u64, divisor: u64) -> Result<(u64, u64), Bail> {
        muldiv::divide(signed, size, high, low, divisor).ok_or(Bail)
    }
    fn rip(&mut self, i: &Insn, offset: i32) -> u64 {
        self.env.regs[Reg::BlockRip as usize].wrapping_add(offset as i64 as u64) & i.size().mask()
    }
    fn check_target(&mut self, v: u64) -> Result<(), Bail> {
        if ((v << 16) as i64 >> 16) as u64 == v { Ok(()) } else { Err(Bail) }
    }
    fn jump(&mut self, _i: &Insn) -> Result<(), Bail> {
        self.next = Outcome::Taken(self.number);
        Ok(())
    }
    fn branch(&mut self, b: bool, _i: &Insn) -> Result<(), Bail> {
        if b {
            self.next = Outcome::Taken(self.number);
        }
        Ok(())
    }
    fn jump_to(&mut self, v: u64) {
        self.env.rip = v;
        self.next = Outcome::To(self.number);
    }
    fn again_if(&mut self, b: bool) {
        if b {
            self.next = Outcome::Again(self.number);
        }
    }
    fn helper(&mut self, _i: &Insn) -> Result<(), Bail> {
        Err(Bail)
    }
    fn string_bulk(&mut self, _i: &Insn) -> Result<bool, Bail> {
        Ok(false)
    }
}
