//! What compiled code works on: registers, flags, TLB, memory, the functions it calls. The layout is the code's contract.

use std::mem::offset_of;
use undercroft_decode::{Cond, Reg, Size};
use undercroft_semantics::flags::{self, FlagOp};
use undercroft_semantics::pure::Pure;
use undercroft_semantics::{muldiv, shift};
use undercroft_spec::x86::control::rflags;

/// Bytes of a page.
pub const PAGE: usize = 4096;
/// Entries of the TLB.
pub const TLB_ENTRIES: usize = 64;
/// Values of one instruction that may be out of registers.
pub(crate) const SLOTS: usize = 96;

/// RFLAGS, the arithmetic flags as the operation they come from: as `cpu/state` records them.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub struct FlagRecord {
    /// First operand, or the flags themselves.
    pub a: u64,
    /// Result.
    pub r: u64,
    /// All other flags.
    pub other: u64,
    /// Operation in the upper bits, width in the low two.
    pub kind: u8,
}

impl FlagRecord {
    /// Of an operation.
    pub fn new(op: FlagOp, size: Size, a: u64, r: u64) -> Self {
        FlagRecord { a, r, other: rflags::FIXED, kind: kind(op, size) }
    }
    /// The operation.
    pub fn op(&self) -> FlagOp {
        FlagOp::from_bits(self.kind >> 2)
    }
    /// Its width.
    pub fn size(&self) -> Size {
        Size::from_bits(self.kind)
    }
    /// The arithmetic flags, in their places in RFLAGS.
    pub fn arithmetic(&self) -> u64 {
        flags::all(self.op(), self.size(), self.a, self.r)
    }
}

pub(crate) const fn kind(op: FlagOp, size: Size) -> u8 {
    (op as u8) << 2 | size as u8
}

/// As in `cpu/mmu/tlb`: where a tag matches a page, `linear + addend` is the host address.
#[derive(Clone, Copy)]
#[repr(C)]
struct TlbEntry {
    read: u64,
    write: u64,
    fetch: u64,
    addend: u64,
}

/// What a page may be used for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Access {
    /// Nothing: the page is not in the TLB.
    None,
    /// Reads.
    Read,
    /// Reads and writes.
    ReadWrite,
}

type Helper = extern "sysv64" fn(u64, u64, u64, u64) -> u64;

/// What compiled code works on, and the memory that its TLB leads to.
#[repr(C)]
pub struct Env {
    /// RFLAGS.
    pub flags: FlagRecord,
    /// The register file.
    pub regs: [u64; 32],
    /// Target of an indirect jump: valid with [`Outcome::To`](crate::Outcome).
    pub rip: u64,
    helpers: [Helper; HELPERS.len()],
    slots: [u64; SLOTS],
    tlb: [TlbEntry; TLB_ENTRIES],
    memory: Box<[[u8; PAGE]]>,
}

impl Env {
    /// With so many pages of memory, none of them in the TLB.
    pub fn new(pages: usize) -> Box<Env> {
        Box::new(Env {
            flags: FlagRecord::new(FlagOp::Known, Size::B1, 0, 0),
            regs: [0; 32],
            rip: 0,
            helpers: HELPERS,
            slots: [0; SLOTS],
            // A page with another index never matches.
            tlb: std::array::from_fn(|at| {
                let none = ((at ^ 1) as u64) << 12;
                TlbEntry { read: none, write: none, fetch: none, addend: 0 }
            }),
            memory: vec![[0; PAGE]; pages].into_boxed_slice(),
        })
    }
    /// Puts a page of memory into the TLB. False if there is no such page.
    pub fn map(&mut self, linear: u64, page: usize, access: Access) -> bool {
        let Some(bytes) = self.memory.get_mut(page) else { return false };
        let tag = linear & !(PAGE as u64 - 1);
        let at = index(linear);
        let none = ((at ^ 1) as u64) << 12;
        let if_allowed = |allowed: bool| if allowed { tag } else { none };
        self.tlb[at] = TlbEntry {
            read: if_allowed(access != Access::None),
            write: if_allowed(access == Access::ReadWrite),
            fetch: none,
            addend: (bytes.as_mut_ptr() as u64).wrapping_sub(tag),
        };
        true
    }
    /// Page and offset of bytes that the TLB allows to be accessed: the probe that code makes, in Rust.
    pub fn probe(&self, linear: u64, len: u64, write: bool) -> Option<(usize, usize)> {
        let e = &self.tlb[index(linear)];
        let tag = if write { e.write } else { e.read };
        if linear ^ tag > PAGE as u64 - len {
            return None;
        }
        let offset = linear.wrapping_add(e.addend).wrapping_sub(self.memory.as_ptr() as u64) as usize;
        Some((offset / PAGE, offset % PAGE))
    }
    /// The memory.
    pub fn memory(&self) -> &[[u8; PAGE]] {
        &self.memory
    }
    /// The memory.
    pub fn memory_mut(&mut self) -> &mut [[u8; PAGE]] {
        &mut self.memory
    }
}

fn index(linear: u64) -> usize {
    (linear >> 12) as usize % TLB_ENTRIES
}

/// Where things are from the base register, which points behind the flags and 12 registers: an 8-bit displacement reaches them and the rest that
/// general code uses.
pub(crate) mod at {
    use super::*;

    pub const BIAS: i32 = 128;
    pub const FLAGS_A: i32 = (offset_of!(Env, flags) + offset_of!(FlagRecord, a)) as i32 - BIAS;
    pub const FLAGS_R: i32 = (offset_of!(Env, flags) + offset_of!(FlagRecord, r)) as i32 - BIAS;
    pub const FLAGS_OTHER: i32 = (offset_of!(Env, flags) + offset_of!(FlagRecord, other)) as i32 - BIAS;
    pub const FLAGS_KIND: i32 = (offset_of!(Env, flags) + offset_of!(FlagRecord, kind)) as i32 - BIAS;
    pub const RIP: i32 = offset_of!(Env, rip) as i32 - BIAS;
    /// log2 of an entry's size.
    pub const TLB_SHIFT: u8 = size_of::<TlbEntry>().trailing_zeros() as u8;
    pub const TLB_READ: i32 = (offset_of!(Env, tlb) + offset_of!(TlbEntry, read)) as i32 - BIAS;
    pub const TLB_WRITE: i32 = (offset_of!(Env, tlb) + offset_of!(TlbEntry, write)) as i32 - BIAS;
    pub const TLB_ADDEND: i32 = (offset_of!(Env, tlb) + offset_of!(TlbEntry, addend)) as i32 - BIAS;

    pub const fn reg(r: Reg) -> i32 {
        (offset_of!(Env, regs) + r as usize * 8) as i32 - BIAS
    }
    pub const fn slot(n: usize) -> i32 {
        (offset_of!(Env, slots) + n * 8) as i32 - BIAS
    }
    pub const fn helper(n: usize) -> i32 {
        (offset_of!(Env, helpers) + n * 8) as i32 - BIAS
    }
}

/// Functions that code calls, by their place in the table: pure, on plain values, so that a call changes nothing but a register.
pub(crate) mod helper {
    /// All arithmetic flags: kind, a, r.
    pub const ALL_FLAGS: usize = 0;
    /// A condition, 0 or 1: kind, a, r, condition.
    pub const COND: usize = 1;
    /// Does a signed division have a result? Width, high, low, divisor.
    pub const DIVIDES: usize = 2;
    /// Result of RCL and RCR: width and direction, value, count, carry.
    pub const ROTATE: usize = 3;
    /// Carry of RCL and RCR, likewise.
    pub const ROTATE_CARRY: usize = 4;
    /// A pure function: which, and its two values.
    pub const PURE: usize = 5;
}

const HELPERS: [Helper; 6] = [all_flags, cond, divides, rotate, rotate_carry, pure];

extern "sysv64" fn all_flags(kind: u64, a: u64, r: u64, _: u64) -> u64 {
    flags::all(FlagOp::from_bits(kind as u8 >> 2), Size::from_bits(kind as u8), a, r)
}
extern "sysv64" fn cond(kind: u64, a: u64, r: u64, cc: u64) -> u64 {
    let (op, size) = (FlagOp::from_bits(kind as u8 >> 2), Size::from_bits(kind as u8));
    u64::from(flags::cond(Cond::from_bits(cc as u8), op, size, a, r))
}
extern "sysv64" fn divides(size: u64, high: u64, low: u64, divisor: u64) -> u64 {
    u64::from(muldiv::divide(true, Size::from_bits(size as u8), high, low, divisor).is_some())
}
extern "sysv64" fn rotate(how: u64, a: u64, count: u64, c: u64) -> u64 {
    shift::rotate_carry(how & 4 != 0, Size::from_bits(how as u8), a, count, c).0
}
extern "sysv64" fn rotate_carry(how: u64, a: u64, count: u64, c: u64) -> u64 {
    shift::rotate_carry(how & 4 != 0, Size::from_bits(how as u8), a, count, c).1
}
extern "sysv64" fn pure(f: u64, a: u64, b: u64, _: u64) -> u64 {
    Pure::ALL.get(f as usize).map_or(0, |f| f.apply(a, b))
}
