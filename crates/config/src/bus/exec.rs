//! Programs that print readings: the tables `[bus.exec.…]`.

use std::path::Path;
use std::time::Duration;

use super::settings::{Settings, Table, Topics};
use super::values::{bounded, interval, size, texts};
use crate::check::{Check, choice, span};
use crate::table::{Bytes, Span, Text, Texts, table};

table!(Raw {
    command: Texts,
    mode: Text,
    interval: Span,
    timeout: Span,
    output_size_max: Bytes,
    environment: Texts,
});

/// A program that prints readings.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ExecBus {
    /// The absolute path of the program and its arguments. They do not pass through a shell.
    pub command: Vec<String>,
    /// When it runs.
    pub mode: ExecMode,
    /// The longest output of one run, or the longest line, in bytes.
    pub output_bytes_max: usize,
    /// Its environment, besides `PATH`.
    pub environment: Vec<(String, String)>,
}

/// When a program runs, and which part of its output is a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ExecMode {
    /// At intervals; the output of a run is one message.
    Interval {
        /// From start to start.
        interval: Duration,
        /// A run that takes longer is killed.
        timeout: Duration,
    },
    /// All the time; each line is a message.
    Lines,
}

impl Settings for ExecBus {
    type Raw = Raw;

    const TOPICS: Topics = Topics::None;

    fn resolve(table: &Table<'_>, raw: Raw, check: &mut Check<'_>) -> Self {
        let key = table.key;
        let command_key = format!("{key}.command");
        let command = texts(raw.command);
        if !command.first().is_some_and(|program| Path::new(program).is_absolute()) {
            let fix = "give the path and the arguments: command = [\"/usr/bin/program\", \"-a\"]";
            check.problems.add(&command_key, "does not start with an absolute path", fix);
        }
        bounded(&command_key, &command, check);
        let modes = [("interval", false), ("lines", true)];
        let is_lines = choice(&format!("{key}.mode"), raw.mode, check, &modes).unwrap_or_default();
        let interval_key = format!("{key}.interval");
        let mode = if is_lines {
            for (option, is_set) in
                [("interval", raw.interval.is_some()), ("timeout", raw.timeout.is_some())]
            {
                if is_set {
                    let at = format!("{key}.{option}");
                    check.problems.add(at, "is for mode = \"interval\"", "remove it");
                }
            }
            ExecMode::Lines
        } else {
            let timeout_range = Duration::from_millis(100)..=Duration::from_secs(3_600);
            ExecMode::Interval {
                interval: interval(&interval_key, raw.interval, Duration::from_secs(60), check),
                timeout: span(
                    &format!("{key}.timeout"),
                    raw.timeout,
                    Duration::from_secs(10),
                    &timeout_range,
                    check,
                ),
            }
        };
        let environment_key = format!("{key}.environment");
        let variables = texts(raw.environment);
        bounded(&environment_key, &variables, check);
        let environment = variables.iter().filter_map(|text| {
            let pair = text.split_once('=').filter(|(name, _)| !name.is_empty());
            if pair.is_none() {
                let fix = "write each variable as \"NAME=value\"";
                check.problems.add(&environment_key, format!("\"{text}\" is not a variable"), fix);
            }
            pair.map(|(name, value)| (name.to_owned(), value.to_owned()))
        });
        ExecBus {
            command,
            mode,
            environment: environment.collect(),
            output_bytes_max: size(&format!("{key}.output_size_max"), raw.output_size_max, check),
        }
    }
}
