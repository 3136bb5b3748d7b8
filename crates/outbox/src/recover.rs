//! Recovers the outbox when it is opened: reads the journal and all blocks, and balances the
//! ledger.
//!
//! If the segment with the newest catalog is damaged, an older catalog is used and all blocks that
//! exist are queued; states that Losant confirmed since then are sent once more. If sled cannot
//! read a store, its files are searched for blocks byte by byte. So damage costs only what it
//! touches, and the loss is counted.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::fs::{self, File};
use std::io;
use std::path::Path;
use std::time::Duration;

use tracing::{error, warn};

use super::block::{self, Block};
use super::catalog::{Catalog, balance};
use super::chunk;
use super::disk::Disk;
use super::error::{Error, OpenError};
use super::exclusions::Exclusions;
use super::frame::{self, Scan};
use super::index::{BlockKey, Index, Location};
use super::segment::{self, Segment, file_of};
use super::store::{self, Stores};
use super::types::Options;

/// The most attempts to lock the outbox.
const LOCK_TRIES_MAX: u32 = 20;

/// The pause between two of these attempts.
const LOCK_PAUSE: Duration = Duration::from_millis(50);

/// An outbox that is being recovered.
struct Recovery {
    disk: Disk,
    /// The catalog may be older than the blocks.
    is_damaged: bool,
}

/// Why nothing can be recovered.
enum Failure {
    Version(u8),
    Io(io::Error),
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

/// Opens the outbox in a directory.
pub(super) fn recover(directory: &Path, options: Options) -> Result<Disk, OpenError> {
    let lock = lock(directory)?;
    let failed = |source| OpenError::Directory { path: directory.to_owned(), source };
    if directory.join("db").exists() {
        return Err(OpenError::Older);
    }
    let disk = Disk {
        directory: directory.to_owned(),
        options,
        lock,
        active: None,
        full: BTreeMap::new(),
        stores: Stores::new(directory).map_err(failed)?,
        found_damage: false,
        exclusions: Exclusions::default(),
        unsynced: VecDeque::new(),
        last_write: 0,
        index: Index::default(),
        catalog: Catalog::default(),
        next_segment: 1,
        next_store: 1,
    };
    let mut recovery = Recovery { disk, is_damaged: false };
    recovery.run().map_err(|error| match error {
        Failure::Version(version) if version < frame::VERSION => OpenError::Older,
        Failure::Version(version) => OpenError::Newer(u64::from(version)),
        Failure::Io(source) => failed(source),
    })?;
    let Recovery { mut disk, .. } = recovery;
    disk.sync_recovered();
    balance(&mut disk.catalog.ledger, &disk.catalog.waiting);
    if disk.active.is_none()
        && let Err(error) = disk.rotate(0)
    {
        error!(%error, "cannot write the outbox; new readings wait until the disk accepts writes");
    }
    Ok(disk)
}

fn lock(directory: &Path) -> Result<File, OpenError> {
    let failed = |source| OpenError::Directory { path: directory.to_owned(), source };
    fs::create_dir_all(directory).map_err(failed)?;
    let options = File::options().create(true).truncate(false).write(true).clone();
    let lock = options.open(directory.join("lock")).map_err(failed)?;
    let mut tries = 1;
    let locked = loop {
        match rustix::fs::flock(&lock, rustix::fs::FlockOperation::NonBlockingLockExclusive) {
            // A child process that a killed daemon was starting holds the lock a moment longer.
            Err(rustix::io::Errno::WOULDBLOCK) if tries < LOCK_TRIES_MAX => {
                std::thread::sleep(LOCK_PAUSE);
                tries += 1;
            }
            locked => break locked,
        }
    };
    match locked {
        Ok(()) => Ok(lock),
        Err(rustix::io::Errno::WOULDBLOCK) => Err(OpenError::Locked),
        Err(error) => Err(failed(error.into())),
    }
}

impl Recovery {
    fn run(&mut self) -> Result<(), Failure> {
        let directory = self.disk.directory.clone();
        let segments = segment::numbers(&directory)?;
        let stores = self.disk.stores.numbers()?;
        self.disk.next_segment = segments.last().map_or(1, |last| last + 1);
        self.disk.next_store = stores.last().map_or(1, |last| last + 1);
        if let Some(newest) = self.read_newest(&directory, &segments)? {
            let bytes = fs::read(file_of(&directory, newest))?;
            self.index_segment(&frame::scan(&bytes, newest), newest, u64::MAX);
        }
        self.read_stores(&stores);
        self.read_full(&directory, &segments)?;
        self.remove_leftovers(&directory, &segments, &stores)?;
        Ok(())
    }

    /// Reads the newest catalog and the changes after it. Returns the segment that goes on.
    fn read_newest(&mut self, directory: &Path, segments: &[u64]) -> Result<Option<u64>, Failure> {
        for number in segments.iter().rev() {
            let bytes = fs::read(file_of(directory, *number))?;
            let scan = frame::scan(&bytes, *number);
            if let Some(version) = scan.other_version {
                return Err(Failure::Version(version));
            }
            // A segment without a frame was being created at a power cut.
            let Some(last) = scan.frames.last() else { continue };
            let (end, next) = (last.end, last.number + 1);
            if !self.replay(&scan) {
                warn!(segment = number, "a catalog in the journal is damaged; using an older one");
                self.is_damaged = true;
                self.disk.catalog.segments.insert(*number, u64::MAX);
                continue;
            }
            if scan.has_gap {
                self.is_damaged = true;
                self.disk.keep_damaged(&file_of(directory, *number));
            }
            if self.is_damaged {
                self.disk.catalog.segments.insert(*number, end);
                return Ok(None);
            }
            self.disk.active = Some(Segment::resume(directory, *number, end, next)?);
            return Ok(Some(*number));
        }
        self.read_spare(directory)?;
        Ok(None)
    }

    /// Reads the catalog of the spare segment, which was the segment before, if no segment has one.
    fn read_spare(&mut self, directory: &Path) -> Result<(), Failure> {
        let bytes = match fs::read(directory.join("spare")) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            bytes => bytes?,
        };
        let Some(number) = frame::segment_of(&bytes) else { return Ok(()) };
        warn!("the newest segment of the journal is missing; using the one before");
        self.is_damaged = true;
        fs::rename(directory.join("spare"), file_of(directory, number))?;
        let scan = frame::scan(&bytes, number);
        if let Some(version) = scan.other_version {
            return Err(Failure::Version(version));
        }
        self.replay(&scan);
        let end = scan.frames.last().map_or(0, |frame| frame.end);
        self.disk.catalog.segments.insert(number, end);
        self.disk.next_segment = self.disk.next_segment.max(number + 2);
        Ok(())
    }

    /// Applies a catalog and the changes after it. Returns false if there is no catalog.
    fn replay(&mut self, scan: &Scan<'_>) -> bool {
        let Some((first, deltas)) = scan.frames.split_first() else { return false };
        let catalog = postcard::from_bytes::<Catalog>(first.delta);
        let (0, Ok(catalog)) = (first.number, catalog) else { return false };
        // Keeps the newer segments whose catalogs were found damaged.
        let damaged = std::mem::take(&mut self.disk.catalog.segments);
        self.disk.catalog = catalog;
        self.disk.catalog.segments.extend(damaged);
        for frame in deltas {
            match postcard::from_bytes(frame.delta) {
                Ok(delta) => self.disk.catalog.apply(&delta),
                Err(error) => {
                    warn!(%error, "cannot decode a change in the journal; skipping it");
                    self.is_damaged = true;
                }
            }
        }
        true
    }

    fn read_stores(&mut self, numbers: &[u64]) {
        let listed = self.disk.catalog.stores.clone();
        // A store that is not listed is unfinished, unless the list is old.
        let is_list_old = self.is_damaged;
        for number in numbers.iter().filter(|one| is_list_old || listed.contains_key(one)) {
            let (mut blocks, mut bad) = (BTreeSet::new(), 0_u64);
            let read = self.disk.stores.read_all(*number, |bytes| match block::key_of(bytes) {
                Some(key) => drop(blocks.insert(key)),
                None => bad += 1,
            });
            let expected = listed.get(number).copied().unwrap_or_default();
            if read.is_err() || bad > 0 || (blocks.len() as u64) < expected {
                self.salvage_store(*number, read.err());
                continue;
            }
            self.disk.catalog.stores.insert(*number, blocks.len() as u64);
            self.index_store(*number, blocks);
        }
        self.disk.stores.close();
        for number in listed.keys().filter(|number| !numbers.contains(number)) {
            warn!(store = number, "a store of the outbox is missing");
            self.disk.catalog.stores.remove(number);
        }
    }

    /// Adds the blocks of a verified store to the index, with their places in its files.
    fn index_store(&mut self, number: u64, mut blocks: BTreeSet<BlockKey>) {
        // sled may write while it closes the store.
        self.disk.stores.close();
        let path = self.disk.stores.path(number);
        let scanned = store::scan(&path, |key, place, bytes| {
            if blocks.remove(&key) {
                self.index_block(bytes, Location::Store { number, place: Some(place) });
            }
        });
        if let Err(error) = scanned {
            warn!(store = number, %error, "cannot search the files of a store; using sled");
        }
        for key in blocks {
            self.index_stored_block(number, key);
        }
    }

    fn index_stored_block(&mut self, store: u64, key: BlockKey) {
        let location = Location::Store { number: store, place: None };
        match self.disk.stores.get(store, 0, key) {
            Ok(Some(bytes)) => self.index_block(&bytes, location),
            // The ledger expects the readings of the block, so the balance counts them as lost.
            Ok(None) => warn!(store, "a block of a store is missing"),
            Err(error) => warn!(store, %error, "cannot read a block of a store"),
        }
    }

    /// Builds a new store from the undamaged blocks of a damaged one, and sets that one aside.
    fn salvage_store(&mut self, number: u64, error: Option<Error>) {
        let error = error.map(|error| error.to_string()).unwrap_or_default();
        warn!(store = number, error, "a store is damaged; salvaging its undamaged blocks");
        let raw = self.disk.stores.raw(number).unwrap_or_default();
        let blocks = store::blocks_in(&raw);
        self.disk.catalog.stores.remove(&number);
        let salvaged = self.disk.next_store;
        self.disk.next_store += 1;
        let built = self.disk.stores.begin(salvaged).and_then(|mut builder| {
            blocks.iter().try_for_each(|(key, bytes)| builder.insert(*key, bytes))?;
            builder.finish()
        });
        if let Err(error) = built {
            // The damaged store stays listed, and the next start tries again.
            self.disk.catalog.stores.insert(number, u64::MAX);
            error!(%error, store = number, "cannot salvage a store; will retry at next start");
            return;
        }
        self.disk.catalog.stores.insert(salvaged, blocks.len() as u64);
        self.index_store(salvaged, blocks.keys().copied().collect());
        self.is_damaged = true;
        let path = self.disk.stores.path(number);
        self.disk.keep_damaged(&path);
        if let Err(error) = self.disk.stores.remove(number) {
            warn!(%error, store = number, "cannot remove a damaged store");
        }
    }

    /// Reads the blocks of the full segments.
    fn read_full(&mut self, directory: &Path, segments: &[u64]) -> Result<(), Failure> {
        if self.is_damaged {
            // The list of segments may be old, so all segments are read.
            let active = self.disk.active.take();
            for number in segments {
                self.disk.catalog.segments.entry(*number).or_insert(u64::MAX);
            }
            if let Some(active) = active {
                self.disk.catalog.segments.insert(active.number, active.end);
                self.disk.full.insert(active.number, active.file);
            }
        }
        for (number, end) in self.disk.catalog.segments.clone() {
            let path = file_of(directory, number);
            let bytes = match fs::read(&path) {
                Err(error) if error.kind() == io::ErrorKind::NotFound => {
                    warn!(segment = number, "a segment of the journal is missing");
                    self.disk.catalog.segments.remove(&number);
                    continue;
                }
                bytes => bytes?,
            };
            let scan = frame::scan(&bytes, number);
            if scan.has_gap {
                self.disk.keep_damaged(&path);
            }
            self.disk.full.insert(number, File::open(&path)?);
            self.index_segment(&scan, number, end);
        }
        Ok(())
    }

    /// Adds the blocks of a segment to the index, up to the offset where its frames stop counting.
    fn index_segment(&mut self, scan: &Scan<'_>, number: u64, end: u64) {
        let counted = scan.frames.iter().filter(|frame| frame.end <= end);
        for chunk in counted.flat_map(|frame| &frame.chunks) {
            let location = Location::in_segment(number, chunk.offset, chunk.bytes.len());
            for block in chunk::blocks(chunk.bytes) {
                self.index_block(&block, location);
            }
        }
    }

    /// Adds a block to the index and counts its queued states, unless all of them were removed or
    /// the index has them at another location.
    fn index_block(&mut self, bytes: &[u8], location: Location) {
        let Ok(block) = Block::decode(bytes) else {
            // The ledger expects the readings of the block, so the balance counts them as lost.
            warn!(?location, "cannot decode a block of the outbox");
            return;
        };
        let Disk { catalog, index, .. } = &mut self.disk;
        catalog.commit = catalog.commit.max(block.commit);
        let queue = catalog.queues.entry(*block.device.as_bytes()).or_default();
        queue.last = queue.last.max(block.last());
        let is_removed = queue.removed.contains_all(block.first, block.last());
        if is_removed || index.has_any(block.device, block.first, block.last()) {
            return;
        }
        let removed = queue.removed.clone();
        for (sequence, record) in (block.first..).zip(&block.records) {
            if !removed.contains(sequence) {
                catalog.count_queued(*block.device.as_bytes(), &record.bus, record.amount());
            }
        }
        index.insert(block.key(), &block.facts(), location);
    }

    /// Removes segments and stores that a crash left unfinished.
    fn remove_leftovers(
        &mut self,
        directory: &Path,
        segments: &[u64],
        stores: &[u64],
    ) -> io::Result<()> {
        let active = self.disk.active.as_ref().map(|active| active.number);
        let catalog = &self.disk.catalog;
        for number in segments {
            if Some(*number) != active && !catalog.segments.contains_key(number) {
                segment::release(directory, *number, self.disk.options.segment_bytes)?;
            }
        }
        for number in stores.iter().filter(|number| !catalog.stores.contains_key(number)) {
            self.disk.stores.remove(*number)?;
        }
        Ok(())
    }
}
