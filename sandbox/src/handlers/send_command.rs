//! `sendCommand`: stores a command and sends it to the streams of the device.

use serde_json::Value;

use crate::call::Call;
use crate::event::Event;
use crate::records::StoredCommand;
use crate::reply::{ApiError, Reply};
use crate::time;

pub(super) fn execute(call: &Call<'_>) -> Result<Reply, ApiError> {
    let body = call.json(&call.cloud.schemas.command)?;
    let time_ms = time::parse(body.get("time"), call.now_ms);
    let name = body.get("name").and_then(Value::as_str).unwrap_or_default().to_owned();
    let command = StoredCommand { time_ms, name, payload: body.get("payload").cloned() };
    let (device_id, at_ms) = (call.device_id.to_owned(), Some(call.now_ms));
    call.cloud.store().commit(Event::Command { device_id, at_ms, command });
    Ok(Reply::success())
}
