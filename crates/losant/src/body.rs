//! The bodies of the actions, in types that hold only values that Losant's schemas allow.
//!
//! Each type parses and writes JSON, so a body from a file is validated before it is sent.

mod bounded;
mod connection;
mod export;
mod patch;
mod post;
mod state;

use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

pub use bounded::{Bounded, BoundedError, List, Text};
pub use connection::ConnectionStatus;
pub use export::{CallbackUrl, DataExport, Email, ExportOptions};
pub use patch::{
    Aggregation, Attribute, ChildAttribute, ChildMode, DataType, DeviceClass, DevicePatch,
    DeviceTag, Id, SystemAttribute, Tag,
};
pub use post::DevicePost;
pub use state::{DeviceCommand, DeviceState, Scalar, States, StatesJson, Time};

/// Why a text is not a valid body.
#[derive(Debug, thiserror::Error)]
pub enum BodyError {
    /// The text is not JSON.
    #[error("invalid JSON: {0}")]
    Syntax(#[source] serde_json::Error),
    /// The JSON does not match the schema.
    #[error("{path}: {reason}")]
    Content {
        /// The path in the JSON, such as `[3].data`.
        path: String,
        /// The reason.
        reason: String,
    },
}

impl BodyError {
    fn content(path: String, reason: String) -> Self {
        let path = if matches!(&*path, "" | ".") { "the body".to_owned() } else { path };
        Self::Content { path, reason }
    }
}

/// Parses a body from JSON.
///
/// # Errors
/// Fails if the text is not JSON or does not match Losant's schema.
pub fn parse<T: DeserializeOwned + Serialize>(json: &str) -> Result<T, BodyError> {
    let given: Value = serde_json::from_str(json).map_err(BodyError::Syntax)?;
    let body: T = serde_path_to_error::deserialize(&given)
        .map_err(|error| BodyError::content(error.path().to_string(), error.inner().to_string()))?;
    let sent = serde_json::to_value(&body).map_err(BodyError::Syntax)?;
    find_misread(&given, &sent, String::new()).map_or(Ok(body), Err)
}

/// Finds a value that would be sent as another JSON type than it was given as.
///
/// Serde also parses an object from a list of its members, and a string from an object.
fn find_misread(given: &Value, sent: &Value, path: String) -> Option<BodyError> {
    match (given, sent) {
        (Value::Array(given), Value::Array(sent)) => {
            (given.iter().zip(sent).enumerate()).find_map(|(index, (given, sent))| {
                find_misread(given, sent, format!("{path}[{index}]"))
            })
        }
        (Value::Object(given), Value::Object(sent)) => given.iter().find_map(|(key, given)| {
            let dot = if path.is_empty() { "" } else { "." };
            find_misread(given, sent.get(key)?, format!("{path}{dot}{key}"))
        }),
        (given, sent) => (kind(given) != kind(sent)).then(|| {
            let reason = format!("{}, but Losant expects {}", kind(given), kind(sent));
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

/// Parses an optional member for which null differs from absent.
fn some<'de, D, T>(deserializer: D) -> Result<Option<T>, D::Error>
where
    D: serde::Deserializer<'de>,
    T: serde::Deserialize<'de>,
{
    T::deserialize(deserializer).map(Some)
}

#[cfg(test)]
mod tests;
