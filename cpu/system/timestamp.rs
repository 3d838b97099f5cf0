//! RDTSC, RDTSCP, RDPID, RDPMC. SDM volume 2; volume 3, "Time-Stamp Counter".

use crate::events::{Exception, Flow};
use crate::vcpu::Cpu;
use undercroft_decode::{Insn, Mnemonic, Reg, Size};
use undercroft_spec::x86::control::cr4;
use undercroft_spec::x86::cpuid::Feature;

/// This family's instructions.
pub(super) fn execute(cpu: &mut Cpu, i: &Insn, m: Mnemonic) -> Option<Result<Flow, Exception>> {
    Some(match m {
        Mnemonic::Rdtsc => rdtsc(cpu),
        Mnemonic::Rdtscp => rdtscp(cpu),
        Mnemonic::Rdpid => rdpid(cpu, i),
        // There are no counters: every index is out of range.
        Mnemonic::Rdpmc => Err(Exception::gp(0)),
        _ => return None,
    })
}

fn rdtsc(cpu: &mut Cpu) -> Result<Flow, Exception> {
    if cpu.s.cr4 & cr4::TSD != 0 && cpu.s.cpl != 0 {
        return Err(Exception::gp(0));
    }
    let tsc = cpu.tsc();
    cpu.s.regs[Reg::Rax as usize] = tsc & 0xffff_ffff;
    cpu.s.regs[Reg::Rdx as usize] = tsc >> 32;
    Ok(Flow::Next)
}

fn rdtscp(cpu: &mut Cpu) -> Result<Flow, Exception> {
    if !cpu.model.has(Feature::RDTSCP) {
        return Err(Exception::ud());
    }
    rdtsc(cpu)?;
    cpu.s.regs[Reg::Rcx as usize] = cpu.s.msr.tsc_aux & 0xffff_ffff;
    Ok(Flow::Next)
}

fn rdpid(cpu: &mut Cpu, i: &Insn) -> Result<Flow, Exception> {
    if !cpu.model.has(Feature::RDPID) {
        return Err(Exception::ud());
    }
    cpu.write_reg(i.dst, Size::B8, cpu.s.msr.tsc_aux & 0xffff_ffff);
    Ok(Flow::Next)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{execute, long};

    #[test]
    fn rdtsc_reads_clock_and_offset() {
        let mut cpu = long(3);
        cpu.now = 0x1_0000_0005;
        cpu.s.msr.tsc_offset = 0x10;
        cpu.s.msr.tsc_aux = 7;
        assert_eq!(execute(&mut cpu, &[0x0f, 0x01, 0xf9]), Ok(Flow::Next));
        assert_eq!([Reg::Rax, Reg::Rdx, Reg::Rcx].map(|r| cpu.s.regs[r as usize]), [0x15, 1, 7]);
        assert_eq!(execute(&mut cpu, &[0xf3, 0x0f, 0xc7, 0xfe]), Ok(Flow::Next));
        assert_eq!(cpu.s.regs[Reg::Rsi as usize], 7);
    }
    #[test]
    fn rdtsc_with_tsd_outside_ring_0_faults() {
        let mut cpu = long(3);
        cpu.s.cr4 |= cr4::TSD;
        assert_eq!(execute(&mut cpu, &[0x0f, 0x31]), Err(Exception::gp(0)));
        assert_eq!(execute(&mut cpu, &[0x0f, 0x01, 0xf9]), Err(Exception::gp(0)));
        cpu.s.cpl = 0;
        assert_eq!(execute(&mut cpu, &[0x0f, 0x31]), Ok(Flow::Next));
        assert_eq!(execute(&mut cpu, &[0x0f, 0x33]), Err(Exception::gp(0)));
    }
}
