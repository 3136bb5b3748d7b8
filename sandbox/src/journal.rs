//! The sandbox's memory on disk: one file of events, one line of JSON each.
//!
//! Lines are written as events happen and are not synced: this is a tool for tests, and what a
//! crash of the whole machine may cost is the last seconds of a pretended cloud. A line that a
//! crash cut short is dropped. The file is rewritten, next to the old one and then renamed, at the
//! start and when it has grown to twice its length.

use std::fs::{self, File, OpenOptions};
use std::io::{self, BufRead, BufReader, BufWriter, Write};
use std::path::{Path, PathBuf};

use rustix::fs::{FlockOperation, flock};
use rustix::io::Errno;

use crate::builder::Error;
use crate::event::Event;

/// An open journal; the lock on its directory is held for as long.
#[derive(Debug)]
pub(crate) struct Journal {
    path: PathBuf,
    file: File,
    length_bytes: u64,
    /// The length from which on it is rewritten.
    long_bytes: u64,
    trouble: Option<String>,
    _lock: File,
}

impl Journal {
    /// Opens the journal of a directory, which is made if need be, with the events in it.
    pub(crate) fn open(
        directory: &Path,
    ) -> Result<(Self, impl Iterator<Item = Result<Event, Error>> + use<>), Error> {
        let path = directory.join("journal.jsonl");
        let failed = |source| Error::State { path: directory.to_owned(), source };
        fs::create_dir_all(directory).map_err(failed)?;
        let lock = lock(&directory.join("lock")).map_err(failed)?;
        let file = append_to(&path).map_err(failed)?;
        let events = events(path.clone(), File::open(&path).map_err(failed)?);
        let journal =
            Self { path, file, length_bytes: 0, long_bytes: 0, trouble: None, _lock: lock };
        Ok((journal, events))
    }

    /// Why the journal is not written any more; it is never tried again.
    pub(crate) fn trouble(&self) -> Option<&str> {
        self.trouble.as_deref()
    }

    /// Whether it is worth being rewritten.
    pub(crate) fn is_long(&self) -> bool {
        self.trouble.is_none() && self.length_bytes >= self.long_bytes
    }

    pub(crate) fn append(&mut self, event: &Event) {
        if self.trouble.is_none() {
            let written = line(event).and_then(|line| {
                self.file.write_all(&line)?;
                Ok(line.len() as u64)
            });
            match written {
                Ok(bytes) => self.length_bytes += bytes,
                Err(error) => self.note(&error),
            }
        }
    }

    /// Replaces all that was written by these events.
    pub(crate) fn rewrite(&mut self, events: impl Iterator<Item = Event>) {
        match write_anew(&self.path, events) {
            Ok((file, length_bytes)) => {
                self.file = file;
                self.length_bytes = length_bytes;
                self.long_bytes = length_bytes.saturating_mul(2).max(LONG_BYTES_MIN);
            }
            Err(error) => self.note(&error),
        }
    }

    fn note(&mut self, error: &io::Error) {
        self.trouble = Some(format!("cannot write {}: {error}", self.path.display()));
    }
}

fn lock(path: &Path) -> io::Result<File> {
    let file = OpenOptions::new().create(true).truncate(false).write(true).open(path)?;
    match flock(&file, FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => Ok(file),
        Err(Errno::WOULDBLOCK) => Err(io::Error::other("another sandbox uses it")),
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

fn write_anew(path: &Path, events: impl Iterator<Item = Event>) -> io::Result<(File, u64)> {
    let draft = path.with_extension("draft");
    let mut writer = BufWriter::new(File::create(&draft)?);
    let mut length_bytes = 0;
    for event in events {
        let line = line(&event)?;
        writer.write_all(&line)?;
        length_bytes += line.len() as u64;
    }
    writer.into_inner()?.sync_all()?;
    fs::rename(&draft, path)?;
    Ok((append_to(path)?, length_bytes))
}

/// The events of a file. A last line without an end was cut short by a crash, and is left out.
fn events(path: PathBuf, file: File) -> impl Iterator<Item = Result<Event, Error>> {
    let mut reader = BufReader::new(file);
    let mut number = 0;
    std::iter::from_fn(move || {
        let mut line = Vec::new();
        number += 1;
        match reader.read_until(b'\n', &mut line) {
            Ok(_) if !line.ends_with(b"\n") => None,
            Ok(_) => Some(serde_json::from_slice(&line).map_err(|error| Error::Journal {
                path: path.clone(),
                line: number,
                reason: error.to_string(),
            })),
            Err(source) => Some(Err(Error::State { path: path.clone(), source })),
        }
    })
}

/// A shorter journal is left as it is.
const LONG_BYTES_MIN: u64 = 16 * 1024 * 1024;
