//! Which time it is, for a computer without a clock battery: a timeline of our own, from the uptime and an anchor.
//!
//! The anchor is the time of day at uptime 0. The uptime (`CLOCK_BOOTTIME`) never steps and goes on in suspend. The rules:
//!
//! 1. Without an anchor the time of day is not known, whatever the system's clock shows: it may be
//!    1970, or the time of the last shutdown. [`Timeline::now`] then returns `None`.
//! 2. A kernel that says that its clock is synchronised gives the anchor; so does the date of the cloud's answers, with an
//!    error of half a second and half the time of the answer.
//! 3. While the kernel is synchronised its clock is followed. A step of more than `STEP` is not, if the cloud was heard a
//!    short time ago, agrees with our timeline and contradicts the step.
//! 4. While it is not, the system's clock may be set to anything without effect, and the cloud's date corrects what the
//!    quartz drifts: when it is off by more than `DRIFT_MAX`.
//! 5. A correction backwards makes time stand still until it is caught up with, so that nothing is reordered; only one of
//!    more than `STAND_STILL_MAX` is a jump.

mod boots;

use std::time::Duration;

pub use boots::{BOOTS_MAX, Boot, Boots, Recorded};

use tidegate_model::WallTime;

/// A change of a synchronised clock up to this is its way of being kept right.
const STEP: Duration = Duration::from_secs(1);

/// How far the cloud's date may be off: its whole seconds, and the time of an answer.
const DRIFT_MAX: Duration = Duration::from_secs(2);

/// How far two clocks may differ that are both said to be right.
const AGREES: Duration = Duration::from_secs(5);

/// How long the cloud's date is an argument against a step of the clock.
const HEARD_AGE_MAX: Duration = Duration::from_secs(3_600);

/// An answer that took longer says little about the time.
const ANSWER_TIME_MAX: Duration = Duration::from_secs(10);

/// The longest that time stands still after a correction backwards.
const STAND_STILL_MAX: Duration = Duration::from_secs(60);

/// The oldest state that is sent.
const AGE_MAX: Duration = Duration::from_secs(30 * 86_400 - 3_600);

/// How far ahead of now a state may be that is sent.
const AHEAD_MAX: Duration = Duration::from_secs(12 * 3_600);

/// How the time of day becomes known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TrustMode {
    /// When the kernel or the cloud vouch for it.
    Auto,
    /// The system's clock is always right.
    Always,
}

/// Why the time is taken to be right.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Trust {
    /// It is not: nobody has told the time since the boot.
    Waiting,
    /// A daemon that ran before since the same boot knew it.
    Resumed,
    /// The kernel says that its clock is synchronised.
    Kernel,
    /// The date of the cloud's answers.
    Cloud,
}

impl Trust {
    /// A stable word for it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Waiting => "waiting",
            Self::Resumed => "resumed",
            Self::Kernel => "kernel",
            Self::Cloud => "cloud",
        }
    }
}

/// A look at the system's clock.
#[derive(Debug, Clone, Copy)]
pub struct Sighting {
    /// The uptime at which it was taken.
    pub uptime: Duration,
    /// What the clock showed.
    pub system: WallTime,
    /// Whether the kernel says that it is synchronised.
    pub is_synchronised: bool,
}

/// A date that came with an answer of the cloud.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CloudDate {
    /// The uptime when the call began.
    pub began: Duration,
    /// The uptime when the head of the answer was there.
    pub ended: Duration,
    /// The date, in whole seconds.
    pub date: WallTime,
}

/// The timeline of this boot.
#[derive(Debug)]
pub struct Timeline {
    /// The time of day at uptime 0, in milliseconds since the Unix epoch.
    anchor_ms: Option<i64>,
    /// The first one, by which readings get their time that had none.
    first_anchor_ms: Option<i64>,
    trust: Trust,
    is_synchronised: bool,
    /// What the cloud's date said the anchor is, and at which uptime.
    heard: Option<(i64, Duration)>,
    /// The last time that was given.
    given: Option<WallTime>,
}

impl Timeline {
    /// A timeline of a boot; `anchor_ms` if one is known from a daemon that ran before since the same boot.
    pub fn new(anchor_ms: Option<i64>) -> Self {
        let trust = if anchor_ms.is_some() { Trust::Resumed } else { Trust::Waiting };
        let first_anchor_ms = anchor_ms;
        Self { anchor_ms, first_anchor_ms, trust, is_synchronised: false, heard: None, given: None }
    }

    /// The time of day at uptime 0 as it was first known, by which readings get their time that had none.
    pub fn first_anchor_ms(&self) -> Option<i64> {
        self.first_anchor_ms
    }

    fn set(&mut self, anchor_ms: i64, trust: Trust) {
        self.first_anchor_ms.get_or_insert(anchor_ms);
        (self.anchor_ms, self.trust) = (Some(anchor_ms), trust);
    }

    /// Why it is known.
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

    /// Takes in a look at the system's clock.
    pub fn see(&mut self, sighting: Sighting) {
        self.is_synchronised = sighting.is_synchronised && sighting.system.is_plausible();
        if !self.is_synchronised {
            return;
        }
        let seen_ms = sighting.system.as_millis() - millis(sighting.uptime);
        let contradicts = |anchor_ms| {
            let is_recent = |at: Duration| sighting.uptime.saturating_sub(at) <= HEARD_AGE_MAX;
            self.heard.is_some_and(|(heard_ms, at)| {
                is_recent(at)
                    && distance(heard_ms, anchor_ms) <= AGREES
                    && distance(heard_ms, seen_ms) > AGREES
            })
        };
        if self
            .anchor_ms
            .is_none_or(|anchor_ms| distance(anchor_ms, seen_ms) <= STEP || !contradicts(anchor_ms))
        {
            self.set(seen_ms, Trust::Kernel);
        }
    }

    /// Takes in a date of the cloud.
    pub fn hear(&mut self, heard: CloudDate) {
        let answer_time = heard.ended.saturating_sub(heard.began);
        if answer_time > ANSWER_TIME_MAX || !heard.date.is_plausible() {
            return;
        }
        // The date was cut to a whole second, some time between the call and its answer.
        let heard_ms = heard.date.as_millis() + 500 - millis(heard.began + answer_time / 2);
        self.heard = Some((heard_ms, heard.ended));
        let is_off = |anchor_ms| distance(anchor_ms, heard_ms) > DRIFT_MAX;
        if !self.is_synchronised && self.anchor_ms.is_none_or(is_off) {
            self.set(heard_ms, Trust::Cloud);
        }
    }
}

/// Whether Losant takes a state of this time. It silently ignores what is older than 30 days or more than a day ahead
/// (devices/state, "time"); we stay an hour and half a day away from that.
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
