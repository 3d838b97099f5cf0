//! What goes into a run and what comes out of it.

use crate::layout::{self, MEMORY};
use iced_x86::{Decoder, DecoderOptions, Instruction};

/// One instruction of a case.
#[derive(Clone)]
pub struct Item {
    /// Its bytes.
    pub bytes: Vec<u8>,
    /// What they mean, at their place.
    pub instruction: Instruction,
    /// RFLAGS bits whose value is undefined when this instruction begins, because an earlier one left them so.
    pub undefined_before: u64,
}

impl Item {
    /// Decodes bytes at a place.
    pub fn new(bytes: &[u8], ip: u64) -> Item {
        let instruction = Decoder::with_ip(64, bytes, ip, DecoderOptions::NONE).decode();
        Item { bytes: bytes.to_vec(), instruction, undefined_before: 0 }
    }
}

/// An image of FXSAVE64: SDM volume 2, "FXSAVE", "Layout of the 64-Bit Mode FXSAVE64 Map".
#[derive(Clone, PartialEq, Eq)]
#[repr(C, align(64))]
pub struct Fx(pub [u8; 512]);

impl Fx {
    /// All registers zero and empty, everything masked.
    pub fn initial() -> Fx {
        let mut fx = Fx([0; 512]);
        fx.set_control(0x37f);
        fx.set_mxcsr(0x1f80);
        fx
    }
    fn u16(&self, at: usize) -> u16 {
        u16::from_le_bytes([self.0[at], self.0[at + 1]])
    }
    /// Control word.
    pub fn control(&self) -> u16 {
        self.u16(0)
    }
    /// Status word.
    pub fn status(&self) -> u16 {
        self.u16(2)
    }
    /// Abridged tag word.
    pub fn tag(&self) -> u8 {
        self.0[4]
    }
    /// MXCSR.
    pub fn mxcsr(&self) -> u32 {
        u32::from_le_bytes(self.0[24..28].try_into().unwrap_or_default())
    }
    /// Data register, relative to TOP: significand, then sign and exponent.
    pub fn st(&self, n: usize) -> (u64, u16) {
        let at = 32 + 16 * n;
        (u64::from_le_bytes(self.0[at..at + 8].try_into().unwrap_or_default()), self.u16(at + 8))
    }
    /// XMM register.
    pub fn xmm(&self, n: usize) -> u128 {
        let at = 160 + 16 * n;
        u128::from_le_bytes(self.0[at..at + 16].try_into().unwrap_or_default())
    }
    /// Writes the control word.
    pub fn set_control(&mut self, v: u16) {
        self.0[..2].copy_from_slice(&v.to_le_bytes());
    }
    /// Writes the status word.
    pub fn set_status(&mut self, v: u16) {
        self.0[2..4].copy_from_slice(&v.to_le_bytes());
    }
    /// Writes the abridged tag word.
    pub fn set_tag(&mut self, v: u8) {
        self.0[4] = v;
    }
    /// Writes MXCSR.
    pub fn set_mxcsr(&mut self, v: u32) {
        self.0[24..28].copy_from_slice(&v.to_le_bytes());
    }
    /// Writes a data register.
    pub fn set_st(&mut self, n: usize, significand: u64, sign_exponent: u16) {
        let at = 32 + 16 * n;
        self.0[at..at + 8].copy_from_slice(&significand.to_le_bytes());
        self.0[at + 8..at + 10].copy_from_slice(&sign_exponent.to_le_bytes());
    }
    /// Writes an XMM register.
    pub fn set_xmm(&mut self, n: usize, v: u128) {
        let at = 160 + 16 * n;
        self.0[at..at + 16].copy_from_slice(&v.to_le_bytes());
    }
}

/// Registers.
#[derive(Clone, PartialEq, Eq)]
pub struct Registers {
    /// RAX, RCX, RDX, RBX, RSP, RBP, RSI, RDI, R8 to R15.
    pub gpr: [u64; 16],
    /// RIP.
    pub rip: u64,
    /// RFLAGS.
    pub rflags: u64,
    /// FS base.
    pub fs_base: u64,
    /// GS base.
    pub gs_base: u64,
    /// x87, MMX, SSE.
    pub fx: Fx,
}

impl Registers {
    /// All zero, everything masked.
    pub fn initial() -> Registers {
        Registers { gpr: [0; 16], rip: 0, rflags: 0x202, fs_base: 0, gs_base: 0, fx: Fx::initial() }
    }
}

/// Bytes that replace the template's.
#[derive(Clone)]
pub struct Patch {
    /// Where.
    pub address: u64,
    /// What. Bytes outside the writable pages are left out.
    pub bytes: Vec<u8>,
}

/// Instructions with everything that they may depend on.
#[derive(Clone)]
pub struct Case {
    /// With `index`, what the case was made from.
    pub seed: u64,
    /// Its number.
    pub index: u64,
    /// The instructions, one behind the other from RIP on.
    pub items: Vec<Item>,
    /// RFLAGS bits that are undefined at the end.
    pub undefined_after: u64,
    /// Registers at the start.
    pub registers: Registers,
    /// First contents of memory.
    pub template: usize,
    /// What differs from it.
    pub patches: Vec<Patch>,
}

impl Case {
    /// The bytes from RIP on, the final jump included, as far as the code pages reach.
    pub fn code(&self) -> Vec<u8> {
        let mut code: Vec<u8> = Vec::with_capacity(64);
        for item in &self.items {
            code.extend_from_slice(&item.bytes);
        }
        code.extend_from_slice(&layout::STOP);
        let room = layout::CODE + layout::CODE_LEN - self.registers.rip;
        code.truncate(room as usize);
        code
    }
    /// Decodes the items anew, at the places they have now, and notes what is undefined.
    pub fn place(&mut self) {
        let mut ip = self.registers.rip;
        for item in &mut self.items {
            *item = Item::new(&item.bytes, ip);
            ip += item.bytes.len() as u64;
        }
        self.undefined_after = crate::generate::mark_undefined(&mut self.items);
    }
    /// Where the final jump lies.
    pub fn end(&self) -> u64 {
        self.registers.rip + self.items.iter().map(|i| i.bytes.len() as u64).sum::<u64>()
    }
    /// First contents of memory.
    pub fn fill(&self, memory: &mut [u8; MEMORY]) {
        memory.copy_from_slice(crate::templates::template(self.template));
        for patch in &self.patches {
            for (n, byte) in patch.bytes.iter().enumerate() {
                if let Some(at) = layout::memory_index(patch.address.wrapping_add(n as u64)) {
                    memory[at] = *byte;
                }
            }
        }
    }
}

/// An exception. SDM volume 3, "Interrupt and Exception Handling".
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Fault {
    /// Vector.
    pub vector: u8,
    /// Error code, zero where there is none.
    pub error: u64,
    /// CR2, zero unless it is a page fault.
    pub cr2: u64,
}

impl Fault {
    /// Not a vector: the case did not end.
    pub const ENDLESS: u8 = 0xff;
}

/// What is there after a case.
#[derive(Clone)]
pub struct Outcome {
    /// The exception it ended with; none if it came to its end.
    pub fault: Option<Fault>,
    /// Registers. RIP is that which the exception saves, or [`layout::EXIT`].
    pub registers: Registers,
    /// The writable pages.
    pub memory: Box<[u8; MEMORY]>,
}

impl Outcome {
    /// Room for an outcome.
    pub fn new() -> Outcome {
        Outcome { fault: None, registers: Registers::initial(), memory: Box::new([0; MEMORY]) }
    }
}

impl Default for Outcome {
    fn default() -> Self {
        Self::new()
    }
}

/// Something that executes cases.
pub trait Subject {
    /// Executes one. The same case has the same outcome always.
    fn run(&mut self, case: &Case, outcome: &mut Outcome);
}
