//! LAR, LSL, VERR, VERW, ARPL: what a selector names, and whether the program may use it. SDM volume 2.

use super::descriptor::{Descriptor, is_null, rpl};
use super::table_register::check_protected;
use crate::events::{Exception, Flow};
use crate::vcpu::Cpu;
use undercroft_decode::{Insn, Mnemonic, Size};
use undercroft_spec::x86::control::rflags;
use undercroft_spec::x86::descriptor::system_type as ty;

/// The instructions of the module.
pub(super) fn execute(cpu: &mut Cpu, i: &Insn, m: Mnemonic) -> Option<Result<Flow, Exception>> {
    use Mnemonic as M;
    let done = match m {
        M::Lar => query(cpu, i).map(|d| d.filter(|d| has_rights(cpu, d)).map(|d| d.raw >> 32 & 0xf0_ff00)),
        M::Lsl => query(cpu, i).map(|d| d.filter(|d| has_limit(cpu, d)).map(|d| u64::from(d.segment().limit))),
        M::Verr => return Some(verify(cpu, i, |d| d.segment().is_readable())),
        M::Verw => return Some(verify(cpu, i, |d| d.segment().is_writable())),
        M::Arpl => return Some(arpl(cpu, i)),
        _ => return None,
    };
    Some(done.map(|found| {
        if let Some(value) = found {
            cpu.write_reg(i.dst, i.size(), value);
        }
        set_zero(cpu, found.is_some());
        Flow::Next
    }))
}

fn set_zero(cpu: &mut Cpu, value: bool) {
    cpu.s.flags.set_some(rflags::ZF, if value { rflags::ZF } else { 0 });
}

/// The descriptor that the source operand names, if the program may know of it.
fn query(cpu: &mut Cpu, i: &Insn) -> Result<Option<Descriptor>, Exception> {
    check_protected(cpu)?;
    let selector = cpu.read_rm(i, i.src, Size::B2)? as u16;
    visible(cpu, selector)
}

fn visible(cpu: &mut Cpu, selector: u16) -> Result<Option<Descriptor>, Exception> {
    if is_null(selector) {
        return Ok(None);
    }
    let outside = Exception::gp(0);
    let d = match cpu.read_descriptor(selector, outside) {
        Ok(d) => d,
        // Beyond the table, which is no fault here; page faults are.
        Err(e) if e == outside => return Ok(None),
        Err(e) => return Err(e),
    };
    let level_fits = d.is_conforming() || (cpu.s.cpl <= d.dpl() && rpl(selector) <= d.dpl());
    Ok(Some(d).filter(|_| level_fits))
}

/// Types of which LAR gives the rights.
fn has_rights(cpu: &Cpu, d: &Descriptor) -> bool {
    let long = cpu.s.is_ia32e();
    match d.system_kind() {
        None => true,
        Some(ty::LDT | ty::TSS_AVAILABLE | ty::TSS_BUSY | ty::CALL_GATE) => true,
        Some(ty::TSS16_AVAILABLE | ty::TSS16_BUSY | ty::CALL_GATE16 | ty::TASK_GATE) => !long,
        Some(_) => false,
    }
}
/// Types of which LSL gives the limit.
fn has_limit(cpu: &Cpu, d: &Descriptor) -> bool {
    let is_gate = matches!(d.system_kind(), Some(ty::CALL_GATE | ty::CALL_GATE16 | ty::TASK_GATE));
    has_rights(cpu, d) && !is_gate
}

fn verify(cpu: &mut Cpu, i: &Insn, usable: impl Fn(&Descriptor) -> bool) -> Result<Flow, Exception> {
    check_protected(cpu)?;
    let selector = cpu.read_rm(i, i.dst, Size::B2)? as u16;
    let found = visible(cpu, selector)?.is_some_and(|d| d.is_code_or_data() && usable(&d));
    set_zero(cpu, found);
    Ok(Flow::Next)
}

fn arpl(cpu: &mut Cpu, i: &Insn) -> Result<Flow, Exception> {
    check_protected(cpu)?;
    let old = cpu.read_rm(i, i.dst, Size::B2)?;
    let wanted = cpu.read_reg(i.src, Size::B2) & 3;
    let raise = old & 3 < wanted;
    if raise {
        cpu.write_rm(i, i.dst, Size::B2, old & !3 | wanted)?;
    }
    set_zero(cpu, raise);
    Ok(Flow::Next)
}
