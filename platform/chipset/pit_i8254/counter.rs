//! One counter of the 8254: its count and its output as functions of the count of input clocks.
//!
//! Manual: Intel 82C54 data sheet, "Mode Definitions" and "Read Operations". Between accesses nothing is simulated: a *run* says at which clock
//! the counting element was loaded and with what, and everything follows.

use serde::{Deserialize, Serialize};

/// A count of input clocks since power-on. Signed, since a run may be anchored before it.
pub type Clock = i64;

/// Counting modes, "Mode Definitions".
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
enum Mode {
    /// 0
    InterruptOnTerminalCount,
    /// 1
    HardwareOneShot,
    /// 2
    RateGenerator,
    /// 3
    SquareWave,
    /// 4
    SoftwareStrobe,
    /// 5
    HardwareStrobe,
}
use Mode::*;

impl Mode {
    fn from_control(control: u8) -> Self {
        match control >> 1 & 7 {
            0 => InterruptOnTerminalCount,
            1 => HardwareOneShot,
            2 | 6 => RateGenerator,
            3 | 7 => SquareWave,
            4 => SoftwareStrobe,
            _ => HardwareStrobe,
        }
    }
    fn is_periodic(self) -> bool {
        matches!(self, RateGenerator | SquareWave)
    }
    fn is_triggered(self) -> bool {
        matches!(self, HardwareOneShot | HardwareStrobe)
    }
}

/// Which bytes of the count are transferred, bits 5-4 of the control word.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
enum Transfer {
    Low,
    High,
    LowThenHigh,
}

/// Counting from a load.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
struct Run {
    /// The clock at which the counting element holds `count`.
    start: Clock,
    /// 1 to 65536 (10000 in BCD), 2 or more in the periodic modes.
    count: u32,
    /// Output and count while `start` has not come.
    before: Still,
    /// GATE is low: clocks counted until then. Only in modes 0 and 4.
    paused: Option<Clock>,
}

/// An output and a count that do not change.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
struct Still {
    out: bool,
    count: u16,
}

/// What the counter does.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
enum Activity {
    Waiting(Still),
    Counting(Run),
}

/// A new count of a periodic mode, loaded at the clock `at`.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
struct Reload {
    at: Clock,
    count: u32,
}

/// One counter.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Counter {
    // state: programming
    control: u8,
    mode: Mode,
    transfer: Transfer,
    gate: bool,
    /// The count register as written, `None` since the control word.
    count_register: Option<u32>,
    low_byte: Option<u8>,
    null_count: bool,
    // state: counting
    activity: Activity,
    reload: Option<Reload>,
    // state: reading
    latched_status: Option<u8>,
    latched_count: Option<u16>,
    high_byte_next: bool,
}

impl Counter {
    /// After power-on. The data sheet leaves mode, count and output undefined; here mode 0 waits for a count with its output low.
    pub fn new(gate: bool) -> Self {
        Self {
            control: 0x30,
            mode: InterruptOnTerminalCount,
            transfer: Transfer::LowThenHigh,
            gate,
            count_register: None,
            low_byte: None,
            null_count: true,
            activity: Activity::Waiting(Still { out: false, count: 0 }),
            reload: None,
            latched_status: None,
            latched_count: None,
            high_byte_next: false,
        }
    }

    fn modulus(&self) -> u32 {
        if self.control & 1 != 0 { 10_000 } else { 0x1_0000 }
    }

    /// The OUT pin.
    pub fn out(&self, now: Clock) -> bool {
        match self.activity {
            Activity::Waiting(still) => still.out,
            Activity::Counting(run) => self.run_out(&run, now),
        }
    }

    fn run_out(&self, run: &Run, now: Clock) -> bool {
        if run.paused.is_none() && now < run.start {
            return run.before.out;
        }
        let (elapsed, count) = (run.paused.unwrap_or(now - run.start), Clock::from(run.count));
        match self.mode {
            InterruptOnTerminalCount | HardwareOneShot => elapsed >= count,
            RateGenerator => elapsed.rem_euclid(count) != count - 1,
            SquareWave => elapsed.rem_euclid(count) < (count + 1) / 2,
            SoftwareStrobe | HardwareStrobe => elapsed != count,
        }
    }

    /// The counting element, in binary.
    fn element(&self, now: Clock) -> u16 {
        let run = match self.activity {
            Activity::Waiting(still) => return still.count,
            Activity::Counting(run) if run.paused.is_none() && now < run.start => return run.before.count,
            Activity::Counting(run) => run,
        };
        let (elapsed, count) = (run.paused.unwrap_or(now - run.start), Clock::from(run.count));
        let value = match self.mode {
            RateGenerator => count - elapsed.rem_euclid(count),
            // Counts down by two, an odd count from one less; the odd clock is spent at 0.
            SquareWave => {
                let (phase, high) = (elapsed.rem_euclid(count), (count + 1) / 2);
                (count & !1) - 2 * if phase < high { phase } else { phase - high }
            }
            _ => count - elapsed,
        };
        value.rem_euclid(Clock::from(self.modulus())) as u16
    }

    /// The counting element as software reads it.
    fn reading(&self, now: Clock) -> u16 {
        let value = self.element(now);
        if self.control & 1 == 0 {
            return value;
        }
        (0..4).fold(0, |bcd, digit| bcd | (value / 10u16.pow(digit) % 10) << (4 * digit))
    }

    /// The first clock after `now` at which OUT changes if nobody interferes.
    pub fn next_change(&self, now: Clock) -> Option<Clock> {
        let Activity::Counting(run) = self.activity else { return None };
        if run.paused.is_some() {
            return None;
        }
        if now < run.start && self.run_out(&run, run.start) != run.before.out {
            return Some(run.start);
        }
        let (elapsed, count) = ((now - run.start).max(0), Clock::from(run.count));
        let ahead = match self.mode {
            InterruptOnTerminalCount | HardwareOneShot => (elapsed < count).then_some(count),
            SoftwareStrobe | HardwareStrobe => [count, count + 1].into_iter().find(|&at| elapsed < at),
            RateGenerator | SquareWave => {
                let fall = if self.mode == RateGenerator { count - 1 } else { (count + 1) / 2 };
                let cycle = elapsed - elapsed % count;
                Some(cycle + if elapsed % count < fall { fall } else { count })
            }
        };
        ahead.map(|clocks| run.start.saturating_add(clocks))
    }

    /// Loads what was to be loaded until `now`.
    pub fn catch_up(&mut self, now: Clock) {
        if let (Some(Reload { at, count }), Activity::Counting(run)) = (self.reload, &mut self.activity)
            && now >= at
        {
            let low_half = self.mode == SquareWave && {
                let old = Clock::from(run.count);
                (at - run.start).rem_euclid(old) >= (old + 1) / 2
            };
            // The new count begins with the half that the old one had reached.
            let into = if low_half { count.div_ceil(2) } else { 0 };
            *run = Run { start: at - Clock::from(into), count, before: run.before, paused: None };
            self.reload = None;
            self.null_count = false;
        }
        if let Activity::Counting(run) = self.activity
            && self.reload.is_none()
            && now >= run.start
            && !self.awaits_trigger(&run)
        {
            self.null_count = false;
        }
    }

    /// A count was written that only a trigger will load.
    fn awaits_trigger(&self, run: &Run) -> bool {
        self.mode.is_triggered() && self.count_register.is_some_and(|count| count != run.count)
    }

    /// A control word for this counter, bits 5-4 not 0.
    pub fn write_control(&mut self, now: Clock, control: u8) {
        self.catch_up(now);
        let still = Still { out: Mode::from_control(control) != InterruptOnTerminalCount, count: self.element(now) };
        self.control = control & 0x3f;
        self.mode = Mode::from_control(control);
        self.transfer = match control >> 4 & 3 {
            1 => Transfer::Low,
            2 => Transfer::High,
            _ => Transfer::LowThenHigh,
        };
        self.count_register = None;
        self.low_byte = None;
        self.null_count = true;
        self.activity = Activity::Waiting(still);
        self.reload = None;
        self.latched_status = None;
        self.latched_count = None;
        self.high_byte_next = false;
    }

    /// The counter latch command.
    pub fn latch_count(&mut self, now: Clock) {
        self.catch_up(now);
        if self.latched_count.is_none() {
            self.latched_count = Some(self.reading(now));
        }
    }

    /// The status part of the read-back command.
    pub fn latch_status(&mut self, now: Clock) {
        self.catch_up(now);
        if self.latched_status.is_none() {
            let pins = u8::from(self.out(now)) << 7 | u8::from(self.null_count) << 6;
            self.latched_status = Some(pins | self.control);
        }
    }

    /// A read of the counter's port.
    pub fn read(&mut self, now: Clock) -> u8 {
        self.catch_up(now);
        if let Some(status) = self.latched_status.take() {
            return status;
        }
        let value = self.latched_count.unwrap_or_else(|| self.reading(now));
        let [low, high] = value.to_le_bytes();
        match self.transfer {
            Transfer::LowThenHigh if !self.high_byte_next => {
                self.high_byte_next = true;
                return low;
            }
            Transfer::LowThenHigh => self.high_byte_next = false,
            _ => {}
        }
        self.latched_count = None;
        if self.transfer == Transfer::Low { low } else { high }
    }

    /// A write of the counter's port.
    pub fn write(&mut self, now: Clock, value: u8) {
        self.catch_up(now);
        match (self.transfer, self.low_byte.take()) {
            (Transfer::Low, _) => self.write_count(now, u16::from(value)),
            (Transfer::High, _) => self.write_count(now, u16::from(value) << 8),
            (Transfer::LowThenHigh, Some(low)) => self.write_count(now, u16::from_le_bytes([low, value])),
            (Transfer::LowThenHigh, None) => {
                self.low_byte = Some(value);
                // Mode 0: the first byte stops the counting and lowers OUT.
                if self.mode == InterruptOnTerminalCount {
                    self.activity = Activity::Waiting(Still { out: false, count: self.element(now) });
                }
            }
        }
    }

    /// The written count as a number of clocks; 0 is the largest, and a digit above 9 in BCD counts as its value.
    fn clocks_of(&self, written: u16) -> u32 {
        let clocks = if self.control & 1 == 0 {
            u32::from(written)
        } else {
            (0..4).fold(0, |sum, digit| sum + u32::from(written >> (4 * digit) & 0xf) * 10u32.pow(digit)) % 10_000
        };
        match clocks {
            0 => self.modulus(),
            // A count of 1 is illegal in the periodic modes; it acts as 2.
            1 if self.mode.is_periodic() => 2,
            _ => clocks,
        }
    }

    fn write_count(&mut self, now: Clock, written: u16) {
        let count = self.clocks_of(written);
        let first = self.count_register.replace(count).is_none();
        self.null_count = true;
        if self.mode.is_triggered() {
            return;
        }
        match self.activity {
            Activity::Counting(run) if self.mode.is_periodic() && !first && run.start <= now && self.gate => {
                // Loaded when the current period, or half of it, ends.
                let (elapsed, old) = (now - run.start, Clock::from(run.count));
                let (phase, cycle) = (elapsed.rem_euclid(old), elapsed - elapsed.rem_euclid(old));
                let half = (old + 1) / 2;
                let boundary = if self.mode == SquareWave && phase < half { half } else { old };
                self.reload = Some(Reload { at: run.start + cycle + boundary, count });
            }
            _ => self.load(now, count, self.mode == InterruptOnTerminalCount),
        }
    }

    /// Loads the counting element at the next clock; until then OUT is low (`lowers`) or as it is.
    fn load(&mut self, now: Clock, count: u32, lowers: bool) {
        let before = Still { out: self.out(now) && !lowers, count: self.element(now) };
        let holds = !self.gate && !self.mode.is_triggered();
        self.reload = None;
        self.activity = match (holds, self.mode.is_periodic()) {
            // Nothing counts until GATE rises, and then it is loaded anew.
            (true, true) => Activity::Waiting(Still { out: true, count: count as u16 }),
            _ => Activity::Counting(Run { start: now + 1, count, before, paused: holds.then_some(0) }),
        };
    }

    /// Drives the GATE pin.
    pub fn set_gate(&mut self, now: Clock, gate: bool) {
        self.catch_up(now);
        if std::mem::replace(&mut self.gate, gate) == gate {
            return;
        }
        match (self.mode, gate) {
            (HardwareOneShot | HardwareStrobe | RateGenerator | SquareWave, true) => {
                if let Some(count) = self.count_register {
                    self.load(now, count, false);
                }
            }
            (RateGenerator | SquareWave, false) => {
                self.activity = Activity::Waiting(Still { out: true, count: self.element(now) });
                if let Some(Reload { .. }) = self.reload.take() {
                    self.null_count = true;
                }
            }
            (InterruptOnTerminalCount | SoftwareStrobe, _) => self.pause_or_resume(now, gate),
            (HardwareOneShot | HardwareStrobe, false) => {}
        }
    }

    fn pause_or_resume(&mut self, now: Clock, gate: bool) {
        let Activity::Counting(run) = &mut self.activity else { return };
        match (run.paused, gate) {
            (Some(elapsed), true) => {
                // A load that has not happened yet still takes its clock.
                run.start = (now - elapsed).max(if elapsed == 0 { run.start } else { Clock::MIN });
                run.paused = None;
            }
            (None, false) => run.paused = Some((now - run.start).max(0)),
            _ => {}
        }
    }
}
