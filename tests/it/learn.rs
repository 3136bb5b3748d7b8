//! `tidegate sensor learn` turns the topics of a real broker into a working configuration.

use std::process::{Command, Output, Stdio};

use crate::support::{
    Broker, PROGRAM, Site, cloud, mqtt_tables, utf8, values, wait_until, write_private,
};

/// Messages of some products.
const MESSAGES: [(&str, &str); 8] = [
    ("zigbee2mqtt/kitchen", r#"{"temperature":27.34,"humidity":44.72}"#),
    ("zigbee2mqtt/bridge/state", r#"{"state":"online"}"#),
    ("tele/plug/SENSOR", r#"{"Time":"2019-01-05T22:45:12","ENERGY":{"Power":4.7}}"#),
    ("losant/5f0000000000000000000001/state", r#"{"data":{"level":3}}"#),
    ("house/bath:1/climate", "t=21.5 h=40"),
    ("house/attic/climate", "t=15 h=50"),
    ("meters/water", "12.5;0.3;ok"),
    ("raw", "\u{1}\u{2}"),
];

fn learn(words: &[&str]) -> Output {
    Command::new(PROGRAM).args(["sensor", "learn"]).args(words).output().unwrap()
}

fn retained() -> impl Iterator<Item = (String, Vec<u8>)> {
    MESSAGES.into_iter().map(|(topic, payload)| (topic.to_owned(), payload.into()))
}

#[tokio::test]
async fn learnt_tables_are_a_working_configuration() {
    let (cloud, broker) = (cloud().await, Broker::start());
    broker.publish_as(retained(), true).await;
    let port = broker.port().to_string();
    let output = learn(&["--host", "127.0.0.1", "--port", &port, "--for", "1s"]);
    let (tables, stderr) = (utf8(&output.stdout), utf8(&output.stderr));
    assert!(output.status.success(), "{stderr}");
    let left_out = "zigbee2mqtt/bridge/state: 1; internal topic of a product, ignored";
    assert!(stderr.contains(left_out), "{stderr}");
    assert!(stderr.contains("raw: 1; bytes"), "{stderr}");
    let site = Site::new(&cloud, "");
    std::fs::create_dir(site.path("conf.d")).unwrap();
    std::fs::write(site.path("conf.d/learnt.toml"), &tables).unwrap();
    let check = site.run(&["check"]);
    assert!(check.status.success(), "{}\nin:\n{tables}", utf8(&check.stderr));
    let daemon = site.start();
    daemon.wait_for_subscription();
    broker.publish(retained()).await;
    for (attribute, value) in [
        ("kitchen_temperature", serde_json::json!(27.34)),
        ("plug_ENERGY_Power", serde_json::json!(4.7)),
        ("bath1_t", serde_json::json!(21.5)),
        ("attic_h", serde_json::json!(50)),
        ("2", serde_json::json!("ok")),
    ] {
        wait_until(attribute, || values(&cloud, attribute).contains(&value));
    }
}

#[tokio::test]
async fn learn_on_a_configured_bus_prints_at_ctrl_c() {
    let (cloud, broker) = (cloud().await, Broker::start());
    broker.publish_as(retained(), true).await;
    let site = Site::new(&cloud, &mqtt_tables(broker.port(), ""));
    let mut child = Command::new(PROGRAM)
        .args(["sensor", "learn", "--bus", "house", "--filter", "house/#", "--config"])
        .arg(site.config())
        .stdout(Stdio::piped())
        .stderr(std::fs::File::create(site.path("stderr")).unwrap())
        .spawn()
        .unwrap();
    let pid = rustix::process::Pid::from_child(&child);
    wait_until("it reports two topics", || {
        let stderr = std::fs::read_to_string(site.path("stderr")).unwrap();
        stderr.contains("new topic house/attic/climate\n")
            && stderr.contains("new topic house/bath:1/climate\n")
    });
    rustix::process::kill_process(pid, rustix::process::Signal::INT).unwrap();
    wait_until("the program ends", || child.try_wait().unwrap().is_some());
    let output = child.wait_with_output().unwrap();
    let tables = utf8(&output.stdout);
    assert!(output.status.success(), "{tables}");
    let expected = "[sensor.house-climate]\nbus = \"house\"\ntopic = \"house/+/climate\"\n";
    assert!(tables.starts_with(expected), "{tables}");
}

#[test]
fn learn_reports_a_missing_broker_at_once() {
    let absent = Broker::absent().port().to_string();
    let cases: [(&[&str], i32, &str); 5] = [
        (
            &["--host", "127.0.0.1", "--port", &absent],
            69,
            "is the broker running on this host and port?",
        ),
        (&["--host", "127.0.0.1", "--credentials-file", "/none"], 78, "/none"),
        (&["--host", "127.0.0.1", "--filter", "a/#/b"], 78, "+ must be alone in its level"),
        (&["--host", "127.0.0.1", "--for", "0s"], 64, "give a time from 1s to 1day"),
        (&[], 64, "--bus"),
    ];
    for (words, code, expected) in cases {
        let output = learn(words);
        let stderr = utf8(&output.stderr);
        assert_eq!(output.status.code(), Some(code), "{words:?}: {stderr}");
        assert!(stderr.contains(expected), "{words:?}: {stderr}");
        assert_eq!(output.stdout, b"", "{words:?}");
    }
}

#[test]
fn learn_reports_a_wrong_password() {
    let site = tempfile::tempdir().unwrap();
    let users = site.path().join("users");
    write_private(&users, "");
    let broker = Broker::start_with(format!(
        "user root\nallow_anonymous false\npassword_file {}\n",
        users.display()
    ));
    let file = site.path().join("credentials.toml");
    write_private(&file, "user = \"me\"\npassword = \"guess\"\n");
    let port = broker.port().to_string();
    let output = learn(&[
        "--host",
        "127.0.0.1",
        "--port",
        &port,
        "--credentials-file",
        file.to_str().unwrap(),
    ]);
    let stderr = utf8(&output.stderr);
    assert_eq!(output.status.code(), Some(69), "{stderr}");
    assert!(stderr.contains("the broker refuses user and password"), "{stderr}");
    assert!(!stderr.contains("guess"), "{stderr}");
}
