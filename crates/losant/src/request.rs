//! One request of an action, before a session gives it a token.

use bytes::Bytes;
use reqwest::{Method, Url};
use serde::Serialize;

use super::action::Action;
use tidegate_model::DeviceId;

/// What an action sends: complete but for the host, the application and the token.
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

    /// The last event that an earlier stream gave, for a server that goes on from there.
    pub(super) fn last_event_id(self, id: Option<String>) -> Self {
        Self { last_event_id: id, ..self }
    }

    /// `body` is one of the types of `body`, which are all made of what JSON can write.
    pub(super) fn json(self, body: &impl Serialize) -> Self {
        self.body(serde_json::to_vec(body).unwrap_or_default())
    }

    /// Which action.
    pub fn action(&self) -> Action {
        self.action
    }

    /// On which device.
    pub fn device(&self) -> DeviceId {
        self.device
    }

    /// The HTTP method.
    pub fn method(&self) -> Method {
        self.action.method()
    }

    /// The names and values of the query.
    pub fn pairs(&self) -> &[(&'static str, String)] {
        &self.query
    }

    /// The body, which is JSON.
    pub fn content(&self) -> Option<&Bytes> {
        self.body.as_ref()
    }

    /// The header `Last-Event-ID`, where it has one.
    pub fn event_id(&self) -> Option<&str> {
        self.last_event_id.as_deref()
    }

    /// The whole address; `base` has no slash at its end, and `application` is an id or stands for one.
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
