//! What every test stands on: a site with a daemon, a broker, a tty, and patience.

mod bad_disk;
mod broker;
mod daemon;
mod instruments;
mod line;
mod relay;
mod shell;
mod site;
mod skip;
mod terminal;
mod tls_cloud;
mod tty;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::{Duration, Instant};

pub(crate) use bad_disk::{SmallDisk, Strace, has_own_mounts, with_own_mounts};
pub(crate) use broker::{Broker, Pattern};
pub(crate) use daemon::{Daemon, Memory};
pub(crate) use instruments::{fan_tables, probe_tables};
pub(crate) use line::Line;
pub(crate) use relay::Relay;
pub(crate) use shell::{End, Shell};
pub(crate) use site::{PROGRAM, Site, write_private};
pub(crate) use skip::{skip, test_name, test_path};
pub(crate) use terminal::Terminal;
pub(crate) use tls_cloud::TlsCloud;
pub(crate) use tty::{Tty, join_ttys};

use serde_json::Value;
use tidegate_sandbox::{GATEWAY_ID, Sandbox, Undeclared};

/// The Python with the clients and servers of others: the one that `TIDEGATE_JUDGE` names, or that tests/prepare.sh installs.
pub(crate) fn judge() -> PathBuf {
    let installed = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("target/judge/bin/python");
    let python = std::env::var_os("TIDEGATE_JUDGE").map_or(installed, PathBuf::from);
    assert!(python.exists(), "{} is not there: run tests/prepare.sh", python.display());
    python
}

/// How long anything may take before a test gives up.
pub(crate) const PATIENCE: Duration = Duration::from_secs(40);

/// Waits until `condition` holds.
#[expect(
    clippy::disallowed_methods,
    reason = "a test waits in real time, because there are sockets"
)]
pub(crate) fn wait_until(what: &str, mut condition: impl FnMut() -> bool) {
    let started = Instant::now();
    while !condition() {
        assert!(started.elapsed() < PATIENCE, "not within {PATIENCE:?}: {what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// A cloud that takes any attribute.
pub(crate) async fn cloud() -> Sandbox {
    Sandbox::builder().undeclared(Undeclared::Accept).start().await.unwrap()
}

/// The values of one attribute of the gateway in the cloud, in the order of their times.
pub(crate) fn values(cloud: &Sandbox, attribute: &str) -> Vec<Value> {
    values_of(cloud, GATEWAY_ID, attribute)
}

/// The values of one attribute of a device in the cloud, in the order of their times.
pub(crate) fn values_of(cloud: &Sandbox, device: &str, attribute: &str) -> Vec<Value> {
    cloud.states(device).iter().filter_map(|state| state.data.get(attribute).cloned()).collect()
}

/// The numbers from 0 on, as an attribute's values.
pub(crate) fn numbers(count: u64) -> Vec<Value> {
    (0..count).map(Value::from).collect()
}

/// The gateway's attribute `n` counts from 0 on, without a gap or a repeat. Tells the neighbours of the first that does not.
pub(crate) fn assert_counts(cloud: &Sandbox, count: u64) {
    let (values, numbers) = (values(cloud, "n"), numbers(count));
    let wrong = values.iter().zip(&numbers).position(|(value, number)| value != number);
    let neighbours = wrong.map(|at| &values[at.saturating_sub(3)..values.len().min(at + 20)]);
    assert_eq!(neighbours, None, "of {} values, {count} expected", values.len());
    assert_eq!(values.len(), numbers.len(), "{:?}", cloud.states(GATEWAY_ID));
}

/// The sandbox found nothing wrong with what it was sent, and was not called too often.
pub(crate) fn assert_content(cloud: &Sandbox) {
    let counters = cloud.counters();
    let throttled = counters.throttled_calls;
    assert_eq!(
        (counters.schema_rejections, throttled),
        (0, BTreeMap::new()),
        "the cloud complains"
    );
}

/// For each bus: received + generated = waiting + stored + rejected + dropped + filtered, and what waits is in the outbox.
pub(crate) fn assert_ledger(document: &Value) {
    let count = |account: &Value, key: &str| account[key].as_u64().unwrap();
    let sum = |account: &Value, key: &str| -> u64 {
        account[key].as_object().unwrap().values().map(|count| count.as_u64().unwrap()).sum()
    };
    let mut waiting = 0;
    for account in document["ledger"].as_object().unwrap().values() {
        let reasons = ["rejected", "dropped", "filtered"].map(|key| sum(account, key));
        let gone = count(account, "stored") + reasons.iter().sum::<u64>();
        let came = count(account, "received") + count(account, "generated");
        assert!(gone <= came, "{document:#}");
        waiting += came - gone;
    }
    assert_eq!(Some(waiting), document["readings"].as_u64(), "{document:#}");
}
