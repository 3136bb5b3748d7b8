//! A Losant device state: values of one device at one time.

use std::collections::BTreeMap;

use serde::Serialize;

use super::{AttributeName, Timestamp, Value};

/// Attributes of one device at one time, as `sendState` takes them (schema `deviceState`).
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct State {
    /// When the values were measured.
    pub time: Timestamp,
    /// At least one value.
    pub data: BTreeMap<AttributeName, Value>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_state_is_written_as_losant_reads_it() {
        let data = [("door", Value::Boolean(false)), ("tempC", Value::Float(21.4))];
        let state = State {
            time: Timestamp::from_millis(1_777_629_600_000),
            data: data.map(|(name, value)| (name.parse().unwrap(), value)).into(),
        };
        assert_eq!(
            serde_json::to_string(&state).unwrap(),
            r#"{"time":"2026-05-01T10:00:00.000Z","data":{"door":false,"tempC":21.4}}"#
        );
    }
}
