//! The Device actions: their names, methods, paths and credentials.

use reqwest::Method;

/// An action of the Device resource.
///
/// The order is that of Losant's documentation, with the two newer ones at the end.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
#[expect(
    missing_docs,
    reason = "Losant defines the names; the table in `device` describes each action"
)]
pub enum Action {
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

/// The token that an action needs (rest-api/device, "Authentication" of each action).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Credential {
    /// The token of a device, which an access key provides.
    Device,
    /// A token of the application. No scope of a device includes the action.
    Application,
}

impl Action {
    /// All actions.
    pub const ALL: [Self; 16] = [
        Self::CommandStream,
        Self::Delete,
        Self::Export,
        Self::Get,
        Self::GetCommand,
        Self::GetCompositeState,
        Self::GetLogEntries,
        Self::GetState,
        Self::Patch,
        Self::RemoveData,
        Self::SendCommand,
        Self::SendState,
        Self::SetConnectionStatus,
        Self::StateStream,
        Self::PayloadCounts,
        Self::PayloadCountsBreakdown,
    ];

    /// Returns Losant's name, such as `sendState`.
    pub fn name(self) -> &'static str {
        self.spec().name
    }

    /// Returns the HTTP method.
    pub fn method(self) -> Method {
        self.spec().method
    }

    /// Returns the path below that of the device: empty, or with a leading slash.
    pub fn path(self) -> &'static str {
        self.spec().path
    }

    /// Returns the token that it needs.
    pub fn credential(self) -> Credential {
        self.spec().credential
    }

    fn spec(self) -> Spec {
        use Credential::{Application, Device};
        let (name, method, path, credential) = match self {
            Self::CommandStream => ("commandStream", Method::GET, "/commandStream", Device),
            Self::Delete => ("delete", Method::DELETE, "", Application),
            Self::Export => ("export", Method::POST, "/export", Application),
            Self::Get => ("get", Method::GET, "", Device),
            Self::GetCommand => ("getCommand", Method::GET, "/command", Device),
            Self::GetCompositeState => {
                ("getCompositeState", Method::GET, "/compositeState", Device)
            }
            Self::GetLogEntries => ("getLogEntries", Method::GET, "/logs", Device),
            Self::GetState => ("getState", Method::GET, "/state", Device),
            Self::Patch => ("patch", Method::PATCH, "", Application),
            Self::RemoveData => ("removeData", Method::DELETE, "/data", Application),
            Self::SendCommand => ("sendCommand", Method::POST, "/command", Device),
            Self::SendState => ("sendState", Method::POST, "/state", Device),
            Self::SetConnectionStatus => {
                ("setConnectionStatus", Method::POST, "/setConnectionStatus", Device)
            }
            Self::StateStream => ("stateStream", Method::GET, "/stateStream", Device),
            Self::PayloadCounts => ("payloadCounts", Method::GET, "/payloadCounts", Application),
            Self::PayloadCountsBreakdown => {
                ("payloadCountsBreakdown", Method::GET, "/payloadCountsBreakdown", Application)
            }
        };
        Spec { name, method, path, credential }
    }
}

/// The row of an action in the table of actions.
struct Spec {
    name: &'static str,
    method: Method,
    path: &'static str,
    credential: Credential,
}
