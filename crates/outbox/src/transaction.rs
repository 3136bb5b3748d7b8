//! A change of the outbox that is collected in memory and then written as one frame.

use std::collections::BTreeMap;

use super::block::{BLOCK_BYTES_MAX, Block, Record};
use super::catalog::{Catalog, Delta, DeviceKey, QueueEnd, RowWrite};
use super::error::Error;
use super::ranges::Ranges;
use super::types::{Amount, NewState, ROW_BYTES_MAX, Reject, RowChange, TABLE_BYTES_MAX};
use tidegate_model::{Account, DeviceId, Ledger, Name, WallTime};

/// A change of the outbox: either all of it is written or nothing.
#[derive(Debug, Default)]
pub(super) struct Transaction {
    pub(super) delta: Delta,
    /// The states to append.
    pub(super) blocks: Vec<Block>,
    /// The amount that leaves the queue of each device.
    pub(super) removed: BTreeMap<DeviceKey, Amount>,
    /// The readings that leave the queues, for each bus.
    pub(super) removed_readings: BTreeMap<Name, u64>,
    /// All removed ranges of each touched device, as they will be after the commit.
    pub(super) removed_ranges: BTreeMap<DeviceKey, Ranges>,
}

impl Transaction {
    /// Adds counts to the ledger.
    pub(super) fn add_counts(&mut self, catalog: &Catalog, ledger: &Ledger) {
        for (bus, account) in ledger {
            self.account(catalog, bus).add(account);
        }
    }

    /// Returns the account of a bus as it will be after the commit.
    pub(super) fn account(&mut self, catalog: &Catalog, bus: &Name) -> &mut Account {
        let current = || catalog.ledger.get(bus).cloned().unwrap_or_default();
        self.delta.ledger.entry(bus.clone()).or_insert_with(current)
    }

    /// Returns whether this transaction, or one before it, removes a state.
    pub(super) fn removes(&self, device: DeviceId, sequence: u64) -> bool {
        let removed = self.removed_ranges.get(device.as_bytes());
        removed.is_some_and(|removed| removed.contains(sequence))
    }

    /// Counts states of one bus that leave the queue of a device.
    pub(super) fn count_removed(&mut self, device: DeviceKey, bus: &Name, amount: Amount) {
        let removed = self.removed.entry(device).or_default();
        *removed = removed.plus(amount);
        if let Some(removed) = self.removed_readings.get_mut(bus) {
            *removed += amount.readings;
        } else {
            self.removed_readings.insert(bus.clone(), amount.readings);
        }
    }

    /// Appends states of one device, as one block or more.
    pub(super) fn append(&mut self, catalog: &Catalog, device: DeviceId, states: &[&NewState]) {
        let queue = catalog.queues.get(device.as_bytes());
        let before = || {
            queue.map_or(QueueEnd::default(), |queue| QueueEnd {
                last: queue.last,
                latest_ms: queue.latest_ms,
            })
        };
        let appended = self.delta.appended.get(device.as_bytes()).copied();
        let QueueEnd { mut last, mut latest_ms } = appended.unwrap_or_else(before);
        let (mut records, mut bytes) = (Vec::<Record>::new(), 0);
        let commit = self.delta.commit;
        for state in states {
            let is_other = |last: &Record| last.priority != state.priority;
            let is_full = bytes + state.json.len() > BLOCK_BYTES_MAX && !records.is_empty();
            if is_full || records.last().is_some_and(is_other) {
                let records = std::mem::take(&mut records);
                let first = last + 1 - records.len() as u64;
                self.blocks.push(Block { commit, device, first, records });
                bytes = 0;
            }
            bytes += state.json.len();
            last += 1;
            latest_ms = latest_ms.max(state.moment.wall().map_or(0, WallTime::as_millis));
            records.push(Record::from(*state));
        }
        if records.is_empty() {
            return;
        }
        let first = last + 1 - records.len() as u64;
        self.blocks.push(Block { commit, device, first, records });
        self.delta.appended.insert(*device.as_bytes(), QueueEnd { last, latest_ms });
    }

    /// Appends the states of rejects to their queues, and stops counting them as rejected.
    pub(super) fn requeue(&mut self, catalog: &Catalog, rejects: Vec<Reject>) {
        let mut devices: BTreeMap<DeviceId, Vec<NewState>> = BTreeMap::new();
        for reject in rejects {
            let account = self.account(catalog, &reject.bus);
            for (reason, values) in reject.values_by_reason() {
                let counted = account.rejected.entry(reason).or_default();
                *counted = counted.saturating_sub(values);
            }
            self.delta.rejects_deleted.push(reject.number);
            devices.entry(reject.device).or_default().push(reject.into());
        }
        for (device, states) in devices {
            self.append(catalog, device, &states.iter().collect::<Vec<_>>());
        }
    }

    /// Changes rows of a table.
    ///
    /// # Errors
    /// When a row or the table would be too large.
    pub(super) fn write_rows(
        &mut self,
        catalog: &Catalog,
        table: &'static str,
        changes: &[RowChange],
    ) -> Result<(), Error> {
        let rows = catalog.tables.get(table);
        let mut bytes = catalog.table_bytes(table);
        for (key, value) in changes {
            if let Some(before) = rows.and_then(|rows| rows.get(key)) {
                bytes = bytes.saturating_sub(key.len() + before.len());
            }
            if let Some(value) = value {
                if value.len() > ROW_BYTES_MAX {
                    return Err(Error::RowTooLarge(value.len()));
                }
                bytes += key.len() + value.len();
            }
            let (table, key, value) = (table.to_owned(), key.clone(), value.clone());
            self.delta.rows.push(RowWrite { table, key, value });
        }
        if bytes > TABLE_BYTES_MAX { Err(Error::TableFull(table)) } else { Ok(()) }
    }
}
