//! Writes the file of calls, with which the next run stays within Losant's throttle after a kill.
//!
//! The file is beside the outbox and is never synced: it must survive the process, not the boot.
//! A call that Losant may count takes two lines, about 75 bytes. The line of a call that certainly
//! did not reach Losant is removed again if no other call has begun since, so probes of a broken
//! link do not make the file grow.

use std::fs::File;
use std::io::{Seek as _, SeekFrom, Write as _};
use std::path::{Path, PathBuf};

use tracing::warn;

use tidegate_delivery::throttle_log::{self, Remembered};
use tidegate_model::{BootId, DeviceId};
use tidegate_runtime::clock::uptime;

/// The size above which the file is rewritten, in bytes: some hundred calls. With many devices it
/// is rewritten when it has doubled.
const BYTES_MAX: usize = 64 * 1024;

/// The open file of calls; `file` is `None` if it cannot be written.
#[derive(Debug)]
pub(super) struct CallFile {
    path: PathBuf,
    boot: BootId,
    file: Option<File>,
    bytes: usize,
    /// The size above which the file is rewritten.
    bytes_max: usize,
    /// The last line, if it is the begin of a call.
    last_begin: Option<LastBegin>,
}

/// The last line of the file.
#[derive(Debug, Clone, Copy)]
struct LastBegin {
    device: DeviceId,
    /// The length of the file before the line.
    offset: usize,
}

impl CallFile {
    /// Reads the calls of earlier runs, and rewrites the file with the recent ones.
    pub(super) fn open(outbox: &Path, boot: BootId) -> (Self, Remembered) {
        let path = outbox.with_extension("calls");
        let mut calls = Self { path, boot, file: None, bytes: 0, bytes_max: 0, last_begin: None };
        let remembered = calls.renew();
        (calls, remembered)
    }

    fn renew(&mut self) -> Remembered {
        let text = std::fs::read_to_string(&self.path).unwrap_or_default();
        let (uptime, now) = (uptime(), super::now());
        let remembered = throttle_log::read(&text, self.boot, uptime, now);
        let whole = throttle_log::whole(self.boot, remembered.devices(), uptime, now);
        self.bytes = whole.len();
        self.bytes_max = BYTES_MAX.max(2 * self.bytes);
        self.file = self
            .replace(&whole)
            .inspect_err(|error| {
                let path = self.path.display();
                warn!(%error, %path, "cannot record calls; a restart may exceed Losant's call \
                    limit");
            })
            .ok();
        remembered
    }

    /// Replaces the file with a rename, so that a kill leaves the old or the new file.
    fn replace(&self, text: &str) -> std::io::Result<File> {
        let new = self.path.with_extension("calls.new");
        let mut file = File::create(&new)?;
        file.write_all(text.as_bytes())?;
        std::fs::rename(&new, &self.path)?;
        Ok(file)
    }

    pub(super) fn begin(&mut self, device: DeviceId) {
        let offset = self.write(&throttle_log::begin(device, uptime()));
        self.last_begin = offset.map(|offset| LastBegin { device, offset });
    }

    pub(super) fn end(&mut self, device: DeviceId, may_count: bool) {
        let last = self.last_begin.take();
        let begin = last.filter(|last| last.device == device && !may_count);
        if begin.is_none_or(|begin| self.truncate(begin.offset).is_err()) {
            self.write(&throttle_log::end(device, uptime(), may_count));
        }
    }

    /// Removes the end of the file.
    fn truncate(&mut self, offset: usize) -> std::io::Result<()> {
        if let Some(file) = &mut self.file {
            file.set_len(offset as u64)?;
            file.seek(SeekFrom::Start(offset as u64))?;
            self.bytes = offset;
        }
        Ok(())
    }

    /// Writes a line. Returns the length of the file before it; `None` if that is not known.
    fn write(&mut self, line: &str) -> Option<usize> {
        if self.bytes > self.bytes_max {
            self.renew();
        }
        let offset = self.bytes;
        self.bytes = offset.saturating_add(line.len());
        // The outbox reports a full disk. Here it costs at most an extra call after a kill.
        if self.file.as_mut()?.write_all(line.as_bytes()).is_err() {
            self.bytes = usize::MAX;
            return None;
        }
        Some(offset)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn device(number: u8) -> DeviceId {
        DeviceId::from([number; 12])
    }

    #[test]
    fn file_does_not_grow_with_calls_that_never_arrive() {
        let directory = tempfile::TempDir::new().unwrap();
        let path = directory.path().join("outbox");
        let (mut calls, _) = CallFile::open(&path, BootId(7));
        let text = || std::fs::read_to_string(path.with_extension("calls")).unwrap();
        let empty = text();
        for _ in 0..10 {
            calls.begin(device(1));
            assert!(text().len() > empty.len(), "a kill must not forget the call");
            calls.end(device(1), false);
            assert_eq!(text(), empty);
        }
        calls.begin(device(1));
        calls.end(device(1), true);
        assert!(text().len() - empty.len() <= 80, "{}", text());
    }

    #[test]
    fn line_before_another_call_stays() {
        let directory = tempfile::TempDir::new().unwrap();
        let path = directory.path().join("outbox");
        let (mut calls, _) = CallFile::open(&path, BootId(7));
        calls.begin(device(1));
        calls.begin(device(2));
        calls.end(device(1), false);
        calls.end(device(2), false);
        calls.begin(device(3));
        calls.end(device(3), false);
        let text = std::fs::read_to_string(path.with_extension("calls")).unwrap();
        let lines: Vec<_> = text.lines().map(|line| line.split(' ').next().unwrap()).collect();
        assert_eq!(lines, ["boot", "begin", "begin", "none", "none"], "{text}");
    }
}
