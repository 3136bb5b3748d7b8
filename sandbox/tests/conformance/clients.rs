//! Calls all actions with Losant's own clients, which validate each response.

use serde_json::json;
use tidegate_sandbox::{JobResponse, Sandbox};

use crate::judge::{run, schemas, script};

/// Runs a script against a new sandbox, once for each job response.
async fn run_client(name: &str) -> Vec<String> {
    let mut outputs = Vec::new();
    for response in [JobResponse::Success, JobResponse::Enqueued] {
        let sandbox = Sandbox::builder().job_response(response).start().await.unwrap();
        let ready = json!({
            "url": sandbox.url(),
            "applicationId": sandbox.application_id(),
            "apiToken": sandbox.api_token(),
            "devices": sandbox.devices(),
        });
        let mut command = script(name);
        command.arg(schemas()).arg(ready.to_string());
        outputs.push(run(command, String::new()));
    }
    outputs
}

#[tokio::test]
async fn python_client_calls_all_actions_without_streams() {
    assert_eq!(run_client("actions.py").await, ["14 actions\n"; 2]);
}

/// The client on npm (API 1.20) predates the payload counts.
#[tokio::test]
async fn javascript_client_calls_all_actions_and_streams() {
    assert_eq!(run_client("actions.mjs").await, ["14 actions\n"; 2]);
}
