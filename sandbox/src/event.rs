//! The events that change the store.
//!
//! [`Store::apply`](crate::store::Store::apply) is the only place where events take effect.
//! Therefore a journal of all events restores the store completely.

use serde::{Deserialize, Serialize};

use crate::devices::DeviceSpec;
use crate::payloads::Counts;
use crate::records::{LogEntry, StoredCommand, StoredState};
use crate::tokens::Grant;

/// One change of the store. All times are milliseconds since the Unix epoch.
///
/// `at_ms` is the time of arrival, by which the payload counts are kept. A compacted journal leaves
/// it out, because it has the payload counts as events of their own.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", rename_all_fields = "camelCase")]
pub(crate) enum Event {
    /// A device was created or changed.
    Device { application_id: String, spec: Box<DeviceSpec>, created_ms: i64, updated_ms: i64 },
    /// A device was deleted.
    Deleted { device_id: String },
    /// A device reported a state.
    State { device_id: String, at_ms: Option<i64>, state: StoredState },
    /// A command was sent to a device.
    Command { device_id: String, at_ms: Option<i64>, command: StoredCommand },
    /// A device connected or disconnected.
    Status { device_id: String, at_ms: Option<i64>, entry: LogEntry },
    /// The states of a period, both ends included, were removed.
    DataRemoved { device_id: String, start_ms: i64, end_ms: i64 },
    /// Payloads were counted in an hour.
    Payloads { device_id: String, hour_ms: i64, counts: Counts },
    /// A token was issued to a device.
    Token { token: String, grant: Grant },
    /// The tokens of all devices expired.
    DeviceTokensExpired,
}
