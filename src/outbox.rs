//! The outbox: where every state waits until the cloud has it.
//!
//! It is a blocking module over sled. What one commit brings for one device is stored as one *group*, a self-describing value
//! with a checksum, under the device and the first sequence number. Sequence numbers of a device start at 1 and never
//! repeat. What is acknowledged is a cursor; a group goes when all of it is.
//!
//! Invariants:
//! - when [`Outbox::append`] returns, the commit is on the disk: sled is flushed and its file is synced;
//! - a commit is there wholly or not at all, with its part of the ledger and its origins;
//! - the ledger and what waits agree: for each bus `received = waiting + stored + rejected + dropped`;
//! - memory does not grow with what waits: only counts are kept.
//!
//! An acknowledgement is not synced by itself. If a power cut takes it, states are sent again, with the same bytes.

mod error;
mod group;
mod store;

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::{Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use sled::Transactional as _;

pub use error::{Error, OpenError};

use crate::model::{DeviceId, Ledger, Name, Origin, Reason, Timestamp};
use group::{Group, Record};
use store::{Store, number};

/// How many states that the cloud refused are kept; the oldest go first.
pub const REJECTS_MAX: usize = 1_000;

/// How many damaged groups are set aside; more are only counted.
const DAMAGED_MAX: usize = 100;

const LEDGER_KEY: &str = "ledger";
const COMMIT_KEY: &str = "commit";

/// What an outbox is set to.
#[derive(Debug, Clone, Copy)]
pub struct Options {
    /// The most bytes of states; when an append would go over it, the oldest groups are dropped and counted.
    pub bytes_max: u64,
    /// sled's cache in bytes.
    pub cache_bytes: u64,
}

/// What one commit brings.
#[derive(Debug, Clone, Default)]
pub struct Commit {
    /// The states, in order.
    pub states: Vec<Pending>,
    /// What to add to the ledger.
    pub ledger: Ledger,
    /// The origins of each bus, which replace the earlier ones.
    pub origins: BTreeMap<Name, Vec<Origin>>,
}

/// A state that is to be stored.
#[derive(Debug, Clone)]
pub struct Pending {
    /// Whose state it is.
    pub device: DeviceId,
    /// Where it came from.
    pub bus: Name,
    /// How many values it has.
    pub readings: u16,
    /// The state exactly as it will be sent.
    pub json: Bytes,
}

/// A state that waits.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// Its place among the states of its device.
    pub sequence: u64,
    /// How many values it has.
    pub readings: u16,
    /// The state exactly as it will be sent.
    pub json: Bytes,
}

/// A state that the cloud refused.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Reject {
    /// Whose state it is.
    pub device: String,
    /// The server's words.
    pub why: String,
    /// When it was refused, ISO 8601.
    pub time: String,
    /// The state.
    pub state: String,
}

/// What left the outbox.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Removed {
    /// States.
    pub states: u64,
    /// Readings in them.
    pub readings: u64,
}

/// How much waits.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Amount {
    /// States.
    pub states: u64,
    /// Readings in them.
    pub readings: u64,
    /// Bytes of their JSON.
    pub bytes: u64,
}

/// How much waits, in all and for each device.
#[derive(Debug, Clone, Default)]
pub struct Backlog {
    /// In all.
    pub total: Amount,
    /// For each device that ever had a state here.
    pub devices: BTreeMap<DeviceId, Amount>,
}

/// The outbox. Share it behind an `Arc`; its methods block on the disk.
#[derive(Debug)]
pub struct Outbox {
    store: Store,
    options: Options,
    inner: Mutex<Inner>,
}

/// What is kept in memory.
#[derive(Debug, Clone, Default)]
struct Inner {
    lanes: BTreeMap<DeviceId, Lane>,
    ledger: Ledger,
    commit: u64,
}

/// The queue of one device.
#[derive(Debug, Clone, Copy, Default)]
struct Lane {
    /// All up to this number is gone.
    cursor: u64,
    /// The last number that was given.
    last: u64,
    amount: Amount,
}

/// A change of the store that is not written yet.
#[derive(Default)]
struct Change {
    groups: sled::Batch,
    meta: sled::Batch,
    rejects: sled::Batch,
}

impl Outbox {
    /// Opens the outbox in the directory `path`, which is created if it is not there.
    ///
    /// A group that cannot be understood is set aside and counted as dropped.
    ///
    /// # Errors
    /// When another process has it open, the directory cannot be used, or the store is damaged or newer than we are.
    pub fn open(path: &Path, options: Options) -> Result<Self, OpenError> {
        let store = Store::open(path, &options)?;
        let inner = Mutex::default();
        let outbox = Self { store, options, inner };
        outbox.recover().map_err(|error| OpenError::Damaged(error.to_string()))?;
        Ok(outbox)
    }

    /// Brings a commit to the disk; it is there for good when this returns. Tells what had to go for it.
    ///
    /// # Errors
    /// When the disk is full or broken. Nothing is counted then, and the same commit can be tried again.
    pub fn append(&self, commit: &Commit) -> Result<Removed, Error> {
        let mut inner = self.inner();
        let mut next = inner.clone();
        let mut change = Change::default();
        for (bus, account) in &commit.ledger {
            next.ledger.entry(bus.clone()).or_default().add(account);
        }
        let incoming: u64 = commit.states.iter().map(|state| state.json.len() as u64).sum();
        let evicted = self.make_room(incoming, &mut next, &mut change)?;
        next.commit += 1;
        for (device, states) in by_device(&commit.states) {
            next.put(device, &states, &mut change);
        }
        for (bus, origins) in &commit.origins {
            change.meta.insert(origins_key(bus).as_bytes(), pack(origins));
        }
        change.meta.insert(COMMIT_KEY, &next.commit.to_be_bytes());
        self.write(&next, change)?;
        if !commit.states.is_empty() {
            self.store.sync()?;
        }
        *inner = next;
        Ok(evicted)
    }

    /// The oldest states of a device: at most `states_max`, and at most `bytes_max` bytes counting one more for each; but at
    /// least one, if there is any.
    pub fn peek(
        &self,
        device: DeviceId,
        states_max: usize,
        bytes_max: usize,
    ) -> Result<Vec<Entry>, Error> {
        let cursor = self.inner().lanes.get(&device).map_or(0, |lane| lane.cursor);
        let (mut entries, mut bytes) = (Vec::new(), 0);
        for group in self.groups_of(device) {
            let group = group?;
            for (sequence, record) in
                (group.first..).zip(group.records).filter(|(sequence, _)| *sequence > cursor)
            {
                bytes += record.json.len() + 1;
                let is_full = entries.len() >= states_max || bytes > bytes_max;
                if is_full && !entries.is_empty() {
                    return Ok(entries);
                }
                entries.push(Entry { sequence, readings: record.readings, json: record.json });
            }
        }
        Ok(entries)
    }

    /// Removes the states of a device up to and including `through`: the cloud has them.
    pub fn ack(&self, device: DeviceId, through: u64) -> Result<Removed, Error> {
        let mut inner = self.inner();
        let (mut next, mut change) = (inner.clone(), Change::default());
        let removed = self.remove(device, through, &mut next, &mut change, Fate::Stored)?;
        self.write(&next, change)?;
        *inner = next;
        Ok(removed)
    }

    /// Moves the oldest state of a device to the rejects, with the server's words.
    ///
    /// # Errors
    /// [`Error::NotOldest`] if `sequence` is not the oldest.
    pub fn reject(
        &self,
        device: DeviceId,
        sequence: u64,
        why: &str,
        time: Timestamp,
    ) -> Result<(), Error> {
        let oldest = self.peek(device, 1, usize::MAX)?.into_iter().next();
        let entry =
            oldest.filter(|entry| entry.sequence == sequence).ok_or(Error::NotOldest(sequence))?;
        let mut inner = self.inner();
        let (mut next, mut change) = (inner.clone(), Change::default());
        self.remove(device, sequence, &mut next, &mut change, Fate::Rejected)?;
        let reject = Reject {
            device: device.to_string(),
            why: why.to_owned(),
            time: time.to_string(),
            state: String::from_utf8_lossy(&entry.json).into_owned(),
        };
        let key = self.store.rejects.last()?.map_or(1, |(key, _)| number(&key) + 1);
        change.rejects.insert(&key.to_be_bytes(), serde_json::to_vec(&reject).unwrap_or_default());
        if let (true, Some((first, _))) =
            (self.store.rejects.len() >= REJECTS_MAX, self.store.rejects.first()?)
        {
            change.rejects.remove(first);
        }
        self.write(&next, change)?;
        self.store.sync()?;
        *inner = next;
        Ok(())
    }

    /// How much waits.
    pub fn backlog(&self) -> Backlog {
        let inner = self.inner();
        let devices: BTreeMap<_, _> =
            inner.lanes.iter().map(|(device, lane)| (*device, lane.amount)).collect();
        let total = devices.values().fold(Amount::default(), |total, amount| total.plus(*amount));
        Backlog { total, devices }
    }

    /// What became of all readings.
    pub fn ledger(&self) -> Ledger {
        self.inner().ledger.clone()
    }

    /// The origins that the last commit left for a bus, oldest first.
    pub fn origins(&self, bus: &Name) -> Vec<Origin> {
        let stored = self.store.meta.get(origins_key(bus)).ok().flatten();
        stored.map(|bytes| unpack(&bytes)).unwrap_or_default()
    }

    /// The states that the cloud refused, newest first.
    pub fn rejects(&self, limit: usize) -> Result<Vec<Reject>, Error> {
        let newest = self.store.rejects.iter().values().rev().take(limit);
        newest
            .map(|value| Ok(serde_json::from_slice(&value?).ok()))
            .filter_map(Result::transpose)
            .collect()
    }

    /// Brings everything to the disk, acknowledgements too.
    pub fn flush(&self) -> Result<(), Error> {
        self.store.sync()
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The groups of a device, oldest first.
    fn groups_of(&self, device: DeviceId) -> impl Iterator<Item = Result<Group, Error>> {
        let groups = self.store.groups.scan_prefix(device.as_bytes());
        groups.filter_map(|item| match item {
            // What cannot be decoded was set aside when the outbox was opened.
            Ok((_, value)) => Group::decode(&value).ok().map(Ok),
            Err(error) => Some(Err(error.into())),
        })
    }

    /// Writes a change, all of it or nothing, with the ledger of `next`.
    fn write(&self, next: &Inner, mut change: Change) -> Result<(), Error> {
        for (device, lane) in &next.lanes {
            let mut value = [0; 16];
            let (cursor, last) = value.split_at_mut(8);
            cursor.copy_from_slice(&lane.cursor.to_be_bytes());
            last.copy_from_slice(&lane.last.to_be_bytes());
            change.meta.insert(lane_key(*device), &value);
        }
        change.meta.insert(LEDGER_KEY, serde_json::to_vec(&next.ledger).unwrap_or_default());
        let Store { groups, meta, rejects, .. } = &self.store;
        (groups, meta, rejects).transaction(|(groups, meta, rejects)| {
            groups.apply_batch(&change.groups)?;
            meta.apply_batch(&change.meta)?;
            rejects.apply_batch(&change.rejects)?;
            Ok(())
        })?;
        Ok(())
    }

    /// Removes the oldest groups, whoever's they are, until `incoming` bytes fit.
    fn make_room(
        &self,
        incoming: u64,
        next: &mut Inner,
        change: &mut Change,
    ) -> Result<Removed, Error> {
        let mut evicted = Removed::default();
        while next.bytes() > 0 && next.bytes() + incoming > self.options.bytes_max {
            let mut oldest: Option<Group> = None;
            for (device, lane) in next.lanes.iter().filter(|(_, lane)| lane.amount.states > 0) {
                let group = self.groups_of(*device).find(|group| match group {
                    Ok(group) => group.last() > lane.cursor,
                    Err(_) => true,
                });
                let Some(group) = group.transpose()? else { continue };
                if oldest.as_ref().is_none_or(|oldest| group.commit < oldest.commit) {
                    oldest = Some(group);
                }
            }
            let Some(oldest) = oldest else { break };
            let removed = self.remove(oldest.device, oldest.last(), next, change, Fate::Dropped)?;
            evicted.states += removed.states;
            evicted.readings += removed.readings;
        }
        Ok(evicted)
    }

    /// Moves a device's cursor to `through` and counts what it passes.
    fn remove(
        &self,
        device: DeviceId,
        through: u64,
        next: &mut Inner,
        change: &mut Change,
        fate: Fate,
    ) -> Result<Removed, Error> {
        let Some(lane) = next.lanes.get_mut(&device) else { return Ok(Removed::default()) };
        let mut removed = Removed::default();
        for group in self.groups_of(device) {
            let group = group?;
            if group.first > through {
                break;
            }
            if group.last() <= through {
                change.groups.remove(group_key(device, group.first));
            }
            for (sequence, record) in (group.first..=through).zip(&group.records) {
                if sequence > lane.cursor {
                    lane.amount.subtract(record);
                    removed.states += 1;
                    removed.readings += u64::from(record.readings);
                    fate.count(&mut next.ledger, record);
                }
            }
        }
        lane.cursor = lane.cursor.max(through.min(lane.last));
        Ok(removed)
    }
}

/// Why a state leaves the outbox.
#[derive(Debug, Clone, Copy)]
enum Fate {
    Stored,
    Rejected,
    Dropped,
}

impl Fate {
    fn count(self, ledger: &mut Ledger, record: &Record) {
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
    fn bytes(&self) -> u64 {
        self.lanes.values().map(|lane| lane.amount.bytes).sum()
    }

    /// Adds the states of one device as one group.
    fn put(&mut self, device: DeviceId, states: &[&Pending], change: &mut Change) {
        let lane = self.lanes.entry(device).or_default();
        let first = lane.last + 1;
        let record = |state: &&Pending| Record {
            bus: state.bus.clone(),
            readings: state.readings,
            json: state.json.clone(),
        };
        let records: Vec<_> = states.iter().map(record).collect();
        for record in &records {
            lane.amount.add(record);
        }
        lane.last += records.len() as u64;
        let group = Group { commit: self.commit, device, first, records };
        change.groups.insert(group_key(device, first), group.encode());
    }
}

impl Amount {
    fn plus(self, other: Self) -> Self {
        Self {
            states: self.states + other.states,
            readings: self.readings + other.readings,
            bytes: self.bytes + other.bytes,
        }
    }

    fn add(&mut self, record: &Record) {
        self.states += 1;
        self.readings += u64::from(record.readings);
        self.bytes += record.json.len() as u64;
    }

    fn subtract(&mut self, record: &Record) {
        self.states = self.states.saturating_sub(1);
        self.readings = self.readings.saturating_sub(u64::from(record.readings));
        self.bytes = self.bytes.saturating_sub(record.json.len() as u64);
    }
}

fn by_device(states: &[Pending]) -> BTreeMap<DeviceId, Vec<&Pending>> {
    let mut devices: BTreeMap<_, Vec<_>> = BTreeMap::new();
    for state in states {
        devices.entry(state.device).or_default().push(state);
    }
    devices
}

fn group_key(device: DeviceId, first: u64) -> Vec<u8> {
    [device.as_bytes().as_slice(), &first.to_be_bytes()].concat()
}

fn lane_key(device: DeviceId) -> Vec<u8> {
    [b"lane/".as_slice(), device.as_bytes()].concat()
}

fn origins_key(bus: &Name) -> String {
    format!("origins/{bus}")
}

/// Six bytes an origin.
fn pack(origins: &[Origin]) -> Vec<u8> {
    origins
        .iter()
        .flat_map(|one| [&one.packet_id.to_be_bytes()[..], &one.digest.to_be_bytes()].concat())
        .collect()
}

fn unpack(bytes: &[u8]) -> Vec<Origin> {
    let origin = |bytes: &[u8]| {
        let (packet_id, digest) = bytes.split_first_chunk()?;
        let digest = digest.first_chunk()?;
        Some(Origin {
            packet_id: u16::from_be_bytes(*packet_id),
            digest: u32::from_be_bytes(*digest),
        })
    };
    bytes.chunks_exact(6).filter_map(origin).collect()
}

mod recover {
    //! What is done when an outbox is opened.

    use super::{
        Amount, COMMIT_KEY, DAMAGED_MAX, DeviceId, Error, Group, Inner, LEDGER_KEY, Lane, Name,
        Outbox, Reason, Store, number,
    };

    impl Outbox {
        /// Counts what is there, and sets aside what cannot be understood.
        pub(super) fn recover(&self) -> Result<(), Error> {
            let Store { groups, meta, damaged, .. } = &self.store;
            let mut inner = Inner {
                ledger: meta
                    .get(LEDGER_KEY)?
                    .and_then(|bytes| serde_json::from_slice(&bytes).ok())
                    .unwrap_or_default(),
                commit: meta.get(COMMIT_KEY)?.map_or(0, |bytes| number(&bytes)),
                ..Inner::default()
            };
            for item in meta.scan_prefix(b"lane/") {
                let (key, value) = item?;
                let device: Option<&[u8; 12]> = key.last_chunk();
                let (cursor, last) = (number(&value), value.get(8..).map_or(0, number));
                if let Some(device) = device {
                    let lane = Lane { cursor, last, amount: Amount::default() };
                    inner.lanes.insert(DeviceId::from(*device), lane);
                }
            }
            for item in groups.iter() {
                let (key, value) = item?;
                let Ok(group) = Group::decode(&value) else {
                    if damaged.len() < DAMAGED_MAX {
                        damaged.insert(&key, &value)?;
                    }
                    groups.remove(&key)?;
                    continue;
                };
                let lane = inner.lanes.entry(group.device).or_default();
                lane.last = lane.last.max(group.last());
                for (sequence, record) in (group.first..).zip(&group.records) {
                    if sequence > lane.cursor {
                        lane.amount.add(record);
                    }
                }
            }
            inner.count_damage();
            *self.inner() = inner;
            Ok(())
        }
    }

    impl Inner {
        /// Readings that the ledger expects here and that are not here were damaged. Which bus they came from is only known
        /// from the ledger itself: each bus's part of the store is counted afresh at the next step of the outbox.
        fn count_damage(&mut self) {
            let waiting: u64 = self.lanes.values().map(|lane| lane.amount.readings).sum();
            let expected: u64 = self.ledger.values().map(crate::model::Account::waiting).sum();
            let mut missing = expected.saturating_sub(waiting);
            let buses: Vec<Name> = self.ledger.keys().cloned().collect();
            for bus in buses {
                let Some(account) = self.ledger.get_mut(&bus) else { continue };
                let lost = account.waiting().min(missing);
                if lost > 0 {
                    *account.dropped.entry(Reason::Damaged).or_default() += lost;
                    missing -= lost;
                }
            }
        }
    }
}
