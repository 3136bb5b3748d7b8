//! Files that are read: the tables `[bus.file.…]`.

use std::time::Duration;

use super::settings::{Settings, Table, Topics};
use super::values::{bounded, interval, size, texts};
use crate::check::{Check, choice};
use crate::table::{Bytes, Span, Text, Texts, table};

table!(Raw { paths: Texts, mode: Text, interval: Span, size_max: Bytes });

/// Files that are read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FileBus {
    /// Absolute paths with the wildcards `*`, `?` and `[…]`.
    pub patterns: Vec<String>,
    /// Which part of a file is a message.
    pub mode: FileMode,
    /// The time between two reads.
    pub interval: Duration,
    /// The largest file, or the longest line, in bytes.
    pub bytes_max: usize,
}

/// Which part of a file is a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FileMode {
    /// The whole file, each time it is read.
    Whole,
    /// The whole file, when it has changed.
    Change,
    /// Each line that is added to it.
    Tail,
}

impl Settings for FileBus {
    type Raw = Raw;

    const TOPICS: Topics = Topics::Optional;

    fn resolve(table: &Table<'_>, raw: Raw, check: &mut Check<'_>) -> Self {
        let key = table.key;
        let paths_key = format!("{key}.paths");
        let patterns: Vec<_> = texts(raw.paths)
            .iter()
            .map(|path| check.path(path).to_string_lossy().into_owned())
            .collect();
        if patterns.is_empty() {
            let fix = "say what to read: paths = [\"/sys/class/thermal/thermal_zone*/temp\"]";
            check.problems.add(&paths_key, "is missing or empty", fix);
        }
        bounded(&paths_key, &patterns, check);
        for pattern in &patterns {
            if let Err(error) = glob::Pattern::new(pattern) {
                check.problems.add(&paths_key, format!("\"{pattern}\": {error}"), "");
            }
        }
        let modes =
            [("interval", FileMode::Whole), ("change", FileMode::Change), ("tail", FileMode::Tail)];
        let mode =
            choice(&format!("{key}.mode"), raw.mode, check, &modes).unwrap_or(FileMode::Whole);
        let default = match mode {
            FileMode::Whole => Duration::from_secs(10),
            FileMode::Change | FileMode::Tail => Duration::from_secs(1),
        };
        FileBus {
            patterns,
            mode,
            interval: interval(&format!("{key}.interval"), raw.interval, default, check),
            bytes_max: size(&format!("{key}.size_max"), raw.size_max, check),
        }
    }
}
