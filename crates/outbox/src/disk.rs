//! The outbox on disk: a journal in front, stores behind it.
//!
//! Each transaction becomes a frame in the active segment of the journal. It counts when the frame
//! is written and, for a durable transaction, synced. When the segment is full, [`Disk::rotate`]
//! starts another segment, which begins with the complete catalog, and packs the queued states of
//! the full segment into a store. After a failed write or sync the segment ends at the frame
//! before: later frames go to another file, and the outbox does not read the failed file back.

mod rotation;

use std::collections::{BTreeMap, VecDeque};
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt as _;
use std::path::PathBuf;
use std::sync::Arc;

use super::block::Block;
use super::catalog::{Catalog, RemovedRange};
use super::chunk::{self, Chunk};
use super::error::Error;
use super::exclusions::Exclusions;
use super::frame;
use super::index::{BlockKey, Index, IndexEntry, Location, StorePlace};
use super::segment::Segment;
use super::store::Stores;
use super::sync;
use super::transaction::Transaction;
use super::types::{Options, QueuedState};
use tidegate_model::DeviceId;

/// A debug build checks the whole index after each commit while it has at most so many blocks.
const CHECKED_BLOCKS_MAX: usize = 512;

/// A debug build checks a larger index each time after so many commits.
const CHECK_INTERVAL_COMMITS: u64 = 256;

/// The files of an outbox and the facts about them that memory holds.
#[derive(Debug)]
pub(super) struct Disk {
    pub(super) directory: PathBuf,
    pub(super) options: Options,
    /// Locked while the outbox is open.
    pub(super) lock: File,
    /// The segment that gets the next frame; none after a failure, until another can be created.
    pub(super) active: Option<Segment>,
    /// The full segments, open for reading.
    pub(super) full: BTreeMap<u64, File>,
    pub(super) stores: Stores,
    /// A block could not be read because it is damaged; the outbox needs a repair.
    pub(super) found_damage: bool,
    pub(super) exclusions: Exclusions,
    /// Blocks that were written and not yet synced, ordered by commit. The first of them is
    /// queued, so it names the oldest commit that a power cut would lose; others may have left.
    pub(super) unsynced: VecDeque<UnsyncedBlock>,
    /// The number of the last write of a block.
    pub(super) last_write: u64,
    pub(super) index: Index,
    pub(super) catalog: Catalog,
    pub(super) next_segment: u64,
    pub(super) next_store: u64,
}

/// A block that was written and not yet synced.
#[derive(Debug, Clone, Copy)]
pub(super) struct UnsyncedBlock {
    /// The number of the write; numbers only grow.
    write: u64,
    commit: u64,
    key: BlockKey,
}

/// A sync of the active segment that runs without the lock of the disk.
#[derive(Debug)]
pub(super) struct RunningSync {
    segment: u64,
    /// The last write before the sync; later ones are not covered.
    last_write: u64,
    pub(super) file: Arc<File>,
}

impl Disk {
    /// Reads a block, and records whether it is damaged.
    pub(super) fn block(&mut self, entry: IndexEntry) -> Result<Block, Error> {
        let block = self.read(entry);
        self.found_damage |= block.as_ref().is_err_and(Error::is_damage);
        block
    }

    fn read(&mut self, IndexEntry { key, meta }: IndexEntry) -> Result<Block, Error> {
        let bytes = match meta.location {
            Location::Store { number, place } => return self.read_stored(key, number, place),
            Location::Segment { number, offset, length } => {
                let active = self.active.as_ref().filter(|active| active.number == number);
                let file = active.map(|active| &active.file).or_else(|| self.full.get(&number));
                let file = file.ok_or(Error::Damaged)?;
                let mut bytes = vec![0; usize::try_from(length).unwrap_or_default()];
                file.read_exact_at(&mut bytes, offset.into())?;
                bytes
            }
        };
        chunk::find(&bytes, key).ok_or(Error::Damaged)
    }

    /// Reads a block of a store at its place. If it is not there, searches the files of the store.
    /// Only if they do not hold it does sled open the store.
    fn read_stored(
        &mut self,
        key: BlockKey,
        store: u64,
        place: Option<StorePlace>,
    ) -> Result<Block, Error> {
        if let Some(place) = place {
            match self.read_place(key, store, place) {
                Err(error) if error.is_damage() => {}
                block => return block,
            }
            let found = self.stores.places(store).unwrap_or_default().remove(&key);
            if let Some(found) = found {
                self.index.set_place(key, found);
                return self.read_place(key, store, found);
            }
        }
        let blocks = self.catalog.stores.get(&store).copied().unwrap_or_default();
        let bytes = self.stores.get(store, blocks, key)?.ok_or(Error::Damaged)?;
        decode(&bytes, key)
    }

    fn read_place(&mut self, key: BlockKey, store: u64, place: StorePlace) -> Result<Block, Error> {
        decode(&self.stores.read(store, place)?, key)
    }

    /// Reads the oldest queued states of a device above `after`, as [`crate::Outbox::peek`] says.
    pub(super) fn peek(
        &mut self,
        device: DeviceId,
        after: u64,
        states_max: usize,
        bytes_max: usize,
    ) -> Result<Vec<QueuedState>, Error> {
        let queue = self.catalog.queues.get(device.as_bytes()).cloned().unwrap_or_default();
        let after = after.max(queue.removed.end_of_first());
        let (mut states, mut bytes, mut next) = (Vec::new(), 0, after + 1);
        while let Some(entry) = self.index.at(device, next) {
            next = entry.meta.last + 1;
            let block = match self.block(entry) {
                // The reporter acknowledges a range, so a batch must not reach across a gap.
                Err(error) if error.is_damage() && !states.is_empty() => break,
                Err(error) if error.is_damage() => continue,
                block => block?,
            };
            for (sequence, record) in (block.first..).zip(block.records) {
                if sequence <= after || queue.removed.contains(sequence) {
                    continue;
                }
                bytes += record.json.len() + 1;
                let is_full = states.len() >= states_max || bytes > bytes_max;
                if is_full && !states.is_empty() {
                    return Ok(states);
                }
                let (moment, readings) = (record.moment, record.readings);
                states.push(QueuedState { sequence, moment, readings, json: record.json });
            }
        }
        Ok(states)
    }

    /// Writes a transaction, and syncs it if it `is_durable`. An error changes nothing.
    pub(super) fn write(
        &mut self,
        transaction: &Transaction,
        is_durable: bool,
    ) -> Result<(), Error> {
        let chunks = chunk::encode(&transaction.blocks);
        let delta = postcard::to_stdvec(&transaction.delta)?;
        let bytes = frame::length(&delta, &chunks);
        if !self.active.as_ref().is_some_and(|active| active.has_room(bytes)) {
            self.rotate(bytes)?;
        }
        let locations = self.append_frame(&delta, &chunks, is_durable)?;
        self.catalog.apply(&transaction.delta);
        for (block, location) in transaction.blocks.iter().zip(locations) {
            let (device, facts) = (*block.device.as_bytes(), block.facts());
            match &facts.bus {
                Some(bus) => self.catalog.count_queued(device, bus, facts.amount),
                None => block.records.iter().for_each(|record| {
                    self.catalog.count_queued(device, &record.bus, record.amount());
                }),
            }
            self.index.insert(block.key(), &facts, location);
            self.last_write += 1;
            let (write, commit, key) = (self.last_write, block.commit, block.key());
            self.unsynced.push_back(UnsyncedBlock { write, commit, key });
        }
        if let Some(active) = self.active.as_ref().filter(|_| is_durable) {
            self.mark_synced(active.number, u64::MAX);
        }
        self.catalog.count_removed(&transaction.removed, &transaction.removed_readings);
        let emptied = self.emptied(&transaction.delta.removed);
        for key in &emptied {
            self.index.remove(*key);
        }
        if !emptied.is_empty() {
            self.remove_empty_files();
        }
        self.forget_removed();
        self.debug_check();
        Ok(())
    }

    /// Returns the blocks in these ranges without any queued state. This is known only after the
    /// write: a rotation may have merged a block with its neighbours since the transaction began.
    fn emptied(&self, removed: &[RemovedRange]) -> Vec<BlockKey> {
        let mut emptied = Vec::new();
        for range in removed {
            let Some(queue) = self.catalog.queues.get(&range.device) else { continue };
            let touched = self.index.from(DeviceId::from(range.device), range.first);
            let touched = touched.take_while(|entry| entry.key.first <= range.last);
            let is_empty = |IndexEntry { key, meta }: &IndexEntry| {
                queue.removed.contains_all(key.first, meta.last)
            };
            emptied.extend(touched.filter(is_empty).map(|entry| entry.key));
        }
        emptied
    }

    /// Syncs all frames that were written.
    pub(super) fn sync(&mut self) -> Result<(), Error> {
        let Some(running) = self.begin_sync() else { return self.rotate(0) };
        let synced = sync::data(&running.file);
        self.end_sync(&running, synced)
    }

    /// Begins a sync of the active segment, which the caller does without the lock and then ends
    /// with [`Disk::end_sync`]. `None` while there is no active segment.
    pub(super) fn begin_sync(&self) -> Option<RunningSync> {
        let active = self.active.as_ref()?;
        let (segment, file) = (active.number, Arc::clone(&active.sync_file));
        Some(RunningSync { segment, last_write: self.last_write, file })
    }

    /// Ends a sync. Meanwhile blocks may have been written, and the journal may have gone on with
    /// another segment. A failed sync ends its segment.
    pub(super) fn end_sync(
        &mut self,
        RunningSync { segment, last_write, .. }: &RunningSync,
        synced: io::Result<()>,
    ) -> Result<(), Error> {
        if let Err(error) = synced {
            let active = self.active.as_ref().filter(|active| active.number == *segment);
            if let Some(end) = active.map(|active| active.end) {
                self.close_active(end);
            }
            return Err(error.into());
        }
        self.mark_synced(*segment, *last_write);
        self.pack_unsynced();
        Ok(())
    }

    /// Syncs the frames that a killed process left, because it may not have synced the last ones.
    /// If that fails, their blocks are not synced until they are packed.
    pub(super) fn sync_recovered(&mut self) {
        let active = self.active.as_ref().map(|active| (active.number, &active.file));
        let full = self.full.iter().map(|(number, file)| (*number, file));
        let failed = full.chain(active).filter(|(_, file)| sync::data(file).is_err());
        for number in failed.map(|(number, _)| number).collect::<Vec<_>>() {
            let active = self.active.as_ref().filter(|active| active.number == number);
            if let Some(end) = active.map(|active| active.end) {
                self.close_active(end);
            }
            let blocks = self.index.in_segment(number).into_iter();
            let blocks =
                blocks.map(|one| UnsyncedBlock { write: 0, commit: one.meta.commit, key: one.key });
            self.unsynced.extend(blocks);
        }
        self.unsynced.make_contiguous().sort_by_key(|one| one.commit);
    }

    /// Records that the blocks of a segment are synced, up to this write. Blocks in a segment that
    /// was closed after a failure stay unsynced until they are packed.
    fn mark_synced(&mut self, segment: u64, last_write: u64) {
        let Self { unsynced, index, .. } = self;
        unsynced.retain(|one| {
            index.get(one.key).is_some_and(|meta| match meta.location {
                Location::Segment { number, .. } => number != segment || one.write > last_write,
                Location::Store { .. } => false,
            })
        });
    }

    /// Forgets the oldest unsynced blocks that left the queue or were packed: a store is synced.
    pub(crate) fn forget_removed(&mut self) {
        let Self { unsynced, index, .. } = self;
        let is_safe = |one: &UnsyncedBlock| {
            index.get(one.key).is_none_or(|meta| matches!(meta.location, Location::Store { .. }))
        };
        while unsynced.front().is_some_and(is_safe) {
            unsynced.pop_front();
        }
    }

    /// Returns the oldest commit with a queued state that a power cut would lose.
    pub(super) fn first_unsynced(&self) -> Option<u64> {
        self.unsynced.front().map(|one| one.commit)
    }

    /// Appends a frame to the active segment. Returns the location of each block.
    fn append_frame(
        &mut self,
        delta: &[u8],
        chunks: &[Chunk],
        is_durable: bool,
    ) -> io::Result<Vec<Location>> {
        let Some(active) = &mut self.active else { return Err(io::ErrorKind::NotFound.into()) };
        let (number, end) = (active.number, active.end);
        let frame = frame::encode(number, active.frame, delta, chunks);
        if !active.has_room(frame.bytes.len()) {
            return Err(io::ErrorKind::StorageFull.into());
        }
        let written = active.append(&frame.bytes).and_then(|begin| {
            if is_durable {
                sync::data(&active.file)?;
            }
            Ok(begin)
        });
        let begin = written.inspect_err(|_| self.close_active(end))?;
        let chunks = frame.chunk_offsets.into_iter().zip(chunks);
        let locations = chunks.flat_map(|(offset, Chunk { bytes, blocks })| {
            let location = Location::in_segment(number, begin + offset, bytes.len());
            std::iter::repeat_n(location, *blocks)
        });
        Ok(locations.collect())
    }

    /// Ends the active segment at this offset: later bytes do not count.
    fn close_active(&mut self, end: u64) {
        if let Some(active) = self.active.take() {
            self.catalog.segments.insert(active.number, end);
            self.full.insert(active.number, active.file);
        }
    }

    /// Checks in a debug build that ledger, queues and index agree.
    fn debug_check(&self) {
        debug_assert_eq!(self.catalog.imbalance(), None, "the ledger and the queues disagree");
        debug_assert!(
            self.unsynced.iter().is_sorted_by_key(|one| one.commit),
            "unsynced blocks are not ordered by commit"
        );
        let is_full_check = self.index.len() <= CHECKED_BLOCKS_MAX
            || self.catalog.commit.is_multiple_of(CHECK_INTERVAL_COMMITS);
        debug_assert_eq!(
            self.index.violation().filter(|_| is_full_check),
            None,
            "the index is inconsistent"
        );
    }
}

/// Decodes a block that must have this key.
fn decode(bytes: &[u8], key: BlockKey) -> Result<Block, Error> {
    let block = Block::decode(bytes).ok().filter(|block| block.key() == key);
    block.ok_or(Error::Damaged)
}
