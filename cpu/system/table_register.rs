//! GDTR, IDTR, LDTR and TR: LGDT, LIDT, SGDT, SIDT, LLDT, SLDT, LTR, STR. SDM volume 2.

use super::descriptor::{Descriptor, in_ldt, is_null, selector_code};
use crate::events::{Exception, Flow};
use crate::mmu::Privilege;
use crate::state::{Segment, TableRegister};
use crate::vcpu::Cpu;
use undercroft_decode::{Code, Insn, Mnemonic, Size};
use undercroft_spec::x86::control::cr4;
use undercroft_spec::x86::descriptor::system_type;

/// The instructions of the module.
pub(super) fn execute(cpu: &mut Cpu, i: &Insn, m: Mnemonic) -> Option<Result<Flow, Exception>> {
    use Mnemonic as M;
    Some(match m {
        M::Lgdt => load_table(cpu, i).map(|table| cpu.s.gdtr = table).map(|()| Flow::Next),
        M::Lidt => load_table(cpu, i).map(|table| cpu.s.idtr = table).map(|()| Flow::Next),
        M::Sgdt => store_table(cpu, i, cpu.s.gdtr),
        M::Sidt => store_table(cpu, i, cpu.s.idtr),
        M::Lldt => lldt(cpu, i),
        M::Ltr => ltr(cpu, i),
        M::Sldt => store_selector(cpu, i, cpu.s.ldtr.selector),
        M::Str => store_selector(cpu, i, cpu.s.tr.selector),
        _ => return None,
    })
}

/// `#GP(0)` unless CPL = 0.
fn check_supervisor(cpu: &Cpu) -> Result<(), Exception> {
    if cpu.s.cpl != 0 { Err(Exception::gp(0)) } else { Ok(()) }
}
/// User-mode instruction prevention. SDM volume 3, "User-Mode Instruction Prevention".
fn check_umip(cpu: &Cpu) -> Result<(), Exception> {
    if cpu.s.cpl != 0 && cpu.s.cr4 & cr4::UMIP != 0 { Err(Exception::gp(0)) } else { Ok(()) }
}
/// `#UD` in real-address and virtual-8086 mode, which know no LDT and no tasks.
pub(super) fn check_protected(cpu: &Cpu) -> Result<(), Exception> {
    if cpu.s.is_real() || cpu.s.is_v8086() { Err(Exception::ud()) } else { Ok(()) }
}

fn load_table(cpu: &mut Cpu, i: &Insn) -> Result<TableRegister, Exception> {
    check_supervisor(cpu)?;
    let long = cpu.s.is_long();
    let mut bytes = [0; 10];
    let len = if long { 10 } else { 6 };
    let at = cpu.effective_address(i);
    cpu.load_bytes(i.seg, at, &mut bytes[..len])?;
    let limit = u16::from_le_bytes([bytes[0], bytes[1]]);
    let mut base = [0; 8];
    base.copy_from_slice(&bytes[2..]);
    let mut base = u64::from_le_bytes(base);
    if long && !cpu.model.is_canonical(base) {
        return Err(Exception::gp(0));
    }
    // With 16-bit operands the base has 24 bits.
    if matches!(i.code(), Code::Lgdt_m1632_16 | Code::Lidt_m1632_16) {
        base &= 0xff_ffff;
    }
    Ok(TableRegister { base, limit })
}

fn store_table(cpu: &mut Cpu, i: &Insn, table: TableRegister) -> Result<Flow, Exception> {
    check_umip(cpu)?;
    let mut bytes = [0; 10];
    bytes[..2].copy_from_slice(&table.limit.to_le_bytes());
    bytes[2..].copy_from_slice(&table.base.to_le_bytes());
    let len = if cpu.s.is_long() { 10 } else { 6 };
    let at = cpu.effective_address(i);
    cpu.store_bytes(i.seg, at, &bytes[..len])?;
    Ok(Flow::Next)
}

fn store_selector(cpu: &mut Cpu, i: &Insn, selector: u16) -> Result<Flow, Exception> {
    check_protected(cpu)?;
    check_umip(cpu)?;
    let size = if i.has_memory() { Size::B2 } else { i.size() };
    cpu.write_rm(i, i.dst, size, u64::from(selector))?;
    Ok(Flow::Next)
}

fn lldt(cpu: &mut Cpu, i: &Insn) -> Result<Flow, Exception> {
    check_protected(cpu)?;
    check_supervisor(cpu)?;
    let selector = cpu.read_rm(i, i.dst, Size::B2)? as u16;
    cpu.s.ldtr = cpu.ldt_segment(selector)?;
    Ok(Flow::Next)
}

fn ltr(cpu: &mut Cpu, i: &Insn) -> Result<Flow, Exception> {
    check_protected(cpu)?;
    check_supervisor(cpu)?;
    let selector = cpu.read_rm(i, i.dst, Size::B2)? as u16;
    if is_null(selector) {
        return Err(Exception::gp(0));
    }
    let wrong = Exception::gp(selector_code(selector));
    if in_ldt(selector) {
        return Err(wrong);
    }
    let mut d = cpu.read_descriptor(selector, wrong)?;
    let fits = match d.system_kind() {
        Some(system_type::TSS_AVAILABLE) => true,
        Some(system_type::TSS16_AVAILABLE) => !cpu.s.is_ia32e(),
        _ => false,
    };
    if !fits {
        return Err(wrong);
    }
    if !d.is_present() {
        return Err(Exception::np(selector_code(selector)));
    }
    let base = cpu.system_base(&d, wrong)?;
    cpu.set_busy(&mut d)?;
    cpu.s.tr = Segment { base, ..d.segment() };
    Ok(Flow::Next)
}

impl Cpu {
    /// Base of a system segment, of which IA-32e mode has 64 bits.
    fn system_base(&mut self, d: &Descriptor, wrong: Exception) -> Result<u64, Exception> {
        let low = d.segment().base;
        if !self.s.is_ia32e() {
            return Ok(low);
        }
        let base = low | self.read_upper_descriptor(d, wrong)? << 32;
        if self.model.is_canonical(base) { Ok(base) } else { Err(wrong) }
    }
    /// Checks of LLDT. Null is allowed and leaves no LDT.
    fn ldt_segment(&mut self, selector: u16) -> Result<Segment, Exception> {
        if is_null(selector) {
            return Ok(Segment::null(selector));
        }
        let wrong = Exception::gp(selector_code(selector));
        if in_ldt(selector) {
            return Err(wrong);
        }
        let d = self.read_descriptor(selector, wrong)?;
        if d.system_kind() != Some(system_type::LDT) {
            return Err(wrong);
        }
        if !d.is_present() {
            return Err(Exception::np(selector_code(selector)));
        }
        let base = self.system_base(&d, wrong)?;
        Ok(Segment { base, ..d.segment() })
    }
    /// Reads a value of the TSS that the processor itself uses; its offset was checked against TR's limit.
    pub(crate) fn load_tss(&mut self, offset: u64, len: u64) -> Result<u64, Exception> {
        let at = undercroft_spec::LinearAddr(self.s.tr.base.wrapping_add(offset));
        self.load_linear(self.in_address_space(at), len, Privilege::Implicit)
    }
}
