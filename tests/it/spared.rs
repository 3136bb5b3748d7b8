//! `outbox.sync_interval_online`: while the cloud answers, what it confirms soon is not synced.

use serde_json::json;
use tidegate_sandbox::{Action, Fault, Sandbox};

use crate::support::{
    Broker, Site, Strace, assert_content, assert_counts, cloud, has_own_mounts, numbers, test_name,
    values, wait_until,
};

/// A site that sends soon, and syncs after a minute unless it must.
fn site(cloud: &Sandbox, broker: &Broker) -> Site {
    let site = Site::new(
        cloud,
        &format!(
            r#"
[bus.mqtt.house]
host = "127.0.0.1"
port = {}
[sensor.n]
bus = "house"
topic = "n"
format = "text"
map = [{{ channel = "value", attribute = "n" }}]
"#,
            broker.port()
        ),
    );
    let config = std::fs::read_to_string(site.config()).unwrap();
    let spared = config.replace("[outbox]", "[outbox]\nsync_interval_online = \"60 s\"");
    assert_ne!(spared, config);
    site.write_config(&spared);
    site
}

async fn publish(broker: &Broker, range: std::ops::Range<u64>) {
    for number in range {
        broker.publish([("n".to_owned(), number.to_string().into_bytes())]).await;
    }
}

#[tokio::test]
async fn only_unconfirmed_states_are_synced() {
    let test = test_name!();
    if !has_own_mounts(test) {
        return;
    }
    let (cloud, broker) = (cloud().await, Broker::start());
    let site = site(&cloud, &broker);
    let daemon = site.start();
    daemon.wait_for_subscription();
    assert_eq!(daemon.status()["outbox"]["loss_window_ms"], json!(60_000));
    publish(&broker, 0..1).await;
    wait_until("it is online and settled", || values(&cloud, "n").len() == 1);
    daemon.wait_until_sent();
    let (calls, log) = (site.path("calls"), site.path("strace"));
    let Some(strace) = Strace::watch(test, daemon.id(), "fdatasync,fsync", &calls, &log) else {
        return;
    };
    let syncs = || std::fs::read_to_string(&calls).unwrap().matches("fdatasync(").count();
    for number in 1..6 {
        publish(&broker, number..number + 1).await;
        wait_until("the cloud has it", || values(&cloud, "n").len() as u64 == number + 1);
    }
    assert_eq!(syncs(), 0, "{}", std::fs::read_to_string(&calls).unwrap());
    cloud.set_dark(true);
    publish(&broker, 6..9).await;
    wait_until("what waits is synced", || syncs() > 0);
    wait_until("all of it waits", || daemon.count("/outbox/states") == 3);
    drop(strace);
    cloud.set_dark(false);
    wait_until("the rest arrives", || values(&cloud, "n") == numbers(9));
    daemon.wait_until_sent();
    assert!(daemon.terminate().success());
    assert_counts(&cloud, 9);
    assert_content(&cloud);
    site.outbox();
}

/// The kernel keeps what the daemon wrote but did not sync. The broker keeps what the daemon did not
/// acknowledge.
#[tokio::test]
async fn kill_within_the_sync_window_loses_nothing() {
    let (cloud, broker) = (cloud().await, Broker::start());
    let site = site(&cloud, &broker);
    let daemon = site.start();
    daemon.wait_for_subscription();
    publish(&broker, 0..1).await;
    wait_until("it is online", || values(&cloud, "n").len() == 1);
    cloud.fail_next(Action::SendState, 1, Fault::Hang);
    publish(&broker, 1..20).await;
    wait_until("some wait", || daemon.count("/outbox/states") > 0);
    daemon.kill();
    let daemon = site.start();
    wait_until("all arrive", || values(&cloud, "n").len() >= 20);
    daemon.wait_until_sent();
    assert!(daemon.terminate().success());
    assert_eq!(values(&cloud, "n"), numbers(20));
    site.outbox();
}
