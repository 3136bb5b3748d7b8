//! A store: a small sled database with the states that were queued when a segment was full.
//!
//! A store is built in one go, synced file by file, and never written again. It is removed as a
//! whole when none of its states is queued any more. So three weaknesses of sled do no harm: its
//! flush is no fsync, its file never shrinks, and a full disk breaks its handle for good.
//!
//! Reading a block opens no database, because sled writes when it opens one. Blocks describe
//! themselves, so [`scan`] finds them in the files of a store, and [`Stores::read`] reads
//! one at its place. sled builds a store and verifies it at the next start. It reads only the
//! blocks that the scan does not find.
//!
//! On disk the stores lie in the directory `generations`.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io;
use std::num::NonZeroU32;
use std::os::unix::fs::FileExt as _;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use tracing::warn;

use super::block::{Block, find_all};
use super::error::Error;
use super::index::{BlockKey, StorePlace};
use super::sync;

/// The directory of the stores, below the directory of the outbox.
const DIRECTORY: &str = "generations";

/// The file of a database in the directory of its store; sled names it.
const DATABASE: &str = "db";

/// The directory of the large values, each in a file, in the directory of a store.
const BLOBS: &str = "blobs";

/// sled's cache for the open store, in bytes.
const CACHE_BYTES: u64 = 1 << 20;

/// The size of sled's write buffers, in bytes. Its file is a multiple of it.
const SLED_SEGMENT_BYTES: usize = 64 << 10;

/// The bytes that a builder inserts between two flushes. sled holds them in memory, besides its
/// cache.
const FLUSH_BYTES: usize = 256 << 10;

/// The most attempts to open a database: sled's threads hold its lock for a moment after a close.
const LOCK_TRIES_MAX: u32 = 25;

/// The pause between two of these attempts.
const LOCK_PAUSE: Duration = Duration::from_millis(20);

/// The rounds of garbage collection after a close; each round frees a part of sled's memory.
const COLLECTIONS: usize = 64;

/// The most files of stores that are open for reading.
const FILES_OPEN_MAX: usize = 16;

/// The content of a damaged or unread store, file by file.
type RawFiles = Vec<Vec<u8>>;

/// An open store.
#[derive(Clone)]
enum OpenStore {
    Sled(sled::Db),
    /// The encoded blocks. sled writes when it opens a database, and fails on a full disk; then the
    /// outbox reads the blocks from the bytes of the files.
    Bytes(Arc<BTreeMap<BlockKey, Vec<u8>>>),
}

/// A file of a store that is open for reading.
struct OpenFile {
    store: u64,
    blob: Option<NonZeroU32>,
    file: File,
}

/// All stores. At most one of them is open with sled at a time.
pub(super) struct Stores {
    directory: PathBuf,
    open: Option<(u64, OpenStore)>,
    /// The files of the open store as they were before sled opened it. They are dropped when all
    /// blocks were read.
    unverified: RawFiles,
    /// The files of a damaged store, from which a repair salvages blocks.
    damaged: Option<(u64, RawFiles)>,
    /// At most [`FILES_OPEN_MAX`] files, the latest used last.
    files: Vec<OpenFile>,
    /// How often sled opened a store for reading.
    #[cfg(test)]
    pub(super) opened: u64,
}

impl Stores {
    /// Creates the directory of the stores, if it does not exist.
    pub(super) fn new(outbox: &Path) -> io::Result<Self> {
        let directory = outbox.join(DIRECTORY);
        fs::create_dir_all(&directory)?;
        Ok(Self {
            directory,
            open: None,
            unverified: Vec::new(),
            damaged: None,
            files: Vec::new(),
            #[cfg(test)]
            opened: 0,
        })
    }

    /// Returns the numbers of all stores. Removes unfinished stores.
    pub(super) fn numbers(&self) -> io::Result<Vec<u64>> {
        let mut numbers = Vec::new();
        for entry in fs::read_dir(&self.directory)? {
            let entry = entry?;
            match entry.file_name().to_str().and_then(|name| name.parse().ok()) {
                Some(number) => numbers.push(number),
                None => fs::remove_dir_all(entry.path())?,
            }
        }
        numbers.sort_unstable();
        Ok(numbers)
    }

    /// Starts to build a store.
    pub(super) fn begin(&self, number: u64) -> Result<StoreBuilder, Error> {
        let unfinished = self.directory.join(format!("{number}.new"));
        if unfinished.exists() {
            fs::remove_dir_all(&unfinished)?;
        }
        let database = open(&unfinished)?;
        Ok(StoreBuilder { database, unfinished, path: self.path(number), unflushed: 0 })
    }

    /// Finds the place of each block in the files of a store.
    pub(super) fn places(&self, number: u64) -> io::Result<BTreeMap<BlockKey, StorePlace>> {
        let mut places = BTreeMap::new();
        scan(&self.path(number), |key, place, _| {
            places.insert(key, place);
        })?;
        Ok(places)
    }

    /// Reads an encoded block at its place.
    pub(super) fn read(&mut self, store: u64, place: StorePlace) -> io::Result<Vec<u8>> {
        let is_it = |one: &OpenFile| (one.store, one.blob) == (store, place.blob);
        let open = match self.files.iter().position(is_it) {
            Some(at) => self.files.remove(at),
            None => OpenFile {
                store,
                blob: place.blob,
                file: File::open(match place.blob {
                    Some(blob) => self.path(store).join(BLOBS).join(blob.to_string()),
                    None => self.path(store).join(DATABASE),
                })?,
            },
        };
        let mut bytes = vec![0; usize::try_from(place.length.get()).unwrap_or(usize::MAX)];
        let read = open.file.read_exact_at(&mut bytes, place.offset.into());
        if self.files.len() >= FILES_OPEN_MAX {
            self.files.remove(0);
        }
        self.files.push(open);
        read.map(|()| bytes)
    }

    /// Reads an encoded block with sled, from a store that should have so many `blocks`.
    pub(super) fn get(
        &mut self,
        number: u64,
        blocks: u64,
        key: BlockKey,
    ) -> Result<Option<sled::IVec>, Error> {
        match self.open_verified(number, blocks)? {
            OpenStore::Sled(database) => guarded(|| database.get(key_bytes(key))),
            OpenStore::Bytes(blocks) => Ok(blocks.get(&key).map(|block| block.as_slice().into())),
        }
    }

    /// Calls `each` with each encoded block, up to the first one that sled cannot read.
    pub(super) fn read_all(
        &mut self,
        number: u64,
        mut each: impl FnMut(&[u8]),
    ) -> Result<(), Error> {
        match self.open(number)? {
            OpenStore::Sled(database) => {
                let mut items = database.iter();
                while let Some((_, value)) = guarded(|| items.next().transpose())? {
                    each(&value);
                }
            }
            OpenStore::Bytes(blocks) => blocks.values().for_each(|block| each(block)),
        }
        Ok(())
    }

    /// Returns the bytes of all files of a store, in which a search for blocks does not need sled.
    pub(super) fn raw(&mut self, number: u64) -> io::Result<RawFiles> {
        if let Some((_, files)) = self.damaged.take_if(|(damaged, _)| *damaged == number) {
            return Ok(files);
        }
        let unverified = std::mem::take(&mut self.unverified);
        if let Some((open, database)) = self.open.take() {
            drop(database);
            collect_garbage();
            if open == number && !unverified.is_empty() {
                return Ok(unverified);
            }
        }
        let mut files = Vec::new();
        for path in [self.path(number), self.path(number).join(BLOBS)] {
            for entry in fs::read_dir(path).into_iter().flatten() {
                let path = entry?.path();
                if path.is_file() {
                    files.push(fs::read(path)?);
                }
            }
        }
        Ok(files)
    }

    /// Removes a store.
    pub(super) fn remove(&mut self, number: u64) -> io::Result<()> {
        self.open.take_if(|(open, _)| *open == number);
        self.files.retain(|one| one.store != number);
        match fs::remove_dir_all(self.path(number)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            Ok(()) | Err(_) => Ok(()),
        }
    }

    /// Returns the directory of a store.
    pub(super) fn path(&self, number: u64) -> PathBuf {
        self.directory.join(format!("{number:010}"))
    }

    /// Closes the open store.
    pub(super) fn close(&mut self) {
        (self.open, self.unverified) = (None, Vec::new());
        collect_garbage();
    }

    /// Keeps the files of a damaged store for the next repair.
    pub(super) fn keep_damaged(&mut self, number: u64, files: RawFiles) {
        self.damaged = Some((number, files));
    }

    /// Opens a store and verifies that sled finds all of its blocks.
    fn open_verified(&mut self, number: u64, blocks: u64) -> Result<OpenStore, Error> {
        if let Some((_, open)) = self.open.as_ref().filter(|(open, _)| *open == number) {
            return Ok(open.clone());
        }
        let mut found = 0;
        let opened = self
            .read_all(number, |_| found += 1)
            .and_then(|()| if found < blocks { Err(Error::Damaged) } else { self.open(number) });
        if opened.as_ref().is_err_and(Error::is_damage) {
            let raw = self.raw(number)?;
            self.keep_damaged(number, raw);
        }
        self.unverified.clear();
        opened
    }

    fn open(&mut self, number: u64) -> Result<OpenStore, Error> {
        if let Some((_, open)) = self.open.as_ref().filter(|(open, _)| *open == number) {
            return Ok(open.clone());
        }
        let path = self.path(number);
        // sled would create a missing database.
        if !path.join(DATABASE).exists() {
            return Err(io::Error::from(io::ErrorKind::NotFound).into());
        }
        #[cfg(test)]
        {
            self.opened += 1;
        }
        // sled truncates its file where it cannot read it, so the bytes are read first.
        let raw = self.raw(number)?;
        let opened = match open(&path) {
            Ok(database) => {
                self.unverified = raw;
                OpenStore::Sled(database)
            }
            Err(error) if error.is_damage() => {
                self.keep_damaged(number, raw);
                return Err(error);
            }
            Err(error) => {
                warn!(store = number, %error, "cannot open a store with sled; reading its files");
                OpenStore::Bytes(Arc::new(blocks_in(&raw)))
            }
        };
        self.open = Some((number, opened.clone()));
        Ok(opened)
    }
}

impl std::fmt::Debug for Stores {
    /// Omits the open store, because sled would print all of its content.
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Stores").field("directory", &self.directory).finish_non_exhaustive()
    }
}

/// A store that is being built. An unfinished store is removed at the next start, or when the next
/// store with its number is built.
pub(super) struct StoreBuilder {
    database: sled::Db,
    unfinished: PathBuf,
    path: PathBuf,
    /// The bytes that were inserted since the last flush.
    unflushed: usize,
}

impl StoreBuilder {
    /// Inserts an encoded block.
    pub(super) fn insert(&mut self, key: BlockKey, block: &[u8]) -> Result<(), Error> {
        guarded(|| self.database.insert(key_bytes(key), block))?;
        self.unflushed += block.len();
        if self.unflushed >= FLUSH_BYTES {
            guarded(|| self.database.flush())?;
            self.unflushed = 0;
        }
        Ok(())
    }

    /// Syncs the store and gives it its final name.
    pub(super) fn finish(self) -> Result<(), Error> {
        let Self { database, unfinished, path, .. } = self;
        guarded(|| database.flush())?;
        drop(database);
        collect_garbage();
        sync_all(&unfinished)?;
        fs::rename(&unfinished, &path)?;
        Ok(sync::directory(path.parent().unwrap_or(&path))?)
    }
}

/// Finds the blocks in the files of the store in this directory, without sled. Calls `each` with
/// the key, the place and the bytes of each copy of a block; sled may leave several copies of one.
pub(super) fn scan(
    path: &Path,
    mut each: impl FnMut(BlockKey, StorePlace, &[u8]),
) -> io::Result<()> {
    let mut files = vec![(None, path.join(DATABASE))];
    for entry in fs::read_dir(path.join(BLOBS)).into_iter().flatten() {
        let entry = entry?;
        let blob = entry.file_name().to_str().and_then(|name| name.parse().ok());
        files.extend(blob.map(|blob| (Some(blob), entry.path())));
    }
    for (blob, path) in files {
        for block in find_all(&fs::read(path)?) {
            let length = u32::try_from(block.bytes.len()).ok().and_then(NonZeroU32::new);
            let place = u32::try_from(block.offset).ok().zip(length);
            if let Some((offset, length)) = place {
                each(block.key, StorePlace { blob, offset, length }, block.bytes);
            }
        }
    }
    Ok(())
}

/// Finds the undamaged blocks in the bytes of a store. Returns them encoded.
pub(super) fn blocks_in(raw: &[Vec<u8>]) -> BTreeMap<BlockKey, Vec<u8>> {
    let found = raw.iter().flat_map(|file| find_all(file));
    let whole = found.filter(|found| Block::decode(found.bytes).is_ok());
    whole.map(|found| (found.key, found.bytes.to_vec())).collect()
}

fn key_bytes(key: BlockKey) -> Vec<u8> {
    [key.device.as_bytes().as_slice(), &key.first.to_be_bytes()].concat()
}

fn open(path: &Path) -> Result<sled::Db, Error> {
    let config = sled::Config::new()
        .path(path)
        .cache_capacity(CACHE_BYTES)
        .flush_every_ms(None)
        .segment_size(SLED_SEGMENT_BYTES)
        .mode(sled::Mode::LowSpace);
    let mut tries = 1;
    loop {
        match guarded(|| config.open()) {
            Err(error) if tries < LOCK_TRIES_MAX && error.to_string().contains("lock") => {
                std::thread::sleep(LOCK_PAUSE);
                tries += 1;
            }
            opened => return opened,
        }
    }
}

/// Frees the memory of a closed database. sled leaves that to later calls of its threads, and in
/// this process there are hardly any.
fn collect_garbage() {
    for _ in 0..COLLECTIONS {
        crossbeam_epoch::pin().flush();
    }
}

/// Calls sled and turns a panic, which a damaged file can cause, into an error.
fn guarded<T>(work: impl FnOnce() -> sled::Result<T>) -> Result<T, Error> {
    let done = catch_unwind(AssertUnwindSafe(work));
    Ok(done.map_err(|_| Error::Damaged)??)
}

fn sync_all(directory: &Path) -> io::Result<()> {
    for entry in fs::read_dir(directory)? {
        let path = entry?.path();
        if path.is_dir() { sync_all(&path)? } else { sync::all(&File::open(path)?)? }
    }
    sync::directory(directory)
}
