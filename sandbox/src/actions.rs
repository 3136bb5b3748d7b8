//! The table of Losant's actions: name, method, path, and who may do it.
//!
//! Names, methods and paths are those of Losant's published description (rest-api/device and
//! rest-api/auth; losant-rest-js, `lib/schemas/apiInfo.json`), in its order. Each action's own
//! rules live in a file below `actions/`.

use std::str::FromStr;

use axum::http::Method;

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
