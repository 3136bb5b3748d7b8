//! What the checks know about each option: its value, its default and its allowed values.

use std::collections::BTreeMap;

use serde_json::Value;

/// The value, the default and the allowed values of one option.
#[derive(Debug, Default)]
pub(super) struct OptionInfo {
    /// The effective value.
    pub(super) value: Option<Value>,
    /// The default.
    pub(super) default: Option<Value>,
    /// The smallest and the largest value, as it would be written.
    pub(super) range: Option<(Value, Value)>,
    /// The allowed values of a choice; empty for other kinds of values.
    pub(super) choices: Vec<String>,
}

/// The information about options, by key.
#[derive(Debug, Default)]
pub(super) struct OptionInfos(BTreeMap<String, OptionInfo>);

impl OptionInfos {
    /// Returns the information about a key; empty at first.
    pub(super) fn entry(&mut self, key: &str) -> &mut OptionInfo {
        self.0.entry(key.to_owned()).or_default()
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (&String, &OptionInfo)> {
        self.0.iter()
    }

    pub(super) fn into_iter(self) -> impl Iterator<Item = (String, OptionInfo)> {
        self.0.into_iter()
    }
}

/// Returns a value as a file would contain it: a number, or else a text.
pub(super) fn written(text: String) -> Value {
    text.parse::<serde_json::Number>().map_or(Value::String(text), Value::Number)
}
