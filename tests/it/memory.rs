//! The daemon's memory does not grow with the backlog, neither offline nor while it is sent.
//!
//! A few states by default, and only heap and stacks count. `make memory` sets `MEMORY_STATES`, and
//! with `DAEMON_PROGRAM` the release build, of which all resident pages count. The daemon runs in
//! the environment of its systemd unit.

use std::time::{Duration, Instant};

use tidegate_sandbox::{GATEWAY_ID, GREENHOUSE_ID, WORKSHOP_ID};

use crate::support::{
    Broker, Daemon, Memory, Pattern, Site, assert_content, cloud, env_number, mqtt_tables,
};

/// Devices for which each message becomes a state.
const DEVICES: [(&str, &str); 3] =
    [("gateway", GATEWAY_ID), ("greenhouse", GREENHOUSE_ID), ("workshop", WORKSHOP_ID)];

/// Messages per second: about as many as a daemon on a shared computer can receive.
const MESSAGES_PER_SECOND: u32 = 4_000;

/// Messages per second while the backlog is sent.
const MESSAGES_PER_SECOND_SENDING: u32 = 100;

/// The backlog counts as sent when fewer states wait.
const BACKLOG_MIN: u64 = 3_000;

/// The longest time without a change of the backlog.
const STALL_MAX: Duration = Duration::from_secs(60);

/// The longest time that sending is observed. Its memory does not change after it.
const SENDING_MAX: Duration = Duration::from_secs(90);

/// The most memory of a daemon, in kB.
const MEMORY_KB_MAX: u64 = 24_000;

/// Returns the environment variables that the systemd unit sets.
pub(crate) fn environment() -> Vec<(&'static str, &'static str)> {
    let unit = include_str!("../../packaging/tidegate.service");
    let lines = unit.lines().filter_map(|line| line.strip_prefix("Environment="));
    lines.flat_map(str::split_whitespace).filter_map(|pair| pair.split_once('=')).collect()
}

/// Returns the tables of three sensors on one topic, one for each device.
fn instruments(port: u16) -> String {
    let sensor = |(name, _): (&str, &str)| {
        let device = if name == "gateway" { "" } else { &format!("device = \"{name}\"\n") };
        format!(
            "[sensor.{name}]\nbus = \"house\"\n{device}topic = \"r\"\nformat = \"json\"\n\
             map = [\n{{ channel = \"/humidity\", attribute = \"humidity\" }},\n\
             {{ channel = \"/temperature\", attribute = \"temperature\" }},\n]\n",
        )
    };
    mqtt_tables(port, &DEVICES.map(sensor).concat())
}

/// Returns message `number`, with values that vary.
fn payload(number: u64) -> Vec<u8> {
    let humidity = format!("{}.{}", 40 + number * 7 % 11, number * 13 % 10);
    let temperature = format!("{}.{:02}", 20 + number * 5 % 3, number * 37 % 100);
    format!("{{\"humidity\":{humidity},\"temperature\":{temperature}}}").into_bytes()
}

/// Measures the memory until `done` accepts the number of waiting states and the elapsed time.
///
/// Returns the maximum.
#[expect(clippy::disallowed_methods, reason = "a real daemon is observed in real time")]
fn measure(daemon: &Daemon, part: &str, done: impl Fn(u64, Duration) -> bool) -> Memory {
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
        assert!(moved.elapsed() < STALL_MAX, "{part}: the backlog stays at {waiting} states");
        std::thread::sleep(Duration::from_millis(100));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn memory_does_not_grow_with_the_backlog() {
    let (states, environment) = (env_number("MEMORY_STATES", 20_000), environment());
    let is_release = std::env::var_os("DAEMON_PROGRAM").is_some();
    let (cloud, broker) = (cloud().await, Broker::start());
    cloud.set_offline(true);
    let site = Site::new(&cloud, &instruments(broker.port()));
    site.replace_in_config("info,tidegate=debug", "info,tidegate_bus::mqtt=debug");
    site.replace_in_config("commit_interval = \"50 ms\"", "size_max = \"1 GiB\"");
    let sizes = "[reporter]\nbatch_states_max = 500\nbatch_size_max = \"256 kB\"\n";
    site.replace_in_config("[reporter]\n", sizes);
    let daemon = site.start_with(&environment);
    daemon.wait_for_subscription();
    let status = std::fs::read_to_string(format!("/proc/{}/status", daemon.id())).unwrap();
    assert!(!status.contains("THP_enabled:\t1"), "huge pages:\n{status}");
    let idle = measure(&daemon, "idle", |_, elapsed| elapsed > Duration::from_secs(2));
    let publish = |per_second| {
        broker.publish_pattern(Pattern { topics: vec!["r".to_owned()], payload, per_second })
    };
    let publisher = publish(MESSAGES_PER_SECOND);
    let offline = measure(&daemon, "cloud offline", |waiting, _| waiting >= states);
    publisher.finish();
    assert!(daemon.terminate().success());

    let daemon = site.start_with(&environment);
    let opened = measure(&daemon, "opened again", |_, elapsed| elapsed > Duration::from_secs(2));
    cloud.set_offline(false);
    let publisher = publish(MESSAGES_PER_SECOND_SENDING);
    let sending = measure(&daemon, "sending", |waiting, elapsed| {
        waiting < BACKLOG_MIN || elapsed > SENDING_MAX
    });
    publisher.finish();
    assert!(daemon.terminate().success());
    site.outbox();
    assert_content(&cloud);
    for (part, most) in
        [("idle", idle), ("cloud offline", offline), ("opened again", opened), ("sending", sending)]
    {
        let counts = if is_release { most.resident_kb } else { most.anonymous_kb };
        assert!(counts <= MEMORY_KB_MAX, "{part}: {most}, of {MEMORY_KB_MAX} kB");
    }
}
