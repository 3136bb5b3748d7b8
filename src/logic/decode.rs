//! A line or payload as named values: `key=value` pairs, CSV, JSON, or plain text.
//!
//! A message is decoded whole or refused whole: a line that a loose cable cut short must not yield half a value. What
//! cannot be detected (`t=21.5` cut to `t=2`) is a case for a checksum in the sensor.

use std::fmt;

use std::collections::BTreeMap;

use super::excerpt::excerpt;
use crate::model::{Value, ValueError};

/// How a sensor writes its messages.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Format {
    /// `t=21.5 h=40`: pairs with `=` or `:`, between blanks, commas or semicolons. A value may stand in `"…"`, and is
    /// then a text. The channels are the keys.
    KeyValue,
    /// One record of comma-separated values. An empty field is an absent channel.
    Csv {
        /// The channels; with none, they are called by their index: `0`, `1` and so on.
        columns: Vec<String>,
        /// An ASCII character such as `,` or `;`.
        delimiter: u8,
    },
    /// One JSON document. A channel is a JSON pointer (`/a/0/b`, RFC 6901; the empty one is the whole document) or, without
    /// the leading slash, a key at the top level.
    Json,
    /// The whole payload, without blanks around it, is the channel `value`.
    Text,
}

/// The word by which the configuration calls it.
impl fmt::Display for Format {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::KeyValue => "key-value",
            Self::Csv { .. } => "csv",
            Self::Json => "json",
            Self::Text => "text",
        })
    }
}

/// Why a message could not be read. `at` counts bytes from 0.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DecodeError {
    /// Noise, or another encoding.
    #[error(
        "byte {at} is not UTF-8, from \"{excerpt}\"; check baud rate and parity, or have the sensor \
         send UTF-8"
    )]
    NotUtf8 {
        /// The first byte that is not.
        at: usize,
        /// What is there.
        excerpt: String,
    },
    /// Something in a line of pairs is no pair.
    #[error(
        "no key=value at byte {at}, from \"{excerpt}\"; separate pairs with blanks, commas or \
         semicolons, and quote a value that holds one"
    )]
    NotPair {
        /// Where the token begins.
        at: usize,
        /// What is there.
        excerpt: String,
    },
    /// A key occurs twice, as when two lines ran together.
    #[error("the key at byte {at} is there twice, from \"{excerpt}\"; a line may hold a key once")]
    RepeatedKey {
        /// Where the second pair begins.
        at: usize,
        /// What is there.
        excerpt: String,
    },
    /// A CSV line with more or fewer fields than columns are named.
    #[error(
        "{found} fields where {expected} columns are named, in \"{excerpt}\"; check columns and delimiter"
    )]
    ColumnCount {
        /// How many columns the configuration names.
        expected: usize,
        /// How many fields the line has.
        found: usize,
        /// How the line begins.
        excerpt: String,
    },
    /// A CSV payload that is not one record with every quote closed.
    #[error("no single CSV record: {problem}, in \"{excerpt}\"; send one record per message")]
    NotRecord {
        /// What is wrong.
        problem: &'static str,
        /// How the payload begins.
        excerpt: String,
    },
    /// Not JSON; a NaN is not, either.
    #[error(
        "no JSON: {problem}, in \"{excerpt}\"; JSON has double quotes, no NaN and no trailing comma"
    )]
    NotJson {
        /// What the parser says, with line and column.
        problem: String,
        /// How the payload begins.
        excerpt: String,
    },
}

/// A message as its channels.
#[derive(Debug, Clone, PartialEq)]
pub struct Decoded(Channels);

#[derive(Debug, Clone, PartialEq)]
enum Channels {
    Flat(Flat),
    Json(serde_json::Value),
}

type Flat = BTreeMap<String, Result<Value, ValueError>>;

/// Reads one message.
///
/// # Errors
/// When the payload is not in this format; the message is then to be counted and dropped.
pub fn decode(format: &Format, payload: &[u8]) -> Result<Decoded, DecodeError> {
    let text = std::str::from_utf8(payload).map_err(|error| {
        let at = error.valid_up_to();
        DecodeError::NotUtf8 { at, excerpt: excerpt(payload.get(at..).unwrap_or_default()) }
    })?;
    let channels = match format {
        Format::KeyValue => Channels::Flat(decode_pairs(text)?),
        Format::Csv { columns, delimiter } => {
            Channels::Flat(decode_csv(text, columns, *delimiter)?)
        }
        Format::Json => Channels::Json(decode_json(text)?),
        Format::Text => Channels::Flat(decode_text(text)),
    };
    Ok(Decoded(channels))
}

impl Decoded {
    /// What the message says about a channel; `None` if it says nothing.
    ///
    /// # Errors
    /// When what it says is no [`Value`]: a NaN, a JSON list, an endless text.
    pub fn channel(&self, name: &str) -> Option<Result<Value, ValueError>> {
        match &self.0 {
            Channels::Flat(channels) => channels.get(name).cloned(),
            Channels::Json(document) => {
                let is_pointer = name.is_empty() || name.starts_with('/');
                let json = if is_pointer { document.pointer(name) } else { document.get(name) };
                json.map(Value::try_from)
            }
        }
    }

    /// The channels that the message has; of JSON, the keys at its top level.
    pub fn names(&self) -> Vec<&str> {
        match &self.0 {
            Channels::Flat(channels) => channels.keys().map(String::as_str).collect(),
            Channels::Json(document) => document
                .as_object()
                .map(|object| object.keys().map(String::as_str).collect())
                .unwrap_or_default(),
        }
    }
}

fn decode_pairs(text: &str) -> Result<Flat, DecodeError> {
    let mut channels = Flat::new();
    let mut rest = text.trim_start_matches(is_separator);
    loop {
        let (at, excerpt) = (text.len() - rest.len(), || excerpt(rest.as_bytes()));
        let Some((key, value, after)) = split_pair(rest) else {
            return Err(DecodeError::NotPair { at, excerpt: excerpt() });
        };
        if channels.insert(key.to_owned(), value).is_some() {
            return Err(DecodeError::RepeatedKey { at, excerpt: excerpt() });
        }
        rest = after.trim_start_matches(is_separator);
        if rest.is_empty() {
            return Ok(channels);
        }
    }
}

/// Splits `key=value` or `key="value"` off the front of `text`; returns key, value and what follows.
fn split_pair(text: &str) -> Option<(&str, Result<Value, ValueError>, &str)> {
    let (key, after_key) = text.split_at(text.find(['=', ':'])?);
    if key.is_empty() || key.contains('"') || key.contains(is_separator) {
        return None;
    }
    let value = after_key.get(1..)?;
    if let Some(quoted) = value.strip_prefix('"') {
        let (text, after) = quoted.split_once('"')?;
        let ends = after.is_empty() || after.starts_with(is_separator);
        return ends.then(|| (key, Value::text(text), after));
    }
    let (word, after) = value.split_at(value.find(is_separator).unwrap_or(value.len()));
    // A second `=` is the mark of two lines that ran together; a `:` may be a time of day.
    let is_word = !word.is_empty() && !word.contains(['=', '"']);
    is_word.then(|| (key, Value::parse_word(word), after))
}

fn is_separator(character: char) -> bool {
    matches!(character, ' ' | '\t' | '\r' | '\n' | ',' | ';')
}

fn decode_csv(text: &str, columns: &[String], delimiter: u8) -> Result<Flat, DecodeError> {
    let excerpt = || excerpt(text.as_bytes());
    let not_record = |problem| DecodeError::NotRecord { problem, excerpt: excerpt() };
    // The reader takes the end of the text for a closing quote.
    if !text.matches('"').count().is_multiple_of(2) {
        return Err(not_record("a quote is not closed"));
    }
    let mut reader = csv::ReaderBuilder::new()
        .has_headers(false)
        .flexible(true)
        .delimiter(delimiter)
        .trim(csv::Trim::All)
        .buffer_capacity(text.len().max(1))
        .from_reader(text.as_bytes());
    let mut records = reader.records();
    let Some(Ok(record)) = records.next() else {
        return Err(not_record("it is empty"));
    };
    if records.next().is_some() {
        return Err(not_record("there is a second one"));
    }
    if !columns.is_empty() && columns.len() != record.len() {
        let (expected, found) = (columns.len(), record.len());
        return Err(DecodeError::ColumnCount { expected, found, excerpt: excerpt() });
    }
    let name = |index: usize| columns.get(index).cloned().unwrap_or_else(|| index.to_string());
    let fields = record.iter().enumerate().filter(|(_, field)| !field.is_empty());
    Ok(fields.map(|(index, field)| (name(index), Value::parse_word(field))).collect())
}

fn decode_json(text: &str) -> Result<serde_json::Value, DecodeError> {
    serde_json::from_str(text).map_err(|error| DecodeError::NotJson {
        problem: error.to_string(),
        excerpt: excerpt(text.as_bytes()),
    })
}

fn decode_text(text: &str) -> Flat {
    let word = text.trim();
    let value = (!word.is_empty()).then(|| ("value".to_owned(), Value::parse_word(word)));
    value.into_iter().collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn pairs_may_be_written_as_sensors_write_them() {
        for line in
            ["t=21.5 h=40 door=open", "t:21.5,h:40,door:open", " t=21.5;\th=40 ; door=\"open\"\r\n"]
        {
            let message = decode(&Format::KeyValue, line.as_bytes()).unwrap();
            assert_eq!(message.channel("t"), Some(Ok(Value::Float(21.5))), "{line}");
            assert_eq!(message.channel("h"), Some(Ok(Value::Integer(40))), "{line}");
            assert_eq!(message.channel("door"), Some(Ok(text("open"))), "{line}");
            assert_eq!(message.channel("x"), None, "{line}");
            assert_eq!(message.names(), ["door", "h", "t"]);
        }
    }

    #[test]
    fn a_quoted_value_is_a_text_and_may_hold_separators() {
        let message =
            decode(&Format::KeyValue, br#"serial="0012" place="hall, upstairs" at=12:30"#);
        let message = message.unwrap();
        assert_eq!(message.channel("serial"), Some(Ok(text("0012"))));
        assert_eq!(message.channel("place"), Some(Ok(text("hall, upstairs"))));
        assert_eq!(message.channel("at"), Some(Ok(text("12:30"))));
    }

    #[test]
    fn a_cut_or_merged_line_of_pairs_yields_nothing() {
        for line in [
            "",
            "t",
            "t=",
            "t=21.5 h",
            "t=21.5 h=",
            "=4",
            "t=2t=21.5",
            "t=1 t=2",
            "a=\"b",
            "a=\"b\"c",
            "a=\"b\"c=1",
        ] {
            assert!(decode(&Format::KeyValue, line.as_bytes()).is_err(), "{line} was taken");
        }
    }

    #[test]
    fn an_error_says_what_and_where() {
        let error = |line: &[u8]| decode(&Format::KeyValue, line).unwrap_err().to_string();
        assert!(error(b"t=21 h").starts_with("no key=value at byte 5, from \"h\";"));
        assert!(error(b"t=2\xff1").starts_with("byte 3 is not UTF-8, from \"\\xff1\";"));
        assert!(error(&[b'x'; 1000]).len() < 250);
    }

    #[test]
    fn csv_fields_are_called_by_their_columns() {
        let columns = ["t", "h", "place"].map(str::to_owned).to_vec();
        let format = Format::Csv { columns, delimiter: b';' };
        let message = decode(&format, br#"21.5; ;"hall; upstairs""#).unwrap();
        assert_eq!(message.channel("t"), Some(Ok(Value::Float(21.5))));
        assert_eq!(message.channel("h"), None);
        assert_eq!(message.channel("place"), Some(Ok(text("hall; upstairs"))));
    }

    #[test]
    fn csv_fields_without_columns_are_called_by_their_index() {
        let format = Format::Csv { columns: Vec::new(), delimiter: b',' };
        let message = decode(&format, b"21.5,nan\n").unwrap();
        assert_eq!(message.channel("0"), Some(Ok(Value::Float(21.5))));
        assert_eq!(message.channel("1"), Some(Err(ValueError::NotFinite)));
    }

    #[test]
    fn a_cut_or_merged_csv_line_yields_nothing() {
        let columns = ["t", "h"].map(str::to_owned).to_vec();
        let format = Format::Csv { columns, delimiter: b',' };
        for line in ["", "21.5", "21.5,40,1", "1,2\n3,4", "1,\"2"] {
            assert!(decode(&format, line.as_bytes()).is_err(), "{line} was taken");
        }
    }

    #[test]
    fn a_json_channel_is_a_pointer_or_a_top_level_key() {
        let message =
            decode(&Format::Json, br#"{"t": 21.5, "a": [{"b": true}], "n": null}"#).unwrap();
        assert_eq!(message.channel("t"), Some(Ok(Value::Float(21.5))));
        assert_eq!(message.channel("/t"), Some(Ok(Value::Float(21.5))));
        assert_eq!(message.channel("/a/0/b"), Some(Ok(Value::Boolean(true))));
        assert_eq!(message.channel("n"), Some(Err(ValueError::NotScalar)));
        assert_eq!(message.channel("/a/1/b"), None);
        assert_eq!(decode(&Format::Json, b"7").unwrap().channel(""), Some(Ok(Value::Integer(7))));
    }

    #[test]
    fn what_python_calls_json_is_refused() {
        for payload in ["{\"t\": NaN}", "{'t': 1}", "{\"t\": 21.", "", &"[".repeat(1000)] {
            assert!(decode(&Format::Json, payload.as_bytes()).is_err(), "{payload} was taken");
        }
    }

    #[test]
    fn a_plain_payload_is_the_channel_value() {
        let value = |payload: &[u8]| decode(&Format::Text, payload).unwrap().channel("value");
        assert_eq!(value(b" 21.5\n"), Some(Ok(Value::Float(21.5))));
        assert_eq!(value("zu kühl".as_bytes()), Some(Ok(text("zu kühl"))));
        assert_eq!(value(b" "), None);
    }

    proptest! {
        #[test]
        fn no_payload_panics(payload: Vec<u8>, line in "[a-c0-9=:,; \"]{0,20}", delimiter: u8) {
            let columns = vec!["a".to_owned(), "b".to_owned()];
            let csv = Format::Csv { columns, delimiter };
            for format in [Format::KeyValue, csv, Format::Json, Format::Text] {
                for payload in [payload.as_slice(), line.as_bytes()] {
                    if let Err(error) = decode(&format, payload) {
                        prop_assert!(error.to_string().len() < 300, "{error}");
                    }
                }
            }
        }

        #[test]
        fn a_written_pair_reads_back(key in "[a-z]{1,8}", number in -1e9..1e9_f64) {
            let line = format!("{key}={number:?}");
            let message = decode(&Format::KeyValue, line.as_bytes()).unwrap();
            prop_assert_eq!(message.channel(&key), Some(Ok(Value::Float(number))));
        }
    }

    fn text(text: &str) -> Value {
        Value::Text(text.to_owned())
    }
}
