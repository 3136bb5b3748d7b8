//! Renders a configuration as one TOML file with the same meaning, each value with its place in a
//! comment.

use super::Entry;

/// The maximum width of the column of values in characters. The place of a wider value follows it
/// directly.
const COLUMN_MAX: usize = 60;

/// Renders these values as TOML, by tables.
pub fn render(entries: &[Entry]) -> String {
    let mut page = String::new();
    for table in entries.chunk_by(|one, other| one.table == other.table) {
        let name = table.first().map(|entry| &*entry.table).unwrap_or_default();
        page.extend([format!("\n[{name}]\n")]);
        let lines: Vec<_> = table.iter().map(|entry| (line(entry), &entry.place)).collect();
        let widths = lines.iter().map(|(line, _)| line.chars().count());
        let width = widths.filter(|width| *width <= COLUMN_MAX).max().unwrap_or_default();
        page.extend(lines.iter().map(|(line, place)| format!("{line:width$}  # {place}\n")));
    }
    page
}

fn line(entry: &Entry) -> String {
    // All values come from TOML, so all can be written as TOML.
    let value = toml::Value::try_from(&entry.value).map(|value| value.to_string());
    format!("{} = {}", entry.option, value.unwrap_or_default())
}
