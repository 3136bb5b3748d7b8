//! JSON documents.

use super::decoded::Decoded;
use super::decoder::{Decoder, DecoderKind, DecoderOption, MESSAGES_MAX};
use super::error::DecodeError;
use super::json_value::JsonValue;
use super::sparkplug::Births;
use super::text::utf8;
use tidegate_model::excerpt::excerpt;

pub(super) const KIND: DecoderKind = DecoderKind {
    name: Json::NAME,
    options: &[DecoderOption::ArrayPointer],
    create: |options| Some(Json { array_pointer: options.array_pointer }.into()),
};

/// Decodes one JSON document.
///
/// A channel is a JSON pointer (`/a/0/b`, RFC 6901; the empty one is the whole document) or,
/// without the leading slash, a key at the top level.
#[derive(Debug, Clone)]
pub struct Json {
    /// A JSON pointer to an array, each element of which is a message.
    pub array_pointer: Option<String>,
}

impl Json {
    /// The name of the format in the configuration.
    pub const NAME: &str = "json";
}

impl Decoder for Json {
    fn name(&self) -> &'static str {
        Self::NAME
    }

    fn has_json_pointers(&self) -> bool {
        true
    }

    fn decode(
        &self,
        _topic: &str,
        payload: &[u8],
        _births: &mut Births,
    ) -> Result<Vec<Decoded>, DecodeError> {
        let mut document = parse(utf8(payload)?)?;
        let Some(pointer) = &self.array_pointer else { return Ok(vec![Decoded::json(document)]) };
        let Some(JsonValue::List(items)) = document.take_at(pointer) else {
            return Err(DecodeError::NoArray { pointer: pointer.clone() });
        };
        if items.len() > MESSAGES_MAX {
            return Err(DecodeError::TooManyMessages { found: items.len(), max: MESSAGES_MAX });
        }
        Ok(items.into_iter().map(Decoded::json).collect())
    }
}

fn parse(text: &str) -> Result<JsonValue, DecodeError> {
    serde_json::from_str(text).map_err(|error| DecodeError::Invalid {
        format: "JSON",
        problem: error.to_string().into(),
        excerpt: excerpt(text.as_bytes()),
        advice: "JSON has double quotes, no NaN and no trailing comma",
    })
}
