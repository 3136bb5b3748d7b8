//! `tidegate config`: what the daemon goes by, where each value came from, and what there is to
//! configure.

use std::path::Path;

use serde_json::{Map, Value, json};

use super::{print, shown};
use tidegate_config::{CloudCredentials, Entry, Origin};

/// Prints every value with its place, as TOML that means the same, or as JSON.
pub(super) fn show(file: &Path, json: bool) -> anyhow::Result<()> {
    let (config, entries) = tidegate_config::explain_to_check(file)?;
    if json {
        return print(&format!("{:#}\n", document(&entries)));
    }
    let credentials = match &config.cloud.credentials {
        credentials if credentials.is_unread() => "credentials that were not read".to_owned(),
        CloudCredentials::AccessKey { key, .. } => format!("access key {key}, secret ***"),
        CloudCredentials::Token(_) => "token ***".to_owned(),
    };
    let header = format!("# {} as tidegate understands it, with {credentials}\n", shown(file));
    print(&format!("{header}{}", tidegate_config::render(&entries)))?;
    super::check::print_warnings(&config)
}

/// Prints a JSON Schema.
pub(super) fn schema() -> anyhow::Result<()> {
    print(&format!("{:#}\n", tidegate_config::schema()))
}

fn document(entries: &[Entry]) -> Value {
    let members = entries.iter().map(|entry| {
        let from = match &entry.place {
            Origin::Default => json!({ "default": true }),
            Origin::File { path, line } => json!({ "file": **path, "line": line }),
            Origin::Variable(name) => json!({ "variable": name }),
        };
        (entry.key(), json!({ "value": entry.value, "from": from }))
    });
    Value::Object(members.collect::<Map<_, _>>())
}
