//! Computes the time of day on a computer without a clock battery, from the uptime and an anchor.
//!
//! The anchor is the time of day at uptime 0. The uptime (`CLOCK_BOOTTIME`) never steps and counts
//! during suspend. The rules:
//!
//! 1. Without an anchor the time of day is not known, whatever the system's clock shows: it may be
//!    1970, or the time of the last shutdown. [`Timeline::now`] then returns `None`.
//! 2. A synchronised kernel clock sets the anchor. The date in the cloud's responses sets it, too,
//!    with an error of half a second and half the response time.
//! 3. While the kernel clock is synchronised, the timeline follows it. The timeline ignores a step
//!    of more than `STEP` if a recent cloud date agrees with the timeline and contradicts the step.
//! 4. While the kernel clock is not synchronised, changes of the system clock have no effect. The
//!    cloud's date corrects a drift of more than `DRIFT_MAX`.
//! 5. After a correction backwards the time stands still until the clock catches up, so that
//!    readings keep their order. A correction of more than `STAND_STILL_MAX` is a jump.

mod boots;

use std::time::Duration;

pub use boots::{BOOTS_MAX, Boot, Boots, Recorded};

use tidegate_model::WallTime;

/// The largest change of a synchronised clock that counts as an ordinary correction.
const STEP: Duration = Duration::from_secs(1);

/// The largest error of the cloud's date: it has whole seconds and a response time.
const DRIFT_MAX: Duration = Duration::from_secs(2);

/// The largest difference at which two clocks agree.
const AGREES: Duration = Duration::from_secs(5);

/// The longest time for which a cloud date can contradict a step of the clock.
const CLOUD_DATE_AGE_MAX: Duration = Duration::from_secs(3_600);

/// The longest response time with which a cloud date is used.
const RESPONSE_TIME_MAX: Duration = Duration::from_secs(10);

/// The longest that time stands still after a correction backwards.
const STAND_STILL_MAX: Duration = Duration::from_secs(60);

/// The oldest state that is sent.
const AGE_MAX: Duration = Duration::from_secs(30 * 86_400 - 3_600);

/// The farthest that the time of a state may be ahead of now.
const AHEAD_MAX: Duration = Duration::from_secs(12 * 3_600);

/// Selects when the time of day is trusted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TrustMode {
    /// After the kernel or the cloud confirms it.
    Auto,
    /// Always: the system clock is right.
    Always,
}

/// Names the source of the trusted time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Trust {
    /// The time is not trusted: it has no source since the boot.
    Waiting,
    /// An earlier run of the daemon in this boot.
    Resumed,
    /// The synchronised clock of the kernel.
    Kernel,
    /// The date in the cloud's responses.
    Cloud,
}

impl Trust {
    /// Returns a stable word for the source.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Waiting => "waiting",
            Self::Resumed => "resumed",
            Self::Kernel => "kernel",
            Self::Cloud => "cloud",
        }
    }
}

/// Holds one sample of the system clock.
#[derive(Debug, Clone, Copy)]
pub struct Sighting {
    /// The uptime at the sample.
    pub uptime: Duration,
    /// The time of the system clock.
    pub system: WallTime,
    /// Whether the kernel reports a synchronised clock.
    pub is_synchronised: bool,
}

/// Holds the date of one response of the cloud.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CloudDate {
    /// The uptime when the call began.
    pub began: Duration,
    /// The uptime when the head of the response arrived.
    pub ended: Duration,
    /// The date, in whole seconds.
    pub date: WallTime,
}

/// Computes the time of day in this boot.
#[derive(Debug)]
pub struct Timeline {
    /// The time of day at uptime 0, in milliseconds since the Unix epoch.
    anchor_ms: Option<i64>,
    /// The first anchor. It converts the boot times of buffered readings.
    first_anchor_ms: Option<i64>,
    trust: Trust,
    is_synchronised: bool,
    cloud: Option<CloudAnchor>,
    /// The latest result of [`Timeline::now`].
    given: Option<WallTime>,
}

/// The anchor by the latest cloud date.
#[derive(Debug, Clone, Copy)]
struct CloudAnchor {
    anchor_ms: i64,
    /// The uptime at which the date arrived.
    uptime: Duration,
}

impl Timeline {
    /// Creates the timeline of a boot.
    ///
    /// `anchor_ms` is the anchor of an earlier run of the daemon in this boot.
    pub fn new(anchor_ms: Option<i64>) -> Self {
        let trust = if anchor_ms.is_some() { Trust::Resumed } else { Trust::Waiting };
        let first_anchor_ms = anchor_ms;
        Self { anchor_ms, first_anchor_ms, trust, is_synchronised: false, cloud: None, given: None }
    }

    /// Returns the first anchor, in milliseconds. It converts the boot times of buffered readings.
    pub fn first_anchor_ms(&self) -> Option<i64> {
        self.first_anchor_ms
    }

    fn set(&mut self, anchor_ms: i64, trust: Trust) {
        self.first_anchor_ms.get_or_insert(anchor_ms);
        (self.anchor_ms, self.trust) = (Some(anchor_ms), trust);
    }

    /// Returns the source of the time.
    pub fn trust(&self) -> Trust {
        self.trust
    }

    /// Returns the time of day at an uptime; `None` without an anchor.
    ///
    /// The result is never before an earlier result, except after a large correction.
    pub fn now(&mut self, uptime: Duration) -> Option<WallTime> {
        let time = WallTime::from_millis(self.anchor_ms? + millis(uptime));
        let stands_still = |given: &WallTime| {
            let ahead = given.since(time);
            ahead > Duration::ZERO && ahead <= STAND_STILL_MAX
        };
        let time = self.given.filter(stands_still).unwrap_or(time);
        self.given = Some(time);
        Some(time)
    }

    /// Updates the timeline from a sample of the system clock.
    pub fn see(&mut self, sighting: Sighting) {
        self.is_synchronised = sighting.is_synchronised && sighting.system.is_plausible();
        if !self.is_synchronised {
            return;
        }
        let seen_ms = sighting.system.as_millis() - millis(sighting.uptime);
        let contradicts = |anchor_ms| {
            self.cloud.is_some_and(|cloud| {
                sighting.uptime.saturating_sub(cloud.uptime) <= CLOUD_DATE_AGE_MAX
                    && distance(cloud.anchor_ms, anchor_ms) <= AGREES
                    && distance(cloud.anchor_ms, seen_ms) > AGREES
            })
        };
        if self
            .anchor_ms
            .is_none_or(|anchor_ms| distance(anchor_ms, seen_ms) <= STEP || !contradicts(anchor_ms))
        {
            self.set(seen_ms, Trust::Kernel);
        }
    }

    /// Returns the time of day at an uptime by the last date of the cloud; `None` without one.
    ///
    /// Losant compares the times of states with its own clock, be the clock here right or wrong.
    pub fn cloud_time(&self, uptime: Duration) -> Option<WallTime> {
        self.cloud.map(|cloud| WallTime::from_millis(cloud.anchor_ms + millis(uptime)))
    }

    /// Updates the timeline from a date of the cloud.
    pub fn add_cloud_date(&mut self, response: CloudDate) {
        let response_time = response.ended.saturating_sub(response.began);
        if response_time > RESPONSE_TIME_MAX || !response.date.is_plausible() {
            return;
        }
        // The cloud truncates the date to a whole second, at some time between call and response.
        let cloud_ms = response.date.as_millis() + 500 - millis(response.began + response_time / 2);
        self.cloud = Some(CloudAnchor { anchor_ms: cloud_ms, uptime: response.ended });
        let is_off = |anchor_ms| distance(anchor_ms, cloud_ms) > DRIFT_MAX;
        if !self.is_synchronised && self.anchor_ms.is_none_or(is_off) {
            self.set(cloud_ms, Trust::Cloud);
        }
    }
}

/// Returns whether Losant accepts a state of this time.
///
/// Losant silently ignores states older than 30 days or more than a day ahead (devices/state,
/// "time"). The limits here keep a margin of an hour and of half a day.
pub fn is_taken(time: WallTime, now: WallTime) -> bool {
    now.since(time) < AGE_MAX && time.since(now) < AHEAD_MAX
}

fn distance(one_ms: i64, other_ms: i64) -> Duration {
    Duration::from_millis(one_ms.abs_diff(other_ms))
}

fn millis(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX / 2)
}

#[cfg(test)]
mod tests;
