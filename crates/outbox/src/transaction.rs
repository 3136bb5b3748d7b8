//! A change of the outbox before it is written.

use std::collections::BTreeMap;

use super::block::{GROUP_BYTES_MAX, Group, Record};
use super::disk::Disk;
use super::ranges::Ranges;
use super::state::{Change, Device};
use super::{Amount, Error, NOTE_BYTES_MAX, NOTES_BYTES_MAX, NoteChange, Pending, Reject};
use tidegate_model::{Account, DeviceId, Ledger, Name, Reason, WallTime};

/// What is to be written.
#[derive(Debug, Default)]
pub(super) struct Draft {
    pub(super) change: Change,
    pub(super) groups: Vec<Group>,
    /// What goes, for each device.
    pub(super) removed: BTreeMap<Device, Amount>,
    /// What is gone then, for each device of which something goes.
    gone: BTreeMap<Device, Ranges>,
}

/// Why a state leaves the outbox.
#[derive(Debug, Clone, Copy)]
pub(super) enum Fate {
    Stored,
    Rejected(Reason),
    Dropped(Reason),
}

impl Fate {
    fn count(self, account: &mut Account, record: &Record) {
        let count = match self {
            Self::Stored => &mut account.stored,
            Self::Rejected(reason) => account.rejected.entry(reason).or_default(),
            Self::Dropped(reason) => account.dropped.entry(reason).or_default(),
        };
        *count += u64::from(record.readings);
    }
}

impl Draft {
    /// Adds to the ledger.
    pub(super) fn count(&mut self, disk: &Disk, ledger: &Ledger) {
        for (bus, account) in ledger {
            self.account(disk, bus).add(account);
        }
    }

    /// The account of a bus as it will be.
    pub(super) fn account(&mut self, disk: &Disk, bus: &Name) -> &mut Account {
        let now = || disk.state.ledger.get(bus).cloned().unwrap_or_default();
        self.change.ledger.entry(bus.clone()).or_insert_with(now)
    }

    /// Whether a state goes with this draft, or is gone.
    pub(super) fn is_gone(&self, device: DeviceId, sequence: u64) -> bool {
        self.gone.get(device.as_bytes()).is_some_and(|gone| gone.covers(sequence, sequence))
    }

    /// Adds the states of one device, as one group or more.
    pub(super) fn put(&mut self, disk: &Disk, device: DeviceId, states: &[&Pending]) {
        let lane = disk.state.lanes.get(device.as_bytes());
        let before = || lane.map_or((0, 0), |lane| (lane.last, lane.latest_ms));
        let put = self.change.put.get(device.as_bytes()).copied();
        let (mut last, mut latest_ms) = put.unwrap_or_else(before);
        let (mut records, mut bytes) = (Vec::new(), 0);
        let commit = self.change.commit;
        for state in states {
            let is_other = |last: &Record| last.priority != state.priority;
            let is_full = bytes + state.json.len() > GROUP_BYTES_MAX && !records.is_empty();
            if is_full || records.last().is_some_and(is_other) {
                let records = std::mem::take(&mut records);
                let first = last + 1 - records.len() as u64;
                self.groups.push(Group { commit, device, first, records });
                bytes = 0;
            }
            bytes += state.json.len();
            last += 1;
            latest_ms = latest_ms.max(state.moment.wall().map_or(0, WallTime::as_millis));
            records.push(Record::of(state));
        }
        let first = last + 1 - records.len() as u64;
        self.groups.push(Group { commit, device, first, records });
        self.change.put.insert(*device.as_bytes(), (last, latest_ms));
    }

    /// Lets the states of a device from `first` through `through` go, and counts those that waited.
    pub(super) fn remove(
        &mut self,
        disk: &mut Disk,
        device: DeviceId,
        (first, through): (u64, u64),
        fate: Fate,
    ) -> Result<Amount, Error> {
        let mut removed = Amount::default();
        let Some(lane) = disk.state.lanes.get(device.as_bytes()) else { return Ok(removed) };
        let through = through.min(lane.last);
        let before = self.gone.get(device.as_bytes()).unwrap_or(&lane.gone).clone();
        let mut after = before.clone();
        match fate {
            Fate::Dropped(_) => after.merge(first, through),
            Fate::Stored | Fate::Rejected(_) if after.insert(first, through) => {}
            Fate::Stored | Fate::Rejected(_) => return Err(Error::Scattered),
        }
        let touched: Vec<_> =
            disk.index.from(device, first).take_while(|(key, _)| key.1 <= through).collect();
        for (key, spot) in touched {
            let group = disk.group(key, spot)?;
            for (sequence, record) in (group.first..=through).zip(&group.records) {
                if sequence >= first && !before.covers(sequence, sequence) {
                    removed.add(record);
                    fate.count(self.account(disk, &record.bus), record);
                }
            }
        }
        self.change.gone.push((*device.as_bytes(), first.max(1), through));
        self.gone.insert(*device.as_bytes(), after);
        let all = self.removed.entry(*device.as_bytes()).or_default();
        *all = all.plus(removed);
        Ok(removed)
    }

    /// Makes states of rejects again, so that they wait once more, and no longer counts them as rejected.
    pub(super) fn requeue(&mut self, disk: &Disk, rejects: Vec<Reject>) {
        let mut devices: BTreeMap<DeviceId, Vec<Pending>> = BTreeMap::new();
        for reject in rejects {
            let account = self.account(disk, &reject.bus);
            let counted = account.rejected.entry(reject.reason).or_default();
            *counted = counted.saturating_sub(u64::from(reject.readings));
            self.change.rejects_gone.push(reject.number);
            devices.entry(reject.device).or_default().push(reject.into());
        }
        for (device, states) in devices {
            self.put(disk, device, &states.iter().collect::<Vec<_>>());
        }
    }

    /// Changes notes of a table.
    pub(super) fn note(
        &mut self,
        disk: &Disk,
        table: &'static str,
        changes: &[NoteChange],
    ) -> Result<(), Error> {
        let now = disk.state.notes.get(table);
        let mut bytes = disk.state.notes_bytes(table);
        for (key, value) in changes {
            if let Some(before) = now.and_then(|notes| notes.get(key)) {
                bytes = bytes.saturating_sub(key.len() + before.len());
            }
            if let Some(value) = value {
                if value.len() > NOTE_BYTES_MAX {
                    return Err(Error::NoteTooLarge(value.len()));
                }
                bytes += key.len() + value.len();
            }
            self.change.notes.push((table.to_owned(), key.clone(), value.clone()));
        }
        if bytes > NOTES_BYTES_MAX { Err(Error::NotesFull(table)) } else { Ok(()) }
    }
}

impl Record {
    /// The state that it was made of.
    pub(super) fn pending(self, device: DeviceId) -> Pending {
        let Self { bus, readings, priority, moment, json } = self;
        Pending { device, bus, moment, priority, readings, json }
    }

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
