//! Readings that are merged into one payload, and states that are marked as backfilled.

use serde_json::{Value, json};
use tidegate_sandbox::GATEWAY_ID;

use crate::delivery::SCALED_PROBE;
use crate::support::{Site, Tty, assert_content, cloud, wait_until};

/// Returns a site with more options of the reporter.
fn site(cloud: &tidegate_sandbox::Sandbox, options: &str) -> Site {
    let site = Site::new(cloud, SCALED_PROBE);
    site.replace_in_config("[reporter]\n", &format!("[reporter]\n{options}\n"));
    site
}

#[tokio::test]
async fn readings_within_the_merge_window_are_one_payload() {
    let cloud = cloud().await;
    cloud.set_offline(true);
    let site = site(&cloud, "merge_window = \"60 s\"");
    let mut tty = Tty::plugged(site.path("tty"));
    let daemon = site.start();
    // The second n cannot share the time of the first; the kill closes the window.
    tty.write("n=0\nt=140\nn=1\nt=150\n");
    wait_until("all states wait", || daemon.count("/outbox/states") == 4);
    daemon.kill();
    let daemon = site.start();
    cloud.set_offline(false);
    daemon.wait_until_sent();
    let data: Vec<_> =
        cloud.states(GATEWAY_ID).into_iter().map(|state| Value::Object(state.data)).collect();
    assert_eq!(data, [json!({"n": 0, "t": 10.0}), json!({"n": 1, "t": 11.0})]);
    assert_eq!(cloud.counters().states_received, 2, "payloads");
    assert!(daemon.terminate().success());
    site.outbox();
    assert_content(&cloud);
}

#[tokio::test]
async fn backfilled_states_carry_a_mark() {
    let cloud = cloud().await;
    cloud.set_offline(true);
    let site = site(&cloud, "backfill_meta = true");
    let mut tty = Tty::plugged(site.path("tty"));
    let daemon = site.start();
    tty.write("n=0\n");
    wait_until("the state waits", || daemon.count("/outbox/states") == 1);
    assert!(daemon.terminate().success());
    cloud.set_offline(false);
    let daemon = site.start();
    daemon.wait_until_sent();
    tty.write("n=1\n");
    wait_until("both states arrive", || cloud.states(GATEWAY_ID).len() == 2);
    let metas: Vec<_> = cloud.states(GATEWAY_ID).into_iter().map(|state| state.meta).collect();
    assert_eq!(metas, [Some(json!({"backfill": true})), None]);
    assert!(daemon.terminate().success());
    site.outbox();
    assert_content(&cloud);
}
