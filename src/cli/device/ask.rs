//! What cannot be undone is named and asked for.

use super::target::Target;
use crate::cli::{prompt, secrecy};
use tidegate_losant::query::Period;

/// Something that cannot be undone.
pub(super) struct Deed {
    /// As in "this deletes the device".
    what: String,
    /// What goes with it, each in words.
    parts: Vec<String>,
}

impl Deed {
    pub(super) fn deletion(target: &Target) -> Self {
        let what = format!("deletes the device {} with all its data", target.shown);
        Self { what, parts: Vec::new() }
    }

    pub(super) fn removal(target: &Target, period: Period) -> Self {
        let start =
            period.start.map_or_else(|| "the beginning".to_owned(), |when| when.to_string());
        let end = period.end.map_or_else(|| "now".to_owned(), |when| when.to_string());
        let what =
            format!("deletes the states of the device {} from {start} to {end}", target.shown);
        Self { what, parts: Vec::new() }
    }

    /// `parts` is what the device loses.
    pub(super) fn replacement(target: &Target, parts: Vec<String>) -> Self {
        Self { what: format!("takes away from the device {}", target.shown), parts }
    }
}

/// Whether there is a need to ask.
pub(super) fn is_settled(target: &Target) -> bool {
    target.is_agreed || target.is_dry_run
}

/// Goes on only with `--yes`, or with a yes from a person.
pub(super) fn agree(target: &Target, deed: &Deed) -> anyhow::Result<()> {
    if is_settled(target) {
        return Ok(());
    }
    // A question may stand for long, and the credentials are in memory.
    secrecy::keep_out_of_core_dumps();
    prompt::confirm(false, &deed.what, &deed.parts)
}
