//! Remembers since when each problem has lasted, over the documents that are built.

use std::collections::BTreeMap;

use tokio::time::Instant;
use tracing::info;

use super::{Health, Problem, ProblemCode};
use crate::status::Since;
use tidegate_timing::log_limit::LogLimit;

/// The most problems whose start is remembered. Further ones count as new in each document.
const PROBLEMS_MAX: usize = 256;

/// The active problems.
#[derive(Debug, Default)]
pub struct ProblemTracker {
    active: BTreeMap<Key, Active>,
    /// Keeps a problem that comes and goes from filling the journal.
    limit: LogLimit<Key>,
}

/// The code and the subject of a problem.
type Key = (ProblemCode, String);

/// A problem that lasts.
#[derive(Debug, Clone, Copy)]
struct Active {
    since: Since,
    is_logged: bool,
}

impl ProblemTracker {
    /// Sets since when each problem has lasted, and forgets the problems that are over. Logs both.
    pub fn update(&mut self, health: &mut Health) {
        let mut active = BTreeMap::new();
        for problem in &mut health.problems {
            let key = (problem.code, problem.subject.clone());
            let known = self.active.remove(&key);
            let earlier = known.map(|known| known.since);
            let since = problem.since.into_iter().chain(earlier).min();
            let since = since.unwrap_or_else(Since::now);
            problem.since = Some(since);
            let is_logged = match known {
                Some(known) => known.is_logged,
                None => self.log(&key, problem),
            };
            if active.len() < PROBLEMS_MAX {
                active.insert(key, Active { since, is_logged });
            }
        }
        for ((code, subject), _) in self.active.iter().filter(|(_, one)| one.is_logged) {
            info!(code = code.as_str(), subject, "health problem is over");
        }
        self.active = active;
    }

    /// Logs a new problem, at most once a minute. Returns whether it was logged.
    fn log(&mut self, key: &Key, problem: &Problem) -> bool {
        let is_logged = self.limit.admit(key.clone(), Instant::now().into_std());
        if is_logged {
            let (code, sentence) = (problem.code.as_str(), &problem.sentence);
            info!(code, sentence, cure = problem.cure, "health problem");
        }
        is_logged
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn health(subjects: impl IntoIterator<Item = usize>) -> Health {
        let new = |subject: usize| Problem::new(ProblemCode::BusDown, &subject.to_string(), "x");
        Health { problems: subjects.into_iter().map(new).collect(), ..Health::default() }
    }

    fn ages(tracker: &mut ProblemTracker, mut health: Health) -> Vec<u64> {
        tracker.update(&mut health);
        health.problems.iter().map(|one| one.since.unwrap().elapsed().as_secs()).collect()
    }

    #[tokio::test(start_paused = true)]
    async fn problem_keeps_its_start_until_it_is_over() {
        let mut tracker = ProblemTracker::default();
        assert_eq!(ages(&mut tracker, health([1])), [0]);
        tokio::time::advance(Duration::from_secs(60)).await;
        assert_eq!(ages(&mut tracker, health([1, 2])), [60, 0]);
        assert_eq!(ages(&mut tracker, health([2])), [0]);
        tokio::time::advance(Duration::from_secs(60)).await;
        assert_eq!(ages(&mut tracker, health([1, 2])), [0, 60]);
    }

    #[tokio::test(start_paused = true)]
    async fn remembers_a_bounded_number_of_problems() {
        let mut tracker = ProblemTracker::default();
        ages(&mut tracker, health(0..1_000));
        assert_eq!(tracker.active.len(), PROBLEMS_MAX);
    }
}
