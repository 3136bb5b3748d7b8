//! Pairs of a key and a value.

use super::decoded::{Decoded, DecodedBuilder};
use super::decoder::{Decoder, DecoderKind};
use super::error::DecodeError;
use super::sparkplug::Births;
use super::text::utf8;
use tidegate_model::excerpt::excerpt;

pub(super) const KIND: DecoderKind =
    DecoderKind { name: KeyValue::NAME, options: &[], create: |_| Some(KeyValue.into()) };

/// Decodes pairs such as `t=21.5 h=40`. The channels are the keys.
///
/// The sign is `=` or `:`. Blanks, commas or semicolons separate the pairs. A value in `"…"` is
/// a text. The other form is a line for each pair, with a tab between key and value (VE.Direct).
#[derive(Debug, Clone, Copy)]
pub struct KeyValue;

impl KeyValue {
    /// The name of the format in the configuration.
    pub const NAME: &str = "key-value";
}

impl Decoder for KeyValue {
    fn name(&self) -> &'static str {
        Self::NAME
    }

    fn decode(
        &self,
        _topic: &str,
        payload: &[u8],
        _births: &mut Births,
    ) -> Result<Vec<Decoded>, DecodeError> {
        let text = utf8(payload)?;
        let message = match decode_tab_lines(text) {
            Some(decoded) => decoded?,
            None => decode_pairs(text)?,
        };
        Ok(vec![message])
    }
}

fn decode_pairs(text: &str) -> Result<Decoded, DecodeError> {
    let mut message = DecodedBuilder::default();
    let mut rest = text.trim_start_matches(is_separator);
    loop {
        let (at, excerpt) = (text.len() - rest.len(), || excerpt(rest.as_bytes()));
        let Some(pair) = Pair::split_off(rest) else {
            return Err(DecodeError::NotPair { at, excerpt: excerpt() });
        };
        let is_new = match pair.value {
            PairValue::Word(word) => message.add_word(pair.key, word),
            PairValue::Quoted(text) => message.add_text(pair.key, text),
        };
        if !is_new {
            return Err(DecodeError::DuplicateKey { at, excerpt: excerpt() });
        }
        rest = pair.rest.trim_start_matches(is_separator);
        if rest.is_empty() {
            return Ok(message.build());
        }
    }
}

/// Decodes lines of a key, a tab and a value. `None` if a line has another form.
fn decode_tab_lines(text: &str) -> Option<Result<Decoded, DecodeError>> {
    let split = |line| {
        let (key, value) = str::split_once(line, '\t')?;
        // A number before a tab is a field of a table, not a key.
        let is_key = key.starts_with(char::is_alphabetic)
            && !key.contains(is_separator)
            && !key.contains(['=', ':', '"']);
        (is_key && !value.contains(['\t', '='])).then(|| (key, value.trim()))
    };
    let lines = || text.lines().filter(|line| !line.trim().is_empty());
    if lines().next().is_none() || lines().any(|line| split(line).is_none()) {
        return None;
    }
    let mut message = DecodedBuilder::default();
    for (key, value) in lines().filter_map(split).filter(|(_, value)| !value.is_empty()) {
        if !message.add_word(key, value) {
            let at = text.rfind(&format!("{key}\t")).unwrap_or(0);
            let excerpt = excerpt(text.get(at..).unwrap_or_default().as_bytes());
            return Some(Err(DecodeError::DuplicateKey { at, excerpt }));
        }
    }
    Some(Ok(message.build()))
}

/// A pair at the front of a text.
struct Pair<'a> {
    key: &'a str,
    value: PairValue<'a>,
    /// The text after the pair.
    rest: &'a str,
}

enum PairValue<'a> {
    Word(&'a str),
    Quoted(&'a str),
}

impl<'a> Pair<'a> {
    /// Splits `key=value` or `key="value"` off. Blanks may surround the sign, as in `key: value`.
    fn split_off(text: &'a str) -> Option<Self> {
        let (key, after_key) = text.split_at(text.find(['=', ':'])?);
        let key = key.trim_end_matches(is_blank);
        if key.is_empty() || key.contains('"') || key.contains(is_separator) {
            return None;
        }
        let after_sign = after_key.get(1..)?;
        let value = after_sign.trim_start_matches(is_blank);
        if let Some(quoted) = value.strip_prefix('"') {
            let (text, rest) = quoted.split_once('"')?;
            let is_end = rest.is_empty() || rest.starts_with(is_separator);
            return is_end.then_some(Self { key, value: PairValue::Quoted(text), rest });
        }
        let (word, rest) = value.split_at(value.find(is_separator).unwrap_or(value.len()));
        // A second `=` shows that two lines were merged. A `:` is a part of a time of day, or
        // after a blank a part of the next pair.
        let starts_with_digit = word.starts_with(|first: char| first.is_ascii_digit());
        let is_next_pair =
            value.len() < after_sign.len() && word.contains(':') && !starts_with_digit;
        let is_word = !word.is_empty() && !word.contains(['=', '"']) && !is_next_pair;
        is_word.then_some(Self { key, value: PairValue::Word(word), rest })
    }
}

fn is_blank(character: char) -> bool {
    matches!(character, ' ' | '\t')
}

fn is_separator(character: char) -> bool {
    matches!(character, ' ' | '\t' | '\r' | '\n' | ',' | ';')
}
