//! Commands reach their actuators: those that are allowed, and each once.

use jiff::{SignedDuration, Timestamp};
use serde_json::json;
use tidegate_sandbox::{Action, Fault, GATEWAY_ID, GREENHOUSE_ID, Sandbox, Step};

use crate::support::{Broker, Daemon, Site, Tty, cloud, fan_tables, wait_until};

fn lamp(port: u16) -> String {
    format!(
        r#"
[bus.mqtt.house]
host = "127.0.0.1"
port = {port}
[actuator.lamp]
device = "greenhouse"
command = "lamp"
bus = "house"
topic = "lamps/{{{{ payload.room }}}}/set"
payload = '{{"on": {{{{ payload.on }}}}}}'
"#
    )
}

fn wait_for_stream(cloud: &Sandbox, device: &str) {
    wait_until("the stream is open", || cloud.streams_open(device) == 1);
}

fn wait_for_executed(daemon: &Daemon, count: u64) {
    wait_until("the command is executed", || daemon.count("/commands/executed") == count);
}

#[tokio::test]
async fn command_reaches_a_serial_line_and_an_mqtt_topic() {
    let (cloud, broker) = (cloud().await, Broker::start());
    let site = Site::new(&cloud, &format!("{}{}", fan_tables(), lamp(broker.port())));
    let mut tty = Tty::plugged(site.path("tty"));
    let mut lamps = broker.subscribe("lamps/#").await;
    let daemon = site.start();
    daemon.wait_for_log("broker connected");
    wait_for_stream(&cloud, GATEWAY_ID);
    wait_for_stream(&cloud, GREENHOUSE_ID);
    cloud.send_command(GATEWAY_ID, "fan", json!({"speed": 80}));
    assert_eq!(tty.read_line(), "FAN 80");
    cloud.send_command(GREENHOUSE_ID, "lamp", json!({"room": "hall", "on": true}));
    let message = lamps.next().await;
    assert_eq!(
        (message.topic.as_str(), &message.payload[..]),
        ("lamps/hall/set", &b"{\"on\": true}"[..])
    );
    wait_for_executed(&daemon, 2);
    assert!(daemon.terminate().success());
    site.outbox();
}

#[tokio::test]
async fn cut_stream_loses_and_repeats_no_command() {
    let cloud = cloud().await;
    let site = Site::new(&cloud, &fan_tables());
    let mut tty = Tty::plugged(site.path("tty"));
    let daemon = site.start();
    wait_for_stream(&cloud, GATEWAY_ID);
    cloud.send_command(GATEWAY_ID, "fan", json!({"speed": 1}));
    assert_eq!(tty.read_line(), "FAN 1");
    cloud.cut_streams();
    wait_until("the stream is cut", || cloud.streams_open(GATEWAY_ID) == 0);
    cloud.send_command(GATEWAY_ID, "fan", json!({"speed": 2}));
    assert_eq!(tty.read_line(), "FAN 2", "what was sent in the gap is caught up");
    wait_for_stream(&cloud, GATEWAY_ID);
    cloud.send_command(GATEWAY_ID, "fan", json!({"speed": 3}));
    assert_eq!(tty.read_line(), "FAN 3");
    wait_for_executed(&daemon, 3);
    assert_eq!(daemon.count("/commands/received"), 3);
    assert!(daemon.terminate().success());
    site.outbox();
}

#[tokio::test]
async fn commands_before_the_first_start_do_not_run() {
    let cloud = cloud().await;
    cloud.send_command(GATEWAY_ID, "fan", json!({"speed": 1}));
    let site = Site::new(&cloud, &fan_tables());
    let mut tty = Tty::plugged(site.path("tty"));
    let daemon = site.start();
    wait_for_stream(&cloud, GATEWAY_ID);
    cloud.send_command(GATEWAY_ID, "fan", json!({"speed": 2}));
    assert_eq!(tty.read_line(), "FAN 2");
    assert_eq!(daemon.count("/commands/received"), 1);
    assert!(daemon.terminate().success());
}

#[tokio::test]
async fn unknown_and_unwritable_commands_do_not_run() {
    let (cloud, broker) = (cloud().await, Broker::absent());
    let site = Site::new(&cloud, &format!("{}{}", fan_tables(), lamp(broker.port())));
    let mut tty = Tty::plugged(site.path("tty"));
    let daemon = site.start();
    wait_for_stream(&cloud, GATEWAY_ID);
    wait_for_stream(&cloud, GREENHOUSE_ID);
    cloud.send_command(GATEWAY_ID, "selfDestruct", json!(null));
    wait_until("it is refused", || daemon.count("/commands/refused/unknown") == 1);
    cloud.send_command(GREENHOUSE_ID, "lamp", json!({"room": "hall", "on": true}));
    wait_until("without a broker it fails", || daemon.count("/commands/failed") == 1);
    let unwritable = || daemon.count("/commands/refused/unwritable");
    cloud.send_command(GATEWAY_ID, "fan", json!({"velocity": 1}));
    wait_until("without its field it is refused", || unwritable() == 1);
    cloud.send_command(GATEWAY_ID, "fan", json!({"speed": "1\nFAN 100"}));
    wait_until("a second line is not smuggled in", || unwritable() == 2);
    cloud.send_command(GATEWAY_ID, "fan", json!({"speed": 5}));
    assert_eq!(tty.read_line(), "FAN 5");
    wait_for_executed(&daemon, 1);
    assert!(daemon.terminate().success());
}

/// An event of the command stream, as Losant sends it.
fn event(name: &str, time: &str, payload: &str) -> Step {
    let command = format!(r#"{{"name": "{name}", "time": "{time}", "payload": {payload}}}"#);
    Step::Send(format!("event: deviceCommand\ndata: {command}\n\n").into_bytes())
}

#[tokio::test]
async fn old_command_is_refused_and_repeated_one_runs_once() {
    let cloud = cloud().await;
    let site = Site::new(&cloud, &fan_tables());
    let mut tty = Tty::plugged(site.path("tty"));
    // A little ahead, so that a slow start does not make it stale.
    let fresh = Timestamp::now() + SignedDuration::from_mins(4);
    let fresh = fresh.to_string();
    let script = vec![
        Step::Send(b":keepalive\n\n".to_vec()),
        event("fan", "2026-05-01T10:00:00.000Z", r#"{"speed": 1}"#),
        event("fan", &fresh, r#"{"speed": 2, "ramp": [1, 2]}"#),
        event("fan", &fresh, r#"{"ramp": [1, 2], "speed": 2}"#),
        Step::Send(b"event: deviceCommand\ndata: {\"name\": \"fan\"\n\n".to_vec()),
        Step::Send(b"event: somethingNew\ndata: {}\n\n".to_vec()),
        event("fan", &fresh, r#"{"speed": 3}"#),
        Step::Silence,
    ];
    cloud.fail_next(Action::CommandStream, 1, Fault::Script(script));
    let daemon = site.start();
    assert_eq!(tty.read_line(), "FAN 2");
    assert_eq!(tty.read_line(), "FAN 3");
    wait_for_executed(&daemon, 2);
    let commands = daemon.status()["commands"].clone();
    assert_eq!((&commands["received"], &commands["duplicates"]), (&json!(3), &json!(1)));
    assert_eq!(commands["refused"], json!({"stale": 1}));
    daemon.wait_for_log("invalid event on a stream; ignored");
    daemon.wait_for_log("unknown event on a stream; ignored");
    assert!(daemon.terminate().success());
}

#[tokio::test]
async fn command_during_an_outage_runs_once() {
    let cloud = cloud().await;
    let site = Site::new(&cloud, &fan_tables());
    let mut tty = Tty::plugged(site.path("tty"));
    let daemon = site.start();
    wait_for_stream(&cloud, GATEWAY_ID);
    cloud.send_command(GATEWAY_ID, "fan", json!({"speed": 1}));
    assert_eq!(tty.read_line(), "FAN 1");
    cloud.set_offline(true);
    wait_until("the stream is gone", || cloud.streams_open(GATEWAY_ID) == 0);
    cloud.send_command(GATEWAY_ID, "fan", json!({"speed": 2}));
    cloud.send_command(GATEWAY_ID, "fan", json!({"speed": 3}));
    cloud.set_offline(false);
    assert_eq!(tty.read_line(), "FAN 2");
    assert_eq!(tty.read_line(), "FAN 3");
    wait_for_stream(&cloud, GATEWAY_ID);
    cloud.send_command(GATEWAY_ID, "fan", json!({"speed": 4}));
    assert_eq!(tty.read_line(), "FAN 4");
    wait_for_executed(&daemon, 4);
    assert_eq!(daemon.count("/commands/received"), 4);
    assert!(daemon.terminate().success());
    site.outbox();
}

#[tokio::test]
async fn command_for_an_unplugged_line_fails_at_once() {
    let cloud = cloud().await;
    let site = Site::new(&cloud, &fan_tables());
    let mut tty = Tty::plugged(site.path("tty"));
    let daemon = site.start();
    wait_for_stream(&cloud, GATEWAY_ID);
    daemon.wait_for_log("serial line open");
    tty.unplug();
    daemon.wait_for_log("serial line not available");
    cloud.send_command(GATEWAY_ID, "fan", json!({"speed": 1}));
    wait_until("it fails", || daemon.count("/commands/failed") == 1);
    tty.plug();
    let lines_open = || daemon.log().matches("serial line open").count();
    wait_until("the line is open again", || lines_open() == 2);
    cloud.send_command(GATEWAY_ID, "fan", json!({"speed": 2}));
    assert_eq!(tty.read_line(), "FAN 2");
    wait_for_executed(&daemon, 1);
    assert!(daemon.terminate().success());
    site.outbox();
}
