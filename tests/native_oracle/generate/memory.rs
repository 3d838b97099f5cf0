//! Memory operands: an address to hit, a form that gives it, and registers that make it so.

use super::Builder;
use crate::case::Patch;
use crate::layout::{DATA, NOT_PRESENT, PAGE, READ_ONLY, STACK};
use crate::values::{self, Kind};
use iced_x86::{Instruction, MemorySize, OpKind, Register};

/// General registers of 64 and 32 bits by number.
pub const GPR64: [Register; 16] = [
    Register::RAX,
    Register::RCX,
    Register::RDX,
    Register::RBX,
    Register::RSP,
    Register::RBP,
    Register::RSI,
    Register::RDI,
    Register::R8,
    Register::R9,
    Register::R10,
    Register::R11,
    Register::R12,
    Register::R13,
    Register::R14,
    Register::R15,
];
/// 32 bits.
pub const GPR32: [Register; 16] = [
    Register::EAX,
    Register::ECX,
    Register::EDX,
    Register::EBX,
    Register::ESP,
    Register::EBP,
    Register::ESI,
    Register::EDI,
    Register::R8D,
    Register::R9D,
    Register::R10D,
    Register::R11D,
    Register::R12D,
    Register::R13D,
    Register::R14D,
    Register::R15D,
];

impl Builder<'_> {
    /// A linear address for an operand of `size` bytes: mostly in writable data, aligned or not; sometimes where it faults.
    pub(super) fn data_target(&mut self, size: u64) -> u64 {
        let size = size.max(1);
        let r = &mut self.r;
        let two_pages = 2 * PAGE - size.min(PAGE);
        match r.below(100) {
            0..=59 => DATA + PAGE + r.below(two_pages) / 16 * 16,
            60..=73 => DATA + PAGE + r.below(two_pages),
            // Across the border of two pages that are there.
            74..=79 => DATA + 2 * PAGE - r.below(size + 1),
            // Into or out of pages that are not there.
            80..=82 => NOT_PRESENT - r.below(size + 1),
            83 => NOT_PRESENT + r.below(PAGE),
            84 => READ_ONLY - r.below(size + 1),
            85..=88 => READ_ONLY + r.below(PAGE - size.min(PAGE - 1)) / 8 * 8,
            89 => DATA + 5 * PAGE - r.below(size + 1),
            90..=92 => DATA + 5 * PAGE + r.below(PAGE - size.min(PAGE - 1)) / 16 * 16,
            93 => DATA + 6 * PAGE - r.below(size + 1),
            94 => self.stack_target(),
            // Code can be read.
            95 => self.ip.wrapping_add(r.below(32)).wrapping_sub(16),
            // Neither half of the address space.
            96 | 97 => r.pick(&[1 << 47, (1 << 63) - 8, 0xffff_7fff_ffff_fff8, 0x0123_4567_89ab_cdef]),
            // Right below the border: the operand goes on into addresses that are none.
            98 => (1 << 47) - r.below(size + 1),
            _ => r.pick(&[0, 8, u64::MAX - size + 1, u64::MAX, 0xffff_ffff]),
        }
    }

    /// A stack pointer: mostly well inside.
    pub(super) fn stack_target(&mut self) -> u64 {
        let r = &mut self.r;
        match r.below(100) {
            0..=84 => STACK + PAGE + 256 + r.below(PAGE) / 8 * 8,
            85..=88 => STACK + PAGE + 256 + r.below(PAGE),
            89..=91 => STACK + PAGE + r.below(24),
            92..=94 => STACK + 3 * PAGE - r.below(24),
            95 => READ_ONLY + 8 + r.below(64),
            96 => STACK + 2 * PAGE + r.below(8),
            97 => r.pick(&[1 << 47, (1 << 47) - 8, 0xffff_8000_0000_0000, 0xffff_8000_0000_0004]),
            98 => r.pick(&[0, 8, 4, 1 << 63]),
            _ => DATA + PAGE + r.below(PAGE),
        }
    }

    /// Makes a register's first value this one, unless something rests on another.
    pub(super) fn pin(&mut self, number: usize, value: u64) -> bool {
        match self.pinned[number] {
            Some(old) => old == value,
            None => {
                self.pinned[number] = Some(value);
                true
            }
        }
    }
    /// The register's first value, fixed from now on.
    pub(super) fn value_of(&mut self, number: usize) -> u64 {
        let value = self.pinned[number].unwrap_or(self.registers.gpr[number]);
        self.pinned[number] = Some(value);
        value
    }

    /// Gives memory at an address a value of the operand's kind.
    pub(super) fn patch(&mut self, address: u64, bytes: Vec<u8>) {
        self.patches.push(Patch { address, bytes });
    }
    pub(super) fn patch_operand(&mut self, address: u64, size: MemorySize) {
        if self.r.percent(25) {
            return;
        }
        let bytes = values::bytes(&mut self.r, size.size().clamp(1, 64), kind_of(size));
        self.patch(address, bytes);
    }

    /// Fills operand `n` with a memory operand that hits a target. Gives the linear address.
    pub(super) fn memory_operand(&mut self, i: &mut Instruction, n: u32, size: MemorySize) -> u64 {
        let target = self.data_target(size.size() as u64);
        i.set_op_kind(n, OpKind::Memory);
        let mut offset = target;
        if self.r.percent(12) {
            let fs = self.r.percent(50);
            i.set_segment_prefix(if fs { Register::FS } else { Register::GS });
            offset = target.wrapping_sub(if fs { self.registers.fs_base } else { self.registers.gs_base });
        }
        if self.r.percent(12) {
            self.form32(i, offset as u32);
        } else {
            self.form64(i, offset);
        }
        target
    }

    /// A number of a register that nothing rests on and that no earlier instruction writes, if a few attempts find one.
    fn free_register(&mut self) -> usize {
        let mut n = 0;
        for _ in 0..8 {
            n = self.r.below(16) as usize;
            if self.pinned[n].is_none() && self.written >> n & 1 == 0 {
                break;
            }
        }
        n
    }

    fn form64(&mut self, i: &mut Instruction, offset: u64) {
        let displacement = self.displacement();
        match self.r.below(10) {
            // RIP-relative, if it reaches.
            0 if i32::try_from(offset.wrapping_sub(self.ip) as i64).is_ok_and(|d| d.abs() < 0x7000_0000) => {
                i.set_memory_base(Register::RIP);
                i.set_memory_displacement64(offset);
                i.set_memory_displ_size(8);
            }
            // Displacement alone.
            1 if i32::try_from(offset as i64).is_ok() => {
                i.set_memory_displacement64(offset);
                i.set_memory_displ_size(8);
            }
            2..=5 => self.base_form(i, offset, displacement),
            6..=8 => {
                let (index, scaled) = self.index(i);
                if let Some(index) = index {
                    i.set_memory_index(GPR64[index]);
                }
                self.base_form(i, offset.wrapping_sub(scaled), displacement);
            }
            _ => {
                // Index and displacement without a base.
                let scale = self.r.pick(&[1, 2, 4, 8]);
                let n = self.free_index();
                let wanted = offset.wrapping_sub(displacement as i64 as u64);
                let value = wanted / scale;
                let rest = wanted.wrapping_sub(value.wrapping_mul(scale));
                if self.pin(n, value) {
                    i.set_memory_index(GPR64[n]);
                    i.set_memory_index_scale(scale as u32);
                    i.set_memory_displacement64((displacement as i64 as u64).wrapping_add(rest));
                    i.set_memory_displ_size(8);
                } else {
                    self.base_form(i, offset, displacement);
                }
            }
        }
    }

    fn free_index(&mut self) -> usize {
        match self.free_register() {
            4 => 13,
            n => n,
        }
    }
    /// An index register with a value of its own, and its share of the address.
    fn index(&mut self, i: &mut Instruction) -> (Option<usize>, u64) {
        let n = self.free_index();
        if self.pinned[n].is_none() && self.r.percent(60) {
            let small = self.r.below(64).wrapping_sub(32);
            self.pin(n, small);
        }
        let scale = self.r.pick(&[1, 2, 4, 8]);
        i.set_memory_index_scale(scale as u32);
        (Some(n), self.value_of(n).wrapping_mul(scale))
    }
    fn displacement(&mut self) -> i32 {
        match self.r.below(4) {
            0 | 1 => 0,
            2 => self.r.next() as i8 as i32,
            _ => (self.r.next() as i32) >> self.r.below(20),
        }
    }
    fn base_form(&mut self, i: &mut Instruction, offset: u64, displacement: i32) {
        let n = self.free_register();
        if let Some(value) = self.pinned[n] {
            // Its value stands: the displacement makes up for it if it reaches.
            if let Ok(rest) = i32::try_from(offset.wrapping_sub(value) as i64) {
                i.set_memory_base(GPR64[n]);
                set_displacement(i, rest);
            } else {
                i.set_memory_displacement64(offset as i32 as i64 as u64);
                i.set_memory_displ_size(8);
            }
            return;
        }
        self.pin(n, offset.wrapping_sub(displacement as i64 as u64));
        i.set_memory_base(GPR64[n]);
        set_displacement(i, displacement);
    }

    /// With the address-size prefix: 32-bit registers, whose upper halves do not count.
    fn form32(&mut self, i: &mut Instruction, offset: u32) {
        let displacement = self.displacement();
        let garbage = self.r.next() << 32;
        let n = self.free_register();
        let mut rest = offset.wrapping_sub(displacement as u32);
        if self.r.percent(40) {
            let x = self.free_index();
            if x != n {
                let scale = self.r.pick(&[1, 2, 4, 8]);
                i.set_memory_index(GPR32[x]);
                i.set_memory_index_scale(scale);
                rest = rest.wrapping_sub((self.value_of(x) as u32).wrapping_mul(scale));
            }
        }
        i.set_memory_base(GPR32[n]);
        let value = match self.pinned[n] {
            Some(value) => value,
            None => {
                self.pin(n, garbage | u64::from(rest));
                u64::from(rest)
            }
        };
        let more = rest.wrapping_sub(value as u32);
        i.set_memory_displacement64(u64::from((displacement as u32).wrapping_add(more)));
        i.set_memory_displ_size(4);
    }
}

fn set_displacement(i: &mut Instruction, displacement: i32) {
    i.set_memory_displacement64(displacement as i64 as u64);
    let size = match i8::try_from(displacement) {
        Ok(0) => 0,
        Ok(_) => 1,
        Err(_) => 8,
    };
    i.set_memory_displ_size(size);
}

/// What values an operand in memory is made of.
pub fn kind_of(size: MemorySize) -> Kind {
    use MemorySize as M;
    match size {
        M::Bcd => Kind::Decimal,
        _ => match size.element_type() {
            M::Float32 => Kind::Float32,
            M::Float64 => Kind::Float64,
            M::Float80 => Kind::Float80,
            _ if size.size() >= 8 => Kind::Any,
            _ => Kind::Integer,
        },
    }
}
