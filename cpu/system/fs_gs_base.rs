//! SWAPGS, RDFSBASE, RDGSBASE, WRFSBASE, WRGSBASE. SDM volume 2.

use crate::events::{Exception, Flow};
use crate::vcpu::Cpu;
use undercroft_decode::{Insn, Mnemonic, Seg, Size};
use undercroft_spec::x86::control::cr4;

/// The instructions of the module.
pub(super) fn execute(cpu: &mut Cpu, i: &Insn, m: Mnemonic) -> Option<Result<Flow, Exception>> {
    Some(match m {
        Mnemonic::Swapgs => swapgs(cpu),
        Mnemonic::Rdfsbase => read_base(cpu, i, Seg::Fs),
        Mnemonic::Rdgsbase => read_base(cpu, i, Seg::Gs),
        Mnemonic::Wrfsbase => write_base(cpu, i, Seg::Fs),
        Mnemonic::Wrgsbase => write_base(cpu, i, Seg::Gs),
        _ => return None,
    })
}

fn swapgs(cpu: &mut Cpu) -> Result<Flow, Exception> {
    if !cpu.s.is_long() {
        return Err(Exception::ud());
    }
    if cpu.s.cpl != 0 {
        return Err(Exception::gp(0));
    }
    let base = cpu.s.segment(Seg::Gs).base;
    cpu.s.set_segment_base(Seg::Gs, cpu.s.msr.kernel_gs_base);
    cpu.s.msr.kernel_gs_base = base;
    Ok(Flow::Next)
}

fn check_enabled(cpu: &Cpu) -> Result<(), Exception> {
    if cpu.s.is_long() && cpu.s.cr4 & cr4::FSGSBASE != 0 { Ok(()) } else { Err(Exception::ud()) }
}

fn read_base(cpu: &mut Cpu, i: &Insn, seg: Seg) -> Result<Flow, Exception> {
    check_enabled(cpu)?;
    cpu.write_reg(i.dst, i.size(), cpu.s.segment(seg).base);
    Ok(Flow::Next)
}

fn write_base(cpu: &mut Cpu, i: &Insn, seg: Seg) -> Result<Flow, Exception> {
    check_enabled(cpu)?;
    let base = cpu.read_reg(i.dst, i.size());
    if i.size() == Size::B8 && !cpu.model.is_canonical(base) {
        return Err(Exception::gp(0));
    }
    cpu.s.set_segment_base(seg, base);
    Ok(Flow::Next)
}
