//! sled, opened with care and brought to the disk for real.
//!
//! sled's own flush hands pages to the kernel but does not wait for the disk, so a power cut could take what it flushed.
//! [`Store::sync`] therefore ends with an fdatasync of the file that sled writes. What does not fit into its log sled puts
//! into files of its own, its *blobs*; recovery stops at the first of them that is torn, so these are synced as well.

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::fmt;
use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use super::{Error, OpenError, Options};

/// The format of the whole store: trees and keys.
const FORMAT_VERSION: u64 = 2;

const FORMAT_KEY: &str = "format";

/// A file of our own beside sled's, made when the format is on the disk. sled may open a file that was cut off as an empty
/// store; where this file is and the format is not, something was lost.
const MARK: &str = "format";

/// How often a locked store is tried, [`LOCK_PAUSE`] apart: a thread of sled's may hold the lock for a moment after its store
/// was closed.
const LOCK_TRIES_MAX: u32 = 25;

/// Between two tries.
const LOCK_PAUSE: Duration = Duration::from_millis(20);

/// The trees.
pub(super) struct Store {
    db: sled::Db,
    file: File,
    blobs: Blobs,
    /// Device and first sequence number -> group.
    pub(super) groups: sled::Tree,
    /// Cursors, ledger, origins, format.
    pub(super) meta: sled::Tree,
    /// Table, 0, key -> a note of another module.
    pub(super) notes: sled::Tree,
    /// Number -> a state that the cloud refused.
    pub(super) rejects: sled::Tree,
    /// Key of a group -> its bytes, which could not be understood.
    pub(super) damaged: sled::Tree,
}

impl Store {
    pub(super) fn open(path: &Path, options: &Options) -> Result<Self, OpenError> {
        let directory = |source| OpenError::Directory { path: path.to_owned(), source };
        std::fs::create_dir_all(path).map_err(directory)?;
        let config = sled::Config::new()
            .path(path)
            .cache_capacity(options.cache_bytes)
            .flush_every_ms(None)
            .mode(sled::Mode::LowSpace);
        let db = open_unlocked(&config, path)?;
        sync_names(path).map_err(directory)?;
        let file = File::open(path.join("db")).map_err(directory)?;
        let blobs = Blobs { directory: path.join("blobs"), synced: Mutex::default() };
        let tree = |name: &str| db.open_tree(name).map_err(refused(path));
        let (groups, meta) = (tree("groups")?, tree("meta")?);
        let (rejects, damaged, notes) = (tree("rejects")?, tree("damaged")?, tree("notes")?);
        let store = Self { db, file, blobs, groups, meta, notes, rejects, damaged };
        let mark = path.join(MARK);
        match store.meta.get(FORMAT_KEY).map_err(refused(path))?.map(|bytes| number(&bytes)) {
            Some(version) if version > FORMAT_VERSION => return Err(OpenError::Newer(version)),
            Some(_) => {}
            None if mark.exists() => {
                return Err(OpenError::Damaged("what was in it is gone".to_owned()));
            }
            None => store.set_format().map_err(|error| OpenError::Damaged(error.to_string()))?,
        }
        if !mark.exists() {
            File::create(mark).and_then(|_| sync_names(path)).map_err(directory)?;
        }
        Ok(store)
    }

    fn set_format(&self) -> Result<(), Error> {
        self.meta.insert(FORMAT_KEY, &FORMAT_VERSION.to_be_bytes())?;
        self.sync()
    }

    /// Brings everything to the disk.
    pub(super) fn sync(&self) -> Result<(), Error> {
        self.db.flush()?;
        self.blobs.sync()?;
        Ok(self.file.sync_data()?)
    }
}

impl fmt::Debug for Store {
    /// sled would print all that is stored.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Store").field("file", &self.file).finish_non_exhaustive()
    }
}

#[cfg(test)]
impl Store {
    pub(super) fn unsynced_blobs(&self) -> usize {
        let synced = self.blobs.synced.lock().unwrap();
        self.blobs.there().unwrap().difference(&synced).count()
    }
}

/// Opens sled; waits a little where it is locked.
fn open_unlocked(config: &sled::Config, path: &Path) -> Result<sled::Db, OpenError> {
    let mut tries = 1;
    loop {
        match config.open().map_err(refused(path)) {
            Err(OpenError::Locked) if tries < LOCK_TRIES_MAX => std::thread::sleep(LOCK_PAUSE),
            opened => return opened,
        }
        tries += 1;
    }
}

/// Brings the names of new files to the disk, and sled's settings, which it writes once and does not sync.
fn sync_names(path: &Path) -> io::Result<()> {
    File::open(path.join("conf"))?.sync_all()?;
    File::open(path)?.sync_all()?;
    let path = path.canonicalize()?;
    let parent = path.parent().map(|parent| File::open(parent)?.sync_all());
    match parent {
        // A service may own a directory in one that it cannot read; then another made it, before us.
        Some(Err(error)) if error.kind() != io::ErrorKind::PermissionDenied => Err(error),
        Some(Ok(()) | Err(_)) | None => Ok(()),
    }
}

/// The files in which sled keeps what is too large for its log.
#[derive(Debug)]
struct Blobs {
    directory: PathBuf,
    /// Those that are on the disk. sled writes a blob once, under a name that it does not use again.
    synced: Mutex<BTreeSet<OsString>>,
}

impl Blobs {
    fn there(&self) -> io::Result<BTreeSet<OsString>> {
        std::fs::read_dir(&self.directory)?.map(|entry| Ok(entry?.file_name())).collect()
    }

    fn sync(&self) -> io::Result<()> {
        let mut synced = self.synced.lock().unwrap_or_else(PoisonError::into_inner);
        let there = self.there()?;
        for name in there.difference(&synced) {
            match File::open(self.directory.join(name)) {
                Ok(blob) => blob.sync_all()?,
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => return Err(error),
            }
        }
        if !there.is_subset(&synced) {
            File::open(&self.directory)?.sync_all()?;
        }
        *synced = there;
        Ok(())
    }
}

/// Reads a number that was stored big-endian; anything else is 0.
pub(super) fn number(bytes: &[u8]) -> u64 {
    bytes.first_chunk().map_or(0, |bytes| u64::from_be_bytes(*bytes))
}

fn refused(path: &Path) -> impl Fn(sled::Error) -> OpenError {
    move |error| {
        let sled::Error::Io(error) = error else { return OpenError::Damaged(error.to_string()) };
        // sled wraps a lock that is held into an error of kind Other.
        if error.kind() == io::ErrorKind::WouldBlock
            || error.to_string().contains("could not acquire lock")
        {
            return OpenError::Locked;
        }
        OpenError::Directory { path: path.to_owned(), source: error }
    }
}
