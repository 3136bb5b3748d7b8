//! Commands reach their actuators: those that are allowed, and each once.

use serde_json::json;
use tidegate_sandbox::{GATEWAY_ID, GREENHOUSE_ID, Sandbox};

use crate::support::{Broker, Daemon, Site, Tty, cloud, wait_until};

const FAN: &str = r#"
[bus.serial.probe]
path = "tty"
[actuator.fan]
command = "fan"
bus = "probe"
write = "FAN {{ payload.speed }}\n"
"#;

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
async fn a_command_reaches_a_serial_line_and_an_mqtt_topic() {
    let (cloud, broker) = (cloud().await, Broker::start());
    let site = Site::new(&cloud, &format!("{FAN}{}", lamp(broker.port())));
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
async fn a_cut_stream_is_opened_again_and_nothing_is_lost_or_repeated() {
    let cloud = cloud().await;
    let site = Site::new(&cloud, FAN);
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
async fn what_was_sent_before_the_start_is_not_run() {
    let cloud = cloud().await;
    cloud.send_command(GATEWAY_ID, "fan", json!({"speed": 1}));
    let site = Site::new(&cloud, FAN);
    let mut tty = Tty::plugged(site.path("tty"));
    let daemon = site.start();
    wait_for_stream(&cloud, GATEWAY_ID);
    cloud.send_command(GATEWAY_ID, "fan", json!({"speed": 2}));
    assert_eq!(tty.read_line(), "FAN 2");
    assert_eq!(daemon.count("/commands/received"), 1);
    assert!(daemon.terminate().success());
}

#[tokio::test]
async fn what_no_actuator_takes_is_refused_and_what_cannot_be_written_fails() {
    let (cloud, broker) = (cloud().await, Broker::absent());
    let site = Site::new(&cloud, &format!("{FAN}{}", lamp(broker.port())));
    let mut tty = Tty::plugged(site.path("tty"));
    let daemon = site.start();
    wait_for_stream(&cloud, GATEWAY_ID);
    wait_for_stream(&cloud, GREENHOUSE_ID);
    cloud.send_command(GATEWAY_ID, "selfDestruct", json!(null));
    wait_until("it is refused", || daemon.count("/commands/refused/unknown") == 1);
    cloud.send_command(GREENHOUSE_ID, "lamp", json!({"room": "hall", "on": true}));
    wait_until("without a broker it fails", || daemon.count("/commands/failed") == 1);
    cloud.send_command(GATEWAY_ID, "fan", json!({"velocity": 1}));
    wait_until("without its field it fails", || daemon.count("/commands/failed") == 2);
    cloud.send_command(GATEWAY_ID, "fan", json!({"speed": "1\nFAN 100"}));
    wait_until("a second line is not smuggled in", || daemon.count("/commands/failed") == 3);
    cloud.send_command(GATEWAY_ID, "fan", json!({"speed": 5}));
    assert_eq!(tty.read_line(), "FAN 5");
    wait_for_executed(&daemon, 1);
    assert!(daemon.terminate().success());
}
