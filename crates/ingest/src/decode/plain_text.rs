//! Plain text: the whole payload is one value.

use super::decoded::{Decoded, DecodedBuilder};
use super::decoder::{Decoder, DecoderKind, DecoderOption};
use super::error::DecodeError;
use super::sparkplug::Births;
use super::text::utf8;
use crate::word::NumberStyle;

pub(super) const KIND: DecoderKind = DecoderKind {
    name: PlainText::NAME,
    options: &[DecoderOption::Encoding, DecoderOption::Decimal, DecoderOption::Thousands],
    create: |options| Some(PlainText { numbers: options.numbers }.into()),
};

/// The only channel.
const CHANNEL: &str = "value";

/// Decodes the payload, without surrounding blanks, as the channel `value`.
#[derive(Debug, Clone, Copy, Default)]
pub struct PlainText {
    /// The notation of numbers.
    pub numbers: NumberStyle,
}

impl PlainText {
    /// The name of the format in the configuration.
    pub const NAME: &str = "text";
}

impl Decoder for PlainText {
    fn name(&self) -> &'static str {
        Self::NAME
    }

    fn channels(&self) -> Option<Vec<String>> {
        Some(vec![CHANNEL.to_owned()])
    }

    fn decode(
        &self,
        _topic: &str,
        payload: &[u8],
        _births: &mut Births,
    ) -> Result<Vec<Decoded>, DecodeError> {
        let mut message = DecodedBuilder::new(self.numbers);
        let word = utf8(payload)?.trim();
        if !word.is_empty() {
            message.add_word(CHANNEL, word);
        }
        Ok(vec![message.build()])
    }
}
