//! The outbox: where every state waits until the cloud has it.
//!
//! It is a blocking module: a journal of its own in front, and behind it generations, small sled databases in which what
//! waits longer is packed. What one commit brings for one device is stored in *groups*, self-describing values with a
//! checksum. Sequence numbers of a device start at 1 and never repeat. What is acknowledged are ranges of them; a group counts
//! until all of it is gone.
//!
//! Invariants:
//! - when [`Outbox::append`] returns, the commit is on the disk: its frame is written and synced;
//! - a commit is there wholly or not at all, with its part of the ledger, its origins and its notes;
//! - the ledger and what waits agree: for each bus `received + generated = waiting + stored + rejected + dropped + filtered`;
//! - memory holds an entry for each group that waits, not for each state;
//! - a change that fails changes nothing, and the next is tried in another file;
//! - one change at a time; the counts are read without waiting for the disk.
//!
//! An acknowledgement is not synced by itself. If a power cut takes it, states are sent again, with the same bytes.

mod block;
mod disk;
mod downsample;
mod error;
mod eviction;
mod fingerprints;
mod frame;
mod index;
mod ranges;
mod recover;
mod repair;
mod segment;
mod state;
mod store;
mod sync;
#[cfg(test)]
mod tests;
mod thin;
mod transaction;
mod types;

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::{Mutex, MutexGuard, PoisonError};

use tracing::error;

pub use error::{Error, OpenError};
pub use ranges::INTERVALS_MAX;
pub use types::{
    Amount, Backlog, Commit, Entry, Note, NoteChange, Options, Pending, Reject, Removed,
};

use block::Record;
use disk::Disk;
use recover::recover;
use tidegate_model::{DeviceId, Ledger, MessageFingerprint, Name, Reason, WallTime};
use transaction::{Draft, Fate};

/// How many states that the cloud refused are kept; the oldest go first.
pub const REJECTS_MAX: usize = 1_000;

/// The usual size of a segment of the journal, in bytes. One is there always, and a spare one; each generation takes about as
/// much.
pub const SEGMENT_BYTES: u64 = 2 << 20;

/// The largest note, in bytes.
pub const NOTE_BYTES_MAX: usize = 64 * 1024;

/// The most bytes that the notes of one table take.
pub const NOTES_BYTES_MAX: usize = 16 << 20;

/// How much of the cloud's words about a refused state is kept, in characters.
const WHY_CHARS_MAX: usize = 1_000;

/// The outbox. Share it behind an `Arc`; its methods block on the disk, except where they say otherwise.
#[derive(Debug)]
pub struct Outbox {
    /// Held by whoever uses the disk.
    disk: Mutex<Disk>,
    /// Held for moments only.
    counts: Mutex<Counts>,
}

/// What can be read without waiting for the disk.
#[derive(Debug, Default)]
struct Counts {
    ledger: Ledger,
    lanes: BTreeMap<DeviceId, LaneCounts>,
}

#[derive(Debug, Clone, Copy)]
struct LaneCounts {
    amount: Amount,
    latest: WallTime,
    /// The last number that was given.
    last: u64,
}

impl Outbox {
    /// Opens the outbox in the directory `path`, which is created if it is not there.
    ///
    /// What is damaged is set aside, the rest salvaged, and the loss counted as dropped. A disk that is full does not keep it
    /// from opening.
    ///
    /// # Errors
    /// When another process has it open, the directory cannot be used, or the store is of another version.
    pub fn open(path: &Path, options: Options) -> Result<Self, OpenError> {
        let disk = recover(path, options)?;
        let outbox = Self { counts: Mutex::default(), disk: Mutex::new(disk) };
        outbox.publish(&outbox.disk());
        Ok(outbox)
    }

    /// Brings a commit to the disk; it is there for good when this returns. Tells what had to go for it.
    ///
    /// A commit without states and notes is not synced by itself: it only counts.
    ///
    /// # Errors
    /// When the disk is full or broken. Nothing was stored then; try again, for as long as it takes.
    pub fn append(&self, commit: &Commit) -> Result<Removed, Error> {
        self.bring(commit, !commit.states.is_empty() || !commit.notes.is_empty())
    }

    /// As [`Outbox::append`], but a power cut may take it until [`Outbox::settle`] says otherwise. A crash of the daemon does not.
    ///
    /// # Errors
    /// As [`Outbox::append`].
    pub fn append_unsynced(&self, commit: &Commit) -> Result<Removed, Error> {
        self.bring(commit, false)
    }

    /// Whether all that was appended is safe: synced, or gone from here because the cloud has it. What is neither is synced now if
    /// it `must` be.
    ///
    /// # Errors
    /// When the disk is full or broken; what was not synced is still here, and still not safe.
    pub fn settle(&self, must: bool) -> Result<bool, Error> {
        let mut disk = self.disk();
        if must && !disk.is_settled() {
            disk.sync()?;
        }
        Ok(disk.is_settled())
    }

    fn bring(&self, commit: &Commit, is_durable: bool) -> Result<Removed, Error> {
        self.change(is_durable, |draft, disk| {
            draft.count(disk, &commit.ledger);
            draft.change.commit = disk.state.commit + 1;
            let (admitted, dropped) = draft.admit(disk, &commit.states)?;
            for (device, states) in by_device(admitted) {
                draft.put(disk, device, &states);
            }
            for (bus, change) in &commit.origins {
                draft.change.origins.insert(bus.clone(), fingerprints::pack(change));
            }
            for (table, changes) in &commit.notes {
                draft.note(disk, table, changes)?;
            }
            Ok(dropped)
        })
    }

    /// The oldest states of a device with sequence numbers above `after`, 0 for all: at most `states_max`, and at most `bytes_max` bytes counting one more for each; but at
    /// least one, if there is any.
    ///
    /// What is damaged is let go first, and counted. Where the disk does not take that, it is passed over, and what is returned
    /// has no such states in between.
    pub fn peek(
        &self,
        device: DeviceId,
        after: u64,
        states_max: usize,
        bytes_max: usize,
    ) -> Result<Vec<Entry>, Error> {
        let mut disk = self.disk();
        let mut entries = disk.peek(device, after, states_max, bytes_max);
        // What was passed over may be whole elsewhere.
        if disk.is_suspect && self.mend(&mut disk) {
            entries = disk.peek(device, after, states_max, bytes_max);
        }
        let given = entries.as_ref().ok().and_then(|given| Some((given.first()?, given.last()?)));
        if let Some((first, last)) = given {
            disk.thinning.lend(device, (first.sequence, last.sequence));
        }
        entries
    }

    /// Removes the states of a device from `first` through `through`, both included: the cloud has them. They need not be the
    /// oldest. Those among them that are gone already are not counted again.
    ///
    /// # Errors
    /// When the store fails or the range cannot be kept; the states must then be expected to be sent again.
    pub fn ack(&self, device: DeviceId, first: u64, through: u64) -> Result<Removed, Error> {
        self.change(false, |draft, disk| {
            let amount = draft.remove(disk, device, (first, through), Fate::Stored)?;
            Ok(Removed { states: amount.states, readings: amount.readings })
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
        time: WallTime,
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
        time: WallTime,
    ) -> Result<(), Error> {
        self.put_aside(device, sequence, (Reason::TimeRefused, why), time)
    }

    /// Lets rejects wait again, with all that they were; they are no longer counted as rejected. Numbers of none are passed
    /// over. Tells how many there were.
    ///
    /// # Errors
    /// When the disk is full or broken; nothing is changed then.
    pub fn requeue(&self, numbers: &[u64]) -> Result<Removed, Error> {
        self.change(true, |draft, disk| {
            let rejects = &disk.state.rejects;
            let numbers: BTreeSet<u64> = numbers.iter().copied().collect();
            let chosen = numbers.iter().filter_map(|number| rejects.get_key_value(number));
            let chosen: Vec<_> = chosen.filter_map(read_reject).collect();
            let readings = chosen.iter().map(|reject| u64::from(reject.readings)).sum();
            let requeued = Removed { states: chosen.len() as u64, readings };
            draft.requeue(disk, chosen);
            Ok(requeued)
        })
    }

    /// No longer keeps these rejects; they stay counted as rejected.
    ///
    /// # Errors
    /// When the disk is full or broken; nothing is changed then.
    pub fn forget(&self, numbers: &[u64]) -> Result<Removed, Error> {
        self.change(true, |draft, disk| {
            let rejects = &disk.state.rejects;
            let numbers: BTreeSet<u64> = numbers.iter().copied().collect();
            let kept = numbers.into_iter().filter(|number| rejects.contains_key(number));
            draft.change.rejects_gone = kept.collect();
            let states = draft.change.rejects_gone.len() as u64;
            Ok(Removed { states, readings: 0 })
        })
    }

    /// Drops what waits and was measured before `time`, and counts it as too old: some groups of each device at most, so call it
    /// from time to time. What has no time yet is never too old.
    ///
    /// # Errors
    /// When the store fails or the disk is full or broken; nothing is changed then.
    pub fn expire(&self, time: WallTime) -> Result<Removed, Error> {
        self.change(true, |draft, disk| draft.expire(disk, time))
    }

    /// Drops the states of a device that wait from `first` through `through`, and counts them with this reason.
    ///
    /// # Errors
    /// When the store fails or the disk is full or broken; nothing is changed then.
    pub fn purge(
        &self,
        device: DeviceId,
        (first, through): (u64, u64),
        reason: Reason,
    ) -> Result<Removed, Error> {
        self.change(true, |draft, disk| {
            let fate = Fate::Dropped(reason);
            let amount = draft.remove(disk, device, (first, through), fate)?;
            Ok(Removed { states: amount.states, readings: amount.readings })
        })
    }

    fn put_aside(
        &self,
        device: DeviceId,
        sequence: u64,
        (reason, why): (Reason, &str),
        time: WallTime,
    ) -> Result<(), Error> {
        self.change(true, |draft, disk| {
            let record = find(disk, device, sequence)?.ok_or(Error::NotWaiting(sequence))?;
            draft.remove(disk, device, (sequence, sequence), Fate::Rejected(reason))?;
            let reject = Reject {
                number: 0,
                device,
                bus: record.bus,
                moment: record.moment,
                priority: record.priority,
                readings: record.readings,
                reason,
                why: why.chars().take(WHY_CHARS_MAX).collect(),
                time: time.to_string(),
                state: String::from_utf8_lossy(&record.json).into_owned(),
            };
            draft.change.rejects.push(serde_json::to_vec(&reject).unwrap_or_default());
            Ok(())
        })
    }

    /// Changes the notes of a table; they are on the disk for good when this returns. Other modules keep here what must survive.
    ///
    /// # Errors
    /// When the disk is full or broken, a note is larger than [`NOTE_BYTES_MAX`] or the table larger than [`NOTES_BYTES_MAX`];
    /// then nothing is changed.
    pub fn note(&self, table: &'static str, changes: &[NoteChange]) -> Result<(), Error> {
        self.change(true, |draft, disk| draft.note(disk, table, changes))
    }

    /// The notes of a table, in the order of their keys.
    ///
    /// # Errors
    /// None today; a store that keeps them elsewhere may fail.
    pub fn notes(&self, table: &'static str) -> Result<Vec<Note>, Error> {
        let disk = self.disk();
        let notes = disk.state.notes.get(table).into_iter().flatten();
        Ok(notes.map(|(key, value)| (key.clone(), value.clone())).collect())
    }

    /// How much waits. Does not wait for the disk.
    pub fn backlog(&self) -> Backlog {
        let counts = self.counts();
        let devices: BTreeMap<_, _> =
            counts.lanes.iter().map(|(device, lane)| (*device, lane.amount)).collect();
        let total = devices.values().fold(Amount::default(), |total, amount| total.plus(*amount));
        let last = counts.lanes.iter().map(|(device, lane)| (*device, lane.last)).collect();
        Backlog { total, devices, last }
    }

    /// The latest time of day that each device ever had a state of here; none where no time was known. Does not wait for the
    /// disk.
    pub fn latest(&self) -> BTreeMap<DeviceId, WallTime> {
        let counts = self.counts();
        let timed = counts.lanes.iter().filter(|(_, lane)| lane.latest.as_millis() > 0);
        timed.map(|(device, lane)| (*device, lane.latest)).collect()
    }

    /// What became of all readings. Does not wait for the disk.
    pub fn ledger(&self) -> Ledger {
        self.counts().ledger.clone()
    }

    /// The origins that are remembered of a bus, oldest first.
    pub fn origins(&self, bus: &Name) -> Vec<MessageFingerprint> {
        self.disk()
            .state
            .origins
            .get(bus)
            .map(|stored| fingerprints::unpack(stored))
            .unwrap_or_default()
    }

    /// The states that the cloud refused, newest first.
    ///
    /// # Errors
    /// None today; a store that keeps them elsewhere may fail.
    pub fn rejects(&self, limit: usize) -> Result<Vec<Reject>, Error> {
        let disk = self.disk();
        Ok(disk.state.rejects.iter().rev().take(limit).filter_map(read_reject).collect())
    }

    /// Brings everything to the disk, acknowledgements too.
    ///
    /// # Errors
    /// When the disk is full or broken.
    pub fn flush(&self) -> Result<(), Error> {
        self.disk().sync()
    }

    /// Waits for the disk. A change is applied only when it was written, so one that panicked left nothing half-way.
    fn disk(&self) -> MutexGuard<'_, Disk> {
        self.disk.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn counts(&self) -> MutexGuard<'_, Counts> {
        self.counts.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Lets `make` draft a change, writes it, all of it or nothing, and syncs it if it `is_durable`.
    fn change<T>(
        &self,
        is_durable: bool,
        make: impl Fn(&mut Draft, &mut Disk) -> Result<T, Error>,
    ) -> Result<T, Error> {
        let mut disk = self.disk();
        let draft = |disk: &mut Disk| {
            let mut draft = Draft::default();
            make(&mut draft, disk).map(|made| (draft, made))
        };
        let mut drafted = draft(&mut disk);
        if drafted.is_err() && disk.is_suspect && self.mend(&mut disk) {
            drafted = draft(&mut disk);
        }
        let (draft, made) = drafted?;
        let written = disk.write(&draft, is_durable);
        self.publish(&disk);
        if disk.is_suspect {
            // Packing came upon damage.
            self.mend(&mut disk);
        }
        written.map(|()| made)
    }

    /// Lets go of what is damaged. What cannot be done now is tried when the damage is found again.
    fn mend(&self, disk: &mut Disk) -> bool {
        let mended = disk.mend();
        disk.is_suspect = false;
        if let Err(error) = &mended {
            error!(%error, "a part of the outbox is damaged and cannot be let go now; it is passed over");
        }
        self.publish(disk);
        mended.is_ok()
    }

    fn publish(&self, disk: &Disk) {
        let lane = |(device, lane): (&[u8; 12], &state::Lane)| {
            let latest = WallTime::from_millis(lane.latest_ms);
            (DeviceId::from(*device), LaneCounts { amount: lane.amount, latest, last: lane.last })
        };
        let lanes = disk.state.lanes.iter().map(lane).collect();
        *self.counts() = Counts { ledger: disk.state.ledger.clone(), lanes };
    }
}

fn read_reject((number, bytes): (&u64, &Vec<u8>)) -> Option<Reject> {
    let reject: Reject = serde_json::from_slice(bytes).ok()?;
    Some(Reject { number: *number, ..reject })
}

/// A state that waits.
fn find(disk: &mut Disk, device: DeviceId, sequence: u64) -> Result<Option<Record>, Error> {
    let lane = disk.state.lanes.get(device.as_bytes());
    let spot = disk.index.at(device, sequence);
    let is_gone = lane.is_none_or(|lane| lane.gone.covers(sequence, sequence));
    let Some((key, spot)) = spot.filter(|((_, first), _)| !is_gone && *first <= sequence) else {
        return Ok(None);
    };
    let group = disk.group(key, spot)?;
    let mut records = (group.first..).zip(group.records);
    Ok(records.find(|(number, _)| *number == sequence).map(|(_, record)| record))
}

fn by_device<'a>(
    states: impl IntoIterator<Item = &'a Pending>,
) -> BTreeMap<DeviceId, Vec<&'a Pending>> {
    let mut devices: BTreeMap<_, Vec<_>> = BTreeMap::new();
    for state in states {
        devices.entry(state.device).or_default().push(state);
    }
    devices
}
