//! The status of the daemon as a whole: cloud, clock, commands, reloads, outbox.

use std::collections::BTreeMap;

use serde::Serialize;

use super::Since;
use tidegate_outbox::{Amount, Outbox};

/// The status of the connection to Losant.
#[derive(Debug, Clone, Default, Serialize)]
pub struct CloudStatus {
    /// Whether the last call reached Losant; null before the first call.
    pub online: Option<bool>,
    /// The age of this condition.
    #[serde(rename = "since_s")]
    pub since: Option<Since>,
    /// Why Losant cannot be reached; empty while online.
    pub error: String,
    /// Why Losant rejects the credentials; empty while it accepts them.
    pub credentials_error: String,
    /// How it shows that another client reports for the device of this gateway.
    pub device_id_shared: Option<String>,
    /// `sendState` calls that Losant confirmed since the start.
    pub batches: u64,
    /// States in these calls.
    pub states_stored: u64,
    /// Readings in these states.
    pub readings_stored: u64,
}

/// The status of the clock.
#[derive(Debug, Clone, Default, Serialize)]
pub struct ClockStatus {
    /// The source of trust: `kernel`, `cloud`, `resumed` or `always`; `waiting` without trust.
    pub trust: &'static str,
    /// How far the clock here is ahead of Losant's, in milliseconds; negative if it is behind, null
    /// before the first answer of Losant. An answer has whole seconds and a response time.
    pub ahead_ms: Option<i64>,
}

/// The counts of commands since the start.
#[derive(Debug, Clone, Default, Serialize)]
pub struct CommandStatus {
    /// Commands received, each counted once.
    pub received: u64,
    /// Commands received again, for example when the history is read after a gap.
    pub duplicates: u64,
    /// Commands carried out.
    pub executed: u64,
    /// Commands whose write failed.
    pub failed: u64,
    /// Commands that an end of the daemon interrupted, in this run or an earlier one.
    pub interrupted: u64,
    /// Refused commands by reason.
    pub refused: BTreeMap<&'static str, u64>,
}

/// Reloads of the configuration since the start.
#[derive(Debug, Clone, Default, Serialize)]
pub struct ReloadStatus {
    /// The number of reloads, successful or not.
    pub count: u64,
    /// The problems that made the last reload fail; empty after a success.
    pub problems: Vec<String>,
    /// The keys that the last reload changed.
    pub changed: Vec<String>,
    /// The keys whose change takes effect at the next start only.
    pub next_start: Vec<String>,
}

/// The content of the outbox.
#[derive(Debug, Clone, Copy, Default, Serialize)]
pub struct OutboxStatus {
    /// States that wait.
    pub states: u64,
    /// Readings in them.
    pub readings: u64,
    /// Bytes of their JSON.
    pub bytes: u64,
}

impl OutboxStatus {
    /// Returns the present content of an outbox.
    pub fn of(outbox: &Outbox) -> Self {
        let Amount { states, readings, bytes } = outbox.queue_sizes().total;
        Self { states, readings, bytes }
    }
}
