//! `setConnectionStatus`: an entry of the connection log.
//!
//! The device counts as what the latest entry by time says; how Losant treats a disconnection that
//! is reported late is not documented.

use serde_json::Value;

use crate::call::Call;
use crate::event::Event;
use crate::reply::{Refusal, Reply};
use crate::store::LogEntry;
use crate::time;

pub(super) fn perform(call: &Call<'_>) -> Result<Reply, Refusal> {
    let body = call.json(&call.cloud.schemas.connection_status)?;
    let text = |name: &str| body.get(name).and_then(Value::as_str).map(str::to_owned);
    let count = |name: &str| body.get(name).and_then(Value::as_u64);
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
