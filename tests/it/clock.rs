//! A computer without a clock battery: readings wait for the time of day, and get correct times.

use serde_json::Value;
use tidegate_sandbox::{GATEWAY_ID, Sandbox};

use crate::support::{
    Site, Tty, assert_content, cloud, probe_tables, wait_for_numbers, wait_until,
};

/// The longest that a time may lie in the past, in milliseconds.
///
/// The date of an answer has whole seconds, and a test takes some seconds.
const OFF_MAX_MS: i64 = 20_000;

/// Returns a site that trusts the system's clock only if the kernel reports it as synchronised.
///
/// If the kernel of the test's computer does, no reading waits, and the tests hold all the same.
fn site(cloud: &Sandbox) -> Site {
    let site = Site::new(cloud, &probe_tables(&["n"]));
    site.replace_in_config("trust = \"always\"", "trust = \"auto\"");
    site
}

fn assert_times(cloud: &Sandbox) {
    let states = cloud.states(GATEWAY_ID);
    let now_ms = std::time::UNIX_EPOCH.elapsed().unwrap().as_millis();
    for state in &states {
        let off_ms = i64::try_from(now_ms).unwrap() - state.time_ms;
        assert!((-2_000..OFF_MAX_MS).contains(&off_ms), "{off_ms} ms off");
    }
    assert!(states.is_sorted_by(|one, next| one.time_ms < next.time_ms));
}

#[tokio::test]
async fn readings_before_clock_sync_get_correct_times() {
    let cloud = cloud().await;
    cloud.set_offline(true);
    let site = site(&cloud);
    let mut tty = Tty::plugged(site.path("tty"));
    let daemon = site.start();
    let trust = daemon.status()["clock"]["trust"].as_str().unwrap().to_owned();
    assert!(["waiting", "kernel"].contains(&&*trust), "{trust}");
    tty.write("n=0\nn=1\n");
    wait_until("both states wait", || daemon.count("/outbox/states") == 2);
    daemon.kill();
    let daemon = site.start();
    tty.write("n=2\n");
    wait_until("all states wait", || daemon.count("/outbox/states") == 3);
    cloud.set_offline(false);
    wait_for_numbers(&cloud, 3);
    tty.write("n=3\n");
    wait_for_numbers(&cloud, 4);
    assert_times(&cloud);
    assert!(daemon.terminate().success());
    assert_eq!(site.outbox()["states"], 0);
    assert_content(&cloud);
}

#[tokio::test]
async fn message_time_is_kept_before_clock_sync() {
    let cloud = cloud().await;
    cloud.set_offline(true);
    let site = site(&cloud);
    let time = "time = { channel = \"at\", format = \"ms\" }\nmap = [";
    site.replace_in_config("map = [", time);
    let mut tty = Tty::plugged(site.path("tty"));
    let daemon = site.start();
    let now_ms = i64::try_from(std::time::UNIX_EPOCH.elapsed().unwrap().as_millis()).unwrap();
    let (past_ms, ancient_ms) = (now_ms - 3_600_000, now_ms - 40 * 86_400_000);
    tty.write(format!("n=0 at={past_ms}\nn=1 at={ancient_ms}\n"));
    let rejected = || {
        let account = daemon.status()["ledger"]["probe"]["rejected"].clone();
        account.as_object().map_or(0, |reasons| reasons.values().filter_map(Value::as_u64).sum())
    };
    wait_until("both readings are received", || daemon.count("/ledger/probe/received") == 2);
    cloud.set_offline(false);
    wait_for_numbers(&cloud, 1);
    wait_until("the old reading is rejected once the time is known", || rejected() == 1_u64);
    assert_eq!(cloud.states(GATEWAY_ID)[0].time_ms, past_ms);
    assert!(daemon.terminate().success());
    site.outbox();
    assert_content(&cloud);
}

#[tokio::test]
async fn restarted_daemon_knows_the_time_offline() {
    let cloud = cloud().await;
    let site = site(&cloud);
    let mut tty = Tty::plugged(site.path("tty"));
    let daemon = site.start();
    tty.write("n=0\n");
    wait_for_numbers(&cloud, 1);
    assert!(daemon.terminate().success());
    cloud.set_offline(true);
    let daemon = site.start();
    assert_ne!(daemon.status()["clock"]["trust"], "waiting");
    tty.write("n=1\n");
    wait_until("the state waits", || daemon.count("/outbox/states") == 1);
    cloud.set_offline(false);
    wait_for_numbers(&cloud, 2);
    assert_times(&cloud);
    assert!(daemon.terminate().success());
    site.outbox();
}
