//! Everything that can change what the sandbox remembers, as one list of events.
//!
//! [`Store::apply`](crate::store::Store::apply) is the only place where they take effect, so that
//! a journal of them is a full record: what is read back is what was there.

use serde::{Deserialize, Serialize};

use crate::payloads::Counts;
use crate::store::{LogEntry, StoredCommand, StoredState};
use crate::tokens::Grant;
use crate::world::DeviceSpec;

/// One change. All times are milliseconds since the Unix epoch.
///
/// `at_ms` is when the thing arrived, for the payload counts; it is absent from what was counted
/// already.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", rename_all_fields = "camelCase")]
pub(crate) enum Event {
    /// A device came into the world, or is changed.
    Device { application_id: String, spec: Box<DeviceSpec>, created_ms: i64, updated_ms: i64 },
    /// A device is no more.
    Deleted { device_id: String },
    /// A device reported.
    State { device_id: String, at_ms: Option<i64>, state: StoredState },
    /// A device was sent a command.
    Command { device_id: String, at_ms: Option<i64>, command: StoredCommand },
    /// A device connected or disconnected.
    Status { device_id: String, at_ms: Option<i64>, entry: LogEntry },
    /// The states of a period are removed; both ends belong to it.
    DataRemoved { device_id: String, start_ms: i64, end_ms: i64 },
    /// Payloads that were counted in an hour.
    Payloads { device_id: String, hour_ms: i64, counts: Counts },
    /// A device was issued a token.
    Token { token: String, grant: Grant },
    /// The tokens of all devices expire.
    DeviceTokensExpired,
}
