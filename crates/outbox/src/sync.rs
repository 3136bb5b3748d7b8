//! Syncs files and directories to disk. The outbox syncs only through these functions.
//!
//! The tests of power cuts observe them, to know what a power cut could lose.

use std::fs::File;
use std::io;
use std::path::Path;

/// Syncs the content of a file (fdatasync).
pub(super) fn data(file: &File) -> io::Result<()> {
    #[cfg(test)]
    super::tests::power_cut::before_sync(file);
    file.sync_data()
}

/// Syncs the content and the metadata of a file (fsync).
pub(super) fn all(file: &File) -> io::Result<()> {
    #[cfg(test)]
    super::tests::power_cut::before_sync(file);
    file.sync_all()
}

/// Syncs the names in a directory.
pub(super) fn directory(path: &Path) -> io::Result<()> {
    all(&File::open(path)?)
}
