//! Tests of devices.get and devices.post.

use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use tidegate_sandbox::{GATEWAY_ID, GREENHOUSE_ID, Sandbox};

use crate::client::{Api, assert_valid, http};

#[expect(clippy::unwrap_used, reason = "a test helper")]
async fn call(
    sandbox: &Sandbox,
    token: &str,
    method: Method,
    query: &str,
    body: Option<&Value>,
) -> (StatusCode, Value) {
    let application = sandbox.application_id();
    let url = format!("{}/applications/{application}/devices{query}", sandbox.url());
    let call = http().request(method, url).bearer_auth(token);
    let call = match body {
        Some(body) => call.json(body),
        None => call,
    };
    let answer = call.send().await.unwrap();
    (answer.status(), answer.json().await.unwrap())
}

#[tokio::test]
async fn post_creates_a_peripheral() {
    let sandbox = Sandbox::start().await.unwrap();
    let token = sandbox.api_token();
    let attributes = json!([{"name": "t", "dataType": "number"}]);
    let body = json!({
        "name": "attic", "deviceClass": "peripheral", "gatewayId": GATEWAY_ID,
        "attributes": attributes
    });
    let (status, device) = call(&sandbox, token, Method::POST, "", Some(&body)).await;
    assert_eq!(status, StatusCode::CREATED);
    assert_valid("device", &device);
    assert_eq!((&device["name"], &device["attributes"]), (&json!("attic"), &attributes));
    let (status, listed) =
        call(&sandbox, token, Method::GET, "?deviceClass=peripheral", None).await;
    assert_eq!(status, StatusCode::OK);
    assert_valid("devices", &listed);
    assert_eq!(listed["totalCount"], 3);
    assert_eq!(listed["items"][0], device);
    let page = call(&sandbox, token, Method::GET, "?perPage=1&page=2", None).await.1;
    assert_eq!(page["items"][0]["deviceId"], GREENHOUSE_ID);

    let api = Api::gateway(&sandbox).await;
    let own = call(&sandbox, &api.token, Method::GET, "", None).await;
    assert_eq!(own.0, StatusCode::OK);
    let refused = call(&sandbox, &api.token, Method::POST, "", Some(&body)).await;
    assert_eq!(refused.0, StatusCode::FORBIDDEN, "a device token creates no devices");
}

#[tokio::test]
async fn post_enforces_schema_and_rules() {
    let sandbox = Sandbox::start().await.unwrap();
    let number = json!({"name": "a", "dataType": "number"});
    for body in [
        json!({}),
        json!({"name": "a", "deviceClass": "toaster"}),
        json!({"name": "a", "id": GATEWAY_ID}),
        json!({"name": "a", "attributes": [number, number]}),
        json!({"name": "a", "deviceClass": "peripheral", "gatewayId": GREENHOUSE_ID}),
        json!({"name": "a", "gatewayId": "0".repeat(24)}),
    ] {
        let token = sandbox.api_token();
        let (status, error) = call(&sandbox, token, Method::POST, "", Some(&body)).await;
        assert_eq!(status, StatusCode::BAD_REQUEST, "{body}");
        assert_valid("error", &error);
    }
    let unknown = call(&sandbox, "none", Method::GET, "", None).await;
    assert_eq!(unknown.0, StatusCode::UNAUTHORIZED);
}
