//! The problems of a configuration, each with its place and a fix.

use std::fmt;

use super::Origin;
use super::origin::Origins;

/// One problem.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// The file and line, if known.
    pub place: Option<Origin>,
    /// The key, such as `bus.serial.boiler.baud_rate`, or the file; empty if the place is enough.
    pub at: String,
    /// The problem.
    pub what: String,
    /// How to fix it.
    pub fix: String,
}

/// All problems of a configuration.
#[derive(Debug, Default)]
pub struct Problems(Vec<Problem>);

impl Problems {
    /// Adds a problem.
    pub fn add(&mut self, at: impl Into<String>, what: impl fmt::Display, fix: impl Into<String>) {
        self.add_at(None, at, what, fix);
    }

    /// Adds a problem whose place is known.
    pub(super) fn add_at(
        &mut self,
        place: Option<Origin>,
        at: impl Into<String>,
        what: impl fmt::Display,
        fix: impl Into<String>,
    ) {
        let problem = Problem { place, at: at.into(), what: what.to_string(), fix: fix.into() };
        if !self.0.contains(&problem) {
            self.0.push(problem);
        }
    }

    /// Finds the places of problems that have only a key, and sorts all problems by place.
    pub(super) fn locate(&mut self, origins: &Origins) {
        for problem in self.0.iter_mut().filter(|problem| problem.place.is_none()) {
            let key = problem.at.split(": ").next().unwrap_or_default();
            problem.place = origins.nearest(key);
        }
        let order = |problem: &Problem| {
            let place = problem.place.as_ref();
            (place.is_none(), place.map(|place| origins.order(place)), problem.at.clone())
        };
        self.0.sort_by_key(order);
    }

    /// Returns whether there is no problem.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Returns the problems, from the top of the first file to the bottom of the last.
    pub fn iter(&self) -> impl Iterator<Item = &Problem> {
        self.0.iter()
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(place) = &self.place {
            write!(formatter, "{place}: ")?;
        }
        if !self.at.is_empty() {
            write!(formatter, "{}: ", self.at)?;
        }
        formatter.write_str(&self.what)?;
        if !self.fix.is_empty() {
            write!(formatter, "; {}", self.fix)?;
        }
        Ok(())
    }
}

impl fmt::Display for Problems {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let lines: Vec<_> = self.0.iter().map(Problem::to_string).collect();
        formatter.write_str(&lines.join("\n"))
    }
}

impl std::error::Error for Problems {}
