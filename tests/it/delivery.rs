//! All readings reach the cloud once and in order, in spite of outages, kills and refusals.

use serde_json::{Value, json};
use tidegate_sandbox::{Action, Fault, GREENHOUSE_ID, Sandbox, UnfitValues, WORKSHOP_ID};

use crate::support::{
    Broker, Site, Tty, assert_content, cloud, message, number_messages, number_tables, numbers,
    probe_tables, values, values_of, wait_for_numbers, wait_until,
};

/// A serial sensor of `n`, and of `t` with a scale and an offset.
pub(crate) const SCALED_PROBE: &str = r#"
[bus.serial.probe]
path = "tty"
[sensor.probe]
bus = "probe"
format = "key-value"
map = [
  { channel = "n", attribute = "n" },
  { channel = "t", attribute = "t", scale = 0.1, offset = -4 },
]
"#;

#[tokio::test]
async fn serial_lines_arrive_with_scale_and_offset() {
    let cloud = cloud().await;
    let site = Site::new(&cloud, SCALED_PROBE);
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
    let value = |value: u64| json!({"now": {"value": value}}).to_string();
    broker
        .publish([
            message("sensors/greenhouse/co2", value(1)),
            message("sensors/workshop/co2", value(2)),
            message("sensors/attic/co2", value(3)),
        ])
        .await;
    wait_until("both known devices have their values", || {
        values_of(&cloud, GREENHOUSE_ID, "co2_now") == [json!(1)]
            && values_of(&cloud, WORKSHOP_ID, "co2_now") == [json!(2)]
    });
    wait_until("the unknown device is counted", || {
        daemon.count("/ledger/house/rejected/unknown_device") == 1
    });
    assert!(daemon.terminate().success());
    site.outbox();
    assert_content(&cloud);
}

#[tokio::test]
async fn readings_of_an_outage_arrive_later_in_order() {
    let (cloud, broker) = (cloud().await, Broker::start());
    let site = Site::new(&cloud, &number_tables(broker.port()));
    let daemon = site.start();
    daemon.wait_for_subscription();
    broker.publish(number_messages(0..50)).await;
    wait_for_numbers(&cloud, 50);
    cloud.set_offline(true);
    broker.publish(number_messages(50..250)).await;
    wait_until("the backlog grows", || daemon.count("/outbox/states") == 200);
    cloud.set_offline(false);
    wait_for_numbers(&cloud, 250);
    assert!(daemon.terminate().success());
    assert_eq!(site.outbox()["states"], 0);
    assert_content(&cloud);
}

#[tokio::test]
async fn acknowledged_messages_survive_kills_offline() {
    let (cloud, broker) = (cloud().await, Broker::start());
    let site = Site::new(&cloud, &number_tables(broker.port()));
    site.start().wait_for_subscription();
    cloud.set_offline(true);
    let total = 400;
    let mut daemon = site.start();
    for part in 0..4 {
        broker.publish(number_messages(part * 100..part * 100 + 50)).await;
        daemon.kill();
        broker.publish(number_messages(part * 100 + 50..part * 100 + 100)).await;
        daemon = site.start();
    }
    wait_until("all are in the outbox", || daemon.count("/outbox/states") >= total);
    cloud.set_offline(false);
    wait_for_numbers(&cloud, total);
    assert!(daemon.terminate().success());
    assert_eq!(site.outbox()["states"], 0);
    assert_content(&cloud);
}

#[tokio::test]
async fn start_without_the_cloud_waits_for_it() {
    let cloud = cloud().await;
    cloud.close();
    let site = Site::new(&cloud, &probe_tables(&["n"]));
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
    let site = Site::new(&cloud, &number_tables(broker.port()));
    let daemon = site.start();
    daemon.wait_for_subscription();
    cloud.set_offline(true);
    broker.publish(number_messages(0..3_600)).await;
    wait_until("all are in the outbox", || daemon.count("/outbox/states") == 3_600);
    cloud.set_offline(false);
    wait_for_numbers(&cloud, 3_600);
    assert!(daemon.terminate().success());
    site.outbox();
    assert_content(&cloud);
}

#[tokio::test]
async fn repeat_after_a_lost_answer_changes_nothing() {
    let cloud = cloud().await;
    let site = Site::new(&cloud, &probe_tables(&["n"]));
    let mut tty = Tty::plugged(site.path("tty"));
    let daemon = site.start();
    cloud.fail_next(Action::SendState, 1, Fault::LoseResponse);
    tty.write("n=0\nn=1\nn=2\n");
    wait_until("the cloud confirms", || daemon.count("/cloud/readings_stored") == 3);
    assert_eq!(values(&cloud, "n"), numbers(3));
    assert!(cloud.counters().states_overwritten > 0, "no state was sent twice");
    assert!(daemon.terminate().success());
    site.outbox();
    assert_content(&cloud);
}

#[tokio::test]
async fn refused_state_does_not_delay_its_neighbours() {
    let cloud = Sandbox::builder().unfit_values(UnfitValues::Reject).start().await.unwrap();
    // The daemon may not read the attributes of the device, so it cannot reject the state itself.
    cloud.fail_next(Action::Get, usize::MAX, Fault::Status(403, String::new()));
    let site = Site::new(
        &cloud,
        r#"
[bus.serial.probe]
path = "tty"
[sensor.probe]
bus = "probe"
format = "key-value"
map = [
  { channel = "t", attribute = "temperature" },
  { channel = "x", attribute = "notDeclared" },
]
"#,
    );
    let mut tty = Tty::plugged(site.path("tty"));
    let daemon = site.start();
    cloud.set_offline(true);
    tty.write("t=0\nt=1\nx=9\nt=2\nt=3\n");
    wait_until("all states wait", || daemon.count("/outbox/states") == 5);
    cloud.set_offline(false);
    wait_until("the neighbours arrive", || values(&cloud, "temperature") == numbers(4));
    wait_until("the bad state is rejected", || {
        daemon.count("/ledger/probe/rejected/refused_by_cloud") == 1
    });
    daemon.wait_for_log("notDeclared is not declared");
    assert!(daemon.terminate().success());
    site.outbox();
}

#[tokio::test]
async fn expired_token_is_renewed_once() {
    let cloud = cloud().await;
    let site = Site::new(&cloud, &probe_tables(&["n"]));
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
            r#"{}
[sensor.other]
bus = "probe"
device = "greenhouse"
format = "key-value"
map = [{{ channel = "p", attribute = "p" }}]
"#,
            probe_tables(&["n"])
        ),
    );
    let mut tty = Tty::plugged(site.path("tty"));
    let daemon = site.start();
    cloud.fail_next(Action::SendState, 1, Fault::Status(403, r#"{"type":"Forbidden"}"#.to_owned()));
    tty.write("p=1\n");
    daemon.wait_for_log("cloud refuses this device");
    tty.write("n=0\nn=1\n");
    wait_for_numbers(&cloud, 2);
    wait_until("only the peripheral's state is kept", || daemon.count("/outbox/states") == 1);
    assert!(daemon.terminate().success());
    site.outbox();
}

#[tokio::test]
async fn captive_portal_is_not_taken_for_the_cloud() {
    let cloud = cloud().await;
    let site = Site::new(&cloud, &probe_tables(&["n"]));
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
    let site = Site::new(&cloud, &number_tables(broker.port()));
    let daemon = site.start();
    daemon.wait_for_log("is the broker running");
    broker.restart();
    daemon.wait_for_subscription();
    broker.publish(number_messages(0..5)).await;
    wait_for_numbers(&cloud, 5);
    broker.stop();
    let connections = || daemon.log().matches("broker connected").count();
    let before = connections();
    broker.restart();
    wait_until("the daemon is connected again", || connections() > before);
    broker.publish(number_messages(5..10)).await;
    wait_for_numbers(&cloud, 10);
    assert!(daemon.terminate().success());
    site.outbox();
    assert_content(&cloud);
}

#[tokio::test]
async fn retained_messages_need_the_option() {
    let (cloud, broker) = (cloud().await, Broker::start());
    let retained = "[sensor.old]\nbus = \"house\"\ntopic = \"old/#\"\nformat = \"text\"\n\
                    retained = true\nmap = [{ channel = \"value\", attribute = \"old\" }]\n";
    let instruments = number_tables(broker.port()) + retained;
    broker.publish_as([message("n/a", "1"), message("old/a", "2")], true).await;
    let site = Site::new(&cloud, &instruments);
    let daemon = site.start();
    wait_until("the retained message arrives", || values(&cloud, "old") == [json!(2)]);
    wait_until("the other message is counted", || {
        daemon.count("/ledger/house/skipped/retained") == 1
    });
    assert_eq!(values(&cloud, "n"), Vec::<Value>::new());
    assert!(daemon.terminate().success());
    site.outbox();
}
