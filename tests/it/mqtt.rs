//! MQTT buses: overlapping topics, acknowledgements and sessions.

use serde_json::{Value, json};

use crate::support::{
    Broker, Site, assert_content, cloud, message, mqtt_tables, number_tables, values, values_of,
    wait_until,
};

#[tokio::test]
async fn text_payload_gets_scale_and_offset() {
    let (cloud, broker) = (cloud().await, Broker::start());
    let sensors = r#"
[sensor.power]
bus = "house"
topic = "meters/+/power"
format = "text"
map = [{ channel = "value", attribute = "{{ topic[1] }}_power", scale = 0.001, offset = -1 }]
"#;
    let site = Site::new(&cloud, &mqtt_tables(broker.port(), sensors));
    let daemon = site.start();
    daemon.wait_for_subscription();
    broker
        .publish([message("meters/oven/power", " 2500\n"), message("meters/pv/power", "-500")])
        .await;
    wait_until("both messages arrive", || {
        values(&cloud, "oven_power") == [json!(1.5)] && values(&cloud, "pv_power") == [json!(-1.5)]
    });
    assert!(daemon.terminate().success());
    site.outbox();
    assert_content(&cloud);
}

#[tokio::test]
async fn overlapping_topics_give_one_reading_each() {
    let (cloud, broker) = (cloud().await, Broker::start());
    let sensors = r##"
[sensor.all]
bus = "house"
topic = "#"
device = "greenhouse"
format = "text"
map = [{ channel = "value", attribute = "all" }]
[sensor.some]
bus = "house"
topic = "n/+"
device = "greenhouse"
format = "text"
map = [{ channel = "value", attribute = "some" }]
[sensor.one]
bus = "house"
topic = "n/a"
format = "text"
map = [{ channel = "value", attribute = "one" }]
"##;
    let site = Site::new(&cloud, &mqtt_tables(broker.port(), sensors));
    let daemon = site.start();
    daemon.wait_for_subscription();
    broker.publish([message("n/a", "1"), message("n/b", "2"), message("last", "3")]).await;
    let all = || values_of(&cloud, tidegate_sandbox::GREENHOUSE_ID, "all");
    wait_until("the last message arrives", || all().contains(&json!(3)));
    assert!(daemon.terminate().success());
    assert_eq!(all(), [json!(1), json!(2), json!(3)]);
    assert_eq!(values_of(&cloud, tidegate_sandbox::GREENHOUSE_ID, "some"), [json!(1), json!(2)]);
    assert_eq!(values(&cloud, "one"), [json!(1)]);
    site.outbox();
    assert_content(&cloud);
}

#[tokio::test]
async fn bad_payloads_are_counted_and_acknowledged() {
    let (cloud, broker) = (cloud().await, Broker::start());
    let sensors = r#"
[sensor.climate]
bus = "house"
topic = "climate"
format = "json"
map = [{ channel = "/t", attribute = "t" }]
"#;
    let site = Site::new(&cloud, &mqtt_tables(broker.port(), sensors));
    let daemon = site.start();
    daemon.wait_for_subscription();
    let payloads: [&[u8]; 7] =
        [b"{\"t\": 1}", b"", b"{", b"\xff\xfe", b"{\"t\": [1]}", b"{\"h\": 1}", b"{\"t\": 2}"];
    broker.publish(payloads.map(|payload| message("climate", payload))).await;
    wait_until("the good messages arrive", || values(&cloud, "t") == [json!(1), json!(2)]);
    assert!(daemon.terminate().success());
    let before = site.outbox();
    let rejected = json!({"malformed": 2, "not_scalar": 1});
    assert_eq!(before["ledger"]["house"]["rejected"], rejected);
    let skipped = json!({"no_channel": 1, "no_value": 1});
    assert_eq!(before["ledger"]["house"]["skipped"], skipped);
    let daemon = site.start();
    daemon.wait_for_log("resumed=true");
    broker.publish([message("climate", "{\"t\": 3}")]).await;
    wait_until("the next message arrives", || values(&cloud, "t").len() == 3);
    assert!(daemon.terminate().success());
    assert_eq!(
        site.outbox()["ledger"]["house"]["rejected"],
        rejected,
        "the broker delivered them again"
    );
    assert_content(&cloud);
}

#[tokio::test]
async fn equal_messages_after_a_kill_are_stored() {
    let (cloud, broker) = (cloud().await, Broker::start());
    let site = Site::new(&cloud, &number_tables(broker.port()));
    let daemon = site.start();
    daemon.wait_for_subscription();
    broker.publish([message("n/a", "7"), message("n/a", "7")]).await;
    wait_until("both messages arrive", || values(&cloud, "n").len() == 2);
    daemon.kill();
    let daemon = site.start();
    daemon.wait_for_log("resumed=true");
    broker.publish([message("n/a", "7"), message("n/a", "7")]).await;
    wait_until("all four arrive", || values(&cloud, "n").len() == 4);
    assert_eq!(values(&cloud, "n"), vec![Value::from(7); 4]);
    assert!(daemon.terminate().success());
    assert_eq!(site.outbox()["ledger"]["house"]["stored"], 4);
    assert_content(&cloud);
}

#[tokio::test]
async fn broker_keeps_messages_of_a_stopped_daemon() {
    let (cloud, broker) = (cloud().await, Broker::start());
    let site = Site::new(&cloud, &number_tables(broker.port()));
    let daemon = site.start();
    daemon.wait_for_subscription();
    assert!(daemon.terminate().success());
    broker.publish([message("n/a", "1"), message("n/a", "2")]).await;
    let daemon = site.start();
    wait_until("both messages arrive", || values(&cloud, "n") == [json!(1), json!(2)]);
    assert!(daemon.terminate().success());
    site.outbox();
    assert_content(&cloud);
}

#[tokio::test]
async fn equal_messages_after_a_broker_restart_are_stored() {
    let (cloud, mut broker) = (cloud().await, Broker::persistent());
    let site = Site::new(&cloud, &number_tables(broker.port()));
    let daemon = site.start();
    daemon.wait_for_log("resumed=false");
    for round in 1..=3 {
        broker.publish((0..5).map(|_| message("n/a", "7"))).await;
        wait_until("all arrive", || values(&cloud, "n").len() == round * 5);
        broker.restart_in_order();
        let resumptions = || daemon.log().matches("resumed=true").count();
        wait_until("the session is resumed", || resumptions() == round);
    }
    assert!(daemon.terminate().success());
    assert_eq!(site.outbox()["ledger"]["house"]["stored"], 15);
    assert_content(&cloud);
}
