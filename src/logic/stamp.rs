//! Keeps two values of one attribute from sharing a millisecond.
//!
//! Losant keeps one value for a device, attribute and millisecond: a second one would replace the first (devices/state,
//! "time"). So the later one moves on by a millisecond.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::model::{AttributeName, DeviceId, State, Timestamp};

/// How far times may have been moved ahead. A larger step back is the clock's, and is taken as it is.
const AHEAD_MAX: Duration = Duration::from_secs(1);

/// The last time of each attribute. As large as the configuration has attributes.
#[derive(Debug, Default)]
pub struct Stamps {
    last: BTreeMap<(DeviceId, AttributeName), Timestamp>,
}

impl Stamps {
    /// Moves a state's time on, if an attribute of it has a value at that time already.
    pub fn place(&mut self, device: DeviceId, state: &mut State) {
        let taken = state.data.keys().filter_map(|name| self.last.get(&(device, name.clone())));
        let latest = taken.filter(|last| last.since(state.time) < AHEAD_MAX).max();
        if let Some(latest) = latest.filter(|latest| **latest >= state.time) {
            state.time = latest.plus(Duration::from_millis(1));
        }
        for name in state.data.keys() {
            self.last.insert((device, name.clone()), state.time);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Value;

    fn place(stamps: &mut Stamps, name: &str, millis: i64) -> i64 {
        let data = BTreeMap::from([(name.parse().unwrap(), Value::Integer(1))]);
        let mut state = State { time: Timestamp::from_millis(millis), data };
        stamps.place(DeviceId::from([1; 12]), &mut state);
        state.time.as_millis()
    }

    #[test]
    fn values_of_one_attribute_in_one_millisecond_are_set_apart() {
        let mut stamps = Stamps::default();
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
    fn a_clock_that_steps_back_is_followed() {
        let mut stamps = Stamps::default();
        place(&mut stamps, "a", 10_000);
        assert_eq!(place(&mut stamps, "a", 2_000), 2_000);
    }
}
