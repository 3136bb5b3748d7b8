//! Buses: the tables `[bus.KIND.NAME]`.

mod gpio;
mod local;
mod modbus;
mod mqtt;
mod owner;
mod serial;

use std::collections::BTreeMap;
use std::ops::RangeInclusive;
use std::time::Duration;

pub(super) use modbus::register;

use super::Check;
use crate::field::Field;
use crate::suggest::did_you_mean;
use crate::{Bus, BusKind, raw};
use tidegate_model::{DeviceId, Name};

/// Between two looks at something: often enough for a fast sensor, seldom enough for a disk.
const INTERVAL_RANGE: RangeInclusive<Duration> =
    Duration::from_millis(50)..=Duration::from_secs(7 * 86_400);

/// What the ledger calls what comes from no bus: results of commands, and states of an imported file.
const RESERVED: [&str; 2] = ["commands", "import"];

/// Checks all buses. One with a problem is there all the same, so that what hangs on it is not told as a problem, too.
pub(super) fn buses(
    raw: raw::Buses,
    gateway: Option<DeviceId>,
    check: &mut Check<'_>,
) -> BTreeMap<Name, Bus> {
    let mut buses = BTreeMap::new();
    let raw::Buses { serial, modbus, mqtt, file, exec, http, gpio, system } = raw;
    add(&mut buses, "serial", serial, check, |key, _, table, check| {
        BusKind::Serial(serial::serial(key, table, check))
    });
    add(&mut buses, "modbus", modbus, check, |key, _, table, check| {
        BusKind::Modbus(modbus::modbus(key, table, check))
    });
    add(&mut buses, "mqtt", mqtt, check, |key, name, table, check| {
        BusKind::Mqtt(mqtt::mqtt(key, name, table, gateway, check))
    });
    add(&mut buses, "file", file, check, |key, _, table, check| {
        BusKind::File(local::file(key, table, check))
    });
    add(&mut buses, "exec", exec, check, |key, _, table, check| {
        BusKind::Exec(local::exec(key, table, check))
    });
    add(&mut buses, "http", http, check, |key, _, table, check| {
        BusKind::Http(local::http(key, table, check))
    });
    add(&mut buses, "gpio", gpio, check, |key, _, table, check| {
        BusKind::Gpio(gpio::gpio(key, table, check))
    });
    add(&mut buses, "system", system, check, |key, _, table, check| {
        BusKind::System(local::system(key, table, check))
    });
    owner::one_owner_each(&buses, check);
    buses
}

/// Checks the buses of one kind.
fn add<T>(
    buses: &mut BTreeMap<Name, Bus>,
    word: &str,
    tables: BTreeMap<String, T>,
    check: &mut Check<'_>,
    resolve: impl Fn(&str, &Name, T, &mut Check<'_>) -> BusKind,
) {
    for (name, table) in tables {
        let key = format!("bus.{word}.{name}");
        if RESERVED.contains(&&*name) {
            let what = "is a name under which the gateway counts what comes from no bus";
            check.problems.add(&key, what, "give the bus another name");
        }
        let Some(name) = check.parsed::<Name>(&key, &name) else { continue };
        let kind = resolve(&key, &name, table, check);
        if let Some(other) = buses.get(&name) {
            let problem = format!("bus.{}.{name} has the same name", other.kind.word());
            check.problems.add(key, problem, "give each bus a name of its own");
            continue;
        }
        buses.insert(name, Bus { kind, sensors: Vec::new() });
    }
}

/// A duration with a default that is not the least.
fn span(
    key: &str,
    field: Option<Field<Duration>>,
    default: Duration,
    range: &RangeInclusive<Duration>,
    check: &mut Check<'_>,
) -> Duration {
    check.notes.of(key).default = Some(humantime::format_duration(default).to_string().into());
    check.duration(key, Some(field.unwrap_or(Field(default))), range)
}

/// One of a few words; the first is the default.
pub(super) fn choice<T: Clone>(
    key: &str,
    field: Option<Field<String>>,
    check: &mut Check<'_>,
    choices: &[(&str, T)],
) -> Option<T> {
    let note = check.notes.of(key);
    note.words = choices.iter().map(|(word, _)| (*word).to_owned()).collect();
    note.default = note.words.first().cloned().map(Into::into);
    note.value = field.as_ref().map(|field| field.0.clone().into()).or(note.default.clone());
    let Some(field) = field else { return choices.first().map(|(_, value)| value.clone()) };
    let found = choices.iter().find(|(word, _)| *word == field.0).map(|(_, value)| value.clone());
    if found.is_none() {
        let words: Vec<_> = choices.iter().map(|(word, _)| format!("\"{word}\"")).collect();
        let fix = did_you_mean(&field.0, choices.iter().map(|(word, _)| *word), || {
            format!("use {}", words.join(", "))
        });
        check.problems.add(key, format!("\"{}\" is not known", field.0), fix);
    }
    found
}
