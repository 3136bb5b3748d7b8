//! The table of Losant's actions: name, method, path, and required scopes.
//!
//! Names, methods and paths are those of Losant's published description (rest-api/device and
//! rest-api/auth; losant-rest-js, `lib/schemas/apiInfo.json`), in the same order. The module
//! `handlers` implements the actions.

use std::str::FromStr;

use axum::http::Method;

/// An action of the API.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[expect(missing_docs, reason = "each variant is Losant's action of the same name")]
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
    DevicesGet,
    DevicesPost,
}

/// The scopes that allow an action (rest-api/device; the comments in losant-rest-js,
/// `device.js`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Access {
    /// No token is required.
    Open,
    /// Read and write scopes allow it.
    Read,
    /// Only write scopes allow it.
    Write,
    /// Like `Read`, but a device token does not suffice.
    ReadByApplication,
    /// Like `Write`, but a device token does not suffice.
    WriteByApplication,
}

/// Describes an action.
#[derive(Debug)]
pub(crate) struct ActionSpec {
    pub(crate) action: Action,
    pub(crate) name: &'static str,
    pub(crate) method: Method,
    /// The part of the path that follows the path of the device.
    pub(crate) tail: &'static str,
    pub(crate) access: Access,
}

const fn spec(
    action: Action,
    name: &'static str,
    method: Method,
    tail: &'static str,
    access: Access,
) -> ActionSpec {
    ActionSpec { action, name, method, tail, access }
}

/// All actions on a device, in Losant's order.
#[rustfmt::skip]
pub(crate) static DEVICE_ACTIONS: [ActionSpec; 16] = [
    spec(Action::CommandStream, "commandStream", Method::GET, "/commandStream", Access::Read),
    spec(Action::Delete, "delete", Method::DELETE, "", Access::WriteByApplication),
    spec(Action::Export, "export", Method::POST, "/export", Access::ReadByApplication),
    spec(Action::Get, "get", Method::GET, "", Access::Read),
    spec(Action::GetCommand, "getCommand", Method::GET, "/command", Access::Read),
    spec(Action::GetCompositeState, "getCompositeState", Method::GET, "/compositeState",
        Access::Read),
    spec(Action::GetLogEntries, "getLogEntries", Method::GET, "/logs", Access::Read),
    spec(Action::GetState, "getState", Method::GET, "/state", Access::Read),
    spec(Action::Patch, "patch", Method::PATCH, "", Access::WriteByApplication),
    spec(Action::RemoveData, "removeData", Method::DELETE, "/data", Access::WriteByApplication),
    spec(Action::SendCommand, "sendCommand", Method::POST, "/command", Access::Write),
    spec(Action::SendState, "sendState", Method::POST, "/state", Access::Write),
    spec(Action::SetConnectionStatus, "setConnectionStatus", Method::POST, "/setConnectionStatus",
        Access::Write),
    spec(Action::StateStream, "stateStream", Method::GET, "/stateStream", Access::Read),
    spec(Action::PayloadCounts, "payloadCounts", Method::GET, "/payloadCounts",
        Access::ReadByApplication),
    spec(Action::PayloadCountsBreakdown, "payloadCountsBreakdown", Method::GET,
        "/payloadCountsBreakdown", Access::ReadByApplication),
];

/// The actions on the devices of an application (rest-api/devices). Their names include the
/// resource, as the scopes do.
#[rustfmt::skip]
pub(crate) static APPLICATION_ACTIONS: [ActionSpec; 2] = [
    spec(Action::DevicesGet, "devices.get", Method::GET, "", Access::Read),
    spec(Action::DevicesPost, "devices.post", Method::POST, "", Access::WriteByApplication),
];

/// `POST /auth/device`, the only action without a token.
pub(crate) static AUTHENTICATE: ActionSpec =
    spec(Action::AuthenticateDevice, "authenticateDevice", Method::POST, "", Access::Open);

/// The error for a name that is not one of Losant's actions.
#[derive(Debug, thiserror::Error)]
#[error("unknown action {0:?}; use Losant's names, such as sendState")]
pub struct UnknownAction(String);

impl FromStr for Action {
    type Err = UnknownAction;

    fn from_str(name: &str) -> Result<Self, UnknownAction> {
        let mut specs = DEVICE_ACTIONS.iter().chain(&APPLICATION_ACTIONS).chain([&AUTHENTICATE]);
        let named = specs.find(|spec| spec.name == name);
        named.map(|spec| spec.action).ok_or_else(|| UnknownAction(name.to_owned()))
    }
}
