//! The annotated defaults as data: the text with its examples uncommented, and the description of
//! each option.

use std::collections::BTreeMap;

use toml::de::DeTable;

use super::DEFAULTS;
use super::raw::Raw;
use super::shape::{Shape, Shaped as _};

/// The placeholder for a chosen name and for the index of a list.
pub(super) const ANY: &str = "*";

/// Returns the annotated file with its examples uncommented: every option.
pub(super) fn uncommented() -> String {
    DEFAULTS.lines().map(bare).collect::<Vec<_>>().join("\n")
}

/// Returns the descriptions of tables and options by key, with [`ANY`] for chosen names.
pub(super) fn descriptions() -> BTreeMap<String, String> {
    let (mut descriptions, mut table) = (BTreeMap::new(), String::new());
    let (mut above, mut before) = (Vec::new(), None);
    for line in DEFAULTS.lines() {
        let bare = bare(line);
        if let Some((name, note)) = header(bare) {
            let key = general(name);
            let text = paragraph(&mut above).or_else(|| note.map(str::to_owned));
            if let Some(text) = text {
                descriptions.entry(key.clone()).or_insert(text);
            }
            table = if bare.starts_with("[[") { format!("{name}.0") } else { name.to_owned() };
            before = None;
        } else if let Some((key, note)) = option(bare) {
            // Options without a description of their own share the one above the first.
            before = paragraph(&mut above).or(before.filter(|_| note.is_none()));
            if let Some(text) = before.clone().or_else(|| note.map(str::to_owned)) {
                descriptions.entry(general(&format!("{table}.{key}"))).or_insert(text);
            }
        } else if let Some(comment) = bare.strip_prefix("# ").filter(|text| !text.starts_with('-'))
        {
            above.push(comment);
        } else {
            above.clear();
            before = None;
        }
    }
    descriptions
}

/// Returns a key with [`ANY`] in place of chosen names and of indexes.
pub(super) fn general(key: &str) -> String {
    let mut shape = Some(Raw::shape());
    let segments = key.split('.').map(|segment| {
        let is_chosen = matches!(shape, Some(Shape::Named(_) | Shape::List(_)));
        shape = shape.and_then(|shape| shape.child(segment));
        if is_chosen { ANY } else { segment }
    });
    segments.collect::<Vec<_>>().join(".")
}

/// Returns the key of a table or of a list of tables, and the comment after its header.
fn header(line: &str) -> Option<(&str, Option<&str>)> {
    let inner = line.strip_prefix("[[").or_else(|| line.strip_prefix('['))?;
    let (name, rest) = inner.split_once(']').filter(|(name, _)| !name.is_empty())?;
    Some((name, rest.trim_start_matches([']', ' ']).strip_prefix("# ")))
}

/// Returns a line without the "#" of an example.
fn bare(line: &str) -> &str {
    let is_example = |text: &&str| {
        let text = text.trim_start();
        text.starts_with(['[', '{', ']'])
            || text.split_once(" = ").is_some_and(|(key, _)| !key.contains(' '))
    };
    line.strip_prefix("# ").filter(is_example).unwrap_or(line)
}

/// Returns the key of an option and the comment after it.
fn option(line: &str) -> Option<(&str, Option<&str>)> {
    let (key, _) = line.split_once(" = ").filter(|(key, _)| !key.contains([' ', '#']))?;
    // The first "#" that is not part of a text.
    let mut splits = line.match_indices(" # ").map(|(at, _)| line.split_at(at));
    let note = splits.find(|(option, _)| DeTable::parse(option).is_ok());
    Some((key, note.map(|(_, note)| note.trim_start_matches([' ', '#']))))
}

fn paragraph(lines: &mut Vec<&str>) -> Option<String> {
    let text = lines.join(" ");
    lines.clear();
    (!text.is_empty()).then_some(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn description_is_above_or_after_the_option() {
        let descriptions = descriptions();
        let starts = |key: &str, text: &str| {
            assert!(
                descriptions.get(key).is_some_and(|description| description.starts_with(text)),
                "{key}: {descriptions:#?}"
            );
        };
        starts("losant.url", "The Device API.");
        starts("losant.connect_timeout", "How long a connection, and");
        starts("losant.request_timeout", "How long a connection, and");
        starts("device.*", "Peripherals: devices that");
        starts("bus.serial.*.data_bits", "5 to 8");
        starts("sensor.*.map.*.valid_min", "numbers outside");
        starts("sensor.*.topic", "an MQTT topic filter;");
    }

    #[test]
    fn general_key_has_no_chosen_names() {
        assert_eq!(general("sensor.boiler.map.0.channel"), "sensor.*.map.*.channel");
        assert_eq!(general("bus.serial.probe"), "bus.serial.*");
        assert_eq!(general("reporter.batch_age_max"), "reporter.batch_age_max");
    }
}
