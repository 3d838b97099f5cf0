//! Which instructions: every form of 64-bit mode whose CPUID feature the machine has and that a program may execute without asking the
//! operating system for something.

use iced_x86::{Code, CpuidFeature, EncodingKind, Mnemonic, OpCodeOperandKind};
use std::sync::OnceLock;

/// All of them.
pub fn all() -> &'static [Code] {
    static ALL: OnceLock<Vec<Code>> = OnceLock::new();
    ALL.get_or_init(|| Code::values().filter(|c| is_allowed(*c)).collect())
}

/// Is this one of them?
pub fn contains(code: Code) -> bool {
    static SET: OnceLock<Vec<bool>> = OnceLock::new();
    let set = SET.get_or_init(|| {
        let mut set = vec![false; Code::values().len()];
        for code in all() {
            set[*code as usize] = true;
        }
        set
    });
    set[code as usize]
}

fn has_feature(feature: CpuidFeature) -> bool {
    use CpuidFeature as F;
    matches!(
        feature,
        F::INTEL8086
            | F::INTEL186
            | F::INTEL286
            | F::INTEL386
            | F::INTEL486
            | F::X64
            | F::ADX
            | F::AES
            | F::BMI1
            | F::BMI2
            | F::CET_IBT
            | F::CLFSH
            | F::CMOV
            | F::CMPXCHG16B
            | F::CX8
            | F::FPU
            | F::FPU287
            | F::FPU387
            | F::FSGSBASE
            | F::FXSR
            | F::LZCNT
            | F::MMX
            | F::MOVBE
            | F::MULTIBYTENOP
            | F::PAUSE
            | F::PCLMULQDQ
            | F::POPCNT
            | F::PREFETCHW
            | F::SHA
            | F::SSE
            | F::SSE2
            | F::SSE3
            | F::SSE4_1
            | F::SSE4_2
            | F::SSSE3
    )
}

/// Left out although user mode has them, with the reason.
fn is_left_out(code: Code) -> bool {
    use Mnemonic as M;
    match code.mnemonic() {
        // Enter the operating system.
        M::Syscall | M::Sysenter | M::Sysret | M::Sysretq | M::Sysexit | M::Sysexitq => true,
        // Differ from one execution to the next, or from one host to the next.
        M::Cpuid | M::Rdtsc | M::Rdtscp | M::Rdpmc | M::Rdrand | M::Rdseed | M::Rdpid => true,
        // Depend on the host's descriptor tables, or are emulated by Linux (UMIP).
        M::Lar | M::Lsl | M::Verr | M::Verw | M::Sgdt | M::Sidt | M::Sldt | M::Str | M::Smsw => true,
        // Load segments, or leave 64-bit mode.
        M::Lss | M::Lfs | M::Lgs | M::Retf | M::Iret | M::Iretd | M::Iretq => true,
        // Undefined on purpose; AMD's and Intel's UD0 and UD1 differ in length. Only UD2 stays.
        M::Ud0 | M::Ud1 => true,
        // Hypervisors under which the host may run report the RIP of the instruction.
        M::Int1 => true,
        // AMD's processors have no SYSENTER or TEST registers in 64-bit mode; SMM only.
        M::Rsm => true,
        _ => matches!(
            code,
            Code::Mov_Sreg_rm16
                | Code::Mov_Sreg_r32m16
                | Code::Mov_Sreg_r64m16
                | Code::Popw_FS
                | Code::Popd_FS
                | Code::Popq_FS
                | Code::Popw_GS
                | Code::Popd_GS
                | Code::Popq_GS
                // Undefined on AMD's processors, a hint without effect on Intel's.
                | Code::Reservednop_rm16_r16_0F0D
                | Code::Reservednop_rm32_r32_0F0D
                | Code::Reservednop_rm64_r64_0F0D
                | Code::Jmp_m1616
                | Code::Jmp_m1632
                | Code::Jmp_m1664
                | Code::Call_m1616
                | Code::Call_m1632
                | Code::Call_m1664
        ),
    }
}

/// Privileged instructions whose refusal is compared: #GP(0) before anything else.
fn is_refused(code: Code) -> bool {
    use Mnemonic as M;
    matches!(
        code.mnemonic(),
        M::Hlt
            | M::Cli
            | M::Sti
            | M::In
            | M::Out
            | M::Insb
            | M::Insw
            | M::Insd
            | M::Outsb
            | M::Outsw
            | M::Outsd
            | M::Clts
            | M::Invd
            | M::Wbinvd
            | M::Lgdt
            | M::Lidt
            | M::Lldt
            | M::Ltr
            | M::Lmsw
            | M::Invlpg
    )
}

fn is_allowed(code: Code) -> bool {
    let info = code.op_code();
    if !info.is_instruction() || !info.mode64() || info.fwait() || is_left_out(code) {
        return false;
    }
    if !code.cpuid_features().iter().all(|f| has_feature(*f)) {
        return false;
    }
    if info.encoding() == EncodingKind::D3NOW || code == Code::INVALID {
        return false;
    }
    if (info.must_be_cpl0() || info.is_input_output() || !info.cpl3() || info.is_privileged()) && !is_refused(code) {
        return false;
    }
    use OpCodeOperandKind as K;
    info.op_kinds().iter().all(|kind| {
        // 16-bit near branches exist in 64-bit mode on AMD's processors only; segment and test registers are left out.
        !matches!(
            kind,
            K::br16_1 | K::br16_2 | K::br32_1 | K::br32_4 | K::xbegin_2 | K::xbegin_4 | K::tr_reg | K::bnd_reg
        )
    }) && !matches!(code, Code::Retnw | Code::Retnw_imm16 | Code::Jmp_rm16 | Code::Call_rm16)
}
