//! The facts about an outbox that can be read without waiting for the disk.
//!
//! Each change updates only the queues and accounts that it touches.

use std::collections::{BTreeMap, BTreeSet};

use super::catalog::DeviceKey;
use super::disk::Disk;
use super::transaction::Transaction;
use super::types::{Amount, QueueChange, QueueChanges, QueueSizes};
use tidegate_model::{DeviceId, Ledger, WallTime};

/// The published counts.
#[derive(Debug, Default)]
pub(super) struct Counts {
    ledger: Ledger,
    queues: BTreeMap<DeviceId, QueueCounts>,
    total: Amount,
    /// The oldest commit with a queued state that is not synced.
    first_unsynced: Option<u64>,
    /// The number of the last change.
    version: u64,
    /// The devices by the version of their last change; each device once.
    by_version: BTreeSet<(u64, DeviceId)>,
}

#[derive(Debug, Clone, Copy)]
struct QueueCounts {
    amount: Amount,
    latest: WallTime,
    /// The last sequence number that was assigned.
    last: u64,
    /// The version of the last change.
    version: u64,
}

impl Counts {
    /// Updates what a transaction may have changed.
    pub(super) fn update(&mut self, disk: &Disk, transaction: &Transaction) {
        self.version += 1;
        for bus in transaction.delta.ledger.keys() {
            if let Some(account) = disk.catalog.ledger.get(bus) {
                self.ledger.insert(bus.clone(), account.clone());
            }
        }
        let appended = transaction.delta.appended.keys();
        for device in appended.chain(transaction.removed.keys()) {
            self.update_queue(disk, *device);
        }
        self.first_unsynced = disk.first_unsynced();
        self.debug_check(disk);
    }

    /// Updates everything.
    pub(super) fn update_all(&mut self, disk: &Disk) {
        self.version += 1;
        self.ledger.clone_from(&disk.catalog.ledger);
        for device in disk.catalog.queues.keys() {
            self.update_queue(disk, *device);
        }
        self.first_unsynced = disk.first_unsynced();
        self.debug_check(disk);
    }

    fn update_queue(&mut self, disk: &Disk, device: DeviceKey) {
        let Some(queue) = disk.catalog.queues.get(&device) else { return };
        let (device, version) = (DeviceId::from(device), self.version);
        let latest = WallTime::from_millis(queue.latest_ms);
        let counts = QueueCounts { amount: queue.amount, latest, last: queue.last, version };
        if let Some(before) = self.queues.insert(device, counts) {
            self.total = self.total.minus(before.amount);
            self.by_version.remove(&(before.version, device));
        }
        self.total = self.total.plus(counts.amount);
        self.by_version.insert((version, device));
    }

    /// Checks in a debug build that the counts are those of the outbox.
    fn debug_check(&self, disk: &Disk) {
        debug_assert_eq!(self.ledger, disk.catalog.ledger, "a published account is old");
        debug_assert!(
            disk.catalog.queues.iter().all(|(device, queue)| {
                let counts = self.queues.get(&DeviceId::from(*device));
                counts.is_some_and(|counts| {
                    counts.amount == queue.amount
                        && counts.last == queue.last
                        && counts.latest.as_millis() == queue.latest_ms
                })
            }),
            "a published queue is old"
        );
        debug_assert_eq!(self.total.bytes, disk.catalog.bytes(), "the published total is wrong");
    }

    pub(super) fn ledger(&self) -> &Ledger {
        &self.ledger
    }

    pub(super) fn first_unsynced(&self) -> Option<u64> {
        self.first_unsynced
    }

    /// Returns the sizes of all queues.
    pub(super) fn sizes(&self) -> QueueSizes {
        let devices = self.queues.iter().map(|(device, queue)| (*device, queue.amount));
        let last = self.queues.iter().map(|(device, queue)| (*device, queue.last));
        QueueSizes { total: self.total, devices: devices.collect(), last: last.collect() }
    }

    /// Returns the queues that changed after this version.
    pub(super) fn changes(&self, since: u64) -> QueueChanges {
        let first = (since.saturating_add(1), DeviceId::from([0; 12]));
        let changed = self.by_version.range(first..).filter_map(|(_, device)| {
            let QueueCounts { amount, last, .. } = *self.queues.get(device)?;
            Some(QueueChange { device: *device, amount, last })
        });
        QueueChanges { version: self.version, total: self.total, queues: changed.collect() }
    }

    /// Returns the latest time of day of any state of each device that had one.
    pub(super) fn latest(&self) -> BTreeMap<DeviceId, WallTime> {
        let timed = self.queues.iter().filter(|(_, queue)| queue.latest.as_millis() > 0);
        timed.map(|(device, queue)| (*device, queue.latest)).collect()
    }
}
