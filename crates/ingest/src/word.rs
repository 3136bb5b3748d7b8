//! Words: the texts of single values in a message, and the rules that read them as values.

use std::borrow::Cow;

use tidegate_model::{Value, ValueError};

/// The longest unit after a number in bytes. Longer texts are not units.
const UNIT_BYTES_MAX: usize = 8;

/// Signs by which instruments mark a number as doubtful. They are no units.
const MARKS: [char; 7] = ['*', '?', '!', '<', '>', '=', '#'];

/// The declared type of a channel.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WordType {
    /// The word as it stands in the message.
    Text,
    /// A number, also one such as `1e3`, or with its unit behind it.
    Number,
    /// A number of up to 64 bits in hexadecimal digits, also with `0x` before them.
    Hex,
    /// `true` or `false`, `1` or `0`, `on` or `off`, `yes` or `no`.
    Boolean,
}

/// The notation of numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NumberStyle {
    /// The decimal sign: a point or a comma.
    pub decimal: char,
    /// The separator of groups of three digits: a comma, a point, a blank or an apostrophe.
    pub thousands: Option<char>,
}

/// The words and numbers that stand for no value, such as `---` or -32768.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct NoneValues {
    /// Words as they stand in the message.
    pub words: Vec<String>,
    /// Numbers, in any notation.
    pub numbers: Vec<f64>,
}

/// How a mapping reads the word of its channel.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct WordRules {
    /// The declared type. Without it, the value is as the decoder read it.
    pub word_type: Option<WordType>,
    /// Whether the number at the front counts, whatever follows it.
    pub is_leading: bool,
    /// The notation of numbers.
    pub numbers: NumberStyle,
    /// The values that stand for none.
    pub none_values: NoneValues,
}

impl Default for NumberStyle {
    fn default() -> Self {
        Self { decimal: '.', thousands: None }
    }
}

impl WordRules {
    /// Reads a value again. `word` is its text in the message, if it had one.
    ///
    /// # Errors
    /// If the value stands for none, or the word is not of the declared type.
    pub fn read(
        &self,
        value: Result<Value, ValueError>,
        word: Option<&str>,
    ) -> Result<Value, ValueError> {
        if self.none_values.contain(word, value.as_ref().ok(), self.numbers) {
            return Err(ValueError::NoValue);
        }
        match (self.word_type, word, value) {
            (_, _, Err(ValueError::NoValue)) => Err(ValueError::NoValue),
            // Only a part of the word is known.
            (_, _, Err(ValueError::Unclear)) => Err(ValueError::Unclear),
            (None, _, value) | (_, None, value) => value,
            (Some(word_type), Some(word), _) => self.read_as(word_type, word.trim()),
        }
    }

    fn read_as(&self, word_type: WordType, word: &str) -> Result<Value, ValueError> {
        let wrong = |expected| ValueError::WrongWord { expected };
        match word_type {
            WordType::Text => Value::text(word),
            WordType::Number => {
                let rest_max = if self.is_leading { usize::MAX } else { UNIT_BYTES_MAX };
                self.numbers.declared_number(word, rest_max).ok_or(wrong("a number"))?
            }
            WordType::Hex => hexadecimal(word).ok_or(wrong("a hexadecimal number of 64 bits")),
            WordType::Boolean => boolean(word).map(Value::Boolean).ok_or(wrong("a boolean")),
        }
    }
}

impl NumberStyle {
    /// Parses a bare word, as [`Value::parse_word`] does for a number in English notation.
    ///
    /// # Errors
    /// As for [`Value::parse_word`].
    pub fn parse_word(self, word: &str) -> Result<Value, ValueError> {
        if self == Self::default() {
            return Value::parse_word(word);
        }
        if !word.is_empty() && self.number_bytes(word, true) == word.len() {
            return Value::parse_word(&self.in_english(word));
        }
        match Value::parse_word(word) {
            // A number in another notation, such as 21.5 with a decimal comma.
            Ok(Value::Integer(_) | Value::Float(_)) => Value::text(word),
            other => other,
        }
    }

    /// Returns the number of bytes that the number at the front of a text has; 0 if there is none.
    ///
    /// Blanks may follow the sign. Without `has_plain_exponent`, `E` and digits belong to the
    /// number only with a decimal sign before them or a sign behind the `E`.
    pub fn number_bytes(self, text: &str, has_plain_exponent: bool) -> usize {
        let sign = text.strip_prefix(['+', '-']);
        let unsigned = sign.map_or(text, |rest| rest.trim_start_matches(' '));
        let start = text.len() - unsigned.len();
        let whole = self.whole_bytes(unsigned);
        let after_sign = unsigned.get(whole..).and_then(|rest| rest.strip_prefix(self.decimal));
        let fraction = match after_sign.map_or(0, digits_bytes) {
            0 => 0,
            digits => self.decimal.len_utf8() + digits,
        };
        let mantissa = whole + fraction;
        if mantissa == 0 {
            return 0;
        }
        let exponent = unsigned.get(mantissa..).and_then(|rest| rest.strip_prefix(['e', 'E']));
        let exponent = exponent.map_or(0, |rest| {
            let sign = usize::from(rest.starts_with(['+', '-']));
            let digits = digits_bytes(rest.get(sign..).unwrap_or_default());
            let is_exponent = digits > 0 && (has_plain_exponent || sign > 0 || fraction > 0);
            if is_exponent { 1 + sign + digits } else { 0 }
        });
        start + mantissa + exponent
    }

    /// Returns the number of bytes of the whole part, with its groups of digits.
    fn whole_bytes(self, text: &str) -> usize {
        let mut bytes = digits_bytes(text);
        let Some(separator) = self.thousands.filter(|_| (1..=3).contains(&bytes)) else {
            return bytes;
        };
        loop {
            let rest = text.get(bytes..).unwrap_or_default();
            let after = rest.strip_prefix(|letter| is_same_separator(separator, letter));
            let Some(after) = after.filter(|after| digits_bytes(after) == 3) else { return bytes };
            bytes += rest.len() - after.len() + 3;
        }
    }

    /// Returns a number in English notation.
    fn in_english(self, number: &str) -> Cow<'_, str> {
        if self == Self::default() && !number.contains(' ') {
            return Cow::Borrowed(number);
        }
        let is_separator =
            |letter| self.thousands.is_some_and(|separator| is_same_separator(separator, letter));
        let letters = number.chars().filter(|letter| !is_separator(*letter) && *letter != ' ');
        letters.map(|letter| if letter == self.decimal { '.' } else { letter }).collect()
    }

    /// Returns the number that a text is, or that stands before a unit, as in `24.0°C` and `55 %`.
    ///
    /// JSON often has numbers in quotes, and instruments print units.
    pub(crate) fn number_with_unit(self, text: &str) -> Option<Value> {
        let is_number = |value: &Value| matches!(value, Value::Integer(_) | Value::Float(_));
        if let Some(value) = self.parse_word(text).ok().filter(is_number) {
            return Some(value);
        }
        self.number_before(text, false, UNIT_BYTES_MAX)?.ok()
    }

    /// Returns the number that a word of a declared number is, or that stands before at most
    /// `rest_max` bytes of a unit.
    fn declared_number(self, word: &str, rest_max: usize) -> Option<Result<Value, ValueError>> {
        let is_whole = !word.is_empty() && self.number_bytes(word, true) == word.len();
        let is_english = self == Self::default();
        let whole = match (is_whole, is_english) {
            (true, _) => Some(Value::parse_number(&self.in_english(word))),
            (false, true) => Some(Value::parse_number(word)),
            (false, false) => None,
        };
        let not_finite = || {
            let number = Value::parse_number(word)?;
            number.is_err().then_some(number)
        };
        whole.flatten().or_else(not_finite).or_else(|| self.number_before(word, true, rest_max))
    }

    fn number_before(
        self,
        text: &str,
        has_plain_exponent: bool,
        rest_max: usize,
    ) -> Option<Result<Value, ValueError>> {
        let (number, rest) = text
            .split_at_checked(self.number_bytes(text, has_plain_exponent))
            .filter(|(number, _)| !number.is_empty())?;
        let is_unit = rest.len() <= rest_max
            && !rest.starts_with(['.', ',', '-', '+', 'x', 'X'])
            && !rest.contains(|letter: char| letter.is_ascii_digit() || MARKS.contains(&letter));
        // A sign at the end belongs to the number.
        let is_rest = rest_max == usize::MAX && !rest.starts_with(['x', 'X']) && rest != "-";
        if is_unit || is_rest { Value::parse_number(&self.in_english(number)) } else { None }
    }
}

impl NoneValues {
    /// Returns whether there are none.
    pub fn is_empty(&self) -> bool {
        self.words.is_empty() && self.numbers.is_empty()
    }

    /// Returns whether a value stands for none. `word` is its text in the message.
    pub fn contain(&self, word: Option<&str>, value: Option<&Value>, numbers: NumberStyle) -> bool {
        let is_word = |word: &str| self.words.iter().any(|one| one == word.trim());
        if word.is_some_and(is_word) {
            return true;
        }
        if self.numbers.is_empty() {
            return false;
        }
        let number = match value {
            #[expect(clippy::cast_precision_loss, reason = "a sentinel is a small number")]
            Some(Value::Integer(integer)) => Some(*integer as f64),
            Some(Value::Float(number)) => Some(*number),
            Some(Value::Text(text)) => number_of(numbers.number_with_unit(text.trim())),
            Some(Value::Boolean(_)) | None => None,
        };
        number.is_some_and(|number| self.numbers.contains(&number))
    }
}

fn number_of(value: Option<Value>) -> Option<f64> {
    match value? {
        #[expect(clippy::cast_precision_loss, reason = "a sentinel is a small number")]
        Value::Integer(integer) => Some(integer as f64),
        Value::Float(number) => Some(number),
        Value::Boolean(_) | Value::Text(_) => None,
    }
}

/// Returns the number of digits at the front of a text.
fn digits_bytes(text: &str) -> usize {
    text.bytes().take_while(u8::is_ascii_digit).count()
}

/// Returns whether a letter separates groups of digits. There are several blanks and apostrophes.
fn is_same_separator(separator: char, letter: char) -> bool {
    match separator {
        ' ' => matches!(letter, ' ' | '\u{a0}' | '\u{2009}' | '\u{202f}'),
        '\'' => matches!(letter, '\'' | '’'),
        _ => letter == separator,
    }
}

fn hexadecimal(word: &str) -> Option<Value> {
    let digits = word.strip_prefix("0x").or_else(|| word.strip_prefix("0X")).unwrap_or(word);
    let is_hex = !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_hexdigit());
    let number = u64::from_str_radix(digits, 16).ok().filter(|_| is_hex)?;
    #[expect(clippy::cast_precision_loss, reason = "JSON has no larger whole numbers")]
    Some(i64::try_from(number).map_or(Value::Float(number as f64), Value::Integer))
}

fn boolean(word: &str) -> Option<bool> {
    let is_one_of = |words: [&str; 4]| words.iter().any(|one| one.eq_ignore_ascii_case(word));
    if is_one_of(["true", "1", "on", "yes"]) {
        Some(true)
    } else {
        is_one_of(["false", "0", "off", "no"]).then_some(false)
    }
}

#[cfg(test)]
mod tests;
