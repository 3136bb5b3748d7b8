//! When an instrument that speaks only when it is asked is asked what. Questions follow one another: the next waits for the
//! answer to the one before, or for its timeout, and then for a gap.

use std::time::{Duration, Instant};

/// Asks round after round.
#[derive(Debug)]
pub struct Asker {
    questions: usize,
    interval: Duration,
    timeout: Duration,
    gap: Duration,
    round: Instant,
    question: usize,
    step: Step,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Step {
    AskAt(Instant),
    AwaitUntil(Instant),
}

/// What is to be done now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Turn {
    /// Ask this question.
    Ask(usize),
    /// This question was not answered in time.
    Missed(usize),
}

impl Asker {
    /// Asks so many questions in each round, the first one now. With none it asks nothing.
    pub fn new(
        questions: usize,
        (interval, timeout, gap): (Duration, Duration, Duration),
        now: Instant,
    ) -> Self {
        Self { questions, interval, timeout, gap, round: now, question: 0, step: Step::AskAt(now) }
    }

    /// When [`Asker::handle_timeout`] is to be called; never if there is nothing to ask.
    pub fn poll_timeout(&self) -> Option<Instant> {
        let (Step::AskAt(due) | Step::AwaitUntil(due)) = self.step;
        (self.questions > 0).then_some(due)
    }

    /// What is due now.
    pub fn handle_timeout(&mut self, now: Instant) -> Option<Turn> {
        match self.step {
            Step::AskAt(due) if self.questions > 0 && now >= due => {
                self.step = Step::AwaitUntil(now + self.timeout);
                Some(Turn::Ask(self.question))
            }
            Step::AwaitUntil(due) if now >= due => {
                let missed = self.question;
                self.proceed(now);
                Some(Turn::Missed(missed))
            }
            Step::AskAt(_) | Step::AwaitUntil(_) => None,
        }
    }

    /// The instrument said something. `true` if that was the answer to a question.
    pub fn handle_answer(&mut self, now: Instant) -> bool {
        let is_awaited = self.is_awaiting();
        if is_awaited {
            self.proceed(now);
        }
        is_awaited
    }

    /// Whether an answer is awaited.
    pub fn is_awaiting(&self) -> bool {
        matches!(self.step, Step::AwaitUntil(_))
    }

    fn proceed(&mut self, now: Instant) {
        let after_gap = now + self.gap;
        self.question += 1;
        if self.question < self.questions {
            self.step = Step::AskAt(after_gap);
            return;
        }
        self.question = 0;
        // A round that took longer than the interval is followed by the next, and none is made up for.
        self.round = (self.round + self.interval).max(after_gap);
        self.step = Step::AskAt(self.round);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Asks every second, waits 300 ms, leaves 50 ms.
    struct Line {
        start: Instant,
        asker: Asker,
    }

    impl Line {
        #[expect(clippy::disallowed_methods, reason = "any time will do to begin with")]
        fn new(questions: usize) -> Self {
            let start = Instant::now();
            let timing = [1_000, 300, 50].map(Duration::from_millis);
            Self { start, asker: Asker::new(questions, timing.into(), start) }
        }

        fn at(&mut self, ms: u64) -> Option<Turn> {
            self.asker.handle_timeout(self.start + Duration::from_millis(ms))
        }

        fn answer(&mut self, ms: u64) -> bool {
            self.asker.handle_answer(self.start + Duration::from_millis(ms))
        }

        fn due_ms(&self) -> u128 {
            (self.asker.poll_timeout().unwrap() - self.start).as_millis()
        }
    }

    #[test]
    fn a_question_waits_for_the_answer_to_the_one_before_and_for_the_gap() {
        let mut line = Line::new(2);
        assert_eq!(line.at(0), Some(Turn::Ask(0)));
        assert_eq!(line.at(100), None);
        assert!(line.answer(100));
        assert_eq!((line.at(149), line.due_ms()), (None, 150));
        assert_eq!(line.at(150), Some(Turn::Ask(1)));
        assert!(line.answer(200));
        assert_eq!(line.due_ms(), 1_000, "the next round");
    }

    #[test]
    fn a_silent_instrument_is_told_and_asked_again_in_the_next_round() {
        let mut line = Line::new(1);
        assert_eq!(line.at(0), Some(Turn::Ask(0)));
        assert_eq!(line.at(299), None);
        assert_eq!(line.at(300), Some(Turn::Missed(0)));
        assert!(!line.answer(400), "too late to be an answer");
        assert_eq!(line.at(1_000), Some(Turn::Ask(0)));
    }

    #[test]
    fn rounds_that_take_too_long_are_not_made_up_for() {
        let mut line = Line::new(1);
        assert_eq!(line.at(5_000), Some(Turn::Ask(0)));
        assert!(line.answer(5_100));
        assert_eq!(line.due_ms(), 5_150);
        assert_eq!(line.at(5_150), Some(Turn::Ask(0)));
        assert!(line.answer(5_200));
        assert_eq!(line.due_ms(), 6_150);
    }

    #[test]
    fn nothing_is_asked_where_there_is_no_question() {
        let mut line = Line::new(0);
        assert_eq!((line.at(0), line.asker.poll_timeout()), (None, None));
    }
}
