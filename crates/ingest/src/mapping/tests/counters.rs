//! The states of counters that the outbox keeps.

use super::*;

/// Returns a counter of the channel `n`.
fn counter(attribute: &str, kind: Derive) -> Mapping {
    let mut mapping = map("n", attribute);
    let derive = DeriveSettings { kind, per: Duration::from_secs(1), range: None };
    mapping.filter.derive = Some(derive);
    mapping
}

fn counters() -> Sensor {
    let mut window = counter("sum", Derive::Increase);
    window.filter.window = Some(WindowSettings::new(Aggregate::Sum, Duration::from_secs(60)));
    let delta = counter("delta", Derive::Delta);
    sensor("#", vec![counter("step", Derive::Increase), window, delta])
}

#[test]
fn each_counter_continues_with_its_own_state() {
    let mut before = bench(vec![counters()]);
    before.map(&message("a", "n=7"), now());
    before.map(&message("a", "n=9"), now());
    let rows = before.0.take_counter_changes();
    assert_eq!(rows.len(), 2, "a difference is not kept: {rows:?}");
    assert_eq!(rows, before.0.counters());
    assert_eq!(before.0.take_counter_changes(), []);

    let mut after = bench(vec![counters()]);
    assert!(rows.iter().all(|row| after.0.restore_counter(row, now())));
    assert_eq!(after.0.counters(), rows);
    let mapped = after.map(&message("a", "n=12"), now());
    assert_eq!(mapped.states, [state(1, &[("step", Value::Float(3.0))])]);
    assert_eq!(mapped.filtered, [(Reason::Aggregated, 1), (Reason::Baseline, 1)].into());
}

#[test]
fn state_of_other_settings_is_not_continued() {
    let mut before = bench(vec![counters()]);
    before.map(&message("a", "n=7"), now());
    let rows = before.0.take_counter_changes();
    let mut scaled = counters();
    scaled.map.iter_mut().for_each(|mapping| mapping.conversion.scale = 0.1);
    let mut other_device = counters();
    other_device.device = DeviceSelector::Fixed(DeviceId::from([9; 12]));
    for sensor in [scaled, other_device, sensor("#", vec![map("n", "step")])] {
        let mut after = bench(vec![sensor]);
        assert!(!rows.iter().any(|row| after.0.restore_counter(row, now())));
    }
    let mut after = bench(vec![counters()]);
    for value in ["", "{}", "[]", "null"] {
        let row = CounterRow { value: value.into(), ..rows[0].clone() };
        assert!(!after.0.restore_counter(&row, now()));
    }
}

#[test]
fn counter_without_a_memory_is_rejected() {
    let mut named = counter("n", Derive::Increase);
    named.attribute = AttributeSelector::ByTemplate(template("{{ topic[0] }}"));
    let mut bench = bench(vec![sensor("#", vec![named])]);
    for number in 0..1_024 {
        let mapped = bench.map(&message(&format!("a{number}"), "n=1"), now());
        assert_eq!(mapped.filtered, [(Reason::Baseline, 1)].into());
    }
    let mapped = bench.map(&message("b", "n=1"), now());
    assert_eq!((mapped.states.len(), mapped.rejected), (0, [(Reason::TooLong, 1)].into()));
}
