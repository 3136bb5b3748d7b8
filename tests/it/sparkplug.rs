//! A Sparkplug edge node of another project, and a gateway that requests the births that it missed.

use std::io::{BufRead as _, BufReader, Lines, Write as _};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use serde_json::json;

use crate::support::{Broker, Relay, Site, assert_content, cloud, judge, values, wait_until};

/// An edge node of pysparkplug.
struct Node {
    process: Child,
    births: Lines<BufReader<ChildStdout>>,
    numbers: ChildStdin,
}

impl Node {
    fn start(port: u16) -> Self {
        let mut process = Command::new(judge())
            .args(["tests/conformance/sparkplug_node.py", &port.to_string()])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let births = BufReader::new(process.stdout.take().unwrap()).lines();
        let numbers = process.stdin.take().unwrap();
        let mut node = Self { process, births, numbers };
        node.wait_for_birth();
        node
    }

    fn wait_for_birth(&mut self) {
        assert_eq!(self.births.next().unwrap().unwrap(), "born");
    }

    fn publish(&mut self, number: f32) {
        writeln!(self.numbers, "{number}").unwrap();
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        self.process.kill().ok();
        self.process.wait().ok();
    }
}

fn bus(port: u16) -> String {
    format!(
        r#"
[bus.mqtt.plant]
host = "127.0.0.1"
port = {port}
[sensor.pump]
bus = "plant"
topic = "spBv1.0/plant/+/edge/pump"
format = "sparkplug"
rebirth = true
time = {{ channel = "timestamp", format = "ms" }}
map = [
  {{ channel = "Line 1/Pressure", attribute = "pressure" }},
  {{ channel = "Line 1/Temperature", attribute = "temperature" }},
]
"#
    )
}

#[tokio::test]
async fn missed_sparkplug_birth_is_requested() {
    let (cloud, broker) = (cloud().await, Broker::start());
    let relay = Relay::to(broker.port());
    let site = Site::new(&cloud, &bus(relay.port()));
    let mut node = Node::start(broker.port());
    let daemon = site.start();
    daemon.wait_for_subscription();
    node.publish(-1.0);
    node.wait_for_birth();
    wait_until("the birth arrives", || values(&cloud, "pressure") == [json!(0)]);
    node.publish(-2.5);
    wait_until("the temperature arrives", || values(&cloud, "temperature") == [json!(-2.5)]);
    assert_eq!(values(&cloud, "pressure"), [json!(0), json!(-2)]);
    // While the gateway is disconnected, the node could publish a new birth with other aliases.
    relay.cut();
    wait_until("the gateway is connected again", || {
        daemon.log().matches("subscribed").count() == 2
    });
    node.publish(-3.0);
    node.wait_for_birth();
    wait_until("the birth arrives", || values(&cloud, "pressure").len() == 3);
    node.publish(-4.0);
    wait_until("the temperature arrives", || values(&cloud, "temperature").len() == 2);
    assert!(daemon.terminate().success());
    let account = site.outbox()["ledger"]["plant"].clone();
    assert_eq!(account["rejected"], json!({"no_birth": 2}));
    assert_content(&cloud);
}
