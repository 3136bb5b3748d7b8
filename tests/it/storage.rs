//! The daemon on bad storage: a disk that is full, read-only or broken, an outbox that is in use or
//! too new.

use tidegate_sandbox::Sandbox;

use crate::support::{
    Broker, Daemon, Site, SmallDisk, Strace, assert_content, assert_counts, assert_ledger, cloud,
    has_own_mounts, message, mqtt_tables, test_name, wait_for_numbers, wait_until,
};

/// Size of a large message.
const LARGE_BYTES: usize = 8 << 10;

/// A count of large messages that does not fit into the journal's two segments of 2 MiB.
const LARGE_COUNT: u64 = 700;

/// Returns a site with a sensor of numbers and texts, and an outbox that reserves no free space.
fn site(cloud: &Sandbox, broker: &Broker) -> Site {
    let sensor = r#"
[sensor.number]
bus = "house"
topic = "n/#"
format = "json"
map = [{ channel = "n", attribute = "n" }, { channel = "text", attribute = "text" }]
"#;
    let site = Site::new(cloud, &mqtt_tables(broker.port(), sensor));
    let outbox = "[outbox]\nfree_min = \"0 B\"\nsync_interval = \"0 s\"";
    site.replace_in_config("[outbox]", outbox);
    site
}

/// Returns messages with the numbers of `range` and a text that does not compress.
fn large(range: std::ops::Range<u64>) -> impl Iterator<Item = (String, Vec<u8>)> {
    range.map(|number| {
        let mut seed = number;
        let mut next = || {
            // Knuth's linear congruential generator, MMIX.
            seed = seed
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1_442_695_040_888_963_407);
            char::from(b'!' + u8::try_from((seed >> 33) % 90).unwrap())
        };
        let text: String = std::iter::repeat_with(&mut next).take(LARGE_BYTES).collect();
        message("n/a", serde_json::json!({ "n": number, "text": text }).to_string())
    })
}

/// Waits until the status document reports that writes to the outbox fail, and checks the reason.
fn wait_for_write_failure(daemon: &Daemon, site: &Site, why: &str) {
    wait_until("writes fail", || !daemon.status()["disk"]["write_failing_s"].is_null());
    let status = daemon.status();
    assert!(status["disk"]["error"].as_str().unwrap().contains(why), "{:#}", status["disk"]);
    assert_eq!(status["health"]["condition"], "failing");
    assert_eq!(status["health"]["problems"][0]["code"], "outbox_write_failing");
    assert_ledger_of(&status);
    let output = site.run(&["status"]);
    let page = String::from_utf8(output.stdout).unwrap();
    assert_eq!(output.status.code(), Some(2));
    assert!(page.contains("outbox write failing: "), "{page}");
}

/// Asserts that the ledger of a running daemon adds up.
fn assert_ledger_of(status: &serde_json::Value) {
    let readings = status["outbox"]["readings"].clone();
    assert_ledger(&serde_json::json!({ "ledger": status["ledger"], "readings": readings }));
}

/// Asserts that the cloud receives each message once, and that the outbox is empty afterwards.
fn assert_all_arrive(cloud: &Sandbox, site: &Site, daemon: Daemon, count: u64) {
    wait_until("writes succeed", || daemon.status()["disk"]["write_failing_s"].is_null());
    wait_until("all messages are received", || daemon.count("/ledger/house/received") >= 2 * count);
    cloud.set_offline(false);
    daemon.wait_until_sent();
    wait_for_numbers(cloud, count);
    assert_counts(cloud, count);
    assert!(daemon.terminate().success());
    let outbox = site.outbox();
    assert_eq!(
        (&outbox["states"], &outbox["ledger"]["house"]["stored"]),
        (&0.into(), &(2 * count).into())
    );
    assert_content(cloud);
}

#[tokio::test]
async fn full_disk_loses_nothing_and_recovers() {
    if !has_own_mounts(test_name!()) {
        return;
    }
    let (cloud, broker) = (cloud().await, Broker::start());
    cloud.set_offline(true);
    let site = site(&cloud, &broker);
    let disk = SmallDisk::mount(site.path("outbox"), 24);
    let daemon = site.start();
    daemon.wait_for_subscription();
    broker.publish(large(0..10)).await;
    wait_until("the states are stored", || daemon.count("/outbox/states") == 10);
    disk.fill();
    broker.publish(large(10..LARGE_COUNT)).await;
    wait_for_write_failure(&daemon, &site, "the disk is full");
    disk.free();
    assert_all_arrive(&cloud, &site, daemon, LARGE_COUNT);
}

#[tokio::test]
async fn start_on_a_full_disk_recovers() {
    if !has_own_mounts(test_name!()) {
        return;
    }
    let (cloud, broker) = (cloud().await, Broker::start());
    cloud.set_offline(true);
    let site = site(&cloud, &broker);
    let disk = SmallDisk::mount(site.path("outbox"), 24);
    let daemon = site.start();
    daemon.wait_for_subscription();
    broker.publish(large(0..10)).await;
    wait_until("the states are stored", || daemon.count("/outbox/states") == 10);
    disk.fill();
    daemon.kill();
    let daemon = site.start();
    assert_eq!(daemon.count("/outbox/states"), 10);
    broker.publish(large(10..LARGE_COUNT)).await;
    wait_for_write_failure(&daemon, &site, "the disk is full");
    daemon.kill();
    let daemon = site.start();
    wait_for_write_failure(&daemon, &site, "the disk is full");
    disk.free();
    assert_all_arrive(&cloud, &site, daemon, LARGE_COUNT);
}

#[tokio::test]
async fn first_start_on_a_full_disk_waits_for_space() {
    if !has_own_mounts(test_name!()) {
        return;
    }
    let (cloud, broker) = (cloud().await, Broker::start());
    cloud.set_offline(true);
    let site = site(&cloud, &broker);
    let disk = SmallDisk::mount(site.path("outbox"), 24);
    disk.fill();
    let daemon = site.start();
    daemon.wait_for_subscription();
    broker.publish(large(0..10)).await;
    wait_for_write_failure(&daemon, &site, "the disk is full");
    disk.free();
    assert_all_arrive(&cloud, &site, daemon, 10);
}

#[tokio::test]
async fn backlog_drains_from_a_full_disk() {
    if !has_own_mounts(test_name!()) {
        return;
    }
    let (cloud, broker) = (cloud().await, Broker::start());
    cloud.set_offline(true);
    let site = site(&cloud, &broker);
    let disk = SmallDisk::mount(site.path("outbox"), 24);
    let daemon = site.start();
    daemon.wait_for_subscription();
    broker.publish(large(0..LARGE_COUNT)).await;
    wait_until("the states are stored", || daemon.count("/outbox/states") == LARGE_COUNT);
    daemon.kill();
    disk.fill();
    let daemon = site.start();
    assert_all_arrive(&cloud, &site, daemon, LARGE_COUNT);
}

/// System calls of the daemon that fail while messages arrive.
struct FailingCalls<'a> {
    /// The test that uses it.
    test: &'a str,
    /// Names of calls, separated by commas.
    calls: &'a str,
    /// The error's name.
    error: &'a str,
    /// The error's text in the status document.
    message: &'a str,
}

/// Asserts that failing calls lose no message.
async fn assert_recovers(failing: FailingCalls<'_>) {
    let FailingCalls { test, calls, error, message } = failing;
    if !has_own_mounts(test) {
        return;
    }
    let (cloud, broker) = (cloud().await, Broker::start());
    cloud.set_offline(true);
    let site = site(&cloud, &broker);
    let daemon = site.start();
    daemon.wait_for_subscription();
    broker.publish(large(0..10)).await;
    wait_until("the states are stored", || daemon.count("/outbox/states") == 10);
    let Some(strace) = Strace::fail(test, daemon.id(), calls, error, &site.path("strace")) else {
        return;
    };
    broker.publish(large(10..30)).await;
    wait_for_write_failure(&daemon, &site, message);
    assert_eq!(daemon.count("/outbox/states"), 10, "counts only synced states");
    drop(strace);
    assert_all_arrive(&cloud, &site, daemon, 30);
}

#[tokio::test]
async fn failed_sync_loses_nothing_and_recovers() {
    assert_recovers(FailingCalls {
        test: test_name!(),
        calls: "fdatasync,fsync",
        error: "EIO",
        message: "input/output error",
    })
    .await;
}

#[tokio::test]
async fn read_only_remount_loses_nothing_and_recovers() {
    assert_recovers(FailingCalls {
        test: test_name!(),
        calls: "pwrite64,fdatasync,fsync",
        error: "EROFS",
        message: "the file system is read-only",
    })
    .await;
}

#[tokio::test]
async fn start_on_a_read_only_disk_is_refused() {
    if !has_own_mounts(test_name!()) {
        return;
    }
    let (cloud, broker) = (cloud().await, Broker::start());
    let site = site(&cloud, &broker);
    let disk = SmallDisk::mount(site.path("outbox"), 8);
    assert!(site.start().terminate().success());
    disk.make_read_only();
    let output = site.run(&["run"]);
    let message = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1), "{message}");
    assert!(message.contains("the file system is read-only"), "{message}");
    assert!(message.contains(&*site.path("outbox").to_string_lossy()), "{message}");
}

#[tokio::test]
async fn second_daemon_is_refused_and_the_first_goes_on() {
    let (cloud, broker) = (cloud().await, Broker::start());
    let site = site(&cloud, &broker);
    let daemon = site.start();
    daemon.wait_for_subscription();
    let output = site.run(&["run"]);
    let message = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1), "{message}");
    assert!(message.contains("another tidegate process uses this outbox"), "{message}");
    broker.publish(large(0..3)).await;
    assert_all_arrive(&cloud, &site, daemon, 3);
}

#[tokio::test]
async fn newer_outbox_format_is_refused_and_kept() {
    let (cloud, broker) = (cloud().await, Broker::start());
    let site = site(&cloud, &broker);
    assert!(site.start().terminate().success());
    let journal = site.path("outbox/journal-0000000001");
    let mut bytes = std::fs::read(&journal).unwrap();
    // Raise the version in both copies of the first frame. A frame consists of magic, version,
    // segment, number, length, content and the CRC-32 of all of these.
    let length = 25 + u32::from_be_bytes(*bytes[21..].first_chunk().unwrap()) as usize;
    for begin in [0, (length + 4).next_multiple_of(16)] {
        assert_eq!(bytes[begin..begin + 4], *b"TGJF");
        bytes[begin + 4] += 1;
        let checksum = crc32fast::hash(&bytes[begin..begin + length]);
        bytes[begin + length..begin + length + 4].copy_from_slice(&checksum.to_be_bytes());
    }
    std::fs::write(&journal, &bytes).unwrap();
    let output = site.run(&["run"]);
    let message = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1), "{message}");
    assert!(message.contains("newer than this tidegate supports"), "{message}");
    assert_eq!(std::fs::read(&journal).unwrap(), bytes);
}
