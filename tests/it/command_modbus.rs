//! Commands to a Modbus server of another project, pymodbus, over TCP and over a serial line.

use std::net::TcpListener;

use serde_json::{Value, json};
use tidegate_sandbox::GATEWAY_ID;

use crate::bus_modbus::Server;
use crate::support::{Daemon, Site, cloud, join_ttys, values, wait_until};

/// Unit 1 is there, unit 2 is not. What is written is read by a sensor, too.
fn actuators(line: &str) -> String {
    format!(
        r#"
[bus.modbus.line]
{line}
interval = "100 ms"
timeout = "300 ms"
[bus.modbus.line.unit.pump]
id = 1
registers = [
  {{ channel = "level", table = "holding", address = 30, kind = "f32", order = "cdab" }},
  {{ channel = "on", table = "coil", address = 2 }},
  {{ channel = "valve", table = "holding", address = 40 }},
]
[bus.modbus.line.unit.dead]
id = 2
[sensor.pump]
bus = "line"
topic = "pump"
format = "json"
map = [
  {{ channel = "level", attribute = "level" }},
  {{ channel = "on", attribute = "on" }},
  {{ channel = "valve", attribute = "opening" }},
]
{ACTUATORS}"#
    )
}

const ACTUATORS: &str = r#"
[actuator.level]
command = "level"
bus = "line"
unit = "pump"
address = 30
kind = "f32"
order = "cdab"
value = "{{ payload | scale(0.1) }}"
read_back = true
[actuator.on]
command = "on"
bus = "line"
unit = "pump"
table = "coil"
address = 2
value = "{{ payload }}"
use_multiple_write = true
[actuator.valve]
command = "valve"
bus = "line"
unit = "pump"
address = 40
value = "{{ payload }}"
read_back = true
[actuator.liar]
command = "liar"
bus = "line"
unit = "pump"
address = 21
value = "{{ payload }}"
use_multiple_write = true
read_back = true
[actuator.nowhere]
command = "nowhere"
bus = "line"
unit = "pump"
address = 5000
value = "{{ payload }}"
[actuator.dead]
command = "dead"
bus = "line"
unit = "dead"
address = 1
value = "{{ payload }}"
"#;

/// The last outcome of the actuator, and what it said.
fn outcome(daemon: &Daemon, actuator: &str) -> Option<(String, String)> {
    let status = daemon.status();
    let of = |record: &&Value| record["actuator"] == actuator && record["result"] != "started";
    let record = status["command_history"].as_array()?.iter().find(of)?;
    let text = |key: &str| record[key].as_str().unwrap_or_default().to_owned();
    Some((text("result"), text("message")))
}

fn wait_for_outcome(daemon: &Daemon, actuator: &str) -> (String, String) {
    wait_until("there is an outcome", || outcome(daemon, actuator).is_some());
    outcome(daemon, actuator).unwrap()
}

#[tokio::test]
async fn modbus_tcp_write_reports_success_and_each_failure() {
    let cloud = cloud().await;
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let site = Site::new(&cloud, &actuators(&format!("tcp = \"127.0.0.1:{port}\"")));
    let _server = Server::start("tcp", &port.to_string());
    let daemon = site.start();
    wait_until("the stream is open", || cloud.streams_open(GATEWAY_ID) == 1);
    cloud.send_command(GATEWAY_ID, "level", json!(215));
    cloud.send_command(GATEWAY_ID, "on", json!(true));
    cloud.send_command(GATEWAY_ID, "valve", json!(65535));
    assert_eq!(wait_for_outcome(&daemon, "level"), ("executed".into(), "read back".into()));
    assert_eq!(wait_for_outcome(&daemon, "on"), ("executed".into(), String::new()));
    assert_eq!(wait_for_outcome(&daemon, "valve"), ("executed".into(), "read back".into()));
    wait_until("the unit holds it", || {
        values(&cloud, "level").contains(&json!(21.5))
            && values(&cloud, "on").contains(&json!(true))
            && values(&cloud, "opening").contains(&json!(65535))
    });
    for (command, words) in [
        ("liar", "unit pump holds [0000] instead"),
        ("nowhere", "unit pump refuses: Illegal data address"),
        ("dead", "no valid answer within 300ms; the write may have happened"),
    ] {
        cloud.send_command(GATEWAY_ID, command, json!(7));
        let (result, message) = wait_for_outcome(&daemon, command);
        assert_eq!(result, "failed", "{command}: {message}");
        assert!(message.contains(words), "{command}: {message}");
    }
    assert!(daemon.terminate().success());
    site.outbox();
}

#[tokio::test]
async fn read_back_settles_writes_with_damaged_answers() {
    let cloud = cloud().await;
    let site = Site::new(&cloud, &actuators("path = \"tty\"\nbaud_rate = 19200"));
    join_ttys(&site.path("tty"), &site.path("server"));
    let _server = Server::start("rtu", site.path("server").to_str().unwrap());
    let daemon = site.start();
    wait_until("the stream is open", || cloud.streams_open(GATEWAY_ID) == 1);
    for number in 1..=20 {
        cloud.send_command(GATEWAY_ID, "valve", json!(number));
    }
    wait_until("all are done", || daemon.count("/commands/executed") == 20);
    assert_eq!(daemon.count("/commands/failed"), 0);
    wait_until("the unit holds the last", || values(&cloud, "opening").contains(&json!(20)));
    assert!(daemon.terminate().success());
    site.outbox();
}

#[tokio::test]
async fn values_beyond_the_register_are_refused() {
    let cloud = cloud().await;
    let site = Site::new(&cloud, &actuators("tcp = \"127.0.0.1:9\""));
    for (command, payload, words) in [
        ("valve", "65536", "does not fit"),
        ("valve", "-1", "does not fit"),
        ("valve", "1.5", "is not a whole number"),
        ("valve", r#""1; 2""#, "is not a number"),
        ("valve", r#""{{ 7 }}""#, "is not a number"),
        ("valve", r#""1\n2""#, "control character"),
        ("valve", "[1, 2]", "is not a number"),
        ("valve", "null", "is not a number"),
        ("on", "2", "is not a boolean"),
        ("on", r#""on""#, "is not a boolean"),
        ("level", "1e300", "does not fit"),
    ] {
        let output = site.run(&["commands", "run", "--dry-run", "gateway", command, payload]);
        let text = String::from_utf8([output.stdout, output.stderr].concat()).unwrap();
        assert!(text.contains("unwritable") && text.contains(words), "{command} {payload}: {text}");
    }
    let output = site.run(&["commands", "run", "--dry-run", "gateway", "level", "215"]);
    let text = String::from_utf8_lossy(&output.stdout);
    assert_eq!(text, "level: writes [0000, 41ac] to holding register 30 of pump\n");
}

#[tokio::test]
async fn mistakes_in_a_modbus_actuator_are_reported() {
    let cloud = cloud().await;
    let site = Site::new(
        &cloud,
        r#"
[bus.modbus.a]
tcp = "plc"
[bus.modbus.a.unit.idle]
id = 1
[bus.modbus.a.unit.one]
id = 2
[actuator.a]
command = "a"
bus = "a"
unit = "on"
table = "input"
address = 1
value = "{{ payload }}"
[actuator.b]
command = "b"
bus = "a"
unit = "one"
kind = "bit3"
address = 65536
qos = 1
"#,
    );
    let output = site.run(&["check"]);
    let text = String::from_utf8([output.stdout, output.stderr].concat()).unwrap();
    assert_eq!(output.status.code(), Some(78), "{text}");
    for words in [
        "bus.modbus.a.unit.idle.registers: is missing or empty, and no actuator writes to it",
        "actuator.a.unit: there is no unit \"on\"; did you mean \"one\"?",
        "actuator.a: is a register that cannot be written",
        "actuator.b: is a register that cannot be written",
        "actuator.b.address: is 65536; give a value from 0 to 65535",
        "actuator.b.qos: is for another kind of actuator",
        "actuator.b.value: is missing",
    ] {
        assert!(text.contains(words), "{words}\nin: {text}");
    }
}
