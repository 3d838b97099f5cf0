//! The LPC interface bridge at 00:1f.0. Intel I/O Controller Hub 9 (ICH9) Family datasheet, "LPC Interface Bridge Registers (D31:F0)" and
//! "Chipset Configuration Registers".
//!
//! It says where other parts of the chipset lie (power management, high precision timer) and how PCI interrupts are routed; those parts
//! themselves are in `chipset` and `irq`. GPIO, LPC decode ranges and BIOS control hold values and have no effect.

use super::config::{ConfigSpace, Identity};
use super::function::PciFunction;
use serde::{Deserialize, Serialize};
use undercroft_spec::pci::ich9;
use undercroft_spec::pci::{class, header, q35};

/// The DxxIR registers: device number and offset in the chipset configuration range.
const INTERRUPT_ROUTES: [(u8, u64); 7] = [
    (25, ich9::D25IR),
    (26, ich9::D26IR),
    (27, ich9::D27IR),
    (28, ich9::D28IR),
    (29, ich9::D29IR),
    (30, ich9::D30IR),
    (31, ich9::D31IR),
];

/// The LPC bridge and the chipset configuration registers.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct LpcBridge {
    // State.
    config: ConfigSpace,
    interrupt_routes: [u16; 7],
    other_interrupt_control: u8,
    high_precision_timer: u32,
    general_control: u32,
}

impl LpcBridge {
    /// An LPC bridge after power-on.
    pub fn new() -> Self {
        let mut config = ConfigSpace::new(&Identity {
            vendor: q35::VENDOR_INTEL,
            device: ich9::DEVICE_LPC_BRIDGE,
            subsystem_vendor: 0,
            subsystem: 0,
            revision: 2,
            class: class::BRIDGE_ISA,
        });
        let always = header::command::IO_SPACE | header::command::MEMORY_SPACE | header::command::BUS_MASTER;
        config.define_u16(header::COMMAND, always, 0);
        config.define_multi_function();
        config.define_u32(ich9::PMBASE, ich9::IO_RESOURCE, ich9::PMBASE_ADDRESS);
        config.define_u8(ich9::ACPI_CNTL, 0, ich9::ACPI_CNTL_ACPI_EN | ich9::ACPI_CNTL_SCI_IRQ_SEL);
        config.define_u32(ich9::GPIOBASE, ich9::IO_RESOURCE, ich9::GPIOBASE_ADDRESS);
        config.define_u8(ich9::GC, 0, 0x11);
        for pirq in 0..8 {
            let writable = ich9::PIRQ_ROUT_IRQEN | ich9::PIRQ_ROUT_IRQ;
            config.define_u8(pirq_route_register(pirq), ich9::PIRQ_ROUT_IRQEN, writable);
        }
        config.define_u8(ich9::SIRQ_CNTL, 0x10, 0xff);
        config.define_u16(ich9::LPC_IO_DEC, 0, 0x1377);
        config.define_u16(ich9::LPC_EN, 0, 0x3f0f);
        for range in 0..4 {
            config.define_u32(ich9::GEN1_DEC + 4 * range, 0, 0x00fc_fffd);
        }
        config.define_u16(ich9::GEN_PMCON_1, 0, 0x1eb7);
        config.define_u8(ich9::BIOS_CNTL, 0, 0x1d);
        config.define_u32(ich9::RCBA, 0, ich9::RCBA_ADDRESS | ich9::RCBA_ENABLE);
        LpcBridge {
            config,
            interrupt_routes: [ich9::INTERRUPT_ROUTE_DEFAULT; 7],
            other_interrupt_control: 0,
            high_precision_timer: 0,
            general_control: 0,
        }
    }

    /// I/O base of the power management registers, if they are decoded ("PMBASE", "ACPI_CNTL").
    pub fn pm_base(&self) -> Option<u16> {
        let enabled = self.config.read(ich9::ACPI_CNTL, 1) as u8 & ich9::ACPI_CNTL_ACPI_EN != 0;
        let base = (self.config.read(ich9::PMBASE, 4) & ich9::PMBASE_ADDRESS) as u16;
        (enabled && base != 0).then_some(base)
    }

    /// The interrupt request that carries the system control interrupt: 9, 10, 11 or 20 to 23 ("ACPI_CNTL", SCI IRQ select).
    pub fn sci_irq(&self) -> u8 {
        match self.config.read(ich9::ACPI_CNTL, 1) as u8 & ich9::ACPI_CNTL_SCI_IRQ_SEL {
            select @ 0..=2 => 9 + select,
            // 3 is reserved.
            3 => 9,
            select => 16 + select,
        }
    }

    /// Where the high precision timer's registers lie, if they are decoded ("HPTC").
    pub fn hpet_base(&self) -> Option<u64> {
        let select = self.high_precision_timer & ich9::HPTC_ADDRESS_SELECT;
        (self.high_precision_timer & ich9::HPTC_ADDRESS_ENABLE != 0).then(|| 0xfed0_0000 + 0x1000 * u64::from(select))
    }

    /// Whether the I/O APIC is decoded ("OIC").
    pub fn is_io_apic_enabled(&self) -> bool {
        self.other_interrupt_control & ich9::OIC_APIC_ENABLE != 0
    }

    /// Where the chipset configuration registers lie, if they are decoded: first and last address.
    pub fn chipset_configuration_range(&self) -> Option<(u64, u64)> {
        let register = self.config.read(ich9::RCBA, 4);
        let base = u64::from(register & ich9::RCBA_ADDRESS);
        (register & ich9::RCBA_ENABLE != 0 && base != 0).then_some((base, base + (ich9::RCBA_BYTES - 1)))
    }

    /// The PIRQ (0 to 7 for PIRQA# to PIRQH#) that carries an interrupt pin (1 to 4) of a device on the bus.
    ///
    /// Devices 25 to 31 are those that the chipset has routes for. The others are slots of the board, which wires their pins to PIRQs in
    /// rotation, so that neighbours do not share: pin INTA# of device n to PIRQ n modulo 8, and so on.
    pub fn pirq_of(&self, device: u8, pin: u8) -> u8 {
        let pin = pin.wrapping_sub(1) & 3;
        match INTERRUPT_ROUTES.iter().position(|(routed, _)| *routed == device) {
            Some(index) => (self.interrupt_routes[index] >> (4 * pin)) as u8 & 7,
            None => rotated_pirq(device, pin),
        }
    }

    /// The input of the 8259s that carries a PIRQ, if it is routed there ("PIRQn_ROUT").
    pub fn i8259_input_of(&self, pirq: u8) -> Option<u8> {
        let route = self.config.read(pirq_route_register(pirq & 7), 1) as u8;
        let irq = route & ich9::PIRQ_ROUT_IRQ;
        // 0, 1, 2, 8 and 13 are reserved: they belong to the chipset's own devices.
        (route & ich9::PIRQ_ROUT_IRQEN == 0 && !matches!(irq, 0 | 1 | 2 | 8 | 13)).then_some(irq)
    }

    /// Programs PIRQn_ROUT, as firmware would: the input of the 8259s for each PIRQ.
    pub fn set_i8259_inputs(&mut self, irqs: &[u8; 8]) {
        for (pirq, irq) in (0..8).zip(irqs) {
            self.config.set(pirq_route_register(pirq), 1, u32::from(irq & ich9::PIRQ_ROUT_IRQ));
        }
    }

    /// Programs where things lie, as firmware would: power management (with the system control interrupt on IRQ 9), the chipset
    /// configuration registers, the I/O APIC and the high precision timer.
    pub fn set_bases(&mut self, pm_base: u16, rcba: u32) {
        self.config.set(ich9::PMBASE, 4, u32::from(pm_base) & ich9::PMBASE_ADDRESS | ich9::IO_RESOURCE);
        self.config.set(ich9::ACPI_CNTL, 1, u32::from(ich9::ACPI_CNTL_ACPI_EN));
        self.config.set(ich9::RCBA, 4, rcba & ich9::RCBA_ADDRESS | ich9::RCBA_ENABLE);
        self.other_interrupt_control = ich9::OIC_APIC_ENABLE;
        self.high_precision_timer = ich9::HPTC_ADDRESS_ENABLE;
    }

    /// Programs the DxxIR registers so that the chipset's devices are wired in the same rotation as the slots, as firmware would.
    pub fn rotate_interrupt_routes(&mut self) {
        for (route, (device, _)) in self.interrupt_routes.iter_mut().zip(INTERRUPT_ROUTES) {
            *route = (0..4).fold(0, |route, pin| route | u16::from(rotated_pirq(device, pin)) << (4 * pin));
        }
    }

    /// Software reads the chipset configuration registers; what is not there reads zero.
    pub fn chipset_configuration_read(&self, offset: u64, size: u8) -> u64 {
        (0..u64::from(size.min(8)))
            .rev()
            .fold(0, |value, byte| value << 8 | u64::from(self.chipset_configuration_byte(offset.saturating_add(byte))))
    }

    /// Software writes the chipset configuration registers.
    pub fn chipset_configuration_write(&mut self, offset: u64, size: u8, value: u64) {
        for byte in 0..u64::from(size.min(8)) {
            self.chipset_configuration_write_byte(offset.saturating_add(byte), (value >> (8 * byte)) as u8);
        }
    }

    fn chipset_configuration_byte(&self, offset: u64) -> u8 {
        let register = match offset & !3 {
            ich9::HPTC => self.high_precision_timer,
            ich9::GCS => self.general_control,
            _ if offset == ich9::OIC => return self.other_interrupt_control,
            _ => match route_index(offset) {
                Some(index) => return (self.interrupt_routes[index] >> (8 * (offset & 1))) as u8,
                None => 0,
            },
        };
        (register >> (8 * (offset & 3))) as u8
    }

    fn chipset_configuration_write_byte(&mut self, offset: u64, value: u8) {
        let shift = 8 * (offset & 3);
        let with_byte = |register: u32| register & !(0xff << shift) | u32::from(value) << shift;
        match offset & !3 {
            ich9::HPTC => {
                let writable = ich9::HPTC_ADDRESS_ENABLE | ich9::HPTC_ADDRESS_SELECT;
                self.high_precision_timer = with_byte(self.high_precision_timer) & writable;
            }
            ich9::GCS => self.general_control = with_byte(self.general_control) & 0x0000_0fff,
            _ if offset == ich9::OIC => self.other_interrupt_control = value & 0x0f,
            _ => {
                if let Some(index) = route_index(offset) {
                    let shift = 8 * (offset & 1);
                    let route = self.interrupt_routes[index] & !(0xff << shift) | u16::from(value) << shift;
                    self.interrupt_routes[index] = route & ich9::INTERRUPT_ROUTE_WRITABLE;
                }
            }
        }
    }
}

impl Default for LpcBridge {
    fn default() -> Self {
        LpcBridge::new()
    }
}

impl PciFunction for LpcBridge {
    fn config(&self) -> &ConfigSpace {
        &self.config
    }

    fn config_mut(&mut self) -> &mut ConfigSpace {
        &mut self.config
    }

    fn reset(&mut self) {
        *self = LpcBridge::new();
    }
}

/// The board's wiring of pin 0 to 3 of a device.
const fn rotated_pirq(device: u8, pin: u8) -> u8 {
    device.wrapping_add(pin) & 7
}

/// PIRQn_ROUT of PIRQ 0 to 7.
const fn pirq_route_register(pirq: u8) -> u16 {
    match pirq {
        0..=3 => ich9::PIRQA_ROUT + pirq as u16,
        _ => ich9::PIRQE_ROUT + (pirq as u16 - 4),
    }
}

/// Which DxxIR a byte of the chipset configuration range belongs to.
fn route_index(offset: u64) -> Option<usize> {
    INTERRUPT_ROUTES.iter().position(|(_, register)| *register == offset & !1)
}
