//! Thinning: the numeric states of one stretch of time as one, with the mean of each attribute.
//!
//! The mean stands under the attribute's own name, so that charts go on; how many states there were, and the least and the
//! greatest of each attribute, stand in the state's meta (rest-api/device, "Send State"). A state with a text, a boolean or a
//! meta of its own is left as it is, and so is one that was downsampled before.

use std::collections::BTreeMap;
use std::time::Duration;

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use tidegate_model::WallTime;

/// States that became one.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Downsampled {
    /// The state, as it will be sent: with the time of the first.
    pub json: Bytes,
    /// How many values it has.
    pub readings: u16,
}

/// A state of nothing but numbers.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Numbers<'a> {
    #[serde(borrow)]
    time: &'a RawValue,
    data: BTreeMap<String, f64>,
}

#[derive(Serialize)]
struct Whole<'a> {
    time: &'a RawValue,
    data: BTreeMap<&'a str, f64>,
    meta: Meta<'a>,
}

/// The mark by which workflows can tell it.
#[derive(Serialize)]
struct Meta<'a> {
    downsampled: usize,
    min: BTreeMap<&'a str, f64>,
    max: BTreeMap<&'a str, f64>,
}

/// The values of one attribute.
struct Spread {
    count: f64,
    mean: f64,
    min: f64,
    max: f64,
}

/// In which stretch of this width a moment lies, counted from 1970. Stretches begin at the same times on every gateway.
pub(crate) fn bucket(time: WallTime, width: Duration) -> i64 {
    let width = i64::try_from(width.as_millis()).unwrap_or(i64::MAX).max(1);
    time.as_millis().div_euclid(width)
}

/// Whether a state can be downsampled.
pub(crate) fn is_numeric(json: &[u8]) -> bool {
    serde_json::from_slice::<Numbers<'_>>(json).is_ok()
}

/// One state of several, in order; `None` where one of them cannot be downsampled, or nothing is gained by it.
pub(crate) fn downsampled(states: &[Bytes]) -> Option<Downsampled> {
    let parse = |state| serde_json::from_slice::<Numbers<'_>>(state).ok();
    let states_in: Vec<_> = states.iter().map(|state| parse(state)).collect::<Option<_>>()?;
    let mut spreads: BTreeMap<&str, Spread> = BTreeMap::new();
    for (name, value) in states_in.iter().flat_map(|state| &state.data) {
        spreads.entry(name).or_insert_with(|| Spread::of(*value)).add(*value);
    }
    if spreads.values().any(|spread| !spread.mean.is_finite()) {
        return None;
    }
    let each = |pick: fn(&Spread) -> f64| {
        spreads.iter().map(|(name, spread)| (*name, pick(spread))).collect()
    };
    let (min, max) = (each(|spread| spread.min), each(|spread| spread.max));
    let whole = Whole {
        time: states_in.first()?.time,
        data: each(|spread| spread.mean),
        meta: Meta { downsampled: states.len(), min, max },
    };
    let json = Bytes::from(serde_json::to_vec(&whole).ok()?);
    let readings = u16::try_from(spreads.len()).ok()?;
    let is_gain = json.len() < states.iter().map(Bytes::len).sum();
    is_gain.then_some(Downsampled { json, readings })
}

impl Spread {
    fn of(value: f64) -> Self {
        Self { count: 0.0, mean: 0.0, min: value, max: value }
    }

    /// Moves the mean by Welford's way, so that no sum grows.
    fn add(&mut self, value: f64) {
        self.count += 1.0;
        self.mean += (value - self.mean) / self.count;
        self.min = self.min.min(value);
        self.max = self.max.max(value);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::{Value, json};

    use super::*;

    fn state(second: u32, data: &Value) -> Bytes {
        let time = WallTime::from_millis(i64::from(second) * 1_000).to_string();
        Bytes::from(serde_json::to_vec(&json!({ "time": time, "data": data })).unwrap())
    }

    #[test]
    fn states_become_one_with_mean_least_and_greatest_at_the_first_time() {
        let states = [
            state(1, &json!({ "t": 20, "humidity": 50.5 })),
            state(2, &json!({ "t": 23 })),
            state(3, &json!({ "t": 21.5 })),
        ];
        let downsampled = downsampled(&states).unwrap();
        let whole: Value = serde_json::from_slice(&downsampled.json).unwrap();
        assert_eq!(
            whole,
            json!({
                "time": "1970-01-01T00:00:01.000Z",
                "data": { "humidity": 50.5, "t": 21.5 },
                "meta": {
                    "downsampled": 3,
                    "min": { "humidity": 50.5, "t": 20.0 },
                    "max": { "humidity": 50.5, "t": 23.0 },
                },
            })
        );
        assert_eq!(downsampled.readings, 2);
        assert!(!is_numeric(&downsampled.json), "it is not downsampled again");
    }

    #[test]
    fn what_is_no_number_or_has_a_meta_is_left_as_it_is() {
        for other in [json!({ "on": true }), json!({ "text": "a" })] {
            assert!(!is_numeric(&state(1, &other)));
            let states = [state(1, &json!({ "t": 1 })), state(2, &other)];
            assert_eq!(downsampled(&states), None);
        }
        assert!(!is_numeric(br#"{"time":"x","data":{"t":1},"meta":{"a":1}}"#));
    }

    #[test]
    fn what_would_not_get_smaller_is_left_as_it_is() {
        assert_eq!(downsampled(&[state(1, &json!({ "t": 1 }))]), None);
        assert_eq!(downsampled(&[]), None);
    }

    #[test]
    fn a_mean_that_json_cannot_write_is_none() {
        let states: Vec<_> =
            [f64::MAX, -f64::MAX, f64::MAX].map(|t| state(1, &json!({ "t": t }))).into();
        assert_eq!(downsampled(&states), None);
    }

    #[test]
    fn buckets_begin_at_the_same_times_everywhere_and_before_1970_too() {
        let width = Duration::from_secs(600);
        let at = |second: i64| bucket(WallTime::from_millis(second * 1_000), width);
        assert_eq!([at(0), at(599), at(600), at(-1)], [0, 0, 1, -1]);
    }

    proptest! {
        #[test]
        fn a_mean_lies_between_the_least_and_the_greatest(values in prop::collection::vec(-1e6..1e6_f64, 4..50)) {
            let states: Vec<_> = values.iter().map(|t| state(1, &json!({ "t": t }))).collect();
            let whole: Value = serde_json::from_slice(&downsampled(&states).unwrap().json).unwrap();
            let [mean, min, max] = ["/data/t", "/meta/min/t", "/meta/max/t"]
                .map(|at| whole.pointer(at).and_then(Value::as_f64).unwrap());
            prop_assert!(min - 1e-6 <= mean && mean <= max + 1e-6);
            prop_assert!(values.contains(&min) && values.contains(&max));
            prop_assert_eq!(whole["meta"]["downsampled"].as_u64(), Some(values.len() as u64));
        }
    }
}
