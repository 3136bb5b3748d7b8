//! Decides which confirmed states to read back from Losant, when, and how to judge them.
//!
//! The reporter's task passes in the states that Losant confirmed ([`Auditor::handle_confirmed`]).
//! The machine keeps a [`Sample`] of them for each device and interval. Some time after the last
//! confirmation it reads the sample back with `getState` and compares it value by value. A
//! difference counts only if a second reading shows it again, because Losant documents no time
//! within which a state can be read.
//!
//! Bounds: one open and one waiting sample for each device, [`SAMPLE_BYTES_MAX`] for each of them,
//! [`MEMORY_BYTES_MAX`] for all. Devices for which there is no room take turns. One call at a time,
//! and at most one in [`CALL_GAP`].

mod compare;
mod sample;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;

use tidegate_model::{DeclaredAttributes, DeviceId, WallTime};
use tidegate_timing::machine::Machine;

pub use compare::{
    Difference, DifferenceKind, DifferenceReason, Findings, READ_CALLS_MAX, READ_STATES_MAX,
    ReadBack, ReadRange, ReadState, Unordered,
};
pub use sample::{SAMPLE_BYTES_MAX, SAMPLE_STATES_MAX, Sample, SentValue};

/// The most bytes of all samples in memory.
pub const MEMORY_BYTES_MAX: usize = 1 << 20;

/// The shortest time between two calls of the audit.
pub const CALL_GAP: Duration = Duration::from_secs(1);

/// The longest time until the first sample of a device is complete, so that a new installation has
/// a result soon.
const FIRST_SAMPLE_MAX: Duration = Duration::from_secs(5 * 60);

/// The wait after a call that failed.
const RETRY_WAIT: Duration = Duration::from_secs(60);

/// The settings of the audit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// Whether there is an audit.
    pub is_enabled: bool,
    /// The time between the begins of two samples of a device.
    pub interval: Duration,
    /// The time from the last confirmation of a sample to its reading, and from a reading with a
    /// difference to the second one.
    pub delay: Duration,
}

impl Default for Settings {
    fn default() -> Self {
        let (interval, delay) = (Duration::from_secs(3_600), Duration::from_secs(30));
        Self { is_enabled: true, interval, delay }
    }
}

/// An instruction to the task.
#[derive(Debug, Clone, PartialEq)]
pub enum Action {
    /// Write a complete sample to disk.
    Save(Arc<Sample>),
    /// Call `getState` and pass its states to [`Auditor::handle_states`], or its failure to
    /// [`Auditor::handle_failure`].
    Read(Read),
    /// Report the result of a sample.
    Report(Report),
}

/// A call of `getState`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Read {
    /// The device.
    pub device: DeviceId,
    /// The window.
    pub range: ReadRange,
    /// Whether the first reading found a difference. The attributes of the device should be read
    /// again, too.
    pub is_second: bool,
}

/// The result of a sample.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Report {
    /// The device.
    pub device: DeviceId,
    /// What was compared, and the differences.
    pub findings: Findings,
}

/// How a call failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Failure {
    /// A later call may succeed.
    Temporary,
    /// Losant refuses the call, or its answer cannot be used: the sample is not read.
    Permanent,
}

/// The audit of one device.
#[derive(Debug, Default)]
struct DeviceAudit {
    /// The sample that takes confirmed states.
    open: Option<Open>,
    /// The earliest begin of the next sample.
    next_begin: Option<Instant>,
    /// The sample that is read.
    waiting: Option<Waiting>,
}

#[derive(Debug)]
struct Open {
    sample: Sample,
    /// When the sample is complete even if there is room.
    ends: Instant,
    /// When the last state was confirmed.
    confirmed: Instant,
}

#[derive(Debug)]
struct Waiting {
    read_back: ReadBack,
    due: Instant,
    is_second: bool,
}

impl DeviceAudit {
    fn bytes(&self) -> usize {
        let open = self.open.as_ref().map_or(0, |open| open.sample.bytes());
        open + self.waiting.as_ref().map_or(0, |one| one.read_back.sample().bytes())
    }
}

/// Decides about the audit. See the [module](self).
#[derive(Debug)]
pub struct Auditor {
    settings: Settings,
    now: Instant,
    devices: BTreeMap<DeviceId, DeviceAudit>,
    /// The device whose call is in flight.
    in_flight: Option<DeviceId>,
    next_call: Instant,
    /// At most one save for each device and call of the owner, and one report.
    actions: VecDeque<Action>,
}

impl Auditor {
    /// Creates an audit without samples.
    pub fn new(settings: Settings, now: Instant) -> Self {
        let (devices, actions) = (BTreeMap::new(), VecDeque::new());
        Self { settings, now, devices, in_flight: None, next_call: now, actions }
    }

    /// Changes the settings. They apply to the next samples.
    pub fn handle_settings(&mut self, settings: Settings, now: Instant) {
        self.settings = settings;
        self.handle_timeout(now);
        if !self.settings.is_enabled {
            self.devices.clear();
        }
    }

    /// Adds a sample of an earlier run. It is read if the device has no other.
    pub fn resume(&mut self, sample: Sample, now: Instant) {
        self.handle_timeout(now);
        let is_full = self.bytes() + sample.bytes() > MEMORY_BYTES_MAX;
        if !self.settings.is_enabled || is_full || sample.is_empty() {
            return;
        }
        let due = self.now + self.settings.delay;
        let audit = self.devices.entry(sample.device()).or_default();
        let read_back = ReadBack::new(Arc::new(sample));
        audit.waiting.get_or_insert(Waiting { read_back, due, is_second: false });
    }

    /// Returns whether [`Self::handle_confirmed`] would use states of this device.
    pub fn is_sampling(&self, device: DeviceId, now: Instant) -> bool {
        let audit = self.devices.get(&device);
        let is_open = audit.is_some_and(|audit| audit.open.is_some());
        let is_due = audit.and_then(|audit| audit.next_begin).is_none_or(|at| at <= now);
        let may_begin = || is_due && self.bytes() + SAMPLE_BYTES_MAX <= MEMORY_BYTES_MAX;
        self.settings.is_enabled && (is_open || may_begin())
    }

    /// Adds the elements of a `sendState` body that Losant confirmed at `confirmed`.
    pub fn handle_confirmed(
        &mut self,
        device: DeviceId,
        elements: &[Bytes],
        confirmed: WallTime,
        now: Instant,
    ) {
        self.handle_timeout(now);
        if !self.is_sampling(device, now) {
            return;
        }
        let mut room = MEMORY_BYTES_MAX.saturating_sub(self.bytes());
        let interval = self.settings.interval;
        let audit = self.devices.entry(device).or_default();
        let mut open = audit.open.take().unwrap_or_else(|| {
            let is_first = audit.next_begin.is_none();
            let ends = now + if is_first { interval.min(FIRST_SAMPLE_MAX) } else { interval };
            audit.next_begin = Some(ends);
            Open { sample: Sample::new(device), ends, confirmed: now }
        });
        open.confirmed = now;
        let mut has_room = true;
        for element in elements {
            let before = open.sample.bytes();
            has_room = open.sample.add(element, confirmed, room);
            if !has_room {
                break;
            }
            room = room.saturating_sub(open.sample.bytes() - before);
        }
        audit.open = Some(open);
        if !has_room {
            self.close(device);
        }
    }

    /// Ends the open sample of a device.
    fn close(&mut self, device: DeviceId) {
        let delay = self.settings.delay;
        let Some(audit) = self.devices.get_mut(&device) else { return };
        let Some(open) = audit.open.take().filter(|open| !open.sample.is_empty()) else { return };
        let sample = Arc::new(open.sample);
        self.actions.push_back(Action::Save(Arc::clone(&sample)));
        // A sample that waits is not replaced: with a short interval none would ever be read.
        let (read_back, due) = (ReadBack::new(sample), open.confirmed + delay);
        audit.waiting.get_or_insert(Waiting { read_back, due, is_second: false });
    }

    /// Ends all open samples, so that they are saved.
    pub fn handle_stop(&mut self, now: Instant) {
        self.handle_timeout(now);
        let devices: Vec<_> = self.devices.keys().copied().collect();
        for device in devices {
            self.close(device);
        }
    }

    /// Adds the states that a call returned, oldest first. `declared` has the attributes of the
    /// device, if they are known; `wall_time` is the time of day.
    pub fn handle_states(
        &mut self,
        read: &Read,
        states: Vec<ReadState>,
        declared: Option<&DeclaredAttributes>,
        wall_time: WallTime,
        now: Instant,
    ) {
        self.handle_timeout(now);
        self.in_flight = None;
        let delay = self.settings.delay;
        let Some(audit) = self.devices.get_mut(&read.device) else { return };
        let Some(mut waiting) = audit.waiting.take() else { return };
        if waiting.read_back.add(states).is_err() {
            return;
        }
        if waiting.read_back.next_range().is_some() {
            audit.waiting = Some(waiting);
            return;
        }
        let findings = waiting.read_back.compare(declared, wall_time);
        if findings.differences.is_empty() || waiting.is_second {
            self.actions.push_back(Action::Report(Report { device: read.device, findings }));
            return;
        }
        let read_back = ReadBack::new(Arc::clone(waiting.read_back.sample()));
        audit.waiting = Some(Waiting { read_back, due: now + delay, is_second: true });
    }

    /// Records that a call failed.
    pub fn handle_failure(&mut self, read: &Read, failure: Failure, now: Instant) {
        self.handle_timeout(now);
        self.in_flight = None;
        let Some(audit) = self.devices.get_mut(&read.device) else { return };
        match failure {
            Failure::Permanent => audit.waiting = None,
            Failure::Temporary => {
                if let Some(waiting) = &mut audit.waiting {
                    waiting.due = now + RETRY_WAIT;
                }
            }
        }
    }

    /// Returns the samples that still take states.
    pub fn open_samples(&self) -> impl Iterator<Item = &Sample> {
        self.devices.values().filter_map(|audit| Some(&audit.open.as_ref()?.sample))
    }

    /// Returns the bytes of all samples in memory, at most [`MEMORY_BYTES_MAX`].
    pub fn bytes(&self) -> usize {
        self.devices.values().map(DeviceAudit::bytes).sum()
    }

    /// Returns the device whose reading is due first, with the instant.
    fn next_read(&self) -> Option<(Instant, DeviceId)> {
        let due = |(id, audit): (&DeviceId, &DeviceAudit)| {
            let due = audit.waiting.as_ref()?.due;
            Some((due.max(self.next_call), *id))
        };
        let is_free = self.in_flight.is_none() && self.settings.is_enabled;
        self.devices.iter().filter(|_| is_free).filter_map(due).min()
    }
}

impl Machine for Auditor {
    type Action = Action;

    fn handle_timeout(&mut self, now: Instant) {
        self.now = self.now.max(now);
        let is_over = |audit: &DeviceAudit| audit.open.as_ref().is_some_and(|o| o.ends <= self.now);
        let over = self.devices.iter().filter(|(_, audit)| is_over(audit));
        let over: Vec<_> = over.map(|(device, _)| *device).collect();
        for device in over {
            self.close(device);
        }
    }

    fn poll_timeout(&self) -> Option<Instant> {
        if !self.actions.is_empty() {
            return Some(self.now);
        }
        let ends = self.devices.values().filter_map(|audit| Some(audit.open.as_ref()?.ends));
        ends.chain(self.next_read().map(|(at, _)| at)).min()
    }

    fn poll_action(&mut self) -> Option<Action> {
        if let Some(action) = self.actions.pop_front() {
            return Some(action);
        }
        let (_, device) = self.next_read().filter(|(at, _)| *at <= self.now)?;
        let audit = self.devices.get_mut(&device)?;
        let waiting = audit.waiting.as_ref()?;
        let Some(range) = waiting.read_back.next_range() else {
            audit.waiting = None;
            return None;
        };
        let is_second = waiting.is_second;
        self.in_flight = Some(device);
        self.next_call = self.now + CALL_GAP;
        Some(Action::Read(Read { device, range, is_second }))
    }
}
