//! Logs the problems of a bus: one line when a problem begins or changes, one when it is over.

use std::collections::BTreeMap;
use std::time::Duration;

use tokio::time::Instant;
use tracing::{debug, info, warn};

use crate::monitor::SharedMonitor;
use tidegate_model::Name;

/// The most subjects, such as paths or units, whose problems are remembered. Problems of further
/// subjects are logged each time.
const SUBJECTS_MAX: usize = 1_024;

/// The shortest time between two warnings about one subject: a loose contact must not fill the
/// journal.
const LOG_INTERVAL: Duration = Duration::from_secs(60);

/// The problems of one bus.
#[derive(Debug)]
pub struct ProblemLog {
    bus: Name,
    monitor: SharedMonitor,
    subjects: BTreeMap<String, Subject>,
}

/// The last problem of one subject.
#[derive(Debug)]
struct Subject {
    problem: String,
    is_over: bool,
    /// Whether this problem was logged as a warning.
    is_logged: bool,
    /// The time of the last warning.
    logged_at: Instant,
}

impl ProblemLog {
    /// Creates the log of a bus, which reports to `monitor` too.
    pub(crate) fn new(bus: Name, monitor: SharedMonitor) -> Self {
        Self { bus, monitor, subjects: BTreeMap::new() }
    }

    /// Records a problem with a subject. Logs at most one warning a minute for each subject.
    pub fn begin(&mut self, subject: &str, problem: &str) {
        self.monitor.problem(&self.bus, subject, Some(problem));
        let now = Instant::now();
        let known = self.subjects.get(subject);
        let (is_logged, is_early) = known.map_or((false, false), |known| {
            let is_same = !known.is_over && known.problem == problem;
            (is_same && known.is_logged, now < known.logged_at + LOG_INTERVAL)
        });
        if is_logged {
            return;
        }
        if is_early {
            debug!(bus = %self.bus, subject, error = problem, "cannot read; retrying");
        } else {
            warn!(bus = %self.bus, subject, error = problem, "cannot read; retrying");
        }
        let logged_at = known.filter(|_| is_early).map_or(now, |known| known.logged_at);
        let problem = problem.to_owned();
        let last = Subject { problem, is_over: false, is_logged: !is_early, logged_at };
        if known.is_some() || self.subjects.len() < SUBJECTS_MAX {
            self.subjects.insert(subject.to_owned(), last);
        }
    }

    /// Records that a subject has no problem. Logs it if the problem was logged.
    pub fn end(&mut self, subject: &str) {
        let Some(known) = self.subjects.get_mut(subject).filter(|known| !known.is_over) else {
            return;
        };
        known.is_over = true;
        self.monitor.problem(&self.bus, subject, None);
        if known.is_logged {
            info!(bus = %self.bus, subject, "reading again");
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::monitor::Recorder;

    fn is_logged(problems: &ProblemLog) -> bool {
        problems.subjects["a"].is_logged
    }

    fn log() -> ProblemLog {
        ProblemLog::new("bus".parse().unwrap(), Arc::new(Recorder::default()))
    }

    #[tokio::test(start_paused = true)]
    async fn flapping_subject_is_logged_once_a_minute() {
        let mut problems = log();
        problems.begin("a", "gone");
        assert!(is_logged(&problems));
        for _ in 0..29 {
            tokio::time::advance(Duration::from_secs(2)).await;
            problems.end("a");
            problems.begin("a", "gone");
            assert!(!is_logged(&problems), "too early");
        }
        tokio::time::advance(Duration::from_secs(2)).await;
        problems.begin("a", "gone");
        assert!(is_logged(&problems), "it lasts");
    }

    #[test]
    fn remembers_a_bounded_number_of_subjects() {
        let mut problems = log();
        for subject in 0..2_000 {
            problems.begin(&subject.to_string(), "gone");
        }
        assert_eq!(problems.subjects.len(), SUBJECTS_MAX);
    }
}
