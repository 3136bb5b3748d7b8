//! Watches for the time of day: what the kernel says of its clock, and the dates of the cloud's answers.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tracing::info;

use crate::status::StatusRegistry;
use tidegate_losant::{AnswerDate, Client};
use tidegate_runtime::clock::{TrustedClock, uptime};
use tidegate_timing::clock_trust::{CloudDate, Trust};

/// Between two looks at the kernel's clock.
const LOOK_INTERVAL: Duration = Duration::from_secs(1);

/// The timekeeper's task.
pub struct TimekeeperTask {
    /// What is told the time.
    pub clock: Arc<TrustedClock>,
    /// Whose answers have dates.
    pub client: Arc<Client>,
    /// Told about the trust.
    pub board: StatusRegistry,
    /// Cancelled when the daemon stops.
    pub stop: CancellationToken,
}

impl TimekeeperTask {
    /// Runs until the daemon stops.
    pub async fn run(self) {
        let mut dates = self.client.dates();
        let mut told = None;
        loop {
            self.tell(&mut told);
            tokio::select! {
                () = self.stop.cancelled() => break,
                () = tokio::time::sleep(LOOK_INTERVAL) => self.clock.look(),
                Ok(()) = dates.changed() => {
                    if let Some(heard) = *dates.borrow_and_update() {
                        self.clock.hear(by_uptime(&heard));
                    }
                }
            }
        }
    }

    fn tell(&self, told: &mut Option<Trust>) {
        let trust = self.clock.trust();
        self.board.data().clock.trust = self.clock.trust_word();
        if let Some(trust) = trust.filter(|trust| told.replace(*trust) != Some(*trust)) {
            match trust {
                Trust::Waiting => {
                    info!("waiting for the time of day; readings are kept until it is known");
                }

                Trust::Resumed | Trust::Kernel | Trust::Cloud => {
                    info!(by = trust.as_str(), "the time of day is known");
                }
            }
        }
    }
}

fn by_uptime(heard: &AnswerDate) -> CloudDate {
    let (now, uptime) = (Instant::now(), uptime());
    let at = |instant: Instant| uptime.saturating_sub(now.saturating_duration_since(instant));
    CloudDate { began: at(heard.began), ended: at(heard.ended), date: heard.date }
}
