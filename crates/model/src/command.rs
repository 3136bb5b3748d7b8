//! A Losant device command, and what became of it.

use serde::{Deserialize, Serialize};

use super::{DeviceId, WallTime};

/// The largest payload of a command that is read, as JSON, in bytes. Losant takes 256 KiB; what an actuator writes is far less, and
/// what JSON becomes in memory far more.
pub const PAYLOAD_BYTES_MAX: usize = 64 * 1024;

/// A command as the cloud sent it (schema `deviceCommand`). Losant gives it no id, sender or expiry.
#[derive(Debug, Clone, PartialEq)]
pub struct Command {
    /// The device that it was sent to.
    pub device: DeviceId,
    /// 1 to 255 characters.
    pub name: String,
    /// When the cloud took it; `None` where the message carries no time that can be read.
    pub time: Option<WallTime>,
    /// Any JSON; null where the message has none, and where it was not read.
    pub payload: serde_json::Value,
    /// Why the payload was not read.
    pub unread: Option<Unread>,
}

/// Why a payload was not read. Such a command cannot run, but is recorded and told as any other.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unread {
    /// It has more than [`PAYLOAD_BYTES_MAX`] bytes.
    TooLarge,
    /// It is nested more than 127 times (the bound of `serde_json`), or has a text or a number that nobody can hold.
    Malformed,
}

/// How a command came.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Source {
    /// On the stream, as it was sent.
    Live,
    /// From the history, because it was sent while there was no stream.
    CaughtUp,
}

/// What became of a command. The texts are stable: they are stored and reported.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CommandResult {
    /// Recorded, and perhaps under way.
    Started,
    /// Its actuator took it.
    Executed,
    /// Its actuator did not take it, or not wholly.
    Failed,
    /// It did not run, for a reason.
    Refused,
    /// The daemon ended between the record and the result: it may have run, and does not run again.
    Interrupted,
}

impl CommandResult {
    /// The stable text.
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
