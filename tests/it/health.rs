//! The status document, the metrics and health probes, and `tidegate status`.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::process::{Command, Stdio};

use serde_json::{Value, json};
use tidegate_sandbox::GATEWAY_ID;

use crate::support::{Daemon, Site, Tty, cloud, judge, probe_tables, utf8, wait_until};

#[tokio::test]
async fn socket_speaks_http() {
    let cloud = cloud().await;
    let site = Site::new(&cloud, &probe_tables(&["n"]));
    let _daemon = site.start();
    let curl = |path: &str| {
        let url = format!("http://tidegate{path}");
        let words = ["--silent", "--show-error", "--write-out", "%{http_code}", "--unix-socket"];
        let socket = site.path("s");
        let output = Command::new("curl").args(words).arg(socket).arg(url).output();
        let output = output.expect("cannot run curl: tests/prepare.sh installs it");
        String::from_utf8(output.stdout).unwrap()
    };
    let answer = curl("/status");
    assert!(answer.starts_with("{\"version\":") && answer.ends_with("\n200"), "{answer}");
    let answer = curl("/");
    assert_eq!(
        answer,
        "{\"error\":\"unknown path; try /metrics or, on the socket, /status\"}\n404"
    );
}

#[tokio::test]
async fn stopped_daemon_has_its_own_exit_code() {
    let cloud = cloud().await;
    let site = Site::new(&cloud, &probe_tables(&["n"]));
    let output = site.run(&["status"]);
    assert_eq!(output.status.code(), Some(69));
    let message = utf8(&output.stderr);
    assert!(message.starts_with("tidegate: the daemon is not running (no answer at "), "{message}");
}

/// Returns the codes of the daemon's health problems.
fn problem_codes(daemon: &Daemon) -> Vec<Value> {
    let status = daemon.status();
    let problems = status["health"]["problems"].as_array().unwrap().iter();
    problems.map(|problem| problem["code"].clone()).collect()
}

fn wait_until_healthy(daemon: &Daemon) {
    wait_until("the daemon is healthy", || {
        daemon.status()["cloud"]["online"] == true && problem_codes(daemon).is_empty()
    });
}

#[tokio::test]
async fn status_has_every_part() {
    let cloud = cloud().await;
    let fan =
        "[actuator.fan]\ncommand = \"fan\"\nbus = \"probe\"\nwrite = \"FAN {{ payload }}\\n\"\n";
    let stale = "[sensor.probe.stale]\nafter = \"1 h\"\nattribute = \"online\"\n";
    let site = Site::new(&cloud, &format!("{}{stale}{fan}", probe_tables(&["n"])));
    let mut tty = Tty::plugged(site.path("tty"));
    let daemon = site.start();
    wait_until("the stream is open", || cloud.streams_open(GATEWAY_ID) == 1);
    tty.write("n=21.5\nnonsense\n");
    cloud.send_command(GATEWAY_ID, "fan", json!(80));
    assert_eq!(tty.read_line(), "FAN 80");
    wait_until("a call is counted", || daemon.count("/throttle/gateway/calls") >= 1);
    daemon.wait_until_sent();
    wait_until("the command is executed", || daemon.count("/commands/executed") == 1);
    wait_until("the message is counted", || daemon.count("/sensors/probe/messages") == 1);
    wait_until("the error is counted", || daemon.count("/sensors/probe/errors") == 1);
    let status = daemon.status();
    let sensor = &status["sensors"]["probe"];
    assert_eq!((&sensor["attribute"], &sensor["value"]), (&json!("n"), &json!(21.5)));
    assert_eq!((&sensor["bus"], &sensor["stale"]), (&json!("probe"), &json!(false)));
    assert_eq!(sensor["payloads"], 2, "payloads: the value, and that the sensor is online");
    assert_eq!(sensor["payloads_per_month"], json!(null), "payloads_per_month needs more data");
    assert!(sensor["per_minute"].as_f64().unwrap() > 0.5, "{sensor}");
    assert!(sensor["age_s"].as_u64().unwrap() < 30, "{sensor}");
    assert!(sensor["error"].is_string(), "{sensor}");
    let bus = &status["buses"]["probe"];
    assert_eq!((&bus["connected"], &bus["error"]), (&json!(true), &json!("")));
    let actuator = &status["actuators"]["fan"];
    assert_eq!((&actuator["command"], &actuator["result"]), (&json!("fan"), &json!("executed")));
    assert_eq!(status["cloud"]["online"], true);
    assert!(status["cloud"]["since_s"].is_u64());
    assert_eq!(status["throttle"]["gateway"]["calls_max"], 30);
    assert_eq!(
        (&status["outbox"]["states"], &status["outbox"]["catch_up_s"]),
        (&json!(0), &json!(0))
    );
    assert!(status["disk"]["free_bytes"].as_u64().unwrap() > 0);
    assert_eq!(status["disk"]["write_failing_s"], json!(null));
    assert_eq!(status["health"], json!({"condition": "healthy", "problems": []}));
}

#[tokio::test]
async fn problems_have_codes_and_clear() {
    let cloud = cloud().await;
    let site = Site::new(&cloud, &probe_tables(&["n"]));
    let mut tty = Tty::plugged(site.path("tty"));
    let daemon = site.start();
    tty.write("n=1\n");
    wait_until_healthy(&daemon);
    tty.unplug();
    wait_until("the line is reported as down", || problem_codes(&daemon) == ["bus_down"]);
    tty.plug();
    wait_until("the line is open again", || problem_codes(&daemon).is_empty());
    assert_eq!(daemon.count("/buses/probe/disconnects"), 1);
    cloud.set_offline(true);
    tty.write("n=2\n");
    wait_until("the cloud is reported as offline", || {
        problem_codes(&daemon).contains(&json!("cloud_offline"))
    });
    let status = daemon.status();
    assert!(status["outbox"]["oldest_ms"].as_i64().unwrap() > 1_600_000_000_000, "{status}");
    assert_ne!(status["cloud"]["error"], "");
    cloud.set_offline(false);
    wait_until("the cloud is online again", || problem_codes(&daemon).is_empty());
}

#[tokio::test]
async fn exit_code_is_the_condition() {
    let cloud = cloud().await;
    let site = Site::new(&cloud, &probe_tables(&["n"]));
    let mut tty = Tty::plugged(site.path("tty"));
    let daemon = site.start();
    tty.write("n=1\n");
    wait_until_healthy(&daemon);
    wait_until("tidegate status prints it", || {
        let output = site.run(&["status"]);
        let page = String::from_utf8(output.stdout).unwrap();
        output.status.code() == Some(0) && page.lines().next().unwrap().ends_with(": healthy")
    });
    tty.unplug();
    wait_until("the line is reported as down", || {
        site.run(&["status", "--json"]).status.code() == Some(1)
    });
    let page = String::from_utf8(site.run(&["status"]).stdout).unwrap();
    assert!(page.contains("! bus down: probe: "), "{page}");
}

#[tokio::test]
async fn status_needs_neither_key_nor_valid_files() {
    let cloud = cloud().await;
    let site = Site::new(&cloud, &probe_tables(&["n"]));
    let _tty = Tty::plugged(site.path("tty"));
    let daemon = site.start();
    std::fs::remove_file(site.path("credentials.toml")).unwrap();
    daemon.wait_for_log("serial line open");
    let words: [&[&str]; 3] = [&["outbox", "status"], &["commands", "list"], &["sensor", "list"]];
    for words in words {
        let output = site.run(words);
        assert!(output.status.success(), "{words:?}: {output:?}");
    }
    let output = site.run(&["check"]);
    assert!(output.status.success(), "{output:?}");
    assert!(utf8(&output.stderr).contains("credentials.toml: not checked"), "{output:?}");
    let config = std::fs::read_to_string(site.config()).unwrap();
    site.write_config(&format!("{config}\nnonsense = [\n"));
    let output = site.run(&["status"]);
    assert!(matches!(output.status.code(), Some(0 | 1)), "{output:?}");
    assert!(daemon.terminate().success());
}

/// The answer of the port for metrics and health.
#[derive(Debug, PartialEq, Eq)]
struct Answer {
    status: String,
    body: String,
}

/// Requests a path from the port that the log names.
fn get(daemon: &Daemon, path: &str) -> Answer {
    let log = daemon.log();
    let (_, rest) = log.split_once("serving metrics and health listen=").unwrap();
    let mut stream = TcpStream::connect(rest.lines().next().unwrap().trim()).unwrap();
    write!(stream, "GET {path} HTTP/1.0\r\n\r\n").unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    Answer { status: head.lines().next().unwrap().to_owned(), body: body.to_owned() }
}

#[tokio::test]
async fn port_serves_only_metrics_and_health() {
    let cloud = cloud().await;
    let site = Site::new(&cloud, &probe_tables(&["n"]));
    site.replace_in_config("[status]\n", "[status]\nlisten = \"127.0.0.1:0\"\n");
    let mut tty = Tty::plugged(site.path("tty"));
    let daemon = site.start();
    tty.write("n=1\nnonsense\n");
    wait_until("the reading is stored", || daemon.count("/ledger/probe/stored") == 1);
    wait_until("the error is counted", || daemon.count("/sensors/probe/errors") == 1);
    let Answer { status, body: text } = get(&daemon, "/metrics");
    assert!(status.ends_with(" 200 OK"), "{status}");
    let mut reader = Command::new(judge())
        .arg("tests/conformance/metrics.py")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    reader.stdin.take().unwrap().write_all(text.as_bytes()).unwrap();
    let output = reader.wait_with_output().unwrap();
    assert!(output.status.success(), "{text}");
    let samples: Value = serde_json::from_slice(&output.stdout).unwrap();
    let bus = json!({"bus": "probe"});
    assert_eq!(samples["tidegate_readings_received_total"], json!([[bus, 2]]));
    assert_eq!(samples["tidegate_readings_stored_total"], json!([[bus, 1]]));
    let rejected = json!([[{"bus": "probe", "reason": "malformed"}, 1]]);
    assert_eq!(samples["tidegate_readings_rejected_total"], rejected);
    assert_eq!(samples["tidegate_bus_connected"], json!([[bus, 1]]));
    assert_eq!(samples["tidegate_cloud_up"], json!([[{}, 1]]));
    let problems = samples["tidegate_health_problems"].as_array().unwrap();
    assert_eq!(problems.len(), 25, "one sample for each code");
    assert_eq!(get(&daemon, "/healthz"), ok("{\"alive\":true}\n"));
    assert_eq!(get(&daemon, "/readyz"), ok("{\"ready\":true}\n"));
    for path in ["/status", "/outbox", "/"] {
        let status = get(&daemon, path).status;
        assert!(status.ends_with(" 404 Not Found"), "{path}: {status}");
    }
}

fn ok(body: &str) -> Answer {
    Answer { status: "HTTP/1.0 200 OK".to_owned(), body: body.to_owned() }
}

#[tokio::test]
async fn public_port_needs_explicit_consent() {
    let cloud = cloud().await;
    let site = Site::new(&cloud, &probe_tables(&["n"]));
    let listen = "[status]\nlisten = \"0.0.0.0:9469\"\n";
    site.replace_in_config("[status]\n", listen);
    let output = site.run(&["check"]);
    assert_eq!(output.status.code(), Some(78));
    let message = utf8(&output.stderr);
    let expected = "status.listen: 0.0.0.0:9469 can be reached by other computers";
    assert!(message.contains(expected), "{message}");
    site.replace_in_config(listen, &format!("{listen}listen_public = true\n"));
    assert!(site.run(&["check"]).status.success());
}
