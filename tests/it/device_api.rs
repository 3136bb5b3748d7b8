//! `tidegate device`: all actions against the sandbox, bad input, and exit codes.

use std::io::{BufRead as _, BufReader, Write as _};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};

use serde_json::{Value, json};
use tidegate_sandbox::{Action, Fault, GATEWAY_ID, GREENHOUSE_ID, WORKSHOP_ID};

use crate::support::{End, PROGRAM, Shell, wait_until, write_private};

#[tokio::test(flavor = "multi_thread")]
async fn states_are_sent_and_read_back() {
    let shell = Shell::new().await;
    let sent = shell.device(&[
        "send-state",
        "--data",
        "temp=21.5",
        "door=true",
        "note=open wide",
        "label=\"7\"",
        "--time",
        "2h",
        "--meta",
        "{\"by\": \"hand\"}",
    ]);
    assert_eq!(sent.line(), json!({"success": true}));
    let data = json!({"temp": 21.5, "door": true, "note": "open wide", "label": "7"});
    assert_eq!(Value::Object(shell.states()[0].data.clone()), data);

    let two =
        r#"[{"data": {"temp": 1}, "time": "2026-05-01T10:00:00.000Z"}, {"data": {"temp": 2}}]"#;
    // Losant accepts and ignores the first state because it is too old.
    assert_eq!(shell.device(&["sendState", "--json", two]).line(), json!({"success": true}));
    assert_eq!(shell.states().len(), 2);

    let read = shell.device(&["get-state", "--start", "3h", "-n", "10", "--sort-direction", "asc"]);
    let values: Vec<_> = read.lines().iter().map(|state| state["data"]["temp"].clone()).collect();
    assert_eq!(values, [json!(21.5), json!(2)]);
    assert_eq!(shell.device(&["get-state"]).lines().len(), 1);
    assert_eq!(shell.device(&["get-state", "--since", "1h", "-n", "9"]).lines().len(), 1);
    assert_eq!(shell.device(&["get-state", "--end", "30days"]).lines().len(), 0);

    let composite = shell.device(&["get-composite-state", "--attributes", "temp,door"]).line();
    assert_eq!(
        (&composite["temp"]["value"], &composite["door"]["value"]),
        (&json!(2), &json!(true))
    );
    assert!(composite.get("note").is_none(), "{composite}");
}

#[tokio::test(flavor = "multi_thread")]
async fn body_comes_from_a_file_or_standard_input() {
    let shell = Shell::new().await;
    let file = shell.site.path("state.json");
    std::fs::write(&file, r#"{"data": {"temp": 5}}"#).unwrap();
    shell.device(&["send-state", "--json", file.to_str().unwrap()]).line();
    let mut child = shell
        .command(&["send-state", "--json", "-"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(br#"{"data": {"temp": 6}}"#).unwrap();
    assert_eq!(End::of(&child.wait_with_output().unwrap()).line(), json!({"success": true}));
    let temps: Vec<_> = shell.states().iter().map(|state| state.data["temp"].clone()).collect();
    assert_eq!(temps, [json!(5), json!(6)]);
}

#[tokio::test(flavor = "multi_thread")]
async fn commands_are_sent_and_read_back() {
    let shell = Shell::new().await;
    let words =
        ["send-command", "--name", "fan", "--payload", r#"{"speed": 3}"#, "-d", "greenhouse"];
    assert_eq!(shell.device(&words).line(), json!({"success": true}));
    let command = shell.device(&["get-command", "--device", GREENHOUSE_ID]).line();
    assert_eq!((&command["name"], &command["payload"]), (&json!("fan"), &json!({"speed": 3})));
    assert_eq!(shell.device(&["getCommand"]).lines().len(), 0, "the gateway received none");
}

#[tokio::test(flavor = "multi_thread")]
async fn connection_status_is_set_and_logged() {
    let shell = Shell::new().await;
    let words = ["set-connection-status", "--status", "connected", "--connected-at", "1h"];
    assert_eq!(shell.device(&words).line(), json!({"success": true}));
    let words = [
        "set-connection-status",
        "--status",
        "disconnected",
        "--reason",
        "by hand",
        "--messages-from-client",
        "7",
        "--messages-to-client",
        "0",
        "--ip-address",
        "10.0.0.1",
    ];
    assert_eq!(shell.device(&words).line(), json!({"success": true}));
    let log = shell.device(&["get-log-entries", "-n", "5", "--sort-direction", "asc"]).lines();
    assert_eq!(log.len(), 2);
    assert_eq!((&log[0]["connected"], &log[1]["connected"]), (&json!(1), &json!(0)));
    assert_eq!(log[1]["disconnectReason"], "by hand");
}

#[tokio::test(flavor = "multi_thread")]
async fn device_is_shown_and_patched() {
    let shell = Shell::new().await;
    let device = shell.device(&["get", "--exclude-connection-info"]).line();
    assert_eq!((&device["deviceId"], device.get("connectionInfo")), (&json!(GATEWAY_ID), None));
    assert!(shell.device(&["get", "--tags-as-object"]).line()["tags"].is_object());

    let changed = shell.application(&["patch", "--name", "Shed", "--description", "at the back"]);
    assert_eq!(changed.line()["name"], "Shed");
    let words = ["patch", "--tags", "room=shed", "--attributes", "temp:number", "at:gps", "--yes"];
    let changed = shell.application(&words).line();
    assert_eq!(changed["tags"], json!([{"key": "room", "value": "shed"}]));
    assert_eq!(changed["attributes"].as_array().unwrap().len(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn data_is_removed_counted_and_exported() {
    let shell = Shell::new().await;
    shell.device(&["send-state", "--data", "temp=1"]).line();
    let counts = shell.application(&["payload-counts"]).line();
    assert_eq!(counts["deviceState"], 1);
    let counts =
        shell.application(&["payload-counts-breakdown", "--resolution", "hour", "--since", "3h"]);
    assert!(counts.line()["counts"].is_array());
    assert_eq!(shell.application(&["export", "--start", "1h"]).line()["success"], true);
    let words = ["export", "--start", "1h", "--attributes", "temp,door", "--no-date"];
    let body = shell.application(&[&words[..], &["--dry-run"]].concat()).line()["body"].clone();
    let options = json!({"includeDate": false, "includeID": true, "includeBlobData": false});
    let whole = json!({"attributes": ["temp", "door"], "start": -3_600_000, "options": options});
    assert_eq!(body, whole);
    wait_until("the first export is done", || shell.application(&words).code == 0);
    let body = body.to_string();
    wait_until("the second export is done", || {
        shell.application(&["export", "--json", &body]).code == 0
    });

    let kept = shell.application(&["remove-data", "--start", "3h", "--end", "2h", "--yes"]);
    assert_eq!((kept.line()["success"].clone(), shell.states().len()), (json!(true), 1));
    assert_eq!(shell.application(&["remove-data", "--all", "--yes"]).line()["success"], true);
    assert_eq!(shell.states().len(), 0);
    let gone = shell.application(&["delete", "--device", "workshop", "--yes"]);
    assert_eq!(gone.line(), json!({"success": true}));
    shell.application(&["get", "--device", WORKSHOP_ID]).assert_refusal(1, "404");
}

#[tokio::test(flavor = "multi_thread")]
async fn application_actions_require_an_application_token() {
    let shell = Shell::new().await;
    for words in [
        &["delete", "--yes"][..],
        &["export"],
        &["patch", "--name", "x"],
        &["remove-data", "--all", "--yes"],
        &["payload-counts"],
        &["payload-counts-breakdown"],
    ] {
        shell.device(words).assert_refusal(64, "takes an application token");
    }
    assert_eq!(shell.cloud.counters().calls.len(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn bad_input_is_refused_before_sending() {
    let shell = Shell::new().await;
    for (words, expected) in [
        (&["send-state"][..], "--data"),
        (&["send-state", "--data", "temp"], "has no \"=\""),
        (&["send-state", "--data", "a.b=1"], "not an attribute name"),
        (&["send-state", "--data", "temp=nan"], "NaN"),
        (&["send-state", "--json", r#"{"data": {"a": null}}"#], "data.a: a value is a number"),
        (&["send-state", "--json", r#"{"data": {}, "x": 1}"#], "unknown field `x`"),
        (&["send-state", "--json", "{"], "invalid JSON"),
        (&["send-state", "--json", "/does/not/exist"], "no such file"),
        (&["send-command", "--name", ""], "name: 0 characters"),
        (&["send-command", "--name", "a", "--payload", "open"], "--payload is not valid JSON"),
        (&["set-connection-status", "--status", "asleep"], "asleep"),
        (
            &["set-connection-status", "--status", "connected", "--reason", "x"],
            "only for the status",
        ),
        (
            &["set-connection-status", "--status", "disconnected", "--messages-to-client=-1"],
            "0 to 2147483647",
        ),
        (&["get-state", "--limit", "0"], "a whole number from 1"),
        (&["get-state", "--start", "soon"], "invalid time"),
        (&["get-state", "--start", "0"], "invalid time"),
        (&["get-state", "--sort-direction", "up"], "up"),
        (&["command-stream", "--keep-alive-interval", "61s"], "2s to 60s"),
        (&["get", "--device", "nowhere"], "give an id, or one of gateway, greenhouse, workshop"),
        (&["no-such-action"], "no-such-action"),
    ] {
        shell.device(words).assert_refusal(64, expected);
    }
    for (words, expected) in [
        (&["patch"][..], "nothing to change"),
        (&["patch", "--attributes", "a:integer"], "attributes[0].dataType"),
        (&["patch", "--system-interval", "4"], "5 to 3600"),
        (&["export", "--email", "owner"], "not an email address"),
        (&["export", "--callback-url", "ftp://a"], "not an http or https URL"),
        (&["export", "--attributes", "a.b"], "not an attribute name"),
        (&["export", "--json", "[]"], "a list, but Losant expects an object"),
        (&["export", "--json", "{}", "--no-id"], "cannot be used with"),
        (&["patch", "--json", "[]"], "a list, but Losant expects an object"),
        (&["remove-data"], "--all"),
    ] {
        shell.application(words).assert_refusal(64, expected);
    }
    assert_eq!(shell.cloud.counters().calls.len(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn exit_code_names_the_cause() {
    let shell = Shell::new().await;
    let refused = || Fault::Status(400, r#"{"type":"Validation","message":"no"}"#.to_owned());
    shell.cloud.fail_next(Action::Get, 1, refused());
    shell.device(&["get"]).assert_refusal(1, "get: 400 Validation: no");
    shell.cloud.fail_next(Action::Get, 1, Fault::Status(429, String::new()));
    shell.device(&["get"]).assert_refusal(1, "429");
    shell.cloud.fail_next(Action::Get, 1, Fault::Status(503, String::new()));
    shell.device(&["get"]).assert_refusal(69, "503");
    shell.cloud.fail_next(Action::Get, 1, Fault::CaptivePortal);
    shell.device(&["get"]).assert_refusal(69, "login page");
    shell.cloud.fail_next(Action::Get, 1, Fault::Status(403, String::new()));
    shell.device(&["get"]).assert_refusal(77, "403");
    shell.device(&["get", "-d", "999999999999999999999999"]).assert_refusal(1, "404");

    shell.site.write_credentials("key = \"gateway-key\"\nsecret = \"hunter2\"\n");
    let wrong = shell.device(&["get"]);
    wrong.assert_refusal(77, "authenticateDevice: 401");
    assert!(!wrong.stderr.contains("hunter2"), "{wrong:?}");
    write_private(&shell.site.path("token"), "no-such-token");
    shell.application(&["delete", "--yes"]).assert_refusal(77, "401");
    shell.site.write_credentials("nonsense");
    shell.device(&["get"]).assert_refusal(78, "credentials.toml");
    shell.site.write_credentials("key = \"gateway-key\"\nsecret = \"gateway-secret\"\n");
    shell.cloud.close();
    shell.device(&["get"]).assert_refusal(69, "no answer");
}

#[tokio::test(flavor = "multi_thread")]
async fn dry_run_shows_the_request_without_the_token() {
    let shell = Shell::new().await;
    let shown = shell.device(&["send-command", "--name", "fan", "--dry-run"]).line();
    let base = format!("{}/applications/{}", shell.cloud.url(), shell.cloud.application_id());
    let url = format!("{base}/devices/{GATEWAY_ID}/command");
    let expected =
        json!({"action": "sendCommand", "method": "POST", "url": url, "body": {"name": "fan"}});
    assert_eq!(shown, expected);
    let shown = shell.application(&["delete", "--dry-run"]);
    assert_eq!(shown.line()["method"], "DELETE");
    assert!(!shown.stdout.contains(shell.cloud.api_token()));
    let shown = shell.device(&["remove-data", "--since", "2h", "--dry-run"]).line();
    assert_eq!(shown["url"], format!("{base}/devices/{GATEWAY_ID}/data?start=-7200000"));
    let shown = shell.device(&["state-stream", "--keep-alive-interval", "20s", "--dry-run"]).line();
    let url = format!("{base}/devices/{GATEWAY_ID}/stateStream?keepAliveInterval=20");
    assert_eq!(shown["url"], url);
    assert_eq!(shell.cloud.counters().calls.len(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn arguments_replace_the_configuration() {
    let shell = Shell::new().await;
    let run = |words: &[&str]| {
        let mut command = Command::new(PROGRAM);
        command.args(["device", "get", "--url", shell.cloud.url()]).args(words);
        End::of(&command.output().unwrap())
    };
    let (credentials, token) = (shell.site.path("credentials.toml"), shell.site.path("token"));
    let (credentials, token) = (credentials.to_str().unwrap(), token.to_str().unwrap());
    let by_key = run(&["--device", GATEWAY_ID, "--credentials-file", credentials]);
    assert_eq!(by_key.line()["deviceId"], GATEWAY_ID);
    let application = shell.cloud.application_id();
    let words = ["--device", GREENHOUSE_ID, "--application", application, "--token-file", token];
    assert_eq!(run(&words).line()["deviceId"], GREENHOUSE_ID);
    run(&["--device", GATEWAY_ID, "--token-file", token]).assert_refusal(64, "give --application");
    run(&["--credentials-file", credentials]).assert_refusal(64, "give --device");
    run(&["--device", GATEWAY_ID]).assert_refusal(64, "give --credentials-file");
    run(&["--device", GATEWAY_ID, "--dry-run"]).line();
}

/// A program that prints a stream, killed when dropped.
struct Reader {
    child: Child,
    lines: std::io::Lines<BufReader<std::process::ChildStdout>>,
}

impl Reader {
    fn start(shell: &Shell, words: &[&str]) -> Self {
        let mut command = shell.command(words);
        let command = command.args(["--keep-alive-interval", "2s"]);
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        Self { child, lines }
    }

    fn next(&mut self) -> Value {
        serde_json::from_str(&self.lines.next().unwrap().unwrap()).unwrap()
    }
}

impl Drop for Reader {
    fn drop(&mut self) {
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn command_stream_continues_after_a_cut() {
    let shell = Shell::new().await;
    let open = || shell.cloud.streams_open(GATEWAY_ID) == 1;
    let mut reader = Reader::start(&shell, &["command-stream"]);
    wait_until("the stream is open", open);
    shell.cloud.send_command(GATEWAY_ID, "one", json!([1]));
    assert_eq!(reader.next()["name"], "one");
    shell.cloud.cut_streams();
    wait_until("the stream is closed", || !open());
    wait_until("the stream is open again", open);
    shell.cloud.send_command(GATEWAY_ID, "two", json!(null));
    assert_eq!(reader.next()["name"], "two");
}

#[tokio::test(flavor = "multi_thread")]
async fn state_stream_shows_reported_states() {
    let shell = Shell::new().await;
    let mut reader = Reader::start(&shell, &["stateStream"]);
    let calls = || shell.cloud.counters().calls.get("stateStream").copied();
    wait_until("the stream is open", || calls() == Some(1));
    // The call is counted before the stream is attached, so the state is sent until it arrives.
    let has_arrived = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !has_arrived.load(Ordering::Relaxed) {
                shell.device(&["send-state", "--data", "temp=3"]).line();
            }
        });
        assert_eq!(reader.next()["data"], json!({"temp": 3}));
        has_arrived.store(true, Ordering::Relaxed);
    });
}

#[tokio::test(flavor = "multi_thread")]
async fn refused_stream_ends_with_the_cause() {
    let shell = Shell::new().await;
    shell.cloud.fail_next(Action::CommandStream, 1, Fault::Status(403, String::new()));
    shell.device(&["command-stream"]).assert_refusal(77, "commandStream: 403");
}
