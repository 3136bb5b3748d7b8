//! Decode errors.

use std::borrow::Cow;

use tidegate_model::Reason;

use super::field::FieldError;

/// The reason that a payload was rejected. `at` counts bytes from 0.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DecodeError {
    /// The payload is noise, or a text in another encoding.
    #[error(
        "byte {at} is not UTF-8, from \"{excerpt}\"; check baud rate and parity, or set encoding, \
         such as \"latin-1\""
    )]
    NotUtf8 {
        /// The first invalid byte.
        at: usize,
        /// The text from there.
        excerpt: String,
    },
    /// A part of a line of pairs is not a pair.
    #[error(
        "no key=value at byte {at}, from \"{excerpt}\"; separate pairs with blanks, commas or \
         semicolons, quote a value that contains one, or use format = \"regex\""
    )]
    NotPair {
        /// The start of the part.
        at: usize,
        /// The text from there.
        excerpt: String,
    },
    /// A key occurs twice, as after a merge of two lines.
    #[error("duplicate key at byte {at}, from \"{excerpt}\"; a message may contain a key once")]
    DuplicateKey {
        /// The start of the second pair.
        at: usize,
        /// The text from there.
        excerpt: String,
    },
    /// A CSV record has more or fewer fields than columns.
    #[error("{found} fields for {expected} columns, in \"{excerpt}\"; check columns and delimiter")]
    ColumnCount {
        /// The number of columns.
        expected: usize,
        /// The number of fields.
        found: usize,
        /// The start of the payload.
        excerpt: String,
    },
    /// The pattern does not match.
    #[error(
        "the pattern does not match \"{excerpt}\"; test it on a recorded line, or anchor it less"
    )]
    NoMatch {
        /// The start of the payload.
        excerpt: String,
    },
    /// A field of a binary message is missing or not valid.
    #[error(
        "field {name} at byte {at} of {bytes}: {problem}, in \"{excerpt}\"; check offset, kind and \
         the frame of the bus"
    )]
    InvalidField {
        /// The name of the field.
        name: String,
        /// The start of the field.
        at: usize,
        /// The problem.
        problem: FieldError,
        /// The length of the message.
        bytes: usize,
        /// The start of the payload.
        excerpt: String,
    },
    /// The payload is not valid in the format of the decoder.
    #[error("invalid {format}: {problem}, in \"{excerpt}\"; {advice}")]
    Invalid {
        /// The format in words, such as `NMEA 0183 sentence`.
        format: &'static str,
        /// The problem.
        problem: Cow<'static, str>,
        /// The invalid text.
        excerpt: String,
        /// The next step for the operator.
        advice: &'static str,
    },
    /// A 1-Wire thermometer reported a fault.
    #[error("invalid 1-Wire reading: {problem}, in \"{excerpt}\"; {advice}")]
    Thermometer {
        /// The problem.
        problem: &'static str,
        /// The ledger reason.
        reason: Reason,
        /// The start of the payload.
        excerpt: String,
        /// The next step for the operator.
        advice: &'static str,
    },
    /// There is no array for a JSON pointer.
    #[error("no array at \"{pointer}\"; give a JSON pointer such as \"/readings\"")]
    NoArray {
        /// The JSON pointer.
        pointer: String,
    },
    /// A payload has more messages than the limit.
    #[error("{found} messages in one payload; the limit is {max}")]
    TooManyMessages {
        /// The number of messages.
        found: usize,
        /// The limit.
        max: usize,
    },
    /// The topic or the payload is not of Sparkplug B.
    #[error("invalid Sparkplug B message: {problem}; check that the topic is below spBv1.0/")]
    InvalidSparkplug {
        /// The problem.
        problem: &'static str,
    },
    /// The birth certificate that explains a metric was not received.
    #[error(
        "no birth certificate of {node} explains {metric}; restart the node, or set rebirth = true"
    )]
    NoBirth {
        /// The alias or the name of the metric.
        metric: String,
        /// The group, the node and, if there is one, the device.
        node: String,
    },
    /// The birth certificates of a node need too much memory.
    #[error(
        "the birth certificates of {node} need more than {bytes_max} bytes; split the node, or \
         shorten its names"
    )]
    BirthTooLarge {
        /// The group, the node and, if there is one, the device.
        node: String,
        /// The limit.
        bytes_max: usize,
    },
}

impl DecodeError {
    /// Returns the ledger reason for the rejected message.
    pub fn reason(&self) -> Reason {
        match self {
            Self::NoBirth { .. } => Reason::NoBirth,
            Self::Thermometer { reason, .. } => *reason,
            Self::NotUtf8 { .. }
            | Self::NotPair { .. }
            | Self::DuplicateKey { .. }
            | Self::ColumnCount { .. }
            | Self::NoMatch { .. }
            | Self::InvalidField { .. }
            | Self::Invalid { .. }
            | Self::NoArray { .. }
            | Self::TooManyMessages { .. }
            | Self::InvalidSparkplug { .. }
            | Self::BirthTooLarge { .. } => Reason::Malformed,
        }
    }
}
