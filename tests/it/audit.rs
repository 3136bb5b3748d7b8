//! The audit: what Losant confirmed is read back, and each value that it lacks is found.

use std::collections::BTreeSet;
use std::process::{Command, Output};

use serde_json::{Value, json};
use tidegate_sandbox::{Action, Fault, GATEWAY_ID, LossUnit, Sandbox};

use crate::delivery::SCALED_PROBE;
use crate::support::{Daemon, Site, Tty, cloud, cloud_builder, judge, utf8, wait_until};

/// A time and an attribute.
type Place = (i64, String);

/// Returns a site with short times of the audit and more options of the reporter.
fn site(cloud: &Sandbox, reporter: &str) -> Site {
    let audit = "[audit]\ninterval = \"1 s\"\ndelay = \"1 s\"\n";
    let site = Site::new(cloud, SCALED_PROBE);
    site.replace_in_config("[reporter]\n", &format!("{audit}[reporter]\n{reporter}\n"));
    site
}

/// Writes numbered lines until `is_enough` of the status.
fn write_until(tty: &mut Tty, daemon: &Daemon, is_enough: impl Fn(&Value) -> bool) {
    let mut number = 0;
    wait_until("the audit has compared enough", || {
        tty.write(format!("n={number} t={number}\n"));
        number += 1;
        is_enough(&daemon.status()["audit"])
    });
}

fn places(differences: &Value) -> BTreeSet<Place> {
    let one = |one: &Value| {
        let time: jiff::Timestamp = one["time"].as_str().unwrap().parse().unwrap();
        (time.as_millisecond(), one["attribute"].as_str().unwrap().to_owned())
    };
    differences.as_array().unwrap().iter().map(one).collect()
}

fn lost(cloud: &Sandbox) -> BTreeSet<Place> {
    let lost = cloud.lost_values(GATEWAY_ID).into_iter();
    lost.map(|one| (one.time_ms, one.attribute)).collect()
}

fn compared(output: &Output) -> Value {
    let document: Value = serde_json::from_slice(&output.stdout)
        .unwrap_or_else(|_| panic!("{}{}", utf8(&output.stdout), utf8(&output.stderr)));
    document["devices"][GATEWAY_ID].clone()
}

/// Returns the times and attributes of the gateway that Losant's own client reads, of its newest
/// 100 states.
fn read_by_official_client(cloud: &Sandbox) -> BTreeSet<Place> {
    let output = Command::new(judge())
        .arg("tests/conformance/read_back.py")
        .args([cloud.url(), cloud.api_token(), cloud.application_id(), GATEWAY_ID])
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", utf8(&output.stderr));
    let states: Vec<Value> = serde_json::from_slice(&output.stdout).unwrap();
    let places = states.iter().flat_map(|state| {
        let time: jiff::Timestamp = state["time"].as_str().unwrap().parse().unwrap();
        let names = state["data"].as_object().unwrap().keys();
        names.map(move |name| (time.as_millisecond(), name.clone()))
    });
    places.collect()
}

/// Returns a call of an application to the gateway.
fn as_application(cloud: &Sandbox, method: reqwest::Method, path: &str) -> reqwest::RequestBuilder {
    // An error means that another test installed it first.
    rustls::crypto::ring::default_provider().install_default().ok();
    let (url, application) = (cloud.url(), cloud.application_id());
    let url = format!("{url}/applications/{application}/devices/{GATEWAY_ID}/{path}");
    reqwest::Client::new().request(method, url).bearer_auth(cloud.api_token())
}

#[tokio::test]
async fn silent_loss_of_one_percent_is_found_and_ends() {
    let cloud = cloud_builder().lose_silently(3, 100, LossUnit::Value).start().await.unwrap();
    let site = site(&cloud, "").without_cloud_check();
    let mut tty = Tty::plugged(site.path("tty"));
    let daemon = site.start();
    write_until(&mut tty, &daemon, |audit| audit["differing_values"].as_u64() > Some(0));
    let status = daemon.status();
    let problem = &status["health"]["problems"][0];
    assert_eq!(
        (&problem["code"], &problem["subject"]),
        (&json!("audit_difference"), &json!("gateway"))
    );
    let device = &status["audit"]["devices"]["gateway"];
    for one in device["differences"].as_array().unwrap() {
        assert_eq!(one["reason"], "lost", "{device:#}");
        assert!(lost(&cloud).is_superset(&places(&json!([one["last"]]))), "{device:#}");
    }
    daemon.wait_for_log("Losant does not have values that it confirmed");
    daemon.wait_until_sent();

    // The daemon runs: the command compares what it holds in memory and on disk.
    let output = site.run(&["audit", "--device", "gateway", "--json"]);
    assert_eq!(output.status.code(), Some(1), "{}", utf8(&output.stderr));
    let with_daemon = places(&compared(&output)["differences"]);
    assert!(!with_daemon.is_empty() && lost(&cloud).is_superset(&with_daemon), "{with_daemon:?}");

    // It stopped: the samples are on disk. Losant's own client agrees with each of their values.
    assert!(daemon.terminate().success());
    let output = site.run(&["audit", "--json"]);
    assert_eq!(output.status.code(), Some(1), "{}", utf8(&output.stderr));
    let found = compared(&output);
    assert!(found["states"].as_u64() > Some(50), "{found:#}");
    let read = read_by_official_client(&cloud);
    assert!(read.is_disjoint(&places(&found["differences"])));
    assert!(read.is_disjoint(&lost(&cloud)));

    // The service is honest again: the problem ends after three samples.
    cloud.clear_faults();
    let daemon = site.start();
    let is_clean = |audit: &Value| {
        let device = &audit["devices"]["gateway"];
        device["is_differing"] == false && device["samples"].as_u64() > Some(3)
    };
    write_until(&mut tty, &daemon, is_clean);
    assert_eq!(daemon.status()["health"]["condition"], "healthy");
    assert!(daemon.terminate().success());
}

#[tokio::test]
async fn honest_service_has_no_differences() {
    let cloud = cloud().await;
    let site = site(&cloud, "merge_window = \"1 s\"\nbackfill_meta = true");
    let mut tty = Tty::plugged(site.path("tty"));
    let daemon = site.start();
    cloud.fail_next(Action::SendState, 2, Fault::LoseResponse);
    write_until(&mut tty, &daemon, |audit| audit["samples"].as_u64() > Some(1));
    // Another program writes to the same device, between the states of the daemon.
    let states: Vec<_> =
        (1..=100).map(|n| json!({ "time": -10 * n, "data": { "a": n } })).collect();
    let posted = as_application(&cloud, reqwest::Method::POST, "state")
        .header("content-type", "application/json")
        .body(json!(states).to_string());
    assert!(posted.send().await.unwrap().status().is_success());
    cloud.set_offline(true);
    tty.write("n=1 t=1\nn=2 t=2\n");
    wait_until("states wait", || daemon.count("/outbox/states") > 1);
    cloud.set_offline(false);
    let samples = daemon.count("/audit/samples");
    write_until(&mut tty, &daemon, |audit| audit["samples"].as_u64() > Some(samples + 3));
    let audit = &daemon.status()["audit"];
    assert_eq!(audit["differing_values"], 0, "{audit:#}");
    assert_eq!(audit["devices"]["gateway"]["unchecked_states"], 0, "{audit:#}");
    daemon.wait_until_sent();
    let output = site.run(&["audit"]);
    assert!(output.status.success(), "{}{}", utf8(&output.stdout), utf8(&output.stderr));
    assert!(utf8(&output.stdout).contains("Losant has all of them"));
    assert!(daemon.terminate().success());
    let output = site.run(&["audit", "--json"]);
    assert!(output.status.success(), "{}", utf8(&output.stderr));
    let found = compared(&output);
    assert_eq!(found["differences"], json!([]));
    assert!(found["values"].as_u64() > Some(10), "{found:#}");
}

/// Returns an export file with states of some 400 bytes, 10 ms apart.
fn exported_states(count: i64) -> String {
    let names =
        ["v", "topic", "tty"].iter().flat_map(|name| (0..5).map(move |n| format!("{name}{n}")));
    let names: Vec<_> = names.collect();
    let now = jiff::Timestamp::now().as_millisecond();
    let state = |number: i64| {
        let time = jiff::Timestamp::from_millisecond(now - 10 * (count - number)).unwrap();
        let numbers = names.iter().map(|name| (name.clone(), json!(number * 1_000_000 + 1)));
        let data: serde_json::Map<_, _> = numbers.collect();
        let time = format!("{time:.3}");
        json!({ "device": GATEWAY_ID, "state": { "time": time, "data": data } }).to_string() + "\n"
    };
    let header = "{\"format\":\"tidegate-outbox\",\"version\":1}\n".to_owned();
    header + &(0..count).map(state).collect::<String>()
}

#[tokio::test]
async fn downsampled_states_have_no_differences() {
    let cloud = cloud().await;
    cloud.set_offline(true);
    let site = site(&cloud, "");
    let outbox = "path = \"outbox\"\nsize_max = \"1 MiB\"\nwhen_full = \"downsample\"\n\
                  downsample_bucket = \"1 s\"";
    site.replace_in_config("path = \"outbox\"", outbox);
    std::fs::write(site.path("states"), exported_states(5_000)).unwrap();
    let daemon = site.start();
    let states = site.path("states");
    let output = site.run(&["outbox", "import", states.to_str().unwrap()]);
    assert!(output.status.success(), "{}", utf8(&output.stderr));
    assert!(daemon.count("/ledger/import/dropped/downsampled") > 0, "{:#}", daemon.status());
    cloud.set_offline(false);
    wait_until("samples were compared", || daemon.count("/audit/samples") > 1);
    let audit = &daemon.status()["audit"];
    assert_eq!(audit["differing_values"], 0, "{audit:#}");
    assert!(daemon.terminate().success());
    let output = site.run(&["audit"]);
    assert!(output.status.success(), "{}", utf8(&output.stdout));
}

#[tokio::test]
async fn deleted_states_are_reported_as_deleted() {
    let cloud = cloud().await;
    let site = site(&cloud, "");
    let output = site.run(&["audit"]);
    assert_eq!(output.status.code(), Some(1), "there is no outbox yet");
    let mut tty = Tty::plugged(site.path("tty"));
    let daemon = site.start();
    let output = site.run(&["audit"]);
    assert_eq!(output.status.code(), Some(69), "nothing is recorded: {}", utf8(&output.stderr));
    write_until(&mut tty, &daemon, |audit| audit["samples"].as_u64() > Some(0));
    daemon.wait_until_sent();
    assert!(daemon.terminate().success());
    let removed = as_application(&cloud, reqwest::Method::DELETE, "data");
    assert!(removed.send().await.unwrap().status().is_success());
    let output = site.run(&["audit", "--window", "1h"]);
    assert_eq!(output.status.code(), Some(1), "{}", utf8(&output.stderr));
    let text = utf8(&output.stdout);
    assert!(text.contains(" deleted: all values of the attribute are missing"), "{text}");
    let output = site.run(&["audit", "--window", "1ms"]);
    assert_eq!(output.status.code(), Some(69), "{}", utf8(&output.stdout));
}
