//! Wall-clock time as Losant stores it: whole milliseconds since the Unix epoch.

use std::fmt;
use std::time::Duration;

use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// Holds a date and time of day, in milliseconds since the Unix epoch, UTC.
///
/// The text form is ISO 8601 with 24 characters: three decimals and `Z`. Losant can mistake neither
/// the unit nor the zone of this form.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct WallTime(i64);

/// The range of the 24-character form: years 0000 to 9999.
const MILLIS_RANGE: std::ops::RangeInclusive<i64> = -62_167_219_200_000..=253_402_300_799_999;

impl WallTime {
    /// 1 January 1970, 00:00 UTC.
    pub const EPOCH: Self = Self(0);

    /// 1 January 2025, 00:00 UTC. A clock that shows an earlier time was never set.
    pub const EARLIEST: Self = Self(1_735_689_600_000);

    /// Creates the time `millis` after the Unix epoch, limited to the years 0000 to 9999.
    pub fn from_millis(millis: i64) -> Self {
        Self(millis.clamp(*MILLIS_RANGE.start(), *MILLIS_RANGE.end()))
    }

    /// Returns the milliseconds since the Unix epoch; negative before it.
    pub fn as_millis(self) -> i64 {
        self.0
    }

    /// Returns whether a clock that was set can show this time: not before [`WallTime::EARLIEST`].
    pub fn is_plausible(self) -> bool {
        self >= Self::EARLIEST
    }

    /// Returns the time `duration` later.
    #[must_use]
    pub fn plus(self, duration: Duration) -> Self {
        let millis = i64::try_from(duration.as_millis()).unwrap_or(i64::MAX);
        Self::from_millis(self.0.saturating_add(millis))
    }

    /// Returns the time `duration` earlier.
    #[must_use]
    pub fn minus(self, duration: Duration) -> Self {
        let millis = i64::try_from(duration.as_millis()).unwrap_or(i64::MAX);
        Self::from_millis(self.0.saturating_sub(millis))
    }

    /// Returns the duration since `earlier`; zero if `earlier` is later.
    pub fn since(self, earlier: Self) -> Duration {
        Duration::from_millis(u64::try_from(self.0.saturating_sub(earlier.0)).unwrap_or(0))
    }

    /// Parses a text such as `2026-05-01T10:00:00.000Z`, with any offset.
    pub fn parse(text: &str) -> Option<Self> {
        let timestamp: jiff::Timestamp = text.parse().ok()?;
        Some(Self::from_millis(timestamp.as_millisecond()))
    }
}

impl fmt::Display for WallTime {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match jiff::Timestamp::from_millisecond(self.0) {
            Ok(timestamp) => write!(formatter, "{timestamp:.3}"),
            // The last hours of year 9999 are outside of jiff's range, so that every offset fits.
            Err(_) => write!(formatter, "{:.3}", jiff::Timestamp::MAX),
        }
    }
}

impl Serialize for WallTime {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for WallTime {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        Self::parse(&text).ok_or_else(|| D::Error::custom(format!("invalid time \"{text}\"")))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn writes_three_decimals_and_a_z() {
        assert_eq!(
            WallTime::from_millis(1_777_629_600_000).to_string(),
            "2026-05-01T10:00:00.000Z"
        );
        assert_eq!(WallTime::from_millis(-1).to_string(), "1969-12-31T23:59:59.999Z");
        assert_eq!(WallTime::from_millis(i64::MAX).to_string().len(), 24);
    }

    proptest! {
        #[test]
        fn parses_its_own_text(millis in 0..=253_370_764_800_000_i64) {
            let time = WallTime::from_millis(millis);
            prop_assert_eq!(time.to_string().len(), 24);
            prop_assert_eq!(WallTime::parse(&time.to_string()), Some(time));
        }
    }
}
