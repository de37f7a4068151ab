//! The day that a profile is made on.

use std::time::SystemTime;

use tokentide_calibrate::probe::clock::date;

/// The day in UTC, as `YYYY-MM-DD`.
pub fn today() -> String {
    let seconds = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).map_or(0, |d| d.as_secs());
    date(seconds / 86_400)
}
