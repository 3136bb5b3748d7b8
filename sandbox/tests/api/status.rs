//! Tests of setConnectionStatus and getLogEntries.

use reqwest::StatusCode;
use serde_json::json;
use tidegate_sandbox::Sandbox;

use crate::client::{Api, assert_valid, gateway};

#[tokio::test]
async fn logs_connections_with_their_details() {
    let sandbox = Sandbox::start().await.unwrap();
    let api = Api::gateway(&sandbox).await;
    let device = gateway(&sandbox);
    let disconnected = json!({
        "status": "disconnected",
        "connectedAt": "2026-05-01T10:00:00.000Z",
        "disconnectedAt": "2026-05-01T11:02:03.000Z",
        "disconnectReason": "power loss",
        "messagesFromClient": 412.0,
        "messagesToClient": 3,
    });
    for status in [disconnected, json!({"status": "connected"})] {
        assert_eq!(api.post(device, "/setConnectionStatus", &status).await.0, StatusCode::OK);
    }
    let log = api.get(device, "/logs?limit=10&sortDirection=asc").await.1;
    assert_valid("deviceLog", &log);
    let first = json!({
        "connected": 0,
        "time": "2026-05-01T11:02:03.000Z",
        "disconnectReason": "power loss",
        "messagesFromClient": 412,
        "messagesToClient": 3,
    });
    assert_eq!(log[0], first);
    assert_eq!(log[1]["connected"], 1);
    assert_eq!(api.get(device, "").await.1["connectionInfo"]["connected"], 1);
    assert_eq!(sandbox.log(&device.device_id).len(), 2);
}

#[tokio::test]
async fn rejects_an_invalid_connection_status() {
    let sandbox = Sandbox::start().await.unwrap();
    let api = Api::gateway(&sandbox).await;
    let device = gateway(&sandbox);
    for status in [
        json!({"status": "asleep"}),
        json!({"status": "connected", "disconnectReason": "none"}),
        json!({"status": "disconnected", "messagesToClient": 1.5}),
        json!({"status": "connected", "ipAddress": ""}),
    ] {
        let answer = api.post(device, "/setConnectionStatus", &status).await;
        assert_eq!(answer.0, StatusCode::BAD_REQUEST, "{status}");
    }
    assert!(sandbox.log(&device.device_id).is_empty());
}
