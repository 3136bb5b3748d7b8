//! The daemon's part: what its listeners, its dispatcher and its actuators do with the pure machines, step by step, so that it can
//! be killed in between.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant};

use rand::RngExt as _;
use rand::rngs::StdRng;
use tidegate_commands::actuator::{Actuator, Router, SerialTemplate, WriteTemplate};
use tidegate_commands::admission::{Admission, Clocks, Decision, Judgement, RefusalReason, Rules};
use tidegate_commands::arguments::Arguments;
use tidegate_commands::gap_tracker::{GapState, GapTracker, Page, PageSize};
use tidegate_commands::history::{History, Outcome, Record, TableChange};
use tidegate_model::{Command, CommandResult, DeviceId, Source, WallTime};
use tidegate_template::Template;
use tidegate_timing::machine::Machine as _;
use tidegate_timing::rate_limit::RateLimit;

use super::streams::Cloud;
use super::{START_MS, Truth, chance, device};

/// What may wait for an actuator.
const QUEUE_MAX: usize = 8;

/// What outlives the daemon.
#[derive(Debug, Default)]
pub(super) struct Disk {
    /// It takes nothing.
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

    /// Since when what is sent to a device must not be missed: the first stream is known on the disk.
    pub(super) fn listening_since(&self, device: DeviceId) -> Option<WallTime> {
        self.listening.get(&device).copied()
    }
}

/// Where a daemon lives, for one tick.
pub(super) struct Around<'a> {
    pub(super) disk: &'a mut Disk,
    pub(super) cloud: &'a mut Cloud,
    pub(super) truth: &'a mut Truth,
    pub(super) rng: &'a mut StdRng,
    pub(super) kill_chance: f64,
    pub(super) now_ms: i64,
    pub(super) wall: WallTime,
}

impl Around<'_> {
    fn is_killed(&mut self) -> bool {
        chance(self.rng, self.kill_chance)
    }
}

/// How a daemon is set up.
#[derive(Clone, Copy)]
pub(super) struct Habits {
    /// Commands have ids.
    pub(super) has_ids: bool,
    /// Among so many devices the history is shared.
    pub(super) lanes: usize,
}

/// A command, and how it came.
type Arrived = (Command, Source);

/// What an actuator has to do.
struct Order {
    number: u64,
    command: u64,
    until_ms: i64,
}

/// Begins as told, and ends then.
struct Running {
    order: Order,
    end_ms: i64,
}

#[derive(Default)]
struct Hand {
    queue: VecDeque<Order>,
    running: Option<Running>,
}

pub(super) struct Daemon {
    admission: Admission,
    history: History,
    watches: BTreeMap<DeviceId, GapTracker>,
    hands: BTreeMap<String, Hand>,
    next_try_ms: i64,
}

/// The number in a command's payload.
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
        habits: Habits,
    ) -> Self {
        let rules = Rules {
            age_max: Duration::from_secs(60),
            catch_up_age_max: Duration::from_secs(600),
            id: habits.has_ids.then(|| "id".to_owned()),
            target: None,
        };
        let devices =
            [("gateway", 1), ("attic", 2)].map(|(name, id)| (name.parse().unwrap(), device(id)));
        let router = Router::new([valve(device(1)), valve(device(2))]);
        let admission = Admission::new(rules, router, device(1), devices.into());
        let table: Vec<_> = disk.table.clone().into_iter().collect();
        let history = History::load(&table, habits.lanes, wall.into()).unwrap();
        let watches = [1, 2].map(|id| (device(id), GapTracker::new(history.coverage(device(id)))));
        let mut daemon = Self {
            admission,
            history,
            watches: watches.into(),
            hands: BTreeMap::new(),
            next_try_ms: 0,
        };
        daemon.record(disk, truth);
        daemon
    }

    /// Lives for one tick. False when it was killed.
    pub(super) fn step(&mut self, around: &mut Around<'_>) -> bool {
        let (commands, heard) = self.listen(around);
        let mut ready = Vec::new();
        for (command, source) in commands {
            around.truth.figures.caught_up += u64::from(source == Source::CaughtUp);
            self.judge(&command, source, around, &mut ready);
        }
        for (device, until) in heard {
            self.history.extend_coverage(device, until);
        }
        if around.is_killed() {
            return false;
        }
        // The one rule: recorded and on the disk, then run.
        let is_recorded = self.record(around.disk, around.truth);
        if around.is_killed() {
            return false;
        }
        for (hand, order) in ready {
            if is_recorded {
                self.hands.entry(hand).or_default().queue.push_back(order);
            } else {
                self.finish(order.number, CommandResult::Failed, around.wall);
            }
        }
        for (number, result) in self.work(around) {
            if around.is_killed() {
                return false;
            }
            self.finish(number, result, around.wall);
        }
        self.record(around.disk, around.truth);
        !around.is_killed()
    }

    /// What came over the streams and out of the history, and until when nothing was missed.
    fn listen(&mut self, around: &mut Around<'_>) -> (Vec<Arrived>, Vec<(DeviceId, WallTime)>) {
        let Around { cloud, rng, now_ms, .. } = around;
        let now_ms = *now_ms;
        let (mut commands, mut heard) = (Vec::new(), Vec::new());
        let is_time_to_try = now_ms >= self.next_try_ms;
        if is_time_to_try {
            self.next_try_ms = now_ms + 1_000;
        }
        for (device, watch) in &mut self.watches {
            let Some(delivered) = cloud.deliver(*device, now_ms) else {
                let since = self.history.coverage(*device).map(|coverage| coverage.since);
                let opened = is_time_to_try.then(|| cloud.open(*device, now_ms, since, rng));
                if let Some(opened) = opened.flatten() {
                    watch.handle_stream_opened(opened);
                    heard.push((*device, watch.handle_alive(opened)));
                }
                continue;
            };
            // The listener reads the history before it looks at what the stream has delivered meanwhile; the gate must not mind.
            watch.handle_timeout(moment(now_ms));
            while is_time_to_try && let Some(request) = watch.poll_action() {
                let Some(page) = cloud.page(*device, request, rng) else {
                    watch.handle_page_failed(PageSize::Reduce, moment(now_ms + 1_000));
                    break;
                };
                let latest = page.iter().filter_map(|command| command.time).max();
                let answer = Page { latest, commands: page.len() };
                commands.extend(page.into_iter().map(|command| (command, Source::CaughtUp)));
                assert_eq!(watch.handle_page(answer), GapState::Complete);
            }
            commands.extend(delivered.into_iter().map(|command| (command, Source::Live)));
            let until = watch.handle_alive(cloud.heard(*device).unwrap());
            if chance(rng, 0.01) || self.history.coverage(*device).is_none() {
                heard.push((*device, until));
            }
        }
        (commands, heard)
    }

    fn judge(
        &mut self,
        command: &Command,
        source: Source,
        around: &mut Around<'_>,
        ready: &mut Vec<(String, Order)>,
    ) {
        let (now_ms, wall) = (around.now_ms, around.wall);
        let clocks = Clocks { now: moment(now_ms), time: wall.into() };
        let Judgement { decision, record } =
            self.admission.handle_command(command, source, &self.history, clocks);
        if matches!(decision, Decision::Duplicate) {
            around.truth.figures.duplicates += 1;
            return;
        }
        if matches!(decision, Decision::Refused(RefusalReason::Forgotten)) {
            // Counted and logged, but neither recorded nor told.
            around.truth.forgotten.insert(number_of(command));
            return;
        }
        let number = self.history.add(record);
        match decision {
            Decision::Run { actuator, fresh_for, .. } => {
                let hand = actuator.name.to_string();
                let waiting = self.hands.get(&hand).map_or(0, |hand| hand.queue.len());
                let promised = ready.iter().filter(|(name, _)| *name == hand).count();
                if waiting + promised >= QUEUE_MAX || !self.history.has_room(command.device) {
                    return self.finish(number, CommandResult::Refused, wall);
                }
                let until_ms = now_ms + i64::try_from(fresh_for.as_millis()).unwrap();
                ready.push((hand, Order { number, command: number_of(command), until_ms }));
            }
            Decision::Refused(refusal) => {
                let (result, message) = (CommandResult::Refused, refusal.as_str());
                self.history.finish(
                    number,
                    Outcome { result, message, duration_ms: None },
                    wall.into(),
                );
            }
            Decision::Duplicate => {}
        }
    }

    /// The actuators begin and end what they do.
    fn work(&mut self, around: &mut Around<'_>) -> Vec<(u64, CommandResult)> {
        let Around { truth, rng, now_ms, .. } = around;
        let now_ms = *now_ms;
        let mut done = Vec::new();
        for hand in self.hands.values_mut() {
            if let Some(running) = hand.running.take_if(|running| running.end_ms <= now_ms) {
                done.push((running.order.number, CommandResult::Executed));
            }
            while hand.running.is_none() {
                let Some(order) = hand.queue.pop_front() else { break };
                if order.until_ms < now_ms {
                    done.push((order.number, CommandResult::Refused));
                    continue;
                }
                truth.act(order.command);
                hand.running = Some(Running { order, end_ms: now_ms + rng.random_range(0..1_500) });
            }
        }
        done
    }

    fn finish(&mut self, number: u64, result: CommandResult, wall: WallTime) {
        self.history.finish(
            number,
            Outcome { result, message: "", duration_ms: None },
            wall.into(),
        );
    }

    /// Brings the history to the disk; what could not be written stays due.
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
            if let Some(heard) = self.history.coverage(id) {
                disk.listening.entry(id).or_insert(heard.since);
            }
        }
        true
    }
}
