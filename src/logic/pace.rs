//! Losant's throttle, kept on our side: so many calls in any window of time.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

/// Calls that Losant allows per device in [`WINDOW`], `sendState` and `sendCommand` together
/// (rest-api/overview, "Throttles And Limits").
pub const CALLS_MAX: usize = 30;

/// The length of Losant's window (same page), and half a second more: a call may travel faster than the one before it.
pub const WINDOW: Duration = Duration::from_millis(15_500);

/// A sliding window: remembers the last `calls_max` calls and says when the next may go.
#[derive(Debug, Clone)]
pub struct Pace {
    calls: VecDeque<Instant>,
    calls_max: usize,
    window: Duration,
}

impl Default for Pace {
    fn default() -> Self {
        Self::new(CALLS_MAX, WINDOW)
    }
}

impl Pace {
    /// At most `calls_max` calls, at least 1, in any `window`.
    pub fn new(calls_max: usize, window: Duration) -> Self {
        let calls_max = calls_max.max(1);
        Self { calls: VecDeque::with_capacity(calls_max), calls_max, window }
    }

    /// When the next call may go: `now`, or the moment when the oldest counted call leaves the window.
    pub fn ready_at(&self, now: Instant) -> Instant {
        match self.calls.front() {
            Some(oldest) if self.calls.len() >= self.calls_max => now.max(*oldest + self.window),
            _ => now,
        }
    }

    /// Counts a call that goes at `now`.
    pub fn record(&mut self, now: Instant) {
        if self.calls.len() >= self.calls_max {
            self.calls.pop_front();
        }
        self.calls.push_back(now);
    }
}

#[cfg(test)]
#[expect(clippy::disallowed_methods, reason = "a test needs some instant to start from")]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn no_window_ever_holds_more_calls_than_allowed(
            calls_max in 1..40_usize, waits_ms in prop::collection::vec(0..3_000_u64, 1..200),
        ) {
            let window = Duration::from_secs(15);
            let mut pace = Pace::new(calls_max, window);
            let mut now = Instant::now();
            let mut sent: Vec<Instant> = Vec::new();
            for wait_ms in waits_ms {
                now = pace.ready_at(now + Duration::from_millis(wait_ms));
                pace.record(now);
                sent.push(now);
                let inside = sent.iter().filter(|at| now.duration_since(**at) < window).count();
                prop_assert!(inside <= calls_max);
            }
        }
    }

    #[test]
    fn a_full_budget_is_used_at_once_and_then_waits_for_the_window() {
        let start = Instant::now();
        let mut pace = Pace::new(3, Duration::from_secs(15));
        for _ in 0..3 {
            assert_eq!(pace.ready_at(start), start);
            pace.record(start);
        }
        assert_eq!(pace.ready_at(start), start + Duration::from_secs(15));
    }
}
