//! `sendState`: stores a state or an array of states. One malformed state rejects the whole array.
//!
//! Rules of devices/state: a state that is too old or too far ahead is ignored, and the response is
//! still 200; a state is merged into an existing one of the same millisecond, and triggers
//! workflows again.

use serde_json::{Map, Value};

use crate::call::Call;
use crate::counters::Counters;
use crate::devices::DeviceSpec;
use crate::event::Event;
use crate::records::StoredState;
use crate::reply::{ApiError, Reply};
use crate::settings::{Settings, UnfitValues};
use crate::time::{self, TimeCheck};
use crate::value::{self, TypeCheck};

pub(super) fn execute(call: &Call<'_>) -> Result<Reply, ApiError> {
    let body = call.json(&call.cloud.schemas.state_or_states)?;
    let states = if let Value::Array(states) = body { states } else { vec![body] };
    let settings = &call.cloud.settings;
    let mut store = call.cloud.store();
    let found = store.device_and_counters(call.device_id);
    let (device, counters) = found.ok_or_else(|| ApiError::not_found("device"))?;
    if settings.unfit_values == UnfitValues::Reject {
        check_all(settings, &device.spec, &states)?;
    }
    let mut reports = Vec::new();
    for mut state in states {
        counters.states_received += 1;
        let time_ms = time::parse(state.get("time"), call.now_ms);
        let meta = state.get("meta").cloned();
        let data = state.get_mut("data").and_then(Value::as_object_mut).map(std::mem::take);
        match time::check(time_ms, call.now_ms) {
            TimeCheck::TooOld => counters.states_too_old += 1,
            TimeCheck::TooFarAhead => counters.states_too_far_ahead += 1,
            TimeCheck::Acceptable => {
                let mut data =
                    accepted_values(settings, &device.spec, data.unwrap_or_default(), counters);
                let is_empty = data.is_empty();
                let losses = &call.cloud.silent_losses;
                counters.values_lost += losses.apply(call.device_id, time_ms, &mut data) as u64;
                if is_empty {
                    counters.states_without_values += 1;
                } else if data.is_empty() {
                    counters.states_lost += 1;
                } else {
                    reports.push(StoredState { time_ms, data, meta });
                }
            }
        }
    }
    let device_id = device.spec.device_id.clone();
    for state in reports {
        let at_ms = Some(call.now_ms);
        store.commit(Event::State { device_id: device_id.clone(), at_ms, state });
    }
    Ok(Reply::success())
}

/// The result of checking a value.
enum ValueCheck {
    Valid(Value),
    Converted(Value),
    Undeclared,
    Mistyped,
}

fn check_value(settings: &Settings, spec: &DeviceSpec, name: &str, value: &Value) -> ValueCheck {
    let Some(attribute) = spec.attributes.iter().find(|attribute| attribute.name == name) else {
        return ValueCheck::Undeclared;
    };
    match value::check(value, attribute.data_type) {
        TypeCheck::Match(value) => ValueCheck::Valid(value),
        TypeCheck::Convertible(value) if settings.convert => ValueCheck::Converted(value),
        TypeCheck::Convertible(_) | TypeCheck::Mismatch => ValueCheck::Mistyped,
    }
}

/// Rejects the body if a value in it is undeclared or has another type.
fn check_all(settings: &Settings, spec: &DeviceSpec, states: &[Value]) -> Result<(), ApiError> {
    let data = states.iter().filter_map(|state| state.get("data")?.as_object());
    for (name, value) in data.flatten() {
        match check_value(settings, spec, name, value) {
            ValueCheck::Valid(_) | ValueCheck::Converted(_) => {}
            ValueCheck::Undeclared => {
                return Err(ApiError::validation(format!("attribute {name} is not declared")));
            }
            ValueCheck::Mistyped => {
                let message = format!("the value of attribute {name} has another type");
                return Err(ApiError::validation(message));
            }
        }
    }
    Ok(())
}

/// Returns the values to store, and counts the others.
fn accepted_values(
    settings: &Settings,
    spec: &DeviceSpec,
    data: Map<String, Value>,
    counters: &mut Counters,
) -> Map<String, Value> {
    let mut accepted = Map::new();
    for (name, value) in data {
        let stored = match check_value(settings, spec, &name, &value) {
            ValueCheck::Valid(value) => Some(value),
            ValueCheck::Converted(value) => {
                counters.values_converted += 1;
                Some(value)
            }
            ValueCheck::Undeclared | ValueCheck::Mistyped
                if settings.unfit_values == UnfitValues::Accept =>
            {
                Some(value)
            }
            ValueCheck::Undeclared => {
                counters.values_undeclared += 1;
                None
            }
            ValueCheck::Mistyped => {
                counters.values_mistyped += 1;
                None
            }
        };
        accepted.extend(stored.map(|value| (name, value)));
    }
    accepted
}
