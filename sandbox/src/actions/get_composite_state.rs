//! `getCompositeState`: the latest value of each attribute in a period.

use serde_json::{Map, Value, json};

use crate::call::Call;
use crate::query::BEGINNING;
use crate::reply::{Refusal, Reply};
use crate::time::to_iso;
use crate::timeline::Window;

pub(super) fn perform(call: &Call<'_>) -> Result<Reply, Refusal> {
    let (start_ms, end_ms) = call.query.period(call.now_ms, BEGINNING)?;
    let wanted = call.query.text("attributes").map(|names| names.split(',').collect::<Vec<_>>());
    let everything = Window { start_ms, end_ms, newest_first: false, entries_max: usize::MAX };
    let states = {
        let store = call.cloud.store();
        let device = store.device(call.device_id).ok_or_else(|| Refusal::not_found("device"))?;
        device.states.select(everything)
    };
    let mut composite = Map::new();
    for state in states {
        let time = to_iso(state.time_ms);
        for (name, value) in state.data {
            if wanted.as_ref().is_none_or(|wanted| wanted.contains(&name.as_str())) {
                composite.insert(name, json!({"value": value, "time": time}));
            }
        }
    }
    Ok(Reply::Json("compositeDeviceState", Value::Object(composite)))
}
