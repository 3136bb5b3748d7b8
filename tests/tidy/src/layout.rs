//! The layout of files: a purpose, a size, a width.

use crate::report;
use crate::sources::{RUST, rust_files};

/// The longest file, in lines.
const LINES_MAX: usize = 500;

/// The longest line, in columns.
const COLUMNS_MAX: usize = 100;

#[test]
fn every_file_has_a_purpose_and_at_most_500_lines() {
    let mut offences = Vec::new();
    for file in rust_files(&RUST) {
        if !file.text.starts_with("//! ") {
            offences.push(format!("{}:1: the first line does not state the purpose", file.path));
        }
        let lines = file.text.lines().count();
        if lines > LINES_MAX {
            offences.push(format!("{}: {lines} lines, {LINES_MAX} at most", file.path));
        }
    }
    report(&offences);
}

#[test]
fn lines_have_at_most_100_columns() {
    let mut offences = Vec::new();
    for file in rust_files(&RUST) {
        for (number, line) in (1..).zip(file.text.lines()) {
            let columns = line.chars().count();
            if columns > COLUMNS_MAX {
                offences.push(format!("{}:{number}: {columns} columns", file.path));
            }
        }
    }
    report(&offences);
}

#[test]
fn no_file_names_a_path_of_its_author() {
    let homes = ["home", "Users", "root", "work"].map(|name| format!("\"/{name}/"));
    let mut offences = Vec::new();
    for file in rust_files(&RUST) {
        for (number, line) in (1..).zip(file.text.lines()) {
            for home in homes.iter().filter(|home| line.contains(*home)) {
                offences.push(format!("{}:{number}: names {home}", file.path));
            }
        }
    }
    report(&offences);
}
