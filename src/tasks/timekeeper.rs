//! Determines the time of day from the state of the kernel clock and the dates of Losant's answers.
//!
//! The task also publishes whether Losant accepts the credentials. It is the task that watches all
//! calls, also before the time of day is known.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tracing::info;

use crate::status::StatusRegistry;
use tidegate_losant::{AnswerDate, Client};
use tidegate_runtime::clock::{Clock as _, TrustedClock, uptime};
use tidegate_timing::clock_trust::{CloudDate, Trust};

/// How often the state of the kernel clock is read.
const READ_INTERVAL: Duration = Duration::from_secs(1);

/// The timekeeper's task.
pub struct TimekeeperTask {
    /// The clock to update.
    pub clock: Arc<TrustedClock>,
    /// Provides the dates of answers.
    pub client: Arc<Client>,
    /// Receives the source of the time of day.
    pub status: StatusRegistry,
    /// Cancelled when the daemon stops.
    pub stop: CancellationToken,
}

impl TimekeeperTask {
    /// Runs until the daemon stops.
    pub async fn run(self) {
        let (mut dates, mut rejection) = (self.client.dates(), self.client.rejection());
        let mut logged = None;
        loop {
            self.publish(&mut logged);
            self.status.set_credentials_error(rejection.borrow_and_update().as_deref());
            tokio::select! {
                () = self.stop.cancelled() => break,
                () = tokio::time::sleep(READ_INTERVAL) => self.clock.look(),
                Ok(()) = rejection.changed() => {}
                Ok(()) = dates.changed() => {
                    if let Some(date) = *dates.borrow_and_update() {
                        self.clock.add_cloud_date(cloud_date(&date));
                    }
                }
            }
        }
    }

    /// Publishes the source of the time of day, and logs each change once.
    fn publish(&self, logged: &mut Option<Trust>) {
        let trust = self.clock.trust();
        let (here, cloud) = (self.clock.wall_time(), self.clock.cloud_time());
        let ahead = here.zip(cloud).map(|(here, cloud)| here.as_millis() - cloud.as_millis());
        self.status.data().clock.ahead_ms = ahead;
        self.status.data().clock.trust = self.clock.trust_word();
        if let Some(trust) = trust.filter(|trust| logged.replace(*trust) != Some(*trust)) {
            match trust {
                Trust::Waiting => {
                    info!("waiting for the time of day; queueing readings");
                }
                Trust::Resumed | Trust::Kernel | Trust::Cloud => {
                    info!(by = trust.as_str(), "time of day known");
                }
            }
        }
    }
}

/// Converts the times of an answer to uptimes.
pub(super) fn cloud_date(answer: &AnswerDate) -> CloudDate {
    let (now, uptime) = (Instant::now(), uptime());
    let at = |instant: Instant| uptime.saturating_sub(now.saturating_duration_since(instant));
    CloudDate { began: at(answer.began), ended: at(answer.ended), date: answer.date }
}
