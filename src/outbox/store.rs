//! sled, opened with care and brought to the disk for real.
//!
//! sled's own flush hands pages to the kernel but does not wait for the disk, so a power cut could take what it flushed.
//! [`Store::sync`] therefore ends with an fdatasync of the file that sled writes.

use std::fs::File;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::time::Duration;

use super::{Error, OpenError, Options};

/// The format of the whole store: trees and keys.
const FORMAT_VERSION: u64 = 1;

const FORMAT_KEY: &str = "format";

/// How often, and at what distance, a lock is tried before it counts as another daemon's.
const LOCK_TRIES: u32 = 20;
const LOCK_WAIT: Duration = Duration::from_millis(50);

/// The trees.
#[derive(Debug)]
pub(super) struct Store {
    db: sled::Db,
    file: File,
    /// Device and first sequence number -> group.
    pub(super) groups: sled::Tree,
    /// Cursors, ledger, origins, format.
    pub(super) meta: sled::Tree,
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
        let db = open_unlocked(path, &config)?;
        // The file has just been created or read, so its name must be on the disk, too.
        File::open(path).and_then(|directory| directory.sync_all()).map_err(directory)?;
        let file = File::open(path.join("db")).map_err(directory)?;
        let tree = |name: &str| db.open_tree(name).map_err(refused(path));
        let (groups, meta) = (tree("groups")?, tree("meta")?);
        let (rejects, damaged) = (tree("rejects")?, tree("damaged")?);
        let store = Self { db, file, groups, meta, rejects, damaged };
        store.check_format().map_err(|error| match error {
            Ok(version) => OpenError::Newer(version),
            Err(error) => refused(path)(error),
        })?;
        Ok(store)
    }

    fn check_format(&self) -> Result<(), Result<u64, sled::Error>> {
        let version = self.meta.get(FORMAT_KEY).map_err(Err)?.map(|bytes| number(&bytes));
        match version {
            Some(version) if version > FORMAT_VERSION => Err(Ok(version)),
            Some(_) => Ok(()),
            None => {
                self.meta.insert(FORMAT_KEY, &FORMAT_VERSION.to_be_bytes()).map(drop).map_err(Err)
            }
        }
    }

    /// Brings everything to the disk.
    pub(super) fn sync(&self) -> Result<(), Error> {
        self.db.flush()?;
        Ok(self.file.sync_data()?)
    }
}

/// Opens sled, and waits a moment for a lock: sled lets go of it a little after its last handle is gone.
fn open_unlocked(path: &Path, config: &sled::Config) -> Result<sled::Db, OpenError> {
    for _ in 1..LOCK_TRIES {
        match open_once(path, config) {
            Err(OpenError::Locked) => std::thread::sleep(LOCK_WAIT),
            opened => return opened,
        }
    }
    open_once(path, config)
}

fn open_once(path: &Path, config: &sled::Config) -> Result<sled::Db, OpenError> {
    // A damaged file can make sled panic.
    match catch_unwind(AssertUnwindSafe(|| config.open())) {
        Ok(opened) => opened.map_err(refused(path)),
        Err(_) => Err(OpenError::Damaged("sled cannot read it".to_owned())),
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
        if error.kind() == std::io::ErrorKind::WouldBlock
            || error.to_string().contains("could not acquire lock")
        {
            return OpenError::Locked;
        }
        OpenError::Directory { path: path.to_owned(), source: error }
    }
}
