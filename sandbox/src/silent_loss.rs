//! Silent losses: `sendState` does not store a share of the states or values, and the response is
//! still 200.
//!
//! Losant documents no such behaviour. A client that reads its states back can find such a loss;
//! this fault shows whether it does.

use std::sync::{Mutex, MutexGuard, PoisonError};

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

/// What one silent loss takes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LossUnit {
    /// A whole state.
    State,
    /// One value of a state.
    #[default]
    Value,
}

/// A value that was silently lost.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct LostValue {
    /// The time of its state, in milliseconds since the Unix epoch.
    pub time_ms: i64,
    /// Its attribute.
    pub attribute: String,
}

/// Selects the states or values that are lost, and remembers them.
#[derive(Debug, Default)]
pub(crate) struct SilentLosses(Mutex<Losses>);

#[derive(Debug, Default)]
struct Losses {
    plan: Option<Plan>,
    /// The lost values with their device ids, oldest first.
    lost: Vec<(String, LostValue)>,
}

#[derive(Debug)]
struct Plan {
    rng: StdRng,
    one_in: u32,
    unit: LossUnit,
}

impl Plan {
    fn selects(&mut self) -> bool {
        self.rng.random_ratio(1, self.one_in)
    }
}

impl SilentLosses {
    /// Loses one in `one_in` states or values on average from now on.
    pub(crate) fn plan(&self, seed: u64, one_in: u32, unit: LossUnit) {
        let rng = StdRng::seed_from_u64(seed);
        self.losses().plan = Some(Plan { rng, one_in: one_in.max(1), unit });
    }

    /// Loses nothing from now on. The list of lost values is kept.
    pub(crate) fn clear(&self) {
        self.losses().plan = None;
    }

    /// Removes the lost values from the data of a state. Returns the number of these values.
    pub(crate) fn apply(
        &self,
        device_id: &str,
        time_ms: i64,
        data: &mut Map<String, Value>,
    ) -> usize {
        let Losses { plan, lost } = &mut *self.losses();
        let Some(plan) = plan else { return 0 };
        let is_state_lost = plan.unit == LossUnit::State && plan.selects();
        let mut count = 0;
        data.retain(|name, _| {
            let is_lost = is_state_lost || plan.unit == LossUnit::Value && plan.selects();
            if is_lost {
                count += 1;
                if lost.len() < LOST_MAX {
                    lost.push((
                        device_id.to_owned(),
                        LostValue { time_ms, attribute: name.clone() },
                    ));
                }
            }
            !is_lost
        });
        count
    }

    /// Returns the lost values of a device in the order of their calls.
    pub(crate) fn lost(&self, device_id: &str) -> Vec<LostValue> {
        let losses = self.losses();
        let lost = losses.lost.iter().filter(|(device, _)| device.eq_ignore_ascii_case(device_id));
        lost.map(|(_, value)| value.clone()).collect()
    }

    fn losses(&self) -> MutexGuard<'_, Losses> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Lost values that are remembered; further ones are lost, too, but not listed.
const LOST_MAX: usize = 100_000;

#[cfg(test)]
mod tests {
    use super::*;

    fn lose(seed: u64, unit: LossUnit) -> Vec<LostValue> {
        let losses = SilentLosses::default();
        losses.plan(seed, 10, unit);
        for time_ms in 0..500 {
            let mut data = Map::from_iter([("a".to_owned(), 1.into()), ("b".to_owned(), 2.into())]);
            let count = losses.apply("d", time_ms, &mut data);
            assert_eq!(data.len() + count, 2);
        }
        losses.lost("D")
    }

    #[test]
    fn same_seed_loses_the_same_values() {
        let lost = lose(7, LossUnit::Value);
        assert_eq!(lost, lose(7, LossUnit::Value));
        assert_ne!(lost, lose(8, LossUnit::Value));
        assert!((60..140).contains(&lost.len()), "{} of 1000", lost.len());
    }

    #[test]
    fn state_is_lost_as_a_whole() {
        let lost = lose(7, LossUnit::State);
        assert!(!lost.is_empty());
        let times = lost.chunks(2).map(|pair| (pair[0].time_ms, pair[1].time_ms));
        assert!(times.clone().all(|(one, other)| one == other), "{lost:?}");
    }

    #[test]
    fn nothing_is_lost_without_a_plan() {
        let losses = SilentLosses::default();
        losses.plan(1, 1, LossUnit::State);
        losses.clear();
        let mut data = Map::from_iter([("a".to_owned(), 1.into())]);
        assert_eq!(losses.apply("d", 1, &mut data), 0);
        assert_eq!(data.len(), 1);
    }
}
