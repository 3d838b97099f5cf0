//! RDMSR, WRMSR and the model-specific registers behind them. SDM volume 4, "Architectural MSRs"; volume 2, "RDMSR", "WRMSR".
//!
//! A register that the processor does not have raises #GP(0), as do reserved bits. Registers of the local APIC are its own
//! ([`crate::local_apic`]); memory types are kept and have no effect, since there is no cache.

use super::cpuid::TSC_HZ;
use crate::events::{Exception, Flow};
use crate::mmu::PHYS_BITS;
use crate::state::State;
use crate::vcpu::Cpu;
use undercroft_decode::{Insn, Mnemonic, Reg, Seg};
use undercroft_spec::x86::control::{cr0, efer};
use undercroft_spec::x86::cpuid::Feature;
use undercroft_spec::x86::msr::{
    IA32_APIC_BASE, IA32_ARCH_CAPABILITIES, IA32_BIOS_SIGN_ID, IA32_BIOS_UPDT_TRIG, IA32_CSTAR, IA32_DEBUGCTL,
    IA32_EFER, IA32_FEATURE_CONTROL, IA32_FLUSH_CMD, IA32_FMASK, IA32_FS_BASE, IA32_GS_BASE, IA32_KERNEL_GS_BASE,
    IA32_LSTAR, IA32_MC0_CTL, IA32_MCG_CAP, IA32_MCG_STATUS, IA32_MISC_ENABLE, IA32_MTRR_DEF_TYPE,
    IA32_MTRR_FIX4K_C0000, IA32_MTRR_FIX4K_F8000, IA32_MTRR_FIX16K_80000, IA32_MTRR_FIX16K_A0000,
    IA32_MTRR_FIX64K_00000, IA32_MTRR_PHYSBASE0, IA32_MTRRCAP, IA32_PAT, IA32_PLATFORM_ID, IA32_PRED_CMD,
    IA32_SPEC_CTRL, IA32_STAR, IA32_SYSENTER_CS, IA32_SYSENTER_EIP, IA32_SYSENTER_ESP, IA32_TIME_STAMP_COUNTER,
    IA32_TSC_ADJUST, IA32_TSC_AUX, IA32_TSC_DEADLINE, IA32_XSS, MSR_PLATFORM_INFO, X2APIC_FIRST, X2APIC_LAST,
};
use undercroft_spec::x86::msr::{debugctl, memory_type as mt, misc_enable, spec_ctrl};

/// Machine-check banks; they exist and never report.
const BANKS: u32 = 10;
/// Pairs of variable-range MTRRs.
const VARIABLE_RANGES: u32 = 10;
/// IA32_MTRRCAP: number of variable ranges, fixed ranges, write combining.
const MTRRCAP: u64 = VARIABLE_RANGES as u64 | 1 << 8 | 1 << 10;
const VARIABLE_LAST: u32 = IA32_MTRR_PHYSBASE0 + 2 * VARIABLE_RANGES - 1;
const BANKS_LAST: u32 = IA32_MC0_CTL + 4 * BANKS - 1;
/// Ratio of the TSC to 100 MHz, in the places of the maximum non-turbo and the maximum efficiency ratio.
const PLATFORM_INFO: u64 = (TSC_HZ as u64 / 100_000_000) << 8 | (TSC_HZ as u64 / 100_000_000) << 40;

const GP: Exception = Exception::gp(0);

fn require(condition: bool) -> Result<(), Exception> {
    if condition { Ok(()) } else { Err(GP) }
}

/// This family's instructions.
pub(super) fn execute(cpu: &mut Cpu, _i: &Insn, m: Mnemonic) -> Option<Result<Flow, Exception>> {
    Some(match m {
        Mnemonic::Rdmsr => rdmsr(cpu),
        Mnemonic::Wrmsr => wrmsr(cpu),
        _ => return None,
    })
}

fn rdmsr(cpu: &mut Cpu) -> Result<Flow, Exception> {
    require(cpu.s.cpl == 0)?;
    let value = cpu.read_msr(cpu.s.regs[Reg::Rcx as usize] as u32)?;
    cpu.s.regs[Reg::Rax as usize] = value & 0xffff_ffff;
    cpu.s.regs[Reg::Rdx as usize] = value >> 32;
    Ok(Flow::Next)
}

fn wrmsr(cpu: &mut Cpu) -> Result<Flow, Exception> {
    require(cpu.s.cpl == 0)?;
    let r = &cpu.s.regs;
    let value = r[Reg::Rdx as usize] << 32 | r[Reg::Rax as usize] & 0xffff_ffff;
    cpu.write_msr(r[Reg::Rcx as usize] as u32, value)?;
    Ok(Flow::Next)
}

impl Cpu {
    /// What RDMSR at privilege level 0 reads. `#GP(0)` if there is no such register.
    pub fn read_msr(&mut self, index: u32) -> Result<u64, Exception> {
        let has = |feature| require(self.model.has(feature));
        let m = &self.s.msr;
        Ok(match index {
            IA32_TIME_STAMP_COUNTER => self.tsc(),
            IA32_PLATFORM_ID => 0,
            IA32_APIC_BASE => self.apics.get(self.current).ok_or(GP)?.apic_base(),
            IA32_FEATURE_CONTROL => has(Feature::VMX).map(|()| m.feature_control)?,
            IA32_TSC_ADJUST => has(Feature::TSC_ADJUST).map(|()| m.tsc_adjust)?,
            IA32_SPEC_CTRL => require(self.spec_ctrl_mask() != 0).map(|()| m.spec_ctrl)?,
            IA32_BIOS_SIGN_ID => m.bios_sign_id,
            MSR_PLATFORM_INFO => PLATFORM_INFO,
            IA32_MTRRCAP => has(Feature::MTRR).map(|()| MTRRCAP)?,
            IA32_ARCH_CAPABILITIES => has(Feature::ARCH_CAPABILITIES).map(|()| self.model.arch_capabilities)?,
            IA32_SYSENTER_CS => m.sysenter_cs,
            IA32_SYSENTER_ESP => m.sysenter_esp,
            IA32_SYSENTER_EIP => m.sysenter_eip,
            IA32_MCG_CAP => u64::from(BANKS),
            IA32_MCG_STATUS => m.mcg_status,
            IA32_MISC_ENABLE => m.misc_enable,
            IA32_DEBUGCTL => m.debugctl,
            IA32_MTRR_PHYSBASE0..=VARIABLE_LAST => {
                let n = (index - IA32_MTRR_PHYSBASE0) as usize;
                m.mtrr_variable[n / 2][n & 1]
            }
            IA32_PAT => m.pat,
            IA32_MTRR_DEF_TYPE => m.mtrr_def_type,
            IA32_MC0_CTL..=BANKS_LAST => {
                let n = (index - IA32_MC0_CTL) as usize;
                m.mc[n / 4][n & 3]
            }
            IA32_TSC_DEADLINE => {
                has(Feature::TSC_DEADLINE)?;
                self.apics.get(self.current).ok_or(GP)?.tsc_deadline()
            }
            X2APIC_FIRST..=X2APIC_LAST => {
                self.apics.get(self.current).ok_or(GP)?.read_msr(self.moment(), index).map_err(|_| GP)?
            }
            IA32_XSS => has(Feature::XSAVES).map(|()| m.xss)?,
            IA32_EFER => m.efer,
            IA32_STAR => m.star,
            IA32_LSTAR => m.lstar,
            IA32_CSTAR => m.cstar,
            IA32_FMASK => m.fmask,
            IA32_FS_BASE => self.s.segment(Seg::Fs).base,
            IA32_GS_BASE => self.s.segment(Seg::Gs).base,
            IA32_KERNEL_GS_BASE => m.kernel_gs_base,
            IA32_TSC_AUX => has(Feature::RDTSCP).map(|()| m.tsc_aux)?,
            _ => m.mtrr_fixed[fixed_mtrr(index).ok_or(GP)?],
        })
    }

    /// WRMSR at privilege level 0. `#GP(0)` if there is no such register, or it does not take the value; then nothing has changed.
    pub fn write_msr(&mut self, index: u32, value: u64) -> Result<(), Exception> {
        match index {
            IA32_TIME_STAMP_COUNTER => self.adjust_tsc(value.wrapping_sub(self.tsc())),
            IA32_TSC_ADJUST => {
                require(self.model.has(Feature::TSC_ADJUST))?;
                self.adjust_tsc(value.wrapping_sub(self.s.msr.tsc_adjust));
            }
            IA32_APIC_BASE | IA32_TSC_DEADLINE | X2APIC_FIRST..=X2APIC_LAST => self.write_apic_msr(index, value)?,
            IA32_EFER => self.write_efer(value)?,
            IA32_FS_BASE | IA32_GS_BASE | IA32_KERNEL_GS_BASE | IA32_LSTAR | IA32_CSTAR => {
                self.write_linear_address(index, value)?;
            }
            IA32_SYSENTER_ESP | IA32_SYSENTER_EIP => self.write_linear_address(index, value)?,
            IA32_PRED_CMD => require(self.model.has(Feature::IBRS) && value & !1 == 0)?,
            IA32_FLUSH_CMD => require(self.model.has(Feature::L1D_FLUSH) && value & !1 == 0)?,
            // There is no microcode to load: what the update says is not looked at.
            IA32_BIOS_UPDT_TRIG => {}
            IA32_FEATURE_CONTROL => {
                require(self.model.has(Feature::VMX) && self.s.msr.feature_control & 1 == 0)?;
                // Lock, VMX in SMX, VMX outside SMX.
                let smx = u64::from(self.model.has(Feature::SMX)) << 1;
                require(value & !(1 | smx | 1 << 2) == 0)?;
                self.s.msr.feature_control = value;
            }
            IA32_SPEC_CTRL => {
                let mask = self.spec_ctrl_mask();
                require(mask != 0 && value & !mask == 0)?;
                self.s.msr.spec_ctrl = value;
            }
            IA32_XSS => {
                require(self.model.has(Feature::XSAVES) && value == 0)?;
                self.s.msr.xss = value;
            }
            IA32_TSC_AUX => {
                require(self.model.has(Feature::RDTSCP) && value >> 32 == 0)?;
                self.s.msr.tsc_aux = value;
            }
            IA32_DEBUGCTL => {
                require(value & !(debugctl::LBR | debugctl::BTF) == 0)?;
                self.s.msr.debugctl = value;
                self.attention = true;
            }
            IA32_MISC_ENABLE => self.write_misc_enable(value)?,
            _ => write_plain(&mut self.s, index, value)?,
        }
        Ok(())
    }

    fn spec_ctrl_mask(&self) -> u64 {
        let bit = |feature, bit| if self.model.has(feature) { bit } else { 0 };
        bit(Feature::IBRS, spec_ctrl::IBRS)
            | bit(Feature::STIBP, spec_ctrl::STIBP)
            | bit(Feature::SSBD, spec_ctrl::SSBD)
    }

    /// Both ways to write the TSC move IA32_TSC_ADJUST with it. SDM volume 3, "IA32_TSC_ADJUST Register".
    fn adjust_tsc(&mut self, difference: u64) {
        let m = &mut self.s.msr;
        m.tsc_offset = m.tsc_offset.wrapping_add(difference);
        m.tsc_adjust = m.tsc_adjust.wrapping_add(difference);
        self.attention = true;
    }

    fn write_apic_msr(&mut self, index: u32, value: u64) -> Result<(), Exception> {
        let now = self.moment();
        let has = |feature| self.model.has(feature);
        let x2apic_bit = value & undercroft_spec::apic::base::EXTD != 0;
        require(index != IA32_TSC_DEADLINE || has(Feature::TSC_DEADLINE))?;
        require(index != IA32_APIC_BASE || !x2apic_bit || has(Feature::X2APIC))?;
        let apic = self.apics.get_mut(self.current).ok_or(GP)?;
        self.attention = true;
        match index {
            IA32_APIC_BASE => {
                apic.write_apic_base(value).map_err(|_| GP)?;
                self.context_changed();
            }
            IA32_TSC_DEADLINE => apic.write_tsc_deadline(value),
            _ => {
                let effects = apic.write_msr(now, index, value).map_err(|_| GP)?;
                self.apply_effects(effects);
            }
        }
        Ok(())
    }

    /// SDM volume 3, "Extended Feature Enable Register".
    fn write_efer(&mut self, value: u64) -> Result<(), Exception> {
        let nx = self.model.has(Feature::NX) && self.s.msr.misc_enable & misc_enable::XD_DISABLE == 0;
        let allowed = efer::SCE | efer::LME | efer::LMA | if nx { efer::NXE } else { 0 };
        require(value & !allowed == 0)?;
        let old = self.s.msr.efer;
        require((value ^ old) & efer::LME == 0 || self.s.cr0 & cr0::PG == 0)?;
        // LMA is the processor's: what is written to it does not matter.
        self.s.msr.efer = value & !efer::LMA | old & efer::LMA;
        self.attention = true;
        self.context_changed();
        Ok(())
    }

    /// Registers that hold a linear address: canonical by the widest mode of the processor.
    fn write_linear_address(&mut self, index: u32, value: u64) -> Result<(), Exception> {
        require(self.model.is_canonical(value))?;
        let m = &mut self.s.msr;
        match index {
            IA32_FS_BASE => self.s.set_segment_base(Seg::Fs, value),
            IA32_GS_BASE => self.s.set_segment_base(Seg::Gs, value),
            IA32_KERNEL_GS_BASE => m.kernel_gs_base = value,
            IA32_LSTAR => m.lstar = value,
            IA32_CSTAR => m.cstar = value,
            IA32_SYSENTER_ESP => m.sysenter_esp = value,
            _ => m.sysenter_eip = value,
        }
        Ok(())
    }

    fn write_misc_enable(&mut self, value: u64) -> Result<(), Exception> {
        use misc_enable as b;
        const READ_ONLY: u64 = b::BTS_UNAVAILABLE | b::PEBS_UNAVAILABLE;
        const WRITABLE: u64 = b::FAST_STRINGS | b::MONITOR | b::LIMIT_CPUID | b::XD_DISABLE;
        require(value & !(READ_ONLY | WRITABLE) == 0)?;
        let old = self.s.msr.misc_enable;
        self.s.msr.misc_enable = old & !WRITABLE | value & WRITABLE;
        Ok(())
    }
}

/// Registers whose values stand for nothing else.
fn write_plain(s: &mut State, index: u32, value: u64) -> Result<(), Exception> {
    let m = &mut s.msr;
    match index {
        IA32_BIOS_SIGN_ID => m.bios_sign_id = value,
        IA32_SYSENTER_CS => m.sysenter_cs = value & 0xffff_ffff,
        IA32_STAR => m.star = value,
        IA32_FMASK => {
            require(value >> 32 == 0)?;
            m.fmask = value;
        }
        IA32_MCG_STATUS => {
            // RIPV, EIPV, MCIP.
            require(value & !7 == 0)?;
            m.mcg_status = value;
        }
        IA32_MC0_CTL..=BANKS_LAST => {
            let n = (index - IA32_MC0_CTL) as usize;
            // Only CTL takes anything but zero.
            require(n & 3 == 0 || value == 0)?;
            m.mc[n / 4][n & 3] = value;
        }
        IA32_PAT => {
            require(value.to_le_bytes().into_iter().all(|t| is_memory_type(t) || t == mt::UC_MINUS))?;
            m.pat = value;
        }
        IA32_MTRR_DEF_TYPE => {
            require(value & !0xcff == 0 && is_memory_type(value as u8))?;
            m.mtrr_def_type = value;
        }
        IA32_MTRR_PHYSBASE0..=VARIABLE_LAST => {
            let n = (index - IA32_MTRR_PHYSBASE0) as usize;
            let mask = n & 1 != 0;
            let reserved = !((1 << PHYS_BITS) - 1) | if mask { 0x7ff } else { 0xf00 };
            require(value & reserved == 0 && (mask || is_memory_type(value as u8)))?;
            m.mtrr_variable[n / 2][n & 1] = value;
        }
        _ => {
            let n = fixed_mtrr(index).ok_or(GP)?;
            require(value.to_le_bytes().into_iter().all(is_memory_type))?;
            m.mtrr_fixed[n] = value;
        }
    }
    Ok(())
}

/// Place of a fixed-range MTRR in the order of addresses.
fn fixed_mtrr(index: u32) -> Option<usize> {
    match index {
        IA32_MTRR_FIX64K_00000 => Some(0),
        IA32_MTRR_FIX16K_80000 => Some(1),
        IA32_MTRR_FIX16K_A0000 => Some(2),
        IA32_MTRR_FIX4K_C0000..=IA32_MTRR_FIX4K_F8000 => Some((index - IA32_MTRR_FIX4K_C0000) as usize + 3),
        _ => None,
    }
}

/// "Memory Types That Can Be Encoded in MTRRs".
fn is_memory_type(t: u8) -> bool {
    matches!(t, mt::UC | mt::WC | mt::WT | mt::WP | mt::WB)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{execute, long, real};

    fn read(cpu: &mut Cpu, index: u32) -> Result<u64, Exception> {
        cpu.s.regs[Reg::Rcx as usize] = u64::from(index);
        execute(cpu, &[0x0f, 0x32])?;
        Ok(cpu.s.regs[Reg::Rdx as usize] << 32 | cpu.s.regs[Reg::Rax as usize])
    }
    fn write(cpu: &mut Cpu, index: u32, value: u64) -> Result<Flow, Exception> {
        cpu.s.regs[Reg::Rcx as usize] = u64::from(index);
        cpu.s.regs[Reg::Rax as usize] = value & 0xffff_ffff | 0xaaaa_aaaa << 32;
        cpu.s.regs[Reg::Rdx as usize] = value >> 32;
        execute(cpu, &[0x0f, 0x30])
    }
    fn keeps(cpu: &mut Cpu, index: u32, value: u64) {
        assert_eq!(write(cpu, index, value), Ok(Flow::Next), "{index:#x} {value:#x}");
        assert_eq!(read(cpu, index), Ok(value), "{index:#x}");
    }
    fn refuses(cpu: &mut Cpu, index: u32, value: u64) {
        let before = cpu.s.msr.clone();
        assert_eq!(write(cpu, index, value), Err(GP), "{index:#x} {value:#x}");
        assert_eq!(cpu.s.msr, before);
    }

    #[test]
    fn rdmsr_wrmsr_outside_ring_0_fault() {
        let mut cpu = long(3);
        assert_eq!(read(&mut cpu, IA32_EFER), Err(GP));
        assert_eq!(write(&mut cpu, IA32_EFER, 0), Err(GP));
    }
    #[test]
    fn msr_unknown_faults() {
        let mut cpu = long(0);
        for index in
            [0x2, 0xc1, 0x17b, 0x186, 0x214, 0x25a, 0x267, 0x270, 0x345, 0x428, 0x480, 0x4000_0000, 0xc001_0015]
        {
            assert_eq!(read(&mut cpu, index), Err(GP), "{index:#x}");
            refuses(&mut cpu, index, 0);
        }
    }
    #[test]
    fn msr_read_only_and_write_only_fault_the_other_way() {
        let mut cpu = long(0);
        for index in [IA32_MTRRCAP, IA32_ARCH_CAPABILITIES, IA32_MCG_CAP, MSR_PLATFORM_INFO, IA32_PLATFORM_ID] {
            assert!(read(&mut cpu, index).is_ok(), "{index:#x}");
            refuses(&mut cpu, index, 0);
        }
        for index in [IA32_PRED_CMD, IA32_FLUSH_CMD, IA32_BIOS_UPDT_TRIG] {
            assert_eq!(write(&mut cpu, index, 1), Ok(Flow::Next));
            assert_eq!(read(&mut cpu, index), Err(GP));
        }
        refuses(&mut cpu, IA32_PRED_CMD, 2);
    }
    #[test]
    fn msr_linear_addresses_are_canonical_by_widest_mode() {
        let mut cpu = long(0);
        for index in [IA32_LSTAR, IA32_CSTAR, IA32_SYSENTER_EIP, IA32_FS_BASE, IA32_GS_BASE, IA32_KERNEL_GS_BASE] {
            keeps(&mut cpu, index, 0xff00_0000_0000_1234);
            refuses(&mut cpu, index, 0x0100_0000_0000_0000);
        }
        assert_eq!(cpu.s.regs[Reg::GsBase as usize], 0xff00_0000_0000_1234);
        cpu.model.set(Feature::LA57, false);
        refuses(&mut cpu, IA32_LSTAR, 0xff00_0000_0000_1234);
    }
    #[test]
    fn efer_reserved_bits_and_lme_with_paging_fault() {
        let mut cpu = long(0);
        let old = cpu.s.msr.efer;
        refuses(&mut cpu, IA32_EFER, old | 1 << 1);
        refuses(&mut cpu, IA32_EFER, old & !efer::LME);
        assert_eq!(write(&mut cpu, IA32_EFER, efer::LME), Ok(Flow::Next));
        assert_eq!(cpu.s.msr.efer, efer::LME | efer::LMA);
        let mut cpu = real();
        assert_eq!(write(&mut cpu, IA32_EFER, efer::LME | efer::LMA | efer::NXE), Ok(Flow::Next));
        assert_eq!(cpu.s.msr.efer, efer::LME | efer::NXE);
        cpu.s.msr.misc_enable |= misc_enable::XD_DISABLE;
        refuses(&mut cpu, IA32_EFER, efer::NXE);
    }
    #[test]
    fn tsc_and_tsc_adjust_move_together() {
        let mut cpu = real();
        cpu.now = 1000;
        keeps(&mut cpu, IA32_TIME_STAMP_COUNTER, 5000);
        assert_eq!(read(&mut cpu, IA32_TSC_ADJUST), Ok(4000));
        cpu.now = 1010;
        assert_eq!(write(&mut cpu, IA32_TSC_ADJUST, 0), Ok(Flow::Next));
        assert_eq!(read(&mut cpu, IA32_TIME_STAMP_COUNTER), Ok(1010));
    }
    #[test]
    fn memory_types_invalid_fault() {
        let mut cpu = long(0);
        keeps(&mut cpu, IA32_PAT, 0x0007_0106_0007_0504);
        refuses(&mut cpu, IA32_PAT, 0x0007_0106_0007_0502);
        keeps(&mut cpu, 0x250, 0x0606_0606_0606_0606);
        refuses(&mut cpu, 0x26f, 0x0706_0606_0606_0606);
        keeps(&mut cpu, IA32_MTRR_DEF_TYPE, 0xc06);
        refuses(&mut cpu, IA32_MTRR_DEF_TYPE, 0xc02);
        refuses(&mut cpu, IA32_MTRR_DEF_TYPE, 0x1c06);
        keeps(&mut cpu, 0x212, 0x3fff_ffff_f006);
        keeps(&mut cpu, 0x213, 0x3fff_ffff_f800);
        refuses(&mut cpu, 0x200, 1 << 46);
        refuses(&mut cpu, 0x201, 0x400);
    }
    #[test]
    fn machine_check_banks_take_only_zero() {
        let mut cpu = long(0);
        keeps(&mut cpu, 0x400, u64::MAX);
        keeps(&mut cpu, 0x425, 0);
        refuses(&mut cpu, 0x401, 1);
        keeps(&mut cpu, IA32_MCG_STATUS, 4);
        refuses(&mut cpu, IA32_MCG_STATUS, 8);
    }
    #[test]
    fn reserved_bits_fault() {
        let mut cpu = long(0);
        refuses(&mut cpu, IA32_TSC_AUX, 1 << 32);
        refuses(&mut cpu, IA32_FMASK, 1 << 32);
        refuses(&mut cpu, IA32_SPEC_CTRL, 8);
        refuses(&mut cpu, IA32_XSS, 1 << 8);
        refuses(&mut cpu, IA32_MISC_ENABLE, 1 << 16);
        keeps(&mut cpu, IA32_SPEC_CTRL, 7);
        keeps(&mut cpu, IA32_TSC_AUX, 0xffff_ffff);
    }
    #[test]
    fn apic_registers_are_msrs_in_x2apic_mode() {
        let mut cpu = long(0);
        assert_eq!(read(&mut cpu, IA32_APIC_BASE), Ok(0xfee0_0900));
        refuses(&mut cpu, 0x808, 0x20);
        keeps(&mut cpu, IA32_APIC_BASE, 0xfee0_0d00);
        keeps(&mut cpu, 0x808, 0x20);
        assert_eq!(cpu.apics[0].cr8(), 2);
        refuses(&mut cpu, 0x80f, 1 << 40);
        refuses(&mut cpu, IA32_APIC_BASE, 0xfee0_0900);
        // Fixed interrupt to all but self.
        assert_eq!(write(&mut cpu, 0x830, 0xc_00f0), Ok(Flow::Next));
        assert!(cpu.attention);
    }
    #[test]
    fn apic_base_without_x2apic_refuses_extd() {
        let mut cpu = long(0);
        cpu.model.set(Feature::X2APIC, false);
        refuses(&mut cpu, IA32_APIC_BASE, 0xfee0_0d00);
    }
}
