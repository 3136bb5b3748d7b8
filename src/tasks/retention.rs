//! Lets go of what waited for too long.

use std::sync::Arc;
use std::time::Duration;

use tokio_util::sync::CancellationToken;
use tracing::{error, warn};

use tidegate_outbox::Outbox;
use tidegate_runtime::clock::{Clock as _, TrustedClock};
use tidegate_runtime::liveness;
use tidegate_timing::clock_trust::Trust;

/// Between two looks. What is kept longer than that by an hour's fraction harms nobody.
const LOOK_INTERVAL: Duration = Duration::from_secs(60);

/// The upkeep's task.
pub struct RetentionTask {
    /// Where it looks.
    pub outbox: Arc<Outbox>,
    /// Without a trusted time nothing is too old.
    pub clock: Arc<TrustedClock>,
    /// The longest that a state waits.
    pub age_max: Duration,
    /// Ends the task.
    pub stop: CancellationToken,
}

impl RetentionTask {
    /// Runs until the daemon stops.
    pub async fn run(self) {
        while self.stop.run_until_cancelled(tokio::time::sleep(LOOK_INTERVAL)).await.is_some() {
            if self.clock.trust().is_none_or(|trust| trust == Trust::Waiting) {
                continue;
            }
            let Some(now) = self.clock.wall_time() else { continue };
            let before = now.minus(self.age_max);
            let outbox = Arc::clone(&self.outbox);
            let expiring = tokio::task::spawn_blocking(move || outbox.expire(before));
            match liveness::with_deadline(
                liveness::DISK_MAX,
                "letting go of what is too old",
                expiring,
            )
            .await
            {
                Ok(Ok(dropped)) if dropped.states > 0 => warn!(
                    states = dropped.states,
                    readings = dropped.readings,
                    age_max = %humantime::format_duration(self.age_max),
                    "what waited for too long is dropped"
                ),
                Ok(Ok(_)) => {}
                Ok(Err(error)) => error!(%error, "cannot drop what waited for too long"),
                Err(panic) => std::panic::resume_unwind(panic.into_panic()),
            }
        }
    }
}
