//! The time of a measurement, by the wall clock or since a boot.

use std::cmp::Ordering;
use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::WallTime;

/// Identifies one run of the kernel by its boot id (`/proc/sys/kernel/random/boot_id`, a UUID) as a
/// number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct BootId(pub u128);

/// Measures a time since one boot, for a computer that does not know the time of day yet.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct BootTime {
    /// The boot.
    pub boot: BootId,
    /// Milliseconds since that boot began, suspend included.
    pub uptime_ms: u64,
}

impl BootTime {
    /// Creates the time `uptime` after `boot` began, in whole milliseconds.
    pub fn new(boot: BootId, uptime: Duration) -> Self {
        Self { boot, uptime_ms: u64::try_from(uptime.as_millis()).unwrap_or(u64::MAX) }
    }

    /// Returns the time since the boot began.
    pub fn uptime(self) -> Duration {
        Duration::from_millis(self.uptime_ms)
    }
}

/// Holds the time of a reading: by the wall clock, or since boot while that is not trusted.
///
/// A boot time comes before every wall time. The outbox stores the `serde` form of rejected states.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ReadingTime {
    /// A trusted wall clock gave the time.
    Wall(WallTime),
    /// The time of day was unknown.
    Boot(BootTime),
}

impl ReadingTime {
    /// Returns the time of day, if it is known.
    pub fn wall(self) -> Option<WallTime> {
        match self {
            Self::Wall(time) => Some(time),
            Self::Boot(_) => None,
        }
    }

    /// Returns the time `duration` later, on the same clock.
    #[must_use]
    pub fn plus(self, duration: Duration) -> Self {
        match self {
            Self::Wall(time) => Self::Wall(time.plus(duration)),
            Self::Boot(time) => {
                Self::Boot(BootTime::new(time.boot, time.uptime().saturating_add(duration)))
            }
        }
    }

    /// Returns the duration since `earlier`.
    ///
    /// `None` if `earlier` is later, or if the two times have different clocks.
    pub fn since(self, earlier: Self) -> Option<Duration> {
        match (self, earlier) {
            (Self::Wall(time), Self::Wall(earlier)) => {
                (time >= earlier).then(|| time.since(earlier))
            }
            (Self::Boot(time), Self::Boot(earlier)) if time.boot == earlier.boot => {
                time.uptime_ms.checked_sub(earlier.uptime_ms).map(Duration::from_millis)
            }
            (Self::Wall(_) | Self::Boot(_), _) => None,
        }
    }
}

impl From<WallTime> for ReadingTime {
    fn from(time: WallTime) -> Self {
        Self::Wall(time)
    }
}

impl From<BootTime> for ReadingTime {
    fn from(time: BootTime) -> Self {
        Self::Boot(time)
    }
}

impl Ord for ReadingTime {
    fn cmp(&self, other: &Self) -> Ordering {
        match (self, other) {
            (Self::Wall(one), Self::Wall(other)) => one.cmp(other),
            (Self::Boot(one), Self::Boot(other)) => one.cmp(other),
            (Self::Boot(_), Self::Wall(_)) => Ordering::Less,
            (Self::Wall(_), Self::Boot(_)) => Ordering::Greater,
        }
    }
}

impl PartialOrd for ReadingTime {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

/// Separates the uptime from the boot id in the text of a boot time.
const IN_BOOT: &str = " ms after boot ";

/// Writes a wall time as ISO 8601, and a boot time as `61500 ms after boot` with the boot id.
impl fmt::Display for ReadingTime {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Wall(time) => time.fmt(formatter),
            Self::Boot(BootTime { boot, uptime_ms }) => {
                write!(formatter, "{uptime_ms}{IN_BOOT}{:032x}", boot.0)
            }
        }
    }
}

/// Reports a text that is not a [`ReadingTime`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("invalid time \"{text}\"")]
pub struct ReadingTimeError {
    text: String,
}

impl FromStr for ReadingTime {
    type Err = ReadingTimeError;

    fn from_str(text: &str) -> Result<Self, ReadingTimeError> {
        let boot_time = || {
            let (uptime, boot) = text.split_once(IN_BOOT)?;
            let boot = BootId(u128::from_str_radix(boot, 16).ok()?);
            Some(Self::Boot(BootTime { boot, uptime_ms: uptime.parse().ok()? }))
        };
        let time = WallTime::parse(text).map(Self::Wall).or_else(boot_time);
        time.ok_or_else(|| ReadingTimeError { text: text.to_owned() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn boot_time(boot: u128, uptime_ms: u64) -> ReadingTime {
        BootTime { boot: BootId(boot), uptime_ms }.into()
    }

    fn wall(millis: i64) -> ReadingTime {
        WallTime::from_millis(millis).into()
    }

    #[test]
    fn subtracts_only_times_of_one_clock() {
        let second = Duration::from_secs(1);
        assert_eq!(wall(3_000).since(wall(2_000)), Some(second));
        assert_eq!(boot_time(1, 3_000).since(boot_time(1, 2_000)), Some(second));
        assert_eq!(boot_time(1, 2_000).since(boot_time(1, 3_000)), None);
        assert_eq!(boot_time(1, 3_000).since(boot_time(2, 2_000)), None);
        assert_eq!(wall(3_000).since(boot_time(1, 2_000)), None);
    }

    #[test]
    fn orders_boot_times_before_wall_times() {
        let times = [boot_time(1, 7), boot_time(1, 8), wall(0), wall(7)];
        assert!(times.is_sorted_by(|one, next| one < next));
    }

    #[test]
    fn reads_back_its_own_text() {
        for time in [wall(1_777_629_600_000), boot_time(u128::MAX, 61_500)] {
            assert_eq!(time.to_string().parse(), Ok(time));
        }
        assert!("61500 ms".parse::<ReadingTime>().is_err());
    }

    #[test]
    fn serializes_as_the_outbox_stores_it() {
        let json = serde_json::to_string(&boot_time(7, 12)).unwrap();
        assert_eq!(json, r#"{"boot":{"boot":7,"uptime_ms":12}}"#);
        let json = serde_json::to_string(&wall(1_777_629_600_000)).unwrap();
        assert_eq!(json, r#"{"wall":"2026-05-01T10:00:00.000Z"}"#);
    }
}
