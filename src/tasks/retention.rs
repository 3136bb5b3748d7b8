//! Drops states that waited in the outbox for longer than `outbox.age_max`.

use std::sync::Arc;
use std::time::Duration;

use tokio_util::sync::CancellationToken;
use tracing::{error, warn};

use tidegate_outbox::Outbox;
use tidegate_runtime::clock::{Clock as _, TrustedClock};
use tidegate_runtime::liveness;
use tidegate_runtime::wait::blocking;

/// The interval between two checks.
const CHECK_INTERVAL: Duration = Duration::from_secs(60);

/// Drops states that are too old, once a minute.
pub struct RetentionTask {
    /// The outbox to check.
    pub outbox: Arc<Outbox>,
    /// The clock. The task drops nothing while the time of day is unknown or not checked.
    pub clock: Arc<TrustedClock>,
    /// The largest age of a state.
    pub age_max: Duration,
    /// Stops the task.
    pub stop: CancellationToken,
}

impl RetentionTask {
    /// Runs until the daemon stops.
    pub async fn run(self) {
        while self.stop.run_until_cancelled(tokio::time::sleep(CHECK_INTERVAL)).await.is_some() {
            self.drop_old_states().await;
        }
    }

    async fn drop_old_states(&self) {
        // Without checks of the clock a wrong date could drop everything.
        let is_checked = self.clock.trust().is_some();
        let Some(now) = self.clock.wall_time().filter(|_| is_checked) else { return };
        let before = now.minus(self.age_max);
        let outbox = Arc::clone(&self.outbox);
        let expiring = blocking(move || outbox.expire(before));
        let expiring = liveness::with_deadline(liveness::DISK_MAX, "dropping old states", expiring);
        match expiring.await {
            Ok(dropped) if dropped.states > 0 => warn!(
                states = dropped.states,
                readings = dropped.readings,
                age_max = %humantime::format_duration(self.age_max),
                "dropped states that waited too long"
            ),
            Ok(_) => {}
            Err(error) => error!(%error, "cannot drop old states; retrying in a minute"),
        }
    }
}
