//! Checkpoints of logs: how far each log was read, so that a restart continues there.
//!
//! A line goes to the collector with the checkpoint behind it, and both are committed together. So
//! each line is stored once, even if the daemon is killed.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::os::unix::ffi::{OsStrExt as _, OsStringExt as _};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use serde::{Deserialize, Serialize};
use tracing::warn;

use tidegate_model::Name;

/// The table of the outbox with the checkpoints, each under `BUS/PATH`.
pub const CHECKPOINTS: &str = "checkpoints";

/// The version of a record: this byte, then the checkpoint as postcard.
const VERSION: u8 = 1;

/// The most checkpoints of all buses: eight buses with the most files that each may read. The table
/// has room for as many with paths of 4 KiB.
const CHECKPOINTS_MAX: usize = 2_048;

/// A position in a log.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct TailCheckpoint {
    /// The inode of the file.
    pub(crate) inode: u64,
    /// The number of bytes that were read.
    pub(crate) offset: u64,
    /// The CRC-32 of the beginning of the file, because file systems reuse inodes.
    pub(crate) head: u32,
}

/// The key of a checkpoint and its new record, as the outbox takes them; `None` removes it.
pub type CheckpointChange = (Vec<u8>, Option<Vec<u8>>);

/// The checkpoints of all lines that the collector has, by their keys. Clones share them.
#[derive(Debug, Clone, Default)]
pub struct TailCheckpoints(Arc<Mutex<BTreeMap<Vec<u8>, TailCheckpoint>>>);

impl TailCheckpoints {
    /// Loads checkpoints from records of the outbox. Ignores a record of an unknown version.
    pub fn load(records: Vec<(Vec<u8>, Vec<u8>)>) -> Self {
        let mut checkpoints = BTreeMap::new();
        for (key, record) in records {
            let checkpoint = match record.split_first() {
                Some((&VERSION, record)) => postcard::from_bytes(record).ok(),
                Some(_) | None => None,
            };
            if let Some(checkpoint) = checkpoint {
                checkpoints.insert(key, checkpoint);
            } else {
                let key = key.escape_ascii();
                warn!(%key, "ignoring checkpoint of unknown version");
            }
        }
        Self(Arc::new(Mutex::new(checkpoints)))
    }

    /// Returns the checkpoints of a bus.
    pub(crate) fn of(&self, bus: &Name) -> BTreeMap<PathBuf, TailCheckpoint> {
        let prefix = key(bus, Path::new(""));
        let checkpoints = self.lock();
        let own = checkpoints.iter().filter_map(|(key, checkpoint)| {
            let path = key.strip_prefix(prefix.as_slice())?;
            Some((OsString::from_vec(path.to_owned()).into(), *checkpoint))
        });
        own.collect()
    }

    /// Sets or removes a checkpoint. The caller must write the returned change to disk. Returns
    /// `None` when the table is full.
    pub(crate) fn set(
        &self,
        bus: &Name,
        path: &Path,
        checkpoint: Option<TailCheckpoint>,
    ) -> Option<CheckpointChange> {
        let key = key(bus, path);
        let mut checkpoints = self.lock();
        let Some(checkpoint) = checkpoint else {
            checkpoints.remove(&key);
            return Some((key, None));
        };
        if !checkpoints.contains_key(&key) && checkpoints.len() >= CHECKPOINTS_MAX {
            return None;
        }
        checkpoints.insert(key.clone(), checkpoint);
        let record = postcard::to_extend(&checkpoint, vec![VERSION]).ok()?;
        Some((key, Some(record)))
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<Vec<u8>, TailCheckpoint>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn key(bus: &Name, path: &Path) -> Vec<u8> {
    [bus.as_bytes(), b"/", path.as_os_str().as_bytes()].concat()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(text: &str) -> Name {
        text.parse().unwrap()
    }

    #[test]
    fn checkpoint_is_restored_from_its_record_for_its_bus() {
        let path = Path::new("/var/log/pump.log");
        let checkpoint = TailCheckpoint { inode: 7, offset: 1 << 40, head: 9 };
        let (key, record) =
            TailCheckpoints::default().set(&name("log"), path, Some(checkpoint)).unwrap();
        let unknown = (b"log//var/log/other.log".to_vec(), vec![2, 1]);
        let checkpoints = TailCheckpoints::load(vec![(key.clone(), record.unwrap()), unknown]);
        assert_eq!(checkpoints.of(&name("log")), BTreeMap::from([(path.to_owned(), checkpoint)]));
        assert_eq!(checkpoints.of(&name("lo")), BTreeMap::new());
        assert_eq!(checkpoints.set(&name("log"), path, None), Some((key, None)));
        assert_eq!(checkpoints.of(&name("log")), BTreeMap::new());
    }

    #[test]
    fn keeps_a_bounded_number_of_checkpoints() {
        let (checkpoints, checkpoint) =
            (TailCheckpoints::default(), TailCheckpoint { inode: 7, offset: 1, head: 9 });
        let set = |number: usize| {
            checkpoints
                .set(&name("log"), Path::new(&number.to_string()), Some(checkpoint))
                .is_some()
        };
        assert!((0..CHECKPOINTS_MAX).all(set));
        assert!(!set(CHECKPOINTS_MAX));
        assert!(set(0), "an existing one changes");
    }
}
