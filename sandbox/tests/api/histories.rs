//! Tests of get, getState and getCompositeState.

use jiff::Timestamp;
use reqwest::{StatusCode, header};
use serde_json::json;
use tidegate_sandbox::{GATEWAY_ID, Sandbox};

use crate::client::{Api, assert_valid, gateway, peripheral};

#[tokio::test]
async fn get_returns_all_properties_of_a_device() {
    let sandbox = Sandbox::start().await.unwrap();
    let api = Api::gateway(&sandbox).await;
    let (status, device) = api.get(peripheral(&sandbox), "").await;
    assert_eq!(status, StatusCode::OK);
    assert_valid("device", &device);
    assert_eq!(device["deviceClass"], "peripheral");
    assert_eq!(device["gatewayId"], GATEWAY_ID);
    assert_eq!(device["attributes"][0], json!({"name": "temperature", "dataType": "number"}));
    assert!(device["connectionInfo"]["connected"].is_null());

    let plain =
        api.get(peripheral(&sandbox), "?excludeConnectionInfo=true&attributesAsObject=true");
    let plain = plain.await.1;
    assert!(plain.get("connectionInfo").is_none());
    assert_eq!(plain["attributes"]["door"]["dataType"], "boolean");
}

#[tokio::test]
async fn get_state_defaults_to_the_newest_state() {
    let sandbox = Sandbox::start().await.unwrap();
    let api = Api::gateway(&sandbox).await;
    let device = gateway(&sandbox);
    let start_ms = Timestamp::now().as_millisecond() - 5000;
    let state = |n: i64| json!({"time": start_ms + n, "data": {"temperature": n}});
    api.post(device, "/state", &json!([state(1), state(2), state(3)])).await;

    for (query, expected) in [
        (String::new(), vec![3]),
        ("?limit=2".to_owned(), vec![3, 2]),
        ("?limit=9&sortDirection=asc".to_owned(), vec![1, 2, 3]),
        (format!("?limit=9&start={}&end={}", start_ms + 1, start_ms + 2), vec![2, 1]),
        (format!("?limit=9&since={}", start_ms + 2), vec![3, 2]),
        ("?limit=9&duration=1".to_owned(), vec![]),
    ] {
        let states = api.get(device, &format!("/state{query}")).await.1;
        assert_valid("deviceStates", &states);
        let values = states.as_array().unwrap().iter().map(|s| s["data"]["temperature"].as_i64());
        assert_eq!(values.collect::<Option<Vec<_>>>().unwrap(), expected, "{query}");
    }
    assert_eq!(api.get(device, "/state?limit=x").await.0, StatusCode::BAD_REQUEST);
}

#[tokio::test]
async fn composite_state_has_latest_value_per_attribute() {
    let sandbox = Sandbox::start().await.unwrap();
    let api = Api::gateway(&sandbox).await;
    let device = gateway(&sandbox);
    let now_ms = Timestamp::now().as_millisecond();
    let states = json!([
        {"time": now_ms - 2000, "data": {"temperature": 1, "door": true}},
        {"time": now_ms - 1000, "data": {"temperature": 2}},
    ]);
    api.post(device, "/state", &states).await;
    let composite = api.get(device, "/compositeState").await.1;
    assert_valid("compositeDeviceState", &composite);
    assert_eq!(composite["temperature"]["value"], 2);
    assert_eq!(composite["door"]["value"], true);
    let one = api.get(device, "/compositeState?attributes=door").await.1;
    assert_eq!(one.as_object().unwrap().len(), 1);
    let earlier = api.get(device, "/compositeState?end=-1500").await.1;
    assert_eq!(earlier["temperature"]["value"], 1);
}

#[tokio::test]
async fn adds_link_keys_only_on_request() {
    let sandbox = Sandbox::start().await.unwrap();
    let api = Api::gateway(&sandbox).await;
    let query = "?_actions=false&_links=true&_embedded=true&unknown=1";
    let device = api.get(gateway(&sandbox), query).await.1;
    assert_eq!(device["_type"], "device");
    assert!(device["_links"]["self"]["href"].is_string());
    let device = api.get(gateway(&sandbox), "?_links=false").await.1;
    assert!(device.get("_type").is_none());
}

#[tokio::test]
async fn responses_have_a_date() {
    let sandbox = Sandbox::start().await.unwrap();
    let api = Api::gateway(&sandbox).await;
    let answer = api.call(reqwest::Method::GET, gateway(&sandbox), "").send().await.unwrap();
    assert!(answer.headers().contains_key(header::DATE));
}
