//! Losant's limit on the number of calls in a sliding window.

use std::collections::VecDeque;
use std::time::Duration;

use tokio::time::Instant;

/// Calls allowed in one window (rest-api/overview, "Throttles And Limits").
pub(crate) const CALLS_MAX: usize = 30;

/// A sliding window over the admitted calls.
///
/// Rejected calls do not count. Losant does not document whether they do.
#[derive(Debug)]
pub(crate) struct Throttle {
    window: Duration,
    admitted: VecDeque<Instant>,
}

impl Throttle {
    pub(crate) fn new(window: Duration) -> Self {
        Self { window, admitted: VecDeque::with_capacity(CALLS_MAX) }
    }

    /// Returns whether a call at `now` is admitted, and counts it if so.
    pub(crate) fn admit(&mut self, now: Instant) -> bool {
        let outside = |call: &Instant| now.duration_since(*call) >= self.window;
        while self.admitted.front().is_some_and(outside) {
            self.admitted.pop_front();
        }
        let admitted = self.admitted.len() < CALLS_MAX;
        if admitted {
            self.admitted.push_back(now);
        }
        admitted
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const WINDOW: Duration = Duration::from_secs(15);

    #[test]
    fn rejects_the_31st_call_in_a_window() {
        let start = Instant::now();
        let mut throttle = Throttle::new(WINDOW);
        assert!((0..30).all(|_| throttle.admit(start)));
        assert!(!throttle.admit(start + WINDOW - Duration::from_millis(1)));
    }

    #[test]
    fn admits_a_call_after_exactly_one_window() {
        let start = Instant::now();
        let mut throttle = Throttle::new(WINDOW);
        for call in 0..30 {
            assert!(throttle.admit(start + Duration::from_millis(100 * call)));
        }
        assert!(throttle.admit(start + WINDOW));
        assert!(!throttle.admit(start + WINDOW));
    }

    #[test]
    fn rejected_calls_do_not_prolong_the_wait() {
        let start = Instant::now();
        let mut throttle = Throttle::new(WINDOW);
        assert!((0..30).all(|_| throttle.admit(start)));
        for second in 1..15 {
            assert!(!throttle.admit(start + Duration::from_secs(second)));
        }
        assert!(throttle.admit(start + WINDOW));
    }
}
