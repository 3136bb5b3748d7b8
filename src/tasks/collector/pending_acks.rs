//! Delays acknowledgements until the readings of a commit are safe.
//!
//! With `outbox.sync_interval_online` a commit is written without a sync while the cloud answers.
//! The cloud confirms most readings soon, and a confirmed reading needs no sync. Until then, or
//! until the sync at the end of the interval, brokers get no acknowledgement.

use std::time::Duration;

use tokio::time::Instant;

use super::group::{ACKS_MAX, Receipt};
use tidegate_bus::Ack;

/// The acknowledgements of commits that are neither synced nor confirmed by the cloud.
#[derive(Default)]
pub(super) struct PendingAcks {
    acks: Vec<Ack>,
    receipts: Vec<Receipt>,
    since: Option<Instant>,
}

impl PendingAcks {
    /// Takes the acknowledgements and receipts of a commit.
    pub(super) fn add(&mut self, acks: &mut Vec<Ack>, receipts: &mut Vec<Receipt>) {
        self.acks.append(acks);
        self.receipts.append(receipts);
        self.since.get_or_insert_with(Instant::now);
    }

    /// Returns the time of the next check, `interval` from now; `None` while nothing is pending.
    pub(super) fn next_check(&self, interval: Duration) -> Option<Instant> {
        self.since.map(|_| Instant::now() + interval)
    }

    /// Returns whether a sync is due: the interval is over, or a broker would stop sending.
    pub(super) fn is_due(&self, interval: Duration) -> bool {
        let is_over = self.since.is_some_and(|since| since.elapsed() >= interval);
        is_over || self.acks.len() >= ACKS_MAX
    }

    /// Sends all acknowledgements and receipts.
    pub(super) fn release(&mut self) {
        self.since = None;
        self.acks.drain(..).for_each(Ack::send);
        for (number, receipts) in self.receipts.drain(..) {
            // Without the receipt the dispatcher reports again, with the same time.
            receipts.try_send(number).unwrap_or_default();
        }
    }
}
