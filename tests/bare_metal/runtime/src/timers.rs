//! The timers: PIT, power-management timer, HPET, real-time clock, and waiting by them.
//! The 8254 data sheet; ACPI, "Power Management Timer"; the IA-PC HPET specification; the MC146818 data sheet.

use crate::control::rdtsc;
use crate::port::{inb, inl, outb};

/// Input clock of the PIT.
pub const PIT_HZ: u64 = 1_193_182;
/// Clock of the power-management timer.
pub const PM_TIMER_HZ: u64 = 3_579_545;

/// Programs a PIT channel: mode 0 to 5, 16-bit binary count.
pub unsafe fn pit_program(channel: u8, mode: u8, count: u16) {
    outb(0x43, channel << 6 | 0x30 | mode << 1);
    outb(0x40 + channel as u16, count as u8);
    outb(0x40 + channel as u16, (count >> 8) as u8);
}

/// The latched count of a PIT channel.
pub unsafe fn pit_count(channel: u8) -> u16 {
    outb(0x43, channel << 6);
    let low = inb(0x40 + channel as u16);
    low as u16 | (inb(0x40 + channel as u16) as u16) << 8
}

/// The status byte of a PIT channel by the read-back command: bit 7 OUT, bit 6 null count.
pub unsafe fn pit_status(channel: u8) -> u8 {
    outb(0x43, 0xE0 | 2 << channel);
    inb(0x40 + channel as u16)
}

/// Opens or closes the gate of channel 2, with the speaker off.
pub unsafe fn pit_gate_2(open: u8) {
    outb(0x61, inb(0x61) & !3 | open & 1);
}

/// Waits by PIT channel 2 in mode 0 and returns the TSC ticks that passed; `None` if the channel does not move.
pub fn pit_wait_tsc(count: u16) -> Option<u64> {
    unsafe {
        pit_gate_2(0);
        pit_program(2, 0, count);
        let start = rdtsc();
        pit_gate_2(1);
        for _ in 0..50_000_000u64 {
            if inb(0x61) & 0x20 != 0 {
                return Some(rdtsc() - start);
            }
        }
    }
    None
}

/// Ticks of the TSC in a second, measured by the PIT over about 10 ms.
pub fn tsc_hz_by_pit() -> Option<u64> {
    const COUNT: u16 = 11932;
    Some(pit_wait_tsc(COUNT)? * PIT_HZ / COUNT as u64)
}

/// Ticks of the TSC in a second, measured by the power-management timer.
pub fn tsc_hz_by_pm_timer() -> Option<u64> {
    const TICKS: u32 = 35_795;
    let port = crate::acpi::pm_timer()?;
    unsafe {
        let (begin, start) = (inl(port), rdtsc());
        for _ in 0..50_000_000u64 {
            let passed = inl(port).wrapping_sub(begin) & 0xFF_FFFF;
            if passed >= TICKS {
                return Some((rdtsc() - start) * PM_TIMER_HZ / passed as u64);
            }
        }
    }
    None
}

/// The HPET by the address of its registers.
#[derive(Clone, Copy)]
pub struct Hpet(pub u64);

impl Hpet {
    /// The machine's, if its tables name one.
    pub fn find() -> Option<Self> {
        crate::acpi::hpet().filter(|&a| a != 0 && a >> 32 == 0).map(Hpet)
    }

    /// Reads a register.
    pub fn read(self, offset: u64) -> u64 {
        unsafe { ((self.0 + offset) as *const u64).read_volatile() }
    }

    /// Writes a register.
    pub fn write(self, offset: u64, v: u64) {
        unsafe { ((self.0 + offset) as *mut u64).write_volatile(v) }
    }

    /// Femtoseconds in a tick.
    pub fn period_fs(self) -> u64 {
        self.read(0) >> 32
    }

    /// Ticks of the TSC in a second, measured over about 10 ms.
    pub fn tsc_hz(self) -> Option<u64> {
        let period = self.period_fs();
        if period == 0 {
            return None;
        }
        self.write(0x10, self.read(0x10) | 1);
        let ticks = 10_000_000_000_000 / period;
        let (begin, start) = (self.read(0xF0), rdtsc());
        for _ in 0..50_000_000u64 {
            let passed = self.read(0xF0).wrapping_sub(begin);
            if passed >= ticks {
                return Some(
                    ((rdtsc() - start) as u128 * 1_000_000_000_000_000 / (passed as u128 * period as u128)) as u64,
                );
            }
        }
        None
    }
}

/// Waits about this many microseconds, by the PIT.
pub fn wait_us(us: u64) {
    let mut left = us * PIT_HZ / 1_000_000 + 1;
    while left > 0 {
        let part = left.min(50_000);
        pit_wait_tsc(part as u16);
        left -= part;
    }
}

/// Reads a register of the real-time clock.
pub unsafe fn rtc_read(index: u8) -> u8 {
    outb(0x70, index | 0x80);
    inb(0x71)
}

/// Writes a register of the real-time clock.
pub unsafe fn rtc_write(index: u8, v: u8) {
    outb(0x70, index | 0x80);
    outb(0x71, v);
}
