//! Schedules the requests to an instrument that sends only when it is polled.
//!
//! The requests of a round follow one another: each waits for the response to the one before, or
//! for the response time-out, and then for a gap. A request also waits until the line has been
//! silent for the gap, so that a late response is not taken for the response to the next request.

mod echo;
mod meter;

use std::time::{Duration, Instant};

use tidegate_timing::machine::Machine;

pub use echo::{Echo, EchoFilter};
pub use meter::{INITIAL_BAUD_RATE, MeterAction, MeterPoll, MeterReadout};

/// How many times the longest wait a response may take whose bytes keep arriving.
const WAITS_MAX: u32 = 10;

/// The times of a [`PollSchedule`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PollTiming {
    /// From the start of one round to the start of the next.
    pub interval: Duration,
    /// The longest silence before a response is complete.
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
    /// The time at which the next request is due on a silent line.
    due: Instant,
    /// The latest time to which arriving bytes may move the step.
    latest: Instant,
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
        let latest = now + timing.timeout;
        Self {
            requests,
            timing,
            round_start: now,
            request: 0,
            step,
            due: now,
            latest,
            action: None,
        }
    }

    /// Records bytes of the instrument that do not complete a message yet.
    ///
    /// They move the time-out of their response, up to ten times the longest wait, and the next
    /// request, up to once the longest wait. If they leave a message partial, its rest would be
    /// taken for the response to the next request, so the request waits longer.
    pub fn handle_bytes(&mut self, is_partial: bool, now: Instant) {
        let PollTiming { timeout, gap, .. } = self.timing;
        let moved = |due: Instant, to: Instant| due.max(to.min(self.latest));
        self.step = match self.step {
            Step::SendAt(_) => {
                let silence = if is_partial { timeout.max(gap) } else { gap };
                Step::SendAt(moved(self.due, now + silence))
            }
            Step::AwaitUntil(due) => Step::AwaitUntil(moved(due, now + timeout)),
        };
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
        self.unanswered().is_some()
    }

    /// Returns the index of the request that is unanswered.
    pub fn unanswered(&self) -> Option<usize> {
        matches!(self.step, Step::AwaitUntil(_)).then_some(self.request)
    }

    fn advance(&mut self, now: Instant) {
        let after_gap = now + self.timing.gap;
        self.request += 1;
        if self.request < self.requests {
            self.send_at(after_gap);
            return;
        }
        self.request = 0;
        // After a round that took longer than the interval, the next round starts at once. Missed
        // rounds are not made up.
        self.round_start = (self.round_start + self.timing.interval).max(after_gap);
        self.send_at(self.round_start);
    }

    fn send_at(&mut self, due: Instant) {
        self.step = Step::SendAt(due);
        self.due = due;
        self.latest = due + self.timing.timeout;
    }
}

impl Machine for PollSchedule {
    type Action = PollAction;

    fn handle_timeout(&mut self, now: Instant) {
        debug_assert!(self.request < self.requests.max(1), "no request {}", self.request);
        match self.step {
            Step::SendAt(due) if self.requests > 0 && now >= due => {
                self.step = Step::AwaitUntil(now + self.timing.timeout);
                self.latest = now + self.timing.timeout * WAITS_MAX;
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

        fn bytes(&mut self, ms: u64) {
            self.poll.handle_bytes(false, self.start + Duration::from_millis(ms));
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
    fn request_waits_until_the_line_is_silent() {
        let mut bench = Bench::new(1);
        assert_eq!(bench.at(0), Some(PollAction::Send(0)));
        assert_eq!(bench.at(300), Some(PollAction::ReportTimeout(0)));
        bench.bytes(500);
        assert_eq!(bench.due_ms(), 1_000, "long before the request");
        bench.bytes(990);
        assert_eq!((bench.at(1_000), bench.due_ms()), (None, 1_040));
        bench.bytes(1_280);
        assert_eq!(bench.due_ms(), 1_300, "it waits no longer than for a response");
    }

    #[test]
    fn request_waits_for_the_rest_of_a_late_message() {
        let mut bench = Bench::new(1);
        assert_eq!(bench.at(0), Some(PollAction::Send(0)));
        assert_eq!(bench.at(300), Some(PollAction::ReportTimeout(0)));
        bench.poll.handle_bytes(true, bench.start + Duration::from_millis(970));
        assert_eq!((bench.at(1_000), bench.due_ms()), (None, 1_270));
        bench.bytes(1_030);
        assert_eq!(bench.due_ms(), 1_080, "the message is whole");
        bench.poll.handle_bytes(true, bench.start + Duration::from_millis(1_070));
        assert_eq!(bench.due_ms(), 1_300, "it waits no longer than for a response");
    }

    #[test]
    fn response_that_arrives_slowly_is_awaited() {
        let mut bench = Bench::new(1);
        assert_eq!(bench.at(0), Some(PollAction::Send(0)));
        bench.bytes(250);
        assert_eq!((bench.at(300), bench.due_ms()), (None, 550));
        bench.bytes(2_900);
        assert_eq!(bench.due_ms(), 3_000, "no longer than ten times");
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
