//! What an instruction uses without naming it, and values under which it does more than fault.

use super::{Builder, state};
use crate::layout::{DATA, PAGE};
use crate::values::{self, Kind};
use iced_x86::{Instruction, Mnemonic, OpKind, Register};

const RAX: usize = 0;
const RCX: usize = 1;
const RDX: usize = 2;
const RBX: usize = 3;
const RSP: usize = 4;
const RBP: usize = 5;
const RSI: usize = 6;
const RDI: usize = 7;

impl Builder<'_> {
    pub(super) fn implicit(&mut self, i: &mut Instruction) {
        use Mnemonic as M;
        match i.mnemonic() {
            M::Push | M::Call | M::Pushf | M::Pushfq | M::Pop | M::Popf | M::Popfq | M::Ret | M::Enter | M::Leave => {
                self.stack(i)
            }
            M::Jmp => self.indirect(i),
            M::Movsb | M::Movsw | M::Movsq | M::Stosb | M::Stosw | M::Stosd | M::Stosq => self.string(i),
            M::Lodsb | M::Lodsw | M::Lodsd | M::Lodsq | M::Scasb | M::Scasw | M::Scasd | M::Scasq => self.string(i),
            M::Cmpsb | M::Cmpsw | M::Cmpsq => self.string(i),
            M::Movsd | M::Cmpsd if i.is_string_instruction() => self.string(i),
            M::Maskmovq | M::Maskmovdqu => {
                let target = self.data_target(16);
                self.pin(RDI, target.wrapping_sub(self.segment_base(i)));
            }
            M::Xlatb => {
                let target = self.data_target(1);
                let index = self.value_of(RAX) & 0xff;
                self.pin(RBX, target.wrapping_sub(index).wrapping_sub(self.segment_base(i)));
            }
            M::Div | M::Idiv => self.divide(i),
            M::Cmpxchg | M::Cmpxchg8b | M::Cmpxchg16b => self.compare_and_exchange(i),
            M::Bt | M::Bts | M::Btr | M::Btc => self.bit_offset(i),
            M::Rol | M::Ror | M::Rcl | M::Rcr | M::Shl | M::Sal | M::Shr | M::Sar | M::Shld | M::Shrd => {
                let count = self.r.below(72) | self.r.next() & !0xff;
                self.pin(RCX, count);
            }
            M::Loop | M::Loope | M::Loopne | M::Jrcxz | M::Jecxz => {
                let count = self.r.pick(&[0, 1, 2, 1 << 32, 1 << 32 | 1, u64::MAX]);
                self.pin(RCX, count);
            }
            M::Fxrstor | M::Fxrstor64 | M::Ldmxcsr | M::Fldcw | M::Fldenv | M::Frstor => self.state_image(i),
            M::Wrfsbase | M::Wrgsbase => self.base(i),
            M::Pcmpestri | M::Pcmpestrm | M::Pcmpestri64 | M::Pcmpestrm64 => {
                for n in [RAX, RDX] {
                    let length = self.r.below(20).wrapping_sub(2);
                    self.pin(n, length);
                }
            }
            M::Bextr | M::Bzhi if i.op2_kind() == OpKind::Register && self.r.percent(70) => {
                let value = self.r.below(70) | self.r.below(70) << 8 | self.r.next() & 0xffff_0000;
                self.pin(i.op2_register().full_register().number(), value);
            }
            _ => {}
        }
    }

    fn stack(&mut self, i: &mut Instruction) {
        use Mnemonic as M;
        let rsp = self.stack_target();
        if !self.pin(RSP, rsp) {
            return;
        }
        match i.mnemonic() {
            M::Ret => {
                if i.op0_kind() == OpKind::Immediate16 && self.r.percent(70) {
                    i.set_immediate16(self.r.below(64) as u16);
                }
                self.code_in_memory(rsp);
            }
            M::Popf | M::Popfq => {
                let mut flags = self.r.next();
                if self.r.percent(90) {
                    // Neither TF nor AC.
                    flags &= !(1 << 8 | 1 << 18);
                }
                self.patch(rsp, flags.to_le_bytes().to_vec());
            }
            M::Pop => {
                let bytes = values::bytes(&mut self.r, 8, Kind::Integer);
                self.patch(rsp, bytes);
            }
            M::Call => self.indirect(i),
            M::Leave => {
                let rbp = self.stack_target();
                self.pin(RBP, rbp);
            }
            M::Enter => {
                if self.r.percent(80) {
                    i.set_immediate16(self.r.below(256) as u16);
                }
                if self.r.percent(80) {
                    i.set_immediate8_2nd(self.r.below(6) as u8);
                }
                let rbp = self.stack_target();
                self.pin(RBP, rbp);
            }
            _ => {}
        }
    }

    /// JMP and CALL through a register or memory.
    fn indirect(&mut self, i: &mut Instruction) {
        match i.op0_kind() {
            OpKind::Register => self.code_in_register(i.op0_register().full_register().number()),
            OpKind::Memory => self.code_in_memory(self.target),
            _ => {}
        }
    }

    fn string(&mut self, i: &mut Instruction) {
        let size = i.memory_size().size() as u64;
        let base = self.segment_base(i);
        let (from, to) = (self.data_target(size), self.data_target(size));
        self.pin(RSI, from.wrapping_sub(base));
        self.pin(RDI, to);
        if i.has_rep_prefix() || i.has_repne_prefix() || self.r.percent(20) {
            let count = match self.r.below(10) {
                0 => 0,
                1 => 1,
                2 => self.r.below(5000),
                3 => values::integer(&mut self.r),
                _ => self.r.below(40),
            };
            self.pin(RCX, count);
        }
        // The same at both places and in the accumulator, so that comparisons go on for some steps.
        if self.r.percent(40) {
            let same = if self.r.percent(50) {
                vec![self.value_of(RAX) as u8; 64]
            } else {
                values::bytes(&mut self.r, 64, Kind::Any)
            };
            for at in [from, to] {
                self.patch(at.wrapping_sub(32), same.clone());
            }
        }
    }

    /// Mostly a dividend whose quotient fits.
    fn divide(&mut self, i: &mut Instruction) {
        if self.r.percent(30) {
            return;
        }
        let size = if i.op0_kind() == OpKind::Register { i.op0_register().size() } else { i.memory_size().size() };
        let divisor = match i.op0_kind() {
            OpKind::Register => {
                let register = i.op0_register();
                let value = self.value_of(register.full_register().number());
                if matches!(register, Register::AH | Register::BH | Register::CH | Register::DH) {
                    value >> 8
                } else {
                    value
                }
            }
            _ => {
                let bytes = values::bytes(&mut self.r, 8, Kind::Integer);
                self.patch(self.target, bytes.clone());
                u64::from_le_bytes(bytes.try_into().unwrap_or_default())
            }
        };
        let bits = size as u32 * 8;
        let mask = u64::MAX >> (64 - bits);
        let divisor = divisor & mask;
        if divisor == 0 {
            return;
        }
        let high = if i.mnemonic() == Mnemonic::Div {
            self.r.next() % divisor
        } else {
            // A dividend near the quotient's limits, or well inside.
            let near = divisor >> 1;
            let signed =
                if self.r.percent(50) { near.wrapping_sub(self.r.below(3)) } else { self.r.next() % near.max(1) };
            if self.r.percent(50) { !signed & mask } else { signed }
        };
        if bits == 8 {
            let low = self.r.below(256);
            self.pin(RAX, self.registers.gpr[RAX] & !0xffff | high << 8 | low);
        } else {
            self.pin(RDX, self.registers.gpr[RDX] & !mask | high);
        }
    }

    /// Half of the time the comparison succeeds.
    fn compare_and_exchange(&mut self, i: &mut Instruction) {
        if self.r.percent(50) {
            return;
        }
        match i.mnemonic() {
            Mnemonic::Cmpxchg => {
                if i.op0_kind() == OpKind::Register {
                    let value = self.value_of(i.op0_register().full_register().number());
                    self.pin(RAX, value);
                } else {
                    let value = self.value_of(RAX);
                    self.patch(self.target, value.to_le_bytes().to_vec());
                }
            }
            _ => {
                let half = i.memory_size().size() / 2;
                let mut bytes = self.value_of(RAX).to_le_bytes()[..half].to_vec();
                bytes.extend_from_slice(&self.value_of(RDX).to_le_bytes()[..half]);
                self.patch(self.target, bytes);
            }
        }
    }

    /// Offsets that stay near the operand, of both signs.
    fn bit_offset(&mut self, i: &mut Instruction) {
        if i.op0_kind() == OpKind::Memory && i.op1_kind() == OpKind::Register && self.r.percent(85) {
            let offset = self.r.below(2048).wrapping_sub(1024);
            let size = i.op1_register().size();
            let garbage = if size == 8 { 0 } else { self.r.next() << (size * 8) };
            let value = offset & u64::MAX >> (64 - size * 8) | garbage;
            self.pin(i.op1_register().full_register().number(), value);
        }
    }

    /// What FXRSTOR and its kin load.
    fn state_image(&mut self, i: &mut Instruction) {
        use Mnemonic as M;
        let bytes = match i.mnemonic() {
            M::Fldcw => state::control(&mut self.r).to_le_bytes().to_vec(),
            M::Ldmxcsr => self.any_mxcsr().to_le_bytes().to_vec(),
            M::Fldenv | M::Frstor => self.x87_image(i),
            _ => {
                let mut fx = state::fx(&mut self.r);
                let mxcsr = self.any_mxcsr();
                fx.set_mxcsr(mxcsr);
                fx.0.to_vec()
            }
        };
        self.patch(self.target, bytes);
    }
    /// Sometimes with bits that are reserved. Not bit 17, which AMD's processors have.
    fn any_mxcsr(&mut self) -> u32 {
        match self.r.below(10) {
            0 => self.r.next() as u32 & !(1 << 17),
            1 => 1 << (16 + self.r.below(16)) & !(1 << 17),
            _ => state::mxcsr(&mut self.r),
        }
    }
    /// The protected-mode images of FSTENV and FSAVE, 32-bit or 16-bit.
    fn x87_image(&mut self, i: &Instruction) -> Vec<u8> {
        let fx = state::fx(&mut self.r);
        let full_tag = self.r.next() as u16;
        let wide = matches!(i.memory_size().size(), 28 | 108);
        let mut image = Vec::with_capacity(108);
        for n in 0..7 {
            let word = match n {
                0 => fx.control(),
                1 => fx.status(),
                2 => full_tag,
                _ => self.r.next() as u16,
            };
            image.extend_from_slice(&word.to_le_bytes());
            if wide {
                image.extend_from_slice(&[0xff, 0xff]);
            }
        }
        for n in 0..8 {
            let (significand, exponent) = fx.st(n);
            image.extend_from_slice(&significand.to_le_bytes());
            image.extend_from_slice(&exponent.to_le_bytes());
        }
        image.truncate(i.memory_size().size());
        image
    }

    fn base(&mut self, i: &mut Instruction) {
        let value = match self.r.below(8) {
            0 => self.r.next(),
            1 => 1 << 47,
            2 => u64::MAX << 47,
            3 => self.r.below(1 << 47),
            _ => DATA + PAGE + self.r.below(PAGE),
        };
        self.pin(i.op0_register().full_register().number(), value);
    }
}
