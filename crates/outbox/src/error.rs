//! The errors of the outbox.

use std::io;
use std::path::PathBuf;

use super::ranges::RANGES_MAX;
use super::types::{ROW_BYTES_MAX, TABLE_BYTES_MAX};
use tidegate_model::io_problem;

/// The outbox cannot be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// Another process has the outbox open.
    #[error("another tidegate process uses this outbox; stop it, or set another outbox.path here")]
    Locked,
    /// The directory cannot be created, read or written.
    #[error(
        "{}: {}; it must be a directory that the daemon's user can write",
        path.display(),
        io_problem(source)
    )]
    Directory {
        /// The directory of the outbox.
        path: PathBuf,
        /// The error of the operating system.
        source: io::Error,
    },
    /// A newer tidegate wrote the outbox.
    #[error(
        "format version {0} is newer than this tidegate supports; install the newer tidegate again"
    )]
    Newer(u64),
    /// An older tidegate wrote the outbox.
    #[error("the outbox has the format of an older tidegate; move the directory aside")]
    Older,
}

/// A call on an open outbox failed.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// sled cannot read or write a store.
    #[error("cannot use a store of the outbox: {}", describe(.0))]
    Store(#[from] sled::Error),
    /// The disk is full or broken.
    #[error("cannot write the outbox to disk: {}", io_problem(.0))]
    Disk(#[from] io::Error),
    /// A block cannot be read back.
    #[error("a part of the outbox is damaged")]
    Damaged,
    /// A change of the catalog cannot be encoded.
    #[error("cannot encode a change of the outbox: {0}")]
    Encode(#[from] postcard::Error),
    /// A rejected state cannot be encoded; the state stays in its queue.
    #[error("cannot encode a rejected state: {0}")]
    EncodeReject(serde_json::Error),
    /// The state to be rejected is not in its queue.
    #[error("state {0} of its device is not in the outbox")]
    NotQueued(u64),
    /// The removed states of a device lie in more ranges than the outbox stores.
    #[error(
        "a device has more than {RANGES_MAX} separate ranges of acknowledged states; \
         these states will be sent again"
    )]
    TooManyRanges,
    /// The value of a row is too large.
    #[error("a row of {0} bytes is larger than {ROW_BYTES_MAX} bytes")]
    RowTooLarge(usize),
    /// A table is full.
    #[error("table {0} would take more than {TABLE_BYTES_MAX} bytes")]
    TableFull(&'static str),
}

/// Describes an error of sled in words.
fn describe(error: &sled::Error) -> String {
    match error {
        sled::Error::Io(error) => io_problem(error),
        sled::Error::Corruption { .. } => "its file is damaged".to_owned(),
        sled::Error::CollectionNotFound(_) => "a part of it is missing".to_owned(),
        sled::Error::ReportableBug(_) | sled::Error::Unsupported(_) => {
            "its file cannot be used".to_owned()
        }
    }
}

impl Error {
    /// Returns whether data is damaged, so that a retry cannot succeed.
    pub(super) fn is_damage(&self) -> bool {
        match self {
            Self::Disk(error) | Self::Store(sled::Error::Io(error)) => is_damage(error),
            Self::Damaged
            | Self::Store(
                sled::Error::Corruption { .. }
                | sled::Error::CollectionNotFound(_)
                | sled::Error::ReportableBug(_)
                | sled::Error::Unsupported(_),
            ) => true,
            Self::Encode(_)
            | Self::EncodeReject(_)
            | Self::NotQueued(_)
            | Self::TooManyRanges
            | Self::RowTooLarge(_)
            | Self::TableFull(_) => false,
        }
    }
}

/// Returns whether the medium lost data. A lack of memory, of space or of file descriptors is no
/// damage.
fn is_damage(error: &io::Error) -> bool {
    let kinds = [io::ErrorKind::NotFound, io::ErrorKind::UnexpectedEof, io::ErrorKind::InvalidData];
    let is_broken = error.raw_os_error() == Some(rustix::io::Errno::IO.raw_os_error());
    is_broken || kinds.contains(&error.kind())
}
