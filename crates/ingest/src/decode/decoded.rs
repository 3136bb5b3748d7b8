//! A decoded message: named channels with their values.

use std::collections::BTreeMap;

use serde::{Serialize, Serializer};

use tidegate_model::{Value, ValueError};

/// The channels of a message by their names.
pub(super) type ChannelMap = BTreeMap<String, Result<Value, ValueError>>;

/// A decoded message.
#[derive(Debug, Clone, PartialEq)]
pub struct Decoded {
    channels: Channels,
    original_texts: BTreeMap<String, String>,
}

#[derive(Debug, Clone, PartialEq)]
enum Channels {
    Map(ChannelMap),
    Json(serde_json::Value),
}

/// Creates a message whose values need no original text.
impl From<ChannelMap> for Decoded {
    fn from(channels: ChannelMap) -> Self {
        Self { channels: Channels::Map(channels), original_texts: BTreeMap::new() }
    }
}

impl Decoded {
    pub(super) fn json(document: serde_json::Value) -> Self {
        Self { channels: Channels::Json(document), original_texts: BTreeMap::new() }
    }

    /// Returns the original texts of channels whose value differs from it.
    ///
    /// An example is `0012` for the number 12, or `nan` for a channel without a value.
    pub fn original_texts(&self) -> &BTreeMap<String, String> {
        &self.original_texts
    }

    /// Returns the value of a channel; `None` if the message has no such channel.
    ///
    /// # Errors
    /// If the channel has no valid [`Value`]: a NaN, a JSON list, a text that is too long.
    pub fn channel(&self, name: &str) -> Option<Result<Value, ValueError>> {
        match &self.channels {
            Channels::Map(channels) => channels.get(name).cloned(),
            Channels::Json(document) => find(document, name).map(Value::try_from),
        }
    }

    /// Returns whether the message has the channel with a JSON null.
    pub fn is_null(&self, name: &str) -> bool {
        match &self.channels {
            Channels::Map(_) => false,
            Channels::Json(document) => {
                find(document, name).is_some_and(serde_json::Value::is_null)
            }
        }
    }

    /// Returns the names of all channels; for JSON, the keys at the top level.
    pub fn names(&self) -> Vec<&str> {
        match &self.channels {
            Channels::Map(channels) => channels.keys().map(String::as_str).collect(),
            Channels::Json(document) => document
                .as_object()
                .map(|object| object.keys().map(String::as_str).collect())
                .unwrap_or_default(),
        }
    }
}

fn find<'a>(document: &'a serde_json::Value, name: &str) -> Option<&'a serde_json::Value> {
    let is_pointer = name.is_empty() || name.starts_with('/');
    if is_pointer { document.pointer(name) } else { document.get(name) }
}

/// Writes the channels that have a value, for templates and expressions.
impl Serialize for Decoded {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match &self.channels {
            Channels::Json(document) => document.serialize(serializer),
            Channels::Map(channels) => {
                let valid =
                    channels.iter().filter_map(|(name, value)| Some((name, value.as_ref().ok()?)));
                serializer.collect_map(valid)
            }
        }
    }
}

/// Builds a message from the texts of its channels.
#[derive(Default)]
pub(super) struct DecodedBuilder {
    channels: ChannelMap,
    original_texts: BTreeMap<String, String>,
}

impl DecodedBuilder {
    /// Adds a channel with a text that may be a number; returns `false` for a duplicate.
    pub(super) fn add_word(&mut self, name: &str, word: &str) -> bool {
        let value = Value::parse_word(word);
        let shows_word = match &value {
            Ok(Value::Integer(integer)) => integer.to_string() == word,
            Ok(Value::Float(number)) => number.to_string() == word,
            Ok(Value::Boolean(_) | Value::Text(_)) | Err(ValueError::TextTooLong) => true,
            Err(ValueError::NotFinite | ValueError::NotScalar) => false,
        };
        if !shows_word {
            self.original_texts.insert(name.to_owned(), word.to_owned());
        }
        self.add_value(name, value)
    }

    /// Adds a channel with a text that is not a number; returns `false` for a duplicate.
    pub(super) fn add_text(&mut self, name: &str, text: &str) -> bool {
        self.add_value(name, Value::text(text))
    }

    fn add_value(&mut self, name: &str, value: Result<Value, ValueError>) -> bool {
        self.channels.insert(name.to_owned(), value).is_none()
    }

    pub(super) fn build(self) -> Decoded {
        Decoded { channels: Channels::Map(self.channels), original_texts: self.original_texts }
    }
}
