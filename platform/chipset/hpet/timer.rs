//! One comparator of the HPET: configuration, matching, and its output. IA-PC HPET specification, "Timer N Configuration and Capabilities
//! Register", "Timer N Comparator Register".

use crate::device::Msi;
use serde::{Deserialize, Serialize};

/// Offset of a register within a timer's 32 bytes.
pub(super) const TIMER_OFFSET_MASK: u64 = 0x1f;

/// Offsets within a timer.
mod register {
    pub const CONF: u64 = 0x00;
    pub const COMPARATOR: u64 = 0x08;
    pub const FSB_ROUTE: u64 = 0x10;
}
/// TIMn_CONF.
mod conf {
    pub const LEVEL: u64 = 1 << 1;
    pub const INT_ENB: u64 = 1 << 2;
    pub const PERIODIC: u64 = 1 << 3;
    pub const PER_INT_CAP: u64 = 1 << 4;
    pub const SIZE_CAP: u64 = 1 << 5;
    pub const VAL_SET: u64 = 1 << 6;
    pub const MODE_32: u64 = 1 << 8;
    pub const ROUTE_SHIFT: u32 = 9;
    pub const ROUTE: u64 = 0x1f << ROUTE_SHIFT;
    pub const FSB_EN: u64 = 1 << 14;
    pub const FSB_CAP: u64 = 1 << 15;
    pub const WRITABLE: u64 = LEVEL | INT_ENB | PERIODIC | VAL_SET | MODE_32 | ROUTE | FSB_EN;
}

/// The output of an edge-triggered timer.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug, Serialize, Deserialize)]
enum Edge {
    /// No match since the timer was programmed.
    #[default]
    Low,
    /// Lowered so that the next rise is an edge.
    Owed,
    /// A match happened.
    High,
}

/// A timer.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct ComparatorTimer {
    conf: u64,
    comparator: u64,
    period: u64,
    fsb_route: u64,
    /// Matches up to this count have been handled.
    looked_until: u64,
    edge: Edge,
}

impl Default for ComparatorTimer {
    /// The comparator is all ones after reset.
    fn default() -> Self {
        Self { conf: 0, comparator: u64::MAX, period: 0, fsb_route: 0, looked_until: 0, edge: Edge::Low }
    }
}

impl ComparatorTimer {
    fn is(&self, bit: u64) -> bool {
        self.conf & bit != 0
    }

    pub(super) fn is_level(&self) -> bool {
        self.is(conf::LEVEL)
    }

    pub(super) fn route(&self) -> u32 {
        (self.conf >> conf::ROUTE_SHIFT & 0x1f) as u32
    }

    /// Whether the interrupt line stands, given the timer's bit in GINTR_STA.
    pub(super) fn asserts(&self, status: bool) -> bool {
        let stands = if self.is_level() { status } else { self.edge == Edge::High };
        stands && self.conf & (conf::INT_ENB | conf::FSB_EN) == conf::INT_ENB
    }

    pub(super) fn is_owed(&self) -> bool {
        self.edge == Edge::Owed
    }

    pub(super) fn raise_owed(&mut self) {
        if self.edge == Edge::Owed {
            self.edge = Edge::High;
        }
    }

    fn width_mask(&self) -> u64 {
        if self.is(conf::MODE_32) { u32::MAX.into() } else { u64::MAX }
    }

    /// Counts from `counter` to the next equality with the comparator; equality now is passed already.
    fn distance(&self, counter: u64) -> Option<u64> {
        match self.comparator.wrapping_sub(counter) & self.width_mask() {
            0 => self.width_mask().checked_add(1),
            counts => Some(counts),
        }
    }

    /// Counts until a match that somebody could notice.
    pub(super) fn counts_to_match(&self, counter: u64) -> Option<u64> {
        if self.is(conf::INT_ENB) { self.distance(counter) } else { None }
    }

    /// The counter was set: what it skipped does not match.
    pub(super) fn look_from(&mut self, counter: u64) {
        self.looked_until = counter
    }

    /// Whether a match happened until `counter`. A periodic comparator moves past it.
    pub(super) fn look_until(&mut self, counter: u64) -> bool {
        let passed = counter.wrapping_sub(self.looked_until);
        let from = std::mem::replace(&mut self.looked_until, counter);
        let Some(distance) = self.distance(from).filter(|distance| *distance <= passed) else { return false };
        let period = self.period & self.width_mask();
        if self.is(conf::PERIODIC) && period != 0 {
            let matches = 1 + (passed - distance) / period;
            self.comparator = self.comparator.wrapping_add(matches.wrapping_mul(period)) & self.width_mask();
        }
        true
    }

    /// A match: whether GINTR_STA is set.
    pub(super) fn matched(&mut self, msi: &mut Vec<Msi>) -> bool {
        if self.is_level() {
            return true;
        }
        if self.is(conf::INT_ENB) {
            if self.is(conf::FSB_EN) {
                msi.push(Msi { address: self.fsb_route >> 32, data: self.fsb_route as u32 });
            } else {
                self.edge = if self.edge == Edge::Low { Edge::High } else { Edge::Owed };
            }
        }
        false
    }

    pub(super) fn read(&self, at: u64, routes: u32) -> u64 {
        match at {
            register::CONF => self.conf | conf::PER_INT_CAP | conf::SIZE_CAP | conf::FSB_CAP | u64::from(routes) << 32,
            register::COMPARATOR => self.comparator,
            register::FSB_ROUTE => self.fsb_route,
            _ => 0,
        }
    }

    pub(super) fn write(&mut self, at: u64, merge: impl Fn(u64) -> u64, counter: u64, routes: u32) {
        match at {
            register::CONF => self.write_conf(merge(self.conf), counter, routes),
            register::COMPARATOR => self.write_comparator(merge, counter),
            register::FSB_ROUTE => self.fsb_route = merge(self.fsb_route),
            _ => {}
        }
    }

    fn write_conf(&mut self, value: u64, counter: u64, routes: u32) {
        let mut new = value & conf::WRITABLE;
        // A route that the timer does not have is not accepted.
        if routes >> (new >> conf::ROUTE_SHIFT & 0x1f) & 1 == 0 {
            new = new & !conf::ROUTE | self.conf & conf::ROUTE;
        }
        let output = conf::LEVEL | conf::INT_ENB | conf::FSB_EN | conf::ROUTE;
        if (new ^ self.conf) & output != 0 {
            self.edge = Edge::Low;
        }
        self.conf = new;
        self.comparator &= self.width_mask();
        self.look_from(counter);
    }

    /// In periodic mode the register takes the period; the comparator itself only after VAL_SET, which this write ends.
    fn write_comparator(&mut self, merge: impl Fn(u64) -> u64, counter: u64) {
        let periodic = self.is(conf::PERIODIC);
        if !periodic || self.is(conf::VAL_SET) {
            self.comparator = merge(self.comparator) & self.width_mask();
        }
        if periodic {
            self.period = merge(self.period) & self.width_mask();
        }
        self.conf &= !conf::VAL_SET;
        self.edge = Edge::Low;
        self.look_from(counter);
    }
}
