//! A long outage is over: what waits is sent as fast as Losant allows, and no faster.
//!
//! A few states by default; `make drain` gives `DRAIN_STATES`, and `DRAIN_ANSWER_MS` how long the cloud's answers take.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use bytes::Bytes;
use tidegate_model::{Account, DeviceId, Name, Priority, ReadingTime, WallTime};
use tidegate_outbox::{Commit, Options, Outbox, Pending};
use tidegate_sandbox::{Action, Fault, GATEWAY_ID, GREENHOUSE_ID, Sandbox, WORKSHOP_ID};

use crate::delivery::SERIAL;
use crate::support::{Daemon, Memory, Site, assert_content, cloud, wait_until};

const DEVICES: [&str; 3] = [GATEWAY_ID, GREENHOUSE_ID, WORKSHOP_ID];

/// Losant's throttle.
const CALLS_PER_SECOND: f64 = 30.0 / 15.0;

/// The first calls are a burst, which would flatter the figure: it counts from here on.
const BURST: Duration = Duration::from_secs(16);

/// States in one commit.
const COMMIT_STATES: u64 = 256;

fn number(variable: &str, default: u64) -> u64 {
    std::env::var(variable).ok().map_or(default, |text| text.parse().expect("a number"))
}

/// Fills the outbox of a site, as buses and a collector would: so many states for each device, a second apart.
fn fill(site: &Site, states: u64) {
    let options = Options { bytes_max: 1 << 30, ..Options::default() };
    let outbox = Outbox::open(&site.path("outbox"), options).unwrap();
    let bus: Name = "probe".parse().unwrap();
    let now = std::time::UNIX_EPOCH.elapsed().unwrap();
    let start = WallTime::from_millis(0).plus(now).minus(Duration::from_secs(states + 60));
    let state = |device: DeviceId, number: u64| {
        let time = start.plus(Duration::from_secs(number));
        Pending {
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

/// What was seen while it drained.
#[derive(Debug, Default)]
struct Seen {
    took: Duration,
    /// Calls and time since the first burst.
    calls: u64,
    over: Duration,
    memory_max: Memory,
}

#[expect(clippy::disallowed_methods, reason = "a real daemon is watched in real time")]
fn watch(daemon: &Daemon, cloud: &Sandbox) -> Seen {
    let calls = || cloud.counters().calls.get("sendState").copied().unwrap_or_default();
    wait_until("the first call", || calls() > 0);
    let (began, mut burst, mut seen) = (Instant::now(), 0, Seen::default());
    let batches = 3 * 500;
    loop {
        let waiting = daemon.count("/outbox/states");
        seen.memory_max = seen.memory_max.max(daemon.memory());
        if began.elapsed() < BURST {
            burst = calls();
        } else if waiting > batches {
            (seen.calls, seen.over) = (calls() - burst, began.elapsed().saturating_sub(BURST));
        }
        if waiting == 0 {
            seen.took = began.elapsed();
            return seen;
        }
        std::thread::sleep(Duration::from_millis(100));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn long_backlog_uses_the_throttle_and_never_exceeds_it() {
    let states = number("DRAIN_STATES", 6_000) / DEVICES.len() as u64;
    let answer_ms = number("DRAIN_ANSWER_MS", 0);
    let cloud = cloud().await;
    if answer_ms > 0 {
        let slow = Fault::Delay(Duration::from_millis(answer_ms));
        cloud.fail_next(Action::SendState, usize::MAX, slow);
    }
    let site = Site::new(&cloud, SERIAL);
    let config = std::fs::read_to_string(site.config()).unwrap();
    let config = config.replace("info,tidegate=debug", "info");
    let sizes = "[reporter]\nbatch_states_max = 500\nbatch_size_max = \"256 kB\"\n";
    let config = config.replace("[reporter]\n", sizes);
    site.write_config(
        &config.replace("path = \"outbox\"\n", "path = \"outbox\"\nsize_max = \"1 GiB\"\n"),
    );
    fill(&site, states);
    let daemon = site.start();
    let seen = watch(&daemon, &cloud);
    assert!(daemon.terminate().success());
    assert_eq!(site.outbox()["states"], 0);
    for device in DEVICES {
        let stored = cloud.states(device);
        let values = stored.iter().filter_map(|state| state.data["n"].as_u64());
        assert!((0..states).eq(values), "{device} has {} states", stored.len());
    }
    assert_content(&cloud);
    let allowed = seen.over.as_secs_f64() * CALLS_PER_SECOND * 3.0;
    #[expect(clippy::cast_precision_loss, reason = "a few thousand calls")]
    let used = seen.calls as f64 / allowed;
    eprintln!(
        "{} states of 3 devices, answers after {answer_ms} ms: {used:.3} of the calls used, none refused; {seen:?}",
        3 * states
    );
    if seen.over > Duration::from_secs(60) && answer_ms <= 600 {
        assert!(used >= 0.95, "{used:.3}");
    }
}
