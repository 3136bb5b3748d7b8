//! Asks for confirmation of irreversible actions.

use super::target::Target;
use crate::cli::{prompt, secrecy};
use tidegate_losant::query::Period;

/// An irreversible action.
pub(super) struct Irreversible {
    /// The effect, such as "deletes the device".
    effect: String,
    /// The lost parts, in words.
    losses: Vec<String>,
}

impl Irreversible {
    pub(super) fn deletion(target: &Target) -> Self {
        let effect = format!("deletes the device {} with all its data", target.shown);
        Self { effect, losses: Vec::new() }
    }

    pub(super) fn removal(target: &Target, period: Period) -> Self {
        let start =
            period.start.map_or_else(|| "the beginning".to_owned(), |when| when.to_string());
        let end = period.end.map_or_else(|| "now".to_owned(), |when| when.to_string());
        let effect =
            format!("deletes the states of the device {} from {start} to {end}", target.shown);
        Self { effect, losses: Vec::new() }
    }

    /// Creates a patch that removes `losses`.
    pub(super) fn replacement(target: &Target, losses: Vec<String>) -> Self {
        Self { effect: format!("removes from the device {}", target.shown), losses }
    }
}

/// Returns whether no question is needed.
pub(super) fn is_confirmed(target: &Target) -> bool {
    target.is_agreed || target.is_dry_run
}

/// Returns after `--yes` or a confirmation at the terminal.
///
/// # Errors
/// Fails if the action is not confirmed.
pub(super) fn confirm(target: &Target, action: &Irreversible) -> anyhow::Result<()> {
    if is_confirmed(target) {
        return Ok(());
    }
    // The credentials stay in memory while the question waits.
    secrecy::keep_out_of_core_dumps();
    prompt::confirm(false, &action.effect, &action.losses)
}
