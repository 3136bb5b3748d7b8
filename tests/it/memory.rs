//! Memory does not grow with what waits: readings come in while the cloud is away, and are sent when it is back.
//!
//! A few states by default, and only what the process makes itself is looked at. `make memory` gives `MEMORY_STATES`, and in
//! `DAEMON_PROGRAM` the release build: of that all that is resident counts. The environment is what the unit gives.

use std::time::{Duration, Instant};

use tidegate_sandbox::{GATEWAY_ID, GREENHOUSE_ID, WORKSHOP_ID};

use crate::support::{Broker, Daemon, Memory, Pattern, Site, assert_content, cloud};

/// Devices that get a state of each message.
const DEVICES: [(&str, &str); 3] =
    [("gateway", GATEWAY_ID), ("greenhouse", GREENHOUSE_ID), ("workshop", WORKSHOP_ID)];

/// Messages in a second: about as many as a daemon on a shared computer takes.
const MESSAGES_PER_SECOND: u32 = 4_000;

/// The same while what waits is sent.
const MESSAGES_PER_SECOND_SENDING: u32 = 100;

/// So few states wait only when what had waited is sent.
const FEW: u64 = 3_000;

/// How long a part may stand still.
const PATIENCE: Duration = Duration::from_secs(60);

/// How long sending is watched, at most: what it takes does not change from then on.
const SENDING_MAX: Duration = Duration::from_secs(90);

/// The most memory of a daemon, in kB.
const GATE_KB: u64 = 24_000;

fn number(variable: &str, default: u64) -> u64 {
    std::env::var(variable).ok().map_or(default, |text| text.parse().expect("a number"))
}

/// The environment that the unit gives to the daemon.
pub(crate) fn environment() -> Vec<(&'static str, &'static str)> {
    let unit = include_str!("../../packaging/tidegate.service");
    let lines = unit.lines().filter_map(|line| line.strip_prefix("Environment="));
    lines.flat_map(str::split_whitespace).filter_map(|pair| pair.split_once('=')).collect()
}

/// Three sensors on one topic, one for each device.
fn instruments(port: u16) -> String {
    let sensor = |(name, _): (&str, &str)| {
        let device = if name == "gateway" { "" } else { &format!("device = \"{name}\"\n") };
        format!(
            "[sensor.{name}]\nbus = \"house\"\n{device}topic = \"r\"\nformat = \"json\"\n\
             map = [{{ channel = \"/humidity\", attribute = \"humidity\" }}, {{ channel = \"/temperature\", attribute = \"temperature\" }}]\n",
        )
    };
    let sensors = DEVICES.map(sensor).concat();
    format!("[bus.mqtt.house]\nhost = \"127.0.0.1\"\nport = {port}\n{sensors}")
}

/// Values that wander.
fn payload(number: u64) -> Vec<u8> {
    let humidity = format!("{}.{}", 40 + number * 7 % 11, number * 13 % 10);
    let temperature = format!("{}.{:02}", 20 + number * 5 % 3, number * 37 % 100);
    format!("{{\"humidity\":{humidity},\"temperature\":{temperature}}}").into_bytes()
}

/// Watches until `done` says so of the number of states that wait; tells the most memory that was seen.
#[expect(clippy::disallowed_methods, reason = "a real daemon is watched in real time")]
fn watch(daemon: &Daemon, part: &str, done: impl Fn(u64, Duration) -> bool) -> Memory {
    let (began, mut moved) = (Instant::now(), Instant::now());
    let (mut most, mut before) = (daemon.memory(), u64::MAX);
    loop {
        let waiting = daemon.count("/outbox/states");
        most = most.max(daemon.memory());
        if done(waiting, began.elapsed()) {
            eprintln!("{part}: {waiting} wait after {:.0?}, at most {most}", began.elapsed());
            return most;
        }
        if waiting != before {
            (before, moved) = (waiting, Instant::now());
        }
        assert!(moved.elapsed() < PATIENCE, "{part}: nothing moves; {waiting} wait");
        std::thread::sleep(Duration::from_millis(100));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn memory_does_not_grow_with_the_backlog() {
    let (states, environment) = (number("MEMORY_STATES", 20_000), environment());
    let is_release = std::env::var_os("DAEMON_PROGRAM").is_some();
    let (cloud, broker) = (cloud().await, Broker::start());
    cloud.set_dark(true);
    let site = Site::new(&cloud, &instruments(broker.port()));
    let config = std::fs::read_to_string(site.config()).unwrap();
    site.write_config(
        &config
            .replace("info,tidegate=debug", "info,tidegate_bus::mqtt=debug")
            .replace("commit_interval = \"50 ms\"", "size_max = \"1 GiB\"")
            .replace(
                "[reporter]\n",
                "[reporter]\nbatch_states_max = 500\nbatch_size_max = \"256 kB\"\n",
            ),
    );
    let daemon = site.start_with(&environment);
    daemon.wait_for_subscription();
    let status = std::fs::read_to_string(format!("/proc/{}/status", daemon.id())).unwrap();
    assert!(!status.contains("THP_enabled:\t1"), "huge pages:\n{status}");
    let idle = watch(&daemon, "idle", |_, elapsed| elapsed > Duration::from_secs(2));
    let publish = |per_second| {
        broker.publish_pattern(Pattern { topics: vec!["r".to_owned()], payload, per_second })
    };
    let publisher = publish(MESSAGES_PER_SECOND);
    let dark = watch(&daemon, "cloud dark", |waiting, _| waiting >= states);
    publisher.finish();
    assert!(daemon.terminate().success());

    let daemon = site.start_with(&environment);
    let opened = watch(&daemon, "opened again", |_, elapsed| elapsed > Duration::from_secs(2));
    cloud.set_dark(false);
    let publisher = publish(MESSAGES_PER_SECOND_SENDING);
    let sending =
        watch(&daemon, "sending", |waiting, elapsed| waiting < FEW || elapsed > SENDING_MAX);
    publisher.finish();
    assert!(daemon.terminate().success());
    site.outbox();
    assert_content(&cloud);
    for (part, most) in
        [("idle", idle), ("cloud dark", dark), ("opened again", opened), ("sending", sending)]
    {
        let counts = if is_release { most.resident_kb } else { most.anonymous_kb };
        assert!(counts <= GATE_KB, "{part}: {most}, of {GATE_KB} kB");
    }
}
