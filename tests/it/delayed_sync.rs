//! `outbox.sync_interval`: what the cloud confirms soon is not synced.

use std::time::Duration;

use serde_json::json;
use tidegate_sandbox::{Action, Fault, Sandbox};

use crate::support::{
    Broker, Site, Strace, assert_content, assert_counts, cloud, has_own_mounts, number_messages,
    number_tables, numbers, test_name, values, wait_until,
};

/// The time between two messages of the instrument, in which a broker would long have answered
/// acknowledgements.
const PERIOD: Duration = Duration::from_secs(1);

/// Returns a site that sends at once, and syncs after ten seconds what the cloud has not confirmed.
fn site(cloud: &Sandbox, broker: &Broker) -> Site {
    let site = Site::new(cloud, &number_tables(broker.port()));
    site.replace_in_config("[outbox]", "[outbox]\nsync_interval = \"10 s\"");
    site
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
    assert_eq!(daemon.status()["outbox"]["loss_window_ms"], json!(10_000));
    broker.publish(number_messages(0..1)).await;
    wait_until("the first state arrives", || values(&cloud, "n").len() == 1);
    daemon.wait_until_sent();
    let (calls, log) = (site.path("calls"), site.path("strace"));
    let Some(strace) = Strace::watch(test, daemon.id(), "fdatasync,fsync", &calls, &log) else {
        return;
    };
    let syncs = || std::fs::read_to_string(&calls).unwrap().matches("fdatasync(").count();
    // A message that followed the acknowledgement of the one before at once would look as if the
    // broker had waited for it, also where a busy computer makes the state late.
    let mut instrument = tokio::time::interval(PERIOD);
    for number in 1..6 {
        instrument.reset();
        instrument.tick().await;
        broker.publish(number_messages(number..number + 1)).await;
        wait_until("the state arrives", || values(&cloud, "n").len() as u64 == number + 1);
    }
    assert_eq!(syncs(), 0, "{}", std::fs::read_to_string(&calls).unwrap());
    cloud.set_offline(true);
    broker.publish(number_messages(6..9)).await;
    wait_until("the waiting states are synced", || syncs() > 0);
    wait_until("all states wait", || daemon.count("/outbox/states") == 3);
    drop(strace);
    cloud.set_offline(false);
    wait_until("the waiting states arrive", || values(&cloud, "n") == numbers(9));
    daemon.wait_until_sent();
    assert!(daemon.terminate().success());
    assert_counts(&cloud, 9);
    assert_content(&cloud);
    site.outbox();
}

/// The kernel keeps data that the daemon wrote but did not sync. The broker keeps messages that the
/// daemon did not acknowledge.
#[tokio::test]
async fn kill_within_the_sync_window_loses_nothing() {
    let (cloud, broker) = (cloud().await, Broker::start());
    let site = site(&cloud, &broker);
    let daemon = site.start();
    daemon.wait_for_subscription();
    broker.publish(number_messages(0..1)).await;
    wait_until("the first state arrives", || values(&cloud, "n").len() == 1);
    cloud.fail_next(Action::SendState, 1, Fault::Hang);
    broker.publish(number_messages(1..20)).await;
    wait_until("some states wait", || daemon.count("/outbox/states") > 0);
    daemon.kill();
    let daemon = site.start();
    wait_until("all states arrive", || values(&cloud, "n").len() >= 20);
    daemon.wait_until_sent();
    assert!(daemon.terminate().success());
    assert_eq!(values(&cloud, "n"), numbers(20));
    site.outbox();
}
