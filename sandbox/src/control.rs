//! `/sandbox/…`: the handle's functions for scripts, on the same port, from loopback only, and also
//! while the cloud is dark.
//!
//! | Call | Does |
//! | --- | --- |
//! | `GET counters` | answers the counters |
//! | `GET states/{device}`, `commands/{device}` | answers what is stored, oldest first |
//! | `POST dark`, `POST light` | makes the cloud unreachable, or reachable again |
//! | `POST cut-streams`, `end-streams` | breaks all open streams off, or ends them properly |
//! | `POST expire-tokens` | lets all device tokens expire |
//! | `POST fail` | plans faults: `{"action", "calls", "status", "body"}`, or `"fault"` in place of the last two |
//! | `POST command` | sends a command: `{"deviceId", "name", "payload"}` |

use axum::http::{Method, StatusCode};
use axum::response::{IntoResponse, Response};
use serde::Deserialize;
use serde_json::{Value, json};

use crate::actions::{self, Action};
use crate::cloud::Cloud;
use crate::connection::Caller;
use crate::event::Event;
use crate::faults::Fault;
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
        "fail" => plan(cloud, parse(body)?)?,
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
struct Plan {
    action: String,
    #[serde(default = "one")]
    calls: usize,
    fault: Option<NamedFault>,
    status: Option<u16>,
    #[serde(default)]
    body: String,
}

#[derive(Clone, Copy, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum NamedFault {
    Drop,
    LoseResponse,
    Hang,
}

fn one() -> usize {
    1
}

fn plan(cloud: &Cloud, plan: Plan) -> Result<(), Refusal> {
    let action: Action = plan
        .action
        .parse()
        .map_err(|error: actions::UnknownAction| Refusal::validation(error.to_string()))?;
    let fault = match (plan.fault, plan.status) {
        (Some(NamedFault::Drop), None) => Fault::Drop,
        (Some(NamedFault::LoseResponse), None) => Fault::LoseResponse,
        (Some(NamedFault::Hang), None) => Fault::Hang,
        (None, Some(status)) => Fault::Status(status, plan.body),
        (Some(_), Some(_)) | (None, None) => {
            return Err(Refusal::validation("give either status or fault"));
        }
    };
    cloud.faults.plan(action, plan.calls, fault);
    Ok(())
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
