//! The journal: a file of events in the data directory, one line of JSON each.
//!
//! Lines are not synced when they are written: the sandbox is a tool for tests, and a power failure
//! may lose its last seconds. A last line that a crash truncated is dropped. The journal is
//! rewritten at the start and whenever it has doubled in length: the new file is written beside the
//! old one and then renamed.

use std::fs::{self, File, OpenOptions};
use std::io::{self, BufRead, BufReader, BufWriter, Write};
use std::path::{Path, PathBuf};

use rustix::fs::{FlockOperation, flock};
use rustix::io::Errno;

use crate::error::Error;
use crate::event::Event;

/// An open journal. It holds the lock on the data directory until it is dropped.
#[derive(Debug)]
pub(crate) struct Journal {
    path: PathBuf,
    file: File,
    length_bytes: u64,
    /// The length from which the journal is rewritten.
    long_bytes: u64,
    write_failure: Option<WriteFailure>,
    _lock: File,
}

/// The reason why the journal cannot be written.
#[derive(Debug, thiserror::Error)]
#[error("cannot write {path}: {source}; correct the cause and restart the sandbox")]
pub(crate) struct WriteFailure {
    path: PathBuf,
    source: io::Error,
}

impl Journal {
    /// Opens the journal in `directory`, which is created if it does not exist, and returns the
    /// events in it.
    pub(crate) fn open(
        directory: &Path,
    ) -> Result<(Self, impl Iterator<Item = Result<Event, Error>> + use<>), Error> {
        let path = directory.join("journal.jsonl");
        let failed = |source| Error::Storage { path: directory.to_owned(), source };
        fs::create_dir_all(directory).map_err(failed)?;
        let lock = lock(&directory.join("lock")).map_err(failed)?;
        let file = append_to(&path).map_err(failed)?;
        let events = events(path.clone(), File::open(&path).map_err(failed)?);
        let journal =
            Self { path, file, length_bytes: 0, long_bytes: 0, write_failure: None, _lock: lock };
        Ok((journal, events))
    }

    /// Returns the error after which the journal stopped writing; it does not retry.
    pub(crate) fn write_failure(&self) -> Option<&WriteFailure> {
        self.write_failure.as_ref()
    }

    /// Returns whether the journal has doubled in length since it was rewritten.
    pub(crate) fn is_long(&self) -> bool {
        self.write_failure.is_none() && self.length_bytes >= self.long_bytes
    }

    /// Appends an event, unless an earlier write failed.
    pub(crate) fn append(&mut self, event: &Event) {
        if self.write_failure.is_none() {
            let written = line(event).and_then(|line| {
                self.file.write_all(&line)?;
                Ok(line.len() as u64)
            });
            match written {
                Ok(bytes) => self.length_bytes += bytes,
                Err(error) => self.fail(error),
            }
        }
    }

    /// Replaces the content of the journal with `events`.
    pub(crate) fn rewrite(&mut self, events: impl Iterator<Item = Event>) {
        match write_new_file(&self.path, events) {
            Ok((file, length_bytes)) => {
                self.file = file;
                self.length_bytes = length_bytes;
                self.long_bytes = length_bytes.saturating_mul(2).max(LONG_BYTES_MIN);
            }
            Err(error) => self.fail(error),
        }
    }

    fn fail(&mut self, source: io::Error) {
        self.write_failure = Some(WriteFailure { path: self.path.clone(), source });
    }
}

fn lock(path: &Path) -> io::Result<File> {
    let file = OpenOptions::new().create(true).truncate(false).write(true).open(path)?;
    match flock(&file, FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => Ok(file),
        Err(Errno::WOULDBLOCK) => Err(io::Error::other("another sandbox uses this directory")),
        Err(error) => Err(error.into()),
    }
}

fn append_to(path: &Path) -> io::Result<File> {
    OpenOptions::new().create(true).append(true).open(path)
}

fn line(event: &Event) -> io::Result<Vec<u8>> {
    let mut line = serde_json::to_vec(event)?;
    line.push(b'\n');
    Ok(line)
}

fn write_new_file(path: &Path, events: impl Iterator<Item = Event>) -> io::Result<(File, u64)> {
    let new_path = path.with_extension("new");
    let mut writer = BufWriter::new(File::create(&new_path)?);
    let mut length_bytes = 0;
    for event in events {
        let line = line(&event)?;
        writer.write_all(&line)?;
        length_bytes += line.len() as u64;
    }
    writer.into_inner()?.sync_all()?;
    fs::rename(&new_path, path)?;
    Ok((append_to(path)?, length_bytes))
}

/// Parses the events of a file. A last line without a line feed was truncated by a crash and is
/// dropped.
fn events(path: PathBuf, file: File) -> impl Iterator<Item = Result<Event, Error>> {
    let mut reader = BufReader::new(file);
    let mut number = 0;
    std::iter::from_fn(move || {
        let mut line = Vec::new();
        number += 1;
        match reader.read_until(b'\n', &mut line) {
            Ok(_) if !line.ends_with(b"\n") => None,
            Ok(_) => Some(serde_json::from_slice(&line).map_err(|source| Error::Journal {
                path: path.clone(),
                line: number,
                source,
            })),
            Err(source) => Some(Err(Error::Storage { path: path.clone(), source })),
        }
    })
}

/// A journal shorter than this is not rewritten.
const LONG_BYTES_MIN: u64 = 16 * 1024 * 1024;

#[cfg(test)]
mod tests {
    use super::*;

    fn deleted(device_id: &str) -> Event {
        Event::Deleted { device_id: device_id.to_owned() }
    }

    fn read(directory: &Path) -> (Journal, Vec<Event>) {
        let (journal, events) = Journal::open(directory).unwrap();
        (journal, events.collect::<Result<_, _>>().unwrap())
    }

    #[test]
    fn reads_appended_events_in_order() {
        let directory = tempfile::tempdir().unwrap();
        let (mut journal, _) = read(directory.path());
        journal.append(&deleted("b"));
        journal.append(&deleted("a"));
        drop(journal);
        assert_eq!(read(directory.path()).1, [deleted("b"), deleted("a")]);
    }

    #[test]
    fn rewriting_replaces_a_long_journal() {
        let directory = tempfile::tempdir().unwrap();
        let (mut journal, _) = read(directory.path());
        journal.rewrite([].into_iter());
        assert!(!journal.is_long());
        journal.append(&deleted(&"x".repeat(usize::try_from(LONG_BYTES_MIN).unwrap())));
        assert!(journal.is_long());
        journal.rewrite([deleted("a")].into_iter());
        assert!(!journal.is_long());
        journal.append(&deleted("b"));
        assert!(journal.write_failure().is_none());
        drop(journal);
        assert_eq!(read(directory.path()).1, [deleted("a"), deleted("b")]);
    }
}
