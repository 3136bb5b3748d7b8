//! Sensors: the tables `[sensor.…]`.

use std::collections::BTreeMap;

use super::{Check, GATEWAY, find_bus, find_device, template};
use crate::config::field::Field;
use crate::config::likely::did_you_mean;
use crate::config::{Bus, BusKind, raw};
use crate::logic::decode::Format;
use crate::logic::mapping::{AttributeSelector, DeviceSelector, Mapping, Sensor};
use crate::logic::topic::TopicFilter;
use crate::model::{DeviceId, Name};

/// The formats by their names.
const FORMATS: [&str; 4] = ["key-value", "csv", "json", "text"];

type Devices = BTreeMap<Name, DeviceId>;

/// Checks one sensor and hangs it on its bus.
pub(super) fn sensor(
    name: &str,
    raw: raw::Sensor,
    buses: &mut BTreeMap<Name, Bus>,
    devices: &Devices,
    check: &mut Check<'_>,
) {
    let key = format!("sensor.{name}");
    let sensor_name: Option<Name> = check.parsed(&key, name);
    let bus_name =
        check.required(&format!("{key}.bus"), raw.bus, "say which bus it reads from: bus = \"…\"");
    let format = format(&key, raw.format, raw.columns, raw.delimiter, check);
    let device = device_selector(&key, raw.device, devices, check);
    let topic_key = format!("{key}.topic");
    let topic = raw.topic.map(|text| check.parsed::<TopicFilter>(&topic_key, &text.0));
    let retained = match topic {
        Some(_) => check.or_default(&format!("{key}.retained"), raw.retained, false),
        None => false,
    };
    if raw.map.is_empty() {
        let fix = "say what it measures: map = [{ channel = \"…\", attribute = \"…\" }]";
        check.problems.add(format!("{key}.map"), "is missing or empty", fix);
    }
    let map: Vec<_> = raw
        .map
        .into_iter()
        .enumerate()
        .filter_map(|(index, raw)| mapping(&format!("{key}.map.{index}"), raw, check))
        .collect();
    let bus = bus_name.filter(|name| find_bus(&key, name, buses, check).is_some());
    let Some(bus) = bus.and_then(|name| buses.get_mut(&*name)) else { return };
    match (&bus.kind, &topic) {
        (BusKind::Serial(_), Some(_)) => {
            check.problems.add(topic_key, "a serial bus has no topics", "remove it");
        }
        (BusKind::Mqtt(_), None) => {
            check.problems.add(
                topic_key,
                "is missing",
                "say what to subscribe to: topic = \"sensors/+/climate\"",
            );
        }
        (BusKind::Serial(_), None) | (BusKind::Mqtt(_), Some(_)) => {}
    }
    let (Some(name), Some(format), Some(device)) = (sensor_name, format, device) else { return };
    bus.sensors.push(Sensor { name, topic: topic.flatten(), format, device, retained, map });
}

fn format(
    key: &str,
    word: Option<Field<String>>,
    columns: Option<Vec<Field<String>>>,
    delimiter: Option<Field<String>>,
    check: &mut Check<'_>,
) -> Option<Format> {
    let format_key = format!("{key}.format");
    let fix = "use \"key-value\", \"csv\", \"json\" or \"text\"";
    check.notes.of(&format_key).words = FORMATS.map(str::to_owned).to_vec();
    let word = check.required(&format_key, word, fix)?;
    if word != "csv" {
        for (option, is_set) in [("columns", columns.is_some()), ("delimiter", delimiter.is_some())]
        {
            if is_set {
                check.problems.add(
                    format!("{key}.{option}"),
                    "is for format = \"csv\"",
                    "remove it",
                );
            }
        }
    }
    match word.as_str() {
        "key-value" => Some(Format::KeyValue),
        "json" => Some(Format::Json),
        "text" => Some(Format::Text),
        "csv" => {
            let key = format!("{key}.delimiter");
            let delimiter = check.or_default(&key, delimiter, ",".to_owned());
            let [delimiter] = *delimiter.as_bytes() else {
                let fix = "give one ASCII character, such as \";\" or \"\\t\"";
                check.problems.add(key, "is not one character", fix);
                return None;
            };
            let columns = columns.unwrap_or_default().into_iter().map(|field| field.0).collect();
            Some(Format::Csv { columns, delimiter })
        }
        _ => {
            let fix = did_you_mean(&word, FORMATS, || fix.to_owned());
            check.problems.add(format_key, format!("\"{word}\" is not known"), fix);
            None
        }
    }
}

fn device_selector(
    key: &str,
    field: Option<Field<String>>,
    devices: &Devices,
    check: &mut Check<'_>,
) -> Option<DeviceSelector> {
    let key = format!("{key}.device");
    let text = check.or_default(&key, field, GATEWAY.to_owned());
    let template = template(&key, &text, check)?;
    if template.is_constant() {
        find_device(&key, &text, devices, check).map(DeviceSelector::Fixed)
    } else {
        Some(DeviceSelector::ByTemplate(template))
    }
}

fn mapping(key: &str, raw: raw::Mapping, check: &mut Check<'_>) -> Option<Mapping> {
    let channel = check.required(
        &format!("{key}.channel"),
        raw.channel,
        "say which channel: channel = \"…\"",
    );
    let attribute_key = format!("{key}.attribute");
    let fix = "name the attribute of the Losant device: attribute = \"…\"";
    let attribute = check.required(&attribute_key, raw.attribute, fix)?;
    let template = template(&attribute_key, &attribute, check)?;
    let attribute = if template.is_constant() {
        AttributeSelector::Fixed(check.parsed(&attribute_key, &attribute)?)
    } else {
        AttributeSelector::ByTemplate(template)
    };
    Some(Mapping {
        channel: channel?,
        attribute,
        scale: raw.scale.map_or(1.0, |field| field.0),
        offset: raw.offset.map_or(0.0, |field| field.0),
    })
}
