//! The daemon of a simulated world of commands: its listeners, dispatcher and actuators in steps,
//! between which it can be killed.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant};

use rand::RngExt as _;
use rand::rngs::StdRng;
use tidegate_commands::actuator::{Actuator, Router, SerialTemplate, WriteTemplate};
use tidegate_commands::admission::{Admission, Clocks, Decision, Judgement, RefusalReason, Rules};
use tidegate_commands::arguments::Arguments;
use tidegate_commands::gap_tracker::{GapState, GapTracker, Page, PageSize};
use tidegate_commands::history::{CommandEnd, History, Record, TableChange};
use tidegate_model::{Command, CommandResult, DeviceId, Source, WallTime};
use tidegate_template::Template;
use tidegate_timing::machine::Machine as _;
use tidegate_timing::rate_limit::RateLimit;

use super::streams::Cloud;
use super::{START_MS, Truth, chance, device};

/// The most commands that wait for an actuator.
const QUEUE_MAX: usize = 8;

/// The storage that outlives the daemon.
#[derive(Debug, Default)]
pub(super) struct Disk {
    /// Whether writes fail.
    pub(super) is_full: bool,
    table: BTreeMap<Vec<u8>, Vec<u8>>,
    listening: BTreeMap<DeviceId, WallTime>,
}

impl Disk {
    fn write(&mut self, changes: &[TableChange]) -> bool {
        for (key, value) in changes.iter().filter(|_| !self.is_full) {
            match value {
                Some(value) => self.table.insert(key.clone(), value.clone()),
                None => self.table.remove(key),
            };
        }
        !self.is_full
    }

    /// Returns since when no command of a device may be missed.
    ///
    /// It is the time of the first stream that is recorded on the disk.
    pub(super) fn listening_since(&self, device: DeviceId) -> Option<WallTime> {
        self.listening.get(&device).copied()
    }
}

/// The environment of the daemon in one tick.
pub(super) struct Environment<'a> {
    pub(super) disk: &'a mut Disk,
    pub(super) cloud: &'a mut Cloud,
    pub(super) truth: &'a mut Truth,
    pub(super) rng: &'a mut StdRng,
    pub(super) kill_chance: f64,
    pub(super) now_ms: i64,
    pub(super) wall: WallTime,
}

impl Environment<'_> {
    fn is_killed(&mut self) -> bool {
        chance(self.rng, self.kill_chance)
    }
}

/// The settings of a daemon.
#[derive(Clone, Copy)]
pub(super) struct Settings {
    /// Whether commands have ids.
    pub(super) has_ids: bool,
    /// The number of devices that share the history.
    pub(super) lanes: usize,
}

/// A received command.
struct Arrival {
    command: Command,
    source: Source,
}

/// The time until which a device's commands are complete.
struct Coverage {
    device: DeviceId,
    until: WallTime,
}

/// A command for an actuator.
struct Order {
    number: u64,
    command: u64,
    until_ms: i64,
}

/// A command that runs.
struct Running {
    order: Order,
    end_ms: i64,
}

#[derive(Default)]
struct ActuatorQueue {
    queue: VecDeque<Order>,
    running: Option<Running>,
}

pub(super) struct Daemon {
    admission: Admission,
    history: History,
    trackers: BTreeMap<DeviceId, GapTracker>,
    actuators: BTreeMap<String, ActuatorQueue>,
    next_try_ms: i64,
}

/// Returns the number in a command's payload.
pub(super) fn number_of(command: &Command) -> u64 {
    command.payload["n"].as_u64().unwrap()
}

fn valve(device: DeviceId) -> Arc<Actuator> {
    let text = Template::compile("valve", "V{{ payload.n }}\n").unwrap();
    Arc::new(Actuator {
        name: format!("valve-{}", device.as_bytes()[0]).parse().unwrap(),
        device,
        command: "valve".to_owned(),
        bus: Some("boiler".parse().unwrap()),
        write: WriteTemplate::Serial(SerialTemplate { text, is_hex: false, reply: None }),
        arguments: Arguments::default(),
        rate: RateLimit { runs_max: 60, window: Duration::from_secs(60) },
        timeout: Duration::from_secs(1),
        failsafe: None,
    })
}

#[expect(clippy::disallowed_methods, reason = "virtual time counts from any moment")]
fn moment(now_ms: i64) -> Instant {
    static BEGIN: std::sync::LazyLock<Instant> = std::sync::LazyLock::new(Instant::now);
    *BEGIN + Duration::from_millis(u64::try_from(now_ms - START_MS).unwrap())
}

impl Daemon {
    pub(super) fn start(
        disk: &mut Disk,
        truth: &mut Truth,
        wall: WallTime,
        settings: Settings,
    ) -> Self {
        let rules = Rules {
            age_max: Duration::from_secs(60),
            catch_up_age_max: Duration::from_secs(600),
            id: settings.has_ids.then(|| "id".to_owned()),
            target: None,
        };
        let devices =
            [("gateway", 1), ("attic", 2)].map(|(name, id)| (name.parse().unwrap(), device(id)));
        let router = Router::new([valve(device(1)), valve(device(2))]);
        let admission = Admission::new(rules, router, device(1), devices.into());
        let table: Vec<_> = disk.table.clone().into_iter().collect();
        let history = History::load(&table, settings.lanes, wall.into()).unwrap();
        let trackers = [1, 2].map(|id| (device(id), GapTracker::new(history.coverage(device(id)))));
        let mut daemon = Self {
            admission,
            history,
            trackers: trackers.into(),
            actuators: BTreeMap::new(),
            next_try_ms: 0,
        };
        daemon.record(disk, truth);
        daemon
    }

    /// Runs for one tick. Returns `false` if the daemon was killed.
    pub(super) fn step(&mut self, environment: &mut Environment<'_>) -> bool {
        let (arrivals, coverages) = self.listen(environment);
        let mut ready = Vec::new();
        for arrival in arrivals {
            environment.truth.figures.caught_up += u64::from(arrival.source == Source::CaughtUp);
            self.handle_command(&arrival, environment, &mut ready);
        }
        for Coverage { device, until } in coverages {
            self.history.extend_coverage(device, until);
        }
        if environment.is_killed() {
            return false;
        }
        // A command runs only after its record is on the disk.
        let is_recorded = self.record(environment.disk, environment.truth);
        if environment.is_killed() {
            return false;
        }
        for (actuator_name, order) in ready {
            if is_recorded {
                self.actuators.entry(actuator_name).or_default().queue.push_back(order);
            } else {
                self.finish(order.number, CommandResult::Failed, environment.wall);
            }
        }
        for (number, result) in self.work(environment) {
            if environment.is_killed() {
                return false;
            }
            self.finish(number, result, environment.wall);
        }
        self.record(environment.disk, environment.truth);
        !environment.is_killed()
    }

    /// Reads the streams and the cloud's history.
    fn listen(&mut self, environment: &mut Environment<'_>) -> (Vec<Arrival>, Vec<Coverage>) {
        let Environment { cloud, rng, now_ms, .. } = environment;
        let now_ms = *now_ms;
        let (mut arrivals, mut coverages) = (Vec::new(), Vec::new());
        let is_time_to_try = now_ms >= self.next_try_ms;
        if is_time_to_try {
            self.next_try_ms = now_ms + 1_000;
        }
        for (device, tracker) in &mut self.trackers {
            let Some(delivered) = cloud.deliver(*device, now_ms) else {
                let since = self.history.coverage(*device).map(|coverage| coverage.since);
                let opened = is_time_to_try.then(|| cloud.open(*device, now_ms, since, rng));
                if let Some(opened) = opened.flatten() {
                    tracker.handle_stream_opened(opened);
                    let until = tracker.handle_alive(opened);
                    coverages.push(Coverage { device: *device, until });
                }
                continue;
            };
            // The listener reads the history before the commands that the stream has delivered
            // meanwhile. Admission must accept this order.
            tracker.handle_timeout(moment(now_ms));
            while is_time_to_try && let Some(request) = tracker.poll_action() {
                let Some(page) = cloud.page(*device, request, rng) else {
                    tracker.handle_page_failed(PageSize::Reduce, moment(now_ms + 1_000));
                    break;
                };
                let latest = page.iter().filter_map(|command| command.time).max();
                let answer = Page { latest, commands: page.len() };
                let caught_up = |command| Arrival { command, source: Source::CaughtUp };
                arrivals.extend(page.into_iter().map(caught_up));
                assert_eq!(tracker.handle_page(answer), GapState::Complete);
            }
            let live = |command| Arrival { command, source: Source::Live };
            arrivals.extend(delivered.into_iter().map(live));
            let until = tracker.handle_alive(cloud.last_event(*device).unwrap());
            if chance(rng, 0.01) || self.history.coverage(*device).is_none() {
                coverages.push(Coverage { device: *device, until });
            }
        }
        (arrivals, coverages)
    }

    fn handle_command(
        &mut self,
        arrival: &Arrival,
        environment: &mut Environment<'_>,
        ready: &mut Vec<(String, Order)>,
    ) {
        let Arrival { command, source } = arrival;
        let (now_ms, wall) = (environment.now_ms, environment.wall);
        let clocks = Clocks { now: moment(now_ms), time: wall.into() };
        let Judgement { decision, record } =
            self.admission.handle_command(command, *source, &self.history, clocks);
        if matches!(decision, Decision::Duplicate) {
            environment.truth.figures.duplicates += 1;
            return;
        }
        if matches!(decision, Decision::Refused(RefusalReason::Forgotten)) {
            // The daemon counts and logs it, but neither records nor reports it.
            environment.truth.forgotten.insert(number_of(command));
            return;
        }
        let number = self.history.add(record);
        match decision {
            Decision::Run { actuator, fresh_for, .. } => {
                let actuator_name = actuator.name.to_string();
                let waiting =
                    self.actuators.get(&actuator_name).map_or(0, |state| state.queue.len());
                let ready_count = ready.iter().filter(|(name, _)| *name == actuator_name).count();
                if waiting + ready_count >= QUEUE_MAX || !self.history.has_room(command.device) {
                    return self.finish(number, CommandResult::Refused, wall);
                }
                let until_ms = now_ms + i64::try_from(fresh_for.as_millis()).unwrap();
                ready
                    .push((actuator_name, Order { number, command: number_of(command), until_ms }));
            }
            Decision::Refused(refusal) => {
                let (result, message) = (CommandResult::Refused, refusal.as_str());
                self.history.finish(
                    number,
                    CommandEnd { result, message, duration_ms: None },
                    wall.into(),
                );
            }
            Decision::Duplicate => {}
        }
    }

    /// Starts and ends commands of the actuators. Returns the results of those that ended.
    fn work(&mut self, environment: &mut Environment<'_>) -> Vec<(u64, CommandResult)> {
        let Environment { truth, rng, now_ms, .. } = environment;
        let now_ms = *now_ms;
        let mut done = Vec::new();
        for state in self.actuators.values_mut() {
            if let Some(running) = state.running.take_if(|running| running.end_ms <= now_ms) {
                done.push((running.order.number, CommandResult::Executed));
            }
            while state.running.is_none() {
                let Some(order) = state.queue.pop_front() else { break };
                if order.until_ms < now_ms {
                    done.push((order.number, CommandResult::Refused));
                    continue;
                }
                truth.count_run(order.command);
                state.running =
                    Some(Running { order, end_ms: now_ms + rng.random_range(0..1_500) });
            }
        }
        done
    }

    fn finish(&mut self, number: u64, result: CommandResult, wall: WallTime) {
        self.history.finish(
            number,
            CommandEnd { result, message: "", duration_ms: None },
            wall.into(),
        );
    }

    /// Writes the changes of the history to the disk. Returns `false`, and keeps them, if it fails.
    fn record(&mut self, disk: &mut Disk, truth: &mut Truth) -> bool {
        let changes = self.history.take_changes();
        if !disk.write(&changes) {
            self.history.restore_changes(changes);
            return false;
        }
        let records = changes.iter().filter(|(key, _)| key.starts_with(b"r"));
        for record in records.filter_map(|(_, value)| value.as_ref()) {
            let record: Record = serde_json::from_slice(record).unwrap();
            let payload: serde_json::Value = serde_json::from_str(&record.payload).unwrap();
            truth.record(payload["n"].as_u64().unwrap(), record);
        }
        for id in [1, 2].map(device) {
            if let Some(coverage) = self.history.coverage(id) {
                disk.listening.entry(id).or_insert(coverage.since);
            }
        }
        true
    }
}
