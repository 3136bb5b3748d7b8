//! Kills, stops and cut connections lose and repeat no message of a broker and no stored state.

use std::time::Duration;

use tidegate_outbox::{Options, Outbox};
use tidegate_sandbox::{Action, Fault};

use crate::support::{
    Broker, Daemon, Relay, Site, Tty, assert_content, assert_counts, cloud, env_number, message,
    number_messages, number_tables, numbers, probe_tables, values, wait_for_numbers, wait_until,
};

/// Returns how often a daemon is ended while messages arrive. `KILLS=200` ends it more often.
fn ends() -> u64 {
    env_number("KILLS", 6)
}

/// Messages between two ends of the daemon.
///
/// It is not a multiple of a commit's messages, so that the daemon ends at every point of a commit.
const MESSAGES_BETWEEN: u64 = 47;

/// Messages that wait at the broker when a session resumes.
const BURST: u64 = 8_000;

/// Ends and restarts the daemon repeatedly while a client publishes, and finally ends both.
///
/// Returns how many messages the broker had acknowledged to the publisher.
fn publish_through(end: fn(Daemon), site: &Site, broker: &Broker) -> u64 {
    let mut daemon = site.start();
    daemon.wait_for_subscription();
    let publisher = broker.publish_numbers("n/a", Duration::from_millis(4));
    for number in 1..=ends() {
        let enough = number * MESSAGES_BETWEEN;
        wait_until("messages arrive", || daemon.count("/ledger/house/received") >= enough);
        end(daemon);
        daemon = site.start();
    }
    let count = publisher.finish();
    wait_until("all messages are received", || daemon.count("/ledger/house/received") >= count);
    assert!(daemon.terminate().success());
    count
}

#[tokio::test]
async fn kills_offline_lose_and_repeat_no_message() {
    let (cloud, broker) = (cloud().await, Broker::start());
    cloud.set_offline(true);
    let site = Site::new(&cloud, &number_tables(broker.port()));
    let count = publish_through(Daemon::kill, &site, &broker);
    assert_eq!(site.outbox()["states"], count);
    cloud.set_offline(false);
    let daemon = site.start();
    daemon.wait_until_sent();
    assert_counts(&cloud, count);
    assert!(daemon.terminate().success());
    assert_eq!(site.outbox()["states"], 0);
    assert_content(&cloud);
}

#[tokio::test]
async fn kills_while_sending_lose_and_repeat_no_message() {
    let (cloud, broker) = (cloud().await, Broker::start());
    let site = Site::new(&cloud, &number_tables(broker.port()));
    let count = publish_through(Daemon::kill, &site, &broker);
    site.start().wait_until_sent();
    wait_for_numbers(&cloud, count);
    // A new daemon knows how many calls the old one made, so that it keeps to the throttle.
    assert_content(&cloud);
}

#[tokio::test]
async fn stops_lose_and_repeat_no_message() {
    let (cloud, broker) = (cloud().await, Broker::start());
    cloud.set_offline(true);
    let site = Site::new(&cloud, &number_tables(broker.port()));
    let stop = |daemon: Daemon| assert!(daemon.terminate().success());
    let count = publish_through(stop, &site, &broker);
    cloud.set_offline(false);
    site.start().wait_until_sent();
    assert_counts(&cloud, count);
    site.outbox();
    assert_content(&cloud);
}

#[tokio::test]
async fn cut_broker_connection_loses_and_repeats_no_message() {
    let (cloud, broker) = (cloud().await, Broker::start());
    cloud.set_offline(true);
    let relay = Relay::to(broker.port());
    let site = Site::new(&cloud, &number_tables(relay.port()));
    let daemon = site.start();
    daemon.wait_for_subscription();
    let publisher = broker.publish_numbers("n/a", Duration::from_millis(4));
    for number in 1..=ends() {
        let enough = number * MESSAGES_BETWEEN;
        wait_until("messages arrive", || daemon.count("/ledger/house/received") >= enough);
        relay.cut();
    }
    let count = publisher.finish();
    wait_until("all messages are received", || daemon.count("/ledger/house/received") >= count);
    cloud.set_offline(false);
    daemon.wait_until_sent();
    assert_counts(&cloud, count);
    assert!(daemon.terminate().success());
    site.outbox();
    assert_content(&cloud);
}

#[tokio::test]
async fn kills_in_a_large_burst_lose_and_repeat_no_message() {
    let (cloud, broker) = (cloud().await, Broker::start());
    cloud.set_offline(true);
    let site = Site::new(&cloud, &number_tables(broker.port()));
    let daemon = site.start();
    daemon.wait_for_subscription();
    assert!(daemon.terminate().success());
    // When a session resumes, mosquitto 2.0.11 delivers all its messages at once, not only 20.
    broker.publish(number_messages(0..BURST)).await;
    for number in 1..=ends() {
        let daemon = site.start();
        let enough = number * BURST / (ends() + 1);
        wait_until("messages arrive", || daemon.count("/ledger/house/received") >= enough);
        daemon.kill();
    }
    let daemon = site.start();
    wait_until("all messages are received", || daemon.count("/ledger/house/received") >= BURST);
    eprintln!("{} messages were delivered again", daemon.count("/ledger/house/duplicates"));
    assert!(daemon.terminate().success());
    assert_eq!(site.outbox()["states"], BURST);
}

#[tokio::test]
async fn fingerprints_are_forgotten_after_acknowledgement() {
    let (cloud, broker) = (cloud().await, Broker::start());
    let instruments =
        number_tables(broker.port()).replace("[sensor.", "keep_alive = \"5 s\"\n[sensor.");
    let site = Site::new(&cloud, &instruments);
    let daemon = site.start();
    daemon.wait_for_subscription();
    broker.publish(number_messages(0..300)).await;
    daemon.wait_for_log("broker received the acknowledgements bus=house packet_id=300");
    broker.publish([message("n/a", "300")]).await;
    wait_until("all messages are received", || daemon.count("/ledger/house/received") == 301);
    daemon.kill();
    let outbox = Outbox::open(&site.path("outbox"), Options::default()).unwrap();
    let remembered = outbox.fingerprints(&"house".parse().unwrap());
    assert_eq!(
        remembered.iter().map(|fingerprint| fingerprint.packet_id).collect::<Vec<_>>(),
        [301]
    );
}

#[tokio::test]
async fn unconfirmed_states_before_a_kill_are_stored_once() {
    let cloud = cloud().await;
    let site = Site::new(&cloud, &probe_tables(&["n"]));
    let mut tty = Tty::plugged(site.path("tty"));
    let daemon = site.start();
    daemon.wait_for_log("serial line open");
    cloud.fail_next(Action::SendState, 1, Fault::LoseResponse);
    cloud.fail_next(Action::SendState, 1_000, Fault::Hang);
    tty.write("n=0\nn=1\nn=2\n");
    wait_until("the cloud has the states", || values(&cloud, "n").len() == 3);
    daemon.kill();
    cloud.clear_faults();
    let daemon = site.start();
    daemon.wait_until_sent();
    assert_eq!(values(&cloud, "n"), numbers(3));
    assert!(cloud.counters().states_overwritten >= 3, "no state was sent twice");
    assert!(daemon.terminate().success());
    assert_eq!(site.outbox()["states"], 0);
    assert_content(&cloud);
}

#[tokio::test]
async fn kill_at_start_leaves_a_usable_outbox() {
    let cloud = cloud().await;
    let site = Site::new(&cloud, &probe_tables(&["n"]));
    let mut tty = Tty::plugged(site.path("tty"));
    for _ in 0..5 {
        site.start().kill();
    }
    let daemon = site.start();
    daemon.wait_for_log("serial line open");
    tty.write("n=0\n");
    wait_for_numbers(&cloud, 1);
    assert!(daemon.terminate().success());
    site.outbox();
    assert_content(&cloud);
}
