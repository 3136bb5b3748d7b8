//! Templates that consist of texts and plain values only, such as `{{ topic[1] }}_v`.
//!
//! Most templates of sensors are of this kind. They need no engine.

use std::borrow::Cow;

/// The longest result in bytes. The engine renders longer ones, within its own limits.
const FILLED_BYTES_MAX: usize = 64 * 1024;

/// A value in the context of a template: a name, and the steps to a member, as in `payload.a[0]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ValuePath {
    /// The name in the context.
    pub name: String,
    /// The steps from there.
    pub steps: Vec<PathStep>,
}

/// A step into a value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PathStep {
    /// The member of a map with this key.
    Member(String),
    /// The item of a list. A negative index counts from the end.
    Index(i64),
}

/// A part of a template.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Part {
    Text(String),
    Value(ValuePath),
}

/// Returns whether a text has no marks of the language, so that its result is the text itself.
pub(super) fn is_plain(text: &str) -> bool {
    !["{{", "{%", "{#"].iter().any(|mark| text.contains(mark))
}

/// Returns the parts of a template. `None` if it is more than texts and plain values.
pub(super) fn parse(text: &str) -> Option<Vec<Part>> {
    let mut parts = Vec::new();
    let mut rest = text;
    while let Some((before, inner)) = rest.split_once("{{") {
        let (path, after) = inner.split_once("}}")?;
        if !before.is_empty() {
            parts.push(Part::Text(plain(before)?));
        }
        parts.push(Part::Value(path_of(path)?));
        rest = after;
    }
    if !rest.is_empty() {
        parts.push(Part::Text(plain(rest)?));
    }
    Some(parts)
}

/// Returns a text between the values. The engine reads line ends and braces in its own way.
fn plain(text: &str) -> Option<String> {
    (!text.contains(['{', '}', '\r', '\n'])).then(|| text.to_owned())
}

fn path_of(text: &str) -> Option<ValuePath> {
    let text = text.trim_matches(' ');
    let (name, mut rest) = split_word(text)?;
    let mut steps = Vec::new();
    while !rest.is_empty() {
        if let Some(member) = rest.strip_prefix('.') {
            let (member, after) = split_word(member)?;
            steps.push(PathStep::Member(member.to_owned()));
            rest = after;
        } else {
            let (inner, after) = rest.strip_prefix('[')?.split_once(']')?;
            steps.push(step_of(inner)?);
            rest = after;
        }
    }
    Some(ValuePath { name: name.to_owned(), steps })
}

/// Splits a text after its first word, which is ASCII and begins with no digit.
fn split_word(text: &str) -> Option<(&str, &str)> {
    let is_other = |letter: char| !letter.is_ascii_alphanumeric() && letter != '_';
    let (word, rest) = text.split_at(text.find(is_other).unwrap_or(text.len()));
    let is_word = word.starts_with(|letter: char| !letter.is_ascii_digit());
    is_word.then_some((word, rest))
}

/// Returns the step of the text between brackets: an index, or a key in quotes.
fn step_of(text: &str) -> Option<PathStep> {
    for quote in ['"', '\''] {
        if let Some(key) = text.strip_prefix(quote).and_then(|key| key.strip_suffix(quote)) {
            let is_simple = !key.contains(['"', '\'', '\\']);
            return is_simple.then(|| PathStep::Member(key.to_owned()));
        }
    }
    let digits = text.strip_prefix('-').unwrap_or(text);
    let is_index = (1..=9).contains(&digits.len())
        && digits.bytes().all(|digit| digit.is_ascii_digit())
        && (digits == "0" || !digits.starts_with('0'));
    is_index.then(|| text.parse().ok()).flatten().map(PathStep::Index)
}

/// Fills the parts with the texts of their values. `None` if a value is missing or has no text.
pub(super) fn fill<'a>(
    parts: &[Part],
    mut find: impl FnMut(&ValuePath) -> Option<Cow<'a, str>>,
) -> Option<Cow<'a, str>> {
    if let [Part::Value(path)] = parts {
        return find(path).filter(|text| text.len() <= FILLED_BYTES_MAX);
    }
    let mut filled = String::new();
    for part in parts {
        match part {
            Part::Text(text) => filled.push_str(text),
            Part::Value(path) => filled.push_str(&find(path)?),
        }
        if filled.len() > FILLED_BYTES_MAX {
            return None;
        }
    }
    Some(Cow::Owned(filled))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parses_texts_and_plain_values_only() {
        let member = |key: &str| PathStep::Member(key.to_owned());
        let value = |name: &str, steps: &[PathStep]| {
            Part::Value(ValuePath { name: name.to_owned(), steps: steps.to_vec() })
        };
        assert_eq!(parse("{{ payload.dev }}"), Some(vec![value("payload", &[member("dev")])]));
        let parts = [
            Part::Text("a_".to_owned()),
            value("topic", &[PathStep::Index(-1)]),
            Part::Text("-".to_owned()),
            value("payload", &[member("1-0:1.7.0"), PathStep::Index(0), member("b")]),
        ];
        assert_eq!(parse("a_{{topic[-1]}}-{{ payload['1-0:1.7.0'][0].b }}"), Some(parts.into()));
        for text in [
            "{{ a | lower }}",
            "{{ a + b }}",
            "{{- a }}",
            "{{ a",
            "{{ 1 }}",
            "{{ a.0 }}",
            "{{ a[01] }}",
            "{{ a[b] }}",
            "{{ 'a' }}",
            "{% if a %}{{ a }}{% endif %}",
            "{{ a }}\n",
            "{{ a('b') }}",
            "{{ é }}",
        ] {
            assert_eq!(parse(text), None, "{text}");
        }
    }

    #[test]
    fn long_results_are_left_to_the_engine() {
        let long = "x".repeat(FILLED_BYTES_MAX);
        let fill = |text: &str| {
            fill(&parse(text).unwrap(), |_| Some(Cow::Borrowed(&*long))).map(|text| text.len())
        };
        assert_eq!(fill("{{ a }}"), Some(FILLED_BYTES_MAX));
        assert_eq!(fill("{{ a }}b"), None);
    }
}
