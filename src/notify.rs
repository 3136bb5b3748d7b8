//! What systemd is told: that the daemon is ready, how it is in words, that it is alive, that it stops.
//!
//! Without systemd all of it goes nowhere.

use std::time::Duration;

use sd_notify::NotifyState;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tracing::{error, warn};

use crate::pulse::Pulses;

/// How many beats fit into the time after which systemd acts.
const BEATS_PER_TIMEOUT: u32 = 4;

/// Between two looks at the tasks where systemd does not ask for beats; a stuck task is told then, and no more.
const LOOK_INTERVAL: Duration = Duration::from_secs(15);

/// All that had to be opened is open: dependent units may start.
pub fn ready() {
    tell(&[NotifyState::Ready]);
}

/// The configuration is read again; [`ready`] follows.
pub fn reloading() {
    match NotifyState::monotonic_usec_now() {
        Ok(now) => tell(&[NotifyState::Reloading, now]),
        Err(_) => tell(&[NotifyState::Reloading]),
    }
}

/// The end has begun.
pub fn stopping() {
    tell(&[NotifyState::Stopping]);
}

/// How the daemon is, for `systemctl status`.
pub fn status(words: &str) {
    tell(&[NotifyState::Status(words)]);
}

/// Feeds systemd's watchdog while every task makes progress, until `stop`.
///
/// A beat that is not sent is what makes systemd end the daemon and start it afresh.
pub async fn watch(pulses: Pulses, stop: CancellationToken) {
    let timeout = sd_notify::watchdog_enabled();
    let interval = timeout.map_or(LOOK_INTERVAL, |timeout| timeout / BEATS_PER_TIMEOUT);
    let mut told = None;
    while stop.run_until_cancelled(tokio::time::sleep(interval)).await.is_some() {
        let stuck = pulses.stuck(Instant::now());
        match &stuck {
            Some(task) if told.as_ref() != Some(task) => error!(task, "a task is stuck"),
            Some(_) => {}
            None => tell(&[NotifyState::Watchdog]),
        }
        told = stuck;
    }
}

fn tell(state: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(state) {
        warn!(%error, "systemd cannot be told");
    }
}
