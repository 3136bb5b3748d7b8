//! The body of `setConnectionStatus` (schema `deviceConnectionStatus`).

use serde::{Deserialize, Serialize};

use super::{Bounded, Text, Time, some};
use tidegate_model::WallTime;

/// A number of messages.
type Count = Bounded<0, 2_147_483_647>;

/// Whether a device is connected.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(
    tag = "status",
    rename_all = "lowercase",
    rename_all_fields = "camelCase",
    try_from = "Members"
)]
pub enum ConnectionStatus {
    /// It is connected.
    Connected {
        /// When it connected.
        #[serde(skip_serializing_if = "Option::is_none")]
        connected_at: Option<Time>,
        /// Its IP address.
        #[serde(skip_serializing_if = "Option::is_none")]
        ip_address: Option<Text<2, 39>>,
    },
    /// It is disconnected.
    Disconnected {
        /// When it connected.
        #[serde(skip_serializing_if = "Option::is_none")]
        connected_at: Option<Time>,
        /// When it disconnected.
        #[serde(skip_serializing_if = "Option::is_none")]
        disconnected_at: Option<Time>,
        /// The reason.
        #[serde(skip_serializing_if = "Option::is_none")]
        disconnect_reason: Option<Text<0, 1024>>,
        /// The number of messages from it.
        #[serde(skip_serializing_if = "Option::is_none")]
        messages_from_client: Option<Count>,
        /// The number of messages to it.
        #[serde(skip_serializing_if = "Option::is_none")]
        messages_to_client: Option<Count>,
        /// Its IP address.
        #[serde(skip_serializing_if = "Option::is_none")]
        ip_address: Option<Text<2, 39>>,
    },
}

impl ConnectionStatus {
    /// Creates the status of a device that is connected since then.
    pub fn connected(connected_at: WallTime) -> Self {
        Self::Connected { connected_at: Some(connected_at.into()), ip_address: None }
    }

    /// Creates the status of a disconnected device. Truncates the reason to its maximum.
    pub fn disconnected(connected_at: WallTime, disconnected_at: WallTime, reason: &str) -> Self {
        Self::Disconnected {
            connected_at: Some(connected_at.into()),
            disconnected_at: Some(disconnected_at.into()),
            disconnect_reason: Some(Text::cut(reason)),
            messages_from_client: None,
            messages_to_client: None,
            ip_address: None,
        }
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "lowercase")]
enum Status {
    Connected,
    Disconnected,
}

/// The members of both variants, so that an error can name one in the wrong variant.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Members {
    status: Status,
    #[serde(default, deserialize_with = "some")]
    connected_at: Option<Time>,
    #[serde(default, deserialize_with = "some")]
    disconnected_at: Option<Time>,
    #[serde(default, deserialize_with = "some")]
    disconnect_reason: Option<Text<0, 1024>>,
    #[serde(default, deserialize_with = "some")]
    messages_from_client: Option<Count>,
    #[serde(default, deserialize_with = "some")]
    messages_to_client: Option<Count>,
    #[serde(default, deserialize_with = "some")]
    ip_address: Option<Text<2, 39>>,
}

impl Members {
    /// Returns the first member that only a disconnected status may have.
    fn of_disconnection(&self) -> Option<&'static str> {
        let members = [
            ("disconnectedAt", self.disconnected_at.is_some()),
            ("disconnectReason", self.disconnect_reason.is_some()),
            ("messagesFromClient", self.messages_from_client.is_some()),
            ("messagesToClient", self.messages_to_client.is_some()),
        ];
        members.into_iter().find_map(|(name, is_set)| is_set.then_some(name))
    }
}

impl TryFrom<Members> for ConnectionStatus {
    type Error = String;

    fn try_from(members: Members) -> Result<Self, String> {
        let foreign = members.of_disconnection();
        let Members { connected_at, ip_address, .. } = members;
        match (members.status, foreign) {
            (Status::Connected, Some(name)) => {
                Err(format!("{name} is only for the status \"disconnected\""))
            }
            (Status::Connected, None) => Ok(Self::Connected { connected_at, ip_address }),
            (Status::Disconnected, _) => Ok(Self::Disconnected {
                connected_at,
                disconnected_at: members.disconnected_at,
                disconnect_reason: members.disconnect_reason,
                messages_from_client: members.messages_from_client,
                messages_to_client: members.messages_to_client,
                ip_address,
            }),
        }
    }
}
