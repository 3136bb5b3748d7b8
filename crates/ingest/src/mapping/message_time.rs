//! The time of measurement in a message.

use std::time::Duration;

use jiff::civil::{Date, DateTime};
use jiff::tz::{AmbiguousOffset, Offset, TimeZone};

use super::conversion::{number, text};
use super::rejection::Rejection;
use tidegate_model::excerpt::excerpt;
use tidegate_model::{ReadingTime, Reason, Value, WallTime};

/// The age of the oldest state that Losant keeps (devices/state, "time").
const AGE_MAX: Duration = Duration::from_secs(30 * 86_400);

/// The furthest future time of a state that Losant keeps (devices/state, "time").
const AHEAD_MAX: Duration = Duration::from_secs(86_400);

/// The channel with the time of measurement.
#[derive(Debug, Clone, PartialEq)]
pub struct TimeSource {
    /// The channel. Without it, the time of arrival counts.
    pub channel: String,
    /// The notation of the time.
    pub notation: TimeNotation,
}

/// The notation of a time.
#[derive(Debug, Clone, PartialEq)]
pub enum TimeNotation {
    /// Seconds since the Unix epoch, with or without decimals.
    UnixSeconds,
    /// Milliseconds since the Unix epoch.
    UnixMillis,
    /// RFC 3339, with an offset: `2026-05-01T12:00:00+02:00`.
    Rfc3339,
    /// A `strptime` pattern.
    Pattern {
        /// For example `%d.%m.%Y %H:%M:%S`.
        pattern: String,
        /// The time zone of a time without an offset.
        zone: TimeZone,
    },
    /// The notation of smart meters, `260501120000S` (DSMR 4 and 5, section 6.4). Without the
    /// letter (DSMR 2 and 3), it is the local time.
    Dsmr {
        /// The time zone of the meter.
        zone: TimeZone,
    },
}

/// The reason that a time pattern is not valid.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TimePatternError {
    /// The pattern has an unknown directive.
    #[error("invalid time pattern: {0}")]
    Invalid(String),
    /// A time that was written with the pattern cannot be parsed, for example without the year.
    #[error("a time written with the pattern cannot be parsed: {0}")]
    NotParsable(String),
    /// A time that was written with the pattern is parsed as another time.
    #[error("with the pattern, {written} is parsed as {parsed}")]
    Ambiguous {
        /// The time that was written.
        written: DateTime,
        /// The time that was parsed.
        parsed: DateTime,
    },
}

impl TimeSource {
    /// Returns the time in `value` of a message that arrived at `arrival`.
    ///
    /// `original` is the text in the message, if it differs from the value. Without a known time of
    /// day each plausible time is accepted, and checked when the state is sent.
    pub(super) fn read(
        &self,
        value: &Value,
        original: Option<&str>,
        arrival: ReadingTime,
    ) -> Result<WallTime, Rejection> {
        // The number of 01052026 lacks the first digit.
        let written = original.map_or_else(|| text(value), str::to_owned);
        let time = self.notation.parse(value, &written, arrival.wall()).ok_or_else(|| {
            let text = excerpt(written.as_bytes());
            Rejection::new(Reason::BadTime, format!("\"{text}\" does not match time.format"))
        })?;
        let is_accepted = match arrival {
            ReadingTime::Boot(_) => time.is_plausible(),
            ReadingTime::Wall(arrival) => {
                arrival.since(time) <= AGE_MAX && time.since(arrival) <= AHEAD_MAX
            }
        };
        if !is_accepted {
            let detail =
                format!("the time {time} is more than 30 days old or more than a day ahead");
            return Err(Rejection::new(Reason::BadTime, detail));
        }
        Ok(time)
    }
}

impl TimeNotation {
    /// Checks that a pattern parses the day and the hour that it writes.
    ///
    /// # Errors
    /// If it does not, for example without a year, or with 12 hours and without `%p`.
    pub fn check_pattern(pattern: &str) -> Result<(), TimePatternError> {
        let invalid = |error: jiff::Error| TimePatternError::Invalid(error.to_string());
        let sample = DateTime::constant(2026, 11, 23, 22, 45, 56, 0);
        let utc = sample.to_zoned(TimeZone::UTC).map_err(invalid)?;
        let written = jiff::fmt::strtime::format(pattern, &utc).map_err(invalid)?;
        let parsed = jiff::fmt::strtime::parse(pattern, &written)
            .and_then(|parsed| {
                parsed
                    .to_timestamp()
                    .map(|time| TimeZone::UTC.to_datetime(time))
                    .or_else(|_| parsed.to_datetime())
            })
            .map_err(|error| TimePatternError::NotParsable(error.to_string()))?;
        let is_hour = [sample.hour(), 0].contains(&parsed.hour());
        if parsed.date() == sample.date() && is_hour {
            Ok(())
        } else {
            Err(TimePatternError::Ambiguous { written: sample, parsed })
        }
    }

    fn parse(&self, value: &Value, written: &str, arrival: Option<WallTime>) -> Option<WallTime> {
        // JSON often has numbers in quotes.
        let number = || number(value).or_else(|| written.trim().parse().ok());
        match (self, value) {
            (Self::UnixMillis, Value::Integer(millis)) => Some(WallTime::from_millis(*millis)),
            (Self::UnixSeconds, Value::Integer(seconds)) => {
                Some(WallTime::from_millis(seconds.saturating_mul(1_000)))
            }
            (Self::UnixMillis, _) => number().and_then(from_float),
            (Self::UnixSeconds, _) => number().and_then(|seconds| from_float(seconds * 1e3)),
            (Self::Rfc3339, Value::Text(text)) => WallTime::parse(text),
            (Self::Rfc3339, Value::Integer(_) | Value::Float(_) | Value::Boolean(_)) => None,
            (Self::Pattern { pattern, zone }, _) => {
                let broken_down = jiff::fmt::strtime::parse(pattern, written).ok()?;
                // A time with an offset does not need the time zone.
                broken_down
                    .to_timestamp()
                    .ok()
                    .map(from_jiff)
                    .or_else(|| nearest(zone, broken_down.to_datetime().ok()?, arrival))
            }
            (Self::Dsmr { zone }, _) => dsmr(zone, written, arrival),
        }
    }
}

fn from_float(millis: f64) -> Option<WallTime> {
    #[expect(clippy::cast_possible_truncation, reason = "the cast saturates, as the time does")]
    millis.is_finite().then(|| WallTime::from_millis(millis.round() as i64))
}

fn from_jiff(timestamp: jiff::Timestamp) -> WallTime {
    WallTime::from_millis(timestamp.as_millisecond())
}

/// Converts a local time. An hour that occurs twice in autumn is the one nearer to the arrival.
///
/// A time in the hour that is skipped in spring moves forward.
fn nearest(zone: &TimeZone, clock: DateTime, arrival: Option<WallTime>) -> Option<WallTime> {
    let ambiguous = zone.to_ambiguous_timestamp(clock);
    let is_fold = matches!(ambiguous.offset(), AmbiguousOffset::Fold { .. });
    let Some(arrival) = arrival.filter(|_| is_fold) else {
        return ambiguous.compatible().ok().map(from_jiff);
    };
    let both = [ambiguous.earlier(), ambiguous.later()].map(|one| one.ok().map(from_jiff));
    both.into_iter().flatten().min_by_key(|one| one.since(arrival).max(arrival.since(*one)))
}

/// Parses `260501120000S`: year to second, and `S` for summer time or `W` for winter time.
///
/// Only the letter decides, because some meters use winter time all year. In a time zone without
/// summer time, `S` is an hour ahead.
fn dsmr(zone: &TimeZone, text: &str, arrival: Option<WallTime>) -> Option<WallTime> {
    let (digits, letter) = text.trim().split_at_checked(12)?;
    let clock = jiff::fmt::strtime::parse("%y%m%d%H%M%S", digits).ok()?.to_datetime().ok()?;
    let is_summer = match letter {
        "S" => true,
        "W" => false,
        "" => return nearest(zone, clock, arrival),
        _ => return None,
    };
    let in_month = |month| {
        let day = Date::new(clock.year(), month, 1).ok()?;
        Some(
            zone.to_timestamp(day.at(12, 0, 0, 0)).map(|noon| zone.to_offset(noon)).ok()?.seconds(),
        )
    };
    let (january, july) = (in_month(1)?, in_month(7)?);
    let winter = january.min(july);
    let summer = if january == july { winter + 3_600 } else { january.max(july) };
    let offset = Offset::from_seconds(if is_summer { summer } else { winter }).ok()?;
    offset.to_timestamp(clock).ok().map(from_jiff)
}

#[cfg(test)]
mod tests {
    use super::*;
    use tidegate_model::{BootId, BootTime};

    const ARRIVAL: &str = "2026-05-01T10:00:05.000Z";

    fn read(notation: TimeNotation, value: &Value) -> Result<String, Reason> {
        let source = TimeSource { channel: "at".to_owned(), notation };
        let arrival = WallTime::parse(ARRIVAL).unwrap();
        source
            .read(value, None, arrival.into())
            .map(|time| time.to_string())
            .map_err(|rejection| rejection.reason)
    }

    fn text(text: &str) -> Value {
        Value::Text(text.to_owned())
    }

    #[test]
    fn parses_all_notations() {
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
    fn parses_numbers_in_quotes_and_original_texts() {
        let ten = Ok("2026-05-01T10:00:00.000Z".to_owned());
        assert_eq!(read(TimeNotation::UnixSeconds, &text("1777629600")), ten);
        assert_eq!(read(TimeNotation::UnixSeconds, &text("1777629600.0")), ten);
        assert_eq!(read(TimeNotation::UnixMillis, &text(" 1777629600000")), ten);
        let notation =
            TimeNotation::Pattern { pattern: "%d%m%Y%H%M%S".to_owned(), zone: TimeZone::UTC };
        let source = TimeSource { channel: "at".to_owned(), notation };
        let arrival = WallTime::parse(ARRIVAL).unwrap();
        let value = Value::Integer(1_052_026_100_000);
        let time = source.read(&value, Some("01052026100000"), arrival.into());
        assert_eq!(time.map(|time| time.to_string()).map_err(|rejection| rejection.reason), ten);
    }

    #[test]
    fn rejects_ambiguous_patterns() {
        for good in [
            "%d.%m.%Y %H:%M:%S",
            "%Y%m%d%H%M",
            "%Y-%m-%d",
            "%s",
            "%Y-%m-%dT%H:%M:%S%.f%z",
            "%y/%m/%d %I:%M %p",
            "%b %d %Y %T",
            "%Y %j %H:%M",
            "%F %T %Q",
        ] {
            assert_eq!(TimeNotation::check_pattern(good), Ok(()), "{good}");
        }
        for bad in ["%H:%M:%S", "%m-%d %H:%M:%S", "%Y-%m %H:%M", "%Y-%m-%d %I:%M", "%K", "%"] {
            assert!(TimeNotation::check_pattern(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn repeated_hour_is_the_one_nearer_to_arrival() {
        let zone = TimeZone::posix("CET-1CEST,M3.5.0,M10.5.0/3").unwrap();
        let pattern = "%Y-%m-%d %H:%M".to_owned();
        let notation = TimeNotation::Pattern { pattern, zone: zone.clone() };
        let source = TimeSource { channel: "at".to_owned(), notation };
        let read = |clock: &str, arrival: &str| {
            let time = source.read(&text(clock), None, WallTime::parse(arrival).unwrap().into());
            time.unwrap().to_string()
        };
        let half = "2026-10-25 02:30";
        assert_eq!(read(half, "2026-10-25T00:30:05Z"), "2026-10-25T00:30:00.000Z");
        assert_eq!(read(half, "2026-10-25T01:30:05Z"), "2026-10-25T01:30:00.000Z");
        assert_eq!(read("2026-03-29 02:30", "2026-03-29T01:30:05Z"), "2026-03-29T01:30:00.000Z");
    }

    #[test]
    fn smart_meter_letter_selects_the_offset() {
        let central = TimeZone::posix("CET-1CEST,M3.5.0,M10.5.0/3").unwrap();
        let fixed = TimeZone::fixed(jiff::tz::offset(1));
        for (zone, written, arrival, expected) in [
            (&central, "260501120000S", "2026-05-01T10:00:05Z", "2026-05-01T10:00:00.000Z"),
            // The meters of Sweden use winter time all year.
            (&central, "260501110000W", "2026-05-01T10:00:05Z", "2026-05-01T10:00:00.000Z"),
            (&central, "261025023000S", "2026-10-25T01:30:05Z", "2026-10-25T00:30:00.000Z"),
            (&central, "261025023000W", "2026-10-25T00:30:05Z", "2026-10-25T01:30:00.000Z"),
            // DSMR 2 has no letter.
            (&central, "260501120000", "2026-05-01T10:00:05Z", "2026-05-01T10:00:00.000Z"),
            (&central, "261025023000", "2026-10-25T01:30:05Z", "2026-10-25T01:30:00.000Z"),
            (&fixed, "260501120000S", "2026-05-01T10:00:05Z", "2026-05-01T10:00:00.000Z"),
        ] {
            let notation = TimeNotation::Dsmr { zone: zone.clone() };
            let source = TimeSource { channel: "at".to_owned(), notation };
            let time = source.read(&text(written), None, WallTime::parse(arrival).unwrap().into());
            assert_eq!(time.unwrap().to_string(), expected, "{written}");
        }
        for wrong in ["260501120000X", "2605011200S", "", "ä60501120000S"] {
            let notation = TimeNotation::Dsmr { zone: central.clone() };
            assert_eq!(read(notation, &text(wrong)), Err(Reason::BadTime), "{wrong}");
        }
    }

    #[test]
    fn unknown_time_of_day_accepts_plausible_times() {
        let source = TimeSource { channel: "at".to_owned(), notation: TimeNotation::UnixSeconds };
        let since_boot = ReadingTime::Boot(BootTime { boot: BootId(1), uptime_ms: 61_500 });
        let read = |seconds| source.read(&Value::Integer(seconds), None, since_boot);
        assert_eq!(read(1_777_629_600), Ok(WallTime::from_millis(1_777_629_600_000)));
        // A clock that was never set shows 1970.
        assert_eq!(read(3_000_000).map_err(|rejection| rejection.reason), Err(Reason::BadTime));
        assert_eq!(read(30).map_err(|rejection| rejection.reason), Err(Reason::BadTime));
    }

    #[test]
    fn rejects_invalid_and_ignored_times() {
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
