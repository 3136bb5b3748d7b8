//! Tests of payloadCounts and payloadCountsBreakdown.

use jiff::Timestamp;
use reqwest::StatusCode;
use serde_json::json;
use tidegate_sandbox::Sandbox;

use crate::client::{Api, assert_valid, peripheral};

async fn with_payloads(sandbox: &Sandbox) -> Api<'_> {
    let api = Api::application(sandbox);
    let device = peripheral(sandbox);
    let now_ms = Timestamp::now().as_millisecond();
    let state = |n: i64| json!({"time": now_ms - n, "data": {"temperature": n}});
    api.post(device, "/state", &json!([state(1), state(2), state(3)])).await;
    api.post(device, "/command", &json!({"name": "fan"})).await;
    for status in ["connected", "disconnected", "connected"] {
        api.post(device, "/setConnectionStatus", &json!({"status": status})).await;
    }
    api
}

#[tokio::test]
async fn counts_states_commands_and_connections_as_payloads() {
    let sandbox = Sandbox::start().await.unwrap();
    let api = with_payloads(&sandbox).await;
    let (status, counts) = api.get(peripheral(&sandbox), "/payloadCounts").await;
    assert_eq!(status, StatusCode::OK);
    assert_valid("devicePayloadCounts", &counts);
    let expected = json!({
        "deviceCommand": 1, "deviceConnect": 2, "deviceDisconnect": 1, "deviceState": 3,
        "mqttIn": 0, "mqttOut": 0,
    });
    assert_eq!(counts, expected);
    let earlier = "/payloadCounts?start=-86400000&end=-7200000";
    assert_eq!(api.get(peripheral(&sandbox), earlier).await.1["deviceState"], 0);
}

#[tokio::test]
async fn breakdown_adds_up_to_the_counts() {
    let sandbox = Sandbox::start().await.unwrap();
    let api = with_payloads(&sandbox).await;
    for resolution in ["", "?resolution=86400000", "?resolution=3600000"] {
        let path = format!("/payloadCountsBreakdown{resolution}");
        let (status, breakdown) = api.get(peripheral(&sandbox), &path).await;
        assert_eq!(status, StatusCode::OK);
        assert_valid("payloadCountsBreakdown", &breakdown);
        let counts = breakdown["counts"].as_array().unwrap();
        let total = counts.iter().map(|count| count["value"].as_u64().unwrap()).sum::<u64>();
        assert_eq!(total, 7, "{breakdown}");
    }
    let odd = api.get(peripheral(&sandbox), "/payloadCountsBreakdown?resolution=60000").await;
    assert_eq!(odd.0, StatusCode::BAD_REQUEST);
}

#[tokio::test]
async fn remove_data_keeps_payload_counts() {
    let sandbox = Sandbox::start().await.unwrap();
    let api = with_payloads(&sandbox).await;
    let device = peripheral(&sandbox);
    api.call(reqwest::Method::DELETE, device, "/data").send().await.unwrap();
    assert_eq!(api.get(device, "/payloadCounts").await.1["deviceState"], 3);
}
