//! The command stream: server-sent events that end, break and fall silent, and are then opened again by the caller.

use std::collections::VecDeque;
use std::time::Duration;

use reqwest::Response;
use tokio::time::Instant;
use tracing::warn;

use super::error::Error;
use super::session::{Call, Client};
use super::wire;
use crate::logic::sse::{Event, Parser};
use crate::model::{Command, DeviceId, Timestamp};

/// The largest event in bytes: Losant takes no message over 256 KiB, and JSON may write a character as six.
const EVENT_BYTES_MAX: usize = 512 * 1024;

/// A stream that is silent for so many keep-alive intervals is dead.
const SILENT_INTERVALS: u32 = 3;

/// The shortest silence that counts as death.
const SILENCE_MIN: Duration = Duration::from_secs(10);

/// Why a stream gave no more commands.
#[derive(Debug, thiserror::Error)]
pub enum StreamEnd {
    /// The server ended it, which it may at any time.
    #[error("the server ended the stream")]
    Closed,
    /// Not even a sign of life for that long: the peer is gone.
    #[error("nothing was heard for {} s", .0.as_secs())]
    Silent(Duration),
    /// The connection broke.
    #[error("the stream broke: {0}")]
    Broken(#[from] reqwest::Error),
}

/// An open stream of one device's commands.
#[derive(Debug)]
pub struct CommandStream {
    device: DeviceId,
    response: Response,
    parser: Parser,
    events: Vec<Event>,
    ready: VecDeque<Command>,
    silence_max: Duration,
    opened: Timestamp,
    opened_at: Instant,
    heard_at: Instant,
}

impl CommandStream {
    /// `now` stands in for the cloud's clock where its answer has no date.
    pub(super) async fn open(client: &Client, call: Call, now: Timestamp) -> Result<Self, Error> {
        // Losant's own clients ask for JSON here and are served, so both are named.
        let response = client.open(&call, "text/event-stream, application/json").await?;
        let content_type = response.headers().get(reqwest::header::CONTENT_TYPE);
        let content_type = content_type.and_then(|value| value.to_str().ok()).unwrap_or_default();
        if response.status().as_u16() != 200 || !content_type.starts_with("text/event-stream") {
            let message = format!("expected an event stream, not \"{content_type}\"");
            return Err(Error::NotLosant {
                action: call.action,
                status: response.status().as_u16(),
                message,
            });
        }
        let date =
            response.headers().get(reqwest::header::DATE).and_then(|value| value.to_str().ok());
        let opened = date.and_then(wire::http_date).unwrap_or(now);
        let opened_at = Instant::now();
        Ok(Self {
            device: call.device,
            response,
            parser: Parser::new(EVENT_BYTES_MAX),
            events: Vec::new(),
            ready: VecDeque::new(),
            silence_max: (client.keep_alive_interval() * SILENT_INTERVALS).max(SILENCE_MIN),
            opened,
            opened_at,
            heard_at: opened_at,
        })
    }

    /// When the stream was opened, by the cloud's clock.
    pub fn opened(&self) -> Timestamp {
        self.opened
    }

    /// When the last sign of life was heard, by the cloud's clock: what was sent later may have been missed.
    pub fn heard_until(&self) -> Timestamp {
        self.opened.plus(self.heard_at - self.opened_at)
    }

    /// The next command. Any byte counts as a sign of life. Cancel-safe.
    ///
    /// # Errors
    /// When the stream is over; open another.
    pub async fn next(&mut self) -> Result<Command, StreamEnd> {
        loop {
            if let Some(command) = self.ready.pop_front() {
                return Ok(command);
            }
            let chunk = tokio::time::timeout(self.silence_max, self.response.chunk()).await;
            let chunk = chunk.map_err(|_| StreamEnd::Silent(self.silence_max))??;
            self.parser.push(&chunk.ok_or(StreamEnd::Closed)?, &mut self.events);
            self.heard_at = Instant::now();
            for event in self.events.drain(..) {
                self.ready.extend(command_of(self.device, event));
            }
        }
    }
}

fn command_of(device: DeviceId, event: Event) -> Option<Command> {
    match event {
        Event::Message { event, data, .. } if event == "deviceCommand" => {
            let json = serde_json::from_str(&data).ok();
            let command = json.and_then(|json| wire::command(device, &json));
            if command.is_none() {
                warn!(device_id = %device, "a command that is not Losant's JSON was ignored");
            }
            command
        }
        Event::Message { event, .. } => {
            warn!(device_id = %device, event, "an unknown event on the command stream was ignored");
            None
        }
        Event::Oversize => {
            warn!(device_id = %device, bytes_max = EVENT_BYTES_MAX, "a command that is too large was ignored");
            None
        }
        // Our own backoff is wiser than a server in trouble.
        Event::Retry(_) => None,
    }
}
