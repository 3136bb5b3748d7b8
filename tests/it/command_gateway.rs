//! The commands for the gateway itself.

use serde_json::json;
use tidegate_sandbox::GATEWAY_ID;

use crate::support::{Site, Tty, cloud, values, wait_until};

const GATEWAY: &str = r#"
[bus.serial.probe]
path = "tty"
[sensor.probe]
bus = "probe"
format = "key-value"
map = [{ channel = "n", attribute = "n" }]
[actuator.flush]
command = "flush"
gateway = "flush-now"
[actuator.reload]
command = "reload"
gateway = "reload"
[actuator.status]
command = "status"
gateway = "report-status"
[actuator.level]
command = "level"
gateway = "log-level"
level = "{{ payload }}"
"#;

#[tokio::test]
async fn flush_command_sends_waiting_states_at_once() {
    let cloud = cloud().await;
    let site = Site::new(&cloud, GATEWAY);
    let config = std::fs::read_to_string(site.config()).unwrap();
    site.write_config(&config.replace("batch_age_max = \"100 ms\"", "batch_age_max = \"1 h\""));
    let mut tty = Tty::plugged(site.path("tty"));
    let daemon = site.start();
    wait_until("the stream is open", || cloud.streams_open(GATEWAY_ID) == 1);
    tty.write("n=1\n");
    wait_until("it is stored", || daemon.status()["outbox"]["states"] == 1);
    assert!(values(&cloud, "n").is_empty());
    cloud.send_command(GATEWAY_ID, "flush", json!(null));
    wait_until("it is sent", || values(&cloud, "n") == [json!(1)]);
    wait_until("it is executed", || daemon.count("/commands/executed") == 1);
    assert!(daemon.terminate().success());
    site.outbox();
}

#[tokio::test]
async fn reload_command_applies_valid_files_only() {
    let cloud = cloud().await;
    let site = Site::new(&cloud, GATEWAY);
    let mut tty = Tty::plugged(site.path("tty"));
    let daemon = site.start();
    wait_until("the stream is open", || cloud.streams_open(GATEWAY_ID) == 1);
    let config = std::fs::read_to_string(site.config()).unwrap();
    let fan = "[actuator.fan]\ncommand = \"fan\"\nbus = \"probe\"\nwrite = \"FAN\\n\"\n";
    site.write_config(&format!("{config}{fan}"));
    cloud.send_command(GATEWAY_ID, "reload", json!(null));
    daemon.wait_for_log("configuration reloaded");
    cloud.send_command(GATEWAY_ID, "fan", json!(null));
    assert_eq!(tty.read_line(), "FAN");
    site.write_config(&format!("{config}[actuator.fan]\n"));
    cloud.send_command(GATEWAY_ID, "reload", json!(null));
    daemon.wait_for_log("invalid configuration; keeping the current one");
    cloud.send_command(GATEWAY_ID, "fan", json!(null));
    assert_eq!(tty.read_line(), "FAN");
    site.write_config(&config);
    assert!(daemon.terminate().success());
    site.outbox();
}

#[tokio::test]
async fn commands_set_the_log_level_and_report_the_status() {
    let cloud = cloud().await;
    let site = Site::new(&cloud, GATEWAY);
    let _tty = Tty::plugged(site.path("tty"));
    let daemon = site.start();
    wait_until("the stream is open", || cloud.streams_open(GATEWAY_ID) == 1);
    cloud.send_command(GATEWAY_ID, "level", json!("tidegate=loud"));
    wait_until("what is no level fails", || daemon.count("/commands/failed") == 1);
    cloud.send_command(GATEWAY_ID, "level", json!("info,tidegate=trace"));
    wait_until("it is set", || daemon.count("/commands/executed") == 1);
    cloud.send_command(GATEWAY_ID, "status", json!(null));
    wait_until("it is executed", || daemon.count("/commands/executed") == 2);
    let message = daemon.status()["command_history"][0]["message"].clone();
    assert!(message.as_str().unwrap().contains("1 of 1 streams open"), "{message}");
    assert!(daemon.terminate().success());
    site.outbox();
}
