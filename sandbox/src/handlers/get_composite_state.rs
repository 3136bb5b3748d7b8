//! `getCompositeState`: returns the latest value of each attribute in a period.

use serde_json::{Map, Value, json};

use crate::call::Call;
use crate::query::{BEGINNING, Period};
use crate::reply::{ApiError, Reply};
use crate::time::to_iso;
use crate::timeline::Window;

pub(super) fn execute(call: &Call<'_>) -> Result<Reply, ApiError> {
    let Period { start_ms, end_ms } = call.query.period(call.now_ms, BEGINNING)?;
    let selected = call.query.text("attributes").map(|names| names.split(',').collect::<Vec<_>>());
    let window = Window { start_ms, end_ms, newest_first: false, entries_max: usize::MAX };
    let states = {
        let store = call.cloud.store();
        let device = store.device(call.device_id).ok_or_else(|| ApiError::not_found("device"))?;
        device.states.select(window)
    };
    let mut composite = Map::new();
    for state in states {
        let time = to_iso(state.time_ms);
        for (name, value) in state.data {
            if selected.as_ref().is_none_or(|selected| selected.contains(&name.as_str())) {
                composite.insert(name, json!({"value": value, "time": time}));
            }
        }
    }
    Ok(Reply::json("compositeDeviceState", Value::Object(composite)))
}
