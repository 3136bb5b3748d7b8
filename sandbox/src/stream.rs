//! Server-sent events in the format of Losant's streams.
//!
//! An event has one `event:` line and one `data:` line. A stream starts with the comment
//! `:keepalive` and repeats it in each interval. A stream does not replay earlier events.

use std::future;
use std::io;
use std::sync::Arc;
use std::time::Duration;
use std::vec;

use axum::body::{Body, Bytes};
use futures_util::stream;
use serde_json::Value;
use tokio::sync::broadcast::Receiver;
use tokio::sync::broadcast::error::RecvError;
use tokio::task;
use tokio::time::{self, Interval, MissedTickBehavior};
use tokio_util::sync::CancellationToken;

use crate::cloud::Cloud;
use crate::faults::{Step, StreamSignals};
use crate::settings::TimeForm;

/// Returns the body of a stream: each item of `feed` as an event named `event`, and keepalives.
pub(crate) fn events<T>(
    cloud: &Arc<Cloud>,
    event: &'static str,
    feed: Receiver<T>,
    shape: fn(&T, TimeForm) -> Value,
    keep_alive: Duration,
) -> Body
where
    T: Clone + Send + 'static,
{
    let signals = cloud.faults.stream_signals();
    let mut keep_alive = time::interval(keep_alive);
    // A slow reader must not receive all missed keepalives at once.
    keep_alive.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let source = EventSource { cloud: Arc::clone(cloud), event, feed, shape, keep_alive, signals };
    Body::from_stream(stream::unfold(source, EventSource::next))
}

/// The source of one open stream.
struct EventSource<T> {
    cloud: Arc<Cloud>,
    event: &'static str,
    feed: Receiver<T>,
    shape: fn(&T, TimeForm) -> Value,
    keep_alive: Interval,
    signals: StreamSignals,
}

impl<T: Clone> EventSource<T> {
    /// Returns the next chunk; an error breaks the connection off.
    async fn next(mut self) -> Option<(io::Result<Bytes>, Self)> {
        let chunk = tokio::select! {
            biased;
            () = self.signals.cut.cancelled() => Err(io::ErrorKind::ConnectionReset.into()),
            () = self.signals.end.cancelled() => return None,
            () = self.signals.silence.cancelled() => {
                tokio::select! {
                    () = self.signals.cut.cancelled() => Err(io::ErrorKind::ConnectionReset.into()),
                    () = self.signals.end.cancelled() => return None,
                }
            }
            received = self.feed.recv() => match received {
                Ok(item) => Ok(self.render(&item)),
                Err(RecvError::Lagged(_)) => {
                    self.cloud.store().counters.slow_readers += 1;
                    Err(io::ErrorKind::ConnectionReset.into())
                }
                Err(RecvError::Closed) => return None,
            },
            _ = self.keep_alive.tick() => Ok(Bytes::from_static(KEEP_ALIVE)),
        };
        Some((chunk, self))
    }

    fn render(&self, item: &T) -> Bytes {
        let data = (self.shape)(item, self.cloud.settings.time_form);
        format!("event: {}\ndata: {data}\n\n", self.event).into()
    }
}

/// Returns the body of a scripted response.
pub(crate) fn script(steps: Vec<Step>, cut: CancellationToken) -> Body {
    let script = Script { steps: steps.into_iter(), cut };
    Body::from_stream(stream::unfold(script, Script::next))
}

/// The remaining steps of a scripted response.
struct Script {
    steps: vec::IntoIter<Step>,
    cut: CancellationToken,
}

impl Script {
    /// Returns the next chunk, or `None` when no step is left.
    async fn next(mut self) -> Option<(io::Result<Bytes>, Self)> {
        let chunk = self.cut.run_until_cancelled(next_chunk(&mut self.steps)).await;
        let broken = || Some(Err(io::ErrorKind::ConnectionReset.into()));
        Some((chunk.unwrap_or_else(broken)?, self))
    }
}

async fn next_chunk(steps: &mut vec::IntoIter<Step>) -> Option<io::Result<Bytes>> {
    loop {
        // Yielding lets hyper send the previous chunk on its own, even when a cut follows.
        task::yield_now().await;
        match steps.next()? {
            Step::Send(bytes) => return Some(Ok(bytes.into())),
            Step::Wait(duration) => time::sleep(duration).await,
            Step::Silence => future::pending().await,
            Step::Cut => return Some(Err(io::ErrorKind::ConnectionReset.into())),
        }
    }
}

/// The keepalive that the live service sends (observed by github.com/electricimp/Losant).
const KEEP_ALIVE: &[u8] = b":keepalive\n\n";
