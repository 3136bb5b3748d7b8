//! Simulated worlds that test the promises of commands: admission, history and gap tracker over
//! virtual time.
//!
//! A seed makes a world: an application that sends commands, streams that are cut, repeat and
//! delay, answers that are lost, a clock that is wrong, a full disk, and a daemon that is killed at
//! any step. At the end there are no faults, and each command that could be received must have a
//! result. `SEEDS=10000` runs more worlds, `SEED=17` runs one.

mod daemon;
mod streams;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};
use serde_json::json;
use tidegate_commands::history::Record;
use tidegate_model::{Command, CommandResult, DeviceId, WallTime};

use super::{SEEDS, number};
use daemon::{Daemon, Disk, Environment, Settings};
use streams::Cloud;

/// The true time of day when a world begins.
const START_MS: i64 = 1_777_629_600_000;

/// A step of virtual time.
const TICK_MS: i64 = 250;

/// Duration of the part with faults.
const FAULTS_MS: i64 = 2_400_000;

/// Duration of the part without faults that follows.
const RECOVERY_MS: i64 = 900_000;

/// The number of events of each kind.
#[derive(Debug, Default)]
struct Figures {
    sent: u64,
    executed: u64,
    refused: u64,
    interrupted: u64,
    failed: u64,
    duplicates: u64,
    caught_up: u64,
    kills: u64,
}

/// The ground truth about each command, by the number in its payload.
#[derive(Debug, Default)]
struct Truth {
    /// How often a command ran.
    runs: BTreeMap<u64, u32>,
    records: BTreeMap<u64, Record>,
    /// Commands that were refused because their records were deleted already.
    forgotten: BTreeSet<u64>,
    figures: Figures,
}

impl Truth {
    fn count_run(&mut self, command: u64) {
        *self.runs.entry(command).or_default() += 1;
    }

    /// Notes the record of a command on the disk.
    ///
    /// A command whose record was deleted may arrive again, and is refused then. Its first record
    /// stays, unless the command was refused because the clock was wrong.
    fn record(&mut self, command: u64, record: Record) {
        let before = self.records.get(&command);
        let is_temporary = |before: &Record| matches!(&*before.message, "ahead" | "no_time");
        if before.is_none_or(|before| before.number == record.number || is_temporary(before)) {
            self.records.insert(command, record);
        }
    }
}

struct World {
    rng: StdRng,
    now_ms: i64,
    cloud: Cloud,
    disk: Disk,
    daemon: Option<Daemon>,
    restart_ms: i64,
    skew_ms: i64,
    truth: Truth,
    next: u64,
    settings: Settings,
}

fn device(number: u8) -> DeviceId {
    DeviceId::from([number; 12])
}

fn chance(rng: &mut StdRng, probability: f64) -> bool {
    rng.random_bool(probability)
}

impl World {
    fn new(seed: u64) -> Self {
        let mut rng = StdRng::seed_from_u64(seed);
        let has_ids = chance(&mut rng, 0.5);
        // The history keeps a thousand commands of a device, or 64.
        let lanes = if chance(&mut rng, 0.5) { 2 } else { 1_000 };
        Self {
            now_ms: START_MS,
            cloud: Cloud::default(),
            disk: Disk::default(),
            daemon: None,
            restart_ms: START_MS,
            skew_ms: 0,
            truth: Truth::default(),
            next: 0,
            settings: Settings { has_ids, lanes },
            rng,
        }
    }

    fn run(mut self) -> Figures {
        while self.now_ms < START_MS + FAULTS_MS {
            self.change_faults();
            self.send_commands();
            self.step(true);
        }
        // From here on there are no faults, and commands that were received must get results.
        (self.skew_ms, self.disk.is_full, self.cloud.is_offline) = (0, false, false);
        while self.now_ms < START_MS + FAULTS_MS + RECOVERY_MS {
            self.step(false);
        }
        self.check();
        self.truth.figures
    }

    /// Starts and ends faults at random.
    fn change_faults(&mut self) {
        let rng = &mut self.rng;
        if chance(rng, 0.002) {
            self.cloud.is_offline = !self.cloud.is_offline;
        }
        if chance(rng, 0.01) {
            self.cloud.cut(device(rng.random_range(1..=2)));
        }
        if chance(rng, 0.002) {
            self.disk.is_full = !self.disk.is_full;
        }
        if chance(rng, 0.002) {
            // The clock is correct, a little wrong, very wrong, or at the epoch.
            let now_ms = self.now_ms;
            let skews =
                [0, 0, 0, 0, 0, 0, 20_000, -20_000, 7_200_000, -7_200_000, -now_ms + 60_000];
            self.skew_ms = skews[rng.random_range(0..skews.len())];
        }
    }

    /// Sends no command, one command, or a flood.
    fn send_commands(&mut self) {
        let flood = (self.now_ms / 600_000) % 3 == 2;
        let count = if chance(&mut self.rng, 0.02) {
            if flood { self.rng.random_range(1..12) } else { 1 }
        } else {
            0
        };
        for nth in 0..count {
            self.next += 1;
            // Several commands may share a millisecond, but fewer than a page has.
            let time = Some(WallTime::from_millis(self.now_ms + nth / 4));
            let payload = json!({"n": self.next, "id": format!("id-{}", self.next)});
            let target = device(self.rng.random_range(1..=2));
            let command =
                Command { device: target, name: "valve".to_owned(), time, payload, unread: None };
            self.cloud.send(command, &mut self.rng);
            self.truth.figures.sent += 1;
        }
    }

    /// Advances the time by one tick, and runs the daemon.
    fn step(&mut self, has_faults: bool) {
        self.now_ms += TICK_MS;
        let wall = WallTime::from_millis(self.now_ms + self.skew_ms);
        if self.daemon.is_none() && self.now_ms >= self.restart_ms {
            self.daemon = Some(Daemon::start(&mut self.disk, &mut self.truth, wall, self.settings));
        }
        let Some(daemon) = &mut self.daemon else { return };
        let mut environment = Environment {
            disk: &mut self.disk,
            cloud: &mut self.cloud,
            truth: &mut self.truth,
            rng: &mut self.rng,
            kill_chance: if has_faults { 0.004 } else { 0.0 },
            now_ms: self.now_ms,
            wall,
        };
        let alive = daemon.step(&mut environment);
        if !alive {
            self.daemon = None;
            self.cloud.hang_up();
            self.truth.figures.kills += 1;
            self.restart_ms = self.now_ms + self.rng.random_range(0..120_000);
        }
    }

    /// Checks the promises.
    fn check(&mut self) {
        for (number, times) in &self.truth.runs {
            assert_eq!(*times, 1, "command {number} ran {times} times");
        }
        for command in self.cloud.sent() {
            let number = daemon::number_of(command);
            let time = command.time.unwrap();
            let has_run = self.truth.runs.contains_key(&number);
            let result = self.truth.records.get(&number).map(|record| record.result);
            // The cloud's dates have whole seconds: a command of the second in which the first
            // stream opened may precede it.
            let since = self.disk.listening_since(command.device);
            let is_expected = since.is_some_and(|since| time >= since.plus(Duration::from_secs(1)));
            if is_expected {
                assert!(
                    result.is_some() || self.truth.forgotten.contains(&number),
                    "command {number} has no record: {command:?}"
                );
            }
            match result {
                Some(CommandResult::Started) => panic!("command {number} has no result in the end"),
                Some(CommandResult::Executed) => {
                    assert!(has_run, "command {number} did not run, and is recorded as executed");
                    self.truth.figures.executed += 1;
                }
                Some(CommandResult::Refused) => {
                    assert!(!has_run, "command {number} was refused, and ran");
                    self.truth.figures.refused += 1;
                }
                Some(CommandResult::Interrupted) => self.truth.figures.interrupted += 1,
                Some(CommandResult::Failed) => {
                    assert!(!has_run, "command {number} could not be recorded, and ran");
                    self.truth.figures.failed += 1;
                }
                None => assert!(!has_run, "command {number} ran without a record"),
            }
        }
    }
}

#[test]
fn no_command_runs_twice_in_any_world() {
    let seeds = match number("SEED") {
        Some(seed) => seed..seed + 1,
        None => 0..number("SEEDS").unwrap_or(SEEDS),
    };
    let (mut sum, count) = (Figures::default(), seeds.end - seeds.start);
    for seed in seeds {
        let result = std::panic::catch_unwind(|| World::new(seed).run());
        let Ok(figures) = result else {
            panic!("the world of seed {seed} broke a promise; SEED={seed} runs it again");
        };
        sum.add(&figures);
    }
    eprintln!("{count} worlds of commands: {sum:?}");
    if count >= SEEDS {
        assert!(sum.is_eventful(), "too little happened: {sum:?}");
    }
}

impl Figures {
    fn add(&mut self, other: &Self) {
        self.sent += other.sent;
        self.executed += other.executed;
        self.refused += other.refused;
        self.interrupted += other.interrupted;
        self.failed += other.failed;
        self.duplicates += other.duplicates;
        self.caught_up += other.caught_up;
        self.kills += other.kills;
    }

    fn is_eventful(&self) -> bool {
        let all = [self.executed, self.refused, self.interrupted, self.failed, self.duplicates];
        all.iter().all(|count| *count > 0) && self.caught_up > 0 && self.kills > 0
    }
}
