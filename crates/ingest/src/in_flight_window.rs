//! Learns how many messages a broker sends ahead of their acknowledgements.
//!
//! A broker stops when so many messages are unacknowledged: mosquitto after 20, or after its
//! `max_inflight_messages`. An acknowledgement waits for the disk, so a commit that waits for its
//! interval would then stop the flow. The protocol does not name this number, but the broker
//! shows it: it is silent before the acknowledgements are sent, and sends at once after them. An
//! HTTP client that waits for each response shows the same.
//!
//! A session that stops makes a commit early; one that is only slow does not, because each early
//! commit wears out a flash card. So a learned size is not believed for long: it grows when more
//! messages arrive, is forgotten when no message follows the acknowledgements, and is verified
//! from time to time. A broker that sent more messages ahead does not stop at fewer.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

/// The shortest silence that can mean that the broker waits.
///
/// Measured in milliseconds by most timers, so a shorter one would not be kept.
const SILENCE_MIN: Duration = Duration::from_millis(1);

/// The longest time in which a broker answers acknowledgements with messages. A slow radio link and
/// a busy broker take tens of milliseconds.
const ANSWER_MAX: Duration = Duration::from_millis(100);

/// A broker that waits is silent for this many times as long as it takes to answer.
const SILENCE_FACTOR: u32 = 4;

/// The answers after which a size is believed without a silence.
const ANSWERS_MIN: u32 = 3;

/// A believed size is verified with a silence after so many releases.
const VERIFY_INTERVAL: u32 = 1_024;

/// A session that fills half of its window in this time does not wait for the other half: the
/// broker sends on while the first half is written.
const FAST_MAX: Duration = Duration::from_millis(100);

/// The time for which the largest number of unacknowledged messages is remembered.
///
/// The clients of an HTTP bus come and go.
const LARGEST_AGE_MAX: Duration = Duration::from_secs(60);

/// Messages that arrive within this time count as one arrival, which bounds the memory.
const ARRIVAL_MIN: Duration = Duration::from_millis(1);

/// A patient session waits longer by the age of its oldest message, divided by this.
const PATIENCE_DIVISOR: u32 = 4;

/// A shorter patience is not worth a timer.
const PATIENCE_MIN: Duration = Duration::from_millis(10);

/// The messages in flight of one session of a broker.
#[derive(Debug, Clone, Default)]
pub struct InFlightWindow {
    /// Messages without an acknowledgement.
    unacknowledged: usize,
    /// The number of unacknowledged messages at which the broker stops; `None` while unknown.
    size: Option<usize>,
    /// How often in a row the broker confirmed the size.
    answers: u32,
    /// Releases since the size was verified last.
    releases: u32,
    /// The time from a release to the next message.
    answer_time: Duration,
    /// The arrivals of the unacknowledged messages.
    arrivals: VecDeque<Arrival>,
    /// The arrival of the latest message.
    latest: Option<Instant>,
    release: Option<Release>,
    largest: Option<Largest>,
    /// The time from which the session waits for its last acknowledgements.
    stopping_since: Option<Instant>,
}

/// Messages that arrived at nearly the same time.
#[derive(Debug, Clone, Copy)]
struct Arrival {
    at: Instant,
    messages: usize,
}

/// The largest number of unacknowledged messages: the broker sends at least so many ahead.
#[derive(Debug, Clone, Copy)]
struct Largest {
    messages: usize,
    at: Instant,
}

/// The last release of acknowledgements, until the next message arrives.
#[derive(Debug, Clone, Copy)]
struct Release {
    at: Instant,
    /// The silence before it.
    silence: Duration,
    /// The unacknowledged messages before it.
    unacknowledged: usize,
    /// Whether at least half of them were acknowledged at once.
    is_large: bool,
}

impl InFlightWindow {
    /// Records a new connection, on which nothing is unacknowledged.
    ///
    /// The learned size stays: a broker that is connected again mostly has the same settings. If
    /// not, the size is learned again.
    pub fn handle_connected(&mut self) {
        self.unacknowledged = 0;
        self.arrivals.clear();
        (self.latest, self.release, self.largest) = (None, None, None);
        self.stopping_since = None;
    }

    /// Records that the session ends as soon as all messages are acknowledged.
    pub fn handle_stopping(&mut self, now: Instant) {
        self.stopping_since = Some(now);
    }

    /// Records a message that waits for its acknowledgement.
    pub fn handle_message(&mut self, now: Instant) {
        if let Some(release) = self.release.take() {
            self.learn(release, now);
        }
        self.unacknowledged += 1;
        if let Some(size) = &mut self.size
            && self.unacknowledged > *size
        {
            *size = self.unacknowledged;
            self.answers = 0;
        }
        self.latest = Some(now);
        match self.arrivals.back_mut() {
            Some(last) if now < last.at + ARRIVAL_MIN => last.messages += 1,
            _ => self.arrivals.push_back(Arrival { at: now, messages: 1 }),
        }
        let (messages, at) = (self.unacknowledged, now);
        let is_outdone =
            |largest: &Largest| messages >= largest.messages || now > largest.at + LARGEST_AGE_MAX;
        if self.largest.as_ref().is_none_or(is_outdone) {
            self.largest = Some(Largest { messages, at });
        }
    }

    /// Records that acknowledgements were sent.
    pub fn handle_released(&mut self, acknowledgements: usize, now: Instant) {
        let Some(latest) = self.latest.filter(|_| self.unacknowledged > 0) else { return };
        let (at, silence) = (now, now.saturating_duration_since(latest));
        let (unacknowledged, is_large) =
            (self.unacknowledged, acknowledgements * 2 >= self.unacknowledged);
        self.release = Some(Release { at, silence, unacknowledged, is_large });
        self.unacknowledged = self.unacknowledged.saturating_sub(acknowledgements);
        self.forget_arrivals(acknowledgements);
        self.releases = self.releases.saturating_add(1);
    }

    fn forget_arrivals(&mut self, mut messages: usize) {
        while let Some(first) = self.arrivals.front_mut() {
            if first.messages > messages {
                first.messages -= messages;
                break;
            }
            messages -= first.messages;
            self.arrivals.pop_front();
        }
        debug_assert_eq!(
            self.arrivals.iter().map(|arrival| arrival.messages).sum::<usize>(),
            self.unacknowledged
        );
    }

    /// Compares the first message after a release with what a waiting broker does.
    fn learn(&mut self, release: Release, now: Instant) {
        let answer = now.saturating_duration_since(release.at);
        if answer > ANSWER_MAX {
            if self.size.is_some_and(|size| release.unacknowledged >= size) {
                (self.size, self.answers) = (None, 0);
            }
            return;
        }
        let is_largest = |largest: Largest| release.unacknowledged >= largest.messages;
        let is_silent = release.silence >= SILENCE_MIN.max(answer * SILENCE_FACTOR);
        if !is_silent || !self.largest.is_some_and(is_largest) {
            return;
        }
        if self.size == Some(release.unacknowledged) {
            // Messages that are confirmed one by one may only happen to arrive at that pace.
            self.answers += u32::from(release.is_large);
            self.answer_time = (self.answer_time * 3 + answer) / 4;
        } else {
            (self.size, self.answers, self.answer_time) = (Some(release.unacknowledged), 0, answer);
        }
        self.releases = 0;
    }

    /// Returns the instant from which the broker waits for acknowledgements; it may be in the past.
    /// `None` while the broker may send more.
    ///
    /// With `is_patient` the instant is later by a quarter of the age of the oldest message: for
    /// callers that expect to release it soon anyway.
    pub fn due(&self, is_patient: bool) -> Option<Instant> {
        if self.stopping_since.is_some() && self.unacknowledged > 0 {
            return self.stopping_since;
        }
        let (size, oldest, latest) = (self.size?, self.arrivals.front()?.at, self.latest?);
        let filled = latest.saturating_duration_since(oldest);
        let is_believed = self.answers >= ANSWERS_MIN && self.releases < VERIFY_INTERVAL;
        if is_believed && filled <= FAST_MAX && self.unacknowledged >= size.div_ceil(2) {
            return Some(latest);
        }
        if self.unacknowledged < size {
            return None;
        }
        let silence = if is_believed {
            Duration::ZERO
        } else {
            SILENCE_MIN.max(self.answer_time * SILENCE_FACTOR)
        };
        let patience = filled / PATIENCE_DIVISOR;
        // A broker that surely waits has messages: patience would let its queue grow.
        let is_worth_it = is_patient && !is_believed && patience >= PATIENCE_MIN;
        Some(latest + silence.max(if is_worth_it { patience } else { Duration::ZERO }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    /// The commit interval of the simulated gateway.
    const INTERVAL: Duration = Duration::from_millis(500);

    /// A gateway that commits when the interval is over or a session is due, behind a broker.
    struct Simulation {
        /// The messages that the broker sends ahead.
        window: usize,
        /// The time between two messages of the source.
        period: Duration,
        /// The time of a sync.
        sync: Duration,
        /// The time in which the broker answers.
        round_trip: Duration,
    }

    #[derive(Debug)]
    struct Outcome {
        messages: usize,
        commits: usize,
    }

    impl Simulation {
        /// Runs for ten seconds after two seconds of learning.
        fn run(&self) -> Outcome {
            #[expect(clippy::disallowed_methods, reason = "a test needs some instant")]
            let start = Instant::now();
            let (mut machine, step) = (InFlightWindow::default(), Duration::from_micros(50));
            let (mut now, mut next) = (start, start);
            let (mut in_flight, mut group) = (0, 0);
            let mut group_since: Option<Instant> = None;
            let mut commit: Option<(Instant, usize)> = None;
            let mut blocked_until = start;
            let mut outcome = Outcome { messages: 0, commits: 0 };
            let learned = start + Duration::from_secs(2);
            while now < start + Duration::from_secs(12) {
                while next <= now && in_flight < self.window && blocked_until <= now {
                    machine.handle_message(now);
                    (in_flight, group) = (in_flight + 1, group + 1);
                    group_since.get_or_insert(now);
                    outcome.messages += usize::from(now >= learned);
                    next = (next + self.period).max(now.checked_sub(self.period).unwrap());
                }
                if let Some((_, messages)) = commit.take_if(|(end, _)| *end <= now) {
                    machine.handle_released(messages, now);
                    if in_flight == self.window {
                        blocked_until = now + self.round_trip;
                    }
                    in_flight -= messages;
                }
                let is_due = group_since.is_some_and(|since| since + INTERVAL <= now)
                    || machine.due(false).is_some_and(|due| due <= now);
                if commit.is_none() && group > 0 && is_due {
                    commit = Some((now + self.sync, std::mem::take(&mut group)));
                    group_since = None;
                    outcome.commits += usize::from(now >= learned);
                }
                now += step;
            }
            outcome
        }
    }

    #[test]
    fn window_of_one_message_flows_with_each_sync() {
        let sync = Duration::from_micros(500);
        let period = Duration::from_micros(50);
        let round_trip = Duration::from_micros(300);
        let outcome = Simulation { window: 1, period, sync, round_trip }.run();
        // A sync and a round trip for each message, and the steps of the simulation.
        assert!(outcome.messages >= 10_000, "{outcome:?}");
    }

    #[test]
    fn window_of_a_slow_disk_is_used_without_a_pause() {
        for window in [10, 20, 1_000] {
            let (sync, round_trip) = (20 * MS, MS);
            let period = Duration::from_micros(50);
            let outcome = Simulation { window, period, sync, round_trip }.run();
            // Each sync takes at least half of a window.
            let least = 10 * 50 * window / 2 * 8 / 10;
            assert!(outcome.messages >= least.min(150_000), "{window}: {outcome:?}");
        }
    }

    #[test]
    fn source_that_is_only_slow_makes_no_early_commits() {
        for period in [MS, 2 * MS, 5 * MS, 20 * MS, 40 * MS, 100 * MS, 1_000 * MS] {
            for window in [1_000, 60_000] {
                let (sync, round_trip) = (3 * MS, MS);
                let outcome = Simulation { window, period, sync, round_trip }.run();
                let expected = Duration::from_secs(10).as_millis() / period.as_millis();
                assert!(outcome.messages as u128 + 1 >= expected * 99 / 100, "{outcome:?}");
                // One commit for each interval, and some while a guess is disproved.
                assert!(outcome.commits <= 25, "{period:?}: {outcome:?}");
            }
        }
    }

    /// Losant confirms each message after a while, so acknowledgements are released one by one.
    #[test]
    fn confirmed_messages_cause_no_early_commits() {
        for period in [2 * MS, 5 * MS, 20 * MS, 100 * MS, 900 * MS] {
            for delay in [50 * MS, 310 * MS, 1_000 * MS, 2_100 * MS] {
                #[expect(clippy::disallowed_methods, reason = "a test needs some instant")]
                let mut now = Instant::now();
                let end = now + Duration::from_secs(30);
                let mut machine = InFlightWindow::default();
                let (mut waiting, mut next, mut early) = (VecDeque::new(), now, 0);
                while now < end {
                    while waiting.pop_front_if(|sent: &mut Instant| *sent + delay <= now).is_some()
                    {
                        machine.handle_released(1, now);
                    }
                    if next <= now {
                        machine.handle_message(now);
                        waiting.push_back(now);
                        next += period;
                    }
                    if machine.due(true).is_some_and(|due| due <= now) {
                        machine.handle_released(waiting.len(), now);
                        waiting.clear();
                        early += 1;
                    }
                    now += MS;
                }
                assert!(
                    early <= 3,
                    "{early} for a period of {period:?}, confirmed after {delay:?}"
                );
            }
        }
    }

    #[test]
    fn patient_session_waits_for_a_quarter_of_its_filling() {
        #[expect(clippy::disallowed_methods, reason = "a test needs some instant")]
        let start = Instant::now();
        let mut machine = InFlightWindow::default();
        let mut now = start;
        for _ in 0..20 {
            now += 100 * MS;
            machine.handle_message(now);
        }
        assert_eq!(machine.due(true), None);
        machine.handle_released(20, now + 500 * MS);
        now += 501 * MS;
        let began = now;
        for _ in 0..20 {
            machine.handle_message(now);
            now += 100 * MS;
        }
        let latest = now.checked_sub(100 * MS).unwrap();
        assert_eq!(machine.due(true), Some(latest + (latest - began) / 4));
        assert_eq!(machine.due(false), Some(latest + 4 * MS));
    }

    #[test]
    fn session_that_stops_waits_for_nothing() {
        #[expect(clippy::disallowed_methods, reason = "a test needs some instant")]
        let now = Instant::now();
        let mut machine = InFlightWindow::default();
        machine.handle_message(now);
        assert_eq!(machine.due(true), None);
        machine.handle_stopping(now + MS);
        assert_eq!(machine.due(true), Some(now + MS));
        machine.handle_released(1, now + 2 * MS);
        assert_eq!(machine.due(true), None);
    }

    #[test]
    fn window_of_another_broker_is_learned_again() {
        #[expect(clippy::disallowed_methods, reason = "a test needs some instant")]
        let mut now = Instant::now();
        let mut machine = InFlightWindow::default();
        let mut learn = |machine: &mut InFlightWindow, size: usize| {
            for _ in 0..3 {
                (0..size).for_each(|_| machine.handle_message(now));
                now += 500 * MS;
                machine.handle_released(size, now);
                now += MS;
            }
            (0..size).for_each(|_| machine.handle_message(now));
            assert!(machine.due(false).is_some(), "{machine:?}");
            assert_eq!(machine.size, Some(size));
        };
        learn(&mut machine, 20);
        machine.handle_connected();
        assert_eq!(machine.due(false), None);
        learn(&mut machine, 10);
        machine.handle_connected();
        learn(&mut machine, 40);
    }
}
