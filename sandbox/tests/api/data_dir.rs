//! Tests of the data directory: what the sandbox restores after a restart.

use std::fs;
use std::io::Write;
use std::path::Path;

use jiff::Timestamp;
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use tidegate_sandbox::{Error, GREENHOUSE_ID, Sandbox};

use crate::client::{Api, gateway, peripheral};

async fn open(directory: &Path) -> Sandbox {
    Sandbox::builder().data_dir(directory).start().await.unwrap()
}

/// Reads everything that an application can read of a device.
async fn read_all(sandbox: &Sandbox) -> Vec<Value> {
    let api = Api::application(sandbox);
    let mut responses = Vec::new();
    for tail in [
        "",
        "/state?limit=99",
        "/command?limit=99",
        "/logs?limit=99",
        "/compositeState",
        "/payloadCounts",
    ] {
        responses.push(api.get(peripheral(sandbox), tail).await.1);
    }
    responses
}

/// Fills all histories of a device.
async fn fill(sandbox: &Sandbox) {
    let api = Api::application(sandbox);
    let device = peripheral(sandbox);
    let now_ms = Timestamp::now().as_millisecond();
    let state = |n: i64| json!({"time": now_ms - n, "data": {"temperature": n}, "meta": null});
    api.post(device, "/state", &json!([state(1), state(2), state(3)])).await;
    api.post(device, "/state", &json!({"time": now_ms - 3, "data": {"humidity": 50}})).await;
    api.post(device, "/command", &json!({"name": "fan", "payload": null})).await;
    api.post(device, "/command", &json!({"name": "lamp"})).await;
    let status = json!({"status": "disconnected", "disconnectReason": "x", "messagesToClient": 1});
    api.post(device, "/setConnectionStatus", &status).await;
    let patch = json!({"name": "Orangery", "tags": [{"key": "a", "value": "b"}]});
    api.call(Method::PATCH, device, "").json(&patch).send().await.unwrap();
    let removed = format!("/data?start={0}&end={0}", now_ms - 2);
    api.call(Method::DELETE, device, &removed).send().await.unwrap();
}

#[tokio::test]
async fn restart_keeps_all_data_and_tokens() {
    let directory = tempfile::tempdir().unwrap();
    let sandbox = open(directory.path()).await;
    fill(&sandbox).await;
    let token = Api::gateway(&sandbox).await.token;
    let before = read_all(&sandbox).await;
    assert_eq!(before[1].as_array().unwrap().len(), 2);
    drop(sandbox);
    // The second restart reads the journal that the first one rewrote.
    for _ in 0..2 {
        let sandbox = open(directory.path()).await;
        assert_eq!(read_all(&sandbox).await, before);
        let mut api = Api::application(&sandbox);
        api.token.clone_from(&token);
        assert_eq!(api.get(gateway(&sandbox), "").await.0, StatusCode::OK);
        assert_eq!(sandbox.counters().states_received, 0);
    }
}

#[tokio::test]
async fn restart_restores_no_deleted_device_or_expired_token() {
    let directory = tempfile::tempdir().unwrap();
    let sandbox = open(directory.path()).await;
    let token = Api::gateway(&sandbox).await.token;
    sandbox.expire_tokens();
    let api = Api::application(&sandbox);
    api.call(Method::DELETE, peripheral(&sandbox), "").send().await.unwrap();
    drop(sandbox);
    for _ in 0..2 {
        let sandbox = open(directory.path()).await;
        assert!(sandbox.devices().iter().all(|device| device.device_id != GREENHOUSE_ID));
        let mut api = Api::application(&sandbox);
        api.token.clone_from(&token);
        assert_eq!(api.get(gateway(&sandbox), "").await.0, StatusCode::UNAUTHORIZED);
    }
}

#[tokio::test]
async fn drops_a_truncated_last_line() {
    let directory = tempfile::tempdir().unwrap();
    let sandbox = open(directory.path()).await;
    fill(&sandbox).await;
    let before = read_all(&sandbox).await;
    drop(sandbox);
    let path = directory.path().join("journal.jsonl");
    let mut journal = fs::OpenOptions::new().append(true).open(path).unwrap();
    journal.write_all(br#"{"state":{"deviceId":"d0000"#).unwrap();
    let sandbox = open(directory.path()).await;
    assert_eq!(read_all(&sandbox).await, before);
}

#[tokio::test]
async fn error_names_the_line_of_an_invalid_journal() {
    let directory = tempfile::tempdir().unwrap();
    drop(open(directory.path()).await);
    let path = directory.path().join("journal.jsonl");
    let invalid = format!("{}nonsense\n", fs::read_to_string(&path).unwrap());
    fs::write(&path, &invalid).unwrap();
    let error = Sandbox::builder().data_dir(directory.path()).start().await.unwrap_err();
    assert!(matches!(error, Error::Journal { line: 4, .. }), "{error}");
    assert_eq!(fs::read_to_string(&path).unwrap(), invalid);
}

#[tokio::test]
async fn data_dir_is_locked_by_one_sandbox() {
    let directory = tempfile::tempdir().unwrap();
    let _first = open(directory.path()).await;
    let error = Sandbox::builder().data_dir(directory.path()).start().await.unwrap_err();
    assert!(matches!(error, Error::Storage { .. }), "{error}");
}
