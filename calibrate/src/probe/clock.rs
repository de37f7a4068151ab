//! The clock of a log: monotonic nanoseconds since a moment whose wall-clock time is known.

use std::time::{Duration, Instant, SystemTime};

/// Counts from its own beginning.
#[derive(Clone, Copy, Debug)]
pub struct Clock {
    zero: Instant,
    wall: SystemTime,
}

impl Clock {
    /// One that begins now.
    pub fn start() -> Clock {
        Clock { zero: Instant::now(), wall: SystemTime::now() }
    }

    /// Now [ns].
    pub fn now(&self) -> u64 {
        self.zero.elapsed().as_nanos() as u64
    }

    /// The moment `ns` after its beginning.
    pub fn moment(&self, ns: u64) -> Instant {
        self.zero + Duration::from_nanos(ns)
    }

    /// Wall-clock nanoseconds of its beginning since 1970: no two probes share them.
    pub fn salt(&self) -> u64 {
        self.since_1970().as_nanos() as u64
    }

    /// Wall-clock time of its beginning, RFC 3339 with milliseconds, in UTC.
    pub fn started(&self) -> String {
        let since = self.since_1970();
        rfc3339(since.as_secs(), since.subsec_millis())
    }

    fn since_1970(&self) -> Duration {
        self.wall.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default()
    }
}

/// Seconds since 1970-01-01, UTC.
fn rfc3339(seconds: u64, millis: u32) -> String {
    let second = seconds % 86_400;
    let (hour, minute, second) = (second / 3_600, second / 60 % 60, second % 60);
    format!("{}T{hour:02}:{minute:02}:{second:02}.{millis:03}Z", date(seconds / 86_400))
}

/// The day in UTC, as `YYYY-MM-DD`.
pub fn today() -> String {
    let seconds = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).map_or(0, |d| d.as_secs());
    date(seconds / 86_400)
}

/// `YYYY-MM-DD` of a day since 1970-01-01, in the Gregorian calendar (Hinnant, "chrono-Compatible Low-Level Date Algorithms").
pub fn date(days: u64) -> String {
    let shifted = days + 719_468; // since 0000-03-01: the leap day is the last of its year
    let (era, day) = (shifted / 146_097, shifted % 146_097);
    let year = (day - day / 1_460 + day / 36_524 - day / 146_096) / 365;
    let of_year = day - (365 * year + year / 4 - year / 100);
    let month = (5 * of_year + 2) / 153;
    let of_month = of_year - (153 * month + 2) / 5 + 1;
    let (month, next) = if month < 10 { (month + 3, 0) } else { (month - 9, 1) };
    format!("{:04}-{month:02}-{of_month:02}", year + era * 400 + next)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wall_clock_times_are_written_in_utc() {
        assert_eq!(rfc3339(0, 0), "1970-01-01T00:00:00.000Z");
        assert_eq!(rfc3339(951_827_696, 7), "2000-02-29T12:34:56.007Z");
        assert_eq!(rfc3339(1_764_092_080, 123), "2025-11-25T17:34:40.123Z");
    }

    #[test]
    fn days_are_dates() {
        for (days, expected) in
            [(0, "1970-01-01"), (59, "1970-03-01"), (11_016, "2000-02-29"), (11_017, "2000-03-01"), (20_453, "2025-12-31")]
        {
            assert_eq!(date(days), expected);
        }
        assert_eq!(date(20_454), "2026-01-01");
    }

    #[test]
    fn time_goes_forward() {
        let clock = Clock::start();
        let (a, b) = (clock.now(), clock.now());
        assert!(b >= a && clock.moment(b) >= clock.moment(a));
    }
}
