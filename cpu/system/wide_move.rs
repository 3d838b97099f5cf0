//! CMPXCHG8B, CMPXCHG16B, MOVNTI, and MOV between the accumulator and a 64-bit address. SDM volume 2.

use crate::events::{Exception, Flow};
use crate::mmu::Privilege;
use crate::vcpu::Cpu;
use undercroft_decode::{Code, Insn, Mnemonic, Reg, Size};
use undercroft_spec::x86::control::rflags;
use undercroft_spec::x86::cpuid::Feature;
use undercroft_walk::AccessKind;

/// This family's instructions.
pub(super) fn execute(cpu: &mut Cpu, i: &Insn, m: Mnemonic) -> Option<Result<Flow, Exception>> {
    Some(match (m, i.code()) {
        (Mnemonic::Cmpxchg8b, _) => compare_exchange(cpu, i, Size::B4),
        (Mnemonic::Cmpxchg16b, _) => compare_exchange(cpu, i, Size::B8),
        (Mnemonic::Movnti, _) => movnti(cpu, i),
        (_, Code::Mov_AL_moffs8) => load_accumulator(cpu, i, Size::B1),
        (_, Code::Mov_AX_moffs16) => load_accumulator(cpu, i, Size::B2),
        (_, Code::Mov_EAX_moffs32) => load_accumulator(cpu, i, Size::B4),
        (_, Code::Mov_RAX_moffs64) => load_accumulator(cpu, i, Size::B8),
        (_, Code::Mov_moffs8_AL) => store_accumulator(cpu, i, Size::B1),
        (_, Code::Mov_moffs16_AX) => store_accumulator(cpu, i, Size::B2),
        (_, Code::Mov_moffs32_EAX) => store_accumulator(cpu, i, Size::B4),
        (_, Code::Mov_moffs64_RAX) => store_accumulator(cpu, i, Size::B8),
        _ => return None,
    })
}

/// Halves of this width. The destination is written in any case: what was read, if it differs.
fn compare_exchange(cpu: &mut Cpu, i: &Insn, half: Size) -> Result<Flow, Exception> {
    let wide = half == Size::B8;
    if wide && !cpu.model.has(Feature::CMPXCHG16B) {
        return Err(Exception::ud());
    }
    let bytes = 2 * half.bytes();
    let offset = cpu.effective_address(i);
    // An operand that is neither aligned nor canonical is #GP even in the stack segment.
    if wide && cpu.s.segment(i.seg).base.wrapping_add(offset) & 15 != 0 {
        return Err(Exception::gp(0));
    }
    let linear = cpu.segment_address(i.seg, offset, bytes, true)?;
    cpu.check_alignment(linear, bytes)?;
    cpu.translate_range(linear, bytes, AccessKind::Write, Privilege::Current)?;
    let mut image = [0; 16];
    let image = &mut image[..bytes as usize];
    cpu.load_linear_bytes(linear, image, Privilege::Current)?;
    let n = half.bytes() as usize;
    let part = |bytes: &[u8]| bytes.iter().rev().fold(0, |v, b| v << 8 | u64::from(*b));
    let (low, high) = (part(&image[..n]), part(&image[n..]));

    let equal = (low, high) == (cpu.read_reg(Reg::Rax, half), cpu.read_reg(Reg::Rdx, half));
    if equal {
        let (low, high) = (cpu.read_reg(Reg::Rbx, half), cpu.read_reg(Reg::Rcx, half));
        image[..n].copy_from_slice(&low.to_le_bytes()[..n]);
        image[n..].copy_from_slice(&high.to_le_bytes()[..n]);
    }
    cpu.store_linear_bytes(linear, image, Privilege::Current)?;
    if !equal {
        cpu.write_reg(Reg::Rax, half, low);
        cpu.write_reg(Reg::Rdx, half, high);
    }
    cpu.s.flags.set_some(rflags::ZF, if equal { rflags::ZF } else { 0 });
    Ok(Flow::Next)
}

fn movnti(cpu: &mut Cpu, i: &Insn) -> Result<Flow, Exception> {
    let value = cpu.read_reg(i.src, i.size());
    cpu.store(i.seg, cpu.effective_address(i), i.size(), value)?;
    Ok(Flow::Next)
}

/// The offset does not fit the compact form's displacement: it lies where a 64-bit immediate would.
fn offset(i: &Insn) -> u64 {
    i.wide_imm() & i.addr_size().mask()
}

fn load_accumulator(cpu: &mut Cpu, i: &Insn, size: Size) -> Result<Flow, Exception> {
    let value = cpu.load(i.seg, offset(i), size)?;
    cpu.write_reg(Reg::Rax, size, value);
    Ok(Flow::Next)
}

fn store_accumulator(cpu: &mut Cpu, i: &Insn, size: Size) -> Result<Flow, Exception> {
    let value = cpu.read_reg(Reg::Rax, size);
    cpu.store(i.seg, offset(i), size, value)?;
    Ok(Flow::Next)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{PML4, execute, long};
    use undercroft_spec::LinearAddr;

    const AREA: u64 = 0x6_0000;

    fn set(cpu: &mut Cpu, values: [(Reg, u64); 4]) {
        for (reg, value) in values {
            cpu.s.regs[reg as usize] = value;
        }
        cpu.s.regs[Reg::Rsi as usize] = AREA;
    }

    #[test]
    fn cmpxchg16b_equal_stores_and_sets_zf() {
        let mut cpu = long(3);
        set(&mut cpu, [(Reg::Rax, 1), (Reg::Rdx, 2), (Reg::Rbx, 3), (Reg::Rcx, 4)]);
        assert!(cpu.ram.store(AREA, 8, 1) && cpu.ram.store(AREA + 8, 8, 2));
        assert_eq!(execute(&mut cpu, &[0xf0, 0x48, 0x0f, 0xc7, 0x0e]), Ok(Flow::Next));
        assert_eq!((cpu.ram.load(AREA, 8), cpu.ram.load(AREA + 8, 8)), (Some(3), Some(4)));
        assert_ne!(cpu.s.flags.get() & rflags::ZF, 0);
        assert_eq!(execute(&mut cpu, &[0x48, 0x0f, 0xc7, 0x0e]), Ok(Flow::Next));
        assert_eq!((cpu.s.regs[Reg::Rax as usize], cpu.s.regs[Reg::Rdx as usize]), (3, 4));
        assert_eq!(cpu.s.flags.get() & rflags::ZF, 0);
        cpu.s.regs[Reg::Rsi as usize] = AREA + 8;
        assert_eq!(execute(&mut cpu, &[0x48, 0x0f, 0xc7, 0x0e]), Err(Exception::gp(0)));
    }
    #[test]
    fn cmpxchg8b_unequal_loads_32_bits() {
        let mut cpu = long(3);
        set(&mut cpu, [(Reg::Rax, u64::MAX), (Reg::Rdx, u64::MAX), (Reg::Rbx, 3), (Reg::Rcx, 4)]);
        assert!(cpu.ram.store(AREA, 8, 0x8000_0002_8000_0001));
        assert_eq!(execute(&mut cpu, &[0x0f, 0xc7, 0x0e]), Ok(Flow::Next));
        assert_eq!((cpu.s.regs[Reg::Rax as usize], cpu.s.regs[Reg::Rdx as usize]), (0x8000_0001, 0x8000_0002));
    }
    #[test]
    fn cmpxchg8b_unequal_on_read_only_page_faults() {
        let mut cpu = long(3);
        assert!(cpu.ram.store(PML4 + 0x2000, 8, 0x85));
        set(&mut cpu, [(Reg::Rax, 1), (Reg::Rdx, 2), (Reg::Rbx, 3), (Reg::Rcx, 4)]);
        assert_eq!(execute(&mut cpu, &[0x0f, 0xc7, 0x0e]), Err(Exception::pf(LinearAddr(AREA), 7)));
        assert_eq!(cpu.s.regs[Reg::Rax as usize], 1);
    }
    #[test]
    fn mov_moffs_reaches_any_address() {
        let mut cpu = long(0);
        // The second 512 GBytes are the first again.
        assert!(cpu.ram.store(PML4 + 8, 8, (PML4 + 0x1000) | 7) && cpu.ram.store(AREA, 8, 0x1122_3344_5566_7788));
        let mut load = vec![0x48, 0xa1];
        load.extend((AREA | 1 << 39).to_le_bytes());
        assert_eq!(execute(&mut cpu, &load), Ok(Flow::Next));
        assert_eq!(cpu.s.regs[Reg::Rax as usize], 0x1122_3344_5566_7788);
        cpu.s.regs[Reg::Rax as usize] = 0xff;
        let mut store = vec![0xa2];
        store.extend((AREA | 1 << 39).to_le_bytes());
        assert_eq!(execute(&mut cpu, &store), Ok(Flow::Next));
        assert_eq!(cpu.ram.load(AREA, 8), Some(0x1122_3344_5566_77ff));
    }
    #[test]
    fn movnti_stores() {
        let mut cpu = long(3);
        set(&mut cpu, [(Reg::Rax, 0x55), (Reg::Rdx, 2), (Reg::Rbx, 3), (Reg::Rcx, 4)]);
        assert_eq!(execute(&mut cpu, &[0x48, 0x0f, 0xc3, 0x06]), Ok(Flow::Next));
        assert_eq!(cpu.ram.load(AREA, 8), Some(0x55));
    }
}
