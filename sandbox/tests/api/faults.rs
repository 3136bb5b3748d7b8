//! Tests of outages, faults, and the recovery from them.

use std::time::Duration;

use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use tidegate_sandbox::{Action, Fault, Sandbox, Step};

use crate::client::{Api, gateway, until};

fn state() -> Value {
    json!({"data": {"temperature": 1}})
}

#[tokio::test]
async fn outage_drops_calls_and_streams_but_keeps_data() {
    let sandbox = Sandbox::start().await.unwrap();
    let api = Api::gateway(&sandbox).await;
    let device = gateway(&sandbox);
    api.post(device, "/state", &state()).await;
    let mut stream = api.stream(device, "/commandStream").await;
    sandbox.set_offline(true);
    stream.read_to_end().await.unwrap_err();
    let call = || api.call(Method::POST, device, "/state").json(&state()).send();
    assert!(call().await.unwrap_err().status().is_none());
    until("the end of the stream", || sandbox.streams_open(&device.device_id) == 0).await;

    sandbox.set_offline(false);
    assert_eq!(call().await.unwrap().status(), StatusCode::OK);
    assert_eq!(sandbox.states(&device.device_id).len(), 2);
    api.stream(device, "/commandStream").await;
}

#[tokio::test]
async fn cut_streams_break_off_and_can_reopen() {
    let sandbox = Sandbox::start().await.unwrap();
    let api = Api::gateway(&sandbox).await;
    let device = gateway(&sandbox);
    let mut stream = api.stream(device, "/commandStream").await;
    sandbox.cut_streams();
    stream.read_to_end().await.unwrap_err();
    api.stream(device, "/commandStream").await;
}

#[tokio::test]
async fn ended_streams_end_properly_and_can_reopen() {
    let sandbox = Sandbox::start().await.unwrap();
    let api = Api::gateway(&sandbox).await;
    let device = gateway(&sandbox);
    let mut stream = api.stream(device, "/commandStream").await;
    sandbox.end_streams();
    stream.read_to_end().await.unwrap();
    api.stream(device, "/commandStream").await;
}

#[tokio::test]
async fn closed_port_refuses_connections_and_keeps_data() {
    let sandbox = Sandbox::start().await.unwrap();
    let device = gateway(&sandbox);
    let api = Api::gateway(&sandbox).await;
    api.post(device, "/state", &state()).await;
    let call = || api.call(Method::POST, device, "/state").json(&state()).send();
    sandbox.close();
    assert!(call().await.unwrap_err().is_connect());
    sandbox.reopen().await.unwrap();
    assert_eq!(call().await.unwrap().status(), StatusCode::OK);
    assert_eq!(sandbox.states(&device.device_id).len(), 2);
}

#[tokio::test]
async fn planned_faults_apply_in_order_to_their_action() {
    let sandbox = Sandbox::start().await.unwrap();
    let api = Api::gateway(&sandbox).await;
    let device = gateway(&sandbox);
    sandbox.fail_next(Action::SendState, 2, Fault::Status(503, "<html>down</html>".to_owned()));
    let headers = vec![("retry-after".to_owned(), "7".to_owned())];
    let answer = Fault::Response { status: 429, headers, body: "{}".to_owned() };
    sandbox.fail_next(Action::SendState, 1, answer);
    assert_eq!(api.get(device, "").await.0, StatusCode::OK);

    let call =
        || async { api.call(Method::POST, device, "/state").json(&state()).send().await.unwrap() };
    for _ in 0..2 {
        let answer = call().await;
        assert_eq!(answer.status(), 503);
        assert_eq!(answer.text().await.unwrap(), "<html>down</html>");
    }
    let answer = call().await;
    assert_eq!(
        (answer.status().as_u16(), &answer.headers()["retry-after"]),
        (429, &"7".parse().unwrap())
    );
    assert!(sandbox.states(&device.device_id).is_empty());
    assert_eq!(call().await.status(), StatusCode::OK);
}

#[tokio::test]
async fn lost_response_is_lost_after_states_are_stored() {
    let sandbox = Sandbox::start().await.unwrap();
    let api = Api::gateway(&sandbox).await;
    let device = gateway(&sandbox);
    sandbox.fail_next(Action::SendState, 1, Fault::LoseResponse);
    let lost = api.call(Method::POST, device, "/state").json(&state()).send().await;
    assert!(lost.unwrap_err().status().is_none());
    assert_eq!(sandbox.states(&device.device_id).len(), 1);
    assert_eq!(sandbox.counters().lost_responses, 1);
}

#[tokio::test]
async fn dropped_call_executes_nothing() {
    let sandbox = Sandbox::start().await.unwrap();
    let api = Api::gateway(&sandbox).await;
    let device = gateway(&sandbox);
    sandbox.fail_next(Action::SendState, 1, Fault::Drop);
    let dropped = api.call(Method::POST, device, "/state").json(&state()).send().await;
    assert!(dropped.unwrap_err().status().is_none());
    assert!(sandbox.states(&device.device_id).is_empty());
}

#[tokio::test]
async fn outage_ends_a_hanging_call() {
    let sandbox = Sandbox::start().await.unwrap();
    let api = Api::gateway(&sandbox).await;
    sandbox.fail_next(Action::Get, 1, Fault::Hang);
    let hanging = api.call(Method::GET, gateway(&sandbox), "").send();
    let darken = async {
        until("the call", || sandbox.counters().calls.contains_key("get")).await;
        sandbox.set_offline(true);
    };
    let (answer, ()) = tokio::join!(hanging, darken);
    assert!(!answer.unwrap_err().is_timeout());
}

#[tokio::test]
async fn scripted_stream_sends_exactly_its_bytes() {
    let sandbox = Sandbox::start().await.unwrap();
    let api = Api::gateway(&sandbox).await;
    let device = gateway(&sandbox);
    let greeting = || Step::Send(b":keepalive\n\n".to_vec());
    let clean =
        vec![greeting(), Step::Wait(Duration::from_millis(5)), Step::Send(b"data".to_vec())];
    let broken = vec![greeting(), Step::Send(b"da".to_vec()), Step::Cut];
    sandbox.fail_next(Action::CommandStream, 1, Fault::Script(clean));
    sandbox.fail_next(Action::CommandStream, 1, Fault::Script(broken));
    let mut stream = api.stream(device, "/commandStream").await;
    assert_eq!(stream.read_to_end().await.unwrap(), "data");
    let mut stream = api.stream(device, "/commandStream").await;
    stream.read_to_end().await.unwrap_err();
}

#[tokio::test]
async fn dropped_sandbox_frees_its_port() {
    let first = Sandbox::start().await.unwrap();
    let address = first.url().trim_start_matches("http://").parse().unwrap();
    let api = Api::gateway(&first).await;
    let token = api.token.clone();
    let mut stream = api.stream(gateway(&first), "/commandStream").await;
    drop(api);
    drop(first);
    stream.read_to_end().await.unwrap_err();

    let second = Sandbox::builder().listen(address).start().await.unwrap();
    let mut api = Api::gateway(&second).await;
    assert_eq!(api.get(gateway(&second), "").await.0, StatusCode::OK);
    api.token = token;
    assert_eq!(api.get(gateway(&second), "").await.0, StatusCode::UNAUTHORIZED);
}

#[tokio::test]
async fn error_names_an_address_in_use() {
    let first = Sandbox::start().await.unwrap();
    let address: std::net::SocketAddr = first.url().trim_start_matches("http://").parse().unwrap();
    let error = Sandbox::builder().listen(address).start().await.unwrap_err();
    assert!(error.to_string().contains(&address.to_string()), "{error}");
}
