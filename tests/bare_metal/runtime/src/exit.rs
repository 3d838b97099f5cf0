//! How a machine ends: ACPI S5, the debug-exit port, and what other machines offer instead.

use crate::port::{outb, outl, outw};

/// The value written to the debug-exit port 0xF4; the emulator's process then ends with status `value << 1 | 1`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub enum Status {
    /// All tests passed (process status 33).
    Pass = 0x10,
    /// A test failed (35).
    Fail = 0x11,
    /// The image itself broke (37).
    Panic = 0x12,
}

const DEBUG_EXIT: u16 = 0xF4;
/// Bochs ends when this port receives "Shutdown".
const BOCHS_SHUTDOWN: u16 = 0x8900;

/// Ends the machine by the debug-exit port, else by what there is.
pub fn end(status: Status) -> ! {
    crate::console::flush();
    unsafe { outl(DEBUG_EXIT, status as u32) };
    power_off()
}

/// Ends the machine by ACPI S5 (SLP_TYP and SLP_EN in PM1a control), else by Bochs's port, else by the debug-exit port.
pub fn power_off() -> ! {
    let sleep_type = crate::acpi::s5_sleep_type().unwrap_or(5);
    crate::console::flush();
    let port = crate::acpi::pm1a_control().unwrap_or(0x604);
    unsafe {
        outw(port, (sleep_type as u16 & 7) << 10 | 1 << 13);
        // Some machines take a while, and the next ways out would give another status.
        crate::timers::wait_us(100_000);
        for b in b"Shutdown" {
            outb(BOCHS_SHUTDOWN, *b);
        }
        outl(DEBUG_EXIT, 0);
        loop {
            core::arch::asm!("cli", "hlt");
        }
    }
}
