//! Fixtures of the tests: a site with a daemon, a broker, a tty, a cloud, and checks of results.

mod bad_disk;
mod broker;
mod daemon;
mod declared;
mod honesty;
mod instruments;
mod problems;
mod relay;
mod shell;
mod site;
mod skip;
mod terminal;
mod tls_cloud;
mod tty;

use std::collections::BTreeMap;
use std::net::TcpListener;
use std::path::PathBuf;
use std::time::{Duration, Instant};

pub(crate) use bad_disk::{SmallDisk, Strace, has_own_mounts, with_own_mounts};
pub(crate) use broker::{Broker, Pattern};
pub(crate) use daemon::{Daemon, Memory};
pub(crate) use declared::cloud_builder;
pub(crate) use honesty::CloudCheck;
pub(crate) use instruments::{
    fan_tables, message, mqtt_tables, number_messages, number_tables, probe_tables,
};
pub(crate) use problems::{expect_healthy, expect_problem};
pub(crate) use relay::Relay;
pub(crate) use shell::{End, Shell};
pub(crate) use site::{PROGRAM, Site, write_private};
pub(crate) use skip::{skip, test_name, test_path};
pub(crate) use terminal::Terminal;
pub(crate) use tls_cloud::TlsCloud;
pub(crate) use tty::{Tty, join_ttys};

use serde_json::Value;
use tidegate_sandbox::{GATEWAY_ID, Sandbox};

/// Returns the Python interpreter that has the clients and servers of other projects.
///
/// `TIDEGATE_JUDGE` names it; by default it is the one that tests/prepare.sh installs.
pub(crate) fn judge() -> PathBuf {
    let installed = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("target/judge/bin/python");
    let python = std::env::var_os("TIDEGATE_JUDGE").map_or(installed, PathBuf::from);
    assert!(python.exists(), "{} does not exist: run tests/prepare.sh", python.display());
    python
}

/// The longest that a test waits for anything.
pub(crate) const TIMEOUT: Duration = Duration::from_secs(40);

/// Waits until `condition` holds.
#[expect(
    clippy::disallowed_methods,
    reason = "a test waits in real time, because there are sockets"
)]
pub(crate) fn wait_until(what: &str, mut condition: impl FnMut() -> bool) {
    let started = Instant::now();
    while !condition() {
        assert!(started.elapsed() < TIMEOUT, "timed out after {TIMEOUT:?}: {what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// Returns the number in an environment variable, or `default` if the variable is not set.
pub(crate) fn env_number(variable: &str, default: u64) -> u64 {
    std::env::var(variable).map_or(default, |text| text.parse().expect("a number"))
}

/// Returns the text that a program printed.
pub(crate) fn utf8(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

/// Returns a TCP port that is free at the moment.
pub(crate) fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

/// Starts a cloud whose devices declare the attributes of all tests.
pub(crate) async fn cloud() -> Sandbox {
    cloud_builder().start().await.unwrap()
}

/// Starts a cloud whose devices have only the default attributes of the sandbox.
pub(crate) async fn default_cloud() -> Sandbox {
    Sandbox::start().await.unwrap()
}

/// Returns the values of one attribute of the gateway in the cloud, in the order of their times.
pub(crate) fn values(cloud: &Sandbox, attribute: &str) -> Vec<Value> {
    values_of(cloud, GATEWAY_ID, attribute)
}

/// Returns the values of one attribute of a device in the cloud, in the order of their times.
pub(crate) fn values_of(cloud: &Sandbox, device: &str, attribute: &str) -> Vec<Value> {
    cloud.states(device).iter().filter_map(|state| state.data.get(attribute).cloned()).collect()
}

/// Returns the numbers from 0 to `count` - 1 as values of an attribute.
pub(crate) fn numbers(count: u64) -> Vec<Value> {
    (0..count).map(Value::from).collect()
}

/// Waits until the cloud has `count` values of the gateway's attribute `n`, and checks them.
pub(crate) fn wait_for_numbers(cloud: &Sandbox, count: u64) {
    wait_until("all numbers are in the cloud", || values(cloud, "n").len() as u64 >= count);
    assert_counts(cloud, count);
}

/// Asserts that the gateway's attribute `n` counts from 0 to `count` - 1 without a gap or a repeat.
///
/// A failure prints the neighbours of the first wrong value.
pub(crate) fn assert_counts(cloud: &Sandbox, count: u64) {
    let (values, numbers) = (values(cloud, "n"), numbers(count));
    let wrong = values.iter().zip(&numbers).position(|(value, number)| value != number);
    let neighbours = wrong.map(|at| &values[at.saturating_sub(3)..values.len().min(at + 20)]);
    assert_eq!(neighbours, None, "of {} values, {count} expected", values.len());
    assert_eq!(values.len(), numbers.len(), "{:?}", cloud.states(GATEWAY_ID));
}

/// Asserts that the sandbox rejected no state by its schema and no call by its throttle.
pub(crate) fn assert_content(cloud: &Sandbox) {
    let counters = cloud.counters();
    let throttled = counters.throttled_calls;
    assert_eq!(
        (counters.schema_rejections, throttled),
        (0, BTreeMap::new()),
        "the cloud rejected or throttled calls"
    );
}

/// Asserts that the ledger of each bus adds up.
///
/// received + generated = waiting + stored + rejected + dropped + filtered, and the outbox contains
/// the waiting readings of all buses.
pub(crate) fn assert_ledger(document: &Value) {
    let count = |account: &Value, key: &str| account[key].as_u64().unwrap();
    let sum = |account: &Value, key: &str| -> u64 {
        account[key].as_object().unwrap().values().map(|count| count.as_u64().unwrap()).sum()
    };
    let mut waiting = 0;
    for account in document["ledger"].as_object().unwrap().values() {
        let reasons = ["rejected", "skipped", "dropped", "filtered"].map(|key| sum(account, key));
        let finished = count(account, "stored") + reasons.iter().sum::<u64>();
        let accepted = count(account, "received") + count(account, "generated");
        assert!(finished <= accepted, "{document:#}");
        waiting += accepted - finished;
    }
    assert_eq!(Some(waiting), document["readings"].as_u64(), "{document:#}");
}
