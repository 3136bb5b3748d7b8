//! The Device actions, one method each, in Losant's order.
//!
//! | action | method and path below `/applications/A/devices/D` | token | used by |
//! | --- | --- | --- | --- |
//! | `commandStream` | GET `/commandStream` | device | the listener; `tidegate device` |
//! | `delete` | DELETE | application | `tidegate device` |
//! | `export` | POST `/export` | application | `tidegate device` |
//! | `get` | GET | device | connection status, to check the class at start; `tidegate device` |
//! | `getCommand` | GET `/command` | device | the listener; `tidegate device` |
//! | `getCompositeState` | GET `/compositeState` | device | `tidegate device` |
//! | `getLogEntries` | GET `/logs` | device | `tidegate device` |
//! | `getState` | GET `/state` | device | the audit; `tidegate device` |
//! | `patch` | PATCH | application | `tidegate device` |
//! | `removeData` | DELETE `/data` | application | `tidegate device` |
//! | `sendCommand` | POST `/command` | device | `tidegate device` |
//! | `sendState` | POST `/state` | device | the reporter; `tidegate device` |
//! | `setConnectionStatus` | POST `/setConnectionStatus` | device | daemon; `tidegate device` |
//! | `stateStream` | GET `/stateStream` | device | `tidegate device` |
//! | `payloadCounts` | GET `/payloadCounts` | application | `tidegate device` |
//! | `payloadCountsBreakdown` | GET `/payloadCountsBreakdown` | application | `tidegate device` |
//!
//! The token of a device may execute an action X with one of the scopes `all.Device`, `device.X`
//! and, for reading, `all.Device.read`. The token of an application needs `all.Application`,
//! `device.*`, `device.X` or, for reading, `all.Application.read`. See rest-api/device,
//! "Authentication" of each action.

use serde_json::{Map, Value};

use super::action::Action;
use super::body::{ConnectionStatus, DataExport, DeviceCommand, DevicePatch, StatesJson};
use super::call::{Accepted, Call, DeviceDescription, StreamCall, Success};
use super::query::{Composite, Export, History, Period, Query, Resolution, Shape};
use super::request::Request;
use super::session::Client;
use tidegate_model::{Command, DeviceId};

impl Client {
    /// Opens a stream of the commands that are sent to a device from now on.
    pub fn command_stream(&self, device: DeviceId) -> StreamCall<'_, Command> {
        let request = self.stream_request(Action::CommandStream, device);
        StreamCall::new(self, request, "deviceCommand")
    }

    /// Deletes a device with all its data.
    pub fn delete(&self, device: DeviceId) -> Call<'_, Success> {
        Call::new(self, Request::new(Action::Delete, device))
    }

    /// Exports the states of a device to a file. A body overrides the query.
    pub fn export(
        &self,
        device: DeviceId,
        query: &Export,
        body: Option<&DataExport>,
    ) -> Call<'_, Accepted> {
        let request = Request::new(Action::Export, device).query(query.query().pairs());
        Call::new(
            self,
            match body {
                Some(body) => request.json(body),
                None => request,
            },
        )
    }

    /// Reads a device.
    pub fn get(&self, device: DeviceId, shape: Shape) -> Call<'_, DeviceDescription> {
        let query = shape.query().switch("excludeConnectionInfo", shape.exclude_connection_info);
        Call::new(self, Request::new(Action::Get, device).query(query.pairs()))
    }

    /// Reads the commands that were sent to a device.
    pub fn get_command(&self, device: DeviceId, history: &History) -> Call<'_, Vec<Command>> {
        Call::new(self, Request::new(Action::GetCommand, device).query(history.query().pairs()))
    }

    /// Reads the last value of each attribute of a device.
    pub fn get_composite_state(
        &self,
        device: DeviceId,
        composite: &Composite,
    ) -> Call<'_, Map<String, Value>> {
        let query = composite.query().pairs();
        Call::new(self, Request::new(Action::GetCompositeState, device).query(query))
    }

    /// Reads the connection log of a device.
    pub fn get_log_entries(&self, device: DeviceId, history: &History) -> Call<'_, Vec<Value>> {
        Call::new(self, Request::new(Action::GetLogEntries, device).query(history.query().pairs()))
    }

    /// Reads the states of a device.
    pub fn get_state(&self, device: DeviceId, history: &History) -> Call<'_, Vec<Value>> {
        Call::new(self, Request::new(Action::GetState, device).query(history.query().pairs()))
    }

    /// Changes a device and returns its new description.
    pub fn patch(
        &self,
        device: DeviceId,
        patch: &DevicePatch,
        shape: Shape,
    ) -> Call<'_, DeviceDescription> {
        let query = shape.query().pairs();
        Call::new(self, Request::new(Action::Patch, device).query(query).json(patch))
    }

    /// Deletes the states of a period.
    pub fn remove_data(&self, device: DeviceId, period: Period) -> Call<'_, Accepted> {
        Call::new(self, Request::new(Action::RemoveData, device).query(period.query().pairs()))
    }

    /// Sends a command to a device.
    pub fn send_command(&self, device: DeviceId, command: &DeviceCommand) -> Call<'_, Success> {
        Call::new(self, Request::new(Action::SendCommand, device).json(command))
    }

    /// Sends states of one device in one call. `Ok` means that Losant confirmed them.
    pub fn send_state(&self, device: DeviceId, states: impl Into<StatesJson>) -> Call<'_, Success> {
        Call::new(self, Request::new(Action::SendState, device).body(states.into().0))
    }

    /// Reports that a device is connected or disconnected.
    pub fn set_connection_status(
        &self,
        device: DeviceId,
        status: &ConnectionStatus,
    ) -> Call<'_, Success> {
        Call::new(self, Request::new(Action::SetConnectionStatus, device).json(status))
    }

    /// Opens a stream of the states that a device reports from now on.
    pub fn state_stream(&self, device: DeviceId) -> StreamCall<'_, Value> {
        StreamCall::new(self, self.stream_request(Action::StateStream, device), "deviceState")
    }

    /// Returns the numbers of payloads that a device sent and received.
    pub fn payload_counts(&self, device: DeviceId, period: Period) -> Call<'_, Map<String, Value>> {
        Call::new(self, Request::new(Action::PayloadCounts, device).query(period.query().pairs()))
    }

    /// Returns the numbers of payloads by day or hour.
    pub fn payload_counts_breakdown(
        &self,
        device: DeviceId,
        period: Period,
        resolution: Option<Resolution>,
    ) -> Call<'_, Map<String, Value>> {
        let query = period.query().with("resolution", resolution.map(Resolution::as_millis));
        let action = Action::PayloadCountsBreakdown;
        Call::new(self, Request::new(action, device).query(query.pairs()))
    }

    fn stream_request(&self, action: Action, device: DeviceId) -> Request {
        let seconds = self.keep_alive_interval().as_secs();
        let query = Query::default().with("keepAliveInterval", Some(seconds));
        Request::new(action, device).query(query.pairs())
    }
}

#[cfg(test)]
mod tests;
