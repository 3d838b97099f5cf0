//! IN, OUT, INS, OUTS, and who may use which port. SDM volume 2; volume 1, "Protected-Mode I/O".

use crate::events::{Exception, Flow, io_breakpoints};
use crate::mmu::Privilege;
use crate::vcpu::Cpu;
use undercroft_decode::{Code, Insn, Mnemonic, Reg, Rep, Seg, Size};
use undercroft_spec::LinearAddr;
use undercroft_spec::x86::control::rflags;
use undercroft_walk::AccessKind;

/// Offset of the I/O map base address in 32- and 64-bit TSSs.
const IO_MAP_BASE: u64 = 102;

/// This family's instructions.
pub(super) fn execute(cpu: &mut Cpu, i: &Insn, m: Mnemonic) -> Option<Result<Flow, Exception>> {
    use Mnemonic as M;
    Some(match m {
        M::In => input(cpu, i),
        M::Out => output(cpu, i),
        M::Insb => input_string(cpu, i, Size::B1),
        M::Insw => input_string(cpu, i, Size::B2),
        M::Insd => input_string(cpu, i, Size::B4),
        M::Outsb => output_string(cpu, i, Size::B1),
        M::Outsw => output_string(cpu, i, Size::B2),
        M::Outsd => output_string(cpu, i, Size::B4),
        _ => return None,
    })
}

/// Port and width of IN and OUT.
fn operands(cpu: &Cpu, i: &Insn) -> (u16, Size) {
    let dx = cpu.s.regs[Reg::Rdx as usize] as u16;
    // In the compact form the immediate is sign-extended.
    let imm = u16::from(i.imm as u8);
    match i.code() {
        Code::In_AL_imm8 | Code::Out_imm8_AL => (imm, Size::B1),
        Code::In_AX_imm8 | Code::Out_imm8_AX => (imm, Size::B2),
        Code::In_EAX_imm8 | Code::Out_imm8_EAX => (imm, Size::B4),
        Code::In_AL_DX | Code::Out_DX_AL => (dx, Size::B1),
        Code::In_AX_DX | Code::Out_DX_AX => (dx, Size::B2),
        _ => (dx, Size::B4),
    }
}

fn input(cpu: &mut Cpu, i: &Insn) -> Result<Flow, Exception> {
    let (port, size) = operands(cpu, i);
    cpu.check_port(port, size)?;
    let value = u64::from(cpu.io_read(port, size.bytes() as u8));
    cpu.write_reg(Reg::Rax, size, value);
    cpu.watch_port(port, size);
    Ok(Flow::Next)
}

fn output(cpu: &mut Cpu, i: &Insn) -> Result<Flow, Exception> {
    let (port, size) = operands(cpu, i);
    cpu.check_port(port, size)?;
    let value = cpu.read_reg(Reg::Rax, size) as u32;
    cpu.io_write(port, size.bytes() as u8, value);
    cpu.watch_port(port, size);
    Ok(Flow::Next)
}

/// One step of INS: nothing is read from the port before the store is known to succeed.
fn input_string(cpu: &mut Cpu, i: &Insn, size: Size) -> Result<Flow, Exception> {
    if is_done(cpu, i) {
        return Ok(Flow::Next);
    }
    let port = cpu.s.regs[Reg::Rdx as usize] as u16;
    cpu.check_port(port, size)?;
    let offset = cpu.s.regs[Reg::Rdi as usize] & i.addr_size().mask();
    let linear = cpu.segment_address(Seg::Es, offset, size.bytes(), true)?;
    cpu.check_alignment(linear, size.bytes())?;
    cpu.translate_range(linear, size.bytes(), AccessKind::Write, Privilege::Current)?;
    let value = u64::from(cpu.io_read(port, size.bytes() as u8));
    cpu.store_linear(linear, size.bytes(), value, Privilege::Current)?;
    cpu.watch_port(port, size);
    Ok(advance(cpu, i, size, Reg::Rdi))
}

/// One step of OUTS.
fn output_string(cpu: &mut Cpu, i: &Insn, size: Size) -> Result<Flow, Exception> {
    if is_done(cpu, i) {
        return Ok(Flow::Next);
    }
    let port = cpu.s.regs[Reg::Rdx as usize] as u16;
    cpu.check_port(port, size)?;
    let offset = cpu.s.regs[Reg::Rsi as usize] & i.addr_size().mask();
    let value = cpu.load(i.seg, offset, size)? as u32;
    cpu.io_write(port, size.bytes() as u8, value);
    cpu.watch_port(port, size);
    Ok(advance(cpu, i, size, Reg::Rsi))
}

/// A repeat count of zero: nothing is done, not even a check.
fn is_done(cpu: &Cpu, i: &Insn) -> bool {
    i.rep() != Rep::None && cpu.s.regs[Reg::Rcx as usize] & i.addr_size().mask() == 0
}

/// Moves the index register on, counts, and says whether there is more to do.
fn advance(cpu: &mut Cpu, i: &Insn, size: Size, index: Reg) -> Flow {
    let back = cpu.s.flags.other() & rflags::DF != 0;
    let step = if back { size.bytes().wrapping_neg() } else { size.bytes() };
    let moved = cpu.s.regs[index as usize].wrapping_add(step);
    cpu.write_reg(index, i.addr_size(), moved);
    if i.rep() == Rep::None {
        return Flow::Next;
    }
    let left = cpu.s.regs[Reg::Rcx as usize].wrapping_sub(1);
    cpu.write_reg(Reg::Rcx, i.addr_size(), left);
    if left & i.addr_size().mask() == 0 { Flow::Next } else { Flow::Again }
}

impl Cpu {
    /// May the program use the ports of this access? `#GP(0)`; page faults of the TSS. "I/O Privilege Level", "I/O Permission Bit Map".
    pub(crate) fn check_port(&mut self, port: u16, size: Size) -> Result<(), Exception> {
        let s = &self.s;
        if !s.is_protected() || s.cpl <= s.iopl() && !s.is_v8086() {
            return Ok(());
        }
        let gp = Exception::gp(0);
        let tr = s.tr;
        // Only 32- and 64-bit TSSs have a map.
        if tr.is_unusable() || !matches!(tr.kind(), 9 | 11) || u64::from(tr.limit) < IO_MAP_BASE + 1 {
            return Err(gp);
        }
        let wide = s.is_ia32e();
        let at = |offset: u64| {
            let linear = tr.base.wrapping_add(offset);
            LinearAddr(if wide { linear } else { linear & 0xffff_ffff })
        };
        let bits_at = self.load_linear(at(IO_MAP_BASE), 2, Privilege::Implicit)? + u64::from(port >> 3);
        // Two bytes are always read.
        if bits_at + 1 > u64::from(tr.limit) {
            return Err(gp);
        }
        let bits = self.load_linear(at(bits_at), 2, Privilege::Implicit)?;
        let asked = ((1 << size.bytes()) - 1) << (port & 7);
        if bits & asked != 0 { Err(gp) } else { Ok(()) }
    }

    /// I/O breakpoints: notes a match for the debug trap after the instruction.
    pub(crate) fn watch_port(&mut self, port: u16, size: Size) {
        let bits = io_breakpoints(&self.s, port, size.bytes());
        if bits != 0 {
            self.s.pending_debug |= bits;
            self.attention = true;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{TSS, execute, long, protected, real_with_log};
    use undercroft_spec::x86::control::cr4;

    const AREA: u64 = 0x6_0000;
    const DONE: Result<Flow, Exception> = Ok(Flow::Next);
    const GP: Result<Flow, Exception> = Err(Exception::gp(0));

    #[test]
    fn in_out_widths_and_ports() {
        let (mut cpu, log) = real_with_log();
        log.borrow_mut().io_value = 0x8765_4321;
        cpu.s.regs[Reg::Rax as usize] = 0xaaaa_bbbb_cccc_dddd;
        cpu.s.regs[Reg::Rdx as usize] = 0xffff_0cf8;
        assert_eq!(execute(&mut cpu, &[0xe4, 0xf0]), DONE);
        assert_eq!(cpu.s.regs[Reg::Rax as usize], 0xaaaa_bbbb_cccc_dd21);
        assert_eq!(execute(&mut cpu, &[0xed]), DONE);
        assert_eq!(cpu.s.regs[Reg::Rax as usize], 0xaaaa_bbbb_cccc_4321);
        assert_eq!(execute(&mut cpu, &[0x66, 0xed]), DONE);
        assert_eq!(cpu.s.regs[Reg::Rax as usize], 0x8765_4321);
        assert_eq!(execute(&mut cpu, &[0xe6, 0x80]), DONE);
        assert_eq!(execute(&mut cpu, &[0xef]), DONE);
        assert_eq!(execute(&mut cpu, &[0x66, 0xef]), DONE);
        assert_eq!(log.borrow().io_writes, [(0x80, 1, 0x21), (0xcf8, 2, 0x4321), (0xcf8, 4, 0x8765_4321)]);
    }
    #[test]
    fn port_without_iopl_needs_the_bitmap() {
        for mut cpu in [protected(3), long(3)] {
            // The map begins at 88H: everything forbidden but ports 70H and 71H.
            assert!((0..0x2000).all(|n| cpu.ram.store(TSS + 0x88 + n, 1, 0xff)));
            assert!(cpu.ram.store(TSS + 0x88 + 0xe, 1, 0xfc));
            assert_eq!(execute(&mut cpu, &[0xe4, 0x70]), DONE);
            assert_eq!(execute(&mut cpu, &[0x66, 0xe5, 0x70]), DONE);
            assert_eq!(execute(&mut cpu, &[0xe5, 0x70]), GP);
            assert_eq!(execute(&mut cpu, &[0x66, 0xe5, 0x71]), GP);
            cpu.s.tr.limit = 0x88 + 0xe;
            assert_eq!(execute(&mut cpu, &[0xe4, 0x70]), GP);
            cpu.s.tr.limit = 0x88 + 0xf;
            assert_eq!(execute(&mut cpu, &[0xe4, 0x70]), DONE);
            cpu.s.tr.rights = 0x83;
            assert_eq!(execute(&mut cpu, &[0xe4, 0x70]), GP);
            cpu.s.set_rflags(0x3002);
            assert_eq!(execute(&mut cpu, &[0xe5, 0x70]), DONE);
        }
    }
    #[test]
    fn rep_insw_fills_memory_step_by_step() {
        let (mut cpu, log) = real_with_log();
        log.borrow_mut().io_value = 0xbeef;
        cpu.s.regs[Reg::Rdi as usize] = 0x1_9000;
        cpu.s.regs[Reg::Rcx as usize] = 0x5_0002;
        cpu.s.regs[Reg::Rdx as usize] = 0x1f0;
        assert_eq!(execute(&mut cpu, &[0xf3, 0x6d]), Ok(Flow::Again));
        assert_eq!(execute(&mut cpu, &[0xf3, 0x6d]), DONE);
        assert_eq!(cpu.ram.load(0x9000, 8), Some(0xbeef_beef));
        assert_eq!((cpu.s.regs[Reg::Rdi as usize], cpu.s.regs[Reg::Rcx as usize]), (0x1_9004, 0x5_0000));
        assert_eq!(execute(&mut cpu, &[0xf3, 0x6d]), DONE);
        assert_eq!(cpu.s.regs[Reg::Rdi as usize], 0x1_9004);
    }
    #[test]
    fn outs_goes_backwards_and_obeys_the_segment() {
        let mut cpu = long(0);
        cpu.s.set_segment_base(Seg::Fs, 0x1000);
        assert!(cpu.ram.store(AREA + 0x1000, 4, 0x0403_0201));
        cpu.s.regs[Reg::Rsi as usize] = AREA;
        cpu.s.set_rflags(rflags::DF);
        assert_eq!(execute(&mut cpu, &[0x64, 0x6f]), DONE);
        assert_eq!(cpu.s.regs[Reg::Rsi as usize], AREA - 4);
    }
    #[test]
    fn ins_page_fault_reads_no_port() {
        let mut cpu = long(3);
        cpu.s.set_rflags(0x3002);
        cpu.s.regs[Reg::Rdi as usize] = 0x8000_0000;
        cpu.attention = false;
        assert_eq!(execute(&mut cpu, &[0x6c]), Err(Exception::pf(LinearAddr(0x8000_0000), 6)));
        assert!(!cpu.attention);
        assert_eq!(cpu.s.regs[Reg::Rdi as usize], 0x8000_0000);
    }
    #[test]
    fn io_breakpoint_is_pending_after_the_access() {
        let mut cpu = long(0);
        cpu.s.cr4 |= cr4::DE;
        cpu.s.dr[1] = 0x60;
        cpu.s.dr7 = 0x400 | 1 << 2 | 2 << 20;
        assert_eq!(execute(&mut cpu, &[0xe4, 0x60]), DONE);
        assert_eq!(cpu.s.pending_debug, 2);
    }
}
