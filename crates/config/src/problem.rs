//! The problems of a configuration, each with its place and a fix.

use std::collections::BTreeSet;
use std::fmt;

use super::Origin;
use super::key::{joined, segments};
use super::origin::Origins;

/// How much a problem matters.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Severity {
    /// The configuration cannot be used.
    Error,
    /// The configuration can be used, but a part of it probably does not do what is meant.
    Warning,
    /// A part was not checked.
    Note,
}

/// One problem.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// How much it matters.
    pub severity: Severity,
    /// The file and line, if known.
    pub place: Option<Origin>,
    /// The key, such as `bus.serial.boiler.baud_rate`, or the file; empty if the place is enough.
    pub at: String,
    /// The problem.
    pub what: String,
    /// How to fix it.
    pub fix: String,
    /// Further lines: the line of the file with a mark below it; empty if the place is enough.
    pub excerpt: String,
}

/// A key that does not exist.
#[derive(Debug)]
struct UnknownKey {
    /// Its segments.
    segments: Vec<String>,
    /// The key that is probably meant.
    meant: Option<&'static str>,
    /// The names inside, if it is a table.
    names: BTreeSet<String>,
}

/// All problems of a configuration.
#[derive(Debug, Default)]
pub struct Problems {
    list: Vec<Problem>,
    /// The keys with their problems, so that each problem is listed once.
    listed: BTreeSet<(String, String)>,
    /// The keys with errors.
    errors: BTreeSet<String>,
    unknown: Vec<UnknownKey>,
}

impl Problems {
    /// Adds a problem.
    pub fn add(&mut self, at: impl Into<String>, what: impl fmt::Display, fix: impl Into<String>) {
        self.add_at(None, at, what, fix);
    }

    /// Adds a weakness that does not keep the configuration from being used.
    pub(super) fn warn(
        &mut self,
        at: impl Into<String>,
        what: impl fmt::Display,
        fix: impl Into<String>,
    ) {
        self.push(Problem { severity: Severity::Warning, ..problem(at, what, fix) });
    }

    /// Adds what was not checked.
    pub(super) fn note(
        &mut self,
        at: impl Into<String>,
        what: impl fmt::Display,
        fix: impl Into<String>,
    ) {
        self.push(Problem { severity: Severity::Note, ..problem(at, what, fix) });
    }

    /// Adds a problem whose place is known.
    pub(super) fn add_at(
        &mut self,
        place: Option<Origin>,
        at: impl Into<String>,
        what: impl fmt::Display,
        fix: impl Into<String>,
    ) {
        let problem = Problem { place, ..problem(at, what, fix) };
        let is_missing =
            problem.what.starts_with("is missing") || problem.what == "there is no unit";
        if !(is_missing && self.is_misspelled(&problem.at)) {
            self.push(problem);
        }
    }

    /// Adds a problem that shows the line of the file.
    pub(super) fn add_with_excerpt(
        &mut self,
        place: Origin,
        what: String,
        fix: String,
        excerpt: String,
    ) {
        self.push(Problem { place: Some(place), excerpt, ..problem("", what, fix) });
    }

    /// Adds a key that does not exist, with the names in its table.
    pub(super) fn add_unknown(
        &mut self,
        segments: &[String],
        meant: Option<&'static str>,
        names: BTreeSet<String>,
        fix: String,
    ) {
        self.add(joined(segments), "unknown key", fix);
        self.unknown.push(UnknownKey { segments: segments.to_vec(), meant, names });
    }

    /// Notes that tables of this kind may be there without a name, which is reported.
    pub(super) fn expect_misnamed(&mut self, kind: &str) {
        let segments = vec![kind.to_owned()];
        let meant = ["bus", "device", "sensor", "actuator"].into_iter().find(|one| *one == kind);
        self.unknown.push(UnknownKey { segments, meant, names: BTreeSet::new() });
    }

    /// Returns whether an option is there under a wrong name, which is reported.
    fn is_misspelled(&self, key: &str) -> bool {
        let wanted = segments(key);
        let Some((option, table)) = wanted.split_last() else { return false };
        self.unknown.iter().any(|unknown| {
            let Some((last, around)) = unknown.segments.split_last() else { return false };
            around == table && (unknown.meant == Some(option) || last.eq_ignore_ascii_case(option))
        })
    }

    /// Returns whether a table of `kind`, such as `bus` or `device`, with this name, or with any
    /// name, may be there under a wrong key, which is reported.
    pub(super) fn may_be_misnamed(&self, kind: &str, name: Option<&str>) -> bool {
        self.unknown.iter().any(|unknown| match unknown.segments.as_slice() {
            [_] => unknown.meant.is_none_or(|meant| meant == kind),
            [table, key] if table == kind => {
                name.is_none_or(|name| key == name || unknown.names.contains(name))
            }
            _ => false,
        })
    }

    fn push(&mut self, problem: Problem) {
        if problem.severity == Severity::Error {
            self.errors.insert(problem.at.clone());
        }
        let text = format!("{:?} {}", problem.place, problem);
        if self.listed.insert((problem.at.clone(), text)) {
            self.list.push(problem);
        }
    }

    /// Finds the places of problems that have only a key, and sorts all problems by place.
    pub(super) fn locate(&mut self, origins: &Origins) {
        for problem in self.list.iter_mut().filter(|problem| problem.place.is_none()) {
            let key = problem.at.split(": ").next().unwrap_or_default();
            problem.place = origins.nearest(key);
        }
        let order = |problem: &Problem| {
            let place = problem.place.as_ref();
            (place.is_none(), place.map(|place| origins.order(place)), problem.at.clone())
        };
        self.list.sort_by_key(order);
    }

    /// Returns whether the configuration cannot be used.
    pub fn has_errors(&self) -> bool {
        !self.errors.is_empty()
    }

    /// Returns whether an error at `key` is reported.
    pub(super) fn has_error_at(&self, key: &str) -> bool {
        self.errors.contains(key)
    }

    /// Returns whether an error below `key` is reported.
    pub(super) fn has_error_below(&self, key: &str) -> bool {
        self.errors.range(key.to_owned()..).next().is_some_and(|at| at.starts_with(key))
    }

    /// Returns the problems, from the top of the first file to the bottom of the last.
    pub fn iter(&self) -> impl Iterator<Item = &Problem> {
        self.list.iter()
    }

    /// Returns the problems as a list.
    pub(super) fn into_list(self) -> Vec<Problem> {
        self.list
    }
}

fn problem(at: impl Into<String>, what: impl fmt::Display, fix: impl Into<String>) -> Problem {
    Problem {
        severity: Severity::Error,
        place: None,
        at: at.into(),
        what: what.to_string(),
        fix: fix.into(),
        excerpt: String::new(),
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(place) = &self.place {
            write!(formatter, "{place}: ")?;
        }
        match self.severity {
            Severity::Error => {}
            Severity::Warning => formatter.write_str("warning: ")?,
            Severity::Note => formatter.write_str("note: ")?,
        }
        if !self.at.is_empty() {
            write!(formatter, "{}: ", self.at)?;
        }
        formatter.write_str(&self.what)?;
        if !self.fix.is_empty() {
            write!(formatter, "; {}", self.fix)?;
        }
        if !self.excerpt.is_empty() {
            write!(formatter, "\n{}", self.excerpt)?;
        }
        Ok(())
    }
}

impl fmt::Display for Problems {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let lines: Vec<_> = self.list.iter().map(Problem::to_string).collect();
        formatter.write_str(&lines.join("\n"))
    }
}

impl std::error::Error for Problems {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn misspelled_option_is_reported_once() {
        let mut problems = Problems::default();
        let keys = ["bus", "serial", "a", "pth"].map(str::to_owned);
        problems.add_unknown(&keys, Some("path"), BTreeSet::new(), String::new());
        problems.add("bus.serial.a.path", "is missing", "give it");
        problems.add("bus.serial.b.path", "is missing", "give it");
        assert_eq!(
            problems.to_string(),
            "bus.serial.a.pth: unknown key\nbus.serial.b.path: is missing; give it"
        );
    }

    #[test]
    fn names_in_an_unknown_table_may_be_meant() {
        let mut problems = Problems::default();
        let keys = ["bus", "mqqt"].map(str::to_owned);
        problems.add_unknown(&keys, Some("mqtt"), ["house".to_owned()].into(), String::new());
        assert!(problems.may_be_misnamed("bus", Some("house")));
        assert!(problems.may_be_misnamed("bus", None));
        assert!(!problems.may_be_misnamed("bus", Some("attic")));
        assert!(!problems.may_be_misnamed("device", Some("house")));
        problems.add_unknown(
            &["devices".to_owned()],
            Some("device"),
            BTreeSet::new(),
            String::new(),
        );
        assert!(problems.may_be_misnamed("device", Some("house")));
    }
}
