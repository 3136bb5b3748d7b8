//! Files: sensors that the kernel shows as files (1-Wire, hwmon, IIO, thermal zones), files that
//! programs write, and logs.
//!
//! The driver reads on an interval, because files of the kernel do not notify of changes. The topic
//! of a message is the path of its file without the leading slash.

mod tail;
mod whole;

use std::collections::BTreeSet;
use std::io;
use std::path::{Path, PathBuf};

use bytes::Bytes;
use tokio::time::MissedTickBehavior;
use tracing::{debug, info};

use crate::checkpoints::TailCheckpoint;
use crate::problem_log::ProblemLog;
use crate::{BusContext, BusDriver, BusTask, WriteQueue};
use tail::Tails;
use tidegate_config::{FileBus, FileMode};
use tidegate_ingest::frame::{Framing, Loss};
use tidegate_model::io_problem;
use whole::WholeFiles;

/// The most files of one bus. If its patterns match more, that is a problem, and the others are not
/// read.
const FILES_MAX: usize = 256;

impl BusDriver for FileBus {
    fn describe(&self) -> String {
        let interval = humantime::format_duration(self.interval);
        format!("files {}, every {interval}", self.patterns.join(", "))
    }

    fn framing(&self) -> Option<Framing> {
        (self.mode == FileMode::Tail).then(|| Framing::lines(self.bytes_max))
    }

    fn task(&self, context: BusContext, _: WriteQueue) -> BusTask {
        Box::pin(run(self.clone(), context))
    }
}

/// Reads the files of a bus, in one of two ways.
enum Reader {
    Whole(WholeFiles),
    Tails(Tails),
}

/// The result of reading a file.
#[derive(Debug)]
enum Event {
    /// The content of this file.
    Message(PathBuf, Bytes),
    /// A line of this log, and the checkpoint behind it.
    Line(PathBuf, Bytes, TailCheckpoint),
    /// The checkpoint of this log without a line; `None` if the log is no longer followed.
    Checkpoint(PathBuf, Option<TailCheckpoint>),
    /// A file or a line above the bound, or a line without its end.
    Lost(PathBuf, Loss),
    /// This file or pattern has a problem.
    Failed(PathBuf, FileError),
    /// This file or pattern has no problem.
    Succeeded(PathBuf),
}

/// Why a file or a pattern gives nothing.
#[derive(Debug, thiserror::Error)]
enum FileError {
    #[error("there are more than {FILES_MAX} files; the others are not read")]
    TooMany,
    #[error("cannot read directory {}: {}", directory.display(), io_problem(error))]
    Directory { directory: PathBuf, error: io::Error },
    #[error("there is no such file")]
    NoMatch,
    #[error("it has more than {bytes_max} bytes; see size_max")]
    TooLarge { bytes_max: usize },
    #[error("{}", io_problem(.0))]
    Read(#[from] io::Error),
}

async fn run(settings: FileBus, context: BusContext) {
    let mut reader = match settings.mode {
        FileMode::Whole => Reader::Whole(WholeFiles::new(settings.bytes_max, false)),
        FileMode::Change => Reader::Whole(WholeFiles::new(settings.bytes_max, true)),
        FileMode::Tail => Reader::Tails(Tails::new(settings.bytes_max, context.checkpoints())),
    };
    info!(bus = %context.bus, files = settings.patterns.join(", "), "reading files");
    let mut problems = context.problems();
    let mut failed = BTreeSet::new();
    let mut ticks = tokio::time::interval(settings.interval);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            () = context.stopped() => return,
            _ = ticks.tick() => {}
        }
        let patterns = settings.patterns.clone();
        let round = move || {
            let mut events = Vec::new();
            reader.round(&expand(&patterns, &mut events), &mut events);
            (reader, events)
        };
        let Some(read) = context.read_blocking(round, &mut problems).await else { return };
        let mut events;
        (reader, events) = read;
        end_old_problems(&mut failed, &mut events);
        for event in events {
            tokio::select! {
                () = context.stopped() => return,
                () = handle(event, &context, &mut problems) => {}
            }
        }
    }
}

/// Adds a success for each path that failed in the last round and not in this one. A removed
/// sensor has no other event.
fn end_old_problems(failed: &mut BTreeSet<PathBuf>, events: &mut Vec<Event>) {
    let failure = |event: &Event| match event {
        Event::Failed(path, _) => Some(path.clone()),
        Event::Message(..)
        | Event::Line(..)
        | Event::Checkpoint(..)
        | Event::Lost(..)
        | Event::Succeeded(_) => None,
    };
    let failing: BTreeSet<_> = events.iter().filter_map(failure).collect();
    let before = std::mem::replace(failed, failing);
    events.extend(before.into_iter().filter(|path| !failed.contains(path)).map(Event::Succeeded));
}

impl Reader {
    fn round(&mut self, paths: &[PathBuf], events: &mut Vec<Event>) {
        match self {
            Self::Whole(files) => files.round(paths, events),
            Self::Tails(tails) => tails.round(paths, events),
        }
    }
}

async fn handle(event: Event, context: &BusContext, problems: &mut ProblemLog) {
    let bus = &context.bus;
    match event {
        Event::Message(path, payload) => context.deliver(&topic(&path), payload, None).await,
        Event::Line(path, line, checkpoint) => {
            let message = context.message(&topic(&path), line);
            context.deliver_line(&path, Some(message), Some(checkpoint)).await;
        }
        Event::Checkpoint(path, checkpoint) => {
            let offset = checkpoint.map(|checkpoint| checkpoint.offset);
            debug!(%bus, path = %path.display(), offset, "log position changed");
            context.deliver_line(&path, None, checkpoint).await;
        }
        Event::Lost(path, loss) => {
            debug!(%bus, path = %path.display(), ?loss, "part of a file was rejected");
            context.count_loss(loss);
        }
        Event::Failed(path, error) => problems.begin(&path.to_string_lossy(), &error.to_string()),
        Event::Succeeded(path) => problems.end(&path.to_string_lossy()),
    }
}

fn topic(path: &Path) -> String {
    path.to_string_lossy().trim_start_matches('/').to_owned()
}

/// Returns the files that match now, each once. A pattern without a match is a problem.
fn expand(patterns: &[String], events: &mut Vec<Event>) -> Vec<PathBuf> {
    let mut files = BTreeSet::new();
    for pattern in patterns {
        let mut unreadable = None;
        let mut matches = glob::glob(pattern)
            .into_iter()
            .flatten()
            .filter_map(|found| found.map_err(|error| unreadable = Some(error)).ok());
        let remaining = FILES_MAX.saturating_sub(files.len());
        let found: Vec<_> = matches.by_ref().take(remaining).collect();
        let has_more = matches.next().is_some();
        drop(matches);
        if has_more {
            events.push(Event::Failed(pattern.into(), FileError::TooMany));
        } else if let (true, Some(error)) = (found.is_empty(), unreadable) {
            let directory = error.path().to_owned();
            let error = FileError::Directory { directory, error: error.into() };
            events.push(Event::Failed(pattern.into(), error));
        } else if found.is_empty() {
            events.push(Event::Failed(pattern.into(), FileError::NoMatch));
        } else if !found.contains(&pattern.into()) {
            events.push(Event::Succeeded(pattern.into()));
        }
        files.extend(found);
    }
    files.into_iter().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn problem_ends_when_its_file_is_gone() {
        let (pulled, broken) = (PathBuf::from("28-0a"), PathBuf::from("28-0b"));
        let failure = |path: &PathBuf| Event::Failed(path.clone(), FileError::NoMatch);
        let mut failed = BTreeSet::new();
        let mut events = vec![failure(&pulled), failure(&broken)];
        end_old_problems(&mut failed, &mut events);
        assert_eq!(events.len(), 2);
        let mut events = vec![failure(&broken)];
        end_old_problems(&mut failed, &mut events);
        let [Event::Failed(first, _), Event::Succeeded(second)] = events.as_slice() else {
            panic!("{events:?}");
        };
        assert_eq!((first, second), (&broken, &pulled));
    }
}
