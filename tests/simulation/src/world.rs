//! The world: what happens, in which order, and what must hold.

mod check;

use std::collections::{BTreeMap, VecDeque};
use std::time::{Duration, Instant};

use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};
use tidegate_delivery::reporter::{Call, Disposal, Step};
use tidegate_delivery::response::Outcome;
use tidegate_model::{BootId, DeviceId, ReadingTime, WallTime};

use super::cloud::{Cloud, Sent, is_bad};
use super::daemon::{Daemon, Place};
use super::disk::{Disk, Fate};
use super::weather::{Figures, Weather};

/// The true time of day when a world begins: 1 May 2026, 10:00.
const EPOCH_MS: i64 = 1_777_629_600_000;

/// The longest that all may take to arrive once the weather is calm: a device may be held for 15 minutes, twice.
const CALM_MAX: Duration = Duration::from_secs(4 * 3_600);

/// A call between the daemon and the cloud.
struct Flight {
    /// Which daemon made it.
    life: u64,
    call: Call,
    batch: Vec<Sent>,
    began: Duration,
    arrives_at: Option<Duration>,
    ends_at: Duration,
    /// Its answer is lost.
    is_lost: bool,
    outcome: Outcome,
}

/// When a value was taken in, and in which boot.
type Truth = BTreeMap<(DeviceId, u64), (Duration, BootId)>;

pub(super) struct World {
    rng: StdRng,
    weather: Weather,
    now: Duration,
    disk: Disk,
    cloud: Cloud,
    daemon: Option<Daemon>,
    place: Place,
    life: u64,
    flights: Vec<Flight>,
    /// Readings that no commit has brought to the disk; the broker delivers them again.
    pending: VecDeque<(DeviceId, u64)>,
    next_value: BTreeMap<DeviceId, u64>,
    arrivals: BTreeMap<DeviceId, (Duration, Duration)>,
    truth: Truth,
    learned: BTreeMap<BootId, Duration>,
    /// When the kernel of this boot will be synchronised, and what its clock shows until then is off by.
    synchronised_at: Option<Duration>,
    system_off_ms: i64,
    down_until: Duration,
    start_at: Option<Duration>,
    next: BTreeMap<Event, Duration>,
    stored_live: BTreeMap<DeviceId, usize>,
    figures: Figures,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Event {
    GapTracker,
    Probe,
    Outage,
    Kill,
    Reboot,
    ClockStep,
    DiskFull,
}

impl World {
    #[expect(clippy::disallowed_methods, reason = "a world needs some instant to start from")]
    pub(super) fn new(seed: u64, weather: &Weather) -> Self {
        let mut rng = StdRng::seed_from_u64(seed);
        let boot = BootId(1);
        let place = Place { boot, boot_at: Duration::ZERO, origin: Instant::now() };
        let ids = (1..=weather.devices).map(|number| DeviceId::from([number; 12]));
        let interval = |rng: &mut StdRng| {
            if weather.is_rough {
                Duration::from_millis(rng.random_range(60..8_000))
            } else {
                Duration::from_secs(1)
            }
        };
        let arrivals: BTreeMap<_, _> =
            ids.map(|id| (id, (Duration::from_secs(20), interval(&mut rng)))).collect();
        let mut world = Self {
            rng,
            weather: weather.clone(),
            now: Duration::from_secs(20),
            disk: Disk::default(),
            cloud: Cloud::new(weather.is_rough),
            daemon: None,
            place,
            life: 0,
            flights: Vec::new(),
            pending: VecDeque::new(),
            next_value: arrivals.keys().map(|id| (*id, 0)).collect(),
            arrivals,
            truth: BTreeMap::new(),
            learned: BTreeMap::new(),
            synchronised_at: Some(Duration::ZERO),
            system_off_ms: 0,
            down_until: Duration::ZERO,
            start_at: None,
            next: BTreeMap::from([(Event::GapTracker, Duration::from_secs(20))]),
            stored_live: BTreeMap::new(),
            figures: Figures::default(),
        };
        if weather.is_rough {
            world.begin_boot();
            for event in
                [Event::Outage, Event::Kill, Event::Reboot, Event::ClockStep, Event::DiskFull]
            {
                world.plan(event);
            }
            world.next.insert(Event::Probe, world.now);
        }
        world.fill();
        world.start();
        world
    }

    /// What waits at the start: for rough weather some states that Losant would ignore, too.
    fn fill(&mut self) {
        let ids: Vec<_> = self.arrivals.keys().copied().collect();
        for device in ids {
            let start = EPOCH_MS - 10_000 - 10 * i64::try_from(self.weather.backlog).unwrap();
            for number in 0..self.weather.backlog {
                let far_ms = match number {
                    0..5 if self.weather.is_rough => -31 * 86_400_000,
                    50..53 if self.weather.is_rough => 2 * 86_400_000,
                    _ => 0,
                };
                let time_ms = start + 10 * i64::try_from(number).unwrap() + far_ms;
                let value = self.value(device);
                self.disk.append(device, ReadingTime::Wall(WallTime::from_millis(time_ms)), value);
            }
        }
        // The latest time is the future's; it must not move what comes.
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

    /// What the system's clock shows.
    fn system(&self) -> WallTime {
        let off_ms = if self.is_synchronised() { 0 } else { self.system_off_ms };
        WallTime::from_millis(self.day().as_millis() + off_ms)
    }

    fn seconds(&mut self, range: std::ops::Range<u64>) -> Duration {
        Duration::from_millis(self.rng.random_range(range.start * 1_000..range.end * 1_000))
    }

    fn plan(&mut self, event: Event) {
        let wait = match event {
            Event::GapTracker => Duration::from_secs(1),
            Event::Probe => Duration::from_secs(20),
            Event::Outage => self.seconds(10..400),
            Event::Kill if self.weather.is_busy => self.seconds(1..30),
            Event::Reboot if self.weather.is_busy => self.seconds(20..60),
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
        if self.weather.is_busy {
            self.synchronised_at = Some(self.now);
        } else if self.rng.random_bool(0.5) {
            self.synchronised_at = Some(self.now + self.seconds(0..200));
        }
        // The clock of the last shutdown, or none at all.
        let hours = self.rng.random_range(0..100);
        self.system_off_ms = if hours > 90 { -EPOCH_MS } else { -3_600_000 * hours };
    }

    fn start(&mut self) {
        self.life += 1;
        self.start_at = None;
        let mut daemon = Daemon::start(self.place, &mut self.disk, self.now);
        for (device, value) in &self.pending {
            daemon.take(*device, *value, self.now);
            self.truth.insert((*device, *value), (self.now, self.place.boot));
        }
        self.daemon = Some(daemon);
    }

    /// Runs to the end and tells what happened.
    pub(super) fn run(mut self) -> Figures {
        let mut is_calm = !self.weather.is_rough;
        let end = self.now + self.weather.length;
        let began = self.now;
        loop {
            self.step();
            if !is_calm && self.now >= end {
                is_calm = true;
                self.calm_down();
            }
            let is_drained = self.disk.is_drained() && self.pending.is_empty();
            let is_backlog_sent = self.weather.length.is_zero() && self.is_backlog_sent();
            if is_calm && (is_drained && self.now > end || is_backlog_sent) {
                break;
            }
            assert!(self.now < end + CALM_MAX, "not all arrived: {:?}", self.disk.waiting().next());
            self.advance();
        }
        let windows = self.now.saturating_sub(began).as_secs_f64() / 15.0;
        let devices = u32::try_from(self.disk.queues.len()).unwrap();
        let calls = u32::try_from(self.cloud.calls_made).unwrap();
        self.figures.calls = self.cloud.calls_made;
        self.figures.use_while_draining = f64::from(calls) / (windows * 30.0 * f64::from(devices));
        self.check();
        self.figures
    }

    fn is_backlog_sent(&self) -> bool {
        let backlog = usize::try_from(self.weather.backlog).unwrap();
        self.disk.queues.values().any(|queue| {
            let states = queue.states.iter().take(backlog).rev();
            states.take(1).all(|state| state.fate != Fate::Waits)
        })
    }

    fn calm_down(&mut self) {
        self.weather.is_rough = false;
        self.down_until = Duration::ZERO;
        self.disk.is_full = false;
        self.synchronised_at = Some(self.now);
        self.next.retain(|event, _| *event == Event::GapTracker);
        self.arrivals.clear();
        self.start_at = self.start_at.or(self.daemon.is_none().then_some(self.now));
    }

    /// Goes to the next moment at which something happens.
    fn advance(&mut self) {
        let daemon = self.daemon.as_mut();
        let wait = daemon.and_then(|daemon| match daemon.poll(&mut self.disk, self.now) {
            Step::WaitUntil(at) => Some(at - self.place.origin),
            Step::Send(_) => panic!("nothing was to be sent a moment ago"),
            Step::Idle => None,
        });
        let flights = self.flights.iter();
        let flights = flights.map(|flight| flight.arrives_at.unwrap_or(flight.ends_at));
        let next = self.next.values().copied().chain(flights);
        let next = next.chain(self.arrivals.values().map(|(at, _)| *at));
        let next = next.chain(wait).chain(self.start_at);
        let next = next.chain(self.daemon.as_ref().and_then(Daemon::commit_due)).min();
        self.now = next.expect("a watch is always planned").max(self.now);
    }

    /// Does all that is due.
    fn step(&mut self) {
        if self.start_at.is_some_and(|at| at <= self.now) {
            self.start();
        }
        let due: Vec<_> = self.next.iter().filter(|(_, at)| **at <= self.now).collect();
        let due: Vec<_> = due.into_iter().map(|(event, _)| *event).collect();
        for event in due {
            self.happen(event);
        }
        self.measure();
        if let Some(daemon) = &mut self.daemon
            && daemon.commit_due().is_some_and(|due| due <= self.now)
        {
            let committed = daemon.commit(&mut self.disk, self.now);
            self.pending.drain(..committed);
            if daemon.is_pinned() {
                self.learned.entry(self.place.boot).or_insert(self.now);
            }
        }
        self.fly();
        while let Some(daemon) = &mut self.daemon
            && let Step::Send(call) = daemon.poll(&mut self.disk, self.now)
        {
            let batch = daemon.load(&mut self.disk, &call, self.now);
            self.take_off(call, batch);
            self.fly();
        }
    }

    fn happen(&mut self, event: Event) {
        self.plan(event);
        match event {
            Event::GapTracker => {
                let (system, is_synchronised) = (self.system(), self.is_synchronised());
                if let Some(daemon) = &mut self.daemon {
                    daemon.see(system, is_synchronised, self.now);
                }
            }
            Event::Probe => {
                // The presence task asks for the gateway while the time is not known.
                let date_ms = self.day().as_millis() / 1_000 * 1_000;
                if self.down_until <= self.now
                    && self.rng.random_bool(0.3)
                    && let Some(daemon) = &mut self.daemon
                {
                    daemon.hear((self.now, self.now), WallTime::from_millis(date_ms));
                }
            }
            Event::Outage => self.down_until = self.now + self.seconds(0..300),
            Event::DiskFull => self.disk.is_full = !self.disk.is_full,
            Event::ClockStep => {
                self.system_off_ms += self.rng.random_range(-90_000_000..90_000_000);
            }
            Event::Kill => {
                self.figures.kills += u64::from(self.daemon.is_some());
                if self.daemon.take().is_some() {
                    let pause = if self.weather.is_busy { 1 } else { 20 };
                    self.start_at = Some(self.now + self.seconds(0..pause));
                }
            }
            Event::Reboot => {
                let is_learned = self.learned.contains_key(&self.place.boot);
                self.figures.boots_without_time += u64::from(!is_learned);
                self.daemon = None;
                self.flights.retain(|flight| flight.arrives_at.is_some_and(|at| at <= self.now));
                let off = self.seconds(if self.weather.is_busy { 0..3 } else { 1..120 });
                self.now += off;
                if self.rng.random_bool(0.5) {
                    self.disk.calls.clear();
                }
                self.begin_boot();
                let start = self.seconds(1..if self.weather.is_busy { 2 } else { 30 });
                self.start_at = Some(self.now + start);
            }
        }
    }

    /// The instruments measure.
    fn measure(&mut self) {
        let due = self.arrivals.iter().filter(|(_, (at, _))| *at <= self.now);
        let due: Vec<_> = due.map(|(device, _)| *device).collect();
        for device in due {
            let (at, interval) = self.arrivals[&device];
            self.arrivals.insert(device, (at.max(self.now) + interval, interval));
            let value = self.value(device);
            self.figures.readings += 1;
            self.pending.push_back((device, value));
            self.truth.insert((device, value), (self.now, self.place.boot));
            if let Some(daemon) = &mut self.daemon {
                daemon.take(device, value, self.now);
            }
        }
    }

    /// A call leaves.
    fn take_off(&mut self, call: Call, batch: Vec<Sent>) {
        let now = self.now;
        let no_answer = |may_have_arrived| Outcome::NoAnswer {
            message: "no answer".to_owned(),
            may_have_arrived,
        };
        let mut flight = Flight {
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
            flight.outcome = Outcome::NotMade { message: String::new() };
        } else if self.down_until > now {
            let is_black_hole = self.rng.random_bool(0.3);
            flight.outcome = no_answer(is_black_hole);
            flight.ends_at +=
                if is_black_hole { Duration::from_secs(30) } else { self.seconds(0..10) };
        } else {
            let mut answer_time = self.weather.answer_time.mul_f64(self.rng.random_range(0.5..1.5));
            if self.weather.is_rough && !self.weather.is_busy {
                answer_time = answer_time.mul_f64(self.rng.random_range(0.1..15.0));
                flight.is_lost = self.rng.random_bool(0.05);
            }
            flight.arrives_at = Some(now + answer_time.mul_f64(self.rng.random_range(0.0..1.0)));
            flight.ends_at =
                now + if flight.is_lost { Duration::from_secs(30) } else { answer_time };
            flight.outcome = no_answer(true);
        }
        self.flights.push(flight);
    }

    /// Calls arrive and end.
    fn fly(&mut self) {
        while let Some(at) = self
            .flights
            .iter()
            .position(|flight| flight.arrives_at.unwrap_or(flight.ends_at) <= self.now)
        {
            let flight = &mut self.flights[at];
            if flight.arrives_at.take().is_some() {
                let is_troubled = self.weather.is_rough && !self.weather.is_busy;
                let trouble = if is_troubled { 0.06 } else { 0.0 };
                let day = WallTime::from_millis(EPOCH_MS).plus(self.now);
                let outcome = self.cloud.take(
                    flight.call.device,
                    &flight.batch,
                    (self.now, day),
                    (trouble, &mut self.rng),
                );
                let is_stored = matches!(outcome, Outcome::Answer { success: true, .. });
                if !flight.is_lost {
                    flight.outcome = outcome;
                }
                self.note_delays(at, is_stored);
                continue;
            }
            let flight = self.flights.swap_remove(at);
            if flight.life == self.life && self.daemon.is_some() {
                self.land(&flight);
            }
        }
    }

    fn note_delays(&mut self, at: usize, is_stored: bool) {
        let flight = &self.flights[at];
        let live = flight.batch.iter().filter(|sent| sent.value >= self.weather.backlog);
        for sent in live.filter(|_| is_stored) {
            let (taken, _) = self.truth[&(flight.call.device, sent.value)];
            self.figures.live_delay_max =
                self.figures.live_delay_max.max(self.now.saturating_sub(taken));
            *self.stored_live.entry(flight.call.device).or_default() += 1;
        }
    }

    /// A call ends, and the daemon learns of it.
    fn land(&mut self, flight: &Flight) {
        let day_ms = self.day().as_millis() / 1_000 * 1_000;
        let Some(daemon) = &mut self.daemon else { return };
        if matches!(flight.outcome, Outcome::Answer { .. }) {
            daemon.hear((flight.began, self.now), WallTime::from_millis(day_ms));
        }
        let settled = (&flight.call, &*flight.batch, &flight.outcome);
        let disposal = daemon.settle(&mut self.disk, settled, self.now, &mut self.rng);
        let is_confirmed = matches!(flight.outcome, Outcome::Answer { success: true, .. });
        assert_eq!(disposal == Disposal::Delete, is_confirmed, "only a confirmation deletes");
        if disposal == Disposal::Reject {
            assert!(flight.batch.iter().all(|sent| is_bad(sent.value)), "{:?}", flight.batch);
        }
    }
}
