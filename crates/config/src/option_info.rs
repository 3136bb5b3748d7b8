//! What the checks know about the options that they look at: what is assumed, and what is allowed.

use std::collections::BTreeMap;

use serde_json::Value;

/// What is known about one option.
#[derive(Debug, Default)]
pub(super) struct Note {
    /// What the daemon goes by, whether it is written or assumed.
    pub(super) value: Option<Value>,
    /// What it assumes where nothing is written.
    pub(super) default: Option<Value>,
    /// The smallest and the largest value, as it would be written.
    pub(super) range: Option<(Value, Value)>,
    /// The words to choose from, if it is one of a few.
    pub(super) words: Vec<String>,
}

/// Notes by key.
#[derive(Debug, Default)]
pub(super) struct Notes(BTreeMap<String, Note>);

impl Notes {
    /// The note for a key.
    pub(super) fn of(&mut self, key: &str) -> &mut Note {
        self.0.entry(key.to_owned()).or_default()
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (&String, &Note)> {
        self.0.iter()
    }

    pub(super) fn into_iter(self) -> impl Iterator<Item = (String, Note)> {
        self.0.into_iter()
    }
}

/// A value as it stands in a file: a number if it is one, else a text.
pub(super) fn written(text: String) -> Value {
    text.parse::<serde_json::Number>().map_or(Value::String(text), Value::Number)
}
