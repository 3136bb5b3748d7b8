//! A running daemon takes a changed configuration: what changed is applied, and nothing is lost on
//! the way.

use std::os::unix::net::UnixDatagram;
use std::time::Duration;

use serde_json::json;
use tidegate_sandbox::{GATEWAY_ID, Sandbox};

use crate::support::{
    Broker, Daemon, Site, Tty, assert_content, assert_counts, assert_ledger, cloud, numbers,
    values, wait_until,
};

/// How often the configuration changes in the test under load.
const RELOADS: u64 = 100;

const PROBE: &str = r#"
[bus.serial.probe]
path = "tty"
[sensor.probe]
bus = "probe"
format = "key-value"
map = [{ channel = "s", attribute = "s" }]
"#;

const FAN: &str = r#"
[bus.serial.fan]
path = "fan"
[actuator.fan]
command = "fan"
bus = "fan"
write = "FAN {{ payload.speed }}\n"
"#;

/// Writes a file of `conf.d`; an empty one if there is no text.
fn write_fragment(site: &Site, text: &str) {
    std::fs::create_dir_all(site.path("conf.d")).unwrap();
    std::fs::write(site.path("conf.d/changing.toml"), text).unwrap();
}

/// Reloads, and waits until it is done.
fn reload(daemon: &Daemon) {
    let count = daemon.count("/reload/count");
    daemon.hang_up();
    wait_until("the reload is done", || daemon.count("/reload/count") > count);
}

async fn site() -> (Sandbox, Site, Tty) {
    let cloud = cloud().await;
    let site = Site::new(&cloud, PROBE);
    let tty = Tty::plugged(site.path("tty"));
    (cloud, site, tty)
}

/// The house in one of three versions: the second means something else, the third is another
/// connection.
fn house(port: u16, version: u64) -> String {
    let also = if version % 3 == 1 {
        ", { expression = \"payload.other\", attribute = \"o\" }"
    } else {
        ""
    };
    let keep_alive = if version % 3 == 2 { 31 } else { 30 };
    format!(
        r#"
[bus.mqtt.house]
host = "127.0.0.1"
port = {port}
keep_alive = "{keep_alive} s"
[sensor.number]
bus = "house"
topic = "n"
format = "text"
map = [{{ channel = "value", attribute = "n" }}{also}]
"#
    )
}

#[tokio::test]
async fn a_hundred_reloads_under_load_lose_nothing() {
    let (cloud, site, mut tty) = site().await;
    let broker = Broker::start();
    write_fragment(&site, &house(broker.port(), 0));
    let daemon = site.start();
    daemon.wait_for_subscription();
    let publisher = broker.publish_numbers("n", Duration::from_millis(5));
    let mut lines = 0;
    for version in 1..=RELOADS {
        write_fragment(&site, &house(broker.port(), version));
        daemon.hang_up();
        wait_until("the reload is done", || {
            // The line talks on while buses come and go.
            tty.write(format!("s={lines}\n"));
            lines += 1;
            daemon.count("/reload/count") == version
        });
    }
    let published = publisher.finish();
    wait_until("all is stored", || {
        values(&cloud, "n").len() as u64 >= published && values(&cloud, "s").len() as u64 >= lines
    });
    assert_counts(&cloud, published);
    assert_eq!(values(&cloud, "s"), numbers(lines));
    daemon.wait_until_sent();
    assert_ledger(&json!({
        "ledger": daemon.status()["ledger"], "readings": daemon.status()["outbox"]["readings"],
    }));
    assert_eq!(daemon.status()["reload"]["problems"], json!([]));
    assert!(daemon.terminate().success());
    let ledger = site.outbox()["ledger"].clone();
    assert_eq!(ledger["probe"]["dropped"], json!({}));
    assert_eq!(ledger["house"]["dropped"], json!({}));
    assert_content(&cloud);
}

#[tokio::test]
async fn a_bad_file_changes_nothing_and_says_why() {
    let (cloud, site, mut tty) = site().await;
    let daemon = site.start();
    write_fragment(&site, "[sensor.probe]\nformat = \"jsn\"\n");
    let asked = site.run(&["reload"]);
    let said = String::from_utf8(asked.stderr).unwrap();
    assert_eq!(asked.status.code(), Some(78), "{said}");
    let message =
        "conf.d/changing.toml:2: sensor.probe.format: \"jsn\" is not known; did you mean \"json\"?";
    assert!(said.contains(message), "{said}");
    assert_eq!(daemon.count("/reload/count"), 1, "the daemon judges the files");
    let problems = daemon.status()["reload"]["problems"].clone();
    assert!(problems[0].as_str().unwrap().contains(message), "{problems}");

    wait_until("a copy is kept", || site.path("last-good.toml").exists());
    let kept = std::fs::read_to_string(site.path("last-good.toml")).unwrap();
    assert!(kept.contains("format = \"key-value\""), "{kept}");
    reload(&daemon);
    assert_eq!(std::fs::read_to_string(site.path("last-good.toml")).unwrap(), kept);
    let problems = daemon.status()["reload"]["problems"].clone();
    assert!(problems[0].as_str().unwrap().contains(message), "{problems}");
    daemon.wait_for_log("invalid configuration; keeping the current one");
    tty.write("s=1\n");
    wait_until("readings go on", || values(&cloud, "s") == [json!(1)]);
    write_fragment(&site, "");
    reload(&daemon);
    assert_eq!(daemon.status()["reload"]["problems"], json!([]));
    assert!(daemon.terminate().success());
}

#[tokio::test]
async fn a_bus_and_its_actuator_come_and_go() {
    let (cloud, site, mut tty) = site().await;
    let mut fan = Tty::plugged(site.path("fan"));
    let daemon = site.start();
    write_fragment(&site, FAN);
    let asked = site.run(&["reload"]);
    let said = String::from_utf8([asked.stdout, asked.stderr].concat()).unwrap();
    assert!(asked.status.success(), "{said}");
    assert!(said.starts_with("changed: actuator.fan.bus, actuator.fan.command,"), "{said}");
    wait_until("the stream is open", || cloud.streams_open(GATEWAY_ID) == 1);
    daemon.wait_for_log("serial line open bus=fan");
    cloud.send_command(GATEWAY_ID, "fan", json!({"speed": 80}));
    assert_eq!(fan.read_line(), "FAN 80");

    write_fragment(&site, "");
    reload(&daemon);
    wait_until("the stream is closed", || cloud.streams_open(GATEWAY_ID) == 0);
    assert_eq!(daemon.status()["streams"], json!({}));
    write_fragment(&site, FAN);
    reload(&daemon);
    wait_until("the stream is open", || cloud.streams_open(GATEWAY_ID) == 1);
    cloud.send_command(GATEWAY_ID, "fan", json!({"speed": 20}));
    assert_eq!(fan.read_line(), "FAN 20");
    tty.write("s=1\n");
    wait_until("the other bus never noticed", || values(&cloud, "s") == [json!(1)]);
    assert!(daemon.terminate().success());
    site.outbox();
}

#[tokio::test]
async fn commands_go_on_while_their_actuator_changes() {
    let (cloud, site, _tty) = site().await;
    let mut fan = Tty::plugged(site.path("fan"));
    write_fragment(&site, FAN);
    let daemon = site.start();
    wait_until("the stream is open", || cloud.streams_open(GATEWAY_ID) == 1);
    daemon.wait_for_log("serial line open bus=fan");
    for number in 0..20 {
        cloud.send_command(GATEWAY_ID, "fan", json!({"speed": number}));
        write_fragment(&site, &FAN.replace("FAN", &format!("FAN {number}:")));
        reload(&daemon);
    }
    let written: Vec<_> = (0..20).map(|_| fan.read_line()).collect();
    let speeds: Vec<_> = written.iter().filter_map(|line| line.split(' ').next_back()).collect();
    assert_eq!(speeds, (0..20).map(|number| number.to_string()).collect::<Vec<_>>());
    assert_eq!(cloud.streams_open(GATEWAY_ID), 1);
    wait_until("each was executed", || daemon.count("/commands/executed") == 20);
    cloud.send_command(GATEWAY_ID, "fan", json!({"speed": 20}));
    assert_eq!(fan.read_line(), "FAN 19: 20");
    assert_eq!(daemon.status()["commands"]["refused"], json!({}));
    assert!(daemon.terminate().success());
}

#[tokio::test]
async fn an_actuator_that_goes_is_made_safe_and_its_neighbour_is_not() {
    let (_cloud, site, _tty) = site().await;
    let mut fan = Tty::plugged(site.path("fan"));
    let safe = "safe = '{\"speed\": 0}'\nsafe_at_stop = true\n";
    let heater = "[actuator.heater]\ncommand = \"heat\"\nbus = \"fan\"\nwrite = \"HEAT {{ \
        payload.speed }}\\n\"\n";
    write_fragment(&site, &format!("{FAN}{safe}{heater}{safe}"));
    let daemon = site.start();
    daemon.wait_for_log("serial line open bus=fan");
    write_fragment(&site, &format!("{FAN}{safe}"));
    reload(&daemon);
    assert_eq!(fan.read_line(), "HEAT 0");
    assert!(daemon.terminate().success());
    assert_eq!(fan.read_line(), "FAN 0", "only the stop reaches the other");
}

#[tokio::test]
async fn readings_mean_what_the_configuration_said_when_they_came() {
    let (cloud, site, mut tty) = site().await;
    let daemon = site.start();
    tty.write("s=1\n");
    wait_until("it was read", || daemon.count("/ledger/probe/received") == 1);
    write_fragment(&site, "[sensor.probe]\nmap = [{ channel = \"s\", attribute = \"other\" }]\n");
    reload(&daemon);
    tty.write("s=2\n");
    wait_until("both are there", || {
        values(&cloud, "s") == [json!(1)] && values(&cloud, "other") == [json!(2)]
    });
    assert!(daemon.terminate().success());
}

#[tokio::test]
async fn mapping_changes_leave_the_tty_open() {
    let (cloud, site, mut tty) = site().await;
    let daemon = site.start();
    daemon.wait_for_log("serial line open bus=probe");
    let options = "rate_max = 50.0, deadband = 0.5, decimals = 1, valid_max = 100.0";
    for change in [
        "priority = \"low\"".to_owned(),
        "ignore = '^#'".to_owned(),
        "stale = { after = \"1 h\", attribute = \"online\" }".to_owned(),
        format!("map = [{{ channel = \"s\", attribute = \"s\", {options} }}]"),
    ] {
        write_fragment(&site, &format!("[sensor.probe]\n{change}\n"));
        reload(&daemon);
        let status = daemon.status();
        assert_ne!(status["reload"]["changed"], json!([]), "{change} is applied");
        assert_eq!(status["reload"]["next_start"], json!([]), "{change} needs no restart");
    }
    tty.write("s=1.04\n");
    wait_until("the last mapping applies", || values(&cloud, "s") == [json!(1.0)]);
    assert_eq!(daemon.log().matches("serial line open bus=probe").count(), 1);
    assert!(daemon.terminate().success());
}

#[tokio::test]
async fn reload_applies_log_and_reporter_and_names_the_rest() {
    let (cloud, site, mut tty) = site().await;
    let daemon = site.start();
    write_fragment(
        &site,
        "[log]\nlevel = \"warn\"\n[reporter]\nbatch_age_max = \"0 s\"\nbatch_states_max = \
         1\n[outbox]\nsize_max = \"1 GiB\"\n",
    );
    reload(&daemon);
    let notes = daemon.status()["reload"].clone();
    assert_eq!(notes["next_start"], json!(["outbox.size_max"]));
    let changed =
        ["log.level", "outbox.size_max", "reporter.batch_age_max", "reporter.batch_states_max"];
    assert_eq!(notes["changed"], json!(changed));
    let logged = daemon.log().len();
    tty.write("s=0\ns=1\ns=2\n");
    wait_until("they are stored", || values(&cloud, "s").len() == 3);
    wait_until("each alone", || daemon.count("/cloud/batches") == 3);
    let log = daemon.log();
    assert!(!log[logged..].contains(" INFO "), "nothing below a warning is logged any more: {log}");

    write_fragment(&site, "[outbox]\nsize_max = \"2 GiB\"\n");
    reload(&daemon);
    let notes = daemon.status()["reload"].clone();
    assert_eq!(notes["next_start"], json!(["outbox.size_max"]), "it waits as long as it differs");
    assert!(daemon.terminate().success());
}

#[tokio::test]
async fn systemd_is_notified_of_a_reload() {
    let (_cloud, site, _tty) = site().await;
    let systemd = UnixDatagram::bind(site.path("notify")).unwrap();
    let socket = site.path("notify").display().to_string();
    let daemon = site.start_with(&[("NOTIFY_SOCKET", &socket)]);
    reload(&daemon);
    write_fragment(&site, "[sensor.probe]\nformat = \"jsn\"\n");
    reload(&daemon);
    assert!(daemon.terminate().success());
    systemd.set_nonblocking(true).unwrap();
    let (mut notified, mut buffer) = (Vec::new(), [0; 1_024]);
    while let Ok(length) = systemd.recv(&mut buffer) {
        let message = String::from_utf8_lossy(&buffer[..length]).into_owned();
        notified.extend(message.lines().next().map(str::to_owned));
    }
    notified.retain(|line| !line.starts_with("STATUS=") && line != "WATCHDOG=1");
    let reload = ["RELOADING=1", "READY=1"];
    assert_eq!(notified, [&["READY=1"], &reload[..], &reload, &["STOPPING=1"]].concat());
}
