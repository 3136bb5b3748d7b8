//! The request of an action, without host, application and token.

use bytes::Bytes;
use reqwest::{Method, Url};
use serde::Serialize;

use super::action::Action;
use tidegate_model::DeviceId;

/// The request of an action, complete except for host, application and token.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Request {
    action: Action,
    device: DeviceId,
    query: Vec<(&'static str, String)>,
    body: Option<Bytes>,
    last_event_id: Option<String>,
}

impl Request {
    pub(super) fn new(action: Action, device: DeviceId) -> Self {
        Self { action, device, query: Vec::new(), body: None, last_event_id: None }
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

    /// Returns the action.
    pub fn action(&self) -> Action {
        self.action
    }

    /// Returns the device.
    pub fn device(&self) -> DeviceId {
        self.device
    }

    /// Returns the HTTP method.
    pub fn method(&self) -> Method {
        self.action.method()
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
        let Self { action, device, query, .. } = self;
        let address =
            format!("{base}/applications/{application}/devices/{device}{}", action.path());
        match Url::parse(&address) {
            Ok(mut url) if !query.is_empty() => {
                url.query_pairs_mut().extend_pairs(query);
                url.into()
            }
            Ok(_) | Err(_) => address,
        }
    }
}
