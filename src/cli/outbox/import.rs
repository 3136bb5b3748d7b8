//! `tidegate outbox import`: queues the states of an export file.

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

/// The most invalid lines that are reported; further ones are only counted.
const REPORTED_MAX: u64 = 20;

/// States that are not sent yet.
#[derive(Default)]
struct Batch {
    states: Vec<Exported>,
    bytes: usize,
}

/// Imports a file. Reports and skips invalid lines.
///
/// # Errors
/// When a line was invalid, after all other lines are imported.
pub(super) fn import(access: &OutboxAccess<'_>, path: &Path) -> anyhow::Result<()> {
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
        "{shown} is not an export of this version: its first line is not {FILE_FORMAT}"
    );
    let (mut progress, mut batch) = (Progress::without_total("imported"), Batch::default());
    let (mut imported, mut invalid) = (0, 0);
    for (number, line) in (2_u64..).zip(lines) {
        match Exported::parse(&line.with_context(|| format!("line {number}"))?) {
            Ok(state) => {
                progress.step();
                imported += batch.push(state, access)?;
            }
            Err(error) => {
                invalid += 1;
                if invalid <= REPORTED_MAX {
                    progress.print(&format!("line {number}: {error}"));
                }
            }
        }
    }
    imported += batch.send(access)?;
    progress.finish();
    print(&format!("imported {imported} states from {shown}\n"))?;
    anyhow::ensure!(invalid == 0, "{invalid} lines of {shown} are invalid and were not imported");
    Ok(())
}

impl Batch {
    /// Adds a state, and sends a full batch first. Returns the number of states that were sent.
    fn push(&mut self, state: Exported, access: &OutboxAccess<'_>) -> anyhow::Result<u64> {
        let bytes = state.state.get().len();
        let is_full = self.states.len() >= STATES_MAX || self.bytes + bytes > BYTES_MAX;
        let imported = if is_full { self.send(access)? } else { 0 };
        self.bytes += bytes;
        self.states.push(state);
        Ok(imported)
    }

    /// Sends the batch. Returns the number of its states.
    fn send(&mut self, access: &OutboxAccess<'_>) -> anyhow::Result<u64> {
        let Self { states, .. } = std::mem::take(self);
        if states.is_empty() {
            return Ok(0);
        }
        Ok(access.ask::<Removed>(&Request::Import { states })?.states)
    }
}

/// The lines of a file. A line above [`LINE_BYTES_MAX`] is an error.
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
                Some(Err(anyhow::anyhow!("the line is longer than {LINE_BYTES_MAX} bytes")))
            }
            Ok(_) => {
                line.truncate(line.trim_end().len());
                Some(Ok(line))
            }
            Err(error) => Some(Err(error.into())),
        }
    }
}
