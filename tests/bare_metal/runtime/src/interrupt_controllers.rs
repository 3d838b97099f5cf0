//! The 8259 pair, the I/O APIC and the local APIC.
//! Intel SDM volume 3, "Advanced Programmable Interrupt Controller"; the 8259A and 82093AA data sheets.

use crate::control::{IA32_APIC_BASE, rdmsr, wrmsr};
use crate::port::{inb, outb};

/// Programs both 8259s: edge triggered, master at vectors `base` to `base + 7`, slave at the next eight; all lines masked.
pub unsafe fn pic_init(base: u8) {
    outb(0x20, 0x11);
    outb(0x21, base);
    outb(0x21, 0x04);
    outb(0x21, 0x01);
    outb(0xA0, 0x11);
    outb(0xA1, base + 8);
    outb(0xA1, 0x02);
    outb(0xA1, 0x01);
    pic_mask(0xFFFF);
}

/// Sets the 8259s' mask; bit n is IRQ n.
pub unsafe fn pic_mask(mask: u16) {
    outb(0x21, mask as u8);
    outb(0xA1, (mask >> 8) as u8);
}

/// In-service registers of both.
pub unsafe fn pic_in_service() -> u16 {
    outb(0x20, 0x0B);
    outb(0xA0, 0x0B);
    inb(0x20) as u16 | (inb(0xA0) as u16) << 8
}

/// Interrupt-request registers of both.
pub unsafe fn pic_requests() -> u16 {
    outb(0x20, 0x0A);
    outb(0xA0, 0x0A);
    inb(0x20) as u16 | (inb(0xA0) as u16) << 8
}

/// Non-specific end of interrupt for an IRQ line.
pub unsafe fn pic_eoi(irq: u8) {
    if irq >= 8 {
        outb(0xA0, 0x20);
    }
    outb(0x20, 0x20);
}

/// Physical address of the local APIC's page after reset.
pub const LOCAL_APIC_BASE: u64 = 0xFEE0_0000;

/// Offsets of local APIC registers.
pub mod lapic {
    #![allow(missing_docs)]
    pub const ID: u32 = 0x20;
    pub const VERSION: u32 = 0x30;
    pub const TPR: u32 = 0x80;
    pub const PPR: u32 = 0xA0;
    pub const EOI: u32 = 0xB0;
    pub const LDR: u32 = 0xD0;
    pub const DFR: u32 = 0xE0;
    pub const SVR: u32 = 0xF0;
    pub const ISR: u32 = 0x100;
    pub const TMR: u32 = 0x180;
    pub const IRR: u32 = 0x200;
    pub const ESR: u32 = 0x280;
    pub const ICR_LOW: u32 = 0x300;
    pub const ICR_HIGH: u32 = 0x310;
    pub const LVT_TIMER: u32 = 0x320;
    pub const LVT_THERMAL: u32 = 0x330;
    pub const LVT_PMI: u32 = 0x340;
    pub const LVT_LINT0: u32 = 0x350;
    pub const LVT_LINT1: u32 = 0x360;
    pub const LVT_ERROR: u32 = 0x370;
    pub const TIMER_INITIAL: u32 = 0x380;
    pub const TIMER_CURRENT: u32 = 0x390;
    pub const TIMER_DIVIDE: u32 = 0x3E0;
}

/// Whether the local APIC is in x2APIC mode.
pub fn is_x2apic() -> bool {
    unsafe { rdmsr(IA32_APIC_BASE) & 1 << 10 != 0 }
}

/// Reads a local APIC register, in either mode.
pub fn lapic_read(register: u32) -> u32 {
    unsafe {
        if is_x2apic() {
            rdmsr(0x800 + register / 16) as u32
        } else {
            ((LOCAL_APIC_BASE + register as u64) as *const u32).read_volatile()
        }
    }
}

/// Writes a local APIC register, in either mode.
pub fn lapic_write(register: u32, v: u32) {
    unsafe {
        if is_x2apic() {
            wrmsr(0x800 + register / 16, v as u64)
        } else {
            ((LOCAL_APIC_BASE + register as u64) as *mut u32).write_volatile(v)
        }
    }
}

/// Whether a bit of a 256-bit register (ISR, TMR, IRR) is set.
pub fn lapic_bit(register: u32, vector: u8) -> bool {
    lapic_read(register + vector as u32 / 32 * 16) >> (vector % 32) & 1 != 0
}

/// Local APIC identifier of the running processor.
pub fn lapic_id() -> u32 {
    if is_x2apic() { lapic_read(lapic::ID) } else { lapic_read(lapic::ID) >> 24 }
}

/// Enables the local APIC in software: spurious vector 0xFF, TPR 0, all local vectors masked.
pub fn lapic_enable() {
    unsafe { wrmsr(IA32_APIC_BASE, rdmsr(IA32_APIC_BASE) | 1 << 11) };
    lapic_write(lapic::SVR, 0x1FF);
    lapic_write(lapic::TPR, 0);
    for lvt in [lapic::LVT_TIMER, lapic::LVT_LINT0, lapic::LVT_LINT1, lapic::LVT_ERROR] {
        lapic_write(lvt, 1 << 16);
    }
    crate::exceptions::set_handler(0xFF, Some(|_| ()));
}

/// Ends the interrupt in service.
pub fn lapic_eoi() {
    lapic_write(lapic::EOI, 0);
}

/// Writes the interrupt command register; in xAPIC mode waits for the delivery, bounded.
pub fn lapic_send(destination: u32, low: u32) {
    unsafe {
        if is_x2apic() {
            wrmsr(0x830, (destination as u64) << 32 | low as u64);
        } else {
            lapic_write(lapic::ICR_HIGH, destination << 24);
            lapic_write(lapic::ICR_LOW, low);
            for _ in 0..100_000 {
                if lapic_read(lapic::ICR_LOW) & 1 << 12 == 0 {
                    break;
                }
            }
        }
    }
}

/// An I/O APIC by the address of its registers.
#[derive(Clone, Copy)]
pub struct IoApic(pub u64);

impl IoApic {
    /// The machine's first, at the MADT's address or the usual one.
    pub fn first() -> Self {
        IoApic(crate::acpi::io_apic().unwrap_or(0xFEC0_0000))
    }

    /// Reads an indirect register.
    pub fn read(self, index: u32) -> u32 {
        unsafe {
            (self.0 as *mut u32).write_volatile(index);
            ((self.0 + 0x10) as *const u32).read_volatile()
        }
    }

    /// Writes an indirect register.
    pub fn write(self, index: u32, v: u32) {
        unsafe {
            (self.0 as *mut u32).write_volatile(index);
            ((self.0 + 0x10) as *mut u32).write_volatile(v);
        }
    }

    /// Number of redirection entries.
    pub fn entries(self) -> u32 {
        (self.read(1) >> 16 & 0xFF) + 1
    }

    /// Writes a redirection entry: destination in bits 63:56.
    pub fn redirect(self, pin: u32, entry: u64) {
        self.write(0x10 + pin * 2, 1 << 16);
        self.write(0x11 + pin * 2, (entry >> 32) as u32);
        self.write(0x10 + pin * 2, entry as u32);
    }
}
