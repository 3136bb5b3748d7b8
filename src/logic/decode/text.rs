//! Messages that are texts: pairs, CSV, JSON, patterns, or one plain value.

use regex::Regex;

use super::{Csv, DecodeError, Flat, MESSAGES_MAX};
use crate::logic::excerpt::excerpt;
use crate::model::{Value, ValueError};

/// What the CSV reader takes from the text at once.
const CSV_BUFFER_BYTES: usize = 64 * 1024;

pub(super) fn decode_pairs(text: &str) -> Result<Flat, DecodeError> {
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

/// Reads records: one, or with `header` any number behind the record that names the columns.
pub(super) fn decode_csv(text: &str, csv: &Csv) -> Result<Vec<Flat>, DecodeError> {
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
) -> Result<Flat, DecodeError> {
    if !columns.is_empty() && columns.len() != record.len() {
        let (expected, found) = (columns.len(), record.len());
        return Err(DecodeError::ColumnCount {
            expected,
            found,
            excerpt: excerpt(text.as_bytes()),
        });
    }
    let name = |index: usize| columns.get(index).cloned().unwrap_or_else(|| index.to_string());
    let fields = record.iter().enumerate().filter(|(_, field)| !field.is_empty());
    Ok(fields.map(|(index, field)| (name(index), Value::parse_word(field))).collect())
}

pub(super) fn decode_json(text: &str) -> Result<serde_json::Value, DecodeError> {
    serde_json::from_str(text).map_err(|error| DecodeError::NotJson {
        problem: error.to_string(),
        excerpt: excerpt(text.as_bytes()),
    })
}

pub(super) fn decode_text(text: &str) -> Flat {
    let word = text.trim();
    let value = (!word.is_empty()).then(|| ("value".to_owned(), Value::parse_word(word)));
    value.into_iter().collect()
}

/// The named groups that took part in the match.
pub(super) fn decode_pattern(text: &str, pattern: &Regex) -> Result<Flat, DecodeError> {
    let Some(found) = pattern.captures(text) else {
        return Err(DecodeError::NoMatch { excerpt: excerpt(text.as_bytes()) });
    };
    let group = |name: &str| {
        let text = found.name(name)?.as_str().trim();
        (!text.is_empty()).then(|| (name.to_owned(), Value::parse_word(text)))
    };
    Ok(pattern.capture_names().flatten().filter_map(group).collect())
}
