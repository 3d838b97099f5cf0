//! The local APIC: interrupt acceptance, priorities and delivery to its processor.
//! SDM volume 3, "Advanced Programmable Interrupt Controller (APIC)".
//!
//! Registers are in [`registers`], the timer in [`timer`], messages and destinations in [`message`]. A local APIC knows no other: what it sends
//! is a value ([`Effects`]) that the machine distributes, and what reaches its processor besides vectors is a value ([`Signal`]).
//! Virtual-APIC and posted interrupts of VMX are not here.

pub mod message;
mod registers;
#[cfg(test)]
mod tests;
pub mod timer;

pub use message::{Destination, DestinationFormat, DestinationMode, Ipi, Message, Peer, Shorthand};
pub use timer::{Moment, TimerEvent};

use serde::{Deserialize, Serialize};
use timer::{Timer, TimerMode};
use undercroft_spec::apic::{DeliveryMode, TriggerMode, base, esr, lvt, svr};

/// What differs between the local APICs of a machine.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Configuration {
    /// Initial APIC ID, 32 bits in x2APIC mode, its low 8 bits in xAPIC mode.
    pub initial_id: u32,
    /// Whether the processor is the bootstrap processor after reset.
    pub is_bootstrap: bool,
    /// Frequency of the timer before division: the core crystal clock of CPUID leaf 15H.
    pub timer_hz: u64,
    /// MAXPHYADDR, which bounds the base address.
    pub physical_address_bits: u8,
}

/// What a write asks of the machine.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
#[must_use]
pub struct Effects {
    /// An IPI to distribute.
    pub ipi: Option<Ipi>,
    /// The vector of a level-triggered interrupt that ended: tell the I/O APICs.
    pub eoi_broadcast: Option<u8>,
}

/// What an interrupt does to the processor other than to make a vector pending.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[must_use]
pub enum Signal {
    /// Nothing; at most a vector became pending.
    None,
    /// Non-maskable interrupt.
    Nmi,
    /// System-management interrupt.
    Smi,
    /// INIT.
    Init,
    /// Start-up IPI with its vector.
    StartUp(u8),
    /// An interrupt whose vector an interrupt acknowledge to the 8259A gives.
    ExtInt,
}

/// The access raises #GP(0).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct GeneralProtection;

/// The modes of IA32_APIC_BASE.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Mode {
    /// Globally disabled: LINT0 and LINT1 are INTR and NMI.
    Disabled,
    /// Registers in memory.
    Xapic,
    /// Registers in MSRs.
    X2apic,
}

/// Local interrupt pins.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Lint {
    /// LINT0, or INTR.
    Lint0 = 0,
    /// LINT1, or NMI.
    Lint1 = 1,
}

/// Local sources besides the timer, the pins and errors.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum LocalSource {
    /// Corrected machine check.
    Cmci,
    /// Thermal sensor.
    Thermal,
    /// Performance-monitoring counter overflow; masks its entry.
    Performance,
}

/// Entries of the local vector table, in the order of `LocalApic::lvt`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Lvt {
    Cmci,
    Timer,
    Thermal,
    Performance,
    Lint0,
    Lint1,
    Error,
}

impl Lvt {
    fn of_pin(pin: Lint) -> Self {
        match pin {
            Lint::Lint0 => Self::Lint0,
            Lint::Lint1 => Self::Lint1,
        }
    }
}

/// Number of LVT entries.
const LVT_ENTRIES: usize = 7;

/// 256 bits, one a vector.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug, Serialize, Deserialize)]
struct VectorSet([u32; 8]);

impl VectorSet {
    fn contains(&self, vector: u8) -> bool {
        self.0[usize::from(vector >> 5)] >> (vector & 31) & 1 != 0
    }
    fn insert(&mut self, vector: u8) {
        self.0[usize::from(vector >> 5)] |= 1 << (vector & 31)
    }
    fn remove(&mut self, vector: u8) {
        self.0[usize::from(vector >> 5)] &= !(1 << (vector & 31))
    }
    fn highest(&self) -> Option<u8> {
        let word = (0..8).rev().find(|&word| self.0[word] != 0)?;
        Some((word as u8) << 5 | (31 - self.0[word].leading_zeros()) as u8)
    }
}

/// A local APIC.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct LocalApic {
    // configuration
    configuration: Configuration,
    // connections: the pins as the board drives them
    lint_levels: [bool; 2],
    // state
    apic_base: u64,
    task_priority: u8,
    logical_destination: u32,
    destination_format: u32,
    spurious: u32,
    in_service: VectorSet,
    trigger_mode: VectorSet,
    requested: VectorSet,
    error_status: u32,
    errors: u32,
    icr: u64,
    lvt: [u32; LVT_ENTRIES],
    timer: Timer,
}

impl LocalApic {
    /// After power-on.
    pub fn new(configuration: Configuration) -> Self {
        let mut apic = Self {
            configuration,
            lint_levels: [false; 2],
            apic_base: 0,
            task_priority: 0,
            logical_destination: 0,
            destination_format: 0,
            spurious: 0,
            in_service: VectorSet::default(),
            trigger_mode: VectorSet::default(),
            requested: VectorSet::default(),
            error_status: 0,
            errors: 0,
            icr: 0,
            lvt: [0; LVT_ENTRIES],
            timer: Timer::new(configuration.timer_hz),
        };
        apic.reset();
        apic
    }

    /// Power-up or reset: globally enabled in xAPIC mode.
    pub fn reset(&mut self) {
        self.apic_base = base::DEFAULT_ADDRESS | base::EN | if self.configuration.is_bootstrap { base::BSP } else { 0 };
        self.init();
    }

    /// INIT: everything but IA32_APIC_BASE and the ID. "Local APIC State After an INIT Reset".
    pub fn init(&mut self) {
        let Self {
            configuration: _,
            lint_levels: _,
            apic_base: _,
            task_priority,
            logical_destination,
            destination_format,
            spurious,
            in_service,
            trigger_mode,
            requested,
            error_status,
            errors,
            icr,
            lvt,
            timer,
        } = self;
        *task_priority = 0;
        *logical_destination = 0;
        *destination_format = u32::MAX;
        *spurious = 0xff;
        for set in [in_service, trigger_mode, requested] {
            *set = VectorSet::default();
        }
        (*error_status, *errors, *icr) = (0, 0, 0);
        *lvt = [lvt::MASK; LVT_ENTRIES];
        timer.reset();
    }

    /// The mode that IA32_APIC_BASE selects.
    pub fn mode(&self) -> Mode {
        match (self.apic_base & base::EN != 0, self.apic_base & base::EXTD != 0) {
            (false, _) => Mode::Disabled,
            (true, false) => Mode::Xapic,
            (true, true) => Mode::X2apic,
        }
    }

    /// Where the register page is, in xAPIC mode; otherwise there is none.
    pub fn register_page(&self) -> Option<u64> {
        (self.mode() == Mode::Xapic).then_some(self.apic_base & !base::FLAGS)
    }

    /// IA32_APIC_BASE.
    pub fn apic_base(&self) -> u64 {
        self.apic_base
    }

    /// A write of IA32_APIC_BASE. "x2APIC State Transitions".
    pub fn write_apic_base(&mut self, value: u64) -> Result<(), GeneralProtection> {
        let address = (1u64.checked_shl(self.configuration.physical_address_bits.into()).unwrap_or(0)).wrapping_sub(1);
        if value & !(address & !base::FLAGS | base::BSP | base::EXTD | base::EN) != 0 {
            return Err(GeneralProtection);
        }
        let target = (value & base::EN != 0, value & base::EXTD != 0);
        match (self.mode(), target) {
            (_, (false, true)) | (Mode::Disabled, (true, true)) | (Mode::X2apic, (true, false)) => {
                return Err(GeneralProtection);
            }
            (Mode::Xapic | Mode::X2apic, (false, false)) => self.init(),
            // Neither the logical destination nor the upper half of the ICR survives.
            (Mode::Xapic, (true, true)) => {
                self.logical_destination = 0;
                self.icr &= 0xffff_ffff;
            }
            _ => {}
        }
        self.apic_base = value;
        Ok(())
    }

    /// The local APIC ID as the mode shows it: 32 bits in x2APIC mode, else 8.
    pub fn id(&self) -> u32 {
        match self.mode() {
            Mode::X2apic => self.configuration.initial_id,
            _ => self.configuration.initial_id & 0xff,
        }
    }

    /// Whether the APIC is enabled globally and by SVR.
    pub fn is_software_enabled(&self) -> bool {
        self.mode() != Mode::Disabled && self.spurious & svr::ENABLE != 0
    }

    /// "Determining IPI Destination": whether a message to `destination` is for this local APIC.
    pub fn accepts(&self, destination: Destination) -> bool {
        let broadcast = match destination.format {
            DestinationFormat::Xapic => 0xff,
            DestinationFormat::X2apic => u32::MAX,
        };
        match (self.mode(), destination.mode) {
            (Mode::Disabled, _) => false,
            _ if destination.id == broadcast => true,
            (_, DestinationMode::Physical) => destination.id == self.id(),
            (Mode::X2apic, DestinationMode::Logical) => {
                message::accepts_x2apic_logical(message::x2apic_logical_id(self.id()), destination.id)
            }
            (Mode::Xapic, DestinationMode::Logical) => {
                let (own, theirs) = ((self.logical_destination >> 24) as u8, destination.id as u8);
                match self.destination_format >> 28 {
                    0xf => message::accepts_flat(own, theirs),
                    0x0 => message::accepts_cluster(own, theirs),
                    _ => false,
                }
            }
        }
    }

    /// A message that this APIC accepts arrives.
    pub fn deliver(&mut self, delivery_mode: DeliveryMode, vector: u8, trigger_mode: TriggerMode) -> Signal {
        if self.mode() == Mode::Disabled {
            return Signal::None;
        }
        match delivery_mode {
            DeliveryMode::Fixed | DeliveryMode::LowestPriority => {
                if self.is_software_enabled() {
                    self.request(vector, trigger_mode);
                }
                Signal::None
            }
            DeliveryMode::Smi => Signal::Smi,
            DeliveryMode::Nmi => Signal::Nmi,
            DeliveryMode::Init => Signal::Init,
            DeliveryMode::StartUp => Signal::StartUp(vector),
            DeliveryMode::ExtInt => Signal::ExtInt,
        }
    }

    /// "Interrupt Acceptance for Fixed Interrupts".
    fn request(&mut self, vector: u8, trigger_mode: TriggerMode) {
        if vector < 16 {
            return self.detect_error(esr::RECEIVED_ILLEGAL_VECTOR);
        }
        self.requested.insert(vector);
        match trigger_mode {
            TriggerMode::Edge => self.trigger_mode.remove(vector),
            TriggerMode::Level => self.trigger_mode.insert(vector),
        }
    }

    /// "Error Handling". An error of a kind not yet detected since the last write of ESR raises the error interrupt.
    fn detect_error(&mut self, error: u32) {
        if self.errors & error == 0 {
            self.errors |= error;
            let entry = self.lvt[Lvt::Error as usize];
            let vector = (entry & lvt::VECTOR) as u8;
            if entry & lvt::MASK == 0 && vector < 16 {
                self.errors |= esr::RECEIVED_ILLEGAL_VECTOR;
            } else if entry & lvt::MASK == 0 {
                self.request(vector, TriggerMode::Edge);
            }
        }
    }

    /// The processor-priority register. "Task and Processor Priorities".
    pub fn processor_priority(&self) -> u8 {
        let serving = self.in_service.highest().unwrap_or(0);
        if self.task_priority >> 4 >= serving >> 4 { self.task_priority } else { serving & 0xf0 }
    }

    /// The arbitration-priority register.
    pub fn arbitration_priority(&self) -> u8 {
        let requested = self.requested.highest().unwrap_or(0) >> 4;
        let serving = self.in_service.highest().unwrap_or(0) >> 4;
        if self.task_priority >> 4 >= requested && self.task_priority >> 4 > serving {
            self.task_priority
        } else {
            (self.task_priority >> 4).max(serving).max(requested) << 4
        }
    }

    /// The vector that the processor would be given now: the highest requested one whose class is above the processor priority's.
    pub fn pending_interrupt(&self) -> Option<u8> {
        let vector = self.requested.highest()?;
        (vector >> 4 > self.processor_priority() >> 4).then_some(vector)
    }

    /// The processor takes the pending interrupt: its vector goes into service. Without one it gets the spurious-interrupt
    /// vector, which needs no EOI.
    pub fn acknowledge(&mut self) -> u8 {
        let Some(vector) = self.pending_interrupt() else { return (self.spurious & lvt::VECTOR) as u8 };
        self.requested.remove(vector);
        self.in_service.insert(vector);
        vector
    }

    /// "Signaling Interrupt Servicing Completion".
    fn end_of_interrupt(&mut self) -> Effects {
        let Some(vector) = self.in_service.highest() else { return Effects::default() };
        self.in_service.remove(vector);
        if !self.trigger_mode.contains(vector) {
            return Effects::default();
        }
        for pin in [Lint::Lint0, Lint::Lint1] {
            let entry = &mut self.lvt[Lvt::of_pin(pin) as usize];
            if *entry & lvt::REMOTE_IRR != 0 && (*entry & lvt::VECTOR) as u8 == vector {
                *entry &= !lvt::REMOTE_IRR;
                self.sample_level(pin);
            }
        }
        let suppressed = self.spurious & svr::SUPPRESS_EOI_BROADCAST != 0;
        Effects { ipi: None, eoi_broadcast: (!suppressed).then_some(vector) }
    }

    /// The task-priority class, CR8.
    pub fn cr8(&self) -> u8 {
        self.task_priority >> 4
    }

    /// MOV to CR8, its low four bits.
    pub fn write_cr8(&mut self, class: u8) {
        self.task_priority = class << 4
    }

    /// Drives a local interrupt pin. A rise of LINT0 with ExtINT gives no signal: ask [`Self::ext_int`].
    pub fn set_lint(&mut self, pin: Lint, level: bool) -> Signal {
        let was_active = self.lint_is_active(pin);
        self.lint_levels[pin as usize] = level;
        let is_active = self.lint_is_active(pin);
        if self.mode() == Mode::Disabled {
            return if pin == Lint::Lint1 && is_active && !was_active { Signal::Nmi } else { Signal::None };
        }
        let entry = self.lvt[Lvt::of_pin(pin) as usize];
        if entry & lvt::MASK != 0 || !is_active || was_active {
            return Signal::None;
        }
        match DeliveryMode::from_bits((entry >> lvt::DELIVERY_MODE_SHIFT) as u8) {
            Some(DeliveryMode::Fixed) if entry & lvt::LEVEL != 0 => self.sample_level(pin),
            Some(mode @ (DeliveryMode::Fixed | DeliveryMode::Nmi | DeliveryMode::Smi | DeliveryMode::Init)) => {
                return self.deliver(mode, entry as u8, TriggerMode::Edge);
            }
            _ => {}
        }
        Signal::None
    }

    fn lint_is_active(&self, pin: Lint) -> bool {
        let active_low = self.mode() != Mode::Disabled && self.lvt[Lvt::of_pin(pin) as usize] & lvt::ACTIVE_LOW != 0;
        self.lint_levels[pin as usize] != active_low
    }

    /// A pin with a level-triggered fixed interrupt requests it while active, once an EOI.
    fn sample_level(&mut self, pin: Lint) {
        let index = Lvt::of_pin(pin) as usize;
        let entry = self.lvt[index];
        let fixed = entry & lvt::DELIVERY_MODE == 0;
        if fixed && entry & (lvt::MASK | lvt::REMOTE_IRR) == 0 && entry & lvt::LEVEL != 0 && self.lint_is_active(pin) {
            let vector = (entry & lvt::VECTOR) as u8;
            if vector >= 16 {
                self.lvt[index] |= lvt::REMOTE_IRR;
            }
            self.request(vector, TriggerMode::Level);
        }
    }

    /// Whether an external interrupt controller on LINT0 or LINT1 requests an interrupt whose vector it gives itself.
    /// With the APIC disabled LINT0 is INTR.
    pub fn ext_int(&self) -> bool {
        if self.mode() == Mode::Disabled {
            return self.lint_levels[0];
        }
        [Lint::Lint0, Lint::Lint1].into_iter().any(|pin| {
            let entry = self.lvt[Lvt::of_pin(pin) as usize];
            let ext_int = (DeliveryMode::ExtInt as u32) << lvt::DELIVERY_MODE_SHIFT;
            entry & (lvt::MASK | lvt::DELIVERY_MODE) == ext_int && self.lint_is_active(pin)
        })
    }

    /// A local source asks for its interrupt.
    pub fn raise(&mut self, source: LocalSource) -> Signal {
        let index = match source {
            LocalSource::Cmci => Lvt::Cmci,
            LocalSource::Thermal => Lvt::Thermal,
            LocalSource::Performance => Lvt::Performance,
        } as usize;
        let entry = self.lvt[index];
        if entry & lvt::MASK != 0 {
            return Signal::None;
        }
        if source == LocalSource::Performance {
            self.lvt[index] |= lvt::MASK;
        }
        match DeliveryMode::from_bits((entry >> lvt::DELIVERY_MODE_SHIFT) as u8) {
            Some(mode @ (DeliveryMode::Fixed | DeliveryMode::Nmi | DeliveryMode::Smi | DeliveryMode::Init)) => {
                self.deliver(mode, entry as u8, TriggerMode::Edge)
            }
            _ => Signal::None,
        }
    }

    /// When the timer changes next without being accessed.
    pub fn next_event(&self) -> Option<TimerEvent> {
        self.timer.next_event()
    }

    /// Time has reached `now`: the timer's interrupt is requested if due.
    pub fn advance(&mut self, now: Moment) {
        if self.timer.advance(now) {
            // The entry is not masked, or nothing would be due.
            self.request(self.lvt[Lvt::Timer as usize] as u8, TriggerMode::Edge);
        }
    }

    /// IA32_TSC_DEADLINE: 0 when disarmed or in another mode.
    pub fn tsc_deadline(&self) -> u64 {
        self.timer.deadline()
    }

    /// A write of IA32_TSC_DEADLINE; ignored in other timer modes, 0 disarms. A deadline in the past is due at once.
    pub fn write_tsc_deadline(&mut self, deadline: u64) {
        self.timer.write_deadline(deadline)
    }

    fn configure_timer(&mut self, now: Moment) {
        let entry = self.lvt[Lvt::Timer as usize];
        self.timer.configure(now, TimerMode::from_lvt(entry), entry & lvt::MASK != 0);
    }
}
