//! After a long outage the backlog is sent as fast as Losant's throttle allows, and no faster.
//!
//! A few states by default. `make drain` sets `DRAIN_STATES`, and with `DRAIN_ANSWER_MS` the time
//! that the cloud takes to answer.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use bytes::Bytes;
use tidegate_model::{Account, DeviceId, Name, Priority, ReadingTime, WallTime};
use tidegate_outbox::{Commit, NewState, Options, Outbox};
use tidegate_sandbox::{Action, Fault, GATEWAY_ID, GREENHOUSE_ID, Sandbox, WORKSHOP_ID};

use crate::support::{
    Daemon, Memory, Site, assert_content, cloud, env_number, probe_tables, wait_until,
};

pub(crate) const DEVICES: [&str; 3] = [GATEWAY_ID, GREENHOUSE_ID, WORKSHOP_ID];

/// Losant's throttle.
const CALLS_PER_SECOND: f64 = 30.0 / 15.0;

/// The first calls are a burst. The use of the throttle is measured after it.
const BURST: Duration = Duration::from_secs(16);

/// States in one commit.
const COMMIT_STATES: u64 = 256;

/// Fills the outbox of a site with this number of states for each device, a second apart.
pub(crate) fn fill(site: &Site, states: u64) {
    let options = Options { bytes_max: 1 << 30, ..Options::default() };
    let outbox = Outbox::open(&site.path("outbox"), options).unwrap();
    let bus: Name = "probe".parse().unwrap();
    let now = std::time::UNIX_EPOCH.elapsed().unwrap();
    let start = WallTime::from_millis(0).plus(now).minus(Duration::from_secs(states + 60));
    let state = |device: DeviceId, number: u64| {
        let time = start.plus(Duration::from_secs(number));
        NewState {
            device,
            bus: bus.clone(),
            moment: ReadingTime::Wall(time),
            priority: Priority::default(),
            readings: 1,
            json: Bytes::from(format!("{{\"time\":\"{time}\",\"data\":{{\"n\":{number}}}}}")),
        }
    };
    for first in (0..states).step_by(usize::try_from(COMMIT_STATES).unwrap()) {
        let numbers = first..states.min(first + COMMIT_STATES);
        let states: Vec<_> = DEVICES
            .iter()
            .flat_map(|id| numbers.clone().map(|number| state(id.parse().unwrap(), number)))
            .collect();
        let count = states.len() as u64;
        let account = Account { received: count, outbox_in: count, ..Account::default() };
        let ledger = BTreeMap::from([(bus.clone(), account)]);
        outbox.append(&Commit { states, ledger, ..Commit::default() }).unwrap();
    }
}

/// Measurements while the backlog drains.
#[derive(Debug, Default)]
struct Measurements {
    duration: Duration,
    /// Calls after the first burst.
    calls: u64,
    /// Time after the first burst.
    measured: Duration,
    memory_max: Memory,
}

#[expect(clippy::disallowed_methods, reason = "a real daemon is observed in real time")]
fn measure(daemon: &Daemon, cloud: &Sandbox) -> Measurements {
    let calls = || cloud.counters().calls.get("sendState").copied().unwrap_or_default();
    wait_until("the first call", || calls() > 0);
    let (began, mut burst, mut measurements) = (Instant::now(), 0, Measurements::default());
    let batches = 3 * 500;
    loop {
        let waiting = daemon.count("/outbox/states");
        measurements.memory_max = measurements.memory_max.max(daemon.memory());
        if began.elapsed() < BURST {
            burst = calls();
        } else if waiting > batches {
            measurements.calls = calls() - burst;
            measurements.measured = began.elapsed().saturating_sub(BURST);
        }
        if waiting == 0 {
            measurements.duration = began.elapsed();
            return measurements;
        }
        std::thread::sleep(Duration::from_millis(100));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn long_backlog_uses_the_throttle_and_never_exceeds_it() {
    let states = env_number("DRAIN_STATES", 6_000) / DEVICES.len() as u64;
    let answer_ms = env_number("DRAIN_ANSWER_MS", 0);
    let cloud = cloud().await;
    if answer_ms > 0 {
        let slow = Fault::Delay(Duration::from_millis(answer_ms));
        cloud.fail_next(Action::SendState, usize::MAX, slow);
    }
    let site = Site::new(&cloud, &probe_tables(&["n"]));
    site.replace_in_config("info,tidegate=debug", "info");
    let sizes = "[reporter]\nbatch_states_max = 500\nbatch_size_max = \"256 kB\"\n";
    site.replace_in_config("[reporter]\n", sizes);
    site.replace_in_config("path = \"outbox\"\n", "path = \"outbox\"\nsize_max = \"1 GiB\"\n");
    fill(&site, states);
    let daemon = site.start();
    let measurements = measure(&daemon, &cloud);
    assert!(daemon.terminate().success());
    assert_eq!(site.outbox()["states"], 0);
    for device in DEVICES {
        let stored = cloud.states(device);
        let values = stored.iter().filter_map(|state| state.data["n"].as_u64());
        assert!((0..states).eq(values), "{device} has {} states", stored.len());
    }
    assert_content(&cloud);
    let allowed = measurements.measured.as_secs_f64() * CALLS_PER_SECOND * 3.0;
    #[expect(clippy::cast_precision_loss, reason = "a few thousand calls")]
    let used = measurements.calls as f64 / allowed;
    eprintln!(
        "{} states of 3 devices, answers after {answer_ms} ms: \
         {used:.3} of the calls used, none refused; {measurements:?}",
        3 * states
    );
    if measurements.measured > Duration::from_secs(60) && answer_ms <= 600 {
        assert!(used >= 0.95, "{used:.3}");
    }
}
