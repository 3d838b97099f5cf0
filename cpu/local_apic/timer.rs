//! The local APIC's timer: one-shot, periodic and TSC-deadline, as a pure function of time. SDM volume 3, "APIC Timer".
//!
//! Nothing counts between calls: a *run* says when a count began, and the current count and every expiry follow from it exactly, without drift.

use serde::{Deserialize, Serialize};

const TICKS_PER_SECOND: u128 = 1_000_000_000;

/// A point in time as the local APIC needs it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Moment {
    /// Virtual time in ticks of 1 ns.
    pub tick: u64,
    /// The processor's time-stamp counter at that time.
    pub tsc: u64,
}

/// When the timer wants to be advanced next.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum TimerEvent {
    /// At this tick.
    Tick(u64),
    /// When the time-stamp counter has reached this value.
    Tsc(u64),
}

/// Bits 18:17 of the LVT timer entry.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum TimerMode {
    /// Counts down once. The reserved encoding 3 also acts so.
    OneShot,
    /// Counts down again and again.
    Periodic,
    /// Waits for IA32_TSC_DEADLINE.
    TscDeadline,
}

impl TimerMode {
    pub(super) fn from_lvt(entry: u32) -> Self {
        match entry >> 17 & 3 {
            1 => Self::Periodic,
            2 => Self::TscDeadline,
            _ => Self::OneShot,
        }
    }
}

/// A count under way.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
struct Run {
    /// Tick at which the count was `remaining`.
    start: u64,
    remaining: u32,
    /// Expiries already reported, or passed while masked.
    expired: u64,
}

/// The timer. Mode and mask are its LVT entry's; the local APIC passes changes on.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Timer {
    // configuration
    /// Frequency of the counter before division.
    hz: u64,
    // state
    mode: TimerMode,
    masked: bool,
    divide_configuration: u32,
    initial_count: u32,
    run: Option<Run>,
    deadline: u64,
    /// Follows from the rest; kept so that asking is cheap.
    next: Option<TimerEvent>,
}

impl Timer {
    pub(super) fn new(hz: u64) -> Self {
        Self {
            hz: hz.max(1),
            mode: TimerMode::OneShot,
            masked: true,
            divide_configuration: 0,
            initial_count: 0,
            run: None,
            deadline: 0,
            next: None,
        }
    }

    pub(super) fn reset(&mut self) {
        let Self { hz, mode: _, masked: _, divide_configuration: _, initial_count: _, run: _, deadline: _, next: _ } =
            self;
        *self = Self::new(*hz);
    }

    pub(super) fn next_event(&self) -> Option<TimerEvent> {
        self.next
    }
    pub(super) fn initial_count(&self) -> u32 {
        self.initial_count
    }
    pub(super) fn divide_configuration(&self) -> u32 {
        self.divide_configuration
    }
    pub(super) fn deadline(&self) -> u64 {
        self.deadline
    }

    /// Bits 3 and 1:0 of the divide configuration register: 2, 4, ... 128, and 1.
    fn divisor(&self) -> u128 {
        let bits = self.divide_configuration >> 1 & 4 | self.divide_configuration & 3;
        1 << ((bits + 1) & 7)
    }

    fn counts_since(&self, start: u64, now: u64) -> u64 {
        let elapsed = u128::from(now.saturating_sub(start));
        let counts = elapsed * u128::from(self.hz) / (TICKS_PER_SECOND * self.divisor());
        u64::try_from(counts).unwrap_or(u64::MAX)
    }

    /// How often the run has expired until `now`.
    fn expiries(&self, run: &Run, now: u64) -> u64 {
        match self.counts_since(run.start, now).checked_sub(u64::from(run.remaining)) {
            None => 0,
            Some(beyond) if self.mode == TimerMode::Periodic => 1 + beyond / u64::from(self.initial_count.max(1)),
            Some(_) => 1,
        }
    }

    /// The current-count register.
    pub(super) fn current_count(&self, now: u64) -> u32 {
        let Some(run) = self.run else { return 0 };
        let counts = self.counts_since(run.start, now);
        match counts.checked_sub(u64::from(run.remaining)) {
            None => run.remaining - counts as u32,
            Some(beyond) if self.mode == TimerMode::Periodic && self.initial_count != 0 => {
                self.initial_count - (beyond % u64::from(self.initial_count)) as u32
            }
            Some(_) => 0,
        }
    }

    pub(super) fn write_initial_count(&mut self, now: u64, value: u32) {
        if self.mode == TimerMode::TscDeadline {
            return;
        }
        self.initial_count = value;
        self.run = (value != 0).then_some(Run { start: now, remaining: value, expired: 0 });
        self.schedule();
    }

    pub(super) fn write_divide_configuration(&mut self, now: u64, value: u32) {
        let current = self.current_count(now);
        self.divide_configuration = value & 0xb;
        self.go_on_from(now, current);
        self.schedule();
    }

    pub(super) fn write_deadline(&mut self, deadline: u64) {
        if self.mode == TimerMode::TscDeadline {
            self.deadline = deadline;
            self.schedule();
        }
    }

    /// The LVT timer entry changed.
    pub(super) fn configure(&mut self, now: Moment, mode: TimerMode, masked: bool) {
        if mode != self.mode {
            let current = self.current_count(now.tick);
            if mode == TimerMode::TscDeadline || self.mode == TimerMode::TscDeadline {
                self.run = None;
                self.deadline = 0;
            }
            self.mode = mode;
            self.go_on_from(now.tick, current);
        }
        if masked != self.masked {
            self.masked = masked;
            // What expired while masked is lost.
            if let Some(run) = self.run {
                let expired = self.expiries(&run, now.tick);
                self.run = Some(Run { expired, ..run });
            }
            if !masked && self.deadline != 0 && self.deadline < now.tsc {
                self.deadline = 0;
            }
        }
        self.schedule();
    }

    fn go_on_from(&mut self, now: u64, current: u32) {
        if self.run.is_some() {
            self.run = (current != 0).then_some(Run { start: now, remaining: current, expired: 0 });
        }
    }

    fn schedule(&mut self) {
        self.next = match (self.masked, self.mode, self.run) {
            (true, ..) => None,
            (_, TimerMode::TscDeadline, _) => (self.deadline != 0).then_some(TimerEvent::Tsc(self.deadline)),
            (_, TimerMode::OneShot, Some(run)) if run.expired > 0 => None,
            (_, _, Some(run)) => {
                let counts = u128::from(run.remaining) + u128::from(run.expired) * u128::from(self.initial_count);
                // counts <= 2^96 only after 2^64 expiries; the product is bounded by the elapsed time and saturates beyond.
                let ticks = counts.saturating_mul(self.divisor() * TICKS_PER_SECOND).div_ceil(u128::from(self.hz));
                let at = u64::try_from(ticks).unwrap_or(u64::MAX).saturating_add(run.start);
                Some(TimerEvent::Tick(at))
            }
            (_, _, None) => None,
        };
    }

    /// Time has reached `now`: whether the timer's interrupt is due. Expiries that became due together give one.
    pub(super) fn advance(&mut self, now: Moment) -> bool {
        match self.next {
            Some(TimerEvent::Tick(at)) if at <= now.tick => {}
            Some(TimerEvent::Tsc(at)) if at <= now.tsc => {
                self.deadline = 0;
                self.next = None;
                return true;
            }
            _ => return false,
        }
        if let Some(run) = self.run {
            let expired = self.expiries(&run, now.tick);
            self.run = Some(Run { expired, ..run });
        }
        self.schedule();
        true
    }
}
