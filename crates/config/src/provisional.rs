//! Loads a configuration whose peripherals have no id yet, to create them in Losant.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use super::check::Purpose;
use super::explain::Reading;
use super::field::Field;
use super::raw::{self, Raw};
use super::{Config, Problems};
use tidegate_model::{DeviceId, Name};

/// The name of the gateway, which is set elsewhere.
const GATEWAY: &str = "gateway";

/// The most devices without an id.
const DEVICES_MAX: u16 = 1_000;

/// Loads the configuration, with placeholder ids for peripherals that have none.
///
/// Such a peripheral has a table without an id, or only a sensor or an actuator names it. The
/// second result has their names.
///
/// # Errors
/// All other problems of the configuration.
pub fn load_provisional(file: &Path) -> Result<(Config, BTreeSet<Name>), Problems> {
    let mut reading = Reading::of(file);
    let mut raw = reading.raw();
    let added = raw.as_mut().map(add_ids).unwrap_or_default();
    let (config, _) = reading.resolve(raw, Purpose::Daemon, file)?;
    Ok((config, added))
}

/// Adds a placeholder id for each peripheral without one, and returns their names.
fn add_ids(raw: &mut Raw) -> BTreeSet<Name> {
    let sensors = raw.sensor.values();
    let named = sensors.flat_map(|sensor| sensor.device.iter().chain(sensor.devices.values()));
    let named = named.chain(raw.actuator.values().filter_map(|actuator| actuator.device.as_ref()));
    let unknown: Vec<Name> = named.filter_map(|field| field.0.parse().ok()).collect();
    for name in unknown.iter().filter(|name| ***name != *GATEWAY) {
        raw.device.entry(name.to_string()).or_default();
    }
    let mut added = BTreeSet::new();
    let without = raw.device.iter_mut().filter(|(name, device)| {
        device.id.is_none() && *name != GATEWAY && name.parse::<Name>().is_ok()
    });
    let without: BTreeMap<&String, &mut raw::Device> = without.collect();
    for ((name, device), number) in without.into_iter().zip(1..=DEVICES_MAX) {
        device.id = Some(Field(placeholder(number).to_string()));
        added.extend(name.parse::<Name>());
    }
    added
}

/// Returns an id that Losant does not give: all bits are set, except for the last two bytes.
fn placeholder(number: u16) -> DeviceId {
    let mut bytes = [0xff; 12];
    let [.., high, low] = &mut bytes;
    [*high, *low] = number.to_be_bytes();
    DeviceId::from(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn devices_without_an_id_get_a_placeholder() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("tidegate.toml");
        let text = r#"
[losant]
device_id = "d00000000000000000000001"
[device.attic]
[device.known]
id = "d00000000000000000000002"
[bus.serial.probe]
path = "tty"
[sensor.a]
bus = "probe"
device = "cellar"
format = "json"
map = [{ channel = "t", attribute = "t" }]
[sensor.b]
bus = "probe"
device = "{{ payload.id }}"
devices = { one = "attic", two = "yard" }
format = "json"
map = [{ channel = "t", attribute = "t" }]
"#;
        std::fs::write(&file, text).unwrap();
        let credentials = directory.path().join("credentials.toml");
        std::fs::write(&credentials, "key = \"k\"\nsecret = \"s\"\n").unwrap();
        let mode = std::os::unix::fs::PermissionsExt::from_mode(0o600);
        std::fs::set_permissions(&credentials, mode).unwrap();
        let (config, added) = load_provisional(&file).unwrap();
        let added: Vec<_> = added.iter().map(ToString::to_string).collect();
        assert_eq!(added, ["attic", "cellar", "yard"]);
        assert_eq!(config.devices.len(), 5);
        assert_eq!(config.devices["attic"].to_string(), "ffffffffffffffffffff0001");
        crate::load(&file).unwrap_err();
    }
}
