//! Whether a command may run: known, fresh and not seen before.

use std::collections::VecDeque;
use std::fmt::Write as _;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::time::Duration;

use crate::model::{Command, DeviceId, Timestamp};

/// How many commands are remembered to know a repeat.
const SEEN_MAX: usize = 1_024;

/// What the gate says to a command.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Admission {
    /// Run it.
    Run,
    /// The same command came before: same device, time, name and payload.
    Duplicate,
    /// It is older than allowed: nobody wants yesterday's "open valve".
    Stale(Duration),
    /// No actuator takes this command.
    Unknown,
}

impl Admission {
    /// The stable text for logs and counts.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Run => "run",
            Self::Duplicate => "duplicate",
            Self::Stale(_) => "stale",
            Self::Unknown => "unknown",
        }
    }
}

/// What makes two commands the same. Losant gives commands no id (schema `deviceCommand`).
#[derive(Debug, Clone, PartialEq, Eq)]
struct Key {
    device: DeviceId,
    time: Option<Timestamp>,
    content: u64,
}

/// Admits each command once.
#[derive(Debug)]
pub struct Gate {
    age_max: Duration,
    seen: VecDeque<Key>,
}

impl Gate {
    /// A gate that lets commands up to `age_max` old through.
    pub fn new(age_max: Duration) -> Self {
        Self { age_max, seen: VecDeque::new() }
    }

    /// Judges a command that arrived at `now`; `known` says whether an actuator takes it.
    ///
    /// A command without a time counts as sent now, and is never taken for a repeat.
    pub fn admit(&mut self, command: &Command, known: bool, now: Timestamp) -> Admission {
        let key =
            Key { device: command.device, time: command.time, content: content_hash(command) };
        if command.time.is_some() && self.seen.contains(&key) {
            return Admission::Duplicate;
        }
        if self.seen.len() >= SEEN_MAX {
            self.seen.pop_front();
        }
        self.seen.push_back(key);
        let age = command.time.map(|time| now.since(time)).unwrap_or_default();
        if !known {
            Admission::Unknown
        } else if age > self.age_max {
            Admission::Stale(age)
        } else {
            Admission::Run
        }
    }
}

fn content_hash(command: &Command) -> u64 {
    let mut hasher = DefaultHasher::new();
    command.name.hash(&mut hasher);
    let mut canonical = String::new();
    write_canonical(&command.payload, &mut canonical);
    canonical.hash(&mut hasher);
    hasher.finish()
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

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const NOW: i64 = 1_777_629_600_000;

    fn command(time_ms: i64, payload: serde_json::Value) -> Command {
        let device = DeviceId::from([7; 12]);
        Command {
            device,
            name: "valve".to_owned(),
            time: Some(Timestamp::from_millis(time_ms)),
            payload,
        }
    }

    fn gate() -> Gate {
        Gate::new(Duration::from_secs(60))
    }

    #[test]
    fn a_command_runs_once_however_its_keys_are_ordered() {
        let (mut gate, now) = (gate(), Timestamp::from_millis(NOW));
        assert_eq!(
            gate.admit(&command(NOW, json!({"a": 1, "b": [2, 3]})), true, now),
            Admission::Run
        );
        assert_eq!(
            gate.admit(&command(NOW, json!({"b": [2, 3], "a": 1})), true, now),
            Admission::Duplicate
        );
        assert_eq!(
            gate.admit(&command(NOW, json!({"a": 1, "b": [23]})), true, now),
            Admission::Run
        );
        assert_eq!(
            gate.admit(&command(NOW + 1, json!({"a": 1, "b": [2, 3]})), true, now),
            Admission::Run
        );
    }

    #[test]
    fn an_old_command_is_stale_and_one_from_a_clock_ahead_is_not() {
        let (mut gate, now) = (gate(), Timestamp::from_millis(NOW));
        let stale = Admission::Stale(Duration::from_millis(60_001));
        assert_eq!(gate.admit(&command(NOW - 60_001, json!(null)), true, now), stale);
        assert_eq!(gate.admit(&command(NOW - 60_000, json!(null)), true, now), Admission::Run);
        assert_eq!(gate.admit(&command(NOW + 60_000, json!(null)), true, now), Admission::Run);
    }

    #[test]
    fn a_command_that_nothing_takes_is_unknown() {
        let now = Timestamp::from_millis(NOW);
        assert_eq!(gate().admit(&command(NOW, json!(1)), false, now), Admission::Unknown);
    }

    #[test]
    fn what_is_remembered_is_bounded() {
        let (mut gate, now) = (gate(), Timestamp::from_millis(NOW));
        for number in 0..2 * SEEN_MAX {
            gate.admit(&command(NOW, json!(number)), true, now);
        }
        assert_eq!(gate.seen.len(), SEEN_MAX);
    }
}
