//! The JSON shapes of history entries, as Losant's schemas define them.

use serde::Serialize;
use serde_json::{Value, json};

use crate::records::{LogEntry, StoredCommand, StoredState};
use crate::settings::TimeForm;
use crate::time::{to_iso, to_json};

/// Renders a state (schema `deviceState`). Its time is always an ISO string.
pub(crate) fn state(state: &StoredState, _: TimeForm) -> Value {
    let mut shape = json!({"time": to_iso(state.time_ms), "data": state.data});
    insert(&mut shape, "meta", state.meta.as_ref());
    shape
}

/// Renders a command (schema `deviceCommand`).
pub(crate) fn command(command: &StoredCommand, time_form: TimeForm) -> Value {
    let time = to_json(command.time_ms, time_form);
    let mut shape = json!({"name": command.name, "time": time});
    insert(&mut shape, "payload", command.payload.as_ref());
    shape
}

/// Renders an entry of the connection log (schema `deviceLog`). Its time is always an ISO string.
pub(crate) fn log_entry(entry: &LogEntry, _: TimeForm) -> Value {
    let time = to_iso(entry.time_ms);
    let mut shape = json!({"connected": u8::from(entry.connected), "time": time});
    insert(&mut shape, "disconnectReason", entry.disconnect_reason.as_ref());
    insert(&mut shape, "messagesFromClient", entry.messages_from_client);
    insert(&mut shape, "messagesToClient", entry.messages_to_client);
    insert(&mut shape, "ipAddress", entry.ip_address.as_ref());
    shape
}

fn insert(object: &mut Value, name: &str, value: Option<impl Serialize>) {
    if let (Some(object), Some(value)) = (object.as_object_mut(), value) {
        object.insert(name.to_owned(), json!(value));
    }
}
