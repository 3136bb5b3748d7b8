//! `tidegate outbox`: list, export, import, requeue and purge states.

use std::process::Output;

use serde_json::{Value, json};
use tidegate_sandbox::{Action, Fault, GATEWAY_ID};

use crate::support::{
    Daemon, Site, Tty, assert_ledger, cloud, numbers, probe_tables, utf8, values, wait_until,
};

/// Returns the standard output of a program that succeeded.
fn printed(output: &Output) -> String {
    assert!(output.status.success(), "{}", utf8(&output.stderr));
    utf8(&output.stdout)
}

/// Makes the daemon read the numbers below `count`.
fn read_numbers(daemon: &Daemon, tty: &mut Tty, count: u64) {
    for number in 0..count {
        tty.write(format!("s={number}\n"));
        let written = number + 1;
        // The daemon's queue holds no more at a time.
        if written % 500 == 0 || written == count {
            wait_until("the numbers are read", || {
                daemon.count("/ledger/probe/received") == written
            });
        }
    }
}

#[tokio::test]
async fn exported_backlog_is_imported_and_sent_elsewhere() {
    let offline = Site::at("http://127.0.0.1:9", &probe_tables(&["s"]));
    let mut tty = Tty::plugged(offline.path("tty"));
    let daemon = offline.start();
    read_numbers(&daemon, &mut tty, 1_500);
    assert!(daemon.terminate().success());

    let status = printed(&offline.run(&["outbox", "status"]));
    assert!(status.contains("outbox    1500 states with 1500 readings queued"), "{status}");
    assert!(status.contains(&format!("device    gateway ({GATEWAY_ID}): 1500 states")), "{status}");
    assert!(status.contains("; at least 8s to catch up"), "{status}");
    let listed = printed(&offline.run(&["outbox", "list", "--limit", "2", "--json"]));
    let listed: Vec<Value> =
        listed.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!((listed.len(), &listed[1]["state"]["data"]), (2, &json!({"s": 1})));

    let file = offline.path("states.jsonl");
    let file = file.to_str().unwrap();
    let exported = printed(&offline.run(&["outbox", "export", "--remove", file]));
    let expected = format!("exported 1500 states to {file}; removed 1500 from the outbox\n");
    assert_eq!(exported, expected);
    let left = offline.outbox();
    assert_eq!(
        (&left["states"], &left["ledger"]["probe"]["dropped"]),
        (&json!(0), &json!({"exported": 1500}))
    );
    let again = offline.run(&["outbox", "export", file]);
    assert!(utf8(&again.stderr).contains("cannot create"), "an export replaces no file");

    let cloud = cloud().await;
    let online = Site::new(&cloud, &probe_tables(&["s"]));
    let daemon = online.start();
    assert!(daemon.terminate().success());
    let imported = printed(&online.run(&["outbox", "import", file]));
    assert_eq!(imported, format!("imported 1500 states from {file}\n"));
    let daemon = online.start();
    daemon.wait_until_sent();
    assert_eq!(values(&cloud, "s"), numbers(1_500));
    assert!(daemon.terminate().success());
    assert_eq!(online.outbox()["ledger"]["import"]["stored"], 1_500);
}

#[tokio::test]
async fn import_reports_invalid_lines_and_takes_the_others() {
    let cloud = cloud().await;
    let site = Site::new(&cloud, &probe_tables(&["s"]));
    assert!(site.start().terminate().success());
    let state = |time: &str| {
        json!({"device": GATEWAY_ID, "state": {"time": time, "data": {"s": 1}}}).to_string()
    };
    let lines = [
        "{\"format\":\"tidegate-outbox\",\"version\":1}",
        &state("2026-05-01T10:00:00.000Z"),
        "{oops",
        &state("noon"),
    ];
    std::fs::write(site.path("states"), lines.join("\n")).unwrap();
    let file = site.path("states");
    let imported = site.run(&["outbox", "import", file.to_str().unwrap()]);
    let stderr = utf8(&imported.stderr);
    assert_eq!(imported.status.code(), Some(1), "{stderr}");
    assert!(stderr.contains("line 3: not of the form {\"device\""), "{stderr}");
    assert!(stderr.contains("line 4: the state's time is neither a text"), "{stderr}");
    assert!(stderr.contains("2 lines of"), "{stderr}");
    assert_eq!(site.outbox()["states"], 1);
    std::fs::write(site.path("states"), "{\"format\":\"tidegate-outbox\",\"version\":2}\n")
        .unwrap();
    let newer = site.run(&["outbox", "import", file.to_str().unwrap()]);
    let stderr = utf8(&newer.stderr);
    assert!(stderr.contains("is not an export of this version"), "{stderr}");
}

#[tokio::test]
async fn rejected_states_are_listed_and_requeued() {
    let cloud = cloud().await;
    let site = Site::new(&cloud, &probe_tables(&["s"]));
    let mut tty = Tty::plugged(site.path("tty"));
    let daemon = site.start();
    let refusal = r#"{"type":"Validation","message":"s is not known"}"#;
    cloud.fail_next(Action::SendState, 1, Fault::Status(400, refusal.to_owned()));
    read_numbers(&daemon, &mut tty, 1);
    wait_until("the state is rejected", || {
        daemon.status()["ledger"]["probe"]["rejected"]["refused_by_cloud"] == 1
    });
    assert!(daemon.terminate().success());
    let listed = printed(&site.run(&["outbox", "list", "--rejects"]));
    assert!(listed.starts_with("1 ") && listed.contains("refused_by_cloud: "), "{listed}");
    assert!(listed.contains("s is not known"), "{listed}");
    let unspecified = site.run(&["outbox", "requeue"]);
    assert_eq!(unspecified.status.code(), Some(64));
    let missing = site.run(&["outbox", "requeue", "7"]);
    assert!(utf8(&missing.stderr).contains("there is no reject 7"));
    assert_eq!(printed(&site.run(&["outbox", "requeue", "1"])), "requeued 1 states\n");
    let daemon = site.start();
    daemon.wait_until_sent();
    assert_eq!(values(&cloud, "s"), [json!(0)]);
    assert!(daemon.terminate().success());
    let ledger = site.outbox()["ledger"].clone();
    assert_eq!(
        (&ledger["probe"]["stored"], &ledger["probe"]["rejected"]["refused_by_cloud"]),
        (&json!(1), &json!(0))
    );
}

#[tokio::test]
async fn purge_asks_first_and_is_counted() {
    let site = Site::at("http://127.0.0.1:9", &probe_tables(&["s"]));
    let mut tty = Tty::plugged(site.path("tty"));
    let daemon = site.start();
    read_numbers(&daemon, &mut tty, 3);
    assert!(daemon.terminate().success());
    let refused = site.run(&["outbox", "purge"]);
    assert_eq!(refused.status.code(), Some(64));
    assert!(utf8(&refused.stderr).contains("confirm with --yes"));
    assert_eq!(site.outbox()["states"], 3);
    let other = printed(&site.run(&["outbox", "purge", "--yes", "--device", "greenhouse"]));
    assert!(other.starts_with("purged 0 states"), "{other}");
    let purged = printed(&site.run(&["outbox", "purge", "--yes"]));
    assert!(purged.starts_with("purged 3 states"), "{purged}");
    let left = site.outbox();
    assert_eq!(
        (&left["states"], &left["ledger"]["probe"]["dropped"]),
        (&json!(0), &json!({"purged": 3}))
    );
    assert_ledger(&left);
}

#[tokio::test]
async fn outbox_commands_work_beside_a_running_daemon() {
    let cloud = cloud().await;
    let site = Site::new(&cloud, &probe_tables(&["s"]));
    let mut tty = Tty::plugged(site.path("tty"));
    cloud.set_offline(true);
    let daemon = site.start();
    read_numbers(&daemon, &mut tty, 10);
    let status = printed(&site.run(&["outbox", "status"]));
    assert!(status.contains("outbox    10 states with 10 readings queued"), "{status}");
    let status: Value =
        serde_json::from_str(&printed(&site.run(&["outbox", "status", "--json"]))).unwrap();
    assert_ledger(&status);
    let listed = printed(&site.run(&["outbox", "list", "--limit", "3"]));
    assert_eq!(listed.lines().count(), 3, "{listed}");
    let file = site.path("states");
    let file = file.to_str().unwrap();
    let exported = printed(&site.run(&["outbox", "export", "--remove", file]));
    assert!(exported.starts_with("exported 10 states to"), "{exported}");
    assert_eq!(daemon.count("/outbox/states"), 0);
    cloud.set_offline(false);
    tty.write("s=10\n");
    wait_until("the new state arrives", || values(&cloud, "s") == [json!(10)]);
    printed(&site.run(&["outbox", "import", file]));
    wait_until("the imported states arrive", || values(&cloud, "s").len() == 11);
    assert_eq!(values(&cloud, "s"), numbers(11));

    let refusal = Fault::Status(400, r#"{"type":"Validation","message":"no"}"#.to_owned());
    cloud.fail_next(Action::SendState, 1, refusal);
    tty.write("s=11\n");
    let rejected = || daemon.count("/ledger/probe/rejected/refused_by_cloud");
    wait_until("the state is rejected", || rejected() == 1);
    printed(&site.run(&["outbox", "requeue", "--all"]));
    wait_until("the requeued state arrives", || values(&cloud, "s").len() == 12);
    assert_eq!(rejected(), 0);
    assert!(daemon.terminate().success());
    site.outbox();
}
