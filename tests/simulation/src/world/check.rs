//! What must hold when all is calm again: nothing lost, nothing reordered, each time right or between its neighbours.

use std::collections::BTreeMap;
use std::time::Duration;

use tidegate_model::{DeviceId, WallTime};

use super::super::disk::Fate;
use super::{EPOCH_MS, World};

/// How far a time may be off that was told by a kernel or by the cloud.
const ERROR_MAX: Duration = Duration::from_secs(6);

/// How far ahead readings may be that came in one burst, as when a broker delivers what it kept: a millisecond each.
const AHEAD_MAX: Duration = Duration::from_secs(60);

impl World {
    /// What must hold at the end.
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
                    Fate::Waits => {}
                }
                let is_bad_time = state.fate == Fate::TimeRefused;
                assert!(!is_bad_time || state.value < 60, "{device} {state:?} has a bad time");
            }
            if self.weather.length > Duration::ZERO {
                assert_eq!(expected, self.next_value[device], "{device} lost readings");
            }
            assert!(times.values().is_sorted_by(|one, next| one < next), "{device} reordered");
            self.check_times(*device, &times);
        }
        self.figures.repeats = self.cloud.repeats;
    }

    /// Times are right where they were told, and between what is known where they were not.
    fn check_times(&self, device: DeviceId, times: &BTreeMap<u64, WallTime>) {
        for (value, time) in times.iter().filter(|(value, _)| **value >= self.weather.backlog) {
            let (taken, boot) = self.truth[&(device, *value)];
            let day = WallTime::from_millis(EPOCH_MS).plus(taken);
            if self.learned.contains_key(&boot) {
                let is_right = day.since(*time) <= ERROR_MAX && time.since(day) <= AHEAD_MAX;
                assert!(is_right, "{device} {value}: {time} instead of {day}");
            } else {
                let next = self.learned.iter().find(|(id, _)| **id > boot);
                let (_, learned) = next.expect("the last boot learned the time");
                let next = WallTime::from_millis(EPOCH_MS).plus(*learned + ERROR_MAX);
                assert!(*time < next, "{device} {value}: {time} after {next}");
            }
        }
    }
}
