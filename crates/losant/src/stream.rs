//! The streams of commands and states: server-sent events. The caller reopens a stream that ends.

use std::collections::VecDeque;
use std::time::Duration;

use reqwest::Response;
use reqwest::header::HeaderValue;
use serde_json::Value;
use tokio::time::Instant;
use tracing::warn;

use super::error::{Error, describe};
use super::request::Request;
use super::session::Client;
use super::wire;
use crate::sse::{Event, Parser};
use tidegate_model::{Command, DeviceId, WallTime};

/// The largest event, in bytes.
///
/// Losant accepts messages of at most 256 KiB, and JSON may escape a character as six.
const EVENT_BYTES_MAX: usize = 512 * 1024;

/// The longest event id that is sent back to the server, in bytes.
const EVENT_ID_BYTES_MAX: usize = 256;

/// The number of silent keep-alive intervals after which a stream counts as dead.
const SILENT_INTERVALS: u32 = 3;

/// The shortest silence after which a stream counts as dead.
const SILENCE_MIN: Duration = Duration::from_secs(10);

/// Why a stream ended.
#[derive(Debug, thiserror::Error)]
pub enum StreamEnd {
    /// The server closed it.
    #[error("the server ended the stream")]
    Closed,
    /// No byte arrived for that long.
    #[error("no data for {} s", .0.as_secs())]
    Silent(Duration),
    /// The connection broke.
    #[error("the stream broke: {}", describe(.0))]
    Broken(#[from] reqwest::Error),
}

/// An item of a stream.
pub trait Item: Sized {
    /// Parses the JSON of one event; `None` if it is not an item.
    fn parse(device: DeviceId, text: &str) -> Option<Self>;
}

impl Item for Command {
    fn parse(device: DeviceId, text: &str) -> Option<Self> {
        wire::command(device, text)
    }
}

impl Item for Value {
    fn parse(_: DeviceId, text: &str) -> Option<Self> {
        serde_json::from_str(text).ok()
    }
}

/// An open stream of the commands or states of one device.
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
    alive_at: Instant,
}

impl<T: Item> EventStream<T> {
    pub(super) async fn open(
        client: &Client,
        request: &Request,
        event: &'static str,
        now: WallTime,
    ) -> Result<Self, Error> {
        // Losant's own clients accept JSON only and still get a stream, so both are named.
        let response = client.open(request, "text/event-stream, application/json").await?;
        let content_type = response.headers().get(reqwest::header::CONTENT_TYPE);
        let content_type = content_type.and_then(|value| value.to_str().ok()).unwrap_or_default();
        if response.status().as_u16() != 200 || !content_type.starts_with("text/event-stream") {
            let message = format!("expected an event stream, not \"{content_type}\"");
            return Err(Error::NotLosant {
                action: request.name(),
                status: response.status().as_u16(),
                message,
            });
        }
        let date =
            response.headers().get(reqwest::header::DATE).and_then(|value| value.to_str().ok());
        let opened = date.and_then(wire::http_date).unwrap_or(now);
        let opened_at = Instant::now();
        Ok(Self {
            device: request.device().unwrap_or_else(|| client.gateway()),
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
            alive_at: opened_at,
        })
    }

    /// Returns when the stream was opened, by Losant's clock.
    pub fn opened(&self) -> WallTime {
        self.opened
    }

    /// Returns the time up to which every event was received, by Losant's clock.
    ///
    /// A later event, or one that has arrived only in part, may be missed.
    pub fn alive_until(&self) -> WallTime {
        self.opened.plus(self.alive_at - self.opened_at)
    }

    /// Returns the wait that the server requests before a client reopens the stream.
    pub fn retry(&self) -> Option<Duration> {
        self.retry
    }

    /// Returns the id of the last event, if a header can carry it.
    pub fn last_id(&self) -> Option<&str> {
        self.last_id.as_deref()
    }

    /// Waits for the next item. Any byte shows that the stream is alive. Cancel-safe.
    ///
    /// # Errors
    /// Fails when the stream has ended. The caller opens another one.
    pub async fn next(&mut self) -> Result<T, StreamEnd> {
        loop {
            if let Some(item) = self.ready.pop_front() {
                return Ok(item);
            }
            let chunk = tokio::time::timeout(self.silence_max, self.response.chunk()).await;
            let chunk = chunk.map_err(|_| StreamEnd::Silent(self.silence_max))??;
            self.parser.push(&chunk.ok_or(StreamEnd::Closed)?, &mut self.events);
            if self.parser.is_between_blocks() {
                self.alive_at = Instant::now();
            }
            for event in self.events.drain(..) {
                match &event {
                    Event::Retry(wait) => self.retry = Some(*wait),
                    Event::Message { id, .. } => {
                        self.last_id = id.clone().filter(|id| fits_header(id));
                    }
                    Event::Oversize => self.last_id = None,
                }
                self.ready.extend(parse_item(self.device, self.event, event));
            }
        }
    }
}

fn fits_header(id: &str) -> bool {
    id.len() <= EVENT_ID_BYTES_MAX && HeaderValue::from_str(id).is_ok()
}

fn parse_item<T: Item>(device: DeviceId, expected: &str, event: Event) -> Option<T> {
    match event {
        Event::Message { event, data, .. } if event == expected => {
            let item = T::parse(device, &data);
            if item.is_none() {
                warn!(device_id = %device, event, "invalid event on a stream; ignored");
            }
            item
        }
        Event::Message { event, .. } => {
            warn!(device_id = %device, event, "unknown event on a stream; ignored");
            None
        }
        Event::Oversize => {
            let bytes_max = EVENT_BYTES_MAX;
            warn!(device_id = %device, bytes_max, "event on a stream is too large; ignored");
            None
        }
        Event::Retry(_) => None,
    }
}
