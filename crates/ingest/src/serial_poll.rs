//! Schedules the requests to an instrument that sends only when it is polled.
//!
//! The requests of a round follow one another: each waits for the response to the one before, or
//! for the response time-out, and then for a gap.

use std::time::{Duration, Instant};

use tidegate_timing::machine::Machine;

/// The times of a [`PollSchedule`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PollTiming {
    /// From the start of one round to the start of the next.
    pub interval: Duration,
    /// The longest wait for a response.
    pub timeout: Duration,
    /// The pause between a response, or its time-out, and the next request.
    pub gap: Duration,
}

/// Polls an instrument in rounds of a fixed number of requests.
#[derive(Debug)]
pub struct PollSchedule {
    requests: usize,
    timing: PollTiming,
    round_start: Instant,
    /// The index of the request that is due or unanswered.
    request: usize,
    step: Step,
    action: Option<PollAction>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Step {
    SendAt(Instant),
    AwaitUntil(Instant),
}

/// An instruction to the serial task. The number is the index of the request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PollAction {
    /// Send the request.
    Send(usize),
    /// Report that the response to the request did not arrive in time.
    ReportTimeout(usize),
}

impl PollSchedule {
    /// Creates a poll of `requests` requests a round; the first is due at `now`.
    ///
    /// Without requests it never has an action.
    pub fn new(requests: usize, timing: PollTiming, now: Instant) -> Self {
        let step = Step::SendAt(now);
        Self { requests, timing, round_start: now, request: 0, step, action: None }
    }

    /// Records a message of the instrument. Returns whether it is the response to a request.
    pub fn handle_message(&mut self, now: Instant) -> bool {
        let is_awaiting = self.is_awaiting();
        if is_awaiting {
            self.advance(now);
        }
        is_awaiting
    }

    /// Returns whether a request is unanswered.
    pub fn is_awaiting(&self) -> bool {
        matches!(self.step, Step::AwaitUntil(_))
    }

    fn advance(&mut self, now: Instant) {
        let after_gap = now + self.timing.gap;
        self.request += 1;
        if self.request < self.requests {
            self.step = Step::SendAt(after_gap);
            return;
        }
        self.request = 0;
        // After a round that took longer than the interval, the next round starts at once. Missed
        // rounds are not made up.
        self.round_start = (self.round_start + self.timing.interval).max(after_gap);
        self.step = Step::SendAt(self.round_start);
    }
}

impl Machine for PollSchedule {
    type Action = PollAction;

    fn handle_timeout(&mut self, now: Instant) {
        debug_assert!(self.request < self.requests.max(1), "no request {}", self.request);
        match self.step {
            Step::SendAt(due) if self.requests > 0 && now >= due => {
                self.step = Step::AwaitUntil(now + self.timing.timeout);
                self.action = Some(PollAction::Send(self.request));
            }
            Step::AwaitUntil(due) if now >= due => {
                self.action = Some(PollAction::ReportTimeout(self.request));
                self.advance(now);
            }
            Step::SendAt(_) | Step::AwaitUntil(_) => {}
        }
    }

    fn poll_timeout(&self) -> Option<Instant> {
        let (Step::SendAt(due) | Step::AwaitUntil(due)) = self.step;
        (self.requests > 0).then_some(due)
    }

    fn poll_action(&mut self) -> Option<PollAction> {
        self.action.take()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A round each second, a time-out of 300 ms and a gap of 50 ms.
    struct Bench {
        start: Instant,
        poll: PollSchedule,
    }

    impl Bench {
        #[expect(clippy::disallowed_methods, reason = "the test needs any instant to start from")]
        fn new(requests: usize) -> Self {
            let start = Instant::now();
            let [interval, timeout, gap] = [1_000, 300, 50].map(Duration::from_millis);
            let timing = PollTiming { interval, timeout, gap };
            Self { start, poll: PollSchedule::new(requests, timing, start) }
        }

        fn at(&mut self, ms: u64) -> Option<PollAction> {
            self.poll.handle_timeout(self.start + Duration::from_millis(ms));
            self.poll.poll_action()
        }

        fn answer(&mut self, ms: u64) -> bool {
            self.poll.handle_message(self.start + Duration::from_millis(ms))
        }

        fn due_ms(&self) -> u128 {
            (self.poll.poll_timeout().unwrap() - self.start).as_millis()
        }
    }

    #[test]
    fn request_waits_for_the_last_response_and_the_gap() {
        let mut bench = Bench::new(2);
        assert_eq!(bench.at(0), Some(PollAction::Send(0)));
        assert_eq!(bench.at(100), None);
        assert!(bench.answer(100));
        assert_eq!((bench.at(149), bench.due_ms()), (None, 150));
        assert_eq!(bench.at(150), Some(PollAction::Send(1)));
        assert!(bench.answer(200));
        assert_eq!(bench.due_ms(), 1_000, "the next round");
    }

    #[test]
    fn reports_a_timeout_and_sends_again_in_the_next_round() {
        let mut bench = Bench::new(1);
        assert_eq!(bench.at(0), Some(PollAction::Send(0)));
        assert_eq!(bench.at(299), None);
        assert_eq!(bench.at(300), Some(PollAction::ReportTimeout(0)));
        assert!(!bench.answer(400), "too late for a response");
        assert_eq!(bench.at(1_000), Some(PollAction::Send(0)));
    }

    #[test]
    fn does_not_make_up_missed_rounds() {
        let mut bench = Bench::new(1);
        assert_eq!(bench.at(5_000), Some(PollAction::Send(0)));
        assert!(bench.answer(5_100));
        assert_eq!(bench.due_ms(), 5_150);
        assert_eq!(bench.at(5_150), Some(PollAction::Send(0)));
        assert!(bench.answer(5_200));
        assert_eq!(bench.due_ms(), 6_150);
    }

    #[test]
    fn without_requests_sends_nothing() {
        let mut bench = Bench::new(0);
        assert_eq!((bench.at(0), bench.poll.poll_timeout()), (None, None));
    }
}
