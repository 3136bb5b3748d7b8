//! The effective values of the configuration, each with its place.

use std::cmp::Ordering;
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;

use serde_json::{Map, Value};

use super::check::Purpose;
use super::key::{join, joined, parent, segments};
use super::option_info::OptionInfos;
use super::origin::Origins;
use super::raw::{Raw, shape_at};
use super::shape::{Shape, Shaped as _};
use super::{Config, Origin, Problems, load, resolve};

/// The text that replaces a secret.
const MASK: &str = "***";

/// Options that would contain a secret. Secrets belong into separate files; this is a second guard.
const SECRET_OPTIONS: [&str; 4] = ["password", "secret", "token", "passphrase"];

/// Options that name files, as far as they are relative to the directory of the configuration.
const FILE_OPTIONS: [&str; 7] =
    ["credentials_file", "ca_file", "client_certificate", "path", "paths", "socket", "chip"];

/// One value of the configuration.
#[derive(Debug, Clone, PartialEq)]
pub struct Entry {
    /// The segments of the table, such as `bus`, `serial`, `boiler`.
    pub table: Arc<[String]>,
    /// The option in it.
    pub option: String,
    /// The value as it would be written. Secrets are masked.
    pub value: Value,
    /// The place of the value.
    pub place: Origin,
    /// The checksum of the file that the value names, so that a new password in the same file is a
    /// change, too; else 0.
    pub(super) checksum: u32,
}

impl Entry {
    /// Returns the whole key, such as `bus.serial.boiler.path`.
    pub fn key(&self) -> String {
        join(&joined(&self.table), &self.option)
    }

    /// Sets the checksum, if the value names a file whose content counts.
    fn set_checksum(&mut self, directory: &Path) {
        let is_file = self.option.ends_with("_file") || self.option == "client_certificate";
        if let Some(path) = self.value.as_str().filter(|_| is_file) {
            // The file has just been read and is valid.
            let content = std::fs::read(directory.join(path)).unwrap_or_default();
            self.checksum = crc32fast::hash(&content);
        }
    }
}

/// Loads the configuration as [`load()`](super::load()) does, with every value and its place.
///
/// # Errors
/// All problems that could be found.
pub fn explain(file: &Path) -> Result<(Config, Vec<Entry>), Problems> {
    explain_for(Purpose::Daemon, file)
}

/// Returns the keys whose value, or the file that they name, differs between two configurations.
pub fn changed_keys(old: &[Entry], new: &[Entry]) -> BTreeSet<String> {
    let (old, new) = (values(old), values(new));
    let keys = old.keys().chain(new.keys());
    keys.filter(|key| old.get(*key) != new.get(*key)).cloned().collect()
}

fn values(entries: &[Entry]) -> BTreeMap<String, (&Value, u32)> {
    entries.iter().map(|entry| (entry.key(), (&entry.value, entry.checksum))).collect()
}

/// Loads the configuration without its entries, which cost as much time and memory again.
pub(super) fn load_for(purpose: Purpose, file: &Path) -> Result<Config, Problems> {
    let mut reading = Reading::of(file);
    let raw = reading.raw();
    reading.tree = None;
    reading.resolve(raw, purpose, file).map(|(config, _)| config)
}

pub(super) fn explain_for(purpose: Purpose, file: &Path) -> Result<(Config, Vec<Entry>), Problems> {
    let mut reading = Reading::of(file);
    let raw = reading.raw();
    let tree = reading.tree.take();
    let (config, reading) = reading.resolve(raw, purpose, file)?;
    let tree = tree.map(config::Value::try_deserialize);
    let Some(Ok(tree)) = tree else { return Err(Problems::default()) };
    let mut entries = entries(&tree, &reading.options, &reading.origins);
    let directory = file.parent().unwrap_or(Path::new(""));
    for entry in &mut entries {
        entry.set_checksum(directory);
    }
    Ok((config, entries))
}

/// The layers on their way to a configuration.
pub(super) struct Reading {
    problems: Problems,
    origins: Origins,
    options: OptionInfos,
    /// The merged layers; nothing if one of them cannot be read.
    tree: Option<config::Value>,
}

impl Reading {
    pub(super) fn of(file: &Path) -> Self {
        let (mut problems, mut origins) = (Problems::default(), Origins::new(file));
        let environment = std::env::vars().collect();
        let tree = load::merge(file, environment, &mut origins, &mut problems);
        Self { problems, origins, options: OptionInfos::default(), tree }
    }

    pub(super) fn raw(&mut self) -> Option<Raw> {
        load::read(self.tree.as_mut()?, &mut self.problems)
    }

    pub(super) fn resolve(
        mut self,
        raw: Option<Raw>,
        purpose: Purpose,
        file: &Path,
    ) -> Result<(Config, Self), Problems> {
        let (problems, options) = (&mut self.problems, &mut self.options);
        let config = raw.and_then(|raw| resolve::resolve(raw, file, purpose, problems, options));
        self.problems.locate(&self.origins);
        match config {
            Some(mut config) if !self.problems.has_errors() => {
                config.warnings = std::mem::take(&mut self.problems).into_list();
                Ok((config, self))
            }
            Some(_) | None => Err(self.problems),
        }
    }
}

/// Returns whether an option names a file or files, relative to the directory of the configuration.
pub(super) fn is_file_option(table: &[String], option: &str) -> bool {
    let is_declared = matches!(shape_at(table.iter().map(String::as_str)), Some(Shape::Table(_)));
    match table.first().map(String::as_str) {
        Some("losant" | "outbox" | "status" | "bus") => {
            is_declared && FILE_OPTIONS.contains(&option)
        }
        Some(_) | None => false,
    }
}

pub(super) fn entries(
    tree: &Map<String, Value>,
    options: &OptionInfos,
    origins: &Origins,
) -> Vec<Entry> {
    let mut values = BTreeMap::new();
    collect(tree, "", &mut values);
    for (key, info) in options.iter() {
        let Some(value) = &info.value else { continue };
        if shape_at(segments(key).iter().map(String::as_str)).is_none() {
            // A check that several tables share knows more options than this table has.
            continue;
        }
        let mut around = std::iter::successors(parent(key), |key| parent(key));
        let is_list_or_value =
            |key: String| values.get(&key).is_some_and(|value| !is_empty_table(value));
        if around.any(is_list_or_value) {
            // An item of a list, which is shown as a whole.
            continue;
        }
        match values.get(key) {
            // A value in another form, such as a number in the environment, is shown with its type.
            Some(Value::String(_)) if value.is_string() => {}
            Some(_) | None => drop(values.insert(key.clone(), value.clone())),
        }
    }
    // An empty table that has defaults is no longer empty.
    let filled: BTreeSet<_> = values
        .keys()
        .flat_map(|key| std::iter::successors(parent(key), |key| parent(key)))
        .collect();
    values.retain(|key, value| !is_empty_table(value) || !filled.contains(key));
    let mut ranked: Vec<_> = values
        .into_iter()
        .filter_map(|(key, value)| {
            let mut table = segments(&key);
            let positions = positions(&table);
            let option = table.pop().filter(|_| !table.is_empty())?;
            let place = origins.exact(&key).cloned().unwrap_or(Origin::Default);
            let value = masked(&table, &option, value);
            Some((positions, Entry { table: table.into(), option, value, place, checksum: 0 }))
        })
        .collect();
    ranked.sort_by(order);
    let mut entries: Vec<_> = ranked.into_iter().map(|(_, entry)| entry).collect();
    share_tables(&mut entries);
    entries
}

fn is_empty_table(value: &Value) -> bool {
    value.as_object().is_some_and(Map::is_empty)
}

/// Collects the values of a tree by key; a list is one value, and so is an empty table.
fn collect(table: &Map<String, Value>, prefix: &str, values: &mut BTreeMap<String, Value>) {
    for (name, value) in table {
        let key = join(prefix, name);
        // Without a table around it an empty table is the same as none.
        if let Value::Object(inner) = value
            && (!inner.is_empty() || prefix.is_empty())
        {
            collect(inner, &key, values);
        } else {
            values.insert(key.clone(), sorted(&key, value));
        }
    }
}

/// Returns a value with the tables of a list in the order of the declarations. The `config` crate
/// keeps no order, and two reads of the same file must be equal.
fn sorted(key: &str, value: &Value) -> Value {
    match value {
        Value::Array(items) => items.iter().map(|item| sorted(&join(key, "0"), item)).collect(),
        Value::Object(table) => {
            let mut members: Vec<_> = table.iter().collect();
            members.sort_by_cached_key(|(name, _)| rank(segments(&join(key, name))));
            members
                .into_iter()
                .map(|(name, value)| (name.clone(), sorted(&join(key, name), value)))
                .collect()
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => value.clone(),
    }
}

/// Returns the sort key: the order of the declarations, and the alphabet for chosen names.
fn rank(segments: Vec<String>) -> Vec<(usize, String)> {
    positions(&segments).into_iter().zip(segments).collect()
}

/// Returns the place of each segment in its declaration; the last for a chosen name.
fn positions(segments: &[String]) -> Vec<usize> {
    let mut shape = Some(Raw::shape());
    let position = |segment: &String| {
        let place = shape.and_then(|shape| shape.options().position(|option| option == segment));
        shape = shape.and_then(|shape| shape.child(segment));
        place.unwrap_or(usize::MAX)
    };
    segments.iter().map(position).collect()
}

/// An entry with the positions of its table and of its option.
type Ranked = (Vec<usize>, Entry);

/// Orders entries as [`rank`] does, the options of a table before the tables in it, so that each
/// table is written once. There are several hundred thousand entries for ten thousand sensors.
fn order((positions, entry): &Ranked, (others, other): &Ranked) -> Ordering {
    let tables = positions.iter().zip(&*entry.table).cmp(others.iter().zip(&*other.table));
    let options = || (positions.last(), &entry.option).cmp(&(others.last(), &other.option));
    tables.then_with(options)
}

/// Lets the entries of a table share its segments.
fn share_tables(entries: &mut [Entry]) {
    for entries in entries.chunk_by_mut(|one, other| one.table == other.table) {
        if let [first, others @ ..] = entries {
            for entry in others {
                entry.table = Arc::clone(&first.table);
            }
        }
    }
}

/// Masks a secret. A name that the operator chose, such as an alias of a device, is no secret.
fn masked(table: &[String], option: &str, value: Value) -> Value {
    let is_chosen = matches!(shape_at(table.iter().map(String::as_str)), Some(Shape::Named(_)));
    if SECRET_OPTIONS.contains(&option) && !is_chosen {
        return MASK.into();
    }
    without_passwords(value)
}

/// Returns a value with the addresses in it without their passwords.
fn without_passwords(value: Value) -> Value {
    match value {
        Value::String(text) => without_password(text).into(),
        Value::Array(items) => items.into_iter().map(without_passwords).collect(),
        Value::Object(table) => {
            table.into_iter().map(|(name, value)| (name, without_passwords(value))).collect()
        }
        Value::Null | Value::Bool(_) | Value::Number(_) => value,
    }
}

/// Returns an address without its user and password.
fn without_password(text: String) -> String {
    let Some((scheme, rest)) = text.split_once("://") else { return text };
    let authority = rest.split('/').next().unwrap_or_default();
    match authority.rsplit_once('@') {
        Some((user, _)) => {
            format!("{scheme}://{MASK}{}", rest.get(user.len()..).unwrap_or_default())
        }
        None => text,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn secrets_are_masked() {
        assert_eq!(masked(&[], "password", "hunter2".into()), "***");
        let url = |text: &str| masked(&[], "url", text.into());
        assert_eq!(url("https://me:hunter2@host/a@b"), "https://***@host/a@b");
        assert_eq!(url("https://host/a@b"), "https://host/a@b");
        let exec = masked(&[], "exec", json!(["/bin/x", ["http://me:hunter2@host"]]));
        assert_eq!(exec, json!(["/bin/x", ["http://***@host"]]));
        let devices = ["sensor", "a", "devices"].map(str::to_owned);
        assert_eq!(masked(&devices, "token", "greenhouse".into()), "greenhouse");
    }

    #[test]
    fn tables_of_a_list_are_sorted() {
        let one: Value =
            serde_json::from_str(r#"[{ "scale": 2, "attribute": "a", "channel": "c" }]"#).unwrap();
        let sorted = sorted("sensor.a.map", &one).to_string();
        assert_eq!(sorted, r#"[{"channel":"c","attribute":"a","scale":2}]"#);
    }

    #[test]
    fn tables_are_sorted_as_in_the_annotated_file() {
        let rank = |key| rank(segments(key));
        assert!(rank("losant.url") < rank("device.a.id"));
        assert!(rank("bus.serial.a.path") < rank("bus.mqtt.a.host"));
        assert!(rank("sensor.a.map") < rank("sensor.b.bus"));
    }
}
