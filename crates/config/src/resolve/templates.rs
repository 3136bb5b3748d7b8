//! What can be known about templates before the first message: names that no message has, levels
//! that no topic has, and JSON that no device can read.

use std::sync::LazyLock;

use regex::Regex;

use crate::check::Check;
use crate::suggest::most_similar_above;
use tidegate_commands::arguments::{ArgumentKind, Arguments};

/// The variables of the templates of a sensor, besides the channels.
const SENSOR_VARIABLES: [&str; 4] = ["topic", "payload", "written", "channel"];

/// The variables of the templates of an actuator.
const ACTUATOR_VARIABLES: [&str; 4] = ["payload", "name", "time", "device"];

/// The similarity of a variable to a known one above which it is a mistake, 0 to 1. A message can
/// have members of any name.
const LIKENESS_MIN: f64 = 0.9;

/// An index of the topic, such as `topic[2]` or `topic[-1]`; not that of a member `x.topic`.
static TOPIC_INDEX: LazyLock<Option<Regex>> =
    LazyLock::new(|| Regex::new(r"(?:^|[^.\w])topic\s*\[\s*(-?\d{1,9})\s*\]").ok());

/// What the templates of a sensor can use.
#[derive(Clone, Copy)]
pub(super) struct SensorScope<'a> {
    /// The channels of the format; `None` if a message can have any.
    pub(super) channels: Option<&'a [String]>,
    /// The number of levels of the topic; `None` for any number.
    pub(super) levels: Option<usize>,
    /// Whether the messages have topics.
    pub(super) has_topics: bool,
}

/// Reports what a template or an expression of a sensor uses and can never get.
pub(super) fn check_sensor(
    key: &str,
    text: &str,
    variables: &[String],
    scope: SensorScope<'_>,
    check: &mut Check<'_>,
) {
    let channels = scope.channels.unwrap_or_default();
    let known = || SENSOR_VARIABLES.into_iter().chain(channels.iter().map(String::as_str));
    for name in variables.iter().filter(|name| !known().any(|known| known == *name)) {
        let meant = most_similar_above(LIKENESS_MIN, name, SENSOR_VARIABLES);
        let fix = match (meant, scope.channels) {
            (Some(meant), _) => format!("did you mean \"{meant}\"?"),
            (None, Some(_)) => {
                format!("use one of {}", known().collect::<Vec<_>>().join(", "))
            }
            (None, None) => continue,
        };
        check.problems.add(key, format!("there is no variable \"{name}\""), fix);
    }
    check_levels(key, text, scope, check);
}

fn check_levels(key: &str, text: &str, scope: SensorScope<'_>, check: &mut Check<'_>) {
    let Some(pattern) = TOPIC_INDEX.as_ref() else { return };
    for found in pattern.captures_iter(text) {
        let Some(index) = found.get(1).and_then(|index| index.as_str().parse::<i64>().ok()) else {
            continue;
        };
        if !scope.has_topics {
            let what = format!("topic[{index}] does not exist: messages of this bus have no topic");
            return check.problems.add(key, what, "write a name, or take it from the message");
        }
        let Some(levels) = scope.levels else { continue };
        let count = i64::try_from(levels).unwrap_or(i64::MAX);
        if (-count..count).contains(&index) {
            continue;
        }
        let s = if levels == 1 { "" } else { "s" };
        let what = format!("topic[{index}] does not exist: the topic has {levels} level{s}");
        let fix = format!("use topic[0] to topic[{}], or topic[-1] for the last", levels - 1);
        check.problems.add(key, what, fix);
    }
}

/// Reports the variables that no template of an actuator has.
pub(super) fn check_actuator(key: &str, variables: &[String], check: &mut Check<'_>) {
    for name in variables.iter().filter(|name| !ACTUATOR_VARIABLES.contains(&name.as_str())) {
        let fix = match most_similar_above(0.75, name, ACTUATOR_VARIABLES) {
            Some(meant) => format!("did you mean \"{meant}\"?"),
            None => format!("a member of the payload is payload.{name}"),
        };
        check.problems.add(key, format!("there is no variable \"{name}\""), fix);
    }
}

/// Reports a JSON template that puts a member of the payload between quotes. A text with a quote in
/// it would end the text, and could add members of its own.
pub(super) fn check_json(key: &str, text: &str, arguments: &Arguments, check: &mut Check<'_>) {
    if !looks_like_json(text) {
        return;
    }
    for block in blocks_in_texts(text) {
        if !block.contains("payload") || is_harmless(block, arguments) {
            continue;
        }
        let source = block.split('|').next().unwrap_or_default().trim();
        let what = if block.contains("tojson") {
            format!("{{{{ {block} }}}} is between quotes, and tojson writes quotes of its own")
        } else {
            format!("{{{{ {block} }}}} is between quotes; a text with a quote breaks the JSON")
        };
        let fix = format!("write it without quotes around it: {{{{ {source} | tojson }}}}");
        check.problems.add(key, what, fix);
    }
}

fn looks_like_json(text: &str) -> bool {
    let text = text.trim_start();
    let is_object = text.starts_with('{') && !text.starts_with("{{") && !text.starts_with("{%");
    (is_object && !text.starts_with("{#")) || text.starts_with("[{") || text.starts_with("[\"")
}

/// Returns the expressions of the blocks `{{ … }}` that are inside a JSON text.
fn blocks_in_texts(text: &str) -> Vec<&str> {
    let (mut blocks, mut is_text, mut rest) = (Vec::new(), false, text);
    while let Some(first) = rest.chars().next() {
        let (open, close) = match rest.get(..2) {
            Some("{{") => ("{{", "}}"),
            Some("{%") => ("{%", "%}"),
            _ => ("", ""),
        };
        if open.is_empty() {
            let is_escape = is_text && first == '\\';
            if first == '"' {
                is_text = !is_text;
            }
            let skipped =
                rest.chars().take(if is_escape { 2 } else { 1 }).map(char::len_utf8).sum();
            rest = rest.get(skipped..).unwrap_or_default();
            continue;
        }
        // A closing `}}` of nested objects in an expression does not matter for a guess.
        let Some(end) = rest.find(close) else { break };
        if is_text && open == "{{" {
            let block = rest.get(2..end).unwrap_or_default();
            blocks.push(block.trim_matches('-').trim());
        }
        rest = rest.get(end + 2..).unwrap_or_default();
    }
    blocks
}

/// Returns whether a block is a declared argument that contains no quote.
fn is_harmless(block: &str, arguments: &Arguments) -> bool {
    let Some(name) = block.strip_prefix("payload.") else { return false };
    let name: String =
        name.chars().take_while(|one| one.is_alphanumeric() || *one == '_').collect();
    match arguments.kind(&name) {
        Some(ArgumentKind::Boolean | ArgumentKind::Number { .. }) => true,
        Some(ArgumentKind::Choice(choices)) => {
            !block.contains("tojson") && choices.iter().all(|one| !one.contains(['"', '\\']))
        }
        Some(ArgumentKind::Text { .. }) | None => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blocks_between_quotes_are_found() {
        for (text, expected) in [
            (r#"{"a": "{{ payload.a }}"}"#, &["payload.a"][..]),
            (r#"{"a": {{ payload.a | tojson }}}"#, &[]),
            (r#"{"a": {{ payload.a }}, "b": "x {{ payload.b }} y"}"#, &["payload.b"]),
            (r#"{"a \" b": {{ payload.a }}}"#, &[]),
            (r#"{"a": "{% if payload.a %}on{% else %}off{% endif %}"}"#, &[]),
            (r#"{"a": "{{- payload['a b'] -}}"}"#, &["payload['a b']"]),
            (r#"{"é": "{{ payload.é }}"}"#, &["payload.é"]),
        ] {
            assert_eq!(blocks_in_texts(text), expected, "{text}");
        }
        assert!(looks_like_json(" {\"a\": 1}"));
        assert!(!looks_like_json("{{ payload.a }}"));
        assert!(!looks_like_json("FAN \"{{ payload.a }}\""));
    }

    #[test]
    fn indexes_of_the_topic_are_found() {
        let pattern = TOPIC_INDEX.as_ref().unwrap();
        let found = |text: &str| -> Vec<String> {
            pattern.captures_iter(text).map(|one| one[1].to_owned()).collect()
        };
        assert_eq!(found("{{topic[5]}}_{{ topic [ -2 ] }}"), ["5", "-2"]);
        assert_eq!(found("{{ payload.topic[5] }} {{ mytopic[1] }}"), [""; 0]);
    }
}
