//! JSON documents.

use super::decoded::Decoded;
use super::decoder::{Decoder, DecoderKind, DecoderOption, MESSAGES_MAX};
use super::error::DecodeError;
use super::json_value::JsonValue;
use super::json_words;
use super::sparkplug::Births;
use super::text::utf8;
use tidegate_model::excerpt::excerpt;

pub(super) const KIND: DecoderKind = DecoderKind {
    name: Json::NAME,
    options: &[
        DecoderOption::Encoding,
        DecoderOption::ArrayPointer,
        DecoderOption::Decimal,
        DecoderOption::Thousands,
    ],
    create: |options| {
        let (array_pointer, keeps_words) = (options.array_pointer, options.keeps_words);
        Some(Json { array_pointer, keeps_words }.into())
    },
};

/// Decodes one JSON document.
///
/// A channel is a JSON pointer (`/a/0/b`, RFC 6901; the empty one is the whole document) or,
/// without the leading slash, a key at the top level.
#[derive(Debug, Clone, Default)]
pub struct Json {
    /// A JSON pointer to an array, each element of which is a message.
    pub array_pointer: Option<String>,
    /// Whether the notation of numbers is kept, such as `1.50`.
    pub keeps_words: bool,
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
        let text = utf8(payload)?;
        let mut document = parse(text)?;
        let mut words = if self.keeps_words { parse(&json_words::quoted(text)).ok() } else { None };
        let Some(pointer) = &self.array_pointer else {
            return Ok(vec![Decoded::json(document, words)]);
        };
        let Some(JsonValue::List(items)) = document.take_at(pointer) else {
            return Err(DecodeError::NoArray { pointer: pointer.clone() });
        };
        if items.len() > MESSAGES_MAX {
            return Err(DecodeError::TooManyMessages { found: items.len(), max: MESSAGES_MAX });
        }
        let words = match words.as_mut().and_then(|words| words.take_at(pointer)) {
            Some(JsonValue::List(words)) => words,
            Some(_) | None => Vec::new(),
        };
        let words = words.into_iter().map(Some).chain(std::iter::repeat_with(|| None));
        Ok(items.into_iter().zip(words).map(|(item, words)| Decoded::json(item, words)).collect())
    }
}

/// Parses a document. A bare `NaN` or `Infinity`, which JSON does not have, costs its member only.
fn parse(text: &str) -> Result<JsonValue, DecodeError> {
    serde_json::from_str(text).or_else(|error| {
        let lenient = || {
            let marked = json_words::with_marks(text)?;
            let mut document: JsonValue = serde_json::from_str(&marked).ok()?;
            document.change_scalars(&|scalar| {
                if matches!(scalar, JsonValue::Text(text) if text == json_words::NOT_FINITE) {
                    *scalar = JsonValue::Float(f64::NAN);
                }
            });
            Some(document)
        };
        lenient().ok_or_else(|| DecodeError::Invalid {
            format: "JSON",
            problem: error.to_string().into(),
            excerpt: excerpt(text.as_bytes()),
            advice: "JSON has double quotes and no trailing comma",
        })
    })
}
