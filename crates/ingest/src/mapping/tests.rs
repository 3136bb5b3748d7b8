//! Readings of every sort, and what becomes of them.

use std::time::Duration;

use bytes::Bytes;

use super::*;
use crate::decode::{Json, KeyValue};
use tidegate_model::{Priority, State, WallTime};
use tidegate_template::Expression;
use tidegate_template::Template;

#[test]
fn a_reading_becomes_one_state_of_its_time() {
    let mut plan =
        plan(vec![sensor("sensors/+/climate", vec![map("t", "tempC"), map("door", "door")])]);
    let mapped = plan.map(&reading("sensors/hall/climate", "t=21.5 door=true x=1"), now());
    let data = [("door", Value::Boolean(true)), ("tempC", Value::Float(21.5))];
    assert_eq!(mapped, Mapped { states: vec![state(1, &data)], ..Mapped::default() });
}

#[test]
fn the_topic_may_name_the_device_and_the_attribute() {
    let mut sensor = sensor("+/+/+", vec![map("t", "unused")]);
    sensor.device = DeviceSelector::ByTemplate(template("{{ topic[1] }}\n"));
    sensor.map[0].attribute =
        AttributeSelector::ByTemplate(template("{{ topic[2] }}-{{ channel }}"));
    let mut plan = plan(vec![sensor]);
    let mut states = |topic| plan.map(&reading(topic, "t=1"), now()).states;
    assert_eq!(states("s/hall/air"), [state(1, &[("air-t", Value::Integer(1))])]);
    assert_eq!(states("s/yard/soil"), [state(2, &[("soil-t", Value::Integer(1))])]);

    let mut rejected = |topic| plan.map(&reading(topic, "t=1"), now()).rejected;
    assert_eq!(rejected("s/attic/air"), [(Reason::UnknownDevice, 1)].into());
    assert_eq!(rejected("s/hall/a.b"), [(Reason::BadAttributeName, 1)].into());
}

#[test]
fn a_template_that_cannot_be_filled_counts_each_value() {
    let mut sensor = sensor("#", vec![map("t", "t"), map("h", "h")]);
    sensor.device = DeviceSelector::ByTemplate(template("{{ topic[7] }}"));
    let mapped = plan(vec![sensor]).map(&reading("s/hall", "t=1 h=2"), now());
    assert_eq!(mapped.rejected, [(Reason::UnknownDevice, 2)].into());
    assert_eq!(mapped.states, []);
}

#[test]
fn sensors_of_one_device_share_a_state_and_the_later_one_wins() {
    let mut plan = plan(vec![
        sensor("#", vec![map("t", "tempC"), map("h", "humidity")]),
        sensor("a/b", vec![map("u", "tempC")]),
    ]);
    let data = [("humidity", Value::Integer(40)), ("tempC", Value::Integer(22))];
    assert_eq!(plan.map(&reading("a/b", "t=21 h=40 u=22"), now()).states, [state(1, &data)]);
}

#[test]
fn a_message_without_a_value_counts_as_one_and_says_why() {
    let reason = |topic, payload| {
        let mut plan = plan(vec![
            sensor("a/#", vec![map("t", "t"), map("u", "u")]),
            sensor("a/#", vec![map("t", "t2")]),
        ]);
        let mapped = plan.map(&reading(topic, payload), now());
        assert_eq!((mapped.states.len(), mapped.details.is_empty()), (0, false));
        mapped.rejected.into_iter().collect::<Vec<_>>()
    };
    assert_eq!(reason("b", "t=1"), [(Reason::NoSensor, 1)]);
    assert_eq!(reason("a", "noise"), [(Reason::Malformed, 1)]);
    assert_eq!(reason("a", "x=1"), [(Reason::NoChannel, 1)]);
    assert_eq!(reason("a", "t=nan"), [(Reason::NotFinite, 2)]);
}

#[test]
fn a_missing_channel_is_explained_by_those_that_are_there() {
    let mapped =
        plan(vec![sensor("#", vec![map("t", "t")])]).map(&reading("a", "temp=1 hum=2"), now());
    let detail = "sensor climate: the message has none of the channels t; it has hum, temp";
    assert_eq!(mapped.details, [detail]);
}

#[test]
fn a_bad_value_does_not_hold_back_the_others() {
    let mut sensor = sensor("#", vec![map("t", "t"), map("n", "n"), map("l", "l"), map("s", "s")]);
    sensor.format = Json { array_pointer: None }.into();
    let long = "x".repeat(65_537);
    let payload = format!(r#"{{"t": 1, "n": null, "l": [], "s": "{long}"}}"#);
    let mapped = plan(vec![sensor]).map(&reading("a", &payload), now());
    assert_eq!(mapped.states, [state(1, &[("t", Value::Integer(1))])]);
    assert_eq!(mapped.rejected, [(Reason::TooLong, 1), (Reason::NotScalar, 2)].into());
    assert_eq!(mapped.details.len(), 3);
}

#[test]
fn a_sensor_that_decodes_silences_those_that_do_not() {
    let mut json = sensor("#", vec![map("t", "t")]);
    json.format = Json { array_pointer: None }.into();
    let mapped =
        plan(vec![json, sensor("#", vec![map("t", "t")])]).map(&reading("a", "t=1"), now());
    assert_eq!((mapped.states.len(), mapped.rejected.len(), mapped.details.len()), (1, 0, 0));
}

#[test]
fn explanations_are_bounded() {
    let sensors = vec![sensor("#", vec![map("t", "t")]); 50];
    let mapped = plan(sensors).map(&reading("a", "t=inf"), now());
    assert_eq!(mapped.rejected, [(Reason::NotFinite, 50)].into());
    assert_eq!(mapped.details.len(), 8);
}

#[test]
fn a_table_turns_serial_numbers_in_the_payload_into_devices() {
    let mut sensor = sensor("#", vec![map("t", "t")]);
    sensor.format = Json { array_pointer: None }.into();
    sensor.device = DeviceSelector::ByTemplate(template("{{ payload.from.mac }}"));
    sensor.aliases = [("AA:01".to_owned(), "yard".parse().unwrap())].into();
    let mut plan = plan(vec![sensor]);
    let mut map =
        |mac| plan.map(&reading("a", &format!(r#"{{"from": {{"mac": "{mac}"}}, "t": 1}}"#)), now());
    assert_eq!(map("AA:01").states, [state(2, &[("t", Value::Integer(1))])]);
    let refused = map("AA:02");
    assert_eq!(refused.rejected, [(Reason::UnknownDevice, 1)].into());
    assert!(refused.details[0].contains("no device is called \"AA:02\""), "{:?}", refused.details);
}

#[test]
fn an_expression_computes_an_attribute_where_the_message_has_its_channels() {
    let mut power = map("", "power");
    power.source = Source::Expression(Expression::compile("power", "u * i").unwrap());
    let mut plan = plan(vec![sensor("#", vec![map("u", "u"), power])]);
    let mut states = |payload| plan.map(&reading("a", payload), now()).states;
    let both = [("power", Value::Integer(460)), ("u", Value::Integer(230))];
    assert_eq!(states("u=230 i=2"), [state(1, &both)]);
    assert_eq!(states("u=230"), [state(1, &[("u", Value::Integer(230))])]);
    let failed = plan.map(&reading("a", "u=x i=y"), now());
    assert_eq!(failed.rejected, [(Reason::BadExpression, 1)].into());
}

#[test]
fn a_star_takes_every_channel_that_no_other_mapping_takes() {
    let mut star = map("*", "unused");
    star.attribute = AttributeSelector::ByTemplate(template("{{ channel }}_raw"));
    let mut plan = plan(vec![sensor("#", vec![map("t", "temperature"), star])]);
    let data = [("h_raw", Value::Integer(2)), ("temperature", Value::Integer(1))];
    assert_eq!(plan.map(&reading("a", "t=1 h=2"), now()).states, [state(1, &data)]);
}

#[test]
fn each_message_of_a_payload_is_a_state_of_its_own_time() {
    let mut sensor = sensor("#", vec![map("t", "t")]);
    sensor.format = Json { array_pointer: Some(String::new()) }.into();
    sensor.time =
        Some(TimeSource { channel: "at".to_owned(), notation: TimeNotation::UnixSeconds });
    let mut plan = plan(vec![sensor]);
    let payload = r#"[{"t": 1, "at": 1777629590}, {"t": 2}, {"t": 3}, {"t": 4, "at": "x"}]"#;
    let mapped = plan.map(&reading("a", payload), now());
    let times: Vec<_> =
        mapped.states.iter().map(|one| one.state.time.wall().unwrap().as_millis()).collect();
    assert_eq!(times, [1_777_629_590_000, 1_777_629_600_000, 1_777_629_600_000]);
    assert_eq!(mapped.rejected, [(Reason::BadTime, 1)].into());
}

#[test]
fn what_a_sensor_ignores_counts_once_and_is_read_by_others() {
    let mut picky = sensor("#", vec![map("t", "t")]);
    picky.ignore = Some(regex::bytes::Regex::new("^#").unwrap());
    let mut plan = plan(vec![picky]);
    let mapped = plan.map(&reading("a", "# boot"), now());
    assert_eq!((mapped.rejected, mapped.details), ([(Reason::Ignored, 1)].into(), vec![]));
}

#[test]
fn a_window_counts_what_it_takes_and_makes_one_state_when_it_ends() {
    let mut mean = map("t", "t");
    let length = Duration::from_secs(60);
    mean.flow.window = Some(WindowSettings { aggregate: Aggregate::Mean, length });
    let (mut plan, start) = (plan(vec![sensor("#", vec![mean])]), now());
    for payload in ["t=1", "t=2"] {
        let mapped = plan.map(&reading("a", payload), start);
        assert_eq!((mapped.filtered, mapped.states), ([(Reason::Aggregated, 1)].into(), vec![]));
    }
    assert_eq!(plan.poll_timeout(start), Some(start + length));
    assert_eq!(plan.handle_timeout(start + length / 2), Mapped::default());
    let made = plan.handle_timeout(start + length).made;
    assert_eq!(made, [state(1, &[("t", Value::Float(1.5))])]);
    assert_eq!(plan.poll_timeout(start), None);
    plan.map(&reading("a", "t=3"), start);
    assert_eq!(plan.finish().made, [state(1, &[("t", Value::Float(3.0))])]);
}

#[test]
fn a_silent_sensor_is_told_and_so_is_its_return() {
    let mut sensor = sensor("#", vec![map("t", "t")]);
    let after = Duration::from_secs(300);
    sensor.stale = Some(StaleSettings { after, attribute: "online".parse().unwrap() });
    let (mut plan, start) = (plan(vec![sensor]), now());
    let time = WallTime::from_millis(1_777_629_300_000).into();
    plan.start(time, start);
    let online = |is_online| state(1, &[("online", Value::Boolean(is_online))]);
    assert_eq!(plan.poll_timeout(start), Some(start + after));
    assert_eq!(plan.handle_timeout(start + after).made, [online(false)]);
    assert_eq!(plan.map(&reading("a", "t=1"), start + after).made, [online(true)]);
    assert_eq!(plan.map(&reading("a", "t=1"), start + after).made, []);
}

#[test]
fn a_message_whose_time_is_null_was_measured_when_it_came() {
    let mut sensor = sensor("#", vec![map("t", "t")]);
    sensor.format = Json { array_pointer: None }.into();
    let notation = TimeNotation::UnixSeconds;
    sensor.time = Some(TimeSource { channel: "at".to_owned(), notation });
    let mut plan = plan(vec![sensor]);
    let data = [("t", Value::Integer(1))];
    assert_eq!(plan.map(&reading("a", r#"{"t": 1, "at": null}"#), now()).states, [state(1, &data)]);
    let rejected = plan.map(&reading("a", r#"{"t": 1, "at": {}}"#), now()).rejected;
    assert_eq!(rejected, [(Reason::NotScalar, 1)].into());
}

#[test]
fn a_sensor_is_back_when_it_is_heard_whatever_it_tells_of_the_past() {
    let after = Duration::from_secs(300);
    let mut sensor = sensor("#", vec![map("t", "t")]);
    sensor.stale = Some(StaleSettings { after, attribute: "online".parse().unwrap() });
    let notation = TimeNotation::UnixSeconds;
    sensor.time = Some(TimeSource { channel: "at".to_owned(), notation });
    let (mut plan, start) = (plan(vec![sensor]), now());
    plan.start(WallTime::from_millis(1_777_629_300_000).into(), start);
    let gone = plan.handle_timeout(start + after).made.remove(0);
    let back = plan.map(&reading("a", "t=1 at=1777620000"), start + after).made.remove(0);
    assert!(back.state.time >= gone.state.time, "{back:?}");
}

#[test]
fn an_expression_reaches_a_channel_of_any_name() {
    let mut sensor = sensor("#", vec![]);
    sensor.format = Json { array_pointer: None }.into();
    let expression = "(payload['1-0:1.7.0'] - payload['1-0:2.7.0']) * 1000";
    let expression = Expression::compile("power", expression).unwrap();
    sensor.map.push(Mapping { source: Source::Expression(expression), ..map("", "power") });
    let payload = r#"{"1-0:1.7.0": 0, "1-0:2.7.0": 1.5}"#;
    let mapped = plan(vec![sensor]).map(&reading("a", payload), now());
    assert_eq!(mapped.states, [state(1, &[("power", Value::Float(-1500.0))])]);
}

#[test]
fn a_number_between_quotes_is_rounded_and_otherwise_a_text() {
    let mut sensor = sensor("#", vec![map("t", "t"), map("t", "word")]);
    sensor.format = Json { array_pointer: None }.into();
    sensor.map[0].flow.decimals = Some(1);
    let mapped = plan(vec![sensor]).map(&reading("a", r#"{"t": "21.4567"}"#), now());
    let data = [("t", Value::Float(21.5)), ("word", Value::Text("21.4567".to_owned()))];
    assert_eq!(mapped.states, [state(1, &data)]);
}

#[test]
fn every_other_channel_is_none_that_a_pointer_takes() {
    let mut sensor = sensor("#", vec![map("/t", "temp"), map("*", "unused")]);
    sensor.format = Json { array_pointer: None }.into();
    sensor.map[1].attribute = AttributeSelector::ByTemplate(template("{{ channel }}"));
    let mapped = plan(vec![sensor]).map(&reading("a", r#"{"t": 1, "h": 2}"#), now());
    let data = [("temp", Value::Integer(1)), ("h", Value::Integer(2))];
    assert_eq!(mapped.states, [state(1, &data)]);
}

#[test]
fn no_message_says_what_its_topic_or_its_channel_is() {
    let mut sensor = sensor("+/+", vec![map("t", "unused")]);
    sensor.format = Json { array_pointer: None }.into();
    sensor.device = DeviceSelector::ByTemplate(template("{{ topic[1] }}"));
    sensor.map[0].attribute = AttributeSelector::ByTemplate(template("{{ channel }}"));
    let payload = r#"{"t": 1, "topic": ["s", "yard"], "channel": "x", "payload": 7}"#;
    let mapped = plan(vec![sensor]).map(&reading("s/hall", payload), now());
    assert_eq!(mapped.states, [state(1, &[("t", Value::Integer(1))])]);
}

#[test]
fn a_word_is_not_a_number_where_it_is_a_name() {
    let mut sensor = sensor("#", vec![map("t", "t"), map("state", "state")]);
    sensor.device = DeviceSelector::ByTemplate(template("{{ payload.id }}"));
    let ids = ["0012", "12E4", "28E1234567890123", "18446744073709551615", "+7"];
    sensor.aliases = ids.map(|id| (id.to_owned(), "yard".parse().unwrap())).into();
    let values = [("01", 1), ("1", 2), ("nan", 3)];
    let values = values.map(|(word, value)| (word.to_owned(), Value::Integer(value)));
    sensor.map[1].conversion.values = values.into();
    let expression = Expression::compile("id", "written.id ~ '!'").unwrap();
    sensor.map.push(Mapping { source: Source::Expression(expression), ..map("", "id") });
    let mut plan = plan(vec![sensor]);
    for id in ids {
        for (word, named) in [("01", 1), ("1", 2), ("nan", 3)] {
            let data = [
                ("t", Value::Float(1.5)),
                ("state", Value::Integer(named)),
                ("id", Value::Text(format!("{id}!"))),
            ];
            let mapped = plan.map(&reading("a", &format!("id={id} t=1.50 state={word}")), now());
            assert_eq!(mapped.states, [state(2, &data)], "{id} {word}: {:?}", mapped.details);
        }
    }
    let mapped = plan.map(&reading("a", "id=0012 t=1 state=02"), now());
    assert!(mapped.details[0].contains("\"02\" is none of the values"), "{:?}", mapped.details);
}

fn plan(sensors: Vec<Sensor>) -> Pipeline {
    let devices = [("hall", device(1)), ("yard", device(2))];
    Pipeline::new(sensors, devices.map(|(name, id)| (name.parse().unwrap(), id)).into())
}

fn sensor(topic: &str, map: Vec<Mapping>) -> Sensor {
    Sensor {
        name: "climate".parse().unwrap(),
        topic: Some(topic.parse().unwrap()),
        format: KeyValue.into(),
        device: DeviceSelector::Fixed(device(1)),
        ignore: None,
        aliases: BTreeMap::new(),
        priority: Priority::Normal,
        retained: false,
        time: None,
        stale: None,
        map,
    }
}

fn map(channel: &str, attribute: &str) -> Mapping {
    let attribute = AttributeSelector::Fixed(attribute.parse().unwrap());
    Mapping {
        source: Source::Channel(channel.to_owned()),
        attribute,
        conversion: Conversion::default(),
        flow: Flow::default(),
    }
}

fn template(text: &str) -> Template {
    Template::compile("sensor.climate", text).unwrap()
}

fn reading(topic: &str, payload: &str) -> Reading {
    Reading {
        bus: "house".parse().unwrap(),
        time: WallTime::from_millis(1_777_629_600_000).into(),
        topic: topic.to_owned(),
        payload: Bytes::copy_from_slice(payload.as_bytes()),
        origin: None,
    }
}

fn state(number: u8, data: &[(&str, Value)]) -> Outgoing {
    let data = data.iter().map(|(name, value)| (name.parse().unwrap(), value.clone()));
    let time = WallTime::from_millis(1_777_629_600_000).into();
    let state = State { time, data: data.collect() };
    Outgoing { device: device(number), sensor: Some(0), priority: Priority::Normal, state }
}

fn now() -> Instant {
    tokio::time::Instant::now().into_std()
}

fn device(number: u8) -> DeviceId {
    DeviceId::from([number; 12])
}
