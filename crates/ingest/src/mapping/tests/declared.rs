//! Tests of the pipeline with the attributes that devices declare in Losant.

use super::*;
use tidegate_model::{AttributeType, DeclaredDevices};

/// Returns a bench whose device `hall` declares these attributes.
fn declared(sensors: Vec<Sensor>, attributes: &[(&str, AttributeType)]) -> Bench {
    let attributes = attributes.iter().map(|(name, kind)| (name.parse().unwrap(), *kind));
    let devices: DeclaredDevices = [(device(1), std::sync::Arc::new(attributes.collect()))].into();
    let mut bench = bench(sensors);
    bench.0.handle_declared(devices.into());
    bench
}

fn json_sensor(map: Vec<Mapping>) -> Sensor {
    Sensor { format: Json::default().into(), ..sensor("#", map) }
}

#[test]
fn values_without_a_number_are_rejected() {
    let number = [("t", AttributeType::Number)];
    for payload in [r#"{"t":"ERR"}"#, r#"{"t":"---"}"#, r#"{"t":"None"}"#, r#"{"t":true}"#] {
        let mapped = declared(vec![json_sensor(vec![map("t", "t")])], &number)
            .map(&message("a", payload), now());
        assert_eq!(mapped.states, [], "{payload}");
        assert_eq!(mapped.rejected, [(Reason::WrongType, 1)].into(), "{payload}");
    }
    let mapped = declared(vec![json_sensor(vec![map("t", "t")])], &number)
        .map(&message("a", r#"{"t":" 21.5 "}"#), now());
    assert_eq!(mapped.states, [state(1, &[("t", Value::Float(21.5))])]);
}

#[test]
fn filters_let_no_text_through_to_a_number() {
    let filters = [
        FilterSettings { decimals: Some(1), ..FilterSettings::default() },
        FilterSettings { rate_max: Some(9.0), ..FilterSettings::default() },
        FilterSettings { deadband: Some(Deadband::Absolute(0.1)), ..FilterSettings::default() },
    ];
    for filter in filters {
        let mapping = Mapping { filter, ..map("t", "t") };
        let mapped = declared(vec![json_sensor(vec![mapping])], &[("t", AttributeType::Number)])
            .map(&message("a", r#"{"t":"ERR"}"#), now());
        assert_eq!(mapped.rejected, [(Reason::WrongType, 1)].into());
    }
}

#[test]
fn undeclared_attributes_of_templates_are_rejected() {
    let mut mapping = map("*", "unused");
    mapping.attribute = AttributeSelector::ByTemplate(template("{{ channel }}"));
    let mut bench = declared(vec![sensor("#", vec![mapping])], &[("t", AttributeType::Number)]);
    let mapped = bench.map(&message("a", "t=1 h=2"), now());
    assert_eq!(mapped.states, [state(1, &[("t", Value::Integer(1))])]);
    assert_eq!(mapped.rejected, [(Reason::Undeclared, 1)].into());
    let (_, stats) = bench.0.take_changed_stats().remove(0);
    let misfits: Vec<_> = stats.misfits.keys().map(ToString::to_string).collect();
    assert_eq!(misfits, ["h"]);
}

#[test]
fn misfit_ends_with_a_value_that_fits() {
    let sensors = vec![json_sensor(vec![map("t", "t")])];
    let mut bench = declared(sensors, &[("t", AttributeType::Number)]);
    let mut misfits = |payload| {
        bench.map(&message("a", payload), now());
        bench.0.take_changed_stats().remove(0).1.misfits.len()
    };
    assert_eq!(misfits(r#"{"t":"ERR"}"#), 1);
    assert_eq!(misfits(r#"{"t":2}"#), 0);
}

#[test]
fn numbers_for_a_string_keep_the_text_of_the_message() {
    let attributes = [("id", AttributeType::Text), ("level", AttributeType::Text)];
    let rounded = FilterSettings { decimals: Some(1), ..FilterSettings::default() };
    let sensors =
        vec![sensor("#", vec![map("id", "id"), Mapping { filter: rounded, ..map("l", "level") }])];
    let mapped = declared(sensors, &attributes).map(&message("a", "id=0012 l=2.25"), now());
    let data = [("id", Value::Text("0012".to_owned())), ("level", Value::Text("2.2".to_owned()))];
    assert_eq!(mapped.states, [state(1, &data)]);
}

#[test]
fn devices_that_are_not_known_are_not_checked() {
    let mut sensor = sensor("#", vec![map("t", "t")]);
    sensor.device = DeviceSelector::Fixed(device(2));
    let mapped = declared(vec![sensor], &[]).map(&message("a", "t=ERR"), now());
    assert_eq!(mapped.states, [state(2, &[("t", Value::Text("ERR".to_owned()))])]);
}

#[test]
fn empty_payload_and_null_are_skipped() {
    let mut bench = bench(vec![json_sensor(vec![map("t", "t")])]);
    for payload in ["", " \r\n", r#"{"t":null}"#] {
        let mapped = bench.map(&message("a", payload), now());
        assert_eq!(mapped.rejected, [(Reason::NoValue, 1)].into(), "{payload:?}");
    }
    let (_, stats) = bench.0.take_changed_stats().remove(0);
    assert_eq!((stats.errors, stats.skipped), (0, 1));
}
