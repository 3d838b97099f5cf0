//! `deviations.toml`: what the manual leaves undefined, as data.

use crate::case::Case;
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
    /// The exceptions may differ: what the manual lets the model decide.
    #[serde(default)]
    pub fault: bool,
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
    /// The operand is 16 bits wide and the masked count is greater.
    CountAboveSize,
    /// The masked count is not 1.
    CountNotOne,
    /// The result is a NaN, an infinity or a zero on neither side: approximations only.
    Memory,
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
            index[mnemonic as usize] = all().iter().filter(|d| d.mnemonics.contains(&name)).collect();
        }
        index
    });
    &index[mnemonic as usize]
}

/// May it leave more undefined than flags? Then nothing comes after it in a case.
pub fn is_exclusive(code: Code) -> bool {
    of_mnemonic(code.mnemonic()).iter().any(|d| {
        d.status != 0 || !d.operands.is_empty() || !d.memory.is_empty() || !d.st.is_empty() || d.lanes != 0.0 || d.fault
    })
}

impl Deviation {
    /// The flags as a mask of RFLAGS.
    pub fn flag_mask(&self) -> u64 {
        let bit = |name: &String| match name.as_str() {
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
    /// Does it hold for this instruction of a case? Registers are those at the case's start.
    pub fn holds(&self, case: &Case, i: &Instruction) -> bool {
        match self.when {
            When::Always => true,
            When::CountAboveSize => {
                let bits = operand_bits(i);
                count(case, i) > bits
            }
            When::CountNotOne => count(case, i) != 1,
            When::Memory => i.op_kinds().any(|k| k == OpKind::Memory),
        }
    }
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
