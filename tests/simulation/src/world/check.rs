//! The checks at the end of a world: no reading is lost or reordered, and each time is right or
//! lies between its neighbours.

use std::collections::BTreeMap;
use std::time::Duration;

use tidegate_model::{DeviceId, WallTime};

use super::super::disk::Fate;
use super::{EPOCH_MS, Measured, World};

/// The largest error of a time that comes from the kernel or the cloud.
const ERROR_MAX: Duration = Duration::from_secs(6);

/// The largest lead of readings in one burst, such as from a broker: a millisecond per reading.
const AHEAD_MAX: Duration = Duration::from_secs(60);

impl World {
    /// Checks all promises at the end of the world.
    pub(super) fn check(&mut self) {
        for (device, queue) in &self.disk.queues {
            let stored = self.cloud.stored.get(device);
            let times: BTreeMap<u64, WallTime> =
                stored.into_iter().flatten().map(|(time, value)| (*value, *time)).collect();
            let values: Vec<_> = queue.states.iter().map(|state| state.value).collect();
            let expected = values.len() as u64;
            assert!((0..expected).eq(values), "{device} lost or repeated a reading");
            for state in &queue.states {
                let is_stored = times.contains_key(&state.value);
                match state.fate {
                    Fate::Confirmed => assert!(is_stored, "{device} {state:?} never arrived"),
                    Fate::Rejected => self.figures.rejected += 1,
                    Fate::TimeRefused => self.figures.time_refused += 1,
                    Fate::Waiting => {}
                }
                let is_bad_time = state.fate == Fate::TimeRefused;
                assert!(!is_bad_time || state.value < 60, "{device} {state:?} has a bad time");
            }
            if self.scenario.length > Duration::ZERO {
                assert_eq!(expected, self.next_value[device], "{device} lost readings");
            }
            assert!(times.values().is_sorted_by(|one, next| one < next), "{device} reordered");
            self.check_times(*device, &times);
        }
        self.figures.repeats = self.cloud.repeats;
    }

    /// Checks that times are right if the boot's time of day was known, and not too late otherwise.
    fn check_times(&self, device: DeviceId, times: &BTreeMap<u64, WallTime>) {
        for (value, time) in times.iter().filter(|(value, _)| **value >= self.scenario.backlog) {
            let Measured { at, boot } = self.measured[&(device, *value)];
            let day = WallTime::from_millis(EPOCH_MS).plus(at);
            if self.clock_known.contains_key(&boot) {
                let is_right = day.since(*time) <= ERROR_MAX && time.since(day) <= AHEAD_MAX;
                assert!(is_right, "{device} {value}: {time} instead of {day}");
            } else {
                let next = self.clock_known.iter().find(|(id, _)| **id > boot);
                let (_, known) = next.expect("the last boot knows the time of day");
                let next = WallTime::from_millis(EPOCH_MS).plus(*known + ERROR_MAX);
                assert!(*time < next, "{device} {value}: {time} after {next}");
            }
        }
    }
}
