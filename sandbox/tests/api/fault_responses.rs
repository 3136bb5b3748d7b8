//! Tests of faults that change a response, and of repeatable faults.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use reqwest::{Method, StatusCode, header};
use serde_json::{Value, json};
use tidegate_sandbox::{Action, Fault, GATEWAY_ID, Sandbox};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout};

use crate::client::{Api, PATIENCE, gateway, http};

/// Reads the device from a raw socket and returns the lengths of the HTTP chunks.
async fn chunk_lengths(sandbox: &Sandbox) -> Vec<usize> {
    let host = sandbox.url().trim_start_matches("http://");
    let path = format!("/applications/{}/devices/{GATEWAY_ID}", sandbox.application_id());
    let token = sandbox.api_token();
    let request = format!(
        "GET {path}?excludeConnectionInfo=true HTTP/1.1\r\nHost: {host}\r\n\
         Authorization: Bearer {token}\r\nConnection: close\r\n\r\n"
    );
    let mut stream = TcpStream::connect(host).await.unwrap();
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut text = String::new();
    timeout(PATIENCE, stream.read_to_string(&mut text)).await.unwrap().unwrap();
    let (_, mut body) = text.split_once("\r\n\r\n").unwrap();
    let mut lengths = Vec::new();
    loop {
        let (length, rest) = body.split_once("\r\n").unwrap();
        let length = usize::from_str_radix(length, 16).unwrap();
        if length == 0 {
            return lengths;
        }
        lengths.push(length);
        body = &rest[length + 2..];
    }
}

#[tokio::test]
async fn same_seed_splits_a_response_the_same_way() {
    let sandbox = Sandbox::start().await.unwrap();
    let mut seen = Vec::new();
    for seed in [1, 1, 2] {
        sandbox.fail_next(Action::Get, 1, Fault::Split { seed });
        seen.push(chunk_lengths(&sandbox).await);
    }
    assert_eq!(seen[0], seen[1]);
    assert_ne!(seen[0], seen[2]);
    assert!(seen[0].len() > 100 && seen[0].iter().all(|length| *length <= 7), "{seen:?}");
    let api = Api::application(&sandbox);
    let whole = api.get(gateway(&sandbox), "").await;
    sandbox.fail_next(Action::Get, 1, Fault::Split { seed: 3 });
    assert_eq!(api.get(gateway(&sandbox), "").await, whole);
}

#[tokio::test]
async fn split_stream_has_the_same_content() {
    let sandbox = Sandbox::start().await.unwrap();
    let api = Api::application(&sandbox);
    sandbox.fail_next(Action::CommandStream, 1, Fault::Split { seed: 7 });
    let call = api.call(Method::GET, gateway(&sandbox), "/commandStream");
    let mut response = call.send().await.unwrap();
    sandbox.send_command(GATEWAY_ID, "grüße", json!("naïve"));
    let mut bytes = Vec::new();
    while !bytes.ends_with(b"}\n\n") {
        bytes.extend(timeout(PATIENCE, response.chunk()).await.unwrap().unwrap().unwrap());
    }
    let text = String::from_utf8(bytes).unwrap();
    assert!(text.contains("event: deviceCommand\ndata: {"), "{text}");
    assert!(text.contains("grüße") && text.contains("naïve"), "{text}");
}

#[tokio::test]
async fn slow_response_pauses_before_each_piece() {
    let sandbox = Sandbox::start().await.unwrap();
    let api = Api::application(&sandbox);
    let pause = Duration::from_millis(20);
    sandbox.fail_next(Action::SendState, 1, Fault::Slow { bytes: 4, pause });
    let started = Instant::now();
    let state = json!({"data": {"temperature": 1}});
    let answer = api.post(gateway(&sandbox), "/state", &state).await;
    assert_eq!(answer, (StatusCode::OK, json!({"success": true})));
    // The body of 16 bytes is four pieces.
    assert!(started.elapsed() >= 4 * pause);
}

#[tokio::test]
async fn wrong_content_type_follows_an_executed_action() {
    let sandbox = Sandbox::start().await.unwrap();
    let api = Api::application(&sandbox);
    for (action, method, tail) in [
        (Action::SendCommand, Method::POST, "/command"),
        (Action::CommandStream, Method::GET, "/commandStream"),
    ] {
        sandbox.fail_next(action, 1, Fault::ContentType("text/plain".to_owned()));
        let call = api.call(method, gateway(&sandbox), tail).json(&json!({"name": "fan"}));
        let answer = call.send().await.unwrap();
        assert_eq!(answer.status(), StatusCode::OK);
        assert_eq!(answer.headers()[header::CONTENT_TYPE], "text/plain");
    }
    assert_eq!(sandbox.commands(GATEWAY_ID).len(), 1);
}

#[tokio::test]
async fn captive_portal_returns_html_and_executes_nothing() {
    let sandbox = Sandbox::start().await.unwrap();
    let api = Api::application(&sandbox);
    sandbox.fail_next(Action::SendState, 1, Fault::CaptivePortal);
    let state = json!({"data": {"temperature": 1}});
    let call = api.call(Method::POST, gateway(&sandbox), "/state").json(&state);
    let answer = call.send().await.unwrap();
    assert_eq!(answer.status(), StatusCode::OK);
    assert!(answer.headers()[header::CONTENT_TYPE].to_str().unwrap().starts_with("text/html"));
    assert!(answer.text().await.unwrap().contains("Sign in"));
    assert!(sandbox.states(GATEWAY_ID).is_empty());
}

#[tokio::test]
async fn status_fault_can_have_no_body() {
    let sandbox = Sandbox::start().await.unwrap();
    let api = Api::application(&sandbox);
    sandbox.fail_next(Action::SendState, 1, Fault::Status(413, String::new()));
    let call = api.call(Method::POST, gateway(&sandbox), "/state").json(&json!({"data": {}}));
    let answer = call.send().await.unwrap();
    assert_eq!(answer.status(), StatusCode::PAYLOAD_TOO_LARGE);
    assert_eq!(answer.bytes().await.unwrap().len(), 0);
}

#[tokio::test]
async fn silenced_stream_sends_nothing_until_it_ends() {
    let sandbox = Sandbox::start().await.unwrap();
    let api = Api::application(&sandbox);
    let mut stream = api.stream(gateway(&sandbox), "/commandStream").await;
    sandbox.silence_streams();
    sandbox.send_command(GATEWAY_ID, "undelivered", Value::Null);
    let mut other = api.stream(gateway(&sandbox), "/commandStream").await;
    sandbox.send_command(GATEWAY_ID, "delivered", Value::Null);
    other.read_past("\"delivered\"").await;
    sandbox.end_streams();
    assert_eq!(stream.read_to_end().await.unwrap(), "");
}

#[tokio::test]
async fn same_seed_fails_the_same_calls() {
    let sandbox = Sandbox::start().await.unwrap();
    let api = Api::application(&sandbox);
    let faults = || vec![Fault::Status(500, String::new()), Fault::Status(503, String::new())];
    let mut seen = Vec::new();
    for seed in [1, 1, 2] {
        sandbox.fail_randomly(seed, 3, faults());
        let mut statuses = Vec::new();
        for _ in 0..40 {
            let call = api.call(Method::GET, gateway(&sandbox), "").send().await.unwrap();
            statuses.push(call.status().as_u16());
        }
        for status in [200, 500, 503] {
            assert!(statuses.contains(&status), "seed {seed}: {statuses:?}");
        }
        seen.push(statuses);
    }
    assert_eq!(seen[0], seen[1]);
    assert_ne!(seen[0], seen[2]);
    sandbox.clear_faults();
    assert_eq!(api.get(gateway(&sandbox), "").await.0, StatusCode::OK);
}

#[tokio::test]
async fn clock_offset_affects_dates_and_time_limits() {
    let sandbox = Sandbox::start().await.unwrap();
    let api = Api::application(&sandbox);
    let hours = |hours: i64| SignedDuration::from_hours(hours);
    sandbox.set_clock_offset(i64::try_from(hours(31 * 24).as_millis()).unwrap());
    let now = Timestamp::now();
    let state = |time: Timestamp| json!({"time": time.to_string(), "data": {"temperature": 1}});
    let body = json!([state(now), state(now + hours(30 * 24)), {"data": {"humidity": 1}}]);
    let call = api.call(Method::POST, gateway(&sandbox), "/state").json(&body);
    let answer = call.send().await.unwrap();
    let date = answer.headers()[header::DATE].to_str().unwrap();
    let date = jiff::fmt::rfc2822::parse(date).unwrap().timestamp();
    assert!(date.duration_since(now) > hours(30 * 24), "{date}");
    let counters = sandbox.counters();
    assert_eq!((counters.states_too_old, sandbox.states(GATEWAY_ID).len()), (1, 2));
}

#[tokio::test]
async fn control_plans_all_faults_and_sets_the_clock() {
    let sandbox = Sandbox::start().await.unwrap();
    let post = async |path: &str, body: Value| {
        let url = format!("{}/sandbox/{path}", sandbox.url());
        let answer = http().post(url).json(&body).send().await.unwrap();
        (answer.status(), answer.json::<Value>().await.unwrap())
    };
    for fault in [
        json!({"fault": "delay", "ms": 1}),
        json!({"fault": "split", "seed": 3}),
        json!({"fault": "slow", "bytes": 1000, "ms": 1}),
        json!({"fault": "content-type", "contentType": "text/plain"}),
        json!({"fault": "captive-portal"}),
        json!({"fault": "lose-response"}),
        json!({"fault": "drop"}),
        json!({"fault": "hang"}),
        json!({"status": 502}),
    ] {
        let mut plan = fault.clone();
        plan["action"] = json!("get");
        assert_eq!(post("fail", plan).await.0, StatusCode::OK, "{fault}");
    }
    for invalid in [
        json!({"action": "get", "fault": "content-type"}),
        json!({"action": "get", "fault": "drop", "status": 500}),
        json!({"action": "get", "fault": "melt"}),
        json!({"action": "get", "calls": -1, "status": 500}),
        json!({"status": 500}),
    ] {
        assert_eq!(post("fail", invalid.clone()).await.0, StatusCode::BAD_REQUEST, "{invalid}");
    }
    for path in ["clear-faults", "silence-streams"] {
        assert_eq!(post(path, json!({})).await.0, StatusCode::OK);
    }
    let chance = post("chance", json!({"oneIn": 1, "faults": [{"status": 418}]})).await;
    assert!(chance.1["seed"].is_u64(), "{chance:?}");
    let api = Api::application(&sandbox);
    let call = api.call(Method::GET, gateway(&sandbox), "").send().await.unwrap();
    assert_eq!(call.status(), StatusCode::IM_A_TEAPOT);
    post("clear-faults", json!({})).await;
    post("clock", json!({"offsetMs": -86_400_000})).await;
    api.post(gateway(&sandbox), "/command", &json!({"name": "late"})).await;
    let age_ms = Timestamp::now().as_millisecond() - sandbox.commands(GATEWAY_ID)[0].time_ms;
    assert!(age_ms >= 86_400_000, "{age_ms}");
}
