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

mod draft;
mod error;
mod group;
mod recover;
mod store;
#[cfg(test)]
mod tests;
mod types;

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::{Mutex, MutexGuard, PoisonError};

use sled::Transactional as _;

pub use error::{Error, OpenError};
pub use types::{Amount, Backlog, Commit, Entry, Options, Pending, Reject, Removed};

use crate::model::{DeviceId, Ledger, Name, Origin, Timestamp};
use draft::{Draft, Fate};
use group::Group;
use store::{Store, number};

/// How many states that the cloud refused are kept; the oldest go first.
pub const REJECTS_MAX: usize = 1_000;

/// How many damaged groups are set aside; more are only counted.
const DAMAGED_MAX: usize = 100;

const LEDGER_KEY: &str = "ledger";
const COMMIT_KEY: &str = "commit";

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

/// The queue of one device. Its numbers are stored with the groups, its amount is counted afresh at each start.
#[derive(Debug, Clone, Copy, Default)]
struct Lane {
    /// All up to this number is gone.
    cursor: u64,
    /// The last number that was given.
    last: u64,
    /// The latest time of any state that was put here, in milliseconds since the Unix epoch.
    latest_ms: i64,
    amount: Amount,
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
        let mut draft = Draft::of(&inner);
        for (bus, account) in &commit.ledger {
            draft.next.ledger.entry(bus.clone()).or_default().add(account);
        }
        let incoming: u64 = commit.states.iter().map(|state| state.json.len() as u64).sum();
        let evicted = self.make_room(incoming, &mut draft)?;
        draft.next.commit += 1;
        for (device, states) in by_device(&commit.states) {
            draft.put(device, &states);
        }
        for (bus, origins) in &commit.origins {
            draft.meta.insert(origins_key(bus).as_bytes(), pack(origins));
        }
        let next = self.write(draft)?;
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
        let mut draft = Draft::of(&inner);
        let removed = self.remove(device, through, &mut draft, Fate::Stored)?;
        *inner = self.write(draft)?;
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
        let mut draft = Draft::of(&inner);
        self.remove(device, sequence, &mut draft, Fate::Rejected)?;
        let reject = Reject {
            device: device.to_string(),
            why: why.to_owned(),
            time: time.to_string(),
            state: String::from_utf8_lossy(&entry.json).into_owned(),
        };
        let key = self.store.rejects.last()?.map_or(1, |(key, _)| number(&key) + 1);
        draft.rejects.insert(&key.to_be_bytes(), serde_json::to_vec(&reject).unwrap_or_default());
        if let (true, Some((first, _))) =
            (self.store.rejects.len() >= REJECTS_MAX, self.store.rejects.first()?)
        {
            draft.rejects.remove(first);
        }
        *inner = self.write(draft)?;
        self.store.sync()
    }

    /// How much waits.
    pub fn backlog(&self) -> Backlog {
        let inner = self.inner();
        let devices: BTreeMap<_, _> =
            inner.lanes.iter().map(|(device, lane)| (*device, lane.amount)).collect();
        let total = devices.values().fold(Amount::default(), |total, amount| total.plus(*amount));
        Backlog { total, devices }
    }

    /// The latest time that each device ever had a state of here.
    pub fn latest(&self) -> BTreeMap<DeviceId, Timestamp> {
        let inner = self.inner();
        let latest = |lane: &Lane| Timestamp::from_millis(lane.latest_ms);
        inner.lanes.iter().map(|(device, lane)| (*device, latest(lane))).collect()
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

    /// Writes a draft, all of it or nothing, and returns what the outbox is then.
    fn write(&self, draft: Draft) -> Result<Inner, Error> {
        let Draft { next, groups, mut meta, rejects } = draft;
        for (device, lane) in &next.lanes {
            meta.insert(lane_key(*device), lane.encode());
        }
        meta.insert(COMMIT_KEY, &next.commit.to_be_bytes());
        meta.insert(LEDGER_KEY, serde_json::to_vec(&next.ledger).unwrap_or_default());
        let trees = (&self.store.groups, &self.store.meta, &self.store.rejects);
        trees.transaction(|(group_tree, meta_tree, reject_tree)| {
            group_tree.apply_batch(&groups)?;
            meta_tree.apply_batch(&meta)?;
            reject_tree.apply_batch(&rejects)?;
            Ok(())
        })?;
        Ok(next)
    }

    /// Removes the oldest groups, whoever's they are, until `incoming` bytes fit.
    fn make_room(&self, incoming: u64, draft: &mut Draft) -> Result<Removed, Error> {
        let mut evicted = Removed::default();
        while draft.next.bytes() > 0 && draft.next.bytes() + incoming > self.options.bytes_max {
            let mut oldest: Option<Group> = None;
            for (device, lane) in draft.next.lanes.iter().filter(|(_, lane)| lane.amount.states > 0)
            {
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
            let removed = self.remove(oldest.device, oldest.last(), draft, Fate::Dropped)?;
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
        draft: &mut Draft,
        fate: Fate,
    ) -> Result<Removed, Error> {
        let Some(lane) = draft.next.lanes.get_mut(&device) else { return Ok(Removed::default()) };
        let mut removed = Removed::default();
        for group in self.groups_of(device) {
            let group = group?;
            if group.first > through {
                break;
            }
            if group.last() <= through {
                draft.groups.remove(group_key(device, group.first));
            }
            for (sequence, record) in (group.first..=through).zip(&group.records) {
                if sequence > lane.cursor {
                    lane.amount.subtract(record);
                    removed.states += 1;
                    removed.readings += u64::from(record.readings);
                    fate.count(&mut draft.next.ledger, record);
                }
            }
        }
        lane.cursor = lane.cursor.max(through.min(lane.last));
        Ok(removed)
    }
}

impl Lane {
    fn encode(&self) -> Vec<u8> {
        [self.cursor.to_be_bytes(), self.last.to_be_bytes(), self.latest_ms.to_be_bytes()].concat()
    }

    fn decode(bytes: &[u8]) -> Option<Self> {
        let (cursor, rest) = bytes.split_first_chunk()?;
        let (last, rest) = rest.split_first_chunk()?;
        let latest = rest.first_chunk()?;
        Some(Self {
            cursor: u64::from_be_bytes(*cursor),
            last: u64::from_be_bytes(*last),
            latest_ms: i64::from_be_bytes(*latest),
            amount: Amount::default(),
        })
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
