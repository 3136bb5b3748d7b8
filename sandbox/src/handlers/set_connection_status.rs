//! `setConnectionStatus`: adds an entry to the connection log.
//!
//! The entry with the latest time decides whether the device is connected. Losant does not document
//! how it treats a disconnection that is reported late.

use serde_json::Value;

use crate::call::Call;
use crate::event::Event;
use crate::records::LogEntry;
use crate::reply::{ApiError, Reply};
use crate::time;
use crate::value::integer;

pub(super) fn execute(call: &Call<'_>) -> Result<Reply, ApiError> {
    let body = call.json(&call.cloud.schemas.connection_status)?;
    let text = |name: &str| body.get(name).and_then(Value::as_str).map(str::to_owned);
    let count = |name: &str| u64::try_from(body.get(name).and_then(integer)?).ok();
    let connected = text("status").as_deref() == Some("connected");
    let time = body.get(if connected { "connectedAt" } else { "disconnectedAt" });
    let entry = LogEntry {
        time_ms: time::parse(time, call.now_ms),
        connected,
        disconnect_reason: text("disconnectReason"),
        messages_from_client: count("messagesFromClient"),
        messages_to_client: count("messagesToClient"),
        ip_address: text("ipAddress"),
    };
    let (device_id, at_ms) = (call.device_id.to_owned(), Some(call.now_ms));
    call.cloud.store().commit(Event::Status { device_id, at_ms, entry });
    Ok(Reply::success())
}
