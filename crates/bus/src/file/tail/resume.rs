//! Where an earlier run came to: the same file, or the one that a rotation moved away meanwhile.

use std::io::{Error, ErrorKind};
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

use tracing::{info, warn};

use super::Tail;
use crate::checkpoints::TailCheckpoint;

/// How many files of a directory are looked at for one that was moved away.
const NEIGHBOURS_MAX: usize = 4_096;

/// The log at its mark. If it was rotated, the old one is read to its end first; if that is gone, or the file was cut, from the
/// beginning.
pub(super) fn open_at(
    path: &Path,
    mark: TailCheckpoint,
    line_bytes_max: usize,
) -> std::io::Result<Tail> {
    if let Ok(tail) = open_marked(path, mark, line_bytes_max) {
        return Ok(tail);
    }
    if let Some(tail) = find_moved(path, mark, line_bytes_max) {
        return Ok(tail);
    }
    let tail = Tail::open(path, line_bytes_max)?;
    warn!(path = %path.display(), "the log was cut, or moved to where it is not found, while nobody looked; what it had before is not read");
    Ok(tail)
}

/// The log of this mark under another name in the same directory.
pub(super) fn find_moved(path: &Path, mark: TailCheckpoint, line_bytes_max: usize) -> Option<Tail> {
    let neighbours = std::fs::read_dir(path.parent()?).ok()?.take(NEIGHBOURS_MAX).flatten();
    let same = neighbours.filter(|one| one.metadata().is_ok_and(|file| file.ino() == mark.inode));
    let (tail, moved) = same
        .map(|one| (open_marked(&one.path(), mark, line_bytes_max), one.path()))
        .find_map(|(tail, moved)| Some((tail.ok()?, moved)))?;
    info!(path = %path.display(), moved = %moved.display(), "the log was rotated while nobody looked; reading the old one to its end");
    Some(tail)
}

/// The file of a mark, if it is that.
pub(super) fn open_marked(
    path: &Path,
    mark: TailCheckpoint,
    line_bytes_max: usize,
) -> std::io::Result<Tail> {
    let mut tail = Tail::open(path, line_bytes_max)?;
    tail.seek(mark.offset)?;
    if tail.mark(mark.offset) == mark && tail.file.metadata()?.len() >= mark.offset {
        Ok(tail)
    } else {
        Err(Error::from(ErrorKind::NotFound))
    }
}
