//! Readings reach the cloud: all of them, once, in order, whatever happens on the way.

use serde_json::{Value, json};
use tidegate_sandbox::{Action, Fault, GREENHOUSE_ID, Sandbox, Undeclared, WORKSHOP_ID};

use crate::support::{
    Broker, Site, Tty, assert_content, assert_counts, cloud, numbers, values, values_of, wait_until,
};

/// A sensor of numbers on a serial bus.
pub(crate) const SERIAL: &str = r#"
[bus.serial.probe]
path = "tty"
[sensor.probe]
bus = "probe"
format = "key-value"
map = [{ channel = "n", attribute = "n" }, { channel = "t", attribute = "t", scale = 0.1, offset = -4 }]
"#;

/// A sensor of numbers on an MQTT bus.
pub(crate) fn mqtt(port: u16) -> String {
    format!(
        r#"
[bus.mqtt.house]
host = "127.0.0.1"
port = {port}
[sensor.number]
bus = "house"
topic = "n/#"
format = "text"
map = [{{ channel = "value", attribute = "n" }}]
"#
    )
}

/// Messages with the numbers of a range, for the sensor above.
pub(crate) fn messages(range: std::ops::Range<u64>) -> impl Iterator<Item = (String, Vec<u8>)> {
    range.map(|number| ("n/a".to_owned(), number.to_string().into_bytes()))
}

/// Waits until the gateway's attribute `n` counts from 0 to `count` in the cloud.
pub(crate) fn wait_for_numbers(cloud: &Sandbox, count: u64) {
    wait_until("all numbers are in the cloud", || values(cloud, "n").len() as u64 >= count);
    assert_counts(cloud, count);
}

#[tokio::test]
async fn serial_lines_arrive_with_scale_and_offset() {
    let cloud = cloud().await;
    let site = Site::new(&cloud, SERIAL);
    let mut tty = Tty::plugged(site.path("tty"));
    let daemon = site.start();
    tty.write("n=0 t=215\nn=1 t=216\r\n");
    wait_for_numbers(&cloud, 2);
    assert_eq!(values(&cloud, "t"), [json!(17.5), json!(17.6)]);
    assert!(daemon.terminate().success());
    assert_eq!(site.outbox()["states"], 0);
    assert_content(&cloud);
}

#[tokio::test]
async fn csv_and_json_lines_are_decoded() {
    let cloud = cloud().await;
    let site = Site::new(
        &cloud,
        r#"
[bus.serial.a]
path = "a"
[bus.serial.b]
path = "b"
[sensor.wind]
bus = "a"
format = "csv"
columns = ["speed", "direction"]
map = [{ channel = "speed", attribute = "speed" }]
[sensor.door]
bus = "b"
device = "workshop"
format = "json"
map = [{ channel = "/doors/1", attribute = "door" }, { channel = "name", attribute = "name" }]
"#,
    );
    let (mut a, mut b) = (Tty::plugged(site.path("a")), Tty::plugged(site.path("b")));
    let daemon = site.start();
    a.write("12.5,270\n");
    b.write("{\"doors\": [true, false], \"name\": \"grün\"}\n");
    wait_until("both arrive", || {
        values(&cloud, "speed") == [json!(12.5)]
            && values_of(&cloud, WORKSHOP_ID, "door") == [json!(false)]
            && values_of(&cloud, WORKSHOP_ID, "name") == [json!("grün")]
    });
    assert!(daemon.terminate().success());
    site.outbox();
    assert_content(&cloud);
}

#[tokio::test]
async fn topic_names_device_and_attribute() {
    let (cloud, broker) = (cloud().await, Broker::start());
    let instruments = format!(
        r#"
[bus.mqtt.house]
host = "127.0.0.1"
port = {}
[sensor.any]
bus = "house"
topic = "sensors/+/+"
device = "{{{{ topic[1] }}}}"
format = "json"
map = [{{ channel = "/now/value", attribute = "{{{{ topic[2] }}}}_now" }}]
"#,
        broker.port()
    );
    let site = Site::new(&cloud, &instruments);
    let daemon = site.start();
    daemon.wait_for_subscription();
    let message = |topic: &str, value: u64| {
        (topic.to_owned(), json!({"now": {"value": value}}).to_string().into_bytes())
    };
    let topics =
        [("sensors/greenhouse/co2", 1), ("sensors/workshop/co2", 2), ("sensors/attic/co2", 3)];
    broker.publish(topics.map(|(topic, value)| message(topic, value))).await;
    wait_until("both known devices have their values", || {
        values_of(&cloud, GREENHOUSE_ID, "co2_now") == [json!(1)]
            && values_of(&cloud, WORKSHOP_ID, "co2_now") == [json!(2)]
    });
    wait_until("the unknown one is counted", || {
        daemon.count("/ledger/house/rejected/unknown_device") == 1
    });
    assert!(daemon.terminate().success());
    site.outbox();
    assert_content(&cloud);
}

#[tokio::test]
async fn readings_of_an_outage_arrive_later_in_order() {
    let (cloud, broker) = (cloud().await, Broker::start());
    let site = Site::new(&cloud, &mqtt(broker.port()));
    let daemon = site.start();
    daemon.wait_for_subscription();
    broker.publish(messages(0..50)).await;
    wait_for_numbers(&cloud, 50);
    cloud.set_dark(true);
    broker.publish(messages(50..250)).await;
    wait_until("the backlog grows", || daemon.count("/outbox/states") == 200);
    cloud.set_dark(false);
    wait_for_numbers(&cloud, 250);
    assert!(daemon.terminate().success());
    assert_eq!(site.outbox()["states"], 0);
    assert_content(&cloud);
}

#[tokio::test]
async fn acknowledged_messages_survive_kills_offline() {
    let (cloud, broker) = (cloud().await, Broker::start());
    let site = Site::new(&cloud, &mqtt(broker.port()));
    site.start().wait_for_subscription();
    cloud.set_dark(true);
    let total = 400;
    let mut daemon = site.start();
    for part in 0..4 {
        broker.publish(messages(part * 100..part * 100 + 50)).await;
        daemon.kill();
        broker.publish(messages(part * 100 + 50..part * 100 + 100)).await;
        daemon = site.start();
    }
    wait_until("all are in the outbox", || daemon.count("/outbox/states") >= total);
    cloud.set_dark(false);
    wait_for_numbers(&cloud, total);
    assert!(daemon.terminate().success());
    assert_eq!(site.outbox()["states"], 0);
    assert_content(&cloud);
}

#[tokio::test]
async fn start_without_the_cloud_waits_for_it() {
    let cloud = cloud().await;
    cloud.close();
    let site = Site::new(&cloud, SERIAL);
    let mut tty = Tty::plugged(site.path("tty"));
    let daemon = site.start();
    tty.write("n=0\n");
    daemon.wait_for_log("cloud offline");
    cloud.reopen().await.unwrap();
    wait_for_numbers(&cloud, 1);
    assert!(daemon.terminate().success());
    site.outbox();
}

#[tokio::test]
async fn backlog_drains_without_a_429() {
    let (cloud, broker) = (cloud().await, Broker::start());
    let site = Site::new(&cloud, &mqtt(broker.port()));
    let daemon = site.start();
    daemon.wait_for_subscription();
    cloud.set_dark(true);
    broker.publish(messages(0..3_600)).await;
    wait_until("all are in the outbox", || daemon.count("/outbox/states") == 3_600);
    cloud.set_dark(false);
    wait_for_numbers(&cloud, 3_600);
    assert!(daemon.terminate().success());
    site.outbox();
    assert_content(&cloud);
}

#[tokio::test]
async fn repeat_after_a_lost_answer_changes_nothing() {
    let cloud = cloud().await;
    let site = Site::new(&cloud, SERIAL);
    let mut tty = Tty::plugged(site.path("tty"));
    let daemon = site.start();
    cloud.fail_next(Action::SendState, 1, Fault::LoseResponse);
    tty.write("n=0\nn=1\nn=2\n");
    wait_until("the cloud confirms", || daemon.count("/cloud/readings_stored") == 3);
    assert_eq!(values(&cloud, "n"), numbers(3));
    assert!(cloud.counters().states_overwritten > 0, "nothing was sent twice");
    assert!(daemon.terminate().success());
    site.outbox();
    assert_content(&cloud);
}

#[tokio::test]
async fn refused_state_does_not_delay_its_neighbours() {
    let cloud = Sandbox::builder().undeclared(Undeclared::Reject).start().await.unwrap();
    let site = Site::new(
        &cloud,
        r#"
[bus.serial.probe]
path = "tty"
[sensor.probe]
bus = "probe"
format = "key-value"
map = [{ channel = "t", attribute = "temperature" }, { channel = "x", attribute = "notDeclared" }]
"#,
    );
    let mut tty = Tty::plugged(site.path("tty"));
    let daemon = site.start();
    cloud.set_dark(true);
    tty.write("t=0\nt=1\nx=9\nt=2\nt=3\n");
    wait_until("all wait", || daemon.count("/outbox/states") == 5);
    cloud.set_dark(false);
    wait_until("the neighbours arrive", || values(&cloud, "temperature") == numbers(4));
    wait_until("it is rejected", || daemon.count("/ledger/probe/rejected/refused_by_cloud") == 1);
    daemon.wait_for_log("notDeclared is not declared");
    assert!(daemon.terminate().success());
    site.outbox();
}

#[tokio::test]
async fn expired_token_is_renewed_once() {
    let cloud = cloud().await;
    let site = Site::new(&cloud, SERIAL);
    let mut tty = Tty::plugged(site.path("tty"));
    let daemon = site.start();
    tty.write("n=0\n");
    wait_for_numbers(&cloud, 1);
    let authentications = || cloud.counters().calls["authenticateDevice"];
    assert_eq!(authentications(), 1);
    cloud.expire_tokens();
    tty.write("n=1\n");
    wait_for_numbers(&cloud, 2);
    assert_eq!(authentications(), 2);
    assert!(daemon.terminate().success());
    site.outbox();
}

#[tokio::test]
async fn refused_peripheral_does_not_delay_the_gateway() {
    let cloud = cloud().await;
    let site = Site::new(
        &cloud,
        &format!(
            r#"{SERIAL}
[sensor.other]
bus = "probe"
device = "greenhouse"
format = "key-value"
map = [{{ channel = "p", attribute = "p" }}]
"#
        ),
    );
    let mut tty = Tty::plugged(site.path("tty"));
    let daemon = site.start();
    cloud.fail_next(Action::SendState, 1, Fault::Status(403, r#"{"type":"Forbidden"}"#.to_owned()));
    tty.write("p=1\n");
    daemon.wait_for_log("the cloud refuses this device");
    tty.write("n=0\nn=1\n");
    wait_for_numbers(&cloud, 2);
    wait_until("only the peripheral's state is kept", || daemon.count("/outbox/states") == 1);
    assert!(daemon.terminate().success());
    site.outbox();
}

#[tokio::test]
async fn captive_portal_is_not_taken_for_the_cloud() {
    let cloud = cloud().await;
    let site = Site::new(&cloud, SERIAL);
    let mut tty = Tty::plugged(site.path("tty"));
    let daemon = site.start();
    let page = Fault::Status(200, "<html>please log in</html>".to_owned());
    cloud.fail_next(Action::SendState, 3, page);
    tty.write("n=0\n");
    wait_for_numbers(&cloud, 1);
    assert!(daemon.log().contains("login page"));
    assert!(daemon.terminate().success());
    site.outbox();
}

#[tokio::test]
async fn broker_may_start_late_and_restart() {
    let (cloud, mut broker) = (cloud().await, Broker::absent());
    let site = Site::new(&cloud, &mqtt(broker.port()));
    let daemon = site.start();
    daemon.wait_for_log("is the broker running");
    broker.restart();
    daemon.wait_for_subscription();
    broker.publish(messages(0..5)).await;
    wait_for_numbers(&cloud, 5);
    broker.stop();
    let connections = || daemon.log().matches("broker connected").count();
    let before = connections();
    broker.restart();
    wait_until("the daemon is back", || connections() > before);
    broker.publish(messages(5..10)).await;
    wait_for_numbers(&cloud, 10);
    assert!(daemon.terminate().success());
    site.outbox();
    assert_content(&cloud);
}

#[tokio::test]
async fn retained_messages_need_the_option() {
    let (cloud, broker) = (cloud().await, Broker::start());
    let wanted = mqtt(broker.port()).replace("n/#", "old/#").replace("sensor.number", "sensor.old");
    let wanted = wanted.split_once("[sensor.old]").unwrap().1.replace("\"n\"", "\"old\"");
    let instruments = format!("{}[sensor.old]{wanted}retained = true\n", mqtt(broker.port()));
    let retained = [("n/a", "1"), ("old/a", "2")];
    let retained = retained.map(|(topic, payload)| (topic.to_owned(), payload.as_bytes().to_vec()));
    broker.publish_as(retained, true).await;
    let site = Site::new(&cloud, &instruments);
    let daemon = site.start();
    wait_until("the wanted one arrives", || values(&cloud, "old") == [json!(2)]);
    wait_until("the other is counted", || daemon.count("/ledger/house/rejected/retained") == 1);
    assert_eq!(values(&cloud, "n"), Vec::<Value>::new());
    assert!(daemon.terminate().success());
    site.outbox();
}
