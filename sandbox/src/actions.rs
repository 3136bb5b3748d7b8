//! The table of Losant's actions: name, method, path, and who may do it.
//!
//! Names, methods and paths are those of Losant's published description (rest-api/device and
//! rest-api/auth; losant-rest-js, `lib/schemas/apiInfo.json`), in its order. Each action's own
//! rules live in a file below `actions/`.

mod authenticate;
mod delete;
mod export;
mod get;
mod get_composite_state;
mod histories;
mod patch;
mod payload_counts;
mod remove_data;
mod send_command;
mod send_state;
mod set_connection_status;
mod streams;

use std::str::FromStr;

use axum::http::Method;
use serde_json::Value;

use crate::call::Call;
use crate::cloud::Cloud;
use crate::reply::{Refusal, Reply};

/// One action of the API.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[expect(missing_docs, reason = "each is Losant's action of that name; the table says the rest")]
pub enum Action {
    AuthenticateDevice,
    CommandStream,
    Delete,
    Export,
    Get,
    GetCommand,
    GetCompositeState,
    GetLogEntries,
    GetState,
    Patch,
    RemoveData,
    SendCommand,
    SendState,
    SetConnectionStatus,
    StateStream,
    PayloadCounts,
    PayloadCountsBreakdown,
}

/// Which scopes allow an action (rest-api/device; the comments in losant-rest-js, `device.js`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Access {
    /// No token is needed.
    Open,
    /// The `.read` scopes too.
    Read,
    /// Only the scopes that write.
    Write,
    /// As `Read`, but not by a device's token.
    ReadByApplication,
    /// As `Write`, but not by a device's token.
    WriteByApplication,
}

/// A line of the table.
#[derive(Debug)]
pub(crate) struct Row {
    pub(crate) action: Action,
    pub(crate) name: &'static str,
    pub(crate) method: Method,
    /// What follows the path of the device.
    pub(crate) tail: &'static str,
    pub(crate) access: Access,
}

const fn row(
    action: Action,
    name: &'static str,
    method: Method,
    tail: &'static str,
    access: Access,
) -> Row {
    Row { action, name, method, tail, access }
}

/// All actions on a device, in Losant's order; the path is relative to the device.
#[rustfmt::skip]
pub(crate) static TABLE: [Row; 16] = [
    row(Action::CommandStream, "commandStream", Method::GET, "/commandStream", Access::Read),
    row(Action::Delete, "delete", Method::DELETE, "", Access::WriteByApplication),
    row(Action::Export, "export", Method::POST, "/export", Access::ReadByApplication),
    row(Action::Get, "get", Method::GET, "", Access::Read),
    row(Action::GetCommand, "getCommand", Method::GET, "/command", Access::Read),
    row(Action::GetCompositeState, "getCompositeState", Method::GET, "/compositeState", Access::Read),
    row(Action::GetLogEntries, "getLogEntries", Method::GET, "/logs", Access::Read),
    row(Action::GetState, "getState", Method::GET, "/state", Access::Read),
    row(Action::Patch, "patch", Method::PATCH, "", Access::WriteByApplication),
    row(Action::RemoveData, "removeData", Method::DELETE, "/data", Access::WriteByApplication),
    row(Action::SendCommand, "sendCommand", Method::POST, "/command", Access::Write),
    row(Action::SendState, "sendState", Method::POST, "/state", Access::Write),
    row(Action::SetConnectionStatus, "setConnectionStatus", Method::POST, "/setConnectionStatus", Access::Write),
    row(Action::StateStream, "stateStream", Method::GET, "/stateStream", Access::Read),
    row(Action::PayloadCounts, "payloadCounts", Method::GET, "/payloadCounts", Access::ReadByApplication),
    row(Action::PayloadCountsBreakdown, "payloadCountsBreakdown", Method::GET, "/payloadCountsBreakdown", Access::ReadByApplication),
];

/// `POST /auth/device`, which is no action on a device.
pub(crate) static AUTHENTICATE: Row =
    row(Action::AuthenticateDevice, "authenticateDevice", Method::POST, "", Access::Open);

/// Does an action; the call was allowed, and its device exists.
pub(crate) fn perform(row: &Row, call: &Call<'_>) -> Result<Reply, Refusal> {
    match row.action {
        Action::AuthenticateDevice => authenticate::perform(call),
        Action::CommandStream => streams::commands(call),
        Action::Get => get::perform(call),
        Action::GetCommand => histories::commands(call),
        Action::GetCompositeState => get_composite_state::perform(call),
        Action::GetLogEntries => histories::log(call),
        Action::GetState => histories::states(call),
        Action::SendCommand => send_command::perform(call),
        Action::SendState => send_state::perform(call),
        Action::SetConnectionStatus => set_connection_status::perform(call),
        Action::StateStream => streams::states(call),
        Action::Delete => delete::perform(call),
        Action::Export => export::perform(call),
        Action::Patch => patch::perform(call),
        Action::RemoveData => remove_data::perform(call),
        Action::PayloadCounts => payload_counts::sums(call),
        Action::PayloadCountsBreakdown => payload_counts::breakdown(call),
    }
}

/// All stored states of a device, as getState shows them, oldest first.
pub(crate) fn all_states(cloud: &Cloud, device_id: &str) -> Value {
    let states = cloud.store().device(device_id).map(|device| device.states.to_vec());
    states.unwrap_or_default().iter().map(|state| histories::state(state, cloud)).collect()
}

/// All commands of a device, as getCommand shows them, oldest first.
pub(crate) fn all_commands(cloud: &Cloud, device_id: &str) -> Value {
    let commands = cloud.store().device(device_id).map(|device| device.commands.to_vec());
    commands.unwrap_or_default().iter().map(|sent| histories::command(sent, cloud)).collect()
}

/// A name that is none of Losant's actions.
#[derive(Debug, thiserror::Error)]
#[error("{0:?} is no action; the names are Losant's, such as sendState")]
pub struct UnknownAction(String);

impl FromStr for Action {
    type Err = UnknownAction;

    fn from_str(name: &str) -> Result<Self, UnknownAction> {
        let rows = TABLE.iter().chain([&AUTHENTICATE]);
        let named = rows.into_iter().find(|row| row.name == name);
        named.map(|row| row.action).ok_or_else(|| UnknownAction(name.to_owned()))
    }
}
