//! A generation: a small sled database with what waited when a segment of the journal was full.
//!
//! It is built in one go, synced file by file, and not written again; it goes as a whole when nothing in it waits any more. So
//! what sled lacks is not missed: its flush is no fsync, its file never shrinks, and a full disk ends its handle for good.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use tracing::warn;

use super::Error;
use super::block::{Group, find_all};
use super::sync;
use tidegate_model::DeviceId;

/// sled's cache for the generation that is open, in bytes.
const CACHE_BYTES: u64 = 1 << 20;

/// How much sled writes at once, in bytes: its buffers are of this size, and its file is a multiple of it.
const SLED_SEGMENT_BYTES: usize = 64 << 10;

/// So much is put into a generation between two flushes, in bytes: it is what sled holds in memory besides its cache.
const FLUSH_BYTES: usize = 256 << 10;

/// sled's threads hold the lock of a database for a moment after it was closed: so often it is tried, [`LOCK_PAUSE`] apart.
const LOCK_TRIES_MAX: u32 = 25;

/// So often sled's garbage is collected when a database was closed: each time some of it goes.
const COLLECTIONS: usize = 64;

/// Between two tries.
const LOCK_PAUSE: Duration = Duration::from_millis(20);

/// A generation that is open.
#[derive(Clone)]
enum Open {
    Sled(sled::Db),
    /// sled writes when it opens a database, and a full disk does not let it: then its groups are read out of its bytes.
    Bytes(Arc<BTreeMap<Vec<u8>, Vec<u8>>>),
}

/// The generations; one is open at a time.
pub(super) struct Generations {
    directory: PathBuf,
    open: Option<(u64, Open)>,
    /// The bytes of the open one as they were before sled looked at it, until all of it was read.
    unread: Vec<Vec<u8>>,
    /// The same of a damaged one, for its rescue.
    uncut: Option<(u64, Vec<Vec<u8>>)>,
}

impl Generations {
    /// Those in this directory, which is made if it is not there.
    pub(super) fn new(outbox: &Path) -> io::Result<Self> {
        let directory = outbox.join("generations");
        fs::create_dir_all(&directory)?;
        Ok(Self { directory, open: None, unread: Vec::new(), uncut: None })
    }

    /// The numbers of those that are there; what a build left half-way is removed.
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

    /// Begins to build one.
    pub(super) fn begin(&self, number: u64) -> Result<Builder, Error> {
        let draft = self.directory.join(format!("{number}.new"));
        if draft.exists() {
            fs::remove_dir_all(&draft)?;
        }
        let database = open(&draft)?;
        Ok(Builder { database, draft, path: self.path(number), unflushed: 0 })
    }

    /// A group of a generation that has so many `groups`.
    pub(super) fn get(
        &mut self,
        number: u64,
        groups: u64,
        key: &[u8],
    ) -> Result<Option<sled::IVec>, Error> {
        match self.checked(number, groups)? {
            Open::Sled(database) => guarded(|| database.get(key)),
            Open::Bytes(groups) => Ok(groups.get(key).map(|group| group.as_slice().into())),
        }
    }

    /// Hands all groups to `each`, up to the first that sled cannot read.
    pub(super) fn read_all(
        &mut self,
        number: u64,
        mut each: impl FnMut(&[u8]),
    ) -> Result<(), Error> {
        match self.opened(number)? {
            Open::Sled(database) => {
                let mut items = database.iter();
                while let Some((_, value)) = guarded(|| items.next().transpose())? {
                    each(&value);
                }
            }
            Open::Bytes(groups) => groups.values().for_each(|group| each(group)),
        }
        Ok(())
    }

    /// All bytes of its files, for a search for groups where sled cannot read it.
    pub(super) fn raw(&mut self, number: u64) -> io::Result<Vec<Vec<u8>>> {
        if let Some((_, files)) = self.uncut.take_if(|(uncut, _)| *uncut == number) {
            return Ok(files);
        }
        let unread = std::mem::take(&mut self.unread);
        if let Some((open, database)) = self.open.take() {
            drop(database);
            collect_garbage();
            if open == number && !unread.is_empty() {
                return Ok(unread);
            }
        }
        let mut files = Vec::new();
        for path in [self.path(number), self.path(number).join("blobs")] {
            for entry in fs::read_dir(path).into_iter().flatten() {
                let path = entry?.path();
                if path.is_file() {
                    files.push(fs::read(path)?);
                }
            }
        }
        Ok(files)
    }

    /// Removes one.
    pub(super) fn remove(&mut self, number: u64) -> io::Result<()> {
        self.open.take_if(|(open, _)| *open == number);
        match fs::remove_dir_all(self.path(number)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            Ok(()) | Err(_) => Ok(()),
        }
    }

    pub(super) fn path(&self, number: u64) -> PathBuf {
        self.directory.join(format!("{number:010}"))
    }

    /// Closes the one that is open.
    pub(super) fn close(&mut self) {
        (self.open, self.unread) = (None, Vec::new());
        collect_garbage();
    }

    /// Keeps the bytes of a damaged one for the next try.
    pub(super) fn keep(&mut self, number: u64, files: Vec<Vec<u8>>) {
        self.uncut = Some((number, files));
    }

    /// Opens one and sees whether sled finds everything in it.
    fn checked(&mut self, number: u64, groups: u64) -> Result<Open, Error> {
        if let Some((_, open)) = self.open.as_ref().filter(|(open, _)| *open == number) {
            return Ok(open.clone());
        }
        let mut found = 0;
        let checked = self.read_all(number, |_| found += 1).and_then(|()| {
            if found < groups { Err(Error::Unreadable) } else { self.opened(number) }
        });
        if checked.as_ref().is_err_and(Error::is_damage) {
            let raw = self.raw(number)?;
            self.keep(number, raw);
        }
        self.unread.clear();
        checked
    }

    fn opened(&mut self, number: u64) -> Result<Open, Error> {
        if let Some((_, open)) = self.open.as_ref().filter(|(open, _)| *open == number) {
            return Ok(open.clone());
        }
        let path = self.path(number);
        // sled would make a new one.
        if !path.join("db").exists() {
            return Err(io::Error::from(io::ErrorKind::NotFound).into());
        }
        // sled cuts off what it cannot read, so this is taken before it looks.
        let raw = self.raw(number)?;
        let opened = match open(&path) {
            Ok(database) => {
                self.unread = raw;
                Open::Sled(database)
            }
            Err(error) if error.is_damage() => {
                self.keep(number, raw);
                return Err(error);
            }
            Err(error) => {
                warn!(generation = number, %error, "the disk does not let sled open a part of the outbox; it is read without");
                Open::Bytes(Arc::new(groups_in(&raw)))
            }
        };
        self.open = Some((number, opened.clone()));
        Ok(opened)
    }
}

/// A generation that is being built. One that is not finished is removed by the next start, or the next with its number.
pub(super) struct Builder {
    database: sled::Db,
    draft: PathBuf,
    path: PathBuf,
    /// Bytes that were put in since the last flush.
    unflushed: usize,
}

impl Builder {
    /// Puts a group in.
    pub(super) fn insert(&mut self, key: Vec<u8>, group: &[u8]) -> Result<(), Error> {
        guarded(|| self.database.insert(key, group))?;
        self.unflushed += group.len();
        if self.unflushed >= FLUSH_BYTES {
            guarded(|| self.database.flush())?;
            self.unflushed = 0;
        }
        Ok(())
    }

    /// The generation is on the disk when this returns.
    pub(super) fn finish(self) -> Result<(), Error> {
        let Self { database, draft, path, .. } = self;
        guarded(|| database.flush())?;
        drop(database);
        collect_garbage();
        sync_all(&draft)?;
        fs::rename(&draft, &path)?;
        Ok(sync::directory(path.parent().unwrap_or(&path))?)
    }
}

impl std::fmt::Debug for Generations {
    /// sled would print all that is stored.
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter
            .debug_struct("Generations")
            .field("directory", &self.directory)
            .finish_non_exhaustive()
    }
}

/// The groups that are whole in the bytes of a generation, by their keys.
pub(super) fn groups_in(raw: &[Vec<u8>]) -> BTreeMap<Vec<u8>, Vec<u8>> {
    let found = raw.iter().flat_map(|file| find_all(file));
    let whole = found.filter_map(|bytes| Some((Group::decode(bytes).ok()?, bytes)));
    whole.map(|(group, bytes)| (key(group.device, group.first), bytes.to_vec())).collect()
}

/// The key of a group.
pub(super) fn key(device: DeviceId, first: u64) -> Vec<u8> {
    [device.as_bytes().as_slice(), &first.to_be_bytes()].concat()
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

/// sled leaves what it replaced to be freed by threads that come by later, and here hardly one does.
fn collect_garbage() {
    for _ in 0..COLLECTIONS {
        crossbeam_epoch::pin().flush();
    }
}

/// A damaged file can make sled panic.
fn guarded<T>(work: impl FnOnce() -> sled::Result<T>) -> Result<T, Error> {
    let done = catch_unwind(AssertUnwindSafe(work));
    Ok(done.map_err(|_| Error::Unreadable)??)
}

fn sync_all(directory: &Path) -> io::Result<()> {
    for entry in fs::read_dir(directory)? {
        let path = entry?.path();
        if path.is_dir() { sync_all(&path)? } else { sync::all(&File::open(path)?)? }
    }
    sync::directory(directory)
}
