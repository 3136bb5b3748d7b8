//! `tidegate check --online`: asks Losant and the brokers whether they agree with the
//! configuration.
//!
//! Nothing is stored: a call with an empty list of states shows whether the token may report.

mod brokers;
mod losant;

use crate::cli::print;
use tidegate_config::Config;

/// The result of one item.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Outcome {
    /// The item is as it must be.
    Good,
    /// The item is wrong; the text has the cure.
    Problem(String),
    /// The item was not checked, for this reason.
    Unchecked(String),
}

/// Some items are wrong or were not checked.
#[derive(Debug, thiserror::Error)]
pub(in crate::cli) enum Found {
    /// There is at least one problem.
    #[error("{problems} problems found, {unchecked} items not checked")]
    Problems {
        /// The number of problems.
        problems: usize,
        /// The number of items that were not checked.
        unchecked: usize,
    },
    /// There is no problem, but some items were not checked.
    #[error("{unchecked} items not checked")]
    Unchecked {
        /// The number of items that were not checked.
        unchecked: usize,
    },
}

/// The items, printed one by one.
#[derive(Debug, Default)]
pub(super) struct Report {
    problems: usize,
    unchecked: usize,
    is_quiet: bool,
}

impl Report {
    /// Prints an item. Without problems a quiet report prints nothing.
    pub(super) fn add(&mut self, item: &str, outcome: &Outcome) -> anyhow::Result<()> {
        let (word, text) = match outcome {
            Outcome::Good if self.is_quiet => return Ok(()),
            Outcome::Good => ("ok", ""),
            Outcome::Problem(text) => {
                self.problems += 1;
                ("problem", text.as_str())
            }
            Outcome::Unchecked(text) => {
                self.unchecked += 1;
                ("unchecked", text.as_str())
            }
        };
        let colon = if text.is_empty() { "" } else { ": " };
        print(&format!("{word:<9} {item}{colon}{text}\n"))
    }

    fn finish(self) -> Result<(), Found> {
        let Self { problems, unchecked, .. } = self;
        match (problems, unchecked) {
            (0, 0) => Ok(()),
            (0, _) => Err(Found::Unchecked { unchecked }),
            (_, _) => Err(Found::Problems { problems, unchecked }),
        }
    }
}

/// Checks all items and prints each one.
///
/// # Errors
/// If an item is wrong or was not checked.
pub(in crate::cli) fn check(config: &Config, is_quiet: bool) -> anyhow::Result<()> {
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
    runtime.block_on(async {
        let mut report = Report { is_quiet, ..Report::default() };
        losant::check(config, &mut report).await?;
        brokers::check(config, &mut report).await?;
        Ok(report.finish()?)
    })
}
