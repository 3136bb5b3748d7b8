//! What differs between two configurations, and what of it can be applied to a daemon that runs.

use std::collections::{BTreeMap, BTreeSet};

use super::Entry;
use tidegate_model::Name;

/// Options of a sensor that say what its messages mean. All others say which messages it gets, so that its bus must know.
const MEANINGS: [&str; 15] = [
    "bus",
    "device",
    "devices",
    "format",
    "columns",
    "header",
    "delimiter",
    "array_pointer",
    "pattern",
    "fields",
    "ignore",
    "time",
    "stale",
    "map",
    "values",
];

/// Tables that are applied while the daemon runs; a change of anything else waits for its next start.
const LIVE: [&str; 7] = ["bus", "sensor", "actuator", "commands", "device", "reporter", "log"];

/// The difference, by what has to be done about it.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Change {
    /// Every key whose value differs.
    pub keys: BTreeSet<String>,
    /// Buses to stop, if they are there, and to start, if they are wanted.
    pub buses: BTreeSet<Name>,
    /// Buses whose messages mean something else.
    pub plans: BTreeSet<Name>,
    /// Whether commands go elsewhere, or by other rules.
    pub commands: bool,
    /// Actuators to stop, if they are there, and to start, if they are wanted.
    pub actuators: BTreeSet<Name>,
    /// Whether the reporter has other limits.
    pub limits: bool,
    /// Whether other lines are logged.
    pub log_level: bool,
}

impl Change {
    /// From `old` to `new`.
    pub fn between(old: &[Entry], new: &[Entry]) -> Self {
        let keys = differing(&values(old), &values(new));
        let touches = |table: &str| keys.iter().any(|key| table_of(key) == table);
        let differ = |facts: fn(&[Entry]) -> Facts| differing_tables(&facts(old), &facts(new));
        let (buses, mut plans) = (differ(connections), differ(meanings));
        if touches("device") {
            plans.extend(meanings(new).into_keys());
        }
        let plans: BTreeSet<_> = plans.union(&buses).cloned().collect();
        let mut actuators = differ(actuators);
        if touches("device") || keys.contains("commands.timeout") {
            actuators.extend(self::actuators(new).into_keys());
        }
        Self {
            commands: touches("actuator") || touches("commands") || touches("device"),
            actuators,
            limits: touches("reporter"),
            log_level: touches("log"),
            buses,
            plans,
            keys,
        }
    }

    /// The keys that only the next start applies.
    pub fn for_the_next_start(&self) -> impl Iterator<Item = &String> {
        self.keys.iter().filter(|key| !LIVE.contains(&table_of(key)))
    }
}

/// What is written about each bus.
type Facts = BTreeMap<Name, BTreeSet<String>>;

fn table_of(key: &str) -> &str {
    key.split('.').next().unwrap_or_default()
}

fn values(entries: &[Entry]) -> BTreeMap<String, String> {
    entries.iter().map(|entry| (entry.key(), fact(entry))).collect()
}

fn differing(old: &BTreeMap<String, String>, new: &BTreeMap<String, String>) -> BTreeSet<String> {
    let keys = old.keys().chain(new.keys());
    keys.filter(|key| old.get(*key) != new.get(*key)).cloned().collect()
}

fn differing_tables(old: &Facts, new: &Facts) -> BTreeSet<Name> {
    let names = old.keys().chain(new.keys());
    names.filter(|name| old.get(*name) != new.get(*name)).cloned().collect()
}

/// How each bus is connected, and which messages its sensors want of it.
fn connections(entries: &[Entry]) -> Facts {
    let mut facts = Facts::new();
    for entry in entries {
        if let ["bus", _, name, ..] = segments(entry)[..] {
            note(&mut facts, name, entry);
        }
    }
    for (bus, entry) in of_sensors(entries).filter(|(_, entry)| !is_meaning(entry)) {
        note(&mut facts, bus, entry);
    }
    facts
}

/// What each actuator does.
fn actuators(entries: &[Entry]) -> Facts {
    let mut facts = Facts::new();
    for entry in entries {
        if let ["actuator", name, ..] = segments(entry)[..] {
            note(&mut facts, name, entry);
        }
    }
    facts
}

/// What the messages of each bus mean.
fn meanings(entries: &[Entry]) -> Facts {
    let mut facts = Facts::new();
    for (bus, entry) in of_sensors(entries) {
        note(&mut facts, bus, entry);
    }
    facts
}

/// The entries of sensors, each with its bus.
fn of_sensors(entries: &[Entry]) -> impl Iterator<Item = (&str, &Entry)> {
    let named = entries.iter().filter(|entry| entry.option == "bus");
    let buses: BTreeMap<_, _> =
        named.filter_map(|entry| Some((sensor(entry)?, entry.value.as_str()?))).collect();
    entries.iter().filter_map(move |entry| Some((*buses.get(sensor(entry)?)?, entry)))
}

/// The sensor that an entry belongs to, in its table or in one below it.
fn sensor(entry: &Entry) -> Option<&str> {
    entry.table.strip_prefix("sensor.")?.split('.').next()
}

/// Whether it is about the meaning of messages alone.
fn is_meaning(entry: &Entry) -> bool {
    let option = entry.table.split('.').nth(2).unwrap_or(&entry.option);
    MEANINGS.contains(&option)
}

fn segments(entry: &Entry) -> Vec<&str> {
    entry.table.split('.').collect()
}

fn note(facts: &mut Facts, bus: &str, entry: &Entry) {
    if let Ok(name) = bus.parse() {
        let facts: &mut BTreeSet<_> = facts.entry(name).or_default();
        facts.insert(format!("{} = {}", entry.key(), fact(entry)));
    }
}

/// A value, and which version of the file that it names.
fn fact(entry: &Entry) -> String {
    format!("{} {}", entry.value, entry.checksum)
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::Origin;

    fn entries(values: &[(&str, Value)]) -> Vec<Entry> {
        let entry = |(key, value): &(&str, Value)| {
            let (table, option) = key.rsplit_once('.').unwrap();
            let (table, option) = (table.to_owned(), option.to_owned());
            Entry { table, option, value: value.clone(), place: Origin::Default, checksum: 0 }
        };
        values.iter().map(entry).collect()
    }

    fn before() -> Vec<(&'static str, Value)> {
        vec![
            ("losant.url", json!("https://api.losant.com")),
            ("bus.serial.line.path", json!("/dev/ttyUSB0")),
            ("bus.mqtt.house.host", json!("127.0.0.1")),
            ("sensor.probe.bus", json!("line")),
            ("sensor.probe.map", json!([{ "channel": "t" }])),
            ("sensor.climate.bus", json!("house")),
            ("sensor.climate.topic", json!("a/+")),
            ("sensor.climate.map", json!([{ "channel": "t" }])),
        ]
    }

    /// What changes when these values are set and those keys are removed.
    fn change(set: &[(&'static str, Value)], removed: &[&str]) -> Change {
        let old = before();
        let mut new: Vec<_> = old.clone();
        new.retain(|(key, _)| !removed.contains(key) && !set.iter().any(|(other, _)| other == key));
        new.extend(set.iter().cloned());
        Change::between(&entries(&old), &entries(&new))
    }

    fn names<const N: usize>(names: [&str; N]) -> BTreeSet<Name> {
        names.iter().map(|name| name.parse().unwrap()).collect()
    }

    #[test]
    fn nothing_changes_when_nothing_differs() {
        assert_eq!(change(&[], &[]), Change::default());
    }

    #[test]
    fn another_meaning_of_messages_leaves_the_connection_alone() {
        let changed = change(&[("sensor.climate.map", json!([]))], &[]);
        assert_eq!((changed.buses, changed.plans), (names([]), names(["house"])));
        assert!(!changed.commands);
    }

    #[test]
    fn another_connection_or_another_topic_starts_the_bus_anew() {
        for set in
            [("bus.mqtt.house.host", json!("broker")), ("sensor.climate.topic", json!("b/+"))]
        {
            let changed = change(&[set], &[]);
            assert_eq!((changed.buses, changed.plans), (names(["house"]), names(["house"])));
        }
    }

    #[test]
    fn another_password_in_the_same_file_starts_the_bus_anew() {
        let old = entries(&[("bus.mqtt.house.credentials_file", json!("broker.toml"))]);
        let mut new = old.clone();
        new[0].checksum = 1;
        assert_eq!(Change::between(&old, &new).buses, names(["house"]));
    }

    #[test]
    fn a_bus_that_is_gone_is_stopped_and_its_neighbour_is_not() {
        let gone = ["bus.serial.line.path", "sensor.probe.bus", "sensor.probe.map"];
        assert_eq!(change(&[], &gone).buses, names(["line"]));
    }

    #[test]
    fn a_sensor_that_moves_concerns_both_buses() {
        let moved = change(&[("sensor.climate.bus", json!("line"))], &[]);
        assert_eq!(moved.buses, names(["house", "line"]));
    }

    #[test]
    fn a_device_concerns_all_meanings_and_routes_but_no_connection() {
        let changed = change(&[("device.greenhouse.id", json!("d00000000000000000000002"))], &[]);
        assert_eq!((changed.buses, changed.plans), (names([]), names(["house", "line"])));
        assert!(changed.commands);
    }

    #[test]
    fn what_only_the_next_start_applies_is_named() {
        let set = [
            ("losant.url", json!("http://other")),
            ("outbox.size_max", json!("1 GiB")),
            ("reporter.batch_age_max", json!("1 s")),
            ("log.level", json!("debug")),
        ];
        let changed = change(&set, &[]);
        let waiting: Vec<_> = changed.for_the_next_start().collect();
        assert_eq!(waiting, ["losant.url", "outbox.size_max"]);
        assert!(changed.limits && changed.log_level);
        assert_eq!(changed.buses, names([]));
    }
}
