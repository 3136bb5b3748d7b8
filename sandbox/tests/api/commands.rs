//! Tests of sendCommand, getCommand and the streams.

use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use tidegate_sandbox::{Sandbox, TimeForm};

use crate::client::{Api, assert_valid, gateway, peripheral, until};

#[tokio::test]
async fn command_reaches_all_stream_readers() {
    let sandbox = Sandbox::start().await.unwrap();
    let api = Api::gateway(&sandbox).await;
    let device = peripheral(&sandbox);
    let mut readers = [
        api.stream(device, "/commandStream").await,
        api.stream(device, "/commandStream?keepAliveInterval=60").await,
    ];
    assert_eq!(sandbox.streams_open(&device.device_id), 2);
    sandbox.send_command(&device.device_id, "lamp", json!({"on": true}));
    for reader in &mut readers {
        assert_eq!(reader.read_past("event: deviceCommand\ndata: ").await, "");
        let command: Value = serde_json::from_str(&reader.read_past("\n\n").await).unwrap();
        assert_valid("deviceCommand", &command);
        assert_eq!((&command["name"], &command["payload"]), (&json!("lamp"), &json!({"on": true})));
    }
}

#[tokio::test]
async fn stream_sends_keepalives_until_its_reader_closes() {
    let sandbox = Sandbox::start().await.unwrap();
    let api = Api::gateway(&sandbox).await;
    let device = gateway(&sandbox);
    let mut reader = api.stream(device, "/commandStream").await;
    assert_eq!(reader.read_past(":keepalive\n\n").await, "");
    drop(reader);
    until("the end of the stream", || sandbox.streams_open(&device.device_id) == 0).await;
}

#[tokio::test]
async fn stream_replays_nothing_but_history_has_all() {
    let sandbox = Sandbox::start().await.unwrap();
    let api = Api::gateway(&sandbox).await;
    let device = gateway(&sandbox);
    let sent = api.post(device, "/command", &json!({"name": "before"})).await;
    assert_eq!(sent.0, StatusCode::OK);
    let mut reader = api.stream(device, "/commandStream").await;
    sandbox.send_command(&device.device_id, "after", Value::Null);
    assert!(reader.read_past("\n\n").await.contains("after"));

    let history = api.get(device, "/command?limit=10&sortDirection=asc").await.1;
    assert_valid("deviceCommands", &history);
    assert_eq!(history[0]["name"], "before");
    assert!(history[0].get("payload").is_none());
    assert_eq!(history[1]["payload"], Value::Null);
    assert_eq!(sandbox.commands(&device.device_id).len(), 2);
}

#[tokio::test]
async fn command_times_have_three_forms() {
    for (form, expected) in [
        (TimeForm::Iso, json!("2026-05-01T10:00:00.000Z")),
        (TimeForm::Millis, json!(1_777_629_600_000_i64)),
        (TimeForm::Date, json!({"$date": "2026-05-01T10:00:00.000Z"})),
    ] {
        let sandbox = Sandbox::builder().time_form(form).start().await.unwrap();
        let api = Api::gateway(&sandbox).await;
        let command = json!({"name": "fan", "time": "2026-05-01T10:00:00Z"});
        api.post(gateway(&sandbox), "/command", &command).await;
        assert_eq!(api.get(gateway(&sandbox), "/command").await.1[0]["time"], expected);
    }
}

#[tokio::test]
async fn state_stream_has_accepted_values() {
    let sandbox = Sandbox::start().await.unwrap();
    let api = Api::gateway(&sandbox).await;
    let device = gateway(&sandbox);
    let mut reader = api.stream(device, "/stateStream").await;
    api.post(device, "/state", &json!({"data": {"temperature": 21.5, "undeclared": 1}})).await;
    reader.read_past("event: deviceState\ndata: ").await;
    let state: Value = serde_json::from_str(&reader.read_past("\n\n").await).unwrap();
    assert_eq!(state["data"], json!({"temperature": 21.5}));
}

#[tokio::test]
async fn rejects_keepalive_interval_outside_2_to_60() {
    let sandbox = Sandbox::start().await.unwrap();
    let api = Api::gateway(&sandbox).await;
    for interval in ["1", "61", "x"] {
        let tail = format!("/commandStream?keepAliveInterval={interval}");
        let answer = api.call(Method::GET, gateway(&sandbox), &tail).send().await.unwrap();
        assert_eq!(answer.status(), StatusCode::BAD_REQUEST);
    }
}
