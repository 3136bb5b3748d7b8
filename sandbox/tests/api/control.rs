//! Tests of the control calls below `/sandbox/`.

use reqwest::{Client, StatusCode};
use serde_json::{Value, json};
use tidegate_sandbox::{GATEWAY_ID, Sandbox};

use crate::client::{Api, gateway, http};

struct Control<'a> {
    sandbox: &'a Sandbox,
    http: Client,
}

impl Control<'_> {
    async fn post(&self, path: &str, body: &Value) -> StatusCode {
        let url = format!("{}/sandbox/{path}", self.sandbox.url());
        self.http.post(url).json(body).send().await.unwrap().status()
    }

    async fn get(&self, path: &str) -> Value {
        let url = format!("{}/sandbox/{path}", self.sandbox.url());
        self.http.get(url).send().await.unwrap().json().await.unwrap()
    }
}

#[tokio::test]
async fn control_starts_and_ends_an_outage() {
    let sandbox = Sandbox::start().await.unwrap();
    let control = Control { sandbox: &sandbox, http: http() };
    let api = Api::gateway(&sandbox).await;
    assert_eq!(control.post("offline", &json!({})).await, StatusCode::OK);
    let call = || api.call(reqwest::Method::GET, gateway(&sandbox), "").send();
    call().await.unwrap_err();
    assert_eq!(control.get("counters").await["droppedCalls"], 1);
    assert_eq!(control.post("online", &json!({})).await, StatusCode::OK);
    assert_eq!(call().await.unwrap().status(), StatusCode::OK);
}

#[tokio::test]
async fn control_plans_faults() {
    let sandbox = Sandbox::start().await.unwrap();
    let control = Control { sandbox: &sandbox, http: http() };
    let api = Api::gateway(&sandbox).await;
    let plan = json!({"action": "get", "calls": 1, "status": 502, "body": "{}"});
    assert_eq!(control.post("fail", &plan).await, StatusCode::OK);
    assert_eq!(api.get(gateway(&sandbox), "").await.0, StatusCode::BAD_GATEWAY);
    assert_eq!(api.get(gateway(&sandbox), "").await.0, StatusCode::OK);
    for invalid in [json!({"action": "fly", "status": 500}), json!({"action": "get"})] {
        assert_eq!(control.post("fail", &invalid).await, StatusCode::BAD_REQUEST);
    }
}

#[tokio::test]
async fn control_sends_commands_and_reads_the_store() {
    let sandbox = Sandbox::start().await.unwrap();
    let control = Control { sandbox: &sandbox, http: http() };
    let command = json!({"deviceId": GATEWAY_ID, "name": "fan", "payload": {"speed": 80}});
    assert_eq!(control.post("command", &command).await, StatusCode::OK);
    let commands = control.get(&format!("commands/{GATEWAY_ID}")).await;
    assert_eq!(commands[0]["payload"], json!({"speed": 80}));
    let api = Api::gateway(&sandbox).await;
    api.post(gateway(&sandbox), "/state", &json!({"data": {"fan": 80}})).await;
    let states = control.get(&format!("states/{GATEWAY_ID}")).await;
    assert_eq!(states[0]["data"], json!({"fan": 80}));
}

#[tokio::test]
async fn control_loses_values_silently() {
    let sandbox = Sandbox::start().await.unwrap();
    let control = Control { sandbox: &sandbox, http: http() };
    let api = Api::gateway(&sandbox).await;
    let plan = json!({"oneIn": 1, "seed": 7, "unit": "state"});
    assert_eq!(control.post("lose", &plan).await, StatusCode::OK);
    let state = json!({"data": {"temperature": 21.5}});
    let sent = api.post(gateway(&sandbox), "/state", &state).await;
    assert_eq!(sent, (StatusCode::OK, json!({"success": true})));
    assert_eq!(sandbox.states(GATEWAY_ID), []);
    let lost = control.get(&format!("lost/{GATEWAY_ID}")).await;
    assert_eq!(
        (lost[0]["attribute"].as_str(), lost.as_array().unwrap().len()),
        (Some("temperature"), 1)
    );
    let counters = control.get("counters").await;
    assert_eq!((&counters["statesLost"], &counters["valuesLost"]), (&json!(1), &json!(1)));
    assert_eq!(control.post("clear-faults", &json!({})).await, StatusCode::OK);
    api.post(gateway(&sandbox), "/state", &state).await;
    assert_eq!(sandbox.states(GATEWAY_ID).len(), 1);
    assert_eq!(control.post("lose", &json!({"oneIn": 0})).await, StatusCode::BAD_REQUEST);
}
