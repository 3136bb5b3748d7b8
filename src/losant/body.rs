//! The bodies of the actions, in types that hold only what Losant's schemas take.
//!
//! Each reads from JSON and writes to JSON, so that a body from a person's file is judged before anything is sent.

mod bounded;
mod connection;
mod export;
mod patch;
mod state;

use serde::de::DeserializeOwned;

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

/// Reads a body from JSON.
///
/// # Errors
/// When it is no JSON, or JSON that Losant's schema refuses.
pub fn parse<T: DeserializeOwned>(json: &str) -> Result<T, BodyError> {
    let json: serde_json::Value = serde_json::from_str(json).map_err(BodyError::Syntax)?;
    serde_path_to_error::deserialize(json).map_err(|error| BodyError::Content {
        path: error.path().to_string(),
        reason: error.inner().to_string(),
    })
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
