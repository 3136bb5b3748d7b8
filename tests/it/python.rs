//! Losant's own Python client reads back the states that the daemon sent.

use std::process::Command;

use serde_json::{Value, json};
use tidegate_sandbox::GATEWAY_ID;

use crate::support::{Site, Tty, cloud, judge, values, wait_until};

#[tokio::test]
async fn official_client_reads_back_the_states() {
    let cloud = cloud().await;
    let site = Site::new(
        &cloud,
        r#"
[bus.serial.probe]
path = "tty"
[sensor.probe]
bus = "probe"
format = "json"
map = [
  { channel = "temperature", attribute = "temperature" },
  { channel = "door", attribute = "door" },
  { channel = "status", attribute = "status" },
]
"#,
    );
    let mut tty = Tty::plugged(site.path("tty"));
    let daemon = site.start();
    let sent = [
        json!({"door": false, "status": "ok", "temperature": 21.42}),
        json!({"door": true, "status": "grün", "temperature": -3}),
    ];
    for line in &sent {
        tty.write(format!("{line}\n"));
    }
    wait_until("both states arrive", || values(&cloud, "temperature").len() == 2);
    let output = Command::new(judge())
        .arg("tests/conformance/read_back.py")
        .args([cloud.url(), cloud.api_token(), cloud.application_id(), GATEWAY_ID])
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let states: Vec<Value> = serde_json::from_slice(&output.stdout).unwrap();
    let read: Vec<_> = states.iter().rev().map(|state| &state["data"]).collect();
    assert_eq!(read, sent.iter().collect::<Vec<_>>());
    assert!(daemon.terminate().success());
    site.outbox();
}
