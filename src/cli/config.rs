//! `tidegate config`: what the daemon goes by, where each value came from, and what there is to configure.

use std::fmt::Write as _;
use std::path::Path;

use serde_json::{Map, Value, json};

use super::{print, shown};
use crate::config::{self, CloudCredentials, Entry, Place};

/// The widest value, in characters, that the places stand behind in one column; behind a wider one they stand where it ends.
const COLUMN_MAX: usize = 60;

/// Prints every value with its place, as TOML that means the same, or as JSON.
pub(super) fn show(file: &Path, json: bool) -> anyhow::Result<()> {
    let (config, entries) = config::explain(file)?;
    if json {
        return print(&format!("{:#}\n", document(&entries)));
    }
    let credentials = match config.cloud.credentials {
        CloudCredentials::AccessKey { key, .. } => format!("access key {key}, secret ***"),
        CloudCredentials::Token(_) => "token ***".to_owned(),
    };
    let mut page = format!("# {} as tidegate understands it, with {credentials}\n", shown(file));
    describe(&mut page, &entries)?;
    print(&page)
}

/// Prints a JSON Schema.
pub(super) fn schema() -> anyhow::Result<()> {
    print(&format!("{:#}\n", config::schema()))
}

fn describe(page: &mut String, entries: &[Entry]) -> std::fmt::Result {
    for table in entries.chunk_by(|one, other| one.table == other.table) {
        let name = table.first().map(|entry| &*entry.table).unwrap_or_default();
        writeln!(page, "\n[{name}]")?;
        let lines: Vec<_> = table.iter().map(|entry| (line(entry), &entry.place)).collect();
        let widths = lines.iter().map(|(line, _)| line.chars().count());
        let width = widths.filter(|width| *width <= COLUMN_MAX).max().unwrap_or_default();
        for (line, place) in lines {
            writeln!(page, "{line:width$}  # {place}")?;
        }
    }
    Ok(())
}

fn line(entry: &Entry) -> String {
    // All values come from TOML, so all can be written as TOML.
    let value = toml::Value::try_from(&entry.value).map(|value| value.to_string());
    format!("{} = {}", entry.option, value.unwrap_or_default())
}

fn document(entries: &[Entry]) -> Value {
    let members = entries.iter().map(|entry| {
        let from = match &entry.place {
            Place::Default => json!({ "default": true }),
            Place::File { path, line } => json!({ "file": path, "line": line }),
            Place::Variable(name) => json!({ "variable": name }),
        };
        (entry.key(), json!({ "value": entry.value, "from": from }))
    });
    Value::Object(members.collect::<Map<_, _>>())
}
