//! What cannot be undone is named and asked for.

use super::target::Target;
use crate::cli::prompt;
use crate::losant::body::DevicePatch;
use crate::losant::query::Period;

/// Goes on only with `--yes`, or with a yes from a person.
pub(super) fn agree(target: &Target, deed: &str) -> anyhow::Result<()> {
    if target.is_agreed || target.is_dry_run {
        return Ok(());
    }
    prompt::agree(false, deed)
}

pub(super) fn deletion(target: &Target) -> String {
    format!("deletes the device {} with all its data", target.shown)
}

pub(super) fn removal(target: &Target, period: Period) -> String {
    let start = period.start.map_or_else(|| "the beginning".to_owned(), |when| when.to_string());
    let end = period.end.map_or_else(|| "now".to_owned(), |when| when.to_string());
    format!("deletes the states of the device {} from {start} to {end}", target.shown)
}

/// What a patch may take away: a list replaces the old one whole.
pub(super) fn replacement(target: &Target, patch: &DevicePatch) -> Option<String> {
    let mut deeds = Vec::new();
    if let Some(attributes) = &patch.attributes {
        let names: Vec<_> = attributes.iter().map(ToString::to_string).collect();
        let names = if names.is_empty() { "none".to_owned() } else { names.join(", ") };
        deeds.push(format!(
            "replaces all attributes of the device {} by {names}, and deletes the data of those that are left out \
             or get another type",
            target.shown
        ));
    }
    if let Some(tags) = &patch.tags {
        let keys: Vec<&str> = tags.iter().map(|tag| &*tag.key).collect();
        let keys = if keys.is_empty() { "none".to_owned() } else { keys.join(", ") };
        deeds.push(format!("replaces all tags of the device {} by {keys}", target.shown));
    }
    (!deeds.is_empty()).then(|| deeds.join(", and "))
}
