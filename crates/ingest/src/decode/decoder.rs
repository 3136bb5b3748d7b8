//! The interface of decoders, and the description of a kind of decoder.

use std::fmt;
use std::sync::Arc;

use regex::Regex;

use super::decoded::Decoded;
use super::error::DecodeError;
use super::field::BinaryField;
use super::sparkplug::births::Births;
use tidegate_model::AttributeType;

/// The most messages in one payload.
pub(super) const MESSAGES_MAX: usize = 1_024;

/// Decodes the payloads of one sensor.
pub trait Decoder: fmt::Debug + Send + Sync {
    /// Returns the name of the format in the configuration.
    fn name(&self) -> &'static str;

    /// Returns all possible channels; `None` if they depend on the message.
    fn channels(&self) -> Option<Vec<String>> {
        None
    }

    /// Returns whether a message may name this channel itself, besides [`Decoder::channels`].
    fn may_have_channel(&self, _name: &str) -> bool {
        false
    }

    /// Returns the type of a channel's values; `None` if it depends on the message.
    fn channel_type(&self, _channel: &str) -> Option<AttributeType> {
        None
    }

    /// Returns whether a channel may be a JSON pointer.
    fn has_json_pointers(&self) -> bool {
        false
    }

    /// Returns whether the gateway asks a Sparkplug node for a missing birth certificate.
    fn requests_births(&self) -> bool {
        false
    }

    /// Decodes the messages of one payload.
    ///
    /// `topic` is empty for buses without topics. Only Sparkplug B uses the topic and the births.
    ///
    /// # Errors
    /// If the payload is not valid in this format. Drop and count the payload.
    fn decode(
        &self,
        topic: &str,
        payload: &[u8],
        births: &mut Births,
    ) -> Result<Vec<Decoded>, DecodeError>;
}

/// A kind of decoder: a line in the table [`DECODERS`](super::DECODERS).
#[derive(Debug, Clone, Copy)]
pub struct DecoderKind {
    /// The name of the format in the configuration.
    pub name: &'static str,
    /// The options that the decoder has.
    pub options: &'static [DecoderOption],
    /// Creates the decoder. `None` if a required option is missing.
    pub create: fn(DecoderOptions) -> Option<Format>,
}

/// An option that belongs to one decoder.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DecoderOption {
    /// [`DecoderOptions::array_pointer`].
    ArrayPointer,
    /// [`DecoderOptions::columns`].
    Columns,
    /// [`DecoderOptions::delimiter`].
    Delimiter,
    /// [`DecoderOptions::fields`].
    Fields,
    /// [`DecoderOptions::has_header`].
    Header,
    /// [`DecoderOptions::pattern`].
    Pattern,
    /// [`DecoderOptions::rebirth`].
    Rebirth,
}

/// The values of all options. Each decoder reads only its own.
#[derive(Debug, Clone)]
pub struct DecoderOptions {
    /// A JSON pointer to an array, each element of which is a message.
    pub array_pointer: Option<String>,
    /// The names of the CSV columns; without names, the channels are `0`, `1` and so on.
    pub columns: Vec<String>,
    /// The delimiter of CSV fields, an ASCII character. The default is a comma.
    pub delimiter: u8,
    /// The fields of a binary message.
    pub fields: Vec<BinaryField>,
    /// Whether the first CSV record names the columns. Each other record is then a message.
    pub has_header: bool,
    /// Whether the notation of JSON numbers is kept, because the sensor uses it.
    pub keeps_words: bool,
    /// The regular expression with the channels as named groups.
    pub pattern: Option<Regex>,
    /// Whether the gateway asks a Sparkplug node for a missing birth certificate.
    pub rebirth: bool,
}

impl Default for DecoderOptions {
    fn default() -> Self {
        Self {
            array_pointer: None,
            columns: Vec::new(),
            delimiter: b',',
            fields: Vec::new(),
            has_header: false,
            keeps_words: false,
            pattern: None,
            rebirth: false,
        }
    }
}

/// The format of a sensor's messages: a decoder with its options. Cheap to clone.
#[derive(Clone)]
pub struct Format(Arc<dyn Decoder>);

impl Format {
    /// Returns the name of the format in the configuration.
    pub fn name(&self) -> &'static str {
        self.0.name()
    }

    /// Returns all possible channels; `None` if they depend on the message.
    pub fn channels(&self) -> Option<Vec<String>> {
        self.0.channels()
    }

    /// Returns whether a message may name this channel itself, besides [`Format::channels`].
    pub fn may_have_channel(&self, name: &str) -> bool {
        self.0.may_have_channel(name)
    }

    /// Returns the type of a channel's values; `None` if it depends on the message.
    pub fn channel_type(&self, channel: &str) -> Option<AttributeType> {
        self.0.channel_type(channel)
    }

    /// Returns whether a channel may be a JSON pointer.
    pub fn has_json_pointers(&self) -> bool {
        self.0.has_json_pointers()
    }

    /// Returns whether the gateway asks a Sparkplug node for a missing birth certificate.
    pub fn requests_births(&self) -> bool {
        self.0.requests_births()
    }

    /// Decodes the messages of one payload. See [`Decoder::decode`].
    ///
    /// # Errors
    /// If the payload is not valid in this format. Drop and count the payload.
    pub fn decode(
        &self,
        topic: &str,
        payload: &[u8],
        births: &mut Births,
    ) -> Result<Vec<Decoded>, DecodeError> {
        self.0.decode(topic, payload, births)
    }
}

impl<D: Decoder + 'static> From<D> for Format {
    fn from(decoder: D) -> Self {
        Self(Arc::new(decoder))
    }
}

/// Compares the decoders with their options by their debug text, which contains every field.
impl PartialEq for Format {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0) || format!("{self:?}") == format!("{other:?}")
    }
}

impl fmt::Debug for Format {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(formatter)
    }
}

/// Writes the name of the format in the configuration.
impl fmt::Display for Format {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.name())
    }
}
