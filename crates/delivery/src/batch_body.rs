//! Builds the elements of a `sendState` body: merges states of one time, and marks backlog states.
//!
//! Losant merges the states of one device and millisecond (devices/state, "time"), and counts each
//! element as a payload. Only the times decide which states are merged, so a repeated call with
//! other batch limits has the same effect in Losant.

use std::collections::BTreeMap;

use bytes::Bytes;
use serde_json::value::RawValue;

use crate::element;
use tidegate_model::WallTime;

/// The `meta` of a backlog state.
const BACKFILL: &str = r#"{"backfill":true}"#;

/// The name of the member, as it is serialised.
const META_KEY: &[u8] = br#""meta":"#;

/// A state whose values keep their texts.
type Element<'a> = element::Element<'a, BTreeMap<String, &'a RawValue>>;

/// Builds the elements for the states of one device, in order.
///
/// Adjacent states of one time become one element, unless they share an attribute. With
/// `is_backfill`, elements without a `meta` get the backfill mark.
pub fn elements(states: &[(WallTime, Bytes)], is_backfill: bool) -> Vec<Bytes> {
    let runs = states.chunk_by(|(one, _), (next, _)| one == next);
    let merged = runs.flat_map(|run| {
        let merged = (run.len() > 1).then(|| merge(run)).flatten();
        merged.map_or_else(|| run.iter().map(|(_, state)| state.clone()).collect(), |one| vec![one])
    });
    merged.map(|state| if is_backfill { mark(state) } else { state }).collect()
}

/// Merges states into one.
///
/// Returns `None` if two of them share an attribute, or if one has a `meta`.
fn merge(run: &[(WallTime, Bytes)]) -> Option<Bytes> {
    let mut states = run.iter().map(|(_, state)| parse(state));
    let mut merged = states.next()??;
    for state in states {
        for (name, value) in state?.data {
            if merged.data.insert(name, value).is_some() {
                return None;
            }
        }
    }
    serialize(&merged)
}

fn parse(state: &[u8]) -> Option<Element<'_>> {
    let element: Element<'_> = serde_json::from_slice(state).ok()?;
    element.meta.is_none().then_some(element)
}

/// Adds the backfill mark to an element without a `meta`.
///
/// [`tidegate_model::State`] wrote the element, so a text without `"meta":` has no such member, and
/// its end is the end of the object. Only other elements are parsed. A quote inside of a string has
/// a backslash before it, so a string cannot contain this text.
fn mark(state: Bytes) -> Bytes {
    let has_meta = state.windows(META_KEY.len()).any(|window| window == META_KEY);
    if let Some(rest) = state.strip_suffix(b"}").filter(|_| !has_meta) {
        return Bytes::from([rest, b",", META_KEY, BACKFILL.as_bytes(), b"}"].concat());
    }
    let Ok(meta) = RawValue::from_string(BACKFILL.to_owned()) else { return state };
    let element = parse(&state).map(|element| Element { meta: Some(&meta), ..element });
    element.as_ref().and_then(serialize).unwrap_or(state)
}

fn serialize(element: &Element<'_>) -> Option<Bytes> {
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
    fn merges_states_of_one_time_and_keeps_number_text() {
        let states = [
            (1, r#"{"time":"t1","data":{"a":1.50}}"#),
            (1, r#"{"time":"t1","data":{"b":"x","c":12345678901234567890}}"#),
            (2, r#"{"time":"t2","data":{"a":2}}"#),
        ];
        let merged = r#"{"time":"t1","data":{"a":1.50,"b":"x","c":12345678901234567890}}"#;
        assert_eq!(sent(&states, false), [merged, r#"{"time":"t2","data":{"a":2}}"#]);
    }

    #[test]
    fn keeps_states_with_shared_attribute_or_meta_apart() {
        for second in [r#"{"time":"t","data":{"a":2}}"#, r#"{"time":"t","data":{"b":2},"meta":1}"#]
        {
            let states = [(1, r#"{"time":"t","data":{"a":1}}"#), (1, second)];
            assert_eq!(sent(&states, false), [states[0].1, second]);
        }
    }

    #[test]
    fn marks_backfill_states_without_meta() {
        let states = [
            (1, r#"{"time":"t1","data":{"a":1}}"#),
            (2, r#"{"time":"t2","data":{"a":2},"meta":{"downsampled":3}}"#),
        ];
        let marked = r#"{"time":"t1","data":{"a":1},"meta":{"backfill":true}}"#;
        assert_eq!(sent(&states, true), [marked, states[1].1]);
    }

    #[test]
    fn attribute_or_text_with_the_name_meta_does_not_hide_the_mark() {
        let states = [
            (1, r#"{"time":"t1","data":{"meta":5}}"#),
            (2, r#"{"time":"t2","data":{"a":"\"meta\":"}}"#),
        ];
        let marked = [
            r#"{"time":"t1","data":{"meta":5},"meta":{"backfill":true}}"#,
            r#"{"time":"t2","data":{"a":"\"meta\":"},"meta":{"backfill":true}}"#,
        ];
        assert_eq!(sent(&states, true), marked);
    }
}
