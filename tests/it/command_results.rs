//! The result of each command is reported to Losant and shown on the gateway. Nothing runs twice.

use std::io::{Read as _, Write as _};
use std::net::TcpListener;

use serde_json::{Value, json};
use tidegate_sandbox::{Action, Fault, GATEWAY_ID, GREENHOUSE_ID, Sandbox};

use crate::support::{Broker, Site, Tty, cloud, values_of, wait_until};

/// Every attribute that reports a command.
const REPORT: &str = r#"
[commands]
id = "requestId"
target = "device"
catch_up_age_max = "1 h"
[commands.report]
command = "last"
id = "lastId"
result = "lastResult"
message = "lastMessage"
duration_ms = "lastDuration"
"#;

/// A fan on a serial line, which answers.
const FAN: &str = r#"
[bus.serial.probe]
path = "tty"
[actuator.fan]
command = "fan"
bus = "probe"
write = "FAN {{ payload.speed }}\n"
reply = "OK"
reply_failure = "ERR"
reply_timeout = "1 s"
[actuator.fan.argument.speed]
kind = "integer"
min = 0
max = 100
"#;

/// A program that takes a given time, in a directory of the test.
fn sleeper(site: &Site) -> String {
    let log = site.path("slept").display().to_string();
    format!(
        r#"
[actuator.sleep]
command = "sleep"
exec = ["/bin/sh", "-c", 'echo "$0" >> {log}; sleep "$0"; echo slept', "{{{{ payload.s }}}}"]
"#
    )
}

fn wait_for_stream(cloud: &Sandbox, device: &str) {
    wait_until("the stream is open", || cloud.streams_open(device) == 1);
}

/// The reported commands of a device: name, result and message.
fn results(cloud: &Sandbox, device: &str) -> Vec<(Value, Value, Value)> {
    let reported = |state: tidegate_sandbox::StoredState| {
        let value = |name: &str| state.data.get(name).cloned();
        Some((value("last")?, value("lastResult")?, value("lastMessage")?))
    };
    cloud.states(device).into_iter().filter_map(reported).collect()
}

fn wait_for_results(cloud: &Sandbox, expected: &[(&str, &str, &str)]) {
    let expected: Vec<_> = expected
        .iter()
        .map(|(name, result, message)| (json!(name), json!(result), json!(message)))
        .collect();
    wait_until("the results are reported", || results(cloud, GATEWAY_ID).len() >= expected.len());
    assert_eq!(results(cloud, GATEWAY_ID), expected);
}

#[tokio::test]
async fn serial_reply_decides_the_result() {
    let cloud = cloud().await;
    let site = Site::new(&cloud, &format!("{REPORT}{FAN}"));
    let mut tty = Tty::plugged(site.path("tty"));
    let daemon = site.start();
    wait_for_stream(&cloud, GATEWAY_ID);
    daemon.wait_for_log("serial line open");
    for (speed, answer) in [(1, "t=1\nOK 1\n"), (2, "ERR stuck\n"), (3, "")] {
        cloud.send_command(GATEWAY_ID, "fan", json!({"speed": speed, "requestId": speed}));
        assert_eq!(tty.read_line(), format!("FAN {speed}"));
        tty.write(answer);
    }
    cloud.send_command(GATEWAY_ID, "fan", json!({"speed": 101}));
    cloud.send_command(GATEWAY_ID, "fan", json!({"speed": 1, "requestId": 1}));
    wait_until("an id runs once", || daemon.count("/commands/duplicates") == 1);
    wait_until("all results are there", || results(&cloud, GATEWAY_ID).len() == 4);
    let mut results = results(&cloud, GATEWAY_ID);
    // A refusal is reported at once, while the reply of the device is still pending.
    results.sort_by_key(|(_, result, message)| (result.to_string(), message.to_string()));
    let expected = [
        ("executed", "OK 1"),
        ("failed", "the device answered \"ERR stuck\""),
        ("failed", "the device did not answer within 1s"),
        ("refused", "arguments: the argument \"speed\" must be a whole number from 0 to 100"),
    ];
    let reported: Vec<_> = results.iter().map(|(_, result, message)| (result, message)).collect();
    let expected = expected.map(|(result, message)| (json!(result), json!(message)));
    assert_eq!(reported, expected.iter().map(|(a, b)| (a, b)).collect::<Vec<_>>());
    assert_eq!(values_of(&cloud, GATEWAY_ID, "lastId"), [json!("1"), json!("2"), json!("3")]);
    assert!(daemon.terminate().success());
    site.outbox();
}

/// A lamp that answers on a topic of its own, which is no sensor's.
#[tokio::test]
async fn mqtt_reply_decides_the_result() {
    let (cloud, broker) = (cloud().await, Broker::start());
    let lamp = format!(
        r#"{REPORT}
[bus.mqtt.house]
host = "127.0.0.1"
port = {}
[actuator.lamp]
command = "lamp"
bus = "house"
topic = "lamp/set"
payload = "{{{{ payload.n }}}}"
reply_topic = "lamp/answer"
reply = "done"
reply_failure = "error"
reply_timeout = "1 s"
"#,
        broker.port()
    );
    let site = Site::new(&cloud, &lamp);
    let answer = |text: &str| {
        let message = ("lamp/answer".to_owned(), text.as_bytes().to_vec());
        broker.publish([message])
    };
    let mut lamps = broker.subscribe("lamp/set").await;
    let daemon = site.start();
    wait_for_stream(&cloud, GATEWAY_ID);
    daemon.wait_for_log("subscribed");
    let lines = [
        (1, Some("done 1"), "executed", "done 1"),
        (2, Some("error 2"), "failed", "the device answered \"error 2\""),
        (3, None, "failed", "the device did not answer within 1s"),
    ];
    for (n, said, _, _) in lines {
        cloud.send_command(GATEWAY_ID, "lamp", json!({"n": n}));
        assert_eq!(lamps.next().await.payload, n.to_string());
        if let Some(said) = said {
            answer("about something else").await;
            answer(said).await;
        }
    }
    wait_for_results(&cloud, &lines.map(|(_, _, result, message)| ("lamp", result, message)));
    assert_eq!(daemon.status()["ledger"]["house"], Value::Null, "answers are no readings");
    assert!(daemon.terminate().success());
    site.outbox();
}

#[tokio::test]
async fn command_cut_by_a_crash_is_interrupted_and_not_rerun() {
    let cloud = cloud().await;
    let site = Site::new(&cloud, "");
    let config = std::fs::read_to_string(site.config()).unwrap();
    site.write_config(&format!("{config}{REPORT}{}", sleeper(&site)));
    let daemon = site.start();
    wait_for_stream(&cloud, GATEWAY_ID);
    cloud.send_command(GATEWAY_ID, "sleep", json!({"s": 60}));
    let slept = || std::fs::read_to_string(site.path("slept")).unwrap_or_default();
    wait_until("it runs", || slept() == "60\n");
    daemon.kill();
    cloud.send_command(GATEWAY_ID, "sleep", json!({"s": 0}));
    let daemon = site.start();
    let message = "tidegate ended before the command had a result";
    wait_until("what was sent meanwhile runs", || slept() == "60\n0\n");
    wait_for_results(&cloud, &[("sleep", "interrupted", message), ("sleep", "executed", "slept")]);
    assert!(daemon.terminate().success());
    let daemon = site.start();
    wait_for_stream(&cloud, GATEWAY_ID);
    assert_eq!(slept(), "60\n0\n");
    assert_eq!(results(&cloud, GATEWAY_ID).len(), 2, "nothing is reported again");
    assert!(daemon.terminate().success());
    site.outbox();
}

#[tokio::test]
async fn hanging_actuator_delays_no_other_and_no_stop() {
    let cloud = cloud().await;
    let site = Site::new(&cloud, "");
    let config = std::fs::read_to_string(site.config()).unwrap();
    let fan = FAN.replace("reply", "# reply");
    site.write_config(&format!("{config}{REPORT}{fan}{}", sleeper(&site)));
    let mut tty = Tty::plugged(site.path("tty"));
    let daemon = site.start();
    wait_for_stream(&cloud, GATEWAY_ID);
    daemon.wait_for_log("serial line open");
    cloud.send_command(GATEWAY_ID, "sleep", json!({"s": 60}));
    cloud.send_command(GATEWAY_ID, "sleep", json!({"s": 61}));
    cloud.send_command(GATEWAY_ID, "fan", json!({"speed": 7}));
    assert_eq!(tty.read_line(), "FAN 7");
    assert!(daemon.terminate().success());
    let interrupted =
        ["the daemon stopped while the command ran", "the daemon stopped before the command ran"];
    let mut expected: Vec<_> =
        interrupted.map(|message| (json!("sleep"), json!("interrupted"), json!(message))).to_vec();
    expected.insert(0, (json!("fan"), json!("executed"), json!("")));
    assert_eq!(results(&cloud, GATEWAY_ID), expected);
    assert_eq!(std::fs::read_to_string(site.path("slept")).unwrap(), "60\n");
    site.outbox();
}

/// A host that answers each of these lines to one request, and returns the requests.
fn host(answers: &'static [&'static str]) -> (u16, std::thread::JoinHandle<Vec<String>>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let answering = std::thread::spawn(move || {
        let answer = |answer: &&str| {
            let (mut stream, _) = listener.accept().unwrap();
            let mut request = [0; 4_096];
            let length = stream.read(&mut request).unwrap();
            let head = format!("HTTP/1.1 {answer}\r\nconnection: close\r\n\r\ndone\nand more");
            stream.write_all(head.as_bytes()).unwrap();
            String::from_utf8_lossy(&request[..length]).lines().next().unwrap().to_owned()
        };
        answers.iter().map(answer).collect()
    });
    (port, answering)
}

#[tokio::test]
async fn http_and_gateway_actuators_report_their_answers() {
    let (port, host) = host(&["200 OK", "500 Oh", "302 Found\r\nlocation: http://example.com/"]);
    let cloud = cloud().await;
    let instruments = format!(
        r#"{REPORT}
[actuator.relay]
command = "relay"
url = "http://127.0.0.1:{port}/relay/{{{{ payload.n }}}}"
body = '{{"on": true}}'
[actuator.how]
command = "how"
gateway = "report-status"
[actuator.level]
command = "level"
gateway = "log-level"
level = "{{{{ payload.level }}}}"
"#
    );
    let site = Site::new(&cloud, &instruments);
    let daemon = site.start();
    wait_for_stream(&cloud, GATEWAY_ID);
    let mut finished = 0;
    let mut say = |name: &str, payload: Value| {
        cloud.send_command(GATEWAY_ID, name, payload);
        finished += 1;
        wait_until("it has a result", || results(&cloud, GATEWAY_ID).len() == finished);
        let (_, result, message) = results(&cloud, GATEWAY_ID).pop().unwrap();
        format!("{}: {}", result.as_str().unwrap(), message.as_str().unwrap())
    };
    assert_eq!(say("relay", json!({"n": 1})), "executed: done");
    assert_eq!(say("relay", json!({"n": 2})), "failed: the host answered 500: done");
    assert_eq!(say("relay", json!({"n": 3})), "failed: the host answered 302: done");
    assert_eq!(host.join().unwrap(), [1, 2, 3].map(|n| format!("POST /relay/{n} HTTP/1.1")));
    let how = say("how", json!({}));
    assert!(how.starts_with("executed: version") && how.contains("1 of 1 streams open"), "{how}");
    assert!(say("level", json!({"level": "bogus=;"})).starts_with("failed: log.level"));
    assert!(
        say("level", json!({"level": "error"})).starts_with("executed: the log level is error")
    );
    let before = daemon.log().len();
    say("how", json!({}));
    assert_eq!(daemon.log().len(), before, "nothing more is logged");
    assert!(daemon.terminate().success());
}

#[tokio::test]
async fn command_that_becomes_stale_in_the_queue_does_not_run() {
    let cloud = cloud().await;
    let site = Site::new(&cloud, "");
    let config = std::fs::read_to_string(site.config()).unwrap();
    let report = REPORT.replace("[commands]", "[commands]\nage_max = \"1 s\"");
    site.write_config(&format!("{config}{report}{}", sleeper(&site)));
    let daemon = site.start();
    wait_for_stream(&cloud, GATEWAY_ID);
    cloud.send_command(GATEWAY_ID, "sleep", json!({"s": 2}));
    cloud.send_command(GATEWAY_ID, "sleep", json!({"s": 0}));
    let stale = "stale: the command waited too long for the actuator";
    wait_for_results(&cloud, &[("sleep", "executed", "slept"), ("sleep", "refused", stale)]);
    assert_eq!(std::fs::read_to_string(site.path("slept")).unwrap(), "2\n");
    assert!(daemon.terminate().success());
}

#[tokio::test]
async fn timeout_fails_the_command_and_kills_its_program() {
    let cloud = cloud().await;
    let site = Site::new(&cloud, "");
    let config = std::fs::read_to_string(site.config()).unwrap();
    let late = site.path("late");
    let sleeper = format!(
        r#"
[actuator.sleep]
command = "sleep"
exec = ["/bin/sh", "-c", "sleep 3; echo late >> {}"]
timeout = "1 s"
"#,
        late.display()
    );
    site.write_config(&format!("{config}{REPORT}{sleeper}"));
    let daemon = site.start();
    wait_for_stream(&cloud, GATEWAY_ID);
    for sent in 1..=4 {
        cloud.send_command(GATEWAY_ID, "sleep", json!({"n": sent}));
    }
    wait_until("all have a result", || results(&cloud, GATEWAY_ID).len() == 4);
    for (_, result, message) in results(&cloud, GATEWAY_ID) {
        assert_eq!((result, message), (json!("failed"), json!("no outcome within 1s")));
    }
    // Four of them took longer than the first would have slept.
    assert!(!late.exists(), "no program went on");
    assert!(daemon.terminate().success());
}

#[tokio::test]
async fn commands_of_an_actuator_run_in_order() {
    let cloud = cloud().await;
    let fan = FAN.replace("reply", "# reply");
    let site = Site::new(&cloud, &fan);
    let mut tty = Tty::plugged(site.path("tty"));
    let daemon = site.start();
    wait_for_stream(&cloud, GATEWAY_ID);
    daemon.wait_for_log("serial line open");
    for speed in 0..100 {
        cloud.send_command(GATEWAY_ID, "fan", json!({"speed": speed}));
    }
    for speed in 0..100 {
        assert_eq!(tty.read_line(), format!("FAN {speed}"));
    }
    assert!(daemon.terminate().success());
}

#[tokio::test]
async fn result_survives_an_outage_and_a_restart() {
    let cloud = cloud().await;
    let fan = FAN.replace("reply", "# reply");
    let site = Site::new(&cloud, &format!("{REPORT}{fan}"));
    let mut tty = Tty::plugged(site.path("tty"));
    let daemon = site.start();
    wait_for_stream(&cloud, GATEWAY_ID);
    daemon.wait_for_log("serial line open");
    cloud.fail_next(Action::SendState, 1_000, Fault::Drop);
    cloud.send_command(GATEWAY_ID, "fan", json!({"speed": 6, "requestId": "six"}));
    assert_eq!(tty.read_line(), "FAN 6");
    wait_until("it is executed", || daemon.count("/commands/executed") == 1);
    cloud.set_offline(true);
    assert!(daemon.terminate().success());
    let daemon = site.start();
    cloud.clear_faults();
    cloud.set_offline(false);
    wait_for_results(&cloud, &[("fan", "executed", "")]);
    assert_eq!(values_of(&cloud, GATEWAY_ID, "lastId"), [json!("six")]);
    assert!(daemon.terminate().success());
    site.outbox();
}

/// What makes it safe is tried until it succeeds.
#[tokio::test]
async fn failed_failsafe_write_is_retried() {
    let cloud = cloud().await;
    let fan = FAN.replace("reply", "# reply").replace(
        "[actuator.fan.argument",
        "safe = '{\"speed\": 0}'\nsafe_when_offline = \"500 ms\"\n[actuator.fan.argument",
    );
    let site = Site::new(&cloud, &fan);
    let mut tty = Tty::plugged(site.path("tty"));
    let daemon = site.start();
    wait_for_stream(&cloud, GATEWAY_ID);
    daemon.wait_for_log("serial line open");
    tty.unplug();
    daemon.wait_for_log("serial line not available");
    cloud.set_offline(true);
    daemon.wait_for_log("failsafe write failed");
    tty.plug();
    assert_eq!(tty.read_line(), "FAN 0");
    assert!(daemon.terminate().success());
}

#[tokio::test]
async fn failsafe_is_written_after_on_time_offline_and_at_stop() {
    let cloud = cloud().await;
    let fan = FAN.replace("reply", "# reply").replace(
        "[actuator.fan.argument",
        "safe = '{\"speed\": 0}'\nmax_on_time = \"500 ms\"\nsafe_at_stop = \
         true\nsafe_when_offline = \"500 ms\"\n[actuator.fan.argument",
    );
    let site = Site::new(&cloud, &fan);
    let mut tty = Tty::plugged(site.path("tty"));
    let daemon = site.start();
    wait_for_stream(&cloud, GATEWAY_ID);
    daemon.wait_for_log("serial line open");
    cloud.send_command(GATEWAY_ID, "fan", json!({"speed": 9}));
    // A start that takes long is a time without a stream, too.
    while tty.read_line() != "FAN 9" {}
    assert_eq!(tty.read_line(), "FAN 0");
    daemon.wait_for_log("maximum on-time reached");
    cloud.set_offline(true);
    assert_eq!(tty.read_line(), "FAN 0");
    daemon.wait_for_log("no command stream");
    cloud.set_offline(false);
    wait_for_stream(&cloud, GATEWAY_ID);
    assert!(daemon.terminate().success());
    assert_eq!(tty.read_line(), "FAN 0", "at the stop");
}

#[tokio::test]
async fn gateway_command_can_name_a_peripheral() {
    let cloud = cloud().await;
    let fan = FAN
        .replace("reply", "# reply")
        .replace("[actuator.fan]", "[actuator.fan]\ndevice = \"greenhouse\"");
    let site = Site::new(&cloud, &format!("{REPORT}{fan}"));
    let mut tty = Tty::plugged(site.path("tty"));
    let daemon = site.start();
    wait_for_stream(&cloud, GATEWAY_ID);
    daemon.wait_for_log("serial line open");
    cloud.send_command(GATEWAY_ID, "fan", json!({"speed": 4, "device": "greenhouse"}));
    assert_eq!(tty.read_line(), "FAN 4");
    cloud.send_command(
        GATEWAY_ID,
        "fan",
        json!({"speed": 4, "device": "575ecf887ae143cd83dc4aff"}),
    );
    wait_until("somebody else's device is refused", || {
        daemon.count("/commands/refused/unknown_device") == 1
    });
    wait_until("the peripheral reports", || !results(&cloud, GREENHOUSE_ID).is_empty());
    assert!(daemon.terminate().success());
}

#[tokio::test]
async fn cli_lists_the_history_and_tries_a_command() {
    let cloud = cloud().await;
    let site = Site::new(&cloud, &FAN.replace("reply", "# reply"));
    let mut tty = Tty::plugged(site.path("tty"));
    let daemon = site.start();
    wait_for_stream(&cloud, GATEWAY_ID);
    daemon.wait_for_log("serial line open");
    cloud.send_command(GATEWAY_ID, "fan", json!({"speed": 4}));
    assert_eq!(tty.read_line(), "FAN 4");
    wait_until("it is executed", || daemon.count("/commands/executed") == 1);
    let said = |words: &[&str]| {
        let output = site.run(words);
        String::from_utf8(output.stdout).unwrap() + &String::from_utf8(output.stderr).unwrap()
    };
    let running = said(&["commands", "list"]);
    assert!(running.contains("executed") && running.contains("fan"), "{running}");
    assert!(daemon.terminate().success());
    assert_eq!(said(&["commands", "list"]), running);
    let record: Value = serde_json::from_str(&said(&["commands", "show", "1"])).unwrap();
    assert_eq!(
        (&record["payload"], &record["result"]),
        (&json!("{\"speed\":4}"), &json!("executed"))
    );
    let run = |payload: &str| said(&["commands", "run", "--dry-run", "gateway", "fan", payload]);
    assert_eq!(run("{\"speed\": 5}"), "fan: writes \"FAN 5\\n\"\n");
    assert!(run("{\"speed\": 500}").contains("refused (arguments)"));
    assert!(said(&["commands", "run", "gateway", "fan"]).contains("add --dry-run"));
}
