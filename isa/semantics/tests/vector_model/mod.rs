//! A tiny interpreter over [`State`]: applies a description the way a processor would, and encodes its instruction.

use iced_x86::{Code, Encoder, Instruction, MemoryOperand, Register};
use undercroft_semantics::vector::*;

use crate::host::State;

/// Which of its operand forms an instruction is run in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    Registers,
    Memory,
}

/// The forms that an instruction has.
pub fn forms(insn: &VecInsn) -> Vec<Form> {
    use Operand::Mem;
    match insn.access() {
        _ if insn.action == Action::MaskedStore => vec![Form::Registers],
        Access::None => vec![Form::Registers],
        _ if insn.first == Mem || insn.second == Mem => vec![Form::Memory],
        _ => vec![Form::Registers, Form::Memory],
    }
}

const STATUS: u64 = 0x8d5;

impl State {
    /// Takes the architectural part of another state.
    pub fn copy_from(&mut self, other: &State) {
        (self.xmm, self.mm, self.memory) = (other.xmm, other.mm, other.memory);
        (self.rsi, self.r8, self.rax, self.rdx, self.rcx) = (other.rsi, other.r8, other.rax, other.rdx, other.rcx);
        (self.rflags, self.mxcsr, self.signal) = (other.rflags, other.mxcsr, 0);
    }
}

/// Register 1 for the first operand, 2 for the second.
fn read(operand: Operand, at: usize, form: Form, memory_bytes: u8, imm: u8, state: &State) -> u128 {
    let general = if at == 1 { state.rsi } else { state.r8 };
    match operand {
        o if form == Form::Memory && o.may_be_memory() => {
            let mut bytes = [0; 16];
            bytes[..memory_bytes as usize].copy_from_slice(&state.memory[16..16 + memory_bytes as usize]);
            u128::from_le_bytes(bytes)
        }
        Operand::Xmm | Operand::XmmOrMem => u128::from_le_bytes(state.xmm[at]),
        Operand::Mm | Operand::MmOrMem => state.mm[at] as u128,
        Operand::Gpr32 | Operand::Gpr32OrMem => general as u32 as u128,
        Operand::Gpr64 | Operand::Gpr64OrMem => general as u128,
        Operand::Imm8 => imm as u128,
        Operand::None | Operand::Mem => 0,
    }
}

fn write(insn: &VecInsn, form: Form, value: u128, state: &mut State) {
    match insn.first {
        o if form == Form::Memory && o.may_be_memory() => {
            let n = insn.memory_bytes as usize;
            state.memory[16..16 + n].copy_from_slice(&value.to_le_bytes()[..n]);
        }
        Operand::Xmm | Operand::XmmOrMem => state.xmm[1] = value.to_le_bytes(),
        Operand::Mm | Operand::MmOrMem => state.mm[1] = value as u64,
        Operand::Gpr32 | Operand::Gpr32OrMem => state.rsi = value as u32 as u64,
        Operand::Gpr64 | Operand::Gpr64OrMem => state.rsi = value as u64,
        Operand::None | Operand::Mem | Operand::Imm8 => unreachable!("no destination"),
    }
}

fn write_flags(flags: u32, state: &mut State) {
    state.rflags = state.rflags & !STATUS | flags as u64;
}

/// Executes a described instruction.
pub fn apply(insn: &VecInsn, form: Form, imm: u8, state: &mut State) {
    let first = read(insn.first, 1, form, insn.memory_bytes, imm, state);
    let second = read(insn.second, 2, form, insn.memory_bytes, imm, state);
    let xmm0 = u128::from_le_bytes(state.xmm[0]);
    let imm = if insn.imm8 { imm } else { 0 };
    match if form == Form::Memory { insn.memory_action } else { insn.action } {
        Action::Value(op) if insn.class() == Class::Mmx => {
            write(insn, form, eval_mmx(op, first as u64, second as u64, imm) as u128, state)
        }
        Action::Value(op) => write(insn, form, eval(op, first, second, imm), state),
        Action::ValueXmm0(op) => write(insn, form, eval_xmm0(op, first, second, xmm0), state),
        Action::Flags(op) => write_flags(eval(op, first, second, imm) as u32, state),
        Action::Fp(op) | Action::FpFlags(op) => {
            let (value, flags) = eval_fp(op, first, second, imm, state.mxcsr);
            state.mxcsr |= flags.bits() as u32;
            if flags.bits() as u32 & !(state.mxcsr >> 7) & 0x3f != 0 {
                assert!(insn.can_raise_xm());
                state.signal = 8;
                state.mxcsr |= 0x1f80;
            } else if insn.writes_flags() {
                write_flags(value as u32, state);
            } else {
                write(insn, form, value, state);
            }
        }
        Action::String(length, output) => {
            let result = match length {
                StringLength::Implicit => pcmpistr(first, second, imm),
                StringLength::Explicit32 => {
                    pcmpestr(first, state.rax as i32 as i64, second, state.rdx as i32 as i64, imm)
                }
                StringLength::Explicit64 => pcmpestr(first, state.rax as i64, second, state.rdx as i64, imm),
            };
            write_flags(result.flags, state);
            match output {
                StringOutput::Index => state.rcx = result.index as u64,
                StringOutput::Mask => state.xmm[0] = result.mask.to_le_bytes(),
            }
        }
        Action::MaskedStore => {
            let mask = masked_bytes(second);
            for i in (0..insn.memory_bytes as usize).filter(|i| mask >> i & 1 != 0) {
                state.memory[16 + i] = first.to_le_bytes()[i];
            }
        }
        Action::Empty => {}
    }
}

/// The register that stands for an operand.
fn register(operand: Operand, at: usize) -> Register {
    use Operand::*;
    match operand {
        Xmm | XmmOrMem => [Register::XMM0, Register::XMM1, Register::XMM2][at],
        Mm | MmOrMem => [Register::MM0, Register::MM1, Register::MM2][at],
        Gpr32 | Gpr32OrMem => [Register::EAX, Register::ESI, Register::R8D][at],
        Gpr64 | Gpr64OrMem => [Register::RAX, Register::RSI, Register::R8][at],
        None | Mem | Imm8 => unreachable!("not a register"),
    }
}

/// The instruction's bytes: registers as in [`read`], memory at R9 (RDI for the masked stores).
pub fn encode(code: Code, insn: &VecInsn, form: Form, imm: u8) -> Vec<u8> {
    let memory = MemoryOperand::with_base(Register::R9);
    let (first, second) = (insn.first, insn.second);
    let is_memory = |operand: Operand| form == Form::Memory && operand.may_be_memory();
    let (r1, r2) = (|| register(first, 1), || register(second, 2));
    let imm = imm as u32;
    let instruction = match (is_memory(first), is_memory(second), insn.imm8) {
        _ if code == Code::Emms => Ok(Instruction::with(code)),
        _ if code == Code::Maskmovq_rDI_mm_mm => Instruction::with_maskmovq(64, r1(), r2(), Register::None),
        _ if code == Code::Maskmovdqu_rDI_xmm_xmm => Instruction::with_maskmovdqu(64, r1(), r2(), Register::None),
        (false, false, false) if second == Operand::Imm8 => Instruction::with2(code, r1(), imm),
        (false, false, false) => Instruction::with2(code, r1(), r2()),
        (true, _, false) => Instruction::with2(code, memory, r2()),
        (_, true, false) => Instruction::with2(code, r1(), memory),
        (false, false, true) => Instruction::with3(code, r1(), r2(), imm),
        (true, _, true) => Instruction::with3(code, memory, r2(), imm),
        (_, true, true) => Instruction::with3(code, r1(), memory, imm),
    };
    let mut encoder = Encoder::new(64);
    encoder.encode(&instruction.expect("operands fit the code"), 0).expect("encodable");
    encoder.take_buffer()
}
