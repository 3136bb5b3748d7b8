//! `/sandbox/…`: the handle's functions for scripts, on the same port, from loopback only, and also
//! while the cloud is dark.
//!
//! | Call | Does |
//! | --- | --- |
//! | `GET counters` | answers the counters |
//! | `GET states/{device}`, `commands/{device}` | answers what is stored, oldest first |
//! | `POST dark`, `POST light` | makes the cloud unreachable, or reachable again |
//! | `POST cut-streams`, `end-streams`, `silence-streams` | breaks all open streams off, ends them properly, or lets them say nothing more |
//! | `POST expire-tokens` | lets all device tokens expire |
//! | `POST clock` | sets the service's clock ahead or back: `{"offsetMs"}` |
//! | `POST fail` | plans faults: `{"action", "calls"}` and a fault |
//! | `POST chance` | lets one call in so many fail: `{"oneIn", "seed", "faults"}`; answers the seed |
//! | `POST clear-faults` | forgets the faults of the last two |
//! | `POST command` | sends a command: `{"deviceId", "name", "payload"}` |
//!
//! The forms of a fault are those of `control::fault`.

mod fault;

use axum::http::{Method, StatusCode};
use axum::response::{IntoResponse, Response};
use serde::Deserialize;
use serde_json::{Value, json};

use crate::actions;
use crate::cloud::Cloud;
use crate::connection::Caller;
use crate::event::Event;
use crate::reply::{Refusal, json_response};
use crate::store::StoredCommand;

/// Answers a control call; `path` is what follows `/sandbox/`.
pub(crate) fn answer(
    cloud: &Cloud,
    caller: &Caller,
    method: &Method,
    path: &str,
    body: Option<&impl AsRef<[u8]>>,
) -> Response {
    if !caller.address.ip().is_loopback() {
        return Refusal::forbidden(403, "only from this host").into_response();
    }
    let body = body.map(AsRef::as_ref).unwrap_or_default();
    match perform(cloud, method, path, body) {
        Ok(value) => json_response(StatusCode::OK, &value),
        Err(refusal) => refusal.into_response(),
    }
}

fn perform(cloud: &Cloud, method: &Method, path: &str, body: &[u8]) -> Result<Value, Refusal> {
    let (name, device_id) = path.split_once('/').unwrap_or((path, ""));
    match (method.as_str(), name) {
        ("GET", "counters") => Ok(json!(cloud.store().counters)),
        ("GET", "states") => Ok(actions::all_states(cloud, device_id)),
        ("GET", "commands") => Ok(actions::all_commands(cloud, device_id)),
        ("POST", "chance") => fault::chance(cloud, parse(body)?),
        ("POST", _) => {
            act(cloud, name, body)?;
            Ok(json!({"success": true}))
        }
        _ => Err(Refusal::method_not_allowed(method.as_str())),
    }
}

fn act(cloud: &Cloud, name: &str, body: &[u8]) -> Result<(), Refusal> {
    match name {
        "dark" => cloud.faults.set_dark(true),
        "light" => cloud.faults.set_dark(false),
        "cut-streams" => cloud.faults.cut_streams(),
        "end-streams" => cloud.faults.end_streams(),
        "expire-tokens" => cloud.store().commit(Event::DeviceTokensExpired),
        "silence-streams" => cloud.faults.silence_streams(),
        "clock" => cloud.set_clock_offset(parse::<Clock>(body)?.offset_ms),
        "fail" => fault::plan(cloud, parse(body)?)?,
        "clear-faults" => cloud.faults.clear(),
        "command" => send_command(cloud, parse(body)?)?,
        _ => return Err(Refusal::not_found("control call")),
    }
    Ok(())
}

fn parse<'a, T: Deserialize<'a>>(body: &'a [u8]) -> Result<T, Refusal> {
    serde_json::from_slice(body).map_err(|error| Refusal::validation(error.to_string()))
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

fn send_command(cloud: &Cloud, command: Command) -> Result<(), Refusal> {
    let mut store = cloud.store();
    if store.device(&command.device_id).is_none() {
        return Err(Refusal::not_found("device"));
    }
    let time_ms = cloud.now_ms();
    let sent = StoredCommand { time_ms, name: command.name, payload: command.payload };
    let (device_id, at_ms) = (command.device_id, Some(time_ms));
    store.commit(Event::Command { device_id, at_ms, command: sent });
    Ok(())
}
