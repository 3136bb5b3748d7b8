//! Writes the file of calls, with which the next run stays within Losant's throttle after a kill.
//!
//! The file is beside the outbox and is never synced: it must survive the process, not the boot.

use std::fs::File;
use std::io::Write as _;
use std::path::{Path, PathBuf};

use tracing::warn;

use tidegate_delivery::throttle_log::{self, Remembered};
use tidegate_model::{BootId, DeviceId};
use tidegate_runtime::clock::uptime;

/// The size above which the file is rewritten, in bytes: some thousand calls.
const BYTES_MAX: usize = 64 * 1024;

/// The open file of calls; `file` is `None` if it cannot be written.
#[derive(Debug)]
pub(super) struct CallFile {
    path: PathBuf,
    boot: BootId,
    file: Option<File>,
    bytes: usize,
}

impl CallFile {
    /// Reads the calls of earlier runs, and rewrites the file with the recent ones.
    pub(super) fn open(outbox: &Path, boot: BootId) -> (Self, Remembered) {
        let path = outbox.with_extension("calls");
        let mut calls = Self { path, boot, file: None, bytes: 0 };
        let remembered = calls.renew();
        (calls, remembered)
    }

    fn renew(&mut self) -> Remembered {
        let text = std::fs::read_to_string(&self.path).unwrap_or_default();
        let (uptime, now) = (uptime(), super::now());
        let remembered = throttle_log::read(&text, self.boot, uptime, now);
        let whole = throttle_log::whole(self.boot, remembered.devices(), uptime, now);
        self.bytes = whole.len();
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
        self.write(&throttle_log::begin(device, uptime()));
    }

    pub(super) fn end(&mut self, device: DeviceId, may_count: bool) {
        self.write(&throttle_log::end(device, uptime(), may_count));
    }

    fn write(&mut self, line: &str) {
        if self.bytes > BYTES_MAX {
            self.renew();
        }
        self.bytes += line.len();
        // The outbox reports a full disk. Here it costs at most an extra call after a kill.
        if let Some(file) = &mut self.file
            && file.write_all(line.as_bytes()).is_err()
        {
            self.bytes = BYTES_MAX + 1;
        }
    }
}
