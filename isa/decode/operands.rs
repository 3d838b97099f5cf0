//! Operands of iced's form into slots of the compact form.

use crate::insn::{Insn, Op, Reg, Seg, Shape, Size};
use iced_x86::{Code, Instruction, Mnemonic, OpKind, Register};

/// The slot of a register: general registers by their slot, others by their number in their class.
fn slot(register: Register) -> Reg {
    use Register as R;
    if register.is_gpr8() {
        return match register {
            R::AH => Reg::Ah,
            R::CH => Reg::Ch,
            R::DH => Reg::Dh,
            R::BH => Reg::Bh,
            _ => Reg::gpr(register.full_register().number() as u8),
        };
    }
    match register {
        R::None => Reg::Zero,
        R::RIP | R::EIP => Reg::BlockRip,
        _ => Reg::gpr(register.number() as u8),
    }
}

fn segment(register: Register) -> Seg {
    match register {
        Register::ES => Seg::Es,
        Register::CS => Seg::Cs,
        Register::SS => Seg::Ss,
        Register::FS => Seg::Fs,
        Register::GS => Seg::Gs,
        _ => Seg::Ds,
    }
}

fn is_immediate(kind: OpKind) -> bool {
    matches!(
        kind,
        OpKind::Immediate8
            | OpKind::Immediate8_2nd
            | OpKind::Immediate16
            | OpKind::Immediate32
            | OpKind::Immediate64
            | OpKind::Immediate8to16
            | OpKind::Immediate8to32
            | OpKind::Immediate8to64
            | OpKind::Immediate32to64
    )
}

/// Registers, memory operand, immediates, size, shape.
pub(crate) fn fill(insn: &mut Insn, instruction: &Instruction, long: bool) {
    let mut registers = 0;
    let mut memory_at = None;
    let mut register_at = [usize::MAX; 3];
    let mut has_imm = false;
    for n in 0..instruction.op_count() as usize {
        let kind = instruction.op_kind(n as u32);
        match kind {
            OpKind::Register => {
                let reg = slot(instruction.op_register(n as u32));
                if registers < 3 {
                    register_at[registers] = n;
                }
                // The n-th operand keeps its place: first is the destination, even when memory stands between.
                match n {
                    0 => insn.dst = reg,
                    1 => insn.src = reg,
                    _ => insn.src2 = reg,
                }
                registers += 1;
            }
            OpKind::Memory => memory_at = Some(n),
            _ if is_immediate(kind) => {
                let value = instruction.immediate(n as u32);
                if has_imm {
                    insn.disp = value as i32;
                } else {
                    insn.imm = value as i32;
                    insn.disp = (value >> 32) as i32;
                }
                has_imm = true;
            }
            OpKind::NearBranch16 => insn.imm = i32::from(instruction.near_branch16() as i16),
            OpKind::NearBranch32 => insn.imm = instruction.near_branch32() as i32,
            OpKind::NearBranch64 => insn.imm = instruction.near_branch64() as i32,
            OpKind::FarBranch16 => {
                insn.imm = i32::from(instruction.far_branch16());
                insn.disp = i32::from(instruction.far_branch_selector());
            }
            OpKind::FarBranch32 => {
                insn.imm = instruction.far_branch32() as i32;
                insn.disp = i32::from(instruction.far_branch_selector());
            }
            _ => fill_string(insn, instruction, kind),
        }
    }
    // Its memory operand is implicit, but its segment is not.
    if instruction.mnemonic() == Mnemonic::Monitor && instruction.has_segment_prefix() {
        insn.seg = segment(instruction.segment_prefix());
    }
    let shape = match (memory_at, registers, has_imm) {
        (Some(0), 0, false) => Shape::M,
        (Some(0), 0, true) => Shape::MI,
        (Some(0), _, _) => Shape::MR,
        (Some(_), _, _) => Shape::RM,
        (None, 0, true) => Shape::I,
        (None, 0, false) => Shape::None,
        (None, 1, true) => Shape::RI,
        (None, 1, false) => Shape::R,
        (None, _, _) => Shape::RR,
    };
    if memory_at.is_some() {
        fill_memory(insn, instruction, long);
    } else if !matches!(insn.addr_size(), Size::B2 | Size::B4 | Size::B8) {
        insn.set_scale_addr(0, Size::B8);
    }
    insn.set_size_shape(operand_size(instruction), shape);
}

fn fill_string(insn: &mut Insn, instruction: &Instruction, kind: OpKind) {
    use OpKind as K;
    let addr = match kind {
        K::MemorySegSI | K::MemorySegDI | K::MemoryESDI => Size::B2,
        K::MemorySegESI | K::MemorySegEDI | K::MemoryESEDI => Size::B4,
        _ => Size::B8,
    };
    insn.set_scale_addr(0, addr);
    if matches!(
        kind,
        K::MemorySegSI | K::MemorySegESI | K::MemorySegRSI | K::MemorySegDI | K::MemorySegEDI | K::MemorySegRDI
    ) {
        insn.seg = memory_segment(instruction);
    }
}

/// In 64-bit mode prefixes for CS, DS, ES and SS are ignored: the base register alone decides between #SS and #GP. SDM volume 1,
/// "Segment Registers", "Segmentation in 64-Bit Mode".
fn memory_segment(instruction: &Instruction) -> Seg {
    let ignored = matches!(instruction.segment_prefix(), Register::ES | Register::CS | Register::SS | Register::DS);
    if instruction.code_size() != iced_x86::CodeSize::Code64 || !ignored {
        return segment(instruction.memory_segment());
    }
    let mut plain = *instruction;
    plain.set_segment_prefix(Register::None);
    segment(plain.memory_segment())
}

fn fill_memory(insn: &mut Insn, instruction: &Instruction, long: bool) {
    insn.base = slot(instruction.memory_base());
    insn.index = slot(instruction.memory_index());
    insn.seg = memory_segment(instruction);
    let addr = if instruction.memory_base() == Register::RIP {
        Size::B8
    } else if instruction.memory_base() == Register::EIP {
        Size::B4
    } else {
        let widest = instruction.memory_base().size().max(if instruction.memory_index().is_gpr() {
            instruction.memory_index().size()
        } else {
            0
        });
        let bytes = if widest == 0 { instruction.memory_displ_size() as usize } else { widest };
        match bytes {
            2 => Size::B2,
            4 => Size::B4,
            _ if long => Size::B8,
            _ => Size::B4,
        }
    };
    let scale = instruction.memory_index_scale().trailing_zeros() as u8;
    insn.set_scale_addr(scale, addr);
    insn.disp = instruction.memory_displacement64() as i32;
    // Without base and index a displacement of 32 bits is absolute: in 64-bit mode iced has sign-extended it already.
}

/// Puts the base of FS or GS into a free register of the memory operand. False: none is free.
pub(crate) fn fold_segment(insn: &mut Insn) -> bool {
    let base = Reg::segment_base(insn.seg);
    if insn.base == Reg::Zero {
        insn.base = base;
    } else if insn.index == Reg::Zero {
        insn.index = base;
        insn.set_scale_addr(0, insn.addr_size());
    } else {
        return false;
    }
    insn.set_folded();
    true
}

/// Width of the operation: of the first general register, else of the memory operand, else by the stack's movement.
fn operand_size(instruction: &Instruction) -> Size {
    use Mnemonic as M;
    match instruction.mnemonic() {
        M::Push | M::Call | M::Enter | M::Pushf | M::Pushfd | M::Pushfq | M::Pusha | M::Pushad => {
            let moved = match instruction.code() {
                Code::Call_rel16 | Code::Call_rm16 => 2,
                Code::Call_rel32_32 | Code::Call_rm32 => 4,
                Code::Call_rel32_64 | Code::Call_rm64 => 8,
                Code::Enterw_imm16_imm8 => 2,
                Code::Enterd_imm16_imm8 => 4,
                Code::Enterq_imm16_imm8 => 8,
                Code::Pushaw => 2,
                Code::Pushad => 4,
                _ => instruction.stack_pointer_increment().unsigned_abs() as usize,
            };
            return Size::from_bytes(moved).unwrap_or(Size::B8);
        }
        M::Pop | M::Leave | M::Popf | M::Popfd | M::Popfq => {
            let moved = match instruction.code() {
                Code::Leavew => 2,
                Code::Leaved => 4,
                Code::Leaveq => 8,
                _ => instruction.stack_pointer_increment().unsigned_abs() as usize,
            };
            return Size::from_bytes(moved).unwrap_or(Size::B8);
        }
        _ => {}
    }
    match instruction.code() {
        Code::Retnw | Code::Retnw_imm16 | Code::Retfw | Code::Retfw_imm16 | Code::Iretw => return Size::B2,
        Code::Retnd | Code::Retnd_imm16 | Code::Retfd | Code::Retfd_imm16 | Code::Iretd => return Size::B4,
        Code::Retnq | Code::Retnq_imm16 | Code::Retfq | Code::Retfq_imm16 | Code::Iretq => return Size::B8,
        Code::Cbw | Code::Cwd => return Size::B2,
        Code::Cwde | Code::Cdq => return Size::B4,
        Code::Cdqe | Code::Cqo => return Size::B8,
        _ => {}
    }
    for n in 0..instruction.op_count() {
        match instruction.op_kind(n) {
            OpKind::Register => {
                let register = instruction.op_register(n);
                if register.is_gpr() {
                    return Size::from_bytes(register.size()).unwrap_or(Size::B8);
                }
            }
            OpKind::NearBranch16 => return Size::B2,
            OpKind::NearBranch32 => return Size::B4,
            OpKind::NearBranch64 => return Size::B8,
            OpKind::FarBranch16 => return Size::B2,
            OpKind::FarBranch32 => return Size::B4,
            _ => {}
        }
        let has_size = instruction.op_kind(n) == OpKind::Memory || instruction.is_string_instruction();
        if has_size && let Some(size) = Size::from_bytes(instruction.memory_size().size()) {
            return size;
        }
    }
    Size::B8
}

/// The family, by mnemonic and form.
pub(crate) fn classify(insn: &mut Insn, instruction: &Instruction) {
    let code = instruction.code();
    insn.op = family(code);
    let segment_or_control = (0..instruction.op_count()).any(|n| {
        instruction.op_kind(n) == OpKind::Register && {
            let r = instruction.op_register(n);
            r.is_segment_register() || r.is_cr() || r.is_dr() || r.is_tr()
        }
    });
    if segment_or_control {
        insn.op = Op::Helper;
    }
    match insn.op {
        Op::Jcc | Op::Setcc | Op::Cmovcc => insn.set_cond(instruction.condition_code() as u8 - 1),
        // moffs with a 64-bit address does not fit the compact form's displacement.
        Op::Mov if instruction.memory_displ_size() == 8 && insn.has_memory() => {
            let wide = instruction.memory_displacement64();
            if wide as i64 != i64::from(wide as i32) {
                insn.op = Op::Helper;
                insn.disp = (wide >> 32) as i32;
                insn.imm = wide as i32;
            }
        }
        Op::Loop | Op::Loope | Op::Loopne | Op::Jrcxz => insn.set_scale_addr(0, counter_size(code)),
        Op::Imul2 if instruction.op_count() == 3 => insn.op = Op::Imul3,
        _ => {}
    }
    if insn.op == Op::Imul3 && insn.shape() == Shape::RI {
        insn.set_size_shape(insn.size(), Shape::RR);
    }
    // LOCK is a matter of the memory operand only: on one host thread every access is atomic.
}

/// Width of the counter register of LOOPcc and JrCXZ: the address size.
fn counter_size(code: Code) -> Size {
    use Code as C;
    match code {
        C::Jcxz_rel8_16 | C::Jcxz_rel8_32 | C::Loop_rel8_16_CX | C::Loop_rel8_32_CX => Size::B2,
        C::Loope_rel8_16_CX | C::Loope_rel8_32_CX | C::Loopne_rel8_16_CX | C::Loopne_rel8_32_CX => Size::B2,
        C::Jrcxz_rel8_16 | C::Jrcxz_rel8_64 | C::Loop_rel8_16_RCX | C::Loop_rel8_64_RCX => Size::B8,
        C::Loope_rel8_16_RCX | C::Loope_rel8_64_RCX | C::Loopne_rel8_16_RCX | C::Loopne_rel8_64_RCX => Size::B8,
        _ => Size::B4,
    }
}

fn family(code: Code) -> Op {
    use Mnemonic as M;
    match code.mnemonic() {
        M::Add => Op::Add,
        M::Or => Op::Or,
        M::Adc => Op::Adc,
        M::Sbb => Op::Sbb,
        M::And => Op::And,
        M::Sub => Op::Sub,
        M::Xor => Op::Xor,
        M::Cmp => Op::Cmp,
        M::Test => Op::Test,
        M::Mov => Op::Mov,
        M::Movzx => match code {
            Code::Movzx_r16_rm8 | Code::Movzx_r32_rm8 | Code::Movzx_r64_rm8 => Op::Movzx8,
            _ => Op::Movzx16,
        },
        M::Movsx => match code {
            Code::Movsx_r16_rm8 | Code::Movsx_r32_rm8 | Code::Movsx_r64_rm8 => Op::Movsx8,
            _ => Op::Movsx16,
        },
        M::Movsxd => match code {
            Code::Movsxd_r16_rm16 => Op::Mov,
            Code::Movsxd_r32_rm32 => Op::Mov,
            _ => Op::Movsx32,
        },
        M::Lea => Op::Lea,
        M::Xchg => Op::Xchg,
        M::Inc => Op::Inc,
        M::Dec => Op::Dec,
        M::Neg => Op::Neg,
        M::Not => Op::Not,
        M::Rol => Op::Rol,
        M::Ror => Op::Ror,
        M::Rcl => Op::Rcl,
        M::Rcr => Op::Rcr,
        M::Shl | M::Sal => Op::Shl,
        M::Shr => Op::Shr,
        M::Sar => Op::Sar,
        M::Shld => Op::Shld,
        M::Shrd => Op::Shrd,
        M::Imul => match code {
            Code::Imul_rm8 | Code::Imul_rm16 | Code::Imul_rm32 | Code::Imul_rm64 => Op::Imul1,
            _ => Op::Imul2,
        },
        M::Mul => Op::Mul1,
        M::Div => Op::Div,
        M::Idiv => Op::Idiv,
        M::Push => Op::Push,
        M::Pop => Op::Pop,
        M::Call => match code {
            Code::Call_rel16 | Code::Call_rel32_32 | Code::Call_rel32_64 => Op::CallRel,
            Code::Call_rm16 | Code::Call_rm32 | Code::Call_rm64 => Op::CallInd,
            _ => Op::Helper,
        },
        M::Ret => Op::Ret,
        M::Jmp => match code {
            Code::Jmp_rm16 | Code::Jmp_rm32 | Code::Jmp_rm64 => Op::JmpInd,
            _ if code.is_jmp_short_or_near() => Op::JmpRel,
            _ => Op::Helper,
        },
        _ if code.is_jcc_short_or_near() => Op::Jcc,
        M::Cbw | M::Cwde | M::Cdqe => Op::Cbw,
        M::Cwd | M::Cdq | M::Cqo => Op::Cwd,
        M::Bt => Op::Bt,
        M::Bts => Op::Bts,
        M::Btr => Op::Btr,
        M::Btc => Op::Btc,
        M::Bsf => Op::Bsf,
        M::Bsr => Op::Bsr,
        M::Tzcnt => Op::Tzcnt,
        M::Lzcnt => Op::Lzcnt,
        M::Popcnt => Op::Popcnt,
        M::Bswap => Op::Bswap,
        M::Movbe => Op::Movbe,
        M::Nop | M::Prefetcht0 | M::Prefetcht1 | M::Prefetcht2 | M::Prefetchnta | M::Prefetchw | M::Prefetchwt1 => {
            Op::Nop
        }
        M::Endbr64 | M::Endbr32 | M::Lfence | M::Mfence | M::Sfence | M::Reservednop | M::Cldemote => Op::Nop,
        // The other forms of 0F 0D are hints without effect.
        M::Prefetch => Op::Nop,
        // Without shadow stacks and instruction prefetch hints these are reserved NOPs.
        M::Rdsspd | M::Rdsspq | M::Prefetchit0 | M::Prefetchit1 => Op::Nop,
        M::Leave => Op::Leave,
        M::Cmpxchg => Op::Cmpxchg,
        M::Xadd => Op::Xadd,
        M::Andn => Op::Andn,
        M::Bextr => Op::Bextr,
        M::Blsi => Op::Blsi,
        M::Blsmsk => Op::Blsmsk,
        M::Blsr => Op::Blsr,
        M::Bzhi => Op::Bzhi,
        M::Mulx => Op::Mulx,
        M::Pdep => Op::Pdep,
        M::Pext => Op::Pext,
        M::Rorx => Op::Rorx,
        M::Sarx => Op::Sarx,
        M::Shlx => Op::Shlx,
        M::Shrx => Op::Shrx,
        M::Adcx => Op::Adcx,
        M::Adox => Op::Adox,
        M::Crc32 => Op::Crc32,
        M::Lahf => Op::Lahf,
        M::Sahf => Op::Sahf,
        M::Clc => Op::Clc,
        M::Stc => Op::Stc,
        M::Cmc => Op::Cmc,
        M::Cld => Op::Cld,
        M::Std => Op::Std,
        M::Xlatb => Op::Xlat,
        M::Loop => Op::Loop,
        M::Loope => Op::Loope,
        M::Loopne => Op::Loopne,
        M::Jcxz | M::Jecxz | M::Jrcxz => Op::Jrcxz,
        M::Movsb | M::Movsw | M::Movsq => Op::Movs,
        M::Movsd if is_string_movsd(code) => Op::Movs,
        M::Stosb | M::Stosw | M::Stosd | M::Stosq => Op::Stos,
        M::Lodsb | M::Lodsw | M::Lodsd | M::Lodsq => Op::Lods,
        M::Scasb | M::Scasw | M::Scasd | M::Scasq => Op::Scas,
        M::Cmpsb | M::Cmpsw | M::Cmpsq => Op::Cmps,
        M::Cmpsd if matches!(code, Code::Cmpsd_m32_m32) => Op::Cmps,
        _ => match code.mnemonic() {
            M::Seto | M::Setno | M::Setb | M::Setae | M::Sete | M::Setne | M::Setbe | M::Seta => Op::Setcc,
            M::Sets | M::Setns | M::Setp | M::Setnp | M::Setl | M::Setge | M::Setle | M::Setg => Op::Setcc,
            M::Cmovo | M::Cmovno | M::Cmovb | M::Cmovae | M::Cmove | M::Cmovne | M::Cmovbe | M::Cmova => Op::Cmovcc,
            M::Cmovs | M::Cmovns | M::Cmovp | M::Cmovnp | M::Cmovl | M::Cmovge | M::Cmovle | M::Cmovg => Op::Cmovcc,
            _ => Op::Helper,
        },
    }
}

fn is_string_movsd(code: Code) -> bool {
    matches!(code, Code::Movsd_m32_m32)
}
