//! Actuators: the tables `[actuator.…]`.

use std::collections::{BTreeMap, BTreeSet};

use super::{Check, GATEWAY, find_bus, find_device, template};
use crate::config::{Bus, BusKind, raw};
use crate::logic::actuator::{Actuator, WriteTemplate};
use crate::model::{DeviceId, Name};

/// Losant's limit for the name of a command, in characters (schema `deviceCommand`).
const COMMAND_LENGTH_MAX: usize = 255;

type Devices = BTreeMap<Name, DeviceId>;

/// Checks all actuators. One command of one device can have only one.
pub(super) fn actuators(
    raw: BTreeMap<String, raw::Actuator>,
    buses: &BTreeMap<Name, Bus>,
    devices: &Devices,
    check: &mut Check<'_>,
) -> Vec<Actuator> {
    let mut taken = BTreeSet::new();
    let mut actuators = Vec::new();
    for (name, raw) in raw {
        let key = format!("actuator.{name}");
        let Some(actuator) = actuator(&name, raw, (buses, devices), check) else { continue };
        if !taken.insert((actuator.device, actuator.command.clone())) {
            let fix = "give each command of a device one actuator";
            check.problems.add(format!("{key}.command"), "another actuator takes it", fix);
        }
        actuators.push(actuator);
    }
    actuators
}

fn actuator(
    name: &str,
    raw: raw::Actuator,
    (buses, devices): (&BTreeMap<Name, Bus>, &Devices),
    check: &mut Check<'_>,
) -> Option<Actuator> {
    let key = format!("actuator.{name}");
    let actuator_name: Option<Name> = check.parsed(&key, name);
    let command_key = format!("{key}.command");
    let command = raw.command.as_ref().map(|field| field.0.clone());
    let fix = "name the Losant command, 1 to 255 characters: command = \"…\"";
    let length = command.as_ref().map_or(0, |command| command.chars().count());
    if !(1..=COMMAND_LENGTH_MAX).contains(&length) {
        check.problems.add(command_key, "is missing, empty or too long", fix);
    }
    let device_key = format!("{key}.device");
    let device = check.or_default(&device_key, raw.device.clone(), GATEWAY.to_owned());
    let device = find_device(&device_key, &device, devices, check);
    let fix = "say which bus it writes to: bus = \"…\"";
    let bus = check.required(&format!("{key}.bus"), raw.bus.clone(), fix)?;
    let kind = &find_bus(&key, &bus, buses, check)?.kind;
    let write = match kind {
        BusKind::Serial(_) => serial_write(&key, raw, check)?,
        BusKind::Mqtt(_) => mqtt_write(&key, raw, check)?,
    };
    Some(Actuator {
        name: actuator_name?,
        device: device?,
        command: command?,
        bus: bus.parse().ok()?,
        write,
    })
}

fn serial_write(key: &str, raw: raw::Actuator, check: &mut Check<'_>) -> Option<WriteTemplate> {
    let for_mqtt = [
        ("topic", raw.topic.is_some()),
        ("payload", raw.payload.is_some()),
        ("qos", raw.qos.is_some()),
        ("retain", raw.retain.is_some()),
    ];
    for (option, _) in for_mqtt.iter().filter(|(_, is_set)| *is_set) {
        let at = format!("{key}.{option}");
        check.problems.add(at, "is for an MQTT bus", "remove it; a serial bus takes write");
    }
    let fix = "say what goes on the wire: write = \"FAN {{ payload.speed }}\\n\"";
    let key = format!("{key}.write");
    let text = check.required(&key, raw.write, fix)?;
    Some(WriteTemplate::Serial { text: template(&key, &text, check)? })
}

fn mqtt_write(key: &str, raw: raw::Actuator, check: &mut Check<'_>) -> Option<WriteTemplate> {
    if raw.write.is_some() {
        let fix = "remove it; an MQTT bus takes topic and payload";
        check.problems.add(format!("{key}.write"), "is for a serial bus", fix);
    }
    let topic_key = format!("{key}.topic");
    let topic = check.required(&topic_key, raw.topic, "say where to publish: topic = \"…\"");
    let payload_key = format!("{key}.payload");
    let payload = check.required(&payload_key, raw.payload, "say what: payload = \"…\"");
    let qos = check.integer(&format!("{key}.qos"), raw.qos, 1, &(0..=1));
    Some(WriteTemplate::Mqtt {
        topic: template(&topic_key, &topic?, check)?,
        payload: template(&payload_key, &payload?, check)?,
        qos: u8::try_from(qos).ok()?,
        retain: check.or_default(&format!("{key}.retain"), raw.retain, false),
    })
}
