//! Logs that are not there: on a disk that is mounted later or was pulled, or between two rotations. When one comes back it is
//! read on where it was left, and not from its beginning.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use super::{Tail, resume};
use crate::checkpoints::TailCheckpoint;
use crate::file::FILES_MAX;

/// How long an absent log is remembered.
pub(super) const FORGET_AFTER: Duration = Duration::from_secs(3_600);

/// The absent logs of one bus.
#[derive(Default)]
pub(super) struct Absent(BTreeMap<PathBuf, (Place, Instant)>);

/// Where an absent log is to be read on.
#[derive(Clone, Copy)]
pub(super) enum Place {
    /// Where an earlier run came to: it may have been rotated since.
    Before(TailCheckpoint),
    /// It was read to its end here.
    Here(TailCheckpoint),
    /// At its end: it was there at the start, but nobody could open it.
    End,
}

impl Absent {
    /// Remembers where a log is to be read on. Returns one that is forgotten for it.
    pub(super) fn remember(&mut self, path: PathBuf, place: Place) -> Option<PathBuf> {
        self.0.insert(path, (place, now()));
        if self.0.len() <= FILES_MAX {
            return None;
        }
        let oldest = self.0.iter().min_by_key(|(_, (_, since))| *since)?.0.clone();
        self.0.remove(&oldest).map(|_| oldest)
    }

    /// Forgets the logs that have been absent for long, and names them.
    pub(super) fn forget(&mut self) -> Vec<PathBuf> {
        let now = now();
        let is_old =
            |(_, since): &(Place, Instant)| now.saturating_duration_since(*since) >= FORGET_AFTER;
        let old = self.0.iter().filter(|(_, absent)| is_old(absent));
        let old: Vec<_> = old.map(|(path, _)| path.clone()).collect();
        self.0.retain(|path, _| !old.contains(path));
        old
    }

    /// Opens a log that is there again, or is new. One that cannot be opened yet stays remembered.
    pub(super) fn open(&mut self, path: &Path, line_bytes_max: usize) -> std::io::Result<Tail> {
        let tail = match self.0.get(path) {
            Some((Place::Before(mark), _)) => resume::open_at(path, *mark, line_bytes_max)?,
            Some((Place::Here(mark), _)) => resume::open_marked(path, *mark, line_bytes_max)
                .or_else(|_| Tail::open(path, line_bytes_max))?,
            Some((Place::End, _)) => {
                let mut tail = Tail::open(path, line_bytes_max)?;
                tail.skip_to_end()?;
                tail
            }
            None => Tail::open(path, line_bytes_max)?,
        };
        self.0.remove(path);
        Ok(tail)
    }
}

fn now() -> Instant {
    tokio::time::Instant::now().into_std()
}
