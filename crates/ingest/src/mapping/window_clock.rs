//! The start and the end of windows: at the first value, or by the clock.

use std::time::Duration;

use jiff::civil::Time;
use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp};

use tidegate_model::{ReadingTime, WallTime};

/// The start of a window.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum WindowStart {
    /// A window starts with its first value.
    #[default]
    FirstValue,
    /// Windows start at midnight of this zone, and after each length from there.
    Clock(TimeZone),
}

/// An hour. Up to this length, windows have the same length also when the clock is changed.
const HOUR_MS: i64 = 3_600_000;

/// A day.
const DAY_MS: i64 = 24 * HOUR_MS;

impl WindowStart {
    /// Returns whether a window of the clock may have this length: a whole number of them is a day.
    pub fn fits(length: Duration) -> bool {
        let day = Duration::from_millis(DAY_MS.unsigned_abs());
        !length.is_zero() && length <= day && day.as_millis().is_multiple_of(length.as_millis())
    }

    /// Returns the end of the window that contains a time; `None` if the clock does not decide it.
    pub(super) fn end_after(&self, time: ReadingTime, length: Duration) -> Option<WallTime> {
        let (Self::Clock(zone), Some(time)) = (self, time.wall()) else { return None };
        let length = i64::try_from(length.as_millis()).ok().filter(|length| *length > 0)?;
        let timestamp = Timestamp::from_millisecond(time.as_millis()).ok()?;
        if length <= HOUR_MS {
            let offset = i64::from(zone.to_offset(timestamp).seconds()) * 1_000;
            let local = time.as_millis() + offset;
            return Some(WallTime::from_millis(local - local.rem_euclid(length) + length - offset));
        }
        let local = zone.to_datetime(timestamp);
        let clock = local.time();
        let seconds = [clock.hour(), clock.minute(), clock.second()].map(i64::from);
        let [hours, minutes, seconds] = seconds;
        let since_ms =
            hours * HOUR_MS + minutes * 60_000 + seconds * 1_000 + i64::from(clock.millisecond());
        let end_ms = (since_ms.div_euclid(length) + 1) * length;
        let midnight = local.date().to_datetime(Time::midnight());
        let end = midnight.checked_add(SignedDuration::from_millis(end_ms)).ok()?;
        let end = WallTime::from_millis(zone.to_timestamp(end).ok()?.as_millisecond());
        // In an hour that occurs twice, the clock may have passed the end before.
        Some(if end > time {
            end
        } else {
            time.plus(Duration::from_millis(HOUR_MS.unsigned_abs()))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Returns the end of the window that contains a time.
    fn end(zone: &str, length_s: u64, time: &str) -> String {
        let start = WindowStart::Clock(TimeZone::get(zone).unwrap());
        let time = WallTime::parse(time).unwrap();
        start.end_after(time.into(), Duration::from_secs(length_s)).unwrap().to_string()
    }

    #[test]
    fn windows_follow_the_clock_of_their_zone() {
        let hour = 3_600;
        let at = "2026-05-01T10:20:30.500Z";
        assert_eq!(end("UTC", 60, at), "2026-05-01T10:21:00.000Z");
        assert_eq!(end("UTC", hour, at), "2026-05-01T11:00:00.000Z");
        assert_eq!(end("UTC", hour, "2026-05-01T11:00:00.000Z"), "2026-05-01T12:00:00.000Z");
        assert_eq!(end("Asia/Kolkata", hour, at), "2026-05-01T10:30:00.000Z");
        assert_eq!(end("Europe/Berlin", 24 * hour, at), "2026-05-01T22:00:00.000Z");
        assert_eq!(end("Europe/Berlin", 6 * hour, at), "2026-05-01T16:00:00.000Z");
    }

    #[test]
    fn days_have_23_or_25_hours_when_the_clock_changes() {
        let day = 86_400;
        let (spring, autumn) = ("2026-03-29T00:30:00Z", "2026-10-25T00:30:00Z");
        assert_eq!(end("Europe/Berlin", day, spring), "2026-03-29T22:00:00.000Z");
        assert_eq!(end("Europe/Berlin", day, autumn), "2026-10-25T23:00:00.000Z");
        // Both hours from 2 to 3 o'clock have windows of their own.
        assert_eq!(end("Europe/Berlin", 3_600, autumn), "2026-10-25T01:00:00.000Z");
        assert_eq!(end("Europe/Berlin", 3_600, "2026-10-25T01:30:00Z"), "2026-10-25T02:00:00.000Z");
    }

    #[test]
    fn only_parts_of_a_day_fit() {
        for (seconds, fits) in [(0, false), (1, true), (7, false), (900, true), (86_400, true)] {
            assert_eq!(WindowStart::fits(Duration::from_secs(seconds)), fits, "{seconds} s");
        }
        assert!(!WindowStart::fits(Duration::from_secs(2 * 86_400)));
    }
}
