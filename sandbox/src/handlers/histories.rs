//! `getState`, `getCommand` and `getLogEntries`: return the histories of a device. The default
//! order is newest first.

use serde_json::Value;

use crate::call::Call;
use crate::reply::{ApiError, Reply};
use crate::settings::TimeForm;
use crate::shapes;
use crate::store::DeviceRecord;
use crate::timeline::Timeline;

pub(super) fn states(call: &Call<'_>) -> Result<Reply, ApiError> {
    history(call, "deviceStates", |device| &device.states, shapes::state)
}

pub(super) fn commands(call: &Call<'_>) -> Result<Reply, ApiError> {
    history(call, "deviceCommands", |device| &device.commands, shapes::command)
}

pub(super) fn log(call: &Call<'_>) -> Result<Reply, ApiError> {
    history(call, "deviceLog", |device| &device.log, shapes::log_entry)
}

fn history<T: Clone>(
    call: &Call<'_>,
    name: &'static str,
    timeline: fn(&DeviceRecord) -> &Timeline<T>,
    shape: fn(&T, TimeForm) -> Value,
) -> Result<Reply, ApiError> {
    let window = call.query.window(call.now_ms)?;
    let selected = {
        let store = call.cloud.store();
        let device = store.device(call.device_id).ok_or_else(|| ApiError::not_found("device"))?;
        timeline(device).select(window)
    };
    let time_form = call.cloud.settings.time_form;
    let entries = selected.iter().map(|entry| shape(entry, time_form)).collect();
    Ok(Reply::json(name, Value::Array(entries)))
}
