//! Comma-separated values.

use std::borrow::Cow;

use csv::{ReaderBuilder, StringRecord, Trim};

use super::decoded::{Decoded, DecodedBuilder};
use super::decoder::{Decoder, DecoderKind, DecoderOption, DecoderOptions, MESSAGES_MAX};
use super::error::DecodeError;
use super::sparkplug::Births;
use super::text::utf8;
use crate::word::NumberStyle;
use tidegate_model::excerpt::excerpt;

pub(super) const KIND: DecoderKind = DecoderKind {
    name: Csv::NAME,
    options: &[
        DecoderOption::Encoding,
        DecoderOption::Columns,
        DecoderOption::Header,
        DecoderOption::Delimiter,
        DecoderOption::Decimal,
        DecoderOption::Thousands,
    ],
    create: |options| {
        let DecoderOptions { columns, has_header, delimiter, numbers, .. } = options;
        Some(Csv { columns, has_header, delimiter, numbers }.into())
    },
};

/// The most bytes that the CSV reader copies at once.
const BUFFER_BYTES: usize = 64 * 1024;

/// Decodes one record, or with a header any number of records. An empty field is a channel without
/// a value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Csv {
    /// The names of the channels; without names, the channels are `0`, `1` and so on.
    pub columns: Vec<String>,
    /// Whether the first record names the columns. Each other record is then a message.
    pub has_header: bool,
    /// The delimiter of the fields, an ASCII character. A blank stands for any number of blanks and
    /// tabs, and those at the ends of a line are none.
    pub delimiter: u8,
    /// The notation of numbers.
    pub numbers: NumberStyle,
}

impl Default for Csv {
    fn default() -> Self {
        let numbers = NumberStyle::default();
        Self { columns: Vec::new(), has_header: false, delimiter: b',', numbers }
    }
}

impl Csv {
    /// The name of the format in the configuration.
    pub const NAME: &str = "csv";

    /// Returns a message with the columns of a record. `text` is the payload, for errors.
    fn message(
        &self,
        columns: &[String],
        record: &StringRecord,
        text: &str,
    ) -> Result<Decoded, DecodeError> {
        if !columns.is_empty() && columns.len() != record.len() {
            let (expected, found) = (columns.len(), record.len());
            let excerpt = excerpt(text.as_bytes());
            return Err(DecodeError::ColumnCount { expected, found, excerpt });
        }
        let name = |index: usize| columns.get(index).cloned().unwrap_or_else(|| index.to_string());
        let mut message = DecodedBuilder::new(self.numbers);
        for (index, field) in record.iter().enumerate() {
            message.add_field(&name(index), field);
        }
        Ok(message.build())
    }
}

impl Decoder for Csv {
    fn name(&self) -> &'static str {
        Self::NAME
    }

    fn channels(&self) -> Option<Vec<String>> {
        (!self.columns.is_empty()).then(|| self.columns.clone())
    }

    fn decode(
        &self,
        _topic: &str,
        payload: &[u8],
        _births: &mut Births,
    ) -> Result<Vec<Decoded>, DecodeError> {
        let text = utf8(payload)?;
        // The reader accepts the end of the text in place of a closing quote.
        if !text.matches('"').count().is_multiple_of(2) {
            return Err(invalid("unclosed quote", text));
        }
        let text =
            if self.delimiter == b' ' { joined_blanks(text).into() } else { Cow::Borrowed(text) };
        let text = text.as_ref();
        let mut reader = ReaderBuilder::new()
            .has_headers(false)
            .flexible(true)
            .delimiter(self.delimiter)
            .trim(Trim::All)
            .buffer_capacity(text.len().clamp(1, BUFFER_BYTES))
            .from_reader(text.as_bytes());
        let mut records = reader.records().map_while(Result::ok);
        let mut columns = self.columns.clone();
        if self.has_header {
            let Some(header) = records.next() else { return Err(invalid("no header", text)) };
            columns = header.iter().map(str::to_owned).collect();
        }
        let records_max = if self.has_header { MESSAGES_MAX } else { 1 };
        let mut messages = Vec::new();
        for record in records {
            if messages.len() >= records_max {
                return Err(invalid("too many records", text));
            }
            messages.push(self.message(&columns, &record, text)?);
        }
        if messages.is_empty() { Err(invalid("no record", text)) } else { Ok(messages) }
    }
}

/// Returns the text with one blank for several and for tabs, outside of quotes and between fields.
fn joined_blanks(text: &str) -> String {
    let is_blank = |character: char| matches!(character, ' ' | '\t');
    let mut joined = String::with_capacity(text.len());
    let (mut is_quoted, mut is_pending) = (false, false);
    for character in text.chars() {
        if !is_quoted && is_blank(character) {
            is_pending = true;
            continue;
        }
        let is_between = !joined.is_empty() && !joined.ends_with('\n');
        if std::mem::take(&mut is_pending) && is_between && !matches!(character, '\r' | '\n') {
            joined.push(' ');
        }
        is_quoted ^= character == '"';
        joined.push(character);
    }
    joined
}

fn invalid(problem: &'static str, text: &str) -> DecodeError {
    DecodeError::Invalid {
        format: "CSV",
        problem: problem.into(),
        excerpt: excerpt(text.as_bytes()),
        advice: "send one record per message, with all quotes closed",
    }
}
