//! The request of an action, without host, application and token.

use bytes::Bytes;
use reqwest::{Method, Url};
use serde::Serialize;

use super::action::Action;
use tidegate_model::DeviceId;

/// An action on the devices of an application (rest-api/devices). It needs an application token,
/// except that the token of a device may list the devices that it covers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum DevicesAction {
    /// Lists devices, a page at a time.
    Get,
    /// Creates a device.
    Post,
}

/// What a request addresses.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Resource {
    Device(Action, DeviceId),
    Devices(DevicesAction),
}

/// The request of an action, complete except for host, application and token.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Request {
    resource: Resource,
    query: Vec<(&'static str, String)>,
    body: Option<Bytes>,
    last_event_id: Option<String>,
}

impl Request {
    pub(super) fn new(action: Action, device: DeviceId) -> Self {
        Self::to(Resource::Device(action, device))
    }

    pub(super) fn to_devices(action: DevicesAction) -> Self {
        Self::to(Resource::Devices(action))
    }

    fn to(resource: Resource) -> Self {
        Self { resource, query: Vec::new(), body: None, last_event_id: None }
    }

    pub(super) fn query(self, query: Vec<(&'static str, String)>) -> Self {
        Self { query, ..self }
    }

    pub(super) fn body(self, body: impl Into<Bytes>) -> Self {
        Self { body: Some(body.into()), ..self }
    }

    /// Sets the id of the last event of an earlier stream, for a server that resumes there.
    pub(super) fn last_event_id(self, id: Option<String>) -> Self {
        Self { last_event_id: id, ..self }
    }

    /// Sets the body to the JSON of `body`, one of the types of the module `body`.
    ///
    /// Those types always serialise.
    pub(super) fn json(self, body: &impl Serialize) -> Self {
        self.body(serde_json::to_vec(body).unwrap_or_default())
    }

    /// Returns Losant's name of the action, such as `sendState` or `devices.post`.
    pub fn name(&self) -> &'static str {
        match self.resource {
            Resource::Device(action, _) => action.name(),
            Resource::Devices(DevicesAction::Get) => "devices.get",
            Resource::Devices(DevicesAction::Post) => "devices.post",
        }
    }

    /// Returns the action, if it is one on a device.
    pub fn action(&self) -> Option<Action> {
        match self.resource {
            Resource::Device(action, _) => Some(action),
            Resource::Devices(_) => None,
        }
    }

    /// Returns the HTTP method.
    pub fn method(&self) -> Method {
        match self.resource {
            Resource::Device(action, _) => action.method(),
            Resource::Devices(DevicesAction::Get) => Method::GET,
            Resource::Devices(DevicesAction::Post) => Method::POST,
        }
    }

    /// Returns the path below that of the application.
    fn path(&self) -> String {
        match self.resource {
            Resource::Device(action, device) => format!("/devices/{device}{}", action.path()),
            Resource::Devices(_) => "/devices".to_owned(),
        }
    }

    /// Returns the device, if it addresses one.
    pub(super) fn device(&self) -> Option<DeviceId> {
        match self.resource {
            Resource::Device(_, device) => Some(device),
            Resource::Devices(_) => None,
        }
    }

    /// Returns the names and values of the query.
    pub fn query_pairs(&self) -> &[(&'static str, String)] {
        &self.query
    }

    /// Returns the body, which is JSON.
    pub fn json_body(&self) -> Option<&Bytes> {
        self.body.as_ref()
    }

    /// Returns the header `Last-Event-ID`.
    pub fn event_id(&self) -> Option<&str> {
        self.last_event_id.as_deref()
    }

    /// Returns the URL. `base` has no slash at its end; `application` is an id or a placeholder.
    pub fn url(&self, base: &str, application: &str) -> String {
        let address = format!("{base}/applications/{application}{}", self.path());
        if self.query.is_empty() {
            return address;
        }
        match Url::parse(&address) {
            Ok(mut url) => {
                url.query_pairs_mut().extend_pairs(&self.query);
                url.into()
            }
            Err(_) => address,
        }
    }
}
