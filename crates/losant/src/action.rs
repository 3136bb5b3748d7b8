//! The Device actions: Losant's names, methods and paths, and which credential each asks for.

use reqwest::Method;

/// An action of the Device resource, in the order of Losant's documentation; the two newer ones are last.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
#[expect(
    missing_docs,
    reason = "the names are Losant's, and the table in `device` tells what each does"
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

/// Whose token an action takes (rest-api/device, "Authentication" of each action).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Credential {
    /// A device's token is enough, as an access key gives it.
    Device,
    /// No scope that a device can ask for includes it: it takes a token of the application.
    Application,
}

impl Action {
    /// All of them.
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

    /// Losant's name, such as `sendState`.
    pub fn name(self) -> &'static str {
        self.entry().0
    }

    /// The HTTP method.
    pub fn method(self) -> Method {
        self.entry().1
    }

    /// The path below the device's: empty, or with a leading slash.
    pub fn path(self) -> &'static str {
        self.entry().2
    }

    /// Whose token it takes.
    pub fn credential(self) -> Credential {
        self.entry().3
    }

    fn entry(self) -> (&'static str, Method, &'static str, Credential) {
        use Credential::{Application, Device};
        match self {
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
        }
    }
}
