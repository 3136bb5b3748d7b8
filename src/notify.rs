//! Notifications to systemd: ready, reloading, stopping, status text and watchdog.
//!
//! Without systemd they have no effect.

use std::time::Duration;

use sd_notify::NotifyState;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tracing::{error, warn};

use tidegate_model::io_problem;
use tidegate_runtime::liveness::Liveness;

/// The number of watchdog notifications in systemd's time-out.
const NOTIFICATIONS_PER_TIMEOUT: u32 = 4;

/// The interval between two checks of the tasks without a watchdog; a stuck task is then only
/// logged.
const CHECK_INTERVAL: Duration = Duration::from_secs(15);

/// Reports that everything is open: dependent units may start.
pub fn ready() {
    send(&[NotifyState::Ready]);
}

/// Reports that a reload has begun; [`ready`] follows.
pub fn reloading() {
    match NotifyState::monotonic_usec_now() {
        Ok(now) => send(&[NotifyState::Reloading, now]),
        Err(_) => send(&[NotifyState::Reloading]),
    }
}

/// Reports that the stop has begun.
pub fn stopping() {
    send(&[NotifyState::Stopping]);
}

/// Sets the text that `systemctl status` shows.
pub fn status(text: &str) {
    send(&[NotifyState::Status(text)]);
}

/// Feeds systemd's watchdog while every task makes progress, until `stop`.
///
/// Without a notification in time systemd kills the daemon and restarts it.
pub async fn feed_watchdog(liveness: Liveness, stop: CancellationToken) {
    let timeout = sd_notify::watchdog_enabled();
    let interval = timeout.map_or(CHECK_INTERVAL, |timeout| timeout / NOTIFICATIONS_PER_TIMEOUT);
    let mut logged = None;
    while stop.run_until_cancelled(tokio::time::sleep(interval)).await.is_some() {
        if is_alive(&liveness, &mut logged) {
            send(&[NotifyState::Watchdog]);
        }
    }
}

/// Returns whether every task makes progress, and logs the first stuck task once.
fn is_alive(liveness: &Liveness, logged: &mut Option<String>) -> bool {
    let stuck = liveness.stuck(Instant::now());
    if let Some(task) = &stuck
        && logged.as_ref() != Some(task)
    {
        error!(task, "a task is stuck");
    }
    *logged = stuck;
    logged.is_none()
}

fn send(state: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(state) {
        warn!(error = io_problem(&error), "cannot notify systemd");
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tidegate_runtime::liveness;
    use tidegate_runtime::supervisor::Supervisor;

    #[tokio::test(start_paused = true)]
    async fn stuck_task_stops_the_watchdog() {
        let mut supervisor = Supervisor::default();
        supervisor.spawn("idle", std::future::pending());
        supervisor.spawn("reporter", async {
            let never = std::future::pending::<()>();
            liveness::with_deadline(Duration::from_secs(40), "a call", never).await;
        });
        let mut logged = None;
        tokio::time::sleep(Duration::from_secs(39)).await;
        assert!(is_alive(supervisor.liveness(), &mut logged));
        tokio::time::sleep(Duration::from_secs(2)).await;
        assert!(!is_alive(supervisor.liveness(), &mut logged));
        assert_eq!(logged.as_deref(), Some("task reporter is overdue: a call"));
        supervisor.finish(Duration::ZERO).await;
    }
}
