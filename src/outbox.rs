//! The outbox: where every state waits until the cloud has it.
//!
//! It is a blocking module over sled. What one commit brings for one device is stored in *groups*, self-describing values
//! with a checksum, under the device and the first sequence number. Sequence numbers of a device start at 1 and never
//! repeat. What is acknowledged is a cursor; a group goes when all of it is.
//!
//! Invariants:
//! - when [`Outbox::append`] returns, the commit is on the disk: sled is flushed and its file is synced;
//! - a commit is there wholly or not at all, with its part of the ledger and its origins;
//! - the ledger and what waits agree: for each bus `received + derived = waiting + stored + rejected + dropped + condensed`;
//! - memory does not grow with what waits: only counts are kept;
//! - one change at a time, and none after one that failed half-way; the counts are read without waiting for the disk.
//!
//! An acknowledgement is not synced by itself. If a power cut takes it, states are sent again, with the same bytes.

mod draft;
mod error;
mod group;
mod queue;
mod ranges;
mod recover;
mod store;
#[cfg(test)]
mod tests;
mod types;

use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::sync::{Mutex, MutexGuard, PoisonError};

use sled::Transactional as _;

pub use error::{Error, OpenError};
pub use ranges::INTERVALS_MAX;
pub use types::{
    Amount, Backlog, Commit, Entry, Note, NoteChange, Options, Pending, Priority, Reject, Removed,
};

use crate::model::{DeviceId, Ledger, Name, Origin, Reason, Timestamp};
use draft::{Draft, Fate};
use queue::{lane_key, origins_key, pack, unpack};
use ranges::Ranges;
use recover::recover;
use store::{Store, number};

/// How many states that the cloud refused are kept; the oldest go first.
pub const REJECTS_MAX: usize = 1_000;

/// The largest note, in bytes.
pub const NOTE_BYTES_MAX: usize = 64 * 1024;

/// The most bytes that the notes of one table take.
pub const NOTES_BYTES_MAX: usize = 16 << 20;

/// How many damaged groups are set aside; more are only counted.
const DAMAGED_MAX: usize = 100;

/// How much of the cloud's words about a refused state is kept, in characters.
const WHY_CHARS_MAX: usize = 1_000;

const LEDGER_KEY: &str = "ledger";
const COMMIT_KEY: &str = "commit";

/// The outbox. Share it behind an `Arc`; its methods block on the disk.
#[derive(Debug)]
pub struct Outbox {
    store: Store,
    options: Options,
    /// Held by whoever changes the store, while it waits for the disk.
    turn: Mutex<Turn>,
    /// Held for moments only.
    inner: Mutex<Inner>,
}

/// The right to change the store.
#[derive(Debug, Default)]
struct Turn {
    /// A change failed half-way.
    is_broken: bool,
}

/// What is kept in memory.
#[derive(Debug, Clone, Default)]
struct Inner {
    lanes: BTreeMap<DeviceId, Lane>,
    ledger: Ledger,
    commit: u64,
}

/// The queue of one device. Its ranges are stored with the groups, its amount is counted afresh at each start.
#[derive(Debug, Clone, Default)]
struct Lane {
    /// What is gone: acknowledged, rejected or dropped.
    gone: Ranges,
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
        // A damaged file can make sled panic, when it is opened and when it is read.
        let opened = catch_unwind(AssertUnwindSafe(|| {
            let store = Store::open(path, &options)?;
            let inner = recover(&store).map_err(|error| OpenError::Damaged(error.to_string()))?;
            Ok((store, Mutex::new(inner)))
        }));
        let damaged = |_| OpenError::Damaged("sled cannot read it".to_owned());
        let (store, inner) = opened.map_err(damaged)??;
        Ok(Self { store, options, turn: Mutex::default(), inner })
    }

    /// Brings a commit to the disk; it is there for good when this returns. Tells what had to go for it.
    ///
    /// A commit without states and notes is not synced by itself: it only counts.
    ///
    /// # Errors
    /// When the disk is full or broken. What was to be stored must be tried again, after the outbox was opened again.
    pub fn append(&self, commit: &Commit) -> Result<Removed, Error> {
        let is_durable = !commit.states.is_empty() || !commit.notes.is_empty();
        self.change(is_durable, |draft| {
            for (bus, account) in &commit.ledger {
                draft.next.ledger.entry(bus.clone()).or_default().add(account);
            }
            let incoming = commit.states.iter().map(|state| state.json.len() as u64).sum();
            let evicted = draft.make_room(&self.store, incoming, self.options.bytes_max)?;
            draft.next.commit += 1;
            for (device, states) in by_device(&commit.states) {
                draft.put(device, &states);
            }
            for (bus, origins) in &commit.origins {
                draft.meta.insert(origins_key(bus).as_bytes(), pack(origins));
            }
            for (table, changes) in &commit.notes {
                draft.note(&self.store, table, changes)?;
            }
            Ok(evicted)
        })
    }

    /// The oldest states of a device with sequence numbers above `after`, 0 for all: at most `states_max`, and at most `bytes_max` bytes counting one more for each; but at
    /// least one, if there is any.
    pub fn peek(
        &self,
        device: DeviceId,
        after: u64,
        states_max: usize,
        bytes_max: usize,
    ) -> Result<Vec<Entry>, Error> {
        let lane = self.inner().lanes.get(&device).cloned().unwrap_or_default();
        self.store.read(device, &lane, after, (states_max, bytes_max))
    }

    /// Removes the states of a device from `first` through `through`, both included: the cloud has them. They need not be the
    /// oldest. Those among them that are gone already are not counted again.
    ///
    /// # Errors
    /// When the store fails or the range cannot be kept; the states must then be expected to be sent again.
    pub fn ack(&self, device: DeviceId, first: u64, through: u64) -> Result<Removed, Error> {
        self.change(false, |draft| {
            draft.remove(&self.store, device, (first, through), Fate::Stored)
        })
    }

    /// Moves a state that waits to the rejects, with the server's words.
    ///
    /// # Errors
    /// [`Error::NotWaiting`] if there is no such state; nothing is changed then.
    pub fn reject(
        &self,
        device: DeviceId,
        sequence: u64,
        why: &str,
        time: Timestamp,
    ) -> Result<(), Error> {
        self.put_aside(device, sequence, (Reason::RefusedByCloud, why), time)
    }

    /// Moves a state that waits to the rejects, because the cloud would silently ignore it for its time.
    ///
    /// # Errors
    /// As [`Outbox::reject`].
    pub fn quarantine(
        &self,
        device: DeviceId,
        sequence: u64,
        why: &str,
        time: Timestamp,
    ) -> Result<(), Error> {
        self.put_aside(device, sequence, (Reason::TimeRefused, why), time)
    }

    fn put_aside(
        &self,
        device: DeviceId,
        sequence: u64,
        (reason, why): (Reason, &str),
        time: Timestamp,
    ) -> Result<(), Error> {
        self.change(true, |draft| {
            let lane = draft.next.lanes.get(&device).cloned().unwrap_or_default();
            let found = self.store.find(device, &lane, sequence)?;
            let record = found.ok_or(Error::NotWaiting(sequence))?;
            draft.remove(&self.store, device, (sequence, sequence), Fate::Rejected(reason))?;
            let reject = Reject {
                device: device.to_string(),
                bus: record.bus,
                readings: record.readings,
                reason,
                why: why.chars().take(WHY_CHARS_MAX).collect(),
                time: time.to_string(),
                state: String::from_utf8_lossy(&record.json).into_owned(),
            };
            self.keep(&reject, draft)
        })
    }

    /// Changes the notes of a table; they are on the disk for good when this returns. Other modules keep here what must survive.
    ///
    /// # Errors
    /// When the disk is full or broken, a note is larger than [`NOTE_BYTES_MAX`] or the table larger than [`NOTES_BYTES_MAX`];
    /// then nothing is changed.
    pub fn note(&self, table: &'static str, changes: &[NoteChange]) -> Result<(), Error> {
        self.change(true, |draft| draft.note(&self.store, table, changes))
    }

    /// The notes of a table, in the order of their keys.
    ///
    /// # Errors
    /// When the store fails.
    pub fn notes(&self, table: &'static str) -> Result<Vec<Note>, Error> {
        self.store.notes(table)
    }

    /// How much waits.
    pub fn backlog(&self) -> Backlog {
        let inner = self.inner();
        let devices: BTreeMap<_, _> =
            inner.lanes.iter().map(|(device, lane)| (*device, lane.amount)).collect();
        let total = devices.values().fold(Amount::default(), |total, amount| total.plus(*amount));
        let last = inner.lanes.iter().map(|(device, lane)| (*device, lane.last)).collect();
        Backlog { total, devices, last }
    }

    /// The latest time of day that each device ever had a state of here; none where no time was known.
    pub fn latest(&self) -> BTreeMap<DeviceId, Timestamp> {
        let inner = self.inner();
        let latest = |lane: &Lane| Timestamp::from_millis(lane.latest_ms);
        let timed = inner.lanes.iter().filter(|(_, lane)| lane.latest_ms > 0);
        timed.map(|(device, lane)| (*device, latest(lane))).collect()
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
        let mut turn = self.turn()?;
        self.store.sync().inspect_err(|_| turn.is_broken = true)
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits for the turn. Whoever panicked in it left a change half-way.
    fn turn(&self) -> Result<MutexGuard<'_, Turn>, Error> {
        self.turn.lock().ok().filter(|turn| !turn.is_broken).ok_or(Error::Broken)
    }

    /// Lets `make` draft a change, writes it, all of it or nothing, and syncs it if it `is_durable`.
    ///
    /// After a failed write or sync the store and the memory need not agree any more, and a second fdatasync would succeed
    /// though the first lost pages; so there is no further change.
    fn change<T>(
        &self,
        is_durable: bool,
        make: impl FnOnce(&mut Draft) -> Result<T, Error>,
    ) -> Result<T, Error> {
        let mut turn = self.turn()?;
        let mut draft = Draft::of(&self.inner());
        let made = make(&mut draft)?;
        let written = self.write(draft).and_then(|next| {
            if is_durable {
                self.store.sync()?;
            }
            Ok(next)
        });
        *self.inner() = written.inspect_err(|_| turn.is_broken = true)?;
        Ok(made)
    }

    /// Adds to the rejects; the oldest makes room.
    fn keep(&self, reject: &Reject, draft: &mut Draft) -> Result<(), Error> {
        let rejects = &self.store.rejects;
        let key = rejects.last()?.map_or(1, |(key, _)| number(&key) + 1);
        draft.rejects.insert(&key.to_be_bytes(), serde_json::to_vec(reject).unwrap_or_default());
        if let (true, Some((first, _))) = (rejects.len() >= REJECTS_MAX, rejects.first()?) {
            draft.rejects.remove(first);
        }
        Ok(())
    }

    /// Writes a draft, all of it or nothing, and returns what the outbox is then.
    fn write(&self, draft: Draft) -> Result<Inner, Error> {
        let Draft { next, touched, groups, mut meta, rejects, notes } = draft;
        for (device, lane) in next.lanes.iter().filter(|(device, _)| touched.contains(device)) {
            meta.insert(lane_key(*device), lane.encode());
        }
        meta.insert(COMMIT_KEY, &next.commit.to_be_bytes());
        meta.insert(LEDGER_KEY, serde_json::to_vec(&next.ledger).unwrap_or_default());
        let trees = (&self.store.groups, &self.store.meta, &self.store.rejects, &self.store.notes);
        trees.transaction(|(group_tree, meta_tree, reject_tree, note_tree)| {
            group_tree.apply_batch(&groups)?;
            meta_tree.apply_batch(&meta)?;
            reject_tree.apply_batch(&rejects)?;
            note_tree.apply_batch(&notes)?;
            Ok(())
        })?;
        Ok(next)
    }
}

fn by_device(states: &[Pending]) -> BTreeMap<DeviceId, Vec<&Pending>> {
    let mut devices: BTreeMap<_, Vec<_>> = BTreeMap::new();
    for state in states {
        devices.entry(state.device).or_default().push(state);
    }
    devices
}
