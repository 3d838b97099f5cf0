//! The I/O APIC: 24 inputs, each with a redirection entry that says which message it sends.
//!
//! Manuals: Intel 82093AA data sheet; Intel I/O Controller Hub 9 data sheet, "Advanced Programmable Interrupt Controller (APIC)" (EOI register).
//! The board drives [`IoApic::set_input`] and passes EOI broadcasts to [`IoApic::eoi`]; messages are writes into the interrupt address range,
//! built from the entry bit by bit, so that an entry in remappable format (VT-d) makes a message in remappable format.

use crate::device::{Context, Msi, Registers, Reset, byte_lanes};
use serde::{Deserialize, Serialize};
use undercroft_spec::apic::{DeliveryMode, msi};

/// Number of inputs.
pub const INPUTS: usize = 24;

/// Offsets in the register page.
mod window {
    pub const IOREGSEL: u64 = 0x00;
    pub const IOWIN: u64 = 0x10;
    pub const EOIR: u64 = 0x40;
}
/// Indirect registers.
mod register {
    pub const ID: u8 = 0x00;
    pub const VERSION: u8 = 0x01;
    pub const ARBITRATION: u8 = 0x02;
    pub const REDIRECTION_FIRST: u8 = 0x10;
    pub const REDIRECTION_LAST: u8 = 0x3f;
}
/// A redirection entry.
mod entry {
    pub const VECTOR: u64 = 0xff;
    pub const LOGICAL: u64 = 1 << 11;
    pub const ACTIVE_LOW: u64 = 1 << 13;
    pub const REMOTE_IRR: u64 = 1 << 14;
    pub const LEVEL: u64 = 1 << 15;
    pub const MASK: u64 = 1 << 16;
    /// Destination ID (63:56) and extended destination ID; in remappable format the handle and its format bit.
    pub const DESTINATION_SHIFT: u32 = 48;
    pub const WRITABLE: u64 = 0xffff_0000_0001_afff;
}

/// Version 20h with 24 entries: has an EOI register.
const VERSION: u32 = 0x0017_0020;

/// What the board fixes.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Configuration {
    /// I/O APIC ID after reset.
    pub id: u8,
    /// Inputs whose wire is active low (PCI interrupt pins): asserted is the low level there.
    pub active_low_wires: u32,
}

/// An I/O APIC.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct IoApic {
    // configuration
    configuration: Configuration,
    // connections: the inputs as the board asserts them
    asserted: u32,
    // state
    id: u8,
    select: u8,
    entries: [u64; INPUTS],
}

impl IoApic {
    /// After power-on: everything masked.
    pub fn new(configuration: Configuration) -> Self {
        Self { configuration, asserted: 0, id: configuration.id & 0xf, select: 0, entries: [entry::MASK; INPUTS] }
    }

    /// Asserts or deasserts the wire of input `pin`; others than 0 to 23 are ignored. Messages go to `out`.
    ///
    /// An edge on a masked input is lost, as the manual says.
    pub fn set_input(&mut self, pin: usize, asserted: bool, out: &mut Vec<Msi>) {
        if pin >= INPUTS || (self.asserted >> pin & 1 != 0) == asserted {
            return;
        }
        let was_active = self.is_active(pin);
        self.asserted ^= 1 << pin;
        if self.is_level(pin) {
            self.sample(pin, out);
        } else if !was_active && self.is_active(pin) && self.entries[pin] & entry::MASK == 0 {
            self.send(pin, out);
        }
    }

    /// A local APIC ended a level-triggered interrupt with `vector`.
    pub fn eoi(&mut self, vector: u8, out: &mut Vec<Msi>) {
        for pin in 0..INPUTS {
            let entry = self.entries[pin];
            if entry & entry::REMOTE_IRR != 0 && entry & entry::VECTOR == u64::from(vector) {
                self.entries[pin] &= !entry::REMOTE_IRR;
                self.sample(pin, out);
            }
        }
    }

    /// The redirection entry of `pin`, for people who look at the machine.
    pub fn redirection_entry(&self, pin: usize) -> Option<u64> {
        self.entries.get(pin).copied()
    }

    /// The electrical level, compared with the polarity that the entry expects.
    fn is_active(&self, pin: usize) -> bool {
        let high = (self.asserted ^ self.configuration.active_low_wires) >> pin & 1 != 0;
        high != (self.entries[pin] & entry::ACTIVE_LOW != 0)
    }

    /// Only fixed and lowest-priority interrupts can be level-triggered; others are edges whatever the entry says.
    fn is_level(&self, pin: usize) -> bool {
        let mode = DeliveryMode::from_bits((self.entries[pin] >> 8) as u8 & 7);
        self.entries[pin] & entry::LEVEL != 0
            && matches!(mode, Some(DeliveryMode::Fixed | DeliveryMode::LowestPriority))
    }

    /// A level-triggered input sends when it is active and nobody serves it.
    fn sample(&mut self, pin: usize, out: &mut Vec<Msi>) {
        let idle = self.entries[pin] & (entry::MASK | entry::REMOTE_IRR) == 0;
        if idle && self.is_level(pin) && self.is_active(pin) {
            self.entries[pin] |= entry::REMOTE_IRR;
            self.send(pin, out);
        }
    }

    fn send(&self, pin: usize, out: &mut Vec<Msi>) {
        let entry = self.entries[pin];
        let mut address = msi::ADDRESS_BASE | (entry >> entry::DESTINATION_SHIFT) << 4;
        if entry & entry::LOGICAL != 0 {
            address |= msi::LOGICAL;
        }
        // Vector and delivery mode lie in the same bits of the message.
        let mut data = entry as u32 & 0x7ff | msi::ASSERT;
        if self.is_level(pin) {
            data |= msi::LEVEL;
        }
        out.push(Msi { address, data });
    }

    fn read_selected(&self) -> u32 {
        match self.select {
            register::ID | register::ARBITRATION => u32::from(self.id) << 24,
            register::VERSION => VERSION,
            index @ register::REDIRECTION_FIRST..=register::REDIRECTION_LAST => {
                let (pin, shift) = half(index);
                (self.entries[pin] >> shift) as u32
            }
            _ => 0,
        }
    }

    fn write_selected(&mut self, value: u32, out: &mut Vec<Msi>) {
        match self.select {
            register::ID => self.id = (value >> 24) as u8 & 0xf,
            index @ register::REDIRECTION_FIRST..=register::REDIRECTION_LAST => {
                let (pin, shift) = half(index);
                let writable = entry::WRITABLE & 0xffff_ffff << shift;
                let mut new = self.entries[pin] & !writable | u64::from(value) << shift & writable;
                // Making an entry edge-triggered forgets the interrupt in service: how software without an EOI register ends one.
                if new & entry::LEVEL == 0 {
                    new &= !entry::REMOTE_IRR;
                }
                self.entries[pin] = new;
                self.sample(pin, out);
            }
            _ => {}
        }
    }
}

/// Which half of which entry an indirect register is: pin and lowest bit.
fn half(index: u8) -> (usize, u32) {
    let index = index - register::REDIRECTION_FIRST;
    (usize::from(index >> 1), 32 * u32::from(index & 1))
}

impl Registers for IoApic {
    fn read(&mut self, _cx: &mut Context<'_>, offset: u64, size: u8) -> u64 {
        let base = offset & !3;
        let value = match base {
            window::IOREGSEL => u32::from(self.select),
            window::IOWIN => self.read_selected(),
            _ => 0,
        };
        byte_lanes::extract(u64::from(value), base, 4, offset, size)
    }

    /// Narrow writes reach the select register only: the data register takes whole doublewords.
    fn write(&mut self, cx: &mut Context<'_>, offset: u64, size: u8, value: u64) {
        match offset {
            window::IOREGSEL => self.select = value as u8,
            window::IOWIN if size >= 4 => self.write_selected(value as u32, cx.msi),
            window::EOIR => self.eoi(value as u8, cx.msi),
            _ => {}
        }
    }
}

impl Reset for IoApic {
    /// The levels of the inputs are the board's and stay.
    fn reset(&mut self) {
        let Self { configuration, asserted, id: _, select: _, entries: _ } = self;
        *self = Self { asserted: *asserted, ..Self::new(*configuration) };
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::device::conformance::{Bench, conformance};

    fn io_apic() -> IoApic {
        IoApic::new(Configuration { id: 0, active_low_wires: 0xff_0000 })
    }

    conformance!(io_apic(), registers = 0x50);

    fn read(io_apic: &mut IoApic, b: &mut Bench, index: u8) -> u32 {
        b.writel(io_apic, 0x00, u32::from(index));
        b.readl(io_apic, 0x10)
    }

    fn write(io_apic: &mut IoApic, b: &mut Bench, index: u8, value: u32) {
        b.writel(io_apic, 0x00, u32::from(index));
        b.writel(io_apic, 0x10, value);
    }

    fn program(io_apic: &mut IoApic, b: &mut Bench, pin: u8, entry: u64) {
        write(io_apic, b, 0x11 + 2 * pin, (entry >> 32) as u32);
        write(io_apic, b, 0x10 + 2 * pin, entry as u32);
    }

    #[test]
    fn power_on_registers_are_those_of_version_20() {
        let (mut d, mut b) = (io_apic(), Bench::new());
        assert_eq!(read(&mut d, &mut b, 1), 0x0017_0020);
        assert_eq!(read(&mut d, &mut b, 0x10), 0x1_0000);
        assert_eq!(read(&mut d, &mut b, 0x3e), 0x1_0000);
        assert_eq!(read(&mut d, &mut b, 0x40), 0);
        write(&mut d, &mut b, 0, 0x0500_0000);
        assert_eq!(read(&mut d, &mut b, 0), 0x0500_0000);
        write(&mut d, &mut b, 0x10, u32::MAX);
        assert_eq!(read(&mut d, &mut b, 0x10), 0x1_afff);
    }

    #[test]
    fn edge_input_sends_one_message_a_rise_and_none_while_masked() {
        let (mut d, mut b) = (io_apic(), Bench::new());
        program(&mut d, &mut b, 2, 0x0300_0000_0000_0830);
        for _ in 0..2 {
            d.set_input(2, true, &mut b.msi);
            d.set_input(2, true, &mut b.msi);
            d.set_input(2, false, &mut b.msi);
        }
        let message = Msi { address: 0xfee0_3004, data: 0x4030 };
        assert_eq!(b.msi, [message, message]);
        program(&mut d, &mut b, 2, 0x0300_0000_0001_0830);
        d.set_input(2, true, &mut b.msi);
        program(&mut d, &mut b, 2, 0x0300_0000_0000_0830);
        assert_eq!(b.msi.len(), 2, "lost");
    }

    #[test]
    fn level_input_sends_again_only_after_eoi() {
        let (mut d, mut b) = (io_apic(), Bench::new());
        program(&mut d, &mut b, 16, 0xa051);
        d.set_input(16, true, &mut b.msi);
        d.set_input(16, false, &mut b.msi);
        d.set_input(16, true, &mut b.msi);
        assert_eq!(b.msi, [Msi { address: 0xfee0_0000, data: 0xc051 }]);
        assert_eq!(read(&mut d, &mut b, 0x30), 0xe051);
        d.eoi(0x52, &mut b.msi);
        assert_eq!(b.msi.len(), 1);
        d.eoi(0x51, &mut b.msi);
        assert_eq!(b.msi.len(), 2, "still asserted");
        d.set_input(16, false, &mut b.msi);
        b.writel(&mut d, 0x40, 0x51);
        assert_eq!((b.msi.len(), read(&mut d, &mut b, 0x30)), (2, 0xa051));
    }

    #[test]
    fn level_input_unmasked_while_asserted_sends() {
        let (mut d, mut b) = (io_apic(), Bench::new());
        program(&mut d, &mut b, 9, 0x1_8061);
        d.set_input(9, true, &mut b.msi);
        assert!(b.msi.is_empty());
        program(&mut d, &mut b, 9, 0x8061);
        assert_eq!(b.msi.len(), 1);
    }

    #[test]
    fn entry_made_edge_triggered_and_back_forgets_remote_irr() {
        let (mut d, mut b) = (io_apic(), Bench::new());
        program(&mut d, &mut b, 9, 0x8061);
        d.set_input(9, true, &mut b.msi);
        program(&mut d, &mut b, 9, 0x1_0061);
        assert_eq!(read(&mut d, &mut b, 0x22), 0x1_0061);
        program(&mut d, &mut b, 9, 0x8061);
        assert_eq!(b.msi.len(), 2);
    }

    #[test]
    fn wrong_polarity_of_an_idle_pci_wire_looks_active() {
        let (mut d, mut b) = (io_apic(), Bench::new());
        program(&mut d, &mut b, 17, 0x8061);
        assert_eq!(b.msi.len(), 1);
    }

    #[test]
    fn ext_int_entry_sends_its_delivery_mode() {
        let (mut d, mut b) = (io_apic(), Bench::new());
        program(&mut d, &mut b, 0, 0x0000_0700);
        d.set_input(0, true, &mut b.msi);
        assert_eq!(b.msi, [Msi { address: 0xfee0_0000, data: 0x4700 }]);
    }

    #[test]
    fn remappable_entry_sends_a_message_in_remappable_format() {
        let (mut d, mut b) = (io_apic(), Bench::new());
        program(&mut d, &mut b, 4, 0x0013_0000_0000_0034);
        d.set_input(4, true, &mut b.msi);
        assert_eq!(b.msi, [Msi { address: 0xfee0_0130, data: 0x4034 }]);
    }
}
