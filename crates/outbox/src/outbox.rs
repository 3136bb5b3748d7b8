//! The outbox as its callers see it: appends, reads and acknowledges states.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::{Mutex, MutexGuard, PoisonError};

use tracing::error;

use super::counts::Counts;
use super::disk::Disk;
use super::error::{Error, OpenError};
use super::fingerprints;
use super::ranges::SequenceRange;
use super::recover::recover;
use super::removal::Removal;
use super::sync;
use super::transaction::Transaction;
use super::types::{
    Appended, Commit, IgnoredValues, NewState, Options, QueueChanges, QueueSizes, QueuedState,
    Removed, Row, RowChange,
};
use tidegate_model::{DeviceId, Ledger, MessageFingerprint, Name, Reason, WallTime};

/// The durable queue of states. Share it in an `Arc`. Its methods block on the disk, except where
/// they say otherwise.
#[derive(Debug)]
pub struct Outbox {
    /// Locked during each use of the disk.
    disk: Mutex<Disk>,
    /// Locked only for moments.
    counts: Mutex<Counts>,
}

impl Outbox {
    /// Opens the outbox in the directory `path`, which is created if it does not exist.
    ///
    /// Damaged files are set aside, their undamaged blocks are salvaged, and the loss is counted as
    /// dropped. A full disk does not prevent opening.
    ///
    /// # Errors
    /// When another process has the outbox open, the directory cannot be used, or the format has
    /// another version.
    pub fn open(path: &Path, options: Options) -> Result<Self, OpenError> {
        let disk = recover(path, options)?;
        let outbox = Self { counts: Mutex::default(), disk: Mutex::new(disk) };
        outbox.counts().update_all(&outbox.disk());
        Ok(outbox)
    }

    /// Stores a commit; it is synced when this returns.
    ///
    /// A commit that has neither states nor rows is written, but not synced.
    ///
    /// # Errors
    /// When the disk is full or broken. Then nothing is stored, and the caller should retry.
    pub fn append(&self, commit: &Commit) -> Result<Appended, Error> {
        let has_rows = commit.rows.values().any(|changes| !changes.is_empty());
        self.store(commit, !commit.states.is_empty() || has_rows)
    }

    /// Stores a commit without a sync. A power cut may lose its states until
    /// [`Outbox::first_unsynced`] is past the commit; a crash of the daemon does not.
    ///
    /// # Errors
    /// As [`Outbox::append`].
    pub fn append_unsynced(&self, commit: &Commit) -> Result<Appended, Error> {
        self.store(commit, false)
    }

    /// Returns the number of the oldest commit with a state that a power cut would lose: it is
    /// queued and not synced. `None` if there is none. Does not wait for the disk.
    pub fn first_unsynced(&self) -> Option<u64> {
        self.counts().first_unsynced()
    }

    /// Syncs the queued states, if [`Outbox::first_unsynced`] names a commit. Other methods do not
    /// wait for the sync. States that are appended meanwhile may stay unsynced.
    ///
    /// # Errors
    /// When the disk is full or broken. The states are still queued, and still not synced.
    pub fn sync_states(&self) -> Result<(), Error> {
        let mut disk = self.disk();
        if disk.first_unsynced().is_none() {
            return Ok(());
        }
        let synced = match disk.begin_sync() {
            Some(running) => {
                drop(disk);
                let synced = sync::data(&running.file);
                disk = self.disk();
                disk.end_sync(&running, synced)
            }
            None => disk.sync(),
        };
        self.counts().update(&disk, &Transaction::default());
        synced
    }

    fn store(&self, commit: &Commit, is_durable: bool) -> Result<Appended, Error> {
        self.change(is_durable, |transaction, disk| {
            transaction.add_counts(&disk.catalog, &commit.ledger);
            transaction.delta.commit = disk.catalog.commit + 1;
            let admitted = transaction.admit(disk, &commit.states)?;
            for (device, states) in by_device(admitted.states) {
                transaction.append(&disk.catalog, device, &states);
            }
            for (bus, change) in &commit.fingerprints {
                let change = fingerprints::pack(change);
                transaction.delta.fingerprints.insert(bus.clone(), change);
            }
            for (table, changes) in &commit.rows {
                transaction.write_rows(&disk.catalog, table, changes)?;
            }
            Ok(Appended { commit: transaction.delta.commit, dropped: admitted.dropped })
        })
    }

    /// Reads the oldest queued states of a device with sequence numbers above `after` (0 for all):
    /// at most `states_max`, and at most `bytes_max` bytes counting one more for each state.
    /// Returns at least one state, if there is one.
    ///
    /// Unreadable states are first removed from the queue and counted as dropped. If the disk
    /// cannot be written, they are skipped, and the returned states end before the next unreadable
    /// one.
    ///
    /// # Errors
    /// When a state cannot be read for another reason than damage.
    pub fn peek(
        &self,
        device: DeviceId,
        after: u64,
        states_max: usize,
        bytes_max: usize,
    ) -> Result<Vec<QueuedState>, Error> {
        let mut disk = self.disk();
        let mut states = disk.peek(device, after, states_max, bytes_max);
        // The repair may find undamaged copies of the skipped states.
        if disk.found_damage && self.repair(&mut disk) {
            states = disk.peek(device, after, states_max, bytes_max);
        }
        let ends = states.as_ref().ok().and_then(|states| states.first().zip(states.last()));
        if let Some((first, last)) = ends {
            let range = SequenceRange { first: first.sequence, last: last.sequence };
            disk.exclusions.add_in_flight(device, range);
        }
        states
    }

    /// Removes the states of a device from `first` through `last`, both included, because Losant
    /// confirmed them. They need not be the oldest. States that left the queue before are not
    /// counted again.
    ///
    /// # Errors
    /// When the disk fails or the device has too many separate ranges. Then the states stay queued
    /// and will be sent again.
    pub fn ack(&self, device: DeviceId, first: u64, last: u64) -> Result<Removed, Error> {
        self.ack_except(device, first, last, &IgnoredValues::new())
    }

    /// Removes states as [`Outbox::ack`], but counts the values in `ignored` as rejected, because
    /// they were not sent: Losant would have ignored them.
    ///
    /// # Errors
    /// As [`Outbox::ack`].
    pub fn ack_except(
        &self,
        device: DeviceId,
        first: u64,
        last: u64,
        ignored: &IgnoredValues,
    ) -> Result<Removed, Error> {
        self.change(false, |transaction, disk| {
            let range = SequenceRange { first, last };
            Ok(transaction.remove(disk, device, range, Removal::Stored(ignored))?.into())
        })
    }

    /// Drops the queued states that were measured before `time`, and counts them as too old. One
    /// call drops a limited number of blocks of each device, so call it from time to time. A state
    /// without a time of day never expires.
    ///
    /// # Errors
    /// When the disk fails; then nothing is changed.
    pub fn expire(&self, time: WallTime) -> Result<Removed, Error> {
        self.change(true, |transaction, disk| transaction.expire(disk, time))
    }

    /// Drops the queued states of a device from `first` through `last`, and counts them with this
    /// reason.
    ///
    /// # Errors
    /// When the disk fails; then nothing is changed.
    pub fn purge(
        &self,
        device: DeviceId,
        first: u64,
        last: u64,
        reason: Reason,
    ) -> Result<Removed, Error> {
        self.change(true, |transaction, disk| {
            let range = SequenceRange { first, last };
            Ok(transaction.remove(disk, device, range, Removal::Dropped(reason))?.into())
        })
    }

    /// Changes rows of a table; the changes are synced when this returns. Other parts of the daemon
    /// store their own durable data in tables.
    ///
    /// # Errors
    /// When the disk fails, a row is larger than [`crate::ROW_BYTES_MAX`] or the table larger than
    /// [`crate::TABLE_BYTES_MAX`]; then nothing is changed.
    pub fn write_rows(&self, table: &'static str, changes: &[RowChange]) -> Result<(), Error> {
        self.change(true, |transaction, disk| transaction.write_rows(&disk.catalog, table, changes))
    }

    /// Returns the rows of a table, ordered by key.
    ///
    /// # Errors
    /// None today. Another storage of the tables may fail.
    pub fn rows(&self, table: &'static str) -> Result<Vec<Row>, Error> {
        let disk = self.disk();
        let rows = disk.catalog.tables.get(table).into_iter().flatten();
        Ok(rows.map(|(key, value)| (key.clone(), value.clone())).collect())
    }

    /// Returns the sizes of the queues. Does not wait for the disk.
    pub fn queue_sizes(&self) -> QueueSizes {
        self.counts().sizes()
    }

    /// Returns the queues that changed after this version, 0 for all. Takes time in proportion to
    /// them, not to all queues. Does not wait for the disk.
    pub fn queue_changes(&self, since: u64) -> QueueChanges {
        self.counts().changes(since)
    }

    /// Returns the latest time of day of any state of each device; devices whose states had no time
    /// of day are left out. Does not wait for the disk.
    pub fn latest(&self) -> BTreeMap<DeviceId, WallTime> {
        self.counts().latest()
    }

    /// Returns the ledger. Does not wait for the disk.
    pub fn ledger(&self) -> Ledger {
        self.counts().ledger().clone()
    }

    /// Returns the stored fingerprints of the MQTT messages of a bus, oldest first.
    pub fn fingerprints(&self, bus: &Name) -> Vec<MessageFingerprint> {
        let disk = self.disk();
        let packed = disk.catalog.fingerprints.get(bus);
        packed.map(|packed| fingerprints::unpack(packed)).unwrap_or_default()
    }

    /// Syncs everything, also acknowledgements.
    ///
    /// # Errors
    /// When the disk is full or broken.
    pub fn flush(&self) -> Result<(), Error> {
        let mut disk = self.disk();
        let synced = disk.sync();
        self.counts().update(&disk, &Transaction::default());
        synced
    }

    /// Waits for the disk. A change is applied only after it was written, so a panic under the lock
    /// leaves no partial change.
    pub(super) fn disk(&self) -> MutexGuard<'_, Disk> {
        self.disk.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn counts(&self) -> MutexGuard<'_, Counts> {
        self.counts.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Collects a change with `collect`, writes all of it or nothing, and syncs it if it
    /// `is_durable`. If `collect` finds damage, repairs the outbox and calls it again.
    pub(super) fn change<T>(
        &self,
        is_durable: bool,
        collect: impl Fn(&mut Transaction, &mut Disk) -> Result<T, Error>,
    ) -> Result<T, Error> {
        let mut disk = self.disk();
        let begin = |disk: &mut Disk| {
            let mut transaction = Transaction::default();
            collect(&mut transaction, disk).map(|result| (transaction, result))
        };
        let mut collected = begin(&mut disk);
        if collected.is_err() && disk.found_damage && self.repair(&mut disk) {
            collected = begin(&mut disk);
        }
        let (transaction, result) = collected?;
        let written = disk.write(&transaction, is_durable);
        self.counts().update(&disk, &transaction);
        if disk.found_damage {
            // The write packed a full segment and found damage there.
            self.repair(&mut disk);
        }
        written.map(|()| result)
    }

    /// Repairs the outbox. Returns false if that failed; then the next read of the damaged block
    /// starts another repair.
    fn repair(&self, disk: &mut Disk) -> bool {
        let repaired = disk.repair();
        disk.found_damage = false;
        if let Err(error) = &repaired {
            error!(%error, "cannot repair a damaged part of the outbox; skipping it for now");
        }
        self.counts().update_all(disk);
        repaired.is_ok()
    }
}

fn by_device<'a>(
    states: impl IntoIterator<Item = &'a NewState>,
) -> BTreeMap<DeviceId, Vec<&'a NewState>> {
    let mut devices: BTreeMap<_, Vec<_>> = BTreeMap::new();
    for state in states {
        devices.entry(state.device).or_default().push(state);
    }
    devices
}
