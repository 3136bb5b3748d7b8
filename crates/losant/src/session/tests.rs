//! The session against the sandbox: how often a token is asked for, and that no secret is shown.

mod tls;

use futures_util::future::join_all;
use tidegate_sandbox::{Action as SandboxAction, Fault, GATEWAY_ID, Sandbox};

use super::*;
use crate::body::parse;
use crate::query::{History, Shape};

const SECRET: &str = "gateway-secret";

/// Callers at the same time.
const CALLERS: usize = 40;

fn cloud(sandbox: &Sandbox, secret: &str) -> Cloud {
    // An error says that another test installed it first.
    rustls::crypto::ring::default_provider().install_default().ok();
    let secret = Secret::from(secret.to_owned());
    let key = CloudCredentials::AccessKey { key: "gateway-key".to_owned(), secret };
    Cloud { proxy: Proxy::None, ..Cloud::new(sandbox.url(), gateway(), key) }
}

fn gateway() -> DeviceId {
    GATEWAY_ID.parse().unwrap()
}

fn authentications(sandbox: &Sandbox) -> u64 {
    sandbox.counters().calls.get("authenticateDevice").copied().unwrap_or(0)
}

async fn calls(client: &Client) -> Vec<Result<(), Error>> {
    let call = async || client.get(gateway(), Shape::default()).await.map(drop);
    join_all((0..CALLERS).map(|_| call())).await
}

#[tokio::test(flavor = "multi_thread")]
async fn many_callers_share_one_token() {
    let sandbox = Sandbox::start().await.unwrap();
    let client = Client::new(cloud(&sandbox, SECRET)).unwrap();
    assert!(calls(&client).await.iter().all(Result::is_ok));
    assert_eq!(authentications(&sandbox), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn expired_token_of_many_callers_is_renewed_once_only() {
    let sandbox = Sandbox::start().await.unwrap();
    let client = Client::new(cloud(&sandbox, SECRET)).unwrap();
    client.get(gateway(), Shape::default()).await.unwrap();
    sandbox.expire_tokens();
    assert!(calls(&client).await.iter().all(Result::is_ok));
    assert_eq!(authentications(&sandbox), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn wrong_credentials_are_tried_once_however_many_ask() {
    let sandbox = Sandbox::start().await.unwrap();
    let client = Client::new(cloud(&sandbox, "wrong")).unwrap();
    for _ in 0..2 {
        for outcome in calls(&client).await {
            assert_eq!(outcome.unwrap_err().response_class(), ResponseClass::Unauthorized);
        }
    }
    assert_eq!(authentications(&sandbox), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn rejected_new_token_suspends_the_renewal() {
    let sandbox = Sandbox::start().await.unwrap();
    let client = Client::new(cloud(&sandbox, SECRET)).unwrap();
    sandbox.fail_next(SandboxAction::Get, 10 * CALLERS, Fault::Status(401, String::new()));
    for _ in 0..3 {
        for outcome in calls(&client).await {
            assert_eq!(outcome.unwrap_err().response_class(), ResponseClass::Unauthorized);
        }
    }
    assert_eq!(authentications(&sandbox), 2, "one token and one renewal");
    sandbox.clear_faults();
    assert!(calls(&client).await.iter().all(Result::is_ok), "the token is used on");
}

#[tokio::test(flavor = "multi_thread")]
async fn waiting_callers_share_a_failure() {
    let sandbox = Sandbox::start().await.unwrap();
    let client = Client::new(cloud(&sandbox, SECRET)).unwrap();
    let trouble = Fault::Status(503, String::new());
    sandbox.fail_next(SandboxAction::AuthenticateDevice, CALLERS, trouble);
    assert!(calls(&client).await.iter().all(Result::is_err));
    assert_eq!(authentications(&sandbox), 1);
}

#[tokio::test]
async fn token_request_has_configured_scopes_and_lifetime() {
    let sandbox = Sandbox::start().await.unwrap();
    let requested_scopes = vec!["device.sendState".to_owned()];
    let token_ttl = Some(Duration::from_secs(3600));
    let cloud = Cloud { requested_scopes, token_ttl, ..cloud(&sandbox, SECRET) };
    let client = Client::new(cloud).unwrap();
    let states: crate::body::States = parse(r#"{"data": {}}"#).unwrap();
    client.send_state(gateway(), &states).await.unwrap();
    let error = client.get_state(gateway(), &History::default()).await.unwrap_err();
    assert_eq!(error.status(), Some(403), "{error}");
    assert_eq!(sandbox.counters().schema_rejections, 0);
}

#[tokio::test]
async fn token_is_renewed_early_and_kept_if_that_fails() {
    let sandbox = Sandbox::start().await.unwrap();
    let cloud = Cloud { token_ttl: Some(Duration::from_secs(3600)), ..cloud(&sandbox, SECRET) };
    let client = Client::new(cloud).unwrap();
    client.get(gateway(), Shape::default()).await.unwrap();
    let make_due = async || {
        let mut session = client.session.lock().await;
        session.granted.as_mut().unwrap().renew_at = Some(Instant::now());
    };
    make_due().await;
    client.get(gateway(), Shape::default()).await.unwrap();
    assert_eq!(authentications(&sandbox), 2);

    make_due().await;
    let trouble = Fault::Status(503, String::new());
    sandbox.fail_next(SandboxAction::AuthenticateDevice, 1, trouble);
    client.get(gateway(), Shape::default()).await.unwrap();
    client.get(gateway(), Shape::default()).await.unwrap();
    assert_eq!(authentications(&sandbox), 3);
}

#[tokio::test]
async fn refusal_without_a_message_is_a_refusal() {
    let sandbox = Sandbox::start().await.unwrap();
    let request_timeout = Duration::from_secs(1);
    let client = Client::new(Cloud { request_timeout, ..cloud(&sandbox, SECRET) }).unwrap();
    let stalled = Fault::Slow { bytes: 1, pause: Duration::from_secs(3600) };
    sandbox.fail_next(SandboxAction::Get, 1, stalled);
    let unknown = "999999999999999999999999".parse().unwrap();
    let error = client.get(unknown, Shape::default()).await.unwrap_err();
    assert_eq!(error.to_string(), "get: 404 Not Found");
}

#[tokio::test]
async fn redirects_are_not_followed() {
    let sandbox = Sandbox::start().await.unwrap();
    let client = Client::new(cloud(&sandbox, SECRET)).unwrap();
    let elsewhere = format!("{}/elsewhere", sandbox.url());
    let headers = vec![("location".to_owned(), elsewhere)];
    let fault = Fault::Response { status: 307, headers, body: String::new() };
    sandbox.fail_next(SandboxAction::Get, 1, fault);
    let error = client.get(gateway(), Shape::default()).await.unwrap_err();
    assert!(
        error.to_string().contains("(307) does not come from Losant: redirects are not followed"),
        "{error}"
    );
    assert_eq!(error.response_class(), ResponseClass::Offline);
    let answers = sandbox.counters().responses;
    assert!(answers.keys().eq(&[200, 307]), "a token and the redirection: {answers:?}");
}

#[tokio::test]
async fn debug_output_and_errors_have_no_secrets() {
    let sandbox = Sandbox::start().await.unwrap();
    let client = Client::new(cloud(&sandbox, SECRET)).unwrap();
    client.get(gateway(), Shape::default()).await.unwrap();
    let token = client.session.lock().await.granted.clone().unwrap().token.expose().to_owned();
    let call = format!("{:?}", client.get(gateway(), Shape::default()));
    let wrong = Client::new(cloud(&sandbox, "hunter2")).unwrap();
    let error = wrong.get(gateway(), Shape::default()).await.unwrap_err();
    let shown = format!("{client:?} {call} {wrong:?} {error} {error:?}");
    for secret in [SECRET, "hunter2", &token] {
        assert!(!shown.contains(secret), "{secret} in {shown}");
    }
}
