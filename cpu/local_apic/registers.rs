//! The local APIC's registers, in memory (xAPIC) and in MSRs (x2APIC).
//! SDM volume 3, "Local APIC Register Address Map", "x2APIC Register Address Space", "Reserved Bit Checking".

use super::message::IcrTarget;
use super::{
    DestinationFormat, Effects, GeneralProtection, Ipi, LVT_ENTRIES, Lint, LocalApic, Lvt, Mode, Moment, message,
};
use undercroft_spec::apic::{DeliveryMode, TriggerMode, esr, icr, lvt, msr, register, svr, version};

/// An integrated APIC (15H) with all LVT entries and EOI-broadcast suppression.
const VERSION: u32 =
    0x15 | ((LVT_ENTRIES as u32 - 1) << version::MAX_LVT_ENTRY_SHIFT) | version::EOI_BROADCAST_SUPPRESSION;

/// What software can change in an LVT entry.
const fn lvt_writable(entry: usize) -> u32 {
    lvt::VECTOR
        | lvt::MASK
        | match entry {
            1 => lvt::TIMER_MODE,
            4 | 5 => lvt::DELIVERY_MODE | lvt::ACTIVE_LOW | lvt::LEVEL,
            6 => 0,
            _ => lvt::DELIVERY_MODE,
        }
}

/// The LVT entry at a register offset.
fn lvt_index(offset: u32) -> Option<usize> {
    match offset {
        register::LVT_CMCI => Some(Lvt::Cmci as usize),
        register::LVT_TIMER..=register::LVT_ERROR if offset & 0xf == 0 => {
            Some(Lvt::Timer as usize + ((offset - register::LVT_TIMER) >> 4) as usize)
        }
        _ => None,
    }
}

impl LocalApic {
    /// A read of `size` bytes in the register page. Registers are 32 bits wide at multiples of 16 bytes; the bytes between read as 0.
    pub fn read_page(&mut self, now: Moment, offset: u64, size: u8) -> u64 {
        let offset = (offset & 0xfff) as u32;
        let register = self.read(now, offset & !0xf);
        let shift = 8 * (offset & 0xf);
        let value = u64::from(register).checked_shr(shift).unwrap_or(0);
        if size >= 8 { value } else { value & ((1 << (8 * size)) - 1) }
    }

    /// A write of `size` bytes in the register page. Only aligned writes of 4 bytes (or the low half of 8) reach a register:
    /// the effect of others is undefined in the manual, and here none.
    pub fn write_page(&mut self, now: Moment, offset: u64, size: u8, value: u64) -> Effects {
        match offset & 0xf {
            0 if size >= 4 => self.write(now, (offset & 0xfff) as u32, value as u32),
            _ => Effects::default(),
        }
    }

    /// Reads the xAPIC register at `offset`, a multiple of 16.
    pub fn read(&mut self, now: Moment, offset: u32) -> u32 {
        match offset {
            register::ICR_HIGH => (self.icr >> 32) as u32,
            register::DFR => self.destination_format,
            register::APR => u32::from(self.arbitration_priority()),
            register::RRD | register::EOI => 0,
            _ => self.read_shared(now, offset).map(|value| value as u32).unwrap_or_else(|| {
                self.detect_error(esr::ILLEGAL_REGISTER_ADDRESS);
                0
            }),
        }
    }

    /// Writes the xAPIC register at `offset`, a multiple of 16.
    pub fn write(&mut self, now: Moment, offset: u32, value: u32) -> Effects {
        match offset {
            register::EOI => self.end_of_interrupt(),
            register::LDR => {
                self.logical_destination = value & 0xff00_0000;
                Effects::default()
            }
            register::DFR => {
                self.destination_format = value | 0x0fff_ffff;
                Effects::default()
            }
            register::ICR => self.write_icr(self.icr & !0xffff_ffff | u64::from(value)),
            register::ICR_HIGH => {
                self.icr = self.icr & 0xffff_ffff | u64::from(value & 0xff00_0000) << 32;
                Effects::default()
            }
            // Read-only.
            register::ID
            | register::VERSION
            | register::APR
            | register::PPR
            | register::RRD
            | register::CURRENT_COUNT => Effects::default(),
            register::ISR..register::ESR if offset & 0xf == 0 => Effects::default(),
            _ if self.write_shared(now, offset, value) => Effects::default(),
            _ => {
                self.detect_error(esr::ILLEGAL_REGISTER_ADDRESS);
                Effects::default()
            }
        }
    }

    /// RDMSR of 800H to 8FFH.
    pub fn read_msr(&self, now: Moment, index: u32) -> Result<u64, GeneralProtection> {
        match x2apic_offset(index) {
            Some(register::EOI | register::SELF_IPI) | None => Err(GeneralProtection),
            Some(_) if self.mode() != Mode::X2apic => Err(GeneralProtection),
            Some(offset) => self.read_shared(now, offset).ok_or(GeneralProtection),
        }
    }

    /// WRMSR of 800H to 8FFH. Reserved bits and read-only registers raise #GP.
    pub fn write_msr(&mut self, now: Moment, index: u32, value: u64) -> Result<Effects, GeneralProtection> {
        let offset = x2apic_offset(index).ok_or(GeneralProtection)?;
        let writable = match offset {
            register::EOI | register::ESR => 0,
            register::TPR | register::SELF_IPI => 0xff,
            register::SVR => u64::from(svr::WRITABLE),
            register::ICR => icr::WRITABLE | 0xffff_ffff << 32,
            register::INITIAL_COUNT => 0xffff_ffff,
            register::DIVIDE_CONFIGURATION => 0xb,
            _ => match lvt_index(offset) {
                Some(entry @ (4 | 5)) => u64::from(lvt_writable(entry) | lvt::DELIVERY_STATUS | lvt::REMOTE_IRR),
                Some(entry) => u64::from(lvt_writable(entry) | lvt::DELIVERY_STATUS),
                None => return Err(GeneralProtection),
            },
        };
        if self.mode() != Mode::X2apic || value & !writable != 0 {
            return Err(GeneralProtection);
        }
        Ok(match offset {
            register::EOI => self.end_of_interrupt(),
            register::ICR => self.write_icr(value),
            register::SELF_IPI => {
                self.send_to_itself(value as u8);
                Effects::default()
            }
            _ => {
                self.write_shared(now, offset, value as u32);
                Effects::default()
            }
        })
    }

    /// What both modes read alike; `None` for what neither has.
    fn read_shared(&self, now: Moment, offset: u32) -> Option<u64> {
        if let Some(entry) = lvt_index(offset) {
            return Some(u64::from(self.lvt[entry]));
        }
        let word = (offset >> 4 & 7) as usize;
        let value = match offset {
            register::ID if self.mode() == Mode::X2apic => self.id(),
            register::ID => self.id() << 24,
            register::VERSION => VERSION,
            register::TPR => u32::from(self.task_priority),
            register::PPR => u32::from(self.processor_priority()),
            register::LDR if self.mode() == Mode::X2apic => message::x2apic_logical_id(self.id()),
            register::LDR => self.logical_destination,
            register::SVR => self.spurious,
            register::ISR..register::TMR if offset & 0xf == 0 => self.in_service.0[word],
            register::TMR..register::IRR if offset & 0xf == 0 => self.trigger_mode.0[word],
            register::IRR..register::ESR if offset & 0xf == 0 => self.requested.0[word],
            register::ESR => self.error_status,
            register::ICR if self.mode() == Mode::X2apic => return Some(self.icr),
            register::ICR => self.icr as u32,
            register::INITIAL_COUNT => self.timer.initial_count(),
            register::CURRENT_COUNT => self.timer.current_count(now.tick),
            register::DIVIDE_CONFIGURATION => self.timer.divide_configuration(),
            _ => return None,
        };
        Some(u64::from(value))
    }

    /// What both modes write alike. Whether there is such a register.
    fn write_shared(&mut self, now: Moment, offset: u32, value: u32) -> bool {
        match offset {
            register::TPR => self.task_priority = value as u8,
            register::SVR => self.write_svr(now, value),
            register::ESR => self.error_status = std::mem::take(&mut self.errors),
            register::INITIAL_COUNT => self.timer.write_initial_count(now.tick, value),
            register::DIVIDE_CONFIGURATION => self.timer.write_divide_configuration(now.tick, value),
            _ => match lvt_index(offset) {
                Some(entry) => self.write_lvt(now, entry, value),
                None => return false,
            },
        }
        true
    }

    /// "Local APIC State After It Has Been Software Disabled": every LVT entry is masked and stays so.
    fn write_svr(&mut self, now: Moment, value: u32) {
        self.spurious = value & svr::WRITABLE;
        if value & svr::ENABLE == 0 {
            for entry in &mut self.lvt {
                *entry |= lvt::MASK;
            }
            self.configure_timer(now);
        }
    }

    fn write_lvt(&mut self, now: Moment, entry: usize, value: u32) {
        let writable = lvt_writable(entry);
        let mut new = self.lvt[entry] & !writable | value & writable;
        if self.spurious & svr::ENABLE == 0 {
            new |= lvt::MASK;
        }
        if new & lvt::LEVEL == 0 {
            new &= !lvt::REMOTE_IRR;
        }
        self.lvt[entry] = new;
        match entry {
            1 => self.configure_timer(now),
            4 => self.sample_level(Lint::Lint0),
            5 => self.sample_level(Lint::Lint1),
            _ => {}
        }
    }

    fn write_icr(&mut self, value: u64) -> Effects {
        let (format, kept) = match self.mode() {
            Mode::X2apic => (DestinationFormat::X2apic, icr::WRITABLE | 0xffff_ffff << 32),
            _ => (DestinationFormat::Xapic, icr::WRITABLE | 0xff << 56),
        };
        self.icr = value & kept;
        let Some((message, target)) = Ipi::from_icr(self.icr, format) else { return Effects::default() };
        let has_vector = matches!(message.delivery_mode, DeliveryMode::Fixed | DeliveryMode::LowestPriority);
        if has_vector && message.vector < 16 {
            self.detect_error(esr::SEND_ILLEGAL_VECTOR);
            return Effects::default();
        }
        match target {
            IcrTarget::Itself => {
                self.send_to_itself(message.vector);
                Effects::default()
            }
            IcrTarget::Shorthand(shorthand) => Effects { ipi: Some(Ipi { message, shorthand }), eoi_broadcast: None },
        }
    }

    fn send_to_itself(&mut self, vector: u8) {
        if vector < 16 {
            self.detect_error(esr::SEND_ILLEGAL_VECTOR);
        } else if self.is_software_enabled() {
            self.request(vector, TriggerMode::Edge);
        }
    }
}

/// The register offset of an x2APIC MSR. DFR, APR, RRD and the upper ICR are not in the x2APIC register space.
fn x2apic_offset(index: u32) -> Option<u32> {
    let offset = (msr::X2APIC_FIRST..=msr::X2APIC_LAST).contains(&index).then(|| (index - msr::X2APIC_FIRST) << 4)?;
    let absent = matches!(offset, register::DFR | register::APR | register::RRD | register::ICR_HIGH);
    (!absent).then_some(offset)
}
