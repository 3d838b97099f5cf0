//! Bytes of host instructions: what the emitter needs of x86-64, by opcode. SDM volume 2, "Instruction Format".

use undercroft_decode::{Cond, Size};

/// A host register, by number.
pub type Host = u8;
pub const RAX: Host = 0;
pub const RCX: Host = 1;
pub const RDX: Host = 2;
pub const RBX: Host = 3;
pub const RSP: Host = 4;
pub const RBP: Host = 5;
pub const RSI: Host = 6;
pub const RDI: Host = 7;

/// A register or memory operand of an instruction.
#[derive(Clone, Copy)]
pub enum Rm {
    Reg(Host),
    /// `base + disp`
    At(Host, i32),
    /// `base + index * 2^scale + disp`
    Indexed(Host, Host, u8, i32),
    /// `index * 2^scale + disp`
    Scaled(Host, u8, i32),
}

/// Two-operand arithmetic, by the number in its opcodes.
#[derive(Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Alu {
    Add = 0,
    Or = 1,
    And = 4,
    Sub = 5,
    Xor = 6,
    Cmp = 7,
}

/// Opcodes with ModRM. Those of the form "Ev, Gv" name the wide one; the assembler clears bit 0 for bytes.
pub mod op {
    pub const MOV_RM_R: u32 = 0x89;
    pub const MOV_R_RM: u32 = 0x8b;
    pub const MOV_RM_IMM: u32 = 0xc7;
    pub const MOVZX8: u32 = 0x0fb6;
    pub const MOVZX16: u32 = 0x0fb7;
    pub const MOVSX8: u32 = 0x0fbe;
    pub const MOVSX16: u32 = 0x0fbf;
    pub const MOVSX32: u32 = 0x63;
    pub const LEA: u32 = 0x8d;
    pub const TEST: u32 = 0x85;
    pub const IMUL: u32 = 0x0faf;
    /// /2 NOT, /3 NEG, /4 MUL, /5 IMUL, /6 DIV, /7 IDIV
    pub const GROUP3: u32 = 0xf7;
    /// /4 SHL, /5 SHR, /7 SAR: by an immediate, by CL
    pub const SHIFT_IMM: u32 = 0xc1;
    pub const SHIFT_CL: u32 = 0xd3;
    /// /2 CALL
    pub const GROUP5: u32 = 0xff;
    pub const CMOV: u32 = 0x0f40;
    pub const SETCC: u32 = 0x0f90;
}

/// A jump whose target is not known yet: where its displacement ends.
#[derive(Clone, Copy)]
pub struct Jump(usize);

/// The bytes so far. Bounded: beyond the limit nothing is added, and `overflowed` says so.
pub struct Assembler {
    bytes: Vec<u8>,
    limit: usize,
    overflowed: bool,
}

impl Assembler {
    pub fn new(limit: usize) -> Self {
        Assembler { bytes: Vec::with_capacity(limit.min(4096)), limit, overflowed: false }
    }
    pub fn overflowed(&self) -> bool {
        self.overflowed
    }
    pub fn into_bytes(self) -> Vec<u8> {
        self.bytes
    }
    pub fn raw(&mut self, bytes: &[u8]) {
        if bytes.len() > self.limit - self.bytes.len() {
            self.overflowed = true;
        } else {
            self.bytes.extend_from_slice(bytes);
        }
    }

    /// An instruction with ModRM: `reg` is the register operand, or the opcode's extension.
    pub fn op(&mut self, size: Size, opcode: u32, reg: u8, rm: Rm) {
        let (byte_rm, x, b) = match rm {
            Rm::Reg(r) => (matches!(r, 4..8), 0, r >> 3),
            Rm::At(base, _) => (false, 0, base >> 3),
            Rm::Indexed(base, index, ..) => (false, index >> 3, base >> 3),
            Rm::Scaled(index, ..) => (false, index >> 3, 0),
        };
        let mut head = Head { bytes: [0; 12], len: 0 };
        if size == Size::B2 {
            head.push(&[0x66]);
        }
        let wide = u8::from(size == Size::B8);
        let rex = 0x40 | wide << 3 | (reg >> 3) << 2 | x << 1 | b;
        // SPL to DIL need a REX prefix, or would be AH to BH. One too many does no harm.
        let bytes = size == Size::B1 || matches!(opcode, op::MOVZX8 | op::MOVSX8 | 0x0f90..=0x0f9f);
        if rex != 0x40 || bytes && (byte_rm || matches!(reg, 4..8)) {
            head.push(&[rex]);
        }
        if opcode > 0xff {
            head.push(&[0x0f]);
        }
        head.push(&[opcode as u8]);
        head.modrm(reg & 7, rm);
        self.raw(&head.bytes[..head.len]);
    }
    /// Likewise, with the opcode's bit 0 cleared for bytes.
    pub fn sized(&mut self, size: Size, opcode: u32, reg: u8, rm: Rm) {
        self.op(size, if size == Size::B1 { opcode & !1 } else { opcode }, reg, rm);
    }

    /// `rm = rm op imm`. Narrow operations take the low bits of the immediate.
    pub fn alu_imm(&mut self, size: Size, alu: Alu, rm: Rm, imm: i32) {
        match (size, i8::try_from(imm)) {
            (Size::B1, _) => {
                self.op(size, 0x80, alu as u8, rm);
                self.raw(&[imm as u8]);
            }
            (_, Ok(short)) => {
                self.op(size, 0x83, alu as u8, rm);
                self.raw(&short.to_le_bytes());
            }
            (Size::B2, _) => {
                self.op(size, 0x81, alu as u8, rm);
                self.raw(&(imm as u16).to_le_bytes());
            }
            _ => {
                self.op(size, 0x81, alu as u8, rm);
                self.raw(&imm.to_le_bytes());
            }
        }
    }
    /// `r = r op rm`
    pub fn alu(&mut self, size: Size, alu: Alu, r: Host, rm: Rm) {
        self.sized(size, (alu as u32) << 3 | 3, r, rm);
    }
    /// `r = rm`, whole.
    pub fn mov(&mut self, r: Host, rm: Rm) {
        self.op(Size::B8, op::MOV_R_RM, r, rm);
    }
    /// `r = imm`. Touches no flags.
    pub fn mov_imm(&mut self, r: Host, imm: u64) {
        if let Ok(low) = u32::try_from(imm) {
            if r > 7 {
                self.raw(&[0x41]);
            }
            self.raw(&[0xb8 | r & 7]);
            self.raw(&low.to_le_bytes());
        } else if let Ok(signed) = i32::try_from(imm as i64) {
            self.op(Size::B8, op::MOV_RM_IMM, 0, Rm::Reg(r));
            self.raw(&signed.to_le_bytes());
        } else {
            self.raw(&[0x48 | r >> 3, 0xb8 | r & 7]);
            self.raw(&imm.to_le_bytes());
        }
    }
    /// `memory = imm`, sign-extended.
    pub fn mov_mem_imm(&mut self, size: Size, rm: Rm, imm: i32) {
        self.sized(size, op::MOV_RM_IMM, 0, rm);
        self.raw(&imm.to_le_bytes()[..size.bytes().min(4) as usize]);
    }
    /// Reads memory, zero-extended.
    pub fn load(&mut self, size: Size, r: Host, rm: Rm) {
        match size {
            Size::B1 => self.op(Size::B4, op::MOVZX8, r, rm),
            Size::B2 => self.op(Size::B4, op::MOVZX16, r, rm),
            _ => self.op(size, op::MOV_R_RM, r, rm),
        }
    }
    /// `r << n`, `r >> n`: by extension 4, 5 or 7.
    pub fn shift_imm(&mut self, size: Size, extension: u8, r: Host, n: u8) {
        self.op(size, op::SHIFT_IMM, extension, Rm::Reg(r));
        self.raw(&[n]);
    }

    /// A jump forward if the host's flags say so; [`Assembler::land`] says where to.
    pub fn jump_if(&mut self, cc: Cond) -> Jump {
        self.raw(&[0x0f, 0x80 | cc as u8, 0, 0, 0, 0]);
        Jump(self.bytes.len())
    }
    /// The jump goes here.
    pub fn land(&mut self, jump: Jump) {
        let distance = (self.bytes.len() - jump.0) as u32;
        if !self.overflowed {
            self.bytes[jump.0 - 4..jump.0].copy_from_slice(&distance.to_le_bytes());
        }
    }
}

/// An instruction up to its immediate: at most 0x66, REX, two bytes of opcode, ModRM, SIB and four of displacement.
struct Head {
    bytes: [u8; 12],
    len: usize,
}

impl Head {
    #[inline(always)]
    fn push(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.bytes[self.len] = *byte;
            self.len += 1;
        }
    }
    fn modrm(&mut self, reg: u8, rm: Rm) {
        let field = reg << 3;
        match rm {
            Rm::Reg(r) => self.push(&[0xc0 | field | r & 7]),
            Rm::At(base, disp) if base & 7 != RSP => self.displaced(field | base & 7, None, base, disp),
            Rm::At(base, disp) => self.displaced(field | 4, Some(0x20 | base & 7), base, disp),
            Rm::Indexed(base, index, scale, disp) => {
                self.displaced(field | 4, Some(scale << 6 | (index & 7) << 3 | base & 7), base, disp);
            }
            Rm::Scaled(index, scale, disp) => {
                self.push(&[field | 4, scale << 6 | (index & 7) << 3 | 5]);
                self.push(&disp.to_le_bytes());
            }
        }
    }
    fn displaced(&mut self, modrm: u8, sib: Option<u8>, base: Host, disp: i32) {
        let short = i8::try_from(disp);
        // RBP and R13 as base have no form without displacement.
        let none = disp == 0 && base & 7 != RBP;
        self.push(&[modrm
            | if none {
                0
            } else if short.is_ok() {
                0x40
            } else {
                0x80
            }]);
        if let Some(sib) = sib {
            self.push(&[sib]);
        }
        match short {
            _ if none => {}
            Ok(short) => self.push(&short.to_le_bytes()),
            Err(_) => self.push(&disp.to_le_bytes()),
        }
    }
}
