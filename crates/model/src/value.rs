//! The value of a measurement: a number, a boolean or a text.

use serde::{Serialize, Serializer};

/// The longest text value that Losant accepts, in bytes (devices/attributes, "string").
const TEXT_BYTES_MAX: usize = 64 * 1024;

/// Holds the value of a channel or an attribute. Losant accepts no null, list or object here.
#[derive(Debug, Clone, PartialEq)]
pub enum Value {
    /// A whole number. It stays exact unless the mapping scales it.
    Integer(i64),
    /// A finite number: neither NaN nor infinite, which JSON cannot write.
    Float(f64),
    /// True or false.
    Boolean(bool),
    /// Any text, 64 KiB at most.
    Text(String),
}

/// Lists the reasons why a number, text or JSON value is not a [`Value`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ValueError {
    /// NaN or an infinity.
    #[error("the number is NaN or infinite, which JSON cannot carry")]
    NotFinite,
    /// A text over 64 KiB.
    #[error("the text is longer than {TEXT_BYTES_MAX} bytes, Losant's limit for a string")]
    TextTooLong,
    /// A JSON null, array or object.
    #[error(
        "an attribute value cannot be null, an array or an object; \
         point at a number, string or boolean inside it"
    )]
    NotScalar,
    /// A word that stands for no value, such as `---`, or an empty word.
    #[error("there is no value")]
    NoValue,
    /// A word of another type than the mapping declares.
    #[error("the word is not {expected}; check type and number of the mapping")]
    WrongWord {
        /// The declared type with its article, such as `a number`.
        expected: &'static str,
    },
    /// A word that may be only a part of the value.
    #[error(
        "the value goes on behind a separator; quote a text, set decimal or thousands for a \
         number, or use format = \"regex\""
    )]
    Unclear,
    /// A text in an unknown encoding.
    #[error("the text is not UTF-8; set encoding, such as \"latin-1\"")]
    NotUtf8,
    /// A digit above 9 in binary-coded decimal.
    #[error("not binary-coded decimal: a half-byte is above 9")]
    NotDecimal,
}

impl Value {
    /// Creates a number.
    ///
    /// # Errors
    /// If the number is NaN or infinite.
    pub fn float(number: f64) -> Result<Self, ValueError> {
        if number.is_finite() { Ok(Self::Float(number)) } else { Err(ValueError::NotFinite) }
    }

    /// Creates a text.
    ///
    /// # Errors
    /// If the text is longer than 64 KiB.
    pub fn text(text: impl Into<String>) -> Result<Self, ValueError> {
        let text = text.into();
        if text.len() <= TEXT_BYTES_MAX {
            Ok(Self::Text(text))
        } else {
            Err(ValueError::TextTooLong)
        }
    }

    /// Parses a bare word of a line or a plain payload: a number, `true`, `false`, or else a text.
    ///
    /// Digits, an `E` and digits are a text: a status word (`0000E001`), a serial number or an
    /// article number looks the same as `1e3`. [`Value::parse_number`] reads them as a number.
    ///
    /// # Errors
    /// If the word is `nan` or `inf` in any spelling that a C `printf` writes: a sensor prints
    /// these words when it has no value. If the text is longer than 64 KiB.
    pub fn parse_word(word: &str) -> Result<Self, ValueError> {
        match word {
            "true" => Ok(Self::Boolean(true)),
            "false" => Ok(Self::Boolean(false)),
            _ if is_digits_e_digits(word) => Self::text(word),
            _ => Self::parse_number(word).unwrap_or_else(|| Self::text(word)),
        }
    }

    /// Parses a word that is a number, also one such as `1e3`. `None` if the word is none.
    ///
    /// The number is an error if it is NaN or infinite, as for [`Value::parse_word`].
    pub fn parse_number(word: &str) -> Option<Result<Self, ValueError>> {
        if let Ok(integer) = word.parse() {
            return Some(Ok(Self::Integer(integer)));
        }
        match word.parse() {
            Ok(number) => Some(Self::float(number)),
            // An Arduino's `print` writes `ovf` for a number that it cannot write.
            Err(_) if word == "ovf" => Some(Err(ValueError::NotFinite)),
            Err(_) => signed(word).map(Self::float),
        }
    }
}

/// Returns whether a word is digits, an `E` and digits, without a point and without a sign.
fn is_digits_e_digits(word: &str) -> bool {
    let is_digits = |part: &str| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit());
    word.split_once(['e', 'E'])
        .is_some_and(|(mantissa, exponent)| is_digits(mantissa) && is_digits(exponent))
}

/// Parses a number with spaces after its sign, as scales print it: `-   12.34`.
fn signed(word: &str) -> Option<f64> {
    let (sign, number) = word.split_at_checked(1)?;
    let digits = number.trim_start_matches(' ');
    let is_apart = matches!(sign, "+" | "-") && digits.len() < number.len();
    let number = digits
        .parse()
        .ok()
        .filter(|_| is_apart && digits.starts_with(|digit: char| digit.is_ascii_digit()));
    number.map(|number: f64| if sign == "-" { -number } else { number })
}

impl TryFrom<&serde_json::Value> for Value {
    type Error = ValueError;

    fn try_from(json: &serde_json::Value) -> Result<Self, ValueError> {
        match json {
            serde_json::Value::Bool(boolean) => Ok(Self::Boolean(*boolean)),
            serde_json::Value::Number(number) => match number.as_i64() {
                Some(integer) => Ok(Self::Integer(integer)),
                None => Self::float(number.as_f64().unwrap_or(f64::NAN)),
            },
            serde_json::Value::String(text) => Self::text(text.as_str()),
            serde_json::Value::Null
            | serde_json::Value::Array(_)
            | serde_json::Value::Object(_) => Err(ValueError::NotScalar),
        }
    }
}

impl Serialize for Value {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Integer(integer) => serializer.serialize_i64(*integer),
            Self::Float(number) => serializer.serialize_f64(*number),
            Self::Boolean(boolean) => serializer.serialize_bool(*boolean),
            Self::Text(text) => serializer.serialize_str(text),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parses_a_word_as_number_boolean_or_text() {
        assert_eq!(Value::parse_word("12"), Ok(Value::Integer(12)));
        assert_eq!(Value::parse_word("-1.50"), Ok(Value::Float(-1.5)));
        assert_eq!(Value::parse_word("1.0e3"), Ok(Value::Float(1000.0)));
        assert_eq!(Value::parse_word("true"), Ok(Value::Boolean(true)));
        assert_eq!(Value::parse_word("open"), Ok(Value::Text("open".to_owned())));
    }

    #[test]
    fn digits_e_digits_are_a_number_only_if_declared() {
        for word in ["0000E001", "12E4", "04E1", "1e3", "9E99999"] {
            assert_eq!(Value::parse_word(word), Ok(Value::Text(word.to_owned())), "{word}");
        }
        for (word, number) in [("12E-4", 0.0012), ("-12E4", -120_000.0), ("1.2E4", 12_000.0)] {
            assert_eq!(Value::parse_word(word), Ok(Value::Float(number)), "{word}");
        }
        assert_eq!(Value::parse_number("1e3"), Some(Ok(Value::Float(1000.0))));
        assert_eq!(Value::parse_number("E001"), None);
        assert_eq!(Value::parse_number("nan"), Some(Err(ValueError::NotFinite)));
    }

    #[test]
    fn parses_spaces_after_a_sign() {
        for (word, number) in [("-   12.34", -12.34), ("+  12", 12.0), ("- 0", 0.0)] {
            assert_eq!(Value::parse_word(word), Ok(Value::Float(number)), "{word}");
        }
        for text in ["- -1", "-", "- ", "+ kg", "- 1 2", "1 - 2", "-\t1", "- inf", "ä 1"] {
            assert_eq!(Value::parse_word(text), Ok(Value::Text(text.to_owned())), "{text}");
        }
    }

    #[test]
    fn rejects_numbers_that_json_cannot_write() {
        for word in ["nan", "NaN", "-nan", "inf", "-Infinity", "1.0e999", "ovf"] {
            assert_eq!(Value::parse_word(word), Err(ValueError::NotFinite), "{word}");
        }
    }

    #[test]
    fn converts_only_json_scalars() {
        let json = serde_json::json!([1, 1.5, true, "a", null, [], {}]);
        let values: Vec<_> = json.as_array().unwrap().iter().map(Value::try_from).collect();
        assert_eq!(values[0], Ok(Value::Integer(1)));
        assert_eq!(values[1], Ok(Value::Float(1.5)));
        assert_eq!(values[2], Ok(Value::Boolean(true)));
        assert_eq!(values[3], Ok(Value::Text("a".to_owned())));
        assert!(values[4..].iter().all(|value| *value == Err(ValueError::NotScalar)));
    }
}
