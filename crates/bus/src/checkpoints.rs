//! Up to where logs were read, so that what is added while the daemon is down is read, too.
//!
//! A line goes to the collector with the mark behind it, and both are committed together: over a restart each line is stored
//! once, also when the daemon was killed.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::os::unix::ffi::{OsStrExt as _, OsStringExt as _};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use serde::{Deserialize, Serialize};
use tracing::warn;

use tidegate_model::Name;

/// The table of the outbox that has the marks, each under `BUS/PATH`.
pub const CHECKPOINTS: &str = "marks";

/// The version of a mark's record: this byte, and the mark by postcard.
const VERSION: u8 = 1;

/// The marks that are kept, of all buses: eight buses with as many files as they take. The table has room for these with paths
/// of 4 KiB.
const MARKS_MAX: usize = 2_048;

/// A place in a log.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct TailCheckpoint {
    /// Which file, on its file system.
    pub(super) inode: u64,
    /// How many bytes of it were read.
    pub(super) offset: u64,
    /// The CRC-32 of how it begins: inodes are used again.
    pub(super) head: u32,
}

/// A change of a mark as the outbox takes it: the key, and the record if there is one.
pub type CheckpointChange = (Vec<u8>, Option<Vec<u8>>);

/// The marks of what was given to the collector, by their keys. Clones share them.
#[derive(Debug, Clone, Default)]
pub struct TailCheckpoints(Arc<Mutex<BTreeMap<Vec<u8>, TailCheckpoint>>>);

impl TailCheckpoints {
    /// The marks in these records. One that is of an unknown version is left alone.
    pub fn load(notes: Vec<(Vec<u8>, Vec<u8>)>) -> Self {
        let mut marks = BTreeMap::new();
        for (key, record) in notes {
            let mark = match record.split_first() {
                Some((&VERSION, record)) => postcard::from_bytes(record).ok(),
                Some(_) | None => None,
            };
            if let Some(mark) = mark {
                marks.insert(key, mark);
            } else {
                let key = key.escape_ascii();
                warn!(%key, "a mark of an unknown version is not used");
            }
        }
        Self(Arc::new(Mutex::new(marks)))
    }

    /// The marks of a bus.
    pub(super) fn of(&self, bus: &Name) -> BTreeMap<PathBuf, TailCheckpoint> {
        let prefix = key(bus, Path::new(""));
        let marks = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let own = marks.iter().filter_map(|(key, mark)| {
            let path = key.strip_prefix(prefix.as_slice())?;
            Some((OsString::from_vec(path.to_owned()).into(), *mark))
        });
        own.collect()
    }

    /// Notes a mark, or that there is none. The caller must bring the change to the disk; there is none when the table is full.
    pub(super) fn set(
        &self,
        bus: &Name,
        path: &Path,
        mark: Option<TailCheckpoint>,
    ) -> Option<CheckpointChange> {
        let key = key(bus, path);
        let mut marks = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(mark) = mark else {
            marks.remove(&key);
            return Some((key, None));
        };
        if !marks.contains_key(&key) && marks.len() >= MARKS_MAX {
            return None;
        }
        marks.insert(key.clone(), mark);
        let record = postcard::to_extend(&mark, vec![VERSION]).ok()?;
        Some((key, Some(record)))
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
    fn a_mark_comes_back_from_its_record_and_belongs_to_its_bus() {
        let path = Path::new("/var/log/pump.log");
        let mark = TailCheckpoint { inode: 7, offset: 1 << 40, head: 9 };
        let (key, record) = TailCheckpoints::default().set(&name("log"), path, Some(mark)).unwrap();
        let unknown = (b"log//var/log/other.log".to_vec(), vec![2, 1]);
        let marks = TailCheckpoints::load(vec![(key.clone(), record.unwrap()), unknown]);
        assert_eq!(marks.of(&name("log")), BTreeMap::from([(path.to_owned(), mark)]));
        assert_eq!(marks.of(&name("lo")), BTreeMap::new());
        assert_eq!(marks.set(&name("log"), path, None), Some((key, None)));
        assert_eq!(marks.of(&name("log")), BTreeMap::new());
    }

    #[test]
    fn only_so_many_marks_are_kept() {
        let (marks, mark) =
            (TailCheckpoints::default(), TailCheckpoint { inode: 7, offset: 1, head: 9 });
        let set = |number: usize| {
            marks.set(&name("log"), Path::new(&number.to_string()), Some(mark)).is_some()
        };
        assert!((0..MARKS_MAX).all(set));
        assert!(!set(MARKS_MAX));
        assert!(set(0), "one that is there changes");
    }
}
