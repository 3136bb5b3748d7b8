//! A small client for the tests, and waits with a time limit.

use std::time::Duration;

use jsonschema::Validator;
use reqwest::{Client, Method, RequestBuilder, Response, StatusCode};
use serde_json::{Value, json};
use tidegate_sandbox::{Device, Sandbox};
use tokio::time::{Instant, timeout};

/// The longest wait of any test.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

/// Returns an HTTP client that opens a connection for each call and does not retry.
pub(crate) fn http() -> Client {
    // An error means that another test installed it first.
    rustls::crypto::ring::default_provider().install_default().ok();
    Client::builder().pool_max_idle_per_host(0).timeout(PATIENCE).build().unwrap()
}

/// A client of a sandbox with a token.
pub(crate) struct Api<'a> {
    pub(crate) sandbox: &'a Sandbox,
    pub(crate) token: String,
    http: Client,
}

impl<'a> Api<'a> {
    /// Uses the application token.
    pub(crate) fn application(sandbox: &'a Sandbox) -> Self {
        Self { sandbox, token: sandbox.api_token().to_owned(), http: http() }
    }

    /// Uses a token of the gateway with the default scopes.
    pub(crate) async fn gateway(sandbox: &'a Sandbox) -> Self {
        Self::device(sandbox, gateway(sandbox), json!({})).await
    }

    /// Uses a device token, requested with these extra fields.
    pub(crate) async fn device(sandbox: &'a Sandbox, device: &Device, extra: Value) -> Self {
        let mut body = credentials(device);
        body.as_object_mut().unwrap().extend(extra.as_object().unwrap().clone());
        let authed = authenticate(sandbox, &body).await;
        assert_eq!(authed.status(), 200);
        let authed: Value = authed.json().await.unwrap();
        assert_valid("authedDevice", &authed);
        let token = authed["token"].as_str().unwrap().to_owned();
        Self { sandbox, token, http: http() }
    }

    /// Returns a call of a path below a device, without a body.
    pub(crate) fn call(&self, method: Method, device: &Device, tail: &str) -> RequestBuilder {
        let application = self.sandbox.application_id();
        let device = &device.device_id;
        let url =
            format!("{}/applications/{application}/devices/{device}{tail}", self.sandbox.url());
        self.http.request(method, url).bearer_auth(&self.token)
    }

    pub(crate) async fn get(&self, device: &Device, tail: &str) -> (StatusCode, Value) {
        parse(self.call(Method::GET, device, tail).send().await.unwrap()).await
    }

    pub(crate) async fn post(
        &self,
        device: &Device,
        tail: &str,
        body: &Value,
    ) -> (StatusCode, Value) {
        parse(self.call(Method::POST, device, tail).json(body).send().await.unwrap()).await
    }

    /// Opens a stream and reads its first keepalive.
    pub(crate) async fn stream(&self, device: &Device, tail: &str) -> Stream {
        let response = self.call(Method::GET, device, tail).send().await.unwrap();
        assert_eq!(response.status(), 200);
        assert_eq!(response.headers()["content-type"], "text/event-stream");
        let mut stream = Stream { response, text: String::new() };
        stream.read_past(":keepalive\n\n").await;
        stream
    }
}

async fn parse(response: Response) -> (StatusCode, Value) {
    (response.status(), response.json().await.unwrap())
}

pub(crate) async fn authenticate(sandbox: &Sandbox, body: &Value) -> Response {
    http().post(format!("{}/auth/device", sandbox.url())).json(body).send().await.unwrap()
}

pub(crate) fn credentials(device: &Device) -> Value {
    json!({"deviceId": device.device_id, "key": device.key, "secret": device.secret})
}

pub(crate) fn gateway(sandbox: &Sandbox) -> &Device {
    &sandbox.devices()[0]
}

pub(crate) fn peripheral(sandbox: &Sandbox) -> &Device {
    &sandbox.devices()[1]
}

/// An open stream.
pub(crate) struct Stream {
    response: Response,
    text: String,
}

impl Stream {
    /// Reads until `end` and returns the text before it.
    pub(crate) async fn read_past(&mut self, end: &str) -> String {
        loop {
            if let Some((before, after)) = self.text.split_once(end) {
                let before = before.to_owned();
                self.text = after.to_owned();
                return before;
            }
            let chunk = timeout(PATIENCE, self.response.chunk()).await.unwrap().unwrap();
            self.text.push_str(std::str::from_utf8(&chunk.expect("the stream ended")).unwrap());
        }
    }

    /// Reads to the end: returns `Ok` when the stream ended properly, `Err` when it broke off.
    pub(crate) async fn read_to_end(&mut self) -> Result<String, reqwest::Error> {
        while let Some(chunk) = timeout(PATIENCE, self.response.chunk()).await.unwrap()? {
            self.text.push_str(std::str::from_utf8(&chunk).unwrap());
        }
        Ok(self.text.clone())
    }
}

/// Waits until `condition` holds.
pub(crate) async fn until(what: &str, condition: impl Fn() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !condition() {
        assert!(Instant::now() < deadline, "{what} did not happen");
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
}

/// Validates a response against Losant's schema for it.
pub(crate) fn assert_valid(schema: &str, value: &Value) {
    let path = format!("{}/schemas/{schema}.json", env!("CARGO_MANIFEST_DIR"));
    let schema: Value = serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap();
    let validator: Validator = jsonschema::validator_for(&schema).unwrap();
    if let Err(error) = validator.validate(value) {
        panic!("{error} in {value}");
    }
}
