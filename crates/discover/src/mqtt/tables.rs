//! Writes the findings as configuration tables.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

use super::shape::{Channel, Channels, DetectedFormat, ValueKind};
use super::topic_group::TopicGroup;
use tidegate_model::{DeviceId, Name};

/// The preset whose topics name the Losant device and whose channels are its attributes.
const LOSANT: &str = "losant";

/// The names of channels with the time of the measurement.
const TIME_NAMES: [&str; 8] =
    ["time", "timestamp", "ts", "gwts", "Time", "Timestamp", "epoch", "datetime"];

/// 2001 to 2286, in seconds since 1970.
const SECONDS_RANGE: std::ops::Range<f64> = 1e9..1e10;

/// The same, in milliseconds.
const MILLISECONDS_RANGE: std::ops::Range<f64> = 1e12..1e13;

/// The longest name that is derived from a topic, in characters.
const NAME_CHARACTERS_MAX: usize = 48;

/// The most sensors whose names differ only in a number.
const SAME_NAMES_MAX: usize = 10_000;

/// The most characters of a level that are replaced.
const ODD_LETTERS_MAX: usize = 4;

/// Writes the tables `[sensor.…]`, and `[device.…]` for topics that name devices.
///
/// The sensors get other names than those in `taken`.
pub fn sensors(bus: &Name, topic_groups: &[TopicGroup], mut taken: BTreeSet<String>) -> String {
    let mut page = String::new();
    let named: Vec<_> =
        topic_groups.iter().map(|group| (sensor_name(group, &mut taken), group)).collect();
    let mut uses: BTreeMap<String, usize> = BTreeMap::new();
    for (_, group) in &named {
        let own: BTreeSet<_> =
            reported(group).map(|channel| attribute(group, &channel.name)).collect();
        for attribute in own {
            *uses.entry(attribute).or_default() += 1;
        }
    }
    for (name, group) in named {
        if !page.is_empty() {
            page.push('\n');
        }
        // Writing to a String cannot fail.
        write_sensor(&mut page, bus, &name, group, &uses).unwrap_or_default();
    }
    page
}

fn write_sensor(
    page: &mut String,
    bus: &Name,
    name: &str,
    group: &TopicGroup,
    uses: &BTreeMap<String, usize>,
) -> std::fmt::Result {
    if let Some(preset) = group.preset {
        writeln!(page, "# {}: see the example presets/{}.", preset.product, preset.example_file)?;
    }
    let is_losant = name == LOSANT && group.preset.is_some();
    if is_losant {
        for id in group.words_at(1).into_iter().filter(|id| id.parse::<DeviceId>().is_ok()) {
            writeln!(page, "[device.{id}]\nid = \"{id}\"\n")?;
        }
    }
    writeln!(page, "[sensor.{name}]\nbus = {}", quoted(bus))?;
    writeln!(page, "topic = {}", quoted(&group.filter()))?;
    page.push_str(&group.format.keys().unwrap_or_default());
    if is_losant {
        writeln!(page, "device = \"{{{{ topic[1] }}}}\"")?;
    }
    if group.preset.is_some_and(|preset| preset.retained) {
        writeln!(page, "retained = true")?;
    }
    match time(group) {
        Some((channel, Some(format))) => {
            let channel = quoted(&channel.name);
            writeln!(page, "time = {{ channel = {channel}, format = \"{format}\" }}")?;
        }
        Some((channel, None)) => {
            writeln!(page, "# its time, {}, has no zone: see time and zone", channel.example)?;
        }
        None => {}
    }
    writeln!(page, "map = [")?;
    let mut known = BTreeSet::new();
    for channel in reported(group) {
        let mut attribute = attribute(group, &channel.name);
        if uses.get(&attribute).is_some_and(|uses| *uses > 1) && !is_losant {
            attribute = format!("{}_{attribute}", name.replace('-', "_"));
        }
        page.push_str(&entry(channel, &unlike(attribute, &mut known)));
    }
    writeln!(page, "]")
}

/// Writes one map entry a line, with attributes named like the channels.
pub(crate) fn map_entries(channels: &Channels) -> String {
    let mut known = BTreeSet::new();
    let attribute = |channel: &Channel| slug(&channel.name);
    channels.iter().map(|one| entry(one, &unlike(attribute(one), &mut known))).collect()
}

fn entry(channel: &Channel, attribute: &str) -> String {
    let (of, to) = (quoted(&channel.name), quoted(attribute));
    let (kind, example) = (channel.kind.word(), &channel.example);
    let example = if example.is_empty() { "an empty text" } else { example };
    let typed = if channel.kind == ValueKind::Measurement { ", type = \"number\"" } else { "" };
    format!("  {{ channel = {of}, attribute = {to}{typed} }},  # {kind}, such as {example}\n")
}

/// Returns the reported channels: all except the time.
fn reported(group: &TopicGroup) -> impl Iterator<Item = &Channel> {
    let time = time(group).map(|(channel, _)| channel.name.as_str());
    group.channels.iter().filter(move |channel| Some(channel.name.as_str()) != time)
}

/// Returns the channel with the time of the measurement, and its format if it is unambiguous.
fn time(group: &TopicGroup) -> Option<(&Channel, Option<&'static str>)> {
    let mut named = group.channels.iter().filter(|one| TIME_NAMES.contains(&one.name.as_str()));
    named.find_map(|channel| {
        let notation = time_notation(channel);
        let is_date = channel.example.parse::<jiff::civil::DateTime>().is_ok();
        (notation.is_some() || is_date).then_some((channel, notation))
    })
}

fn time_notation(channel: &Channel) -> Option<&'static str> {
    if channel.kind == ValueKind::Text {
        return channel.example.parse::<jiff::Timestamp>().is_ok().then_some("rfc3339");
    }
    let number: f64 = channel.example.parse().ok()?;
    match number {
        number if SECONDS_RANGE.contains(&number) => Some("s"),
        number if MILLISECONDS_RANGE.contains(&number) => Some("ms"),
        _ => None,
    }
}

/// What a value is called in Losant: after the levels in which the topics differ, and its channel.
fn attribute(group: &TopicGroup, channel: &str) -> String {
    if group.preset.is_some_and(|preset| preset.sensor == LOSANT) {
        return slug(channel.strip_prefix("/data").unwrap_or(channel));
    }
    let mut words: Vec<_> =
        group.wildcards().map(|level| placeholder(level, &group.words_at(level))).collect();
    match (group.format, group.levels.last()) {
        (DetectedFormat::Text, Some(last))
            if last != "+" && !(group.preset.is_some() && last == "state") =>
        {
            words.push(slug(last));
        }
        // house/kitchen/+ is of the kitchen.
        (DetectedFormat::Text, _) if group.preset.is_none() => {
            let literal = group.levels.iter().rev().find(|level| *level != "+");
            words.splice(0..0, literal.map(|level| slug(level)));
        }
        (DetectedFormat::Text, _) => {}
        (_, _) => words.push(slug(channel)),
    }
    words.join("_")
}

/// The level in a template, without the characters that no attribute's name may hold.
fn placeholder(level: usize, words: &BTreeSet<&str>) -> String {
    let mut odd = BTreeSet::new();
    for word in words {
        odd.extend(word.chars().filter(|letter| !is_allowed(*letter)));
    }
    // A backslash or a quote would need an escape in the template. The daemon rejects such a topic
    // and logs it.
    let odd = odd.into_iter().filter(|letter| !letter.is_control() && !"'\\\"{}".contains(*letter));
    let mut placeholder = format!("{{{{ topic[{level}]");
    for letter in odd.take(ODD_LETTERS_MAX) {
        let instead = if letter == ':' { "" } else { "_" };
        for part in [" | replace('", letter.encode_utf8(&mut [0; 4]), "', '", instead, "')"] {
            placeholder.push_str(part);
        }
    }
    placeholder + " }}"
}

/// A name for the sensor, unlike those before it.
fn sensor_name(group: &TopicGroup, taken: &mut BTreeSet<String>) -> String {
    let own = || {
        let words = group.levels.iter().filter(|level| *level != "+").map(|level| slug(level));
        let words: Vec<_> = words.filter(|word| word != "value").collect();
        words.join("-").to_lowercase().chars().take(NAME_CHARACTERS_MAX).collect()
    };
    let name: String = group.preset.map_or_else(own, |preset| preset.sensor.to_owned());
    let name = if name.is_empty() { "sensor".to_owned() } else { name };
    unlike(name, taken)
}

/// The name, with a number behind it if it is taken.
fn unlike(name: String, taken: &mut BTreeSet<String>) -> String {
    let others = (2..SAME_NAMES_MAX).map(|number| format!("{name}-{number}"));
    let free = [name.clone()].into_iter().chain(others).find(|name| !taken.contains(name));
    let free = free.unwrap_or(name);
    taken.insert(free.clone());
    free
}

/// A text with only what a name of an attribute may hold (schema `deviceState`).
fn slug(text: &str) -> String {
    let letters = text.chars().map(|letter| if is_allowed(letter) { letter } else { '_' });
    let slug: String = letters.take(NAME_CHARACTERS_MAX).collect();
    let slug = slug.trim_matches('_');
    if slug.is_empty() { "value".to_owned() } else { slug.to_owned() }
}

fn is_allowed(letter: char) -> bool {
    letter.is_ascii_alphanumeric() || matches!(letter, '_' | '-')
}

/// A text as TOML writes it, on one line.
pub fn quoted(text: &str) -> String {
    toml::Value::from(text.replace(['\n', '\r'], " ")).to_string()
}
