//! What is acknowledged later than stored, while the disk is spared.
//!
//! With `outbox.sync_interval_online` a commit is written, but not synced, while the cloud answers: most of what came is confirmed by the
//! cloud soon, and then need not be on the disk. Until then, or until the sync at the window's end, brokers are not told that
//! their messages are safe.

use std::time::Duration;

use tokio::sync::mpsc;
use tokio::time::Instant;

use super::GROUP_ACKS_MAX;
use tidegate_bus::Ack;

/// What waits until it is safe: on the disk, or in the cloud.
#[derive(Default)]
pub(super) struct PendingAcks {
    acks: Vec<Ack>,
    told: Vec<(u64, mpsc::Sender<u64>)>,
    since: Option<Instant>,
}

impl PendingAcks {
    /// Takes what belongs to a commit.
    pub(super) fn hold(&mut self, acks: &mut Vec<Ack>, told: &mut Vec<(u64, mpsc::Sender<u64>)>) {
        self.acks.append(acks);
        self.told.append(told);
        self.since.get_or_insert_with(Instant::now);
    }

    /// When to look whether it is safe; `None` while nothing is held.
    pub(super) fn look_at(&self, interval: Duration) -> Option<Instant> {
        self.since.map(|_| Instant::now() + interval)
    }

    /// Whether it must not wait any longer: a broker would stand still, or the window is over.
    pub(super) fn is_due(&self, window: Duration) -> bool {
        let is_over = self.since.is_some_and(|since| since.elapsed() >= window);
        is_over || self.acks.len() >= GROUP_ACKS_MAX
    }

    /// It is safe.
    pub(super) fn release(&mut self) {
        self.since = None;
        self.acks.drain(..).for_each(Ack::send);
        for (number, told) in self.told.drain(..) {
            // Whoever does not hear it reports again, with the same time.
            told.try_send(number).unwrap_or_default();
        }
    }
}
