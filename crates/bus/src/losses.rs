//! Counters that drivers update and the collector commits.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::{PulseCounts, TailCheckpoints};
use tidegate_model::{Ledger, Name, Reason};

/// Counts the messages that a bus loses before they reach the collector.
///
/// The collector adds them to the ledger with its next commit. The pulse counts and the checkpoints
/// of logs go to the disk with the same commits, so they are kept here too. Clones share all of it.
#[derive(Debug, Clone, Default)]
pub struct LossCounters {
    losses: Arc<Mutex<Ledger>>,
    pulses: PulseCounts,
    checkpoints: TailCheckpoints,
}

impl LossCounters {
    /// Creates counters that continue from these pulse counts and checkpoints.
    pub fn new(pulses: PulseCounts, checkpoints: TailCheckpoints) -> Self {
        Self { losses: Arc::default(), pulses, checkpoints }
    }

    /// Returns the pulse counts.
    pub fn pulses(&self) -> &PulseCounts {
        &self.pulses
    }

    /// Returns the checkpoints of logs.
    pub(crate) fn checkpoints(&self) -> &TailCheckpoints {
        &self.checkpoints
    }

    /// Counts a message that is invalid.
    pub fn reject(&self, bus: &Name, reason: Reason) {
        self.lock().entry(bus.clone()).or_default().reject(reason, 1);
    }

    /// Counts a message that was dropped.
    pub fn drop(&self, bus: &Name, reason: Reason) {
        self.lock().entry(bus.clone()).or_default().drop(reason, 1);
    }

    /// Counts a message that was delivered before.
    pub fn duplicate(&self, bus: &Name) {
        self.lock().entry(bus.clone()).or_default().duplicates += 1;
    }

    /// Returns the losses since the last call.
    pub fn take(&self) -> Ledger {
        std::mem::take(&mut *self.lock())
    }

    fn lock(&self) -> MutexGuard<'_, Ledger> {
        self.losses.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
