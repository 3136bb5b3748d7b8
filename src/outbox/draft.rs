//! A change of the outbox before it is written: what will be in memory, and what goes into the store.

use super::group::{Group, Record};
use super::{Inner, Pending, group_key};
use crate::model::{DeviceId, Ledger, Reason};

/// What the outbox will be, and the change of the store that leads there; not written yet.
#[derive(Default)]
pub(super) struct Draft {
    pub(super) next: Inner,
    pub(super) groups: sled::Batch,
    pub(super) meta: sled::Batch,
    pub(super) rejects: sled::Batch,
}

/// Why a state leaves the outbox.
#[derive(Debug, Clone, Copy)]
pub(super) enum Fate {
    Stored,
    Rejected,
    Dropped,
}

impl Fate {
    pub(super) fn count(self, ledger: &mut Ledger, record: &Record) {
        let account = ledger.entry(record.bus.clone()).or_default();
        let count = match self {
            Self::Stored => &mut account.stored,
            Self::Rejected => account.rejected.entry(Reason::RefusedByCloud).or_default(),
            Self::Dropped => account.dropped.entry(Reason::OutboxFull).or_default(),
        };
        *count += u64::from(record.readings);
    }
}

impl Inner {
    pub(super) fn bytes(&self) -> u64 {
        self.lanes.values().map(|lane| lane.amount.bytes).sum()
    }
}

impl Draft {
    pub(super) fn of(inner: &Inner) -> Self {
        Self { next: inner.clone(), ..Self::default() }
    }

    /// Adds the states of one device as one group.
    pub(super) fn put(&mut self, device: DeviceId, states: &[&Pending]) {
        let lane = self.next.lanes.entry(device).or_default();
        let first = lane.last + 1;
        let records: Vec<_> = states.iter().copied().map(Record::of).collect();
        for record in &records {
            lane.amount.add(record);
        }
        lane.last += records.len() as u64;
        let latest_ms = states.iter().map(|state| state.time.as_millis()).max();
        lane.latest_ms = lane.latest_ms.max(latest_ms.unwrap_or_default());
        let group = Group { commit: self.next.commit, device, first, records };
        self.groups.insert(group_key(device, first), group.encode());
    }
}

impl Record {
    fn of(state: &Pending) -> Self {
        Self { bus: state.bus.clone(), readings: state.readings, json: state.json.clone() }
    }
}
