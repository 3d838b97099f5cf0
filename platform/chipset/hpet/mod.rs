//! The high precision event timer: a 64-bit counter of 100 MHz and its comparators.
//!
//! Manuals: IA-PC HPET specification 1.0a; Intel I/O Controller Hub 9 data sheet, "High Precision Event Timer Registers".
//! The counter is a function of ticks; a timer remembers up to which count it has looked for matches. The board reads [`Hpet::outputs`] after
//! each call. An edge-triggered output stands from a match to the next one, which shows it low first ([`Timed::next_event`] is then *now*), so
//! that no edge is lost; matches that became due together give one.

#[cfg(test)]
mod tests;
mod timer;

use crate::clock::Tick;
use crate::device::{Context, Registers, Reset, Timed, byte_lanes};
use serde::{Deserialize, Serialize};
use timer::{ComparatorTimer, TIMER_OFFSET_MASK};

/// Ticks a count.
pub const TICKS_PER_COUNT: u64 = 10;
/// Femtoseconds a count.
const PERIOD_FS: u64 = TICKS_PER_COUNT * 1_000_000;
/// Size of the register page, in bytes.
pub const PAGE_SIZE: u64 = 0x400;

/// Offsets.
mod register {
    pub const GCAP_ID: u64 = 0x000;
    pub const GEN_CONF: u64 = 0x010;
    pub const GINTR_STA: u64 = 0x020;
    pub const MAIN_CNT: u64 = 0x0f0;
    pub const TIMER_FIRST: u64 = 0x100;
    pub const TIMER_SIZE: u64 = 0x20;
}
/// GEN_CONF.
mod gen_conf {
    pub const ENABLE: u64 = 1 << 0;
    pub const LEGACY: u64 = 1 << 1;
}

/// What the board fixes.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Configuration {
    /// Number of timers, 3 to 32; others are brought into that range.
    pub timers: u8,
    /// I/O APIC inputs that each timer can be routed to, a bit each.
    pub routes: u32,
}

impl Default for Configuration {
    /// Four timers, routable to inputs 20 to 23.
    fn default() -> Self {
        Self { timers: 4, routes: 0x00f0_0000 }
    }
}

/// Levels of the interrupt outputs.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct Outputs {
    /// Legacy replacement route: timers 0 and 1 take the place of the 8254 (IRQ0, I/O APIC input 2) and of the RTC (IRQ8).
    pub legacy_replacement: bool,
    /// Timer 0 in legacy replacement.
    pub irq0: bool,
    /// Timer 1 in legacy replacement.
    pub irq8: bool,
    /// Inputs of the I/O APIC that some timer asserts, a bit each.
    pub io_apic: u32,
}

/// The event timer.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Hpet {
    // configuration
    configuration: Configuration,
    // state
    gen_conf: u64,
    status: u32,
    /// The counter while halted; while running, what it was at count 0 of virtual time.
    counter: u64,
    timers: Vec<ComparatorTimer>,
    /// An output was lowered to make an edge and rises at this tick.
    owed_since: Option<Tick>,
    next: Option<Tick>,
}

impl Hpet {
    /// After power-on: halted at 0.
    pub fn new(configuration: Configuration) -> Self {
        let timers = (0..configuration.timers.clamp(3, 32)).map(|_| ComparatorTimer::default()).collect();
        Self { configuration, gen_conf: 0, status: 0, counter: 0, timers, owed_since: None, next: None }
    }

    /// The interrupt outputs.
    pub fn outputs(&self) -> Outputs {
        let mut outputs = Outputs { legacy_replacement: self.gen_conf & gen_conf::LEGACY != 0, ..Outputs::default() };
        for (index, timer) in self.timers.iter().enumerate() {
            let asserted = timer.asserts(self.status >> index & 1 != 0);
            match index {
                0 if outputs.legacy_replacement => outputs.irq0 = asserted,
                1 if outputs.legacy_replacement => outputs.irq8 = asserted,
                _ if asserted => outputs.io_apic |= 1 << timer.route(),
                _ => {}
            }
        }
        outputs
    }

    fn is_running(&self) -> bool {
        self.gen_conf & gen_conf::ENABLE != 0
    }

    /// The main counter.
    pub fn counter(&self, now: Tick) -> u64 {
        if self.is_running() { self.counter.wrapping_add(now.0 / TICKS_PER_COUNT) } else { self.counter }
    }

    fn set_counter(&mut self, now: Tick, value: u64) {
        self.counter = if self.is_running() { value.wrapping_sub(now.0 / TICKS_PER_COUNT) } else { value };
        for timer in &mut self.timers {
            timer.look_from(value);
        }
    }

    fn set_gen_conf(&mut self, now: Tick, value: u64) {
        let counter = self.counter(now);
        self.gen_conf = value & (gen_conf::ENABLE | gen_conf::LEGACY);
        self.set_counter(now, counter);
    }

    /// Handles the matches until now.
    fn catch_up(&mut self, cx: &mut Context<'_>) {
        if self.owed_since.take().is_some() {
            self.timers.iter_mut().for_each(ComparatorTimer::raise_owed);
        }
        if !self.is_running() {
            return;
        }
        let counter = self.counter(cx.now);
        for (index, timer) in self.timers.iter_mut().enumerate() {
            if timer.look_until(counter) {
                let status = timer.matched(cx.msi);
                self.status |= u32::from(status) << index;
            }
        }
        if self.timers.iter().any(ComparatorTimer::is_owed) {
            self.owed_since = Some(cx.now);
        }
    }

    fn schedule(&mut self, now: Tick) {
        let counter = self.counter(now);
        let counts =
            self.timers.iter().filter(|_| self.is_running()).filter_map(|timer| timer.counts_to_match(counter)).min();
        self.next = self.owed_since.or_else(|| {
            let at = (now.0 / TICKS_PER_COUNT).checked_add(counts?)?.checked_mul(TICKS_PER_COUNT)?;
            Some(Tick(at))
        });
    }

    /// The 64-bit register at `base`, a multiple of 8.
    fn read_register(&self, now: Tick, base: u64) -> u64 {
        match base {
            register::GCAP_ID => {
                let legacy_and_64_bit = 1 << 15 | 1 << 13;
                PERIOD_FS << 32 | 0x8086 << 16 | legacy_and_64_bit | (self.timers.len() as u64 - 1) << 8 | 0x01
            }
            register::GEN_CONF => self.gen_conf,
            register::GINTR_STA => self.status.into(),
            register::MAIN_CNT => self.counter(now),
            _ => match self.timer_at(base) {
                Some((index, at)) => self.timers[index].read(at, self.configuration.routes),
                None => 0,
            },
        }
    }

    fn timer_at(&self, base: u64) -> Option<(usize, u64)> {
        let from_first = base.checked_sub(register::TIMER_FIRST)?;
        let index = usize::try_from(from_first / register::TIMER_SIZE).ok()?;
        (index < self.timers.len()).then_some((index, from_first & TIMER_OFFSET_MASK))
    }

    fn write_register(&mut self, now: Tick, base: u64, offset: u64, size: u8, value: u64) {
        let merge = |old| byte_lanes::merge(old, base, 8, offset, size, value);
        match base {
            register::GEN_CONF => self.set_gen_conf(now, merge(self.gen_conf)),
            register::GINTR_STA => self.status &= !(merge(0) as u32),
            register::MAIN_CNT => self.set_counter(now, merge(self.counter(now))),
            _ => {
                if let Some((index, at)) = self.timer_at(base) {
                    let counter = self.counter(now);
                    self.timers[index].write(at, merge, counter, self.configuration.routes);
                    if !self.timers[index].is_level() {
                        self.status &= !(1 << index);
                    }
                }
            }
        }
    }
}

impl Registers for Hpet {
    fn read(&mut self, cx: &mut Context<'_>, offset: u64, size: u8) -> u64 {
        self.catch_up(cx);
        self.schedule(cx.now);
        let base = offset & !7;
        let low = self.read_register(cx.now, base);
        let value = byte_lanes::extract(low, base, 8, offset, size);
        if offset & 7 == 0 {
            return value;
        }
        let high = self.read_register(cx.now, base.wrapping_add(8));
        value | byte_lanes::extract(high, base.wrapping_add(8), 8, offset, size)
    }

    fn write(&mut self, cx: &mut Context<'_>, offset: u64, size: u8, value: u64) {
        self.catch_up(cx);
        let base = offset & !7;
        self.write_register(cx.now, base, offset, size, value);
        if offset - base + u64::from(size) > 8 {
            self.write_register(cx.now, base.wrapping_add(8), offset, size, value);
        }
        self.schedule(cx.now);
    }
}

impl Timed for Hpet {
    fn next_event(&self) -> Option<Tick> {
        self.next
    }

    fn advance(&mut self, cx: &mut Context<'_>) {
        self.catch_up(cx);
        self.schedule(cx.now);
    }
}

impl Reset for Hpet {
    fn reset(&mut self) {
        let Self { configuration, gen_conf: _, status: _, counter: _, timers: _, owed_since: _, next: _ } = self;
        *self = Self::new(*configuration);
    }
}
