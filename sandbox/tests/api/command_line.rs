//! Tests of the program: its output and its exit.

use std::process::Stdio;

use reqwest::Method;
use serde_json::{Value, json};
use tidegate_sandbox::{API_TOKEN, APPLICATION_ID, GATEWAY_ID};
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, Command};
use tokio::time::timeout;

use crate::client::{PATIENCE, http};

/// Starts the program and reads the line that it prints when it is ready.
async fn serve(arguments: &[&str]) -> (Child, Value) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_tidegate-sandbox"));
    command.args(["serve", "--json"]).args(arguments).stdout(Stdio::piped()).kill_on_drop(true);
    let mut child = command.spawn().unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let ready = timeout(PATIENCE, lines.next_line()).await.unwrap().unwrap().unwrap();
    (child, serde_json::from_str(&ready).unwrap())
}

#[tokio::test]
async fn reads_devices_file_and_data_dir() {
    let directory = tempfile::tempdir().unwrap();
    let devices = directory.path().join("devices.toml");
    std::fs::write(&devices, "application = [{ token = 't', device = [{ name = 'a' }] }]").unwrap();
    let data_dir = directory.path().join("data");
    let paths = [devices.to_str().unwrap(), data_dir.to_str().unwrap()];
    let arguments = ["--devices", paths[0], "--data-dir", paths[1]];
    let send = async |ready: &Value, method: Method, body: Option<Value>| {
        let text = |value: &Value| value.as_str().unwrap().to_owned();
        let device = &ready["devices"][0];
        let url = format!(
            "{}/applications/{}/devices/{}/state",
            text(&ready["url"]),
            text(&device["applicationId"]),
            text(&device["deviceId"])
        );
        let call = http().request(method, url).bearer_auth("t");
        let call = if let Some(body) = body { call.json(&body) } else { call };
        call.send().await.unwrap().json::<Value>().await.unwrap()
    };
    let (mut child, ready) = serve(&arguments).await;
    let state = json!({"data": {"temperature": 21}});
    assert_eq!(send(&ready, Method::POST, Some(state)).await, json!({"success": true}));
    child.kill().await.unwrap();
    let (_child, ready) = serve(&arguments).await;
    assert_eq!(send(&ready, Method::GET, None).await[0]["data"], json!({"temperature": 21}));
}

#[tokio::test]
async fn error_names_the_devices_file() {
    let directory = tempfile::tempdir().unwrap();
    let devices = directory.path().join("devices.toml");
    std::fs::write(&devices, "application = [{ device = [{ name = 'a', gateway = 'b' }] }]")
        .unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_tidegate-sandbox"));
    let output = command.args(["serve", "--devices"]).arg(&devices).output().await.unwrap();
    assert!(!output.status.success());
    let message = String::from_utf8(output.stderr).unwrap();
    for part in ["devices.toml", "\"a\" names the gateway \"b\""] {
        assert!(message.contains(part), "{message}");
    }
}

#[tokio::test]
async fn serve_prints_json_and_exits_on_sigterm() {
    let program = env!("CARGO_BIN_EXE_tidegate-sandbox");
    let mut command = Command::new(program);
    command.args(["serve", "--json"]).stdout(Stdio::piped()).kill_on_drop(true);
    let mut child = command.spawn().unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let ready = timeout(PATIENCE, lines.next_line()).await.unwrap().unwrap().unwrap();
    let ready: Value = serde_json::from_str(&ready).unwrap();
    assert_eq!(
        (&ready["applicationId"], &ready["apiToken"]),
        (&APPLICATION_ID.into(), &API_TOKEN.into())
    );
    assert_eq!(ready["devices"][0]["deviceId"], GATEWAY_ID);
    assert_eq!(ready["devices"][0]["deviceClass"], "gateway");

    let url = format!("{}/sandbox/counters", ready["url"].as_str().unwrap());
    assert_eq!(http().get(url).send().await.unwrap().status(), 200);

    let pid = child.id().unwrap().to_string();
    let signal = Command::new("kill").args(["-TERM", &pid]).status().await.unwrap();
    assert!(signal.success());
    assert!(timeout(PATIENCE, child.wait()).await.unwrap().unwrap().success());
    assert_eq!(lines.next_line().await.unwrap(), None);
}
