//! Renders the states of a device as CSV (RFC 4180).

use std::collections::BTreeMap;
use std::fmt::Write as _;

use serde_json::Value;

use crate::devices::{Attribute, DataType};
use crate::exports::{CSV_FILE, Job};
use crate::store::DeviceRecord;
use crate::time::to_iso;
use crate::timeline::Window;

/// The files of an export, by name, and the number of rows in its table.
#[derive(Debug)]
pub(super) struct CsvExport {
    pub(super) files: BTreeMap<String, String>,
    pub(super) rows: usize,
}

/// Writes the table of an export, and a file for each blob that the table links to.
pub(super) fn write(job: &Job, device: &DeviceRecord) -> CsvExport {
    let is_selected = |attribute: &&Attribute| {
        job.attributes.as_ref().is_none_or(|names| names.contains(&attribute.name))
    };
    let columns = device.spec.attributes.iter().filter(is_selected).collect::<Vec<_>>();
    let mut export = CsvExport { files: BTreeMap::new(), rows: 0 };
    let mut text = String::new();
    let mut header = fixed_cells(job, "ID", "Timestamp", "Date");
    header.extend(columns.iter().map(|attribute| attribute.name.clone()));
    write_row(&mut text, &header);
    let period = Window {
        start_ms: job.start_ms,
        end_ms: job.end_ms,
        newest_first: false,
        entries_max: usize::MAX,
    };
    for state in device.states.select(period) {
        let time = state.time_ms.to_string();
        let mut row = fixed_cells(job, &device.spec.device_id, &time, &to_iso(state.time_ms));
        let fixed = row.len();
        for attribute in &columns {
            row.push(match state.data.get(&attribute.name) {
                None => String::new(),
                Some(value) => cell(job, attribute, value, &time, &mut export.files),
            });
        }
        if row.iter().skip(fixed).any(|cell| !cell.is_empty()) {
            write_row(&mut text, &row);
            export.rows += 1;
        }
    }
    export.files.insert(CSV_FILE.to_owned(), text);
    export
}

/// Returns the cells before the attributes, of which the options can remove two.
fn fixed_cells(job: &Job, id: &str, time: &str, date: &str) -> Vec<String> {
    let cells = [
        job.options.include_id.then_some(id),
        Some(time),
        job.options.include_date.then_some(date),
    ];
    cells.into_iter().flatten().map(str::to_owned).collect()
}

/// Renders a value; without `includeBlobData` a blob goes to a file and the cell is its link.
fn cell(
    job: &Job,
    attribute: &Attribute,
    value: &Value,
    time: &str,
    files: &mut BTreeMap<String, String>,
) -> String {
    let text = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
    if attribute.data_type != DataType::Blob || job.options.include_blob_data {
        return text;
    }
    let name = format!("{}-{time}", attribute.name);
    let link = job.url(&name);
    files.insert(name, text);
    link
}

fn write_row(text: &mut String, cells: &[String]) {
    for (index, cell) in cells.iter().enumerate() {
        let comma = if index == 0 { "" } else { "," };
        // Writing to a string cannot fail.
        if cell.contains(['"', ',', '\n', '\r']) {
            write!(text, "{comma}\"{}\"", cell.replace('"', "\"\"")).ok();
        } else {
            write!(text, "{comma}{cell}").ok();
        }
    }
    text.push_str("\r\n");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quotes_cells_with_special_characters() {
        let mut text = String::new();
        let cells = ["plain", "1,2", "say \"hi\"", "two\nlines", ""].map(str::to_owned);
        write_row(&mut text, &cells);
        assert_eq!(text, "plain,\"1,2\",\"say \"\"hi\"\"\",\"two\nlines\",\r\n");
    }
}
