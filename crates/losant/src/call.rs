//! What the methods of the client return: a call that can be looked at, and that is made when it is awaited.

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
use tidegate_model::{Command, DeviceId, WallTime};

/// An action that answers `T`.
#[derive(Debug)]
#[must_use = "a call is made only when it is awaited"]
pub struct Call<'a, T> {
    client: &'a Client,
    request: Request,
    answer: PhantomData<fn() -> T>,
}

/// What an action answers, once it is seen to be Losant's.
pub trait Answer: Sized {
    /// What an answer must be, for the error that says that it is not.
    const EXPECTED: &'static str;

    /// Takes the answer for `device` apart.
    fn of(device: DeviceId, body: &[u8]) -> Option<Self>;
}

impl<'a, T: Answer> Call<'a, T> {
    pub(super) fn new(client: &'a Client, request: Request) -> Self {
        Self { client, request, answer: PhantomData }
    }

    /// What would be sent.
    pub fn request(&self) -> &Request {
        &self.request
    }

    /// Makes the call and returns its answer as Losant wrote it, if it is what the action answers.
    pub async fn json(self) -> Result<Value, Error> {
        self.make(|device, body| {
            T::of(device, body)?;
            serde_json::from_slice(body).ok()
        })
        .await
    }

    async fn make<A>(self, read: impl FnOnce(DeviceId, &[u8]) -> Option<A>) -> Result<A, Error> {
        let (status, body) = self.client.call(&self.request).await?;
        let action = self.request.action().name();
        read(self.request.device(), &body).ok_or_else(|| {
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
        Box::pin(self.make(T::of))
    }
}

/// An action that answers a stream of `T`.
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

    /// What would be sent.
    pub fn request(&self) -> &Request {
        &self.request
    }

    /// The same stream, its items as Losant writes them.
    pub fn json(self) -> StreamCall<'a, Value> {
        StreamCall::new(self.client, self.request, self.event)
    }

    /// Says which event was the last, for a server that goes on from there. Losant does not say that it gives its events ids.
    pub fn after(self, event_id: Option<String>) -> Self {
        Self { request: self.request.last_event_id(event_id), ..self }
    }

    /// Opens the stream. `now` stands in for the cloud's clock where its answer has no date.
    pub async fn open(self, now: WallTime) -> Result<EventStream<T>, Error> {
        EventStream::open(self.client, &self.request, self.event, now).await
    }
}

/// Something was done (schema `success`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Success;

impl Answer for Success {
    const EXPECTED: &'static str = "\"success\": true";

    fn of(_: DeviceId, body: &[u8]) -> Option<Self> {
        let json: Value = serde_json::from_slice(body).ok()?;
        (json.get("success") == Some(&Value::Bool(true))).then_some(Self)
    }
}

/// Something will be done: 202 with a job in today's API (schema `jobEnqueuedResult`), 200 and `success` in the older.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Accepted {
    /// The job's id, where there is a job.
    pub job_id: Option<String>,
}

impl Answer for Accepted {
    const EXPECTED: &'static str = "\"success\": true or \"jobQueued\": true";

    fn of(_: DeviceId, body: &[u8]) -> Option<Self> {
        let json: Value = serde_json::from_slice(body).ok()?;
        let is_true = |key| json.get(key) == Some(&Value::Bool(true));
        let job_id = json.get("jobId").and_then(Value::as_str).map(str::to_owned);
        (is_true("success") || is_true("jobQueued")).then_some(Self { job_id })
    }
}

/// What `get` and `patch` tell of a device and we use (schema `device`).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Device {
    /// The name in Losant.
    pub name: String,
    /// `gateway`, `peripheral` and so on; empty where it is not told.
    pub device_class: String,
    /// The name and the type of each attribute.
    pub attributes: Vec<(String, String)>,
}

impl Answer for Device {
    const EXPECTED: &'static str = "a device";

    fn of(_: DeviceId, body: &[u8]) -> Option<Self> {
        let device: Map<String, Value> = serde_json::from_slice(body).ok()?;
        let text = |key| device.get(key).and_then(Value::as_str).unwrap_or_default().to_owned();
        let attributes = device.get("attributes").and_then(Value::as_array);
        let attribute = |attribute: &Value| {
            let text = |key| attribute.get(key).and_then(Value::as_str).map(str::to_owned);
            Some((text("name")?, text("dataType")?))
        };
        let attributes = attributes.into_iter().flatten().filter_map(attribute).collect();
        Some(Self { name: text("name"), device_class: text("deviceClass"), attributes })
    }
}

impl Answer for Vec<Command> {
    const EXPECTED: &'static str = "a list of commands";

    fn of(device: DeviceId, body: &[u8]) -> Option<Self> {
        wire::commands(device, body)
    }
}

impl Answer for Vec<Value> {
    const EXPECTED: &'static str = "a list";

    fn of(_: DeviceId, body: &[u8]) -> Option<Self> {
        serde_json::from_slice(body).ok()
    }
}

impl Answer for Map<String, Value> {
    const EXPECTED: &'static str = "an object";

    fn of(_: DeviceId, body: &[u8]) -> Option<Self> {
        serde_json::from_slice(body).ok()
    }
}
