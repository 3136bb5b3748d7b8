//! `tidegate outbox import`: the other end of an export.

use std::fs::File;
use std::io::{BufRead, BufReader, Read as _};
use std::path::Path;

use anyhow::Context as _;

use super::access::OutboxAccess;
use crate::cli::print;
use crate::cli::progress::Progress;
use crate::outbox_admin::{BYTES_MAX, Exported, FILE_FORMAT, Request, STATES_MAX};
use tidegate_outbox::Removed;

/// The longest line that is read, in bytes: a state with its device.
const LINE_BYTES_MAX: u64 = BYTES_MAX as u64 + 1_024;

/// So many lines that cannot be imported are told; the others are only counted.
const TOLD_MAX: u64 = 20;

/// Lines that are not imported yet.
#[derive(Default)]
struct Batch {
    states: Vec<Exported>,
    bytes: usize,
}

/// Imports a file. Lines that are none are told and passed over, and make it fail in the end.
pub(super) fn import(way: &OutboxAccess<'_>, path: &Path) -> anyhow::Result<()> {
    let shown = path.display();
    let file: Box<dyn BufRead> = if path == Path::new("-") {
        Box::new(std::io::stdin().lock())
    } else {
        let file = File::open(path).with_context(|| format!("cannot open {shown}"))?;
        Box::new(BufReader::new(file))
    };
    let mut lines = Lines { file };
    let header = lines.next().transpose()?.unwrap_or_default();
    anyhow::ensure!(
        header == FILE_FORMAT,
        "{shown} is no export of this version: its first line is not {FILE_FORMAT}"
    );
    let (mut progress, mut batch) = (Progress::without_end("imported"), Batch::default());
    let (mut imported, mut refused) = (0, 0);
    for (number, line) in (2_u64..).zip(lines) {
        match Exported::parse(&line.with_context(|| format!("line {number}"))?) {
            Ok(state) => {
                progress.step();
                imported += batch.push(state, way)?;
            }
            Err(error) => {
                refused += 1;
                if refused <= TOLD_MAX {
                    progress.tell(&format!("line {number} {error}"));
                }
            }
        }
    }
    imported += batch.send(way)?;
    progress.finish();
    print(&format!("{imported} states of {shown} wait here\n"))?;
    anyhow::ensure!(refused == 0, "{refused} lines of {shown} are not imported");
    Ok(())
}

impl Batch {
    /// Adds a state. Returns how many were imported for it to have room.
    fn push(&mut self, state: Exported, way: &OutboxAccess<'_>) -> anyhow::Result<u64> {
        let bytes = state.state.get().len();
        let is_full = self.states.len() >= STATES_MAX || self.bytes + bytes > BYTES_MAX;
        let imported = if is_full { self.send(way)? } else { 0 };
        self.bytes += bytes;
        self.states.push(state);
        Ok(imported)
    }

    fn send(&mut self, way: &OutboxAccess<'_>) -> anyhow::Result<u64> {
        let Self { states, .. } = std::mem::take(self);
        if states.is_empty() {
            return Ok(0);
        }
        Ok(way.ask::<Removed>(&Request::Import { states })?.states)
    }
}

/// The lines of a file, none of them longer than it may be.
struct Lines {
    file: Box<dyn BufRead>,
}

impl Iterator for Lines {
    type Item = anyhow::Result<String>;

    fn next(&mut self) -> Option<Self::Item> {
        let mut line = String::new();
        match (&mut self.file).take(LINE_BYTES_MAX).read_line(&mut line) {
            Ok(0) => None,
            Ok(_) if !line.ends_with('\n') && line.len() as u64 >= LINE_BYTES_MAX => {
                Some(Err(anyhow::anyhow!("is longer than {LINE_BYTES_MAX} bytes")))
            }
            Ok(_) => {
                line.truncate(line.trim_end().len());
                Some(Ok(line))
            }
            Err(error) => Some(Err(error.into())),
        }
    }
}
