//! Why a message could not be read.

use super::number::NumberError;
use tidegate_model::Reason;

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
         semicolons, quote a value that holds one, or take format = \"regex\""
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
    /// The pattern does not match.
    #[error(
        "the pattern does not match \"{excerpt}\"; try it on a recorded line, or anchor it less"
    )]
    NoMatch {
        /// How the payload begins.
        excerpt: String,
    },
    /// A binary message that its layout does not fit.
    #[error(
        "field {name} at byte {at} of {bytes}: {problem}, in \"{excerpt}\"; check offset, type and the bus's frame"
    )]
    BadField {
        /// The field.
        name: String,
        /// Where it begins.
        at: usize,
        /// What is wrong.
        problem: NumberError,
        /// The bytes of the message.
        bytes: usize,
        /// How the payload begins.
        excerpt: String,
    },
    /// No sentence of NMEA 0183, or a damaged one.
    #[error("no NMEA 0183 sentence: {problem}, in \"{excerpt}\"; check baud rate and wiring")]
    NotNmea {
        /// What is wrong.
        problem: &'static str,
        /// How the payload begins.
        excerpt: String,
    },
    /// No telegram of a smart meter.
    #[error(
        "no telegram: {problem}, in \"{excerpt}\"; check that the bus's frame begins with / and ends with !"
    )]
    NotTelegram {
        /// What is wrong.
        problem: &'static str,
        /// The line that is wrong.
        excerpt: String,
    },
    /// No advertisement of a Ruuvi sensor.
    #[error(
        "no advertisement of a Ruuvi sensor in data format 3, 5, 6 or E1, in \"{excerpt}\"; is it of another maker?"
    )]
    NotRuuvi {
        /// How the payload begins.
        excerpt: String,
    },
    /// No measurement of a 1-Wire thermometer.
    #[error("no temperature: {problem}, in \"{excerpt}\"")]
    BadThermometer {
        /// What is wrong, and what to do.
        problem: &'static str,
        /// What that counts as.
        reason: Reason,
        /// How the file begins.
        excerpt: String,
    },
    /// What the messages are to be taken from is no array.
    #[error(
        "there is no array at \"{pointer}\"; it is found by a JSON pointer such as \"/readings\""
    )]
    NoArray {
        /// Where it was looked for.
        pointer: String,
    },
    /// More messages in one payload than are taken.
    #[error("{found} messages in one payload; at most {max} are taken at once")]
    TooMany {
        /// How many there are.
        found: usize,
        /// How many are taken.
        max: usize,
    },
    /// No payload of Sparkplug B, or not on a topic of it.
    #[error("no Sparkplug B message: {problem}; check that the topic is below spBv1.0/")]
    NotSparkplug {
        /// What is wrong.
        problem: String,
    },
    /// A metric without a name or a type, of which no birth was heard.
    #[error(
        "no birth of {node} told what {metric} is; restart the node, or let rebirth = true ask it"
    )]
    NoBirth {
        /// Its alias or its name.
        metric: String,
        /// Group, node, and device if it is of one.
        node: String,
    },
    /// A birth that the memory is not meant for.
    #[error(
        "the births of {node} take more than {bytes_max} bytes; divide the node, or shorten its names"
    )]
    BirthTooLarge {
        /// Group, node, and device if it is of one.
        node: String,
        /// What they may take.
        bytes_max: usize,
    },
}

impl DecodeError {
    /// The reason that the message is counted with.
    pub fn reason(&self) -> Reason {
        match self {
            Self::NoBirth { .. } => Reason::NoBirth,
            Self::BadThermometer { reason, .. } => *reason,
            Self::NotUtf8 { .. }
            | Self::NotPair { .. }
            | Self::RepeatedKey { .. }
            | Self::ColumnCount { .. }
            | Self::NotRecord { .. }
            | Self::NotJson { .. }
            | Self::NoMatch { .. }
            | Self::BadField { .. }
            | Self::NotNmea { .. }
            | Self::NotTelegram { .. }
            | Self::NotRuuvi { .. }
            | Self::NoArray { .. }
            | Self::TooMany { .. }
            | Self::NotSparkplug { .. }
            | Self::BirthTooLarge { .. } => Reason::Malformed,
        }
    }
}
