//! Losant's own JavaScript client sends commands and reads their results.

use std::path::Path;
use std::process::Command;

use serde_json::{Value, json};
use tidegate_sandbox::{GATEWAY_ID, GREENHOUSE_ID};

use crate::support::{Broker, Site, Tty, cloud, wait_until};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn official_client_commands_and_reads_results() {
    let (cloud, broker) = (cloud().await, Broker::start());
    let port = broker.port();
    let instruments = format!(
        r#"
[commands.report]
command = "last"
result = "lastResult"
[bus.serial.probe]
path = "tty"
[bus.mqtt.house]
host = "127.0.0.1"
port = {port}
[actuator.fan]
command = "fan"
bus = "probe"
write = "FAN {{{{ payload.speed }}}}\n"
[actuator.lamp]
device = "greenhouse"
command = "lamp"
bus = "house"
topic = "losant/{{{{ device }}}}/command"
payload = '{{"name": {{{{ name | tojson }}}}, "payload": {{{{ payload | tojson }}}}}}'
"#
    );
    let site = Site::new(&cloud, &instruments);
    let mut tty = Tty::plugged(site.path("tty"));
    let mut messages = broker.subscribe("losant/#").await;
    let daemon = site.start();
    daemon.wait_for_log("broker connected");
    for device in [GATEWAY_ID, GREENHOUSE_ID] {
        wait_until("the streams are open", || cloud.streams_open(device) == 1);
    }
    let commands = json!([
        [GATEWAY_ID, "fan", {"speed": 80}],
        [GREENHOUSE_ID, "lamp", {"on": true}],
        [GREENHOUSE_ID, "boom", null],
    ]);
    let project = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut client = Command::new("node");
    client
        .arg(project.join("tests/conformance/command.mjs"))
        .current_dir(project.join("target/judge"));
    client.args([cloud.url(), cloud.api_token(), cloud.application_id(), &commands.to_string()]);
    let output = tokio::task::spawn_blocking(move || client.output().unwrap()).await.unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let results: Value = serde_json::from_slice(&output.stdout).unwrap();
    let data = |name: &str, result: &str| json!({"last": name, "lastResult": result});
    assert_eq!(
        results,
        json!([data("fan", "executed"), data("lamp", "executed"), data("boom", "refused")])
    );
    assert_eq!(tty.read_line(), "FAN 80");
    let message = messages.next().await;
    assert_eq!(message.topic, format!("losant/{GREENHOUSE_ID}/command"));
    let payload: Value = serde_json::from_slice(&message.payload).unwrap();
    assert_eq!(payload, json!({"name": "lamp", "payload": {"on": true}}));
    assert!(daemon.terminate().success());
    site.outbox();
}
