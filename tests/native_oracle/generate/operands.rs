//! Explicit operands: registers, memory, immediates.

use super::Builder;
use super::memory::{GPR32, GPR64};
use crate::values;
use iced_x86::{Instruction, MemorySize, OpCodeOperandKind, OpKind, Register};

const GPR8: [Register; 20] = [
    Register::AL,
    Register::CL,
    Register::DL,
    Register::BL,
    Register::SPL,
    Register::BPL,
    Register::SIL,
    Register::DIL,
    Register::R8L,
    Register::R9L,
    Register::R10L,
    Register::R11L,
    Register::R12L,
    Register::R13L,
    Register::R14L,
    Register::R15L,
    Register::AH,
    Register::CH,
    Register::DH,
    Register::BH,
];
const GPR16: [Register; 16] = [
    Register::AX,
    Register::CX,
    Register::DX,
    Register::BX,
    Register::SP,
    Register::BP,
    Register::SI,
    Register::DI,
    Register::R8W,
    Register::R9W,
    Register::R10W,
    Register::R11W,
    Register::R12W,
    Register::R13W,
    Register::R14W,
    Register::R15W,
];
const MM: [Register; 8] = [
    Register::MM0,
    Register::MM1,
    Register::MM2,
    Register::MM3,
    Register::MM4,
    Register::MM5,
    Register::MM6,
    Register::MM7,
];
const XMM: [Register; 16] = [
    Register::XMM0,
    Register::XMM1,
    Register::XMM2,
    Register::XMM3,
    Register::XMM4,
    Register::XMM5,
    Register::XMM6,
    Register::XMM7,
    Register::XMM8,
    Register::XMM9,
    Register::XMM10,
    Register::XMM11,
    Register::XMM12,
    Register::XMM13,
    Register::XMM14,
    Register::XMM15,
];
const ST: [Register; 8] = [
    Register::ST0,
    Register::ST1,
    Register::ST2,
    Register::ST3,
    Register::ST4,
    Register::ST5,
    Register::ST6,
    Register::ST7,
];
const SEG: [Register; 6] = [Register::ES, Register::CS, Register::SS, Register::DS, Register::FS, Register::GS];

impl Builder<'_> {
    /// Fills all operands of the instruction's code. `None`: a kind that no chosen code has.
    pub(super) fn operands(&mut self, i: &mut Instruction) -> Option<()> {
        let info = i.code().op_code();
        let memory = info.memory_size();
        for (n, kind) in info.op_kinds().iter().enumerate() {
            self.operand(i, n as u32, *kind, memory)?;
        }
        if info.can_use_lock_prefix() && self.r.percent(25) && i.op0_kind() == OpKind::Memory {
            i.set_has_lock_prefix(true);
        }
        if info.can_use_rep_prefix() && self.r.percent(50) {
            i.set_has_rep_prefix(true);
        } else if info.can_use_repne_prefix() && self.r.percent(50) {
            i.set_has_repne_prefix(true);
        }
        Some(())
    }

    fn operand(&mut self, i: &mut Instruction, n: u32, kind: OpCodeOperandKind, memory: MemorySize) -> Option<()> {
        use OpCodeOperandKind as K;
        match kind {
            K::mem | K::mem_mib => self.memory(i, n, memory),
            K::r8_or_mem => self.either(i, n, &GPR8, memory),
            K::r16_or_mem => self.either(i, n, &GPR16, memory),
            K::r32_or_mem => self.either(i, n, &GPR32, memory),
            K::r64_or_mem => self.either(i, n, &GPR64, memory),
            K::mm_or_mem => self.either(i, n, &MM, memory),
            K::xmm_or_mem => self.either(i, n, &XMM, memory),
            K::r8_reg | K::r8_opcode => self.register(i, n, &GPR8),
            K::r16_reg | K::r16_rm | K::r16_opcode => self.register(i, n, &GPR16),
            K::r32_reg | K::r32_rm | K::r32_opcode | K::r32_vvvv => self.register(i, n, &GPR32),
            K::r64_reg | K::r64_rm | K::r64_opcode | K::r64_vvvv => self.register(i, n, &GPR64),
            K::seg_reg => self.register(i, n, &SEG),
            K::mm_reg | K::mm_rm => self.register(i, n, &MM),
            K::xmm_reg | K::xmm_rm | K::xmm_vvvv => self.register(i, n, &XMM),
            K::sti_opcode => self.register(i, n, &ST),
            K::es => i.set_op_register(n, Register::ES),
            K::cs => i.set_op_register(n, Register::CS),
            K::ss => i.set_op_register(n, Register::SS),
            K::ds => i.set_op_register(n, Register::DS),
            K::fs => i.set_op_register(n, Register::FS),
            K::gs => i.set_op_register(n, Register::GS),
            K::al => i.set_op_register(n, Register::AL),
            K::cl => i.set_op_register(n, Register::CL),
            K::ax => i.set_op_register(n, Register::AX),
            K::dx => i.set_op_register(n, Register::DX),
            K::eax => i.set_op_register(n, Register::EAX),
            K::rax => i.set_op_register(n, Register::RAX),
            K::st0 => i.set_op_register(n, Register::ST0),
            _ => return self.other_operand(i, n, kind, memory),
        }
        Some(())
    }

    fn other_operand(
        &mut self,
        i: &mut Instruction,
        n: u32,
        kind: OpCodeOperandKind,
        memory: MemorySize,
    ) -> Option<()> {
        use OpCodeOperandKind as K;
        let narrow = self.r.percent(15);
        let (si, di, es_di) = match narrow {
            false => (OpKind::MemorySegRSI, OpKind::MemorySegRDI, OpKind::MemoryESRDI),
            true => (OpKind::MemorySegESI, OpKind::MemorySegEDI, OpKind::MemoryESEDI),
        };
        // Both operands of MOVS and CMPS have one address size.
        let same = |i: &Instruction, a: OpKind, b: OpKind| if n > 0 && i.op0_kind() == b { b } else { a };
        let value = values::integer(&mut self.r);
        match kind {
            K::mem_offs => {
                let target = self.data_target(memory.size() as u64);
                i.set_op_kind(n, OpKind::Memory);
                i.set_memory_displacement64(if narrow { target & 0xffff_ffff } else { target });
                i.set_memory_displ_size(if narrow { 4 } else { 8 });
                self.patch_operand(target, memory);
            }
            K::imm8 => self.immediate8(i, n, value as u8),
            K::imm8_const_1 => self.immediate8(i, n, 1),
            K::imm8sex16 => {
                i.set_op_kind(n, OpKind::Immediate8to16);
                i.set_immediate8to16(value as i8 as i16);
            }
            K::imm8sex32 => {
                i.set_op_kind(n, OpKind::Immediate8to32);
                i.set_immediate8to32(value as i8 as i32);
            }
            K::imm8sex64 => {
                i.set_op_kind(n, OpKind::Immediate8to64);
                i.set_immediate8to64(value as i8 as i64);
            }
            K::imm16 => {
                i.set_op_kind(n, OpKind::Immediate16);
                i.set_immediate16(value as u16);
            }
            K::imm32 => {
                i.set_op_kind(n, OpKind::Immediate32);
                i.set_immediate32(value as u32);
            }
            K::imm32sex64 => {
                i.set_op_kind(n, OpKind::Immediate32to64);
                i.set_immediate32to64(value as i32 as i64);
            }
            K::imm64 => {
                i.set_op_kind(n, OpKind::Immediate64);
                i.set_immediate64(value);
            }
            K::seg_rSI => {
                let first = i.op0_kind();
                let follow = n > 0 && matches!(first, OpKind::MemoryESRDI | OpKind::MemoryESEDI);
                let kind = if follow && first == OpKind::MemoryESEDI {
                    OpKind::MemorySegESI
                } else if follow {
                    OpKind::MemorySegRSI
                } else {
                    si
                };
                i.set_op_kind(n, kind);
                self.string_segment(i);
            }
            K::es_rDI => {
                let kind = match i.op0_kind() {
                    OpKind::MemorySegESI if n > 0 => OpKind::MemoryESEDI,
                    OpKind::MemorySegRSI if n > 0 => OpKind::MemoryESRDI,
                    _ => same(i, es_di, es_di),
                };
                i.set_op_kind(n, kind);
            }
            K::seg_rDI => {
                i.set_op_kind(n, di);
                self.string_segment(i);
            }
            K::seg_rBX_al => {
                i.set_op_kind(n, OpKind::Memory);
                i.set_memory_base(if narrow { Register::EBX } else { Register::RBX });
                i.set_memory_index(Register::AL);
                i.set_memory_index_scale(1);
                self.string_segment(i);
            }
            K::br64_1 | K::br64_4 => self.branch(i, n, kind == K::br64_1),
            _ => return None,
        }
        Some(())
    }

    fn string_segment(&mut self, i: &mut Instruction) {
        if self.r.percent(12) {
            i.set_segment_prefix(self.r.pick(&[Register::FS, Register::GS]));
        }
    }
    /// Implicit bases: what segment register adds to an implicit memory operand.
    pub(super) fn segment_base(&self, i: &Instruction) -> u64 {
        match i.segment_prefix() {
            Register::FS => self.registers.fs_base,
            Register::GS => self.registers.gs_base,
            _ => 0,
        }
    }

    fn immediate8(&mut self, i: &mut Instruction, n: u32, value: u8) {
        let second = n > 0 && matches!(i.op_kind(n - 1), OpKind::Immediate16 | OpKind::Immediate8);
        if second {
            i.set_op_kind(n, OpKind::Immediate8_2nd);
            i.set_immediate8_2nd(value);
        } else {
            i.set_op_kind(n, OpKind::Immediate8);
            i.set_immediate8(value);
        }
    }
    fn register(&mut self, i: &mut Instruction, n: u32, from: &[Register]) {
        let register = self.r.pick(from);
        i.set_op_register(n, register);
    }
    fn either(&mut self, i: &mut Instruction, n: u32, from: &[Register], memory: MemorySize) {
        if self.r.percent(50) { self.register(i, n, from) } else { self.memory(i, n, memory) }
    }
    fn memory(&mut self, i: &mut Instruction, n: u32, memory: MemorySize) {
        let target = self.memory_operand(i, n, memory);
        self.patch_operand(target, memory);
        self.target = target;
    }
}
