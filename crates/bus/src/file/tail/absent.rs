//! Remembers the positions in absent logs: on a disk that is mounted later or was removed, or
//! between two rotations. A log that returns is continued, not read from its beginning.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use super::{Tail, resume};
use crate::checkpoints::TailCheckpoint;
use crate::file::FILES_MAX;

/// How long the position in an absent log is remembered.
pub(super) const FORGET_AFTER: Duration = Duration::from_secs(3_600);

/// The absent logs of one bus.
#[derive(Default)]
pub(super) struct AbsentLogs(BTreeMap<PathBuf, Absent>);

struct Absent {
    position: Position,
    since: Instant,
}

/// Where to continue an absent log.
#[derive(Clone, Copy)]
pub(super) enum Position {
    /// At the checkpoint of an earlier run. The log may have been rotated since.
    EarlierRun(TailCheckpoint),
    /// At the end, which this run had read.
    Read(TailCheckpoint),
    /// At the end: the log existed at the start, but could not be opened.
    End,
}

impl AbsentLogs {
    /// Remembers the position in a log. Returns the path that is forgotten in exchange, if the
    /// table is full.
    pub(super) fn remember(&mut self, path: PathBuf, position: Position) -> Option<PathBuf> {
        self.0.insert(path, Absent { position, since: now() });
        if self.0.len() <= FILES_MAX {
            return None;
        }
        let oldest = self.0.iter().min_by_key(|(_, absent)| absent.since)?.0.clone();
        self.0.remove(&oldest).map(|_| oldest)
    }

    /// Forgets the logs that have been absent for too long, and returns their paths.
    pub(super) fn forget_old(&mut self) -> Vec<PathBuf> {
        let now = now();
        let mut forgotten = Vec::new();
        self.0.retain(|path, absent| {
            let is_old = now.duration_since(absent.since) >= FORGET_AFTER;
            if is_old {
                forgotten.push(path.clone());
            }
            !is_old
        });
        forgotten
    }

    /// Opens a log that is new or has returned. A log that cannot be opened stays remembered.
    pub(super) fn open(&mut self, path: &Path, line_bytes_max: usize) -> io::Result<Tail> {
        let tail = match self.0.get(path).map(|absent| absent.position) {
            Some(Position::EarlierRun(checkpoint)) => {
                resume::open_at(path, checkpoint, line_bytes_max)?
            }
            Some(Position::Read(checkpoint)) => resume::open_same(path, checkpoint, line_bytes_max)
                .or_else(|_| Tail::open(path, line_bytes_max))?,
            Some(Position::End) => {
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
