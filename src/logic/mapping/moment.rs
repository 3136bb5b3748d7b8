//! The time that a message carries.

use std::time::Duration;

use jiff::civil;
use jiff::tz::TimeZone;

use super::Rejection;
use super::conversion::{number, text};
use crate::logic::clock_trust::uptime_of;
use crate::logic::excerpt::excerpt;
use crate::model::{Reason, Timestamp, Value};

/// The oldest state that Losant keeps (devices/state, "time").
const AGE_MAX: Duration = Duration::from_secs(30 * 86_400);

/// How far ahead a state may be for Losant to keep it (devices/state, "time").
const AHEAD_MAX: Duration = Duration::from_secs(86_400);

/// Where a message says when it was measured.
#[derive(Debug, Clone)]
pub struct TimeSource {
    /// The channel. A message without it was measured when it came.
    pub channel: String,
    /// How it is written.
    pub notation: TimeNotation,
}

/// How a time is written.
#[derive(Debug, Clone)]
pub enum TimeNotation {
    /// Seconds since the Unix epoch, with or without decimals.
    UnixSeconds,
    /// Milliseconds since the Unix epoch.
    UnixMillis,
    /// RFC 3339, with an offset: `2026-05-01T12:00:00+02:00`.
    Rfc3339,
    /// As `strptime` reads it. Without an offset in it, it is of this zone.
    Pattern {
        /// For example `%d.%m.%Y %H:%M:%S`.
        pattern: String,
        /// Where its clock stands.
        zone: TimeZone,
    },
}

impl TimeSource {
    /// The time in `value`, of a message that came at `arrival`. While the time of day is not known, any time of day is taken:
    /// it is judged when the state is sent, by when it is known.
    pub(super) fn read(&self, value: &Value, arrival: Timestamp) -> Result<Timestamp, Rejection> {
        let time = self.notation.parse(value).ok_or_else(|| {
            let text = text(value);
            let text = excerpt(text.as_bytes());
            (Reason::BadTime, format!("\"{text}\" is no time as the sensor's time.format says"))
        })?;
        let is_kept = match uptime_of(arrival) {
            Some(_) => uptime_of(time).is_none(),
            None => arrival.since(time) <= AGE_MAX && time.since(arrival) <= AHEAD_MAX,
        };
        if !is_kept {
            let why = format!("the message's time {time} is more than 30 days old or a day ahead");
            return Err((Reason::BadTime, why));
        }
        Ok(time)
    }
}

impl TimeNotation {
    fn parse(&self, value: &Value) -> Option<Timestamp> {
        match (self, value) {
            (Self::UnixMillis, Value::Integer(millis)) => Some(Timestamp::from_millis(*millis)),
            (Self::UnixSeconds, Value::Integer(seconds)) => {
                Some(Timestamp::from_millis(seconds.saturating_mul(1_000)))
            }
            (Self::UnixMillis, _) => number(value).and_then(from_float),
            (Self::UnixSeconds, _) => number(value).and_then(|seconds| from_float(seconds * 1e3)),
            (Self::Rfc3339, Value::Text(text)) => Timestamp::parse(text),
            (Self::Rfc3339, Value::Integer(_) | Value::Float(_) | Value::Boolean(_)) => None,
            (Self::Pattern { pattern, zone }, value) => parse(pattern, zone, &text(value)),
        }
    }
}

fn from_float(millis: f64) -> Option<Timestamp> {
    #[expect(clippy::cast_possible_truncation, reason = "it saturates, and so does the timestamp")]
    millis.is_finite().then(|| Timestamp::from_millis(millis.round() as i64))
}

fn parse(pattern: &str, zone: &TimeZone, text: &str) -> Option<Timestamp> {
    let broken_down = jiff::fmt::strtime::parse(pattern, text).ok()?;
    // A message with an offset or a zone of its own needs no other.
    let timestamp = broken_down.to_timestamp().ok().or_else(|| {
        let clock: civil::DateTime = broken_down.to_datetime().ok()?;
        // Of the hour that occurs twice in autumn the first is taken, and the hour that spring leaves out is moved on.
        zone.to_ambiguous_timestamp(clock).compatible().ok()
    })?;
    Some(Timestamp::from_millis(timestamp.as_millisecond()))
}

#[cfg(test)]
mod tests {
    use super::*;

    const ARRIVAL: &str = "2026-05-01T10:00:05.000Z";

    fn read(notation: TimeNotation, value: &Value) -> Result<String, Reason> {
        let source = TimeSource { channel: "at".to_owned(), notation };
        let arrival = Timestamp::parse(ARRIVAL).unwrap();
        source.read(value, arrival).map(|time| time.to_string()).map_err(|(reason, _)| reason)
    }

    fn text(text: &str) -> Value {
        Value::Text(text.to_owned())
    }

    #[test]
    fn a_time_is_read_as_it_is_written() {
        let ten = Ok("2026-05-01T10:00:00.000Z".to_owned());
        let pattern = |pattern: &str, hours| TimeNotation::Pattern {
            pattern: pattern.to_owned(),
            zone: TimeZone::fixed(jiff::tz::offset(hours)),
        };
        for (notation, value) in [
            (TimeNotation::UnixSeconds, Value::Integer(1_777_629_600)),
            (TimeNotation::UnixSeconds, Value::Float(1_777_629_600.0)),
            (TimeNotation::UnixMillis, Value::Integer(1_777_629_600_000)),
            (TimeNotation::Rfc3339, text("2026-05-01T12:00:00+02:00")),
            (pattern("%d.%m.%Y %H:%M:%S", 2), text("01.05.2026 12:00:00")),
            (pattern("%Y%m%d%H%M", 0), Value::Integer(202_605_011_000)),
            (pattern("%Y-%m-%d %H:%M:%S %z", 0), text("2026-05-01 12:00:00 +0200")),
        ] {
            assert_eq!(read(notation.clone(), &value), ten, "{notation:?}");
        }
    }

    #[test]
    fn before_the_time_of_day_is_known_a_time_of_day_is_taken_and_nothing_else() {
        let source = TimeSource { channel: "at".to_owned(), notation: TimeNotation::UnixSeconds };
        let since_boot = Timestamp::from_millis(61_500);
        let read = |seconds| source.read(&Value::Integer(seconds), since_boot);
        assert_eq!(read(1_777_629_600), Ok(Timestamp::from_millis(1_777_629_600_000)));
        // A clock that nobody set shows 1970, which would pass for a time since boot.
        assert_eq!(read(3_000_000).map_err(|(reason, _)| reason), Err(Reason::BadTime));
        assert_eq!(read(30).map_err(|(reason, _)| reason), Err(Reason::BadTime));
    }

    #[test]
    fn a_time_that_losant_would_ignore_or_nobody_can_read_is_refused() {
        for value in [
            text("now"),
            text("2026-03-31T10:00:00Z"),
            text("2026-05-02T10:00:06Z"),
            Value::Integer(1),
        ] {
            assert_eq!(read(TimeNotation::Rfc3339, &value), Err(Reason::BadTime));
        }
        assert_eq!(
            read(TimeNotation::UnixSeconds, &Value::Integer(i64::MAX)),
            Err(Reason::BadTime)
        );
    }
}
