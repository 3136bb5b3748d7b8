//! Pairs of a key and a value.

use super::decoded::{Decoded, DecodedBuilder};
use super::decoder::{Decoder, DecoderKind, DecoderOption};
use super::error::DecodeError;
use super::sparkplug::Births;
use super::text::utf8;
use crate::word::NumberStyle;
use tidegate_model::excerpt::excerpt;

pub(super) const KIND: DecoderKind = DecoderKind {
    name: KeyValue::NAME,
    options: &[DecoderOption::Encoding, DecoderOption::Decimal, DecoderOption::Thousands],
    create: |options| Some(KeyValue { numbers: options.numbers }.into()),
};

/// Decodes pairs such as `t=21.5 h=40`. The channels are the keys.
///
/// The sign is `=` or `:`. Blanks, commas or semicolons separate the pairs. A value in `"…"` is
/// a text. Words without a sign, such as a unit or an address, are skipped. A key without a value
/// has no value; a value that may go on behind a separator is an error of its channel only. The
/// other form is a line for each pair, with a tab between key and value (VE.Direct).
#[derive(Debug, Clone, Copy, Default)]
pub struct KeyValue {
    /// The notation of numbers. A decimal comma between digits separates no pairs.
    pub numbers: NumberStyle,
}

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
        let message = match decode_tab_lines(text, self.numbers) {
            Some(decoded) => decoded?,
            None => Line::new(text, self.numbers).decode()?,
        };
        Ok(vec![message])
    }
}

/// A line of pairs that is being decoded.
struct Line<'a> {
    text: &'a str,
    numbers: NumberStyle,
    message: DecodedBuilder,
    /// The last pair with a word as its value.
    last: Option<(&'a str, &'a str)>,
    /// Whether a word without a sign is the only part of the field so far.
    is_key_begun: bool,
}

impl<'a> Line<'a> {
    fn new(text: &'a str, numbers: NumberStyle) -> Self {
        let message = DecodedBuilder::new(numbers);
        Self { text, numbers, message, last: None, is_key_begun: false }
    }

    fn decode(mut self) -> Result<Decoded, DecodeError> {
        let (mut rest, mut pairs) = (self.text, 0);
        loop {
            let part = rest.trim_start_matches(is_separator);
            let gap = rest.get(..rest.len() - part.len()).unwrap_or_default();
            if gap.contains(|letter| is_separator(letter) && !is_blank(letter)) {
                self.is_key_begun = false;
            }
            if part.is_empty() && pairs > 0 {
                return Ok(self.message.build());
            }
            let from = if part.is_empty() { self.text } else { part };
            let at = self.text.len() - from.len();
            let not_pair = || DecodeError::NotPair { at, excerpt: excerpt(from.as_bytes()) };
            let item = Item::split_off(part, self.numbers).ok_or_else(not_pair)?;
            // A word and a tab is the other form, in a block whose lines do not all have it.
            if matches!(item.kind, ItemKind::Word)
                && self.last.is_none()
                && item.rest.starts_with('\t')
            {
                return Err(not_pair());
            }
            if matches!(item.kind, ItemKind::Word) {
                self.skip_word(item.name, gap);
            } else {
                // A key with a blank, as in `room t: 21.5`, has a colon.
                if self.is_key_begun && item.is_colon {
                    return Err(not_pair());
                }
                self.add_pair(&item, part)?;
                pairs += 1;
            }
            rest = item.rest;
        }
    }

    fn add_pair(&mut self, item: &Item<'a>, part: &str) -> Result<(), DecodeError> {
        let is_new = match item.kind {
            ItemKind::Pair(word) => self.message.add_word(item.name, word),
            ItemKind::Quoted(text) => self.message.add_text(item.name, text),
            ItemKind::Empty | ItemKind::Word => self.message.add_nothing(item.name),
        };
        self.last = match item.kind {
            ItemKind::Pair(word) => Some((item.name, word)),
            ItemKind::Quoted(_) | ItemKind::Empty | ItemKind::Word => None,
        };
        self.is_key_begun = false;
        let at = self.text.len() - part.len();
        let excerpt = || excerpt(part.as_bytes());
        if is_new { Ok(()) } else { Err(DecodeError::DuplicateKey { at, excerpt: excerpt() }) }
    }

    /// Skips a word without a sign. The value before it is unclear if the word may belong to it:
    /// a text with a blank, or digits behind a blank or a comma.
    fn skip_word(&mut self, word: &str, gap: &str) {
        let Some((key, value)) = self.last.take() else {
            self.is_key_begun = true;
            return;
        };
        let has_digits = word.starts_with(|first: char| first.is_ascii_digit());
        let is_whole = value.trim_start_matches(['+', '-']).bytes().all(|one| one.is_ascii_digit());
        let is_number = self.numbers.number_bytes(value, true) > 0;
        let is_same_field = gap.chars().all(is_blank);
        let is_unclear = if is_number {
            is_whole && has_digits && matches!(gap, " " | ",")
        } else {
            is_same_field
        };
        if is_unclear {
            self.message.set_unclear(key, value);
        } else if !is_same_field {
            self.is_key_begun = true;
        } else if !has_digits {
            // A unit may have several words.
            self.last = Some((key, value));
        }
    }
}

/// A pair or a word at the front of a text.
struct Item<'a> {
    /// The key of a pair, or the word.
    name: &'a str,
    kind: ItemKind<'a>,
    /// Whether the sign of the pair is a colon.
    is_colon: bool,
    /// The text after the item.
    rest: &'a str,
}

#[derive(Clone, Copy)]
enum ItemKind<'a> {
    /// A word without a sign.
    Word,
    /// A pair with a bare word as its value.
    Pair(&'a str),
    /// A pair with a text in quotes.
    Quoted(&'a str),
    /// A pair without a value.
    Empty,
}

impl<'a> Item<'a> {
    /// Splits a word, `key=value` or `key="value"` off. Blanks may surround the sign, as in
    /// `key: value`. `None` if the text begins with a sign or a quote, or if lines were merged.
    fn split_off(text: &'a str, numbers: NumberStyle) -> Option<Self> {
        let is_end = |letter| is_separator(letter) || matches!(letter, '=' | ':' | '"');
        let (name, after) = text.split_at(text.find(is_end).unwrap_or(text.len()));
        if name.is_empty() || after.starts_with('"') {
            return None;
        }
        let sign = after.trim_start_matches(is_blank);
        let Some(after_sign) = sign.strip_prefix(['=', ':']) else {
            return Some(Self { name, kind: ItemKind::Word, is_colon: false, rest: after });
        };
        let is_colon = sign.starts_with(':');
        let value = after_sign.trim_start_matches(is_blank);
        if let Some(quoted) = value.strip_prefix('"') {
            let (text, rest) = quoted.split_once('"')?;
            let is_whole = rest.is_empty() || rest.starts_with(is_separator);
            return is_whole.then_some(Self { name, kind: ItemKind::Quoted(text), is_colon, rest });
        }
        let number = value.get(numbers.number_bytes(value, true)..).unwrap_or_default();
        let after_word = number.find(is_separator).map_or("", |at| number.get(at..).unwrap_or(""));
        let word = value.get(..value.len() - after_word.len()).unwrap_or_default();
        let has_blank = value.len() < after_sign.len();
        if word.is_empty() || (has_blank && is_pair(word)) {
            return Some(Self { name, kind: ItemKind::Empty, is_colon, rest: value });
        }
        // A second `=` shows that two lines were merged.
        let is_word = !word.contains(['=', '"']);
        is_word.then_some(Self { name, kind: ItemKind::Pair(word), is_colon, rest: after_word })
    }
}

/// Returns whether a word behind a blank is the next pair, not a value: the value is missing. A
/// `:` behind a digit is a part of a time of day, and several are a part of an address.
fn is_pair(word: &str) -> bool {
    let starts_with_digit = word.starts_with(|first: char| first.is_ascii_digit());
    let is_colon_pair = !starts_with_digit && word.matches(':').count() == 1;
    word.find('=').is_some_and(|at| at > 0) || is_colon_pair
}

/// Decodes lines of a key, a tab and a value. `None` if a line has another form.
///
/// Old instruments insert a line with a message of another protocol, which begins with a colon
/// (VE.Direct protocol, "HEX protocol").
fn decode_tab_lines(text: &str, numbers: NumberStyle) -> Option<Result<Decoded, DecodeError>> {
    let split = |line| {
        let (key, value) = str::split_once(line, '\t')?;
        // A number before a tab is a field of a table, not a key.
        let is_key = key.starts_with(char::is_alphabetic)
            && !key.contains(is_separator)
            && !key.contains(['=', ':', '"']);
        (is_key && !value.contains(['\t', '='])).then(|| (key, value.trim()))
    };
    let lines = || text.lines().filter(|line| !line.trim().is_empty() && !is_hex_message(line));
    if lines().next().is_none() || lines().any(|line| split(line).is_none()) {
        return None;
    }
    let mut message = DecodedBuilder::new(numbers);
    for (key, value) in lines().filter_map(split).filter(|(_, value)| !value.is_empty()) {
        if !message.add_word(key, value) {
            let at = text.rfind(&format!("{key}\t")).unwrap_or(0);
            let excerpt = excerpt(text.get(at..).unwrap_or_default().as_bytes());
            return Some(Err(DecodeError::DuplicateKey { at, excerpt }));
        }
    }
    Some(Ok(message.build()))
}

fn is_hex_message(line: &str) -> bool {
    let digits = line.trim().strip_prefix(':');
    digits.is_some_and(|digits| digits.bytes().all(|digit| digit.is_ascii_hexdigit()))
}

fn is_blank(character: char) -> bool {
    matches!(character, ' ' | '\t')
}

fn is_separator(character: char) -> bool {
    matches!(character, ' ' | '\t' | '\r' | '\n' | ',' | ';')
}
