//! Decides which device to report next, which of its states, how many and when.
//!
//! The reporter's task passes in the waiting states of each device ([`Reporter::handle_waiting`])
//! and the result of each call ([`Reporter::handle_result`]), and makes the calls that
//! [`Machine::poll_action`] returns.
//!
//! Each device has two lanes. New states are in the *live* lane, whose batches fill up for a short
//! while. States from before the start, or from a time without a connection, are in the *backlog*.
//! Live batches have priority. A backlog gets the rest of the device's budget, and at least one
//! call in `LIVE_RUN_MAX` + 1. Devices take turns.
//!
//! A `Schedule` holds the lanes in the order of their next calls, so an event costs the same with
//! one device as with a thousand.
//!
//! Each lane has one call in flight, which keeps its order. Over a slow link a backlog may have
//! [`BACKLOG_CALLS_MAX`]: each starts after the states of the one before, and only while all calls
//! succeed. If the first of two fails, its states arrive after those of the second. The number of
//! calls in flight over all devices grows with the response time, up to [`CALLS_UNDER_WAY_MAX`].
//!
//! After a failure of the link, and after a server error, a single call at a time probes.
//! `ServerErrors` has the rule that separates the trouble of the cloud from that of one device.
//! While the link is down, up to [`PROBE_LANES_MAX`] lanes take turns, so that their batches can
//! stay in memory; a further one joins after each [`PROBES_PER_LANE`] failures, so that a few
//! devices with permanent errors cannot prolong an outage.

mod device;
mod probes;
mod schedule;
mod server_errors;
#[cfg(test)]
mod tests;
mod types;

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use rand::rngs::StdRng;

use crate::response::ResponseClass;
use crate::throttle::Throttle;
use device::{Device, Places};
use probes::Probes;
pub use probes::{PROBE_LANES_MAX, PROBES_PER_LANE};
use schedule::Schedule;
use server_errors::{Cause, ServerErrors};
use tidegate_model::DeviceId;
use tidegate_timing::backoff::Backoff;
use tidegate_timing::machine::Machine;
pub use types::{Call, Disposal, FinishedCall, Lane, LaneId, Limits, Waiting};

/// The wait of a device whose states could not be read from the outbox.
const UNREADABLE_WAIT: Duration = Duration::from_secs(1);

/// The most calls in flight over a slow link; each holds a batch in memory.
///
/// A single call cannot use the budget of several devices: with a response after 1 s, ten devices
/// would share one call a second, of the 20 that they may make.
pub const CALLS_UNDER_WAY_MAX: usize = 24;

/// The most calls in flight over a fast link: enough for the budget of ten devices.
const CALLS_UNDER_WAY_FAST: usize = 8;

/// The most calls of one backlog in flight over a slow link.
///
/// A single call uses all 30 calls in 15 s only while responses take less than half a second.
pub const BACKLOG_CALLS_MAX: usize = 2;

/// The average response time above which a link counts as slow.
const SLOW_ANSWER: Duration = Duration::from_millis(250);

/// Calls that are reserved for the other lane while one lane fills the link.
const CALLS_RESERVED: usize = 2;

/// The most live calls of a device in a row while it has a backlog.
const LIVE_RUN_MAX: u8 = 4;

/// The most batches in a live lane. With more, the older ones become backlog.
const LIVE_BATCHES_MAX: u64 = 3;

/// The next step of the reporter.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Step {
    /// Start a call of this lane.
    Start(LaneId),
    /// Wait until then, or until a call ends.
    WaitUntil(Instant),
    /// Wait for an input.
    Idle,
}

/// Decides about calls. See the [module](self).
#[derive(Debug)]
pub struct Reporter {
    limits: Limits,
    rng: StdRng,
    now: Instant,
    devices: BTreeMap<DeviceId, Device>,
    /// Counts the calls. The lane that was served longest ago is next.
    turn: u64,
    link: Backoff,
    link_held_until: Option<Instant>,
    /// The last failure of the link. Failures of calls that started before it are part of it.
    link_down_since: Option<Instant>,
    /// The last call failed for a reason that concerns the link or the server.
    is_link_suspect: bool,
    server_errors: ServerErrors,
    probes: Probes,
    schedule: Schedule,
    /// The calls in flight by their numbers. At most [`CALLS_UNDER_WAY_MAX`].
    under_way: BTreeMap<u64, LaneId>,
    /// The moving average of the response time.
    answer_time: Duration,
    online: Option<bool>,
    is_draining: bool,
}

impl Reporter {
    /// Creates a reporter without devices. `rng` spreads the waits after failures.
    pub fn new(limits: Limits, rng: StdRng, now: Instant) -> Self {
        let link = Backoff::new(limits.retry_min, limits.retry_max);
        Self {
            limits,
            rng,
            now,
            devices: BTreeMap::new(),
            turn: 0,
            link,
            link_held_until: None,
            link_down_since: None,
            is_link_suspect: false,
            server_errors: ServerErrors::default(),
            probes: Probes::default(),
            schedule: Schedule::new(now),
            under_way: BTreeMap::new(),
            answer_time: Duration::ZERO,
            online: None,
            is_draining: false,
        }
    }

    /// Changes the limits. Learned batch sizes stay where they are stricter.
    pub fn handle_limits(&mut self, limits: Limits, now: Instant) {
        self.handle_timeout(now);
        for device in self.devices.values_mut() {
            device.set_limits(&self.limits, &limits);
        }
        self.link = Backoff::new(limits.retry_min, limits.retry_max);
        self.limits = limits;
        self.place_all();
    }

    /// Adds a device at the start. Its states are backlog; `throttle` has its last calls.
    pub fn resume(&mut self, device: DeviceId, waiting: Waiting, throttle: Throttle) {
        let id = device;
        let device = self.device(id);
        device.throttle = throttle;
        device.backlog_end = waiting.last;
        device.waiting = waiting;
        self.place(id);
    }

    /// Returns whether the cloud answered the last call, if only to refuse it.
    ///
    /// `None` before the first call.
    pub fn online(&self) -> Option<bool> {
        self.online
    }

    /// Returns whether the cloud answers the calls of several devices with server errors.
    pub fn is_outage(&self) -> bool {
        self.server_errors.is_outage()
    }

    /// Returns the throttle of a device.
    pub fn throttle(&self, device: DeviceId) -> Option<&Throttle> {
        self.devices.get(&device).map(|device| &device.throttle)
    }

    /// Updates the states of a device in the outbox.
    pub fn handle_waiting(&mut self, device: DeviceId, waiting: Waiting, now: Instant) {
        self.handle_timeout(now);
        let live_states_max = LIVE_BATCHES_MAX * self.limits.batch_states_max.max(1) as u64;
        let is_new = !self.devices.contains_key(&device);
        let id = device;
        let device = self.device(id);
        if is_new {
            device.backlog_end = waiting.last.saturating_sub(waiting.states);
        }
        device.set_waiting(waiting, live_states_max, now);
        self.place(id);
    }

    /// Reports a device in order until its backlog is empty.
    ///
    /// Needed when the outbox cannot track more gaps in the acknowledged states of the device.
    pub fn handle_scattered(&mut self, device: DeviceId, now: Instant) {
        self.handle_timeout(now);
        let id = device;
        let device = self.device(id);
        device.is_in_order = true;
        device.backlog_end = device.waiting.last;
        self.place(id);
    }

    fn device(&mut self, device: DeviceId) -> &mut Device {
        let limits = &self.limits;
        self.devices.entry(device).or_insert_with(|| Device::new(limits))
    }

    /// Sends all waiting states without a wait for full batches or for the link.
    ///
    /// States that arrive later wait as usual.
    pub fn handle_flush(&mut self, now: Instant) {
        self.handle_link_up(now);
        self.devices.values_mut().for_each(Device::flush);
        self.place_all();
    }

    /// Ends the waits of devices that Losant refused, because it shows one of them again.
    pub fn handle_unblocked(&mut self, now: Instant) {
        self.handle_timeout(now);
        self.devices.values_mut().for_each(Device::unblock);
        self.place_all();
    }

    /// Ends the wait for the link, after another call succeeded.
    pub fn handle_link_up(&mut self, now: Instant) {
        self.handle_timeout(now);
        self.link_held_until = None;
    }

    /// Prepares the end of the daemon: sends partial batches, and tries the link once more.
    pub fn handle_drain(&mut self, now: Instant) {
        self.is_draining = true;
        self.handle_link_up(now);
        self.place_all();
    }

    fn is_slow(&self) -> bool {
        self.answer_time > SLOW_ANSWER
    }

    /// Updates the places of a device in the schedule.
    fn place(&mut self, id: DeviceId) {
        let is_slow = self.is_slow();
        let Some(device) = self.devices.get(&id) else { return };
        let Places { live, backlog } =
            device.places(self.now, &self.limits, self.is_draining, is_slow);
        self.schedule.set(LaneId { device: id, lane: Lane::Live }, live);
        self.schedule.set(LaneId { device: id, lane: Lane::Backlog }, backlog);
    }

    /// Updates the places of all devices, after a rare event that concerns them all.
    fn place_all(&mut self) {
        let ids: Vec<_> = self.devices.keys().copied().collect();
        for id in ids {
            self.place(id);
        }
    }

    fn step(&self) -> Step {
        let calls_max = match (self.is_link_suspect, self.is_slow()) {
            (true, _) => 1,
            (false, true) => CALLS_UNDER_WAY_MAX,
            (false, false) => CALLS_UNDER_WAY_FAST,
        };
        if self.under_way.len() >= calls_max {
            return Step::Idle;
        }
        if let Some(until) = self.link_held_until.filter(|until| *until > self.now) {
            return if self.schedule.is_empty() { Step::Idle } else { Step::WaitUntil(until) };
        }
        let is_open = |lane| {
            let under_way = self.under_way.values().filter(|id| id.lane == lane).count();
            under_way + CALLS_RESERVED < calls_max.max(CALLS_UNDER_WAY_FAST)
        };
        let probe = self.probes.next(|id| self.schedule.is_due(id));
        if let Some(id) = probe.or_else(|| self.schedule.next(is_open)) {
            return Step::Start(id);
        }
        self.schedule.soonest(is_open).map_or(Step::Idle, Step::WaitUntil)
    }

    fn start(&mut self, id: LaneId) -> Call {
        self.turn += 1;
        let (turn, now) = (self.turn, self.now);
        let device = self.device(id.device);
        let (after, through) = match id.lane {
            Lane::Live => (device.backlog_end, device.waiting.last),
            Lane::Backlog => (device.lane(id.lane).last(), device.backlog_end),
        };
        let states_max = device.begin(id.lane, turn, now);
        self.under_way.insert(turn, id);
        debug_assert!(self.under_way.len() <= CALLS_UNDER_WAY_MAX, "{:?}", self.under_way);
        self.place(id.device);
        let LaneId { device, lane } = id;
        Call { device, lane, after, through, states_max, number: turn, began: now }
    }

    /// Records the states that a call carries: their number, and the sequence number of the last.
    ///
    /// The next call of the lane starts after them.
    pub fn handle_loaded(&mut self, call: &Call, states: usize, last: u64, now: Instant) {
        self.handle_timeout(now);
        self.device(call.device).lane_mut(call.lane).load(call.number, states, last);
        self.place(call.device);
    }

    /// Updates the machine with the result of a call. Returns the instruction for its states.
    pub fn handle_result(
        &mut self,
        call: &Call,
        finished: &FinishedCall,
        now: Instant,
    ) -> Disposal {
        self.handle_timeout(now);
        if finished.may_count && finished.response != ResponseClass::Offline {
            let (took, was_slow) = (now.saturating_duration_since(call.began), self.is_slow());
            self.answer_time = (self.answer_time * 7 + took) / 8;
            if was_slow != self.is_slow() {
                // Only devices with calls in flight depend on it.
                let ids: Vec<_> = self.under_way.values().map(|id| id.device).collect();
                for id in ids {
                    self.place(id);
                }
            }
        }
        self.under_way.remove(&call.number);
        self.update_device(call, finished);
        if finished.states > 0 {
            self.update_link(call, &finished.response);
        }
        self.place(call.device);
        finished.disposal()
    }

    fn update_device(&mut self, call: &Call, finished: &FinishedCall) {
        let now = self.now;
        let device = self.devices.entry(call.device).or_insert_with(|| Device::new(&self.limits));
        let is_alone = device.end(call, finished, now);
        if finished.states == 0 {
            device.hold(now + UNREADABLE_WAIT);
            return;
        }
        let half = finished.states.div_ceil(2);
        match &finished.response {
            ResponseClass::Stored => {
                device.confirm(call.lane, finished, is_alone);
                self.server_errors.confirm(call.device);
            }
            ResponseClass::TooLarge if finished.states > 1 => device.states_cap = half,
            ResponseClass::Malformed if finished.states > 1 => {
                device.lane_mut(call.lane).search_cap = Some(half);
            }
            ResponseClass::TooLarge | ResponseClass::Malformed => {
                device.remove(call.lane, finished);
            }
            ResponseClass::Throttled(_) => device.hold(now + finished.response.wait_min()),
            ResponseClass::Blocked => device.block(now + finished.response.wait_min()),
            ResponseClass::ServerError(_)
            | ResponseClass::Unauthorized
            | ResponseClass::Offline => {}
        }
    }

    /// Updates the link. Calls in flight when it breaks all fail, which counts as one failure.
    fn update_link(&mut self, call: &Call, response: &ResponseClass) {
        match response {
            ResponseClass::Offline | ResponseClass::Unauthorized => self.fail_link(call),
            ResponseClass::ServerError(_) => self.handle_server_error(call, response),
            ResponseClass::Stored
            | ResponseClass::TooLarge
            | ResponseClass::Malformed
            | ResponseClass::Throttled(_)
            | ResponseClass::Blocked => {
                self.online = Some(true);
                self.is_link_suspect = false;
                self.link_held_until = None;
                self.link.reset();
                self.server_errors.end_row();
                self.probes.clear();
            }
        }
    }

    /// Holds the link for its back-off, unless this call began before the last failure.
    fn fail_link(&mut self, call: &Call) {
        let now = self.now;
        self.online = Some(false);
        self.is_link_suspect = true;
        self.probes.add(call.lane_id());
        if self.link_down_since.is_none_or(|since| call.began >= since) {
            self.link_down_since = Some(now);
            self.link_held_until = Some(now + self.link.next_delay(&mut self.rng));
        }
    }

    fn handle_server_error(&mut self, call: &Call, response: &ResponseClass) {
        let now = self.now;
        self.is_link_suspect = true;
        match self.server_errors.add(call.device, now + response.wait_min()) {
            Cause::Device => {
                let (limits, rng) = (&self.limits, &mut self.rng);
                let device = self.devices.entry(call.device);
                let device = device.or_insert_with(|| Device::new(limits));
                device.hold_after_error(now + response.wait_min(), now, rng);
                if self.online.is_none() || self.server_errors.errors() > 1 {
                    self.online = Some(false);
                }
            }
            Cause::Cloud(released) => {
                for id in released {
                    self.device(id).release();
                    self.place(id);
                }
                self.fail_link(call);
                let retry_at = self.server_errors.retry_at();
                self.link_held_until = self.link_held_until.max(retry_at);
            }
        }
    }
}

impl Machine for Reporter {
    type Action = Call;

    fn handle_timeout(&mut self, now: Instant) {
        self.now = self.now.max(now);
        self.schedule.advance(self.now);
    }

    fn poll_timeout(&self) -> Option<Instant> {
        match self.step() {
            Step::Start(..) => Some(self.now),
            Step::WaitUntil(at) => Some(at),
            Step::Idle => None,
        }
    }

    /// Returns the next call to make. The throttle counts it.
    fn poll_action(&mut self) -> Option<Call> {
        match self.step() {
            Step::Start(id) => Some(self.start(id)),
            Step::WaitUntil(_) | Step::Idle => None,
        }
    }
}
