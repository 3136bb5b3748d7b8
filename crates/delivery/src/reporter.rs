//! Which device to report next, which of its states, how many and when: the machine behind the reporter's task.
//!
//! The task tells it what waits ([`Reporter::note_backlog`]) and how each call ended ([`Reporter::settle`]), and asks it
//! what to do ([`Reporter::poll`]).
//!
//! Each device has two lanes. New states go in the *live* lane, as batches that fill up for a short while; what is there at
//! the start, or came while nothing could be sent, is the *backlog*. Live batches go first. A backlog gets what is left of
//! the device's budget, and at least one call in `LIVE_RUN_MAX` + 1. Devices take turns.
//!
//! One call of a lane is under way at a time, so that each lane's order is kept without effort. Where answers take long, a
//! backlog may have [`BACKLOG_CALLS_MAX`]: each begins after the states of the one before, and only while all goes well.
//! Should the first of two fail, its states arrive after the second's. Over all devices there are as many calls under way as
//! the answers' time asks for, up to [`CALLS_UNDER_WAY_MAX`]. A link that has just failed is tried with one call.

mod device;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use rand::Rng;

use crate::response::ResponseClass;
use crate::throttle::Throttle;
use device::Device;
use tidegate_model::DeviceId;
use tidegate_timing::backoff::Backoff;

/// How long a device that the cloud refuses (403, 404, 405) waits before it is tried again.
pub const PARK: Duration = Duration::from_secs(15 * 60);

/// How long a device waits after a 429: Losant's window, since no `Retry-After` is documented.
pub const THROTTLE_WAIT: Duration = Duration::from_secs(16);

/// The longest `Retry-After` that is obeyed.
const RETRY_AFTER_MAX: Duration = Duration::from_secs(15 * 60);

/// How long a device waits when nothing could be read for it, although something waits.
const UNREADABLE_WAIT: Duration = Duration::from_secs(1);

/// Calls that may be under way at once over a slow link. One at a time cannot use the budget of several devices: with an
/// answer after 1 s ten devices would share one call a second, of the 20 that they may make. Each holds a batch in memory.
pub const CALLS_UNDER_WAY_MAX: usize = 24;

/// The same while answers come fast: enough for the budget of ten devices, and little memory.
const CALLS_UNDER_WAY_FAST: usize = 8;

/// Calls of one backlog that may be under way at once over a slow link. One at a time uses all 30 calls in 15 s only while
/// answers take less than half a second.
pub const BACKLOG_CALLS_MAX: usize = 2;

/// Answers that take longer, as a rule, make a link slow.
const SLOW_ANSWER: Duration = Duration::from_millis(250);

/// Calls that are kept free for the other lane, where one lane has more to send than the link takes.
const CALLS_RESERVED: usize = 2;

/// Live calls that one device may make in a row while its backlog waits.
const LIVE_RUN_MAX: u8 = 4;

/// A device whose live lane holds more than so many batches cannot keep up: the older ones become backlog.
const LIVE_BATCHES_MAX: u64 = 3;

/// What the reporter is set to.
#[derive(Debug, Clone, Default)]
pub struct Limits {
    /// The most states in one call, 1 or more.
    pub batch_states_max: usize,
    /// The most bytes in one call.
    pub batch_bytes_max: usize,
    /// How long the oldest new state may wait for company.
    pub batch_age_max: Duration,
    /// Readings of a device that come within this time after the first become one state; 0 for those of one millisecond.
    pub merge_window: Duration,
    /// Whether states that had to wait carry a mark.
    pub backfill_meta: bool,
    /// The shortest wait for the link.
    pub retry_min: Duration,
    /// The longest wait for the link.
    pub retry_max: Duration,
}

/// What waits for a device.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Waiting {
    /// States.
    pub states: u64,
    /// Bytes of their JSON.
    pub bytes: u64,
    /// The last sequence number that was given.
    pub last: u64,
}

/// One of a device's two queues.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Lane {
    /// States that came a moment ago.
    Live,
    /// States that have waited.
    Backlog,
}

/// A call that is to be made: the oldest states of a device after one sequence number and up to another.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Call {
    /// The device.
    pub device: DeviceId,
    /// Which of its lanes.
    pub lane: Lane,
    /// All that are sent come after this sequence number.
    pub after: u64,
    /// And are not above this one.
    pub through: u64,
    /// The most states to send.
    pub states_max: usize,
    /// Tells it from others.
    number: u64,
    began: Instant,
}

/// What to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// Make this call now. It is counted.
    Send(Call),
    /// Nothing before then, or before a call ends.
    WaitUntil(Instant),
    /// Nothing until there is news.
    Idle,
}

/// How a call ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ended {
    /// How many states it carried. None were found if this is 0: no call was made then.
    pub states: usize,
    /// The sequence number of the last of them.
    pub last: u64,
    /// What the answer means.
    pub verdict: ResponseClass,
    /// Whether the cloud may have counted it.
    pub may_count: bool,
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

/// The machine.
#[derive(Debug)]
pub struct Reporter {
    limits: Limits,
    devices: BTreeMap<DeviceId, Device>,
    /// Counts the calls; the lane that was served longest ago is next.
    turn: u64,
    link: Backoff,
    link_held_until: Option<Instant>,
    /// When the link was last found down. A call that began before then tells nothing new.
    link_down_since: Option<Instant>,
    /// The last call did not succeed for want of the cloud.
    is_link_suspect: bool,
    /// How long answers took lately, the last ones counting most.
    answer_time: Duration,
    online: Option<bool>,
    is_draining: bool,
}

impl Reporter {
    /// A reporter with nothing to report.
    pub fn new(limits: Limits) -> Self {
        let link = Backoff::new(limits.retry_min, limits.retry_max);
        Self {
            limits,
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

    /// Goes by other limits from now on. What was learned about sizes is kept where it is stricter.
    pub fn set_limits(&mut self, limits: Limits) {
        for device in self.devices.values_mut() {
            device.set_limits(&self.limits, &limits);
        }
        self.link = Backoff::new(limits.retry_min, limits.retry_max);
        self.limits = limits;
    }

    /// Tells of a device that was here at the start: what waits for it is backlog, and `pace` knows its last calls.
    pub fn resume(&mut self, device: DeviceId, waiting: Waiting, pace: Throttle) {
        let device = self.device(device);
        device.pace = pace;
        device.frontier = waiting.last;
        device.waiting = waiting;
    }

    /// Whether the cloud took part in the last call, be it to refuse it; `None` before the first.
    pub fn online(&self) -> Option<bool> {
        self.online
    }

    /// The calls of a device in the last seconds.
    pub fn pace(&self, device: DeviceId) -> Option<&Throttle> {
        self.devices.get(&device).map(|device| &device.pace)
    }

    /// Tells what waits for a device in the outbox.
    pub fn note_backlog(&mut self, device: DeviceId, waiting: Waiting, now: Instant) {
        let live_states_max = LIVE_BATCHES_MAX * self.limits.batch_states_max.max(1) as u64;
        let is_new = !self.devices.contains_key(&device);
        let device = self.device(device);
        if is_new {
            device.frontier = waiting.last.saturating_sub(waiting.states);
        }
        device.note(waiting, live_states_max, now);
    }

    /// The outbox cannot keep track of more gaps in what was acknowledged of a device: it is reported in order until all is
    /// sent.
    pub fn report_in_order(&mut self, device: DeviceId) {
        let device = self.device(device);
        device.is_in_order = true;
        device.frontier = device.waiting.last;
    }

    fn device(&mut self, device: DeviceId) -> &mut Device {
        let limits = &self.limits;
        self.devices.entry(device).or_insert_with(|| Device::new(limits))
    }

    /// Sends what waits, without waiting for company or for the next try. What comes later is as ever.
    pub fn flush(&mut self) {
        self.link_is_up();
        self.devices.values_mut().for_each(Device::flush);
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

    /// What to do now.
    pub fn poll(&mut self, now: Instant) -> Step {
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
            for (lane, at) in device.ready(now, &self.limits, (self.is_draining, is_slow)) {
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
            (Some((.., device, lane)), _) => self.send(device, lane, now),
            (None, Some(at)) => Step::WaitUntil(at),
            (None, None) => Step::Idle,
        }
    }

    fn send(&mut self, id: DeviceId, lane: Lane, now: Instant) -> Step {
        self.turn += 1;
        let turn = self.turn;
        let device = self.device(id);
        let (after, through) = match lane {
            Lane::Live => (device.frontier, device.waiting.last),
            Lane::Backlog => (device.lane(lane).last(), device.frontier),
        };
        let states_max = device.begin(lane, turn, now);
        Step::Send(Call { device: id, lane, after, through, states_max, number: turn, began: now })
    }

    /// Tells what was found to send: so many states, the last of them with this sequence number. The next call of the lane
    /// goes on from there.
    pub fn loaded(&mut self, call: &Call, states: usize, last: u64) {
        self.device(call.device).lane_mut(call.lane).load(call.number, states, last);
    }

    /// Takes in how a call ended and says what becomes of its states.
    pub fn settle(
        &mut self,
        call: &Call,
        ended: &Ended,
        now: Instant,
        rng: &mut impl Rng,
    ) -> Disposal {
        if ended.may_count && ended.verdict != ResponseClass::Offline {
            let took = now.saturating_duration_since(call.began);
            self.answer_time = (self.answer_time * 7 + took) / 8;
        }
        let device = self.device(call.device);
        let is_alone = device.end(call, ended, now);
        if ended.states == 0 {
            device.hold(now + UNREADABLE_WAIT);
            return Disposal::Keep;
        }
        let disposal = match &ended.verdict {
            ResponseClass::Stored => {
                device.confirm(call.lane, ended, is_alone);
                Disposal::Delete
            }
            ResponseClass::TooLarge if ended.states > 1 => {
                device.states_cap = ended.states.div_ceil(2);
                Disposal::Keep
            }
            ResponseClass::Malformed if ended.states > 1 => {
                device.lane_mut(call.lane).search_cap = Some(ended.states.div_ceil(2));
                Disposal::Keep
            }
            ResponseClass::TooLarge | ResponseClass::Malformed => {
                device.remove(call.lane, ended);
                Disposal::Reject
            }
            ResponseClass::Throttled(wait) => {
                let wait = wait.unwrap_or(THROTTLE_WAIT).clamp(THROTTLE_WAIT, RETRY_AFTER_MAX);
                device.hold(now + wait);
                Disposal::Keep
            }
            ResponseClass::Blocked => {
                device.hold(now + PARK);
                Disposal::Keep
            }
            ResponseClass::ServerError(wait) => {
                let delay = device.trouble.next_delay(rng);
                device.hold(now + delay.max(wait.unwrap_or_default().min(RETRY_AFTER_MAX)));
                Disposal::Keep
            }
            ResponseClass::Unauthorized | ResponseClass::Offline => Disposal::Keep,
        };
        self.judge_link(&ended.verdict, call.began, now, rng);
        disposal
    }

    /// What a call tells of the link. Those that were under way when it broke all fail, which is one failure.
    fn judge_link(
        &mut self,
        verdict: &ResponseClass,
        began: Instant,
        now: Instant,
        rng: &mut impl Rng,
    ) {
        match verdict {
            ResponseClass::Offline | ResponseClass::Unauthorized => {
                self.online = Some(false);
                self.is_link_suspect = true;
                if self.link_down_since.is_none_or(|since| began >= since) {
                    self.link_down_since = Some(now);
                    self.link_held_until = Some(now + self.link.next_delay(rng));
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
