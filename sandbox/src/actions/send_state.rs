//! `sendState`: one state or an array of them, all well-formed or none taken.
//!
//! Rules of devices/state: what is too old or too far ahead is ignored and answered 200; a report
//! for a millisecond that has one already is merged into it, and triggers workflows again.

use serde_json::{Map, Value};

use crate::builder::Undeclared;
use crate::call::Call;
use crate::counters::Counters;
use crate::reply::{Refusal, Reply};
use crate::store::{DeviceRecord, StoredState};
use crate::time::{self, Standing};
use crate::world::{DataType, DeviceSpec};

pub(super) fn perform(call: &Call<'_>) -> Result<Reply, Refusal> {
    let body = call.json(&call.cloud.schemas.state_or_states)?;
    let states = if let Value::Array(states) = body { states } else { vec![body] };
    let policy = call.cloud.settings.undeclared;
    let mut store = call.cloud.store();
    let found = store.device_and_counters(call.device_id);
    let (device, counters) = found.ok_or_else(|| Refusal::not_found("device"))?;
    if policy == Undeclared::Refuse {
        refuse_undeclared(&device.spec, &states)?;
    }
    for mut state in states {
        counters.states_received += 1;
        let time_ms = time::parse(state.get("time"), call.now_ms);
        let meta = state.get("meta").cloned();
        let data = state.get_mut("data").and_then(Value::as_object_mut).map(std::mem::take);
        let report = StoredState { time_ms, data: data.unwrap_or_default(), meta };
        match time::standing(time_ms, call.now_ms) {
            Standing::TooOld => counters.states_too_old += 1,
            Standing::TooFarAhead => counters.states_too_far_ahead += 1,
            Standing::Acceptable => {
                let report = if policy == Undeclared::Accept {
                    report
                } else {
                    StoredState { data: declared(&device.spec, report.data, counters), ..report }
                };
                record(device, counters, report);
            }
        }
    }
    Ok(Reply::success())
}

/// Why a value cannot be stored.
enum Unfit {
    Undeclared,
    Mistyped,
}

fn refuse_undeclared(spec: &DeviceSpec, states: &[Value]) -> Result<(), Refusal> {
    let data = states.iter().filter_map(|state| state.get("data")?.as_object());
    for (name, value) in data.flatten() {
        match fitness(spec, name, value) {
            Ok(()) => {}
            Err(Unfit::Undeclared) => {
                return Err(Refusal::validation(format!("attribute {name} is not declared")));
            }
            Err(Unfit::Mistyped) => {
                let complaint = format!("value of attribute {name} is not of its type");
                return Err(Refusal::validation(complaint));
            }
        }
    }
    Ok(())
}

/// The values that fit their attribute; the others are counted.
fn declared(
    spec: &DeviceSpec,
    data: Map<String, Value>,
    counters: &mut Counters,
) -> Map<String, Value> {
    let keep = |(name, value): &(String, Value)| match fitness(spec, name, value) {
        Ok(()) => true,
        Err(Unfit::Undeclared) => {
            counters.values_undeclared += 1;
            false
        }
        Err(Unfit::Mistyped) => {
            counters.values_mistyped += 1;
            false
        }
    };
    data.into_iter().filter(keep).collect()
}

fn fitness(spec: &DeviceSpec, name: &str, value: &Value) -> Result<(), Unfit> {
    let attribute = spec.attributes.iter().find(|attribute| attribute.name == name);
    let attribute = attribute.ok_or(Unfit::Undeclared)?;
    let fits = match attribute.data_type {
        DataType::Number => value.is_number(),
        DataType::Boolean => value.is_boolean(),
        DataType::String => value.as_str().is_some_and(|text| text.len() <= STRING_BYTES_MAX),
        DataType::Gps | DataType::Blob => value.is_string(),
    };
    if fits { Ok(()) } else { Err(Unfit::Mistyped) }
}

/// Stores a report, and hands it to those who read the device's stream.
fn record(device: &mut DeviceRecord, counters: &mut Counters, report: StoredState) {
    if report.data.is_empty() {
        counters.states_without_values += 1;
        return;
    }
    counters.workflow_triggers += 1;
    // An error only says that nobody reads.
    device.state_feed.send(report.clone()).ok();
    let Some(stored) = device.states.at_mut(report.time_ms) else {
        counters.states_stored += 1;
        counters.values_stored += report.data.len() as u64;
        device.states.push(report.time_ms, report);
        return;
    };
    counters.states_overwritten += 1;
    for (name, value) in report.data {
        match stored.data.insert(name, value) {
            Some(_) => counters.values_overwritten += 1,
            None => counters.values_stored += 1,
        }
    }
    stored.meta = report.meta.or(stored.meta.take());
}

/// Devices/attributes: a string holds up to 64 KiB. For a blob no limit is documented.
const STRING_BYTES_MAX: usize = 65_536;
