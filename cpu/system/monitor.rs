//! MONITOR and MWAIT. SDM volume 2; volume 3, "Address-Range Monitoring".

use crate::events::{Exception, Flow};
use crate::mmu::Privilege;
use crate::state::Activity;
use crate::vcpu::Cpu;
use undercroft_decode::{Code, Insn, Mnemonic, Reg, Size};
use undercroft_spec::x86::cpuid::Feature;
use undercroft_spec::x86::msr::misc_enable;
use undercroft_walk::AccessKind;

/// This family's instructions.
pub(super) fn execute(cpu: &mut Cpu, i: &Insn, m: Mnemonic) -> Option<Result<Flow, Exception>> {
    Some(match m {
        Mnemonic::Monitor => monitor(cpu, i),
        Mnemonic::Mwait => mwait(cpu),
        _ => return None,
    })
}

fn available(cpu: &Cpu) -> Result<(), Exception> {
    let on = cpu.s.msr.misc_enable & misc_enable::MONITOR != 0;
    if !on || !cpu.model.has(Feature::MONITOR) || cpu.s.cpl != 0 { Err(Exception::ud()) } else { Ok(()) }
}

/// ECX holds extensions, of which there are none.
fn monitor(cpu: &mut Cpu, i: &Insn) -> Result<Flow, Exception> {
    available(cpu)?;
    if cpu.s.regs[Reg::Rcx as usize] as u32 != 0 {
        return Err(Exception::gp(0));
    }
    let width = match i.code() {
        Code::Monitorw => Size::B2,
        Code::Monitord => Size::B4,
        _ => Size::B8,
    };
    let offset = cpu.s.regs[Reg::Rax as usize] & width.mask();
    let linear = cpu.segment_address(i.seg, offset, 1, false)?;
    let pa = cpu.translate(linear, AccessKind::Read, Privilege::Current)?;
    cpu.arm_monitor(pa);
    Ok(Flow::Next)
}

/// Hints in EAX mean nothing; ECX bit 0: interrupts break the wait even if masked. Without an armed range there is no wait.
fn mwait(cpu: &mut Cpu) -> Result<Flow, Exception> {
    available(cpu)?;
    let extensions = cpu.s.regs[Reg::Rcx as usize] as u32;
    if extensions & !1 != 0 {
        return Err(Exception::gp(0));
    }
    cpu.attention = true;
    if cpu.s.monitor.is_some() {
        cpu.s.activity = Activity::Mwait { interrupt_breaks: extensions & 1 != 0 };
    } else {
        cpu.yields = true;
    }
    Ok(Flow::Next)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{execute, long};
    use undercroft_decode::Seg;

    #[test]
    fn mwait_after_monitor_waits() {
        let mut cpu = long(0);
        cpu.s.regs[Reg::Rax as usize] = 0x6_0047;
        assert_eq!(execute(&mut cpu, &[0x0f, 0x01, 0xc9]), Ok(Flow::Next));
        assert_eq!(cpu.s.activity, Activity::Active);
        assert_eq!(execute(&mut cpu, &[0x0f, 0x01, 0xc8]), Ok(Flow::Next));
        assert_eq!(cpu.s.monitor, Some(0x6_0040));
        cpu.s.regs[Reg::Rcx as usize] = 1;
        assert_eq!(execute(&mut cpu, &[0x0f, 0x01, 0xc9]), Ok(Flow::Next));
        assert_eq!(cpu.s.activity, Activity::Mwait { interrupt_breaks: true });
    }
    #[test]
    fn monitor_obeys_the_segment_prefix() {
        let mut cpu = long(0);
        cpu.s.set_segment_base(Seg::Gs, 0x1000);
        cpu.s.regs[Reg::Rax as usize] = 0x6_0000;
        assert_eq!(execute(&mut cpu, &[0x65, 0x0f, 0x01, 0xc8]), Ok(Flow::Next));
        assert_eq!(cpu.s.monitor, Some(0x6_1000));
    }
    #[test]
    fn monitor_extensions_and_privilege_fault() {
        let mut cpu = long(0);
        cpu.s.regs[Reg::Rcx as usize] = 2;
        assert_eq!(execute(&mut cpu, &[0x0f, 0x01, 0xc8]), Err(Exception::gp(0)));
        assert_eq!(execute(&mut cpu, &[0x0f, 0x01, 0xc9]), Err(Exception::gp(0)));
        cpu.s.cpl = 3;
        assert_eq!(execute(&mut cpu, &[0x0f, 0x01, 0xc8]), Err(Exception::ud()));
        cpu.s.cpl = 0;
        cpu.s.msr.misc_enable &= !misc_enable::MONITOR;
        assert_eq!(execute(&mut cpu, &[0x0f, 0x01, 0xc9]), Err(Exception::ud()));
    }
}
