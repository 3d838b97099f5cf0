//! ACPI power management of the ICH9: PM1a event and control blocks, PM timer, GPE0 block, SMI registers.
//!
//! Manuals: Intel I/O Controller Hub 9 data sheet, "Power Management I/O Registers"; ACPI specification, "ACPI Hardware Specification".
//! The board wires [`Pm::sci`] (level) and asks for [`Pm::take_power_request`] after each write. System management mode is not modelled: when
//! software uses the APM control port to switch to ACPI mode, the device itself does what a firmware's SMI handler would (set or clear SCI_EN).
//! TCO, alternate GPIO SMI and device-monitor registers are not implemented: they read as 0 and ignore writes.
//!
//! Register offsets: 0-7Fh from PMBASE; 80h-81h the APM control and status ports (B2h-B3h).

use crate::clock::Tick;
use crate::device::{Context, Registers, Reset, Timed, byte_lanes};
use serde::{Deserialize, Serialize};

/// Frequency of the PM timer.
pub const PM_TIMER_HZ: u64 = 3_579_545;
/// Value of the APM control port that switches to ACPI mode (FADT, ACPI_ENABLE).
pub const ACPI_ENABLE: u8 = 0x02;
/// Value of the APM control port that leaves ACPI mode (FADT, ACPI_DISABLE).
pub const ACPI_DISABLE: u8 = 0x03;

/// Offsets.
mod offset {
    pub const PM1_STS: u64 = 0x00;
    pub const PM1_EN: u64 = 0x02;
    pub const PM1_CNT: u64 = 0x04;
    pub const PM1_TMR: u64 = 0x08;
    pub const GPE0_STS: u64 = 0x20;
    pub const GPE0_EN: u64 = 0x28;
    pub const SMI_EN: u64 = 0x30;
    pub const SMI_STS: u64 = 0x34;
    pub const APM_CNT: u64 = 0x80;
    pub const APM_STS: u64 = 0x81;
}
/// PM1 status and enable.
mod pm1 {
    pub const TMR: u16 = 1 << 0;
    pub const GBL: u16 = 1 << 5;
    pub const PWRBTN: u16 = 1 << 8;
    pub const RTC: u16 = 1 << 10;
    pub const WAK: u16 = 1 << 15;
    pub const STATUS: u16 = TMR | 1 << 4 | GBL | PWRBTN | RTC | 1 << 11 | 1 << 14 | WAK;
    pub const ENABLE: u16 = TMR | GBL | PWRBTN | RTC | 1 << 14;
    /// Events that raise an SCI.
    pub const EVENTS: u16 = TMR | GBL | PWRBTN | RTC;
}
/// PM1 control.
mod pm1_cnt {
    pub const SCI_EN: u32 = 1 << 0;
    pub const SLP_TYP_SHIFT: u32 = 10;
    pub const SLP_EN: u32 = 1 << 13;
    /// SCI_EN, BM_RLD, SLP_TYP. GBL_RLS and SLP_EN are write-only.
    pub const KEPT: u32 = SCI_EN | 1 << 1 | 7 << SLP_TYP_SHIFT;
}
/// SMI control and status.
mod smi {
    pub const GBL_SMI_EN: u32 = 1 << 0;
    pub const APMC: u32 = 1 << 5;
    /// BIOS_EN, LEGACY_USB_EN, SLP_SMI_EN, APMC_EN, SWSMI_TMR_EN, MCSMI_EN, TCO_EN, PERIODIC_EN, and GBL_SMI_EN.
    pub const WRITABLE: u32 = 0x0000_687d;
}

/// Width of the PM timer, FADT flag TMR_VAL_EXT.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum TimerWidth {
    /// 24 bits, as the ICH9 has.
    Bits24,
    /// 32 bits.
    Bits32,
}

/// Whether software finds the machine in ACPI mode.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum InitialMode {
    /// SCI_EN is clear after reset: software uses the APM control port.
    Legacy,
    /// SCI_EN is set, as when firmware has switched already (FADT with SMI_CMD 0).
    Acpi,
}

/// What the board fixes.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Configuration {
    /// Timer width.
    pub timer_width: TimerWidth,
    /// Mode after reset.
    pub initial_mode: InitialMode,
}

/// A sleep state that software entered by SLP_EN. "Sleep Type" encodings of the ICH9.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum PowerRequest {
    /// S1, SLP_TYP 1.
    PowerOnSuspend,
    /// S3, SLP_TYP 5.
    SuspendToRam,
    /// S4, SLP_TYP 6.
    SuspendToDisk,
    /// S5, SLP_TYP 7: power off.
    SoftOff,
}

/// The power-management block.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Pm {
    // configuration
    configuration: Configuration,
    // state
    pm1_sts: u16,
    pm1_en: u16,
    pm1_cnt: u32,
    gpe0_sts: u64,
    gpe0_en: u64,
    smi_en: u32,
    smi_sts: u32,
    apm_cnt: u8,
    apm_sts: u8,
    /// Half periods of the PM timer seen so far: its most significant bit changes with each.
    halves: u64,
    next: Option<Tick>,
    // outputs
    power_request: Option<PowerRequest>,
}

impl Pm {
    /// After power-on.
    pub fn new(configuration: Configuration) -> Self {
        let sci_en = match configuration.initial_mode {
            InitialMode::Legacy => 0,
            InitialMode::Acpi => pm1_cnt::SCI_EN,
        };
        Self {
            configuration,
            pm1_sts: 0,
            pm1_en: 0,
            pm1_cnt: sci_en,
            gpe0_sts: 0,
            gpe0_en: 0,
            smi_en: 0,
            smi_sts: 0,
            apm_cnt: 0,
            apm_sts: 0,
            halves: 0,
            next: None,
            power_request: None,
        }
    }

    /// The system control interrupt, a level.
    pub fn sci(&self) -> bool {
        let fixed = self.pm1_sts & self.pm1_en & pm1::EVENTS != 0;
        self.pm1_cnt & pm1_cnt::SCI_EN != 0 && (fixed || self.gpe0_sts & self.gpe0_en != 0)
    }

    /// Whether SMI# would be asserted: by the APM control port, if enabled.
    pub fn smi(&self) -> bool {
        self.smi_en & smi::GBL_SMI_EN != 0 && self.smi_en & self.smi_sts & smi::APMC != 0
    }

    /// The sleep state entered since the last call.
    pub fn take_power_request(&mut self) -> Option<PowerRequest> {
        self.power_request.take()
    }

    /// Somebody presses the power button.
    pub fn press_power_button(&mut self) {
        self.pm1_sts |= pm1::PWRBTN
    }

    /// The machine wakes from a sleep state that the board honoured.
    pub fn wake(&mut self) {
        self.pm1_sts |= pm1::WAK
    }

    /// The RTC's alarm, as a fixed event.
    pub fn rtc_alarm(&mut self) {
        self.pm1_sts |= pm1::RTC
    }

    /// A general-purpose event, 0 to 63; other numbers are ignored.
    pub fn raise_gpe(&mut self, event: u8) {
        if event < 64 {
            self.gpe0_sts |= 1 << event;
        }
    }

    fn width(&self) -> u32 {
        match self.configuration.timer_width {
            TimerWidth::Bits24 => 24,
            TimerWidth::Bits32 => 32,
        }
    }

    /// The PM timer.
    pub fn timer(&self, now: Tick) -> u32 {
        (now.to_count(PM_TIMER_HZ) & ((1 << self.width()) - 1)) as u32
    }

    fn catch_up(&mut self, now: Tick) {
        let halves = now.to_count(PM_TIMER_HZ) >> (self.width() - 1);
        if halves != self.halves {
            self.halves = halves;
            self.pm1_sts |= pm1::TMR;
        }
    }

    /// The overflow matters by itself only when it would raise an SCI.
    fn schedule(&mut self) {
        let awaited = self.pm1_en & !self.pm1_sts & pm1::TMR != 0;
        self.next = awaited.then(|| Tick::from_count((self.halves + 1) << (self.width() - 1), PM_TIMER_HZ));
    }

    fn write_pm1_cnt(&mut self, value: u32) {
        self.pm1_cnt = value & pm1_cnt::KEPT;
        if value & pm1_cnt::SLP_EN != 0 {
            self.power_request = match value >> pm1_cnt::SLP_TYP_SHIFT & 7 {
                1 => Some(PowerRequest::PowerOnSuspend),
                5 => Some(PowerRequest::SuspendToRam),
                6 => Some(PowerRequest::SuspendToDisk),
                7 => Some(PowerRequest::SoftOff),
                _ => self.power_request,
            };
        }
    }

    fn write_apm_cnt(&mut self, value: u8) {
        self.apm_cnt = value;
        match value {
            ACPI_ENABLE => self.pm1_cnt |= pm1_cnt::SCI_EN,
            ACPI_DISABLE => self.pm1_cnt &= !pm1_cnt::SCI_EN,
            _ => {}
        }
        if self.smi_en & smi::APMC != 0 {
            self.smi_sts |= smi::APMC;
        }
    }

    fn register(&self, now: Tick, at: u64) -> (u64, u64) {
        match at {
            0x00..=0x01 => (offset::PM1_STS, self.pm1_sts.into()),
            0x02..=0x03 => (offset::PM1_EN, self.pm1_en.into()),
            0x04..=0x07 => (offset::PM1_CNT, self.pm1_cnt.into()),
            0x08..=0x0b => (offset::PM1_TMR, self.timer(now).into()),
            0x20..=0x27 => (offset::GPE0_STS, self.gpe0_sts),
            0x28..=0x2f => (offset::GPE0_EN, self.gpe0_en),
            0x30..=0x33 => (offset::SMI_EN, self.smi_en.into()),
            0x34..=0x37 => (offset::SMI_STS, self.smi_sts.into()),
            offset::APM_CNT => (offset::APM_CNT, self.apm_cnt.into()),
            offset::APM_STS => (offset::APM_STS, self.apm_sts.into()),
            _ => (at, 0),
        }
    }
}

impl Registers for Pm {
    fn read(&mut self, cx: &mut Context<'_>, offset: u64, size: u8) -> u64 {
        self.catch_up(cx.now);
        self.schedule();
        byte_lanes::read_bytes(offset, size, |at| {
            let (base, value) = self.register(cx.now, at);
            (value >> (8 * (at - base))) as u8
        })
    }

    fn write(&mut self, cx: &mut Context<'_>, offset: u64, size: u8, value: u64) {
        self.catch_up(cx.now);
        // The bits of this write that fall into a register, and which of its bits it covers.
        let covered = |base, width| byte_lanes::merge(0, base, width, offset, size, u64::MAX);
        let written = |base, width| byte_lanes::merge(0, base, width, offset, size, value);
        let replace = |old: u64, base, width| old & !covered(base, width) | written(base, width);

        self.pm1_sts &= !(written(offset::PM1_STS, 2) as u16 & pm1::STATUS);
        self.pm1_en = replace(self.pm1_en.into(), offset::PM1_EN, 2) as u16 & pm1::ENABLE;
        self.gpe0_sts &= !written(offset::GPE0_STS, 8);
        self.gpe0_en = replace(self.gpe0_en, offset::GPE0_EN, 8);
        self.smi_en = replace(self.smi_en.into(), offset::SMI_EN, 4) as u32 & smi::WRITABLE;
        self.smi_sts &= !(written(offset::SMI_STS, 4) as u32);
        if covered(offset::PM1_CNT, 4) != 0 {
            self.write_pm1_cnt(replace(self.pm1_cnt.into(), offset::PM1_CNT, 4) as u32);
        }
        if covered(offset::APM_STS, 1) != 0 {
            self.apm_sts = written(offset::APM_STS, 1) as u8;
        }
        if covered(offset::APM_CNT, 1) != 0 {
            self.write_apm_cnt(written(offset::APM_CNT, 1) as u8);
        }
        self.schedule();
    }
}

impl Timed for Pm {
    fn next_event(&self) -> Option<Tick> {
        self.next
    }

    fn advance(&mut self, cx: &mut Context<'_>) {
        self.catch_up(cx.now);
        self.schedule();
    }
}

impl Reset for Pm {
    fn reset(&mut self) {
        let Self {
            configuration,
            pm1_sts: _,
            pm1_en: _,
            pm1_cnt: _,
            gpe0_sts: _,
            gpe0_en: _,
            smi_en: _,
            smi_sts: _,
            apm_cnt: _,
            apm_sts: _,
            halves: _,
            next: _,
            power_request: _,
        } = self;
        *self = Self::new(*configuration);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::device::conformance::{Bench, conformance};

    fn legacy() -> Pm {
        Pm::new(Configuration { timer_width: TimerWidth::Bits24, initial_mode: InitialMode::Legacy })
    }

    conformance!(legacy(), registers = 0x82, timed);

    fn readw(d: &mut Pm, b: &mut Bench, offset: u64) -> u16 {
        d.read(&mut b.cx(), offset, 2) as u16
    }
    fn writew(d: &mut Pm, b: &mut Bench, offset: u64, value: u16) {
        d.write(&mut b.cx(), offset, 2, value.into())
    }

    #[test]
    fn timer_counts_24_bits_of_its_frequency() {
        let (mut d, mut b) = (legacy(), Bench::new());
        b.now = 1_000_000_000;
        assert_eq!(b.readl(&mut d, 8), 3_579_545);
        b.now = Tick::from_count((1 << 24) + 5, PM_TIMER_HZ).0;
        assert_eq!(b.readl(&mut d, 8), 5);
        b.writel(&mut d, 8, 0);
        assert_eq!(b.readl(&mut d, 8), 5, "read-only");
    }

    #[test]
    fn timer_overflow_raises_sci_when_enabled() {
        let (mut d, mut b) = (legacy(), Bench::new());
        assert_eq!(d.next_event(), None);
        b.outb(&mut d, 0x80, ACPI_ENABLE);
        assert_eq!(readw(&mut d, &mut b, 4), 1);
        writew(&mut d, &mut b, 2, 1);
        let half = Tick::from_count(1 << 23, PM_TIMER_HZ);
        assert_eq!(d.next_event(), Some(half));
        b.run_until(&mut d, half.0, |_, _| {});
        assert!(d.sci());
        assert_eq!((readw(&mut d, &mut b, 0), d.next_event()), (1, None));
        writew(&mut d, &mut b, 0, 1);
        assert!(!d.sci());
        assert_eq!(d.next_event(), Some(Tick::from_count(2 << 23, PM_TIMER_HZ)));
    }

    #[test]
    fn slp_en_with_soft_off_type_asks_for_power_off() {
        let (mut d, mut b) = (legacy(), Bench::new());
        writew(&mut d, &mut b, 4, 7 << 10);
        assert_eq!(d.take_power_request(), None);
        writew(&mut d, &mut b, 4, 7 << 10 | 1 << 13);
        assert_eq!(d.take_power_request(), Some(PowerRequest::SoftOff));
        assert_eq!(readw(&mut d, &mut b, 4), 7 << 10, "SLP_EN reads 0");
        assert_eq!(d.take_power_request(), None);
    }

    #[test]
    fn power_button_is_an_sci_only_in_acpi_mode() {
        let (mut d, mut b) = (legacy(), Bench::new());
        writew(&mut d, &mut b, 2, 1 << 8);
        d.press_power_button();
        assert!(!d.sci());
        b.outb(&mut d, 0x80, ACPI_ENABLE);
        assert!(d.sci());
        writew(&mut d, &mut b, 0, 1 << 8);
        assert!(!d.sci());
    }

    #[test]
    fn gpe_bytes_are_enabled_and_cleared_one_by_one() {
        let (mut d, mut b) = (legacy(), Bench::new());
        b.outb(&mut d, 0x80, ACPI_ENABLE);
        d.raise_gpe(9);
        d.raise_gpe(64);
        assert!(!d.sci());
        b.outb(&mut d, 0x29, 0x02);
        assert!(d.sci());
        assert_eq!(b.inb(&mut d, 0x21), 0x02);
        b.outb(&mut d, 0x21, 0x02);
        assert!(!d.sci());
        assert_eq!(b.readl(&mut d, 0x28), 0x0200);
    }

    #[test]
    fn apm_port_asserts_smi_when_enabled() {
        let (mut d, mut b) = (legacy(), Bench::new());
        b.writel(&mut d, 0x30, smi::GBL_SMI_EN | smi::APMC);
        b.outb(&mut d, 0x80, 0x77);
        assert!(d.smi());
        assert_eq!(b.inb(&mut d, 0x80), 0x77);
        b.writel(&mut d, 0x34, smi::APMC);
        assert!(!d.smi());
    }
}
