//! Messages that are texts: pairs, CSV, JSON, patterns, or one plain value.

use regex::Regex;

use super::{Channels, Csv, DecodeError, Decoded, Flat, MESSAGES_MAX, Words};
use tidegate_model::excerpt::excerpt;
use tidegate_model::{Value, ValueError};

/// What the CSV reader takes from the text at once.
const CSV_BUFFER_BYTES: usize = 64 * 1024;

/// Channels in the making, out of words.
#[derive(Default)]
pub(super) struct Draft {
    channels: Flat,
    words: Words,
}

/// A value of a text, and how it is written if it is a word that was read.
type Read<'a> = (Result<Value, ValueError>, Option<&'a str>);

fn read_word(word: &str) -> Read<'_> {
    (Value::parse_word(word), Some(word))
}

impl Draft {
    /// Adds a channel; false if it was there already.
    fn insert(&mut self, name: &str, (value, word): Read<'_>) -> bool {
        let shows = |word: &str| match &value {
            Ok(Value::Integer(integer)) => integer.to_string() == word,
            Ok(Value::Float(number)) => number.to_string() == word,
            Ok(Value::Boolean(_) | Value::Text(_)) | Err(ValueError::TextTooLong) => true,
            Err(ValueError::NotFinite | ValueError::NotScalar) => false,
        };
        if let Some(word) = word.filter(|word| !shows(word)) {
            self.words.insert(name.to_owned(), word.to_owned());
        }
        self.channels.insert(name.to_owned(), value).is_none()
    }
}

impl From<Draft> for Decoded {
    fn from(Draft { channels, words }: Draft) -> Self {
        Self { channels: Channels::Flat(channels), words }
    }
}

pub(super) fn decode_pairs(text: &str) -> Result<Draft, DecodeError> {
    if let Some(read) = decode_tabs(text) {
        return read;
    }
    let mut draft = Draft::default();
    let mut rest = text.trim_start_matches(is_separator);
    loop {
        let (at, excerpt) = (text.len() - rest.len(), || excerpt(rest.as_bytes()));
        let Some((key, value, after)) = split_pair(rest) else {
            return Err(DecodeError::NotPair { at, excerpt: excerpt() });
        };
        if !draft.insert(key, value) {
            return Err(DecodeError::RepeatedKey { at, excerpt: excerpt() });
        }
        rest = after.trim_start_matches(is_separator);
        if rest.is_empty() {
            return Ok(draft);
        }
    }
}

/// Lines of a key, a tab and a value, as VE.Direct has them; `None` if they are something else.
fn decode_tabs(text: &str) -> Option<Result<Draft, DecodeError>> {
    let split = |line| {
        let (key, value) = str::split_once(line, '\t')?;
        // A number before a tab is a field of a table.
        let is_key = key.starts_with(char::is_alphabetic)
            && !key.contains(is_separator)
            && !key.contains(['=', ':', '"']);
        (is_key && !value.contains(['\t', '='])).then(|| (key, value.trim()))
    };
    let lines = || text.lines().filter(|line| !line.trim().is_empty());
    if lines().next().is_none() || lines().any(|line| split(line).is_none()) {
        return None;
    }
    let mut draft = Draft::default();
    for (key, value) in lines().filter_map(split).filter(|(_, value)| !value.is_empty()) {
        if !draft.insert(key, read_word(value)) {
            let at = text.rfind(&format!("{key}\t")).unwrap_or(0);
            let excerpt = excerpt(text.get(at..).unwrap_or_default().as_bytes());
            return Some(Err(DecodeError::RepeatedKey { at, excerpt }));
        }
    }
    Some(Ok(draft))
}

/// Splits `key=value` or `key="value"` off the front of `text`; returns key, value and what follows. Blanks may stand around the
/// sign, as in `key: value`.
fn split_pair(text: &str) -> Option<(&str, Read<'_>, &str)> {
    let (key, after_key) = text.split_at(text.find(['=', ':'])?);
    let key = key.trim_end_matches(is_blank);
    if key.is_empty() || key.contains('"') || key.contains(is_separator) {
        return None;
    }
    let behind_sign = after_key.get(1..)?;
    let value = behind_sign.trim_start_matches(is_blank);
    if let Some(quoted) = value.strip_prefix('"') {
        let (text, after) = quoted.split_once('"')?;
        let ends = after.is_empty() || after.starts_with(is_separator);
        return ends.then(|| (key, (Value::text(text), None), after));
    }
    let (word, after) = value.split_at(value.find(is_separator).unwrap_or(value.len()));
    // A second `=` is the mark of two lines that ran together; a `:` may be a time of day, or behind a blank the next pair.
    let is_text = !word.starts_with(|begin: char| begin.is_ascii_digit());
    let is_next_pair = value.len() < behind_sign.len() && word.contains(':') && is_text;
    let is_word = !word.is_empty() && !word.contains(['=', '"']) && !is_next_pair;
    is_word.then(|| (key, read_word(word), after))
}

fn is_blank(character: char) -> bool {
    matches!(character, ' ' | '\t')
}

fn is_separator(character: char) -> bool {
    matches!(character, ' ' | '\t' | '\r' | '\n' | ',' | ';')
}

/// Reads records: one, or with `header` any number behind the record that names the columns.
pub(super) fn decode_csv(text: &str, csv: &Csv) -> Result<Vec<Draft>, DecodeError> {
    let not_record =
        |problem| DecodeError::NotRecord { problem, excerpt: excerpt(text.as_bytes()) };
    // The reader takes the end of the text for a closing quote.
    if !text.matches('"').count().is_multiple_of(2) {
        return Err(not_record("a quote is not closed"));
    }
    let mut reader = csv::ReaderBuilder::new()
        .has_headers(false)
        .flexible(true)
        .delimiter(csv.delimiter)
        .trim(csv::Trim::All)
        .buffer_capacity(text.len().clamp(1, CSV_BUFFER_BYTES))
        .from_reader(text.as_bytes());
    let mut records = reader.records().map_while(Result::ok);
    let mut columns = csv.columns.clone();
    if csv.header {
        let Some(header) = records.next() else { return Err(not_record("it has no header")) };
        columns = header.iter().map(str::to_owned).collect();
    }
    let mut messages = Vec::new();
    for record in records {
        if messages.len() >= MESSAGES_MAX || !csv.header && !messages.is_empty() {
            return Err(not_record("there is one more"));
        }
        messages.push(name_fields(&record, &columns, text)?);
    }
    if messages.is_empty() { Err(not_record("it is empty")) } else { Ok(messages) }
}

fn name_fields(
    record: &csv::StringRecord,
    columns: &[String],
    text: &str,
) -> Result<Draft, DecodeError> {
    if !columns.is_empty() && columns.len() != record.len() {
        let (expected, found) = (columns.len(), record.len());
        return Err(DecodeError::ColumnCount {
            expected,
            found,
            excerpt: excerpt(text.as_bytes()),
        });
    }
    let name = |index: usize| columns.get(index).cloned().unwrap_or_else(|| index.to_string());
    let mut draft = Draft::default();
    for (index, field) in record.iter().enumerate().filter(|(_, field)| !field.is_empty()) {
        draft.insert(&name(index), read_word(field));
    }
    Ok(draft)
}

pub(super) fn decode_json(text: &str) -> Result<serde_json::Value, DecodeError> {
    serde_json::from_str(text).map_err(|error| DecodeError::NotJson {
        problem: error.to_string(),
        excerpt: excerpt(text.as_bytes()),
    })
}

pub(super) fn decode_text(text: &str) -> Draft {
    let mut draft = Draft::default();
    let word = text.trim();
    if !word.is_empty() {
        draft.insert("value", read_word(word));
    }
    draft
}

/// The named groups that took part in the match.
pub(super) fn decode_pattern(text: &str, pattern: &Regex) -> Result<Draft, DecodeError> {
    let Some(found) = pattern.captures(text) else {
        return Err(DecodeError::NoMatch { excerpt: excerpt(text.as_bytes()) });
    };
    let mut draft = Draft::default();
    for name in pattern.capture_names().flatten() {
        let word = found.name(name).map_or("", |group| group.as_str().trim());
        if !word.is_empty() {
            draft.insert(name, read_word(word));
        }
    }
    Ok(draft)
}
