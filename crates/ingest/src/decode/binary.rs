//! Binary messages with a fixed layout.

use super::decoded::{ChannelMap, Decoded};
use super::decoder::{Decoder, DecoderKind, DecoderOption};
use super::error::DecodeError;
use super::field::{BinaryField, FieldError, Kind};
use super::sparkplug::Births;
use crate::text_encoding::TextEncoding;
use tidegate_model::excerpt::excerpt;
use tidegate_model::{AttributeType, Value, ValueError};

pub(super) const KIND: DecoderKind = DecoderKind {
    name: Binary::NAME,
    options: &[DecoderOption::Fields, DecoderOption::Encoding],
    create: |options| Some(Binary { fields: options.fields, encoding: options.encoding }.into()),
};

/// Decodes the fields of a binary message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Binary {
    /// The layout.
    pub fields: Vec<BinaryField>,
    /// The encoding of its texts, if it is not UTF-8.
    pub encoding: Option<TextEncoding>,
}

impl Binary {
    /// The name of the format in the configuration.
    pub const NAME: &str = "binary";
}

impl Decoder for Binary {
    fn name(&self) -> &'static str {
        Self::NAME
    }

    fn is_text(&self) -> bool {
        false
    }

    fn channels(&self) -> Option<Vec<String>> {
        Some(self.fields.iter().map(|field| field.name.clone()).collect())
    }

    fn channel_type(&self, channel: &str) -> Option<AttributeType> {
        let field = self.fields.iter().find(|field| field.name == channel)?;
        Some(match field.kind {
            Kind::Text(_) => AttributeType::Text,
            Kind::Bits { count: 1, .. } => AttributeType::Boolean,
            Kind::Unsigned(_)
            | Kind::Signed(_)
            | Kind::Float32
            | Kind::Float64
            | Kind::Bcd(_)
            | Kind::Bits { .. } => AttributeType::Number,
        })
    }

    fn decode(
        &self,
        _topic: &str,
        payload: &[u8],
        _births: &mut Births,
    ) -> Result<Vec<Decoded>, DecodeError> {
        Ok(vec![self.read(payload)?.into()])
    }
}

impl Binary {
    /// Decodes all fields. A message that is too short for a field is rejected completely.
    fn read(&self, payload: &[u8]) -> Result<ChannelMap, DecodeError> {
        let mut channels = ChannelMap::new();
        for field in &self.fields {
            let bytes = payload.get(field.offset..).unwrap_or_default();
            let value = match (field.kind, self.encoding) {
                (Kind::Text(size), Some(encoding)) => {
                    let bytes = bytes.get(..size).ok_or(FieldError::Missing);
                    bytes.and_then(|bytes| Ok(text(&encoding.decode(bytes))?))
                }
                (kind, _) => kind.read(bytes, field.endian),
            };
            let value = match value {
                Ok(value) => Ok(value),
                // A sensor writes NaN for a missing value. The other fields are valid.
                Err(FieldError::InvalidValue(error)) => Err(error),
                Err(FieldError::NotUtf8) => Err(ValueError::NotUtf8),
                Err(FieldError::NotDecimal) => Err(ValueError::NotDecimal),
                Err(error @ FieldError::Missing) => {
                    return Err(DecodeError::InvalidField {
                        name: field.name.clone(),
                        at: field.offset,
                        problem: error,
                        bytes: payload.len(),
                        excerpt: excerpt(payload),
                    });
                }
            };
            channels.insert(field.name.clone(), value);
        }
        Ok(channels)
    }
}

/// Returns a text up to its first NUL.
fn text(text: &str) -> Result<Value, ValueError> {
    Value::text(text.split('\0').next().unwrap_or_default().trim_end())
}
