//! The elements of a `sendState` body: stored states, those of one time as one, and a mark for those that had to wait.
//!
//! Losant merges what it is sent for one device and millisecond (devices/state, "time") and counts each element as a payload.
//! So what is joined depends on times alone: a repeat that is cut otherwise comes to the same.

use std::collections::BTreeMap;

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use tidegate_model::WallTime;

/// The mark of a state that had to wait.
const BACKFILL: &str = r#"{"backfill":true}"#;

/// A state as JSON, its values as they are written.
#[derive(Deserialize, Serialize)]
struct Element<'a> {
    #[serde(borrow)]
    time: &'a RawValue,
    #[serde(borrow)]
    data: BTreeMap<String, &'a RawValue>,
    #[serde(borrow, default, skip_serializing_if = "Option::is_none")]
    meta: Option<&'a RawValue>,
}

/// The elements for these states of one device, in order: neighbours of one time are one, unless an attribute is in two of them.
/// With `is_backfill` those without a meta get a mark.
pub fn elements(states: &[(WallTime, Bytes)], is_backfill: bool) -> Vec<Bytes> {
    let runs = states.chunk_by(|(one, _), (next, _)| one == next);
    let joined = runs.flat_map(|run| {
        let whole = (run.len() > 1).then(|| join(run)).flatten();
        whole.map_or_else(|| run.iter().map(|(_, state)| state.clone()).collect(), |one| vec![one])
    });
    joined.map(|state| if is_backfill { marked(state) } else { state }).collect()
}

/// One state of several; `None` if an attribute is in two of them, or a meta is in one.
fn join(run: &[(WallTime, Bytes)]) -> Option<Bytes> {
    let mut states = run.iter().map(|(_, state)| parse(state));
    let mut whole = states.next()??;
    for state in states {
        for (name, value) in state?.data {
            if whole.data.insert(name, value).is_some() {
                return None;
            }
        }
    }
    written(&whole)
}

fn parse(state: &[u8]) -> Option<Element<'_>> {
    let element: Element<'_> = serde_json::from_slice(state).ok()?;
    element.meta.is_none().then_some(element)
}

fn marked(state: Bytes) -> Bytes {
    let Ok(mark) = RawValue::from_string(BACKFILL.to_owned()) else { return state };
    let element = parse(&state).map(|element| Element { meta: Some(&mark), ..element });
    element.as_ref().and_then(written).unwrap_or(state)
}

fn written(element: &Element<'_>) -> Option<Bytes> {
    serde_json::to_vec(element).ok().map(Bytes::from)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sent(states: &[(i64, &'static str)], is_backfill: bool) -> Vec<String> {
        let state = |(time, text): &(i64, &'static str)| {
            (WallTime::from_millis(*time), Bytes::from_static(text.as_bytes()))
        };
        let elements = elements(&states.iter().map(state).collect::<Vec<_>>(), is_backfill);
        elements.iter().map(|element| String::from_utf8_lossy(element).into_owned()).collect()
    }

    #[test]
    fn neighbours_of_one_time_are_one_element_and_their_numbers_stay_as_they_are() {
        let states = [
            (1, r#"{"time":"t1","data":{"a":1.50}}"#),
            (1, r#"{"time":"t1","data":{"b":"x","c":12345678901234567890}}"#),
            (2, r#"{"time":"t2","data":{"a":2}}"#),
        ];
        let joined = r#"{"time":"t1","data":{"a":1.50,"b":"x","c":12345678901234567890}}"#;
        assert_eq!(sent(&states, false), [joined, r#"{"time":"t2","data":{"a":2}}"#]);
    }

    #[test]
    fn what_has_an_attribute_twice_or_a_meta_is_not_joined() {
        for second in [r#"{"time":"t","data":{"a":2}}"#, r#"{"time":"t","data":{"b":2},"meta":1}"#]
        {
            let states = [(1, r#"{"time":"t","data":{"a":1}}"#), (1, second)];
            assert_eq!(sent(&states, false), [states[0].1, second]);
        }
    }

    #[test]
    fn what_had_to_wait_is_marked_unless_it_has_a_meta() {
        let states = [
            (1, r#"{"time":"t1","data":{"a":1}}"#),
            (2, r#"{"time":"t2","data":{"a":2},"meta":{"downsampled":3}}"#),
        ];
        let marked = r#"{"time":"t1","data":{"a":1},"meta":{"backfill":true}}"#;
        assert_eq!(sent(&states, true), [marked, states[1].1]);
    }
}
