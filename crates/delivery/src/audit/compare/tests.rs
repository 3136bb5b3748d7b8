//! Tests of the comparison, against a model of Losant's history.

use std::collections::BTreeSet;

use proptest::prelude::*;
use serde_json::json;

use super::*;
use tidegate_model::DeviceId;

/// 1 May 2026, 10:00 UTC.
const NOW_MS: i64 = 1_777_629_600_000;

/// The history of a device in Losant.
type Stored = BTreeMap<WallTime, BTreeMap<String, Value>>;

fn at(after_ms: i64) -> WallTime {
    WallTime::from_millis(NOW_MS + after_ms)
}

fn sample(states: &[(i64, Value)]) -> Arc<Sample> {
    let mut sample = Sample::new(DeviceId::from([1; 12]));
    for (after_ms, data) in states {
        let element = json!({ "time": at(*after_ms), "data": data }).to_string();
        assert!(sample.add(element.as_bytes(), at(0), usize::MAX));
    }
    Arc::new(sample)
}

fn stored(states: &[(i64, Value)]) -> Stored {
    let data = |data: &Value| data.as_object().unwrap().clone().into_iter().collect();
    states.iter().map(|(after_ms, values)| (at(*after_ms), data(values))).collect()
}

/// Reads the sample back from a service that returns at most `page` states a call.
fn read_back(sample: &Arc<Sample>, stored: &Stored, page: usize) -> ReadBack {
    let mut read = ReadBack::new(Arc::clone(sample));
    while let Some(range) = read.next_range() {
        let found = stored.range(range.start..=range.end).take(page);
        let states = found.map(|(time, data)| ReadState { time: *time, data: data.clone() });
        read.add(states.collect()).unwrap();
    }
    read
}

/// Returns attribute, kind and reason of the differences.
fn compared(
    sent: &[(i64, Value)],
    kept: &[(i64, Value)],
    declared: &[(&str, AttributeType)],
) -> Vec<(String, DifferenceKind, DifferenceReason)> {
    let declared: DeclaredAttributes =
        declared.iter().map(|(name, kind)| (name.parse().unwrap(), *kind)).collect();
    let read = read_back(&sample(sent), &stored(kept), 100);
    let findings = read.compare(Some(&declared).filter(|all| !all.is_empty()), at(60_000));
    let differences = findings.differences.into_iter();
    differences.map(|one| (one.attribute.to_string(), one.kind, one.reason)).collect()
}

#[test]
fn converted_values_are_the_same() {
    for (sent, read) in [
        (json!(1), json!(1.0)),
        (json!(9_007_199_254_740_993_i64), json!(9_007_199_254_740_992.0)),
        (json!("21.50"), json!(21.5)),
        (json!(7), json!("7")),
        (json!(1), json!(true)),
        (json!("false"), json!(false)),
        (json!("x".repeat(500)), json!("x".repeat(500))),
    ] {
        let differences = compared(&[(0, json!({ "a": sent }))], &[(0, json!({ "a": read }))], &[]);
        assert_eq!(differences, [], "{sent} {read}");
    }
}

#[test]
fn other_values_are_different() {
    for (sent, read) in [
        (json!(1), json!(2)),
        (json!("a"), json!("b")),
        (json!("7"), json!("7.0")),
        (json!(true), json!(false)),
        (json!("x".repeat(500)), json!("y".repeat(500))),
        (json!(1), json!("one")),
    ] {
        let differences = compared(&[(0, json!({ "a": sent }))], &[(0, json!({ "a": read }))], &[]);
        let kind = DifferenceKind::DifferentValue;
        assert_eq!(differences, [("a".to_owned(), kind, DifferenceReason::Overwritten)], "{sent}");
    }
}

#[test]
fn positions_and_blobs_may_have_another_form() {
    let declared = [("p", AttributeType::Gps), ("b", AttributeType::Blob)];
    let sent = |position: &str| [(0, json!({ "p": position, "b": "aGVsbG8=" }))];
    let kept = [(0, json!({ "p": "53.55,9.990000", "b": "https://files/1" }))];
    assert_eq!(compared(&sent("53.5500, 9.99"), &kept, &declared), []);
    assert_eq!(compared(&sent("$GPGLL,5333.0,N,00959.4,E,,A"), &kept, &declared), []);
    assert_eq!(compared(&sent("53.56,9.99"), &kept, &declared).len(), 1);
}

#[test]
fn each_reason_is_recognised() {
    let (state, value) = (DifferenceKind::MissingState, DifferenceKind::MissingValue);
    let declared = [("a", AttributeType::Number), ("b", AttributeType::Number)];
    let named = |name: &str, kind, reason| vec![(name.to_owned(), kind, reason)];
    let both = json!({ "a": 1, "b": 2 });

    let found = compared(&[(0, both.clone())], &[(0, json!({ "a": 1 }))], &declared[..1]);
    assert_eq!(found, named("b", value, DifferenceReason::Undeclared));

    let mistyped = [(0, json!({ "a": "ERR", "b": 2 }))];
    let found = compared(&mistyped, &[(0, json!({ "b": 2 }))], &declared);
    assert_eq!(found, named("a", value, DifferenceReason::WrongType));

    let found = compared(&[(-40 * 86_400_000, json!({ "a": 1 }))], &[], &declared);
    assert_eq!(found, named("a", state, DifferenceReason::Date));
    let found = compared(&[(2 * 86_400_000, json!({ "a": 1 }))], &[], &declared);
    assert_eq!(found, named("a", state, DifferenceReason::Date));

    let sent = [(0, both.clone()), (1, both.clone())];
    let kept = [(0, json!({ "a": 1 })), (1, json!({ "a": 1 }))];
    let deleted = ("b".to_owned(), value, DifferenceReason::Deleted);
    assert_eq!(compared(&sent, &kept, &declared), [deleted.clone(), deleted]);

    let kept = [(0, both), (1, json!({ "a": 1 }))];
    assert_eq!(compared(&sent, &kept, &declared), named("b", value, DifferenceReason::Lost));
}

#[test]
fn unordered_page_is_an_error() {
    let mut read = ReadBack::new(sample(&[(0, json!({ "a": 1 })), (1, json!({ "a": 1 }))]));
    let state = |after| ReadState { time: at(after), data: BTreeMap::new() };
    assert_eq!(read.add(vec![state(1), state(0)]), Err(Unordered));
}

#[test]
fn one_call_reads_a_sample_that_is_complete() {
    let states: Vec<_> = (0..100).map(|n| (n * 1_000, json!({ "a": n }))).collect();
    let read = read_back(&sample(&states), &stored(&states), READ_STATES_MAX);
    assert!(read.calls <= 2, "{} calls", read.calls);
    assert_eq!(read.compare(None, at(0)).differences, []);
}

#[test]
fn too_many_foreign_states_leave_the_rest_unchecked() {
    let sent = [(0, json!({ "a": 1 })), (5_000, json!({ "a": 2 }))];
    let mut kept = stored(&sent);
    // The sample has no gap here that a call could skip.
    let gaps: Vec<_> = (0..50).map(|n| (n * 100, json!({ "a": n }))).collect();
    kept.extend(stored(&(1..5_000).map(|n| (n, json!({ "b": n }))).collect::<Vec<_>>()));
    kept.extend(stored(&gaps));
    let findings = read_back(&sample(&gaps), &kept, 7).compare(None, at(0));
    assert_eq!(findings.differences, []);
    assert!(findings.unchecked_states > 0);
    assert_eq!(findings.states + findings.unchecked_states, 50);
}

#[test]
fn parses_each_form_of_a_time() {
    for time in [json!(at(7)), json!(NOW_MS + 7), json!({ "$date": at(7) })] {
        let state = ReadState::parse(&json!({ "time": time, "data": { "a": 1 } })).unwrap();
        assert_eq!(state, ReadState { time: at(7), data: [("a".to_owned(), json!(1))].into() });
    }
    assert_eq!(ReadState::parse(&json!({ "data": {} })), None);
}

proptest! {
    /// The audit finds exactly the values that are missing, also if other programs write to the
    /// device and Losant returns short pages.
    #[test]
    fn differences_are_exactly_the_lost_values(
        sent in prop::collection::btree_map(
            0..3_000_i64,
            prop::collection::btree_map("[a-d]", -1_000..1_000_i64, 1..5),
            1..100,
        ),
        others in prop::collection::btree_map(0..3_000_i64, -9..9_i64, 0..200),
        lost in prop::collection::vec(any::<prop::sample::Index>(), 0..9),
        page in 60..200_usize,
    ) {
        let states: Vec<_> = sent.iter().map(|(time, data)| (*time, json!(data))).collect();
        let mut kept = stored(&states);
        let values: Vec<_> = sent
            .iter()
            .flat_map(|(time, data)| data.keys().map(move |name| (at(*time), name.clone())))
            .collect();
        let mut expected = BTreeSet::new();
        for index in lost {
            let (time, name) = index.get(&values).clone();
            kept.get_mut(&time).unwrap().remove(&name);
            expected.insert((time, name));
        }
        kept.retain(|_, data| !data.is_empty());
        for (time, value) in others {
            kept.entry(at(time)).or_default().insert("other".to_owned(), value.into());
        }
        let read = read_back(&sample(&states), &kept, page.min(READ_STATES_MAX));
        let findings = read.compare(None, at(0));
        prop_assert_eq!(findings.unchecked_states, 0);
        prop_assert_eq!(findings.values, values.len() as u64);
        let found: BTreeSet<_> =
            findings.differences.iter().map(|one| (one.time, one.attribute.to_string())).collect();
        prop_assert_eq!(found, expected);
    }
}
