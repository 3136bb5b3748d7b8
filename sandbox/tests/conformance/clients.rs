//! Losant's own clients find every action that they have, and like every answer.

use serde_json::json;
use tidegate_sandbox::{JobResponse, Sandbox};

use crate::judge::{run, schemas, script};

/// Runs a script against a sandbox of its own, once for each answer that jobs may have.
async fn judge(name: &str) -> Vec<String> {
    let mut said = Vec::new();
    for answer in [JobResponse::Success, JobResponse::Enqueued] {
        let sandbox = Sandbox::builder().job_response(answer).start().await.unwrap();
        let ready = json!({
            "url": sandbox.url(),
            "applicationId": sandbox.application_id(),
            "apiToken": sandbox.api_token(),
            "devices": sandbox.devices(),
        });
        let mut command = script(name);
        command.arg(schemas()).arg(ready.to_string());
        said.push(run(command, String::new()));
    }
    said
}

#[tokio::test]
async fn python_client_calls_all_actions_without_streams() {
    assert_eq!(judge("actions.py").await, ["14 actions\n"; 2]);
}

/// The client on npm (API 1.20) is older than the payload counts.
#[tokio::test]
async fn javascript_client_calls_all_actions_and_streams() {
    assert_eq!(judge("actions.mjs").await, ["14 actions\n"; 2]);
}
