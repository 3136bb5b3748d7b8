//! Keeps two values of one attribute from sharing a millisecond.
//!
//! Losant keeps one value for a device, attribute and millisecond: a second one would replace the first (devices/state,
//! "time"). So the later one moves on by a millisecond.
//!
//! Losant counts a payload for each state (organizations/resource-limits). So readings of one device that come within a window
//! after another may get its time: states of one time are sent as one, see [`tidegate_delivery::batch_body`].

use std::collections::BTreeMap;
use std::time::Duration;

use crate::clock_trust::uptime_of;
use tidegate_model::{AttributeName, DeviceId, State, Timestamp};

/// How far times may have been moved ahead: a burst of 60,000 values. A larger step back is the clock's, and is taken as it
/// is.
const AHEAD_MAX: Duration = Duration::from_secs(60);

/// The last time of each attribute. As large as the configuration has attributes.
#[derive(Debug, Default)]
pub struct UniqueTimestamps {
    before: BTreeMap<DeviceId, Timestamp>,
    /// The last time since this boot that a daemon before gave to a reading without a time of day.
    before_since_boot: Option<Timestamp>,
    last: BTreeMap<(DeviceId, AttributeName), Timestamp>,
    /// When the window of each device began.
    windows: BTreeMap<DeviceId, Timestamp>,
    anchor_ms: Option<i64>,
}

impl UniqueTimestamps {
    /// UniqueTimestamps that go on after what a daemon gave that ran before: the latest time of each device, and the uptime, in
    /// milliseconds, of the last reading of this boot that had no time of day.
    pub fn after(before: BTreeMap<DeviceId, Timestamp>, uptime_ms: Option<i64>) -> Self {
        let before_since_boot = uptime_ms.map(Timestamp::from_millis);
        Self { before, before_since_boot, ..Self::default() }
    }

    /// The time of day at uptime 0 is known: from now on all uptimes become times of day.
    pub fn anchor(&mut self, anchor_ms: i64) {
        self.anchor_ms = Some(anchor_ms);
        self.windows.clear();
        for time in self.last.values_mut().chain(&mut self.before_since_boot) {
            *time = anchored(*time, Some(anchor_ms));
        }
    }

    /// Gives a state the time of the device's window, if it falls into it and its attributes have no value there yet. If not,
    /// it begins a window, and its time is moved on, if an attribute of it has a value at that time or a later one already.
    /// Says whether it is a state of its own.
    pub fn place(&mut self, device: DeviceId, state: &mut State, window: Duration) -> bool {
        state.time = anchored(state.time, self.anchor_ms);
        let last = |name: &AttributeName| self.last.get(&(device, name.clone()));
        let begun = self.windows.get(&device).filter(|begun| {
            let is_inside = **begun <= state.time && state.time.since(**begun) < window;
            is_inside && state.data.keys().filter_map(last).all(|last| last < *begun)
        });
        let before = self.before.get(&device).into_iter().chain(&self.before_since_boot);
        let taken = state.data.keys().filter_map(last).chain(before);
        let latest = taken.filter(|taken| taken.since(state.time) < AHEAD_MAX).max();
        let is_own = begun.is_none();
        if let Some(begun) = begun {
            state.time = *begun;
        } else if let Some(latest) = latest.filter(|latest| **latest >= state.time) {
            state.time = latest.plus(Duration::from_millis(1));
        }
        if !window.is_zero() && is_own {
            self.windows.insert(device, state.time);
        }
        for name in state.data.keys() {
            self.last.insert((device, name.clone()), state.time);
        }
        is_own
    }
}

/// A time that counts from boot as a time of day, if that can be told.
fn anchored(time: Timestamp, anchor_ms: Option<i64>) -> Timestamp {
    match (uptime_of(time), anchor_ms) {
        (Some(uptime), Some(anchor_ms)) => Timestamp::from_millis(anchor_ms).plus(uptime),
        (Some(_), None) | (None, _) => time,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tidegate_model::Value;

    fn place(stamps: &mut UniqueTimestamps, name: &str, millis: i64) -> i64 {
        place_within(stamps, name, millis, Duration::ZERO)
    }

    fn place_within(
        stamps: &mut UniqueTimestamps,
        name: &str,
        millis: i64,
        window: Duration,
    ) -> i64 {
        let data = BTreeMap::from([(name.parse().unwrap(), Value::Integer(1))]);
        let mut state = State { time: Timestamp::from_millis(millis), data };
        stamps.place(DeviceId::from([1; 12]), &mut state, window);
        state.time.as_millis()
    }

    #[test]
    fn values_of_one_attribute_in_one_millisecond_are_set_apart() {
        let mut stamps = UniqueTimestamps::default();
        let placed: Vec<_> = (0..4).map(|_| place(&mut stamps, "a", 100)).collect();
        assert_eq!(placed, [100, 101, 102, 103]);
        assert_eq!(place(&mut stamps, "a", 101), 104);
        assert_eq!(
            place(&mut stamps, "b", 100),
            100,
            "another attribute may share the millisecond"
        );
    }

    #[test]
    fn a_long_burst_is_set_apart_to_its_end() {
        let mut stamps = UniqueTimestamps::default();
        let placed: Vec<_> = (0..5_000).map(|_| place(&mut stamps, "a", 100)).collect();
        assert!(placed.is_sorted_by(|one, next| one < next));
    }

    #[test]
    fn times_that_were_given_before_a_restart_are_not_given_again() {
        let latest = Timestamp::from_millis(140);
        let mut stamps =
            UniqueTimestamps::after(BTreeMap::from([(DeviceId::from([1; 12]), latest)]), None);
        assert_eq!(place(&mut stamps, "a", 100), 141);
        assert_eq!(place(&mut stamps, "a", 100), 142);
        assert_eq!(place(&mut stamps, "b", 150), 150);
    }

    #[test]
    fn uptimes_become_times_of_day_and_stay_apart() {
        const DAY: i64 = 1_777_629_600_000;
        let mut stamps = UniqueTimestamps::after(BTreeMap::new(), Some(99));
        let placed: Vec<_> = (0..3).map(|_| place(&mut stamps, "a", 99)).collect();
        assert_eq!(placed, [100, 101, 102]);
        stamps.anchor(DAY);
        assert_eq!(place(&mut stamps, "a", 100), DAY + 103, "it was on its way");
        assert_eq!(place(&mut stamps, "a", DAY + 101), DAY + 104);
        assert_eq!(place(&mut stamps, "b", DAY + 98), DAY + 100, "a daemon before gave 99");
    }

    #[test]
    fn readings_of_a_device_within_a_window_get_its_time_and_no_attribute_twice() {
        let mut stamps = UniqueTimestamps::default();
        let mut place = |name: &str, millis| {
            place_within(&mut stamps, name, millis, Duration::from_millis(500))
        };
        assert_eq!([place("a", 1_000), place("b", 1_200), place("c", 1_499)], [1_000; 3]);
        assert_eq!(place("b", 1_499), 1_499, "a second value begins another state");
        assert_eq!([place("a", 1_600), place("c", 1_998)], [1_499; 2]);
        assert_eq!(place("d", 1_999), 1_999, "the window is over");
        assert_eq!([place("d", 1_998), place("d", 1_998)], [2_000, 2_001]);
        assert_eq!(place("a", 1_000), 1_500, "a time before the window's is not of it");
    }

    #[test]
    fn a_clock_that_steps_back_is_followed() {
        let mut stamps = UniqueTimestamps::default();
        place(&mut stamps, "a", 100_000);
        assert_eq!(place(&mut stamps, "a", 2_000), 2_000);
    }
}
