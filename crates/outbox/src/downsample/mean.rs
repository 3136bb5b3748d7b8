//! Computes one state from numeric states: the mean of each attribute.
//!
//! The mean has the name of the attribute, so that charts continue. The number of states and the
//! minimum and maximum of each attribute are in the state's meta (rest-api/device, "Send State"). A
//! state with a text, a boolean or a meta is not numeric, so a mean is never downsampled again.

use std::collections::BTreeMap;
use std::time::Duration;

use bytes::Bytes;
use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::value::RawValue;

use tidegate_model::WallTime;

/// The mean of several states.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct MeanState {
    /// The state as it will be sent, with the time of the first state.
    pub(super) json: Bytes,
    /// The number of values.
    pub(super) readings: u16,
}

/// A state with numbers only.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct NumericState<'a> {
    #[serde(borrow)]
    time: &'a RawValue,
    data: BTreeMap<String, Number>,
}

/// A finite number, parsed exactly. `serde_json` may round the last bit; but the minimum and the
/// maximum must be values that were measured.
#[derive(Debug, Clone, Copy)]
struct Number(f64);

impl<'de> Deserialize<'de> for Number {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let raw = <&RawValue>::deserialize(deserializer)?;
        let number = raw.get().parse().ok().filter(|number: &f64| number.is_finite());
        number.map(Self).ok_or_else(|| D::Error::custom("not a finite number"))
    }
}

#[derive(Serialize)]
struct MeanJson<'a> {
    time: &'a RawValue,
    data: BTreeMap<&'a str, f64>,
    meta: Meta<'a>,
}

/// Shows workflows that the state is a mean.
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

/// Returns the number of the bucket of this width that contains a time, counted from 1970. Buckets
/// start at the same times on each gateway.
pub(super) fn bucket(time: WallTime, width: Duration) -> i64 {
    let width = i64::try_from(width.as_millis()).unwrap_or(i64::MAX).max(1);
    time.as_millis().div_euclid(width)
}

/// Returns whether a state can be downsampled.
pub(super) fn is_numeric(json: &[u8]) -> bool {
    serde_json::from_slice::<NumericState<'_>>(json).is_ok()
}

/// Computes the mean of states, given in order. Returns `None` if one of them is not numeric, or if
/// the mean is not smaller than the states.
pub(super) fn mean_of(states: &[Bytes]) -> Option<MeanState> {
    let parse = |state| serde_json::from_slice::<NumericState<'_>>(state).ok();
    let states_in: Vec<_> = states.iter().map(|state| parse(state)).collect::<Option<_>>()?;
    let mut spreads: BTreeMap<&str, Spread> = BTreeMap::new();
    for (name, Number(value)) in states_in.iter().flat_map(|state| &state.data) {
        spreads.entry(name).or_insert_with(|| Spread::of(*value)).add(*value);
    }
    if spreads.values().any(|spread| !spread.mean.is_finite()) {
        return None;
    }
    let each = |pick: fn(&Spread) -> f64| {
        spreads.iter().map(|(name, spread)| (*name, pick(spread))).collect()
    };
    let (min, max) = (each(|spread| spread.min), each(|spread| spread.max));
    let mean = MeanJson {
        time: states_in.first()?.time,
        data: each(|spread| spread.mean),
        meta: Meta { downsampled: states.len(), min, max },
    };
    let json = Bytes::from(serde_json::to_vec(&mean).ok()?);
    let readings = u16::try_from(spreads.len()).ok()?;
    let is_gain = json.len() < states.iter().map(Bytes::len).sum();
    is_gain.then_some(MeanState { json, readings })
}

impl Spread {
    fn of(value: f64) -> Self {
        Self { count: 0.0, mean: 0.0, min: value, max: value }
    }

    /// Adds a value with Welford's method, which avoids large sums.
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
    fn mean_has_the_first_time_and_the_extremes_in_meta() {
        let states = [
            state(1, &json!({ "t": 20, "humidity": 50.5 })),
            state(2, &json!({ "t": 23 })),
            state(3, &json!({ "t": 21.5 })),
        ];
        let mean = mean_of(&states).unwrap();
        let whole: Value = serde_json::from_slice(&mean.json).unwrap();
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
        assert_eq!(mean.readings, 2);
        assert!(!is_numeric(&mean.json), "a mean is not downsampled again");
    }

    #[test]
    fn rejects_states_with_text_boolean_or_meta() {
        for other in [json!({ "on": true }), json!({ "text": "a" })] {
            assert!(!is_numeric(&state(1, &other)));
            let states = [state(1, &json!({ "t": 1 })), state(2, &other)];
            assert_eq!(mean_of(&states), None);
        }
        assert!(!is_numeric(br#"{"time":"x","data":{"t":1},"meta":{"a":1}}"#));
    }

    #[test]
    fn rejects_states_whose_mean_is_not_smaller() {
        assert_eq!(mean_of(&[state(1, &json!({ "t": 1 }))]), None);
        assert_eq!(mean_of(&[]), None);
    }

    #[test]
    fn rejects_states_with_infinite_mean() {
        let states: Vec<_> =
            [f64::MAX, -f64::MAX, f64::MAX].map(|t| state(1, &json!({ "t": t }))).into();
        assert_eq!(mean_of(&states), None);
    }

    #[test]
    fn buckets_align_to_1970() {
        let width = Duration::from_secs(600);
        let at = |second: i64| bucket(WallTime::from_millis(second * 1_000), width);
        assert_eq!([at(0), at(599), at(600), at(-1)], [0, 0, 1, -1]);
    }

    proptest! {
        #[test]
        fn mean_lies_between_minimum_and_maximum(
            values in prop::collection::vec(-1e6..1e6_f64, 4..50)
        ) {
            let states: Vec<_> = values.iter().map(|t| state(1, &json!({ "t": t }))).collect();
            let json = mean_of(&states).unwrap().json;
            let whole: Value = serde_json::from_slice(&json).unwrap();
            prop_assert_eq!(whole["meta"]["downsampled"].as_u64(), Some(values.len() as u64));
            let Stored { data, meta } = serde_json::from_slice(&json).unwrap();
            let [mean, min, max] = [&data, &meta.min, &meta.max].map(|part| part["t"].0);
            prop_assert!(min - 1e-6 <= mean && mean <= max + 1e-6);
            prop_assert!(values.contains(&min) && values.contains(&max));
        }
    }

    /// A mean as it is stored, with exact numbers.
    #[derive(Deserialize)]
    struct Stored {
        data: BTreeMap<String, Number>,
        meta: StoredMeta,
    }

    #[derive(Deserialize)]
    struct StoredMeta {
        min: BTreeMap<String, Number>,
        max: BTreeMap<String, Number>,
    }
}
