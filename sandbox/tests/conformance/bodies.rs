//! Compares the sandbox with an independent schema validator on generated bodies.

use std::time::Duration;

use reqwest::{Client, Method};
use serde_json::{Value, json};
use tidegate_sandbox::Sandbox;

use crate::generate::{sample, seed, value};
use crate::judge::{run, schemas, script};

/// Generated bodies for each schema.
const BODIES: usize = 250;

/// Larger than any generated body, so that none is rejected for its size.
const BODY_BYTES_MAX: usize = 16 * 1024 * 1024;

/// The actions with a body: schema, method and path.
const ACTIONS: [(&str, &str, &str); 7] = [
    ("deviceStateOrStates", "POST", "/state"),
    ("deviceCommand", "POST", "/command"),
    ("deviceConnectionStatus", "POST", "/setConnectionStatus"),
    ("devicePatch", "PATCH", ""),
    ("devicePost", "POST", "/devices"),
    ("deviceDataExport", "POST", "/export"),
    ("deviceCredentials", "POST", "/auth/device"),
];

fn schema(name: &str) -> Value {
    let text = std::fs::read_to_string(schemas().join(format!("{name}.json"))).unwrap();
    serde_json::from_str(&text).unwrap()
}

#[tokio::test]
async fn sandbox_and_validator_agree_on_bodies() {
    let seed = seed();
    let mut cases = Vec::new();
    for (name, method, tail) in ACTIONS {
        for body in sample(&value(&schema(name)), seed, BODIES) {
            cases.push((name, method, tail, body));
        }
    }
    let lines = cases.iter().map(|(name, _, _, body)| format!("{}\n", json!([name, body])));
    let mut command = script("judge.py");
    command.arg(schemas());
    let verdicts = run(command, lines.collect());
    let verdicts = verdicts.lines().map(|line| line == "true").collect::<Vec<_>>();
    assert_eq!(verdicts.len(), cases.len());

    let sandbox = Sandbox::builder().throttle_window(Duration::ZERO).body_bytes_max(BODY_BYTES_MAX);
    let sandbox = sandbox.start().await.unwrap();
    let http = http();
    for ((name, method, tail, body), accepted) in cases.iter().zip(&verdicts) {
        let passes = passes(&sandbox, &http, method, tail, body).await;
        let beginning = body.to_string().chars().take(500).collect::<String>();
        assert_eq!(passes, *accepted, "{name}, seed {seed}: {beginning}");
    }
    for (name, ..) in ACTIONS {
        let of_schema = cases.iter().zip(&verdicts).filter(|(case, _)| case.0 == name);
        let accepted = of_schema.filter(|(_, accepted)| **accepted).count();
        assert!(
            (BODIES / 10..BODIES * 9 / 10).contains(&accepted),
            "{name}: {accepted}, seed {seed}"
        );
    }
}

/// Returns whether a body passes the sandbox's schema check; other rules may still reject it.
async fn passes(sandbox: &Sandbox, http: &Client, method: &str, tail: &str, body: &Value) -> bool {
    let before = sandbox.counters().schema_rejections;
    let device = &sandbox.devices()[0].device_id;
    let application = format!("/applications/{}", sandbox.application_id());
    let base = match tail {
        "/auth/device" => String::new(),
        "/devices" => application,
        _ => format!("{application}/devices/{device}"),
    };
    let url = format!("{}{base}{tail}", sandbox.url());
    let call = http.request(method.parse::<Method>().unwrap(), url);
    let answer = call.bearer_auth(sandbox.api_token()).json(body).send().await.unwrap();
    let refused = sandbox.counters().schema_rejections > before;
    assert!(!refused || answer.status() == 400, "{}: {body}", answer.status());
    assert!(answer.status().as_u16() < 500, "{}: {body}", answer.status());
    !refused
}

fn http() -> Client {
    // An error means that another test installed it first.
    rustls::crypto::ring::default_provider().install_default().ok();
    Client::new()
}
