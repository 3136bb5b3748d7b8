//! Binary messages: fields of a layout.

use super::number::Kind;
use super::{DecodeError, Flat};
use crate::frame::Endian;
use tidegate_model::ValueError;
use tidegate_model::excerpt::excerpt;

/// One field of a binary message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Field {
    /// Its channel.
    pub name: String,
    /// Where it begins, in bytes.
    pub offset: usize,
    /// What it means.
    pub kind: Kind,
    /// The order of its bytes.
    pub endian: Endian,
}

/// Reads all fields, or refuses the message: one that is too short for a field is not the message that was meant.
pub(super) fn decode(payload: &[u8], fields: &[Field]) -> Result<Flat, DecodeError> {
    let mut channels = Flat::new();
    for field in fields {
        let bytes = payload.get(field.offset..).unwrap_or_default();
        let value = match field.kind.read(bytes, field.endian) {
            Ok(value) => Ok(value),
            // A sensor writes NaN where it has no value; its other fields are good.
            Err(super::number::NumberError::NoValue(error)) => Err::<_, ValueError>(error),
            Err(error) => {
                return Err(DecodeError::BadField {
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
