//! A simulated world: its events in the order of their times.

mod check;
mod flight;

use std::collections::{BTreeMap, VecDeque};
use std::time::{Duration, Instant};

use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};
use tidegate_delivery::reporter::{Call, Disposal};
use tidegate_delivery::response::CallOutcome;
use tidegate_model::{BootId, DeviceId, ReadingTime, WallTime};

use super::cloud::{Cloud, Conditions, Sent, is_bad};
use super::daemon::{Completed, Daemon, Place, Step};
use super::disk::{Disk, Fate};
use super::scenario::{Figures, Scenario};
use flight::{CallInFlight, Measured, Schedule};

/// The true time of day when a world begins: 1 May 2026, 10:00.
const EPOCH_MS: i64 = 1_777_629_600_000;

/// The longest time until all states arrive after the last fault.
///
/// The reporter may hold a device for 15 minutes, twice.
const RECOVERY_MAX: Duration = Duration::from_secs(4 * 3_600);

pub(super) struct World {
    rng: StdRng,
    scenario: Scenario,
    now: Duration,
    disk: Disk,
    cloud: Cloud,
    daemon: Option<Daemon>,
    place: Place,
    life: u64,
    calls: Vec<CallInFlight>,
    /// Readings that are not on the disk yet. The broker delivers them again after a kill.
    pending: VecDeque<(DeviceId, u64)>,
    next_value: BTreeMap<DeviceId, u64>,
    schedules: BTreeMap<DeviceId, Schedule>,
    measured: BTreeMap<(DeviceId, u64), Measured>,
    /// When the time of day of each boot became known.
    clock_known: BTreeMap<BootId, Duration>,
    /// When the kernel of this boot will be synchronised.
    synchronised_at: Option<Duration>,
    /// The error of the system's clock until it is synchronised.
    clock_error_ms: i64,
    down_until: Duration,
    start_at: Option<Duration>,
    next: BTreeMap<Event, Duration>,
    stored_live: BTreeMap<DeviceId, usize>,
    figures: Figures,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Event {
    ClockCheck,
    CloudDate,
    Outage,
    ServerOutage,
    Kill,
    Reboot,
    ClockStep,
    DiskFull,
}

impl World {
    #[expect(clippy::disallowed_methods, reason = "a world needs some instant to start from")]
    pub(super) fn new(seed: u64, scenario: &Scenario) -> Self {
        let mut rng = StdRng::seed_from_u64(seed);
        let boot = BootId(1);
        let place = Place { boot, boot_at: Duration::ZERO, origin: Instant::now() };
        let ids = (1..=scenario.devices).map(|number| DeviceId::from([number; 12]));
        let interval = |rng: &mut StdRng| {
            if scenario.has_faults {
                Duration::from_millis(rng.random_range(60..8_000))
            } else {
                Duration::from_secs(1)
            }
        };
        let start = Duration::from_secs(20);
        let mut schedule = |_| Schedule { next: start, interval: interval(&mut rng) };
        let schedules: BTreeMap<_, _> = ids.map(|id| (id, schedule(id))).collect();
        let mut world = Self {
            rng,
            scenario: scenario.clone(),
            now: start,
            disk: Disk::default(),
            cloud: Cloud::new(scenario.has_faults),
            daemon: None,
            place,
            life: 0,
            calls: Vec::new(),
            pending: VecDeque::new(),
            next_value: schedules.keys().map(|id| (*id, 0)).collect(),
            schedules,
            measured: BTreeMap::new(),
            clock_known: BTreeMap::new(),
            synchronised_at: Some(Duration::ZERO),
            clock_error_ms: 0,
            down_until: Duration::ZERO,
            start_at: None,
            next: BTreeMap::from([(Event::ClockCheck, start)]),
            stored_live: BTreeMap::new(),
            figures: Figures::default(),
        };
        if scenario.has_faults {
            world.begin_boot();
            for event in [
                Event::Outage,
                Event::ServerOutage,
                Event::Kill,
                Event::Reboot,
                Event::ClockStep,
                Event::DiskFull,
            ] {
                world.plan(event);
            }
            world.next.insert(Event::CloudDate, world.now);
        }
        world.cloud.unavailable_until = scenario.unavailable_until;
        let first = world.schedules.keys().next().copied();
        world.cloud.broken = first.filter(|_| scenario.has_broken_device);
        world.fill();
        world.start();
        world
    }

    /// Fills the backlog. With faults it contains some states that Losant would ignore.
    fn fill(&mut self) {
        let ids: Vec<_> = self.schedules.keys().copied().collect();
        for device in ids {
            let start = EPOCH_MS - 10_000 - 10 * i64::try_from(self.scenario.backlog).unwrap();
            for number in 0..self.scenario.backlog {
                let offset_ms = match number {
                    0..5 if self.scenario.has_faults => -31 * 86_400_000,
                    50..53 if self.scenario.has_faults => 2 * 86_400_000,
                    _ => 0,
                };
                let time_ms = start + 10 * i64::try_from(number).unwrap() + offset_ms;
                let value = self.value(device);
                self.disk.append(device, ReadingTime::Wall(WallTime::from_millis(time_ms)), value);
            }
        }
        // The latest time lies in the future, and must not change the times of later readings.
    }

    fn value(&mut self, device: DeviceId) -> u64 {
        let value = self.next_value.get_mut(&device).unwrap();
        *value += 1;
        *value - 1
    }

    fn day(&self) -> WallTime {
        WallTime::from_millis(EPOCH_MS).plus(self.now)
    }

    fn is_synchronised(&self) -> bool {
        self.synchronised_at.is_some_and(|at| at <= self.now)
    }

    /// Returns the time of the system's clock.
    fn system(&self) -> WallTime {
        let off_ms = if self.is_synchronised() { 0 } else { self.clock_error_ms };
        WallTime::from_millis(self.day().as_millis() + off_ms)
    }

    fn seconds(&mut self, range: std::ops::Range<u64>) -> Duration {
        Duration::from_millis(self.rng.random_range(range.start * 1_000..range.end * 1_000))
    }

    fn plan(&mut self, event: Event) {
        let wait = match event {
            Event::ClockCheck => Duration::from_secs(1),
            Event::CloudDate => Duration::from_secs(20),
            Event::Outage => self.seconds(10..400),
            Event::ServerOutage => self.seconds(100..600),
            Event::Kill if self.scenario.is_busy => self.seconds(1..30),
            Event::Reboot if self.scenario.is_busy => self.seconds(20..60),
            Event::Kill => self.seconds(1..200),
            Event::Reboot => self.seconds(50..600),
            Event::ClockStep => self.seconds(5..300),
            Event::DiskFull => self.seconds(60..900),
        };
        self.next.insert(event, self.now + wait);
    }

    fn begin_boot(&mut self) {
        self.figures.boots += 1;
        self.place.boot = BootId(self.place.boot.0 + 1);
        self.place.boot_at = self.now;
        self.synchronised_at = None;
        if self.scenario.is_busy {
            self.synchronised_at = Some(self.now);
        } else if self.rng.random_bool(0.5) {
            self.synchronised_at = Some(self.now + self.seconds(0..200));
        }
        // The clock starts at the time of the last shutdown, or at the epoch.
        let hours = self.rng.random_range(0..100);
        self.clock_error_ms = if hours > 90 { -EPOCH_MS } else { -3_600_000 * hours };
    }

    fn start(&mut self) {
        self.life += 1;
        self.start_at = None;
        let mut daemon = Daemon::start(self.place, &mut self.disk, self.now);
        for (device, value) in &self.pending {
            daemon.handle_message(*device, *value, self.now);
            let measured = Measured { at: self.now, boot: self.place.boot };
            self.measured.insert((*device, *value), measured);
        }
        self.daemon = Some(daemon);
    }

    /// Runs the world to its end, and checks it. Returns its figures.
    pub(super) fn run(mut self) -> Figures {
        let mut is_recovering = !self.scenario.has_faults;
        let end = self.now + self.scenario.length;
        let began = self.now;
        loop {
            self.step();
            if !is_recovering && self.now >= end {
                is_recovering = true;
                self.end_faults();
            }
            let is_drained = self.disk.is_drained() && self.pending.is_empty();
            let is_backlog_sent = self.scenario.length.is_zero() && self.is_backlog_sent();
            if is_recovering && (is_drained && self.now > end || is_backlog_sent) {
                break;
            }
            assert!(
                self.now < end + RECOVERY_MAX,
                "not all states arrived: {:?}",
                self.disk.waiting().next()
            );
            self.advance();
        }
        let windows = self.now.saturating_sub(began).as_secs_f64() / 15.0;
        let devices = u32::try_from(self.disk.queues.len()).unwrap();
        let calls = u32::try_from(self.cloud.calls_made).unwrap();
        self.figures.calls = self.cloud.calls_made;
        self.figures.throttle_use = f64::from(calls) / (windows * 30.0 * f64::from(devices));
        self.figures.unavailable = self.cloud.unavailable;
        let first_stored = || self.cloud.first_stored.values().copied();
        let ends = first_stored().min().zip(first_stored().max());
        self.figures.first_stored_spread =
            ends.map_or(Duration::ZERO, |(first, last)| last.saturating_sub(first));
        self.check();
        self.figures
    }

    fn is_backlog_sent(&self) -> bool {
        let backlog = usize::try_from(self.scenario.backlog).unwrap();
        self.disk.queues.values().any(|queue| {
            let states = queue.states.iter().take(backlog).rev();
            states.take(1).all(|state| state.fate != Fate::Waiting)
        })
    }

    fn end_faults(&mut self) {
        self.scenario.has_faults = false;
        self.down_until = Duration::ZERO;
        self.cloud.unavailable_until = Duration::ZERO;
        self.cloud.broken = None;
        self.disk.is_full = false;
        self.synchronised_at = Some(self.now);
        self.next.retain(|event, _| *event == Event::ClockCheck);
        self.schedules.clear();
        self.start_at = self.start_at.or(self.daemon.is_none().then_some(self.now));
    }

    /// Advances the time to the next event.
    fn advance(&mut self) {
        let daemon = self.daemon.as_mut();
        let wait = daemon.and_then(|daemon| match daemon.poll(&mut self.disk, self.now) {
            Step::WaitUntil(at) => Some(at - self.place.origin),
            Step::Send(_) => panic!("the reporter wants to send after it was idle"),
            Step::Idle => None,
        });
        let calls = self.calls.iter().map(CallInFlight::next_event);
        let next = self.next.values().copied().chain(calls);
        let next = next.chain(self.schedules.values().map(|schedule| schedule.next));
        let next = next.chain(wait).chain(self.start_at);
        let next = next.chain(self.daemon.as_ref().and_then(Daemon::commit_due)).min();
        self.now = next.expect("a clock check is always planned").max(self.now);
    }

    /// Handles all events that are due.
    fn step(&mut self) {
        if self.start_at.is_some_and(|at| at <= self.now) {
            self.start();
        }
        let due: Vec<_> = self.next.iter().filter(|(_, at)| **at <= self.now).collect();
        let due: Vec<_> = due.into_iter().map(|(event, _)| *event).collect();
        for event in due {
            self.handle(event);
        }
        self.measure();
        if let Some(daemon) = &mut self.daemon
            && daemon.commit_due().is_some_and(|due| due <= self.now)
        {
            let committed = daemon.commit(&mut self.disk, self.now);
            self.pending.drain(..committed);
            if daemon.is_pinned() {
                self.clock_known.entry(self.place.boot).or_insert(self.now);
            }
        }
        self.advance_calls();
        while let Some(daemon) = &mut self.daemon
            && let Step::Send(call) = daemon.poll(&mut self.disk, self.now)
        {
            let batch = daemon.load(&mut self.disk, &call, self.now);
            self.send(call, batch);
            self.advance_calls();
        }
    }

    fn handle(&mut self, event: Event) {
        self.plan(event);
        match event {
            Event::ClockCheck => {
                let (system, is_synchronised) = (self.system(), self.is_synchronised());
                if let Some(daemon) = &mut self.daemon {
                    daemon.handle_system_clock(system, is_synchronised, self.now);
                }
            }
            Event::CloudDate => {
                // The task connection_status calls Losant while the time of day is not known.
                let date_ms = self.day().as_millis() / 1_000 * 1_000;
                if self.down_until <= self.now
                    && self.rng.random_bool(0.3)
                    && let Some(daemon) = &mut self.daemon
                {
                    let date = WallTime::from_millis(date_ms);
                    daemon.handle_cloud_date(self.now, self.now, date);
                }
            }
            Event::ServerOutage => {
                self.cloud.unavailable_until = self.now + self.seconds(0..120);
            }
            Event::Outage => self.down_until = self.now + self.seconds(0..300),
            Event::DiskFull => self.disk.is_full = !self.disk.is_full,
            Event::ClockStep => {
                self.clock_error_ms += self.rng.random_range(-90_000_000..90_000_000);
            }
            Event::Kill => {
                self.figures.kills += u64::from(self.daemon.is_some());
                if self.daemon.take().is_some() {
                    let pause = if self.scenario.is_busy { 1 } else { 20 };
                    self.start_at = Some(self.now + self.seconds(0..pause));
                }
            }
            Event::Reboot => {
                let is_clock_known = self.clock_known.contains_key(&self.place.boot);
                self.figures.boots_without_time += u64::from(!is_clock_known);
                self.daemon = None;
                self.calls.retain(|call| call.arrives_at.is_some_and(|at| at <= self.now));
                let off = self.seconds(if self.scenario.is_busy { 0..3 } else { 1..120 });
                self.now += off;
                if self.rng.random_bool(0.5) {
                    self.disk.calls.clear();
                }
                self.begin_boot();
                let start = self.seconds(1..if self.scenario.is_busy { 2 } else { 30 });
                self.start_at = Some(self.now + start);
            }
        }
    }

    /// Makes the readings that are due.
    fn measure(&mut self) {
        let due = self.schedules.iter().filter(|(_, schedule)| schedule.next <= self.now);
        let due: Vec<_> = due.map(|(device, _)| *device).collect();
        for device in due {
            let Schedule { next, interval } = self.schedules[&device];
            let next = next.max(self.now) + interval;
            self.schedules.insert(device, Schedule { next, interval });
            let value = self.value(device);
            self.figures.readings += 1;
            self.pending.push_back((device, value));
            let measured = Measured { at: self.now, boot: self.place.boot };
            self.measured.insert((device, value), measured);
            if let Some(daemon) = &mut self.daemon {
                daemon.handle_message(device, value, self.now);
            }
        }
    }

    /// Starts a call.
    fn send(&mut self, call: Call, batch: Vec<Sent>) {
        let now = self.now;
        let no_answer = |may_have_arrived| CallOutcome::NoAnswer {
            message: "no answer".to_owned(),
            may_have_arrived,
        };
        let mut flight = CallInFlight {
            life: self.life,
            call,
            batch,
            began: now,
            arrives_at: None,
            ends_at: now,
            is_lost: false,
            outcome: no_answer(false),
        };
        if flight.batch.is_empty() {
            flight.outcome = CallOutcome::NotMade { message: String::new() };
        } else if self.down_until > now {
            let is_black_hole = self.rng.random_bool(0.3);
            flight.outcome = no_answer(is_black_hole);
            flight.ends_at +=
                if is_black_hole { Duration::from_secs(30) } else { self.seconds(0..10) };
        } else {
            let mut answer_time =
                self.scenario.answer_time.mul_f64(self.rng.random_range(0.5..1.5));
            if self.scenario.has_faults && !self.scenario.is_busy {
                answer_time = answer_time.mul_f64(self.rng.random_range(0.1..15.0));
                flight.is_lost = self.rng.random_bool(0.05);
            }
            flight.arrives_at = Some(now + answer_time.mul_f64(self.rng.random_range(0.0..1.0)));
            flight.ends_at =
                now + if flight.is_lost { Duration::from_secs(30) } else { answer_time };
            flight.outcome = no_answer(true);
        }
        self.calls.push(flight);
    }

    /// Handles the arrivals and the ends of calls that are due.
    fn advance_calls(&mut self) {
        while let Some(at) = self.calls.iter().position(|call| call.next_event() <= self.now) {
            let flight = &mut self.calls[at];
            if flight.arrives_at.take().is_some() {
                let has_errors = self.scenario.has_faults && !self.scenario.is_busy;
                let conditions = Conditions {
                    now: self.now,
                    day: WallTime::from_millis(EPOCH_MS).plus(self.now),
                    error_chance: if has_errors { 0.06 } else { 0.0 },
                };
                let (device, batch) = (flight.call.device, &flight.batch);
                let outcome = self.cloud.handle_call(device, batch, conditions, &mut self.rng);
                let is_stored = matches!(outcome, CallOutcome::Answer { success: true, .. });
                if !flight.is_lost {
                    flight.outcome = outcome;
                }
                self.note_delays(at, is_stored);
                continue;
            }
            let flight = self.calls.swap_remove(at);
            if flight.life == self.life && self.daemon.is_some() {
                self.complete(&flight);
            }
        }
    }

    fn note_delays(&mut self, at: usize, is_stored: bool) {
        let flight = &self.calls[at];
        let live = flight.batch.iter().filter(|sent| sent.value >= self.scenario.backlog);
        for sent in live.filter(|_| is_stored) {
            let measured = self.measured[&(flight.call.device, sent.value)];
            let delay = self.now.saturating_sub(measured.at);
            self.figures.live_delay_max = self.figures.live_delay_max.max(delay);
            *self.stored_live.entry(flight.call.device).or_default() += 1;
        }
    }

    /// Ends a call: the daemon handles its outcome.
    fn complete(&mut self, flight: &CallInFlight) {
        let day_ms = self.day().as_millis() / 1_000 * 1_000;
        let Some(daemon) = &mut self.daemon else { return };
        if matches!(flight.outcome, CallOutcome::Answer { .. }) {
            daemon.handle_cloud_date(flight.began, self.now, WallTime::from_millis(day_ms));
        }
        let CallInFlight { call, batch, outcome, .. } = flight;
        let completed = Completed { call, batch, outcome };
        let disposal = daemon.settle(&mut self.disk, completed, self.now);
        let is_confirmed = matches!(flight.outcome, CallOutcome::Answer { success: true, .. });
        assert_eq!(disposal == Disposal::Delete, is_confirmed, "only a confirmation deletes");
        if disposal == Disposal::Reject {
            assert!(flight.batch.iter().all(|sent| is_bad(sent.value)), "{:?}", flight.batch);
        }
    }
}
