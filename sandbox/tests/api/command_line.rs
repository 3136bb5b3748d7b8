//! The program: what it prints, and how it ends.

use std::process::Stdio;

use serde_json::Value;
use tidegate_sandbox::{API_TOKEN, APPLICATION_ID, GATEWAY_ID};
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::Command;
use tokio::time::timeout;

use crate::client::{PATIENCE, http};

#[tokio::test]
async fn serve_prints_one_line_of_json_when_it_is_ready_and_ends_well_on_a_signal() {
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
