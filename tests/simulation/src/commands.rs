//! The promises of commands, kept in a world that is made to break them: the gate, the history and the watch over virtual time.
//!
//! A seed makes a world: an application that commands, streams that are cut, repeat and delay, answers that are lost, a clock
//! that is wrong, a disk that refuses, a daemon that is killed at any step. In the end all is calm, and of each command that
//! could be had it must be known what became of it. `SEEDS=10000` runs more worlds, `SEED=17` runs one.

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
use daemon::{Around, Daemon, Disk, Habits};
use streams::Cloud;

/// When every world begins.
const START_MS: i64 = 1_777_629_600_000;

/// One look at the world.
const TICK_MS: i64 = 250;

/// How long a world is rough, and how long it is calm afterwards.
const ROUGH_MS: i64 = 2_400_000;
const CALM_MS: i64 = 900_000;

/// What happened, to be told and to see that enough did.
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

/// What the world knows better than the daemon: by the number in a command's payload.
#[derive(Debug, Default)]
struct Truth {
    acted: BTreeMap<u64, u32>,
    records: BTreeMap<u64, Record>,
    /// Refused, because it was too old to tell whether it had run.
    forgotten: BTreeSet<u64>,
    figures: Figures,
}

impl Truth {
    fn act(&mut self, command: u64) {
        *self.acted.entry(command).or_default() += 1;
    }

    /// What is on the disk about a command. One whose record was given up may come again: then it is refused, unless it was
    /// refused before because the clock was wrong.
    fn record(&mut self, command: u64, record: Record) {
        let before = self.records.get(&command);
        let is_for_now = |before: &Record| matches!(&*before.message, "ahead" | "no_time");
        if before.is_none_or(|before| before.number == record.number || is_for_now(before)) {
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
    habits: Habits,
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
        // Room for a thousand commands of a device, or for 64.
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
            habits: Habits { has_ids, lanes },
            rng,
        }
    }

    fn run(mut self) -> Figures {
        while self.now_ms < START_MS + ROUGH_MS {
            self.disturb();
            self.command();
            self.step(true);
        }
        // What is sent while all is calm must run.
        (self.skew_ms, self.disk.is_full, self.cloud.is_away) = (0, false, false);
        while self.now_ms < START_MS + ROUGH_MS + CALM_MS {
            self.step(false);
        }
        self.judge();
        self.truth.figures
    }

    /// The weather changes.
    fn disturb(&mut self) {
        let rng = &mut self.rng;
        if chance(rng, 0.002) {
            self.cloud.is_away = !self.cloud.is_away;
        }
        if chance(rng, 0.01) {
            self.cloud.cut(device(rng.random_range(1..=2)));
        }
        if chance(rng, 0.002) {
            self.disk.is_full = !self.disk.is_full;
        }
        if chance(rng, 0.002) {
            // Right, a bit wrong, very wrong, or no time of day at all.
            let now_ms = self.now_ms;
            let skews =
                [0, 0, 0, 0, 0, 0, 20_000, -20_000, 7_200_000, -7_200_000, -now_ms + 60_000];
            self.skew_ms = skews[rng.random_range(0..skews.len())];
        }
    }

    /// Somebody commands: at times nobody, at times a flood.
    fn command(&mut self) {
        let flood = (self.now_ms / 600_000) % 3 == 2;
        let count = if chance(&mut self.rng, 0.02) {
            if flood { self.rng.random_range(1..12) } else { 1 }
        } else {
            0
        };
        for nth in 0..count {
            self.next += 1;
            // Losant's times are milliseconds, and several commands may share one, but not as many as a page has.
            let time = Some(WallTime::from_millis(self.now_ms + nth / 4));
            let payload = json!({"n": self.next, "id": format!("id-{}", self.next)});
            let target = device(self.rng.random_range(1..=2));
            let command =
                Command { device: target, name: "valve".to_owned(), time, payload, unread: None };
            self.cloud.send(command, &mut self.rng);
            self.truth.figures.sent += 1;
        }
    }

    /// The daemon lives for one tick, if it does.
    fn step(&mut self, is_rough: bool) {
        self.now_ms += TICK_MS;
        let wall = WallTime::from_millis(self.now_ms + self.skew_ms);
        if self.daemon.is_none() && self.now_ms >= self.restart_ms {
            self.daemon = Some(Daemon::start(&mut self.disk, &mut self.truth, wall, self.habits));
        }
        let Some(daemon) = &mut self.daemon else { return };
        let mut around = Around {
            disk: &mut self.disk,
            cloud: &mut self.cloud,
            truth: &mut self.truth,
            rng: &mut self.rng,
            kill_chance: if is_rough { 0.004 } else { 0.0 },
            now_ms: self.now_ms,
            wall,
        };
        let alive = daemon.step(&mut around);
        if !alive {
            self.daemon = None;
            self.cloud.hang_up();
            self.truth.figures.kills += 1;
            self.restart_ms = self.now_ms + self.rng.random_range(0..120_000);
        }
    }

    /// The promises.
    fn judge(&mut self) {
        for (number, times) in &self.truth.acted {
            assert_eq!(*times, 1, "command {number} ran {times} times");
        }
        for command in self.cloud.sent() {
            let number = daemon::number_of(command);
            let time = command.time.unwrap();
            let acted = self.truth.acted.contains_key(&number);
            let result = self.truth.records.get(&number).map(|record| record.result);
            // The cloud's dates are whole seconds, so what was sent in the second of the first stream may have come before it.
            let since = self.disk.listening_since(command.device);
            let is_expected = since.is_some_and(|since| time >= since.plus(Duration::from_secs(1)));
            if is_expected {
                assert!(
                    result.is_some() || self.truth.forgotten.contains(&number),
                    "nobody knows what became of command {number}: {command:?}"
                );
            }
            match result {
                Some(CommandResult::Started) => panic!("command {number} has no result in the end"),
                Some(CommandResult::Executed) => {
                    assert!(acted, "command {number} did not run, but is said to have");
                    self.truth.figures.executed += 1;
                }
                Some(CommandResult::Refused) => {
                    assert!(!acted, "command {number} was refused, and ran");
                    self.truth.figures.refused += 1;
                }
                Some(CommandResult::Interrupted) => self.truth.figures.interrupted += 1,
                Some(CommandResult::Failed) => {
                    assert!(!acted, "command {number} could not be recorded, and ran");
                    self.truth.figures.failed += 1;
                }
                None => assert!(!acted, "command {number} ran, and nobody knows"),
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
        let ran = std::panic::catch_unwind(|| World::new(seed).run());
        let Ok(figures) = ran else {
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
