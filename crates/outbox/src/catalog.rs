//! The catalog: everything that the outbox knows besides the states themselves.
//!
//! Each frame of the journal holds a [`Delta`], and each segment starts with the complete
//! [`Catalog`]. A running outbox and the recovery apply a delta in the same way. Both types are
//! encoded with postcard: the order and the types of the fields are the format on disk.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use tracing::error;

use super::ranges::Ranges;
use super::types::Amount;
use super::{fingerprints, ledger_json};
use tidegate_model::{Account, DeviceId, Ledger, Name, Reason};

/// The most rejected states that the outbox keeps; the oldest are removed first.
pub const REJECTS_MAX: usize = 1_000;

/// The bytes of a device id, as they are stored.
pub(super) type DeviceKey = [u8; 12];

/// Everything that the outbox knows besides the states themselves.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(super) struct Catalog {
    pub(super) queues: BTreeMap<DeviceKey, DeviceQueue>,
    #[serde(with = "ledger_json")]
    pub(super) ledger: Ledger,
    /// The packed fingerprints of each bus, in the form of [`fingerprints`].
    pub(super) fingerprints: BTreeMap<Name, Vec<u8>>,
    pub(super) tables: BTreeMap<String, BTreeMap<Vec<u8>, Vec<u8>>>,
    /// The rejected states as JSON, by number; numbers only grow.
    pub(super) rejects: BTreeMap<u64, Vec<u8>>,
    /// The number of the latest reject.
    pub(super) reject_last: u64,
    /// The full segments with queued states, and the offset up to which their frames count.
    pub(super) segments: BTreeMap<u64, u64>,
    /// The stores, and the number of blocks that were written to each.
    pub(super) stores: BTreeMap<u64, u64>,
    /// The number of the last commit.
    pub(super) commit: u64,
    /// Readings in queued states, for each bus; counted at each start.
    #[serde(skip)]
    pub(super) waiting: BTreeMap<Name, u64>,
    /// The bytes of all queued states; counted at each start.
    #[serde(skip)]
    bytes: u64,
}

/// The queue of one device.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(super) struct DeviceQueue {
    /// The states that left the queue: acknowledged, rejected or dropped.
    pub(super) removed: Ranges,
    /// The last sequence number that was assigned.
    pub(super) last: u64,
    /// The latest time of day of any state of this device, in milliseconds since 1970.
    pub(super) latest_ms: i64,
    /// The size of the queue; counted at each start.
    #[serde(skip)]
    pub(super) amount: Amount,
}

/// One change of the catalog.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(super) struct Delta {
    /// The devices that got states.
    pub(super) appended: BTreeMap<DeviceKey, QueueEnd>,
    pub(super) removed: Vec<RemovedRange>,
    /// The changed accounts, with their new counts.
    #[serde(with = "ledger_json")]
    pub(super) ledger: Ledger,
    /// Changes of the fingerprints of each bus, in the form of [`fingerprints`].
    pub(super) fingerprints: BTreeMap<Name, Vec<u8>>,
    pub(super) rows: Vec<RowWrite>,
    /// New rejects as JSON.
    pub(super) rejects: Vec<Vec<u8>>,
    /// The numbers of the rejects to delete.
    pub(super) rejects_deleted: Vec<u64>,
    /// New stores, and the number of blocks in each.
    pub(super) stores: BTreeMap<u64, u64>,
    pub(super) stores_removed: Vec<u64>,
    pub(super) segments_removed: Vec<u64>,
    pub(super) commit: u64,
}

impl Delta {
    /// Removes states of a device from its queue.
    pub(super) fn remove(&mut self, device: DeviceKey, first: u64, last: u64) {
        self.removed.push(RemovedRange { device, first, last });
    }
}

/// The end of a queue after states were appended.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct QueueEnd {
    /// The last sequence number.
    pub(super) last: u64,
    /// The latest time of day, in milliseconds since 1970.
    pub(super) latest_ms: i64,
}

/// States of a device that leave its queue, from `first` to `last`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct RemovedRange {
    pub(super) device: DeviceKey,
    pub(super) first: u64,
    pub(super) last: u64,
}

/// A write to a row of a table; without a value it removes the row.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct RowWrite {
    pub(super) table: String,
    pub(super) key: Vec<u8>,
    pub(super) value: Option<Vec<u8>>,
}

/// A bus whose account does not agree with its queued states.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Imbalance {
    pub(super) bus: Name,
    /// Readings in the outbox according to the ledger.
    pub(super) in_ledger: u64,
    /// Readings in the queued states.
    pub(super) in_queues: u64,
}

impl Catalog {
    /// Applies a change.
    pub(super) fn apply(&mut self, delta: &Delta) {
        for (device, appended) in &delta.appended {
            let queue = self.queues.entry(*device).or_default();
            queue.last = queue.last.max(appended.last);
            queue.latest_ms = queue.latest_ms.max(appended.latest_ms);
        }
        for range in &delta.removed {
            self.queues.entry(range.device).or_default().removed.merge(range.first, range.last);
        }
        self.ledger.extend(delta.ledger.clone());
        for (bus, change) in &delta.fingerprints {
            fingerprints::apply(self.fingerprints.entry(bus.clone()).or_default(), change);
        }
        for RowWrite { table, key, value } in &delta.rows {
            let table = self.tables.entry(table.clone()).or_default();
            match value {
                Some(value) => drop(table.insert(key.clone(), value.clone())),
                None => drop(table.remove(key)),
            }
        }
        for number in &delta.rejects_deleted {
            self.rejects.remove(number);
        }
        for reject in &delta.rejects {
            self.reject_last += 1;
            self.rejects.insert(self.reject_last, reject.clone());
        }
        while self.rejects.len() > REJECTS_MAX {
            self.rejects.pop_first();
        }
        self.stores.extend(delta.stores.clone());
        self.stores.retain(|number, _| !delta.stores_removed.contains(number));
        self.segments.retain(|number, _| !delta.segments_removed.contains(number));
        self.commit = self.commit.max(delta.commit);
    }

    /// Counts a state that is in the queue of a device.
    pub(super) fn count_queued(&mut self, device: DeviceKey, bus: &Name, amount: Amount) {
        let queue = self.queues.entry(device).or_default();
        queue.amount = queue.amount.plus(amount);
        self.bytes += amount.bytes;
        match self.waiting.get_mut(bus) {
            Some(readings) => *readings += amount.readings,
            None => drop(self.waiting.insert(bus.clone(), amount.readings)),
        }
    }

    /// Counts states that left their queues.
    pub(super) fn count_removed(
        &mut self,
        devices: &BTreeMap<DeviceKey, Amount>,
        buses: &BTreeMap<Name, u64>,
    ) {
        for (device, amount) in devices {
            let queue = self.queues.entry(*device).or_default();
            let before = queue.amount;
            queue.amount = before.minus(*amount);
            self.bytes -= before.bytes - queue.amount.bytes;
        }
        for (bus, readings) in buses {
            if let Some(waiting) = self.waiting.get_mut(bus) {
                *waiting = waiting.saturating_sub(*readings);
            }
        }
    }

    /// Returns the bytes of all queued states.
    pub(super) fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Replaces the sizes of all queues.
    pub(super) fn set_amounts(&mut self, amounts: &BTreeMap<DeviceId, Amount>) {
        for (device, queue) in &mut self.queues {
            let amount = amounts.get(&DeviceId::from(*device));
            queue.amount = amount.copied().unwrap_or_default();
        }
        self.bytes = self.queues.values().map(|queue| queue.amount.bytes).sum();
    }

    /// Returns the size of a table in bytes.
    pub(super) fn table_bytes(&self, table: &str) -> usize {
        let rows = self.tables.get(table).into_iter().flatten();
        rows.map(|(key, value)| key.len() + value.len()).sum()
    }

    /// Returns the first bus whose account does not agree with its queued states.
    pub(super) fn imbalance(&self) -> Option<Imbalance> {
        let mut buses = self.ledger.keys().chain(self.waiting.keys());
        buses.find_map(|bus| {
            let in_ledger = self.ledger.get(bus).map_or(0, Account::waiting);
            let in_queues = self.waiting.get(bus).copied().unwrap_or_default();
            let imbalance = || Imbalance { bus: bus.clone(), in_ledger, in_queues };
            (in_ledger != in_queues).then(imbalance)
        })
    }
}

/// Makes the ledger agree with the queued states.
///
/// Readings that only the ledger has were damaged: they are counted as dropped. Readings that only
/// the queues have were received, and the frame with their counts was lost: they are counted as
/// received.
pub(super) fn balance(ledger: &mut Ledger, waiting: &BTreeMap<Name, u64>) {
    for bus in waiting.keys() {
        ledger.entry(bus.clone()).or_default();
    }
    for (bus, account) in ledger {
        let (here, expected) = (waiting.get(bus).copied().unwrap_or(0), account.waiting());
        if here < expected {
            let lost = expected - here;
            error!(%bus, readings = lost, "readings in the outbox were damaged and are lost");
            *account.dropped.entry(Reason::Damaged).or_default() += lost;
        } else {
            account.received += here - expected;
            account.outbox_in += here - expected;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The shape of a delta in the first release of this format.
    type Shape = (
        BTreeMap<[u8; 12], (u64, i64)>,
        Vec<([u8; 12], u64, u64)>,
        Vec<u8>,
        BTreeMap<Name, Vec<u8>>,
        Vec<(String, Vec<u8>, Option<Vec<u8>>)>,
        Vec<Vec<u8>>,
        Vec<u64>,
        BTreeMap<u64, u64>,
        (Vec<u64>, Vec<u64>, u64),
    );

    #[test]
    fn delta_keeps_its_bytes_on_disk() {
        let bus: Name = "a".parse().unwrap();
        let value = Some(vec![7]);
        let delta = Delta {
            appended: BTreeMap::from([([1; 12], QueueEnd { last: 300, latest_ms: -5 })]),
            removed: vec![RemovedRange { device: [2; 12], first: 1, last: 1 << 40 }],
            ledger: Ledger::default(),
            fingerprints: BTreeMap::from([(bus.clone(), vec![1, 2])]),
            rows: vec![RowWrite { table: "t".to_owned(), key: vec![5], value: value.clone() }],
            rejects: vec![vec![3]],
            rejects_deleted: vec![4],
            stores: BTreeMap::from([(5, 6)]),
            stores_removed: vec![7],
            segments_removed: vec![8],
            commit: 9,
        };
        let shape: Shape = (
            BTreeMap::from([([1; 12], (300, -5))]),
            vec![([2; 12], 1, 1 << 40)],
            b"{}".to_vec(),
            BTreeMap::from([(bus, vec![1, 2])]),
            vec![("t".to_owned(), vec![5], value)],
            vec![vec![3]],
            vec![4],
            BTreeMap::from([(5, 6)]),
            (vec![7], vec![8], 9),
        );
        assert_eq!(postcard::to_stdvec(&delta).unwrap(), postcard::to_stdvec(&shape).unwrap());
    }
}
