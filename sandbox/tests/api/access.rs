//! Tests of authentication, tokens, scopes, and the responses to unauthorized calls.

use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use tidegate_sandbox::{Device, DeviceClass, DeviceSpec, GATEWAY_ID, Sandbox, default_devices};

use crate::client::{Api, assert_valid, authenticate, credentials, gateway, http, peripheral};

#[tokio::test]
async fn malformed_credentials_get_400_and_wrong_ones_401() {
    let sandbox = Sandbox::start().await.unwrap();
    let good = credentials(gateway(&sandbox));
    let with = |field: &str, value: Value| {
        let mut body = good.clone();
        body[field] = value;
        body
    };
    for (body, status) in [
        (good.clone(), 200),
        (with("deviceId", json!("short")), 400),
        (with("scope", json!(["all.Device"])), 400),
        (with("requestedScopes", json!(["device.patch"])), 400),
        (with("tokenTTL", json!(-1)), 400),
        (json!({"deviceId": GATEWAY_ID}), 400),
        (with("secret", json!("wrong")), 401),
        (with("key", json!("wrong")), 401),
        (with("deviceId", json!("0123456789abcdef01234567")), 401),
    ] {
        let response = authenticate(&sandbox, &body).await;
        assert_eq!(response.status(), status, "{body}");
        if status != 200 {
            let error: Value = response.json().await.unwrap();
            assert_valid("error", &error);
            assert!(error["type"].is_string() && error["message"].is_string(), "{error}");
        }
    }
}

#[tokio::test]
async fn call_without_valid_token_gets_401() {
    let sandbox = Sandbox::start().await.unwrap();
    let mut api = Api::gateway(&sandbox).await;
    assert_eq!(api.get(gateway(&sandbox), "").await.0, StatusCode::OK);
    sandbox.expire_tokens();
    assert_eq!(api.get(gateway(&sandbox), "").await.0, StatusCode::UNAUTHORIZED);
    api.token = "unknown".to_owned();
    assert_eq!(api.get(gateway(&sandbox), "").await.0, StatusCode::UNAUTHORIZED);
}

#[tokio::test]
async fn expired_token_gets_401() {
    let sandbox = Sandbox::start().await.unwrap();
    let device = gateway(&sandbox);
    for ttl in [json!(3600), json!(3600.0)] {
        sandbox.set_clock_offset(0);
        let limited = Api::device(&sandbox, device, json!({"tokenTTL": ttl})).await;
        let unlimited = Api::gateway(&sandbox).await;
        for (offset_s, status) in [(3500, 200), (3601, 401)] {
            sandbox.set_clock_offset(offset_s * 1000);
            assert_eq!(limited.get(device, "").await.0, status, "{ttl} after {offset_s} s");
            assert_eq!(unlimited.get(device, "").await.0, StatusCode::OK);
        }
    }
}

#[tokio::test]
async fn requested_scopes_limit_a_token() {
    let sandbox = Sandbox::start().await.unwrap();
    let device = gateway(&sandbox);
    let api = Api::device(&sandbox, device, json!({"requestedScopes": ["device.sendState"]})).await;
    let sent = api.post(device, "/state", &json!({"data": {"temperature": 1}})).await;
    assert_eq!(sent.0, StatusCode::OK);
    assert_eq!(api.get(device, "/state").await.0, StatusCode::FORBIDDEN);
}

#[tokio::test]
async fn unknown_ids_get_404() {
    let sandbox = Sandbox::start().await.unwrap();
    let api = Api::application(&sandbox);
    let elsewhere =
        |device_id: &str| Device { device_id: device_id.to_owned(), ..gateway(&sandbox).clone() };
    for device_id in ["d000000000000000000000ff", "nonsense"] {
        assert_eq!(api.get(&elsewhere(device_id), "").await.0, StatusCode::NOT_FOUND);
    }
    let url =
        format!("{}/applications/a000000000000000000000ff/devices/{GATEWAY_ID}", sandbox.url());
    let response = http().get(url).bearer_auth(sandbox.api_token()).send().await.unwrap();
    assert_eq!(response.status(), StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn unknown_path_or_method_gets_losants_405() {
    let sandbox = Sandbox::start().await.unwrap();
    let api = Api::application(&sandbox);
    let expected = json!({"type": "MethodNotAllowed", "message": "GET is not allowed"});
    assert_eq!(
        api.get(gateway(&sandbox), "/nonsense").await,
        (StatusCode::METHOD_NOT_ALLOWED, expected)
    );
    let put = api.call(Method::PUT, gateway(&sandbox), "/state").send().await.unwrap();
    assert_eq!(put.status(), StatusCode::METHOD_NOT_ALLOWED);
}

#[tokio::test]
async fn gateway_reports_only_for_its_own_peripherals() {
    let mut devices = default_devices();
    let other = "d0000000000000000000000a";
    devices.push(DeviceSpec::new(other, "other", DeviceClass::Gateway));
    devices.push(DeviceSpec::peripheral("d0000000000000000000000b", "foreign", other));
    devices.push(DeviceSpec::new("d0000000000000000000000c", "roaming", DeviceClass::Floating));
    let sandbox = Sandbox::builder().devices(devices).start().await.unwrap();
    let api = Api::gateway(&sandbox).await;
    let state = json!({"data": {"temperature": 1}});
    for (name, status) in
        [("gateway", 200), ("greenhouse", 200), ("roaming", 200), ("other", 403), ("foreign", 403)]
    {
        let device = sandbox.devices().iter().find(|device| device.name == name).unwrap();
        assert_eq!(api.post(device, "/state", &state).await.0, status, "{name}");
    }
}

#[tokio::test]
async fn gateway_reads_only_peripherals_covered_by_its_key() {
    for (covered, status) in [(true, 200), (false, 404)] {
        let builder = Sandbox::builder().peripherals_covered(covered).foreign_status(404);
        let sandbox = builder.start().await.unwrap();
        let api = Api::gateway(&sandbox).await;
        let device = peripheral(&sandbox);
        assert_eq!(api.get(device, "/command").await.0, status);
        let stream = api.call(Method::GET, device, "/commandStream").send().await.unwrap();
        assert_eq!(stream.status(), status);
        let connected = json!({"status": "connected"});
        assert_eq!(api.post(device, "/setConnectionStatus", &connected).await.0, 404);
    }
}

#[tokio::test]
async fn device_token_cannot_patch_the_device() {
    let sandbox = Sandbox::start().await.unwrap();
    let api = Api::gateway(&sandbox).await;
    let patch = api.call(Method::PATCH, gateway(&sandbox), "").json(&json!({})).send().await;
    assert_eq!(patch.unwrap().status(), StatusCode::FORBIDDEN);
}
