//! A call in flight, and the readings of a world.

use std::time::Duration;

use tidegate_delivery::reporter::Call;
use tidegate_delivery::response::CallOutcome;
use tidegate_model::BootId;

use super::super::cloud::Sent;

/// A call between the daemon and the cloud.
pub(super) struct CallInFlight {
    /// The number of the daemon that made the call.
    pub(super) life: u64,
    pub(super) call: Call,
    pub(super) batch: Vec<Sent>,
    pub(super) began: Duration,
    pub(super) arrives_at: Option<Duration>,
    pub(super) ends_at: Duration,
    /// Whether the answer is lost.
    pub(super) is_lost: bool,
    pub(super) outcome: CallOutcome,
}

/// The true time of a reading.
#[derive(Debug, Clone, Copy)]
pub(super) struct Measured {
    pub(super) at: Duration,
    pub(super) boot: BootId,
}

/// The schedule of a device's readings.
#[derive(Debug, Clone, Copy)]
pub(super) struct Schedule {
    pub(super) next: Duration,
    pub(super) interval: Duration,
}

impl CallInFlight {
    /// Returns when the call arrives, or when it ends if it has arrived or never will.
    pub(super) fn next_event(&self) -> Duration {
        self.arrives_at.unwrap_or(self.ends_at)
    }
}
