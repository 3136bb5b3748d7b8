//! Commands for GPIO lines on a computer without a chip; `make test-hardware` has an emulated one.

use serde_json::json;
use tidegate_sandbox::GATEWAY_ID;

use crate::support::{Site, cloud, wait_until};

const PINS: &str = r#"
[bus.gpio.pins]
chip = "absent"
[bus.gpio.pins.output.relay]
line = "GPIO22"
[actuator.bell]
command = "bell"
bus = "pins"
output = "relay"
value = "{{ payload.on }}"
pulse = "{{ payload.length }}"
[actuator.relay]
command = "relay"
bus = "pins"
output = "relay"
value = "{{ payload }}"
safe = "false"
safe_at_stop = true
"#;

#[tokio::test]
async fn absent_gpio_chip_is_retried_and_its_commands_fail() {
    let cloud = cloud().await;
    let site = Site::new(&cloud, PINS);
    let daemon = site.start();
    daemon.wait_for_log("no such file or directory");
    wait_until("the stream is open", || cloud.streams_open(GATEWAY_ID) == 1);
    cloud.send_command(GATEWAY_ID, "relay", json!(true));
    wait_until("it fails", || daemon.count("/commands/failed") == 1);
    assert_eq!(daemon.status()["command_history"][0]["message"], "the bus is not connected");
    assert!(daemon.terminate().success());
    site.outbox();
}

#[tokio::test]
async fn invalid_levels_and_pulses_are_refused() {
    let cloud = cloud().await;
    let site = Site::new(&cloud, PINS);
    let run = |command: &str, payload: &str| {
        let output = site.run(&["commands", "run", "--dry-run", "gateway", command, payload]);
        String::from_utf8([output.stdout, output.stderr].concat()).unwrap()
    };
    for payload in ["2", "-1", r#""on""#, "null", "[true]", r#""{{ 1 }}""#, r#""true false""#] {
        let text = run("relay", payload);
        assert!(
            text.contains("unwritable") && text.contains("is not a boolean"),
            "{payload}: \
            {text}"
        );
    }
    for length in [r#""25 h""#, r#""0 s""#, "5", r#""-1 s""#, r#""1 s; 1 h""#, "null", r#""""#] {
        let text = run("bell", &format!(r#"{{"on": true, "length": {length}}}"#));
        assert!(text.contains("invalid pulse length"), "{length}: {text}");
    }
    assert_eq!(run("relay", "1"), "relay: turns relay on\n");
    let pulse = run("bell", r#"{"on": false, "length": "1500 ms"}"#);
    assert_eq!(pulse, "bell: turns relay off for 1s 500ms\n");
}

#[tokio::test]
async fn mistakes_in_gpio_lines_are_reported() {
    let cloud = cloud().await;
    let site = Site::new(
        &cloud,
        r#"
[bus.gpio.a]
[bus.gpio.b.input.door]
line = 17
edges = "ignore"
debounce = "1 ms"
[bus.gpio.b.output.relay]
line = 17
drive = "push"
[bus.gpio.b.output.lamp]
line = 1.5
[bus.gpio.b.output.horn]
[actuator.a]
command = "a"
bus = "b"
output = "relais"
"#,
    );
    let output = site.run(&["check"]);
    let text = String::from_utf8([output.stdout, output.stderr].concat()).unwrap();
    assert_eq!(output.status.code(), Some(78), "{text}");
    for words in [
        "bus.gpio.a: there is no line",
        "bus.gpio.b.input.door.debounce: is for edges, which are ignored",
        "bus.gpio.b.output.relay.line: bus.gpio.b.input.door has the same line",
        "bus.gpio.b.output.relay.drive: \"push\" is not known",
        "bus.gpio.b.output.lamp.line: is neither a number nor a name",
        "bus.gpio.b.output.horn.line: is missing",
        "actuator.a.output: there is no output \"relais\"",
        "actuator.a.value: is missing",
    ] {
        assert!(text.contains(words), "{words}\nin: {text}");
    }
}
