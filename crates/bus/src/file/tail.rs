//! Follows logs: reads each line that is added to a file, also when the file is rotated or
//! truncated, and after a restart.
//!
//! The content of a file that exists at the first start is old and not read. A file that appears
//! later is read from its beginning. A complete line is passed on with the checkpoint behind it,
//! from which a restart continues. A line that a rotation cut short is counted as incomplete.
//!
//! A truncated log may be as long as before at the next round, so its beginning is compared too. A
//! program that does not append leaves a hole at the beginning of the truncated file; the hole is
//! skipped.

mod absent;
mod resume;

use std::collections::BTreeMap;
use std::fs::{File, Metadata};
use std::io::{self, Read as _, Seek as _, SeekFrom};
use std::os::unix::fs::{FileExt as _, MetadataExt as _};
use std::path::{Path, PathBuf};
use std::time::Instant;

use super::whole::open;
use super::{Event, FileError};
use crate::checkpoints::TailCheckpoint;
use absent::{AbsentLogs, Position};
use tidegate_ingest::frame::{Frame, Framer, Framing};

/// The most bytes of one file in one round. A log that grows faster is read over several rounds.
const ROUND_BYTES_MAX: u64 = 64 * 1024;

/// The bytes at the beginning of a file that identify it.
const HEAD_BYTES: usize = 256;

/// The logs of a bus.
pub(super) struct Tails {
    line_bytes_max: usize,
    logs: BTreeMap<PathBuf, Tail>,
    /// The checkpoints of earlier runs. The first round takes them; files that appear later are
    /// new.
    checkpoints: Option<BTreeMap<PathBuf, TailCheckpoint>>,
    absent: AbsentLogs,
}

/// An open log.
struct Tail {
    file: File,
    identity: FileIdentity,
    offset: u64,
    /// The beginning of the file.
    head: Vec<u8>,
    framer: Framer,
    /// The time that the framer gets for all input, so that a line never times out.
    opened: Instant,
}

/// Identifies a file independently of its name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct FileIdentity {
    device: u64,
    inode: u64,
}

impl Tails {
    /// Follows logs from these checkpoints.
    pub(super) fn new(
        line_bytes_max: usize,
        checkpoints: BTreeMap<PathBuf, TailCheckpoint>,
    ) -> Self {
        Self {
            line_bytes_max,
            logs: BTreeMap::new(),
            checkpoints: Some(checkpoints),
            absent: AbsentLogs::default(),
        }
    }

    /// Reads the lines that were added to each log.
    pub(super) fn round(&mut self, paths: &[PathBuf], events: &mut Vec<Event>) {
        if let Some(checkpoints) = self.checkpoints.take() {
            self.start(paths, checkpoints, events);
        }
        let vanished: Vec<_> =
            self.logs.keys().filter(|path| !paths.contains(path)).cloned().collect();
        for path in vanished {
            // The log may have received its last lines after the last round.
            let Some(tail) = self.logs.get_mut(&path) else { continue };
            if tail.read(&path, events).unwrap_or(true) {
                let checkpoint = tail.checkpoint(tail.offset);
                tail.discard_partial_line(&path, events);
                self.logs.remove(&path);
                self.remember(path, Position::Read(checkpoint), events);
            }
        }
        let forgotten = self.absent.forget_old();
        events.extend(forgotten.into_iter().map(|path| Event::Checkpoint(path, None)));
        for path in paths {
            match self.follow(path, events) {
                Ok(()) => events.push(Event::Succeeded(path.clone())),
                Err(error) => events.push(Event::Failed(path.clone(), FileError::Read(error))),
            }
        }
    }

    /// Opens the logs at the start: at their checkpoint if they have one, otherwise at their end.
    fn start(
        &mut self,
        paths: &[PathBuf],
        mut checkpoints: BTreeMap<PathBuf, TailCheckpoint>,
        events: &mut Vec<Event>,
    ) {
        for path in paths {
            let checkpoint = checkpoints.remove(path);
            let opened = match checkpoint {
                Some(checkpoint) => resume::open_at(path, checkpoint, self.line_bytes_max),
                None => Tail::open(path, self.line_bytes_max)
                    .and_then(|mut tail| tail.skip_to_end().map(|()| tail)),
            };
            // The round reports a log that cannot be opened.
            if let Ok(tail) = opened {
                let checkpoint = tail.checkpoint(tail.offset);
                events.push(Event::Checkpoint(path.clone(), Some(checkpoint)));
                self.logs.insert(path.clone(), tail);
            } else {
                let position = checkpoint.map_or(Position::End, Position::EarlierRun);
                self.remember(path.clone(), position, events);
            }
        }
        for (path, checkpoint) in checkpoints {
            match resume::find_moved(&path, checkpoint, self.line_bytes_max) {
                Some(tail) => drop(self.logs.insert(path, tail)),
                None => self.remember(path, Position::EarlierRun(checkpoint), events),
            }
        }
    }

    /// Remembers the position in an absent log.
    fn remember(&mut self, path: PathBuf, position: Position, events: &mut Vec<Event>) {
        if let Some(forgotten) = self.absent.remember(path, position) {
            events.push(Event::Checkpoint(forgotten, None));
        }
    }

    /// Reads a log, and the next one of its name if it was rotated.
    fn follow(&mut self, path: &Path, events: &mut Vec<Event>) -> io::Result<()> {
        let Some(tail) = self.logs.get_mut(path) else {
            let mut tail = self.absent.open(path, self.line_bytes_max)?;
            events.push(Event::Checkpoint(path.to_owned(), Some(tail.checkpoint(tail.offset))));
            tail.read(path, events)?;
            self.logs.insert(path.to_owned(), tail);
            return Ok(());
        };
        // Checked before the old file is read: it may receive lines until it is replaced.
        let is_another = identity(&std::fs::metadata(path)?) != tail.identity;
        if tail.was_truncated() {
            tail.seek(0)?;
            tail.discard_partial_line(path, events);
        }
        match tail.read(path, events) {
            // The file of a removed disk, or removed on its server: it can never be read again.
            Err(error) if !is_another => return Err(error),
            Ok(false) => return Ok(()),
            Ok(true) | Err(_) => {}
        }
        if is_another {
            let next = Tail::open(path, self.line_bytes_max)?;
            tail.discard_partial_line(path, events);
            *tail = next;
            tail.read(path, events)?;
        }
        Ok(())
    }
}

impl Tail {
    fn open(path: &Path, line_bytes_max: usize) -> io::Result<Self> {
        let file = open(path)?;
        let identity = identity(&file.metadata()?);
        let framer = Framer::new(Framing::lines(line_bytes_max));
        let opened = tokio::time::Instant::now().into_std();
        Ok(Self { file, identity, offset: 0, head: Vec::new(), framer, opened })
    }

    /// Continues at this offset.
    fn seek(&mut self, offset: u64) -> io::Result<()> {
        self.offset = self.file.seek(SeekFrom::Start(offset))?;
        self.head = vec![0; HEAD_BYTES.min(usize::try_from(offset).unwrap_or(HEAD_BYTES))];
        self.file.read_exact_at(&mut self.head, 0)
    }

    fn skip_to_end(&mut self) -> io::Result<()> {
        let length = self.file.metadata()?.len();
        self.seek(length)
    }

    /// Returns the checkpoint at this offset.
    fn checkpoint(&self, offset: u64) -> TailCheckpoint {
        let length = usize::try_from(offset).unwrap_or(HEAD_BYTES);
        let head = crc32fast::hash(self.head.get(..length).unwrap_or(&self.head));
        TailCheckpoint { inode: self.identity.inode, offset, head }
    }

    /// Returns whether the file was truncated since it was read, even if it is as long as before.
    fn was_truncated(&self) -> bool {
        let mut head = vec![0; self.head.len()];
        let is_short = self.file.metadata().is_ok_and(|file| file.len() < self.offset);
        // The next read reports a file that cannot be read.
        is_short || self.file.read_exact_at(&mut head, 0).is_ok_and(|()| head != self.head)
    }

    /// Skips a hole at the current offset. Returns whether there is one.
    fn skip_hole(&mut self, path: &Path, events: &mut Vec<Event>) -> io::Result<bool> {
        // Fails at the end of the file, and on file systems without holes.
        let data = rustix::fs::seek(&self.file, rustix::fs::SeekFrom::Data(self.offset));
        let data = data.unwrap_or(self.offset).max(self.offset);
        let is_hole = data > self.offset;
        if is_hole {
            self.discard_partial_line(path, events);
        }
        self.file.seek(SeekFrom::Start(data))?;
        if is_hole {
            self.seek(data)?;
        }
        Ok(is_hole)
    }

    /// Reads further. Returns whether it has reached the end.
    fn read(&mut self, path: &Path, events: &mut Vec<Event>) -> io::Result<bool> {
        let is_behind_hole = self.skip_hole(path, events)?;
        let mut added = Vec::new();
        (&self.file).take(ROUND_BYTES_MAX).read_to_end(&mut added)?;
        let is_at_end = (added.len() as u64) < ROUND_BYTES_MAX;
        if is_behind_hole {
            // Data starts with a block, whose first bytes may belong to the hole.
            let rest = added.iter().take_while(|byte| **byte == 0).count();
            added.drain(..rest);
            self.offset += rest as u64;
        }
        let missing = HEAD_BYTES.saturating_sub(self.head.len());
        self.head.extend(added.iter().take(missing));
        // Line by line, because each has a checkpoint.
        for line in added.split_inclusive(|byte| matches!(byte, b'\n' | b'\r')) {
            self.offset += line.len() as u64;
            self.framer.handle_bytes(line, self.opened);
            let frames: Vec<_> = self.framer.drain_frames().collect();
            events.extend(frames.into_iter().map(|frame| match frame {
                Frame::Whole(line) => Event::Line(path.into(), line, self.checkpoint(self.offset)),
                Frame::Lost(lost) => Event::Lost(path.into(), lost.loss),
            }));
        }
        Ok(is_at_end)
    }

    /// Discards a line without its end, which will not come.
    fn discard_partial_line(&mut self, path: &Path, events: &mut Vec<Event>) {
        self.framer.handle_disconnected();
        events.extend(self.framer.drain_frames().filter_map(|frame| match frame {
            Frame::Lost(lost) => Some(Event::Lost(path.into(), lost.loss)),
            Frame::Whole(_) => None,
        }));
    }
}

fn identity(metadata: &Metadata) -> FileIdentity {
    FileIdentity { device: metadata.dev(), inode: metadata.ino() }
}

#[cfg(test)]
mod tests;
