//! The real-time clock and its battery-backed memory: MC146818 with a second bank of 128 bytes.
//!
//! Manuals: Motorola MC146818 data sheet; Intel I/O Controller Hub 9 data sheet, "Real Time Clock Registers".
//! The date counts virtual time from a configured start. The update cycle ends at each whole second of the divider chain; UIP is set from 244 us
//! before it begins. Time, date and memory survive a reset. The board wires [`Rtc::interrupt`] to IRQ8.
//!
//! Register offsets: 0-1 index and data of the first bank (ports 70h-71h), 2-3 of the second (72h-73h). The NMI mask, bit 7 of port 70h,
//! is [`Rtc::nmi_masked`].

pub mod calendar;
#[cfg(test)]
mod tests;

use crate::clock::{TICKS_PER_SECOND, Tick};
use crate::device::{Context, Registers, Reset, Timed, byte_lanes};
use calendar::{DateTime, SECONDS_PER_DAY};
use serde::{Deserialize, Serialize};

/// Frequency of the oscillator behind the periodic interrupt.
const OSCILLATOR_HZ: u64 = 32_768;
/// UIP rises 244 us before an update cycle, which takes 1984 us.
const UPDATE_TICKS: u64 = 2_228_000;

/// Indices of the first bank.
mod index {
    pub const SECONDS: u8 = 0x00;
    pub const SECONDS_ALARM: u8 = 0x01;
    pub const MINUTES: u8 = 0x02;
    pub const MINUTES_ALARM: u8 = 0x03;
    pub const HOURS: u8 = 0x04;
    pub const HOURS_ALARM: u8 = 0x05;
    pub const WEEKDAY: u8 = 0x06;
    pub const DAY: u8 = 0x07;
    pub const MONTH: u8 = 0x08;
    pub const YEAR: u8 = 0x09;
    pub const A: u8 = 0x0a;
    pub const B: u8 = 0x0b;
    pub const C: u8 = 0x0c;
    pub const D: u8 = 0x0d;
    /// Where PCs keep the century.
    pub const CENTURY: u8 = 0x32;
}
/// Register A.
mod reg_a {
    pub const UIP: u8 = 0x80;
    pub const DIVIDER: u8 = 0x70;
    pub const DIVIDER_RUNS: u8 = 0x20;
    pub const RATE: u8 = 0x0f;
}
/// Register B.
mod reg_b {
    pub const SET: u8 = 0x80;
    pub const PIE: u8 = 0x40;
    pub const AIE: u8 = 0x20;
    pub const UIE: u8 = 0x10;
    pub const SQWE: u8 = 0x08;
    pub const BINARY: u8 = 0x04;
    pub const HOURS_24: u8 = 0x02;
}
/// Register C.
mod reg_c {
    pub const IRQF: u8 = 0x80;
    pub const PF: u8 = 0x40;
    pub const AF: u8 = 0x20;
    pub const UF: u8 = 0x10;
}
/// Register D: valid RAM and time.
const VRT: u8 = 0x80;
/// Afternoon, in 12-hour mode.
const PM: u8 = 0x80;

/// Clock and memory.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Rtc {
    // state: battery-backed
    date: DateTime,
    /// The end of the next update cycle; none while the divider chain is held in reset.
    next_second: Option<Tick>,
    a: u8,
    b: u8,
    cmos: Vec<u8>,
    // state
    c: u8,
    selected: [u8; 2],
    /// Periods of the periodic rate seen so far.
    periods: u64,
    next: Option<Tick>,
}

impl Rtc {
    /// A clock that shows `start_seconds` after 1970-01-01 00:00:00 UTC at power-on, in BCD and 24-hour mode.
    pub fn new(start_seconds: u64) -> Self {
        let mut rtc = Self {
            date: DateTime::from_unix_seconds(start_seconds),
            next_second: Some(Tick(TICKS_PER_SECOND)),
            a: 0x26,
            b: reg_b::HOURS_24,
            cmos: vec![0; 256],
            c: 0,
            selected: [0; 2],
            periods: 0,
            next: None,
        };
        rtc.schedule();
        rtc
    }

    /// Sets a byte of the battery-backed memory as firmware would find it; the second bank begins at 128. The clock's own
    /// registers and indices above 255 are left alone.
    pub fn set_memory(&mut self, index: usize, value: u8) {
        if !is_clock_register(index)
            && let Some(byte) = self.cmos.get_mut(index)
        {
            *byte = value;
        }
    }

    /// The interrupt output, IRQ8: stands until register C is read.
    pub fn interrupt(&self) -> bool {
        self.c & reg_c::IRQF != 0
    }

    /// Bit 7 of port 70h.
    pub fn nmi_masked(&self) -> bool {
        self.selected[0] & 0x80 != 0
    }

    /// The period of the periodic interrupt in clocks of the oscillator.
    fn period(&self) -> Option<u64> {
        match self.a & reg_a::RATE {
            0 => None,
            rate @ (1 | 2) => Some(64 << rate),
            rate => Some(1 << (rate - 1)),
        }
    }

    fn catch_up(&mut self, now: Tick) {
        if let Some(period) = self.period() {
            let periods = now.to_count(OSCILLATOR_HZ) / period;
            if periods != self.periods {
                self.periods = periods;
                self.c |= reg_c::PF;
            }
        }
        if let Some(at) = self.next_second.filter(|at| *at <= now) {
            let seconds = 1 + (now.0 - at.0) / TICKS_PER_SECOND;
            self.next_second = Some(Tick(at.0.saturating_add(seconds.saturating_mul(TICKS_PER_SECOND))));
            if self.b & reg_b::SET == 0 {
                if self.alarm_within(seconds) {
                    self.c |= reg_c::AF;
                }
                self.date.add_seconds(seconds);
                self.c |= reg_c::UF;
            }
        }
        self.update_interrupt();
    }

    fn update_interrupt(&mut self) {
        let enables = reg_b::PIE | reg_b::AIE | reg_b::UIE;
        self.c &= !reg_c::IRQF;
        if self.c & self.b & enables != 0 {
            self.c |= reg_c::IRQF;
        }
    }

    /// Whether one of the next `seconds` seconds is the alarm's.
    fn alarm_within(&self, seconds: u64) -> bool {
        // An alarm byte with both upper bits set matches all.
        let wanted = |index: u8| match self.cmos[usize::from(index)] {
            any if any >= 0xc0 => None,
            byte if index == index::HOURS_ALARM => Some(self.decode_hour(byte)),
            byte => Some(self.decode(byte)),
        };
        let (hour, minute, second) =
            (wanted(index::HOURS_ALARM), wanted(index::MINUTES_ALARM), wanted(index::SECONDS_ALARM));
        let is = |wanted: Option<u8>, value: u64| wanted.is_none_or(|wanted| u64::from(wanted) == value);
        let start = self.date.second_of_day();
        (1..=seconds.min(SECONDS_PER_DAY)).any(|step| {
            let at = (start + step) % SECONDS_PER_DAY;
            is(second, at % 60) && is(minute, at / 60 % 60) && is(hour, at / 3600)
        })
    }

    fn schedule(&mut self) {
        let second = self.next_second.filter(|_| self.b & (reg_b::UIE | reg_b::AIE) != 0);
        let periodic = self
            .period()
            .filter(|_| self.b & reg_b::PIE != 0)
            .map(|period| Tick::from_count(self.periods.saturating_add(1).saturating_mul(period), OSCILLATOR_HZ));
        self.next = match (second, periodic) {
            (Some(a), Some(b)) => Some(a.min(b)),
            (a, b) => a.or(b),
        };
    }

    fn encode(&self, value: u8) -> u8 {
        if self.b & reg_b::BINARY != 0 { value } else { ((value / 10 % 10) << 4) | (value % 10) }
    }

    fn decode(&self, byte: u8) -> u8 {
        if self.b & reg_b::BINARY != 0 { byte } else { (byte >> 4) * 10 + (byte & 0xf) }
    }

    fn encode_hour(&self, hour: u8) -> u8 {
        if self.b & reg_b::HOURS_24 != 0 {
            return self.encode(hour);
        }
        let twelfth = if hour.is_multiple_of(12) { 12 } else { hour % 12 };
        self.encode(twelfth) | if hour >= 12 { PM } else { 0 }
    }

    fn decode_hour(&self, byte: u8) -> u8 {
        if self.b & reg_b::HOURS_24 != 0 {
            return self.decode(byte);
        }
        self.decode(byte & !PM) % 12 + if byte & PM != 0 { 12 } else { 0 }
    }

    fn update_in_progress(&self, now: Tick) -> bool {
        self.b & reg_b::SET == 0 && self.next_second.is_some_and(|at| at.0.saturating_sub(now.0) <= UPDATE_TICKS)
    }

    fn read_data(&mut self, now: Tick, bank: usize) -> u8 {
        let index = usize::from(self.selected[bank] & 0x7f) | bank << 7;
        let date = &self.date;
        if bank == 1 {
            return self.cmos[index];
        }
        match index as u8 {
            index::SECONDS => self.encode(date.second),
            index::MINUTES => self.encode(date.minute),
            index::HOURS => self.encode_hour(date.hour),
            index::WEEKDAY => self.encode(date.weekday),
            index::DAY => self.encode(date.day),
            index::MONTH => self.encode(date.month),
            index::YEAR => self.encode(date.year),
            index::CENTURY => self.encode(date.century),
            index::A => self.a | if self.update_in_progress(now) { reg_a::UIP } else { 0 },
            index::B => self.b,
            index::C => std::mem::take(&mut self.c),
            index::D => VRT,
            _ => self.cmos[index],
        }
    }

    fn write_data(&mut self, now: Tick, bank: usize, value: u8) {
        let index = usize::from(self.selected[bank] & 0x7f) | bank << 7;
        if bank == 1 {
            self.cmos[index] = value;
            return;
        }
        let binary = self.decode(value);
        match index as u8 {
            index::SECONDS => self.date.second = binary,
            index::MINUTES => self.date.minute = binary,
            index::HOURS => self.date.hour = self.decode_hour(value),
            index::WEEKDAY => self.date.weekday = binary,
            index::DAY => self.date.day = binary,
            index::MONTH => self.date.month = binary,
            index::YEAR => self.date.year = binary,
            index::CENTURY => self.date.century = binary,
            index::A => self.write_a(now, value & !reg_a::UIP),
            index::B => {
                // Setting the time disables the update interrupt.
                self.b = if value & reg_b::SET != 0 { value & !reg_b::UIE } else { value };
                self.update_interrupt();
            }
            index::C | index::D => {}
            _ => self.cmos[index] = value,
        }
    }

    fn write_a(&mut self, now: Tick, value: u8) {
        let ran = self.a & reg_a::DIVIDER == reg_a::DIVIDER_RUNS;
        let runs = value & reg_a::DIVIDER == reg_a::DIVIDER_RUNS;
        self.a = value;
        if ran != runs {
            // The first update comes half a second after the divider chain is released.
            self.next_second = runs.then_some(Tick(now.0.saturating_add(TICKS_PER_SECOND / 2)));
        }
        // A new rate starts with its next period.
        self.periods = self.period().map_or(0, |period| now.to_count(OSCILLATOR_HZ) / period);
    }
}

fn is_clock_register(index: usize) -> bool {
    const ALARMS: [usize; 3] =
        [index::SECONDS_ALARM as usize, index::MINUTES_ALARM as usize, index::HOURS_ALARM as usize];
    index <= usize::from(index::D) && !ALARMS.contains(&index) || index == usize::from(index::CENTURY)
}

impl Registers for Rtc {
    fn read(&mut self, cx: &mut Context<'_>, offset: u64, size: u8) -> u64 {
        self.catch_up(cx.now);
        let value = byte_lanes::read_bytes(offset, size, |at| match at {
            1 => self.read_data(cx.now, 0),
            2 => self.selected[1],
            3 => self.read_data(cx.now, 1),
            // Port 70h is write-only.
            _ => 0xff,
        });
        self.schedule();
        value
    }

    fn write(&mut self, cx: &mut Context<'_>, offset: u64, size: u8, value: u64) {
        self.catch_up(cx.now);
        byte_lanes::write_bytes(offset, size, value, |at, byte| match at {
            0 => self.selected[0] = byte,
            1 => self.write_data(cx.now, 0, byte),
            2 => self.selected[1] = byte & 0x7f,
            3 => self.write_data(cx.now, 1, byte),
            _ => {}
        });
        self.schedule();
    }
}

impl Timed for Rtc {
    fn next_event(&self) -> Option<Tick> {
        self.next
    }

    fn advance(&mut self, cx: &mut Context<'_>) {
        self.catch_up(cx.now);
        self.schedule();
    }
}

impl Reset for Rtc {
    /// The RESET pin: interrupts off, flags cleared. Time, date, divider and memory are the battery's.
    fn reset(&mut self) {
        let Self { date: _, next_second: _, a: _, b, cmos: _, c, selected, periods: _, next: _ } = self;
        *b &= !(reg_b::PIE | reg_b::AIE | reg_b::UIE | reg_b::SQWE);
        *c = 0;
        *selected = [0; 2];
        self.schedule();
    }
}
