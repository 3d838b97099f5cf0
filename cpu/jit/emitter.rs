//! `Ops` that emit host code: one pass, each operation at once.
//!
//! At emission an access never fails: what may fail when the code runs leaves it by a cold exit, [`Reason::Bail`], and the instruction is done by
//! the interpreter. Registers and flags are in the environment and a body writes none before its last access, so an exit has nothing to put right.
//! `Err` means that no code can be made for the instruction.

use crate::Refused;
use crate::assembler::{Alu, Host, Jump, RAX, RBX, RCX, RDX, Rm, op};
use crate::env::{PAGE, TLB_ENTRIES, at, helper, kind};
use crate::values::{B, Compare, Test, V, Values, negated};
use undercroft_decode::{Cond, Insn, Reg, Seg, Size};
use undercroft_semantics::Ops;
use undercroft_semantics::flags::FlagOp;
use undercroft_semantics::pure::Pure;
use undercroft_spec::x86::control::rflags;

/// Why code is left: the low bits of what it returns; the rest is the instruction's number in the block.
#[derive(Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Reason {
    /// Behind the last instruction.
    Next = 0,
    /// To the instruction's own target.
    Taken,
    /// To the address in `rip`.
    To,
    /// The instruction once more.
    Again,
    /// The instruction was not done, and nothing of it.
    Bail,
}
/// Bits of a reason.
pub const REASON_BITS: u32 = 3;

/// Where control goes when the body has returned.
#[derive(Clone, Copy)]
enum Next {
    Fall,
    Leave(B, Reason),
}

/// The last operation that set the flags, while its operands are still at hand.
#[derive(Clone, Copy)]
struct Last {
    /// Leaves the host's flags as the operation left the machine's.
    test: Option<(Compare, V, V)>,
    size: Size,
    /// The result: ZF, SF and PF follow from it alone.
    r: V,
}

/// The domain.
pub struct Emitter {
    v: Values,
    number: u32,
    segment_folded: bool,
    next: Next,
    last: Option<Last>,
    /// Exits to behind the instruction.
    ends: Vec<Jump>,
    bails: Vec<(Jump, u32)>,
}

impl Emitter {
    pub fn new(limit: usize) -> Self {
        let v = Values::new(limit);
        Emitter {
            v,
            number: 0,
            segment_folded: false,
            next: Next::Fall,
            last: None,
            ends: Vec::new(),
            bails: Vec::new(),
        }
    }
    /// Before an instruction's body.
    pub fn begin(&mut self, number: u32, i: &Insn) {
        self.number = number;
        self.segment_folded = i.is_segment_folded();
        self.next = Next::Fall;
    }
    /// After it.
    pub fn end(&mut self) -> Result<(), Refused> {
        match self.next {
            Next::Fall | Next::Leave(B::Known(false), _) => {}
            Next::Leave(B::Known(true), reason) => self.leave(self.number, reason),
            Next::Leave(B::Test(t), reason) => {
                self.v.prepare(t);
                let cc = self.v.evaluate(t);
                let stay = self.v.asm.jump_if(negated(cc));
                self.leave(self.number, reason);
                self.v.asm.land(stay);
            }
        }
        if !self.ends.is_empty() {
            // Two ways meet here, on which the flags come from different operations.
            self.last = None;
        }
        for jump in std::mem::take(&mut self.ends) {
            self.v.asm.land(jump);
        }
        if self.v.exhausted {
            return Err(Refused::TooComplex);
        }
        self.last = match self.last {
            None => {
                self.v.restart([]);
                None
            }
            Some(Last { test: None, size, r }) => {
                let [r] = self.v.restart([r]);
                r.map(|r| Last { test: None, size, r })
            }
            Some(Last { test: Some((how, a, b)), size, r }) => {
                let [a, b, r] = self.v.restart([a, b, r]);
                r.map(|r| Last { test: a.zip(b).map(|(a, b)| (how, a, b)), size, r })
            }
        };
        Ok(())
    }
    /// After the last instruction: the way on, and the cold exits.
    pub fn finish(mut self) -> Result<Vec<u8>, Refused> {
        self.leave(self.number, Reason::Next);
        let bails = std::mem::take(&mut self.bails);
        for (n, (jump, number)) in bails.iter().enumerate() {
            self.v.asm.land(*jump);
            // One exit for all accesses of an instruction.
            if bails.get(n + 1).is_none_or(|(_, next)| next != number) {
                self.leave(*number, Reason::Bail);
            }
        }
        if self.v.asm.overflowed() { Err(Refused::TooLong) } else { Ok(self.v.asm.into_bytes()) }
    }

    fn leave(&mut self, number: u32, reason: Reason) {
        self.v.asm.mov_imm(RAX, u64::from(number << REASON_BITS | reason as u32));
        self.v.asm.raw(&[0xc3]);
    }
    fn bail_if(&mut self, cc: Cond) {
        let jump = self.v.asm.jump_if(cc);
        self.bails.push((jump, self.number));
    }

    /// A new value: a copy of another, which the caller then changes.
    fn copy(&mut self, bits: u32, a: V) -> (V, Host) {
        self.v.host(a);
        let (v, host) = self.v.define(bits);
        self.v.fetch(host, a);
        (v, host)
    }
    fn alu(&mut self, alu: Alu, bits: u32, a: V, b: V) -> V {
        if self.v.immediate(Size::B8, b).is_none() {
            self.v.host(b);
        }
        let (v, host) = self.copy(bits, a);
        self.v.alu_with(Size::B8, alu, host, b);
        v
    }
    /// Constants second.
    fn ordered(&self, a: V, b: V) -> (V, V) {
        if self.v.known(a).is_some() { (b, a) } else { (a, b) }
    }
    fn folded(&mut self, a: V, b: V, f: impl FnOnce(u64, u64) -> u64) -> Option<V> {
        let known = f(self.v.known(a)?, self.v.known(b)?);
        Some(self.v.constant(known))
    }
    /// SHL, SHR, SAR by the opcode's extension.
    fn shift(&mut self, extension: u8, bits: u32, a: V, n: V) -> V {
        match self.v.known(n) {
            Some(0) => a,
            Some(known) => {
                let (v, host) = self.copy(bits, a);
                self.v.asm.shift_imm(Size::B8, extension, host, known as u8 & 63);
                v
            }
            None => {
                let (v, host) = self.copy(bits, a);
                self.v.fetch(RCX, n);
                self.v.asm.op(Size::B8, op::SHIFT_CL, extension, Rm::Reg(host));
                v
            }
        }
    }
    /// High half of a product: MUL or IMUL, by the opcode's extension.
    fn high(&mut self, extension: u8, a: V, b: V) -> V {
        let b = self.v.host(b);
        let (v, host) = self.v.define(64);
        self.v.fetch(RAX, a);
        self.v.asm.op(Size::B8, op::GROUP3, extension, Rm::Reg(b));
        self.v.asm.mov(host, Rm::Reg(RDX));
        v
    }

    fn address(&mut self, i: &Insn, base: V) -> V {
        // Without base or index those are slots that hold zero: constants.
        let index = if i.index == Reg::Zero { None } else { Some(self.reg(i.index)) };
        let wide = if i.addr_size() == Size::B8 { Size::B8 } else { Size::B4 };
        let rm = match (self.v.known(base), index) {
            (Some(_), None) => return self.imm(i.disp as i64 as u64 & i.addr_size().mask()),
            (None, None) if i.disp == 0 && wide == Size::B8 => return base,
            (None, None) => Rm::At(self.v.host(base), i.disp),
            (Some(_), Some(index)) => Rm::Scaled(self.v.host(index), i.scale() as u8, i.disp),
            (None, Some(index)) => {
                let index = self.v.host(index);
                Rm::Indexed(self.v.host(base), index, i.scale() as u8, i.disp)
            }
        };
        let (v, host) = self.v.define(wide.bits());
        self.v.asm.op(wide, op::LEA, host, rm);
        v
    }
    /// In 64-bit mode only FS and GS have a base; a folded one is in the address already.
    fn linear(&mut self, seg: Seg, offset: V) -> V {
        if self.segment_folded || !matches!(seg, Seg::Fs | Seg::Gs) {
            return offset;
        }
        let base = self.reg(Reg::segment_base(seg));
        self.add(base, offset)
    }
    /// Probes the TLB. RAX becomes the addend: the operand is at RAX plus the register returned. The xor leaves the offset in the page if the tag matches.
    fn probe(&mut self, linear: V, size: Size, tag: i32) -> Rm {
        let host = self.v.host(linear);
        let asm = &mut self.v.asm;
        asm.op(Size::B4, op::MOV_R_RM, RCX, Rm::Reg(host));
        asm.shift_imm(Size::B4, 5, RCX, 12 - at::TLB_SHIFT);
        asm.alu_imm(Size::B4, Alu::And, Rm::Reg(RCX), (TLB_ENTRIES as i32 - 1) << at::TLB_SHIFT);
        asm.mov(RDX, Rm::Indexed(RBX, RCX, 0, tag));
        asm.alu(Size::B8, Alu::Xor, RDX, Rm::Reg(host));
        asm.alu_imm(Size::B8, Alu::Cmp, Rm::Reg(RDX), PAGE as i32 - size.bytes() as i32);
        self.bail_if(Cond::A);
        self.v.asm.mov(RAX, Rm::Indexed(RBX, RCX, 0, at::TLB_ADDEND));
        Rm::Indexed(RAX, host, 0, 0)
    }
    fn write(&mut self, size: Size, to: Rm, v: V, host: Option<Host>) {
        match (host, self.v.immediate(size, v)) {
            (None, Some(imm)) => self.v.asm.mov_mem_imm(size, to, imm),
            (Some(host), _) => self.v.asm.sized(size, op::MOV_RM_R, host, to),
            (None, None) => {}
        }
    }
    /// The register to write a value from; none if it is an immediate.
    fn writable(&mut self, size: Size, v: V) -> Option<Host> {
        if self.v.immediate(size, v).is_some() { None } else { Some(self.v.host(v)) }
    }

    fn record(&mut self, kind: u8, a: V, r: V) {
        self.v.store_env(at::FLAGS_A, Size::B8, a);
        self.v.store_env(at::FLAGS_R, Size::B8, r);
        self.v.asm.mov_mem_imm(Size::B1, Rm::At(RBX, at::FLAGS_KIND), i32::from(kind));
    }
    fn record_known(&mut self, v: V) {
        self.v.store_env(at::FLAGS_A, Size::B8, v);
        self.v.asm.mov_mem_imm(Size::B1, Rm::At(RBX, at::FLAGS_KIND), 0);
        self.last = None;
    }
    /// All flags, those of `mask` replaced; and the old ones.
    fn replaced(&mut self, mask: u64, v: V) -> (V, V) {
        let old = self.all_flags();
        let (keep, take) = (self.imm(!mask), self.imm(mask));
        let rest = self.and(old, keep);
        let new = self.and(v, take);
        (self.or(rest, new), old)
    }
    fn truth(&mut self, v: V) -> B {
        B::Test(Test { how: Compare::Test, size: Size::B8, a: v, b: v, cc: Cond::Ne })
    }
}

impl Ops for Emitter {
    type V = V;
    type B = B;
    type Place = V;
    type Fault = Refused;
    const FAST: bool = false;

    fn imm(&mut self, value: u64) -> V {
        self.v.constant(value)
    }
    fn reg(&mut self, r: Reg) -> V {
        if r == Reg::Zero { self.v.constant(0) } else { self.v.load_env(at::reg(r), Size::B8) }
    }
    fn set_reg(&mut self, r: Reg, v: V) {
        self.v.store_env(at::reg(r), Size::B8, v);
    }

    fn add(&mut self, a: V, b: V) -> V {
        if let Some(v) = self.folded(a, b, u64::wrapping_add) {
            return v;
        }
        let (x, y) = self.ordered(a, b);
        let v = if self.v.known(y) == Some(0) {
            // A value of its own: it has an origin of its own.
            self.copy(64, x).0
        } else {
            let first = self.v.host(x);
            let rm = match self.v.immediate(Size::B8, y) {
                Some(imm) => Rm::At(first, imm),
                None => Rm::Indexed(first, self.v.host(y), 0, 0),
            };
            let (v, host) = self.v.define(64);
            self.v.asm.op(Size::B8, op::LEA, host, rm);
            v
        };
        self.v.set_origin(v, Some((Compare::Add, a, b)));
        v
    }
    fn sub(&mut self, a: V, b: V) -> V {
        if let Some(v) = self.folded(a, b, u64::wrapping_sub) {
            return v;
        }
        let v = match self.v.immediate(Size::B8, b).and_then(i32::checked_neg) {
            Some(imm) => {
                let first = self.v.host(a);
                let (v, host) = self.v.define(64);
                self.v.asm.op(Size::B8, op::LEA, host, Rm::At(first, imm));
                v
            }
            None => self.alu(Alu::Sub, 64, a, b),
        };
        self.v.set_origin(v, Some((Compare::Cmp, a, b)));
        v
    }
    fn and(&mut self, a: V, b: V) -> V {
        if let Some(v) = self.folded(a, b, |a, b| a & b) {
            return v;
        }
        let (a, b) = self.ordered(a, b);
        match self.v.known(b) {
            Some(0xff) => self.zext(Size::B1, a),
            Some(0xffff) => self.zext(Size::B2, a),
            Some(0xffff_ffff) => self.zext(Size::B4, a),
            Some(mask) if mask.trailing_ones() >= self.v.bits(a) => a,
            _ => {
                let bits = self.v.bits(a).min(self.v.bits(b));
                self.alu(Alu::And, bits, a, b)
            }
        }
    }
    fn or(&mut self, a: V, b: V) -> V {
        if let Some(v) = self.folded(a, b, |a, b| a | b) {
            return v;
        }
        let (a, b) = self.ordered(a, b);
        if self.v.known(b) == Some(0) {
            return a;
        }
        let bits = self.v.bits(a).max(self.v.bits(b));
        self.alu(Alu::Or, bits, a, b)
    }
    fn xor(&mut self, a: V, b: V) -> V {
        if let Some(v) = self.folded(a, b, |a, b| a ^ b) {
            return v;
        }
        let (a, b) = self.ordered(a, b);
        let bits = self.v.bits(a).max(self.v.bits(b));
        self.alu(Alu::Xor, bits, a, b)
    }
    fn shl(&mut self, a: V, n: V) -> V {
        match self.folded(a, n, |a, n| a << (n & 63)) {
            Some(v) => v,
            None => self.shift(4, 64, a, n),
        }
    }
    fn shr(&mut self, a: V, n: V) -> V {
        let bits = self.v.bits(a).saturating_sub(self.v.known(n).unwrap_or(0) as u32 & 63);
        match self.folded(a, n, |a, n| a >> (n & 63)) {
            Some(v) => v,
            None => self.shift(5, bits, a, n),
        }
    }
    fn sar(&mut self, a: V, n: V) -> V {
        match self.folded(a, n, |a, n| (a as i64 >> (n & 63)) as u64) {
            Some(v) => v,
            None => self.shift(7, 64, a, n),
        }
    }
    fn mul(&mut self, a: V, b: V) -> V {
        let b = self.v.host(b);
        let (v, host) = self.copy(64, a);
        self.v.asm.op(Size::B8, op::IMUL, host, Rm::Reg(b));
        v
    }
    fn mul_high(&mut self, a: V, b: V) -> V {
        self.high(4, a, b)
    }
    fn mul_high_signed(&mut self, a: V, b: V) -> V {
        self.high(5, a, b)
    }
    fn zext(&mut self, from: Size, a: V) -> V {
        if let Some(known) = self.v.known(a) {
            return self.v.constant(known & from.mask());
        }
        if self.v.bits(a) <= from.bits() {
            return a;
        }
        let host = self.v.host(a);
        let (v, to) = self.v.define(from.bits());
        self.v.asm.load(from, to, Rm::Reg(host));
        let origin = self.v.origin(a);
        self.v.set_origin(v, origin);
        v
    }
    fn sext(&mut self, from: Size, a: V) -> V {
        if let Some(known) = self.v.known(a) {
            return self.v.constant(undercroft_semantics::flags::signed(from, known) as u64);
        }
        let opcode = match from {
            Size::B1 => op::MOVSX8,
            Size::B2 => op::MOVSX16,
            Size::B4 => op::MOVSX32,
            Size::B8 => return a,
        };
        let host = self.v.host(a);
        let (v, to) = self.v.define(64);
        self.v.asm.op(Size::B8, opcode, to, Rm::Reg(host));
        v
    }
    fn pure(&mut self, f: Pure, a: V, b: V) -> V {
        if f == Pure::SwapBytes {
            let (v, host) = self.copy(64, a);
            self.v.asm.raw(&[0x48 | host >> 3, 0x0f, 0xc8 | host & 7]);
            return v;
        }
        let which = self.imm(f as u64);
        self.v.call(helper::PURE, &[which, a, b], 64)
    }

    fn eq(&mut self, a: V, b: V) -> B {
        if let Some(v) = self.folded(a, b, |a, b| u64::from(a == b)) {
            return B::Known(self.v.known(v) == Some(1));
        }
        let (a, b) = self.ordered(a, b);
        let (how, b) = if self.v.known(b) == Some(0) { (Compare::Test, a) } else { (Compare::Cmp, b) };
        B::Test(Test { how, size: Size::B8, a, b, cc: Cond::E })
    }
    fn lt(&mut self, a: V, b: V) -> B {
        B::Test(Test { how: Compare::Cmp, size: Size::B8, a, b, cc: Cond::B })
    }
    fn not(&mut self, b: B) -> B {
        match b {
            B::Known(b) => B::Known(!b),
            B::Test(t) => B::Test(Test { cc: negated(t.cc), ..t }),
        }
    }
    fn select(&mut self, b: B, x: V, y: V) -> V {
        let t = match b {
            B::Known(b) => return if b { x } else { y },
            B::Test(t) => t,
        };
        self.v.prepare(t);
        if self.v.known(x) == Some(1) && self.v.known(y) == Some(0) {
            let (v, host) = self.v.define(1);
            let cc = self.v.evaluate(t);
            self.v.asm.op(Size::B4, op::SETCC | cc as u32, 0, Rm::Reg(RAX));
            self.v.asm.load(Size::B1, host, Rm::Reg(RAX));
            return v;
        }
        let from = self.v.host(x);
        let bits = self.v.bits(x).max(self.v.bits(y));
        let (v, host) = self.copy(bits, y);
        let cc = self.v.evaluate(t);
        self.v.asm.op(Size::B8, op::CMOV | cc as u32, host, Rm::Reg(from));
        v
    }

    fn ea(&mut self, i: &Insn) -> V {
        let base = self.reg(i.base);
        self.address(i, base)
    }
    fn ea_with_rsp(&mut self, i: &Insn, rsp: V) -> V {
        if i.base == Reg::Rsp { self.address(i, rsp) } else { self.ea(i) }
    }
    fn load(&mut self, seg: Seg, offset: V, size: Size) -> Result<V, Refused> {
        let linear = self.linear(seg, offset);
        let from = self.probe(linear, size, at::TLB_READ);
        let (v, host) = self.v.define(size.bits());
        self.v.asm.load(size, host, from);
        Ok(v)
    }
    fn store(&mut self, seg: Seg, offset: V, size: Size, v: V) -> Result<(), Refused> {
        let linear = self.linear(seg, offset);
        let host = self.writable(size, v);
        let to = self.probe(linear, size, at::TLB_WRITE);
        self.write(size, to, v, host);
        Ok(())
    }
    fn load_place(&mut self, seg: Seg, offset: V, size: Size) -> Result<(V, V), Refused> {
        let linear = self.linear(seg, offset);
        let from = self.probe(linear, size, at::TLB_WRITE);
        let (place, address) = self.v.define(64);
        self.v.asm.op(Size::B8, op::LEA, address, from);
        let (v, host) = self.v.define(size.bits());
        self.v.asm.load(size, host, Rm::At(address, 0));
        Ok((v, place))
    }
    fn store_place(&mut self, place: V, size: Size, v: V) {
        let host = self.writable(size, v);
        let to = Rm::At(self.v.host(place), 0);
        self.write(size, to, v, host);
    }
    fn stack_address(&mut self, v: V) -> V {
        v
    }
    fn rsp_with(&mut self, v: V) -> V {
        v
    }

    fn flags(&mut self, op: FlagOp, size: Size, a: V, r: V) {
        self.record(kind(op, size), a, r);
        let origin = if self.v.bits(r) >= size.bits() { self.v.origin(r) } else { None };
        let test = match (op, origin) {
            (FlagOp::Logic, _) => Some((Compare::Test, r, r)),
            (FlagOp::Add, Some((Compare::Add, x, y))) if self.v.same(x, a) => Some((Compare::Add, x, y)),
            (FlagOp::Sub, Some((Compare::Cmp, x, y))) if self.v.same(x, a) => Some((Compare::Cmp, x, y)),
            _ => None,
        };
        self.last = Some(Last { test, size, r });
    }
    fn flags_if(&mut self, b: B, op: FlagOp, size: Size, a: V, r: V) {
        match b {
            B::Known(true) => self.flags(op, size, a, r),
            B::Known(false) => {}
            B::Test(t) => {
                self.v.prepare(t);
                let cc = self.v.evaluate(t);
                let skip = self.v.asm.jump_if(negated(cc));
                self.record(kind(op, size), a, r);
                self.v.asm.land(skip);
                self.last = None;
            }
        }
    }
    fn flags_by_carry(&mut self, c: V, zero: FlagOp, one: FlagOp, size: Size, a: V, r: V) {
        if let Some(c) = self.v.known(c) {
            return self.flags(if c == 0 { zero } else { one }, size, a, r);
        }
        let none = self.imm(0);
        let clear = self.eq(c, none);
        let (zero, one) = (self.imm(u64::from(kind(zero, size))), self.imm(u64::from(kind(one, size))));
        let kind = self.select(clear, zero, one);
        self.v.store_env(at::FLAGS_A, Size::B8, a);
        self.v.store_env(at::FLAGS_R, Size::B8, r);
        self.v.store_env(at::FLAGS_KIND, Size::B1, kind);
        self.last = Some(Last { test: None, size, r });
    }
    fn flags_some(&mut self, mask: u64, v: V) {
        let new = if mask == rflags::ARITHMETIC { v } else { self.replaced(mask, v).0 };
        self.record_known(new);
    }
    fn flags_some_if(&mut self, b: B, mask: u64, v: V) {
        match b {
            B::Known(false) => {}
            B::Known(true) => self.flags_some(mask, v),
            B::Test(_) => {
                let (new, old) = self.replaced(mask, v);
                let chosen = self.select(b, new, old);
                self.record_known(chosen);
            }
        }
    }
    fn set_direction(&mut self, down: bool) {
        let (alu, imm) = if down { (Alu::Or, rflags::DF as i32) } else { (Alu::And, !(rflags::DF as i32)) };
        self.v.asm.alu_imm(Size::B8, alu, Rm::At(RBX, at::FLAGS_OTHER), imm);
    }
    fn direction(&mut self) -> B {
        let other = self.v.load_env(at::FLAGS_OTHER, Size::B8);
        let df = self.imm(rflags::DF);
        let down = self.and(other, df);
        self.truth(down)
    }
    fn carry(&mut self) -> V {
        let b = match self.last {
            Some(Last { test: Some((Compare::Test, ..)), .. }) => return self.imm(0),
            _ => self.cond(Cond::B),
        };
        let (one, zero) = (self.imm(1), self.imm(0));
        self.select(b, one, zero)
    }
    fn all_flags(&mut self) -> V {
        let kind = self.v.load_env(at::FLAGS_KIND, Size::B1);
        let (a, r) = (self.v.load_env(at::FLAGS_A, Size::B8), self.v.load_env(at::FLAGS_R, Size::B8));
        self.v.call(helper::ALL_FLAGS, &[kind, a, r], 12)
    }
    fn cond(&mut self, cc: Cond) -> B {
        match self.last {
            Some(Last { test: Some((how, a, b)), size, .. }) => B::Test(Test { how, size, a, b, cc }),
            Some(Last { r, size, .. })
                if matches!(cc, Cond::E | Cond::Ne | Cond::S | Cond::Ns | Cond::P | Cond::Np) =>
            {
                B::Test(Test { how: Compare::Test, size, a: r, b: r, cc })
            }
            _ => {
                let kind = self.v.load_env(at::FLAGS_KIND, Size::B1);
                let (a, r) = (self.v.load_env(at::FLAGS_A, Size::B8), self.v.load_env(at::FLAGS_R, Size::B8));
                let cc = self.imm(cc as u64);
                let holds = self.v.call(helper::COND, &[kind, a, r, cc], 1);
                self.truth(holds)
            }
        }
    }

    fn divide(&mut self, signed: bool, size: Size, high: V, low: V, divisor: V) -> Result<(V, V), Refused> {
        let by = if signed {
            let width = self.imm(size as u64);
            let divides = self.v.call(helper::DIVIDES, &[width, high, low, divisor], 1);
            let host = self.v.host(divides);
            self.v.asm.sized(Size::B4, op::TEST, host, Rm::Reg(host));
            self.bail_if(Cond::E);
            self.sext(size, divisor)
        } else {
            // The quotient fits exactly if the high half is below the divisor, which then is not zero.
            let high = self.v.host(high);
            let divisor_host = self.v.host(divisor);
            self.v.asm.alu(Size::B8, Alu::Cmp, high, Rm::Reg(divisor_host));
            self.bail_if(Cond::Ae);
            divisor
        };
        let by = self.v.host(by);
        let low = self.v.host(low);
        let (quotient, q) = self.v.define(64);
        let (remainder, r) = self.v.define(64);
        if size == Size::B8 {
            self.v.fetch(RDX, high);
            self.v.asm.mov(RAX, Rm::Reg(low));
        } else {
            // The whole dividend fits into 64 bits.
            self.v.fetch(RAX, high);
            self.v.asm.shift_imm(Size::B8, 4, RAX, size.bits() as u8);
            self.v.asm.alu(Size::B8, Alu::Or, RAX, Rm::Reg(low));
            match (signed, size) {
                (false, _) => self.v.asm.mov_imm(RDX, 0),
                (true, Size::B1) => self.v.asm.op(Size::B8, op::MOVSX16, RAX, Rm::Reg(RAX)),
                (true, Size::B2) => self.v.asm.op(Size::B8, op::MOVSX32, RAX, Rm::Reg(RAX)),
                (true, _) => {}
            }
            if signed {
                // CQO
                self.v.asm.raw(&[0x48, 0x99]);
            }
        }
        self.v.asm.op(Size::B8, op::GROUP3, if signed { 7 } else { 6 }, Rm::Reg(by));
        self.v.asm.mov(q, Rm::Reg(RAX));
        self.v.asm.mov(r, Rm::Reg(RDX));
        Ok((self.zext(size, quotient), self.zext(size, remainder)))
    }
    fn rotate_carry(&mut self, left: bool, size: Size, a: V, count: V, c: V) -> (V, V) {
        let how = self.imm(u64::from(left) << 2 | size as u64);
        let r = self.v.call(helper::ROTATE, &[how, a, count, c], size.bits());
        (r, self.v.call(helper::ROTATE_CARRY, &[how, a, count, c], 1))
    }

    fn rip(&mut self, i: &Insn, offset: i32) -> V {
        let block = self.reg(Reg::BlockRip);
        let offset = self.imm(offset as i64 as u64);
        let rip = self.add(block, offset);
        self.zext(i.size(), rip)
    }
    fn check_target(&mut self, v: V) -> Result<(), Refused> {
        let n = self.imm(16);
        let high = self.shl(v, n);
        let canonical = self.sar(high, n);
        let host = self.v.host(canonical);
        self.v.alu_with(Size::B8, Alu::Cmp, host, v);
        self.bail_if(Cond::Ne);
        Ok(())
    }
    fn jump(&mut self, _i: &Insn) -> Result<(), Refused> {
        self.next = Next::Leave(B::Known(true), Reason::Taken);
        Ok(())
    }
    fn branch(&mut self, b: B, _i: &Insn) -> Result<(), Refused> {
        self.next = Next::Leave(b, Reason::Taken);
        Ok(())
    }
    fn jump_to(&mut self, v: V) {
        self.v.store_env(at::RIP, Size::B8, v);
        self.next = Next::Leave(B::Known(true), Reason::To);
    }
    fn again_if(&mut self, b: B) {
        self.next = Next::Leave(b, Reason::Again);
    }

    fn helper(&mut self, _i: &Insn) -> Result<(), Refused> {
        Err(Refused::Helper)
    }
    fn finish_if(&mut self, b: B) -> bool {
        match b {
            B::Known(b) => b,
            B::Test(t) => {
                let cc = self.v.evaluate(t);
                let jump = self.v.asm.jump_if(cc);
                self.ends.push(jump);
                false
            }
        }
    }
    fn string_bulk(&mut self, _i: &Insn) -> Result<bool, Refused> {
        Ok(false)
    }
}
