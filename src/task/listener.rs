//! Holds the command stream of one device, opens it again whenever it ends, and asks for what was missed in between.
//!
//! The platform keeps no queue: a stream gives only what is sent while it is open. So after each gap the history is read from
//! a little before the gap, and the gate sorts out what came before. What was sent before the first stream is never asked
//! for: a start runs nothing old.

use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::Duration;

use rand::RngExt as _;
use rand::rngs::StdRng;
use tokio::sync::mpsc;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tracing::{debug, info, warn};

use crate::clock::SharedClock;
use crate::logic::backoff::Backoff;
use crate::logic::reporter::{PARK, THROTTLE_WAIT};
use crate::logic::verdict::Verdict;
use crate::losant::query::{History, SortDirection};
use crate::losant::{COMMANDS_MAX, Client, Error, EventStream, StreamEnd};
use crate::model::{Command, DeviceId, Name, Timestamp};
use crate::random;
use crate::status::Board;

/// The first and the longest wait before a stream is opened again.
const REOPEN_WAIT: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(120));

/// When the cloud is back, streams are opened within this time, not all at once.
const SPREAD: Duration = Duration::from_millis(500);

/// Only a stream that lived so long counts as healthy and resets the waits.
const HEALTHY: Duration = Duration::from_secs(60);

/// How far before a gap the history is read: the cloud's dates are whole seconds.
const OVERLAP: Duration = Duration::from_secs(5);

/// The most pages of history that one gap is worth.
const PAGES_MAX: usize = 10;

/// A time without a stream.
#[derive(Debug, Clone, Copy)]
struct Gap {
    /// When the first stream of this run was opened: nothing older runs.
    first: Timestamp,
    /// When the last stream was last heard.
    since: Timestamp,
}

/// The listener of one device.
pub struct ListenerTask {
    /// The device's name, for logs.
    pub name: Name,
    /// The device.
    pub device: DeviceId,
    /// To the cloud.
    pub client: Arc<Client>,
    /// To the dispatcher.
    pub commands: mpsc::Sender<Command>,
    /// Stands in for the cloud's clock where that is not told.
    pub clock: SharedClock,
    /// Told whether the stream is open.
    pub board: Board,
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
        let mut gap = None;
        loop {
            let opened = Instant::now();
            let mut wait = Duration::ZERO;
            match self.client.command_stream(self.device).open(self.clock.now()).await {
                Ok(mut stream) => {
                    info!(device = %self.name, device_id = %self.device, "command stream open");
                    told.clear();
                    self.note(true);
                    let first = gap.map_or(stream.opened(), |gap: Gap| gap.first);
                    if let Some(gap) = gap {
                        self.catch_up(gap, stream.opened()).await;
                    }
                    let end = self.forward(&mut stream).await;
                    gap = Some(Gap { first, since: stream.heard_until() });
                    self.note(false);
                    info!(device = %self.name, %end, "command stream ended; opening it again");
                }
                Err(error) => {
                    let words = error.to_string();
                    if told == words {
                        debug!(device = %self.name, %error, "still no command stream");
                    } else {
                        warn!(device = %self.name, %error, "no command stream; trying again");
                        told = words;
                    }
                    wait = least_wait(&error);
                }
            }
            if opened.elapsed() >= HEALTHY {
                backoff.reset();
            }
            self.pause(backoff.next_delay(&mut rng), wait, &mut rng).await;
        }
    }

    /// Waits for `delay`, or until another call has reached the cloud again; but at least for `wait`.
    async fn pause(&self, delay: Duration, wait: Duration, rng: &mut StdRng) {
        let started = Instant::now();
        tokio::select! {
            () = tokio::time::sleep(delay) => {}
            () = self.client.recovered() => tokio::time::sleep(rng.random_range(Duration::ZERO..=SPREAD)).await,
        }
        tokio::time::sleep_until(started + wait).await;
    }

    /// Reads the history of a gap that ends at `until`. What the new stream delivers meanwhile waits in it.
    async fn catch_up(&self, gap: Gap, until: Timestamp) {
        let mut start = gap.since.minus(OVERLAP).max(gap.first);
        let end = until.plus(OVERLAP);
        for _ in 0..PAGES_MAX {
            let history = History {
                limit: NonZeroU32::new(COMMANDS_MAX),
                sort_direction: Some(SortDirection::Asc),
                start: Some(start),
                end: Some(end),
                ..History::default()
            };
            let page = match self.client.get_command(self.device, &history).await {
                Ok(page) => page,
                Err(error) => {
                    warn!(device = %self.name, %error, "cannot ask for the commands that were missed");
                    return;
                }
            };
            let is_last = page.len() < COMMANDS_MAX as usize;
            let latest = page.iter().filter_map(|command| command.time).max();
            debug!(device = %self.name, commands = page.len(), "commands around the gap");
            for command in page {
                self.commands.send(command).await.unwrap_or_default();
            }
            match latest {
                Some(latest) if !is_last && latest > start => start = latest,
                _ => return,
            }
        }
        warn!(device = %self.name, "more commands were missed than are asked for");
    }

    /// Passes commands on until the stream ends.
    async fn forward(&self, stream: &mut EventStream<Command>) -> StreamEnd {
        loop {
            match stream.next().await {
                // The queue's other end is gone only when the daemon stops, and then this task is cancelled.
                Ok(command) => self.commands.send(command).await.unwrap_or_default(),
                Err(end) => return end,
            }
        }
    }

    fn note(&self, is_open: bool) {
        self.board.notes().streams.insert(self.name.clone(), is_open);
    }
}

/// A device that the cloud refuses is not asked for again soon, and one that asked too often not at once.
fn least_wait(error: &Error) -> Duration {
    match error.verdict() {
        Verdict::Parked | Verdict::Malformed | Verdict::TooLarge => PARK,
        Verdict::Throttled(wait) => wait.unwrap_or_default().clamp(THROTTLE_WAIT, PARK),
        Verdict::Troubled(wait) => wait.unwrap_or_default().min(PARK),
        Verdict::Stored | Verdict::Unauthorized | Verdict::Offline => Duration::ZERO,
    }
}
