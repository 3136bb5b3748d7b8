//! Keeps the calls of each device within Losant's throttle.
//!
//! Losant counts a call when it arrives: some time between the start and the end of the call here.
//! So each call in flight counts, and each ended call counts for a whole window from its *end*.
//! No window in Losant then has more calls than allowed, whatever delays the network adds. The cost
//! is one response time per window: about 0.1 s of 15 s.
//!
//! A call that cannot have reached Losant, without a connection or a token, does not count.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

/// The calls that Losant allows per device in [`WINDOW`], `sendState` and `sendCommand` together
/// (rest-api/overview, "Throttles And Limits").
pub const CALLS_MAX: usize = 30;

/// The length of Losant's window (same page), plus a margin for clocks of different rates.
pub const WINDOW: Duration = Duration::from_millis(15_050);

/// The most calls of a backlog in a window that are not spread.
///
/// The rest of the window serves new states during the burst: one batch every two seconds.
const BURST_MAX: usize = 22;

/// The most calls ahead of an even spread. They make up for timers that fire late.
const AHEAD_MAX: u32 = 2;

/// Counts the calls of one device.
#[derive(Debug, Clone, Default)]
pub struct Throttle {
    under_way: usize,
    /// When the last calls ended, oldest first. At most [`CALLS_MAX`].
    ended: VecDeque<Instant>,
    /// When the calls so far would end with an even spread: the "theoretical arrival time" of a
    /// leaky bucket.
    spread_until: Option<Instant>,
}

impl Throttle {
    /// Creates a throttle with the calls of an earlier run, given by their ends, oldest first.
    pub fn resumed(ended: impl IntoIterator<Item = Instant>) -> Self {
        let mut throttle = Self::default();
        ended.into_iter().for_each(|at| throttle.add_end(at));
        throttle
    }

    /// Returns when the next call may start: `now` or later.
    ///
    /// Calls in flight count, so the answer can change when one ends.
    pub fn ready_at(&self, now: Instant) -> Instant {
        self.fewer_than(CALLS_MAX, now)
    }

    /// Returns when the next call of a backlog may start: in a burst first, then evenly spread.
    ///
    /// So the window always has calls left for new states.
    pub fn spread_ready_at(&self, now: Instant) -> Instant {
        let spread = self.spread_until.and_then(|until| until.checked_sub(spacing() * AHEAD_MAX));
        let spread = spread.unwrap_or(now).min(self.fewer_than(BURST_MAX, now));
        self.ready_at(now).max(spread)
    }

    /// Returns when the window has fewer calls than `calls`.
    fn fewer_than(&self, calls: usize, now: Instant) -> Instant {
        let taken = self.under_way + self.ended.len();
        let Some(before) = taken.checked_sub(calls) else { return now };
        // The call that must leave the window first. None if all are still in flight.
        self.ended.get(before).map_or(now + WINDOW, |end| now.max(*end + WINDOW))
    }

    /// Returns how many calls Losant may count in a window that ends at `now`.
    pub fn in_window(&self, now: Instant) -> usize {
        let ended = self.ended.iter().filter(|end| **end + WINDOW > now);
        self.under_way + ended.count()
    }

    /// Returns when the last calls ended, oldest first.
    pub fn ended(&self) -> impl Iterator<Item = Instant> {
        self.ended.iter().copied()
    }

    /// Returns the number of calls in flight.
    pub fn under_way(&self) -> usize {
        self.under_way
    }

    /// Counts the start of a call.
    pub fn begin(&mut self, now: Instant) {
        self.under_way += 1;
        self.spread_until = Some(self.spread_until.unwrap_or(now).max(now) + spacing());
        debug_assert!(self.in_window(now) <= CALLS_MAX, "{self:?}");
    }

    /// Counts the end of a call. `may_count` is false if the call cannot have reached Losant.
    pub fn end(&mut self, now: Instant, may_count: bool) {
        self.under_way = self.under_way.saturating_sub(1);
        if may_count {
            self.add_end(now);
        }
    }

    /// Adds an end and keeps the ends sorted.
    ///
    /// A call of an earlier run can count as ending later than this one.
    fn add_end(&mut self, at: Instant) {
        let place = self.ended.partition_point(|end| *end <= at);
        self.ended.insert(place, at);
        if self.ended.len() > CALLS_MAX {
            self.ended.pop_front();
        }
        debug_assert!(self.ended.iter().is_sorted(), "{self:?}");
    }
}

/// Returns the time between two evenly spread calls.
fn spacing() -> Duration {
    WINDOW / u32::try_from(CALLS_MAX).unwrap_or(1)
}

#[cfg(test)]
#[expect(clippy::disallowed_methods, reason = "a test needs some instant to start from")]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Losant's own window, without the margin.
    const THEIRS: Duration = Duration::from_secs(15);

    proptest! {
        #[test]
        fn no_window_in_losant_exceeds_the_limit(
            calls in prop::collection::vec((0..900_u64, 0..2_000_u64, 0..=100_u64), 1..200),
        ) {
            let mut throttle = Throttle::default();
            let mut now = Instant::now();
            let mut arrived: Vec<Instant> = Vec::new();
            for (wait_ms, answer_ms, share) in calls {
                now = throttle.ready_at(now + Duration::from_millis(wait_ms));
                throttle.begin(now);
                // The call arrives at any time between its start and its end.
                arrived.push(now + Duration::from_millis(answer_ms * share / 100));
                now += Duration::from_millis(answer_ms);
                throttle.end(now, true);
            }
            for (first, later) in arrived.iter().zip(arrived.iter().skip(CALLS_MAX)) {
                prop_assert!(later.duration_since(*first) >= THEIRS);
            }
        }
    }

    fn call(throttle: &mut Throttle, now: Instant, may_count: bool) {
        throttle.begin(now);
        throttle.end(now, may_count);
    }

    #[test]
    fn uses_full_budget_and_then_waits_for_the_window() {
        let start = Instant::now();
        let mut throttle = Throttle::default();
        for _ in 0..CALLS_MAX {
            assert_eq!(throttle.ready_at(start), start);
            call(&mut throttle, start, true);
        }
        assert_eq!(throttle.ready_at(start), start + WINDOW);
        assert_eq!(throttle.ready_at(start + WINDOW), start + WINDOW);
    }

    #[test]
    fn ignores_calls_that_never_arrived() {
        let start = Instant::now();
        let mut throttle = Throttle::default();
        (0..100).for_each(|_| call(&mut throttle, start, false));
        assert_eq!(throttle.ready_at(start), start);
    }

    #[test]
    fn counts_calls_in_flight() {
        let start = Instant::now();
        let mut throttle = Throttle::default();
        (0..CALLS_MAX - 1).for_each(|_| call(&mut throttle, start, true));
        throttle.begin(start);
        assert!(throttle.ready_at(start) > start);
    }

    #[test]
    fn backlog_burst_leaves_calls_for_new_states() {
        let mut now = Instant::now();
        let mut throttle = Throttle::default();
        let mut burst = 0;
        while throttle.spread_ready_at(now) == now {
            call(&mut throttle, now, true);
            burst += 1;
        }
        assert_eq!(burst, BURST_MAX);
        let free = (0..100).take_while(|_| {
            throttle.ready_at(now) == now && {
                call(&mut throttle, now, true);
                true
            }
        });
        assert_eq!(free.count(), CALLS_MAX - BURST_MAX);
        // Over time the whole budget is used.
        let (mut calls, end) = (CALLS_MAX, now + WINDOW * 20);
        while now < end {
            now = throttle.spread_ready_at(now);
            call(&mut throttle, now, true);
            calls += 1;
        }
        assert!(calls >= 20 * CALLS_MAX * 97 / 100, "{calls}");
    }

    #[test]
    fn counts_calls_of_an_earlier_run() {
        let now = Instant::now();
        let throttle = Throttle::resumed([now; CALLS_MAX]);
        assert_eq!(throttle.ready_at(now), now + WINDOW);
    }
}
