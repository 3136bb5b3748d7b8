//! Keeps the command stream of one device open, and requests the commands that a gap missed.
//!
//! The [`GapTracker`] decides what to request. A gap may span a restart, so the dispatcher stores
//! up to when all commands were received.

use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::Duration;

use rand::RngExt as _;
use rand::rngs::StdRng;
use tokio::sync::{mpsc, watch};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tracing::{debug, info, warn};

use super::actuator::StreamStates;
use super::dispatcher::DispatcherInput;
use crate::status::StatusRegistry;
use tidegate_commands::gap_tracker::{GapState, GapTracker, Page, PageRequest, PageSize};
use tidegate_commands::history::Coverage;
use tidegate_delivery::response::{BLOCKED_WAIT, ResponseClass};
use tidegate_losant::query::{History, SortDirection};
use tidegate_losant::{Client, Error, EventStream, StreamEnd};
use tidegate_model::{Command, DeviceId, Name, Source, WallTime};
use tidegate_runtime::clock::SharedClock;
use tidegate_runtime::liveness;
use tidegate_runtime::random;
use tidegate_timing::backoff::Backoff;
use tidegate_timing::machine::Machine as _;

/// The first wait before a closed stream is opened again.
const REOPEN_WAIT_MIN: Duration = Duration::from_secs(1);

/// The longest wait before a closed stream is opened again.
const REOPEN_WAIT_MAX: Duration = Duration::from_secs(120);

/// The period over which the streams of all devices are opened at a start or after an outage.
const SPREAD: Duration = Duration::from_millis(500);

/// How long a stream must be open to reset the back-off.
const HEALTHY: Duration = Duration::from_secs(60);

/// How often the end of the coverage is stored.
///
/// Each time costs a write to disk. It saves reading a little more history after a crash.
const COVERAGE_INTERVAL: Duration = Duration::from_secs(300);

/// The first wait before a failed page request is repeated.
const PAGE_WAIT_MIN: Duration = Duration::from_secs(1);

/// The longest wait before a failed page request is repeated.
const PAGE_WAIT_MAX: Duration = Duration::from_secs(60);

/// The longest `retry` of an event stream that is obeyed.
const RETRY_MAX: Duration = Duration::from_secs(60);

/// The listener of one device.
pub struct ListenerTask {
    /// The name of the device, for logs.
    pub name: Name,
    /// The device.
    pub device: DeviceId,
    /// The coverage of an earlier run.
    pub coverage: Option<Coverage>,
    /// Whether commands for the device can also be sent to the gateway, if its stream is refused.
    pub has_gateway_route: bool,
    /// The connection to Losant.
    pub client: Arc<Client>,
    /// The queue of the dispatcher.
    pub inputs: mpsc::Sender<DispatcherInput>,
    /// Receives whether the stream is open.
    pub streams: watch::Sender<StreamStates>,
    /// Stands in for Losant's clock if an answer has no date.
    pub clock: SharedClock,
    /// Receives whether the stream is open.
    pub status: StatusRegistry,
    /// Stops the task.
    pub stop: CancellationToken,
}

impl ListenerTask {
    /// Runs until it is stopped.
    pub async fn run(self) {
        let stop = self.stop.clone();
        stop.run_until_cancelled(self.listen()).await;
    }

    async fn listen(&self) {
        let mut rng = random::seeded();
        let mut backoff = Backoff::new(REOPEN_WAIT_MIN, REOPEN_WAIT_MAX);
        let mut tracker = GapTracker::new(self.coverage);
        let mut last_error = String::new();
        let mut last_id = None;
        tokio::time::sleep(rng.random_range(Duration::ZERO..=SPREAD)).await;
        loop {
            let started = Instant::now();
            let call = self.client.command_stream(self.device).after(last_id.clone());
            let opening = call.open(self.clock.wall_time().unwrap_or(WallTime::EPOCH));
            let opened =
                liveness::with_deadline(liveness::CALL_MAX, "opening a stream", opening).await;
            let wait = match opened {
                Ok(mut stream) => {
                    info!(device = %self.name, device_id = %self.device, "command stream open");
                    last_error.clear();
                    self.publish(true);
                    let end = self.follow(&mut stream, &mut tracker, &mut rng).await;
                    self.publish(false);
                    last_id = stream.last_id().map(str::to_owned).or(last_id);
                    info!(device = %self.name, %end, "command stream ended; reopening it");
                    stream.retry().unwrap_or_default().min(RETRY_MAX)
                }
                Err(error) => {
                    let text = error.to_string();
                    self.status.set_stream(&self.name, false, Some(&text));
                    if last_error == text {
                        debug!(device = %self.name, %error, "still cannot open command stream");
                    } else {
                        self.warn_refused(&error);
                        last_error = text;
                    }
                    retry_wait(&error)
                }
            };
            if started.elapsed() >= HEALTHY {
                backoff.reset();
            }
            self.pause(backoff.next_delay(&mut rng), wait, &mut rng).await;
        }
    }

    /// Logs why the stream cannot be opened.
    fn warn_refused(&self, error: &Error) {
        if error.response_class() == ResponseClass::Blocked && self.has_gateway_route {
            let advice = "send its commands to the gateway and name it in the payload";
            warn!(device = %self.name, %error, advice, "cannot open the command stream of this \
                device");
        } else {
            warn!(device = %self.name, %error, "cannot open command stream; retrying");
        }
    }

    /// Waits for `delay` or until another call reaches Losant again, but at least for `wait`.
    async fn pause(&self, delay: Duration, wait: Duration, rng: &mut StdRng) {
        let started = Instant::now();
        // The jitter spreads streams that were refused at the same time.
        let wait = wait + wait.mul_f64(rng.random_range(0.0..=0.1));
        tokio::select! {
            () = tokio::time::sleep(delay) => {}
            () = self.client.recovered() => {
                tokio::time::sleep(rng.random_range(Duration::ZERO..=SPREAD)).await;
            }
        }
        tokio::time::sleep_until(started + wait).await;
    }

    /// Closes the gap before this stream, and forwards commands until the stream ends.
    async fn follow(
        &self,
        stream: &mut EventStream<Command>,
        tracker: &mut GapTracker,
        rng: &mut StdRng,
    ) -> StreamEnd {
        tracker.handle_stream_opened(stream.opened());
        let mut backoff = Backoff::new(PAGE_WAIT_MIN, PAGE_WAIT_MAX);
        loop {
            // Commands that the stream delivers meanwhile wait in it.
            while let Some(request) = tracker.poll_action() {
                self.request_page(request, tracker, &mut backoff, rng).await;
            }
            let until = tracker.handle_alive(stream.alive_until());
            self.send(DispatcherInput::Coverage { device: self.device, until }).await;
            let timeout = tracker.poll_timeout().map(Instant::from);
            let timeout = timeout.unwrap_or_else(|| Instant::now() + COVERAGE_INTERVAL);
            if let Some(end) = self.forward(stream, timeout).await {
                tracker.handle_alive(stream.alive_until());
                return end;
            }
            tracker.handle_timeout(Instant::now().into_std());
        }
    }

    /// Requests one page of the command history and forwards its commands.
    async fn request_page(
        &self,
        request: PageRequest,
        tracker: &mut GapTracker,
        backoff: &mut Backoff,
        rng: &mut StdRng,
    ) {
        let history = History {
            limit: NonZeroU32::new(request.limit),
            sort_direction: Some(SortDirection::Asc),
            start: Some(request.start),
            end: Some(request.end),
            ..History::default()
        };
        let call = self.client.get_command(self.device, &history);
        let answer =
            liveness::with_deadline(liveness::CALL_MAX, "requesting missed commands", call).await;
        let commands = match answer {
            Ok(commands) => commands,
            Err(error) => {
                warn!(device = %self.name, %error, "cannot request missed commands; retrying");
                // Without an answer, the page may have been too large to be read in time.
                let is_answered = matches!(error, Error::Refused { .. });
                let size = if is_answered { PageSize::Keep } else { PageSize::Reduce };
                let retry_at = Instant::now() + backoff.next_delay(rng);
                return tracker.handle_page_failed(size, retry_at.into_std());
            }
        };
        debug!(device = %self.name, commands = commands.len(), "commands around the gap");
        let latest = commands.iter().filter_map(|command| command.time).max();
        let page = Page { latest, commands: commands.len() };
        for command in commands {
            self.send(DispatcherInput::Command(command, Source::CaughtUp)).await;
        }
        if tracker.handle_page(page) == GapState::Truncated {
            warn!(device = %self.name, "too many missed commands; the newest are not requested");
        }
    }

    /// Forwards commands of the stream until `timeout`. Returns the end of the stream.
    async fn forward(
        &self,
        stream: &mut EventStream<Command>,
        timeout: Instant,
    ) -> Option<StreamEnd> {
        loop {
            match tokio::time::timeout_at(timeout, stream.next()).await {
                Ok(Ok(command)) => {
                    self.send(DispatcherInput::Command(command, Source::Live)).await;
                }
                Ok(Err(end)) => return Some(end),
                Err(_) => return None,
            }
        }
    }

    async fn send(&self, input: DispatcherInput) {
        // The dispatcher ends only when the daemon stops, and then this task is cancelled.
        self.inputs.send(input).await.unwrap_or_default();
    }

    /// Publishes whether the stream is open.
    fn publish(&self, is_open: bool) {
        self.status.set_stream(&self.name, is_open, None);
        self.streams.send_modify(|streams| {
            streams.insert(self.device, is_open);
        });
    }
}

/// Returns the least wait before a refused stream is opened again.
fn retry_wait(error: &Error) -> Duration {
    let response = error.response_class();
    match response {
        ResponseClass::Malformed | ResponseClass::TooLarge => BLOCKED_WAIT,
        ResponseClass::Blocked
        | ResponseClass::Throttled(_)
        | ResponseClass::ServerError(_)
        | ResponseClass::Stored
        | ResponseClass::Unauthorized
        | ResponseClass::Offline => response.wait_min(),
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
    fn refused_stream_waits_longer_than_an_unavailable_one() {
        for status in [400, 403, 404, 413] {
            assert_eq!(retry_wait(&refused(status, None)), BLOCKED_WAIT, "{status}");
        }
        assert_eq!(retry_wait(&refused(429, Some(60))), Duration::from_secs(60));
        for status in [401, 408, 500, 502, 503, 504] {
            assert_eq!(retry_wait(&refused(status, None)), Duration::ZERO, "{status}");
        }
        assert_eq!(retry_wait(&refused(503, Some(20))), Duration::from_secs(20));
    }
}
