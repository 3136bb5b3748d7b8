//! The control interface below `/sandbox/`: the functions of [`Sandbox`](crate::Sandbox) for
//! scripts.
//!
//! It shares the port of the API, accepts calls from loopback only, and works during an outage.
//!
//! | Call | Effect |
//! | --- | --- |
//! | `GET counters` | returns the counters |
//! | `GET states/{device}`, `commands/{device}` | returns all stored entries, oldest first |
//! | `GET lost/{device}` | returns the values that were silently lost |
//! | `GET exports` | returns the paths of the finished CSV files, oldest first |
//! | `POST offline`, `POST online` | starts or ends an outage |
//! | `POST cut-streams` | breaks all open streams off |
//! | `POST end-streams` | ends all open streams properly |
//! | `POST silence-streams` | keeps all open streams open, but sends nothing more on them |
//! | `POST expire-tokens` | expires all device tokens |
//! | `POST clock` | sets the offset of the service's clock: `{"offsetMs"}` |
//! | `POST fail` | plans faults: `{"action", "calls"}` and the fields of a fault |
//! | `POST chance` | plans random faults: `{"oneIn", "seed", "faults"}`; returns the seed |
//! | `POST lose` | loses states or values silently: `{"oneIn", "seed", "unit"}`; returns the seed |
//! | `POST clear-faults` | removes all planned and random faults, and ends silent losses |
//! | `POST command` | sends a command: `{"deviceId", "name", "payload"}` |
//!
//! The module `control::fault` documents the fields of a fault.

mod fault;

use axum::http::{Method, StatusCode};
use axum::response::{IntoResponse, Response};
use serde::Deserialize;
use serde_json::{Value, json};

use crate::cloud::Cloud;
use crate::connection::Peer;
use crate::event::Event;
use crate::records::StoredCommand;
use crate::reply::{ApiError, json_response};
use crate::shapes;

/// Responds to a control call; `path` is the part that follows `/sandbox/`.
pub(crate) fn respond(
    cloud: &Cloud,
    peer: &Peer,
    method: &Method,
    path: &str,
    body: &[u8],
) -> Response {
    if !peer.address.ip().is_loopback() {
        return ApiError::forbidden(403, "only from this host").into_response();
    }
    match execute(cloud, method, path, body) {
        Ok(value) => json_response(StatusCode::OK, &value),
        Err(error) => error.into_response(),
    }
}

fn execute(cloud: &Cloud, method: &Method, path: &str, body: &[u8]) -> Result<Value, ApiError> {
    let (name, device_id) = path.split_once('/').unwrap_or((path, ""));
    match (method.as_str(), name) {
        ("GET", "counters") => Ok(json!(cloud.store().counters)),
        ("GET", "states") => Ok(states(cloud, device_id)),
        ("GET", "commands") => Ok(commands(cloud, device_id)),
        ("GET", "lost") => Ok(json!(cloud.silent_losses.lost(device_id))),
        ("GET", "exports") => Ok(json!(cloud.exports.paths())),
        ("POST", "chance") => fault::plan_random(cloud, parse(body)?),
        ("POST", "lose") => fault::plan_loss(cloud, &parse(body)?),
        ("POST", _) => {
            execute_post(cloud, name, body)?;
            Ok(json!({"success": true}))
        }
        _ => Err(ApiError::method_not_allowed(method.as_str())),
    }
}

fn execute_post(cloud: &Cloud, name: &str, body: &[u8]) -> Result<(), ApiError> {
    match name {
        "offline" => cloud.faults.set_offline(true),
        "online" => cloud.faults.set_offline(false),
        "cut-streams" => cloud.faults.cut_streams(),
        "end-streams" => cloud.faults.end_streams(),
        "expire-tokens" => cloud.store().commit(Event::DeviceTokensExpired),
        "silence-streams" => cloud.faults.silence_streams(),
        "clock" => cloud.set_clock_offset(parse::<Clock>(body)?.offset_ms),
        "fail" => fault::plan(cloud, parse(body)?)?,
        "clear-faults" => {
            cloud.faults.clear();
            cloud.silent_losses.clear();
        }
        "command" => send_command(cloud, parse(body)?)?,
        _ => return Err(ApiError::not_found("control call")),
    }
    Ok(())
}

fn states(cloud: &Cloud, device_id: &str) -> Value {
    let store = cloud.store();
    let states = store.device(device_id).into_iter().flat_map(|device| device.states.iter());
    states.map(|state| shapes::state(state, cloud.settings.time_form)).collect()
}

fn commands(cloud: &Cloud, device_id: &str) -> Value {
    let store = cloud.store();
    let commands = store.device(device_id).into_iter().flat_map(|device| device.commands.iter());
    commands.map(|command| shapes::command(command, cloud.settings.time_form)).collect()
}

fn parse<'a, T: Deserialize<'a>>(body: &'a [u8]) -> Result<T, ApiError> {
    serde_json::from_slice(body).map_err(|error| ApiError::validation(error.to_string()))
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Clock {
    offset_ms: i64,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Command {
    device_id: String,
    name: String,
    payload: Option<Value>,
}

fn send_command(cloud: &Cloud, command: Command) -> Result<(), ApiError> {
    let mut store = cloud.store();
    if store.device(&command.device_id).is_none() {
        return Err(ApiError::not_found("device"));
    }
    let time_ms = cloud.now_ms();
    let stored = StoredCommand { time_ms, name: command.name, payload: command.payload };
    let (device_id, at_ms) = (command.device_id, Some(time_ms));
    store.commit(Event::Command { device_id, at_ms, command: stored });
    Ok(())
}
