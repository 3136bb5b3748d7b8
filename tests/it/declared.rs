//! The daemon sends only what Losant stores: declared attributes, of their types, in time.

use serde_json::{Value, json};
use tidegate_sandbox::{Sandbox, WORKSHOP_ID};

use crate::support::{Broker, Site, Tty, cloud, message, mqtt_tables, probe_tables, values};
use crate::support::{values_of, wait_until};

/// A sensor of JSON messages whose devices and attributes come from templates.
const TEMPLATES: &str = r#"
[sensor.house]
bus = "house"
topic = "house/+"
format = "json"
device = "{{ topic[1] }}"
map = [{ channel = "*", attribute = "{{ channel }}" }]
"#;

/// Asserts these rejections, and that nothing waits. The cloud is compared, too.
fn assert_rejected(site: &Site, bus: &str, rejected: &Value) {
    let document = site.outbox();
    assert_eq!(document["ledger"][bus]["rejected"], *rejected);
    assert_eq!(document["states"], 0);
}

#[tokio::test]
async fn values_of_another_type_are_rejected_and_shown() {
    let (cloud, broker) = (cloud().await, Broker::start());
    let site = Site::new(&cloud, &mqtt_tables(broker.port(), TEMPLATES));
    let daemon = site.start();
    daemon.wait_for_subscription();
    daemon.wait_for_log(&format!("against the attributes device_id={WORKSHOP_ID}"));
    let payloads = [
        r#"{"temperature": 1}"#,
        r#"{"temperature": "ERR"}"#,
        r#"{"temperature": "---", "door": true}"#,
        r#"{"temperature": true, "door": 1}"#,
        r#"{"temperature": " 2.5 ", "door": "false"}"#,
        r#"{"temperature": "None", "nowhere": 7}"#,
    ];
    for payload in payloads {
        broker.publish([message("house/workshop", payload)]).await;
    }
    wait_until("all are counted", || daemon.count("/ledger/house/rejected/undeclared") == 1);
    daemon.wait_until_sent();
    let status = daemon.status();
    let misfits = &status["sensors"]["house"]["misfits"];
    assert!(misfits["temperature"].as_str().unwrap().contains("type number in Losant"), "{status}");
    assert!(misfits["nowhere"].as_str().unwrap().contains("has no attribute nowhere"), "{status}");
    daemon.wait_for_log("reason=wrong_type detail=\"sensor house, channel temperature: ");
    daemon.wait_for_log("reason=undeclared detail=\"sensor house, channel nowhere: ");
    assert!(daemon.terminate().success());
    assert_eq!(values_of(&cloud, WORKSHOP_ID, "temperature"), [json!(1), json!(2.5)]);
    assert_eq!(values_of(&cloud, WORKSHOP_ID, "door"), [json!(true), json!(false)]);
    assert_rejected(&site, "house", &json!({"wrong_type": 5, "undeclared": 1}));
}

#[tokio::test]
async fn states_from_before_the_first_contact_are_checked() {
    let cloud = cloud().await;
    cloud.set_offline(true);
    let site = Site::new(&cloud, &probe_tables(&["t", "nowhere"]));
    let mut tty = Tty::plugged(site.path("tty"));
    let daemon = site.start();
    tty.write("t=1\nt=ERR\nt=2 nowhere=5\nnowhere=6\nt=3\n");
    wait_until("all wait", || daemon.count("/outbox/states") == 5);
    cloud.set_offline(false);
    wait_until("the good ones arrive", || values(&cloud, "t") == [json!(1), json!(2), json!(3)]);
    daemon.wait_until_sent();
    let rejected = json!({"wrong_type": 1, "undeclared": 2});
    // A state that is queued again by hand is checked again.
    assert!(site.run(&["outbox", "requeue", "--all"]).status.success());
    let is_rejected = || daemon.status()["ledger"]["probe"]["rejected"] == rejected;
    wait_until("they are rejected again", || is_rejected() && daemon.count("/outbox/states") == 0);
    assert!(daemon.terminate().success());
    assert_rejected(&site, "probe", &rejected);
}

#[tokio::test]
async fn declared_types_survive_a_restart_without_the_cloud() {
    let cloud = cloud().await;
    let site = Site::new(&cloud, &probe_tables(&["t"]));
    let mut tty = Tty::plugged(site.path("tty"));
    let daemon = site.start();
    tty.write("t=1\n");
    wait_until("it arrives", || values(&cloud, "t") == [json!(1)]);
    assert!(daemon.terminate().success());
    cloud.set_offline(true);
    let daemon = site.start();
    tty.write("t=ERR\nt=2\n");
    wait_until("it is rejected", || daemon.count("/ledger/probe/rejected/wrong_type") == 1);
    assert!(daemon.terminate().success());
    site.outbox();
}

/// Sends readings while the clock here is ahead of Losant's, and returns the rejections.
fn rejections_with_clock_ahead(cloud: &Sandbox, ahead_ms: i64) -> u64 {
    cloud.set_clock_offset(-ahead_ms);
    let site = Site::new(cloud, &probe_tables(&["t"]));
    let mut tty = Tty::plugged(site.path("tty"));
    let daemon = site.start();
    tty.write("t=1\nt=2\n");
    wait_until("both have an outcome", || {
        let account = &daemon.status()["ledger"]["probe"];
        account["received"] == 2 && daemon.count("/outbox/states") == 0
    });
    let rejected = daemon.count("/ledger/probe/rejected/time_refused");
    assert!(daemon.terminate().success());
    site.outbox();
    rejected
}

#[tokio::test]
async fn nothing_is_sent_that_losant_ignores_for_its_date() {
    const DAY_MS: i64 = 86_400_000;
    for (days, rejected) in [(300, 2), (-40, 2), (0, 0)] {
        let cloud = cloud().await;
        assert_eq!(rejections_with_clock_ahead(&cloud, days * DAY_MS), rejected, "{days}");
    }
}

#[tokio::test]
async fn two_values_of_one_attribute_are_both_counted() {
    let (cloud, broker) = (cloud().await, Broker::start());
    let sensor = r#"
[sensor.plug]
bus = "house"
topic = "tele/SENSOR"
format = "json"
map = [
  { channel = "/AM2301/Temperature", attribute = "temperature" },
  { channel = "/BME280/Temperature", attribute = "{{ payload.name }}" },
]
"#;
    let site = Site::new(&cloud, &mqtt_tables(broker.port(), sensor));
    let daemon = site.start();
    daemon.wait_for_subscription();
    let payload = r#"{"AM2301":{"Temperature":20.1},"BME280":{"Temperature":25.5},
        "name":"temperature"}"#;
    broker.publish([message("tele/SENSOR", payload)]).await;
    wait_until("one arrives", || values(&cloud, "temperature") == [json!(20.1)]);
    assert!(daemon.terminate().success());
    assert_rejected(&site, "house", &json!({"duplicate_attribute": 1}));
}
