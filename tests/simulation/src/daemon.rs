//! The daemon of a simulated world: the real machines, connected as in the daemon's tasks.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use rand::SeedableRng as _;
use rand::rngs::StdRng;
use tidegate_delivery::reporter::{Call, Disposal, FinishedCall, Lane, Limits, Reporter};
use tidegate_delivery::response::{CallOutcome, RequestKind, ResponseClass};
use tidegate_delivery::throttle_log;
use tidegate_model::{BootId, BootTime, DeviceId, ReadingTime, State, Value, WallTime};
use tidegate_timing::clock_trust::{Boot, CloudDate, Sighting, Timeline, is_taken};
use tidegate_timing::machine::Machine as _;
use tidegate_timing::unique_timestamps::UniqueTimestamps;

use super::cloud::Sent;
use super::disk::{Disk, Fate};

/// The longest time that a reading waits for a commit.
const COMMIT_INTERVAL: Duration = Duration::from_millis(500);

/// Time between two tries of a commit.
const DISK_RETRY: Duration = Duration::from_secs(1);

/// The boot in which the daemon runs.
#[derive(Debug, Clone, Copy)]
pub(super) struct Place {
    pub(super) boot: BootId,
    /// Start of the boot, in the world's time.
    pub(super) boot_at: Duration,
    /// Instant of the world's time 0.
    pub(super) origin: Instant,
}

/// A call that has ended.
#[derive(Debug, Clone, Copy)]
pub(super) struct Completed<'a> {
    pub(super) call: &'a Call,
    pub(super) batch: &'a [Sent],
    pub(super) outcome: &'a CallOutcome,
}

/// What the machine of the reporter wants next.
#[derive(Debug, Clone, Copy)]
pub(super) enum Step {
    /// Make this call.
    Send(Call),
    /// Wait until then, or until a call ends.
    WaitUntil(Instant),
    /// Wait for an input.
    Idle,
}

/// The daemon's memory.
#[derive(Debug)]
pub(super) struct Daemon {
    place: Place,
    machine: Reporter,
    timeline: Timeline,
    stamps: UniqueTimestamps,
    /// Whether the time of day is known and on the disk, so that states may be sent.
    is_pinned: bool,
    floor: WallTime,
    group: Vec<(DeviceId, ReadingTime, u64)>,
    commit_due: Option<Duration>,
    /// Sequence numbers of the states in the current calls of each device.
    in_flight: BTreeMap<DeviceId, BTreeSet<u64>>,
    /// The last sequence number that each live lane sent for the first time.
    sent: BTreeMap<DeviceId, u64>,
}

fn limits() -> Limits {
    Limits {
        batch_states_max: 100,
        batch_bytes_max: 200_000,
        batch_age_max: Duration::from_secs(2),
        retry_min: Duration::from_secs(1),
        retry_max: Duration::from_secs(300),
        ..Limits::default()
    }
}

impl Daemon {
    pub(super) fn start(place: Place, disk: &mut Disk, now: Duration) -> Self {
        let (instant, uptime) = (place.origin + now, now.saturating_sub(place.boot_at));
        let remembered = throttle_log::read(&disk.calls, place.boot, uptime, instant);
        disk.calls = throttle_log::whole(place.boot, remembered.devices(), uptime, instant);
        // Each run of the daemon has waits of its own, and each run of a seed the same.
        let seed = u64::try_from(now.as_millis()).unwrap();
        let rng = StdRng::seed_from_u64(seed);
        let mut machine = Reporter::new(limits(), rng, instant);
        for (device, waiting) in disk.waiting() {
            machine.resume(device, waiting, remembered.pace(device));
        }
        let known = disk.boots.get(place.boot);
        let anchor_ms = known.and_then(|boot| boot.anchor_ms);
        let mut stamps = UniqueTimestamps::after(disk.latest(), known.map(Boot::last));
        if let Some(anchor_ms) = anchor_ms {
            stamps.anchor(place.boot, anchor_ms);
        }
        let floor = disk.latest().values().max().copied();
        Self {
            place,
            machine,
            timeline: Timeline::new(anchor_ms),
            stamps,
            is_pinned: anchor_ms.is_some(),
            floor: floor.unwrap_or(WallTime::from_millis(0)),
            group: Vec::new(),
            commit_due: None,
            in_flight: BTreeMap::new(),
            sent: BTreeMap::new(),
        }
    }

    fn uptime(&self, now: Duration) -> Duration {
        now.saturating_sub(self.place.boot_at)
    }

    fn time(&mut self, now: Duration) -> ReadingTime {
        let uptime = self.uptime(now);
        let wall = self.timeline.now(uptime);
        wall.map_or_else(|| BootTime::new(self.place.boot, uptime).into(), ReadingTime::Wall)
    }

    pub(super) fn instant(&self, now: Duration) -> Instant {
        self.place.origin + now
    }

    pub(super) fn commit_due(&self) -> Option<Duration> {
        self.commit_due
    }

    pub(super) fn is_pinned(&self) -> bool {
        self.is_pinned
    }

    /// Handles a message with one reading.
    pub(super) fn handle_message(&mut self, device: DeviceId, value: u64, now: Duration) {
        let time = self.time(now);
        let number = Value::Integer(i64::try_from(value).unwrap());
        let mut state = State { time, data: [("n".parse().unwrap(), number)].into() };
        self.stamps.place(device, &mut state, Duration::ZERO);
        self.group.push((device, state.time, value));
        self.commit_due.get_or_insert(now + COMMIT_INTERVAL);
    }

    pub(super) fn handle_system_clock(
        &mut self,
        system: WallTime,
        is_synchronised: bool,
        now: Duration,
    ) {
        let uptime = self.uptime(now);
        self.timeline.see(Sighting { uptime, system, is_synchronised });
        self.anchor_timestamps(now);
    }

    /// Assigns times of day to readings once the time of day is known, and plans a commit of it.
    fn anchor_timestamps(&mut self, now: Duration) {
        if let Some(anchor_ms) = self.timeline.first_anchor_ms().filter(|_| !self.is_pinned) {
            self.stamps.anchor(self.place.boot, anchor_ms);
            self.commit_due.get_or_insert(now);
        }
    }

    /// Handles the date of an answer to a call that began at `began`.
    pub(super) fn handle_cloud_date(&mut self, began: Duration, now: Duration, date: WallTime) {
        let (began, ended) = (self.uptime(began), self.uptime(now));
        self.timeline.add_cloud_date(CloudDate { began, ended, date });
        self.anchor_timestamps(now);
    }

    /// Writes the readings to the disk unless it is full. Returns how many readings were written.
    pub(super) fn commit(&mut self, disk: &mut Disk, now: Duration) -> usize {
        if disk.is_full {
            self.commit_due = Some(now + DISK_RETRY);
            return 0;
        }
        self.commit_due = None;
        let boot = self.place.boot;
        let count = self.group.len();
        for (device, time, value) in self.group.drain(..) {
            if let ReadingTime::Boot(time) = time {
                disk.boots.record(time, self.floor);
            }
            disk.append(device, time, value);
        }
        if let Some(anchor_ms) = self.timeline.first_anchor_ms().filter(|_| !self.is_pinned) {
            disk.boots.record(BootTime::new(boot, self.uptime(now)), self.floor);
            disk.boots.pin(boot, anchor_ms);
            self.is_pinned = true;
        }
        count
    }

    /// Returns the next step of the reporter.
    pub(super) fn poll(&mut self, disk: &mut Disk, now: Duration) -> Step {
        if !self.is_pinned {
            return Step::Idle;
        }
        let instant = self.instant(now);
        for (device, waiting) in disk.waiting() {
            self.machine.handle_waiting(device, waiting, instant);
        }
        self.machine.handle_timeout(instant);
        let step = match (self.machine.poll_action(), self.machine.poll_timeout()) {
            (Some(call), _) => Step::Send(call),
            (None, Some(at)) => Step::WaitUntil(at),
            (None, None) => Step::Idle,
        };
        if let Step::WaitUntil(at) = step {
            assert!(at > instant, "the reporter waits until a time that has passed");
        }
        step
    }

    /// Loads the states of a call. States whose times Losant would ignore are set aside.
    pub(super) fn load(&mut self, disk: &mut Disk, call: &Call, now: Duration) -> Vec<Sent> {
        let time_now = self.time(now).wall().unwrap();
        let found = disk.peek(call.device, call.after, call.through, call.states_max);
        let mut batch: Vec<Sent> = Vec::new();
        for (sequence, state) in found {
            let time = match state.moment {
                ReadingTime::Wall(time) => Some(time),
                ReadingTime::Boot(time) => disk.boots.wall_time(time),
            };
            match time.filter(|time| is_taken(*time, time_now)) {
                Some(time) => batch.push(Sent { sequence, time, value: state.value }),
                None if batch.is_empty() => disk.settle(call.device, sequence, Fate::TimeRefused),
                None => break,
            }
        }
        if !batch.is_empty() {
            disk.calls += &throttle_log::begin(call.device, self.uptime(now));
        }
        let last = batch.last().map_or(0, |sent| sent.sequence);
        self.machine.handle_loaded(call, batch.len(), last, self.instant(now));
        self.check_begin(disk, call, &batch);
        batch
    }

    /// Asserts that a call contains no state of another call, and skips no state before it.
    fn check_begin(&mut self, disk: &Disk, call: &Call, batch: &[Sent]) {
        let Some(first) = batch.first() else { return };
        assert!(batch.is_sorted_by(|one, next| one.sequence < next.sequence));
        let unsorted = batch.windows(2).find(|pair| pair[0].time >= pair[1].time);
        assert_eq!(unsorted, None, "{call:?}");
        let in_flight = self.in_flight.entry(call.device).or_default();
        let start = if call.lane == Lane::Live { call.after } else { 0 };
        let before = disk.peek(call.device, start, first.sequence - 1, usize::MAX);
        let skipped = before.iter().find(|(sequence, _)| !in_flight.contains(sequence));
        assert!(skipped.is_none(), "{call:?} skips {skipped:?}");
        let is_new = batch.iter().all(|sent| in_flight.insert(sent.sequence));
        assert!(is_new, "{call:?} contains a state of another call");
    }

    /// Asserts that the live lane sends states in the order of their sequence numbers.
    fn check_order(&mut self, call: &Call, batch: &[Sent]) {
        let sent = self.sent.entry(call.device).or_default();
        if let (Lane::Live, Some(first), Some(last)) = (call.lane, batch.first(), batch.last()) {
            assert!(first.sequence > *sent, "{call:?}: {} after {sent}", first.sequence);
            *sent = last.sequence;
        }
    }

    pub(super) fn settle(
        &mut self,
        disk: &mut Disk,
        completed: Completed<'_>,
        now: Duration,
    ) -> Disposal {
        let Completed { call, batch, outcome } = completed;
        let in_flight = self.in_flight.entry(call.device).or_default();
        in_flight.retain(|sequence| batch.iter().all(|sent| sent.sequence != *sequence));
        if !batch.is_empty() {
            disk.calls += &throttle_log::end(call.device, self.uptime(now), outcome.may_count());
        }
        let finished = FinishedCall {
            states: batch.len(),
            last: batch.last().map_or(0, |sent| sent.sequence),
            response: ResponseClass::of(RequestKind::Action, outcome),
            may_count: outcome.may_count(),
        };
        let disposal = self.machine.handle_result(call, &finished, self.instant(now));
        let fate = match disposal {
            Disposal::Delete => Fate::Confirmed,
            Disposal::Reject => Fate::Rejected,
            Disposal::Keep => return disposal,
        };
        self.check_order(call, batch);
        for sent in batch {
            disk.settle(call.device, sent.sequence, fate);
        }
        disposal
    }
}
