//! RFLAGS with lazily computed arithmetic flags.

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use undercroft_decode::{Cond, Size};
use undercroft_semantics::flags::{self, FlagOp};
use undercroft_spec::x86::control::rflags;

/// RFLAGS. The six arithmetic flags are those of the last operation, computed when somebody asks.
///
/// Two values are equal, and are written equal, when all flags are, however they are represented.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub struct LazyFlags {
    /// First operand of the operation, or the flags themselves.
    a: u64,
    /// Its result.
    r: u64,
    /// All flags but the arithmetic ones; these are zero here.
    other: u64,
    /// Operation in the upper bits, width in the low two.
    kind: u8,
}

impl LazyFlags {
    /// With these flags.
    pub fn new(value: u64) -> Self {
        let mut flags = LazyFlags { a: 0, r: 0, other: 0, kind: 0 };
        flags.set(value);
        flags
    }
    /// All of RFLAGS.
    pub fn get(&self) -> u64 {
        self.other | self.arithmetic()
    }
    /// Writes all of RFLAGS. Bit 1 is made 1; others are taken as they are.
    pub fn set(&mut self, value: u64) {
        self.other = value & !rflags::ARITHMETIC | rflags::FIXED;
        self.set_arithmetic(value);
    }
    /// The arithmetic flags.
    pub fn arithmetic(&self) -> u64 {
        flags::all(self.op(), self.size(), self.a, self.r)
    }
    /// Writes the arithmetic flags.
    #[inline(always)]
    pub fn set_arithmetic(&mut self, value: u64) {
        self.a = value & rflags::ARITHMETIC;
        self.kind = 0;
    }
    /// Writes some of the arithmetic flags.
    pub fn set_some(&mut self, mask: u64, value: u64) {
        let old = self.arithmetic();
        self.set_arithmetic(old & !mask | value & mask);
    }
    /// All flags but the arithmetic ones.
    #[inline(always)]
    pub fn other(&self) -> u64 {
        self.other
    }
    /// Changes flags outside the arithmetic ones.
    #[inline(always)]
    pub fn set_other(&mut self, mask: u64, value: u64) {
        let mask = mask & !rflags::ARITHMETIC;
        self.other = self.other & !mask | value & mask;
    }
    /// Records an operation.
    #[inline(always)]
    pub fn record(&mut self, op: FlagOp, size: Size, a: u64, r: u64) {
        self.a = a;
        self.r = r;
        self.kind = (op as u8) << 2 | size as u8;
    }
    /// The operation that the flags come from.
    #[inline(always)]
    pub fn op(&self) -> FlagOp {
        FlagOp::from_bits(self.kind >> 2)
    }
    #[inline(always)]
    fn size(&self) -> Size {
        Size::from_bits(self.kind)
    }
    /// Does the condition hold?
    pub fn cond(&self, cc: Cond) -> bool {
        flags::cond(cc, self.op(), self.size(), self.a, self.r)
    }
    /// CF.
    pub fn carry(&self) -> bool {
        flags::carry(self.op(), self.size(), self.a, self.r)
    }
}

impl PartialEq for LazyFlags {
    fn eq(&self, other: &Self) -> bool {
        self.get() == other.get()
    }
}
impl Eq for LazyFlags {}

impl Serialize for LazyFlags {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        self.get().serialize(s)
    }
}
impl<'de> Deserialize<'de> for LazyFlags {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        Ok(LazyFlags::new(u64::deserialize(d)?))
    }
}
