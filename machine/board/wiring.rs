//! Who is wired to whom: interrupt lines from devices to the 8259 pair and to the I/O APIC.
//!
//! The sources are levels; each controller is told of changes only, since edges matter to it.

use serde::{Deserialize, Serialize};
use undercroft_platform::chipset::hpet;
use undercroft_platform::device::Msi;
use undercroft_platform::irq::io_apic::IoApic;
use undercroft_platform::irq::pic_i8259::PicPair;

/// ISA interrupt requests.
pub(super) mod irq {
    /// The timer.
    pub const TIMER: u8 = 0;
    /// The keyboard.
    pub const KEYBOARD: u8 = 1;
    /// The first serial port.
    pub const SERIAL_1: u8 = 4;
    /// The second serial port.
    pub const SERIAL_2: u8 = 3;
    /// The real-time clock.
    pub const RTC: u8 = 8;
    /// The mouse.
    pub const MOUSE: u8 = 12;
}

/// Input of the I/O APIC to which the timer's IRQ0 goes.
const IO_APIC_TIMER: u8 = 2;
/// First input of the I/O APIC for PCI interrupts.
const IO_APIC_PIRQ: u8 = 16;
/// Inputs of the I/O APIC whose wires are active low: those of PCI interrupts.
pub(super) const IO_APIC_ACTIVE_LOW: u32 = 0x00ff_0000;

/// The levels on all wires.
#[derive(Clone, PartialEq, Eq, Default, Debug, Serialize, Deserialize)]
pub(super) struct Wiring {
    /// ISA lines as their devices drive them, a bit each.
    isa: u16,
    /// The event timer's outputs, which can take the place of the timer's and the clock's.
    hpet_legacy: bool,
    hpet_isa: u16,
    hpet_io_apic: u32,
    /// The system control interrupt: its level and its line.
    sci: bool,
    sci_irq: u8,
    /// PIRQA# to PIRQH#, and where they reach the 8259s.
    pirqs: u8,
    pirqs_i8259: u16,
    /// What the controllers were told last.
    pic_inputs: u16,
    io_apic_inputs: u32,
}

impl Wiring {
    /// A device drives its ISA line.
    pub fn set_isa(&mut self, irq: u8, level: bool) {
        self.isa = self.isa & !(1 << irq) | u16::from(level) << irq;
    }

    /// The event timer drives its outputs.
    pub fn set_hpet(&mut self, outputs: hpet::Outputs) {
        self.hpet_legacy = outputs.legacy_replacement;
        self.hpet_isa = u16::from(outputs.irq0) << irq::TIMER | u16::from(outputs.irq8) << irq::RTC;
        self.hpet_io_apic = outputs.io_apic;
    }

    /// Power management drives the system control interrupt, which goes to line `irq`.
    pub fn set_sci(&mut self, level: bool, irq: u8) {
        (self.sci, self.sci_irq) = (level, irq & 31);
    }

    /// The PCI bus drives its lines.
    pub fn set_pirqs(&mut self, pirqs: u8, i8259_inputs: u16) {
        (self.pirqs, self.pirqs_i8259) = (pirqs, i8259_inputs);
    }

    fn isa_levels(&self) -> u32 {
        let own =
            if self.hpet_legacy { self.isa & !(1 << irq::TIMER | 1 << irq::RTC) | self.hpet_isa } else { self.isa };
        u32::from(own) | u32::from(self.sci) << self.sci_irq
    }

    /// Tells the controllers what changed. True when that was something for the 8259s.
    pub fn drive(&mut self, pic: &mut PicPair, io_apic: &mut IoApic, messages: &mut Vec<Msi>) -> bool {
        let isa = self.isa_levels();
        let pic_inputs = isa as u16 | self.pirqs_i8259;
        let timer = isa >> irq::TIMER & 1;
        let io_apic_inputs = isa & !(1 << irq::TIMER)
            | timer << IO_APIC_TIMER
            | u32::from(self.pirqs) << IO_APIC_PIRQ
            | self.hpet_io_apic;
        let changed = pic_inputs ^ self.pic_inputs;
        for line in bits(u32::from(changed)) {
            pic.set_input(line, pic_inputs >> line & 1 != 0);
        }
        for pin in bits(io_apic_inputs ^ self.io_apic_inputs) {
            io_apic.set_input(usize::from(pin), io_apic_inputs >> pin & 1 != 0, messages);
        }
        (self.pic_inputs, self.io_apic_inputs) = (pic_inputs, io_apic_inputs);
        changed != 0
    }
}

/// The numbers of the bits that are set.
fn bits(mut set: u32) -> impl Iterator<Item = u8> {
    std::iter::from_fn(move || {
        let bit = set.trailing_zeros() as u8;
        set &= set.wrapping_sub(1);
        (bit < 32).then_some(bit)
    })
}
