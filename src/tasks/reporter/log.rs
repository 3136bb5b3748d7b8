//! Logs the results of calls, and each change of the link once.

use tracing::{debug, info, warn};

use super::Sent;
use tidegate_delivery::reporter::Reporter;
use tidegate_delivery::response::ResponseClass;

/// The state of the link that was logged last.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Condition {
    Unknown,
    Online,
    Offline,
    Unauthorized,
}

impl Condition {
    /// Logs a change of the link. `backlog` is the number of queued states.
    pub(super) fn update(&mut self, machine: &Reporter, sent: &Sent, backlog: u64) {
        let after = match &sent.finished.response {
            // The server error of one device says nothing about the link.
            ResponseClass::ServerError(_) if machine.online() != Some(false) => return,
            ResponseClass::Offline | ResponseClass::ServerError(_) => Self::Offline,
            ResponseClass::Unauthorized => Self::Unauthorized,
            ResponseClass::Stored
            | ResponseClass::TooLarge
            | ResponseClass::Malformed
            | ResponseClass::Throttled(_)
            | ResponseClass::Blocked => Self::Online,
        };
        if std::mem::replace(self, after) == after {
            return;
        }
        let error = sent.outcome.message();
        match after {
            Self::Online => info!(backlog, "cloud online"),
            Self::Offline => warn!(error, "cloud offline; queueing readings"),
            Self::Unauthorized => {
                warn!(error, "cloud rejects the credentials; queueing readings");
            }
            Self::Unknown => {}
        }
    }
}

/// Logs the result of a call and its consequence.
pub(super) fn log_result(machine: &Reporter, sent: &Sent) {
    let (device, states, error) = (sent.call.device, sent.finished.states, sent.outcome.message());
    match &sent.finished.response {
        ResponseClass::Stored => {
            debug!(device_id = %device, states, "states stored");
        }
        ResponseClass::Offline | ResponseClass::Unauthorized => {
            debug!(error, "cannot send states; retrying");
        }
        ResponseClass::ServerError(_) if machine.is_outage() => {
            debug!(error, "server error for all devices; retrying");
        }
        ResponseClass::ServerError(_) => {
            warn!(device_id = %device, error, "server error for this device; retrying");
        }
        ResponseClass::Blocked => {
            warn!(device_id = %device, error, "cloud refuses this device; keeping its readings");
        }
        ResponseClass::Throttled(_) => {
            warn!(device_id = %device, error, "too many calls; pausing this device");
        }
        ResponseClass::TooLarge | ResponseClass::Malformed if states > 1 => {
            info!(device_id = %device, states, error, "batch refused; retrying with half of it");
        }
        ResponseClass::TooLarge | ResponseClass::Malformed => {
            warn!(device_id = %device, error, "state refused; moved to the rejects");
        }
    }
}
