//! Parses the times that people write for queries.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use tidegate_model::WallTime;

/// An absolute time, or one relative to now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum When {
    /// The time of the call.
    Now,
    /// That long before the call.
    Ago(Duration),
    /// An absolute time.
    At(WallTime),
}

/// The text is not a [`When`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "invalid time \"{text}\"; write now, 2h (two hours ago), 2026-05-01T10:00:00Z, or milliseconds \
     since 1970 such as 1777629600000"
)]
pub struct WhenError {
    text: String,
}

impl When {
    /// Returns the absolute time, for actions without relative times.
    pub fn resolve(self, now: WallTime) -> WallTime {
        match self {
            Self::Now => now,
            Self::Ago(duration) => now.minus(duration),
            Self::At(moment) => moment,
        }
    }

    /// Returns the number for actions with a period (rest-api/device, "Export").
    ///
    /// 0 is now, and a negative number is relative to now, both by Losant's clock. A time before
    /// 1970 becomes the first millisecond after it.
    pub fn as_period_millis(self) -> i64 {
        match self {
            Self::Now => 0,
            Self::Ago(duration) => {
                i64::try_from(duration.as_millis()).map_or(i64::MIN, |millis| -millis)
            }
            Self::At(moment) => moment.as_millis().max(1),
        }
    }
}

impl FromStr for When {
    type Err = WhenError;

    /// Parses a time. Rejects 0, which some actions read as now and others as 1970.
    fn from_str(text: &str) -> Result<Self, WhenError> {
        if text == "now" {
            return Ok(Self::Now);
        }
        if let Ok(millis) = text.parse::<i64>() {
            return match millis {
                1.. => Ok(Self::At(WallTime::from_millis(millis))),
                0 => Err(WhenError { text: text.to_owned() }),
                _ => Ok(Self::Ago(Duration::from_millis(millis.unsigned_abs()))),
            };
        }
        let moment = WallTime::parse(text).map(Self::At);
        let ago = || humantime::parse_duration(text).ok().map(Self::Ago);
        moment.or_else(ago).ok_or_else(|| WhenError { text: text.to_owned() })
    }
}

impl fmt::Display for When {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Now => formatter.write_str("now"),
            Self::Ago(duration) => {
                write!(formatter, "{} ago", humantime::format_duration(*duration))
            }
            Self::At(moment) => moment.fmt(formatter),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: i64 = 1_777_629_600_000;

    #[test]
    fn every_way_to_write_a_time_is_read() {
        for (text, resolved, period) in [
            ("now", NOW, 0),
            ("2h", NOW - 7_200_000, -7_200_000),
            ("1day 12h", NOW - 129_600_000, -129_600_000),
            ("-7200000", NOW - 7_200_000, -7_200_000),
            ("1777629600000", NOW, NOW),
            ("2026-05-01T10:00:00Z", NOW, NOW),
            ("2026-05-01T12:00:00.000+02:00", NOW, NOW),
            ("1", 1, 1),
            ("1950-01-01T00:00:00Z", -631_152_000_000, 1),
        ] {
            let when: When = text.parse().unwrap();
            assert_eq!(when.resolve(WallTime::from_millis(NOW)).as_millis(), resolved, "{text}");
            assert_eq!(when.as_period_millis(), period, "{text}");
        }
    }

    #[test]
    fn rejects_ambiguous_and_invalid_times() {
        for text in ["", "0", "soon", "2", "10:00", "2026-05-01", "2026-05-01T10:00:00", "1.5"] {
            // A small number is a moment just after 1970, as Losant reads it.
            assert_eq!(text.parse::<When>().is_ok(), text == "2", "{text}");
        }
    }
}
