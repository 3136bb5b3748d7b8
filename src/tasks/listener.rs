//! Holds the command stream of one device, opens it again whenever it ends, and asks for what was missed in between.
//!
//! What is to be asked for, [`GapTracker`] knows. A gap may span a restart: the dispatcher keeps until when nothing was missed.

use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::Duration;

use rand::RngExt as _;
use rand::rngs::StdRng;
use tokio::sync::{mpsc, watch};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tracing::{debug, info, warn};

use super::actuator::Links;
use super::dispatcher::Inbound;
use crate::status::StatusRegistry;
use tidegate_commands::gap_tracker::GapTracker;
use tidegate_commands::history::Heard;
use tidegate_delivery::reporter::{PARK, THROTTLE_WAIT};
use tidegate_delivery::response::ResponseClass;
use tidegate_losant::query::{History, SortDirection};
use tidegate_losant::{Client, Error, EventStream, StreamEnd};
use tidegate_model::{Command, DeviceId, Name, Source, WallTime};
use tidegate_runtime::clock::SharedClock;
use tidegate_runtime::liveness;
use tidegate_runtime::random;
use tidegate_timing::backoff::Backoff;

/// The first and the longest wait before a stream is opened again.
const REOPEN_WAIT: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(120));

/// At the start, and when the cloud is back, streams are opened within this time, not all at once.
const SPREAD: Duration = Duration::from_millis(500);

/// Only a stream that lived so long counts as healthy and resets the waits.
const HEALTHY: Duration = Duration::from_secs(60);

/// How often the dispatcher is told that nothing was missed: each costs a write to the disk, and what it saves is reading a
/// little more history after a crash.
const HEARD_INTERVAL: Duration = Duration::from_secs(300);

/// Between two tries to read the history of a gap while the stream is open.
const CATCH_UP_WAIT: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(60));

/// A server may ask for a wait before a stream is opened again; no longer than this is waited for its sake.
const RETRY_MAX: Duration = Duration::from_secs(60);

/// The listener of one device.
pub struct ListenerTask {
    /// The device's name, for logs.
    pub name: Name,
    /// The device.
    pub device: DeviceId,
    /// What is known from an earlier run.
    pub heard: Option<Heard>,
    /// Whether commands for this device can also be sent to the gateway, should its own stream be refused.
    pub has_detour: bool,
    /// To the cloud.
    pub client: Arc<Client>,
    /// To the dispatcher.
    pub commands: mpsc::Sender<Inbound>,
    /// Told whether the stream is open.
    pub links: watch::Sender<Links>,
    /// Stands in for the cloud's clock where that is not told.
    pub clock: SharedClock,
    /// Told whether the stream is open.
    pub board: StatusRegistry,
    /// Ends the task.
    pub stop: CancellationToken,
}

impl ListenerTask {
    /// Runs until it is stopped.
    pub async fn run(self) {
        let stop = self.stop.clone();
        let listening = stop.run_until_cancelled(self.listen());
        listening.await;
    }

    async fn listen(&self) {
        let mut rng = random::seeded();
        let mut backoff = Backoff::new(REOPEN_WAIT.0, REOPEN_WAIT.1);
        let mut told = String::new();
        let mut watch = GapTracker::new(self.heard);
        let mut last_id = None;
        tokio::time::sleep(rng.random_range(Duration::ZERO..=SPREAD)).await;
        loop {
            let opened = Instant::now();
            let call = self.client.command_stream(self.device).after(last_id.clone());
            let opening = call.open(self.clock.wall_time().unwrap_or(WallTime::EPOCH));
            let wait = match liveness::with_deadline(
                liveness::CALL_MAX,
                "opening a stream",
                opening,
            )
            .await
            {
                Ok(mut stream) => {
                    info!(device = %self.name, device_id = %self.device, "command stream open");
                    told.clear();
                    self.note(true);
                    let end = self.follow(&mut stream, &mut watch, &mut rng).await;
                    self.note(false);
                    last_id = stream.last_id().map(str::to_owned).or(last_id);
                    info!(device = %self.name, %end, "command stream ended; opening it again");
                    stream.retry().unwrap_or_default().min(RETRY_MAX)
                }
                Err(error) => {
                    let words = error.to_string();
                    if told == words {
                        debug!(device = %self.name, %error, "still no command stream");
                    } else {
                        self.explain(&error);
                        told = words;
                    }
                    least_wait(&error)
                }
            };
            if opened.elapsed() >= HEALTHY {
                backoff.reset();
            }
            self.pause(backoff.next_delay(&mut rng), wait, &mut rng).await;
        }
    }

    /// Says once why there is no stream.
    fn explain(&self, error: &Error) {
        if error.verdict() == ResponseClass::Blocked && self.has_detour {
            let advice = "send its commands to the gateway and name it in the payload";
            warn!(device = %self.name, %error, advice, "no command stream of this device");
        } else {
            warn!(device = %self.name, %error, "no command stream; trying again");
        }
    }

    /// Waits for `delay`, or until another call has reached the cloud again; but at least for `wait`.
    async fn pause(&self, delay: Duration, wait: Duration, rng: &mut StdRng) {
        let started = Instant::now();
        // Those that were told to wait together do not come back together.
        let wait = wait + wait.mul_f64(rng.random_range(0.0..=0.1));
        tokio::select! {
            () = tokio::time::sleep(delay) => {}
            () = self.client.recovered() => tokio::time::sleep(rng.random_range(Duration::ZERO..=SPREAD)).await,
        }
        tokio::time::sleep_until(started + wait).await;
    }

    /// Closes the gap before this stream, and passes commands on until the stream ends. `watch` then knows until when nothing
    /// was missed.
    async fn follow(
        &self,
        stream: &mut EventStream<Command>,
        watch: &mut GapTracker,
        rng: &mut StdRng,
    ) -> StreamEnd {
        watch.open(stream.opened());
        let mut backoff = Backoff::new(CATCH_UP_WAIT.0, CATCH_UP_WAIT.1);
        loop {
            // What the stream delivers meanwhile waits in it.
            self.catch_up(watch).await;
            let until = watch.hear(stream.heard_until());
            self.pass_on(Inbound::Heard { device: self.device, until }).await;
            let patience = match watch.gap() {
                Some(_) => backoff.next_delay(rng),
                None => HEARD_INTERVAL,
            };
            if let Some(end) = self.forward(stream, patience).await {
                watch.hear(stream.heard_until());
                return end;
            }
        }
    }

    /// Reads the history of a gap, as far as the cloud lets us.
    async fn catch_up(&self, watch: &mut GapTracker) {
        while let Some(gap) = watch.gap() {
            let history = History {
                limit: NonZeroU32::new(gap.limit),
                sort_direction: Some(SortDirection::Asc),
                start: Some(gap.start),
                end: Some(gap.end),
                ..History::default()
            };
            let asking = self.client.get_command(self.device, &history);
            let page = match liveness::with_deadline(
                liveness::CALL_MAX,
                "asking for commands",
                asking,
            )
            .await
            {
                Ok(page) => page,
                Err(error) => {
                    warn!(device = %self.name, %error, "cannot ask for the commands that were missed; trying again");
                    // It may have been too much to read, or to be carried in time.
                    if !matches!(error, Error::Refused { .. }) {
                        watch.ask_for_less();
                    }
                    return;
                }
            };
            debug!(device = %self.name, commands = page.len(), "commands around the gap");
            let latest = page.iter().filter_map(|command| command.time).max();
            let commands = page.len();
            for command in page {
                self.pass_on(Inbound::Command(command, Source::CaughtUp)).await;
            }
            if !watch.read(latest, commands) {
                warn!(device = %self.name, "more commands were missed than are asked for");
            }
        }
    }

    /// Passes commands on for so long, or until the stream ends.
    async fn forward(
        &self,
        stream: &mut EventStream<Command>,
        patience: Duration,
    ) -> Option<StreamEnd> {
        let until = Instant::now() + patience;
        loop {
            match tokio::time::timeout_at(until, stream.next()).await {
                Ok(Ok(command)) => self.pass_on(Inbound::Command(command, Source::Live)).await,
                Ok(Err(end)) => return Some(end),
                Err(_) => return None,
            }
        }
    }

    async fn pass_on(&self, inbound: Inbound) {
        // The queue's other end is gone only when the daemon stops, and then this task is cancelled.
        self.commands.send(inbound).await.unwrap_or_default();
    }

    fn note(&self, is_open: bool) {
        self.board.data().streams.insert(self.name.clone(), is_open);
        self.links.send_modify(|links| {
            links.insert(self.device, is_open);
        });
    }
}

/// A device that the cloud refuses is not asked for again soon, and one that asked too often not at once.
fn least_wait(error: &Error) -> Duration {
    match error.verdict() {
        ResponseClass::Blocked | ResponseClass::Malformed | ResponseClass::TooLarge => PARK,
        ResponseClass::Throttled(wait) => wait.unwrap_or_default().clamp(THROTTLE_WAIT, PARK),
        ResponseClass::ServerError(wait) => wait.unwrap_or_default().min(PARK),
        ResponseClass::Stored | ResponseClass::Unauthorized | ResponseClass::Offline => {
            Duration::ZERO
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(status: u16, retry_after: Option<u64>) -> Error {
        let retry_after = retry_after.map(Duration::from_secs);
        Error::Refused { action: "commandStream", status, message: String::new(), retry_after }
    }

    #[test]
    fn a_stream_that_is_refused_is_asked_for_later_and_one_that_is_not_served_soon() {
        for status in [400, 403, 404, 413] {
            assert_eq!(least_wait(&refused(status, None)), PARK, "{status}");
        }
        assert_eq!(least_wait(&refused(429, None)), THROTTLE_WAIT);
        assert_eq!(least_wait(&refused(429, Some(1))), THROTTLE_WAIT);
        assert_eq!(least_wait(&refused(429, Some(60))), Duration::from_secs(60));
        assert_eq!(least_wait(&refused(429, Some(1_000_000))), PARK);
        for status in [401, 408, 500, 502, 503, 504] {
            assert_eq!(least_wait(&refused(status, None)), Duration::ZERO, "{status}");
        }
        assert_eq!(least_wait(&refused(503, Some(20))), Duration::from_secs(20));
        assert_eq!(least_wait(&refused(503, Some(1_000_000))), PARK);
    }
}
