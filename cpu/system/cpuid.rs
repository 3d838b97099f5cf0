//! CPUID, and the model of processor that it describes. SDM volume 2, "CPUID—CPU Identification".
//!
//! The model is data: a table of leaves that the machine's configuration may change, flag by flag. What depends on the processor's state
//! (topology, OSXSAVE, sizes of save areas) is computed over the table. Other instructions ask the table whether a feature exists.

use super::xsave;
use crate::events::{Exception, Flow};
use crate::local_apic::Mode;
use crate::mmu::PHYS_BITS;
use crate::state::State;
use crate::vcpu::Cpu;
use serde::{Deserialize, Serialize};
use undercroft_decode::{Insn, Mnemonic, Reg};
use undercroft_spec::x86::control::cr4;
use undercroft_spec::x86::cpuid::{Feature, Register};
use undercroft_spec::x86::msr::{arch_capabilities as ac, misc_enable};

/// Frequency of the TSC: one a tick.
pub const TSC_HZ: u32 = 1_000_000_000;

/// One row of the table.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Leaf {
    /// EAX of the question.
    pub leaf: u32,
    /// ECX of the question, or none where it does not count.
    pub subleaf: Option<u32>,
    /// EAX, EBX, ECX, EDX of the answer.
    pub values: [u32; 4],
}

/// What processor this is.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct CpuModel {
    /// The static part of CPUID's answers. Rows that are missing are zero.
    pub leaves: Vec<Leaf>,
    /// Number of logical processors, each a core of the one package; APIC IDs count from 0.
    pub processors: u32,
    /// Microcode revision, as IA32_BIOS_SIGN_ID tells it.
    pub microcode_revision: u32,
    /// IA32_ARCH_CAPABILITIES.
    pub arch_capabilities: u64,
}

/// Highest basic leaf.
const MAX_BASIC: u32 = 0x1f;
/// Family 6, model E0H, stepping 1: a number that no product has, so that software applies what the flags say and no list of errata.
pub const SIGNATURE: u32 = 0x000e_0601;
const BRAND: &[u8; 48] = b"Undercroft virtual processor @ 1.00GHz\0\0\0\0\0\0\0\0\0\0";

impl Default for CpuModel {
    /// Everything that the processor can do, one logical processor.
    fn default() -> Self {
        let mut model = CpuModel {
            leaves: vec![
                row(0, [MAX_BASIC, word(b"Genu"), word(b"ntel"), word(b"ineI")]),
                row(1, [SIGNATURE, (CACHE_LINE / 8) << 8, 0, 0]),
                // Descriptors: use leaf 4, 64-byte prefetch; instruction TLB of 64 entries, data TLB of 64, second-level TLB of 1536.
                row(2, [0x7603_6301, 0x00f0_b5ff, 0, 0x00c3_0000]),
                at(4, 0, cache(CacheKind::Data, 1, 8, 64)),
                at(4, 1, cache(CacheKind::Instruction, 1, 8, 64)),
                at(4, 2, cache(CacheKind::Unified, 2, 16, 1024)),
                at(4, 3, cache(CacheKind::Unified, 3, 16, 16384)),
                // MONITOR: one line, extensions enumerated, interrupts may break; no C-states beyond what HLT gives.
                row(5, [CACHE_LINE, CACHE_LINE, 3, 0]),
                row(6, [0; 4]),
                at(7, 0, [0; 4]),
                at(0xd, 0, [0; 4]),
                at(0xd, 1, [0; 4]),
                at(0xd, xsave::PKRU_COMPONENT, [xsave::PKRU_SIZE, xsave::PKRU_OFFSET, 0, 0]),
                row(0x15, [1, TSC_HZ / crate::TIMER_HZ as u32, crate::TIMER_HZ as u32, 0]),
                row(0x16, [TSC_HZ / 1_000_000, TSC_HZ / 1_000_000, 100, 0]),
                row(0x8000_0000, [0x8000_0008, 0, 0, 0]),
                row(0x8000_0001, [0; 4]),
                // Second-level cache: 1 MByte, 16 ways, lines of 64 bytes.
                row(0x8000_0006, [0, 0, 1024 << 16 | 8 << 12 | CACHE_LINE, 0]),
                row(0x8000_0007, [0; 4]),
                row(0x8000_0008, [PHYS_BITS, 0, 0, 0]),
            ],
            processors: 1,
            microcode_revision: 1,
            arch_capabilities: UNAFFECTED,
        };
        for (n, text) in BRAND.chunks_exact(16).enumerate() {
            let mut values = [0; 4];
            for (value, four) in values.iter_mut().zip(text.chunks_exact(4)) {
                *value = u32::from_le_bytes([four[0], four[1], four[2], four[3]]);
            }
            model.leaves.push(row(0x8000_0002 + n as u32, values));
        }
        let not_offered = [Feature::HTT, Feature::OSXSAVE, Feature::OSPKE, Feature::VMX, Feature::SMX, Feature::AVX];
        for feature in Feature::ALL {
            if !not_offered.contains(feature) {
                model.set(*feature, true);
            }
        }
        model
    }
}

/// What IA32_ARCH_CAPABILITIES says by default: nothing speculates here.
const UNAFFECTED: u64 = ac::RDCL_NO
    | ac::IBRS_ALL
    | ac::SKIP_L1DFL_VMENTRY
    | ac::SSB_NO
    | ac::MDS_NO
    | ac::IF_PSCHANGE_MC_NO
    | ac::TAA_NO
    | ac::SBDR_SSDP_NO
    | ac::FBSDP_NO
    | ac::PSDP_NO
    | ac::BHI_NO
    | ac::PBRSB_NO
    | ac::GDS_NO
    | ac::RFDS_NO
    | ac::ITS_NO;

/// Bytes of a cache line: the unit of CLFLUSH and MONITOR.
pub const CACHE_LINE: u32 = 64;

const fn word(text: &[u8; 4]) -> u32 {
    u32::from_le_bytes(*text)
}
const fn row(leaf: u32, values: [u32; 4]) -> Leaf {
    Leaf { leaf, subleaf: None, values }
}
const fn at(leaf: u32, subleaf: u32, values: [u32; 4]) -> Leaf {
    Leaf { leaf, subleaf: Some(subleaf), values }
}

/// Kinds of cache, as leaf 4 numbers them.
enum CacheKind {
    Data = 1,
    Instruction = 2,
    Unified = 3,
}

/// A row of leaf 4 without its topology.
const fn cache(kind: CacheKind, level: u32, ways: u32, sets: u32) -> [u32; 4] {
    let self_initializing = 1 << 8;
    [kind as u32 | level << 5 | self_initializing, (ways - 1) << 22 | (CACHE_LINE - 1), sets - 1, 0]
}

impl CpuModel {
    /// Has the processor this feature?
    pub fn has(&self, feature: Feature) -> bool {
        self.row(feature.leaf, feature.subleaf)[feature.register as usize] >> feature.bit & 1 != 0
    }
    /// Switches a feature on or off. To switch on what the processor cannot do only makes CPUID lie.
    pub fn set(&mut self, feature: Feature, on: bool) {
        let place = (feature.leaf, feature.subleaf);
        if !self.leaves.iter().any(|l| l.answers(place.0, place.1)) {
            self.leaves.push(at(place.0, place.1, [0; 4]));
        }
        for l in self.leaves.iter_mut().filter(|l| l.answers(place.0, place.1)) {
            let value = &mut l.values[feature.register as usize];
            *value = *value & !(1 << feature.bit) | u32::from(on) << feature.bit;
        }
    }
    /// Width of linear addresses that the processor can have.
    pub fn linear_bits(&self) -> u32 {
        if self.has(Feature::LA57) { 57 } else { 48 }
    }
    /// Is the address canonical by the widest paging mode of the processor? This is what MSRs, descriptor-table registers and
    /// invalidations of translations ask, whatever CR4.LA57 is.
    pub fn is_canonical(&self, linear: u64) -> bool {
        let unused = 64 - self.linear_bits();
        ((linear << unused) as i64 >> unused) as u64 == linear
    }
    /// State components that XCR0 may enable.
    pub fn xcr0_mask(&self) -> u64 {
        if !self.has(Feature::XSAVE) {
            return 0;
        }
        let pkru = u64::from(self.has(Feature::PKU)) << xsave::PKRU_COMPONENT;
        xsave::X87 | xsave::SSE | pkru
    }

    fn row(&self, leaf: u32, subleaf: u32) -> [u32; 4] {
        self.leaves.iter().find(|l| l.answers(leaf, subleaf)).map_or([0; 4], |l| l.values)
    }

    /// CPUID's answer to a logical processor in this state.
    pub fn answer(&self, s: &State, index: u32, leaf: u32, subleaf: u32) -> [u32; 4] {
        let limited = s.msr.misc_enable & misc_enable::LIMIT_CPUID != 0;
        let max_basic = self.row(0, 0)[0].min(if limited { 2 } else { u32::MAX });
        let extended = 0x8000_0000..=self.row(0x8000_0000, 0)[0];
        // Beyond the highest leaf of either range: the data of the highest basic leaf.
        let leaf = if leaf <= max_basic || extended.contains(&leaf) { leaf } else { max_basic };
        let mut v = self.row(leaf, subleaf);
        let covered = self.processors.max(1).next_power_of_two();
        match leaf {
            0 => v[0] = max_basic,
            1 => {
                v[1] |= index << 24 | covered.min(255) << 16;
                v[2] |= u32::from(s.cr4 & cr4::OSXSAVE != 0) << Feature::OSXSAVE.bit;
                v[3] |= u32::from(self.processors > 1) << Feature::HTT.bit;
                if s.msr.misc_enable & misc_enable::MONITOR == 0 {
                    v[2] &= !(1 << Feature::MONITOR.bit);
                }
            }
            4 if v[0] != 0 => {
                let shared = if v[0] >> 5 & 7 == 3 { covered.min(4096) } else { 1 };
                v[0] |= (shared - 1) << 14 | (covered.min(64) - 1) << 26;
            }
            7 if subleaf == 0 => v[2] |= u32::from(s.cr4 & cr4::PKE != 0) << Feature::OSPKE.bit,
            0xb | 0x1f => v = self.topology(index, subleaf),
            0xd => self.extended_states(s, subleaf, &mut v),
            0x8000_0001 => {
                if !s.is_long() {
                    v[3] &= !(1 << Feature::SYSCALL.bit);
                }
                if s.msr.misc_enable & misc_enable::XD_DISABLE != 0 {
                    v[3] &= !(1 << Feature::NX.bit);
                }
            }
            0x8000_0008 => v[0] |= self.linear_bits() << 8,
            _ => {}
        }
        v
    }

    /// Leaves 0BH and 1FH: one thread a core, all cores in one package.
    fn topology(&self, index: u32, level: u32) -> [u32; 4] {
        let count = self.processors.max(1);
        match level {
            0 => [0, 1, 1 << 8, index],
            1 => [count.next_power_of_two().trailing_zeros(), count & 0xffff, 2 << 8 | 1, index],
            _ => [0, 0, level & 0xff, index],
        }
    }

    /// Leaf 0DH: what XCR0 may hold, and sizes.
    fn extended_states(&self, s: &State, subleaf: u32, v: &mut [u32; 4]) {
        let mask = self.xcr0_mask();
        match subleaf {
            _ if mask == 0 => *v = [0; 4],
            0 => *v = [mask as u32, xsave::standard_size(s.xcr0), xsave::standard_size(mask), (mask >> 32) as u32],
            1 => v[1] = xsave::compacted_size(s.xcr0 | s.msr.xss),
            2..=62 if mask >> subleaf & 1 == 0 => *v = [0; 4],
            _ => {}
        }
    }
}

impl Leaf {
    fn answers(&self, leaf: u32, subleaf: u32) -> bool {
        self.leaf == leaf && self.subleaf.is_none_or(|s| s == subleaf)
    }
}

/// This family's instructions.
pub(super) fn execute(cpu: &mut Cpu, _i: &Insn, m: Mnemonic) -> Option<Result<Flow, Exception>> {
    (m == Mnemonic::Cpuid).then(|| cpuid(cpu))
}

fn cpuid(cpu: &mut Cpu) -> Result<Flow, Exception> {
    let (leaf, subleaf) = (cpu.s.regs[Reg::Rax as usize] as u32, cpu.s.regs[Reg::Rcx as usize] as u32);
    let mut answer = cpu.model.answer(&cpu.s, cpu.current as u32, leaf, subleaf);
    if leaf == 1 {
        // "Local APIC Status and Location": the flag follows the global enable.
        if cpu.apics.get(cpu.current).is_some_and(|a| a.mode() == Mode::Disabled) {
            answer[Register::Edx as usize] &= !(1 << Feature::APIC.bit);
        }
        // "Determining the Signature": the revision comes with CPUID(1).
        cpu.s.msr.bios_sign_id = u64::from(cpu.model.microcode_revision) << 32;
    }
    for (reg, value) in [Reg::Rax, Reg::Rbx, Reg::Rcx, Reg::Rdx].into_iter().zip(answer) {
        cpu.s.regs[reg as usize] = u64::from(value);
    }
    Ok(Flow::Next)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{execute, long, real};

    fn ask(cpu: &mut Cpu, leaf: u32, subleaf: u32) -> [u32; 4] {
        cpu.s.regs[Reg::Rax as usize] = 0xdead_0000_0000_0000 | u64::from(leaf);
        cpu.s.regs[Reg::Rcx as usize] = u64::from(subleaf);
        assert_eq!(execute(cpu, &[0x0f, 0xa2]), Ok(Flow::Next));
        [Reg::Rax, Reg::Rbx, Reg::Rcx, Reg::Rdx].map(|r| u32::try_from(cpu.s.regs[r as usize]).expect("32 bits"))
    }

    #[test]
    fn cpuid_leaf_0_names_vendor() {
        let v = ask(&mut real(), 0, 7);
        let text: Vec<u8> = [v[1], v[3], v[2]].iter().flat_map(|w| w.to_le_bytes()).collect();
        assert_eq!((v[0], text.as_slice()), (MAX_BASIC, b"GenuineIntel".as_slice()));
    }
    #[test]
    fn cpuid_leaf_1_follows_cr4_and_misc_enable() {
        let mut cpu = real();
        let v = ask(&mut cpu, 1, 0);
        assert_eq!(v[0] >> 8 & 15, 6);
        assert_eq!(v[2] >> 27 & 1, 0);
        assert_eq!(v[2] >> 3 & 1, 1);
        assert_eq!(cpu.s.msr.bios_sign_id, 1 << 32);
        cpu.s.cr4 |= cr4::OSXSAVE;
        cpu.s.msr.misc_enable &= !misc_enable::MONITOR;
        let v = ask(&mut cpu, 1, 0);
        assert_eq!((v[2] >> 27 & 1, v[2] >> 3 & 1), (1, 0));
    }
    #[test]
    fn cpuid_leaf_beyond_highest_gives_highest_basic() {
        let mut cpu = real();
        for leaf in [0x20, 0x4000_0000, 0x8000_0009, u32::MAX] {
            assert_eq!(ask(&mut cpu, leaf, 1), ask(&mut cpu, 0x1f, 1));
        }
    }
    #[test]
    fn cpuid_extended_flags_follow_mode_and_switches() {
        assert_eq!(ask(&mut real(), 0x8000_0001, 0)[3] >> 11 & 1, 0);
        let mut cpu = long(3);
        let v = ask(&mut cpu, 0x8000_0001, 0);
        assert_eq!((v[3] >> 11 & 1, v[3] >> 20 & 1, v[3] >> 29 & 1), (1, 1, 1));
        assert_eq!(ask(&mut cpu, 0x8000_0008, 0)[0], 57 << 8 | 46);
        cpu.model.set(Feature::LA57, false);
        assert_eq!(ask(&mut cpu, 0x8000_0008, 0)[0], 48 << 8 | 46);
        assert!(!cpu.model.is_canonical(1 << 47));
    }
    #[test]
    fn cpuid_topology_covers_processors() {
        let mut cpu = real();
        cpu.model.processors = 3;
        cpu.current = 2;
        assert_eq!(ask(&mut cpu, 0xb, 0), [0, 1, 0x100, 2]);
        assert_eq!(ask(&mut cpu, 0x1f, 1), [2, 3, 0x201, 2]);
        assert_eq!(ask(&mut cpu, 0xb, 2), [0, 0, 2, 2]);
        let v = ask(&mut cpu, 1, 0);
        assert_eq!((v[1] >> 24, v[1] >> 16 & 0xff, v[3] >> 28 & 1), (2, 4, 1));
        assert_eq!(ask(&mut cpu, 4, 3)[0] >> 14, 3 << 12 | 3);
        assert_eq!(ask(&mut cpu, 4, 4), [0; 4]);
    }
    #[test]
    fn cpuid_leaf_d_gives_sizes_of_enabled_states() {
        let mut cpu = real();
        assert_eq!(ask(&mut cpu, 0xd, 0), [0x203, 576, 2696, 0]);
        cpu.s.xcr0 = 0x203;
        assert_eq!(ask(&mut cpu, 0xd, 0)[1], 2696);
        assert_eq!(ask(&mut cpu, 0xd, 1), [0xf, 584, 0, 0]);
        assert_eq!(ask(&mut cpu, 0xd, 9), [8, 2688, 0, 0]);
        assert_eq!(ask(&mut cpu, 0xd, 2), [0; 4]);
    }
    #[test]
    fn cpuid_brand_is_text() {
        let mut cpu = real();
        let text: Vec<u8> =
            (0..3).flat_map(|n| ask(&mut cpu, 0x8000_0002 + n, 0)).flat_map(|w| w.to_le_bytes()).collect();
        assert_eq!(text, BRAND);
    }
    #[test]
    fn cpu_model_survives_serialization() {
        let model = CpuModel::default();
        let bytes = postcard::to_stdvec(&model).expect("to bytes");
        assert_eq!(postcard::from_bytes::<CpuModel>(&bytes).expect("from bytes"), model);
    }
}
