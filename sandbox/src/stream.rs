//! Server-sent events, byte for byte as Losant's streams: one `event:` line, one `data:` line, and
//! the comment `:keepalive` at once and then in every interval. Nothing is replayed.

use std::future;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use axum::body::{Body, Bytes};
use futures_util::stream;
use serde_json::Value;
use tokio::sync::broadcast::Receiver;
use tokio::sync::broadcast::error::RecvError;
use tokio::task;
use tokio::time::{self, Interval, MissedTickBehavior};
use tokio_util::sync::CancellationToken;

use crate::cloud::Cloud;
use crate::faults::{Endings, Step};

/// The body of a stream: every event of `feed` under the name `event`, and keepalives.
pub(crate) fn events<T>(
    cloud: &Arc<Cloud>,
    event: &'static str,
    feed: Receiver<T>,
    to_json: fn(&T, &Cloud) -> Value,
    keep_alive: Duration,
) -> Body
where
    T: Clone + Send + 'static,
{
    let endings = cloud.faults.streams();
    let mut keep_alive = time::interval(keep_alive);
    // A reader that was slow is not to get all the keepalives that it missed.
    keep_alive.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let reader = Reader { cloud: Arc::clone(cloud), event, feed, to_json, keep_alive, endings };
    Body::from_stream(stream::unfold(reader, Reader::next))
}

/// One who reads a stream.
struct Reader<T> {
    cloud: Arc<Cloud>,
    event: &'static str,
    feed: Receiver<T>,
    to_json: fn(&T, &Cloud) -> Value,
    keep_alive: Interval,
    endings: Endings,
}

impl<T: Clone> Reader<T> {
    /// The next chunk; an error breaks the connection off.
    async fn next(mut self) -> Option<(io::Result<Bytes>, Self)> {
        let chunk = tokio::select! {
            biased;
            () = self.endings.cut.cancelled() => Err(io::ErrorKind::ConnectionReset.into()),
            () = self.endings.end.cancelled() => return None,
            () = self.endings.silence.cancelled() => {
                tokio::select! {
                    () = self.endings.cut.cancelled() => Err(io::ErrorKind::ConnectionReset.into()),
                    () = self.endings.end.cancelled() => return None,
                }
            }
            received = self.feed.recv() => match received {
                Ok(event) => Ok(self.render(&event)),
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

    fn render(&self, event: &T) -> Bytes {
        let data = (self.to_json)(event, &self.cloud);
        format!("event: {}\ndata: {data}\n\n", self.event).into()
    }
}

/// The body of a scripted answer.
pub(crate) fn script(steps: Vec<Step>, cut: CancellationToken) -> Body {
    let play = |(mut steps, cut): (std::vec::IntoIter<Step>, CancellationToken)| async move {
        let chunk = cut.run_until_cancelled(play(&mut steps)).await;
        let broken = || Some(Err(io::ErrorKind::ConnectionReset.into()));
        Some((chunk.unwrap_or_else(broken)?, (steps, cut)))
    };
    Body::from_stream(stream::unfold((steps.into_iter(), cut), play))
}

/// The chunk that the next steps make; `None` when there are no more.
async fn play(steps: &mut std::vec::IntoIter<Step>) -> Option<io::Result<Bytes>> {
    loop {
        // What was sent before goes out on its own, also when a cut follows.
        task::yield_now().await;
        match steps.next()? {
            Step::Send(bytes) => return Some(Ok(bytes.into())),
            Step::Wait(duration) => time::sleep(duration).await,
            Step::Silence => future::pending().await,
            Step::Cut => return Some(Err(io::ErrorKind::ConnectionReset.into())),
        }
    }
}

/// What the live service was seen to send (github.com/electricimp/Losant).
const KEEP_ALIVE: &[u8] = b":keepalive\n\n";
