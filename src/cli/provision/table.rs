//! The plan as a text: a table, the conflicts with their cure, and a summary.

use std::fmt::Write as _;

use super::plan::{Plan, PlannedDevice, Row, RowState, Target};

/// The head of the table.
const HEAD: [&str; 4] = ["DEVICE", "ATTRIBUTE", "TYPE", "ACTION"];

impl Plan {
    /// Returns the text: all attributes, or only those that differ.
    pub(in crate::cli) fn show(
        &self,
        shows_all: bool,
        replaces_types: bool,
    ) -> Result<String, std::fmt::Error> {
        let mut page = String::new();
        let rows = self.devices.iter().flat_map(|device| {
            let is_new = matches!(device.target, Target::New(_));
            let own = is_new.then(|| cells(device, "", "device", "create device"));
            let rows = device.rows.iter().filter(move |row| is_new || shows_all || is_work(row));
            let rows = rows.map(move |row| {
                let data_type = row.data_type.as_str();
                let mark = if row.is_known { "" } else { "?" };
                let action = action(device, row, replaces_types);
                cells(device, &row.attribute, &format!("{data_type}{mark}"), &action)
            });
            own.into_iter().chain(rows)
        });
        let rows: Vec<_> = rows.collect();
        write_table(&mut page, &rows)?;
        self.write_conflicts(&mut page, replaces_types)?;
        self.write_notes(&mut page)?;
        self.write_summary(&mut page)?;
        Ok(page)
    }

    fn write_conflicts(&self, page: &mut String, replaces_types: bool) -> std::fmt::Result {
        for (device, row) in self.conflicts().filter(|_| !replaces_types) {
            let RowState::OtherType(declared) = row.state else { continue };
            writeln!(
                page,
                "{}.{}: Losant has the type {}, the values are {}; change the mapping, or give \
                 --replace-type, which deletes the attribute's history",
                device.shown,
                row.attribute,
                declared.as_str(),
                row.data_type.as_str(),
            )?;
        }
        Ok(())
    }

    fn write_notes(&self, page: &mut String) -> std::fmt::Result {
        for device in &self.devices {
            if let Target::Unreadable(reason) = &device.target {
                writeln!(page, "{}: {reason}", device.shown)?;
            }
        }
        let mut rows = self.devices.iter().flat_map(|device| &device.rows);
        if rows.any(|row| !row.is_known) {
            writeln!(
                page,
                "?: the configuration does not fix the type; see the messages with --learn 1min, \
                 or give --type ATTRIBUTE=TYPE"
            )?;
        }
        for sensor in &self.undetermined {
            writeln!(
                page,
                "sensor {sensor}: its messages name more attributes; give --learn 1min, or \
                 --learned FILE"
            )?;
        }
        Ok(())
    }

    fn write_summary(&self, page: &mut String) -> std::fmt::Result {
        let (mut present, mut missing, mut other) = (0, 0, 0);
        for row in self.devices.iter().flat_map(|device| &device.rows) {
            match row.state {
                RowState::Present => present += 1,
                RowState::Missing => missing += 1,
                RowState::OtherType(_) => other += 1,
            }
        }
        let all = present + missing + other;
        let new = |device: &&PlannedDevice| matches!(device.target, Target::New(_));
        let new = self.devices.iter().filter(new).count();
        let devices = self.devices.len();
        let (attributes, devices) = (counted(all, "attribute"), counted(devices, "device"));
        if missing + other + new == 0 {
            return writeln!(page, "Nothing to do: Losant has {attributes} of {devices}.");
        }
        writeln!(
            page,
            "{attributes} of {devices}: {present} in Losant, {missing} missing, {other} with \
             another type; {new} devices to create"
        )
    }
}

fn counted(count: usize, noun: &str) -> String {
    if count == 1 { format!("1 {noun}") } else { format!("{count} {noun}s") }
}

fn is_work(row: &Row) -> bool {
    row.state != RowState::Present
}

fn action(device: &PlannedDevice, row: &Row, replaces_types: bool) -> String {
    match (&device.target, row.state) {
        (Target::Unreadable(_), _) => "none: device not readable".to_owned(),
        (_, RowState::Present) => "none: present".to_owned(),
        (_, RowState::Missing) => "add".to_owned(),
        (_, RowState::OtherType(declared)) if replaces_types => {
            format!("replace type {}", declared.as_str())
        }
        (_, RowState::OtherType(declared)) => format!("conflict: is {}", declared.as_str()),
    }
}

fn cells(device: &PlannedDevice, attribute: &str, kind: &str, action: &str) -> [String; 4] {
    [device.shown.clone(), attribute.to_owned(), kind.to_owned(), action.to_owned()]
}

fn write_table(page: &mut String, rows: &[[String; 4]]) -> std::fmt::Result {
    if rows.is_empty() {
        return Ok(());
    }
    let width = |column: usize, head: &str| {
        let cells = rows.iter().filter_map(|row| row.get(column));
        cells.map(|cell| cell.chars().count()).max().unwrap_or(0).max(head.len())
    };
    let widths = [0, 1, 2].map(|column| width(column, HEAD.get(column).unwrap_or(&"")));
    let [first, second, third] = widths;
    let mut line = |cells: [&str; 4]| {
        let [device, attribute, kind, action] = cells;
        writeln!(page, "{device:first$}  {attribute:second$}  {kind:third$}  {action}")
    };
    line(HEAD)?;
    for row in rows {
        line(row.each_ref().map(String::as_str))?;
    }
    page.push('\n');
    Ok(())
}
