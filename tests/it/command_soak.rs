//! Commands through a stream that is cut, split, delayed and replayed while the daemon is killed:
//! none runs twice, and of each it is known what became of it.
//!
//! A few by default; `make soak-commands` gives `SOAK_COMMANDS` and `SOAK_KILLS`, and `SOAK_SEED`
//! another course.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use jiff::Timestamp;
use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};
use serde_json::json;
use tidegate_sandbox::{Action, Fault, GATEWAY_ID, Sandbox, Step};

use crate::support::{Daemon, Site, cloud_builder, wait_until};

/// A program that leaves a mark for each run: the most that a test can see of a side effect.
fn marker(site: &Site) -> String {
    let marks = site.path("marks").display().to_string();
    format!(
        r#"
[commands]
id = "id"
age_max = "1 day"
catch_up_age_max = "1 day"
[commands.report]
command = "last"
result = "lastResult"
message = "lastMessage"
id = "lastId"
[actuator.mark]
command = "mark"
exec = ["/bin/sh", "-c", 'echo "$0" >> {marks}', "{{{{ payload.id }}}}"]
rate_max = 100000
"#
    )
}

fn number(variable: &str, default: usize) -> usize {
    std::env::var(variable).ok().and_then(|text| text.parse().ok()).unwrap_or(default)
}

/// The reports of commands by id: the result, and the reason of a refusal.
fn reported(cloud: &Sandbox) -> BTreeMap<String, (String, String)> {
    let result = |state: tidegate_sandbox::StoredState| {
        let text = |name: &str| Some(state.data.get(name)?.as_str()?.to_owned());
        let message = text("lastMessage").unwrap_or_default();
        let reason = message.split(':').next().unwrap_or_default().to_owned();
        Some((text("lastId")?, (text("lastResult")?, reason)))
    };
    cloud.states(GATEWAY_ID).into_iter().filter_map(result).collect()
}

/// One of the ways in which a stream goes wrong.
fn trouble(random: &mut StdRng, cloud: &Sandbox) {
    match random.random_range(0..6) {
        0 => cloud.cut_streams(),
        1 => cloud.end_streams(),
        2 => cloud.fail_next(Action::CommandStream, 1, Fault::Split { seed: random.random() }),
        3 => cloud.fail_next(Action::GetCommand, 1, Fault::Status(503, "{}".to_owned())),
        4 => cloud.fail_next(Action::CommandStream, 1, Fault::Delay(Duration::from_millis(200))),
        // All that was sent lately comes once more, in another order, and then the stream breaks.
        _ => {
            let mut commands = cloud.commands(GATEWAY_ID);
            let recent = commands.len().saturating_sub(30);
            let mut script: Vec<Step> = commands
                .drain(recent..)
                .map(|command| {
                    let time = Timestamp::from_millisecond(command.time_ms).unwrap().to_string();
                    let event =
                        json!({"name": command.name, "time": time, "payload": command.payload});
                    Step::Send(format!("event: deviceCommand\ndata: {event}\n\n").into_bytes())
                })
                .collect();
            script.reverse();
            script.push(Step::Cut);
            cloud.fail_next(Action::CommandStream, 1, Fault::Script(script));
            cloud.cut_streams();
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_command_runs_twice_and_each_has_a_result() {
    let (commands, kills) = (number("SOAK_COMMANDS", 150), number("SOAK_KILLS", 4));
    let seed = number("SOAK_SEED", 1) as u64;
    let mut random = StdRng::seed_from_u64(seed);
    // With Losant's throttle most of the time would be spent waiting for it.
    let cloud = cloud_builder();
    let cloud = cloud.throttle_window(Duration::from_millis(1)).start().await.unwrap();
    let site = Site::new(&cloud, "");
    let config = std::fs::read_to_string(site.config()).unwrap();
    site.write_config(&format!("{config}{}", marker(&site)));
    let mut daemon = site.start();
    let mut next_kill = 0;
    for id in 0..commands {
        if id == next_kill {
            wait_until("the stream is open", || cloud.streams_open(GATEWAY_ID) == 1);
            next_kill += (commands / (kills + 1)).max(1);
        }
        cloud.send_command(GATEWAY_ID, "mark", json!({"id": id.to_string()}));
        if random.random_range(0..20) == 0 {
            trouble(&mut random, &cloud);
        }
        tokio::time::sleep(Duration::from_millis(random.random_range(0..10))).await;
        if id + 1 == next_kill && id + 1 < commands {
            daemon.kill();
            // What is still to go wrong would pile up.
            cloud.clear_faults();
            daemon = site.start();
        }
    }
    cloud.clear_faults();
    wait_until_all_reported(&cloud, commands, &daemon);
    let reported = reported(&cloud);
    let marks = std::fs::read_to_string(site.path("marks")).unwrap();
    let (mut ran, mut twice) = (BTreeSet::new(), Vec::new());
    for mark in marks.lines() {
        if !ran.insert(mark.to_owned()) {
            twice.push(mark);
        }
    }
    assert_eq!(twice, Vec::<&str>::new(), "ran twice, with seed {seed}");
    let mut counts: BTreeMap<&(String, String), usize> = BTreeMap::new();
    for (id, report) in &reported {
        *counts.entry(report).or_default() += 1;
        let (result, _) = report;
        match result.as_str() {
            "executed" => assert!(ran.contains(id), "{id} is reported as executed and did not run"),
            "refused" => assert!(!ran.contains(id), "{id} is reported as {report:?} and ran"),
            "interrupted" | "failed" => {}
            other => panic!("{other}"),
        }
    }
    eprintln!(
        "{commands} commands, {kills} kills, seed {seed}: {} ran, reported {counts:?}",
        ran.len()
    );
    assert!(daemon.terminate().success());
    site.outbox();
}

/// Waits for as long as there is progress.
fn wait_until_all_reported(cloud: &Sandbox, commands: usize, daemon: &Daemon) {
    let mut last = 0;
    while reported(cloud).len() < commands {
        let progress =
            || reported(cloud).len() + usize::try_from(daemon.count("/commands/received")).unwrap();
        let is_done = || reported(cloud).len() == commands || progress() > last;
        wait_until("more results are reported", is_done);
        last = progress();
    }
}
