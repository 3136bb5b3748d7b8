//! What is told of the daemon as a whole: the link, the clock, commands, reloads, the outbox.

use std::collections::BTreeMap;

use serde::Serialize;

use super::Since;
use tidegate_outbox::{Amount, Outbox};

/// The link to the cloud.
#[derive(Debug, Clone, Default, Serialize)]
pub struct CloudStatus {
    /// Whether the last call reached the cloud; null before the first.
    pub online: Option<bool>,
    /// Since when that is so.
    #[serde(rename = "since_s")]
    pub since: Option<Since>,
    /// Why it is not; empty while it is.
    pub error: String,
    /// `sendState` calls that the cloud confirmed.
    pub batches: u64,
    /// States in them.
    pub states_stored: u64,
    /// Readings in these.
    pub readings_stored: u64,
}

/// The time of day.
#[derive(Debug, Clone, Default, Serialize)]
pub struct ClockStatus {
    /// Why it is taken to be right: `kernel`, `cloud`, `resumed` or `always`; `waiting` while it is not known.
    pub trust: &'static str,
}

/// Commands since the start.
#[derive(Debug, Clone, Default, Serialize)]
pub struct CommandStatus {
    /// All that came, each once.
    pub received: u64,
    /// Came again, as when the history is read after a gap.
    pub duplicates: u64,
    /// Written to an actuator.
    pub executed: u64,
    /// Meant for an actuator that did not take the write.
    pub failed: u64,
    /// Under way when the daemon ended, this one or an earlier one.
    pub interrupted: u64,
    /// Not run, by reason.
    pub refused: BTreeMap<&'static str, u64>,
}

/// Reloads of the configuration since the start.
#[derive(Debug, Clone, Default, Serialize)]
pub struct ReloadStatus {
    /// How many were asked for, good or not.
    pub count: u64,
    /// What was wrong the last time; nothing was changed then.
    pub problems: Vec<String>,
    /// Which keys changed the last time.
    pub changed: Vec<String>,
    /// Which of all keys that changed since the start wait for the next start.
    pub next_start: Vec<String>,
}

/// What waits in the outbox.
#[derive(Debug, Clone, Copy, Default, Serialize)]
pub struct OutboxStatus {
    /// States.
    pub states: u64,
    /// Readings in them.
    pub readings: u64,
    /// Bytes of their JSON.
    pub bytes: u64,
}

impl OutboxStatus {
    /// Of this outbox now.
    pub fn of(outbox: &Outbox) -> Self {
        let Amount { states, readings, bytes } = outbox.backlog().total;
        Self { states, readings, bytes }
    }
}
