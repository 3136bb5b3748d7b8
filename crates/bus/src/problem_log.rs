//! Logs the problems of a bus: one line when a problem begins or changes, one when it is over.

use std::collections::BTreeMap;

use tokio::time::Instant;
use tracing::{debug, info, warn};

use crate::monitor::SharedMonitor;
use tidegate_model::Name;
use tidegate_timing::log_limit::LogLimit;

/// The most subjects, such as paths or units, whose problems are remembered.
const SUBJECTS_MAX: usize = 1_024;

/// The problems of one bus.
#[derive(Debug)]
pub struct ProblemLog {
    bus: Name,
    monitor: SharedMonitor,
    subjects: BTreeMap<String, Subject>,
    /// Keeps a loose contact from filling the journal.
    limit: LogLimit<String>,
}

/// The last problem of one subject.
#[derive(Debug)]
struct Subject {
    problem: String,
    is_over: bool,
    /// Whether this problem was logged as a warning.
    is_logged: bool,
}

impl ProblemLog {
    /// Creates the log of a bus, which reports to `monitor` too.
    pub(crate) fn new(bus: Name, monitor: SharedMonitor) -> Self {
        Self { bus, monitor, subjects: BTreeMap::new(), limit: LogLimit::default() }
    }

    /// Records a problem with a subject. Logs at most one warning a minute for each subject.
    pub fn begin(&mut self, subject: &str, problem: &str) {
        self.monitor.set_problem(&self.bus, subject, Some(problem));
        let known = self.subjects.get(subject);
        let is_same = known.is_some_and(|known| !known.is_over && known.problem == problem);
        if is_same && known.is_some_and(|known| known.is_logged) {
            return;
        }
        let has_room = known.is_some() || self.subjects.len() < SUBJECTS_MAX;
        let is_logged = self.limit.admit(subject.to_owned(), Instant::now().into_std());
        if is_logged {
            warn!(bus = %self.bus, subject, error = problem, "cannot read; retrying");
        } else {
            debug!(bus = %self.bus, subject, error = problem, "cannot read; retrying");
        }
        if has_room {
            let last = Subject { problem: problem.to_owned(), is_over: false, is_logged };
            self.subjects.insert(subject.to_owned(), last);
        }
    }

    /// Records that a subject has no problem. Logs it if the problem was logged.
    pub fn end(&mut self, subject: &str) {
        let Some(known) = self.subjects.get_mut(subject).filter(|known| !known.is_over) else {
            return;
        };
        known.is_over = true;
        self.monitor.set_problem(&self.bus, subject, None);
        if known.is_logged {
            info!(bus = %self.bus, subject, "reading again");
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::time::Duration;

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
