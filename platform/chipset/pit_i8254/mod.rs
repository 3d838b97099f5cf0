//! The 8254 interval timer of a PC, with port 61h, which gates counter 2 and shows its output.
//!
//! Manuals: Intel 82C54 data sheet; Intel I/O Controller Hub 9 data sheet, "8254 Timers" and "NMI_SC - NMI Status and Control Register".
//! The input clock is a function of ticks, so counts and outputs are too (see [`counter`]). The board wires [`Pit::irq0`] after each call and
//! calls [`Timed::advance`] when due: two changes of the output that became due together are shown one after the other, so that no edge is lost.
//!
//! Register offsets: 0-2 the counters, 3 the control word (ports 40h-43h), 4 port 61h.

pub mod counter;
#[cfg(test)]
mod tests;

use crate::clock::Tick;
use crate::device::{Context, Registers, Reset, Timed, byte_lanes};
use counter::{Clock, Counter};
use serde::{Deserialize, Serialize};

/// Frequency of the input clock.
pub const INPUT_HZ: u64 = 1_193_182;
/// Ticks between changes of the refresh-request toggle.
const REFRESH_TOGGLE_TICKS: u64 = 15_085;

/// Port 61h.
mod nmi_sc {
    pub const TIMER2_GATE: u8 = 0x01;
    pub const SPEAKER_DATA: u8 = 0x02;
    pub const WRITABLE: u8 = 0x0f;
    pub const REFRESH_TOGGLE: u8 = 0x10;
    pub const TIMER2_OUT: u8 = 0x20;
}

/// The timer.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Pit {
    // state
    counters: [Counter; 3],
    nmi_sc: u8,
    // outputs: the level of OUT0 as shown to the board
    irq0: bool,
    /// OUT0 changed twice at once: it is shown at its other level first.
    owed_since: Option<Tick>,
    /// When OUT0 changes next.
    due: Option<Tick>,
}

fn clock(now: Tick) -> Clock {
    Clock::try_from(now.to_count(INPUT_HZ)).unwrap_or(Clock::MAX / 2)
}

fn next_change(counter: &Counter, now: Clock) -> Option<Tick> {
    let clocks = u64::try_from(counter.next_change(now)?).ok()?;
    Some(Tick::from_count(clocks, INPUT_HZ))
}

impl Default for Pit {
    fn default() -> Self {
        Self::new()
    }
}

impl Pit {
    /// The timer after power-on: nothing counts.
    pub fn new() -> Self {
        Self {
            counters: [Counter::new(true), Counter::new(true), Counter::new(false)],
            nmi_sc: 0,
            irq0: false,
            owed_since: None,
            due: None,
        }
    }

    /// OUT of counter 0, wired to IRQ0.
    pub fn irq0(&self) -> bool {
        self.irq0
    }

    /// The level of the speaker.
    pub fn speaker(&self, now: Tick) -> bool {
        self.nmi_sc & nmi_sc::SPEAKER_DATA != 0 && self.counters[2].out(clock(now))
    }

    /// Shows the output's changes until `now`.
    fn show_changes(&mut self, now: Tick) {
        let now_clock = clock(now);
        let changed = self.due.is_some_and(|due| due <= now);
        let out = self.counters[0].out(now_clock);
        self.counters[0].catch_up(now_clock);
        if self.owed_since.take().is_some() || self.irq0 != out {
            self.irq0 = out;
        } else if changed {
            self.irq0 = !out;
            self.owed_since = Some(now);
        }
        self.due = next_change(&self.counters[0], now_clock);
    }

    /// After an access the output is what the programming says.
    fn show_output(&mut self, now: Tick) {
        let now = clock(now);
        self.irq0 = self.counters[0].out(now);
        self.owed_since = None;
        self.due = next_change(&self.counters[0], now);
    }

    fn write_control(&mut self, now: Clock, value: u8) {
        match (value >> 6, value >> 4 & 3) {
            (3, _) => {
                for (_, counter) in self.counters.iter_mut().enumerate().filter(|(i, _)| value >> (i + 1) & 1 != 0) {
                    if value & 0x20 == 0 {
                        counter.latch_count(now);
                    }
                    if value & 0x10 == 0 {
                        counter.latch_status(now);
                    }
                }
            }
            (select, 0) => self.counters[usize::from(select)].latch_count(now),
            (select, _) => self.counters[usize::from(select)].write_control(now, value),
        }
    }

    fn read_nmi_sc(&mut self, now: Tick) -> u8 {
        let mut value = self.nmi_sc;
        if (now.0 / REFRESH_TOGGLE_TICKS) & 1 != 0 {
            value |= nmi_sc::REFRESH_TOGGLE;
        }
        self.counters[2].catch_up(clock(now));
        if self.counters[2].out(clock(now)) {
            value |= nmi_sc::TIMER2_OUT;
        }
        value
    }
}

impl Registers for Pit {
    fn read(&mut self, cx: &mut Context<'_>, offset: u64, size: u8) -> u64 {
        byte_lanes::read_bytes(offset, size, |at| match at {
            0..=2 => self.counters[at as usize].read(clock(cx.now)),
            4 => self.read_nmi_sc(cx.now),
            _ => 0xff,
        })
    }

    fn write(&mut self, cx: &mut Context<'_>, offset: u64, size: u8, value: u64) {
        let now = clock(cx.now);
        byte_lanes::write_bytes(offset, size, value, |at, byte| match at {
            0..=2 => self.counters[at as usize].write(now, byte),
            3 => self.write_control(now, byte),
            4 => {
                self.nmi_sc = byte & nmi_sc::WRITABLE;
                self.counters[2].set_gate(now, byte & nmi_sc::TIMER2_GATE != 0);
            }
            _ => {}
        });
        self.show_output(cx.now);
    }
}

impl Timed for Pit {
    fn next_event(&self) -> Option<Tick> {
        self.owed_since.or(self.due)
    }

    fn advance(&mut self, cx: &mut Context<'_>) {
        self.show_changes(cx.now);
    }
}

impl Reset for Pit {
    fn reset(&mut self) {
        let Self { counters: _, nmi_sc: _, irq0: _, owed_since: _, due: _ } = self;
        *self = Self::new();
    }
}
