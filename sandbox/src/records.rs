//! The entries of a device's histories.

use serde::{Deserialize, Deserializer, Serialize};
use serde_json::{Map, Value};

/// A stored state of a device: all attributes that were reported for its millisecond.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct StoredState {
    /// Milliseconds since the Unix epoch.
    pub time_ms: i64,
    /// Attribute names and values.
    pub data: Map<String, Value>,
    /// The `meta` of the latest report for this millisecond that had one.
    #[serde(default, deserialize_with = "nullable", skip_serializing_if = "Option::is_none")]
    pub meta: Option<Value>,
}

/// A command that was sent to a device.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct StoredCommand {
    /// Milliseconds since the Unix epoch.
    pub time_ms: i64,
    /// The name of the command.
    pub name: String,
    /// Any JSON value, or none.
    #[serde(default, deserialize_with = "nullable", skip_serializing_if = "Option::is_none")]
    pub payload: Option<Value>,
}

/// An entry of a device's connection log.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct LogEntry {
    /// Milliseconds since the Unix epoch: `connectedAt` or `disconnectedAt`.
    pub time_ms: i64,
    /// Whether the device connected (`true`) or disconnected (`false`) at that time.
    pub connected: bool,
    /// The reason for the disconnection.
    pub disconnect_reason: Option<String>,
    /// The number of messages that the device had sent.
    pub messages_from_client: Option<u64>,
    /// The number of messages that the device had received.
    pub messages_to_client: Option<u64>,
    /// The IP address that the device reported.
    pub ip_address: Option<String>,
}

/// Reads a field that is present; a null is a value, which serde would read as absent.
fn nullable<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Value>, D::Error> {
    Value::deserialize(deserializer).map(Some)
}
