//! Bytes to [`Insn`]. Source: SDM volume 2, "Instruction Format".

use crate::insn::{Insn, Op, Rep, Seg, Size};
use crate::operands;
use iced_x86::{Code, Decoder, DecoderError, DecoderOptions, Instruction, Mnemonic, OpKind, Register};

/// How the code segment says that instructions are to be read. SDM volume 3, "Operating Modes of the Processor".
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
#[repr(u8)]
pub enum CodeSize {
    /// Real mode, virtual-8086 mode, CS.D = 0.
    Bits16 = 0,
    /// CS.D = 1, compatibility mode included.
    Bits32 = 1,
    /// 64-bit mode: CS.L = 1.
    Bits64 = 2,
}

impl CodeSize {
    const fn bitness(self) -> u32 {
        match self {
            CodeSize::Bits16 => 16,
            CodeSize::Bits32 => 32,
            CodeSize::Bits64 => 64,
        }
    }
}

/// A decoded instruction, with iced's own form of it for traces and for tables keyed by it.
pub struct Decoded {
    /// The compact form.
    pub insn: Insn,
    /// iced's form.
    pub instruction: Instruction,
}

/// Why bytes are not an instruction.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Undecodable {
    /// The instruction goes on behind the bytes given (fewer than 15).
    NeedMoreBytes,
    /// Undefined, or illegal in this code size, or LOCK where it is not allowed: #UD.
    Invalid,
    /// Longer than 15 bytes: #GP(0).
    TooLong,
}

/// MPX is left out: without it its opcodes are reserved NOPs.
const OPTIONS: u32 = DecoderOptions::NONE;
const MAX_LEN: usize = 15;

/// Decodes the instruction at the start of `bytes`, of which at most 15 are looked at. `offset` is where it lies in its block: targets and
/// RIP-relative displacements come out relative to the block's start.
pub fn decode(size: CodeSize, bytes: &[u8], offset: u16) -> Result<Decoded, Undecodable> {
    let window = &bytes[..bytes.len().min(MAX_LEN)];
    let mut decoder = Decoder::with_ip(size.bitness(), window, u64::from(offset), OPTIONS);
    let mut instruction = decoder.decode();
    if instruction.code() == Code::Pause && has_rex_b(size, window, instruction.len()) {
        // With REX.B the opcode is XCHG of R8 and the accumulator, whatever comes before it.
        instruction =
            Decoder::with_ip(size.bitness(), window, u64::from(offset), OPTIONS | DecoderOptions::NO_PAUSE).decode();
    }
    match decoder.last_error() {
        DecoderError::None => Ok(convert(size, &instruction, offset)),
        DecoderError::NoMoreBytes if window.len() < MAX_LEN => Err(Undecodable::NeedMoreBytes),
        _ if is_too_long(size, bytes) => Err(Undecodable::TooLong),
        _ => Err(Undecodable::Invalid),
    }
}

/// Does REX with the B bit come right before a last byte that is the opcode?
fn has_rex_b(size: CodeSize, bytes: &[u8], len: usize) -> bool {
    size == CodeSize::Bits64 && len >= 2 && bytes[len - 2] & 0xf1 == 0x41
}

/// Is the opcode in these bytes, which [`decode`] found incomplete, undefined whatever follows? Such an instruction is #UD without its rest.
pub fn is_undefined(size: CodeSize, bytes: &[u8]) -> bool {
    let prefixes = count_prefixes(size, bytes);
    let rest = &bytes[prefixes..];
    // What these begin is longer than a byte tells.
    if matches!(rest, [] | [0x62 | 0x8f | 0xc4 | 0xc5, ..] | [0x0f, 0x0f, ..]) || prefixes >= MAX_LEN {
        return false;
    }
    let mut trial = essential(size, bytes, prefixes);
    let next = trial.len();
    trial.resize(next + MAX_LEN, 0);
    // An instruction that exists is nearly always found by the first trial.
    (0..=u8::MAX).all(|byte| {
        trial[next] = byte;
        let mut decoder = Decoder::new(size.bitness(), &trial[..trial.len().min(MAX_LEN)], OPTIONS);
        let _ = decoder.decode();
        decoder.last_error() == DecoderError::InvalidInstruction
    })
}

fn is_rex(size: CodeSize, byte: u8) -> bool {
    size == CodeSize::Bits64 && (0x40..0x50).contains(&byte)
}
fn count_prefixes(size: CodeSize, bytes: &[u8]) -> usize {
    let is_legacy = |b: u8| matches!(b, 0x26 | 0x2e | 0x36 | 0x3e | 0x64 | 0x65 | 0x66 | 0x67 | 0xf0 | 0xf2 | 0xf3);
    bytes.iter().take_while(|b| is_legacy(**b) || is_rex(size, **b)).count()
}
/// What counts of the prefixes: the sizes, the last segment, the last repeat prefix, REX right before the opcode.
fn essential(size: CodeSize, bytes: &[u8], prefixes: usize) -> Vec<u8> {
    let mut short = Vec::with_capacity(2 * MAX_LEN);
    let before = &bytes[..prefixes];
    short.extend([0x66, 0x67].into_iter().filter(|p| before.contains(p)));
    short.extend(before.iter().rev().find(|b| matches!(b, 0x26 | 0x2e | 0x36 | 0x3e | 0x64 | 0x65)));
    short.extend(before.iter().rev().find(|b| matches!(b, 0xf2 | 0xf3)));
    short.extend(before.last().filter(|b| is_rex(size, **b)));
    short.extend_from_slice(&bytes[prefixes..bytes.len().min(prefixes + MAX_LEN)]);
    short
}

/// Would the instruction be legal if repeated and ineffective prefixes did not make it longer than 15 bytes?
fn is_too_long(size: CodeSize, bytes: &[u8]) -> bool {
    let prefixes = count_prefixes(size, bytes);
    if prefixes >= MAX_LEN {
        return true;
    }
    let short = essential(size, bytes, prefixes);
    let dropped = prefixes + bytes[prefixes..].len().min(MAX_LEN) - short.len();
    let window = &short[..short.len().min(MAX_LEN)];
    let mut decoder = Decoder::new(size.bitness(), window, OPTIONS);
    let instruction = decoder.decode();
    match decoder.last_error() {
        DecoderError::None => dropped + instruction.len() > MAX_LEN,
        DecoderError::NoMoreBytes => bytes.len() >= MAX_LEN,
        _ => false,
    }
}

fn convert(size: CodeSize, instruction: &Instruction, offset: u16) -> Decoded {
    let mut insn = Insn::new(instruction.code());
    insn.len = instruction.len() as u8;
    insn.offset = offset;
    let rep = match (instruction.has_rep_prefix(), instruction.has_repne_prefix()) {
        (_, true) => Rep::Repne,
        (true, _) => Rep::Rep,
        _ => Rep::None,
    };
    let has_memory = instruction.op_kinds().any(|k| k == OpKind::Memory);
    let long = size == CodeSize::Bits64;
    insn.set_prefixes(instruction.has_lock_prefix(), rep, long, has_memory);
    operands::fill(&mut insn, instruction, long);
    operands::classify(&mut insn, instruction);
    mark_flat(&mut insn, instruction, long, has_memory);
    Decoded { insn, instruction: *instruction }
}

/// Folds FS and GS bases into free address registers, and marks what needs no segmentation at all.
fn mark_flat(insn: &mut Insn, instruction: &Instruction, long: bool, has_memory: bool) {
    if !long {
        return;
    }
    let strings = matches!(insn.op, Op::Movs | Op::Stos | Op::Lods | Op::Scas | Op::Cmps);
    if strings {
        if insn.addr_size() == Size::B8 && !matches!(instruction.segment_prefix(), Register::FS | Register::GS) {
            insn.set_flat(false);
        }
        return;
    }
    if !has_memory {
        insn.set_flat(false);
        return;
    }
    if insn.addr_size() != Size::B8 || insn.op == Op::Lea {
        if insn.op == Op::Lea && insn.addr_size() == Size::B8 {
            insn.set_flat(false);
        }
        return;
    }
    match insn.seg {
        Seg::Fs | Seg::Gs => {
            if operands::fold_segment(insn) {
                insn.set_flat(true);
            }
        }
        _ => insn.set_flat(false),
    }
}

/// May this instruction (one that is not written over `Ops`) change the RIP, the mode, or what translation and decoding depend on?
pub(crate) fn ends_block(code: Code) -> bool {
    use Mnemonic as M;
    if code == Code::INVALID {
        return true;
    }
    matches!(
        code.mnemonic(),
        M::Jmp
            | M::Call
            | M::Retf
            | M::Ret
            | M::Iret
            | M::Iretd
            | M::Iretq
            | M::Int
            | M::Int1
            | M::Int3
            | M::Into
            | M::Syscall
            | M::Sysret
            | M::Sysretq
            | M::Sysenter
            | M::Sysexit
            | M::Sysexitq
            | M::Hlt
            | M::Mwait
            | M::Umwait
            | M::Tpause
            | M::Pause
            | M::Lmsw
            | M::Wrmsr
            | M::Rsm
            | M::Sti
            | M::Popf
            | M::Popfd
            | M::Popfq
            | M::Vmlaunch
            | M::Vmresume
            | M::Vmcall
            | M::Vmfunc
            | M::Vmxon
            | M::Vmxoff
            | M::Wrpkru
            | M::Xsetbv
            | M::Xrstor
            | M::Xrstor64
            | M::Xrstors
            | M::Xrstors64
            | M::Ud0
            | M::Ud1
            | M::Ud2
            | M::Stac
            | M::Clac
    ) || matches!(
        code,
        Code::Mov_cr_r32
            | Code::Mov_cr_r64
            | Code::Mov_dr_r32
            | Code::Mov_dr_r64
            | Code::Mov_Sreg_rm16
            | Code::Mov_Sreg_r32m16
            | Code::Mov_Sreg_r64m16
    ) || (code.mnemonic() == M::Pop && is_segment_pop(code))
        || matches!(code.mnemonic(), M::Lss | M::Lds | M::Les)
}

fn is_segment_pop(code: Code) -> bool {
    matches!(
        code,
        Code::Popw_ES
            | Code::Popd_ES
            | Code::Popw_SS
            | Code::Popd_SS
            | Code::Popw_DS
            | Code::Popd_DS
            | Code::Popw_FS
            | Code::Popd_FS
            | Code::Popq_FS
            | Code::Popw_GS
            | Code::Popd_GS
            | Code::Popq_GS
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn undefined_opcode_without_its_rest_is_undefined() {
        let is_one = |bytes: &[u8]| is_undefined(CodeSize::Bits64, bytes);
        assert!(is_one(&[0x06]));
        assert!(is_one(&[0x48, 0x06]));
        assert!(is_one(&[0x0f, 0x04]));
        for bytes in [&[0xb8][..], &[0x0f], &[0x66; 14], &[0xf0, 0x01], &[0x62], &[0xc4], &[0x81], &[0xff], &[]] {
            assert!(!is_one(bytes), "{bytes:x?}");
        }
        // As many prefixes as there is room for, then an opcode that they leave no room for.
        let mut long = [0x66; 14];
        long[13] = 0x81;
        assert!(!is_one(&long));
        assert!(!is_undefined(CodeSize::Bits32, &[0x9a]));
    }
}
