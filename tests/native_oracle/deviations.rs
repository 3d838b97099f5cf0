//! `deviations.toml`: what the manual leaves undefined, as data.

use crate::case::{Case, Outcome};
use crate::compare::operand_address;
use crate::layout::{self, MEMORY, PAGE, READ_ONLY};
use iced_x86::{Code, Instruction, Mnemonic, OpKind, Register};
use serde::Deserialize;
use std::sync::OnceLock;

/// The text of the file.
const TEXT: &str = include_str!("deviations.toml");

/// One entry.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Deviation {
    /// Instructions.
    pub mnemonics: Vec<String>,
    /// Condition.
    #[serde(default)]
    pub when: When,
    /// Flags of RFLAGS.
    #[serde(default)]
    pub flags: Vec<String>,
    /// Bits of the x87 status word.
    #[serde(default)]
    pub status: u16,
    /// Register operands.
    #[serde(default)]
    pub operands: Vec<u32>,
    /// Parts of the memory operand: offset, length.
    #[serde(default)]
    pub memory: Vec<[u64; 2]>,
    /// x87 data registers with the units in the last place by which they may differ.
    #[serde(default)]
    pub st: Vec<[u64; 2]>,
    /// Relative difference of binary32 lanes.
    #[serde(default)]
    pub lanes: f64,
    /// TOP and the tags may differ: whether MMX registers took over from x87.
    #[serde(default)]
    pub transition: bool,
    /// Memory below the stack pointer may differ.
    #[serde(default)]
    pub stack: bool,
    /// Memory faults on both sides: which one, and with which address, may differ.
    #[serde(default)]
    pub exception: bool,
    /// Nothing is compared.
    #[serde(default)]
    pub skip: bool,
    /// Why.
    pub reason: String,
    /// Where the manual says so.
    pub source: String,
}

/// When an entry holds.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum When {
    /// Always.
    #[default]
    Always,
    /// The masked count is greater than the operand has bits.
    CountAboveSize,
    /// It faults on the host.
    Fault,
    /// It faults on both sides.
    BothFault,
    /// An unmasked x87 exception is pending afterwards.
    X87Exception,
    /// The operand of F2XM1 or FYL2XP1 is outside of the range for which the result is defined.
    X87Domain,
    /// The image of FSTENV or FSAVE has 32-bit fields.
    WideImage,
    /// It has 16-bit fields.
    NarrowImage,
    /// Bit 17 of MXCSR is loaded.
    MxcsrBit17,
    /// The base has 57 significant bits, more than the host's processor has.
    WideBase,
    /// It has a repeat prefix, and faults on the host.
    RepeatedFault,
    /// It has a repeat prefix.
    Repeated,
    /// It is repeated, and RCX is zero.
    CountZero,
    /// There is a memory operand.
    Memory,
    /// There is a memory operand of 16 bits.
    Memory16,
    /// There is a memory operand that is not aligned to 16 bytes.
    UnalignedMemory,
    /// The host reports an unmasked SIMD floating-point exception.
    SimdException,
    /// A near branch whose target is not canonical: the machine refuses the branch.
    TargetNotCanonical,
    /// Offset and linear address differ in being canonical, because of FS's or GS's base.
    OffsetNotCanonical,
}

#[derive(Deserialize)]
struct File {
    #[serde(default)]
    deviation: Vec<Deviation>,
}

/// All entries.
pub fn all() -> &'static [Deviation] {
    static ALL: OnceLock<Vec<Deviation>> = OnceLock::new();
    ALL.get_or_init(|| {
        toml::from_str::<File>(TEXT).map(|f| f.deviation).unwrap_or_else(|e| panic!("deviations.toml: {e}"))
    })
}

/// The entries of an instruction, whatever their conditions.
pub fn of_mnemonic(mnemonic: Mnemonic) -> &'static [&'static Deviation] {
    static INDEX: OnceLock<Vec<Vec<&'static Deviation>>> = OnceLock::new();
    let index = INDEX.get_or_init(|| {
        let mut index = vec![Vec::new(); Mnemonic::values().len()];
        for mnemonic in Mnemonic::values() {
            let name = format!("{mnemonic:?}");
            let named = |d: &&Deviation| d.mnemonics.iter().any(|m| *m == name || m == "any");
            index[mnemonic as usize] = all().iter().filter(named).collect();
        }
        index
    });
    &index[mnemonic as usize]
}

/// May it leave more undefined than flags? Then nothing comes after it in a case. `masked`: no x87 exception can be pending.
pub fn is_exclusive(code: Code, masked: bool) -> bool {
    of_mnemonic(code.mnemonic()).iter().any(|d| {
        let cannot_be = masked && d.when == When::X87Exception;
        let more = d.status != 0 || !d.operands.is_empty() || !d.memory.is_empty() || !d.st.is_empty();
        !cannot_be && (more || d.lanes != 0.0 || d.transition || d.stack)
    })
}

impl Deviation {
    /// The flags as a mask of RFLAGS.
    pub fn flag_mask(&self) -> u64 {
        let bit = |name: &String| match name.as_str() {
            "all" => 0x8d5,
            "CF" => 1 << 0,
            "PF" => 1 << 2,
            "AF" => 1 << 4,
            "ZF" => 1 << 6,
            "SF" => 1 << 7,
            "OF" => 1 << 11,
            other => panic!("deviations.toml: no flag {other}"),
        };
        self.flags.iter().map(bit).fold(0, |mask, bit: u64| mask | bit)
    }
    /// Does it hold for an instruction of a case that ended so?
    pub fn holds(&self, case: &Case, n: usize, expected: &Outcome, actual: &Outcome) -> bool {
        let i = &case.items[n].instruction;
        let has_memory = || i.op_kinds().any(|k| k == OpKind::Memory);
        let at = |o: &Outcome| o.fault.filter(|_| o.registers.rip == i.ip()).map(|f| f.vector);
        match self.when {
            When::Always => true,
            When::CountAboveSize => count(case, i) > operand_bits(i),
            When::Fault => at(expected).is_some(),
            When::BothFault => at(expected).is_some() && at(actual).is_some(),
            When::X87Exception => expected.registers.fx.status() & 0x80 != 0,
            When::X87Domain => {
                let (significand, exponent) = case.registers.fx.st(0);
                let exponent = exponent & 0x7fff;
                match i.mnemonic() {
                    Mnemonic::F2xm1 => exponent > 0x3fff || exponent == 0x3fff && significand > 1 << 63,
                    // 1 - sqrt(2) / 2.
                    _ => exponent > 0x3ffd || exponent == 0x3ffd && significand > 0x95f6_1998_0c43_36f7,
                }
            }
            When::WideImage => matches!(i.memory_size().size(), 28 | 108),
            When::NarrowImage => matches!(i.memory_size().size(), 14 | 94),
            When::MxcsrBit17 => {
                // MXCSR is at byte 24 of FXRSTOR's image; bit 17 is in its third byte.
                let offset = if i.mnemonic() == Mnemonic::Ldmxcsr { 2 } else { 26 };
                let bit = |at: u64| byte_before(case, at.wrapping_add(offset)) >> 1 & 1 != 0;
                expected.registers.fx.mxcsr() >> 17 & 1 != 0 || operand_address(case, i).is_some_and(bit)
            }
            When::WideBase => {
                let base = case.registers.gpr[i.op0_register().full_register().number() & 15];
                let is_wide = !is_canonical(base) && (base as i64) << 7 >> 7 == base as i64;
                if n == 0 { is_wide } else { at(expected) == Some(13) && at(actual) != Some(13) }
            }
            When::RepeatedFault => at(expected).is_some() && (i.has_rep_prefix() || i.has_repne_prefix()),
            When::Repeated => i.has_rep_prefix() || i.has_repne_prefix(),
            When::CountZero => {
                let mask = if i.op_kinds().any(|k| matches!(k, OpKind::MemorySegESI | OpKind::MemoryESEDI)) {
                    u64::MAX >> 32
                } else {
                    u64::MAX
                };
                (i.has_rep_prefix() || i.has_repne_prefix()) && (n > 0 || case.registers.gpr[1] & mask == 0)
            }
            When::Memory => has_memory(),
            When::Memory16 => has_memory() && i.memory_size().size() == 2,
            When::UnalignedMemory => has_memory() && (n > 0 || operand_address(case, i).is_some_and(|at| at & 15 != 0)),
            When::SimdException => at(expected) == Some(19),
            When::TargetNotCanonical => {
                let elsewhere = expected.fault.is_some() && !is_canonical(expected.registers.rip);
                at(actual) == Some(13) && (elsewhere || matches!(at(expected), Some(12 | 14 | 17)))
            }
            When::OffsetNotCanonical => {
                let base = match i.memory_segment() {
                    Register::FS => case.registers.fs_base,
                    Register::GS => case.registers.gs_base,
                    _ => return false,
                };
                let last = i.memory_size().size().max(1) as u64 - 1;
                let differs = |at: u64| {
                    [at, at.wrapping_add(last)].iter().any(|a| is_canonical(*a) != is_canonical(a.wrapping_sub(base)))
                };
                // String instructions walk: what they began with tells nothing.
                let walks = i.is_string_instruction() || i.op_kinds().any(|k| matches!(k, OpKind::MemorySegRDI));
                // Bit offsets in registers move the address.
                let moves = i.op1_kind() == OpKind::Register
                    && matches!(i.mnemonic(), Mnemonic::Bt | Mnemonic::Btc | Mnemonic::Btr | Mnemonic::Bts);
                if n > 0 || walks || moves {
                    at(expected) == Some(13) && at(actual) != Some(13)
                } else {
                    has_memory() && operand_address(case, i).is_some_and(differs)
                }
            }
        }
    }
}

/// A byte of data memory as the case begins; zero elsewhere.
fn byte_before(case: &Case, at: u64) -> u8 {
    if at & !(PAGE - 1) == READ_ONLY {
        return crate::templates::read_only()[(at & (PAGE - 1)) as usize];
    }
    let mut memory = Box::new([0; MEMORY]);
    case.fill(&mut memory);
    layout::memory_index(at).map_or(0, |n| memory[n])
}

fn is_canonical(address: u64) -> bool {
    (address as i64) << 16 >> 16 == address as i64
}

fn operand_bits(i: &Instruction) -> u64 {
    let bytes = if i.op0_kind() == OpKind::Register { i.op0_register().size() } else { i.memory_size().size() };
    8 * bytes as u64
}

/// The masked count of a shift or rotation.
fn count(case: &Case, i: &Instruction) -> u64 {
    let last = i.op_count().saturating_sub(1);
    let raw = match i.op_kind(last) {
        OpKind::Register if i.op_register(last) == Register::CL => case.registers.gpr[1],
        OpKind::Immediate8 => u64::from(i.immediate8()),
        _ => 1,
    };
    raw & if operand_bits(i) == 64 { 63 } else { 31 }
}
