//! What somebody who can send commands, and means no good, can do with them.

use std::time::Instant;

use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};
use tidegate_sandbox::{Action, Fault, GATEWAY_ID, Step, WORKSHOP_ID};

use crate::support::{Site, Tty, cloud, wait_until};

const SITE: &str = r#"
[bus.serial.probe]
path = "tty"
[actuator.say]
command = "say"
bus = "probe"
write = "SAY {{ payload.text }}\n"
[actuator.print]
command = "print"
exec = ["/usr/bin/printf", "%s", "{{ payload.text }}"]
[actuator.relay]
command = "relay"
url = "http://127.0.0.1:9/relay/{{ payload.n }}"
"#;

/// What the last command of the history says: its result and its message.
fn last(status: &Value) -> (String, String) {
    let record = &status["command_history"][0];
    let text = |name: &str| record[name].as_str().unwrap_or_default().to_owned();
    (text("result"), text("message"))
}

#[tokio::test]
async fn hostile_payloads_are_refused_or_stay_data() {
    let cloud = cloud().await;
    let site = Site::new(&cloud, SITE);
    let mut tty = Tty::plugged(site.path("tty"));
    let daemon = site.start();
    wait_until("the stream is open", || cloud.streams_open(GATEWAY_ID) == 1);
    daemon.wait_for_log("serial line open");
    let mut deep = json!(1);
    for _ in 0..100 {
        deep = json!([deep]);
    }
    let shell = "$(touch /tmp/owned); `reboot` | cat && rm -rf / #";
    let attacks = [
        ("print", json!({"text": shell}), "executed", shell),
        ("print", json!({"text": "--help"}), "executed", "--help"),
        ("print", json!({"text": "a\u{0}b"}), "refused", "unwritable: the command holds a control"),
        (
            "print",
            json!({"text": "x".repeat(9_000)}),
            "refused",
            "unwritable: the write has 9000 bytes",
        ),
        ("say", json!({"text": "{{ payload }}{% for a in range(9) %}"}), "executed", ""),
        ("say", json!({"text": "a\nSAY b"}), "refused", "unwritable: the command holds a control"),
        ("say", json!({"text": "x".repeat(5_000)}), "refused", "unwritable: the write has 500"),
        ("say", json!({"text": "x".repeat(70_000)}), "refused", "too_large"),
        ("say", json!({"text": 1, "deep": deep}), "executed", ""),
        ("relay", json!({"n": "../../admin"}), "refused", "unwritable: "),
        ("relay", json!({"n": "%2e%2e"}), "refused", "unwritable: the URL"),
        ("relay", json!({"n": "1"}), "failed", "cannot connect"),
    ];
    for (count, (name, payload, result, message)) in (1_u64..).zip(attacks) {
        let shown: String = payload.to_string().chars().take(60).collect();
        cloud.send_command(GATEWAY_ID, name, payload);
        wait_until("there is a result", || {
            let status = daemon.status();
            status["command_history"][0]["number"] == count && last(&status).0 != "started"
        });
        let (was, said) = last(&daemon.status());
        assert_eq!(was, result, "{name} {shown}: {said}");
        assert!(said.starts_with(message), "{name} {shown}: {said}");
    }
    assert_eq!(tty.read_line(), "SAY {{ payload }}{% for a in range(9) %}", "data, not a template");
    assert_eq!(tty.read_line(), "SAY 1", "and no line in between");
    cloud.send_command(WORKSHOP_ID, "say", json!({"text": "for another device"}));
    cloud.send_command(GATEWAY_ID, "say", json!({"text": "last"}));
    assert_eq!(tty.read_line(), "SAY last");
    assert!(daemon.terminate().success());
    site.outbox();
}

/// Each is refused, and what was sent around it runs, whether it comes on the stream or from the
/// history.
#[tokio::test]
async fn unreadable_command_is_refused_and_hides_no_other() {
    let cloud = cloud().await;
    let site = Site::new(&cloud, SITE);
    let mut tty = Tty::plugged(site.path("tty"));
    let daemon = site.start();
    wait_until("the stream is open", || cloud.streams_open(GATEWAY_ID) == 1);
    daemon.wait_for_log("serial line open");
    let mut deep = json!("deep");
    for _ in 0..300 {
        deep = json!([deep]);
    }
    let say = |payload: Value| {
        // So many would not be sent in one millisecond.
        let now = || Timestamp::now().as_millisecond();
        let moment = now();
        wait_until("the next millisecond", || now() > moment);
        cloud.send_command(GATEWAY_ID, "say", payload);
    };
    let attack = |text: &str| {
        say(json!({"text": "before", "n": text}));
        say(deep.clone());
        // More than one answer of Losant's that is read may have.
        for n in 0..20 {
            say(json!({"text": n, "large": "x".repeat(250_000)}));
        }
        say(json!({"text": text}));
    };
    attack("live");
    assert_eq!((tty.read_line(), tty.read_line()), ("SAY before".into(), "SAY live".into()));
    cloud.set_offline(true);
    wait_until("the stream is gone", || cloud.streams_open(GATEWAY_ID) == 0);
    attack("caught up");
    cloud.set_offline(false);
    assert_eq!((tty.read_line(), tty.read_line()), ("SAY before".into(), "SAY caught up".into()));
    wait_until("all are judged", || daemon.count("/commands/received") == 46);
    let refused = &daemon.status()["commands"]["refused"];
    assert_eq!(refused, &json!({"malformed": 2, "too_large": 40}));
    assert!(daemon.terminate().success());
    site.outbox();
}

#[tokio::test]
#[expect(clippy::disallowed_methods, reason = "it measures how long a flood takes")]
async fn flood_of_commands_is_refused_beyond_the_rate_limit() {
    const FLOOD: u64 = 3_000;
    let cloud = cloud().await;
    let report = "[commands.report]\nresult = \"lastResult\"\n";
    let say = SITE.replace("write = \"SAY", "rate_max = 50\nwrite = \"SAY");
    let site = Site::new(&cloud, &format!("{report}{say}"));
    let _tty = Tty::plugged(site.path("tty"));
    let fresh = Timestamp::now() + SignedDuration::from_mins(4);
    let events = (0..FLOOD).map(|n| {
        let time = fresh + SignedDuration::from_millis(n.cast_signed());
        let event = json!({"name": "say", "time": time.to_string(), "payload": {"text": n}});
        format!("event: deviceCommand\ndata: {event}\n\n")
    });
    let flood: String = events.collect();
    let script = vec![
        Step::Wait(std::time::Duration::from_millis(500)),
        Step::Send(flood.into_bytes()),
        Step::Silence,
    ];
    cloud.fail_next(Action::CommandStream, 1, Fault::Script(script));
    let daemon = site.start();
    wait_until("the flood begins", || daemon.count("/commands/received") > 0);
    let (started, before) = (Instant::now(), daemon.memory_kb());
    wait_until("all are judged", || daemon.count("/commands/received") == FLOOD);
    let took = started.elapsed();
    let status = daemon.status();
    let commands = &status["commands"];
    assert_eq!(
        commands["executed"].as_u64().unwrap() + commands["failed"].as_u64().unwrap(),
        50,
        "{commands}"
    );
    assert_eq!(commands["refused"], json!({"too_often": FLOOD - 50}));
    eprintln!(
        "{FLOOD} commands judged in {took:?}; memory {before} kB before, {} kB after",
        daemon.memory_kb()
    );
    daemon.wait_until_sent();
    let reported = cloud.states(GATEWAY_ID).len();
    assert!((150..=250).contains(&reported), "all that ran, and a hundred a minute: {reported}");
    assert!(daemon.terminate().success());
    site.outbox();
}
