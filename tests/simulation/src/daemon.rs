//! The daemon of a simulated world: the real machines, wired as the tasks wire them, without a task.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use rand::rngs::StdRng;
use tidegate_delivery::reporter::{Call, Disposal, Ended, Lane, Limits, Reporter, Step};
use tidegate_delivery::response::{Asked, Outcome, ResponseClass};
use tidegate_delivery::throttle_log;
use tidegate_model::{BootId, BootTime, DeviceId, ReadingTime, State, Value, WallTime};
use tidegate_timing::clock_trust::{Boot, CloudDate, Sighting, Timeline, is_taken};
use tidegate_timing::unique_timestamps::UniqueTimestamps;

use super::cloud::Sent;
use super::disk::{Disk, Fate};

/// The longest that a reading waits for a commit, and between two tries of one.
const COMMIT_INTERVAL: Duration = Duration::from_millis(500);
const DISK_RETRY: Duration = Duration::from_secs(1);

/// Where the daemon runs.
#[derive(Debug, Clone, Copy)]
pub(super) struct Place {
    pub(super) boot: BootId,
    /// When the boot began, in the world's time.
    pub(super) boot_at: Duration,
    /// The instant of the world's time 0.
    pub(super) origin: Instant,
}

/// The daemon's memory.
#[derive(Debug)]
pub(super) struct Daemon {
    place: Place,
    machine: Reporter,
    timeline: Timeline,
    stamps: UniqueTimestamps,
    /// The time is known, and that is on the disk: states may be sent.
    is_pinned: bool,
    floor: WallTime,
    group: Vec<(DeviceId, ReadingTime, u64)>,
    commit_due: Option<Duration>,
    /// What is under way of each device.
    under_way: BTreeMap<DeviceId, BTreeSet<u64>>,
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
        let mut machine = Reporter::new(limits());
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
            under_way: BTreeMap::new(),
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

    /// A reading comes in.
    pub(super) fn take(&mut self, device: DeviceId, value: u64, now: Duration) {
        let time = self.time(now);
        let number = Value::Integer(i64::try_from(value).unwrap());
        let mut state = State { time, data: [("n".parse().unwrap(), number)].into() };
        self.stamps.place(device, &mut state, Duration::ZERO);
        self.group.push((device, state.time, value));
        self.commit_due.get_or_insert(now + COMMIT_INTERVAL);
    }

    pub(super) fn see(&mut self, system: WallTime, is_synchronised: bool, now: Duration) {
        let uptime = self.uptime(now);
        self.timeline.see(Sighting { uptime, system, is_synchronised });
        self.learn(now);
    }

    /// The time may have become known: readings are stamped with it at once, and a commit makes that lasting.
    fn learn(&mut self, now: Duration) {
        if let Some(anchor_ms) = self.timeline.first_anchor_ms().filter(|_| !self.is_pinned) {
            self.stamps.anchor(self.place.boot, anchor_ms);
            self.commit_due.get_or_insert(now);
        }
    }

    pub(super) fn hear(&mut self, (began, now): (Duration, Duration), date: WallTime) {
        let (began, ended) = (self.uptime(began), self.uptime(now));
        self.timeline.hear(CloudDate { began, ended, date });
        self.learn(now);
    }

    /// Brings the group to the disk, if it takes it. Returns how many readings that were.
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

    /// What to do now, and with which states.
    pub(super) fn poll(&mut self, disk: &mut Disk, now: Duration) -> Step {
        if !self.is_pinned {
            return Step::Idle;
        }
        let instant = self.instant(now);
        for (device, waiting) in disk.waiting() {
            self.machine.note_backlog(device, waiting, instant);
        }
        let step = self.machine.poll(instant);
        if let Step::WaitUntil(at) = step {
            assert!(at > instant, "a wait that is not in the future");
        }
        step
    }

    /// The states of a call. Those whose time Losant would ignore are set aside.
    pub(super) fn load(&mut self, disk: &mut Disk, call: &Call, now: Duration) -> Vec<Sent> {
        let time_now = self.time(now).wall().unwrap();
        let found = disk.peek(call.device, (call.after, call.through), call.states_max);
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
        self.machine.loaded(call, batch.len(), batch.last().map_or(0, |sent| sent.sequence));
        self.check_begin(disk, call, &batch);
        batch
    }

    /// Nothing is under way twice, and nothing is left out: what waits in the lane before a call is under way.
    fn check_begin(&mut self, disk: &Disk, call: &Call, batch: &[Sent]) {
        let Some(first) = batch.first() else { return };
        assert!(batch.is_sorted_by(|one, next| one.sequence < next.sequence));
        let unsorted = batch.windows(2).find(|pair| pair[0].time >= pair[1].time);
        assert_eq!(unsorted, None, "{call:?}");
        let under_way = self.under_way.entry(call.device).or_default();
        let start = if call.lane == Lane::Live { call.after } else { 0 };
        let before = disk.peek(call.device, (start, first.sequence - 1), usize::MAX);
        let left_out = before.iter().find(|(sequence, _)| !under_way.contains(sequence));
        assert!(left_out.is_none(), "{call:?} leaves out {left_out:?}");
        let is_new = batch.iter().all(|sent| under_way.insert(sent.sequence));
        assert!(is_new, "{call:?} is under way already");
    }

    /// The live lane sends in order: what it sends for the first time is above all that it sent before.
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
        (call, batch, outcome): (&Call, &[Sent], &Outcome),
        now: Duration,
        rng: &mut StdRng,
    ) -> Disposal {
        let under_way = self.under_way.entry(call.device).or_default();
        under_way.retain(|sequence| batch.iter().all(|sent| sent.sequence != *sequence));
        if !batch.is_empty() {
            disk.calls += &throttle_log::end(call.device, self.uptime(now), outcome.may_count());
        }
        let ended = Ended {
            states: batch.len(),
            last: batch.last().map_or(0, |sent| sent.sequence),
            verdict: ResponseClass::of(Asked::Action, outcome),
            may_count: outcome.may_count(),
        };
        let disposal = self.machine.settle(call, &ended, self.instant(now), rng);
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
