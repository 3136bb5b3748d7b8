//! What can go wrong with the outbox.

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
        source: std::io::Error,
    },
    /// A newer tidegate wrote it.
    #[error(
        "format version {0} is newer than this tidegate knows; install the newer version again"
    )]
    Newer(u64),
    /// The store underneath does not open.
    #[error(
        "the store is damaged: {0}; move the directory aside to start with an empty one, and keep it for a rescue"
    )]
    Damaged(String),
}

/// A call on an open outbox failed.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The store underneath failed: a full or broken disk.
    #[error("the store failed: {0}")]
    Store(#[from] sled::Error),
    /// What was written could not be brought to the disk.
    #[error("cannot bring the outbox to the disk: {0}")]
    Sync(#[from] std::io::Error),
    /// An earlier change failed half-way, so nobody can tell what is on the disk.
    #[error("the store failed before and must be opened again; restart tidegate")]
    Broken,
    /// The store gave up a change.
    #[error("the store gave up a change")]
    Aborted,
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

impl From<sled::transaction::TransactionError<()>> for Error {
    fn from(error: sled::transaction::TransactionError<()>) -> Self {
        match error {
            sled::transaction::TransactionError::Storage(error) => Self::Store(error),
            sled::transaction::TransactionError::Abort(()) => Self::Aborted,
        }
    }
}
