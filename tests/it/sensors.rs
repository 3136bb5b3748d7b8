//! `tidegate sensor test` and `list`, which need neither the outbox nor the cloud.

use std::process::{Command, Stdio};

use crate::support::{PROGRAM, Site, Tty, cloud, wait_until};

const CLIMATE: &str = r#"
[bus.serial.probe]
path = "tty"
[sensor.probe]
bus = "probe"
format = "key-value"
stale = { after = "1 h", attribute = "online" }
map = [
  { channel = "t", attribute = "temperature", scale = 0.1, valid_max = 100.0 },
  { channel = "h", attribute = "humidity", aggregate = "mean", window = "1 min" },
]
"#;

#[tokio::test]
async fn sensor_test_shows_each_step_of_a_recording() {
    let cloud = cloud().await;
    let site = Site::new(&cloud, CLIMATE);
    let record = site.path("record.txt");
    std::fs::write(&record, "t=215 h=40\nt=9999 h=42\nnoise\nt=2").unwrap();
    let output = site.run(&["sensor", "test", "probe", "--input", record.to_str().unwrap()]);
    let text = String::from_utf8([output.stdout, output.stderr].concat()).unwrap();
    assert!(output.status.success(), "{text}");
    for words in [
        "bytes     74 3d 32 31 35 20 68 3d 34 30\nmessage   \"t=215 h=40\"\n",
        "channel   t = 215\n",
        "\"data\":{\"temperature\":21.5}}\n",
        "\"data\":{\"online\":true}}\n",
        "filtered  1 (aggregated)\n",
        "rejected  1 (out_of_range)\n",
        "key-value no key=value at byte 0",
        "rejected  1 (malformed)\n",
        "lost      a message without its end: \"t=2\" (74 3d 32)\n",
        "\"data\":{\"humidity\":41.0}}\n",
    ] {
        assert!(text.contains(words), "{words}\nin: {text}");
    }
    assert!(!site.path("outbox").exists());
    assert_eq!(cloud.counters().states_received, 0);
}

#[tokio::test]
async fn sensor_test_shows_a_live_bus() {
    let cloud = cloud().await;
    let site = Site::new(&cloud, CLIMATE);
    let mut tty = Tty::plugged(site.path("tty"));
    let mut child = Command::new(PROGRAM)
        .args(["sensor", "test", "probe", "--count", "1", "--config"])
        .arg(site.config())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let line = format!("{}\nt=215\n", "x".repeat(5_000));
    let mut rest = line.as_bytes();
    wait_until("the sensor has read a message", || {
        // A program that has ended reads no more, so this must not wait for it.
        if tty.write_some(&mut rest) {
            rest = line.as_bytes();
        }
        child.try_wait().unwrap().is_some()
    });
    let text = String::from_utf8(child.wait_with_output().unwrap().stdout).unwrap();
    assert!(text.contains("\"data\":{\"temperature\":21.5}}"), "{text}");
    assert!(text.contains("(too_long)\n"), "{text}");
}

#[tokio::test]
async fn sensors_are_listed_and_unknown_ones_refused() {
    let cloud = cloud().await;
    let site = Site::new(&cloud, CLIMATE);
    let text = String::from_utf8(site.run(&["sensor", "list"]).stdout).unwrap();
    assert!(text.contains("bus probe  sensor    probe: as key-value"), "{text}");
    assert!(text.contains("h, mean of 1m -> gateway.humidity"), "{text}");
    let output = site.run(&["sensor", "test", "prob"]);
    let text = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(64));
    assert!(text.contains("there is no sensor \"prob\""), "{text}");
}
