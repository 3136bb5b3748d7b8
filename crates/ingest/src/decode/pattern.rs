//! Regular expressions: the named groups are the channels.

use regex::{Regex, RegexBuilder};

use super::decoded::{Decoded, DecodedBuilder};
use super::decoder::{Decoder, DecoderKind, DecoderOption};
use super::error::DecodeError;
use super::sparkplug::Births;
use super::text::utf8;
use crate::word::NumberStyle;
use tidegate_model::excerpt::excerpt;

pub(super) const KIND: DecoderKind = DecoderKind {
    name: Pattern::NAME,
    options: &[
        DecoderOption::Encoding,
        DecoderOption::Pattern,
        DecoderOption::Decimal,
        DecoderOption::Thousands,
    ],
    create: |options| Some(Pattern { regex: options.pattern?, numbers: options.numbers }.into()),
};

/// The memory limit of a compiled pattern in bytes: 100 times the need of a sensor's line.
const PATTERN_BYTES_MAX: usize = 1 << 20;

/// Searches for a regular expression in the text. Its named groups are the channels.
#[derive(Debug, Clone)]
pub struct Pattern {
    /// The regular expression.
    pub regex: Regex,
    /// The notation of numbers.
    pub numbers: NumberStyle,
}

impl From<Regex> for Pattern {
    fn from(regex: Regex) -> Self {
        Self { regex, numbers: NumberStyle::default() }
    }
}

/// The reason that a pattern is not valid.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PatternError {
    /// The syntax is wrong, or the compiled pattern needs more than 1 MiB.
    #[error("invalid pattern: {0}")]
    Invalid(String),
    /// Without a named group there is no channel.
    #[error("the pattern has no named group, so the message has no channel")]
    NoNamedGroup,
}

impl Pattern {
    /// The name of the format in the configuration.
    pub const NAME: &str = "regex";
}

/// Compiles the regular expression of a [`Pattern`].
///
/// # Errors
/// If the syntax is wrong, the pattern needs more than 1 MiB, or no group has a name.
pub fn compile_pattern(pattern: &str) -> Result<Regex, PatternError> {
    let compiled = RegexBuilder::new(pattern)
        .size_limit(PATTERN_BYTES_MAX)
        .dfa_size_limit(PATTERN_BYTES_MAX)
        .build();
    // The last line of the error is the reason. The lines before it show the place.
    let compiled = compiled.map_err(|error| {
        let text = error.to_string();
        let reason = text.lines().last().unwrap_or_default().trim();
        PatternError::Invalid(reason.trim_start_matches("error: ").to_owned())
    })?;
    if compiled.capture_names().flatten().next().is_none() {
        return Err(PatternError::NoNamedGroup);
    }
    Ok(compiled)
}

impl Decoder for Pattern {
    fn name(&self) -> &'static str {
        Self::NAME
    }

    fn channels(&self) -> Option<Vec<String>> {
        Some(self.regex.capture_names().flatten().map(str::to_owned).collect())
    }

    /// Returns the named groups that took part in the match; a blank one has no value.
    fn decode(
        &self,
        _topic: &str,
        payload: &[u8],
        _births: &mut Births,
    ) -> Result<Vec<Decoded>, DecodeError> {
        let text = utf8(payload)?;
        let Some(found) = self.regex.captures(text) else {
            return Err(DecodeError::NoMatch { excerpt: excerpt(text.as_bytes()) });
        };
        let mut message = DecodedBuilder::new(self.numbers);
        for name in self.regex.capture_names().flatten() {
            if let Some(group) = found.name(name) {
                message.add_field(name, group.as_str());
            }
        }
        Ok(vec![message.build()])
    }
}
