//! The command line itself: help, options before the subcommand, and what empty answers say.

use std::process::Command;

use crate::support::{PROGRAM, Site, cloud};

const FILES: &str = r#"
[bus.file.w1]
paths = ["sys/*/w1_slave"]
[sensor.filtered]
bus = "w1"
topic = "sys/+/w1_slave"
format = "text"
map = [{ channel = "value", attribute = "a" }]
[sensor.named]
bus = "w1"
format = "text"
map = [{ channel = "value", attribute = "t_{{ topic[-2] }}" }]
"#;

/// What the program prints, and its exit code.
fn said(words: &[&str]) -> (String, Option<i32>) {
    let output = Command::new(PROGRAM).args(words).output().unwrap();
    let text = String::from_utf8([output.stdout, output.stderr].concat()).unwrap();
    (text, output.status.code())
}

#[test]
fn help_is_a_subcommand() {
    let (all, code) = said(&["help"]);
    assert!(all.contains("Usage: tidegate") && all.contains("status"), "{all}");
    assert_eq!(code, Some(0));
    let (one, code) = said(&["help", "status"]);
    assert!(one.starts_with("Show gateway health"), "{one}");
    assert_eq!(code, Some(0));
    assert_eq!(said(&["help", "sensor", "test"]).1, Some(0));
    assert_eq!(said(&["help", "nonsense"]).1, Some(64));
}

#[test]
fn configuration_can_be_named_before_the_subcommand() {
    for words in [["-c", "/nowhere.toml", "check"], ["check", "-c", "/nowhere.toml"]] {
        let (text, code) = said(&words);
        assert!(text.starts_with("/nowhere.toml: cannot read it: no such file"), "{text}");
        assert_eq!(code, Some(78));
    }
}

#[tokio::test]
async fn recording_for_a_topic_needs_the_topic() {
    let cloud = cloud().await;
    let site = Site::new(&cloud, FILES);
    std::fs::write(site.path("record"), "21.5").unwrap();
    let record = site.path("record").display().to_string();
    let test = |sensor: &str, topic: &[&str]| {
        let words = [&["sensor", "test", sensor, "--input", &record], topic].concat();
        let output = site.run(&words);
        let text = String::from_utf8([output.stdout, output.stderr].concat()).unwrap();
        (text, output.status.code())
    };
    for (sensor, topic, expected) in [
        ("filtered", &[][..], "--topic sys/x/w1_slave"),
        ("filtered", &["--topic", "a/b"], "topic \"a/b\" does not match sys/+/w1_slave"),
        ("named", &[], "templates of the sensor use the topic; give"),
    ] {
        let (text, code) = test(sensor, topic);
        assert!(text.contains(expected) && text.contains("--topic"), "{text}");
        assert_eq!(code, Some(64), "{text}");
    }
    let (text, code) = test("named", &["--topic", "sys/28-01/w1_slave"]);
    assert!(text.contains("\"t_28-01\":21.5"), "{text}");
    assert_eq!(code, Some(0));
}

#[tokio::test]
async fn list_without_commands_says_so() {
    let cloud = cloud().await;
    let site = Site::new(&cloud, FILES);
    let daemon = site.start();
    let output = site.run(&["commands", "list"]);
    let text = String::from_utf8(output.stdout).unwrap();
    assert_eq!(text, "no commands: the gateway has received none so far\n");
    let output = site.run(&["commands", "list", "--json"]);
    assert_eq!(String::from_utf8(output.stdout).unwrap(), "[]\n");
    assert!(daemon.terminate().success());
}
