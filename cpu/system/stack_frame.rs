//! PUSHA, POPA, ENTER. SDM volume 2.

use crate::events::{Exception, Flow};
use crate::mmu::Privilege;
use crate::vcpu::Cpu;
use undercroft_decode::{Insn, Mnemonic, Reg, Seg, Size};
use undercroft_walk::AccessKind;

/// The instructions of the module.
pub(super) fn execute(cpu: &mut Cpu, i: &Insn, m: Mnemonic) -> Option<Result<Flow, Exception>> {
    Some(match m {
        Mnemonic::Pusha | Mnemonic::Pushad => pusha(cpu, i),
        Mnemonic::Popa | Mnemonic::Popad => popa(cpu, i),
        Mnemonic::Enter => enter(cpu, i),
        _ => return None,
    })
}

fn pusha(cpu: &mut Cpu, i: &Insn) -> Result<Flow, Exception> {
    let mut values = [0; 8];
    values.copy_from_slice(&cpu.s.regs[..8]);
    cpu.push_values(i.size(), &values)?;
    Ok(Flow::Next)
}

fn popa(cpu: &mut Cpu, i: &Insn) -> Result<Flow, Exception> {
    let size = if i.mnemonic() == Mnemonic::Popad { Size::B4 } else { Size::B2 };
    let stack = cpu.stack();
    let mut values = [0; 8];
    for (n, value) in values.iter_mut().enumerate() {
        *value = stack.peek(cpu, size, n as u64)?;
    }
    cpu.s.regs[Reg::Rsp as usize] = stack.popped(8 * size.bytes());
    for (n, value) in values.iter().enumerate() {
        let reg = Reg::gpr(7 - n as u8);
        // The stored stack pointer is thrown away.
        if reg != Reg::Rsp {
            cpu.write_reg(reg, size, *value);
        }
    }
    Ok(Flow::Next)
}

/// ENTER: the frame pointer, up to 30 outer frame pointers, the new one, then room for locals.
fn enter(cpu: &mut Cpu, i: &Insn) -> Result<Flow, Exception> {
    let size = i.size();
    let room = u64::from(i.imm as u16);
    let level = u64::from(i.disp as u8 % 32);
    let stack = cpu.stack();
    let rbp = cpu.s.regs[Reg::Rbp as usize];
    let frame_pointer = stack.popped(size.bytes().wrapping_neg());
    let pushed_at = |n: u64| stack.popped((size.bytes() * (n + 1)).wrapping_neg()) & stack.mask;
    let outer_at = |n: u64| rbp.wrapping_sub(n * size.bytes()) & stack.mask;
    let probe = |cpu: &mut Cpu, n: u64| {
        let linear = cpu.segment_address(Seg::Ss, pushed_at(n), size.bytes(), true)?;
        cpu.check_alignment(linear, size.bytes())?;
        cpu.translate_range(linear, size.bytes(), AccessKind::Write, Privilege::Current)
    };
    // All accesses are tried in their order (the error code tells a read from a write) before anything is written.
    probe(cpu, 0)?;
    for n in 1..level {
        cpu.load(Seg::Ss, outer_at(n), size)?;
        probe(cpu, n)?;
    }
    if level > 0 {
        probe(cpu, level)?;
    }
    let pushed = size.bytes() * (level + 1);
    let sp = stack.popped(pushed.wrapping_add(room).wrapping_neg());
    // The new top of the stack must be writable, though nothing is written there.
    let top = cpu.segment_address(Seg::Ss, sp & stack.mask, size.bytes(), true)?;
    cpu.check_alignment(top, size.bytes())?;
    cpu.translate_range(top, size.bytes(), AccessKind::Write, Privilege::Current)?;
    // What is pushed first may be what is read later.
    cpu.store(Seg::Ss, pushed_at(0), size, rbp)?;
    for n in 1..level {
        let outer = cpu.load(Seg::Ss, outer_at(n), size)?;
        cpu.store(Seg::Ss, pushed_at(n), size, outer)?;
    }
    if level > 0 {
        cpu.store(Seg::Ss, pushed_at(level), size, frame_pointer)?;
    }
    cpu.s.regs[Reg::Rsp as usize] = sp;
    cpu.write_reg(Reg::Rbp, size, frame_pointer);
    Ok(Flow::Next)
}
