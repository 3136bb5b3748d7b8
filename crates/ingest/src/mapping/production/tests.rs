//! Tests of what a configuration produces.

use super::*;
use crate::decode::{Json, KeyValue, Nmea};
use crate::mapping::{
    Aggregate, AttributeSelector, Conversion, FilterSettings, Mapping, Source, StaleSettings,
    WindowSettings,
};
use std::time::Duration;
use tidegate_model::Value;
use tidegate_template::{Expression, Template};

fn template(text: &str) -> Template {
    Template::compile("test", text).unwrap()
}

fn map(channel: &str, attribute: &str) -> Mapping {
    let template = template(attribute);
    let attribute = match attribute.parse() {
        Ok(name) => AttributeSelector::Fixed(name),
        Err(_) => AttributeSelector::ByTemplate(template),
    };
    Mapping {
        source: Source::Channel(channel.to_owned()),
        attribute,
        conversion: Conversion::default(),
        filter: FilterSettings::default(),
    }
}

fn id(number: u8) -> DeviceId {
    DeviceId::from([number; 12])
}

fn devices() -> BTreeMap<Name, DeviceId> {
    let named = [("gateway", 0), ("hall", 1), ("yard", 2), ("boiler", 3)];
    named.map(|(name, number)| (name.parse().unwrap(), id(number))).into()
}

/// A JSON sensor; `device` is a template or a device's number.
fn sensor(topic: &str, device: &str, map: Vec<Mapping>) -> Sensor {
    let device = match device.parse() {
        Ok(number) => DeviceSelector::Fixed(id(number)),
        Err(_) => DeviceSelector::ByTemplate(template(device)),
    };
    let topic = (!topic.is_empty()).then(|| topic.parse().unwrap());
    Sensor::new("s".parse().unwrap(), topic, Json::default().into(), device, map)
}

fn produce(sensors: &[Sensor], messages: Option<Vec<KnownMessage>>) -> Production {
    let bus = BusSensors { sensors, messages, has_topics: true };
    Production::of(&[bus], &devices())
}

/// Returns `DEVICE.ATTRIBUTE:TYPE` for each attribute, with `?` where it is uncertain.
fn listed(production: &Production) -> Vec<String> {
    let named = devices();
    let name = |id: &DeviceId| named.iter().find(|(_, one)| *one == id).unwrap().0.to_string();
    let rows = production.devices.iter().flat_map(|(device, attributes)| {
        let device = name(device);
        attributes.iter().map(move |(attribute, produced)| {
            let mark = if produced.is_certain { "" } else { "?" };
            let data_type = match (produced.data_type, produced.likely_type) {
                (Some(fixed), _) => fixed.as_str().to_owned(),
                (None, Some(likely)) => format!("likely-{}", likely.as_str()),
                (None, None) => "any".to_owned(),
            };
            format!("{device}.{attribute}:{data_type}{mark}")
        })
    });
    rows.collect()
}

#[test]
fn fixed_names_have_the_types_of_mapping_and_decoder() {
    let mut scaled = map("a", "scaled");
    scaled.conversion.scale = 2.0;
    let mut mean = map("b", "mean");
    let length = Duration::from_secs(60);
    mean.filter.window = Some(WindowSettings::new(Aggregate::Mean, length));
    let mut named = map("c", "named");
    named.conversion.values = [("1".to_owned(), Value::Text("open".to_owned()))].into();
    let mut computed = map("d", "computed");
    computed.source = Source::Expression(Expression::compile("e", "u > i").unwrap());
    let mut one = sensor("", "1", vec![scaled, mean, named, computed, map("e", "raw")]);
    one.stale = Some(StaleSettings { after: length, attribute: "online".parse().unwrap() });
    let mut fix = sensor("", "1", vec![map("position", "at"), map("speed", "speed")]);
    fix.format = Nmea::default().into();
    assert_eq!(
        listed(&produce(&[one, fix], None)),
        [
            "hall.at:gps",
            "hall.computed:likely-boolean",
            "hall.mean:number",
            "hall.named:string",
            "hall.online:boolean",
            "hall.raw:any",
            "hall.scaled:number",
            "hall.speed:number",
        ]
    );
}

#[test]
fn known_messages_name_attributes_of_templates() {
    let channel = |name: &str, data_type| KnownChannel {
        name: name.to_owned(),
        data_type,
        is_optional: false,
    };
    let message = |topic: &str, channels: &[KnownChannel]| KnownMessage {
        topic: topic.to_owned(),
        channels: channels.to_vec(),
        is_complete: true,
    };
    let (on, power) =
        (channel("on", AttributeType::Boolean), channel("power", AttributeType::Number));
    let messages = vec![message("pump", &[on, power.clone()]), message("fan", &[power])];
    let all = sensor("", "1", vec![map("*", "{{ topic[0] }}_{{ channel }}")]);
    assert_eq!(
        listed(&produce(&[all], Some(messages.clone()))),
        ["hall.fan_power:number", "hall.pump_on:boolean", "hall.pump_power:number"]
    );
    let some = sensor("", "1", vec![map("/on", "{{ topic[0] }}_on"), map("gone", "gone")]);
    let production = produce(&[some], Some(messages));
    assert_eq!(listed(&production), ["hall.pump_on:boolean"]);
    assert!(production.undetermined.is_empty());
}

#[test]
fn topics_name_all_devices_that_the_template_can_yield() {
    let mut one = sensor("z2m/+/x", "{{ topic[1] }}", vec![map("t", "t")]);
    one.stale =
        Some(StaleSettings { after: Duration::from_secs(1), attribute: "on".parse().unwrap() });
    let fixed = sensor("", "3", vec![map("p", "p")]);
    let bus = |sensors| BusSensors { sensors, messages: None, has_topics: true };
    let (own, other) = ([one], [fixed]);
    let production = Production::of(&[bus(&own), bus(&other)], &devices());
    assert_eq!(
        listed(&production),
        ["hall.on:boolean?", "hall.t:any?", "yard.on:boolean?", "yard.t:any?", "boiler.p:any"]
    );
    assert_eq!(production.certain().len(), 1, "the daemon knows only the boiler");
}

#[test]
fn topics_of_devices_name_their_attributes() {
    let one = sensor("+/+", "{{ topic[0] }}", vec![map("t", "{{ topic[0] }}_t")]);
    let listed = listed(&produce(&[one], None));
    assert_eq!(listed, ["hall.hall_t:any?", "yard.yard_t:any?", "boiler.boiler_t:any?"]);
    let fixed = sensor("house/hall/climate", "{{ topic[1] }}", vec![map("t", "{{ topic[2] }}")]);
    assert_eq!(self::listed(&produce(&[fixed], None)), ["hall.climate:any"]);
}

#[test]
fn aliases_limit_the_devices() {
    let mut one = sensor("t", "{{ payload.mac }}", vec![map("t", "t")]);
    one.aliases = [("AA:01".to_owned(), "yard".parse().unwrap())].into();
    assert_eq!(listed(&produce(&[one], None)), ["yard.t:any?"]);
    let mut two = sensor("t/+", "{{ topic[1] }}", vec![map("t", "t")]);
    two.aliases = [("Living Room".to_owned(), "hall".parse().unwrap())].into();
    assert_eq!(listed(&produce(&[two], None)), ["hall.t:any?"]);
}

#[test]
fn messages_determine_the_rest() {
    let names = sensor("z/+", "0", vec![map("*", "{{ topic[1] }}_{{ channel }}")]);
    let mut peripherals = sensor("p/+", "{{ topic[1] }}", vec![map("*", "{{ channel }}")]);
    peripherals.name = "p".parse().unwrap();
    let mut words = sensor("w/+", "0", vec![map("v", "{{ topic[1] }}")]);
    (words.name, words.format) = ("w".parse().unwrap(), KeyValue::default().into());
    let sensors = [names, peripherals, words];
    let mut production = produce(&sensors, None);
    assert_eq!(production.undetermined.len(), 3);
    assert_eq!(listed(&production), [""; 0]);
    let message = |topic: &str, payload: &str| RecordedMessage {
        topic: topic.to_owned(),
        payload: payload.as_bytes().to_vec(),
    };
    let messages = [
        message("z/kitchen", r#"{"t": "ERR", "on": true}"#),
        message("z/kitchen", r#"{"t": 21.5, "name": "a", "none": null, "list": [1]}"#),
        message("z/kitchen", "noise"),
        message("p/hall", r#"{"t": "21.5"}"#),
        message("p/attic", r#"{"h": 40}"#),
    ];
    production.add_messages(&sensors, &devices(), &messages);
    assert_eq!(
        listed(&production),
        [
            "gateway.kitchen_name:likely-string",
            "gateway.kitchen_on:likely-boolean",
            "gateway.kitchen_t:likely-number",
            "hall.t:likely-number",
        ]
    );
    let unknown: Vec<_> = production.unknown_devices.values().flatten().collect();
    assert_eq!(unknown.len(), 1);
    assert_eq!((unknown[0].0.as_str(), unknown[0].1.len()), ("attic", 1));
    let undetermined: Vec<_> = production.undetermined.iter().map(ToString::to_string).collect();
    assert_eq!(undetermined, ["w"]);
}
