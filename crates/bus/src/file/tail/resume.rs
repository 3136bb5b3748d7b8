//! Opens the log of a checkpoint: the same file, also if a rotation has renamed it.

use std::io::{Error, ErrorKind, Result};
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

use tracing::{info, warn};

use super::Tail;
use crate::checkpoints::TailCheckpoint;

/// The most files of a directory that are searched for a renamed log.
const NEIGHBOURS_MAX: usize = 4_096;

/// Opens a log at its checkpoint. If the log was rotated, opens the old file, which must be read to
/// its end first. If that is gone or was truncated, opens the new file at its beginning.
pub(super) fn open_at(
    path: &Path,
    checkpoint: TailCheckpoint,
    line_bytes_max: usize,
) -> Result<Tail> {
    if let Ok(tail) = open_same(path, checkpoint, line_bytes_max) {
        return Ok(tail);
    }
    if let Some(tail) = find_moved(path, checkpoint, line_bytes_max) {
        return Ok(tail);
    }
    let tail = Tail::open(path, line_bytes_max)?;
    warn!(
        path = %path.display(),
        "log was truncated or rotated away while the bus was stopped; its unread lines are lost"
    );
    Ok(tail)
}

/// Opens the file of a checkpoint under another name in the same directory.
pub(super) fn find_moved(
    path: &Path,
    checkpoint: TailCheckpoint,
    line_bytes_max: usize,
) -> Option<Tail> {
    let neighbours = std::fs::read_dir(path.parent()?).ok()?.take(NEIGHBOURS_MAX).flatten();
    let same =
        neighbours.filter(|one| one.metadata().is_ok_and(|file| file.ino() == checkpoint.inode));
    let (tail, moved) = same
        .map(|one| (open_same(&one.path(), checkpoint, line_bytes_max), one.path()))
        .find_map(|(tail, moved)| Some((tail.ok()?, moved)))?;
    info!(
        path = %path.display(),
        moved = %moved.display(),
        "log was rotated while the bus was stopped; reading the old file to its end"
    );
    Some(tail)
}

/// Opens a file at a checkpoint, if the checkpoint is of this file.
pub(super) fn open_same(
    path: &Path,
    checkpoint: TailCheckpoint,
    line_bytes_max: usize,
) -> Result<Tail> {
    let mut tail = Tail::open(path, line_bytes_max)?;
    tail.seek(checkpoint.offset)?;
    let is_same = tail.checkpoint(checkpoint.offset) == checkpoint;
    if is_same && tail.file.metadata()?.len() >= checkpoint.offset {
        Ok(tail)
    } else {
        Err(Error::from(ErrorKind::NotFound))
    }
}
