//! Assigns each state a time that no other value of its attributes has.
//!
//! Losant keeps one value for a device, attribute and millisecond: a second value replaces the
//! first (devices/state, "time"). So the later value moves to the next free millisecond.
//!
//! Losant counts a payload for each state (organizations/resource-limits). So readings of one
//! device within a merge window can share a time: the reporter sends states of one time as one
//! state.

mod last_times;

use std::collections::BTreeMap;
use std::time::Duration;

use last_times::LastTimes;
use tidegate_model::{BootId, BootTime, DeviceId, ReadingTime, State, WallTime};

/// The largest step by which a value moves ahead: a burst of 60,000 values.
///
/// A larger distance means that the clock was set back. The time then stays as it is.
const AHEAD_MAX: Duration = Duration::from_secs(60);

/// Remembers the last time of each attribute, within a limit.
#[derive(Debug, Default)]
pub struct UniqueTimestamps {
    /// The latest wall time of each device before the daemon started.
    before: BTreeMap<DeviceId, WallTime>,
    /// The latest boot time of this boot before the daemon started.
    before_in_boot: Option<ReadingTime>,
    last: LastTimes,
    /// The start of the merge window of each device.
    windows: BTreeMap<DeviceId, ReadingTime>,
    anchor: Option<Anchor>,
}

/// The time of day at which a boot began.
#[derive(Debug, Clone, Copy)]
struct Anchor {
    boot: BootId,
    time: WallTime,
}

impl UniqueTimestamps {
    /// Continues after the states of earlier runs of the daemon.
    ///
    /// `before` has the latest wall time of each device. `before_in_boot` is the latest boot time
    /// of this boot, if one was given.
    pub fn after(before: BTreeMap<DeviceId, WallTime>, before_in_boot: Option<BootTime>) -> Self {
        let before_in_boot = before_in_boot.map(ReadingTime::Boot);
        Self { before, before_in_boot, ..Self::default() }
    }

    /// Sets the time of day at which `boot` began. Boot times of it become wall times.
    pub fn anchor(&mut self, boot: BootId, anchor_ms: i64) {
        let anchor = Anchor { boot, time: WallTime::from_millis(anchor_ms) };
        self.anchor = Some(anchor);
        self.windows.clear();
        self.last.convert(|time| anchor.apply(time));
        if let Some(time) = &mut self.before_in_boot {
            *time = anchor.apply(*time);
        }
    }

    /// Assigns a state its final time. Returns whether Losant counts the state as another payload;
    /// false if it is merged with an earlier state.
    ///
    /// A state in the merge window of its device gets the start of the window, if none of its
    /// attributes has a value there. Any other state starts a window. It moves to the next free
    /// millisecond if one of its attributes has a value at its time or later.
    pub fn place(&mut self, device: DeviceId, state: &mut State, window: Duration) -> bool {
        if let Some(anchor) = self.anchor {
            state.time = anchor.apply(state.time);
        }
        let started = self.windows.get(&device).copied().filter(|started| {
            let is_inside = state.time.since(*started).is_some_and(|after| after < window);
            let mut taken = self.last.taken(device, state, *started);
            is_inside && taken.all(|taken| taken < *started)
        });
        if let Some(started) = started {
            state.time = started;
        } else {
            self.move_to_free(device, state);
            if !window.is_zero() {
                self.windows.insert(device, state.time);
            }
        }
        self.last.record(device, state);
        started.is_none()
    }

    /// Moves a state to the first free millisecond.
    fn move_to_free(&self, device: DeviceId, state: &mut State) {
        let before = self.before.get(&device).map(|time| ReadingTime::Wall(*time));
        loop {
            let before = before.into_iter().chain(self.before_in_boot);
            let before = before
                .filter(|taken| taken.since(state.time).is_some_and(|ahead| ahead < AHEAD_MAX));
            let taken = self.last.taken(device, state, state.time);
            let Some(latest) = taken.chain(before).max() else { return };
            // Each round moves the state, so that it ends after the last of the taken times.
            state.time = latest.plus(Duration::from_millis(1));
        }
    }
}

impl Anchor {
    /// Converts a boot time of the anchor's boot to wall time; returns any other time unchanged.
    fn apply(self, time: ReadingTime) -> ReadingTime {
        match time {
            ReadingTime::Boot(time) if time.boot == self.boot => {
                ReadingTime::Wall(self.time.plus(time.uptime()))
            }
            ReadingTime::Boot(_) | ReadingTime::Wall(_) => time,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tidegate_model::Value;

    const BOOT: BootId = BootId(1);

    fn place(timestamps: &mut UniqueTimestamps, name: &str, millis: i64) -> i64 {
        place_in_window(timestamps, name, millis, Duration::ZERO)
    }

    fn place_in_window(
        timestamps: &mut UniqueTimestamps,
        name: &str,
        millis: i64,
        window: Duration,
    ) -> i64 {
        let time = WallTime::from_millis(millis).into();
        place_at(timestamps, name, time, window).wall().unwrap().as_millis()
    }

    fn place_at(
        timestamps: &mut UniqueTimestamps,
        name: &str,
        time: ReadingTime,
        window: Duration,
    ) -> ReadingTime {
        let data = BTreeMap::from([(name.parse().unwrap(), Value::Integer(1))]);
        let mut state = State { time, data };
        timestamps.place(DeviceId::from([1; 12]), &mut state, window);
        state.time
    }

    fn in_boot(uptime_ms: u64) -> ReadingTime {
        BootTime { boot: BOOT, uptime_ms }.into()
    }

    #[test]
    fn separates_values_of_one_millisecond() {
        let mut timestamps = UniqueTimestamps::default();
        let placed: Vec<_> = (0..4).map(|_| place(&mut timestamps, "a", 100)).collect();
        assert_eq!(placed, [100, 101, 102, 103]);
        assert_eq!(place(&mut timestamps, "a", 101), 104);
        assert_eq!(
            place(&mut timestamps, "b", 100),
            100,
            "another attribute may share the millisecond"
        );
    }

    #[test]
    fn separates_all_values_of_a_long_burst() {
        let mut timestamps = UniqueTimestamps::default();
        let placed: Vec<_> = (0..5_000).map(|_| place(&mut timestamps, "a", 100)).collect();
        assert!(placed.is_sorted_by(|one, next| one < next));
    }

    #[test]
    fn does_not_repeat_times_from_before_a_restart() {
        let latest = WallTime::from_millis(140);
        let mut timestamps =
            UniqueTimestamps::after(BTreeMap::from([(DeviceId::from([1; 12]), latest)]), None);
        assert_eq!(place(&mut timestamps, "a", 100), 141);
        assert_eq!(place(&mut timestamps, "a", 100), 142);
        assert_eq!(place(&mut timestamps, "b", 150), 150);
    }

    #[test]
    fn boot_times_become_distinct_wall_times() {
        const DAY: i64 = 1_777_629_600_000;
        let before = BootTime { boot: BOOT, uptime_ms: 99 };
        let mut timestamps = UniqueTimestamps::after(BTreeMap::new(), Some(before));
        let mut place_boot =
            |uptime_ms| place_at(&mut timestamps, "a", in_boot(uptime_ms), Duration::ZERO);
        assert_eq!([place_boot(99), place_boot(99), place_boot(99)], [100, 101, 102].map(in_boot));
        timestamps.anchor(BOOT, DAY);
        let late = place_at(&mut timestamps, "a", in_boot(100), Duration::ZERO);
        assert_eq!(late, WallTime::from_millis(DAY + 103).into(), "it was in a queue");
        assert_eq!(place(&mut timestamps, "a", DAY + 101), DAY + 104);
        assert_eq!(place(&mut timestamps, "b", DAY + 98), DAY + 100, "99 was given before");
    }

    #[test]
    fn keeps_times_of_another_boot() {
        let mut timestamps = UniqueTimestamps::default();
        timestamps.anchor(BOOT, 1_777_629_600_000);
        let time = ReadingTime::Boot(BootTime { boot: BootId(2), uptime_ms: 5 });
        assert_eq!(place_at(&mut timestamps, "a", time, Duration::ZERO), time);
    }

    #[test]
    fn merges_readings_in_a_window_without_repeating_an_attribute() {
        let mut timestamps = UniqueTimestamps::default();
        let mut place = |name: &str, millis| {
            place_in_window(&mut timestamps, name, millis, Duration::from_millis(500))
        };
        assert_eq!([place("a", 1_000), place("b", 1_200), place("c", 1_499)], [1_000; 3]);
        assert_eq!(place("b", 1_499), 1_499, "a second value starts another state");
        assert_eq!([place("a", 1_600), place("c", 1_998)], [1_499; 2]);
        assert_eq!(place("d", 1_999), 1_999, "the window is over");
        assert_eq!([place("d", 1_998), place("d", 1_998)], [2_000, 2_001]);
        assert_eq!(place("a", 1_000), 1_500, "a time before the window is not in it");
    }

    #[test]
    fn no_attribute_has_a_time_twice_after_names_were_forgotten() {
        let mut timestamps = UniqueTimestamps::default();
        let mut seen = std::collections::BTreeSet::new();
        // More names than are remembered, several times over, at few different times.
        for round in 0..3 {
            for number in 0..60_000 {
                let name = format!("attribute_{number}");
                let time = place(&mut timestamps, &name, 1_000 + 80_000 * (number % 3));
                assert!(seen.insert((number, time)), "{name} has the time {time} twice");
            }
            assert!(timestamps.last.bytes() <= last_times::BYTES_MAX, "round {round}");
        }
    }

    #[test]
    fn window_does_not_join_a_forgotten_value() {
        let mut timestamps = UniqueTimestamps::default();
        let window = Duration::from_secs(5);
        let first = place_in_window(&mut timestamps, "victim", 1_000, window);
        for number in 0..60_000 {
            place_in_window(&mut timestamps, &format!("attribute_{number}"), 1_000, window);
        }
        assert_ne!(place_in_window(&mut timestamps, "victim", 1_000, window), first);
    }

    #[test]
    fn follows_a_clock_that_steps_back() {
        let mut timestamps = UniqueTimestamps::default();
        place(&mut timestamps, "a", 100_000);
        assert_eq!(place(&mut timestamps, "a", 2_000), 2_000);
    }
}
