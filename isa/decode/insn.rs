//! The compact form of an instruction.

use iced_x86::{Code, Mnemonic};

/// Width of an integer operand.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
#[repr(u8)]
pub enum Size {
    /// 8 bits.
    B1 = 0,
    /// 16 bits.
    B2 = 1,
    /// 32 bits.
    B4 = 2,
    /// 64 bits.
    B8 = 3,
}

impl Size {
    /// Width in bytes.
    #[inline(always)]
    pub const fn bytes(self) -> u64 {
        1 << self as u8
    }
    /// Width in bits.
    #[inline(always)]
    pub const fn bits(self) -> u32 {
        8 << self as u8
    }
    /// All bits of this width.
    #[inline(always)]
    pub const fn mask(self) -> u64 {
        match self {
            Size::B1 => 0xff,
            Size::B2 => 0xffff,
            Size::B4 => 0xffff_ffff,
            Size::B8 => u64::MAX,
        }
    }
    /// The most significant bit of this width.
    #[inline(always)]
    pub const fn sign_bit(self) -> u64 {
        1 << (self.bits() - 1)
    }
    /// From the low two bits of a number.
    #[inline(always)]
    pub const fn from_bits(bits: u8) -> Self {
        match bits & 3 {
            0 => Size::B1,
            1 => Size::B2,
            2 => Size::B4,
            _ => Size::B8,
        }
    }
    /// From a width of 1, 2, 4 or 8 bytes.
    pub const fn from_bytes(bytes: usize) -> Option<Self> {
        match bytes {
            1 => Some(Size::B1),
            2 => Some(Size::B2),
            4 => Some(Size::B4),
            8 => Some(Size::B8),
            _ => None,
        }
    }
}

/// A slot of the register file. An enum of exactly 32 values, so that indexing an array of 32 needs neither mask nor bounds check.
///
/// Besides the sixteen general registers the file holds values that addresses are made of, and the names of the high-byte registers (AH to
/// BH), which are not slots of their own: the value lives in bits 15:8 of slots 0 to 3.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
#[allow(missing_docs)]
pub enum Reg {
    Rax = 0,
    Rcx,
    Rdx,
    Rbx,
    Rsp,
    Rbp,
    Rsi,
    Rdi,
    R8,
    R9,
    R10,
    R11,
    R12,
    R13,
    R14,
    R15,
    /// Always zero.
    Zero = 16,
    /// RIP of the first instruction of the running block.
    BlockRip = 17,
    EsBase = 18,
    CsBase = 19,
    SsBase = 20,
    DsBase = 21,
    FsBase = 22,
    GsBase = 23,
    Ah = 24,
    Ch = 25,
    Dh = 26,
    Bh = 27,
    Temp0 = 28,
    Temp1 = 29,
    Temp2 = 30,
    Temp3 = 31,
}

const REGS: [Reg; 32] = [
    Reg::Rax,
    Reg::Rcx,
    Reg::Rdx,
    Reg::Rbx,
    Reg::Rsp,
    Reg::Rbp,
    Reg::Rsi,
    Reg::Rdi,
    Reg::R8,
    Reg::R9,
    Reg::R10,
    Reg::R11,
    Reg::R12,
    Reg::R13,
    Reg::R14,
    Reg::R15,
    Reg::Zero,
    Reg::BlockRip,
    Reg::EsBase,
    Reg::CsBase,
    Reg::SsBase,
    Reg::DsBase,
    Reg::FsBase,
    Reg::GsBase,
    Reg::Ah,
    Reg::Ch,
    Reg::Dh,
    Reg::Bh,
    Reg::Temp0,
    Reg::Temp1,
    Reg::Temp2,
    Reg::Temp3,
];

impl Reg {
    /// The general register, control register, vector register... of this number: the low four bits count.
    #[inline(always)]
    pub const fn gpr(number: u8) -> Reg {
        REGS[(number & 15) as usize]
    }
    /// The slot that holds the base of a segment.
    #[inline(always)]
    pub const fn segment_base(seg: Seg) -> Reg {
        REGS[18 + seg as usize]
    }
    /// Number within its class (0 to 15 for general, vector, control and debug registers).
    #[inline(always)]
    pub const fn number(self) -> u8 {
        self as u8 & 15
    }
    /// Is it AH, CH, DH or BH?
    #[inline(always)]
    pub const fn is_high_byte(self) -> bool {
        self as u8 & 0x1c == 24
    }
}

/// A segment register, by its encoding.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
#[allow(missing_docs)]
pub enum Seg {
    Es = 0,
    Cs,
    Ss,
    Ds,
    Fs,
    Gs,
}

impl Seg {
    /// All of them, by encoding.
    pub const ALL: [Seg; 6] = [Seg::Es, Seg::Cs, Seg::Ss, Seg::Ds, Seg::Fs, Seg::Gs];

    /// By encoding; 6 and 7 do not exist.
    pub const fn from_number(number: u8) -> Option<Seg> {
        if number < 6 { Some(Self::ALL[number as usize]) } else { None }
    }
}

/// Where operands are. The first letter is the destination (or only operand), the second the source.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
pub enum Shape {
    /// No explicit operand, or implicit ones.
    None = 0,
    /// Register and register.
    RR,
    /// Register and memory.
    RM,
    /// Memory and register.
    MR,
    /// Register and immediate.
    RI,
    /// Memory and immediate.
    MI,
    /// One register.
    R,
    /// One memory operand.
    M,
    /// One immediate.
    I,
}

impl Shape {
    /// By number; numbers that are none give `None`.
    #[inline(always)]
    pub const fn from_bits(bits: u8) -> Shape {
        match bits {
            1 => Shape::RR,
            2 => Shape::RM,
            3 => Shape::MR,
            4 => Shape::RI,
            5 => Shape::MI,
            6 => Shape::R,
            7 => Shape::M,
            8 => Shape::I,
            _ => Shape::None,
        }
    }
    /// Has a memory operand.
    #[inline(always)]
    pub const fn has_memory(self) -> bool {
        matches!(self, Shape::RM | Shape::MR | Shape::MI | Shape::M)
    }
    /// The destination (or only operand) is memory.
    #[inline(always)]
    pub const fn memory_first(self) -> bool {
        matches!(self, Shape::MR | Shape::MI | Shape::M)
    }
}

/// Condition code of Jcc, SETcc and CMOVcc, by encoding: SDM volume 1, "EFLAGS Condition Codes".
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
#[allow(missing_docs)]
pub enum Cond {
    O = 0,
    No,
    B,
    Ae,
    E,
    Ne,
    Be,
    A,
    S,
    Ns,
    P,
    Np,
    L,
    Ge,
    Le,
    G,
}

impl Cond {
    /// All of them, by encoding.
    pub const ALL: [Cond; 16] = [
        Cond::O,
        Cond::No,
        Cond::B,
        Cond::Ae,
        Cond::E,
        Cond::Ne,
        Cond::Be,
        Cond::A,
        Cond::S,
        Cond::Ns,
        Cond::P,
        Cond::Np,
        Cond::L,
        Cond::Ge,
        Cond::Le,
        Cond::G,
    ];
    /// From the low four bits of an encoding.
    #[inline(always)]
    pub const fn from_bits(bits: u8) -> Cond {
        Self::ALL[(bits & 15) as usize]
    }
}

/// Repeat prefix.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
pub enum Rep {
    /// None.
    None = 0,
    /// F3: REP, REPE.
    Rep = 1,
    /// F2: REPNE.
    Repne = 2,
}

/// Address size.
pub type AddrSize = Size;

/// What kind of thing an operation is to whoever runs it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Kind {
    /// Goes on to the next instruction.
    Plain,
    /// Ends a block: the next RIP is not (always) that of the next instruction.
    Branch,
    /// May change what decoding or translation depends on: ends a block.
    System,
}

macro_rules! ops {
    ($($(#[$doc:meta])* $name:ident),* $(,)?) => {
        /// What an instruction does: the families that semantics are written for over `Ops`, and `Helper` for the rest.
        #[derive(Clone, Copy, PartialEq, Eq, Debug)]
        #[repr(u8)]
        #[allow(missing_docs)]
        pub enum Op { $($(#[$doc])* $name),* }

        impl Op {
            /// All of them, in the order of their numbers.
            pub const ALL: &[Op] = &[$(Op::$name),*];
        }
    };
}

ops! {
    /// Not written over `Ops`: a plain function on the processor's state, chosen by [`Insn::code`].
    Helper,
    Add, Or, Adc, Sbb, And, Sub, Xor, Cmp, Test, Mov,
    /// Zero-extension from 8 bits to the operand size.
    Movzx8, Movzx16, Movsx8, Movsx16, Movsx32,
    Lea, Xchg, Inc, Dec, Neg, Not,
    Rol, Ror, Rcl, Rcr, Shl, Shr, Sar, Shld, Shrd,
    /// `dst = dst * src`.
    Imul2,
    /// `dst = src * imm`.
    Imul3,
    Mul1, Imul1, Div, Idiv,
    Push, Pop, CallRel, CallInd, Ret, JmpRel, JmpInd,
    /// Condition in `src2`.
    Jcc, Setcc, Cmovcc,
    /// CBW, CWDE, CDQE by size.
    Cbw,
    /// CWD, CDQ, CQO by size.
    Cwd,
    Bt, Bts, Btr, Btc, Bsf, Bsr, Tzcnt, Lzcnt, Popcnt, Bswap, Movbe, Nop, Leave, Cmpxchg, Xadd,
    Andn, Bextr, Blsi, Blsmsk, Blsr, Bzhi, Mulx, Pdep, Pext, Rorx, Sarx, Shlx, Shrx, Adcx, Adox, Crc32,
    Lahf, Sahf, Clc, Stc, Cmc, Cld, Std, Xlat,
    Loop, Loope, Loopne, Jrcxz,
    Movs, Stos, Lods, Scas, Cmps,
}

/// One decoded instruction.
///
/// Offsets count from the first instruction of the block it was decoded for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(C)]
pub struct Insn {
    /// iced's code of the instruction: the exact form in the manual.
    code: u16,
    /// What it does.
    pub op: Op,
    /// Operand size (2 bits), shape (4 bits).
    size_shape: u8,
    /// Destination register, or the only one.
    pub dst: Reg,
    /// Source register.
    pub src: Reg,
    /// Third register (VEX.vvvv), or the condition of Jcc, SETcc and CMOVcc.
    pub src2: Reg,
    /// Base of the memory operand.
    pub base: Reg,
    /// Index of the memory operand.
    pub index: Reg,
    /// Scale (2 bits), address size (2 bits).
    scale_addr: u8,
    /// Segment of the memory operand.
    pub seg: Seg,
    /// Length in bytes.
    pub len: u8,
    /// How many instructions of the block are not yet done before this one, itself included.
    pub left: u8,
    /// Prefixes and properties: see the `is_` methods.
    flags: u8,
    /// Offset of its first byte from the block's start.
    pub offset: u16,
    /// Displacement; or the upper half of a 64-bit immediate; or the selector of a far pointer; or the second immediate of ENTER.
    pub disp: i32,
    /// Immediate, sign-extended from its encoding; or a branch target's offset from the block's start.
    pub imm: i32,
}

const FLAT: u8 = 1;
const FOLDED: u8 = 2;
const LOCK: u8 = 4;
const REP_SHIFT: u8 = 3;
const LONG: u8 = 0x20;
const HAS_MEMORY: u8 = 0x40;

impl Insn {
    pub(crate) fn new(code: Code) -> Self {
        Insn {
            code: code as u16,
            op: Op::Helper,
            size_shape: 0,
            dst: Reg::Zero,
            src: Reg::Zero,
            src2: Reg::Zero,
            base: Reg::Zero,
            index: Reg::Zero,
            scale_addr: 0,
            seg: Seg::Ds,
            len: 0,
            left: 1,
            flags: 0,
            offset: 0,
            disp: 0,
            imm: 0,
        }
    }

    /// iced's code: the exact form in the manual.
    pub fn code(&self) -> Code {
        Code::try_from(self.code as usize).unwrap_or(Code::INVALID)
    }
    /// The mnemonic.
    pub fn mnemonic(&self) -> Mnemonic {
        self.code().mnemonic()
    }
    /// Operand size.
    #[inline(always)]
    pub const fn size(&self) -> Size {
        Size::from_bits(self.size_shape)
    }
    /// Where the operands are.
    #[inline(always)]
    pub const fn shape(&self) -> Shape {
        Shape::from_bits(self.size_shape >> 2)
    }
    pub(crate) fn set_size_shape(&mut self, size: Size, shape: Shape) {
        self.size_shape = size as u8 | (shape as u8) << 2;
    }
    /// log2 of the index's factor.
    #[inline(always)]
    pub const fn scale(&self) -> u32 {
        (self.scale_addr & 3) as u32
    }
    /// Address size: [`Size::B2`], [`Size::B4`] or [`Size::B8`].
    #[inline(always)]
    pub const fn addr_size(&self) -> AddrSize {
        Size::from_bits(self.scale_addr >> 2)
    }
    pub(crate) fn set_scale_addr(&mut self, scale: u8, addr: Size) {
        self.scale_addr = scale & 3 | (addr as u8) << 2;
    }
    /// Its memory operand, and those that its operation implies, are 64-bit addresses in segments without base: the address is
    /// `base + index * scale + disp`, nothing else.
    #[inline(always)]
    pub const fn is_flat(&self) -> bool {
        self.flags & FLAT != 0
    }
    /// The segment's base is already the `base` or `index` register of the operand.
    #[inline(always)]
    pub const fn is_segment_folded(&self) -> bool {
        self.flags & FOLDED != 0
    }
    /// LOCK prefix.
    #[inline(always)]
    pub const fn is_locked(&self) -> bool {
        self.flags & LOCK != 0
    }
    /// Decoded as 64-bit code.
    #[inline(always)]
    pub const fn is_long(&self) -> bool {
        self.flags & LONG != 0
    }
    /// Has an explicit memory operand.
    #[inline(always)]
    pub const fn has_memory(&self) -> bool {
        self.flags & HAS_MEMORY != 0
    }
    /// Repeat prefix.
    #[inline(always)]
    pub const fn rep(&self) -> Rep {
        match self.flags >> REP_SHIFT & 3 {
            1 => Rep::Rep,
            2 => Rep::Repne,
            _ => Rep::None,
        }
    }
    pub(crate) fn set_flat(&mut self, folded: bool) {
        self.flags |= if folded { FLAT | FOLDED } else { FLAT };
    }
    pub(crate) fn set_folded(&mut self) {
        self.flags |= FOLDED;
    }
    pub(crate) fn set_prefixes(&mut self, lock: bool, rep: Rep, long: bool, memory: bool) {
        self.flags |= (lock as u8) << 2 | (rep as u8) << REP_SHIFT | (long as u8) << 5 | (memory as u8) << 6;
    }
    /// Condition of Jcc, SETcc and CMOVcc.
    #[inline(always)]
    pub const fn cond(&self) -> Cond {
        Cond::from_bits(self.src2 as u8)
    }
    pub(crate) fn set_cond(&mut self, cond: u8) {
        self.src2 = Reg::gpr(cond);
    }
    /// The immediate as a 64-bit value, sign-extended.
    #[inline(always)]
    pub const fn imm64(&self) -> u64 {
        self.imm as i64 as u64
    }
    /// The immediate of MOV r64, imm64.
    #[inline(always)]
    pub const fn wide_imm(&self) -> u64 {
        (self.disp as u32 as u64) << 32 | self.imm as u32 as u64
    }
    /// Offset of the next instruction from the block's start.
    #[inline(always)]
    pub const fn next_offset(&self) -> u32 {
        self.offset as u32 + self.len as u32
    }
    /// What it is to whoever runs it.
    pub fn kind(&self) -> Kind {
        match self.op {
            Op::CallRel | Op::CallInd | Op::Ret | Op::JmpRel | Op::JmpInd | Op::Jcc => Kind::Branch,
            Op::Loop | Op::Loope | Op::Loopne | Op::Jrcxz => Kind::Branch,
            Op::Helper if crate::decoder::ends_block(self.code()) => Kind::System,
            _ => Kind::Plain,
        }
    }
}

const _: () = assert!(size_of::<Insn>() == 24);
