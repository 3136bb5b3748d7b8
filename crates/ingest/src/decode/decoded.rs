//! A decoded message: named channels with their values.

use std::borrow::Cow;
use std::collections::BTreeMap;

use minijinja::value::Serde;
use serde::{Serialize, Serializer};

use super::error::DecodeError;
use super::json_value::JsonValue;
use crate::word::{NoneValues, NumberStyle, WordRules};
use tidegate_model::{Value, ValueError};
use tidegate_template::PathStep;

/// The channels of a message by their names.
pub(super) type ChannelMap = BTreeMap<String, Result<Value, ValueError>>;

/// A decoded message.
#[derive(Debug, Clone, PartialEq)]
pub struct Decoded {
    channels: Channels,
    original_texts: BTreeMap<String, String>,
    /// The channels by their other names.
    aliases: BTreeMap<String, String>,
    losses: Vec<DecodeError>,
    /// Whether some bytes were not UTF-8.
    is_lossy: bool,
    /// A JSON document with texts in place of its numbers and booleans, as they stood there.
    json_words: Option<JsonValue>,
}

#[derive(Debug, Clone, PartialEq)]
enum Channels {
    Map(ChannelMap),
    Json(JsonValue),
}

/// Creates a message whose values need no original text.
impl From<ChannelMap> for Decoded {
    fn from(channels: ChannelMap) -> Self {
        Self::new(Channels::Map(channels), BTreeMap::new())
    }
}

impl Decoded {
    /// Creates a message from a JSON document. `words` is the same document with texts in place of
    /// its numbers and booleans, if the sensor needs their notation.
    pub(super) fn json(document: JsonValue, words: Option<JsonValue>) -> Self {
        Self { json_words: words, ..Self::new(Channels::Json(document), BTreeMap::new()) }
    }

    fn new(channels: Channels, original_texts: BTreeMap<String, String>) -> Self {
        Self {
            channels,
            original_texts,
            aliases: BTreeMap::new(),
            losses: Vec::new(),
            is_lossy: false,
            json_words: None,
        }
    }

    /// Adds the reasons for which other parts of the payload were rejected.
    pub(super) fn add_losses(&mut self, losses: impl IntoIterator<Item = DecodeError>) {
        self.losses.extend(losses);
    }

    /// Returns the reasons for which other parts of the payload were rejected, such as a damaged
    /// sentence beside this one. Each counts as one reading.
    pub fn losses(&self) -> &[DecodeError] {
        &self.losses
    }

    /// Returns the original texts of channels whose value differs from it.
    ///
    /// An example is `0012` for the number 12, or `nan` for a channel without a value.
    pub fn original_texts(&self) -> &BTreeMap<String, String> {
        &self.original_texts
    }

    /// Returns whether some bytes of the message were not UTF-8. U+FFFD stands for them.
    pub(crate) fn is_lossy(&self) -> bool {
        self.is_lossy
    }

    /// Marks the message as one whose bytes were not all UTF-8. A number with an unknown unit, such
    /// as the degree sign of Latin-1, becomes a number.
    pub(super) fn set_lossy(&mut self, numbers: NumberStyle) {
        self.is_lossy = true;
        let number = |text: &str| numbers.number_with_unit(text.trim());
        match &mut self.channels {
            Channels::Json(document) => document.change_scalars(&|scalar| {
                let JsonValue::Text(text) = scalar else { return };
                match number(text).filter(|_| text.contains(char::REPLACEMENT_CHARACTER)) {
                    Some(Value::Integer(integer)) => *scalar = JsonValue::Integer(integer),
                    Some(Value::Float(number)) => *scalar = JsonValue::Float(number),
                    Some(Value::Boolean(_) | Value::Text(_)) | None => {}
                }
            }),
            Channels::Map(channels) => {
                for (name, value) in channels.iter_mut() {
                    let Ok(Value::Text(text)) = value else { continue };
                    let Some(number) =
                        number(text).filter(|_| text.contains(char::REPLACEMENT_CHARACTER))
                    else {
                        continue;
                    };
                    self.original_texts.insert(name.clone(), std::mem::take(text));
                    *value = Ok(number);
                }
            }
        }
    }

    /// Returns the name of a channel that has another name.
    fn name_of<'a>(&'a self, name: &'a str) -> &'a str {
        self.aliases.get(name).map_or(name, String::as_str)
    }

    /// Returns the value of a channel; `None` if the message has no such channel.
    ///
    /// # Errors
    /// If the channel has no valid [`Value`]: a NaN, a JSON list, a text that is too long.
    pub fn channel(&self, name: &str) -> Option<Result<Value, ValueError>> {
        match &self.channels {
            Channels::Map(channels) => channels.get(self.name_of(name)).cloned(),
            Channels::Json(document) => find(document, name).map(Value::try_from),
        }
    }

    /// Returns the value of a channel as a mapping reads it; `None` if the message has no such
    /// channel.
    ///
    /// # Errors
    /// If the channel has no valid [`Value`], stands for no value, or has another type than the
    /// mapping declares.
    pub fn read(&self, name: &str, rules: &WordRules) -> Option<Result<Value, ValueError>> {
        let value = self.channel(name)?;
        if rules.word_type.is_none() && rules.none_values.is_empty() {
            return Some(value);
        }
        Some(rules.read(value, self.written(name).as_deref()))
    }

    /// Removes the values that stand for none. The channel stays, without a value.
    pub(super) fn remove_none(&mut self, none_values: &NoneValues, numbers: NumberStyle) {
        match &mut self.channels {
            Channels::Json(document) => document.remove_scalars(&|scalar| {
                let value = Value::try_from(scalar).ok();
                none_values.contain(json_text(scalar).as_deref(), value.as_ref(), numbers)
            }),
            Channels::Map(channels) => {
                for (name, value) in channels.iter_mut() {
                    let original = self.original_texts.get(name).map(Cow::from);
                    let word = original.or_else(|| value_text(value.as_ref().ok()?));
                    if none_values.contain(word.as_deref(), value.as_ref().ok(), numbers) {
                        if let Some(word) = word.map(Cow::into_owned) {
                            self.original_texts.insert(name.clone(), word);
                        }
                        *value = Err(ValueError::NoValue);
                    }
                }
            }
        }
    }

    /// Returns the text of a channel as it stood in the message. A value that was no text there,
    /// such as a binary number, is written in JSON. `None` for a null, a list or an object.
    pub fn written(&self, name: &str) -> Option<Cow<'_, str>> {
        match &self.channels {
            Channels::Json(document) => {
                find(self.json_words.as_ref().unwrap_or(document), name).and_then(json_text)
            }
            Channels::Map(channels) => {
                let name = self.name_of(name);
                match self.original_texts.get(name) {
                    Some(original) => Some(Cow::Borrowed(original)),
                    None => value_text(channels.get(name)?.as_ref().ok()?),
                }
            }
        }
    }

    /// Returns the texts of all channels as they stood in the message, for the engine.
    pub(crate) fn all_written(&self) -> minijinja::Value {
        match (&self.channels, &self.json_words) {
            (Channels::Json(_), Some(words)) => minijinja::Value::from(Serde(words)),
            (Channels::Json(document), None) => {
                minijinja::Value::from(Serde(document.with_texts()))
            }
            (Channels::Map(channels), _) => {
                let names = channels.keys().chain(self.aliases.keys());
                let texts = names.filter_map(|name| {
                    Some((name.clone(), minijinja::Value::from(self.written(name)?)))
                });
                texts.collect::<BTreeMap<_, _>>().into()
            }
        }
    }

    /// Returns whether the message has the channel with a JSON null.
    pub fn is_null(&self, name: &str) -> bool {
        match &self.channels {
            Channels::Map(_) => false,
            Channels::Json(document) => {
                matches!(find(document, name), Some(JsonValue::Null))
            }
        }
    }

    /// Returns the names of all channels; for JSON, the keys at the top level.
    pub fn names(&self) -> Vec<&str> {
        match &self.channels {
            Channels::Map(channels) => channels.keys().map(String::as_str).collect(),
            Channels::Json(document) => {
                document.as_object().map(|object| object.names().collect()).unwrap_or_default()
            }
        }
    }

    /// Returns whether the message is a map from names to values.
    pub(crate) fn is_map(&self) -> bool {
        match &self.channels {
            Channels::Map(_) => true,
            Channels::Json(document) => document.as_object().is_some(),
        }
    }

    /// Returns the text that a template writes for a value of the message: the original text of a
    /// whole number, and else that of the value. `None` if only the engine can tell.
    pub(crate) fn text_at(&self, steps: &[PathStep]) -> Option<Cow<'_, str>> {
        match &self.channels {
            Channels::Json(document) => json_text(steps.iter().try_fold(document, json_step)?),
            Channels::Map(_) => match steps {
                [PathStep::Member(name)] => self.text_of(name),
                _ => None,
            },
        }
    }

    /// Returns the text that a template writes for a channel, as [`Self::text_at`] does.
    pub(crate) fn text_of(&self, name: &str) -> Option<Cow<'_, str>> {
        match &self.channels {
            Channels::Json(document) => json_text(document.as_object()?.get(name)?),
            Channels::Map(channels) => {
                let name = self.name_of(name);
                if let Some(original) = self.original_texts.get(name).filter(|text| is_whole(text))
                {
                    return Some(Cow::Borrowed(original));
                }
                value_text(channels.get(name)?.as_ref().ok()?)
            }
        }
    }

    /// Returns the value of a name at the top level, for the engine.
    pub(crate) fn member(&self, name: &str) -> Option<minijinja::Value> {
        match &self.channels {
            Channels::Json(document) => {
                document.as_object()?.get(name).map(|value| minijinja::Value::from(Serde(value)))
            }
            Channels::Map(channels) => {
                let value = channels.get(self.name_of(name))?.as_ref().ok()?;
                Some(minijinja::Value::from(Serde(value)))
            }
        }
    }
}

/// Returns whether a template writes an original text in place of its value: a name such as `0012`
/// or `12E4`, but not `1.50`.
pub(crate) fn is_whole(original: &str) -> bool {
    !original.contains('.')
}

fn find<'a>(document: &'a JsonValue, name: &str) -> Option<&'a JsonValue> {
    let is_pointer = name.is_empty() || name.starts_with('/');
    if is_pointer { document.pointer(name) } else { document.as_object()?.get(name) }
}

fn value_text(value: &Value) -> Option<Cow<'_, str>> {
    match value {
        Value::Text(text) => Some(Cow::Borrowed(text)),
        Value::Integer(_) | Value::Float(_) | Value::Boolean(_) => {
            serde_json::to_string(value).ok().map(Cow::Owned)
        }
    }
}

fn json_step<'a>(value: &'a JsonValue, step: &PathStep) -> Option<&'a JsonValue> {
    match (value, step) {
        (JsonValue::Object(object), PathStep::Member(name)) => object.get(name),
        (JsonValue::List(items), PathStep::Index(index)) => {
            items.get(usize::try_from(*index).ok()?)
        }
        (_, _) => None,
    }
}

fn json_text(value: &JsonValue) -> Option<Cow<'_, str>> {
    match value {
        JsonValue::Text(text) => Some(Cow::Borrowed(text)),
        JsonValue::Boolean(_)
        | JsonValue::Integer(_)
        | JsonValue::Unsigned(_)
        | JsonValue::Float(_) => serde_json::to_string(value).ok().map(Cow::Owned),
        JsonValue::Null | JsonValue::List(_) | JsonValue::Object(_) => None,
    }
}

/// Writes the channels that have a value, for templates and expressions.
impl Serialize for Decoded {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match &self.channels {
            Channels::Json(document) => document.serialize(serializer),
            Channels::Map(channels) => {
                let valid =
                    channels.iter().filter_map(|(name, value)| Some((name, value.as_ref().ok()?)));
                let aliases = self.aliases.iter();
                let aliases = aliases
                    .filter_map(|(alias, name)| Some((alias, channels.get(name)?.as_ref().ok()?)));
                serializer.collect_map(valid.chain(aliases))
            }
        }
    }
}

/// Builds a message from the texts of its channels.
#[derive(Default)]
pub(super) struct DecodedBuilder {
    channels: ChannelMap,
    original_texts: BTreeMap<String, String>,
    aliases: BTreeMap<String, String>,
    losses: Vec<DecodeError>,
    numbers: NumberStyle,
}

impl DecodedBuilder {
    /// Creates a message without channels, whose numbers have this notation.
    pub(super) fn new(numbers: NumberStyle) -> Self {
        Self { numbers, ..Self::default() }
    }

    /// Adds a channel with a text that may be a number; returns `false` for a duplicate.
    pub(super) fn add_word(&mut self, name: &str, word: &str) -> bool {
        let value = self.numbers.parse_word(word);
        let shows_word = match &value {
            Ok(Value::Integer(integer)) => integer.to_string() == word,
            Ok(Value::Float(number)) => number.to_string() == word,
            Ok(Value::Boolean(_)) | Err(ValueError::TextTooLong) => true,
            Ok(Value::Text(text)) => text == word,
            Err(_) => false,
        };
        if shows_word {
            self.original_texts.remove(name);
        } else {
            self.original_texts.insert(name.to_owned(), word.to_owned());
        }
        self.add_value(name, value)
    }

    /// Adds a channel with a field of a line; a blank one has no value. Returns `false` for a
    /// duplicate.
    pub(super) fn add_field(&mut self, name: &str, field: &str) -> bool {
        match field.trim() {
            "" => self.add_nothing(name),
            word => self.add_word(name, word),
        }
    }

    /// Adds a channel with a text that is not a number; returns `false` for a duplicate.
    pub(super) fn add_text(&mut self, name: &str, text: &str) -> bool {
        self.add_value(name, Value::text(text))
    }

    /// Adds a channel without a value; returns `false` for a duplicate.
    pub(super) fn add_nothing(&mut self, name: &str) -> bool {
        self.add_value(name, Err(ValueError::NoValue))
    }

    /// Marks the value of a channel as a part of an unknown value. `word` is the known part.
    pub(super) fn set_unclear(&mut self, name: &str, word: &str) {
        self.add_value(name, Err(ValueError::Unclear));
        self.original_texts.insert(name.to_owned(), word.to_owned());
    }

    /// Gives a channel another name, unless a channel has this name.
    pub(super) fn add_alias(&mut self, name: &str, alias: &str) {
        self.aliases.insert(alias.to_owned(), name.to_owned());
    }

    /// Adds a part of the message that is not valid.
    pub(super) fn add_loss(&mut self, problem: DecodeError) {
        self.losses.push(problem);
    }

    /// Returns whether a part of the message is not valid.
    pub(super) fn has_loss(&self) -> bool {
        !self.losses.is_empty()
    }

    pub(super) fn add_value(&mut self, name: &str, value: Result<Value, ValueError>) -> bool {
        self.channels.insert(name.to_owned(), value).is_none()
    }

    pub(super) fn build(mut self) -> Decoded {
        self.aliases.retain(|alias, _| !self.channels.contains_key(alias));
        let Self { channels, original_texts, aliases, losses, .. } = self;
        Decoded { aliases, losses, ..Decoded::new(Channels::Map(channels), original_texts) }
    }
}
