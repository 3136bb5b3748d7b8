//! The record of one command, and the digest by which a repeated command is recognised.

use std::fmt::Write as _;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use tidegate_model::excerpt::excerpt;
use tidegate_model::{Command, CommandResult, DeviceId, Name, ReadingTime, Source, WallTime};

/// The longest message of a result, in characters.
pub(super) const MESSAGE_CHARS_MAX: usize = 200;

/// How much of a payload is kept, in characters. Only people read it.
const PAYLOAD_CHARS_MAX: usize = 200;

/// The longest name that is kept, in characters: Losant's maximum (schema `deviceCommand`).
const NAME_CHARS_MAX: usize = 255;

/// How far ahead of the gateway's clock a command may be dated.
///
/// A command that is further ahead does not run, because it would raise the floor for all commands
/// that are sent before its time.
pub const AHEAD_MAX: Duration = Duration::from_secs(300);

/// The identity of a command: the first half of a SHA-256.
///
/// It is serialised as text, because few JSON parsers support numbers of 128 bits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub struct Digest(u128);

impl From<Digest> for String {
    fn from(Digest(half): Digest) -> Self {
        format!("{half:032x}")
    }
}

impl TryFrom<String> for Digest {
    type Error = std::num::ParseIntError;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        u128::from_str_radix(&text, 16).map(Self)
    }
}

/// The record of one command.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Record {
    /// Its number on this gateway, from 1.
    pub number: u64,
    /// The device on whose stream it arrived.
    pub device: DeviceId,
    /// The device that it is for; differs from `device` if the payload names another one.
    pub target: DeviceId,
    /// Its name.
    pub name: String,
    /// The id in its payload.
    pub id: Option<String>,
    /// The beginning of its payload.
    pub payload: String,
    /// When Losant accepted it, in milliseconds since the Unix epoch.
    pub time_ms: Option<i64>,
    /// When it arrived at the gateway.
    #[serde(with = "text")]
    pub received: ReadingTime,
    /// Whether it was read from the command history after a gap.
    pub is_caught_up: bool,
    /// Its actuator.
    pub actuator: Option<Name>,
    /// Its result.
    pub result: CommandResult,
    /// The reason, or the answer of the actuator.
    pub message: String,
    /// How long the actuator took.
    pub duration_ms: Option<u64>,
    /// When it ended.
    #[serde(with = "optional_text")]
    pub finished: Option<ReadingTime>,
    /// Whether the report of the result is stored in the outbox.
    #[serde(rename = "is_told")]
    pub is_reported: bool,
    /// Its identity; `None` if it has neither time nor id, and so can never be recognised.
    pub digest: Option<Digest>,
}

impl Record {
    /// Creates the record of a command with the result `Started`.
    pub fn new(command: &Command, source: Source, id: Option<&str>, now: ReadingTime) -> Self {
        Self {
            number: 0,
            device: command.device,
            target: command.device,
            name: command.name.chars().take(NAME_CHARS_MAX).collect(),
            id: id.map(|id| excerpt(id.as_bytes())),
            payload: truncate(&command.payload.to_string()),
            time_ms: command.time.map(WallTime::as_millis),
            received: now,
            is_caught_up: source == Source::CaughtUp,
            actuator: None,
            result: CommandResult::Started,
            message: String::new(),
            duration_ms: None,
            finished: None,
            is_reported: false,
            digest: command_digest(command, id),
        }
    }

    /// Returns the time by which records are ordered: at most [`AHEAD_MAX`] after the arrival.
    pub(super) fn order_ms(&self) -> i64 {
        // A command that arrived before the time of day was known is older than all others.
        let received = match self.received {
            ReadingTime::Wall(time) => time,
            ReadingTime::Boot(time) => WallTime::EPOCH.plus(time.uptime()),
        };
        let latest_ms = received.plus(AHEAD_MAX).as_millis();
        self.time_ms.map_or(received.as_millis(), |time_ms| time_ms.min(latest_ms))
    }

    pub(super) fn encode(&self) -> Vec<u8> {
        // Numbers and strings always serialise. An empty value would be read as damaged, which is
        // safe.
        serde_json::to_vec(self).unwrap_or_default()
    }

    pub(super) fn decode(bytes: &[u8]) -> Option<Self> {
        serde_json::from_slice(bytes).ok()
    }
}

/// Stores a time as its text.
mod text {
    use serde::{Deserialize as _, Deserializer, Serializer, de::Error as _};

    use super::ReadingTime;

    pub(super) fn serialize<S: Serializer>(
        time: &ReadingTime,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        serializer.collect_str(time)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<ReadingTime, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(D::Error::custom)
    }
}

/// Stores a time as its text, or null.
mod optional_text {
    use serde::{Deserialize as _, Deserializer, Serialize as _, Serializer, de::Error as _};

    use super::ReadingTime;

    #[expect(clippy::ref_option, reason = "serde passes the field like this")]
    pub(super) fn serialize<S: Serializer>(
        time: &Option<ReadingTime>,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        time.map(|time| time.to_string()).serialize(serializer)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Option<ReadingTime>, D::Error> {
        let text = Option::<String>::deserialize(deserializer)?;
        text.map(|text| text.parse().map_err(D::Error::custom)).transpose()
    }
}

/// Returns the identity of a command: of its name and id, or else of its name, time and payload.
///
/// Returns `None` if the command has neither id nor time.
pub fn command_digest(command: &Command, id: Option<&str>) -> Option<Digest> {
    let mut text = String::new();
    write_scalar(&command.name, &mut text);
    match (id, command.time) {
        (Some(id), _) => write_scalar(id, &mut text),
        (None, Some(time)) => {
            write_scalar(time.as_millis(), &mut text);
            write_canonical(&command.payload, &mut text);
        }
        (None, None) => return None,
    }
    let sha256 = ring::digest::digest(&ring::digest::SHA256, text.as_bytes());
    sha256.as_ref().first_chunk().map(|half| Digest(u128::from_be_bytes(*half)))
}

/// Writes JSON with sorted keys, so that the stream and the command history give the same text.
fn write_canonical(json: &serde_json::Value, text: &mut String) {
    match json {
        serde_json::Value::Object(object) => {
            let mut fields: Vec<_> = object.iter().collect();
            fields.sort_by_key(|(key, _)| *key);
            text.push('{');
            for (key, value) in fields {
                write_scalar(key, text);
                write_canonical(value, text);
            }
            text.push('}');
        }
        serde_json::Value::Array(items) => {
            text.push('[');
            for item in items {
                write_canonical(item, text);
            }
            text.push(']');
        }
        serde_json::Value::Null
        | serde_json::Value::Bool(_)
        | serde_json::Value::Number(_)
        | serde_json::Value::String(_) => write_scalar(json, text),
    }
}

/// Writes a value after its length, so that `["a","b"]` and `["a,b"]` differ.
fn write_scalar(scalar: impl std::fmt::Display, text: &mut String) {
    let written = scalar.to_string();
    // Writing to a String cannot fail.
    write!(text, "{}:{written}", written.len()).unwrap_or_default();
}

fn truncate(text: &str) -> String {
    let mut truncated: String = text.chars().take(PAYLOAD_CHARS_MAX).collect();
    if truncated.len() < text.len() {
        truncated.push('…');
    }
    truncated
}
