//! Tests of patch, delete and removeData, the actions of an application.

use jiff::Timestamp;
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use tidegate_sandbox::{
    ApplicationSpec, DeviceClass, DeviceSpec, GREENHOUSE_ID, JobResponse, Sandbox,
};

use crate::client::{Api, assert_valid, authenticate, credentials, gateway, peripheral};

async fn patch(api: &Api<'_>, body: &Value, query: &str) -> (StatusCode, Value) {
    let call = api.call(Method::PATCH, peripheral(api.sandbox), query).json(body);
    let answer = call.send().await.unwrap();
    (answer.status(), answer.json().await.unwrap())
}

async fn delete(api: &Api<'_>, tail: &str) -> (StatusCode, Value) {
    let answer = api.call(Method::DELETE, peripheral(api.sandbox), tail).send().await.unwrap();
    (answer.status(), answer.json().await.unwrap())
}

#[tokio::test]
async fn patch_changes_only_the_given_fields() {
    let sandbox = Sandbox::start().await.unwrap();
    let api = Api::application(&sandbox);
    let before = api.get(peripheral(&sandbox), "").await.1;
    let (status, device) =
        patch(&api, &json!({"name": "Orangery", "description": "hot"}), "").await;
    assert_eq!(status, StatusCode::OK);
    assert_valid("device", &device);
    assert_eq!((&device["name"], &device["description"]), (&json!("Orangery"), &json!("hot")));
    for field in ["attributes", "deviceClass", "gatewayId", "creationDate", "tags"] {
        assert_eq!(device[field], before[field], "{field}");
    }
    assert_eq!(api.get(peripheral(&sandbox), "").await.1, device);
}

#[tokio::test]
async fn patch_replaces_whole_tag_and_attribute_lists() {
    let sandbox = Sandbox::start().await.unwrap();
    let api = Api::application(&sandbox);
    let tags = json!([
        {"key": "floor", "value": "1"},
        {"key": "room", "value": "a"},
        {"key": "room", "value": "b"},
    ]);
    let attributes = json!([
        {"name": "temperature", "dataType": "number", "attributeTags": {"unit": "C"}},
        {"name": "photo", "dataType": "blob", "contentType": "image/png", "description": "a view"},
    ]);
    let body = json!({"tags": tags, "attributes": attributes});
    let shown = patch(&api, &body, "").await.1;
    assert_eq!((&shown["tags"], &shown["attributes"]), (&tags, &attributes));

    let query = "?tagsAsObject=true&attributesAsObject=true";
    for shown in
        [patch(&api, &json!({}), query).await.1, api.get(peripheral(&sandbox), query).await.1]
    {
        assert_eq!(shown["tags"], json!({"floor": ["1"], "room": ["a", "b"]}));
        assert_eq!(shown["attributes"]["photo"]["contentType"], "image/png");
        assert_eq!(shown["attributes"]["temperature"]["attributeTags"], json!({"unit": "C"}));
    }
    let shown = patch(&api, &json!({"tags": []}), "").await.1;
    assert_eq!((&shown["tags"], &shown["attributes"]), (&json!([]), &attributes));
}

#[tokio::test]
async fn rejected_patch_changes_nothing() {
    let sandbox = Sandbox::start().await.unwrap();
    let api = Api::application(&sandbox);
    let before = api.get(peripheral(&sandbox), "").await.1;
    let number = |name: &str| json!({"name": name, "dataType": "number"});
    for body in [
        json!({"name": ""}),
        json!({"name": "x", "unknown": 1}),
        json!({"attributes": [{"name": "a b", "dataType": "number"}]}),
        json!({"attributes": [number("a"), number("a")]}),
        json!({"deviceClass": "toaster"}),
        json!({"deviceClass": "system"}),
        json!({"gatewayId": null}),
        json!({"systemInterval": 4}),
        json!([]),
    ] {
        let (status, error) = patch(&api, &body, "").await;
        assert_eq!(status, StatusCode::BAD_REQUEST, "{body}");
        assert_valid("error", &error);
    }
    assert_eq!(api.get(peripheral(&sandbox), "").await.1, before);
}

#[tokio::test]
async fn patch_sets_and_removes_a_parent() {
    let sandbox = Sandbox::start().await.unwrap();
    let api = Api::application(&sandbox);
    let shown = patch(&api, &json!({"parentId": GREENHOUSE_ID}), "").await.1;
    assert_eq!(shown["parentId"], GREENHOUSE_ID);
    assert_eq!(patch(&api, &json!({}), "").await.1["parentId"], GREENHOUSE_ID);
    assert!(patch(&api, &json!({"parentId": null}), "").await.1.get("parentId").is_none());
}

#[tokio::test]
async fn changed_attribute_loses_its_history() {
    let sandbox = Sandbox::start().await.unwrap();
    let api = Api::application(&sandbox);
    let device = peripheral(&sandbox);
    let data = json!({"temperature": 1, "humidity": 2, "pressure": 3});
    api.post(device, "/state", &json!({"data": data})).await;
    let attributes = json!([
        {"name": "temperature", "dataType": "number"}, {"name": "humidity", "dataType": "string"},
    ]);
    patch(&api, &json!({"attributes": attributes}), "").await;
    let composite = api.get(device, "/compositeState").await.1;
    assert_eq!(composite.as_object().unwrap().keys().collect::<Vec<_>>(), ["temperature"]);
}

#[tokio::test]
async fn delete_ends_access_and_streams() {
    let sandbox = Sandbox::start().await.unwrap();
    let api = Api::application(&sandbox);
    let device = peripheral(&sandbox);
    let own = Api::device(&sandbox, device, json!({})).await;
    let mut stream = own.stream(device, "/commandStream").await;
    assert_eq!(delete(&api, "").await, (StatusCode::OK, json!({"success": true})));
    stream.read_to_end().await.unwrap();
    for api in [&api, &own] {
        assert_eq!(api.get(device, "").await.0, StatusCode::NOT_FOUND);
        let sent = api.post(device, "/state", &json!({"data": {}})).await;
        assert_eq!(sent.0, StatusCode::NOT_FOUND);
    }
    assert_eq!(delete(&api, "").await.0, StatusCode::NOT_FOUND);
    assert_eq!(authenticate(&sandbox, &credentials(device)).await.status(), 401);
    assert_eq!(api.get(gateway(&sandbox), "").await.0, StatusCode::OK);
}

#[tokio::test]
async fn remove_data_includes_both_ends_of_the_period() {
    let sandbox = Sandbox::start().await.unwrap();
    let api = Api::application(&sandbox);
    let device = peripheral(&sandbox);
    let start_ms = Timestamp::now().as_millisecond() - 60_000;
    let state = |n: i64| json!({"time": start_ms + n, "data": {"temperature": n}});
    api.post(device, "/state", &json!([state(1), state(2), state(3), state(4)])).await;
    let left = || {
        let states = sandbox.states(&device.device_id);
        states.iter().map(|state| state.time_ms - start_ms).collect::<Vec<_>>()
    };
    let period = format!("/data?start={}&end={}", start_ms + 2, start_ms + 3);
    assert_eq!(delete(&api, &period).await, (StatusCode::OK, json!({"success": true})));
    assert_eq!(left(), [1, 4]);
    delete(&api, "/data?start=-10000&end=0").await;
    assert_eq!(left(), [1, 4]);
    delete(&api, "/data").await;
    assert!(left().is_empty());
    assert_eq!(api.get(device, "/compositeState").await.1, json!({}));
    assert_eq!(delete(&api, "/data?start=yesterday").await.0, StatusCode::BAD_REQUEST);
}

#[tokio::test]
async fn job_response_can_be_202() {
    let sandbox = Sandbox::builder().job_response(JobResponse::Enqueued).start().await.unwrap();
    let api = Api::application(&sandbox);
    let export = api.post(peripheral(&sandbox), "/export", &json!({})).await;
    for (status, answer) in [delete(&api, "/data").await, export] {
        assert_eq!(status, StatusCode::ACCEPTED);
        assert_valid("jobEnqueuedResult", &answer);
        assert!(answer["jobId"].is_string(), "{answer}");
    }
}

#[tokio::test]
async fn device_token_cannot_manage_a_device() {
    let sandbox = Sandbox::start().await.unwrap();
    let api = Api::gateway(&sandbox).await;
    let before = sandbox.counters().schema_rejections;
    for (method, tail) in [
        (Method::PATCH, ""),
        (Method::DELETE, ""),
        (Method::DELETE, "/data"),
        (Method::POST, "/export"),
        (Method::GET, "/payloadCounts"),
        (Method::GET, "/payloadCountsBreakdown"),
    ] {
        let answer = api.call(method, gateway(&sandbox), tail).json(&json!({})).send().await;
        assert_eq!(answer.unwrap().status(), StatusCode::FORBIDDEN, "{tail}");
    }
    assert_eq!(sandbox.counters().schema_rejections, before);
}

#[tokio::test]
async fn applications_cannot_access_each_other() {
    let other = ApplicationSpec {
        application_id: "a0000000000000000000000a".to_owned(),
        api_token: "other-token".to_owned(),
        devices: vec![DeviceSpec::new("d0000000000000000000000a", "far", DeviceClass::Standalone)],
    };
    let applications = vec![ApplicationSpec::default(), other];
    let sandbox = Sandbox::builder().applications(applications).start().await.unwrap();
    let far = sandbox.devices().last().unwrap();
    let mut api = Api::application(&sandbox);
    assert_eq!(api.get(far, "").await.0, StatusCode::NOT_FOUND);
    let url =
        format!("{}/applications/{}/devices/{}", sandbox.url(), far.application_id, far.device_id);
    let call = async |token: &str| {
        let call = crate::client::http().get(&url).bearer_auth(token).send();
        call.await.unwrap().status()
    };
    assert_eq!(call("other-token").await, StatusCode::OK);
    assert_eq!(call(&api.token).await, StatusCode::FORBIDDEN);
    api.token = "other-token".to_owned();
    assert_eq!(api.get(gateway(&sandbox), "").await.0, StatusCode::FORBIDDEN);
}
