//! How often something may be done: at most so many times in any window.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

/// At most so many times in any window of this length.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RateLimit {
    /// How many.
    pub runs_max: usize,
    /// In how long.
    pub window: Duration,
}

/// When it was done lately: no more times are kept than the rate allows.
#[derive(Debug, Default)]
pub struct Window(VecDeque<Instant>);

impl Window {
    /// Counts one at `now`; `false` if it would be one too many.
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
