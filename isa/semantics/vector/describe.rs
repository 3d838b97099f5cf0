//! What a decoder and an interpreter have to know about each vector instruction, as one table over iced-x86's codes.
//!
//! Intel SDM volume 2, "Instruction Set Reference", the operand encodings and operations; volume 3, "Exception Conditions of Legacy
//! SIMD Instructions Operating on MMX Registers"; volume 2, "SSE Instruction Exception Specification" for the alignment.
//!
//! Not here, because they touch no vector: prefetches, fences, LDMXCSR, STMXCSR, MOVNTI, CRC32, FXSAVE and XSAVE.

use iced_x86::Code;

use super::fp::FpOp;
use super::op::{VecOp, Xmm0Op};
use super::string_compare::StringLength;

/// What an instruction computes and where the result goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// First operand := [`super::eval`], or [`super::eval_mmx`] where [`VecInsn::class`] is [`Class::Mmx`].
    Value(VecOp),
    /// First operand := [`super::eval_xmm0`].
    ValueXmm0(Xmm0Op),
    /// Status flags := [`super::eval`], bits 31:0; all six are written. No operand is.
    Flags(VecOp),
    /// First operand := [`super::eval_fp`], unless an unmasked exception is found.
    Fp(FpOp),
    /// Status flags := [`super::eval_fp`], bits 31:0, unless an unmasked exception is found. All six are written. No operand is.
    FpFlags(FpOp),
    /// [`super::pcmpistr`] or [`super::pcmpestr`] of both operands; ECX or XMM0, and all six status flags, are written.
    String(StringLength, StringOutput),
    /// Bytes of the first operand go to DS:rDI (or the overriding segment) where [`super::masked_bytes`] of the second says so.
    /// iced-x86's operand 0 is the memory, so the first and second operand here are its operands 1 and 2.
    MaskedStore,
    /// EMMS: all x87 tags become empty.
    Empty,
}

/// What a string comparison leaves behind besides the flags.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StringOutput {
    /// ECX := the index; RCX bits 63:32 become zero.
    Index,
    /// XMM0 := the mask.
    Mask,
}

/// An operand's kind. As a source, a register gives its whole value and memory its bytes, zero-extended. As a destination, a
/// register takes as many of the result's low bits as it has (a 32-bit general-purpose register clears the upper half) and memory
/// takes [`VecInsn::memory_bytes`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Operand {
    /// None.
    None,
    /// An XMM register.
    Xmm,
    /// An XMM register or memory.
    XmmOrMem,
    /// An MMX register.
    Mm,
    /// An MMX register or memory.
    MmOrMem,
    /// A 32-bit general-purpose register.
    Gpr32,
    /// A 64-bit general-purpose register.
    Gpr64,
    /// A 32-bit general-purpose register or memory.
    Gpr32OrMem,
    /// A 64-bit general-purpose register or memory.
    Gpr64OrMem,
    /// Memory.
    Mem,
    /// The immediate byte, zero-extended: the count of a shift.
    Imm8,
}

impl Operand {
    /// Whether the operand may be memory.
    pub const fn may_be_memory(self) -> bool {
        use Operand::*;
        matches!(self, XmmOrMem | MmOrMem | Gpr32OrMem | Gpr64OrMem | Mem)
    }

    const fn is_mm(self) -> bool {
        matches!(self, Operand::Mm | Operand::MmOrMem)
    }

    const fn is_xmm(self) -> bool {
        matches!(self, Operand::Xmm | Operand::XmmOrMem)
    }
}

/// Which register files an instruction belongs to. General-purpose operands do not count.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Class {
    /// MMX registers only: #UD if CR0.EM; values are 64 bits.
    Mmx,
    /// XMM registers only: #UD if CR0.EM or not CR4.OSFXSR; values are 128 bits.
    Xmm,
    /// Both, as CVTPI2PS and MOVQ2DQ: the checks of both; values are 128 bits.
    MmxAndXmm,
}

/// What an instruction does to the x87 state that MMX registers share.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MmxState {
    /// Nothing, and no pending x87 error is reported.
    Untouched,
    /// #MF for a pending x87 error; then TOS := 0 and all tags valid. A written register gets ones in bits 79:64.
    Enters,
    /// [`MmxState::Enters`] with a register source, [`MmxState::Untouched`] with a memory source (CVTPI2PD).
    EntersUnlessMemory,
    /// #MF for a pending x87 error; then TOS := 0 and all tags empty (EMMS).
    Empties,
}

/// How a memory operand is accessed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// There is none.
    None,
    /// Read.
    Load,
    /// Written.
    Store,
}

/// A vector instruction's description.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct VecInsn {
    /// What is computed when no operand is memory.
    pub action: Action,
    /// What is computed when an operand is memory. It differs from `action` for MOVSS, MOVSD and INSERTPS alone.
    pub memory_action: Action,
    /// iced-x86's operand 0: the destination, or the first source of an action that writes flags.
    pub first: Operand,
    /// iced-x86's operand 1: the source.
    pub second: Operand,
    /// Whether the immediate byte that is iced-x86's operand 2 goes to the evaluation; it gets 0 otherwise.
    pub imm8: bool,
    /// The size of the memory operand; 0 if there is none.
    pub memory_bytes: u8,
    /// Whether a memory operand that is not aligned to 16 bytes raises #GP(0).
    pub aligned: bool,
    /// Whether the access carries the non-temporal hint.
    pub non_temporal: bool,
    /// What becomes of the x87 state.
    pub mmx_state: MmxState,
}

impl VecInsn {
    /// Which register files the operands are in.
    pub const fn class(&self) -> Class {
        let xmm = self.first.is_xmm() || self.second.is_xmm();
        let mm = self.first.is_mm() || self.second.is_mm() || matches!(self.action, Action::Empty);
        match (mm, xmm) {
            (true, true) => Class::MmxAndXmm,
            (true, false) => Class::Mmx,
            _ => Class::Xmm,
        }
    }

    /// Whether a memory operand is read or written.
    pub const fn access(&self) -> Access {
        match self.action {
            Action::MaskedStore => Access::Store,
            _ if self.first.may_be_memory() => Access::Store,
            _ if self.second.may_be_memory() => Access::Load,
            _ => Access::None,
        }
    }

    /// Whether the instruction writes CF, PF, AF, ZF, SF and OF.
    pub const fn writes_flags(&self) -> bool {
        matches!(self.action, Action::Flags(_) | Action::FpFlags(_) | Action::String(..))
    }

    /// Whether it can raise #XM, and so changes MXCSR's flags. (#UD in its place while CR4.OSXMMEXCPT is clear.)
    pub const fn can_raise_xm(&self) -> bool {
        match self.action {
            Action::Fp(op) | Action::FpFlags(op) => op.reports_exceptions(),
            _ => false,
        }
    }

    const fn new(action: Action, first: Operand, second: Operand) -> VecInsn {
        let mm = first.is_mm() || second.is_mm();
        VecInsn {
            action,
            memory_action: action,
            first,
            second,
            imm8: false,
            memory_bytes: 0,
            aligned: false,
            non_temporal: false,
            mmx_state: if mm { MmxState::Enters } else { MmxState::Untouched },
        }
    }

    /// A memory operand of 16 bytes that must be aligned.
    const fn aligned(self) -> VecInsn {
        VecInsn { memory_bytes: 16, aligned: true, ..self }
    }

    /// A memory operand of 16 bytes that need not be aligned.
    const fn unaligned(self) -> VecInsn {
        self.narrow(16)
    }

    /// A memory operand of `memory_bytes` bytes that need not be aligned.
    const fn narrow(self, memory_bytes: u8) -> VecInsn {
        VecInsn { memory_bytes, aligned: false, ..self }
    }

    const fn imm8(self) -> VecInsn {
        VecInsn { imm8: true, ..self }
    }

    const fn memory(self, op: VecOp) -> VecInsn {
        VecInsn { memory_action: Action::Value(op), ..self }
    }

    const fn non_temporal(self) -> VecInsn {
        VecInsn { non_temporal: true, ..self }
    }

    const fn mmx_unless_memory(self) -> VecInsn {
        VecInsn { mmx_state: MmxState::EntersUnlessMemory, ..self }
    }
}

const fn value(op: VecOp, first: Operand, second: Operand) -> VecInsn {
    VecInsn::new(Action::Value(op), first, second)
}

const fn fp(op: FpOp, first: Operand, second: Operand) -> VecInsn {
    VecInsn::new(Action::Fp(op), first, second)
}

/// `xmm, xmm/m128`.
const fn xmm(action: Action) -> VecInsn {
    VecInsn::new(action, Operand::Xmm, Operand::XmmOrMem).aligned()
}

const fn xmm_value(op: VecOp) -> VecInsn {
    xmm(Action::Value(op))
}

const fn xmm_xmm0(op: Xmm0Op) -> VecInsn {
    xmm(Action::ValueXmm0(op))
}

const fn xmm_flags(op: VecOp) -> VecInsn {
    xmm(Action::Flags(op))
}

const fn xmm_fp(op: FpOp) -> VecInsn {
    xmm(Action::Fp(op))
}

const fn xmm_fp_flags(op: FpOp) -> VecInsn {
    xmm(Action::FpFlags(op))
}

const fn xmm_string(length: StringLength, output: StringOutput) -> VecInsn {
    xmm(Action::String(length, output)).unaligned().imm8()
}

/// `mm, mm/m64`.
const fn mm_value(op: VecOp) -> VecInsn {
    value(op, Operand::Mm, Operand::MmOrMem).narrow(8)
}

const fn masked_store(register: Operand, memory_bytes: u8) -> VecInsn {
    VecInsn::new(Action::MaskedStore, register, register).narrow(memory_bytes).non_temporal()
}

const fn emms() -> VecInsn {
    VecInsn { mmx_state: MmxState::Empties, ..VecInsn::new(Action::Empty, Operand::None, Operand::None) }
}

/// The description of a legacy-encoded MMX, SSE, AES-NI, PCLMULQDQ or SHA instruction; `None` for every other code.
pub const fn describe(code: Code) -> Option<VecInsn> {
    use Code as C;
    use FpOp as F;
    use Operand as O;
    use StringLength as L;
    use StringOutput as S;
    use VecOp as V;
    use Xmm0Op as X;
    Some(match code {
        C::Movups_xmm_xmmm128 | C::Movupd_xmm_xmmm128 | C::Movdqu_xmm_xmmm128 => xmm_value(V::Mov).unaligned(),
        C::Movss_xmm_xmmm32 => xmm_value(V::MergeDword).narrow(4).memory(V::Mov),
        C::Movsd_xmm_xmmm64 => xmm_value(V::MergeQword).narrow(8).memory(V::Mov),
        C::Movups_xmmm128_xmm | C::Movupd_xmmm128_xmm | C::Movdqu_xmmm128_xmm => {
            value(V::Mov, O::XmmOrMem, O::Xmm).narrow(16)
        }
        C::Movss_xmmm32_xmm => value(V::MergeDword, O::XmmOrMem, O::Xmm).narrow(4).memory(V::Mov),
        C::Movsd_xmmm64_xmm => value(V::MergeQword, O::XmmOrMem, O::Xmm).narrow(8).memory(V::Mov),
        C::Movhlps_xmm_xmm => value(V::Movhlps, O::Xmm, O::Xmm),
        C::Movlps_xmm_m64 | C::Movlpd_xmm_m64 => value(V::MergeQword, O::Xmm, O::Mem).narrow(8),
        C::Movsldup_xmm_xmmm128 => xmm_value(V::Movsldup),
        C::Movddup_xmm_xmmm64 => xmm_value(V::Movddup).narrow(8),
        C::Movlps_m64_xmm | C::Movlpd_m64_xmm => value(V::LowQword, O::Mem, O::Xmm).narrow(8),
        C::Unpcklps_xmm_xmmm128 | C::Punpckldq_xmm_xmmm128 => xmm_value(V::Punpckldq),
        C::Unpcklpd_xmm_xmmm128 | C::Punpcklqdq_xmm_xmmm128 => xmm_value(V::Punpcklqdq),
        C::Unpckhps_xmm_xmmm128 | C::Punpckhdq_xmm_xmmm128 => xmm_value(V::Punpckhdq),
        C::Unpckhpd_xmm_xmmm128 | C::Punpckhqdq_xmm_xmmm128 => xmm_value(V::Punpckhqdq),
        C::Movlhps_xmm_xmm => value(V::Punpcklqdq, O::Xmm, O::Xmm),
        C::Movhps_xmm_m64 | C::Movhpd_xmm_m64 => value(V::Punpcklqdq, O::Xmm, O::Mem).narrow(8),
        C::Movshdup_xmm_xmmm128 => xmm_value(V::Movshdup),
        C::Movhps_m64_xmm | C::Movhpd_m64_xmm => value(V::HighQword, O::Mem, O::Xmm).narrow(8),
        C::Movaps_xmm_xmmm128 | C::Movapd_xmm_xmmm128 | C::Movdqa_xmm_xmmm128 => xmm_value(V::Mov),
        C::Movaps_xmmm128_xmm | C::Movapd_xmmm128_xmm | C::Movdqa_xmmm128_xmm => {
            value(V::Mov, O::XmmOrMem, O::Xmm).aligned()
        }
        C::Cvtpi2ps_xmm_mmm64 => fp(F::Cvtpi2ps, O::Xmm, O::MmOrMem).narrow(8),
        C::Cvtpi2pd_xmm_mmm64 => fp(F::Cvtpi2pd, O::Xmm, O::MmOrMem).narrow(8).mmx_unless_memory(),
        C::Cvtsi2ss_xmm_rm32 => fp(F::Cvtsi2ss32, O::Xmm, O::Gpr32OrMem).narrow(4),
        C::Cvtsi2ss_xmm_rm64 => fp(F::Cvtsi2ss64, O::Xmm, O::Gpr64OrMem).narrow(8),
        C::Cvtsi2sd_xmm_rm32 => fp(F::Cvtsi2sd32, O::Xmm, O::Gpr32OrMem).narrow(4),
        C::Cvtsi2sd_xmm_rm64 => fp(F::Cvtsi2sd64, O::Xmm, O::Gpr64OrMem).narrow(8),
        C::Movntps_m128_xmm | C::Movntpd_m128_xmm | C::Movntdq_m128_xmm => {
            value(V::Mov, O::Mem, O::Xmm).aligned().non_temporal()
        }
        C::Cvttps2pi_mm_xmmm64 => fp(F::Cvttps2pi, O::Mm, O::XmmOrMem).narrow(8),
        C::Cvttpd2pi_mm_xmmm128 => fp(F::Cvttpd2dq, O::Mm, O::XmmOrMem).aligned(),
        C::Cvttss2si_r32_xmmm32 => fp(F::Cvttss2si32, O::Gpr32, O::XmmOrMem).narrow(4),
        C::Cvttss2si_r64_xmmm32 => fp(F::Cvttss2si64, O::Gpr64, O::XmmOrMem).narrow(4),
        C::Cvttsd2si_r32_xmmm64 => fp(F::Cvttsd2si32, O::Gpr32, O::XmmOrMem).narrow(8),
        C::Cvttsd2si_r64_xmmm64 => fp(F::Cvttsd2si64, O::Gpr64, O::XmmOrMem).narrow(8),
        C::Cvtps2pi_mm_xmmm64 => fp(F::Cvtps2pi, O::Mm, O::XmmOrMem).narrow(8),
        C::Cvtpd2pi_mm_xmmm128 => fp(F::Cvtpd2dq, O::Mm, O::XmmOrMem).aligned(),
        C::Cvtss2si_r32_xmmm32 => fp(F::Cvtss2si32, O::Gpr32, O::XmmOrMem).narrow(4),
        C::Cvtss2si_r64_xmmm32 => fp(F::Cvtss2si64, O::Gpr64, O::XmmOrMem).narrow(4),
        C::Cvtsd2si_r32_xmmm64 => fp(F::Cvtsd2si32, O::Gpr32, O::XmmOrMem).narrow(8),
        C::Cvtsd2si_r64_xmmm64 => fp(F::Cvtsd2si64, O::Gpr64, O::XmmOrMem).narrow(8),
        C::Ucomiss_xmm_xmmm32 => xmm_fp_flags(F::Ucomiss).narrow(4),
        C::Ucomisd_xmm_xmmm64 => xmm_fp_flags(F::Ucomisd).narrow(8),
        C::Comiss_xmm_xmmm32 => xmm_fp_flags(F::Comiss).narrow(4),
        C::Comisd_xmm_xmmm64 => xmm_fp_flags(F::Comisd).narrow(8),
        C::Movmskps_r32_xmm => value(V::Movmskps, O::Gpr32, O::Xmm),
        C::Movmskps_r64_xmm => value(V::Movmskps, O::Gpr64, O::Xmm),
        C::Movmskpd_r32_xmm => value(V::Movmskpd, O::Gpr32, O::Xmm),
        C::Movmskpd_r64_xmm => value(V::Movmskpd, O::Gpr64, O::Xmm),
        C::Sqrtps_xmm_xmmm128 => xmm_fp(F::Sqrtps),
        C::Sqrtpd_xmm_xmmm128 => xmm_fp(F::Sqrtpd),
        C::Sqrtss_xmm_xmmm32 => xmm_fp(F::Sqrtss).narrow(4),
        C::Sqrtsd_xmm_xmmm64 => xmm_fp(F::Sqrtsd).narrow(8),
        C::Rsqrtps_xmm_xmmm128 => xmm_fp(F::Rsqrtps),
        C::Rsqrtss_xmm_xmmm32 => xmm_fp(F::Rsqrtss).narrow(4),
        C::Rcpps_xmm_xmmm128 => xmm_fp(F::Rcpps),
        C::Rcpss_xmm_xmmm32 => xmm_fp(F::Rcpss).narrow(4),
        C::Andps_xmm_xmmm128 | C::Andpd_xmm_xmmm128 | C::Pand_xmm_xmmm128 => xmm_value(V::Pand),
        C::Andnps_xmm_xmmm128 | C::Andnpd_xmm_xmmm128 | C::Pandn_xmm_xmmm128 => xmm_value(V::Pandn),
        C::Orps_xmm_xmmm128 | C::Orpd_xmm_xmmm128 | C::Por_xmm_xmmm128 => xmm_value(V::Por),
        C::Xorps_xmm_xmmm128 | C::Xorpd_xmm_xmmm128 | C::Pxor_xmm_xmmm128 => xmm_value(V::Pxor),
        C::Addps_xmm_xmmm128 => xmm_fp(F::Addps),
        C::Addpd_xmm_xmmm128 => xmm_fp(F::Addpd),
        C::Addss_xmm_xmmm32 => xmm_fp(F::Addss).narrow(4),
        C::Addsd_xmm_xmmm64 => xmm_fp(F::Addsd).narrow(8),
        C::Mulps_xmm_xmmm128 => xmm_fp(F::Mulps),
        C::Mulpd_xmm_xmmm128 => xmm_fp(F::Mulpd),
        C::Mulss_xmm_xmmm32 => xmm_fp(F::Mulss).narrow(4),
        C::Mulsd_xmm_xmmm64 => xmm_fp(F::Mulsd).narrow(8),
        C::Cvtps2pd_xmm_xmmm64 => xmm_fp(F::Cvtps2pd).narrow(8),
        C::Cvtpd2ps_xmm_xmmm128 => xmm_fp(F::Cvtpd2ps),
        C::Cvtss2sd_xmm_xmmm32 => xmm_fp(F::Cvtss2sd).narrow(4),
        C::Cvtsd2ss_xmm_xmmm64 => xmm_fp(F::Cvtsd2ss).narrow(8),
        C::Cvtdq2ps_xmm_xmmm128 => xmm_fp(F::Cvtdq2ps),
        C::Cvtps2dq_xmm_xmmm128 => xmm_fp(F::Cvtps2dq),
        C::Cvttps2dq_xmm_xmmm128 => xmm_fp(F::Cvttps2dq),
        C::Subps_xmm_xmmm128 => xmm_fp(F::Subps),
        C::Subpd_xmm_xmmm128 => xmm_fp(F::Subpd),
        C::Subss_xmm_xmmm32 => xmm_fp(F::Subss).narrow(4),
        C::Subsd_xmm_xmmm64 => xmm_fp(F::Subsd).narrow(8),
        C::Minps_xmm_xmmm128 => xmm_fp(F::Minps),
        C::Minpd_xmm_xmmm128 => xmm_fp(F::Minpd),
        C::Minss_xmm_xmmm32 => xmm_fp(F::Minss).narrow(4),
        C::Minsd_xmm_xmmm64 => xmm_fp(F::Minsd).narrow(8),
        C::Divps_xmm_xmmm128 => xmm_fp(F::Divps),
        C::Divpd_xmm_xmmm128 => xmm_fp(F::Divpd),
        C::Divss_xmm_xmmm32 => xmm_fp(F::Divss).narrow(4),
        C::Divsd_xmm_xmmm64 => xmm_fp(F::Divsd).narrow(8),
        C::Maxps_xmm_xmmm128 => xmm_fp(F::Maxps),
        C::Maxpd_xmm_xmmm128 => xmm_fp(F::Maxpd),
        C::Maxss_xmm_xmmm32 => xmm_fp(F::Maxss).narrow(4),
        C::Maxsd_xmm_xmmm64 => xmm_fp(F::Maxsd).narrow(8),
        C::Punpcklbw_mm_mmm32 => mm_value(V::Punpcklbw).narrow(4),
        C::Punpcklbw_xmm_xmmm128 => xmm_value(V::Punpcklbw),
        C::Punpcklwd_mm_mmm32 => mm_value(V::Punpcklwd).narrow(4),
        C::Punpcklwd_xmm_xmmm128 => xmm_value(V::Punpcklwd),
        C::Punpckldq_mm_mmm32 => mm_value(V::Punpckldq).narrow(4),
        C::Packsswb_mm_mmm64 => mm_value(V::Packsswb),
        C::Packsswb_xmm_xmmm128 => xmm_value(V::Packsswb),
        C::Pcmpgtb_mm_mmm64 => mm_value(V::Pcmpgtb),
        C::Pcmpgtb_xmm_xmmm128 => xmm_value(V::Pcmpgtb),
        C::Pcmpgtw_mm_mmm64 => mm_value(V::Pcmpgtw),
        C::Pcmpgtw_xmm_xmmm128 => xmm_value(V::Pcmpgtw),
        C::Pcmpgtd_mm_mmm64 => mm_value(V::Pcmpgtd),
        C::Pcmpgtd_xmm_xmmm128 => xmm_value(V::Pcmpgtd),
        C::Packuswb_mm_mmm64 => mm_value(V::Packuswb),
        C::Packuswb_xmm_xmmm128 => xmm_value(V::Packuswb),
        C::Punpckhbw_mm_mmm64 => mm_value(V::Punpckhbw),
        C::Punpckhbw_xmm_xmmm128 => xmm_value(V::Punpckhbw),
        C::Punpckhwd_mm_mmm64 => mm_value(V::Punpckhwd),
        C::Punpckhwd_xmm_xmmm128 => xmm_value(V::Punpckhwd),
        C::Punpckhdq_mm_mmm64 => mm_value(V::Punpckhdq),
        C::Packssdw_mm_mmm64 => mm_value(V::Packssdw),
        C::Packssdw_xmm_xmmm128 => xmm_value(V::Packssdw),
        C::Movd_mm_rm32 => value(V::LowDword, O::Mm, O::Gpr32OrMem).narrow(4),
        C::Movq_mm_rm64 => value(V::LowQword, O::Mm, O::Gpr64OrMem).narrow(8),
        C::Movd_xmm_rm32 => value(V::LowDword, O::Xmm, O::Gpr32OrMem).narrow(4),
        C::Movq_xmm_rm64 => value(V::LowQword, O::Xmm, O::Gpr64OrMem).narrow(8),
        C::Movq_mm_mmm64 => mm_value(V::Mov),
        C::Pshufw_mm_mmm64_imm8 => mm_value(V::Pshuflw).imm8(),
        C::Pshufd_xmm_xmmm128_imm8 => xmm_value(V::Pshufd).imm8(),
        C::Pshufhw_xmm_xmmm128_imm8 => xmm_value(V::Pshufhw).imm8(),
        C::Pshuflw_xmm_xmmm128_imm8 => xmm_value(V::Pshuflw).imm8(),
        C::Psrlw_mm_imm8 => value(V::Psrlw, O::Mm, O::Imm8),
        C::Psrlw_xmm_imm8 => value(V::Psrlw, O::Xmm, O::Imm8),
        C::Psraw_mm_imm8 => value(V::Psraw, O::Mm, O::Imm8),
        C::Psraw_xmm_imm8 => value(V::Psraw, O::Xmm, O::Imm8),
        C::Psllw_mm_imm8 => value(V::Psllw, O::Mm, O::Imm8),
        C::Psllw_xmm_imm8 => value(V::Psllw, O::Xmm, O::Imm8),
        C::Psrld_mm_imm8 => value(V::Psrld, O::Mm, O::Imm8),
        C::Psrld_xmm_imm8 => value(V::Psrld, O::Xmm, O::Imm8),
        C::Psrad_mm_imm8 => value(V::Psrad, O::Mm, O::Imm8),
        C::Psrad_xmm_imm8 => value(V::Psrad, O::Xmm, O::Imm8),
        C::Pslld_mm_imm8 => value(V::Pslld, O::Mm, O::Imm8),
        C::Pslld_xmm_imm8 => value(V::Pslld, O::Xmm, O::Imm8),
        C::Psrlq_mm_imm8 => value(V::Psrlq, O::Mm, O::Imm8),
        C::Psrlq_xmm_imm8 => value(V::Psrlq, O::Xmm, O::Imm8),
        C::Psrldq_xmm_imm8 => value(V::Psrldq, O::Xmm, O::Imm8),
        C::Psllq_mm_imm8 => value(V::Psllq, O::Mm, O::Imm8),
        C::Psllq_xmm_imm8 => value(V::Psllq, O::Xmm, O::Imm8),
        C::Pslldq_xmm_imm8 => value(V::Pslldq, O::Xmm, O::Imm8),
        C::Pcmpeqb_mm_mmm64 => mm_value(V::Pcmpeqb),
        C::Pcmpeqb_xmm_xmmm128 => xmm_value(V::Pcmpeqb),
        C::Pcmpeqw_mm_mmm64 => mm_value(V::Pcmpeqw),
        C::Pcmpeqw_xmm_xmmm128 => xmm_value(V::Pcmpeqw),
        C::Pcmpeqd_mm_mmm64 => mm_value(V::Pcmpeqd),
        C::Pcmpeqd_xmm_xmmm128 => xmm_value(V::Pcmpeqd),
        C::Emms => emms(),
        C::Haddpd_xmm_xmmm128 => xmm_fp(F::Haddpd),
        C::Haddps_xmm_xmmm128 => xmm_fp(F::Haddps),
        C::Hsubpd_xmm_xmmm128 => xmm_fp(F::Hsubpd),
        C::Hsubps_xmm_xmmm128 => xmm_fp(F::Hsubps),
        C::Movd_rm32_mm => value(V::LowDword, O::Gpr32OrMem, O::Mm).narrow(4),
        C::Movq_rm64_mm => value(V::LowQword, O::Gpr64OrMem, O::Mm).narrow(8),
        C::Movd_rm32_xmm => value(V::LowDword, O::Gpr32OrMem, O::Xmm).narrow(4),
        C::Movq_rm64_xmm => value(V::LowQword, O::Gpr64OrMem, O::Xmm).narrow(8),
        C::Movq_xmm_xmmm64 => xmm_value(V::LowQword).narrow(8),
        C::Movq_mmm64_mm => value(V::Mov, O::MmOrMem, O::Mm).narrow(8),
        C::Cmpps_xmm_xmmm128_imm8 => xmm_fp(F::Cmpps).imm8(),
        C::Cmppd_xmm_xmmm128_imm8 => xmm_fp(F::Cmppd).imm8(),
        C::Cmpss_xmm_xmmm32_imm8 => xmm_fp(F::Cmpss).narrow(4).imm8(),
        C::Cmpsd_xmm_xmmm64_imm8 => xmm_fp(F::Cmpsd).narrow(8).imm8(),
        C::Pinsrw_mm_r32m16_imm8 => value(V::Pinsrw, O::Mm, O::Gpr32OrMem).narrow(2).imm8(),
        C::Pinsrw_mm_r64m16_imm8 => value(V::Pinsrw, O::Mm, O::Gpr64OrMem).narrow(2).imm8(),
        C::Pinsrw_xmm_r32m16_imm8 => value(V::Pinsrw, O::Xmm, O::Gpr32OrMem).narrow(2).imm8(),
        C::Pinsrw_xmm_r64m16_imm8 => value(V::Pinsrw, O::Xmm, O::Gpr64OrMem).narrow(2).imm8(),
        C::Pextrw_r32_mm_imm8 => value(V::Pextrw, O::Gpr32, O::Mm).imm8(),
        C::Pextrw_r64_mm_imm8 => value(V::Pextrw, O::Gpr64, O::Mm).imm8(),
        C::Pextrw_r32_xmm_imm8 => value(V::Pextrw, O::Gpr32, O::Xmm).imm8(),
        C::Pextrw_r64_xmm_imm8 => value(V::Pextrw, O::Gpr64, O::Xmm).imm8(),
        C::Shufps_xmm_xmmm128_imm8 => xmm_value(V::Shufps).imm8(),
        C::Shufpd_xmm_xmmm128_imm8 => xmm_value(V::Shufpd).imm8(),
        C::Addsubpd_xmm_xmmm128 => xmm_fp(F::Addsubpd),
        C::Addsubps_xmm_xmmm128 => xmm_fp(F::Addsubps),
        C::Psrlw_mm_mmm64 => mm_value(V::Psrlw),
        C::Psrlw_xmm_xmmm128 => xmm_value(V::Psrlw),
        C::Psrld_mm_mmm64 => mm_value(V::Psrld),
        C::Psrld_xmm_xmmm128 => xmm_value(V::Psrld),
        C::Psrlq_mm_mmm64 => mm_value(V::Psrlq),
        C::Psrlq_xmm_xmmm128 => xmm_value(V::Psrlq),
        C::Paddq_mm_mmm64 => mm_value(V::Paddq),
        C::Paddq_xmm_xmmm128 => xmm_value(V::Paddq),
        C::Pmullw_mm_mmm64 => mm_value(V::Pmullw),
        C::Pmullw_xmm_xmmm128 => xmm_value(V::Pmullw),
        C::Movq_xmmm64_xmm => value(V::LowQword, O::XmmOrMem, O::Xmm).narrow(8),
        C::Movq2dq_xmm_mm => value(V::LowQword, O::Xmm, O::Mm),
        C::Movdq2q_mm_xmm => value(V::LowQword, O::Mm, O::Xmm),
        C::Pmovmskb_r32_mm => value(V::Pmovmskb, O::Gpr32, O::Mm),
        C::Pmovmskb_r64_mm => value(V::Pmovmskb, O::Gpr64, O::Mm),
        C::Pmovmskb_r32_xmm => value(V::Pmovmskb, O::Gpr32, O::Xmm),
        C::Pmovmskb_r64_xmm => value(V::Pmovmskb, O::Gpr64, O::Xmm),
        C::Psubusb_mm_mmm64 => mm_value(V::Psubusb),
        C::Psubusb_xmm_xmmm128 => xmm_value(V::Psubusb),
        C::Psubusw_mm_mmm64 => mm_value(V::Psubusw),
        C::Psubusw_xmm_xmmm128 => xmm_value(V::Psubusw),
        C::Pminub_mm_mmm64 => mm_value(V::Pminub),
        C::Pminub_xmm_xmmm128 => xmm_value(V::Pminub),
        C::Pand_mm_mmm64 => mm_value(V::Pand),
        C::Paddusb_mm_mmm64 => mm_value(V::Paddusb),
        C::Paddusb_xmm_xmmm128 => xmm_value(V::Paddusb),
        C::Paddusw_mm_mmm64 => mm_value(V::Paddusw),
        C::Paddusw_xmm_xmmm128 => xmm_value(V::Paddusw),
        C::Pmaxub_mm_mmm64 => mm_value(V::Pmaxub),
        C::Pmaxub_xmm_xmmm128 => xmm_value(V::Pmaxub),
        C::Pandn_mm_mmm64 => mm_value(V::Pandn),
        C::Pavgb_mm_mmm64 => mm_value(V::Pavgb),
        C::Pavgb_xmm_xmmm128 => xmm_value(V::Pavgb),
        C::Psraw_mm_mmm64 => mm_value(V::Psraw),
        C::Psraw_xmm_xmmm128 => xmm_value(V::Psraw),
        C::Psrad_mm_mmm64 => mm_value(V::Psrad),
        C::Psrad_xmm_xmmm128 => xmm_value(V::Psrad),
        C::Pavgw_mm_mmm64 => mm_value(V::Pavgw),
        C::Pavgw_xmm_xmmm128 => xmm_value(V::Pavgw),
        C::Pmulhuw_mm_mmm64 => mm_value(V::Pmulhuw),
        C::Pmulhuw_xmm_xmmm128 => xmm_value(V::Pmulhuw),
        C::Pmulhw_mm_mmm64 => mm_value(V::Pmulhw),
        C::Pmulhw_xmm_xmmm128 => xmm_value(V::Pmulhw),
        C::Cvttpd2dq_xmm_xmmm128 => xmm_fp(F::Cvttpd2dq),
        C::Cvtdq2pd_xmm_xmmm64 => xmm_fp(F::Cvtdq2pd).narrow(8),
        C::Cvtpd2dq_xmm_xmmm128 => xmm_fp(F::Cvtpd2dq),
        C::Movntq_m64_mm => value(V::Mov, O::Mem, O::Mm).narrow(8).non_temporal(),
        C::Psubsb_mm_mmm64 => mm_value(V::Psubsb),
        C::Psubsb_xmm_xmmm128 => xmm_value(V::Psubsb),
        C::Psubsw_mm_mmm64 => mm_value(V::Psubsw),
        C::Psubsw_xmm_xmmm128 => xmm_value(V::Psubsw),
        C::Pminsw_mm_mmm64 => mm_value(V::Pminsw),
        C::Pminsw_xmm_xmmm128 => xmm_value(V::Pminsw),
        C::Por_mm_mmm64 => mm_value(V::Por),
        C::Paddsb_mm_mmm64 => mm_value(V::Paddsb),
        C::Paddsb_xmm_xmmm128 => xmm_value(V::Paddsb),
        C::Paddsw_mm_mmm64 => mm_value(V::Paddsw),
        C::Paddsw_xmm_xmmm128 => xmm_value(V::Paddsw),
        C::Pmaxsw_mm_mmm64 => mm_value(V::Pmaxsw),
        C::Pmaxsw_xmm_xmmm128 => xmm_value(V::Pmaxsw),
        C::Pxor_mm_mmm64 => mm_value(V::Pxor),
        C::Lddqu_xmm_m128 => value(V::Mov, O::Xmm, O::Mem).narrow(16),
        C::Psllw_mm_mmm64 => mm_value(V::Psllw),
        C::Psllw_xmm_xmmm128 => xmm_value(V::Psllw),
        C::Pslld_mm_mmm64 => mm_value(V::Pslld),
        C::Pslld_xmm_xmmm128 => xmm_value(V::Pslld),
        C::Psllq_mm_mmm64 => mm_value(V::Psllq),
        C::Psllq_xmm_xmmm128 => xmm_value(V::Psllq),
        C::Pmuludq_mm_mmm64 => mm_value(V::Pmuludq),
        C::Pmuludq_xmm_xmmm128 => xmm_value(V::Pmuludq),
        C::Pmaddwd_mm_mmm64 => mm_value(V::Pmaddwd),
        C::Pmaddwd_xmm_xmmm128 => xmm_value(V::Pmaddwd),
        C::Psadbw_mm_mmm64 => mm_value(V::Psadbw),
        C::Psadbw_xmm_xmmm128 => xmm_value(V::Psadbw),
        C::Maskmovq_rDI_mm_mm => masked_store(O::Mm, 8),
        C::Maskmovdqu_rDI_xmm_xmm => masked_store(O::Xmm, 16),
        C::Psubb_mm_mmm64 => mm_value(V::Psubb),
        C::Psubb_xmm_xmmm128 => xmm_value(V::Psubb),
        C::Psubw_mm_mmm64 => mm_value(V::Psubw),
        C::Psubw_xmm_xmmm128 => xmm_value(V::Psubw),
        C::Psubd_mm_mmm64 => mm_value(V::Psubd),
        C::Psubd_xmm_xmmm128 => xmm_value(V::Psubd),
        C::Psubq_mm_mmm64 => mm_value(V::Psubq),
        C::Psubq_xmm_xmmm128 => xmm_value(V::Psubq),
        C::Paddb_mm_mmm64 => mm_value(V::Paddb),
        C::Paddb_xmm_xmmm128 => xmm_value(V::Paddb),
        C::Paddw_mm_mmm64 => mm_value(V::Paddw),
        C::Paddw_xmm_xmmm128 => xmm_value(V::Paddw),
        C::Paddd_mm_mmm64 => mm_value(V::Paddd),
        C::Paddd_xmm_xmmm128 => xmm_value(V::Paddd),
        C::Pshufb_mm_mmm64 => mm_value(V::Pshufb),
        C::Pshufb_xmm_xmmm128 => xmm_value(V::Pshufb),
        C::Phaddw_mm_mmm64 => mm_value(V::Phaddw),
        C::Phaddw_xmm_xmmm128 => xmm_value(V::Phaddw),
        C::Phaddd_mm_mmm64 => mm_value(V::Phaddd),
        C::Phaddd_xmm_xmmm128 => xmm_value(V::Phaddd),
        C::Phaddsw_mm_mmm64 => mm_value(V::Phaddsw),
        C::Phaddsw_xmm_xmmm128 => xmm_value(V::Phaddsw),
        C::Pmaddubsw_mm_mmm64 => mm_value(V::Pmaddubsw),
        C::Pmaddubsw_xmm_xmmm128 => xmm_value(V::Pmaddubsw),
        C::Phsubw_mm_mmm64 => mm_value(V::Phsubw),
        C::Phsubw_xmm_xmmm128 => xmm_value(V::Phsubw),
        C::Phsubd_mm_mmm64 => mm_value(V::Phsubd),
        C::Phsubd_xmm_xmmm128 => xmm_value(V::Phsubd),
        C::Phsubsw_mm_mmm64 => mm_value(V::Phsubsw),
        C::Phsubsw_xmm_xmmm128 => xmm_value(V::Phsubsw),
        C::Psignb_mm_mmm64 => mm_value(V::Psignb),
        C::Psignb_xmm_xmmm128 => xmm_value(V::Psignb),
        C::Psignw_mm_mmm64 => mm_value(V::Psignw),
        C::Psignw_xmm_xmmm128 => xmm_value(V::Psignw),
        C::Psignd_mm_mmm64 => mm_value(V::Psignd),
        C::Psignd_xmm_xmmm128 => xmm_value(V::Psignd),
        C::Pmulhrsw_mm_mmm64 => mm_value(V::Pmulhrsw),
        C::Pmulhrsw_xmm_xmmm128 => xmm_value(V::Pmulhrsw),
        C::Pblendvb_xmm_xmmm128 => xmm_xmm0(X::Pblendvb),
        C::Blendvps_xmm_xmmm128 => xmm_xmm0(X::Blendvps),
        C::Blendvpd_xmm_xmmm128 => xmm_xmm0(X::Blendvpd),
        C::Ptest_xmm_xmmm128 => xmm_flags(V::Ptest),
        C::Pabsb_mm_mmm64 => mm_value(V::Pabsb),
        C::Pabsb_xmm_xmmm128 => xmm_value(V::Pabsb),
        C::Pabsw_mm_mmm64 => mm_value(V::Pabsw),
        C::Pabsw_xmm_xmmm128 => xmm_value(V::Pabsw),
        C::Pabsd_mm_mmm64 => mm_value(V::Pabsd),
        C::Pabsd_xmm_xmmm128 => xmm_value(V::Pabsd),
        C::Pmovsxbw_xmm_xmmm64 => xmm_value(V::Pmovsxbw).narrow(8),
        C::Pmovsxbd_xmm_xmmm32 => xmm_value(V::Pmovsxbd).narrow(4),
        C::Pmovsxbq_xmm_xmmm16 => xmm_value(V::Pmovsxbq).narrow(2),
        C::Pmovsxwd_xmm_xmmm64 => xmm_value(V::Pmovsxwd).narrow(8),
        C::Pmovsxwq_xmm_xmmm32 => xmm_value(V::Pmovsxwq).narrow(4),
        C::Pmovsxdq_xmm_xmmm64 => xmm_value(V::Pmovsxdq).narrow(8),
        C::Pmuldq_xmm_xmmm128 => xmm_value(V::Pmuldq),
        C::Pcmpeqq_xmm_xmmm128 => xmm_value(V::Pcmpeqq),
        C::Movntdqa_xmm_m128 => value(V::Mov, O::Xmm, O::Mem).aligned().non_temporal(),
        C::Packusdw_xmm_xmmm128 => xmm_value(V::Packusdw),
        C::Pmovzxbw_xmm_xmmm64 => xmm_value(V::Pmovzxbw).narrow(8),
        C::Pmovzxbd_xmm_xmmm32 => xmm_value(V::Pmovzxbd).narrow(4),
        C::Pmovzxbq_xmm_xmmm16 => xmm_value(V::Pmovzxbq).narrow(2),
        C::Pmovzxwd_xmm_xmmm64 => xmm_value(V::Pmovzxwd).narrow(8),
        C::Pmovzxwq_xmm_xmmm32 => xmm_value(V::Pmovzxwq).narrow(4),
        C::Pmovzxdq_xmm_xmmm64 => xmm_value(V::Pmovzxdq).narrow(8),
        C::Pcmpgtq_xmm_xmmm128 => xmm_value(V::Pcmpgtq),
        C::Pminsb_xmm_xmmm128 => xmm_value(V::Pminsb),
        C::Pminsd_xmm_xmmm128 => xmm_value(V::Pminsd),
        C::Pminuw_xmm_xmmm128 => xmm_value(V::Pminuw),
        C::Pminud_xmm_xmmm128 => xmm_value(V::Pminud),
        C::Pmaxsb_xmm_xmmm128 => xmm_value(V::Pmaxsb),
        C::Pmaxsd_xmm_xmmm128 => xmm_value(V::Pmaxsd),
        C::Pmaxuw_xmm_xmmm128 => xmm_value(V::Pmaxuw),
        C::Pmaxud_xmm_xmmm128 => xmm_value(V::Pmaxud),
        C::Pmulld_xmm_xmmm128 => xmm_value(V::Pmulld),
        C::Phminposuw_xmm_xmmm128 => xmm_value(V::Phminposuw),
        C::Sha1nexte_xmm_xmmm128 => xmm_value(V::Sha1nexte),
        C::Sha1msg1_xmm_xmmm128 => xmm_value(V::Sha1msg1),
        C::Sha1msg2_xmm_xmmm128 => xmm_value(V::Sha1msg2),
        C::Sha256rnds2_xmm_xmmm128 => xmm_xmm0(X::Sha256rnds2),
        C::Sha256msg1_xmm_xmmm128 => xmm_value(V::Sha256msg1),
        C::Sha256msg2_xmm_xmmm128 => xmm_value(V::Sha256msg2),
        C::Aesimc_xmm_xmmm128 => xmm_value(V::Aesimc),
        C::Aesenc_xmm_xmmm128 => xmm_value(V::Aesenc),
        C::Aesenclast_xmm_xmmm128 => xmm_value(V::Aesenclast),
        C::Aesdec_xmm_xmmm128 => xmm_value(V::Aesdec),
        C::Aesdeclast_xmm_xmmm128 => xmm_value(V::Aesdeclast),
        C::Roundps_xmm_xmmm128_imm8 => xmm_fp(F::Roundps).imm8(),
        C::Roundpd_xmm_xmmm128_imm8 => xmm_fp(F::Roundpd).imm8(),
        C::Roundss_xmm_xmmm32_imm8 => xmm_fp(F::Roundss).narrow(4).imm8(),
        C::Roundsd_xmm_xmmm64_imm8 => xmm_fp(F::Roundsd).narrow(8).imm8(),
        C::Blendps_xmm_xmmm128_imm8 => xmm_value(V::Blendps).imm8(),
        C::Blendpd_xmm_xmmm128_imm8 => xmm_value(V::Blendpd).imm8(),
        C::Pblendw_xmm_xmmm128_imm8 => xmm_value(V::Pblendw).imm8(),
        C::Palignr_mm_mmm64_imm8 => mm_value(V::Palignr).imm8(),
        C::Palignr_xmm_xmmm128_imm8 => xmm_value(V::Palignr).imm8(),
        C::Pextrb_r32m8_xmm_imm8 => value(V::Pextrb, O::Gpr32OrMem, O::Xmm).narrow(1).imm8(),
        C::Pextrb_r64m8_xmm_imm8 => value(V::Pextrb, O::Gpr64OrMem, O::Xmm).narrow(1).imm8(),
        C::Pextrw_r32m16_xmm_imm8 => value(V::Pextrw, O::Gpr32OrMem, O::Xmm).narrow(2).imm8(),
        C::Pextrw_r64m16_xmm_imm8 => value(V::Pextrw, O::Gpr64OrMem, O::Xmm).narrow(2).imm8(),
        C::Pextrd_rm32_xmm_imm8 | C::Extractps_rm32_xmm_imm8 => {
            value(V::Pextrd, O::Gpr32OrMem, O::Xmm).narrow(4).imm8()
        }
        C::Pextrq_rm64_xmm_imm8 => value(V::Pextrq, O::Gpr64OrMem, O::Xmm).narrow(8).imm8(),
        C::Extractps_r64m32_xmm_imm8 => value(V::Pextrd, O::Gpr64OrMem, O::Xmm).narrow(4).imm8(),
        C::Pinsrb_xmm_r32m8_imm8 => value(V::Pinsrb, O::Xmm, O::Gpr32OrMem).narrow(1).imm8(),
        C::Pinsrb_xmm_r64m8_imm8 => value(V::Pinsrb, O::Xmm, O::Gpr64OrMem).narrow(1).imm8(),
        C::Insertps_xmm_xmmm32_imm8 => xmm_value(V::Insertps).narrow(4).imm8().memory(V::InsertpsMemory),
        C::Pinsrd_xmm_rm32_imm8 => value(V::Pinsrd, O::Xmm, O::Gpr32OrMem).narrow(4).imm8(),
        C::Pinsrq_xmm_rm64_imm8 => value(V::Pinsrq, O::Xmm, O::Gpr64OrMem).narrow(8).imm8(),
        C::Dpps_xmm_xmmm128_imm8 => xmm_fp(F::Dpps).imm8(),
        C::Dppd_xmm_xmmm128_imm8 => xmm_fp(F::Dppd).imm8(),
        C::Mpsadbw_xmm_xmmm128_imm8 => xmm_value(V::Mpsadbw).imm8(),
        C::Pclmulqdq_xmm_xmmm128_imm8 => xmm_value(V::Pclmulqdq).imm8(),
        C::Pcmpestrm_xmm_xmmm128_imm8 => xmm_string(L::Explicit32, S::Mask),
        C::Pcmpestrm64_xmm_xmmm128_imm8 => xmm_string(L::Explicit64, S::Mask),
        C::Pcmpestri_xmm_xmmm128_imm8 => xmm_string(L::Explicit32, S::Index),
        C::Pcmpestri64_xmm_xmmm128_imm8 => xmm_string(L::Explicit64, S::Index),
        C::Pcmpistrm_xmm_xmmm128_imm8 => xmm_string(L::Implicit, S::Mask),
        C::Pcmpistri_xmm_xmmm128_imm8 => xmm_string(L::Implicit, S::Index),
        C::Sha1rnds4_xmm_xmmm128_imm8 => xmm_value(V::Sha1rnds4).imm8(),
        C::Aeskeygenassist_xmm_xmmm128_imm8 => xmm_value(V::Aeskeygenassist).imm8(),
        _ => return None,
    })
}
