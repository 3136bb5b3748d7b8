//! What hangs on a bus: the tables `[sensor.…]` and `[actuator.…]`.

use std::collections::BTreeMap;

use super::{Check, GATEWAY};
use crate::config::{Bus, BusKind, raw};
use crate::logic::actuator::{Actuator, WriteTemplate};
use crate::logic::decode::Format;
use crate::logic::mapping::{AttributeSelector, DeviceSelector, Mapping, Sensor};
use crate::logic::template::Template;
use crate::logic::topic::TopicFilter;
use crate::model::{DeviceId, Name};

/// Losant's limit for the name of a command, in characters (schema `deviceCommand`).
const COMMAND_LENGTH_MAX: usize = 255;

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
    let Some(bus) = bus_name.and_then(|bus_name| find_bus(&key, &bus_name, buses, check)) else {
        return;
    };
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
    let retained = raw.retained.is_some_and(|field| field.0);
    bus.sensors.push(Sensor { name, topic: topic.flatten(), format, device, retained, map });
}

/// Checks one actuator.
pub(super) fn actuator(
    name: &str,
    raw: raw::Actuator,
    buses: &BTreeMap<Name, Bus>,
    devices: &Devices,
    check: &mut Check<'_>,
) -> Option<Actuator> {
    let key = format!("actuator.{name}");
    let actuator_name: Option<Name> = check.parsed(&key, name);
    let command = check.required(
        &format!("{key}.command"),
        raw.command,
        "name the Losant command: command = \"…\"",
    );
    if command
        .as_ref()
        .is_some_and(|command| !(1..=COMMAND_LENGTH_MAX).contains(&command.chars().count()))
    {
        check.problems.add(
            format!("{key}.command"),
            "is empty or too long",
            "Losant takes 1 to 255 characters",
        );
    }
    let device_name = raw.device.map_or_else(|| GATEWAY.to_owned(), |field| field.0);
    let device = find_device(&format!("{key}.device"), &device_name, devices, check);
    let bus_name =
        check.required(&format!("{key}.bus"), raw.bus, "say which bus it writes to: bus = \"…\"");
    let bus_name = bus_name.and_then(|text| check.parsed::<Name>(&format!("{key}.bus"), &text));
    let kind =
        bus_name.as_ref().and_then(|name| Some(&find_bus_in(&key, name, buses, check)?.kind));
    let write = match kind? {
        BusKind::Serial(_) => {
            for (option, is_set) in
                [("topic", raw.topic.is_some()), ("payload", raw.payload.is_some())]
            {
                if is_set {
                    check.problems.add(
                        format!("{key}.{option}"),
                        "is for an MQTT bus",
                        "remove it and give write",
                    );
                }
            }
            let fix = "say what goes on the wire: write = \"FAN {{ payload.speed }}\\n\"";
            let text = check.required(&format!("{key}.write"), raw.write, fix)?;
            WriteTemplate::Serial { text: template(&format!("{key}.write"), &text, check)? }
        }
        BusKind::Mqtt(_) => {
            if raw.write.is_some() {
                check.problems.add(
                    format!("{key}.write"),
                    "is for a serial bus",
                    "give topic and payload",
                );
            }
            let topic = check.required(
                &format!("{key}.topic"),
                raw.topic,
                "say where to publish: topic = \"…\"",
            );
            let payload = check.required(
                &format!("{key}.payload"),
                raw.payload,
                "say what to publish: payload = \"…\"",
            );
            let qos = check.integer(&format!("{key}.qos"), raw.qos, 1, &(0..=1));
            WriteTemplate::Mqtt {
                topic: template(&format!("{key}.topic"), &topic?, check)?,
                payload: template(&format!("{key}.payload"), &payload?, check)?,
                qos: u8::try_from(qos).ok()?,
                retain: raw.retain.is_some_and(|field| field.0),
            }
        }
    };
    Some(Actuator {
        name: actuator_name?,
        device: device?,
        command: command?,
        bus: bus_name?,
        write,
    })
}

fn find_bus<'a>(
    key: &str,
    name: &str,
    buses: &'a mut BTreeMap<Name, Bus>,
    check: &mut Check<'_>,
) -> Option<&'a mut Bus> {
    if !buses.contains_key(name) {
        tell_unknown(&format!("{key}.bus"), "bus", name, buses.keys(), check);
    }
    buses.get_mut(name)
}

fn find_bus_in<'a>(
    key: &str,
    name: &str,
    buses: &'a BTreeMap<Name, Bus>,
    check: &mut Check<'_>,
) -> Option<&'a Bus> {
    if !buses.contains_key(name) {
        tell_unknown(&format!("{key}.bus"), "bus", name, buses.keys(), check);
    }
    buses.get(name)
}

fn find_device(
    key: &str,
    name: &str,
    devices: &Devices,
    check: &mut Check<'_>,
) -> Option<DeviceId> {
    if !devices.contains_key(name) {
        tell_unknown(key, "device", name, devices.keys(), check);
    }
    devices.get(name).copied()
}

fn tell_unknown<'a>(
    key: &str,
    kind: &str,
    name: &str,
    known: impl Iterator<Item = &'a Name>,
    check: &mut Check<'_>,
) {
    let known: Vec<_> = known.map(|name| &**name).collect();
    let fix = match known.len() {
        0 => format!("there is no {kind} yet; add one"),
        _ => format!("there are {}", known.join(", ")),
    };
    check.problems.add(key, format!("there is no {kind} \"{name}\""), fix);
}

fn format(
    key: &str,
    word: Option<crate::config::field::Field<String>>,
    columns: Option<Vec<crate::config::field::Field<String>>>,
    delimiter: Option<crate::config::field::Field<String>>,
    check: &mut Check<'_>,
) -> Option<Format> {
    let format_key = format!("{key}.format");
    let fix = "use \"key-value\", \"csv\", \"json\" or \"text\"";
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
            let delimiter = delimiter.map_or_else(|| ",".to_owned(), |field| field.0);
            let [delimiter] = *delimiter.as_bytes() else {
                let fix = "give one ASCII character, such as \";\" or \"\\t\"";
                check.problems.add(format!("{key}.delimiter"), "is not one character", fix);
                return None;
            };
            let columns = columns.unwrap_or_default().into_iter().map(|field| field.0).collect();
            Some(Format::Csv { columns, delimiter })
        }
        _ => {
            check.problems.add(format_key, format!("\"{word}\" is not known"), fix);
            None
        }
    }
}

fn template(key: &str, text: &str, check: &mut Check<'_>) -> Option<Template> {
    Template::compile(key, text).map_err(|error| check.problems.add(key, error, "")).ok()
}

fn device_selector(
    key: &str,
    field: Option<crate::config::field::Field<String>>,
    devices: &Devices,
    check: &mut Check<'_>,
) -> Option<DeviceSelector> {
    let key = format!("{key}.device");
    let text = field.map_or_else(|| GATEWAY.to_owned(), |field| field.0);
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
