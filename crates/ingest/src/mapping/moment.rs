//! The time that a message carries.

use std::time::Duration;

use jiff::civil::{Date, DateTime};
use jiff::tz::{AmbiguousOffset, Offset, TimeZone};

use super::Rejection;
use super::conversion::{number, text};
use tidegate_model::excerpt::excerpt;
use tidegate_model::{ReadingTime, Reason, Value, WallTime};

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
    /// As smart meters write it (DSMR 4 and 5, section 6.4): `260501120000S`.
    Dsmr {
        /// Where the meter stands.
        zone: TimeZone,
    },
}

impl TimeSource {
    /// The time in `value`, of a message that came at `arrival`. While the time of day is not known, any time of day is taken:
    /// it is judged when the state is sent, by when it is known.
    pub(super) fn read(
        &self,
        value: &Value,
        word: Option<&str>,
        arrival: ReadingTime,
    ) -> Result<WallTime, Rejection> {
        // As a number, 01052026 has lost its first digit.
        let written = word.map_or_else(|| text(value), str::to_owned);
        let time = self.notation.parse(value, &written, arrival.wall()).ok_or_else(|| {
            let text = excerpt(written.as_bytes());
            (Reason::BadTime, format!("\"{text}\" is no time as the sensor's time.format says"))
        })?;
        let is_kept = match arrival {
            ReadingTime::Boot(_) => time.is_plausible(),
            ReadingTime::Wall(arrival) => {
                arrival.since(time) <= AGE_MAX && time.since(arrival) <= AHEAD_MAX
            }
        };
        if !is_kept {
            let why = format!("the message's time {time} is more than 30 days old or a day ahead");
            return Err((Reason::BadTime, why));
        }
        Ok(time)
    }
}

impl TimeNotation {
    /// Whether a pattern reads back the day and the hour that it wrote.
    ///
    /// # Errors
    /// When it does not, since it has no year, or twelve hours without `%p`.
    pub fn check_pattern(pattern: &str) -> Result<(), String> {
        let sample = DateTime::constant(2026, 11, 23, 22, 45, 56, 0);
        let utc = sample.to_zoned(TimeZone::UTC).map_err(|error| error.to_string())?;
        let written =
            jiff::fmt::strtime::format(pattern, &utc).map_err(|error| error.to_string())?;
        let read = jiff::fmt::strtime::parse(pattern, &written)
            .and_then(|read| {
                read.to_timestamp()
                    .map(|time| TimeZone::UTC.to_datetime(time))
                    .or_else(|_| read.to_datetime())
            })
            .map_err(|error| format!("a time cannot be read with it: {error}"))?;
        let is_same = read.date() == sample.date() && [sample.hour(), 0].contains(&read.hour());
        if is_same { Ok(()) } else { Err(format!("with it, {sample} reads as {read}")) }
    }

    fn parse(&self, value: &Value, written: &str, arrival: Option<WallTime>) -> Option<WallTime> {
        // JSON often has numbers between quotes.
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
                // A message with an offset or a zone of its own needs no other.
                broken_down
                    .to_timestamp()
                    .ok()
                    .map(from_jiff)
                    .or_else(|| nearest(zone, broken_down.to_datetime().ok()?, arrival))
            }
            (Self::Dsmr { zone }, _) => dsmr(zone, written),
        }
    }
}

fn from_float(millis: f64) -> Option<WallTime> {
    #[expect(clippy::cast_possible_truncation, reason = "it saturates, and so does the timestamp")]
    millis.is_finite().then(|| WallTime::from_millis(millis.round() as i64))
}

fn from_jiff(timestamp: jiff::Timestamp) -> WallTime {
    WallTime::from_millis(timestamp.as_millisecond())
}

/// Of the hour that occurs twice in autumn, the one that is nearer to the arrival; the hour that spring leaves out is moved on.
fn nearest(zone: &TimeZone, clock: DateTime, arrival: Option<WallTime>) -> Option<WallTime> {
    let ambiguous = zone.to_ambiguous_timestamp(clock);
    let is_fold = matches!(ambiguous.offset(), AmbiguousOffset::Fold { .. });
    let Some(arrival) = arrival.filter(|_| is_fold) else {
        return ambiguous.compatible().ok().map(from_jiff);
    };
    let both = [ambiguous.earlier(), ambiguous.later()].map(|one| one.ok().map(from_jiff));
    both.into_iter().flatten().min_by_key(|one| one.since(arrival).max(arrival.since(*one)))
}

/// `260501120000S`: year to second, and whether it is summer time. Some meters stay on winter time all year, so the letter
/// alone decides; in a zone without a summer, `S` is an hour ahead of it.
fn dsmr(zone: &TimeZone, text: &str) -> Option<WallTime> {
    let (digits, is_summer) = match text.trim().split_at_checked(12)? {
        (digits, "S") => (digits, true),
        (digits, "W") => (digits, false),
        _ => return None,
    };
    let clock = jiff::fmt::strtime::parse("%y%m%d%H%M%S", digits).ok()?.to_datetime().ok()?;
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
            .map_err(|(reason, _)| reason)
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
    fn a_number_between_quotes_is_a_time_and_so_is_a_word_with_its_first_digit() {
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
        assert_eq!(time.map(|time| time.to_string()).map_err(|(reason, _)| reason), ten);
    }

    #[test]
    fn a_pattern_that_cannot_tell_the_time_is_no_pattern() {
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
    fn of_the_hour_that_occurs_twice_the_nearer_one_is_meant() {
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
    fn a_smart_meter_says_whether_it_is_summer() {
        let central = TimeZone::posix("CET-1CEST,M3.5.0,M10.5.0/3").unwrap();
        let fixed = TimeZone::fixed(jiff::tz::offset(1));
        for (zone, written, arrival, expected) in [
            (&central, "260501120000S", "2026-05-01T10:00:05Z", "2026-05-01T10:00:00.000Z"),
            // In Sweden the meters have no summer.
            (&central, "260501110000W", "2026-05-01T10:00:05Z", "2026-05-01T10:00:00.000Z"),
            (&central, "261025023000S", "2026-10-25T01:30:05Z", "2026-10-25T00:30:00.000Z"),
            (&central, "261025023000W", "2026-10-25T00:30:05Z", "2026-10-25T01:30:00.000Z"),
            (&fixed, "260501120000S", "2026-05-01T10:00:05Z", "2026-05-01T10:00:00.000Z"),
        ] {
            let notation = TimeNotation::Dsmr { zone: zone.clone() };
            let source = TimeSource { channel: "at".to_owned(), notation };
            let time = source.read(&text(written), None, WallTime::parse(arrival).unwrap().into());
            assert_eq!(time.unwrap().to_string(), expected, "{written}");
        }
        for wrong in ["260501120000", "260501120000X", "2605011200S", "", "ä60501120000S"] {
            let notation = TimeNotation::Dsmr { zone: central.clone() };
            assert_eq!(read(notation, &text(wrong)), Err(Reason::BadTime), "{wrong}");
        }
    }

    #[test]
    fn before_the_time_of_day_is_known_a_time_of_day_is_taken_and_nothing_else() {
        let source = TimeSource { channel: "at".to_owned(), notation: TimeNotation::UnixSeconds };
        let since_boot = ReadingTime::Boot(BootTime { boot: BootId(1), uptime_ms: 61_500 });
        let read = |seconds| source.read(&Value::Integer(seconds), None, since_boot);
        assert_eq!(read(1_777_629_600), Ok(WallTime::from_millis(1_777_629_600_000)));
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
