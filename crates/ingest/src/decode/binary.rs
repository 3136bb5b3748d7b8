//! Binary messages with a fixed layout.

use super::decoded::{ChannelMap, Decoded};
use super::decoder::{Decoder, DecoderKind, DecoderOption};
use super::error::DecodeError;
use super::field::{BinaryField, FieldError, Kind};
use super::sparkplug::Births;
use tidegate_model::AttributeType;
use tidegate_model::excerpt::excerpt;

pub(super) const KIND: DecoderKind = DecoderKind {
    name: Binary::NAME,
    options: &[DecoderOption::Fields],
    create: |options| Some(Binary { fields: options.fields }.into()),
};

/// Decodes the fields of a binary message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Binary {
    /// The layout.
    pub fields: Vec<BinaryField>,
}

impl Binary {
    /// The name of the format in the configuration.
    pub const NAME: &str = "binary";
}

impl Decoder for Binary {
    fn name(&self) -> &'static str {
        Self::NAME
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
        Ok(vec![decode(payload, &self.fields)?.into()])
    }
}

/// Decodes all fields. A message that is too short for a field is rejected completely.
fn decode(payload: &[u8], fields: &[BinaryField]) -> Result<ChannelMap, DecodeError> {
    let mut channels = ChannelMap::new();
    for field in fields {
        let bytes = payload.get(field.offset..).unwrap_or_default();
        let value = match field.kind.read(bytes, field.endian) {
            Ok(value) => Ok(value),
            // A sensor writes NaN for a missing value. The other fields are valid.
            Err(FieldError::InvalidValue(error)) => Err(error),
            Err(error) => {
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
