//! A Losant device command.

use super::{DeviceId, Timestamp};

/// A command as the cloud sent it (schema `deviceCommand`). Losant gives it no id, sender or expiry.
#[derive(Debug, Clone, PartialEq)]
pub struct Command {
    /// The device that it was sent to.
    pub device: DeviceId,
    /// 1 to 255 characters.
    pub name: String,
    /// When the cloud took it; `None` where the message carries no time that can be read.
    pub time: Option<Timestamp>,
    /// Any JSON; null where the message has none.
    pub payload: serde_json::Value,
}
