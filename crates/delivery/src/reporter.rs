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
//! Each lane has one call in flight, which keeps its order. Over a slow link a backlog may have
//! [`BACKLOG_CALLS_MAX`]: each starts after the states of the one before, and only while all calls
//! succeed. If the first of two fails, its states arrive after those of the second. The number of
//! calls in flight over all devices grows with the response time, up to [`CALLS_UNDER_WAY_MAX`].
//! After a failure of the link a single call probes it.

mod device;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use rand::rngs::StdRng;

use crate::response::ResponseClass;
use crate::throttle::Throttle;
use device::Device;
use tidegate_model::DeviceId;
use tidegate_timing::backoff::Backoff;
use tidegate_timing::machine::Machine;

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

/// The settings of the reporter.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Limits {
    /// The most states in one call, 1 or more.
    pub batch_states_max: usize,
    /// The most bytes in one call.
    pub batch_bytes_max: usize,
    /// The longest time that the oldest new state waits for a full batch.
    pub batch_age_max: Duration,
    /// Readings of a device within this time after the first become one state.
    ///
    /// With 0, only readings of one millisecond are merged.
    pub merge_window: Duration,
    /// Whether backlog states carry the backfill mark.
    pub backfill_meta: bool,
    /// The shortest wait for the link.
    pub retry_min: Duration,
    /// The longest wait for the link.
    pub retry_max: Duration,
}

/// The states of a device in the outbox.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Waiting {
    /// States.
    pub states: u64,
    /// Bytes of their JSON.
    pub bytes: u64,
    /// The last assigned sequence number.
    pub last: u64,
}

/// One of a device's two queues.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Lane {
    /// New states.
    Live,
    /// States from before the start, or from a time without a connection.
    Backlog,
}

/// A call to make: the oldest states of a device in a range of sequence numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Call {
    /// The device.
    pub device: DeviceId,
    /// The lane of the device.
    pub lane: Lane,
    /// The states start after this sequence number.
    pub after: u64,
    /// The states end at this sequence number.
    pub through: u64,
    /// The most states to send.
    pub states_max: usize,
    /// Identifies the call.
    number: u64,
    began: Instant,
}

/// The next step of the reporter.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Step {
    /// Start a call of this lane.
    Start(DeviceId, Lane),
    /// Wait until then, or until a call ends.
    WaitUntil(Instant),
    /// Wait for an input.
    Idle,
}

/// A call that has finished, with the class of its response.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FinishedCall {
    /// The number of states in the call. With 0 none were found, and no call was made.
    pub states: usize,
    /// The sequence number of the last of them.
    pub last: u64,
    /// The class of the response.
    pub response: ResponseClass,
    /// Whether the call may count in Losant's throttle.
    pub may_count: bool,
}

/// The instruction for the states of a call that ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Disposal {
    /// Delete them.
    Delete,
    /// Keep them.
    Keep,
    /// Move the one state to the rejects.
    Reject,
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
    }

    /// Adds a device at the start. Its states are backlog; `throttle` has its last calls.
    pub fn resume(&mut self, device: DeviceId, waiting: Waiting, throttle: Throttle) {
        let device = self.device(device);
        device.throttle = throttle;
        device.backlog_end = waiting.last;
        device.waiting = waiting;
    }

    /// Returns whether the cloud answered the last call, if only to refuse it.
    ///
    /// `None` before the first call.
    pub fn online(&self) -> Option<bool> {
        self.online
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
        let device = self.device(device);
        if is_new {
            device.backlog_end = waiting.last.saturating_sub(waiting.states);
        }
        device.set_waiting(waiting, live_states_max, now);
    }

    /// Reports a device in order until its backlog is empty.
    ///
    /// Needed when the outbox cannot track more gaps in the acknowledged states of the device.
    pub fn handle_scattered(&mut self, device: DeviceId, now: Instant) {
        self.handle_timeout(now);
        let device = self.device(device);
        device.is_in_order = true;
        device.backlog_end = device.waiting.last;
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
    }

    /// Ends the waits of devices that Losant refused, because it shows one of them again.
    pub fn handle_unblocked(&mut self, now: Instant) {
        self.handle_timeout(now);
        self.devices.values_mut().for_each(Device::unblock);
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
    }

    fn step(&self) -> Step {
        let now = self.now;
        let under_way =
            |lane| self.devices.values().map(|device| device.lane(lane).under_way()).sum::<usize>();
        let (live, backlog) = (under_way(Lane::Live), under_way(Lane::Backlog));
        let is_slow = self.answer_time > SLOW_ANSWER;
        let calls_max = match (self.is_link_suspect, is_slow) {
            (true, _) => 1,
            (false, true) => CALLS_UNDER_WAY_MAX,
            (false, false) => CALLS_UNDER_WAY_FAST,
        };
        if live + backlog >= calls_max {
            return Step::Idle;
        }
        if let Some(until) = self.link_held_until.filter(|until| *until > now) {
            let is_waiting = self.devices.values().any(|device| device.waiting.states > 0);
            return if is_waiting { Step::WaitUntil(until) } else { Step::Idle };
        }
        let is_crowded = |lane| match lane {
            Lane::Live => live + CALLS_RESERVED >= calls_max.max(CALLS_UNDER_WAY_FAST),
            Lane::Backlog => backlog + CALLS_RESERVED >= calls_max.max(CALLS_UNDER_WAY_FAST),
        };
        let (mut next, mut soonest) = (None, None);
        for (id, device) in &self.devices {
            for (lane, at) in device.ready(now, &self.limits, self.is_draining, is_slow) {
                if is_crowded(lane) {
                    continue;
                }
                if at > now {
                    soonest = Some(soonest.map_or(at, |soonest: Instant| soonest.min(at)));
                    continue;
                }
                let key = (device.rank(lane), device.lane(lane).turn, *id, lane);
                next = Some(next.map_or(key, |next: (Lane, u64, DeviceId, Lane)| next.min(key)));
            }
        }
        match (next, soonest) {
            (Some((.., device, lane)), _) => Step::Start(device, lane),
            (None, Some(at)) => Step::WaitUntil(at),
            (None, None) => Step::Idle,
        }
    }

    fn start(&mut self, id: DeviceId, lane: Lane) -> Call {
        self.turn += 1;
        let (turn, now) = (self.turn, self.now);
        let device = self.device(id);
        let (after, through) = match lane {
            Lane::Live => (device.backlog_end, device.waiting.last),
            Lane::Backlog => (device.lane(lane).last(), device.backlog_end),
        };
        let states_max = device.begin(lane, turn, now);
        Call { device: id, lane, after, through, states_max, number: turn, began: now }
    }

    /// Records the states that a call carries: their number, and the sequence number of the last.
    ///
    /// The next call of the lane starts after them.
    pub fn handle_loaded(&mut self, call: &Call, states: usize, last: u64, now: Instant) {
        self.handle_timeout(now);
        self.device(call.device).lane_mut(call.lane).load(call.number, states, last);
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
            let took = now.saturating_duration_since(call.began);
            self.answer_time = (self.answer_time * 7 + took) / 8;
        }
        let device = self.devices.entry(call.device).or_insert_with(|| Device::new(&self.limits));
        let is_alone = device.end(call, finished, now);
        if finished.states == 0 {
            device.hold(now + UNREADABLE_WAIT);
            return Disposal::Keep;
        }
        let disposal = match &finished.response {
            ResponseClass::Stored => {
                device.confirm(call.lane, finished, is_alone);
                Disposal::Delete
            }
            ResponseClass::TooLarge if finished.states > 1 => {
                device.states_cap = finished.states.div_ceil(2);
                Disposal::Keep
            }
            ResponseClass::Malformed if finished.states > 1 => {
                device.lane_mut(call.lane).search_cap = Some(finished.states.div_ceil(2));
                Disposal::Keep
            }
            ResponseClass::TooLarge | ResponseClass::Malformed => {
                device.remove(call.lane, finished);
                Disposal::Reject
            }
            ResponseClass::Throttled(_) => {
                device.hold(now + finished.response.wait_min());
                Disposal::Keep
            }
            ResponseClass::Blocked => {
                device.block(now + finished.response.wait_min());
                Disposal::Keep
            }
            ResponseClass::ServerError(_) => {
                let delay = device.server_backoff.next_delay(&mut self.rng);
                device.hold(now + delay.max(finished.response.wait_min()));
                Disposal::Keep
            }
            ResponseClass::Unauthorized | ResponseClass::Offline => Disposal::Keep,
        };
        self.update_link(&finished.response, call.began);
        disposal
    }

    /// Updates the link. Calls in flight when it breaks all fail, which counts as one failure.
    fn update_link(&mut self, response: &ResponseClass, began: Instant) {
        let now = self.now;
        match response {
            ResponseClass::Offline | ResponseClass::Unauthorized => {
                self.online = Some(false);
                self.is_link_suspect = true;
                if self.link_down_since.is_none_or(|since| began >= since) {
                    self.link_down_since = Some(now);
                    self.link_held_until = Some(now + self.link.next_delay(&mut self.rng));
                }
            }
            ResponseClass::ServerError(_) => {
                self.online = Some(false);
                self.is_link_suspect = true;
            }
            ResponseClass::Stored
            | ResponseClass::TooLarge
            | ResponseClass::Malformed
            | ResponseClass::Throttled(_)
            | ResponseClass::Blocked => {
                self.online = Some(true);
                self.is_link_suspect = false;
                self.link_held_until = None;
                self.link.reset();
            }
        }
    }
}

impl Machine for Reporter {
    type Action = Call;

    fn handle_timeout(&mut self, now: Instant) {
        self.now = self.now.max(now);
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
            Step::Start(device, lane) => Some(self.start(device, lane)),
            Step::WaitUntil(_) | Step::Idle => None,
        }
    }
}
