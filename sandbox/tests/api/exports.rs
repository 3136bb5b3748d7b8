//! Tests of export: the file and the callback.

use jiff::Timestamp;
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use tidegate_sandbox::{Attribute, DataType, DeviceClass, DeviceSpec, Sandbox};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::{Instant, timeout};

use crate::client::{Api, PATIENCE, gateway, http, until};

/// An HTTP server for one callback.
struct CallbackServer(TcpListener);

impl CallbackServer {
    async fn new() -> Self {
        Self(TcpListener::bind("127.0.0.1:0").await.unwrap())
    }

    fn url(&self) -> String {
        format!("http://{}/done?n=1", self.0.local_addr().unwrap())
    }

    /// Receives the next callback and returns its connection, without a response, and its JSON.
    async fn receive(&self) -> (TcpStream, Value) {
        let (mut stream, _) = timeout(PATIENCE, self.0.accept()).await.unwrap().unwrap();
        let mut text = String::new();
        let mut chunk = [0; 4096];
        loop {
            let length = timeout(PATIENCE, stream.read(&mut chunk)).await.unwrap().unwrap();
            text.push_str(std::str::from_utf8(&chunk[..length]).unwrap());
            assert!(text.starts_with("POST /done?n=1 HTTP/1.1\r\n"), "{text}");
            let (_, body) = text.split_once("\r\n\r\n").unwrap_or_default();
            if let Ok(callback) = serde_json::from_str(body) {
                return (stream, callback);
            }
        }
    }
}

async fn respond(mut stream: TcpStream, status: &str) {
    let answer = format!("HTTP/1.1 {status}\r\nContent-Length: 0\r\n\r\n");
    stream.write_all(answer.as_bytes()).await.unwrap();
}

async fn download(callback: &Value) -> Vec<String> {
    let answer = http().get(callback["url"].as_str().unwrap()).send().await.unwrap();
    assert_eq!(answer.status(), StatusCode::OK);
    assert_eq!(answer.headers()["content-type"], "text/csv; charset=utf-8");
    answer.text().await.unwrap().lines().map(str::to_owned).collect()
}

/// Reports three states, one second apart, and returns the time of the first.
async fn report_states(api: &Api<'_>) -> i64 {
    let start_ms = Timestamp::now().as_millisecond() - 10_000;
    let states = json!([
        {"time": start_ms, "data": {"temperature": 1.5, "message": "hot, \"very\""}},
        {"time": start_ms + 1000, "data": {"temperature": 2}},
        {"time": start_ms + 2000, "data": {"photo": "aGk="}},
    ]);
    assert_eq!(api.post(gateway(api.sandbox), "/state", &states).await.0, StatusCode::OK);
    start_ms
}

async fn sandbox() -> Sandbox {
    let mut device = DeviceSpec::new("d00000000000000000000001", "gateway", DeviceClass::Gateway);
    device.attributes = vec![
        Attribute::new("temperature", DataType::Number),
        Attribute::new("message", DataType::String),
        Attribute::new("photo", DataType::Blob),
    ];
    Sandbox::builder().devices(vec![device]).start().await.unwrap()
}

#[tokio::test]
async fn export_calls_back_and_has_a_row_per_state() {
    let sandbox = sandbox().await;
    let api = Api::application(&sandbox);
    let start_ms = report_states(&api).await;
    let server = CallbackServer::new().await;
    let path = format!("/export?callbackUrl={}", server.url());
    let call = api.call(Method::POST, gateway(&sandbox), &path).send().await.unwrap();
    assert_eq!(call.status(), StatusCode::OK);
    let (stream, callback) = server.receive().await;
    respond(stream, "204 No Content").await;
    assert_eq!((&callback["success"], &callback["rows"]), (&json!(true), &json!(3)));
    let rows = download(&callback).await;
    assert_eq!(rows[0], "ID,Timestamp,Date,temperature,message,photo");
    let date = Timestamp::from_millisecond(start_ms).unwrap();
    let expected =
        format!("d00000000000000000000001,{start_ms},{date:.3},1.5,\"hot, \"\"very\"\"\",");
    assert_eq!(rows[1], expected);
    assert_eq!(rows.len(), 4);
    let link = rows[3].rsplit(',').next().unwrap();
    let blob = http().get(link).send().await.unwrap().text().await.unwrap();
    assert_eq!(blob, "aGk=");
    until("the count", || sandbox.counters().callbacks_made == 1).await;
}

#[tokio::test]
async fn export_body_overrides_the_query() {
    let sandbox = sandbox().await;
    let api = Api::application(&sandbox);
    let start_ms = report_states(&api).await;
    let server = CallbackServer::new().await;
    let body = json!({
        "callbackUrl": server.url(),
        "attributes": ["temperature"],
        "start": start_ms + 500,
        "end": 0,
        "options": {"includeDate": false, "includeID": false},
    });
    let path = "/export?start=1&end=2&includeBlobData=true";
    assert_eq!(api.post(gateway(&sandbox), path, &body).await.0, StatusCode::OK);
    let (_, callback) = server.receive().await;
    let expected = ["Timestamp,temperature".to_owned(), format!("{},2", start_ms + 1000)];
    assert_eq!(download(&callback).await, expected);
}

#[tokio::test]
async fn export_includes_blobs_on_request() {
    let sandbox = sandbox().await;
    let api = Api::application(&sandbox);
    report_states(&api).await;
    let server = CallbackServer::new().await;
    let path = format!("/export?includeBlobData=true&callbackUrl={}", server.url());
    api.call(Method::POST, gateway(&sandbox), &path).send().await.unwrap();
    let (_, callback) = server.receive().await;
    assert!(download(&callback).await[3].ends_with(",aGk="));
}

#[tokio::test]
async fn device_has_one_export_at_a_time() {
    let sandbox = Sandbox::start().await.unwrap();
    let api = Api::application(&sandbox);
    let server = CallbackServer::new().await;
    let request = json!({"callbackUrl": server.url()});
    assert_eq!(api.post(gateway(&sandbox), "/export", &request).await.0, StatusCode::OK);
    let (stream, _) = server.receive().await;
    let second = api.post(gateway(&sandbox), "/export", &request).await;
    assert_eq!(second.0, StatusCode::TOO_MANY_REQUESTS);
    let other = &sandbox.devices()[1];
    assert_eq!(api.post(other, "/export", &json!({})).await.0, StatusCode::OK);
    respond(stream, "500 Oops").await;
    until("the end of the export", || sandbox.counters().callbacks_failed == 1).await;
    assert!(sandbox.counters().callback_error.unwrap().ends_with("answered 500"));
    assert_eq!(api.post(gateway(&sandbox), "/export", &json!({})).await.0, StatusCode::OK);
}

#[tokio::test]
async fn rejects_invalid_export_requests() {
    let sandbox = Sandbox::start().await.unwrap();
    let api = Api::application(&sandbox);
    for body in [
        json!({"start": "now"}),
        json!({"unknown": 1}),
        json!({"attributes": ["a b"]}),
        json!({"callbackUrl": "not a url"}),
        json!([]),
    ] {
        let answer = api.post(gateway(&sandbox), "/export", &body).await;
        assert_eq!(answer.0, StatusCode::BAD_REQUEST, "{body}");
    }
    let answer = api.call(Method::POST, gateway(&sandbox), "/export?start=x").send().await;
    assert_eq!(answer.unwrap().status(), StatusCode::BAD_REQUEST);
}

#[tokio::test]
async fn control_lists_exports_without_a_callback() {
    let sandbox = sandbox().await;
    let api = Api::application(&sandbox);
    report_states(&api).await;
    let request = json!({"email": "someone@example.com"});
    assert_eq!(api.post(gateway(&sandbox), "/export", &request).await.0, StatusCode::OK);
    let url = format!("{}/sandbox/exports", sandbox.url());
    let found = async || {
        let answer = http().get(&url).send().await.unwrap();
        answer.json::<Vec<String>>().await.unwrap().pop()
    };
    let deadline = Instant::now() + PATIENCE;
    let path = loop {
        if let Some(path) = found().await {
            break path;
        }
        assert!(Instant::now() < deadline, "the export did not finish");
    };
    let callback = json!({"url": format!("{}{path}", sandbox.url())});
    assert_eq!(download(&callback).await.len(), 4);
}

#[tokio::test]
async fn unknown_export_file_gets_404() {
    let sandbox = Sandbox::start().await.unwrap();
    let url = format!("{}/exports/nothing/data.csv", sandbox.url());
    assert_eq!(http().get(url).send().await.unwrap().status(), StatusCode::NOT_FOUND);
}
