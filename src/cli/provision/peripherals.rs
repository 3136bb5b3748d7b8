//! Peripherals without an id: their names, and the lines of configuration for their new ids.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::path::Path;

use anyhow::Context as _;
use toml::Table;

use super::print;
use crate::cli::fragment;
use tidegate_config::Config;
use tidegate_ingest::mapping::{DeviceProduction, Production};
use tidegate_model::{DeviceId, Name};

/// The file for the ids of new peripherals, beside the configuration.
const FRAGMENT: &str = "conf.d/devices.toml";

/// The first lines of this file.
const HEADER: &str = "# Written by `tidegate provision --create-devices --write`.\n\n";

/// The longest name that is derived from a message, in characters.
const NAME_CHARACTERS_MAX: usize = 60;

/// A configuration some of whose peripherals have no id yet.
#[derive(Debug)]
pub(in crate::cli) struct Provisional {
    /// The configuration. The peripherals without an id have placeholders.
    pub(in crate::cli) config: Config,
    without_id: BTreeSet<Name>,
}

/// A device that is to be created.
#[derive(Debug, Clone)]
pub(super) struct NewDevice {
    /// The name in the configuration.
    pub(super) name: String,
    /// The name in Losant.
    pub(super) label: String,
    /// The sensors whose messages name the device otherwise, each with the name there.
    aliases: Vec<Alias>,
}

#[derive(Debug, Clone)]
struct Alias {
    sensor: Name,
    text: String,
}

/// A device that was created.
#[derive(Debug)]
pub(super) struct Created {
    pub(super) device: NewDevice,
    pub(super) id: DeviceId,
}

impl Provisional {
    /// Loads a configuration whose peripherals may have no id.
    pub(super) fn load(file: &Path) -> anyhow::Result<Self> {
        let (config, without_id) = tidegate_config::load_provisional(file)?;
        Ok(Self { config, without_id })
    }

    /// Wraps a configuration whose peripherals all have an id.
    pub(in crate::cli) fn complete(config: Config) -> Self {
        Self { config, without_id: BTreeSet::new() }
    }

    /// Returns the device to create, if this one has only a placeholder.
    pub(super) fn new_device(&self, device: DeviceId) -> Option<NewDevice> {
        let (name, _) = self.config.devices.iter().find(|(_, id)| **id == device)?;
        let name = self.without_id.get(name)?.to_string();
        Some(NewDevice { label: name.clone(), name, aliases: Vec::new() })
    }

    /// Returns the devices that messages name and the configuration lacks.
    pub(super) fn unknown_devices(
        &self,
        production: &Production,
    ) -> Vec<(NewDevice, DeviceProduction)> {
        let mut taken: BTreeSet<String> =
            self.config.devices.keys().map(ToString::to_string).collect();
        let mut found: BTreeMap<&str, (NewDevice, DeviceProduction)> = BTreeMap::new();
        for (sensor, devices) in &production.unknown_devices {
            for (text, attributes) in devices {
                let (device, known) = found.entry(text.as_str()).or_insert_with(|| {
                    let name = unused_name(text, &mut taken);
                    let label = text.clone();
                    (NewDevice { name, label, aliases: Vec::new() }, DeviceProduction::new())
                });
                if device.name != *text {
                    device.aliases.push(Alias { sensor: sensor.clone(), text: text.clone() });
                }
                known.extend(attributes.iter().map(|(name, produced)| (name.clone(), *produced)));
            }
        }
        found.into_values().collect()
    }
}

/// Returns a name for the configuration that no other device has.
fn unused_name(text: &str, taken: &mut BTreeSet<String>) -> String {
    let letter = |letter: char| match letter.to_ascii_lowercase() {
        letter @ ('a'..='z' | '0'..='9' | '-' | '_') => letter,
        _ => '-',
    };
    let base: String = text.chars().take(NAME_CHARACTERS_MAX).map(letter).collect();
    let numbered = (2_u32..).map(|number| format!("{base}-{number}"));
    let mut names = [base.clone()].into_iter().chain(numbered);
    let name = names.find(|name| !taken.contains(name)).unwrap_or(base);
    taken.insert(name.clone());
    name
}

/// Prints the lines of configuration for new devices, or writes them.
pub(super) fn report(created: &[Created], config: &Path, writes: bool) -> anyhow::Result<()> {
    if created.is_empty() {
        return Ok(());
    }
    if !writes {
        let mut lines = Table::new();
        add_tables(&mut lines, created);
        return print(&format!("\nAdd to the configuration:\n\n{lines}"));
    }
    let file = std::path::absolute(config)?.with_file_name(FRAGMENT);
    let mut table = fragment::read(&file)?;
    add_tables(&mut table, created);
    if let Some(parent) = file.parent() {
        std::fs::create_dir_all(parent)
            .with_context(|| format!("cannot create {}", parent.display()))?;
    }
    tidegate_config::replace(&file, &format!("{HEADER}{table}"), 0o644)
        .with_context(|| format!("cannot write {}; try again with sudo", file.display()))?;
    let mut page = format!("Wrote {}\n", file.display());
    // Another file may set another id.
    let config = tidegate_config::load(config)?;
    for Created { device, id } in created {
        if config.devices.get(&*device.name) != Some(id) {
            writeln!(page, "{}: another file has another id; set it to {id}", device.name)?;
        }
    }
    print(&page)
}

fn add_tables(table: &mut Table, created: &[Created]) {
    for Created { device, id } in created {
        let own = fragment::table(table, &["device", &device.name]);
        own.insert("id".to_owned(), id.to_string().into());
        for Alias { sensor, text } in &device.aliases {
            let aliases = fragment::table(table, &["sensor", sensor, "devices"]);
            aliases.insert(text.clone(), device.name.clone().into());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_fit_the_configuration_and_differ() {
        let mut taken = BTreeSet::from(["attic".to_owned()]);
        assert_eq!(unused_name("Living Room", &mut taken), "living-room");
        assert_eq!(unused_name("living/room", &mut taken), "living-room-2");
        assert_eq!(unused_name("attic", &mut taken), "attic-2");
    }
}
