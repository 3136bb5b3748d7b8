//! Compares the resolved settings of two configurations and says what a reload has to do.
//!
//! The comparison is typed: each setting implements `PartialEq`. Secrets and certificates are part
//! of the settings that name them: a new password in the same file is a difference of its bus.

use std::collections::{BTreeMap, BTreeSet};

use super::{Bus, Config, Topics};
use tidegate_model::Name;
use tidegate_model::topic::TopicFilter;

/// What a reload has to do about one bus.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BusDifference {
    /// Nothing: the bus and its sensors are the same.
    Unchanged,
    /// Replace the pipeline: messages are decoded or mapped in another way. The connection stays
    /// open.
    Mapping,
    /// Stop the old bus and start the new one: the connection or its subscriptions differ.
    Connection,
}

/// The difference between two configurations, by the part of the daemon that has to act.
#[derive(Debug, Default, PartialEq, Eq)]
#[expect(clippy::struct_excessive_bools, reason = "each is about another part of the daemon")]
pub struct Difference {
    /// Every bus of either configuration.
    pub buses: BTreeMap<Name, BusDifference>,
    /// Actuators to stop, if they exist, and to start, if the new configuration has them.
    pub actuators: BTreeSet<Name>,
    /// Whether commands are routed or admitted in another way.
    pub commands: bool,
    /// Whether the reporter has other limits.
    pub reporter: bool,
    /// Whether the audit has other settings.
    pub audit: bool,
    /// Whether the log has another level.
    pub log_level: bool,
    /// Whether the gateway is another Losant device. All states and commands depend on it, so that
    /// a reload applies nothing.
    pub gateway: bool,
    /// Tables that differ and that only a restart applies.
    pub next_start: Vec<&'static str>,
}

impl Difference {
    /// Compares the settings in effect with new ones.
    pub fn between(old: &Config, new: &Config) -> Self {
        // Named one by one, so that a new setting does not compile until it is compared here.
        let Config {
            cloud,
            devices,
            outbox,
            reporter,
            audit,
            clock_trust,
            commands,
            buses,
            actuators,
            stop_timeout,
            log_level,
            status_socket,
            status_listen,
            warnings: _,
        } = old;
        let has_other_devices = *devices != new.devices;
        let status = (status_socket, status_listen);
        let next_start = [
            ("losant", *cloud != new.cloud),
            ("outbox", *outbox != new.outbox),
            ("clock", *clock_trust != new.clock_trust),
            ("daemon", *stop_timeout != new.stop_timeout),
            ("status", status != (&new.status_socket, &new.status_listen)),
        ];
        let names: BTreeSet<_> = buses.keys().chain(new.buses.keys()).collect();
        let bus = |name: &Name| match (buses.get(name), new.buses.get(name)) {
            (Some(old), Some(new)) => old.difference(new, has_other_devices),
            (_, _) => BusDifference::Connection,
        };
        let actuators = differing(
            actuators.iter().map(|actuator| (&actuator.name, actuator)),
            new.actuators.iter().map(|actuator| (&actuator.name, actuator)),
        );
        Self {
            buses: names.into_iter().map(|name| (name.clone(), bus(name))).collect(),
            commands: has_other_devices || !actuators.is_empty() || *commands != new.commands,
            actuators,
            reporter: *reporter != new.reporter,
            audit: *audit != new.audit,
            log_level: *log_level != new.log_level,
            gateway: cloud.device != new.cloud.device,
            next_start: next_start
                .iter()
                .filter(|(_, differs)| *differs)
                .map(|(t, _)| *t)
                .collect(),
        }
    }

    /// Lists the buses whose connection differs.
    pub fn connections(&self) -> BTreeSet<Name> {
        let differing = self.buses.iter().filter(|(_, one)| **one == BusDifference::Connection);
        differing.map(|(name, _)| name.clone()).collect()
    }

    /// Lists the buses whose pipeline differs, which includes those whose connection does.
    pub fn pipelines(&self) -> impl Iterator<Item = &Name> {
        let differing = self.buses.iter().filter(|(_, one)| **one != BusDifference::Unchanged);
        differing.map(|(name, _)| name)
    }

    /// Lists which of the `changed` keys only a restart applies.
    ///
    /// A table can differ although none of its keys changed: its credentials file has another
    /// access key. Such a table is listed by its name.
    pub fn keys_for_next_start(&self, changed: &BTreeSet<String>) -> BTreeSet<String> {
        if self.gateway {
            return changed.clone();
        }
        let mut keys = BTreeSet::new();
        for table in &self.next_start {
            let prefix = format!("{table}.");
            let before = keys.len();
            keys.extend(changed.iter().filter(|key| key.starts_with(&prefix)).cloned());
            if keys.len() == before {
                keys.insert((*table).to_owned());
            }
        }
        keys
    }
}

impl Bus {
    /// Returns what the bus subscribes to: the topics of its sensors, where its kind requires them.
    fn subscriptions(&self) -> Vec<(Option<&TopicFilter>, bool)> {
        let sensors = self.sensors.iter().filter(|_| self.kind.topics() == Topics::Required);
        sensors.map(|sensor| (sensor.topic.as_ref(), sensor.retained)).collect()
    }

    fn difference(&self, new: &Self, has_other_devices: bool) -> BusDifference {
        if self.kind != new.kind || self.subscriptions() != new.subscriptions() {
            BusDifference::Connection
        } else if self.sensors != new.sensors || has_other_devices {
            BusDifference::Mapping
        } else {
            BusDifference::Unchanged
        }
    }
}

/// Returns the names whose value differs or that only one side has.
fn differing<'a, T: PartialEq + 'a>(
    old: impl Iterator<Item = (&'a Name, &'a T)>,
    new: impl Iterator<Item = (&'a Name, &'a T)>,
) -> BTreeSet<Name> {
    let (old, new): (BTreeMap<_, _>, BTreeMap<_, _>) = (old.collect(), new.collect());
    let names = old.keys().chain(new.keys());
    names.filter(|name| old.get(*name) != new.get(*name)).map(|name| (*name).clone()).collect()
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use tempfile::TempDir;

    use super::*;
    use crate::{Entry, changed_keys, explain};

    const BEFORE: &str = r#"
losant.device_id = "575ecf887ae143cd83dc4aa2"
[bus.serial.line]
path = "/dev/ttyUSB0"
[bus.mqtt.house]
host = "127.0.0.1"
credentials_file = "broker.toml"
[sensor.probe]
bus = "line"
format = "key-value"
map = [{ channel = "t", attribute = "t" }]
[sensor.climate]
bus = "house"
topic = "a/+"
format = "json"
map = [{ channel = "t", attribute = "t" }]
[actuator.lamp]
command = "lamp"
bus = "house"
topic = "lamp/set"
payload = "{{ payload.on }}"
[actuator.fan]
command = "fan"
bus = "line"
write = "FAN\n"
"#;

    fn write_private(path: &Path, text: &str) {
        use std::os::unix::fs::PermissionsExt as _;
        std::fs::write(path, text).unwrap();
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o600)).unwrap();
    }

    fn load(directory: &TempDir, text: &str, password: &str) -> (Config, Vec<Entry>) {
        let file = directory.path().join("tidegate.toml");
        write_private(
            &directory.path().join("broker.toml"),
            &format!("user = \"u\"\npassword = \"{password}\""),
        );
        write_private(&directory.path().join("credentials.toml"), "key = \"k\"\nsecret = \"s\"");
        std::fs::write(&file, text).unwrap();
        explain(&file).unwrap_or_else(|problems| panic!("{problems}"))
    }

    /// The difference after each first text has been replaced by the second.
    fn change(replacements: &[(&str, &str)]) -> Difference {
        let directory = TempDir::new().unwrap();
        let mut text = BEFORE.to_owned();
        for (from, to) in replacements {
            assert!(text.contains(from), "{from}");
            text = text.replace(from, to);
        }
        let (old, _) = load(&directory, BEFORE, "p");
        let (new, _) = load(&directory, &text, "p");
        Difference::between(&old, &new)
    }

    fn names<const N: usize>(names: [&str; N]) -> BTreeSet<Name> {
        names.iter().map(|name| name.parse().unwrap()).collect()
    }

    fn pipelines(difference: &Difference) -> BTreeSet<Name> {
        difference.pipelines().cloned().collect()
    }

    #[test]
    fn equal_configurations_do_not_differ() {
        let unchanged =
            ["house", "line"].map(|name| (name.parse().unwrap(), BusDifference::Unchanged));
        let expected = Difference { buses: unchanged.into(), ..Difference::default() };
        assert_eq!(change(&[]), expected);
    }

    #[test]
    fn mapping_options_leave_the_connection() {
        let map = "channel = \"t\", attribute = \"t\"";
        for option in [
            "scale = 2.0",
            "decimals = 1",
            "rate_max = 5.0",
            "deadband = 0.5",
            "stable_for = \"1 s\"",
            "valid_min = 0.0",
            "derive = \"delta\"",
        ] {
            let difference = change(&[(map, &format!("{map}, {option}"))]);
            assert_eq!(difference.connections(), names([]), "{option}");
            assert_eq!(pipelines(&difference), names(["house", "line"]), "{option}");
            assert!(!difference.commands, "{option}");
        }
        for option in [
            "priority = \"low\"",
            "ignore = '^#'",
            "time = { channel = \"at\", format = \"s\" }",
            "stale = { after = \"5 min\", attribute = \"online\" }",
        ] {
            let probe = "bus = \"line\"\nformat";
            let difference = change(&[(probe, &format!("{option}\n{probe}"))]);
            assert_eq!(difference.connections(), names([]), "{option}");
            assert_eq!(pipelines(&difference), names(["line"]), "{option}");
        }
    }

    #[test]
    fn connection_options_and_subscriptions_restart_the_bus() {
        for replacement in [
            ("127.0.0.1", "broker"),
            ("a/+", "b/+"),
            ("topic = \"a/+\"", "topic = \"a/+\"\nretained = true"),
            ("payload = \"", "reply_topic = \"lamp/answer\"\nreply = \"ok\"\npayload = \""),
        ] {
            let difference = change(&[replacement]);
            assert_eq!(difference.connections(), names(["house"]), "{replacement:?}");
            assert_eq!(pipelines(&difference), names(["house"]), "{replacement:?}");
        }
    }

    #[test]
    fn password_in_the_same_file_restarts_the_bus() {
        let directory = TempDir::new().unwrap();
        let (old, old_entries) = load(&directory, BEFORE, "p");
        let (new, new_entries) = load(&directory, BEFORE, "q");
        assert_eq!(Difference::between(&old, &new).connections(), names(["house"]));
        let keys = changed_keys(&old_entries, &new_entries);
        assert_eq!(keys, ["bus.mqtt.house.credentials_file".to_owned()].into());
    }

    #[test]
    fn removed_bus_stops_and_its_neighbour_stays() {
        let line = BEFORE.split_once("[bus.serial.line]").unwrap().1;
        let line = line.split_once("[bus.mqtt").unwrap().0;
        let sensor = BEFORE.split_once("[sensor.probe]").unwrap().1;
        let sensor = sensor.split_once("[sensor.climate]").unwrap().0;
        let fan = BEFORE.split_once("[actuator.fan]").unwrap().1;
        let difference = change(&[
            (&format!("[bus.serial.line]{line}"), ""),
            (&format!("[sensor.probe]{sensor}"), ""),
            (&format!("[actuator.fan]{fan}"), ""),
        ]);
        assert_eq!(difference.connections(), names(["line"]));
        assert_eq!(pipelines(&difference), names(["line"]));
        assert_eq!(difference.actuators, names(["fan"]));
    }

    #[test]
    fn moved_sensor_concerns_both_buses() {
        let moved = change(&[("bus = \"house\"\ntopic = \"a/+\"", "bus = \"line\"")]);
        assert_eq!(pipelines(&moved), names(["house", "line"]));
        assert_eq!(moved.connections(), names(["house"]), "a tty stays open for another sensor");
    }

    #[test]
    fn device_concerns_mappings_and_routes_only() {
        let device = "[device.greenhouse]\nid = \"d00000000000000000000002\"\n[bus.mqtt.house]";
        let difference = change(&[("[bus.mqtt.house]", device)]);
        assert_eq!(difference.connections(), names([]));
        assert_eq!(pipelines(&difference), names(["house", "line"]));
        assert!(difference.commands);
    }

    #[test]
    fn actuator_changes_alone() {
        let difference = change(&[("write = \"FAN\\n\"", "write = \"VENT\\n\"")]);
        assert_eq!(difference.actuators, names(["fan"]));
        assert_eq!((difference.connections(), difference.commands), (names([]), true));
        let timeout =
            change(&[("[bus.mqtt.house]", "[commands]\ntimeout = \"9 s\"\n[bus.mqtt.house]")]);
        assert_eq!(timeout.actuators, names(["fan", "lamp"]), "both use the default");
    }

    #[test]
    fn settings_for_the_next_start_are_named() {
        let directory = TempDir::new().unwrap();
        let (old, old_entries) = load(&directory, BEFORE, "p");
        let device_id = "losant.device_id = ";
        let text = BEFORE.replace(
            device_id,
            &format!(
                "losant.url = \"http://other\"\noutbox.size_max = \"1 GiB\"\n\
                 reporter.batch_age_max = \"1 s\"\nlog.level = \"debug\"\n{device_id}"
            ),
        );
        let (new, new_entries) = load(&directory, &text, "p");
        let difference = Difference::between(&old, &new);
        assert_eq!(difference.next_start, ["losant", "outbox"]);
        let keys = difference.keys_for_next_start(&changed_keys(&old_entries, &new_entries));
        assert_eq!(keys, ["losant.url", "outbox.size_max"].map(str::to_owned).into());
        assert!(difference.reporter && difference.log_level);
        assert_eq!(difference.connections(), names([]));
    }

    #[test]
    fn access_key_in_the_usual_file_waits_and_is_named() {
        let directory = TempDir::new().unwrap();
        let (old, _) = load(&directory, BEFORE, "p");
        write_private(&directory.path().join("credentials.toml"), "key = \"k\"\nsecret = \"t\"");
        let (new, _) = explain(&directory.path().join("tidegate.toml")).unwrap();
        let difference = Difference::between(&old, &new);
        assert_eq!(difference.keys_for_next_start(&BTreeSet::new()), ["losant".to_owned()].into());
    }

    #[test]
    fn another_gateway_waits_with_everything_else() {
        let difference = change(&[("575ecf887ae143cd83dc4aa2", "575ecf887ae143cd83dc4aa3")]);
        assert!(difference.gateway);
        let changed = ["losant.device_id", "log.level"].map(str::to_owned).into();
        assert_eq!(difference.keys_for_next_start(&changed), changed);
    }
}
