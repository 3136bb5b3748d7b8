//! What can go wrong with the outbox.

use std::io;
use std::path::PathBuf;

/// The outbox cannot be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// Another process has it.
    #[error(
        "another tidegate is running on this outbox; stop it, or give this one a path of its own (outbox.path)"
    )]
    Locked,
    /// The directory cannot be made, read or written.
    #[error("{}: {source}; it must be a directory that the daemon's user can write", path.display())]
    Directory {
        /// What could not be used.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// A newer tidegate wrote it.
    #[error(
        "format version {0} is newer than this tidegate knows; install the newer version again"
    )]
    Newer(u64),
    /// An early tidegate wrote it.
    #[error("it was written by a tidegate before 0.2 and cannot be read; move the directory aside")]
    Older,
}

/// A call on an open outbox failed.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The store of what waits longer failed.
    #[error("the store failed: {0}")]
    Store(#[from] sled::Error),
    /// The disk is full or broken.
    #[error("cannot bring the outbox to the disk: {0}")]
    Disk(#[from] io::Error),
    /// A group does not read back.
    #[error("a part of the outbox is damaged")]
    Unreadable,
    /// A change cannot be put into bytes.
    #[error("cannot write a change of the outbox: {0}")]
    Encode(#[from] postcard::Error),
    /// The state to be rejected does not wait.
    #[error("state {0} of its device does not wait")]
    NotWaiting(u64),
    /// What is acknowledged lies scattered over more ranges than are kept.
    #[error(
        "more than {max} separate ranges of states are acknowledged; these will be sent again",
        max = super::INTERVALS_MAX
    )]
    Scattered,
    /// A note is too large.
    #[error("a note of {0} bytes is larger than {max} bytes", max = super::NOTE_BYTES_MAX)]
    NoteTooLarge(usize),
    /// A table of notes is full.
    #[error("the notes of table {0} would take more than {max} bytes", max = super::NOTES_BYTES_MAX)]
    NotesFull(&'static str),
}

impl Error {
    /// Whether what was to be read is damaged, and will not be there another time.
    pub(super) fn is_damage(&self) -> bool {
        match self {
            Self::Disk(error) | Self::Store(sled::Error::Io(error)) => is_damage(error),
            Self::Unreadable
            | Self::Store(
                sled::Error::Corruption { .. }
                | sled::Error::CollectionNotFound(_)
                | sled::Error::ReportableBug(_)
                | sled::Error::Unsupported(_),
            ) => true,
            Self::Encode(_)
            | Self::NotWaiting(_)
            | Self::Scattered
            | Self::NoteTooLarge(_)
            | Self::NotesFull(_) => false,
        }
    }
}

/// A medium that does not give back what it had, in contrast to a lack of memory, of room or of files that may be open.
fn is_damage(error: &io::Error) -> bool {
    let kinds = [io::ErrorKind::NotFound, io::ErrorKind::UnexpectedEof, io::ErrorKind::InvalidData];
    let is_broken = error.raw_os_error() == Some(rustix::io::Errno::IO.raw_os_error());
    is_broken || kinds.contains(&error.kind())
}
