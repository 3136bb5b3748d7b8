//! Faults of the outbox, of its disk and of the daemon itself, and the list of all codes.

use std::sync::atomic::{AtomicBool, Ordering};

use tidegate_sandbox::{Action, Fault};

use crate::support::{
    Broker, Site, SmallDisk, Strace, Tty, cloud, expect_healthy, expect_problem, has_own_mounts,
    number_messages, number_tables, probe_tables, test_name, wait_until,
};

/// The codes, each with the test that causes the fault and its cure.
const TESTS: &[(&str, &str)] = &[
    ("task_stuck", "health_storage::task_stuck"),
    ("outbox_write_failing", "health_storage::outbox_write_failing"),
    ("outbox_full", "health_storage::outbox_filling_and_full"),
    ("audit_difference", "audit::silent_loss_of_one_percent_is_found_and_ends"),
    ("outbox_filling", "health_storage::outbox_filling_and_full"),
    ("disk_low", "health_storage::disk_low"),
    ("credentials_refused", "health_cloud::credentials_refused"),
    ("cloud_offline", "health_cloud::cloud_offline"),
    ("device_id_shared", "health_cloud::device_id_shared"),
    ("clock_untrusted", "health_cloud::clock_untrusted"),
    ("clock_differs", "health_cloud::clock_differs"),
    ("device_not_found", "health_cloud::device_not_found"),
    ("device_refused", "health_cloud::device_refused"),
    ("attribute_undeclared", "health_cloud::attribute_undeclared"),
    ("attribute_wrong_type", "health_cloud::attribute_wrong_type"),
    ("attribute_duplicate", "health_buses::attribute_duplicate"),
    ("bus_down", "health_buses::bus_down"),
    ("bus_problem", "health_buses::bus_problem"),
    ("client_id_shared", "health_buses::client_id_shared"),
    ("subscription_refused", "health_buses::subscription_refused"),
    ("sensor_stale", "health_buses::sensor_stale"),
    ("sensor_rejected", "health_buses::sensor_rejected"),
    ("sensor_unmapped", "health_buses::sensor_unmapped"),
    ("command_stream_closed", "health_cloud::command_stream_closed"),
    ("reload_failed", "health_buses::reload_failed"),
];

#[tokio::test]
async fn each_code_has_a_test_that_exists() {
    let cloud = cloud().await;
    let site = Site::new(&cloud, &probe_tables(&["n"]));
    let daemon = site.start();
    let metrics = daemon.http("GET /metrics HTTP/1.0\r\n\r\n").unwrap();
    let code = |line: &str| {
        let label = line.strip_prefix("tidegate_health_problems{code=\"")?;
        Some(label.split_once('"')?.0.to_owned())
    };
    let codes: Vec<_> = metrics.lines().filter_map(code).collect();
    let tested: Vec<_> = TESTS.iter().map(|(code, _)| (*code).to_owned()).collect();
    assert_eq!(codes, tested);
    for (_, test) in TESTS {
        let (file, name) = test.split_once("::").unwrap();
        let source = format!("{}/tests/it/{file}.rs", env!("CARGO_MANIFEST_DIR"));
        let source = std::fs::read_to_string(source).unwrap();
        assert!(source.contains(&format!("async fn {name}()")), "{test} does not exist");
    }
}

#[tokio::test]
async fn outbox_filling_and_full() {
    let cloud = cloud().await;
    let site = Site::new(&cloud, &probe_tables(&["n", "text"]));
    site.replace_in_config("[outbox]", "[outbox]\nsize_max = \"1 MiB\"");
    let mut tty = Tty::plugged(site.path("tty"));
    let daemon = site.start();
    daemon.wait_for_log("serial line open");
    cloud.fail_next(Action::SendState, 1_000, Fault::Status(429, String::new()));
    let padding = "x".repeat(1_000);
    let mut number = 0;
    let mut fill = |bytes: u64| {
        wait_until("the outbox is filled", || {
            if daemon.count("/outbox/bytes") < bytes {
                tty.write(format!("n={number} text={padding}\n").repeat(20));
                number += 1;
            }
            daemon.count("/outbox/bytes") >= bytes
        });
    };
    fill(860_000);
    expect_problem(&daemon, "outbox_filling", &["of 1.0 MiB are used, 8"]);
    fill(1_030_000);
    expect_problem(&daemon, "outbox_full", &["of 1.0 MiB are used, 9"]);
    cloud.clear_faults();
    expect_healthy(&daemon);
}

#[tokio::test]
async fn disk_low() {
    if !has_own_mounts(test_name!()) {
        return;
    }
    let cloud = cloud().await;
    let site = Site::new(&cloud, &probe_tables(&["n"]));
    let disk = SmallDisk::mount(site.path("outbox"), 60);
    let _tty = Tty::plugged(site.path("tty"));
    let daemon = site.start();
    expect_problem(&daemon, "disk_low", &["MiB free of the 64.0 MiB needed"]);
    disk.resize(160);
    expect_healthy(&daemon);
}

#[tokio::test]
async fn outbox_write_failing() {
    let (cloud, broker) = (cloud().await, Broker::start());
    let site = Site::new(&cloud, &number_tables(broker.port()));
    let daemon = site.start();
    daemon.wait_for_subscription();
    let (calls, log) = ("pwrite64,fdatasync,fsync", site.path("strace"));
    let Some(strace) = Strace::fail(test_name!(), daemon.id(), calls, "EIO", &log) else { return };
    broker.publish(number_messages(0..1)).await;
    expect_problem(&daemon, "outbox_write_failing", &["input/output error"]);
    drop(strace);
    expect_healthy(&daemon);
    wait_until("the reading is stored", || daemon.count("/ledger/house/stored") == 1);
}

/// A program is started within a poll: a system call that takes long blocks the task of its bus.
///
/// Requests keep the other worker thread of the daemon busy. A runtime without any work does not
/// notice that one of its threads is blocked.
#[tokio::test]
async fn task_stuck() {
    let cloud = cloud().await;
    let exec = "[bus.exec.echo]\ncommand = [\"/bin/echo\", \"n=1\"]\ninterval = \"100 ms\"\n\
                [sensor.echo]\nbus = \"echo\"\nformat = \"key-value\"\n\
                map = [{ channel = \"n\", attribute = \"n\" }]\n";
    let site = Site::new(&cloud, exec);
    let daemon = site.start();
    expect_healthy(&daemon);
    let is_over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                while !is_over.load(Ordering::Relaxed) {
                    daemon.http("GET /healthz HTTP/1.0\r\n\r\n");
                }
            });
        }
        let log = site.path("strace");
        let strace = Strace::delay(test_name!(), daemon.id(), "pipe2", "28s", &log);
        if strace.is_some() {
            expect_problem(&daemon, "task_stuck", &["bus echo"]);
        }
        drop(strace);
        is_over.store(true, Ordering::Relaxed);
    });
    expect_healthy(&daemon);
}
