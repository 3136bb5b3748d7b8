//! Checks single values while they are resolved, and collects their problems.

use std::fmt::Display;
use std::io::ErrorKind::{NotFound, PermissionDenied};
use std::net::SocketAddr;
use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::time::Duration;

use super::access::{Readers, advice};
use super::address::{Mistake, listen_address};
use super::field::{Field, Size};
use super::option_info::{OptionInfos, written};
use super::problem::Problems;
use super::suggest::did_you_mean;
use tidegate_model::{Name, io_problem};
use tidegate_template::Template;

/// For whom a configuration is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Purpose {
    /// For the daemon, or for a command that acts in its place.
    Daemon,
    /// For a person who checks it, perhaps without the rights to read secrets.
    Check,
    /// For a person who inspects it, without the access key.
    Inspect,
    /// For a command that looks for sensors while the configuration is being written.
    Discover,
}

/// Collects the problems and the information about options while raw values are resolved.
pub(super) struct Check<'a> {
    pub(super) problems: &'a mut Problems,
    pub(super) options: &'a mut OptionInfos,
    pub(super) purpose: Purpose,
    pub(super) directory: &'a Path,
}

impl Check<'_> {
    pub(super) fn required<T>(
        &mut self,
        key: &str,
        value: Option<Field<T>>,
        fix: &str,
    ) -> Option<T> {
        // A value of the wrong type is reported already.
        if value.is_none() && !self.problems.has_error_at(key) {
            self.problems.add(key, "is missing", fix);
        }
        value.map(|field| field.0)
    }

    pub(super) fn parsed<T: FromStr<Err: Display>>(&mut self, key: &str, text: &str) -> Option<T> {
        text.parse().map_err(|error| self.problems.add(key, error, "")).ok()
    }

    /// Returns the value within its range. Reports a value outside and replaces it by the nearest
    /// bound, so that checking continues.
    pub(super) fn within<T>(
        &mut self,
        key: &str,
        value: T,
        range: &RangeInclusive<T>,
        show: fn(&T) -> String,
    ) -> T
    where
        T: PartialOrd + Clone,
    {
        let (start, end) = (show(range.start()), show(range.end()));
        let info = self.options.entry(key);
        info.value = Some(written(show(&value)));
        info.range = Some((written(start.clone()), written(end.clone())));
        if range.contains(&value) {
            return value;
        }
        self.problems.add(
            key,
            format!("is {}", show(&value)),
            format!("give a value from {start} to {end}"),
        );
        if value < *range.start() { range.start().clone() } else { range.end().clone() }
    }

    pub(super) fn integer(
        &mut self,
        key: &str,
        field: Option<Field<i64>>,
        default: i64,
        range: &RangeInclusive<i64>,
    ) -> i64 {
        self.options.entry(key).default = Some(default.into());
        self.within(key, field.map_or(default, |field| field.0), range, i64::to_string)
    }

    pub(super) fn duration(
        &mut self,
        key: &str,
        field: Option<Field<Duration>>,
        range: &RangeInclusive<Duration>,
    ) -> Duration {
        let show = |duration: &Duration| humantime::format_duration(*duration).to_string();
        self.within(key, field.map_or(*range.start(), |field| field.0), range, show)
    }

    pub(super) fn bytes(
        &mut self,
        key: &str,
        field: Option<Field<Size>>,
        default: u64,
        range: &RangeInclusive<u64>,
    ) -> u64 {
        let show = |bytes: &u64| bytesize::ByteSize(*bytes).to_string();
        self.options.entry(key).default = Some(show(&default).into());
        self.within(key, field.map_or(default, |field| field.0.0), range, show)
    }

    /// Returns the value, or its default.
    pub(super) fn or_default<T: Clone + Into<serde_json::Value>>(
        &mut self,
        key: &str,
        field: Option<Field<T>>,
        default: T,
    ) -> T {
        let info = self.options.entry(key);
        info.default = Some(default.clone().into());
        let value = field.map_or(default, |field| field.0);
        info.value = Some(value.clone().into());
        value
    }

    /// Reports an unknown word, and suggests the most similar known word, or all.
    pub(super) fn unknown_word(&mut self, key: &str, word: &str, known: &[String]) {
        let fix = did_you_mean(word, known.iter().map(String::as_str), || {
            format!("use one of {}", known.join(", "))
        });
        self.problems.add(key, format!("\"{word}\" is not known"), fix);
    }

    /// Reads a file of secrets. For a person who checks the configuration, a file that is missing
    /// or cannot be read is a note, because the service can have other rights than this person.
    pub(super) fn secret<T>(
        &mut self,
        path: &Path,
        read: impl FnOnce(&Path, &mut Problems) -> Option<T>,
    ) -> Option<T> {
        let opened = match self.purpose {
            Purpose::Check => std::fs::File::open(path).map(drop),
            Purpose::Daemon | Purpose::Inspect | Purpose::Discover => Ok(()),
        };
        match opened {
            Err(error) if matches!(error.kind(), NotFound | PermissionDenied) => {
                let what = format!("not checked: {}", io_problem(&error));
                let otherwise = "create it; the daemon does not start without it";
                let fix = advice(path, &error, Readers::Service, otherwise);
                self.problems.note(path.display().to_string(), what, fix);
                None
            }
            Ok(()) | Err(_) => read(path, self.problems),
        }
    }

    pub(super) fn path(&self, path: &str) -> PathBuf {
        self.directory.join(path)
    }
}

/// Parses the address on which a server listens.
pub(super) fn listen(key: &str, text: &str, check: &mut Check<'_>) -> Option<SocketAddr> {
    let address = listen_address("listen", text);
    address.map_err(|Mistake { what, fix }| check.problems.add(key, what, fix)).ok()
}

/// Returns a range of seconds as a range of durations.
pub(super) fn seconds(range: RangeInclusive<u64>) -> RangeInclusive<Duration> {
    Duration::from_secs(*range.start())..=Duration::from_secs(*range.end())
}

/// Returns a duration whose default is not its minimum.
pub(super) fn span(
    key: &str,
    field: Option<Field<Duration>>,
    default: Duration,
    range: &RangeInclusive<Duration>,
    check: &mut Check<'_>,
) -> Duration {
    check.options.entry(key).default = Some(humantime::format_duration(default).to_string().into());
    check.duration(key, Some(field.unwrap_or(Field(default))), range)
}

/// Returns the value of one of a few words. The first word is the default.
pub(super) fn choice<T: Clone>(
    key: &str,
    field: Option<Field<String>>,
    check: &mut Check<'_>,
    choices: &[(&str, T)],
) -> Option<T> {
    let info = check.options.entry(key);
    info.choices = choices.iter().map(|(word, _)| (*word).to_owned()).collect();
    info.default = info.choices.first().cloned().map(Into::into);
    info.value = field.as_ref().map(|field| field.0.clone().into()).or(info.default.clone());
    let Some(field) = field else { return choices.first().map(|(_, value)| value.clone()) };
    let found = choices.iter().find(|(word, _)| *word == field.0).map(|(_, value)| value.clone());
    if found.is_none() {
        let words: Vec<_> = choices.iter().map(|(word, _)| format!("\"{word}\"")).collect();
        let fix = did_you_mean(&field.0, choices.iter().map(|(word, _)| *word), || {
            format!("use {}", words.join(", "))
        });
        check.problems.add(key, format!("\"{}\" is not known", field.0), fix);
    }
    found
}

pub(super) fn report_unknown_name<'a>(
    key: &str,
    kind: &str,
    name: &str,
    known: impl Iterator<Item = &'a Name>,
    check: &mut Check<'_>,
) {
    if check.problems.may_be_misnamed(kind, Some(name)) {
        return;
    }
    let known: Vec<_> = known.map(|name| &**name).collect();
    let fix = did_you_mean(name, known.iter().copied(), || match known.len() {
        0 => format!("there is no {kind} yet; add one"),
        _ => format!("there are {}", known.join(", ")),
    });
    check.problems.add(key, format!("there is no {kind} \"{name}\""), fix);
}

pub(super) fn template(key: &str, text: &str, check: &mut Check<'_>) -> Option<Template> {
    Template::compile(key, text).map_err(|error| check.problems.add(key, error, "")).ok()
}
