//! Tests that the sandbox serves all actions of Losant's description by method and path.

use reqwest::{Method, StatusCode};
use serde_json::Value;
use tidegate_sandbox::{Action, Sandbox};

use crate::client::{Api, gateway};

fn described() -> Value {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/schemas/apiInfo.device-auth.json");
    let described: Value = serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap();
    described["device"]["actions"].clone()
}

#[tokio::test]
async fn serves_and_counts_all_described_actions() {
    let sandbox = Sandbox::start().await.unwrap();
    let api = Api::application(&sandbox);
    let described = described();
    let described = described.as_object().unwrap();
    assert_eq!(described.len(), 16);
    for (name, action) in described {
        name.parse::<Action>().unwrap();
        let method: Method = action["method"].as_str().unwrap().to_uppercase().parse().unwrap();
        let tail = action["path"].as_str().unwrap_or_default();
        let answer = api.call(method, gateway(&sandbox), tail).send().await.unwrap();
        assert_ne!(answer.status(), StatusCode::METHOD_NOT_ALLOWED, "{name}");
        assert_eq!(sandbox.counters().calls.get(name.as_str()), Some(&1), "{name}");
    }
}
