//! `sendState`: one state or an array of them, all well-formed or none taken.
//!
//! Rules of devices/state: what is too old or too far ahead is ignored and answered 200; a report
//! for a millisecond that has one already is merged into it, and triggers workflows again.

use serde_json::{Map, Value};

use crate::builder::{Settings, Undeclared};
use crate::call::Call;
use crate::counters::Counters;
use crate::event::Event;
use crate::reply::{Refusal, Reply};
use crate::store::StoredState;
use crate::time::{self, Standing};
use crate::value::{Fit, fit};
use crate::world::DeviceSpec;

pub(super) fn perform(call: &Call<'_>) -> Result<Reply, Refusal> {
    let body = call.json(&call.cloud.schemas.state_or_states)?;
    let states = if let Value::Array(states) = body { states } else { vec![body] };
    let settings = &call.cloud.settings;
    let mut store = call.cloud.store();
    let found = store.device_and_counters(call.device_id);
    let (device, counters) = found.ok_or_else(|| Refusal::not_found("device"))?;
    if settings.undeclared == Undeclared::Refuse {
        refuse_misfits(settings, &device.spec, &states)?;
    }
    let mut reports = Vec::new();
    for mut state in states {
        counters.states_received += 1;
        let time_ms = time::parse(state.get("time"), call.now_ms);
        let meta = state.get("meta").cloned();
        let data = state.get_mut("data").and_then(Value::as_object_mut).map(std::mem::take);
        match time::standing(time_ms, call.now_ms) {
            Standing::TooOld => counters.states_too_old += 1,
            Standing::TooFarAhead => counters.states_too_far_ahead += 1,
            Standing::Acceptable => {
                let data = fitting(settings, &device.spec, data.unwrap_or_default(), counters);
                if data.is_empty() {
                    counters.states_without_values += 1;
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

/// What becomes of a value.
enum Fate {
    Stored(Value),
    Converted(Value),
    Undeclared,
    Mistyped,
}

fn fate(settings: &Settings, spec: &DeviceSpec, name: &str, value: &Value) -> Fate {
    let Some(attribute) = spec.attributes.iter().find(|attribute| attribute.name == name) else {
        return Fate::Undeclared;
    };
    match fit(value, attribute.data_type) {
        Fit::Exact(value) => Fate::Stored(value),
        Fit::Convertible(value) if settings.convert => Fate::Converted(value),
        Fit::Convertible(_) | Fit::Misfit => Fate::Mistyped,
    }
}

fn refuse_misfits(settings: &Settings, spec: &DeviceSpec, states: &[Value]) -> Result<(), Refusal> {
    let data = states.iter().filter_map(|state| state.get("data")?.as_object());
    for (name, value) in data.flatten() {
        match fate(settings, spec, name, value) {
            Fate::Stored(_) | Fate::Converted(_) => {}
            Fate::Undeclared => {
                return Err(Refusal::validation(format!("attribute {name} is not declared")));
            }
            Fate::Mistyped => {
                let complaint = format!("value of attribute {name} is not of its type");
                return Err(Refusal::validation(complaint));
            }
        }
    }
    Ok(())
}

/// The values that are stored; the others are counted.
fn fitting(
    settings: &Settings,
    spec: &DeviceSpec,
    data: Map<String, Value>,
    counters: &mut Counters,
) -> Map<String, Value> {
    let mut fitting = Map::new();
    for (name, value) in data {
        let kept = match fate(settings, spec, &name, &value) {
            Fate::Stored(value) => Some(value),
            Fate::Converted(value) => {
                counters.values_converted += 1;
                Some(value)
            }
            Fate::Undeclared | Fate::Mistyped if settings.undeclared == Undeclared::Accept => {
                Some(value)
            }
            Fate::Undeclared => {
                counters.values_undeclared += 1;
                None
            }
            Fate::Mistyped => {
                counters.values_mistyped += 1;
                None
            }
        };
        fitting.extend(kept.map(|value| (name, value)));
    }
    fitting
}
