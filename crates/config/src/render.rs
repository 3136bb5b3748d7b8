//! Renders a configuration as one TOML file with the same meaning, each value with its place in a
//! comment.

use std::path::Path;

use serde_json::Value;

use super::Origin;
use super::explain::{Entry, is_file_option};
use super::key::{joined, quoted};
use super::secret::cloud_credentials_path;

/// The maximum width of the column of values in characters. The place of a wider value follows it
/// directly.
const COLUMN_MAX: usize = 60;

/// Renders these values as TOML, by tables.
pub fn render(entries: &[Entry]) -> String {
    let mut page = String::new();
    for table in entries.chunk_by(|one, other| one.table == other.table) {
        let name = table.first().map(|entry| joined(&entry.table)).unwrap_or_default();
        page.extend([format!("\n[{name}]\n")]);
        let lines: Vec<_> =
            table.iter().filter_map(|entry| Some((line(entry)?, comment(&entry.place)))).collect();
        let widths = lines.iter().map(|(line, _)| line.chars().count());
        let width = widths.filter(|width| *width <= COLUMN_MAX).max().unwrap_or_default();
        page.extend(lines.iter().map(|(line, place)| format!("{line:width$}  # {place}\n")));
    }
    page
}

/// Returns the values for a copy of the configuration in another directory: relative paths become
/// absolute, and the file of the credentials is named. `file` is the file that was loaded.
pub fn portable(entries: &[Entry], file: &Path) -> Vec<Entry> {
    let file = std::path::absolute(file).unwrap_or_else(|_| file.to_owned());
    let directory = file.parent().unwrap_or(Path::new("/"));
    let mut entries = entries.to_vec();
    for entry in entries.iter_mut().filter(|entry| is_file_option(&entry.table, &entry.option)) {
        make_absolute(&mut entry.value, directory);
    }
    let is_named = |entry: &Entry| entry.key() == "losant.credentials_file";
    // A systemd credential is found by its name wherever the file is.
    let credentials = cloud_credentials_path(None, directory);
    if !entries.iter().any(is_named) && credentials.starts_with(directory) {
        let value = Value::from(credentials.to_string_lossy());
        let table = ["losant".to_owned()].into();
        let option = "credentials_file".to_owned();
        let place = Origin::Default;
        let entry = Entry { table, option, value, place, checksum: 0 };
        let end = entries.iter().rposition(|entry| *entry.table == ["losant"]);
        entries.insert(end.map_or(0, |end| end + 1), entry);
    }
    entries
}

fn make_absolute(value: &mut Value, directory: &Path) {
    match value {
        Value::String(path) => *path = directory.join(&*path).to_string_lossy().into_owned(),
        Value::Array(paths) => {
            for path in paths {
                make_absolute(path, directory);
            }
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::Object(_) => {}
    }
}

/// Returns the line of an option; `None` for a value that TOML cannot express, which no file and no
/// variable can contain.
fn line(entry: &Entry) -> Option<String> {
    let value = toml::Value::try_from(&entry.value).ok()?;
    Some(format!("{} = {value}", quoted(&entry.option)))
}

/// Returns a place without the control characters that a comment must not contain.
fn comment(place: &Origin) -> String {
    place.to_string().replace(|character: char| character.is_control(), "?")
}
