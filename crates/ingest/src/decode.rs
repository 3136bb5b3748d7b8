//! A frame or payload as named values: pairs, CSV, JSON, patterns, binary layouts, NMEA 0183, smart meters,
//! Sparkplug B, Ruuvi advertisements, 1-Wire thermometers, plain text.
//!
//! A message is decoded whole or refused whole: a line that a loose cable cut short must not yield half a value. What
//! cannot be detected (`t=21.5` cut to `t=2`) is a case for a checksum in the sensor.

mod binary;
mod error;
mod nmea;
mod number;
mod obis;
mod one_wire;
mod ruuvi;
mod sparkplug;
mod text;

use std::collections::BTreeMap;
use std::fmt;

use regex::Regex;
use serde::{Serialize, Serializer};

pub use binary::Field;
pub use error::DecodeError;
pub use number::{Kind, NumberError};
pub use sparkplug::{Births, rebirth_request};

use tidegate_model::excerpt::excerpt;
use tidegate_model::{Value, ValueError};

/// The most messages that one payload may hold.
const MESSAGES_MAX: usize = 1_024;

/// What a compiled pattern may take, in bytes: a hundred times what a line of a sensor needs.
const PATTERN_BYTES_MAX: usize = 1 << 20;

/// How a sensor writes its messages.
#[derive(Debug, Clone)]
pub enum Format {
    /// `t=21.5 h=40`: pairs with `=` or `:`, between blanks, commas or semicolons. A value may stand in `"…"`, and is
    /// then a text. Or lines of a key, a tab and a value. The channels are the keys.
    KeyValue,
    /// Comma-separated values. An empty field is an absent channel.
    Csv(Csv),
    /// One JSON document. A channel is a JSON pointer (`/a/0/b`, RFC 6901; the empty one is the whole document) or, without
    /// the leading slash, a key at the top level.
    Json {
        /// A JSON pointer to an array, each element of which is a message.
        array_pointer: Option<String>,
    },
    /// A regular expression somewhere in the text; its named groups are the channels.
    Regex(Regex),
    /// A layout of bytes.
    Binary(Vec<Field>),
    /// One sentence of NMEA 0183, checksum included.
    Nmea,
    /// One telegram of a smart meter (DSMR P1, IEC 62056-21); the channels are the OBIS codes.
    Obis,
    /// A message of Sparkplug B; the channels are the names of its metrics, and `timestamp`.
    Sparkplug {
        /// Whether a node is asked for its births when one is missing.
        rebirth: bool,
    },
    /// An advertisement of a Ruuvi sensor in hexadecimal digits, alone or as a Ruuvi Gateway publishes it.
    Ruuvi,
    /// The kernel's `w1_slave` of a thermometer; the channel is `temperature`, in °C.
    OneWire,
    /// The whole payload, without blanks around it, is the channel `value`.
    Text,
}

/// How comma-separated values are written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Csv {
    /// The channels; with none, they are called by their index: `0`, `1` and so on.
    pub columns: Vec<String>,
    /// Whether the first record of a payload names the columns instead; then each other record is a message.
    pub header: bool,
    /// An ASCII character such as `,` or `;`.
    pub delimiter: u8,
}

impl Format {
    /// The channels that it can have; `None` where only a message tells.
    pub fn channels(&self) -> Option<Vec<String>> {
        let owned = |names: &[&str]| Some(names.iter().map(|name| (*name).to_owned()).collect());
        match self {
            Self::Csv(csv) if !csv.columns.is_empty() => Some(csv.columns.clone()),
            Self::Regex(pattern) => {
                Some(pattern.capture_names().flatten().map(str::to_owned).collect())
            }
            Self::Binary(fields) => Some(fields.iter().map(|field| field.name.clone()).collect()),
            Self::Nmea => owned(&nmea::CHANNELS),
            Self::OneWire => owned(&["temperature"]),
            Self::Text => owned(&["value"]),
            Self::KeyValue
            | Self::Csv(_)
            | Self::Json { .. }
            | Self::Obis
            | Self::Sparkplug { .. }
            | Self::Ruuvi => None,
        }
    }
}

/// The word by which the configuration calls it.
impl fmt::Display for Format {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::KeyValue => "key-value",
            Self::Csv(_) => "csv",
            Self::Json { .. } => "json",
            Self::Regex(_) => "regex",
            Self::Binary(_) => "binary",
            Self::Nmea => "nmea",
            Self::Obis => "obis",
            Self::Sparkplug { .. } => "sparkplug",
            Self::Ruuvi => "ruuvi",
            Self::OneWire => "w1_slave",
            Self::Text => "text",
        })
    }
}

/// Compiles the pattern of [`Format::Regex`].
///
/// # Errors
/// When it is none, takes more than 1 MiB, or names no group.
pub fn compile_pattern(pattern: &str) -> Result<Regex, String> {
    let pattern = regex::RegexBuilder::new(pattern)
        .size_limit(PATTERN_BYTES_MAX)
        .dfa_size_limit(PATTERN_BYTES_MAX)
        .build()
        .map_err(|error| error.to_string().lines().last().unwrap_or_default().trim().to_owned())?;
    if pattern.capture_names().flatten().next().is_none() {
        return Err("it names no group, and so no channel".to_owned());
    }
    Ok(pattern)
}

/// A message as its channels.
#[derive(Debug, Clone, PartialEq)]
pub struct Decoded {
    channels: Channels,
    words: Words,
}

#[derive(Debug, Clone, PartialEq)]
enum Channels {
    Flat(Flat),
    Json(serde_json::Value),
}

type Flat = BTreeMap<String, Result<Value, ValueError>>;

/// What stood there where the value does not show it: `0012` of the number 12.
type Words = BTreeMap<String, String>;

/// Reads the messages of one payload that needs nothing beside it: one, but for JSON arrays and CSV with a header.
///
/// # Errors
/// As [`decode_on`].
pub fn decode(format: &Format, payload: &[u8]) -> Result<Vec<Decoded>, DecodeError> {
    decode_on("", format, payload, &mut Births::default())
}

/// Reads the messages of one payload that came on this topic. Sparkplug B needs the topic and the births that came before.
///
/// # Errors
/// When the payload is not in this format; the message is then to be counted and dropped.
pub fn decode_on(
    topic: &str,
    format: &Format,
    payload: &[u8],
    births: &mut Births,
) -> Result<Vec<Decoded>, DecodeError> {
    let flat = match format {
        Format::Binary(fields) => binary::decode(payload, fields)?,
        Format::KeyValue => return Ok(vec![text::decode_pairs(utf8(payload)?)?.into()]),
        Format::Csv(csv) => {
            let records = text::decode_csv(utf8(payload)?, csv)?;
            return Ok(records.into_iter().map(Decoded::from).collect());
        }
        Format::Json { array_pointer } => {
            return decode_json(utf8(payload)?, array_pointer.as_deref());
        }
        Format::Regex(pattern) => {
            return Ok(vec![text::decode_pattern(utf8(payload)?, pattern)?.into()]);
        }
        Format::Nmea => nmea::decode(utf8(payload)?)?,
        Format::Obis => obis::decode(utf8(payload)?)?,
        Format::Sparkplug { .. } => return sparkplug::decode(topic, payload, births),
        Format::Ruuvi => ruuvi::decode(utf8(payload)?)?,
        Format::OneWire => one_wire::decode(utf8(payload)?)?,
        Format::Text => return Ok(vec![text::decode_text(utf8(payload)?).into()]),
    };
    Ok(vec![flat.into()])
}

fn utf8(payload: &[u8]) -> Result<&str, DecodeError> {
    std::str::from_utf8(payload).map_err(|error| {
        let at = error.valid_up_to();
        DecodeError::NotUtf8 { at, excerpt: excerpt(payload.get(at..).unwrap_or_default()) }
    })
}

fn decode_json(text: &str, array_pointer: Option<&str>) -> Result<Vec<Decoded>, DecodeError> {
    let mut document = text::decode_json(text)?;
    let Some(pointer) = array_pointer else { return Ok(vec![Decoded::json(document)]) };
    let Some(serde_json::Value::Array(items)) = document.pointer_mut(pointer) else {
        return Err(DecodeError::NoArray { pointer: pointer.to_owned() });
    };
    let (found, max) = (items.len(), MESSAGES_MAX);
    if found > max {
        return Err(DecodeError::TooMany { found, max });
    }
    Ok(std::mem::take(items).into_iter().map(Decoded::json).collect())
}

/// A message whose words say no more than its values.
impl From<Flat> for Decoded {
    fn from(channels: Flat) -> Self {
        Self { channels: Channels::Flat(channels), words: Words::new() }
    }
}

impl Decoded {
    fn json(document: serde_json::Value) -> Self {
        Self { channels: Channels::Json(document), words: Words::new() }
    }

    /// What stood there, for the channels whose value does not show it: `0012` of the number 12, `nan` of no number.
    pub fn words(&self) -> &BTreeMap<String, String> {
        &self.words
    }

    /// What the message says about a channel; `None` if it says nothing.
    ///
    /// # Errors
    /// When what it says is no [`Value`]: a NaN, a JSON list, an endless text.
    pub fn channel(&self, name: &str) -> Option<Result<Value, ValueError>> {
        match &self.channels {
            Channels::Flat(channels) => channels.get(name).cloned(),
            Channels::Json(document) => find(document, name).map(Value::try_from),
        }
    }

    /// Whether the message names a channel and says that it has no value: null in JSON.
    pub fn is_null(&self, name: &str) -> bool {
        match &self.channels {
            Channels::Flat(_) => false,
            Channels::Json(document) => {
                find(document, name).is_some_and(serde_json::Value::is_null)
            }
        }
    }

    /// The channels that the message has; of JSON, the keys at its top level.
    pub fn names(&self) -> Vec<&str> {
        match &self.channels {
            Channels::Flat(channels) => channels.keys().map(String::as_str).collect(),
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

/// As templates and expressions see it: the channels that have a value.
impl Serialize for Decoded {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match &self.channels {
            Channels::Json(document) => document.serialize(serializer),
            Channels::Flat(channels) => {
                let good =
                    channels.iter().filter_map(|(name, value)| Some((name, value.as_ref().ok()?)));
                serializer.collect_map(good)
            }
        }
    }
}

#[cfg(test)]
mod tests;
