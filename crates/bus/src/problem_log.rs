//! What is wrong on a bus: one log line when it begins or changes, one when it is over.

use std::collections::BTreeMap;
use std::time::Duration;

use tokio::time::Instant;
use tracing::{debug, info, warn};

use crate::monitor::SharedMonitor;
use tidegate_model::Name;

/// Subjects, such as paths or units, of which troubles are remembered. Those of more are told each time.
const SUBJECTS_MAX: usize = 1_024;

/// Between two lines about one subject: a loose contact must not fill the journal.
const TELL_INTERVAL: Duration = Duration::from_secs(60);

/// The troubles of one bus.
#[derive(Debug)]
pub(super) struct ProblemLog {
    bus: Name,
    monitor: SharedMonitor,
    subjects: BTreeMap<String, Subject>,
}

/// What is known of one subject that is or was in trouble.
#[derive(Debug)]
struct Subject {
    trouble: String,
    is_over: bool,
    /// Whether this trouble has been told.
    is_told: bool,
    told_at: Instant,
}

impl ProblemLog {
    pub(super) fn new(bus: Name, monitor: SharedMonitor) -> Self {
        Self { bus, monitor, subjects: BTreeMap::new() }
    }

    /// Something is wrong with the subject. One that is so each minute anew is told once a minute.
    pub(super) fn begin(&mut self, subject: &str, trouble: &str) {
        self.monitor.problem(&self.bus, subject, Some(trouble));
        let now = Instant::now();
        let known = self.subjects.get(subject);
        let (is_told, is_early) = known.map_or((false, false), |known| {
            let is_same = !known.is_over && known.trouble == trouble;
            (is_same && known.is_told, now < known.told_at + TELL_INTERVAL)
        });
        if is_told {
            return;
        }
        if is_early {
            debug!(bus = %self.bus, subject, error = trouble, "cannot read; trying again");
        } else {
            warn!(bus = %self.bus, subject, error = trouble, "cannot read; trying again");
        }
        let told_at = known.filter(|_| is_early).map_or(now, |known| known.told_at);
        let news =
            Subject { trouble: trouble.to_owned(), is_over: false, is_told: !is_early, told_at };
        if known.is_some() || self.subjects.len() < SUBJECTS_MAX {
            self.subjects.insert(subject.to_owned(), news);
        }
    }

    /// All is well with the subject.
    pub(super) fn end(&mut self, subject: &str) {
        let Some(known) = self.subjects.get_mut(subject).filter(|known| !known.is_over) else {
            return;
        };
        known.is_over = true;
        self.monitor.problem(&self.bus, subject, None);
        if known.is_told {
            info!(bus = %self.bus, subject, "reads again");
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::monitor::Recorder;

    fn is_told(troubles: &ProblemLog) -> bool {
        troubles.subjects["a"].is_told
    }

    #[tokio::test(start_paused = true)]
    async fn a_loose_contact_is_told_once_a_minute_and_one_that_lasts_is_told() {
        let mut troubles = ProblemLog::new("bus".parse().unwrap(), Arc::new(Recorder::default()));
        troubles.begin("a", "gone");
        assert!(is_told(&troubles));
        for _ in 0..29 {
            tokio::time::advance(Duration::from_secs(2)).await;
            troubles.end("a");
            troubles.begin("a", "gone");
            assert!(!is_told(&troubles), "too early");
        }
        tokio::time::advance(Duration::from_secs(2)).await;
        troubles.begin("a", "gone");
        assert!(is_told(&troubles), "it lasts");
    }

    #[test]
    fn what_is_remembered_is_bounded() {
        let mut troubles = ProblemLog::new("bus".parse().unwrap(), Arc::new(Recorder::default()));
        for subject in 0..2_000 {
            troubles.begin(&subject.to_string(), "gone");
        }
        assert_eq!(troubles.subjects.len(), SUBJECTS_MAX);
    }
}
