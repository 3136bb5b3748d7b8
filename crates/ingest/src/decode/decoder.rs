//! The interface of decoders, and the description of a kind of decoder.

use std::fmt;
use std::sync::Arc;

use regex::Regex;

use super::decoded::Decoded;
use super::error::DecodeError;
use super::field::BinaryField;
use super::sparkplug::births::Births;
use crate::text_encoding::TextEncoding;
use crate::word::{NoneValues, NumberStyle};
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

    /// Returns whether payloads are texts, which may have another encoding than UTF-8.
    fn is_text(&self) -> bool {
        true
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
    /// [`NumberStyle::decimal`].
    Decimal,
    /// [`DecoderOptions::delimiter`].
    Delimiter,
    /// [`DecoderOptions::encoding`].
    Encoding,
    /// [`DecoderOptions::fields`].
    Fields,
    /// [`DecoderOptions::has_header`].
    Header,
    /// [`DecoderOptions::pattern`].
    Pattern,
    /// [`DecoderOptions::rebirth`].
    Rebirth,
    /// [`NumberStyle::thousands`].
    Thousands,
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
    /// The encoding of texts, if it is not UTF-8.
    pub encoding: Option<TextEncoding>,
    /// The fields of a binary message.
    pub fields: Vec<BinaryField>,
    /// Whether the first CSV record names the columns. Each other record is then a message.
    pub has_header: bool,
    /// Whether the notation of JSON numbers is kept, because the sensor uses it.
    pub keeps_words: bool,
    /// The notation of numbers in texts.
    pub numbers: NumberStyle,
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
            encoding: None,
            fields: Vec::new(),
            has_header: false,
            keeps_words: false,
            numbers: NumberStyle::default(),
            pattern: None,
            rebirth: false,
        }
    }
}

/// The format of a sensor's messages: a decoder with its options. Cheap to clone.
#[derive(Clone)]
pub struct Format {
    decoder: Arc<dyn Decoder>,
    none_values: Arc<NoneValues>,
    numbers: NumberStyle,
    encoding: Option<TextEncoding>,
}

impl Format {
    /// Returns the format with another decoder and the same options.
    #[must_use]
    pub fn with_decoder(self, decoder: impl Decoder + 'static) -> Self {
        Self { decoder: Arc::new(decoder), ..self }
    }

    /// Returns the format for texts in an encoding. Without one, texts are UTF-8.
    #[must_use]
    pub fn with_encoding(self, encoding: Option<TextEncoding>) -> Self {
        Self { encoding: encoding.filter(|encoding| !encoding.is_utf8()), ..self }
    }

    /// Returns the format with words and numbers that stand for no value. `numbers` is the notation
    /// of numbers.
    #[must_use]
    pub fn with_none_values(self, none_values: NoneValues, numbers: NumberStyle) -> Self {
        Self { none_values: none_values.into(), numbers, ..self }
    }

    /// Returns the notation of numbers.
    pub fn numbers(&self) -> NumberStyle {
        self.numbers
    }

    /// Returns the name of the format in the configuration.
    pub fn name(&self) -> &'static str {
        self.decoder.name()
    }

    /// Returns all possible channels; `None` if they depend on the message.
    pub fn channels(&self) -> Option<Vec<String>> {
        self.decoder.channels()
    }

    /// Returns whether a message may name this channel itself, besides [`Format::channels`].
    pub fn may_have_channel(&self, name: &str) -> bool {
        self.decoder.may_have_channel(name)
    }

    /// Returns the type of a channel's values; `None` if it depends on the message.
    pub fn channel_type(&self, channel: &str) -> Option<AttributeType> {
        self.decoder.channel_type(channel)
    }

    /// Returns whether a channel may be a JSON pointer.
    pub fn has_json_pointers(&self) -> bool {
        self.decoder.has_json_pointers()
    }

    /// Returns whether the gateway asks a Sparkplug node for a missing birth certificate.
    pub fn requests_births(&self) -> bool {
        self.decoder.requests_births()
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
        let mut messages = if self.decoder.is_text() {
            self.decode_text(topic, payload, births)?
        } else {
            self.decoder.decode(topic, payload, births)?
        };
        if !self.none_values.is_empty() {
            for message in &mut messages {
                message.remove_none(&self.none_values, self.numbers);
            }
        }
        Ok(messages)
    }
}

impl Format {
    /// Decodes a text. If it is not valid UTF-8, its numbers count, and texts around them do not.
    fn decode_text(
        &self,
        topic: &str,
        payload: &[u8],
        births: &mut Births,
    ) -> Result<Vec<Decoded>, DecodeError> {
        if let Some(encoding) = self.encoding {
            let text = encoding.decode(payload);
            let text = text.trim_start_matches(['\u{feff}', '\0']).trim_end_matches('\0');
            return self.decoder.decode(topic, text.as_bytes(), births);
        }
        let payload = without_marks(payload);
        match self.decoder.decode(topic, payload, births) {
            Err(error @ DecodeError::NotUtf8 { .. }) => {
                let text = String::from_utf8_lossy(payload);
                let decoded = self.decoder.decode(topic, text.as_bytes(), births);
                let mut messages = decoded.map_err(|_| error)?;
                for message in &mut messages {
                    message.set_lossy(self.numbers);
                }
                Ok(messages)
            }
            result => result,
        }
    }
}

/// Returns a text without the byte order mark of UTF-8 and the NULs before it, and without the
/// NULs behind it, as programs in C send them.
fn without_marks(payload: &[u8]) -> &[u8] {
    let mut payload = payload;
    while let Some(rest) =
        payload.strip_prefix(b"\0").or_else(|| payload.strip_prefix("\u{feff}".as_bytes()))
    {
        payload = rest;
    }
    while let Some(rest) = payload.strip_suffix(b"\0") {
        payload = rest;
    }
    payload
}

impl<D: Decoder + 'static> From<D> for Format {
    fn from(decoder: D) -> Self {
        let decoder = Arc::new(decoder);
        let numbers = NumberStyle::default();
        Self { decoder, none_values: Arc::default(), numbers, encoding: None }
    }
}

/// Compares the decoders with their options by their debug text, which contains every field.
impl PartialEq for Format {
    fn eq(&self, other: &Self) -> bool {
        format!("{self:?}") == format!("{other:?}")
    }
}

impl fmt::Debug for Format {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.decoder.fmt(formatter)?;
        if self.none_values.is_empty() && self.encoding.is_none() {
            return Ok(());
        }
        write!(formatter, " {:?} {:?} {:?}", self.none_values, self.numbers, self.encoding)
    }
}

/// Writes the name of the format in the configuration.
impl fmt::Display for Format {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.name())
    }
}
