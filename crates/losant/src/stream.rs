//! Both streams: server-sent events that end, break and fall silent, and are then opened again by the caller.

use std::collections::VecDeque;
use std::time::Duration;

use reqwest::Response;
use reqwest::header::HeaderValue;
use serde_json::Value;
use tokio::time::Instant;
use tracing::warn;

use super::error::{Error, chain};
use super::request::Request;
use super::session::Client;
use super::wire;
use crate::sse::{Event, Parser};
use tidegate_model::{Command, DeviceId, WallTime};

/// The largest event in bytes: Losant takes no message over 256 KiB, and JSON may write a character as six.
const EVENT_BYTES_MAX: usize = 512 * 1024;

/// The longest id of an event that is told to the server again, in bytes.
const EVENT_ID_BYTES_MAX: usize = 256;

/// A stream that is silent for so many keep-alive intervals is dead.
const SILENT_INTERVALS: u32 = 3;

/// The shortest silence that counts as death.
const SILENCE_MIN: Duration = Duration::from_secs(10);

/// Why a stream gave no more.
#[derive(Debug, thiserror::Error)]
pub enum StreamEnd {
    /// The server ended it, which it may at any time.
    #[error("the server ended the stream")]
    Closed,
    /// Not even a sign of life for that long: the peer is gone.
    #[error("nothing was heard for {} s", .0.as_secs())]
    Silent(Duration),
    /// The connection broke.
    #[error("the stream broke: {}", chain(.0))]
    Broken(#[from] reqwest::Error),
}

/// What a stream yields.
pub trait Item: Sized {
    /// Takes the JSON of one event on `device` apart; `None` if it is not what Losant sends.
    fn of(device: DeviceId, text: &str) -> Option<Self>;
}

impl Item for Command {
    fn of(device: DeviceId, text: &str) -> Option<Self> {
        wire::command(device, text)
    }
}

impl Item for Value {
    fn of(_: DeviceId, text: &str) -> Option<Self> {
        serde_json::from_str(text).ok()
    }
}

/// An open stream of one device's commands or states.
#[derive(Debug)]
pub struct EventStream<T> {
    device: DeviceId,
    /// The event that carries an item.
    event: &'static str,
    response: Response,
    parser: Parser,
    events: Vec<Event>,
    ready: VecDeque<T>,
    silence_max: Duration,
    retry: Option<Duration>,
    last_id: Option<String>,
    opened: WallTime,
    opened_at: Instant,
    heard_at: Instant,
}

impl<T: Item> EventStream<T> {
    pub(super) async fn open(
        client: &Client,
        request: &Request,
        event: &'static str,
        now: WallTime,
    ) -> Result<Self, Error> {
        // Losant's own clients ask for JSON here and are served, so both are named.
        let response = client.open(request, "text/event-stream, application/json").await?;
        let content_type = response.headers().get(reqwest::header::CONTENT_TYPE);
        let content_type = content_type.and_then(|value| value.to_str().ok()).unwrap_or_default();
        if response.status().as_u16() != 200 || !content_type.starts_with("text/event-stream") {
            let message = format!("expected an event stream, not \"{content_type}\"");
            return Err(Error::NotLosant {
                action: request.action().name(),
                status: response.status().as_u16(),
                message,
            });
        }
        let date =
            response.headers().get(reqwest::header::DATE).and_then(|value| value.to_str().ok());
        let opened = date.and_then(wire::http_date).unwrap_or(now);
        let opened_at = Instant::now();
        Ok(Self {
            device: request.device(),
            event,
            response,
            parser: Parser::new(EVENT_BYTES_MAX),
            events: Vec::new(),
            ready: VecDeque::new(),
            silence_max: (client.keep_alive_interval() * SILENT_INTERVALS).max(SILENCE_MIN),
            retry: None,
            last_id: None,
            opened,
            opened_at,
            heard_at: opened_at,
        })
    }

    /// When the stream was opened, by the cloud's clock.
    pub fn opened(&self) -> WallTime {
        self.opened
    }

    /// Until when all was heard that came, by the cloud's clock: what was sent later may have been missed, and so may an event of
    /// which only the beginning has come.
    pub fn heard_until(&self) -> WallTime {
        self.opened.plus(self.heard_at - self.opened_at)
    }

    /// How long the server wants clients to wait before they open a stream again, if it said so.
    pub fn retry(&self) -> Option<Duration> {
        self.retry
    }

    /// The id of the last event that came, if it had one that a header can carry.
    pub fn last_id(&self) -> Option<&str> {
        self.last_id.as_deref()
    }

    /// The next item. Any byte counts as a sign of life. Cancel-safe.
    ///
    /// # Errors
    /// When the stream is over; open another.
    pub async fn next(&mut self) -> Result<T, StreamEnd> {
        loop {
            if let Some(item) = self.ready.pop_front() {
                return Ok(item);
            }
            let chunk = tokio::time::timeout(self.silence_max, self.response.chunk()).await;
            let chunk = chunk.map_err(|_| StreamEnd::Silent(self.silence_max))??;
            self.parser.push(&chunk.ok_or(StreamEnd::Closed)?, &mut self.events);
            if self.parser.is_between_blocks() {
                self.heard_at = Instant::now();
            }
            for event in self.events.drain(..) {
                match &event {
                    Event::Retry(wait) => self.retry = Some(*wait),
                    Event::Message { id, .. } => {
                        self.last_id = id.clone().filter(|id| is_fit_for_a_header(id));
                    }
                    Event::Oversize => self.last_id = None,
                }
                self.ready.extend(item_of(self.device, self.event, event));
            }
        }
    }
}

fn is_fit_for_a_header(id: &str) -> bool {
    id.len() <= EVENT_ID_BYTES_MAX && HeaderValue::from_str(id).is_ok()
}

fn item_of<T: Item>(device: DeviceId, wanted: &str, event: Event) -> Option<T> {
    match event {
        Event::Message { event, data, .. } if event == wanted => {
            let item = T::of(device, &data);
            if item.is_none() {
                warn!(device_id = %device, event, "an event that is not Losant's JSON was ignored");
            }
            item
        }
        Event::Message { event, .. } => {
            warn!(device_id = %device, event, "an unknown event on a stream was ignored");
            None
        }
        Event::Oversize => {
            warn!(device_id = %device, bytes_max = EVENT_BYTES_MAX, "an event that is too large was ignored");
            None
        }
        Event::Retry(_) => None,
    }
}
