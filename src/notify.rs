//! What systemd is told: that the daemon is ready, how it is in words, that it is alive, that it stops.
//!
//! Without systemd all of it goes nowhere.

use std::time::Duration;

use sd_notify::NotifyState;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tracing::{error, warn};

use tidegate_runtime::liveness::Liveness;

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
pub async fn watch(pulses: Liveness, stop: CancellationToken) {
    let timeout = sd_notify::watchdog_enabled();
    let interval = timeout.map_or(LOOK_INTERVAL, |timeout| timeout / BEATS_PER_TIMEOUT);
    let mut told = None;
    while stop.run_until_cancelled(tokio::time::sleep(interval)).await.is_some() {
        if is_well(&pulses, &mut told) {
            tell(&[NotifyState::Watchdog]);
        }
    }
}

/// Whether every task makes progress; the first that does not is told, once.
fn is_well(pulses: &Liveness, told: &mut Option<String>) -> bool {
    let stuck = pulses.stuck(Instant::now());
    if let Some(task) = &stuck
        && told.as_ref() != Some(task)
    {
        error!(task, "a task is stuck");
    }
    *told = stuck;
    told.is_none()
}

fn tell(state: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(state) {
        warn!(%error, "systemd cannot be told");
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tidegate_runtime::liveness;
    use tidegate_runtime::supervisor::Supervisor;

    #[tokio::test(start_paused = true)]
    async fn a_wedged_reporter_is_a_missed_beat_and_a_task_that_waits_is_none() {
        let mut supervisor = Supervisor::default();
        supervisor.spawn("idle", std::future::pending());
        supervisor.spawn("reporter", async {
            let never = std::future::pending::<()>();
            liveness::with_deadline(Duration::from_secs(40), "a call", never).await;
        });
        let mut told = None;
        tokio::time::sleep(Duration::from_secs(39)).await;
        assert!(is_well(supervisor.pulses(), &mut told));
        tokio::time::sleep(Duration::from_secs(2)).await;
        assert!(!is_well(supervisor.pulses(), &mut told));
        assert_eq!(told.as_deref(), Some("task reporter is overdue: a call"));
        supervisor.finish(Duration::ZERO).await;
    }
}
