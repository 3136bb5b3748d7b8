//! The tables of a file in `conf.d` that a command writes.

use std::path::Path;

use anyhow::Context as _;
use toml::{Table, Value};

/// Reads the tables of a file; none if it is missing.
pub(super) fn read(path: &Path) -> anyhow::Result<Table> {
    let text = match std::fs::read_to_string(path) {
        Ok(text) => text,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => String::new(),
        Err(error) => {
            return Err(error).with_context(|| format!("cannot read {}", path.display()));
        }
    };
    text.parse::<Table>().with_context(|| format!("{} is not valid TOML", path.display()))
}

/// Returns the table at a path; creates it if it is missing.
pub(super) fn table<'a>(root: &'a mut Table, path: &[&str]) -> &'a mut Table {
    path.iter().fold(root, |table, name| {
        let inner = table.entry((*name).to_owned()).or_insert_with(|| Table::new().into());
        if !inner.is_table() {
            *inner = Table::new().into();
        }
        match inner {
            Value::Table(inner) => inner,
            Value::String(_)
            | Value::Integer(_)
            | Value::Float(_)
            | Value::Boolean(_)
            | Value::Datetime(_)
            | Value::Array(_) => unreachable!("the value was made a table above"),
        }
    })
}
