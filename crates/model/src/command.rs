//! A Losant device command and its result.

use serde::{Deserialize, Serialize};

use super::{DeviceId, WallTime};

/// The largest command payload that is parsed, as JSON, in bytes.
///
/// Losant accepts 256 KiB. Actuators write far less, and parsed JSON needs far more memory.
pub const PAYLOAD_BYTES_MAX: usize = 64 * 1024;

/// Holds a command as the cloud sent it (schema `deviceCommand`).
///
/// Losant's commands have no id, sender or expiry.
#[derive(Debug, Clone, PartialEq)]
pub struct Command {
    /// The device that the command was sent to.
    pub device: DeviceId,
    /// The name of the command, of 1 to 255 characters.
    pub name: String,
    /// The time at which the cloud accepted the command; `None` without a valid time.
    pub time: Option<WallTime>,
    /// Any JSON; null if the message has no payload or the payload was not parsed.
    pub payload: serde_json::Value,
    /// The reason why the payload was not parsed.
    pub unread: Option<Unread>,
}

/// Lists the reasons why a payload was not parsed.
///
/// Such a command cannot run. It is recorded and reported like any other command.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unread {
    /// The payload has more than [`PAYLOAD_BYTES_MAX`] bytes.
    TooLarge,
    /// The payload is nested more than 127 levels deep (the bound of `serde_json`), or has an
    /// invalid text or a number out of range.
    Malformed,
}

/// Tags a command with the way by which it arrived.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Source {
    /// From the stream, when it was sent.
    Live,
    /// From the history, because it was sent while the stream was closed.
    CaughtUp,
}

/// Lists the results of a command. The texts are stable: they are stored and reported.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CommandResult {
    /// The command is recorded and may be running.
    Started,
    /// The actuator executed the command.
    Executed,
    /// The actuator did not execute the command, or only a part of it.
    Failed,
    /// The gateway rejected the command without running it.
    Refused,
    /// The daemon ended between the record and the result. The command may have run and is not
    /// run again.
    Interrupted,
}

impl CommandResult {
    /// Returns the stable text.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Started => "started",
            Self::Executed => "executed",
            Self::Failed => "failed",
            Self::Refused => "refused",
            Self::Interrupted => "interrupted",
        }
    }
}
