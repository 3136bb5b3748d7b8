//! Holds the command stream of one device, and opens it again whenever it ends.

use std::sync::Arc;
use std::time::Duration;

use rand::SeedableRng;
use rand::rngs::StdRng;
use tokio::sync::mpsc;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tracing::{debug, info, warn};

use crate::logic::backoff::Backoff;
use crate::logic::reporter::PARK;
use crate::losant::{Client, CommandStream, Error, StreamEnd};
use crate::model::{Command, DeviceId, Name};
use crate::status::Board;

/// The first and the longest wait before a stream is opened again.
const REOPEN_WAIT: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(120));

/// Only a stream that lived so long counts as healthy and resets the waits.
const HEALTHY: Duration = Duration::from_secs(60);

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
        let mut rng = StdRng::try_from_rng(&mut rand::rngs::SysRng).unwrap_or_else(|_| StdRng::seed_from_u64(0));
        let mut backoff = Backoff::new(REOPEN_WAIT.0, REOPEN_WAIT.1);
        let mut told = String::new();
        loop {
            let opened = Instant::now();
            let mut wait = Duration::ZERO;
            match self.client.command_stream(self.device).await {
                Ok(stream) => {
                    info!(device = %self.name, device_id = %self.device, "command stream open");
                    told.clear();
                    self.note(true);
                    let end = self.forward(stream).await;
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
            tokio::time::sleep(backoff.next_delay(&mut rng).max(wait)).await;
        }
    }

    /// Passes commands on until the stream ends.
    async fn forward(&self, mut stream: CommandStream) -> StreamEnd {
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

/// A device that the cloud refuses is not asked for again soon.
fn least_wait(error: &Error) -> Duration {
    match error.status() {
        Some(403..=405) => PARK,
        _ => Duration::ZERO,
    }
}
