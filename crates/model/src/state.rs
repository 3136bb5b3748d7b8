//! A Losant device state: the values of one device at one time.

use std::collections::BTreeMap;

use serde::ser::SerializeStruct as _;
use serde::{Serialize, Serializer};

use super::{AttributeName, ReadingTime, Value};

/// Holds attribute values of one device at one time.
#[derive(Debug, Clone, PartialEq)]
pub struct State {
    /// The time of the measurement.
    pub time: ReadingTime,
    /// At least one value.
    pub data: BTreeMap<AttributeName, Value>,
}

/// Writes the state as `sendState` reads it (schema `deviceState`).
///
/// Without a time of day there is no `time` member: the sender adds it.
impl Serialize for State {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let time = self.time.wall();
        let mut state = serializer.serialize_struct("State", 1 + usize::from(time.is_some()))?;
        if let Some(time) = time {
            state.serialize_field("time", &time)?;
        }
        state.serialize_field("data", &self.data)?;
        state.end()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{BootId, BootTime, WallTime};

    #[test]
    fn serializes_as_losant_reads_it() {
        let data = [("door", Value::Boolean(false)), ("tempC", Value::Float(21.4))];
        let mut state = State {
            time: WallTime::from_millis(1_777_629_600_000).into(),
            data: data.map(|(name, value)| (name.parse().unwrap(), value)).into(),
        };
        assert_eq!(
            serde_json::to_string(&state).unwrap(),
            r#"{"time":"2026-05-01T10:00:00.000Z","data":{"door":false,"tempC":21.4}}"#
        );
        state.time = BootTime { boot: BootId(1), uptime_ms: 5 }.into();
        assert_eq!(
            serde_json::to_string(&state).unwrap(),
            r#"{"data":{"door":false,"tempC":21.4}}"#
        );
    }
}
