//! Files: sensors that the kernel shows as files (1-Wire, hwmon, IIO, thermal zones), files that programs write, and logs.
//!
//! Files are looked at on an interval: the kernel's files tell nobody that they changed. The topic of a message is the path
//! of its file, without the slash at its beginning.

mod tail;
mod whole;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use bytes::Bytes;
use tokio::time::MissedTickBehavior;
use tracing::{debug, info};

use super::Feed;
use super::checkpoints::TailCheckpoint;
use super::problem_log::ProblemLog;
use tail::Tails;
use tidegate_config::{FileBus, FileMode};
use tidegate_ingest::frame::Loss;
use whole::Whole;

/// Files that one bus reads; more matches of its patterns are told as a trouble and left out.
const FILES_MAX: usize = 256;

/// The task that reads files.
pub struct FileTask {
    /// Which files, and how.
    pub settings: FileBus,
    /// To the collector.
    pub feed: Feed,
}

/// How the files of a bus are read.
enum Reader {
    Whole(Whole),
    Tails(Tails),
}

/// What a file gave.
#[derive(Debug, PartialEq, Eq)]
enum Find {
    /// A message of this file.
    Message(PathBuf, Bytes),
    /// A line of this log, and the place behind it.
    Line(PathBuf, Bytes, TailCheckpoint),
    /// Where this log is read on, or that it is read no more.
    Place(PathBuf, Option<TailCheckpoint>),
    /// A file or a line over the bound, or a line without its end.
    Lost(PathBuf, Loss),
    /// It cannot be read.
    Trouble(PathBuf, String),
    /// It was read.
    Well(PathBuf),
}

impl FileTask {
    /// Runs until it is stopped.
    pub async fn run(self) {
        let Self { settings, feed } = self;
        let mut reader = match settings.mode {
            FileMode::Whole => Reader::Whole(Whole::new(settings.bytes_max, false)),
            FileMode::Change => Reader::Whole(Whole::new(settings.bytes_max, true)),
            FileMode::Tail => Reader::Tails(Tails::new(settings.bytes_max, feed.marks())),
        };
        info!(bus = %feed.bus(), files = settings.patterns.join(", "), "reading files");
        let mut troubles = feed.troubles();
        let mut troubled = BTreeSet::new();
        let mut ticks = tokio::time::interval(settings.interval);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                () = feed.stopped() => return,
                _ = ticks.tick() => {}
            }
            let patterns = settings.patterns.clone();
            let round = move || {
                let mut finds = Vec::new();
                reader.round(&expand(&patterns, &mut finds), &mut finds);
                (reader, finds)
            };
            let Some(read) = feed.look(round, &mut troubles).await else { return };
            let mut finds;
            (reader, finds) = read;
            relieve(&mut troubled, &mut finds);
            for find in finds {
                tokio::select! {
                    () = feed.stopped() => return,
                    () = pass_on(find, &feed, &mut troubles) => {}
                }
            }
        }
    }
}

/// Adds that all is well with what was in trouble and is not there any more, such as a sensor that was pulled.
fn relieve(troubled: &mut BTreeSet<PathBuf>, finds: &mut Vec<Find>) {
    let begins = |find: &Find| match find {
        Find::Trouble(path, _) => Some(path.clone()),
        Find::Message(..) | Find::Line(..) | Find::Place(..) | Find::Lost(..) | Find::Well(_) => {
            None
        }
    };
    let still: BTreeSet<_> = finds.iter().filter_map(begins).collect();
    let over = std::mem::replace(troubled, still);
    finds.extend(over.into_iter().filter(|path| !troubled.contains(path)).map(Find::Well));
}

impl Reader {
    fn round(&mut self, paths: &[PathBuf], finds: &mut Vec<Find>) {
        match self {
            Self::Whole(whole) => whole.round(paths, finds),
            Self::Tails(tails) => tails.round(paths, finds),
        }
    }
}

async fn pass_on(find: Find, feed: &Feed, troubles: &mut ProblemLog) {
    match find {
        Find::Message(path, payload) => feed.deliver(&topic(&path), payload, None).await,
        Find::Line(path, line, mark) => {
            feed.deliver_line(&path, Some((&topic(&path), line)), Some(mark)).await;
        }
        Find::Place(path, mark) => {
            let offset = mark.map(|mark| mark.offset);
            debug!(bus = %feed.bus(), path = %path.display(), offset, "reading the log from here");
            feed.deliver_line(&path, None, mark).await;
        }
        Find::Lost(path, loss) => {
            debug!(bus = %feed.bus(), path = %path.display(), ?loss, "a part of a file was rejected");
            feed.lose_frame(loss);
        }
        Find::Trouble(path, trouble) => troubles.begin(&path.to_string_lossy(), &trouble),
        Find::Well(path) => troubles.end(&path.to_string_lossy()),
    }
}

fn topic(path: &Path) -> String {
    path.to_string_lossy().trim_start_matches('/').to_owned()
}

/// The files that there are now, each once. A pattern without one is a trouble.
fn expand(patterns: &[String], finds: &mut Vec<Find>) -> Vec<PathBuf> {
    let mut files = BTreeSet::new();
    for pattern in patterns {
        let mut unreadable = None;
        let mut matches = glob::glob(pattern)
            .into_iter()
            .flatten()
            .filter_map(|found| found.map_err(|error| unreadable = Some(error)).ok());
        let room = FILES_MAX.saturating_sub(files.len());
        let found: Vec<_> = matches.by_ref().take(room).collect();
        let has_more = matches.next().is_some();
        drop(matches);
        if has_more {
            let trouble = format!("there are more than {FILES_MAX} files; the rest is not read");
            finds.push(Find::Trouble(pattern.into(), trouble));
        } else if let (true, Some(error)) = (found.is_empty(), unreadable) {
            let (directory, error) = (error.path().display(), error.error());
            let trouble = format!("cannot look into {directory}: {error}");
            finds.push(Find::Trouble(pattern.into(), trouble));
        } else if found.is_empty() {
            finds.push(Find::Trouble(pattern.into(), "there is no such file".to_owned()));
        } else if !found.contains(&pattern.into()) {
            finds.push(Find::Well(pattern.into()));
        }
        files.extend(found);
    }
    files.into_iter().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_in_trouble_and_is_gone_is_in_trouble_no_longer() {
        let (pulled, broken) = (PathBuf::from("28-0a"), PathBuf::from("28-0b"));
        let trouble = |path: &PathBuf| Find::Trouble(path.clone(), "I/O error".to_owned());
        let mut troubled = BTreeSet::new();
        let mut finds = vec![trouble(&pulled), trouble(&broken)];
        relieve(&mut troubled, &mut finds);
        assert_eq!(finds.len(), 2);
        let mut finds = vec![trouble(&broken)];
        relieve(&mut troubled, &mut finds);
        assert_eq!(finds, [trouble(&broken), Find::Well(pulled)]);
    }
}
