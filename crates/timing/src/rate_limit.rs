//! Limits the number of runs in any time window.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

/// Sets the most runs in any window of a given length.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RateLimit {
    /// The most runs in one window.
    pub runs_max: usize,
    /// The length of the window.
    pub window: Duration,
}

/// Remembers the recent runs, at most as many as the limit allows.
#[derive(Debug, Default)]
pub struct RecentRuns(VecDeque<Instant>);

impl RecentRuns {
    /// Counts a run at `now`. Returns `false`, without counting, if the limit is reached.
    pub fn admit(&mut self, rate: RateLimit, now: Instant) -> bool {
        while self.0.front().is_some_and(|run| now.duration_since(*run) >= rate.window) {
            self.0.pop_front();
        }
        let is_free = self.0.len() < rate.runs_max;
        if is_free {
            self.0.push_back(now);
        }
        is_free
    }
}
