//! Uses the disk for the collector: one write or sync at a time, beside the collector's other work.
//!
//! Messages that arrive meanwhile wait for the next commit. Acknowledgements wait until the states
//! of their commit are *safe*: a power cut would not lose them, because they are synced or because
//! Losant has confirmed them.

use std::collections::VecDeque;
use std::pin::Pin;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::watch;
use tracing::{error, info, warn};

use super::group::Notices;
use crate::status::StatusRegistry;
use tidegate_outbox::{Appended, Commit, Error, Outbox};
use tidegate_runtime::liveness;
use tidegate_runtime::wait::blocking;

/// The wait before the disk is tried again after it refused a commit or a sync.
///
/// Meanwhile the queue of the buses fills; its losses are counted.
const DISK_RETRY: Duration = Duration::from_secs(1);

/// Writes commits and keeps their notices until the states are safe.
pub(super) struct Committer {
    outbox: Arc<Outbox>,
    status: StatusRegistry,
    /// Counts the commits.
    committed: watch::Sender<u64>,
    running: Option<Running>,
    /// The notices of commits that are written and not known to be safe, oldest first.
    unsafe_commits: VecDeque<Written>,
    /// After a failed sync: no sync before this instant.
    retry_at: Option<Instant>,
}

/// The use of the disk that is under way.
enum Running {
    Commit(Pin<Box<dyn Future<Output = u64> + Send>>, Notices),
    Sync(Pin<Box<dyn Future<Output = Result<(), Error>> + Send>>),
}

/// A commit on the disk.
struct Written {
    number: u64,
    notices: Notices,
}

/// What ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Finished {
    Commit,
    Sync,
}

impl Committer {
    pub(super) fn new(
        outbox: Arc<Outbox>,
        status: StatusRegistry,
        committed: watch::Sender<u64>,
    ) -> Self {
        let unsafe_commits = VecDeque::new();
        Self { outbox, status, committed, running: None, unsafe_commits, retry_at: None }
    }

    /// Returns whether a write or a sync is under way.
    pub(super) fn is_busy(&self) -> bool {
        self.running.is_some()
    }

    /// Returns the arrival of the oldest reading that is written and not known to be safe.
    pub(super) fn unsafe_since(&self) -> Option<Instant> {
        self.unsafe_commits.front().and_then(|written| written.notices.since)
    }

    /// Returns the instant before which no sync is tried.
    pub(super) fn retry_at(&self) -> Option<Instant> {
        self.retry_at
    }

    /// Starts to write a commit, and to sync it if it `is_synced`. Retries until the disk takes it.
    pub(super) fn start_commit(&mut self, commit: Commit, notices: Notices, is_synced: bool) {
        debug_assert!(!self.is_busy(), "two uses of the disk at a time");
        let (outbox, status) = (Arc::clone(&self.outbox), self.status.clone());
        let writing = write(outbox, status, Arc::new(commit), is_synced);
        self.running = Some(Running::Commit(Box::pin(writing), notices));
    }

    /// Starts to sync what is written.
    pub(super) fn start_sync(&mut self) {
        debug_assert!(!self.is_busy(), "two uses of the disk at a time");
        let outbox = Arc::clone(&self.outbox);
        let syncing = blocking(move || outbox.sync_states());
        let syncing = liveness::with_deadline(liveness::DISK_MAX, "a sync", syncing);
        self.running = Some(Running::Sync(Box::pin(syncing)));
    }

    /// Waits for the end of the write or sync; forever if none is under way. Cancel-safe.
    pub(super) async fn finish(&mut self) -> Finished {
        match &mut self.running {
            None => std::future::pending().await,
            Some(Running::Commit(writing, _)) => {
                let number = writing.await;
                if let Some(Running::Commit(_, notices)) = self.running.take() {
                    self.unsafe_commits.push_back(Written { number, notices });
                }
                self.committed.send_modify(|commits| *commits += 1);
                Finished::Commit
            }
            Some(Running::Sync(syncing)) => {
                let synced = syncing.await;
                self.running = None;
                self.retry_at = None;
                if let Err(error) = synced {
                    self.status.record_write_failure(&error.to_string());
                    error!(%error, "cannot sync the outbox; retrying");
                    self.retry_at = Some(tokio::time::Instant::now().into_std() + DISK_RETRY);
                }
                Finished::Sync
            }
        }
    }

    /// Takes the notices of the commits whose states are safe, oldest first.
    pub(super) fn take_safe(&mut self) -> Vec<Notices> {
        if self.unsafe_commits.is_empty() {
            return Vec::new();
        }
        let first_unsafe = self.outbox.first_unsynced().unwrap_or(u64::MAX);
        let safe = self.unsafe_commits.partition_point(|written| written.number < first_unsafe);
        self.unsafe_commits.drain(..safe).map(|written| written.notices).collect()
    }

    /// Writes rows without a sync, between two commits.
    ///
    /// # Errors
    /// When the disk refuses them.
    pub(super) async fn write_rows(&mut self, commit: Commit) -> Result<(), Error> {
        debug_assert!(!self.is_busy(), "two uses of the disk at a time");
        append(Arc::clone(&self.outbox), Arc::new(commit), false).await.map(drop)
    }
}

async fn write(
    outbox: Arc<Outbox>,
    status: StatusRegistry,
    commit: Arc<Commit>,
    is_synced: bool,
) -> u64 {
    let mut is_failing = false;
    let number = loop {
        match append(Arc::clone(&outbox), Arc::clone(&commit), is_synced).await {
            Ok(number) => break number,
            Err(error) => {
                status.record_write_failure(&error.to_string());
                if !std::mem::replace(&mut is_failing, true) {
                    let states = commit.states.len();
                    error!(%error, states, "cannot write to outbox; retrying");
                }
                tokio::time::sleep(DISK_RETRY).await;
            }
        }
    };
    if is_failing {
        info!("outbox is writable again");
    }
    status.record_commit(commit.states.len());
    number
}

/// Writes a commit once. Returns its number.
async fn append(outbox: Arc<Outbox>, commit: Arc<Commit>, is_synced: bool) -> Result<u64, Error> {
    let append = if is_synced { Outbox::append } else { Outbox::append_unsynced };
    let appending = blocking(move || append(&outbox, &commit));
    let appended = liveness::with_deadline(liveness::DISK_MAX, "a commit", appending).await?;
    let Appended { commit, dropped } = appended;
    if dropped.states > 0 {
        warn!(
            states = dropped.states,
            readings = dropped.readings,
            "outbox full; dropped the oldest states"
        );
    }
    Ok(commit)
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;
    use tidegate_model::{Account, DeviceId, Priority, WallTime};
    use tidegate_outbox::{NewState, Options};

    const DEVICE: [u8; 12] = [1; 12];

    fn committer(directory: &tempfile::TempDir) -> Committer {
        let outbox = Arc::new(Outbox::open(directory.path(), Options::default()).unwrap());
        Committer::new(outbox, StatusRegistry::default(), watch::Sender::new(0))
    }

    /// Returns a commit of one state.
    fn commit() -> Commit {
        let state = NewState {
            device: DeviceId::from(DEVICE),
            bus: "probes".parse().unwrap(),
            moment: WallTime::from_millis(1_777_629_600_000).into(),
            priority: Priority::default(),
            readings: 1,
            json: Bytes::from_static(b"{}"),
        };
        let account = Account { received: 1, outbox_in: 1, ..Account::default() };
        let ledger = [(state.bus.clone(), account)].into();
        Commit { states: vec![state], ledger, ..Commit::default() }
    }

    /// Writes a commit whose notices have this number as their receipt.
    async fn write(committer: &mut Committer, number: u64, is_synced: bool) {
        let receipts = vec![(number, tokio::sync::mpsc::channel(1).0)];
        let notices = Notices { receipts, ..Notices::default() };
        committer.start_commit(commit(), notices, is_synced);
        assert_eq!(committer.finish().await, Finished::Commit);
    }

    /// Returns the receipts of the commits that are safe.
    fn safe(committer: &mut Committer) -> Vec<u64> {
        let notices = committer.take_safe().into_iter();
        notices.flat_map(|notices| notices.receipts).map(|(number, _)| number).collect()
    }

    #[tokio::test]
    async fn notices_wait_for_the_sync() {
        let directory = tempfile::TempDir::new().unwrap();
        let mut committer = committer(&directory);
        write(&mut committer, 1, false).await;
        write(&mut committer, 2, false).await;
        assert!(safe(&mut committer).is_empty());
        committer.start_sync();
        assert_eq!(committer.finish().await, Finished::Sync);
        assert_eq!(safe(&mut committer), [1, 2]);
        write(&mut committer, 3, true).await;
        assert_eq!(safe(&mut committer), [3]);
    }

    #[tokio::test]
    async fn notices_do_not_wait_for_the_sync_of_confirmed_states() {
        let directory = tempfile::TempDir::new().unwrap();
        let mut committer = committer(&directory);
        for number in 1..=3 {
            write(&mut committer, number, false).await;
        }
        committer.outbox.ack(DeviceId::from(DEVICE), 2, 2).unwrap();
        assert!(safe(&mut committer).is_empty(), "the first is neither synced nor confirmed");
        committer.outbox.ack(DeviceId::from(DEVICE), 1, 1).unwrap();
        assert_eq!(safe(&mut committer), [1, 2]);
        assert!(safe(&mut committer).is_empty());
    }
}
