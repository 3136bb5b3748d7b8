//! An edge node of another project, a real broker, and a gateway that comes too late for its births.

use std::io::{BufRead as _, BufReader, Lines, Write as _};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use serde_json::json;

use crate::support::{Broker, Relay, Site, assert_content, cloud, judge, values, wait_until};

/// An edge node by pysparkplug.
struct Node {
    process: Child,
    said: Lines<BufReader<ChildStdout>>,
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
        let said = BufReader::new(process.stdout.take().unwrap()).lines();
        let numbers = process.stdin.take().unwrap();
        let mut node = Self { process, said, numbers };
        node.wait_for_birth();
        node
    }

    fn wait_for_birth(&mut self) {
        assert_eq!(self.said.next().unwrap().unwrap(), "born");
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
    wait_until("it has a name", || values(&cloud, "temperature") == [json!(-2.5)]);
    assert_eq!(values(&cloud, "pressure"), [json!(0), json!(-2)]);
    // Without the gateway the node could have been born again, with other aliases.
    relay.cut();
    wait_until("it is connected again", || daemon.log().matches("subscribed").count() == 2);
    node.publish(-3.0);
    node.wait_for_birth();
    wait_until("the birth arrives", || values(&cloud, "pressure").len() == 3);
    node.publish(-4.0);
    wait_until("it has a name", || values(&cloud, "temperature").len() == 2);
    assert!(daemon.terminate().success());
    let account = site.outbox()["ledger"]["plant"].clone();
    assert_eq!(account["rejected"], json!({"no_birth": 2}));
    assert_content(&cloud);
}
