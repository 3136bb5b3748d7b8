//! The HTTP client and its session: credentials, a token, and its renewal.
//!
//! The session requests one token and keeps it until Losant rejects it or until most of its
//! lifetime is over. Requests for tokens are limited:
//! - One caller requests a token while the others wait. They share the result, even an error.
//! - Rejected credentials are not tried again for a minute or more.
//! - A new token that Losant rejects is not renewed for a minute or more.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use rand::rngs::StdRng;
use reqwest::Response;
use reqwest::header::{ACCEPT, CONTENT_TYPE, DATE, RETRY_AFTER};
use tokio::sync::{Mutex, Notify, watch};
use tokio::time::Instant;
use tracing::{info, warn};

use super::error::{AUTHENTICATE, Error, SetupError};
use super::request::Request;
use super::wire::{self, AuthedDevice, DeviceCredentials, ErrorBody};
use tidegate_config::{Cloud, CloudCredentials, Proxy, Secret};
use tidegate_delivery::response::{RequestKind, ResponseClass};
use tidegate_model::{ApplicationId, DeviceId, WallTime};
use tidegate_runtime::random;
use tidegate_timing::backoff::Backoff;

/// The header of server-sent events (WHATWG HTML, section 9.2.4).
const LAST_EVENT_ID: &str = "last-event-id";

/// The largest answer that is read, in bytes: a page of 1,000 commands of a usual size.
const ANSWER_BYTES_MAX: usize = 4 << 20;

/// The longest error message that is kept, in characters.
const MESSAGE_CHARS_MAX: usize = 200;

/// The first wait before rejected credentials are tried again.
const REJECTED_WAIT_MIN: Duration = Duration::from_secs(60);

/// The longest wait before rejected credentials are tried again.
const REJECTED_WAIT_MAX: Duration = Duration::from_secs(15 * 60);

/// The wait after any other failure. The callers wait longer, but there are many of them.
const FAILED_WAIT: Duration = Duration::from_secs(1);

/// The part of its lifetime after which a token is renewed.
const LIFE_TO_USE: f64 = 0.9;

/// A client of the Device API for one gateway. Share it behind an `Arc`.
#[derive(Debug)]
pub struct Client {
    http: reqwest::Client,
    cloud: Cloud,
    session: Mutex<Session>,
    is_reachable: AtomicBool,
    recovered: Notify,
    dates: watch::Sender<Option<AnswerDate>>,
    /// Why Losant rejects the credentials; `None` while it accepts them, or before the first call.
    rejection: watch::Sender<Option<String>>,
}

/// The date in an answer (RFC 9110, "Date").
#[derive(Debug, Clone, Copy)]
pub struct AnswerDate {
    /// When the call began.
    pub began: Instant,
    /// When the head of the answer arrived.
    pub ended: Instant,
    /// The date, in whole seconds.
    pub date: WallTime,
}

#[derive(Debug)]
struct Session {
    granted: Option<Granted>,
    /// The last rejection of the credentials.
    rejected: Option<Rejection>,
    /// The last failure, which callers that waited for the attempt share.
    failed: Option<Failure>,
    backoff: Backoff,
    rng: StdRng,
}

/// Why the credentials were rejected, and until when they are not tried again.
#[derive(Debug, Clone)]
struct Rejection {
    message: String,
    until: Instant,
}

/// How an attempt failed, and until when its error is the result of further attempts.
#[derive(Debug)]
struct Failure {
    error: Error,
    until: Instant,
}

/// The result of an authentication.
#[derive(Debug, Clone)]
pub(super) struct Granted {
    token: Secret,
    application: ApplicationId,
    /// When most of its lifetime is over.
    renew_at: Option<Instant>,
    /// Whether it replaces a token that Losant rejected.
    is_renewed: bool,
    /// Whether Losant has accepted it.
    is_accepted: Arc<AtomicBool>,
}

impl Granted {
    fn new(token: Secret, application: ApplicationId, renew_at: Option<Instant>) -> Self {
        Self { token, application, renew_at, is_renewed: false, is_accepted: Arc::default() }
    }

    /// Returns whether it replaces a rejected token and was not accepted yet either.
    fn is_renewed_in_vain(&self) -> bool {
        self.is_renewed && !self.is_accepted.load(Ordering::Relaxed)
    }
}

impl Client {
    /// Creates a client without connecting to Losant.
    ///
    /// # Errors
    /// Fails if the operating system provides no trusted certificates.
    pub fn new(cloud: Cloud) -> Result<Self, SetupError> {
        let http = http(&cloud)?;
        let granted = match (&cloud.credentials, cloud.application) {
            (CloudCredentials::Token(token), Some(application)) => {
                Some(Granted::new(token.clone(), application, None))
            }
            (CloudCredentials::Token(_) | CloudCredentials::AccessKey { .. }, _) => None,
        };
        let backoff = Backoff::new(REJECTED_WAIT_MIN, REJECTED_WAIT_MAX);
        let rng = random::seeded();
        let session = Mutex::new(Session { granted, rejected: None, failed: None, backoff, rng });
        let (is_reachable, recovered) = (AtomicBool::new(true), Notify::new());
        let (dates, rejection) = (watch::Sender::new(None), watch::Sender::new(None));
        Ok(Self { http, cloud, session, is_reachable, recovered, dates, rejection })
    }

    /// Returns the device id of the gateway.
    pub fn gateway(&self) -> DeviceId {
        self.cloud.device
    }

    /// Waits until a call is answered after an unanswered one. Retries may then start at once.
    pub async fn recovered(&self) {
        self.recovered.notified().await;
    }

    /// Returns the date of the last answer from an authenticated server or from this computer.
    pub fn dates(&self) -> watch::Receiver<Option<AnswerDate>> {
        self.dates.subscribe()
    }

    /// Returns why Losant rejects the credentials; `None` while it accepts them.
    pub fn rejection(&self) -> watch::Receiver<Option<String>> {
        self.rejection.subscribe()
    }

    /// Records why Losant rejects the credentials, or that it accepts them.
    fn record_rejection(&self, why: Option<&str>) {
        self.rejection.send_if_modified(|known| {
            let has_changed = known.as_deref() != why;
            if has_changed {
                *known = why.map(str::to_owned);
            }
            has_changed
        });
    }

    fn record_date(&self, response: &Response, began: Instant) {
        let is_authenticated = response.url().scheme() == "https"
            || matches!(response.url().host_str(), Some("127.0.0.1" | "[::1]" | "localhost"));
        let date = response.headers().get(DATE).and_then(|value| value.to_str().ok());
        let ended = Instant::now();
        if let Some(date) = date.and_then(wire::http_date).filter(|_| is_authenticated) {
            self.dates.send_replace(Some(AnswerDate { began, ended, date }));
        }
    }

    fn record_reachable(&self, is_reachable: bool) {
        let was_reachable = self.is_reachable.swap(is_reachable, Ordering::Relaxed);
        if is_reachable && !was_reachable {
            self.recovered.notify_waiters();
        }
    }

    /// Returns the interval of keep-alive comments on a stream.
    pub(super) fn keep_alive_interval(&self) -> Duration {
        self.cloud.keep_alive_interval
    }

    /// Makes a call and returns the status and body of its successful answer.
    ///
    /// Renews a rejected token once.
    pub(super) async fn call(&self, request: &Request) -> Result<(u16, Bytes), Error> {
        let action = request.name();
        let response = self.open(request, "application/json").await?;
        let status = response.status().as_u16();
        let read = tokio::time::timeout(self.cloud.request_timeout, read_body(response, action));
        let body = read.await.map_err(|_| timed_out(action))??;
        Ok((status, body))
    }

    /// Makes a call and returns its successful answer without reading the body.
    pub(super) async fn open(
        &self,
        request: &Request,
        accept: &'static str,
    ) -> Result<Response, Error> {
        let action = request.name();
        let granted = self.granted(None).await?;
        let response = self.send(request, accept, &granted).await?;
        if response.status().as_u16() != 401 {
            return self.checked(response, action).await;
        }
        let renewed = self.granted(Some(&granted)).await?;
        let response = self.send(request, accept, &renewed).await?;
        if response.status().as_u16() == 401 {
            self.suspend_renewal(&mut *self.session.lock().await);
        }
        self.checked(response, action).await
    }

    async fn send(
        &self,
        request: &Request,
        accept: &'static str,
        granted: &Granted,
    ) -> Result<Response, Error> {
        let action = request.name();
        let url = request.url(&self.cloud.url, &granted.application.to_string());
        let mut sending = self.http.request(request.method(), url).header(ACCEPT, accept);
        sending = sending.bearer_auth(granted.token.expose());
        if let Some(id) = request.event_id() {
            sending = sending.header(LAST_EVENT_ID, id);
        }
        if let Some(body) = request.json_body() {
            sending = sending.header(CONTENT_TYPE, "application/json").body(body.clone());
        }
        let began = Instant::now();
        let sent = tokio::time::timeout(self.cloud.request_timeout, sending.send()).await;
        if let Ok(Ok(response)) = &sent {
            self.record_date(response, began);
        }
        let is_accepted = matches!(&sent, Ok(Ok(response)) if response.status().as_u16() != 401);
        granted.is_accepted.fetch_or(is_accepted, Ordering::Relaxed);
        if is_accepted {
            self.record_rejection(None);
        }
        self.record_reachable(matches!(sent, Ok(Ok(_))));
        sent.map_err(|_| timed_out(action))?.map_err(|error| Error::no_answer(action, &error))
    }

    /// Returns the application of the credentials. Authenticates if it is not known yet.
    ///
    /// # Errors
    /// Fails if Losant cannot be reached or rejects the credentials.
    pub async fn application(&self) -> Result<ApplicationId, Error> {
        self.granted(None).await.map(|granted| granted.application)
    }

    /// Returns an answer with status 2xx. Turns any other one into an error with its message.
    async fn checked(&self, response: Response, action: &'static str) -> Result<Response, Error> {
        let status = response.status();
        if status.is_success() {
            return Ok(response);
        }
        if status.is_redirection() {
            let message =
                "redirects are not followed, because the token must not leave the host".to_owned();
            return Err(Error::NotLosant { action, status: status.as_u16(), message });
        }
        let retry_after =
            response.headers().get(RETRY_AFTER).and_then(|value| value.to_str().ok()?.parse().ok());
        let read = tokio::time::timeout(self.cloud.request_timeout, read_body(response, action));
        let body = read.await.ok().and_then(Result::ok).unwrap_or_default();
        let error: ErrorBody = serde_json::from_slice(&body).unwrap_or_default();
        let message = match (error.kind.as_str(), error.message.as_str()) {
            ("", "") if body.is_empty() => status.canonical_reason().unwrap_or_default().to_owned(),
            ("", "") => shorten(&String::from_utf8_lossy(&body)),
            (kind, message) => shorten(&format!("{kind}: {message}")),
        };
        let retry_after = retry_after.map(Duration::from_secs);
        Err(Error::Refused { action, status: status.as_u16(), message, retry_after })
    }

    /// Returns the current token. Renews it if it is due, or if it is the `rejected` one.
    async fn granted(&self, rejected: Option<&Granted>) -> Result<Granted, Error> {
        let mut session = self.session.lock().await;
        let is_rejected =
            |granted: &Granted| rejected.is_some_and(|other| other.token == granted.token);
        let held = session.granted.clone().filter(|granted| !is_rejected(granted));
        let is_due = |granted: &Granted| granted.renew_at.is_some_and(|at| at <= Instant::now());
        if let Some(granted) = held.as_ref().filter(|granted| !is_due(granted)) {
            return Ok(granted.clone());
        }
        // The token was renewed, and Losant rejects the new one too.
        let is_in_vain = rejected.is_some_and(Granted::is_renewed_in_vain);
        if is_in_vain && held.is_none() && session.rejected.is_none() {
            self.suspend_renewal(&mut session);
        }
        let requested = self.request_token(&mut session).await;
        match (requested, held) {
            (Ok(granted), _) => {
                let granted = Granted { is_renewed: rejected.is_some(), ..granted };
                session.granted = Some(granted.clone());
                Ok(granted)
            }
            // The held token is still valid for a while. A 401 shows when it is not.
            (Err(_), Some(held)) => {
                let held = Granted { renew_at: None, ..held };
                session.granted = Some(held.clone());
                Ok(held)
            }
            (Err(error), None) => Err(error),
        }
    }

    /// Requests a token unless an earlier failure forbids it, and records the result.
    async fn request_token(&self, session: &mut Session) -> Result<Granted, Error> {
        let CloudCredentials::AccessKey { key, secret } = &self.cloud.credentials else {
            let message =
                "Losant rejects the token, which cannot be renewed; write a new one to its file";
            self.record_rejection(Some(message));
            return Err(unauthorized(message));
        };
        let now = Instant::now();
        if let Some(Rejection { message, until }) = &session.rejected
            && *until > now
        {
            let (message, wait) = (message.clone(), until.saturating_duration_since(now));
            return Err(Error::Unauthenticated { message, wait });
        }
        if let Some(failure) = session.failed.as_ref().filter(|failure| failure.until > now) {
            return Err(failure.error.clone());
        }
        let answer = self.authenticate(key, secret).await;
        session.failed = answer
            .as_ref()
            .err()
            .map(|error| Failure { error: error.clone(), until: Instant::now() + FAILED_WAIT });
        session.granted = answer.as_ref().ok().cloned();
        match &answer {
            Ok(_) => {
                session.rejected = None;
                session.backoff.reset();
            }
            Err(error) => {
                let Session { backoff, rng, .. } = session;
                let response = ResponseClass::of(RequestKind::Token, &error.answer());
                let wait = match response {
                    ResponseClass::Unauthorized => {
                        self.record_rejection(Some(&error.to_string()));
                        backoff.next_delay(rng)
                    }
                    ResponseClass::Throttled(_) => response.wait_min(),
                    ResponseClass::Stored
                    | ResponseClass::TooLarge
                    | ResponseClass::Malformed
                    | ResponseClass::Blocked
                    | ResponseClass::ServerError(_)
                    | ResponseClass::Offline => return answer,
                };
                let (message, until) = (error.to_string(), Instant::now() + wait);
                session.rejected = Some(Rejection { message, until });
                let retry_s = wait.as_secs();
                warn!(%error, retry_s, "Losant rejects the credentials; check their file");
            }
        }
        answer
    }

    /// Suspends the renewal for a minute or more: Losant rejects a token that it has just issued.
    fn suspend_renewal(&self, session: &mut Session) {
        let Session { rejected, backoff, rng, .. } = session;
        let now = Instant::now();
        if rejected.as_ref().is_none_or(|rejection| rejection.until <= now) {
            let wait = backoff.next_delay(rng);
            warn!(retry_s = wait.as_secs(), "Losant rejects the token that it has just issued");
            let message = "401, also with a new token".to_owned();
            self.record_rejection(Some(&message));
            *rejected = Some(Rejection { message, until: now + wait });
        }
    }

    /// `POST /auth/device` (rest-api/auth).
    async fn authenticate(&self, key: &str, secret: &Secret) -> Result<Granted, Error> {
        let body = DeviceCredentials {
            device_id: self.cloud.device.to_string(),
            key,
            secret: secret.expose(),
            requested_scopes: &self.cloud.requested_scopes,
            token_ttl: self.cloud.token_ttl.map(|token_ttl| token_ttl.as_secs()),
        };
        let began = Instant::now();
        let url = format!("{}/auth/device", self.cloud.url);
        let request = self.http.post(url).header(ACCEPT, "application/json").json(&body);
        let request = request.timeout(self.cloud.request_timeout);
        let response =
            request.send().await.map_err(|error| Error::no_answer(AUTHENTICATE, &error))?;
        self.record_date(&response, began);
        let status = response.status().as_u16();
        let body = read_body(self.checked(response, AUTHENTICATE).await?, AUTHENTICATE).await?;
        let not_losant = |message: &str| Error::NotLosant {
            action: AUTHENTICATE,
            status,
            message: message.to_owned(),
        };
        let authed: AuthedDevice =
            serde_json::from_slice(&body).map_err(|_| not_losant("no token in the answer"))?;
        let application: ApplicationId = authed
            .application_id
            .parse()
            .map_err(|_| not_losant("no application id in the answer"))?;
        if let Some(expected) = self.cloud.application.filter(|expected| *expected != application) {
            return Err(Error::OtherApplication {
                expected: expected.to_string(),
                actual: application.to_string(),
            });
        }
        info!(application_id = %application, device_class = authed.device_class, "authenticated");
        let renew_at = self.cloud.token_ttl.map(|ttl| began + ttl.mul_f64(LIFE_TO_USE));
        Ok(Granted::new(Secret::from(authed.token), application, renew_at))
    }
}

/// Creates the HTTP client. It uses HTTP/2 if the server offers it in TLS, else HTTP/1.1.
fn http(cloud: &Cloud) -> Result<reqwest::Client, reqwest::Error> {
    let mut builder = reqwest::Client::builder()
        .user_agent(concat!("tidegate/", env!("CARGO_PKG_VERSION")))
        .connect_timeout(cloud.connect_timeout)
        .redirect(reqwest::redirect::Policy::none())
        .tcp_keepalive(Duration::from_secs(60));
    if let Some(pem) = &cloud.private_ca {
        builder = builder.tls_certs_merge(reqwest::Certificate::from_pem_bundle(pem)?);
    }
    if let Some(pem) = &cloud.client_certificate {
        builder = builder.identity(reqwest::Identity::from_pem(pem.expose().as_bytes())?);
    }
    builder = match &cloud.proxy {
        Proxy::Environment => builder,
        Proxy::None => builder.no_proxy(),
        Proxy::At(url) => builder.proxy(reqwest::Proxy::all(url)?),
    };
    builder.build()
}

fn unauthorized(message: &str) -> Error {
    Error::Refused {
        action: AUTHENTICATE,
        status: 401,
        message: message.to_owned(),
        retry_after: None,
    }
}

fn timed_out(action: &'static str) -> Error {
    Error::NoAnswer { action, cause: "timed out".to_owned(), may_have_arrived: true }
}

async fn read_body(mut response: Response, action: &'static str) -> Result<Bytes, Error> {
    let mut body = BytesMut::new();
    let status = response.status().as_u16();
    while let Some(chunk) =
        response.chunk().await.map_err(|error| Error::no_answer(action, &error))?
    {
        if body.len() + chunk.len() > ANSWER_BYTES_MAX {
            let message = format!("more than {ANSWER_BYTES_MAX} bytes");
            return Err(Error::NotLosant { action, status, message });
        }
        body.extend_from_slice(&chunk);
    }
    Ok(body.freeze())
}

/// Returns the beginning of a text on one line, without control characters.
pub(super) fn shorten(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).take(MESSAGE_CHARS_MAX).collect()
}

#[cfg(test)]
mod tests;
