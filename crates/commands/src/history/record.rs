//! One command in the history, and what makes two commands the same.

use std::fmt::Write as _;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use tidegate_model::excerpt::excerpt;
use tidegate_model::{Command, CommandResult, DeviceId, Name, ReadingTime, Source, WallTime};

/// The longest message about a result, in characters.
pub(super) const MESSAGE_CHARS_MAX: usize = 200;

/// How much of a payload is kept, in characters: it is for people.
const PAYLOAD_CHARS_MAX: usize = 200;

/// The longest name that is kept, in characters, as Losant has it (schema `deviceCommand`).
const NAME_CHARS_MAX: usize = 255;

/// How far ahead of the clock here a command may be dated. One that is further ahead does not run, so that nobody can have all that
/// is sent before its time taken for forgotten.
pub const AHEAD_MAX: Duration = Duration::from_secs(300);

/// What makes two commands the same: half a SHA-256. Written as a text, because few readers of JSON know so large a number.
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

/// One command.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Record {
    /// Its number here, from 1 on.
    pub number: u64,
    /// Whose stream it came on.
    pub device: DeviceId,
    /// Whose it is, where it names another device than that.
    pub target: DeviceId,
    /// Its name.
    pub name: String,
    /// The id in its payload, if it has one.
    pub id: Option<String>,
    /// How its payload begins.
    pub payload: String,
    /// When the cloud took it, in milliseconds since the Unix epoch.
    pub time_ms: Option<i64>,
    /// The time at which it arrived here.
    #[serde(with = "text")]
    pub received: ReadingTime,
    /// Whether it was caught up.
    pub is_caught_up: bool,
    /// Which actuator it is for, if any.
    pub actuator: Option<Name>,
    /// What became of it.
    pub result: CommandResult,
    /// The reason, or what the actuator said.
    pub message: String,
    /// How long the actuator took.
    pub duration_ms: Option<u64>,
    /// The time of the result.
    #[serde(with = "optional_text")]
    pub finished: Option<ReadingTime>,
    /// Whether the result is on its way to the cloud.
    pub is_told: bool,
    /// By what it is known again; none for a command without time and id, which never comes again.
    pub digest: Option<Digest>,
}

impl Record {
    /// The record of a command that is `Started`.
    pub fn of(command: &Command, source: Source, id: Option<&str>, now: ReadingTime) -> Self {
        Self {
            number: 0,
            device: command.device,
            target: command.device,
            name: command.name.chars().take(NAME_CHARS_MAX).collect(),
            id: id.map(|id| excerpt(id.as_bytes())),
            payload: cut(&command.payload.to_string()),
            time_ms: command.time.map(WallTime::as_millis),
            received: now,
            is_caught_up: source == Source::CaughtUp,
            actuator: None,
            result: CommandResult::Started,
            message: String::new(),
            duration_ms: None,
            finished: None,
            is_told: false,
            digest: digest(command, id),
        }
    }

    /// Its place in time; not further ahead than a command that runs.
    pub(super) fn order_ms(&self) -> i64 {
        // A command that came while the time of day was unknown is older than all others.
        let received = match self.received {
            ReadingTime::Wall(time) => time,
            ReadingTime::Boot(time) => WallTime::EPOCH.plus(time.uptime()),
        };
        let latest_ms = received.plus(AHEAD_MAX).as_millis();
        self.time_ms.map_or(received.as_millis(), |time_ms| time_ms.min(latest_ms))
    }

    pub(super) fn encode(&self) -> Vec<u8> {
        // Numbers and texts can always be written; an empty value would be read as damaged, which is safe.
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

/// By what a command is known again: its name with its id, or else with its time and payload. `None` if it has neither.
pub fn digest(command: &Command, id: Option<&str>) -> Option<Digest> {
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

/// Writes JSON with its keys sorted, so that the stream and the history of commands give the same text.
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

/// The length keeps `["a","b"]` and `["a,b"]` apart.
fn write_scalar(scalar: impl std::fmt::Display, text: &mut String) {
    let written = scalar.to_string();
    // Writing to a String cannot fail.
    write!(text, "{}:{written}", written.len()).unwrap_or_default();
}

fn cut(text: &str) -> String {
    let mut cut: String = text.chars().take(PAYLOAD_CHARS_MAX).collect();
    if cut.len() < text.len() {
        cut.push('…');
    }
    cut
}
