//! Operands of helpers: registers by slot and width, register-or-memory operands, the next instruction's RIP.

use crate::events::Exception;
use crate::vcpu::Cpu;
use undercroft_decode::{CodeSize, Insn, Reg, Size};

impl Cpu {
    /// A register operand of this width. AH to BH (only with one byte) are bits 15:8 of slots 0 to 3.
    #[inline]
    pub fn read_reg(&self, reg: Reg, size: Size) -> u64 {
        if reg.is_high_byte() {
            return self.s.regs[(reg as usize) & 3] >> 8 & 0xff;
        }
        self.s.regs[reg as usize] & size.mask()
    }
    /// Writes a register operand: 32 bits clear the upper half, 8 and 16 bits leave the rest. SDM volume 1, "General-Purpose Registers in
    /// 64-Bit Mode".
    #[inline]
    pub fn write_reg(&mut self, reg: Reg, size: Size, value: u64) {
        if reg.is_high_byte() {
            let slot = &mut self.s.regs[(reg as usize) & 3];
            *slot = *slot & !0xff00 | (value & 0xff) << 8;
            return;
        }
        let slot = &mut self.s.regs[reg as usize];
        *slot = match size {
            Size::B8 => value,
            Size::B4 => value & 0xffff_ffff,
            _ => *slot & !size.mask() | value & size.mask(),
        };
    }
    /// The instruction's register-or-memory operand: memory if it has a memory operand, else the register `reg` (its `dst` or `src`).
    #[inline]
    pub fn read_rm(&mut self, i: &Insn, reg: Reg, size: Size) -> Result<u64, Exception> {
        if i.has_memory() {
            let offset = self.effective_address(i);
            return self.load(i.seg, offset, size);
        }
        Ok(self.read_reg(reg, size))
    }
    /// Writes the instruction's register-or-memory operand.
    #[inline]
    pub fn write_rm(&mut self, i: &Insn, reg: Reg, size: Size, value: u64) -> Result<(), Exception> {
        if i.has_memory() {
            let offset = self.effective_address(i);
            return self.store(i.seg, offset, size, value);
        }
        self.write_reg(reg, size, value);
        Ok(())
    }
    /// RIP of the instruction after this one, truncated to the code's size.
    #[inline]
    pub fn next_rip(&self, i: &Insn) -> u64 {
        self.s.rip.wrapping_add(u64::from(i.len)) & self.rip_mask()
    }
    /// The bits that an instruction pointer has in the current code segment.
    #[inline]
    pub fn rip_mask(&self) -> u64 {
        match self.s.code_size() {
            CodeSize::Bits64 => u64::MAX,
            CodeSize::Bits32 => 0xffff_ffff,
            CodeSize::Bits16 => 0xffff,
        }
    }
}
