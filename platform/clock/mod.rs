//! Virtual time. Its unit is the *tick*, one nanosecond of the machine's own time, which is a function of the count of retired instructions.

use serde::{Deserialize, Serialize};

/// A point in virtual time: ticks since power-on.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Debug, Serialize, Deserialize)]
#[repr(transparent)]
pub struct Tick(pub u64);

/// Ticks in a second of virtual time.
pub const TICKS_PER_SECOND: u64 = 1_000_000_000;

impl Tick {
    /// How often a clock of `hz` has ticked since power-on.
    pub const fn to_count(self, hz: u64) -> u64 {
        ((self.0 as u128 * hz as u128) / TICKS_PER_SECOND as u128) as u64
    }

    /// The first tick at which a clock of `hz` has ticked `count` times, saturating at the end of time.
    pub const fn from_count(count: u64, hz: u64) -> Self {
        let ticks = (count as u128 * TICKS_PER_SECOND as u128).div_ceil(hz as u128);
        if ticks > u64::MAX as u128 { Tick(u64::MAX) } else { Tick(ticks as u64) }
    }
}

#[cfg(test)]
mod tests {
    use super::Tick;

    #[test]
    fn from_count_is_first_tick_of_that_count() {
        for hz in [1_193_182, 3_579_545, 32_768, 100_000_000] {
            for count in [1, 2, 3, 1000, 1_000_003] {
                let t = Tick::from_count(count, hz);
                assert_eq!(t.to_count(hz), count);
                assert_eq!(Tick(t.0 - 1).to_count(hz), count - 1);
            }
        }
    }
}
