//! Tests of sendState: storing, merging, ignoring, rejecting and throttling.

use jiff::{Timestamp, ToSpan};
use reqwest::{Method, StatusCode, header};
use serde_json::{Value, json};
use tidegate_sandbox::{Sandbox, UnfitValues};

use crate::client::{Api, gateway, peripheral};

#[tokio::test]
async fn stores_states_in_the_order_of_their_times() {
    let sandbox = Sandbox::start().await.unwrap();
    let api = Api::gateway(&sandbox).await;
    let device = peripheral(&sandbox);
    let now_ms = Timestamp::now().as_millisecond();
    let states = json!([
        {"time": now_ms, "data": {"temperature": 2}},
        {"time": now_ms - 1000, "data": {"temperature": 1}, "meta": {"backfill": true}},
    ]);
    let answer = api.post(device, "/state", &states).await;
    assert_eq!(answer, (StatusCode::OK, json!({"success": true})));
    let stored = sandbox.states(&device.device_id);
    let times = stored.iter().map(|state| state.time_ms).collect::<Vec<_>>();
    assert_eq!(times, [now_ms - 1000, now_ms]);
    assert_eq!(stored[0].meta, Some(json!({"backfill": true})));
}

#[tokio::test]
async fn one_invalid_state_rejects_the_whole_array() {
    let sandbox = Sandbox::start().await.unwrap();
    let api = Api::gateway(&sandbox).await;
    let device = gateway(&sandbox);
    let body = json!([{"data": {"temperature": 1}}, {"data": {"temperature": null}}]);
    let (status, error) = api.post(device, "/state", &body).await;
    assert_eq!(status, StatusCode::BAD_REQUEST);
    assert!(error["message"].as_str().unwrap().contains("/1/data/temperature"), "{error}");
    assert!(sandbox.states(&device.device_id).is_empty());
    assert_eq!(sandbox.counters().schema_rejections, 1);
}

#[tokio::test]
async fn merges_states_of_one_millisecond() {
    let sandbox = Sandbox::start().await.unwrap();
    let api = Api::gateway(&sandbox).await;
    let device = gateway(&sandbox);
    let time = Timestamp::now().to_string();
    for data in [json!({"temperature": 1, "humidity": 50}), json!({"temperature": 2})] {
        api.post(device, "/state", &json!({"time": time, "data": data})).await;
    }
    let stored = sandbox.states(&device.device_id);
    assert_eq!(stored.len(), 1);
    assert_eq!(Value::Object(stored[0].data.clone()), json!({"temperature": 2, "humidity": 50}));
    let counters = sandbox.counters();
    assert_eq!((counters.states_stored, counters.states_overwritten), (1, 1));
    assert_eq!((counters.values_stored, counters.values_overwritten), (2, 1));
    assert_eq!(counters.workflow_triggers, 2);
}

#[tokio::test]
async fn ignores_states_outside_the_time_limits() {
    let sandbox = Sandbox::start().await.unwrap();
    let api = Api::gateway(&sandbox).await;
    let device = gateway(&sandbox);
    let now = Timestamp::now();
    for hours in [-30 * 24 - 1, 25] {
        let time = (now + i64::from(hours).hours()).to_string();
        let state = json!({"time": time, "data": {"temperature": 1}});
        assert_eq!(api.post(device, "/state", &state).await.0, StatusCode::OK);
    }
    assert!(sandbox.states(&device.device_id).is_empty());
    let counters = sandbox.counters();
    assert_eq!((counters.states_too_old, counters.states_too_far_ahead), (1, 1));
    assert_eq!(counters.workflow_triggers, 0);
}

#[tokio::test]
async fn unfit_values_are_ignored_rejected_or_stored() {
    let state = json!({"data": {"temperature": 1, "undeclared": 2, "humidity": "wet"}});
    for (policy, status, values) in [
        (UnfitValues::Ignore, 200, 1),
        (UnfitValues::Reject, 400, 0),
        (UnfitValues::Accept, 200, 3),
    ] {
        let sandbox = Sandbox::builder().unfit_values(policy).start().await.unwrap();
        let api = Api::gateway(&sandbox).await;
        assert_eq!(api.post(gateway(&sandbox), "/state", &state).await.0, status, "{policy:?}");
        assert_eq!(sandbox.counters().values_stored, values, "{policy:?}");
    }
}

#[tokio::test]
async fn convert_option_converts_values() {
    let state = json!({"data": {"temperature": "21.5", "door": 1, "status": 7, "humidity": "wet"}});
    let data = json!({"temperature": 21.5, "door": true, "status": "7"});
    for (convert, expected) in [(true, Some(data)), (false, None)] {
        let sandbox = Sandbox::builder().convert(convert).start().await.unwrap();
        let api = Api::gateway(&sandbox).await;
        let device = gateway(&sandbox);
        assert_eq!(api.post(device, "/state", &state).await.0, StatusCode::OK);
        let stored = sandbox.states(&device.device_id);
        assert_eq!(stored.first().map(|state| Value::Object(state.data.clone())), expected);
        let counters = sandbox.counters();
        let (converted, mistyped) = if convert { (3, 1) } else { (0, 4) };
        assert_eq!((counters.values_converted, counters.values_mistyped), (converted, mistyped));
    }
}

#[tokio::test]
async fn accepts_four_forms_of_a_position() {
    let sandbox = Sandbox::start().await.unwrap();
    let api = Api::gateway(&sandbox).await;
    let device = gateway(&sandbox);
    for (form, stored) in [
        ("52.52,13.405", "52.52,13.405"),
        ("41°24'12.2\"N 2°10'26.5\"E", "41.4033889,2.1740278"),
        ("$GPGLL,4916.45,N,12311.12,W,225444,A*31", "49.2741667,-123.1853333"),
        ("$GPGGA,123519,4807.038,N,01131.324,E,1,08,0.9,545.4,M,46.9,M,,", "48.1173,11.5220667"),
    ] {
        api.post(device, "/state", &json!({"data": {"position": form}})).await;
        let composite = api.get(device, "/compositeState?attributes=position").await.1;
        assert_eq!(composite["position"]["value"], stored);
    }
    api.post(device, "/state", &json!({"data": {"position": "nowhere"}})).await;
    assert_eq!(sandbox.counters().values_mistyped, 1);
}

#[tokio::test]
async fn counts_each_received_state_once() {
    let sandbox = Sandbox::start().await.unwrap();
    let api = Api::gateway(&sandbox).await;
    let now = Timestamp::now();
    let state =
        |hours: i64, data: Value| json!({"time": (now + hours.hours()).to_string(), "data": data});
    let body = json!([
        state(0, json!({"temperature": 1, "humidity": "wet"})),
        state(0, json!({"temperature": 2})),
        state(-1, json!({"undeclared": 1})),
        state(-1, json!({})),
        state(-1000, json!({"temperature": 3})),
        state(48, json!({"temperature": 4})),
    ]);
    api.post(gateway(&sandbox), "/state", &body).await;
    let counters = sandbox.counters();
    let outcomes = [
        counters.states_stored,
        counters.states_overwritten,
        counters.states_without_values,
        counters.states_too_old,
        counters.states_too_far_ahead,
    ];
    assert_eq!((counters.states_received, outcomes), (6, [1, 1, 2, 1, 1]));
    assert_eq!((counters.values_undeclared, counters.values_mistyped), (1, 1));
}

#[tokio::test]
async fn oversize_body_gets_413() {
    let sandbox = Sandbox::builder().body_bytes_max(1000).start().await.unwrap();
    let api = Api::gateway(&sandbox).await;
    for (length, status) in [(900, 200), (1000, 413), (5_000_000, 413)] {
        let state = json!({"data": {"status": "x".repeat(length)}});
        assert_eq!(api.post(gateway(&sandbox), "/state", &state).await.0, status, "{length}");
    }
    assert_eq!(sandbox.counters().oversize_rejections, 2);
}

#[tokio::test]
async fn rejects_a_body_without_json_content_type() {
    let sandbox = Sandbox::start().await.unwrap();
    let api = Api::gateway(&sandbox).await;
    let call = api.call(Method::POST, gateway(&sandbox), "/state");
    let sent = call.header(header::CONTENT_TYPE, "text/plain").body(r#"{"data":{}}"#).send().await;
    assert_eq!(sent.unwrap().status(), StatusCode::BAD_REQUEST);
}

#[tokio::test]
async fn states_and_commands_share_a_throttle_per_device() {
    let sandbox = Sandbox::start().await.unwrap();
    let api = Api::gateway(&sandbox).await;
    let device = gateway(&sandbox);
    let (state, command) = (json!({"data": {"temperature": 1}}), json!({"name": "fan"}));
    for _ in 0..15 {
        assert_eq!(api.post(device, "/state", &state).await.0, StatusCode::OK);
        assert_eq!(api.post(device, "/command", &command).await.0, StatusCode::OK);
    }
    let refused = api.call(Method::POST, device, "/state").json(&state).send().await.unwrap();
    assert_eq!(refused.status(), StatusCode::TOO_MANY_REQUESTS);
    assert!(!refused.headers().contains_key(header::RETRY_AFTER));
    assert_eq!(sandbox.counters().throttled, 1);

    let connected = json!({"status": "connected"});
    assert_eq!(api.post(device, "/setConnectionStatus", &connected).await.0, StatusCode::OK);
    assert_eq!(api.post(peripheral(&sandbox), "/state", &state).await.0, StatusCode::OK);
}
