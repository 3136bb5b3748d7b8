//! The bodies of the actions, in types that hold only what Losant's schemas take.
//!
//! Each reads from JSON and writes to JSON, so that a body from a person's file is judged before anything is sent.

mod bounded;
mod connection;
mod export;
mod patch;
mod state;

use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

pub use bounded::{Bounded, BoundedError, List, Text};
pub use connection::ConnectionStatus;
pub use export::{CallbackUrl, DataExport, Email, ExportOptions};
pub use patch::{
    Aggregation, Attribute, ChildAttribute, ChildMode, DataType, DeviceClass, DevicePatch,
    DeviceTag, SystemAttribute, Tag,
};
pub use state::{DeviceCommand, DeviceState, Scalar, States, StatesJson, Time};

/// Why a text is not the body of an action.
#[derive(Debug, thiserror::Error)]
pub enum BodyError {
    /// It is no JSON.
    #[error("this is no JSON: {0}")]
    Syntax(#[source] serde_json::Error),
    /// It is JSON that Losant would refuse.
    #[error("{path}: {reason}")]
    Content {
        /// Where in it, such as `[3].data`.
        path: String,
        /// Why.
        reason: String,
    },
}

impl BodyError {
    fn content(path: String, reason: String) -> Self {
        let path = if matches!(&*path, "" | ".") { "the body".to_owned() } else { path };
        Self::Content { path, reason }
    }
}

/// Reads a body from JSON.
///
/// # Errors
/// When it is no JSON, or JSON that Losant's schema refuses.
pub fn parse<T: DeserializeOwned + Serialize>(json: &str) -> Result<T, BodyError> {
    let given: Value = serde_json::from_str(json).map_err(BodyError::Syntax)?;
    let body: T = serde_path_to_error::deserialize(&given)
        .map_err(|error| BodyError::content(error.path().to_string(), error.inner().to_string()))?;
    let sent = serde_json::to_value(&body).map_err(BodyError::Syntax)?;
    misread(&given, &sent, String::new()).map_or(Ok(body), Err)
}

/// Finds what would be sent as another kind of JSON than it was given as: serde also reads an object from a list of its
/// members, and a word from an object.
fn misread(given: &Value, sent: &Value, path: String) -> Option<BodyError> {
    match (given, sent) {
        (Value::Array(given), Value::Array(sent)) => (given.iter().zip(sent).enumerate())
            .find_map(|(index, (given, sent))| misread(given, sent, format!("{path}[{index}]"))),
        (Value::Object(given), Value::Object(sent)) => given.iter().find_map(|(key, given)| {
            let dot = if path.is_empty() { "" } else { "." };
            misread(given, sent.get(key)?, format!("{path}{dot}{key}"))
        }),
        (given, sent) => (kind(given) != kind(sent)).then(|| {
            let reason = format!("{} where Losant takes {}", kind(given), kind(sent));
            BodyError::content(path, reason)
        }),
    }
}

fn kind(json: &Value) -> &'static str {
    match json {
        Value::Null => "null",
        Value::Bool(_) => "true or false",
        Value::Number(_) => "a number",
        Value::String(_) => "a text",
        Value::Array(_) => "a list",
        Value::Object(_) => "an object",
    }
}

/// Reads an optional member that may be null, which is not the same as absent.
fn some<'de, D, T>(deserializer: D) -> Result<Option<T>, D::Error>
where
    D: serde::Deserializer<'de>,
    T: serde::Deserialize<'de>,
{
    T::deserialize(deserializer).map(Some)
}

#[cfg(test)]
mod tests;
