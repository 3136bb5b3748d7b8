//! The Device actions, one method each, in Losant's order.

use bytes::{BufMut as _, Bytes, BytesMut};
use reqwest::Method;
use serde::Serialize;

use super::error::Error;
use super::session::{Call, Client};
use super::stream::CommandStream;
use super::wire;
use crate::model::{Command, DeviceId, Timestamp};

/// The most commands in one answer of `getCommand`.
pub const COMMANDS_MAX: usize = 100;

/// The longest reason that `setConnectionStatus` takes, in characters (schema `deviceConnectionStatus`).
const REASON_CHARS_MAX: usize = 1_024;

/// What `get` tells and we use.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Device {
    /// The name in Losant.
    pub name: String,
    /// `gateway`, `peripheral` and so on.
    pub device_class: String,
}

/// The body of `setConnectionStatus` (schema `deviceConnectionStatus`).
#[derive(Debug, Clone, Serialize)]
#[serde(tag = "status", rename_all = "lowercase", rename_all_fields = "camelCase")]
pub enum ConnectionStatus {
    /// The gateway is up.
    Connected {
        /// Since when.
        connected_at: Timestamp,
    },
    /// The gateway is going down.
    Disconnected {
        /// Since when it was up.
        connected_at: Timestamp,
        /// When it went down.
        disconnected_at: Timestamp,
        /// Why, 1,024 characters at most.
        disconnect_reason: String,
    },
}

impl ConnectionStatus {
    /// A disconnection with a reason that is cut to what Losant takes.
    pub fn disconnected(connected_at: Timestamp, disconnected_at: Timestamp, reason: &str) -> Self {
        let disconnect_reason = reason.chars().take(REASON_CHARS_MAX).collect();
        Self::Disconnected { connected_at, disconnected_at, disconnect_reason }
    }
}

impl Client {
    /// Opens a stream of the commands that are sent to a device from `now` on.
    pub async fn command_stream(
        &self,
        device: DeviceId,
        now: Timestamp,
    ) -> Result<CommandStream, Error> {
        let seconds = self.keep_alive_interval().as_secs();
        let query = vec![("keepAliveInterval", seconds.to_string())];
        let call = Call { query, ..call("commandStream", Method::GET, device, "/commandStream") };
        CommandStream::open(self, call, now).await
    }

    /// Reads a device.
    pub async fn get(&self, device: DeviceId) -> Result<Device, Error> {
        let json = self.call(&call("get", Method::GET, device, "")).await?;
        let text =
            |key| json.get(key).and_then(serde_json::Value::as_str).unwrap_or_default().to_owned();
        Ok(Device { name: text("name"), device_class: text("deviceClass") })
    }

    /// Reads the commands that were sent to a device from `start` to `end`, oldest first, up to 100.
    ///
    /// Losant says neither whether the ends are part of the window nor how many items it may hold, so ask for overlapping
    /// windows and expect to see a command twice.
    pub async fn get_command(
        &self,
        device: DeviceId,
        start: Timestamp,
        end: Timestamp,
    ) -> Result<Vec<Command>, Error> {
        let query = vec![
            ("limit", COMMANDS_MAX.to_string()),
            ("sortDirection", "asc".to_owned()),
            ("start", start.as_millis().to_string()),
            ("end", end.as_millis().to_string()),
        ];
        let call = Call { query, ..call("getCommand", Method::GET, device, "/command") };
        let json = self.call(&call).await?;
        let Some(items) = json.as_array() else {
            let message = "expected a list of commands".to_owned();
            return Err(Error::NotLosant { action: call.action, status: 200, message });
        };
        Ok(items.iter().filter_map(|item| wire::command(device, item)).collect())
    }

    /// Sends states of one device, each already in its JSON form, in one call. `Ok` means that Losant confirmed them.
    pub async fn send_state(&self, device: DeviceId, states: &[Bytes]) -> Result<(), Error> {
        let body = Some(array_of(states));
        self.confirmed(Call { body, ..call("sendState", Method::POST, device, "/state") }).await
    }

    /// Tells Losant that the device is there or gone.
    pub async fn set_connection_status(
        &self,
        device: DeviceId,
        status: &ConnectionStatus,
    ) -> Result<(), Error> {
        let body = serde_json::to_vec(status).map(Bytes::from).ok();
        let path = "/setConnectionStatus";
        self.confirmed(Call { body, ..call("setConnectionStatus", Method::POST, device, path) })
            .await
    }

    /// Makes a call whose answer is Losant's Success (schema `success`).
    async fn confirmed(&self, call: Call) -> Result<(), Error> {
        let json = self.call(&call).await?;
        if json.get("success") == Some(&serde_json::Value::Bool(true)) {
            return Ok(());
        }
        Err(Error::NotLosant {
            action: call.action,
            status: 200,
            message: "no \"success\": true".to_owned(),
        })
    }
}

fn call(action: &'static str, method: Method, device: DeviceId, path: &'static str) -> Call {
    Call { action, method, device, path, query: Vec::new(), body: None }
}

/// A JSON array of texts that are JSON already: a repeat has the same bytes.
fn array_of(states: &[Bytes]) -> Bytes {
    let mut body =
        BytesMut::with_capacity(2 + states.iter().map(|state| state.len() + 1).sum::<usize>());
    body.put_u8(b'[');
    for (index, state) in states.iter().enumerate() {
        if index > 0 {
            body.put_u8(b',');
        }
        body.put_slice(state);
    }
    body.put_u8(b']');
    body.freeze()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn states_are_joined_without_a_change() {
        let states = [Bytes::from("{\"a\":1}"), Bytes::from("{}")];
        assert_eq!(array_of(&states), "[{\"a\":1},{}]");
        assert_eq!(array_of(&[]), "[]");
    }

    #[test]
    fn a_connection_status_is_what_the_schema_wants() {
        let (up, down) = (Timestamp::from_millis(0), Timestamp::from_millis(1));
        let connected = ConnectionStatus::Connected { connected_at: up };
        assert_eq!(
            serde_json::to_string(&connected).unwrap(),
            r#"{"status":"connected","connectedAt":"1970-01-01T00:00:00.000Z"}"#
        );
        let disconnected = ConnectionStatus::disconnected(up, down, &"x".repeat(2_000));
        let json = serde_json::to_value(&disconnected).unwrap();
        assert_eq!(json["status"], "disconnected");
        assert_eq!(json["disconnectedAt"], "1970-01-01T00:00:00.001Z");
        assert_eq!(json["disconnectReason"].as_str().unwrap().len(), 1_024);
    }
}
