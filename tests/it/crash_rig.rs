//! The crash rig: repeated kills lose no reading while thousands of readings per second arrive.
//!
//! Kills are aimed at the start, a commit, a call, the deletion of acknowledged states, the
//! packing of a full segment, or a random moment. A few by default. `make soak` sets `KILLS`;
//! `SOAK_SEED` changes the random choices.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};
use tidegate_sandbox::{GATEWAY_ID, GREENHOUSE_ID, Sandbox, WORKSHOP_ID};

use crate::support::{
    Broker, Pattern, Site, assert_content, cloud, env_number, mqtt_tables, wait_until,
};

/// Topics and the devices whose attributes they report.
const LINES: [(&str, &str); 3] =
    [("r/gateway", GATEWAY_ID), ("r/greenhouse", GREENHOUSE_ID), ("r/workshop", WORKSHOP_ID)];

/// Readings of one message, each with its own attribute.
const READINGS: u64 = 10;

/// Messages per second, over all topics.
const MESSAGES_PER_SECOND: u32 = 450;

/// Size of the incompressible text in each message. It fills a journal segment in a few seconds.
const PADDING_BYTES: usize = 1_400;

/// Returns the tables of three sensors on one broker, one for each device.
fn instruments(port: u16) -> String {
    let channel = |n| format!(r#"{{ channel = "/v{n}", attribute = "v{n}" }}"#);
    let map = (0..READINGS).map(channel).collect::<Vec<_>>().join(", ");
    let sensor = |(topic, _): (&str, &str)| {
        let name = topic.trim_start_matches("r/");
        let device = if name == "gateway" { "" } else { &format!("device = \"{name}\"\n") };
        format!(
            "[sensor.{name}]\nbus = \"house\"\n{device}topic = \"{topic}\"\nformat = \"json\"\n\
             map = [{map}, {{ channel = \"/p\", attribute = \"p\" }}]\n",
        )
    };
    mqtt_tables(port, &LINES.map(sensor).concat())
}

/// Returns message `number` of a topic: the number in each reading, and the padding.
fn payload(number: u64) -> Vec<u8> {
    let mut random = StdRng::seed_from_u64(number);
    let letter = |_| char::from(b'#' + random.random_range(0..57));
    let padding: String = (0..PADDING_BYTES).map(letter).collect();
    let value = |n| format!("\"v{n}\":{number}");
    let values = (0..READINGS).map(value).collect::<Vec<_>>().join(",");
    format!("{{{values},\"p\":\"{padding}\"}}").into_bytes()
}

/// The moment at which the daemon is killed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Aim {
    /// Before the daemon is ready.
    Start,
    /// Just after a write to the journal.
    Commit,
    /// During a call.
    Call,
    /// Just after a call has ended, while its states are deleted.
    Ack,
    /// While a full segment is packed into a store.
    Packing,
    /// A random moment.
    Random,
}

const AIMS: [Aim; 6] = [Aim::Start, Aim::Commit, Aim::Call, Aim::Ack, Aim::Packing, Aim::Random];

/// The longest wait for the moment of a kill.
const AIM_MAX: Duration = Duration::from_secs(4);

struct Rig {
    site: Site,
    cloud: Sandbox,
    random: StdRng,
    /// How many kills hit their moment.
    hits: BTreeMap<Aim, u64>,
}

impl Rig {
    fn outbox(&self) -> PathBuf {
        self.site.path("outbox")
    }

    /// Starts a daemon, and kills it at this moment.
    fn kill_at(&mut self, aim: Aim) {
        if aim == Aim::Start {
            let daemon = self.site.spawn();
            self.pause(Duration::from_millis(20));
            *self.hits.entry(aim).or_default() += u64::from(!daemon.is_ready());
            daemon.kill();
            return;
        }
        let daemon = self.site.start();
        // Spreads the kills over the life of the daemon.
        self.pause(Duration::from_millis(1_200));
        let outbox = self.outbox();
        let is_hit = match aim {
            Aim::Start | Aim::Random => true,
            Aim::Commit => changes(|| journal(&outbox)),
            Aim::Call => changes(|| calls(&outbox, "begin")),
            Aim::Ack => changes(|| calls(&outbox, "end")),
            Aim::Packing => is_packing(&outbox),
        };
        *self.hits.entry(aim).or_default() += u64::from(is_hit);
        self.pause(Duration::from_millis(if is_hit { 8 } else { 0 }));
        daemon.kill();
    }

    /// Sleeps for a random time of up to `max`.
    fn pause(&mut self, max: Duration) {
        let micros = self.random.random_range(0..=max.as_micros());
        std::thread::sleep(Duration::from_micros(u64::try_from(micros).unwrap()));
    }
}

/// Waits until the result of `observe` changes. Returns `false` if it does not within [`AIM_MAX`].
#[expect(clippy::disallowed_methods, reason = "a real daemon is observed in real time")]
fn changes<T: PartialEq>(observe: impl Fn() -> T) -> bool {
    let (before, began) = (observe(), Instant::now());
    while began.elapsed() < AIM_MAX {
        if observe() != before {
            return true;
        }
        std::thread::sleep(Duration::from_micros(200));
    }
    false
}

fn names(directory: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(directory).into_iter().flatten().flatten();
    let mut names: Vec<_> =
        entries.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect();
    names.sort();
    names
}

/// Returns when each segment of the journal was last written.
fn journal(outbox: &Path) -> Vec<Option<std::time::SystemTime>> {
    let modified = |name: &String| outbox.join(name).metadata().and_then(|meta| meta.modified());
    let names = names(outbox);
    names
        .iter()
        .filter(|name| name.starts_with("journal"))
        .map(|name| modified(name).ok())
        .collect()
}

/// Returns how many lines of the throttle log begin with `word`.
fn calls(outbox: &Path, word: &str) -> usize {
    let text = std::fs::read_to_string(outbox.with_extension("calls")).unwrap_or_default();
    text.lines().filter(|line| line.starts_with(word)).count()
}

/// Waits until a store is being built.
fn is_packing(outbox: &Path) -> bool {
    let generations = outbox.join("generations");
    let drafts = || names(&generations).iter().any(|name| name.contains(".new"));
    changes(drafts)
}

/// Asserts that the cloud has each message of each topic once, in order, with all its readings.
fn assert_all(cloud: &Sandbox, counts: &[u64]) {
    for ((topic, device), count) in LINES.iter().zip(counts) {
        let states = cloud.states(device);
        for (number, state) in states.iter().enumerate() {
            for n in 0..READINGS {
                let value = state.data.get(&format!("v{n}")).and_then(serde_json::Value::as_u64);
                assert_eq!(value, Some(number as u64), "{topic}, v{n} at {}", state.time_ms);
            }
        }
        assert_eq!(states.len() as u64, *count, "{topic}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn kills_at_every_step_lose_and_repeat_nothing() {
    let (kills, seed) = (env_number("KILLS", 12), env_number("SOAK_SEED", 1));
    let kills = usize::try_from(kills).unwrap();
    let (cloud, broker) = (cloud().await, Broker::start());
    let site = Site::new(&cloud, &instruments(broker.port()));
    site.replace_in_config("info,tidegate=debug", "info");
    let sizes = "[reporter]\nbatch_states_max = 500\nbatch_size_max = \"256 kB\"\n";
    site.replace_in_config("[reporter]\n", sizes);
    site.replace_in_config("batch_age_max = \"100 ms\"", "batch_age_max = \"1 s\"");
    site.replace_in_config("path = \"outbox\"\n", "path = \"outbox\"\nsize_max = \"2 GiB\"\n");
    let random = StdRng::seed_from_u64(seed);
    let mut rig = Rig { site, cloud, random, hits: BTreeMap::new() };
    // The broker must know the subscriptions before the first message.
    let daemon = rig.site.start();
    daemon.wait_for_log("broker connected");
    assert!(daemon.terminate().success());
    let topics = LINES.map(|(topic, _)| topic.to_owned()).to_vec();
    let publisher =
        broker.publish_pattern(Pattern { topics, payload, per_second: MESSAGES_PER_SECOND });
    for aim in AIMS.into_iter().cycle().take(kills) {
        rig.kill_at(aim);
    }
    let daemon = rig.site.start();
    let counts = publisher.finish();
    let messages: u64 = counts.iter().sum();
    let readings = messages * (READINGS + 1);
    wait_until("all readings are received", || daemon.count("/ledger/house/received") >= readings);
    daemon.wait_until_sent();
    assert_all(&rig.cloud, &counts);
    assert_content(&rig.cloud);
    let counters = rig.cloud.counters();
    let account = daemon.status()["ledger"]["house"].clone();
    assert!(daemon.terminate().success());
    let outbox = rig.site.outbox();
    assert_eq!(outbox["states"], 0);
    eprintln!(
        "seed {seed}: {kills} kills, hits {:?}; {messages} messages with {readings} readings, \
         0 lost, 0 stored twice; {} states sent again; {} messages delivered again; {} calls",
        rig.hits, counters.states_overwritten, account["duplicates"], counters.calls["sendState"],
    );
}
