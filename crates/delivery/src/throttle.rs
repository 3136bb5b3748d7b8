//! Losant's throttle, kept on our side: so many calls in any window of time, counted so that they cannot be more there.
//!
//! Losant counts a call when it arrives, and we do not know when that was: after we began it and before it ended. So a call
//! that is under way takes room, and one that ended takes room for a whole window from its *end*: whatever the network does
//! to single calls, no window over there holds more than were allowed. The price is one answer time a window: 0.1 s of 15 s.
//!
//! A call that cannot have reached Losant, because there was no connection or no token, takes no room.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

/// Calls that Losant allows per device in [`WINDOW`], `sendState` and `sendCommand` together
/// (rest-api/overview, "Throttles And Limits").
pub const CALLS_MAX: usize = 30;

/// The length of Losant's window (same page), and a little more, because two clocks need not run at the same rate.
pub const WINDOW: Duration = Duration::from_millis(15_050);

/// How many calls a backlog may have in a window without being spread: what is left belongs to new states while the burst
/// passes, one batch each two seconds.
const BURST_MAX: usize = 22;

/// How many calls may be ahead of an even spread, so that timers that fire late cost nothing.
const AHEAD_MAX: u32 = 2;

/// The calls of one device.
#[derive(Debug, Clone, Default)]
pub struct Throttle {
    under_way: usize,
    /// When the last calls ended, oldest first: [`CALLS_MAX`] at most.
    ended: VecDeque<Instant>,
    /// When the calls so far would end if they were spread evenly (the "theoretical arrival time" of a leaky bucket).
    spread_until: Option<Instant>,
}

impl Throttle {
    /// A pace of which calls are known from a daemon that ran before, by when they ended, oldest first.
    pub fn resumed(ended: impl IntoIterator<Item = Instant>) -> Self {
        let mut pace = Self::default();
        ended.into_iter().for_each(|at| pace.add_end(at));
        pace
    }

    /// When the next call may go: `now` or later. Calls that are under way take room, so ask again when one ended.
    pub fn ready_at(&self, now: Instant) -> Instant {
        self.fewer_than(CALLS_MAX, now)
    }

    /// When the next call of a backlog may go: in a burst, and then spread evenly, so that new states always find room.
    pub fn spread_ready_at(&self, now: Instant) -> Instant {
        let spread = self.spread_until.and_then(|until| until.checked_sub(spacing() * AHEAD_MAX));
        let spread = spread.unwrap_or(now).min(self.fewer_than(BURST_MAX, now));
        self.ready_at(now).max(spread)
    }

    /// When there are fewer calls in the window than that.
    fn fewer_than(&self, calls: usize, now: Instant) -> Instant {
        let taken = self.under_way + self.ended.len();
        let Some(before) = taken.checked_sub(calls) else { return now };
        // The call that has to leave the window first; there is one, unless all are still under way.
        self.ended.get(before).map_or(now + WINDOW, |end| now.max(*end + WINDOW))
    }

    /// How many calls Losant may count in a window that ends at `now`.
    pub fn in_window(&self, now: Instant) -> usize {
        let ended = self.ended.iter().filter(|end| **end + WINDOW > now);
        self.under_way + ended.count()
    }

    /// When the last calls ended, oldest first.
    pub fn ended(&self) -> impl Iterator<Item = Instant> {
        self.ended.iter().copied()
    }

    /// How many calls are under way.
    pub fn under_way(&self) -> usize {
        self.under_way
    }

    /// A call begins.
    pub fn begin(&mut self, now: Instant) {
        self.under_way += 1;
        self.spread_until = Some(self.spread_until.unwrap_or(now).max(now) + spacing());
        debug_assert!(self.in_window(now) <= CALLS_MAX, "{self:?}");
    }

    /// A call ended. `may_count` unless it is certain that it never reached Losant.
    pub fn end(&mut self, now: Instant, may_count: bool) {
        self.under_way = self.under_way.saturating_sub(1);
        if may_count {
            self.add_end(now);
        }
    }

    /// Keeps the ends sorted: a call of an earlier run can count as ending later than this one.
    fn add_end(&mut self, at: Instant) {
        let place = self.ended.partition_point(|end| *end <= at);
        self.ended.insert(place, at);
        if self.ended.len() > CALLS_MAX {
            self.ended.pop_front();
        }
        debug_assert!(self.ended.iter().is_sorted(), "{self:?}");
    }
}

/// Between two calls that are spread evenly.
fn spacing() -> Duration {
    WINDOW / u32::try_from(CALLS_MAX).unwrap_or(1)
}

#[cfg(test)]
#[expect(clippy::disallowed_methods, reason = "a test needs some instant to start from")]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Losant's own window, without our margin.
    const THEIRS: Duration = Duration::from_secs(15);

    proptest! {
        #[test]
        fn no_window_over_there_ever_holds_more_calls_than_allowed(
            calls in prop::collection::vec((0..900_u64, 0..2_000_u64, 0..=100_u64), 1..200),
        ) {
            let mut pace = Throttle::default();
            let mut now = Instant::now();
            let mut arrived: Vec<Instant> = Vec::new();
            for (wait_ms, answer_ms, share) in calls {
                now = pace.ready_at(now + Duration::from_millis(wait_ms));
                pace.begin(now);
                // It arrives at any time between its beginning and its end.
                arrived.push(now + Duration::from_millis(answer_ms * share / 100));
                now += Duration::from_millis(answer_ms);
                pace.end(now, true);
            }
            for (first, later) in arrived.iter().zip(arrived.iter().skip(CALLS_MAX)) {
                prop_assert!(later.duration_since(*first) >= THEIRS);
            }
        }
    }

    fn call(pace: &mut Throttle, now: Instant, may_count: bool) {
        pace.begin(now);
        pace.end(now, may_count);
    }

    #[test]
    fn a_full_budget_is_used_at_once_and_then_waits_for_the_window() {
        let start = Instant::now();
        let mut pace = Throttle::default();
        for _ in 0..CALLS_MAX {
            assert_eq!(pace.ready_at(start), start);
            call(&mut pace, start, true);
        }
        assert_eq!(pace.ready_at(start), start + WINDOW);
        assert_eq!(pace.ready_at(start + WINDOW), start + WINDOW);
    }

    #[test]
    fn a_call_that_never_got_there_takes_no_room() {
        let start = Instant::now();
        let mut pace = Throttle::default();
        (0..100).for_each(|_| call(&mut pace, start, false));
        assert_eq!(pace.ready_at(start), start);
    }

    #[test]
    fn a_call_under_way_takes_room() {
        let start = Instant::now();
        let mut pace = Throttle::default();
        (0..CALLS_MAX - 1).for_each(|_| call(&mut pace, start, true));
        pace.begin(start);
        assert!(pace.ready_at(start) > start);
    }

    #[test]
    fn a_backlog_bursts_and_then_leaves_room_for_new_states() {
        let mut now = Instant::now();
        let mut pace = Throttle::default();
        let mut burst = 0;
        while pace.spread_ready_at(now) == now {
            call(&mut pace, now, true);
            burst += 1;
        }
        assert_eq!(burst, BURST_MAX);
        let free = (0..100).take_while(|_| {
            pace.ready_at(now) == now && {
                call(&mut pace, now, true);
                true
            }
        });
        assert_eq!(free.count(), CALLS_MAX - BURST_MAX);
        // And over time all of the budget is used.
        let (mut calls, end) = (CALLS_MAX, now + WINDOW * 20);
        while now < end {
            now = pace.spread_ready_at(now);
            call(&mut pace, now, true);
            calls += 1;
        }
        assert!(calls >= 20 * CALLS_MAX * 97 / 100, "{calls}");
    }

    #[test]
    fn the_calls_of_a_daemon_that_ran_before_take_room() {
        let now = Instant::now();
        let pace = Throttle::resumed([now; CALLS_MAX]);
        assert_eq!(pace.ready_at(now), now + WINDOW);
    }
}
