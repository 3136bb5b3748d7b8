//! `getState`, `getCommand` and `getLogEntries`: the past of a device, newest first unless told.

use serde_json::{Value, json};

use crate::call::Call;
use crate::cloud::Cloud;
use crate::reply::{Refusal, Reply};
use crate::store::{DeviceRecord, LogEntry, StoredCommand, StoredState};
use crate::time::{to_iso, to_json};
use crate::timeline::Timeline;

pub(super) fn states(call: &Call<'_>) -> Result<Reply, Refusal> {
    history(call, "deviceStates", |device| &device.states, state)
}

pub(super) fn commands(call: &Call<'_>) -> Result<Reply, Refusal> {
    history(call, "deviceCommands", |device| &device.commands, command)
}

pub(super) fn log(call: &Call<'_>) -> Result<Reply, Refusal> {
    history(call, "deviceLog", |device| &device.log, log_entry)
}

fn history<T: Clone>(
    call: &Call<'_>,
    shape: &'static str,
    timeline: fn(&DeviceRecord) -> &Timeline<T>,
    show: fn(&T, &Cloud) -> Value,
) -> Result<Reply, Refusal> {
    let window = call.query.window(call.now_ms)?;
    let selected = {
        let store = call.cloud.store();
        let device = store.device(call.device_id).ok_or_else(|| Refusal::not_found("device"))?;
        timeline(device).select(window)
    };
    let shown = selected.iter().map(|entry| show(entry, call.cloud)).collect();
    Ok(Reply::Json(shape, Value::Array(shown)))
}

/// A state as the schema `deviceState` has it.
pub(super) fn state(state: &StoredState, _: &Cloud) -> Value {
    let mut shown = json!({"time": to_iso(state.time_ms), "data": state.data});
    insert(&mut shown, "meta", state.meta.as_ref());
    shown
}

/// A command as the schema `deviceCommand` has it.
pub(super) fn command(command: &StoredCommand, cloud: &Cloud) -> Value {
    let time = to_json(command.time_ms, cloud.settings.time_form);
    let mut shown = json!({"name": command.name, "time": time});
    insert(&mut shown, "payload", command.payload.as_ref());
    shown
}

fn log_entry(entry: &LogEntry, _: &Cloud) -> Value {
    let time = to_iso(entry.time_ms);
    let mut shown = json!({"connected": u8::from(entry.connected), "time": time});
    insert(&mut shown, "disconnectReason", entry.disconnect_reason.as_ref());
    insert(&mut shown, "messagesFromClient", entry.messages_from_client);
    insert(&mut shown, "messagesToClient", entry.messages_to_client);
    insert(&mut shown, "ipAddress", entry.ip_address.as_ref());
    shown
}

fn insert(object: &mut Value, name: &str, value: Option<impl serde::Serialize>) {
    if let (Some(object), Some(value)) = (object.as_object_mut(), value) {
        object.insert(name.to_owned(), json!(value));
    }
}
