//! Invalid input is reported in words and affects nothing else.

use std::os::unix::fs::PermissionsExt as _;

use serde_json::{Value, json};
use tidegate_sandbox::Sandbox;

use crate::support::{Broker, Site, Tty, assert_content, cloud, values, wait_until};

const PROBE: &str = r#"
[bus.serial.probe]
path = "tty"
[sensor.probe]
bus = "probe"
format = "key-value"
map = [{ channel = "t", attribute = "t" }]
"#;

/// What `tidegate check` says, and its exit code.
fn check(site: &Site) -> (String, Option<i32>) {
    let output = site.run(&["check"]);
    let text = [output.stdout, output.stderr].concat();
    (String::from_utf8(text).unwrap(), output.status.code())
}

async fn site_with(change: impl Fn(String) -> String) -> (Sandbox, Site) {
    let cloud = cloud().await;
    let site = Site::new(&cloud, PROBE);
    let config = std::fs::read_to_string(site.config()).unwrap();
    site.write_config(&change(config));
    (cloud, site)
}

#[tokio::test]
async fn a_good_configuration_is_shown() {
    let (_cloud, site) = site_with(|config| config).await;
    let (text, code) = check(&site);
    assert_eq!(code, Some(0), "{text}");
    for line in [
        "device    greenhouse = d00000000000000000000002",
        "sensor    probe: as key-value",
        "t -> gateway.t",
    ] {
        assert!(text.contains(line), "{line} in {text}");
    }
}

#[tokio::test]
async fn all_mistakes_are_reported_at_once() {
    let (_cloud, site) = site_with(|config| {
        config
            .replace("path = \"tty\"", "path = \"tty\"\nbuad_rate = 9600\nparity = 5")
            .replace("d00000000000000000000001", "d0")
            .replace("bus = \"probe\"", "bus = \"prob\"")
    })
    .await;
    std::fs::set_permissions(site.path("credentials.toml"), std::fs::Permissions::from_mode(0o644))
        .unwrap();
    let (text, code) = check(&site);
    assert_eq!(code, Some(78), "{text}");
    for words in [
        "bus.serial.probe.buad_rate: unknown key",
        "did you mean \"baud_rate\"?",
        "bus.serial.probe.parity: invalid type: integer `5`, expected a text in quotes",
        "losant.device_id: \"d0\" is not a Losant id",
        "sensor.probe.bus: there is no bus \"prob\"; did you mean \"probe\"?",
        "every user of this machine can read this secret; chmod 600",
    ] {
        assert!(text.contains(words), "{words}\nin: {text}");
    }
}

#[tokio::test]
async fn missing_files_are_reported() {
    let (_cloud, site) = site_with(|config| config).await;
    std::fs::remove_file(site.path("credentials.toml")).unwrap();
    let (text, code) = check(&site);
    assert_eq!(code, Some(0), "the rest is checked: {text}");
    assert!(text.contains("credentials.toml: not checked: no such file"), "{text}");
    let output = site.run(&["run"]);
    assert_eq!(output.status.code(), Some(78), "the daemon needs the key");
    std::fs::remove_file(site.config()).unwrap();
    let (text, code) = check(&site);
    assert_eq!((code, text.lines().count()), (Some(78), 1), "{text}");
}

#[tokio::test]
async fn wrong_words_on_the_command_line_are_a_usage_error() {
    let (_cloud, site) = site_with(|config| config).await;
    assert_eq!(site.run(&["chekc"]).status.code(), Some(64));
}

#[tokio::test]
async fn missing_daemon_or_outbox_is_reported() {
    let (_cloud, site) = site_with(|config| config).await;
    for (words, code, answer) in [
        (["status", "--json"], 69, "the daemon is not running (no answer at "),
        (["outbox", "status"], 1, "there is no outbox at "),
    ] {
        let output = site.run(&words);
        let text = String::from_utf8(output.stderr).unwrap();
        assert_eq!((output.status.code(), text.lines().count()), (Some(code), 1), "{text}");
        assert!(text.contains(answer), "{text}");
    }
}

#[tokio::test]
async fn a_running_daemon_answers_in_words_and_in_json() {
    let (_cloud, site) = site_with(|config| config).await;
    let mut tty = Tty::plugged(site.path("tty"));
    let daemon = site.start();
    tty.write("t=1\nt=2\n");
    wait_until("both are stored", || daemon.count("/ledger/probe/stored") == 2);
    let page = String::from_utf8(site.run(&["status"]).stdout).unwrap();
    assert!(page.contains("probe  up "), "{page}");
    assert!(page.contains("2 received + 0 generated = 2 stored + 0 waiting"), "{page}");
    let document: Value = serde_json::from_slice(&site.run(&["status", "--json"]).stdout).unwrap();
    assert_eq!(document["cloud"]["online"], true);
    let second = site.run(&["run"]);
    let words = String::from_utf8(second.stderr).unwrap();
    assert_eq!(second.status.code(), Some(1));
    assert!(words.contains("another tidegate process uses this outbox"), "{words}");
    assert_eq!(daemon.status()["cloud"]["online"], true, "the first still answers");
    assert!(daemon.terminate().success());
    site.outbox();
}

#[tokio::test]
async fn conf_d_overrides_the_file_in_order_of_names() {
    let (_cloud, site) = site_with(|config| config).await;
    std::fs::create_dir(site.path("conf.d")).unwrap();
    for (name, baud_rate) in [("20-b.toml", 19_200), ("10-a.toml", 4_800)] {
        let text = format!("[bus.serial.probe]\nbaud_rate = {baud_rate}\n");
        std::fs::write(site.path("conf.d").join(name), text).unwrap();
    }
    let (text, code) = check(&site);
    assert_eq!(code, Some(0), "{text}");
    assert!(text.contains("at 19200 baud"), "{text}");
}

#[tokio::test]
async fn the_environment_stands_over_the_file() {
    let (_cloud, site) = site_with(|config| config).await;
    let output = std::process::Command::new(env!("CARGO_BIN_EXE_tidegate"))
        .arg("check")
        .arg("--config")
        .arg(site.config())
        .env("TIDEGATE_BUS__SERIAL__PROBE__BAUD_RATE", "115200")
        .output()
        .unwrap();
    assert!(String::from_utf8(output.stdout).unwrap().contains("at 115200 baud"));
}

#[tokio::test]
async fn the_configuration_of_the_demo_is_good() {
    let (_cloud, site) =
        site_with(|_| include_str!("../../config/examples/demo.toml").to_owned()).await;
    let (text, code) = check(&site);
    assert_eq!(code, Some(0), "{text}");
}

#[tokio::test]
async fn wrong_secret_is_logged_once_and_readings_kept() {
    let cloud = cloud().await;
    let site = Site::new(&cloud, PROBE);
    site.write_credentials("key = \"gateway-key\"\nsecret = \"hunter2\"\n");
    let mut tty = Tty::plugged(site.path("tty"));
    let daemon = site.start();
    tty.write("t=1\n");
    daemon.wait_for_log("cloud rejects the credentials; queueing readings");
    assert_eq!(daemon.count("/outbox/states"), 1);
    assert_eq!(cloud.counters().calls["authenticateDevice"], 1, "no storm");
    assert!(!daemon.log().contains("hunter2"));
    assert!(daemon.terminate().success());
    site.write_credentials("key = \"gateway-key\"\nsecret = \"gateway-secret\"\n");
    let daemon = site.start();
    wait_until("it arrives", || values(&cloud, "t") == [json!(1)]);
    assert!(daemon.terminate().success());
    site.outbox();
}

#[tokio::test]
async fn bad_lines_are_counted_and_their_neighbours_arrive() {
    let cloud = cloud().await;
    let site = Site::new(&cloud, PROBE);
    let mut tty = Tty::plugged(site.path("tty"));
    let daemon = site.start();
    tty.write("t=1\n");
    tty.write(b"t=\xff\xfe\n");
    tty.write("t=nan\n");
    tty.write("neither key nor value\n");
    tty.write("h=5\n");
    tty.write("t=2\n");
    wait_until("the good ones arrive", || values(&cloud, "t") == [json!(1), json!(2)]);
    let account = daemon.status()["ledger"]["probe"].clone();
    assert_eq!(account["rejected"], json!({"malformed": 2, "not_finite": 1}));
    assert_eq!(account["skipped"], json!({"no_channel": 1}));
    assert!(daemon.terminate().success());
    site.outbox();
    assert_content(&cloud);
}

#[tokio::test]
async fn an_endless_line_takes_no_memory_and_the_next_one_is_read() {
    let cloud = cloud().await;
    let site = Site::new(&cloud, PROBE);
    let mut tty = Tty::plugged(site.path("tty"));
    let daemon = site.start();
    tty.write("t=1\n");
    wait_until("it arrives", || values(&cloud, "t").len() == 1);
    let before = daemon.memory_kb();
    for _ in 0..5 * 256 {
        tty.write([b'x'; 4_096]);
    }
    tty.write("\nt=2\n");
    wait_until("the next line arrives", || values(&cloud, "t") == [json!(1), json!(2)]);
    assert_eq!(daemon.count("/ledger/probe/rejected/too_long"), 1);
    let growth_kb = daemon.memory_kb().saturating_sub(before);
    assert!(growth_kb < 10_000, "{growth_kb} kB for a line of 5 MB");
    assert!(daemon.terminate().success());
    site.outbox();
}

#[tokio::test]
async fn a_huge_message_is_rejected_and_does_not_come_again() {
    let (cloud, broker) = (cloud().await, Broker::start());
    let instruments = format!(
        r#"
[bus.mqtt.house]
host = "127.0.0.1"
port = {}
[sensor.number]
bus = "house"
topic = "n"
format = "text"
map = [{{ channel = "value", attribute = "n" }}]
"#,
        broker.port()
    );
    let site = Site::new(&cloud, &instruments);
    let daemon = site.start();
    daemon.wait_for_subscription();
    let payloads = [b"1".to_vec(), vec![b'9'; 5 << 20], b"2".to_vec()];
    broker.publish(payloads.map(|payload| ("n".to_owned(), payload))).await;
    wait_until("its neighbours arrive", || values(&cloud, "n") == [json!(1), json!(2)]);
    assert!(daemon.terminate().success());
    let daemon = site.start();
    daemon.wait_for_log("resumed=true");
    assert!(daemon.terminate().success());
    assert_eq!(site.outbox()["ledger"]["house"]["rejected"], json!({"too_long": 1}));
}
