//! Bringing files and names to the disk: the only places where the outbox does it.
//!
//! Tests watch them, to know what a power cut could have taken.

use std::fs::File;
use std::io;
use std::path::Path;

/// Brings what a file holds to the disk.
pub(super) fn data(file: &File) -> io::Result<()> {
    #[cfg(test)]
    super::tests::power_cut::before_sync(file);
    file.sync_data()
}

/// Brings a file to the disk with all that is known of it.
pub(super) fn all(file: &File) -> io::Result<()> {
    #[cfg(test)]
    super::tests::power_cut::before_sync(file);
    file.sync_all()
}

/// Brings the names in a directory to the disk.
pub(super) fn directory(path: &Path) -> io::Result<()> {
    all(&File::open(path)?)
}
