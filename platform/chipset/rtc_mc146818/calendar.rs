//! The calendar that the real-time clock counts: the proleptic Gregorian one, as ISO 8601 extends it.

use serde::{Deserialize, Serialize};

/// Seconds in a day.
pub const SECONDS_PER_DAY: u64 = 86_400;
/// Days from 1 March 0000 to 1 January 1970.
const DAYS_TO_1970: u64 = 719_468;
/// Days in 400 years, after which the calendar repeats.
const DAYS_PER_400_YEARS: u64 = 146_097;

/// What the clock's registers hold, in binary. Software may write nonsense; it is normalised when the clock next counts.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct DateTime {
    /// 0 to 59.
    pub second: u8,
    /// 0 to 59.
    pub minute: u8,
    /// 0 to 23.
    pub hour: u8,
    /// 1 (Sunday) to 7.
    pub weekday: u8,
    /// 1 to 31.
    pub day: u8,
    /// 1 to 12.
    pub month: u8,
    /// Of the century.
    pub year: u8,
    /// The year's first two digits.
    pub century: u8,
}

impl DateTime {
    /// The date `seconds` after 1970-01-01 00:00:00; the year modulo 10,000.
    pub fn from_unix_seconds(seconds: u64) -> Self {
        let (days, rest) = (seconds / SECONDS_PER_DAY, seconds % SECONDS_PER_DAY);
        let mut date = Self {
            second: 0,
            minute: 0,
            hour: 0,
            weekday: ((days + 4) % 7) as u8 + 1,
            day: 1,
            month: 1,
            year: 0,
            century: 0,
        };
        date.set_second_of_day(rest);
        date.set_day_number(days + DAYS_TO_1970);
        date
    }

    /// Seconds since midnight.
    pub fn second_of_day(&self) -> u64 {
        u64::from(self.hour) * 3600 + u64::from(self.minute) * 60 + u64::from(self.second)
    }

    fn set_second_of_day(&mut self, second: u64) {
        self.hour = (second / 3600 % 24) as u8;
        self.minute = (second / 60 % 60) as u8;
        self.second = (second % 60) as u8;
    }

    /// Days since 1 March 0000 (of a 10,000-year cycle). Years count from March, so that the leap day is the last of one.
    fn day_number(&self) -> u64 {
        let year = u64::from(self.century) * 100 + u64::from(self.year);
        let month = u64::from(self.month.clamp(1, 12));
        // 1 January 0000 belongs to the year before; ten thousand years on it is the same date.
        let (year, months) = if month > 2 { (year + 10_000, month - 3) } else { (year + 9_999, month + 9) };
        let days_before_month = (153 * months + 2) / 5;
        year * 365 + year / 4 - year / 100 + year / 400 + days_before_month + u64::from(self.day.max(1)) - 1
    }

    fn set_day_number(&mut self, days: u64) {
        let (eras, day_of_era) = (days / DAYS_PER_400_YEARS, days % DAYS_PER_400_YEARS);
        let leap_days = day_of_era / 1460 - day_of_era / 36_524 + day_of_era / 146_096;
        let year_of_era = (day_of_era - leap_days) / 365;
        let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
        let months = (5 * day_of_year + 2) / 153;
        let month = if months < 10 { months + 3 } else { months - 9 };
        let year = (eras % 25 * 400 + year_of_era + u64::from(month <= 2)) % 10_000;
        self.day = (day_of_year - (153 * months + 2) / 5 + 1) as u8;
        self.month = month as u8;
        self.century = (year / 100) as u8;
        self.year = (year % 100) as u8;
    }

    /// Counts on by `seconds`.
    pub fn add_seconds(&mut self, seconds: u64) {
        let total = self.second_of_day() + seconds % (SECONDS_PER_DAY * DAYS_PER_400_YEARS * 25);
        let days = total / SECONDS_PER_DAY;
        self.set_second_of_day(total % SECONDS_PER_DAY);
        if days > 0 {
            self.set_day_number(self.day_number() + days);
            self.weekday = ((u64::from(self.weekday.max(1)) - 1 + days) % 7) as u8 + 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn from_unix_seconds_known_dates_are_right() {
        let date = |s| {
            let d = DateTime::from_unix_seconds(s);
            (u32::from(d.century) * 100 + u32::from(d.year), d.month, d.day, d.weekday, d.hour, d.minute, d.second)
        };
        assert_eq!(date(0), (1970, 1, 1, 5, 0, 0, 0));
        assert_eq!(date(951_782_400), (2000, 2, 29, 3, 0, 0, 0));
        assert_eq!(date(1_709_164_799), (2024, 2, 28, 4, 23, 59, 59));
        assert_eq!(date(1_767_225_600), (2026, 1, 1, 5, 0, 0, 0));
        assert_eq!(date(4_102_444_799), (2099, 12, 31, 5, 23, 59, 59));
    }

    #[test]
    fn add_seconds_equals_conversion_at_every_step() {
        let start = 946_684_799;
        let mut date = DateTime::from_unix_seconds(start);
        let mut at = start;
        for step in (1..4000).map(|i| i * 7919) {
            date.add_seconds(step);
            at += step;
            assert_eq!(date, DateTime::from_unix_seconds(at));
        }
    }
}
