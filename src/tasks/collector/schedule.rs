//! Decides when the collector commits, and whether a commit is synced.
//!
//! A commit is written after the commit interval, or as soon as the group is full. It is synced
//! when a sender waits for that, or when its readings have waited for the sync interval: what the
//! cloud has confirmed by then needs no sync at all.

use std::time::{Duration, Instant};

/// The longest times that a reading waits.
#[derive(Debug, Clone, Copy)]
pub(super) struct Intervals {
    /// Until it is written.
    pub(super) commit: Duration,
    /// Until it is synced.
    pub(super) sync: Duration,
}

/// What waits, at the time of the decision.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Situation {
    /// The arrival of the oldest part of the group; `None` if there is nothing to commit.
    pub(super) group_since: Option<Instant>,
    /// Whether the group holds as much as one commit may.
    pub(super) is_full: bool,
    /// Whether a sender outside the daemon's sessions waits for the group to be on the disk.
    pub(super) is_awaited: bool,
    /// The arrival of the oldest reading that is written and not synced.
    pub(super) unsynced_since: Option<Instant>,
    /// The instant from which a broker waits for acknowledgements.
    pub(super) session_due: Option<Instant>,
    /// After a failed sync: no sync before this instant.
    pub(super) retry_at: Option<Instant>,
}

/// The next use of the disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Step {
    /// Write the group, and sync it and everything before it if it `is_synced`.
    Commit { is_synced: bool },
    /// Sync what is written.
    Sync,
    /// Wait until then, or for an event.
    Wait(Option<Instant>),
}

impl Intervals {
    /// Returns whether commits wait for their sync.
    pub(super) fn delay_syncs(self) -> bool {
        self.sync > self.commit
    }

    /// Returns the next step.
    pub(super) fn next(self, situation: Situation, now: Instant) -> Step {
        let Situation { group_since, is_full, is_awaited, unsynced_since, session_due, retry_at } =
            situation;
        let sync_due = [group_since, unsynced_since].into_iter().flatten().min();
        let sync_due = sync_due.map(|since| since + self.sync.max(self.commit));
        let sync_due = [sync_due, session_due].into_iter().flatten().min().max(retry_at);
        let is_sync_due = sync_due.is_some_and(|due| due <= now);
        let commit_due = group_since.map(|since| since + self.commit);
        let is_commit_due = commit_due.is_some_and(|due| due <= now) || is_full;
        match (group_since, unsynced_since) {
            (Some(_), _) if is_commit_due || is_sync_due => {
                let is_synced = !self.delay_syncs() || is_awaited || is_sync_due;
                Step::Commit { is_synced }
            }
            (None, Some(_)) if is_sync_due => Step::Sync,
            (None, None) => Step::Wait(None),
            _ => Step::Wait([commit_due, sync_due].into_iter().flatten().min()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);
    const DELAYED: Intervals = Intervals { commit: Duration::from_millis(500), sync: LONG };
    const PROMPT: Intervals =
        Intervals { commit: Duration::from_millis(500), sync: Duration::ZERO };
    const LONG: Duration = Duration::from_secs(5);
    const WRITE: Step = Step::Commit { is_synced: false };
    const WRITE_AND_SYNC: Step = Step::Commit { is_synced: true };

    fn start() -> Instant {
        #[expect(clippy::disallowed_methods, reason = "a test needs some instant to start from")]
        Instant::now()
    }

    #[test]
    fn group_is_written_after_the_commit_interval() {
        let now = start();
        let group = Situation { group_since: Some(now), ..Situation::default() };
        assert_eq!(DELAYED.next(group, now), Step::Wait(Some(now + 500 * MS)));
        assert_eq!(DELAYED.next(group, now + 500 * MS), WRITE);
        assert_eq!(PROMPT.next(group, now + 500 * MS), WRITE_AND_SYNC);
        let full = Situation { is_full: true, ..group };
        assert_eq!(DELAYED.next(full, now), WRITE);
        assert_eq!(PROMPT.next(full, now), WRITE_AND_SYNC);
        assert_eq!(DELAYED.next(Situation::default(), now), Step::Wait(None));
    }

    #[test]
    fn reading_is_synced_at_the_latest_after_the_sync_interval() {
        let now = start();
        let written = Situation { unsynced_since: Some(now), ..Situation::default() };
        assert_eq!(
            DELAYED.next(written, now + LONG.saturating_sub(MS)),
            Step::Wait(Some(now + LONG))
        );
        assert_eq!(DELAYED.next(written, now + LONG), Step::Sync);
        let both = Situation { group_since: Some(now + 4_600 * MS), ..written };
        assert_eq!(DELAYED.next(both, now + LONG), WRITE_AND_SYNC);
    }

    #[test]
    fn waiting_sender_gets_a_synced_commit() {
        let now = start();
        let group = Situation { group_since: Some(now), ..Situation::default() };
        let awaited = Situation { is_awaited: true, ..group };
        assert_eq!(DELAYED.next(awaited, now + 500 * MS), WRITE_AND_SYNC);
        let stopped = Situation { session_due: Some(now + MS), ..group };
        assert_eq!(DELAYED.next(stopped, now), Step::Wait(Some(now + MS)));
        assert_eq!(DELAYED.next(stopped, now + MS), WRITE_AND_SYNC);
        let written = Situation { group_since: None, unsynced_since: Some(now), ..stopped };
        assert_eq!(DELAYED.next(written, now + MS), Step::Sync);
    }

    #[test]
    fn failed_sync_is_retried_later() {
        let now = start();
        let failed = Situation {
            unsynced_since: Some(now),
            retry_at: Some(now + 2 * LONG),
            ..Situation::default()
        };
        assert_eq!(DELAYED.next(failed, now + LONG), Step::Wait(Some(now + 2 * LONG)));
        assert_eq!(DELAYED.next(failed, now + 2 * LONG), Step::Sync);
        assert_eq!(PROMPT.next(failed, now), Step::Wait(Some(now + 2 * LONG)));
    }
}
