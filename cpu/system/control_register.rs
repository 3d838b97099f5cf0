//! MOV to and from control registers, LMSW, SMSW, CLTS. SDM volume 2, "MOV—Move to/from Control Registers"; volume 3, "Control Registers".

use super::task_switch::read_pdptes;
use crate::events::{Exception, Flow};
use crate::mmu::PHYS_BITS;
use crate::state::State;
use crate::vcpu::Cpu;
use undercroft_decode::{Code, Insn, Mnemonic, Reg, Seg, Size};
use undercroft_spec::x86::control::{cr0, cr4, efer};
use undercroft_spec::x86::cpuid::Feature;

const GP: Exception = Exception::gp(0);

/// Bits of CR0 that software can write; ET reads 1, others 0 whatever is written.
const CR0_WRITABLE: u64 =
    cr0::PE | cr0::MP | cr0::EM | cr0::TS | cr0::NE | cr0::WP | cr0::AM | cr0::NW | cr0::CD | cr0::PG;

/// CR3 bit 63 while CR4.PCIDE = 1: translations need not be invalidated.
const CR3_NO_INVALIDATION: u64 = 1 << 63;

/// This family's instructions.
pub(super) fn execute(cpu: &mut Cpu, i: &Insn, m: Mnemonic) -> Option<Result<Flow, Exception>> {
    Some(match (m, i.code()) {
        (_, Code::Mov_r32_cr) => read(cpu, i, Size::B4),
        (_, Code::Mov_r64_cr) => read(cpu, i, Size::B8),
        (_, Code::Mov_cr_r32) => write(cpu, i, Size::B4),
        (_, Code::Mov_cr_r64) => write(cpu, i, Size::B8),
        (Mnemonic::Lmsw, _) => lmsw(cpu, i),
        (Mnemonic::Smsw, _) => smsw(cpu, i),
        (Mnemonic::Clts, _) => clts(cpu),
        _ => return None,
    })
}

fn require(condition: bool) -> Result<(), Exception> {
    if condition { Ok(()) } else { Err(GP) }
}

/// The number of an existing control register, at privilege level 0.
fn number(cpu: &Cpu, reg: Reg) -> Result<u8, Exception> {
    let n = reg.number();
    if !matches!(n, 0 | 2 | 3 | 4 | 8) {
        return Err(Exception::ud());
    }
    require(cpu.s.cpl == 0)?;
    Ok(n)
}

fn read(cpu: &mut Cpu, i: &Insn, size: Size) -> Result<Flow, Exception> {
    let value = match number(cpu, i.src)? {
        0 => cpu.s.cr0,
        2 => cpu.s.cr2,
        3 => cpu.s.cr3,
        4 => cpu.s.cr4,
        _ => cpu.apics.get(cpu.current).map_or(0, |a| u64::from(a.cr8())),
    };
    cpu.write_reg(i.dst, size, value);
    Ok(Flow::Next)
}

fn write(cpu: &mut Cpu, i: &Insn, size: Size) -> Result<Flow, Exception> {
    let n = number(cpu, i.dst)?;
    let value = cpu.read_reg(i.src, size);
    match n {
        0 => cpu.write_cr0(value)?,
        2 => cpu.s.cr2 = value,
        3 => cpu.write_cr3(value)?,
        4 => cpu.write_cr4(value)?,
        _ => {
            require(value <= 15)?;
            if let Some(apic) = cpu.apics.get_mut(cpu.current) {
                apic.write_cr8(value as u8);
            }
            cpu.attention = true;
        }
    }
    Ok(Flow::Next)
}

fn lmsw(cpu: &mut Cpu, i: &Insn) -> Result<Flow, Exception> {
    require(cpu.s.cpl == 0)?;
    let value = cpu.read_rm(i, i.dst, Size::B2)?;
    // PE can be set but not cleared.
    let kept = cpu.s.cr0 & !(cr0::MP | cr0::EM | cr0::TS);
    cpu.write_cr0(kept | value & (cr0::PE | cr0::MP | cr0::EM | cr0::TS))?;
    Ok(Flow::Next)
}

fn smsw(cpu: &mut Cpu, i: &Insn) -> Result<Flow, Exception> {
    require(cpu.s.cr4 & cr4::UMIP == 0 || cpu.s.cpl == 0)?;
    let size = if i.has_memory() { Size::B2 } else { i.size() };
    cpu.write_rm(i, i.dst, size, cpu.s.cr0)?;
    Ok(Flow::Next)
}

fn clts(cpu: &mut Cpu) -> Result<Flow, Exception> {
    require(cpu.s.cpl == 0)?;
    cpu.s.cr0 &= !cr0::TS;
    cpu.attention = true;
    Ok(Flow::Next)
}

/// PAE paging is in use with these registers.
fn uses_pae_paging(cr0: u64, cr4: u64, lma: bool) -> bool {
    cr0 & cr0::PG != 0 && cr4 & cr4::PAE != 0 && !lma
}

impl Cpu {
    /// MOV to CR0 at privilege level 0. `#GP(0)`, and then nothing has changed.
    pub(crate) fn write_cr0(&mut self, value: u64) -> Result<(), Exception> {
        let s = &self.s;
        require(value >> 32 == 0)?;
        require(value & cr0::PG == 0 || value & cr0::PE != 0)?;
        require(value & cr0::NW == 0 || value & cr0::CD != 0)?;
        let new = value & CR0_WRITABLE | cr0::ET;
        let changed = new ^ s.cr0;
        let mut new_efer = s.msr.efer;
        if changed & cr0::PG != 0 {
            new_efer = efer_after_paging(s, new & cr0::PG != 0)?;
        }
        let pae = uses_pae_paging(new, s.cr4, new_efer & efer::LMA != 0);
        if pae && changed & (cr0::PG | cr0::CD | cr0::NW) != 0 {
            self.s.pdpte = read_pdptes(self, self.s.cr3)?;
        }
        self.s.cr0 = new;
        self.s.msr.efer = new_efer;
        self.translation_changed();
        Ok(())
    }

    /// MOV to CR3 at privilege level 0. `#GP(0)`, and then nothing has changed.
    pub(crate) fn write_cr3(&mut self, value: u64) -> Result<(), Exception> {
        let s = &self.s;
        // With process-context identifiers bit 63 is a request about translations, which this processor need not hear.
        let value = if s.cr4 & cr4::PCIDE != 0 { value & !CR3_NO_INVALIDATION } else { value };
        require(value >> PHYS_BITS == 0)?;
        if uses_pae_paging(s.cr0, s.cr4, s.is_ia32e()) {
            self.s.pdpte = read_pdptes(self, value)?;
        }
        self.s.cr3 = value;
        self.translation_changed();
        Ok(())
    }

    /// MOV to CR4 at privilege level 0. `#GP(0)`, and then nothing has changed.
    pub(crate) fn write_cr4(&mut self, value: u64) -> Result<(), Exception> {
        let s = &self.s;
        require(value & !self.cr4_mask() == 0)?;
        let changed = value ^ s.cr4;
        if s.is_ia32e() {
            require(value & cr4::PAE != 0 && changed & cr4::LA57 == 0)?;
        }
        if changed & value & cr4::PCIDE != 0 {
            require(s.is_ia32e() && s.cr3 & 0xfff == 0)?;
        }
        let reloading = cr4::PAE | cr4::PGE | cr4::PSE | cr4::SMEP;
        if uses_pae_paging(s.cr0, value, s.is_ia32e()) && changed & reloading != 0 {
            self.s.pdpte = read_pdptes(self, self.s.cr3)?;
        }
        self.s.cr4 = value;
        self.translation_changed();
        Ok(())
    }

    /// Bits of CR4 that the processor has.
    fn cr4_mask(&self) -> u64 {
        let rules = [
            (Feature::VME, cr4::VME | cr4::PVI),
            (Feature::TSC, cr4::TSD),
            (Feature::DE, cr4::DE),
            (Feature::PSE, cr4::PSE),
            (Feature::PAE, cr4::PAE),
            (Feature::MCE, cr4::MCE),
            (Feature::PGE, cr4::PGE),
            (Feature::FXSR, cr4::OSFXSR),
            (Feature::SSE, cr4::OSXMMEXCPT),
            (Feature::UMIP, cr4::UMIP),
            (Feature::LA57, cr4::LA57),
            (Feature::VMX, cr4::VMXE),
            (Feature::SMX, cr4::SMXE),
            (Feature::FSGSBASE, cr4::FSGSBASE),
            (Feature::PCID, cr4::PCIDE),
            (Feature::XSAVE, cr4::OSXSAVE),
            (Feature::SMEP, cr4::SMEP),
            (Feature::SMAP, cr4::SMAP),
            (Feature::PKU, cr4::PKE),
        ];
        rules.iter().filter(|(feature, _)| self.model.has(*feature)).fold(cr4::PCE, |mask, (_, bits)| mask | bits)
    }

    fn translation_changed(&mut self) {
        self.attention = true;
        self.context_changed();
    }
}

/// IA32_EFER after CR0.PG changes. SDM volume 3, "Initializing IA-32e Mode", "Switching Out of IA-32e Mode Operation".
fn efer_after_paging(s: &State, on: bool) -> Result<u64, Exception> {
    let old = s.msr.efer;
    if !on {
        require(!s.is_long() && s.cr4 & cr4::PCIDE == 0)?;
        return Ok(old & !efer::LMA);
    }
    if old & efer::LME == 0 {
        return Ok(old);
    }
    // Available or busy 16-bit TSS.
    let tss16 = matches!(s.tr.kind(), 1 | 3);
    require(s.cr4 & cr4::PAE != 0 && !s.segment(Seg::Cs).is_long() && !tss16)?;
    Ok(old | efer::LMA)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{PML4, execute, long, protected, real};

    const DONE: Result<Flow, Exception> = Ok(Flow::Next);

    /// MOV CRn, (R)AX.
    fn set(cpu: &mut Cpu, n: u8, value: u64) -> Result<Flow, Exception> {
        cpu.s.regs[Reg::Rax as usize] = value;
        let bytes = [0x44, 0x0f, 0x22, 0xc0 | (n & 7) << 3];
        execute(cpu, if n >= 8 { &bytes } else { &bytes[1..] })
    }
    fn get(cpu: &mut Cpu, n: u8) -> u64 {
        let bytes = [0x44, 0x0f, 0x20, 0xc0 | (n & 7) << 3];
        assert_eq!(execute(cpu, if n >= 8 { &bytes } else { &bytes[1..] }), DONE);
        cpu.s.regs[Reg::Rax as usize]
    }
    fn refuses(cpu: &mut Cpu, n: u8, value: u64) {
        cpu.s.regs[Reg::Rax as usize] = value;
        let before = cpu.s.clone();
        assert_eq!(set(cpu, n, value), Err(GP), "CR{n} {value:#x}");
        cpu.s.regs[Reg::BlockRip as usize] = before.regs[Reg::BlockRip as usize];
        assert_eq!(cpu.s, before);
    }

    #[test]
    fn mov_cr_outside_ring_0_faults() {
        for mut cpu in [long(3), protected(3)] {
            refuses(&mut cpu, 0, 1);
            assert_eq!(execute(&mut cpu, &[0x0f, 0x20, 0xc0]), Err(GP));
        }
    }
    #[test]
    fn mov_cr0_impossible_combinations_fault() {
        let mut cpu = long(0);
        let cr0 = cpu.s.cr0;
        refuses(&mut cpu, 0, cr0 | 1 << 32);
        refuses(&mut cpu, 0, cr0 & !cr0::PE);
        refuses(&mut cpu, 0, cr0 | cr0::NW);
        refuses(&mut cpu, 0, cr0 & !cr0::PG);
        assert_eq!(set(&mut cpu, 0, cr0 | cr0::NW | cr0::CD | 1 << 6), DONE);
        assert_eq!(get(&mut cpu, 0), cr0 | cr0::NW | cr0::CD);
    }
    #[test]
    fn mov_cr0_enters_and_leaves_ia32e_mode() {
        let mut cpu = protected(0);
        cpu.s.cr3 = PML4;
        cpu.s.msr.efer = efer::LME;
        let paging = cpu.s.cr0 | cr0::PG;
        refuses(&mut cpu, 0, paging);
        assert_eq!(set(&mut cpu, 4, cr4::PAE), DONE);
        cpu.s.tr.rights = 0x83;
        refuses(&mut cpu, 0, paging);
        cpu.s.tr.rights = 0x8b;
        assert_eq!(set(&mut cpu, 0, paging), DONE);
        assert_eq!(cpu.s.msr.efer, efer::LME | efer::LMA);
        refuses(&mut cpu, 4, 0);
        refuses(&mut cpu, 4, cr4::PAE | cr4::LA57);
        assert_eq!(set(&mut cpu, 0, paging & !cr0::PG), DONE);
        assert_eq!(cpu.s.msr.efer, efer::LME);
    }
    #[test]
    fn mov_cr4_reserved_bits_and_pcide_rules_fault() {
        let mut cpu = long(0);
        refuses(&mut cpu, 4, cr4::PAE | 1 << 15);
        refuses(&mut cpu, 4, cr4::PAE | 1 << 32);
        refuses(&mut cpu, 4, cr4::PAE | cr4::VMXE);
        cpu.s.cr3 = PML4 | 1;
        refuses(&mut cpu, 4, cr4::PAE | cr4::PCIDE);
        cpu.s.cr3 = PML4;
        assert_eq!(set(&mut cpu, 4, cr4::PAE | cr4::PCIDE), DONE);
        assert_eq!(set(&mut cpu, 3, PML4 | 5 | 1 << 63), DONE);
        assert_eq!(get(&mut cpu, 3), PML4 | 5);
        refuses(&mut protected(0), 4, cr4::PAE | cr4::PCIDE);
        let mut cpu = long(0);
        cpu.model.set(Feature::UMIP, false);
        refuses(&mut cpu, 4, cr4::PAE | cr4::UMIP);
    }
    #[test]
    fn mov_cr3_reserved_bits_fault() {
        let mut cpu = long(0);
        refuses(&mut cpu, 3, PML4 | 1 << 46);
        refuses(&mut cpu, 3, PML4 | 1 << 63);
        assert_eq!(set(&mut cpu, 3, PML4 | 0x18), DONE);
    }
    #[test]
    fn mov_cr3_with_pae_paging_loads_pdptes() {
        let mut cpu = protected(0);
        // A directory of 2-MByte pages.
        assert!(cpu.ram.store(0x5020, 8, (PML4 + 0x2000) | 1));
        assert!(cpu.ram.store(0x5040, 8, (PML4 + 0x2000) | 3));
        assert!(cpu.ram.store(0x5060, 8, 0xffff_ffff_ffff_fffe));
        assert_eq!(set(&mut cpu, 3, 0x5020), DONE);
        assert_eq!(set(&mut cpu, 4, cr4::PAE), DONE);
        let paging = cpu.s.cr0 | cr0::PG;
        assert_eq!(set(&mut cpu, 0, paging), DONE);
        assert_eq!(cpu.s.pdpte[0], (PML4 + 0x2000) | 1);
        refuses(&mut cpu, 3, 0x5040);
        assert_eq!(set(&mut cpu, 3, 0x5060), DONE);
    }
    #[test]
    fn mov_cr8_is_the_apics_task_priority() {
        let mut cpu = long(0);
        refuses(&mut cpu, 8, 16);
        assert_eq!(set(&mut cpu, 8, 9), DONE);
        assert_eq!(cpu.apics[0].cr8(), 9);
        assert_eq!(get(&mut cpu, 8), 9);
    }
    #[test]
    fn lmsw_sets_but_does_not_clear_pe() {
        let mut cpu = real();
        cpu.s.regs[Reg::Rax as usize] = 0xfff1;
        assert_eq!(execute(&mut cpu, &[0x0f, 0x01, 0xf0]), DONE);
        assert_eq!(cpu.s.cr0, cr0::PE | cr0::ET);
        cpu.s.regs[Reg::Rax as usize] = 0xe;
        assert_eq!(execute(&mut cpu, &[0x0f, 0x01, 0xf0]), DONE);
        assert_eq!(cpu.s.cr0, cr0::PE | cr0::MP | cr0::EM | cr0::TS | cr0::ET);
        assert_eq!(execute(&mut cpu, &[0x0f, 0x06]), DONE);
        assert_eq!(cpu.s.cr0, cr0::PE | cr0::MP | cr0::EM | cr0::ET);
    }
    #[test]
    fn smsw_obeys_umip_and_width() {
        let mut cpu = long(3);
        cpu.s.regs[Reg::Rax as usize] = u64::MAX;
        assert_eq!(execute(&mut cpu, &[0x0f, 0x01, 0xe0]), DONE);
        assert_eq!(cpu.s.regs[Reg::Rax as usize], cpu.s.cr0);
        cpu.s.regs[Reg::Rax as usize] = 0x6_0000;
        assert!(cpu.ram.store(0x6_0000, 8, u64::MAX));
        assert_eq!(execute(&mut cpu, &[0x48, 0x0f, 0x01, 0x20]), DONE);
        assert_eq!(cpu.ram.load(0x6_0000, 8), Some(u64::MAX << 16 | cpu.s.cr0 & 0xffff));
        cpu.s.cr4 |= cr4::UMIP;
        assert_eq!(execute(&mut cpu, &[0x0f, 0x01, 0xe0]), Err(GP));
    }
}
