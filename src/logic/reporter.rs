//! Which device to report next, how much of it, and when: the machine behind the reporter's task.
//!
//! The task tells it what waits ([`Reporter::note_backlog`]) and how each call ended ([`Reporter::settle`]), and asks it
//! what to do ([`Reporter::poll`]). One call is under way at a time, so that a device's order is kept without effort.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use rand::Rng;

use super::backoff::Backoff;
use super::pace::Pace;
use super::verdict::Verdict;
use crate::model::DeviceId;

/// How long a device that the cloud refuses (403, 404, 405) waits before it is tried again.
pub const PARK: Duration = Duration::from_secs(15 * 60);

/// How long a device waits after a 429: Losant's window, since no `Retry-After` is documented.
pub const THROTTLE_WAIT: Duration = Duration::from_secs(16);

/// The longest `Retry-After` that is obeyed.
const RETRY_AFTER_MAX: Duration = Duration::from_secs(15 * 60);

/// What the machine is set to.
#[derive(Debug, Clone)]
pub struct Limits {
    /// The most states in one call, 1 or more.
    pub batch_states_max: usize,
    /// The most bytes in one call.
    pub batch_bytes_max: usize,
    /// How long the oldest waiting state may wait for company.
    pub batch_age: Duration,
    /// The shortest wait for the link.
    pub retry_min: Duration,
    /// The longest wait for the link.
    pub retry_max: Duration,
}

/// What to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// Send up to that many of the oldest states of this device now. The call is counted.
    Send {
        /// The device.
        device: DeviceId,
        /// The most states to send.
        states_max: usize,
    },
    /// Nothing before then.
    WaitUntil(Instant),
    /// Nothing until there is news.
    Idle,
}

/// What the task must do with the states that it sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Disposal {
    /// Delete them.
    Delete,
    /// Keep them.
    Keep,
    /// Move the one state to the rejects.
    Reject,
}

#[derive(Debug)]
struct Lane {
    states: u64,
    waiting_since: Option<Instant>,
    pace: Pace,
    held_until: Option<Instant>,
    /// Learned from 413: stays.
    states_cap: usize,
    /// Learned from 400: a search for the one bad state, over once it is found.
    search_cap: Option<usize>,
}

impl Lane {
    fn states_max(&self) -> usize {
        self.search_cap.unwrap_or(self.states_cap).min(self.states_cap)
    }

    fn ready_at(&self, now: Instant, batch_age: Duration) -> Option<Instant> {
        let since = self.waiting_since?;
        let is_full = self.search_cap.is_some() || self.states >= self.states_cap as u64;
        let due = if is_full { now } else { since + batch_age };
        let free = self.held_until.unwrap_or(now).max(self.pace.ready_at(now));
        Some(due.max(free))
    }
}

/// The machine.
#[derive(Debug)]
pub struct Reporter {
    limits: Limits,
    lanes: BTreeMap<DeviceId, Lane>,
    last_sent: Option<DeviceId>,
    link: Backoff,
    link_held_until: Option<Instant>,
    online: Option<bool>,
    is_draining: bool,
}

impl Reporter {
    /// A reporter with nothing to report.
    pub fn new(limits: Limits) -> Self {
        let link = Backoff::new(limits.retry_min, limits.retry_max);
        Self {
            limits,
            lanes: BTreeMap::new(),
            last_sent: None,
            link,
            link_held_until: None,
            online: None,
            is_draining: false,
        }
    }

    /// Goes by other limits from now on. What was learned about sizes is kept where it is stricter.
    pub fn set_limits(&mut self, limits: Limits) {
        let (before, after) = (self.limits.batch_states_max.max(1), limits.batch_states_max.max(1));
        for lane in self.lanes.values_mut() {
            let has_learned = lane.states_cap < before;
            lane.states_cap = if has_learned { lane.states_cap.min(after) } else { after };
        }
        self.link = Backoff::new(limits.retry_min, limits.retry_max);
        self.limits = limits;
    }

    /// Whether the cloud took part in the last call, be it to refuse it; `None` before the first.
    pub fn online(&self) -> Option<bool> {
        self.online
    }

    /// Tells that `states` of `device` wait in the outbox.
    pub fn note_backlog(&mut self, device: DeviceId, states: u64, now: Instant) {
        let states_cap = self.limits.batch_states_max.max(1);
        let lane = self.lanes.entry(device).or_insert_with(|| Lane {
            states: 0,
            waiting_since: None,
            pace: Pace::default(),
            held_until: None,
            states_cap,
            search_cap: None,
        });
        lane.states = states;
        lane.waiting_since = (states > 0).then(|| lane.waiting_since.unwrap_or(now));
    }

    /// The link was seen to work by someone else: there is no reason to wait for it.
    pub fn link_is_up(&mut self) {
        self.link_held_until = None;
    }

    /// The daemon is about to end: batches do not wait to fill any more, and a link that is down is tried once more.
    pub fn drain(&mut self) {
        self.is_draining = true;
        self.link_is_up();
    }

    /// What to do now. Devices take turns.
    pub fn poll(&mut self, now: Instant) -> Step {
        if let Some(until) = self.link_held_until.filter(|until| *until > now) {
            return if self.lanes.values().any(|lane| lane.states > 0) {
                Step::WaitUntil(until)
            } else {
                Step::Idle
            };
        }
        let batch_age = if self.is_draining { Duration::ZERO } else { self.limits.batch_age };
        let ready =
            |(device, lane): (&DeviceId, &Lane)| Some((lane.ready_at(now, batch_age)?, *device));
        let next_in_turn = self.last_sent.and_then(|last| {
            let later = (std::ops::Bound::Excluded(last), std::ops::Bound::Unbounded);
            self.lanes.range(later).filter_map(ready).find(|(at, _)| *at <= now)
        });
        match next_in_turn.or_else(|| self.lanes.iter().filter_map(ready).min()) {
            Some((at, device)) if at <= now => self.send(device, now),
            Some((at, _)) => Step::WaitUntil(at),
            None => Step::Idle,
        }
    }

    fn send(&mut self, device: DeviceId, now: Instant) -> Step {
        let Some(lane) = self.lanes.get_mut(&device) else { return Step::Idle };
        lane.pace.record(now);
        self.last_sent = Some(device);
        Step::Send { device, states_max: lane.states_max() }
    }

    /// Takes the verdict on a batch of `states` and says what becomes of them.
    pub fn settle(
        &mut self,
        batch: (DeviceId, usize),
        verdict: &Verdict,
        now: Instant,
        rng: &mut impl Rng,
    ) -> Disposal {
        let (device, states) = batch;
        self.online = Some(!matches!(verdict, Verdict::Offline | Verdict::Unauthorized));
        if !matches!(verdict, Verdict::Offline | Verdict::Unauthorized) {
            self.link.reset();
            self.link_held_until = None;
        }
        let Some(lane) = self.lanes.get_mut(&device) else { return Disposal::Keep };
        match verdict {
            Verdict::Stored => {
                lane.waiting_since = Some(now);
                // A search doubles back up once the bad state is behind it.
                lane.search_cap =
                    lane.search_cap.map(|cap| cap * 2).filter(|cap| *cap < lane.states_cap);
                Disposal::Delete
            }
            Verdict::TooLarge if states > 1 => {
                lane.states_cap = states.div_ceil(2);
                Disposal::Keep
            }
            Verdict::Malformed if states > 1 => {
                lane.search_cap = Some(states.div_ceil(2));
                Disposal::Keep
            }
            Verdict::TooLarge | Verdict::Malformed => Disposal::Reject,
            Verdict::Throttled(retry_after) => {
                let wait =
                    retry_after.unwrap_or(THROTTLE_WAIT).clamp(THROTTLE_WAIT, RETRY_AFTER_MAX);
                lane.held_until = Some(now + wait);
                Disposal::Keep
            }
            Verdict::Parked => {
                lane.held_until = Some(now + PARK);
                Disposal::Keep
            }
            Verdict::Unauthorized | Verdict::Offline => {
                self.hold_link(now, rng);
                Disposal::Keep
            }
        }
    }

    fn hold_link(&mut self, now: Instant, rng: &mut impl Rng) {
        self.link_held_until = Some(now + self.link.next_delay(rng));
    }
}

#[cfg(test)]
#[expect(clippy::disallowed_methods, reason = "a test needs some instant to start from")]
mod tests {
    use rand::SeedableRng;
    use rand::rngs::StdRng;

    use super::*;

    struct World {
        reporter: Reporter,
        now: Instant,
        rng: StdRng,
    }

    fn device(number: u8) -> DeviceId {
        DeviceId::from([number; 12])
    }

    fn world() -> World {
        let limits = Limits {
            batch_states_max: 100,
            batch_bytes_max: 200_000,
            batch_age: Duration::from_secs(2),
            retry_min: Duration::from_secs(1),
            retry_max: Duration::from_secs(300),
        };
        World {
            reporter: Reporter::new(limits),
            now: Instant::now(),
            rng: StdRng::seed_from_u64(7),
        }
    }

    impl World {
        fn backlog(&mut self, number: u8, states: u64) {
            self.reporter.note_backlog(device(number), states, self.now);
        }

        fn pass(&mut self, seconds: u64) {
            self.now += Duration::from_secs(seconds);
        }

        fn sends(&mut self) -> Option<(u8, usize)> {
            match self.reporter.poll(self.now) {
                Step::Send { device, states_max } => Some((device.as_bytes()[0], states_max)),
                Step::WaitUntil(at) => {
                    assert!(at > self.now, "a wait that is not in the future would spin");
                    None
                }
                Step::Idle => None,
            }
        }

        fn settles(&mut self, number: u8, states: usize, verdict: &Verdict) -> Disposal {
            self.reporter.settle((device(number), states), verdict, self.now, &mut self.rng)
        }
    }

    #[test]
    fn a_lone_state_waits_for_company_and_a_full_batch_does_not() {
        let mut world = world();
        world.backlog(1, 1);
        assert_eq!(world.sends(), None);
        world.pass(2);
        assert_eq!(world.sends(), Some((1, 100)));
        world.backlog(2, 100);
        assert_eq!(world.sends(), Some((2, 100)));
    }

    #[test]
    fn devices_take_turns() {
        let mut world = world();
        for number in 1..=3 {
            world.backlog(number, 1_000);
        }
        let turns: Vec<_> = (0..6).map(|_| world.sends().unwrap().0).collect();
        assert_eq!(turns, [1, 2, 3, 1, 2, 3]);
    }

    #[test]
    fn a_throttled_or_refused_device_does_not_delay_the_others() {
        let mut world = world();
        for number in 1..=3 {
            world.backlog(number, 1_000);
        }
        assert_eq!(world.sends(), Some((1, 100)));
        assert_eq!(world.settles(1, 100, &Verdict::Throttled(None)), Disposal::Keep);
        assert_eq!(world.sends(), Some((2, 100)));
        assert_eq!(world.settles(2, 100, &Verdict::Parked), Disposal::Keep);
        let turns: Vec<_> = (0..3).map(|_| world.sends().unwrap().0).collect();
        assert_eq!(turns, [3, 3, 3]);
        world.pass(16);
        assert_eq!(world.sends(), Some((1, 100)));
    }

    #[test]
    fn a_device_never_makes_more_calls_than_losant_allows() {
        let mut world = world();
        world.backlog(1, 1_000_000);
        let at_once = (0..100).filter(|_| world.sends().is_some()).count();
        assert_eq!(at_once, 30);
        world.pass(15);
        assert_eq!(world.sends(), None);
        world.pass(1);
        assert_eq!(world.sends(), Some((1, 100)));
    }

    #[test]
    fn without_a_link_nothing_is_sent_and_the_wait_grows_to_its_bound() {
        let mut world = world();
        world.backlog(1, 1_000);
        let mut longest = Duration::ZERO;
        for _ in 0..30 {
            if let Step::WaitUntil(at) = world.reporter.poll(world.now) {
                longest = longest.max(at - world.now);
                world.now = at;
            }
            assert!(world.sends().is_some());
            assert_eq!(world.settles(1, 100, &Verdict::Offline), Disposal::Keep);
        }
        assert!(
            longest > Duration::from_secs(60) && longest <= Duration::from_secs(300),
            "{longest:?}"
        );
        assert_eq!(world.reporter.online(), Some(false));
    }

    #[test]
    fn a_bad_state_is_isolated_by_halving_and_its_neighbours_go_on() {
        let mut world = world();
        let (mut waiting, bad): (Vec<u32>, u32) = ((0..100).collect(), 63);
        let (mut stored, mut rejected, mut calls) = (Vec::new(), Vec::new(), 0);
        while !waiting.is_empty() {
            world.backlog(1, waiting.len() as u64);
            world.pass(2);
            let Some((_, states_max)) = world.sends() else { continue };
            calls += 1;
            let batch: Vec<_> = waiting.iter().copied().take(states_max).collect();
            let verdict = if batch.contains(&bad) { Verdict::Malformed } else { Verdict::Stored };
            match world.settles(1, batch.len(), &verdict) {
                Disposal::Delete => stored.extend(waiting.drain(..batch.len())),
                Disposal::Reject => rejected.extend(waiting.drain(..1)),
                Disposal::Keep => {}
            }
        }
        assert_eq!(rejected, [63]);
        assert_eq!(stored.len(), 99);
        assert!(stored.is_sorted());
        assert!(calls <= 25, "{calls} calls to find one bad state in 100");
    }

    #[test]
    fn a_batch_that_is_too_large_is_halved_and_the_size_is_remembered() {
        let mut world = world();
        world.backlog(1, 1_000);
        assert_eq!(world.sends(), Some((1, 100)));
        assert_eq!(world.settles(1, 100, &Verdict::TooLarge), Disposal::Keep);
        assert_eq!(world.sends(), Some((1, 50)));
        assert_eq!(world.settles(1, 50, &Verdict::Stored), Disposal::Delete);
        assert_eq!(world.sends(), Some((1, 50)));
        assert_eq!(world.settles(1, 1, &Verdict::TooLarge), Disposal::Reject);
    }

    #[test]
    fn a_drain_sends_what_is_there() {
        let mut world = world();
        world.backlog(1, 1);
        assert_eq!(world.sends(), None);
        world.reporter.drain();
        assert_eq!(world.sends(), Some((1, 100)));
        world.settles(1, 1, &Verdict::Offline);
        assert_eq!(world.sends(), None);
        world.reporter.drain();
        assert_eq!(world.sends(), Some((1, 100)), "one last try, although the link was down");
    }
}
