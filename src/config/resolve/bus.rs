//! Buses: the tables `[bus.serial.…]` and `[bus.mqtt.…]`.

use std::collections::BTreeMap;
use std::time::Duration;

use super::frame::framing;
use super::{Check, seconds};
use crate::config::likely::did_you_mean;
use crate::config::secret::read_user_password;
use crate::config::{Bus, BusKind, FlowControl, MqttBus, Parity, SerialBus, StopBits, raw};
use crate::logic::frame::Framing;
use crate::model::{DeviceId, Name};

/// Bits per second: from the slowest that is still met to the fastest that Linux names.
const BAUD_RATE_RANGE: std::ops::RangeInclusive<i64> = 50..=4_000_000;

/// The largest MQTT message: Losant takes no more than 256 KiB either (references/message-throttling).
const PAYLOAD_BYTES_DEFAULT: u64 = 256 * 1024;

/// Checks all buses. One with a problem is there all the same, so that what hangs on it is not told as a problem, too.
pub(super) fn buses(
    raw: raw::Buses,
    gateway: Option<DeviceId>,
    check: &mut Check<'_>,
) -> BTreeMap<Name, Bus> {
    let mut buses = BTreeMap::new();
    for (name, table) in raw.serial {
        let key = format!("bus.serial.{name}");
        let Some(name) = check.parsed::<Name>(&key, &name) else { continue };
        let kind = BusKind::Serial(serial(&key, table, check));
        buses.insert(name, Bus { kind, sensors: Vec::new() });
    }
    for (name, table) in raw.mqtt {
        let key = format!("bus.mqtt.{name}");
        let Some(name) = check.parsed::<Name>(&key, &name) else { continue };
        if buses.contains_key(&name) {
            check.problems.add(
                &key,
                format!("bus.serial.{name} has the same name"),
                "give each bus a name of its own",
            );
            continue;
        }
        let kind = BusKind::Mqtt(mqtt(&key, &name, table, gateway, check));
        buses.insert(name, Bus { kind, sensors: Vec::new() });
    }
    buses
}

fn serial(key: &str, raw: raw::Serial, check: &mut Check<'_>) -> SerialBus {
    let path =
        check.required(&format!("{key}.path"), raw.path, "give the tty: path = \"/dev/ttyUSB0\"");
    let parities = [("none", Parity::None), ("odd", Parity::Odd), ("even", Parity::Even)];
    let parity = choice(&format!("{key}.parity"), raw.parity, check, &parities);
    let flow_controls = [
        ("none", FlowControl::None),
        ("software", FlowControl::Software),
        ("hardware", FlowControl::Hardware),
    ];
    let flow_control =
        choice(&format!("{key}.flow_control"), raw.flow_control, check, &flow_controls);
    let baud_rate =
        check.integer(&format!("{key}.baud_rate"), raw.baud_rate, 9_600, &BAUD_RATE_RANGE);
    let data_bits = check.integer(&format!("{key}.data_bits"), raw.data_bits, 8, &(5..=8));
    let stop_bits = check.integer(&format!("{key}.stop_bits"), raw.stop_bits, 1, &(1..=2));
    let framing = framing(&format!("{key}.frame"), raw.frame, check);
    SerialBus {
        path: check.path(&path.unwrap_or_default()),
        baud_rate: u32::try_from(baud_rate).unwrap_or_default(),
        data_bits: u8::try_from(data_bits).unwrap_or_default(),
        parity: parity.unwrap_or(Parity::None),
        stop_bits: if stop_bits == 2 { StopBits::Two } else { StopBits::One },
        flow_control: flow_control.unwrap_or(FlowControl::None),
        framing: framing.unwrap_or_else(|| Framing::lines(1)),
    }
}

fn mqtt(
    key: &str,
    name: &Name,
    raw: raw::Mqtt,
    gateway: Option<DeviceId>,
    check: &mut Check<'_>,
) -> MqttBus {
    let host =
        check.required(&format!("{key}.host"), raw.host, "give the broker: host = \"127.0.0.1\"");
    let port = check.integer(&format!("{key}.port"), raw.port, 1_883, &(1..=65_535));
    let qos = check.integer(&format!("{key}.qos"), raw.qos, 1, &(0..=1));
    let keep_alive = raw.keep_alive.map_or(Duration::from_secs(30), |field| field.0);
    let show = |duration: &Duration| humantime::format_duration(*duration).to_string();
    let keep_alive =
        check.within(&format!("{key}.keep_alive"), keep_alive, &seconds(5..=1_200), show);
    let payload_key = format!("{key}.payload_size_max");
    let payload =
        check.bytes(&payload_key, raw.payload_size_max, PAYLOAD_BYTES_DEFAULT, &(64..=16 << 20));
    let credentials = raw.credentials_file.map(|path| check.path(&path.0));
    let credentials = credentials.and_then(|path| read_user_password(&path, check.problems));
    let own_id = gateway.map(|gateway| format!("tidegate-{gateway}-{name}")).unwrap_or_default();
    let client_id = check.or_default(&format!("{key}.client_id"), raw.client_id, own_id);
    MqttBus {
        host: host.unwrap_or_default(),
        port: u16::try_from(port).unwrap_or_default(),
        client_id,
        credentials,
        keep_alive,
        qos: u8::try_from(qos).unwrap_or_default(),
        payload_bytes_max: usize::try_from(payload).unwrap_or_default(),
    }
}

/// One of a few words; the first is the default.
pub(super) fn choice<T: Copy>(
    key: &str,
    field: Option<crate::config::field::Field<String>>,
    check: &mut Check<'_>,
    choices: &[(&str, T)],
) -> Option<T> {
    let note = check.notes.of(key);
    note.words = choices.iter().map(|(word, _)| (*word).to_owned()).collect();
    note.default = note.words.first().cloned().map(Into::into);
    note.value = field.as_ref().map(|field| field.0.clone().into()).or(note.default.clone());
    let Some(field) = field else { return choices.first().map(|(_, value)| *value) };
    let found = choices.iter().find(|(word, _)| *word == field.0).map(|(_, value)| *value);
    if found.is_none() {
        let words: Vec<_> = choices.iter().map(|(word, _)| format!("\"{word}\"")).collect();
        let fix = did_you_mean(&field.0, choices.iter().map(|(word, _)| *word), || {
            format!("use {}", words.join(", "))
        });
        check.problems.add(key, format!("\"{}\" is not known", field.0), fix);
    }
    found
}
