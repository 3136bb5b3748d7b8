//! A change of the outbox before it is written: what will be in memory, and what goes into the store.

use std::collections::BTreeSet;

use super::group::{GROUP_BYTES_MAX, Group, Record};
use super::queue::{group_key, note_key};
use super::store::Store;
use super::{Error, Inner, NOTE_BYTES_MAX, NOTES_BYTES_MAX, NoteChange, Pending, Removed};
use crate::model::{DeviceId, Ledger, Reason, Timestamp};

/// What the outbox will be, and the change of the store that leads there; not written yet.
#[derive(Default)]
pub(super) struct Draft {
    pub(super) next: Inner,
    /// The devices whose lane changes.
    pub(super) touched: BTreeSet<DeviceId>,
    pub(super) groups: sled::Batch,
    pub(super) meta: sled::Batch,
    pub(super) rejects: sled::Batch,
    pub(super) notes: sled::Batch,
}

/// Why a state leaves the outbox.
#[derive(Debug, Clone, Copy)]
pub(super) enum Fate {
    Stored,
    Rejected(Reason),
    Dropped,
}

impl Fate {
    pub(super) fn count(self, ledger: &mut Ledger, record: &Record) {
        let account = ledger.entry(record.bus.clone()).or_default();
        let count = match self {
            Self::Stored => &mut account.stored,
            Self::Rejected(reason) => account.rejected.entry(reason).or_default(),
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

    /// Adds the states of one device, as one group or more.
    pub(super) fn put(&mut self, device: DeviceId, states: &[&Pending]) {
        let walls = states.iter().filter_map(|state| state.moment.wall());
        let latest_ms = walls.map(Timestamp::as_millis).max();
        let lane = self.next.lanes.entry(device).or_default();
        lane.latest_ms = lane.latest_ms.max(latest_ms.unwrap_or_default());
        let (mut records, mut bytes) = (Vec::new(), 0);
        for state in states {
            if bytes + state.json.len() > GROUP_BYTES_MAX && !records.is_empty() {
                self.put_group(device, std::mem::take(&mut records));
                bytes = 0;
            }
            bytes += state.json.len();
            records.push(Record::of(state));
        }
        self.put_group(device, records);
    }

    fn put_group(&mut self, device: DeviceId, records: Vec<Record>) {
        let lane = self.next.lanes.entry(device).or_default();
        let first = lane.last + 1;
        for record in &records {
            lane.amount.add(record);
        }
        lane.last += records.len() as u64;
        let group = Group { commit: self.next.commit, device, first, records };
        self.groups.insert(group_key(device, first), group.encode());
        self.touched.insert(device);
    }

    /// Removes the oldest groups, whoever's they are, until `incoming` bytes fit. A commit that is larger than the outbox
    /// drives out everything, and is stored.
    pub(super) fn make_room(
        &mut self,
        store: &Store,
        incoming: u64,
        bytes_max: u64,
    ) -> Result<Removed, Error> {
        let mut evicted = Removed::default();
        while self.next.bytes() + incoming > bytes_max {
            let Some(oldest) = store.oldest(&self.next)? else { break };
            let removed = self.remove(store, oldest.device, (1, oldest.last()), Fate::Dropped)?;
            evicted.states += removed.states;
            evicted.readings += removed.readings;
        }
        Ok(evicted)
    }

    /// Lets the states of a device from `first` through `through` go, and counts those that waited.
    pub(super) fn remove(
        &mut self,
        store: &Store,
        device: DeviceId,
        (first, through): (u64, u64),
        fate: Fate,
    ) -> Result<Removed, Error> {
        let mut removed = Removed::default();
        let Some(lane) = self.next.lanes.get_mut(&device) else { return Ok(removed) };
        let through = through.min(lane.last);
        let before = lane.gone.clone();
        if !lane.gone.insert(first, through) {
            return Err(Error::Scattered);
        }
        for group in store.groups_of(device, first.saturating_sub(1))? {
            let group = group?;
            if group.first > through {
                break;
            }
            if lane.gone.covers(group.first, group.last()) {
                self.groups.remove(group_key(device, group.first));
            }
            for (sequence, record) in (group.first..=through).zip(&group.records) {
                if sequence >= first && !before.covers(sequence, sequence) {
                    lane.amount.subtract(record);
                    removed.states += 1;
                    removed.readings += u64::from(record.readings);
                    fate.count(&mut self.next.ledger, record);
                }
            }
        }
        self.touched.insert(device);
        Ok(removed)
    }

    /// Changes notes.
    pub(super) fn note(
        &mut self,
        store: &Store,
        table: &'static str,
        changes: &[NoteChange],
    ) -> Result<(), Error> {
        let mut bytes =
            store.notes(table)?.iter().map(|(key, value)| key.len() + value.len()).sum::<usize>();
        for (key, value) in changes {
            let key = note_key(table, key);
            match value {
                Some(value) if value.len() > NOTE_BYTES_MAX => {
                    return Err(Error::NoteTooLarge(value.len()));
                }
                Some(value) => {
                    bytes += key.len() + value.len();
                    self.notes.insert(key, value.as_slice());
                }
                None => self.notes.remove(key),
            }
        }
        if bytes > NOTES_BYTES_MAX { Err(Error::NotesFull(table)) } else { Ok(()) }
    }
}

impl Record {
    fn of(state: &Pending) -> Self {
        Self {
            bus: state.bus.clone(),
            readings: state.readings,
            priority: state.priority,
            moment: state.moment,
            json: state.json.clone(),
        }
    }
}
