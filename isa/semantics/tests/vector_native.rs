//! Every described vector instruction against the host processor: values, status flags, MXCSR, faults, alignment.
//!
//! The instructions come from the description table itself, so that a new row is tested without a new test. iced-x86's own tables
//! are the outside witness for the operands.
#![cfg(all(target_arch = "x86_64", target_os = "linux"))]

mod host;
mod vector_model;

use host::{Host, State};
use iced_x86::{Code, CpuidFeature, EncodingKind, Mnemonic, OpCodeOperandKind as K};
use undercroft_semantics::vector::*;
use vector_model::{Form, apply, encode, forms};

/// A small generator of repeatable values (xorshift64*).
struct Values(u64);

impl Values {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    fn pick<T: Copy>(&mut self, of: &[T]) -> T {
        of[(self.next() % of.len() as u64) as usize]
    }

    fn wide(&mut self) -> u128 {
        (self.next() as u128) << 64 | self.next() as u128
    }

    /// Lanes of `bits` bits, each of them an edge more often than not.
    fn lanes(&mut self, bits: u32) -> u128 {
        let top = 1u64 << (bits - 1);
        let ones = top | (top - 1);
        (0..128 / bits).fold(0, |all, lane| {
            let value = match self.next() % 12 {
                0 => 0,
                1 => 1,
                2 => ones,
                3 => top,
                4 => top - 1,
                5 => top + 1,
                6 => self.next() % (bits as u64 + 4),
                _ => self.next(),
            };
            all | ((value & ones) as u128) << (lane * bits)
        })
    }

    fn single(&mut self) -> u32 {
        const EDGES: &[u32] = &[
            0,
            1,
            0x7f_ffff,
            0x80_0000,
            0x80_0001,
            0x3f80_0000,
            0x3f00_0000,
            0x3fc0_0000,
            0x4020_0000,
            0x4b00_0000,
            0x4aff_ffff,
            0x4eff_ffff,
            0x4f00_0000,
            0x5f00_0000,
            0x7f7f_ffff,
            0x7f80_0000,
            0x7f80_0001,
            0x7fa0_0001,
            0x7fc0_0000,
            0x7fc1_2345,
            0x7fff_ffff,
            0x0d00_0000,
            0x6000_0000,
            0x3380_0000,
            0x0080_0000,
            0x7f00_0000,
        ];
        let magnitude = match self.next() % 8 {
            0..3 => self.pick(EDGES),
            3 => 0x3f00_0000 + (self.next() as u32 & 0xff_ffff),
            4 => (self.next() as u32 & 0x00ff_ffff) << (self.next() % 4),
            5 => ((self.next() as u32 % 64) as f32 / 4.0).to_bits(),
            6 => self.pick(EDGES).wrapping_add(self.next() as u32 % 3).wrapping_sub(1),
            _ => self.next() as u32,
        };
        magnitude ^ (self.next() as u32 & 1) << 31
    }

    fn double(&mut self) -> u64 {
        const EDGES: &[u64] = &[
            0,
            1,
            0xf_ffff_ffff_ffff,
            0x10_0000_0000_0000,
            0x3ff0_0000_0000_0000,
            0x3fe0_0000_0000_0000,
            0x3ff8_0000_0000_0000,
            0x4004_0000_0000_0000,
            0x4330_0000_0000_0000,
            0x432f_ffff_ffff_ffff,
            0x41df_ffff_ffc0_0000,
            0x41e0_0000_0000_0000,
            0x41df_ffff_ffe0_0000,
            0x43e0_0000_0000_0000,
            0x7fef_ffff_ffff_ffff,
            0x7ff0_0000_0000_0000,
            0x7ff0_0000_0000_0001,
            0x7ff4_0000_0000_0001,
            0x7ff8_0000_0000_0000,
            0x7ff8_1234_5678_9abc,
            0x7fff_ffff_ffff_ffff,
            0x1a00_0000_0000_0000,
            0x5ff0_0000_0000_0000,
            0x3690_0000_0000_0000,
            0x3810_0000_0000_0000,
            0x380f_ffff_f000_0000,
            0x47ef_ffff_e000_0000,
            0x47ef_ffff_f000_0000,
            0x3ca0_0000_0000_0000,
        ];
        let magnitude = match self.next() % 8 {
            0..3 => self.pick(EDGES),
            3 => 0x3fe0_0000_0000_0000 + (self.next() & 0x1f_ffff_ffff_ffff),
            4 => (self.next() & 0x1f_ffff_ffff_ffff) << (self.next() % 4),
            5 => ((self.next() % 64) as f64 / 4.0).to_bits(),
            6 => (f32::from_bits(self.single()) as f64).to_bits().wrapping_add(self.next() % 3),
            _ => self.next(),
        };
        magnitude ^ (self.next() & 1) << 63
    }

    /// A register's value in one of the shapes that instructions care about.
    fn register(&mut self) -> u128 {
        match self.next() % 8 {
            0 => self.wide(),
            1 => self.lanes(8),
            2 => self.lanes(16),
            3 => self.lanes(32),
            4 => self.lanes(64),
            5 => (self.next() % 140) as u128,
            // Few distinct bytes: strings that match and end.
            6 => (0..16).fold(0, |all, i| all | ((self.next() % 4) as u128) << (8 * i)),
            _ => (0..8).fold(0, |all, i| all | ((self.next() % 4) as u128) << (16 * i)),
        }
    }

    fn floats(&mut self) -> u128 {
        if self.next() & 1 == 0 {
            (0..4).fold(0, |all, i| all | (self.single() as u128) << (32 * i))
        } else {
            self.double() as u128 | (self.double() as u128) << 64
        }
    }

    fn state(&mut self, floats: bool) -> State {
        let mut state = State::new();
        for at in 0..3 {
            let value = if floats && !self.next().is_multiple_of(8) { self.floats() } else { self.register() };
            state.xmm[at] = value.to_le_bytes();
            state.mm[at] = self.register() as u64;
        }
        // Equal operands now and then.
        if self.next().is_multiple_of(8) {
            state.xmm[2] = state.xmm[1];
        }
        state.memory[16..32].copy_from_slice(&state.xmm[2]);
        for register in [&mut state.rsi, &mut state.r8, &mut state.rcx] {
            *register = self.lanes(64) as u64;
        }
        for register in [&mut state.rax, &mut state.rdx] {
            *register = if self.next().is_multiple_of(4) { self.next() } else { (self.next() % 40).wrapping_sub(20) };
        }
        state.rflags = 0x202 | self.next() & 0x8d5;
        state
    }
}

fn described() -> impl Iterator<Item = (Code, VecInsn)> {
    Code::values().filter_map(|code| describe(code).map(|insn| (code, insn)))
}

fn is_approximate(insn: &VecInsn) -> bool {
    use FpOp::{Rcpps, Rcpss, Rsqrtps, Rsqrtss};
    matches!(insn.action, Action::Fp(Rcpps | Rcpss | Rsqrtps | Rsqrtss))
}

fn is_float(insn: &VecInsn) -> bool {
    matches!(insn.action, Action::Fp(_) | Action::FpFlags(_))
}

/// Runs an instruction on the host and in the model, over `count` states for each immediate.
fn compare(host: &mut Host, values: &mut Values, code: Code, form: Form, count: usize, mxcsr: fn(&mut Values) -> u32) {
    let insn = describe(code).expect("described");
    let immediate = insn.imm8 || insn.second == Operand::Imm8;
    let (immediates, count) = if immediate { (0..=255u8, count.div_ceil(32)) } else { (0..=0, count) };
    for imm in immediates {
        host.load(&encode(code, &insn, form, imm));
        for _ in 0..count {
            let mut before = values.state(is_float(&insn));
            before.mxcsr = mxcsr(values);
            let mut native = before;
            host.run(&mut native, 16);
            let mut model = native;
            model.copy_from(&before);
            apply(&insn, form, imm, &mut model);
            let same = model == native;
            assert!(same, "{code:?} {form:?} imm {imm:#x}\nbefore {before:x?}\nnative {native:x?}\nmodel  {model:x?}");
        }
    }
}

const ALL_MASKED: u32 = 0x1f80;

fn masked(values: &mut Values) -> u32 {
    match values.next() % 4 {
        0 => ALL_MASKED,
        1 => ALL_MASKED | 0x20,
        _ => ALL_MASKED | values.next() as u32 & 0xe040,
    }
}

fn some_unmasked(values: &mut Values) -> u32 {
    values.next() as u32 & 0xffc0
}

#[test]
fn vector_integer_instructions_any_operands_match_the_host() {
    let (mut host, mut values) = (Host::new(), Values(0x9e37_79b9_7f4a_7c15));
    for (code, insn) in described().filter(|(_, insn)| !is_float(insn)) {
        for form in forms(&insn) {
            compare(&mut host, &mut values, code, form, 800, masked);
        }
    }
}

#[test]
fn vector_float_instructions_masked_exceptions_match_the_host() {
    let (mut host, mut values) = (Host::new(), Values(0xd1b5_4a32_d192_ed03));
    for (code, insn) in described().filter(|(_, insn)| is_float(insn) && !is_approximate(insn)) {
        for form in forms(&insn) {
            compare(&mut host, &mut values, code, form, 4000, masked);
        }
    }
}

#[test]
fn vector_float_instructions_unmasked_exceptions_match_the_host() {
    let (mut host, mut values) = (Host::new(), Values(0x8cb9_2ba7_2f3d_8dd7));
    for (code, insn) in described().filter(|(_, insn)| is_float(insn) && !is_approximate(insn)) {
        compare(&mut host, &mut values, code, forms(&insn)[0], 5000, some_unmasked);
    }
}

/// The approximations have exact special cases; elsewhere both sides may be off by the architecture's bound.
#[test]
fn vector_approximations_any_operands_agree_with_the_host_within_the_bound() {
    let (mut host, mut values) = (Host::new(), Values(0x6c07_8965_3f1a_22b7));
    for (code, insn) in described().filter(|(_, insn)| is_approximate(insn)) {
        host.load(&encode(code, &insn, Form::Registers, 0));
        for _ in 0..20_000 {
            let mut before = values.state(true);
            before.mxcsr = some_unmasked(&mut values);
            let (mut native, mut model) = (before, before);
            host.run(&mut native, 16);
            apply(&insn, Form::Registers, 0, &mut model);
            assert_eq!((native.mxcsr, native.signal), (before.mxcsr, 0), "{code:?}");
            for lane in 0..4 {
                let single = |s: &State| f32::from_le_bytes(s.xmm[1].as_chunks().0[lane]);
                let (n, m) = (single(&native), single(&model));
                let same = n.to_bits() == m.to_bits() || (n / m - 1.0).abs() <= 3.0 / 4096.0;
                assert!(same, "{code:?} lane {lane}: {n} {m}, before {before:x?}");
            }
        }
    }
}

/// AMD processors do not check the alignment of these; Intel's do (SDM volume 2, "Exceptions Type 4", legacy SSE), which decides.
const UNALIGNED_ON_AMD: &[Mnemonic] = &[
    Mnemonic::Sha1nexte,
    Mnemonic::Sha1msg1,
    Mnemonic::Sha1msg2,
    Mnemonic::Sha1rnds4,
    Mnemonic::Sha256rnds2,
    Mnemonic::Sha256msg1,
    Mnemonic::Sha256msg2,
];

#[test]
fn vector_memory_operand_misaligned_faults_as_described() {
    let (mut host, mut values) = (Host::new(), Values(0x1234_5678_9abc_def1));
    for (code, insn) in described().filter(|(_, insn)| forms(insn).contains(&Form::Memory)) {
        host.load(&encode(code, &insn, Form::Memory, 0));
        let before = values.state(false);
        let aligned = insn.aligned && !(host::is_amd() && UNALIGNED_ON_AMD.contains(&code.mnemonic()));
        for (offset, faults) in [(16, false), (17, aligned), (24, aligned)] {
            let mut state = before;
            host.run(&mut state, offset);
            assert_eq!(state.signal == 11, faults, "{code:?} at {offset}");
        }
    }
}

#[test]
fn crc32_any_value_matches_the_host() {
    let mut values = Values(0x0bad_cafe_dead_beef);
    for _ in 0..10_000 {
        let (crc, value) = (values.next() as u32, values.next());
        let native = host::crc32(crc, value);
        assert_eq!([1, 2, 4, 8].map(|bytes| crc32(crc, value, bytes)), native);
    }
}

/// Instructions of these CPUID features that have no vector operand, or are x87's.
const ELSEWHERE: &[Mnemonic] = &[
    Mnemonic::Fisttp,
    Mnemonic::Prefetchnta,
    Mnemonic::Prefetcht0,
    Mnemonic::Prefetcht1,
    Mnemonic::Prefetcht2,
    Mnemonic::Ldmxcsr,
    Mnemonic::Stmxcsr,
    Mnemonic::Lfence,
    Mnemonic::Mfence,
    Mnemonic::Sfence,
    Mnemonic::Movnti,
    Mnemonic::Crc32,
];

#[test]
fn describe_every_code_covers_exactly_the_vector_features() {
    use CpuidFeature::*;
    const FEATURES: &[CpuidFeature] = &[MMX, SSE, SSE2, SSE3, SSSE3, SSE4_1, SSE4_2, AES, PCLMULQDQ, SHA];
    for code in Code::values() {
        let vector = code.cpuid_features().iter().any(|feature| FEATURES.contains(feature))
            && code.op_code().encoding() == EncodingKind::Legacy
            && !ELSEWHERE.contains(&code.mnemonic());
        assert_eq!(describe(code).is_some(), vector, "{code:?}");
    }
    assert!(described().count() > 380);
}

/// The kind that the description must give an operand of the decoder's.
fn kind(operand: K) -> Operand {
    match operand {
        K::xmm_reg | K::xmm_rm => Operand::Xmm,
        K::xmm_or_mem => Operand::XmmOrMem,
        K::mm_reg | K::mm_rm => Operand::Mm,
        K::mm_or_mem => Operand::MmOrMem,
        K::r32_reg => Operand::Gpr32,
        K::r64_reg => Operand::Gpr64,
        K::r32_or_mem => Operand::Gpr32OrMem,
        K::r64_or_mem => Operand::Gpr64OrMem,
        K::mem => Operand::Mem,
        K::imm8 => Operand::Imm8,
        other => panic!("unexpected operand kind {other:?}"),
    }
}

#[test]
fn describe_every_code_agrees_with_the_decoder_about_operands() {
    for (code, insn) in described().filter(|(_, insn)| insn.action != Action::Empty) {
        let kinds = code.op_code().op_kinds();
        let kinds = if insn.action == Action::MaskedStore { &kinds[1..] } else { kinds };
        assert_eq!((insn.first, insn.second), (kind(kinds[0]), kind(kinds[1])), "{code:?}");
        assert_eq!(insn.imm8, kinds.len() == 3, "{code:?}");
        let memory_bytes = code.op_code().memory_size().size();
        assert_eq!(insn.memory_bytes as usize, memory_bytes, "{code:?}");
        assert_eq!(insn.access() == Access::None, memory_bytes == 0, "{code:?}");
        assert!(!insn.aligned || insn.memory_bytes == 16, "{code:?}");
    }
}

#[test]
fn operations_every_one_is_reached_by_a_description() {
    let actions: Vec<Action> = described().flat_map(|(_, insn)| [insn.action, insn.memory_action]).collect();
    for op in VecOp::ALL {
        assert!(actions.contains(&Action::Value(*op)) || actions.contains(&Action::Flags(*op)), "{op:?}");
    }
    for op in FpOp::ALL {
        assert!(actions.contains(&Action::Fp(*op)) || actions.contains(&Action::FpFlags(*op)), "{op:?}");
    }
}
