//! The state of one device in the reporter: its two lanes, its throttle and its learned limits.

use std::time::{Duration, Instant};

use rand::rngs::StdRng;

use super::schedule::Place;
use super::{BACKLOG_CALLS_MAX, Call, FinishedCall, LIVE_RUN_MAX, Lane, Limits, Waiting};
use crate::response::ResponseClass;
use crate::throttle::Throttle;
use tidegate_timing::backoff::Backoff;

/// One device.
#[derive(Debug)]
pub(super) struct Device {
    pub(super) waiting: Waiting,
    /// States above this sequence number are live; the others are backlog.
    pub(super) backlog_end: u64,
    /// Whether all states count as backlog until the backlog is sent.
    pub(super) is_in_order: bool,
    pub(super) throttle: Throttle,
    /// The most states in a batch, learned from 413 responses.
    pub(super) states_cap: usize,
    /// The waits after server errors.
    server_backoff: Backoff,
    held_until: Option<Instant>,
    /// Why the device is held.
    hold: Hold,
    live: Queue,
    backlog: Queue,
    /// Live calls since the last backlog call.
    live_run: u8,
    /// States up to this sequence number are sent at once.
    flush_through: u64,
}

/// Why a device is held.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Hold {
    /// Losant refused the last call for this device.
    Blocked,
    /// The last call got a server error.
    ServerError,
    /// Another reason, or the device is not held.
    Other,
}

/// The places of the lanes of a device; `None` for a lane without states to send.
#[derive(Debug, Clone, Copy)]
pub(super) struct Places {
    pub(super) live: Option<Place>,
    pub(super) backlog: Option<Place>,
}

/// One lane of a device.
#[derive(Debug, Default)]
pub(super) struct Queue {
    /// Calls in flight, in the order of their starts. At most [`BACKLOG_CALLS_MAX`].
    calls: Vec<Begun>,
    /// Whether the last call that started alone was confirmed.
    is_steady: bool,
    /// The number of its last call; 0 before the first.
    turn: u64,
    /// The batch size of a search for a bad state, after a 400 response.
    pub(super) search_cap: Option<usize>,
    waiting_since: Option<Instant>,
}

/// A call in flight.
#[derive(Debug)]
struct Begun {
    number: u64,
    /// Whether no other call of its lane was in flight at its start.
    is_alone: bool,
    /// The states of the call, once they are loaded.
    carries: Option<Load>,
}

/// The states of a call.
#[derive(Debug, Clone, Copy)]
struct Load {
    states: usize,
    /// The sequence number of the last state.
    last: u64,
}

impl Queue {
    /// Returns the last sequence number in flight; 0 without one.
    pub(super) fn last(&self) -> u64 {
        self.calls.last().and_then(|call| call.carries).map_or(0, |load| load.last)
    }

    pub(super) fn load(&mut self, number: u64, states: usize, last: u64) {
        if let Some(call) = self.calls.iter_mut().find(|call| call.number == number) {
            call.carries = Some(Load { states, last });
        }
    }

    /// Returns the number of states in flight; `None` while a call is not loaded.
    fn states(&self) -> Option<u64> {
        self.calls.iter().map(|call| call.carries.map(|load| load.states as u64)).sum()
    }

    /// Returns whether one more call may start while others of this lane are in flight.
    fn takes_another(&self) -> bool {
        self.is_steady && self.search_cap.is_none() && self.calls.len() < BACKLOG_CALLS_MAX
    }
}

impl Device {
    pub(super) fn new(limits: &Limits) -> Self {
        Self {
            waiting: Waiting::default(),
            backlog_end: 0,
            is_in_order: false,
            throttle: Throttle::default(),
            states_cap: limits.batch_states_max.max(1),
            server_backoff: Backoff::new(limits.retry_min, limits.retry_max),
            held_until: None,
            hold: Hold::Other,
            live: Queue::default(),
            backlog: Queue::default(),
            live_run: 0,
            flush_through: 0,
        }
    }

    /// Changes the limits.
    pub(super) fn set_limits(&mut self, before: &Limits, after: &Limits) {
        let has_learned = self.states_cap < before.batch_states_max.max(1);
        let states_max = after.batch_states_max.max(1);
        self.states_cap = if has_learned { self.states_cap.min(states_max) } else { states_max };
        self.server_backoff = Backoff::new(after.retry_min, after.retry_max);
    }

    /// Updates the waiting states. Live states beyond the limit become backlog.
    pub(super) fn set_waiting(&mut self, waiting: Waiting, live_states_max: u64, now: Instant) {
        self.waiting = waiting;
        if self.live.calls.is_empty() {
            if self.is_in_order {
                self.backlog_end = waiting.last;
            } else if self.live_states() > live_states_max {
                self.backlog_end = waiting.last.saturating_sub(self.states_cap as u64);
            }
        }
        let is_waiting = self.live_states() > 0;
        self.live.waiting_since = is_waiting.then(|| self.live.waiting_since.unwrap_or(now));
    }

    /// Sends the waiting states at once.
    pub(super) fn flush(&mut self) {
        self.flush_through = self.waiting.last;
    }

    /// Returns whether a flush covers the oldest waiting state.
    fn is_flushing(&self) -> bool {
        self.waiting.last.saturating_sub(self.waiting.states) < self.flush_through
    }

    fn live_states(&self) -> u64 {
        self.waiting.last.saturating_sub(self.backlog_end).min(self.waiting.states)
    }

    fn backlog_states(&self) -> u64 {
        self.waiting.states - self.live_states()
    }

    pub(super) fn lane(&self, lane: Lane) -> &Queue {
        match lane {
            Lane::Live => &self.live,
            Lane::Backlog => &self.backlog,
        }
    }

    pub(super) fn lane_mut(&mut self, lane: Lane) -> &mut Queue {
        match lane {
            Lane::Live => &mut self.live,
            Lane::Backlog => &mut self.backlog,
        }
    }

    fn states_max(&self, lane: Lane) -> usize {
        self.lane(lane).search_cap.unwrap_or(self.states_cap).min(self.states_cap)
    }

    /// Returns the place of each lane that has states to send.
    ///
    /// A place is valid until the next event of the device, a change of the limits, or a change of
    /// `is_draining` or `is_slow`.
    pub(super) fn places(
        &self,
        now: Instant,
        limits: &Limits,
        is_draining: bool,
        is_slow: bool,
    ) -> Places {
        let is_urgent = is_draining || self.is_flushing();
        let free = self.throttle.ready_at(now).max(self.held_until.unwrap_or(now));
        let since = self.live.waiting_since.filter(|_| self.live.calls.is_empty());
        let live = since.map(|since| {
            let age = if is_urgent { Duration::ZERO } else { limits.batch_age_max };
            let due = if self.is_live_full(limits) { now } else { since + age };
            self.place(Lane::Live, due.max(free))
        });
        let is_free = self.backlog.calls.is_empty()
            || is_slow && !self.is_in_order && self.backlog.takes_another();
        let has_backlog =
            self.backlog.states().is_some_and(|states| self.backlog_states() > states);
        let spread = if is_urgent { now } else { self.throttle.spread_ready_at(now) };
        let has_backlog = is_free && has_backlog;
        let backlog = has_backlog.then(|| self.place(Lane::Backlog, free.max(spread)));
        Places { live, backlog }
    }

    fn place(&self, lane: Lane, at: Instant) -> Place {
        Place { at, rank: self.rank(lane), turn: self.lane(lane).turn }
    }

    /// Returns the rank of the lane among the lanes of all devices: as live, or after those.
    ///
    /// A backlog ranks as live after [`LIVE_RUN_MAX`] live calls in a row.
    fn rank(&self, lane: Lane) -> Lane {
        if self.live_run >= LIVE_RUN_MAX { Lane::Live } else { lane }
    }

    /// Returns whether the live batch is full.
    fn is_live_full(&self, limits: &Limits) -> bool {
        let states = self.live_states();
        let state_bytes = self.waiting.bytes / self.waiting.states.max(1);
        self.live.search_cap.is_some()
            || states >= self.states_cap as u64
            || states * state_bytes >= limits.batch_bytes_max as u64
    }

    /// Counts a call and returns the most states that it may carry.
    pub(super) fn begin(&mut self, lane: Lane, turn: u64, now: Instant) -> usize {
        self.throttle.begin(now);
        self.live_run = match lane {
            Lane::Live if self.backlog_states() > 0 => self.live_run.saturating_add(1),
            Lane::Live | Lane::Backlog => 0,
        };
        let queue = self.lane_mut(lane);
        let is_alone = queue.calls.is_empty();
        queue.calls.push(Begun { number: turn, is_alone, carries: None });
        queue.turn = turn;
        self.states_max(lane)
    }

    /// Records the end of a call. Returns whether it started alone in its lane.
    pub(super) fn end(&mut self, call: &Call, finished: &FinishedCall, now: Instant) -> bool {
        self.throttle.end(now, finished.may_count && finished.states > 0);
        let queue = self.lane_mut(call.lane);
        let this = |begun: &Begun| begun.number == call.number;
        let is_alone = queue.calls.iter().any(|begun| this(begun) && begun.is_alone);
        queue.calls.retain(|begun| !this(begun));
        queue.is_steady =
            finished.response == ResponseClass::Stored && (is_alone || queue.is_steady);
        is_alone
    }

    /// Holds the device until then.
    pub(super) fn hold(&mut self, until: Instant) {
        self.held_until = Some(until);
        self.hold = Hold::Other;
    }

    /// Holds the device because Losant refuses it.
    pub(super) fn block(&mut self, until: Instant) {
        self.hold(until);
        self.hold = Hold::Blocked;
    }

    /// Holds the device after a server error of its own, and not before `retry_at`.
    pub(super) fn hold_after_error(&mut self, retry_at: Instant, now: Instant, rng: &mut StdRng) {
        let delay = self.server_backoff.next_delay(rng);
        self.hold(retry_at.max(now + delay));
        self.hold = Hold::ServerError;
    }

    /// Ends the hold of a device that Losant refused.
    pub(super) fn unblock(&mut self) {
        self.end_hold(Hold::Blocked);
    }

    /// Ends the hold after a server error that was the cloud's.
    pub(super) fn release(&mut self) {
        self.server_backoff.reset();
        self.end_hold(Hold::ServerError);
    }

    fn end_hold(&mut self, hold: Hold) {
        if self.hold == hold {
            self.held_until = None;
            self.hold = Hold::Other;
        }
    }

    /// Removes confirmed states, resets the back-off and widens the search for a bad state.
    ///
    /// A call that started while another was in flight does not widen the search: the bad state may
    /// be in the other call.
    pub(super) fn confirm(&mut self, lane: Lane, finished: &FinishedCall, is_alone: bool) {
        let states_cap = self.states_cap;
        self.server_backoff.reset();
        self.remove(lane, finished);
        // A search doubles back up once the bad state is behind it.
        let queue = self.lane_mut(lane);
        if !is_alone {
            return;
        }
        queue.search_cap = queue.search_cap.map(|cap| cap * 2).filter(|cap| *cap < states_cap);
    }

    /// Removes the states of a call from the waiting states.
    pub(super) fn remove(&mut self, lane: Lane, finished: &FinishedCall) {
        self.waiting.states = self.waiting.states.saturating_sub(finished.states as u64);
        self.is_in_order &= self.waiting.states > 0;
        if lane == Lane::Live {
            self.backlog_end = self.backlog_end.max(finished.last);
            self.live.waiting_since = None;
        }
    }
}
