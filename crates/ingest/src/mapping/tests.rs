//! Tests of the pipeline with messages of all kinds.

use std::time::{Duration, Instant};

use bytes::Bytes;

use super::*;
use crate::by_text::ByText;
use crate::decode::{Json, KeyValue, Nmea};
use tidegate_model::{BusMessage, DeviceId, Priority, Reason, State, Value, WallTime};
use tidegate_template::Expression;
use tidegate_template::Template;
use tidegate_timing::machine::Machine as _;

mod counters;
mod declared;
mod words;

#[test]
fn message_becomes_one_state() {
    let mut bench =
        bench(vec![sensor("sensors/+/climate", vec![map("t", "tempC"), map("door", "door")])]);
    let mapped = bench.map(&message("sensors/hall/climate", "t=21.5 door=true x=1"), now());
    let data = [("door", Value::Boolean(true)), ("tempC", Value::Float(21.5))];
    assert_eq!(
        mapped,
        PipelineOutput { states: vec![state(1, &data)], ..PipelineOutput::default() }
    );
}

#[test]
fn topic_selects_device_and_attribute() {
    let mut sensor = sensor("+/+/+", vec![map("t", "unused")]);
    sensor.device = DeviceSelector::ByTemplate(template("{{ topic[1] }}\n"));
    sensor.map[0].attribute =
        AttributeSelector::ByTemplate(template("{{ topic[2] }}-{{ channel }}"));
    let mut bench = bench(vec![sensor]);
    let mut states = |topic| bench.map(&message(topic, "t=1"), now()).states;
    assert_eq!(states("s/hall/air"), [state(1, &[("air-t", Value::Integer(1))])]);
    assert_eq!(states("s/yard/soil"), [state(2, &[("soil-t", Value::Integer(1))])]);

    let mut rejected = |topic| bench.map(&message(topic, "t=1"), now()).rejected;
    assert_eq!(rejected("s/attic/air"), [(Reason::UnknownDevice, 1)].into());
    assert_eq!(rejected("s/hall/a.b"), [(Reason::BadAttributeName, 1)].into());
}

#[test]
fn failed_template_rejects_each_value() {
    let mut sensor = sensor("#", vec![map("t", "t"), map("h", "h")]);
    sensor.device = DeviceSelector::ByTemplate(template("{{ topic[7] }}"));
    let mapped = bench(vec![sensor]).map(&message("s/hall", "t=1 h=2"), now());
    assert_eq!(mapped.rejected, [(Reason::UnknownDevice, 2)].into());
    assert_eq!(mapped.states, []);
}

#[test]
fn sensors_of_one_device_share_a_state() {
    let mut bench = bench(vec![
        sensor("#", vec![map("t", "tempC"), map("h", "humidity")]),
        sensor("a/b", vec![map("u", "tempC")]),
    ]);
    let data = [("humidity", Value::Integer(40)), ("tempC", Value::Integer(21))];
    let mapped = bench.map(&message("a/b", "t=21 h=40 u=22"), now());
    assert_eq!(mapped.states, [state(1, &data)]);
    assert_eq!(mapped.rejected, [(Reason::DuplicateAttribute, 1)].into());
}

#[test]
fn message_without_a_value_is_counted_once() {
    let reason = |topic, payload| {
        let mut bench = bench(vec![
            sensor("a/#", vec![map("t", "t"), map("u", "u")]),
            sensor("a/#", vec![map("t", "t2")]),
        ]);
        let mapped = bench.map(&message(topic, payload), now());
        assert_eq!((mapped.states.len(), mapped.details.is_empty()), (0, false));
        mapped.rejected.into_iter().collect::<Vec<_>>()
    };
    assert_eq!(reason("b", "t=1"), [(Reason::NoSensor, 1)]);
    assert_eq!(reason("a", "noise"), [(Reason::Malformed, 1)]);
    assert_eq!(reason("a", "x=1"), [(Reason::NoChannel, 1)]);
    assert_eq!(reason("a", "t=nan"), [(Reason::NotFinite, 2)]);
}

#[test]
fn missing_channel_error_lists_the_channels() {
    let mapped =
        bench(vec![sensor("#", vec![map("t", "t")])]).map(&message("a", "temp=1 hum=2"), now());
    let detail = "sensor climate: the message has none of the channels t; it has hum, temp";
    assert_eq!(mapped.details[0].text, detail);
}

#[test]
fn invalid_value_does_not_affect_others() {
    let mut sensor = sensor("#", vec![map("t", "t"), map("n", "n"), map("l", "l"), map("s", "s")]);
    sensor.format = Json::default().into();
    let long = "x".repeat(65_537);
    let payload = format!(r#"{{"t": 1, "n": null, "l": [], "s": "{long}"}}"#);
    let mapped = bench(vec![sensor]).map(&message("a", &payload), now());
    assert_eq!(mapped.states, [state(1, &[("t", Value::Integer(1))])]);
    let rejected = [(Reason::TooLong, 1), (Reason::NotScalar, 1), (Reason::NoValue, 1)];
    assert_eq!(mapped.rejected, rejected.into());
    assert_eq!(mapped.details.len(), 3);
}

#[test]
fn damaged_part_of_a_payload_is_counted_once() {
    let mut nmea = sensor("#", vec![map("depth", "depth"), map("waterTemperature", "waterC")]);
    nmea.format = Nmea::default().into();
    let mut other = nmea.clone();
    other.map = vec![map("windSpeed", "wind")];
    let line = "$SDDBT,7.8,f,2.5,M,1.3,F*0D$IIMTW,15.2,C*15";
    let mapped = bench(vec![nmea, other]).map(&message("a", line), now());
    assert_eq!(mapped.states, [state(1, &[("waterC", Value::Float(15.2))])]);
    assert_eq!(mapped.rejected, [(Reason::Malformed, 1)].into());
    assert!(mapped.details[0].text.contains("wrong checksum"), "{:?}", mapped.details);
}

#[test]
fn decoded_message_hides_errors_of_other_sensors() {
    let mut json = sensor("#", vec![map("t", "t")]);
    json.format = Json::default().into();
    let mapped =
        bench(vec![json, sensor("#", vec![map("t", "t")])]).map(&message("a", "t=1"), now());
    assert_eq!((mapped.states.len(), mapped.rejected.len(), mapped.details.len()), (1, 0, 0));
}

#[test]
fn limits_the_number_of_details() {
    let sensors = vec![sensor("#", vec![map("t", "t")]); 50];
    let mapped = bench(sensors).map(&message("a", "t=inf"), now());
    assert_eq!(mapped.rejected, [(Reason::NotFinite, 50)].into());
    assert_eq!(mapped.details.len(), 8);
}

#[test]
fn aliases_map_serial_numbers_to_devices() {
    let mut sensor = sensor("#", vec![map("t", "t")]);
    sensor.format = Json::default().into();
    sensor.device = DeviceSelector::ByTemplate(template("{{ payload.from.mac }}"));
    sensor.aliases = [("AA:01".to_owned(), "yard".parse().unwrap())].into();
    let mut bench = bench(vec![sensor]);
    let mut map = |mac| {
        bench.map(&message("a", &format!(r#"{{"from": {{"mac": "{mac}"}}, "t": 1}}"#)), now())
    };
    assert_eq!(map("AA:01").states, [state(2, &[("t", Value::Integer(1))])]);
    let refused = map("AA:02");
    assert_eq!(refused.rejected, [(Reason::UnknownDevice, 1)].into());
    assert!(refused.details[0].text.contains("no device \"AA:02\""), "{:?}", refused.details);
}

#[test]
fn expression_needs_all_its_channels() {
    let mut power = map("", "power");
    power.source = Source::Expression(Expression::compile("power", "u * i").unwrap());
    let mut bench = bench(vec![sensor("#", vec![map("u", "u"), power])]);
    let mut states = |payload| bench.map(&message("a", payload), now()).states;
    let both = [("power", Value::Integer(460)), ("u", Value::Integer(230))];
    assert_eq!(states("u=230 i=2"), [state(1, &both)]);
    assert_eq!(states("u=230"), [state(1, &[("u", Value::Integer(230))])]);
    let failed = bench.map(&message("a", "u=x i=y"), now());
    assert_eq!(failed.rejected, [(Reason::BadExpression, 1)].into());
}

#[test]
fn star_maps_all_unmapped_channels() {
    let mut star = map("*", "unused");
    star.attribute = AttributeSelector::ByTemplate(template("{{ channel }}_raw"));
    let mut bench = bench(vec![sensor("#", vec![map("t", "temperature"), star])]);
    let data = [("h_raw", Value::Integer(2)), ("temperature", Value::Integer(1))];
    assert_eq!(bench.map(&message("a", "t=1 h=2"), now()).states, [state(1, &data)]);
}

#[test]
fn each_message_of_a_payload_has_its_own_time() {
    let mut sensor = sensor("#", vec![map("t", "t")]);
    sensor.format = Json { array_pointer: Some(String::new()), ..Json::default() }.into();
    sensor.time =
        Some(TimeSource { channel: "at".to_owned(), notation: TimeNotation::UnixSeconds });
    let mut bench = bench(vec![sensor]);
    let payload = r#"[{"t": 1, "at": 1777629590}, {"t": 2}, {"t": 3}, {"t": 4, "at": "x"}]"#;
    let mapped = bench.map(&message("a", payload), now());
    let times: Vec<_> =
        mapped.states.iter().map(|one| one.state.time.wall().unwrap().as_millis()).collect();
    assert_eq!(times, [1_777_629_590_000, 1_777_629_600_000, 1_777_629_600_000]);
    assert_eq!(mapped.rejected, [(Reason::BadTime, 1)].into());
}

#[test]
fn ignored_message_is_counted_once() {
    let mut ignoring = sensor("#", vec![map("t", "t")]);
    ignoring.ignore = Some(ByText(regex::bytes::Regex::new("^#").unwrap()));
    let mut bench = bench(vec![ignoring]);
    let mapped = bench.map(&message("a", "# boot"), now());
    assert_eq!((mapped.rejected, mapped.details), ([(Reason::Ignored, 1)].into(), vec![]));
}

#[test]
fn window_counts_values_and_generates_one_state() {
    let mut mean = map("t", "t");
    let length = Duration::from_secs(60);
    mean.filter.window = Some(WindowSettings::new(Aggregate::Mean, length));
    let (mut bench, start) = (bench(vec![sensor("#", vec![mean])]), now());
    for payload in ["t=1", "t=2"] {
        let mapped = bench.map(&message("a", payload), start);
        assert_eq!((mapped.filtered, mapped.states), ([(Reason::Aggregated, 1)].into(), vec![]));
    }
    assert_eq!(bench.0.poll_timeout(), Some(start + length));
    assert_eq!(bench.handle_timeout(start + length / 2), PipelineOutput::default());
    let made = bench.handle_timeout(start + length).generated;
    assert_eq!(made, [state(1, &[("t", Value::Float(1.5))])]);
    assert_eq!(bench.0.poll_timeout(), None);
    bench.map(&message("a", "t=3"), start);
    assert_eq!(bench.handle_stop().generated, [state(1, &[("t", Value::Float(3.0))])]);
}

#[test]
fn reports_a_silent_sensor_and_its_return() {
    let mut sensor = sensor("#", vec![map("t", "t")]);
    let after = Duration::from_secs(300);
    sensor.stale = Some(StaleSettings { after, attribute: "online".parse().unwrap() });
    let (mut bench, start) = (bench(vec![sensor]), now());
    let time = WallTime::from_millis(1_777_629_300_000).into();
    bench.0.handle_start(time, start);
    let online = |is_online| state(1, &[("online", Value::Boolean(is_online))]);
    assert_eq!(bench.0.poll_timeout(), Some(start + after));
    assert_eq!(bench.handle_timeout(start + after).generated, [online(false)]);
    assert_eq!(bench.map(&message("a", "t=1"), start + after).generated, [online(true)]);
    assert_eq!(bench.map(&message("a", "t=1"), start + after).generated, []);
}

#[test]
fn values_of_one_message_are_limited() {
    let mut every = map("*", "unused");
    every.attribute = AttributeSelector::ByTemplate(template("{{ channel }}"));
    let mut sensor = sensor("#", vec![every]);
    sensor.format = Json::default().into();
    let members: Vec<_> = (0..20_000).map(|number| format!("\"a{number}\":1")).collect();
    let mapped =
        bench(vec![sensor]).map(&message("a", &format!("{{{}}}", members.join(","))), now());
    assert_eq!(mapped.states[0].state.data.len(), 16_384);
    assert_eq!(mapped.rejected, [(Reason::TooLong, 20_000 - 16_384)].into());
    assert_eq!(mapped.details.len(), 8);
}

#[test]
fn only_statistics_that_changed_are_taken() {
    let sensors = ["a", "b"].map(|topic| sensor(topic, vec![map("t", "t")]));
    let mut bench = bench(sensors.into());
    assert_eq!(bench.0.take_changed_stats().len(), 2, "all are new");
    assert_eq!(bench.0.take_changed_stats().len(), 0);
    bench.map(&message("b", "t=1"), now());
    let changed = bench.0.take_changed_stats();
    assert_eq!(changed.iter().map(|(_, stats)| stats.messages).collect::<Vec<_>>(), [1]);
    bench.0.count_payload(0);
    let changed = bench.0.take_changed_stats();
    assert_eq!(changed.iter().map(|(_, stats)| stats.payloads).collect::<Vec<_>>(), [1]);
}

#[test]
fn silence_changes_the_statistics() {
    let mut sensor = sensor("#", vec![map("t", "t")]);
    let after = Duration::from_secs(300);
    sensor.stale = Some(StaleSettings { after, attribute: "online".parse().unwrap() });
    let (mut bench, start) = (bench(vec![sensor]), now());
    bench.0.handle_start(WallTime::from_millis(1_777_629_300_000).into(), start);
    let is_stale = |bench: &mut Bench| bench.0.take_changed_stats().pop()?.1.is_stale;
    assert_eq!(is_stale(&mut bench), Some(false));
    bench.handle_timeout(start + after);
    assert_eq!(is_stale(&mut bench), Some(true));
    bench.map(&message("a", "t=1"), start + after);
    assert_eq!(is_stale(&mut bench), Some(false));
    assert_eq!(is_stale(&mut bench), None);
}

#[test]
fn null_time_means_the_time_of_arrival() {
    let mut sensor = sensor("#", vec![map("t", "t")]);
    sensor.format = Json::default().into();
    let notation = TimeNotation::UnixSeconds;
    sensor.time = Some(TimeSource { channel: "at".to_owned(), notation });
    let mut bench = bench(vec![sensor]);
    let data = [("t", Value::Integer(1))];
    assert_eq!(
        bench.map(&message("a", r#"{"t": 1, "at": null}"#), now()).states,
        [state(1, &data)]
    );
    let rejected = bench.map(&message("a", r#"{"t": 1, "at": {}}"#), now()).rejected;
    assert_eq!(rejected, [(Reason::NotScalar, 1)].into());
}

#[test]
fn old_values_also_end_the_silence() {
    let after = Duration::from_secs(300);
    let mut sensor = sensor("#", vec![map("t", "t")]);
    sensor.stale = Some(StaleSettings { after, attribute: "online".parse().unwrap() });
    let notation = TimeNotation::UnixSeconds;
    sensor.time = Some(TimeSource { channel: "at".to_owned(), notation });
    let (mut bench, start) = (bench(vec![sensor]), now());
    bench.0.handle_start(WallTime::from_millis(1_777_629_300_000).into(), start);
    let gone = bench.handle_timeout(start + after).generated.remove(0);
    let back = bench.map(&message("a", "t=1 at=1777620000"), start + after).generated.remove(0);
    assert!(back.state.time >= gone.state.time, "{back:?}");
}

#[test]
fn expression_accesses_channels_of_any_name() {
    let mut sensor = sensor("#", vec![]);
    sensor.format = Json::default().into();
    let expression = "(payload['1-0:1.7.0'] - payload['1-0:2.7.0']) * 1000";
    let expression = Expression::compile("power", expression).unwrap();
    sensor.map.push(Mapping { source: Source::Expression(expression), ..map("", "power") });
    let payload = r#"{"1-0:1.7.0": 0, "1-0:2.7.0": 1.5}"#;
    let mapped = bench(vec![sensor]).map(&message("a", payload), now());
    assert_eq!(mapped.states, [state(1, &[("power", Value::Float(-1500.0))])]);
}

#[test]
fn rounding_converts_numbers_in_texts() {
    let mut sensor = sensor("#", vec![map("t", "t"), map("t", "word")]);
    sensor.format = Json::default().into();
    sensor.map[0].filter.decimals = Some(1);
    let mapped = bench(vec![sensor]).map(&message("a", r#"{"t": "21.4567"}"#), now());
    let data = [("t", Value::Float(21.5)), ("word", Value::Text("21.4567".to_owned()))];
    assert_eq!(mapped.states, [state(1, &data)]);
}

#[test]
fn star_skips_channels_mapped_by_pointer() {
    let mut sensor = sensor("#", vec![map("/t", "temp"), map("*", "unused")]);
    sensor.format = Json::default().into();
    sensor.map[1].attribute = AttributeSelector::ByTemplate(template("{{ channel }}"));
    let mapped = bench(vec![sensor]).map(&message("a", r#"{"t": 1, "h": 2}"#), now());
    let data = [("temp", Value::Integer(1)), ("h", Value::Integer(2))];
    assert_eq!(mapped.states, [state(1, &data)]);
}

#[test]
fn message_cannot_replace_topic_or_channel() {
    let mut sensor = sensor("+/+", vec![map("t", "unused")]);
    sensor.format = Json::default().into();
    sensor.device = DeviceSelector::ByTemplate(template("{{ topic[1] }}"));
    sensor.map[0].attribute = AttributeSelector::ByTemplate(template("{{ channel }}"));
    let payload = r#"{"t": 1, "topic": ["s", "yard"], "channel": "x", "payload": 7}"#;
    let mapped = bench(vec![sensor]).map(&message("s/hall", payload), now());
    assert_eq!(mapped.states, [state(1, &[("t", Value::Integer(1))])]);
}

#[test]
fn names_keep_their_original_text() {
    let mut sensor = sensor("#", vec![map("t", "t"), map("state", "state")]);
    sensor.device = DeviceSelector::ByTemplate(template("{{ payload.id }}"));
    let ids = ["0012", "12E4", "28E1234567890123", "18446744073709551615", "+7"];
    sensor.aliases = ids.map(|id| (id.to_owned(), "yard".parse().unwrap())).into();
    let values = [("01", 1), ("1", 2), ("nan", 3)];
    let values = values.map(|(word, value)| (word.to_owned(), Value::Integer(value)));
    sensor.map[1].conversion.values = values.into();
    let expression = Expression::compile("id", "written.id ~ '!'").unwrap();
    sensor.map.push(Mapping { source: Source::Expression(expression), ..map("", "id") });
    let mut bench = bench(vec![sensor]);
    for id in ids {
        for (word, named) in [("01", 1), ("1", 2), ("nan", 3)] {
            let data = [
                ("t", Value::Float(1.5)),
                ("state", Value::Integer(named)),
                ("id", Value::Text(format!("{id}!"))),
            ];
            let mapped = bench.map(&message("a", &format!("id={id} t=1.50 state={word}")), now());
            assert_eq!(mapped.states, [state(2, &data)], "{id} {word}: {:?}", mapped.details);
        }
    }
    let mapped = bench.map(&message("a", "id=0012 t=1 state=02"), now());
    assert!(mapped.details[0].text.contains("\"02\" is not in the values"), "{:?}", mapped.details);
}

/// A pipeline with the devices `hall` and `yard`.
struct Bench(Pipeline);

impl Bench {
    fn map(&mut self, message: &BusMessage, now: Instant) -> PipelineOutput {
        self.0.handle_message(message, now);
        self.output()
    }

    fn handle_timeout(&mut self, now: Instant) -> PipelineOutput {
        self.0.handle_timeout(now);
        self.output()
    }

    fn handle_stop(&mut self) -> PipelineOutput {
        self.0.handle_stop();
        self.output()
    }

    /// Returns the only output, or an empty one.
    fn output(&mut self) -> PipelineOutput {
        let output = self.0.poll_action().unwrap_or_default();
        assert_eq!(self.0.poll_action(), None);
        output
    }
}

fn bench(sensors: Vec<Sensor>) -> Bench {
    let devices = [("hall", device(1)), ("yard", device(2))];
    let devices = devices.map(|(name, id)| (name.parse().unwrap(), id));
    Bench(Pipeline::new(sensors, devices.into()))
}

pub(super) fn sensor(topic: &str, map: Vec<Mapping>) -> Sensor {
    let (name, topic) = ("climate".parse().unwrap(), Some(topic.parse().unwrap()));
    Sensor::new(name, topic, KeyValue::default().into(), DeviceSelector::Fixed(device(1)), map)
}

pub(super) fn map(channel: &str, attribute: &str) -> Mapping {
    let attribute = AttributeSelector::Fixed(attribute.parse().unwrap());
    Mapping {
        source: Source::Channel(channel.to_owned()),
        attribute,
        conversion: Conversion::default(),
        filter: FilterSettings::default(),
    }
}

pub(super) fn template(text: &str) -> Template {
    Template::compile("sensor.climate", text).unwrap()
}

fn message(topic: &str, payload: &str) -> BusMessage {
    BusMessage {
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
