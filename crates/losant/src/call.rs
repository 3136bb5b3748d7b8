//! Calls: the methods of the client return them, and awaiting one makes it.

use std::future::{Future, IntoFuture};
use std::marker::PhantomData;
use std::pin::Pin;

use serde_json::value::RawValue;
use serde_json::{Map, Value};

use super::error::Error;
use super::request::Request;
use super::session::{Client, shorten};
use super::stream::{EventStream, Item};
use super::wire;
use tidegate_model::{AttributeType, Command, DeclaredAttributes, DeviceId, WallTime};

/// A call of an action whose answer is a `T`.
#[derive(Debug)]
#[must_use = "a call is made only when it is awaited"]
pub struct Call<'a, T> {
    client: &'a Client,
    request: Request,
    answer: PhantomData<fn() -> T>,
}

/// The answer of an action.
pub trait Answer: Sized {
    /// The expected answer, for error messages.
    const EXPECTED: &'static str;

    /// Parses the answer for `device`.
    fn parse(device: DeviceId, body: &[u8]) -> Option<Self>;
}

impl<'a, T: Answer> Call<'a, T> {
    pub(super) fn new(client: &'a Client, request: Request) -> Self {
        Self { client, request, answer: PhantomData }
    }

    /// Returns the request.
    pub fn request(&self) -> &Request {
        &self.request
    }

    /// Makes the call and returns the JSON of its answer.
    ///
    /// # Errors
    /// Fails if the call fails, or if the answer is not one of the action.
    pub async fn json(self) -> Result<Value, Error> {
        self.make(|device, body| {
            T::parse(device, body)?;
            serde_json::from_slice(body).ok()
        })
        .await
    }

    async fn make<A>(self, read: impl FnOnce(DeviceId, &[u8]) -> Option<A>) -> Result<A, Error> {
        let (status, body) = self.client.call(&self.request).await?;
        let action = self.request.name();
        let device = self.request.device().unwrap_or_else(|| self.client.gateway());
        read(device, &body).ok_or_else(|| {
            let message = match serde_json::from_slice::<&RawValue>(&body) {
                Ok(_) => format!("expected {}", T::EXPECTED),
                Err(_) => shorten(&String::from_utf8_lossy(&body)),
            };
            Error::NotLosant { action, status, message }
        })
    }
}

impl<'a, T: Answer + Send + 'a> IntoFuture for Call<'a, T> {
    type Output = Result<T, Error>;
    type IntoFuture = Pin<Box<dyn Future<Output = Self::Output> + Send + 'a>>;

    fn into_future(self) -> Self::IntoFuture {
        Box::pin(self.make(T::parse))
    }
}

/// A call of an action whose answer is a stream of `T`.
#[derive(Debug)]
#[must_use = "a stream must be opened"]
pub struct StreamCall<'a, T> {
    client: &'a Client,
    request: Request,
    event: &'static str,
    item: PhantomData<fn() -> T>,
}

impl<'a, T: Item> StreamCall<'a, T> {
    pub(super) fn new(client: &'a Client, request: Request, event: &'static str) -> Self {
        Self { client, request, event, item: PhantomData }
    }

    /// Returns the request.
    pub fn request(&self) -> &Request {
        &self.request
    }

    /// Returns the same call with the JSON of the items.
    pub fn json(self) -> StreamCall<'a, Value> {
        StreamCall::new(self.client, self.request, self.event)
    }

    /// Sets the id of the last event, for a server that resumes there.
    ///
    /// The documentation of Losant does not mention event ids.
    pub fn after(self, event_id: Option<String>) -> Self {
        Self { request: self.request.last_event_id(event_id), ..self }
    }

    /// Opens the stream. `now` replaces Losant's date if its answer has none.
    pub async fn open(self, now: WallTime) -> Result<EventStream<T>, Error> {
        EventStream::open(self.client, &self.request, self.event, now).await
    }
}

/// The action was executed (schema `success`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Success;

impl Answer for Success {
    const EXPECTED: &'static str = "\"success\": true";

    fn parse(_: DeviceId, body: &[u8]) -> Option<Self> {
        let json: Value = serde_json::from_slice(body).ok()?;
        (json.get("success") == Some(&Value::Bool(true))).then_some(Self)
    }
}

/// The action will be executed.
///
/// The current API answers 202 with a job (schema `jobEnqueuedResult`), the older one 200 with
/// `success`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Accepted {
    /// The id of the job.
    pub job_id: Option<String>,
}

impl Answer for Accepted {
    const EXPECTED: &'static str = "\"success\": true or \"jobQueued\": true";

    fn parse(_: DeviceId, body: &[u8]) -> Option<Self> {
        let json: Value = serde_json::from_slice(body).ok()?;
        let is_true = |key| json.get(key) == Some(&Value::Bool(true));
        let job_id = json.get("jobId").and_then(Value::as_str).map(str::to_owned);
        (is_true("success") || is_true("jobQueued")).then_some(Self { job_id })
    }
}

/// The description of a device: the part of the schema `device` that tidegate uses.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeviceDescription {
    /// The name in Losant.
    pub name: String,
    /// The class, such as `gateway` or `peripheral`; empty if it is missing.
    pub device_class: String,
    /// The id of the gateway of a peripheral.
    pub gateway_id: Option<String>,
    /// The name and the type of each attribute.
    pub attributes: Vec<(String, String)>,
    /// The latest entry of its connection log; `None` without one, or if it was excluded.
    pub connection: Option<ConnectionEntry>,
}

impl DeviceDescription {
    /// Returns the attributes with their types. A name that Losant would not accept is left out.
    pub fn declared_attributes(&self) -> DeclaredAttributes {
        let typed = self.attributes.iter();
        let typed =
            typed.filter_map(|(name, word)| Some((name.parse().ok()?, AttributeType::named(word))));
        typed.collect()
    }
}

/// An entry of the connection log of a device.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConnectionEntry {
    /// The time, as Losant writes it.
    pub time: String,
    /// Whether the device was reported as connected, or as disconnected.
    pub is_connected: bool,
}

impl ConnectionEntry {
    /// Parses `connectionInfo`, whose `connected` is 0, 1, a boolean or null (schema `device`).
    fn parse(info: &Value) -> Option<Self> {
        let connected = info.get("connected")?;
        let is_connected = connected.as_bool().or_else(|| Some(connected.as_u64()? != 0))?;
        Some(Self { time: info.get("time")?.as_str()?.to_owned(), is_connected })
    }
}

impl Answer for DeviceDescription {
    const EXPECTED: &'static str = "a device";

    fn parse(_: DeviceId, body: &[u8]) -> Option<Self> {
        let device: Map<String, Value> = serde_json::from_slice(body).ok()?;
        let gateway_id = device.get("gatewayId").and_then(Value::as_str).map(str::to_owned);
        let text = |key| device.get(key).and_then(Value::as_str).unwrap_or_default().to_owned();
        let attributes = device.get("attributes").and_then(Value::as_array);
        let attribute = |attribute: &Value| {
            let text = |key| attribute.get(key).and_then(Value::as_str).map(str::to_owned);
            Some((text("name")?, text("dataType")?))
        };
        let attributes = attributes.into_iter().flatten().filter_map(attribute).collect();
        let connection = device.get("connectionInfo").and_then(ConnectionEntry::parse);
        let (name, device_class) = (text("name"), text("deviceClass"));
        Some(Self { name, device_class, gateway_id, attributes, connection })
    }
}

impl Answer for Vec<Command> {
    const EXPECTED: &'static str = "a list of commands";

    fn parse(device: DeviceId, body: &[u8]) -> Option<Self> {
        wire::commands(device, body)
    }
}

impl Answer for Vec<Value> {
    const EXPECTED: &'static str = "a list";

    fn parse(_: DeviceId, body: &[u8]) -> Option<Self> {
        serde_json::from_slice(body).ok()
    }
}

impl Answer for Map<String, Value> {
    const EXPECTED: &'static str = "an object";

    fn parse(_: DeviceId, body: &[u8]) -> Option<Self> {
        serde_json::from_slice(body).ok()
    }
}
