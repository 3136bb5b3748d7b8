//! The HTTP client and its session: who we are, a token, and its renewal.
//!
//! A token is asked for once and kept until the cloud no longer takes it, or until most of its life is over. Nothing makes a
//! storm of it: one caller asks while the others wait, and they share what it got, be it an error; and credentials that the
//! cloud refuses are not tried again for a minute or more, nor is a token renewed that it does not take although it is new.

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
use tidegate_delivery::reporter::THROTTLE_WAIT;
use tidegate_delivery::response::{Asked, ResponseClass};
use tidegate_model::{ApplicationId, DeviceId, WallTime};
use tidegate_runtime::random;
use tidegate_timing::backoff::Backoff;

/// Of server-sent events (WHATWG HTML, section 9.2.4).
const LAST_EVENT_ID: &str = "last-event-id";

/// The largest answer that is read, in bytes: a page of 1,000 commands of a usual size.
const ANSWER_BYTES_MAX: usize = 4 << 20;

/// The most that is kept of a server's words.
const MESSAGE_CHARS_MAX: usize = 200;

/// Between tries with credentials that were refused.
const REFUSED_WAIT: (Duration, Duration) = (Duration::from_secs(60), Duration::from_secs(15 * 60));

/// Between tries of any other kind; the callers' own waits are longer, but there are many callers.
const FAILED_WAIT: Duration = Duration::from_secs(1);

/// The part of a token's life after which it is renewed.
const LIFE_TO_USE: f64 = 0.9;

/// A client of the Device API for one gateway. Share it behind an `Arc`.
#[derive(Debug)]
pub struct Client {
    http: reqwest::Client,
    cloud: Cloud,
    session: Mutex<Session>,
    is_reachable: AtomicBool,
    recovered: Notify,
    dates: watch::Sender<Option<Heard>>,
}

/// A date that came with an answer (RFC 9110, "Date").
#[derive(Debug, Clone, Copy)]
pub struct Heard {
    /// When the call began.
    pub began: Instant,
    /// When the head of its answer was there.
    pub ended: Instant,
    /// The date, in whole seconds.
    pub date: WallTime,
}

#[derive(Debug)]
struct Session {
    granted: Option<Granted>,
    /// Why no token was given, and until when it is not asked for again.
    refused: Option<(String, Instant)>,
    /// How the last attempt failed and until when that is an answer, to those who waited for it, too.
    failed: Option<(Error, Instant)>,
    backoff: Backoff,
    rng: StdRng,
}

/// What an authentication gave.
#[derive(Debug, Clone)]
pub(super) struct Granted {
    token: Secret,
    application: ApplicationId,
    /// When most of its life is over.
    renew_at: Option<Instant>,
    /// Whether it was given in place of one that was not taken.
    is_renewed: bool,
    /// Whether the cloud has taken it.
    is_taken: Arc<AtomicBool>,
}

impl Granted {
    fn new(token: Secret, application: ApplicationId, renew_at: Option<Instant>) -> Self {
        Self { token, application, renew_at, is_renewed: false, is_taken: Arc::default() }
    }

    /// Given in place of one that was not taken, and not taken yet either.
    fn is_in_vain(&self) -> bool {
        self.is_renewed && !self.is_taken.load(Ordering::Relaxed)
    }
}

impl Client {
    /// A client that has not spoken to the cloud yet.
    ///
    /// # Errors
    /// When the operating system has no certificates to trust.
    pub fn new(cloud: Cloud) -> Result<Self, SetupError> {
        let http = http(&cloud)?;
        let granted = match (&cloud.credentials, cloud.application) {
            (CloudCredentials::Token(token), Some(application)) => {
                Some(Granted::new(token.clone(), application, None))
            }
            (CloudCredentials::Token(_) | CloudCredentials::AccessKey { .. }, _) => None,
        };
        let backoff = Backoff::new(REFUSED_WAIT.0, REFUSED_WAIT.1);
        let rng = random::seeded();
        let session = Mutex::new(Session { granted, refused: None, failed: None, backoff, rng });
        let (is_reachable, recovered) = (AtomicBool::new(true), Notify::new());
        let dates = watch::Sender::new(None);
        Ok(Self { http, cloud, session, is_reachable, recovered, dates })
    }

    /// The gateway device that this client is.
    pub fn gateway(&self) -> DeviceId {
        self.cloud.device
    }

    /// Waits until some call is answered after one was not: who waits for the cloud need not wait any longer.
    pub async fn recovered(&self) {
        self.recovered.notified().await;
    }

    /// The date of the last answer, from a cloud that proved who it is, or that is this computer.
    pub fn dates(&self) -> watch::Receiver<Option<Heard>> {
        self.dates.subscribe()
    }

    fn note_date(&self, response: &Response, began: Instant) {
        let is_proven = response.url().scheme() == "https"
            || matches!(response.url().host_str(), Some("127.0.0.1" | "[::1]" | "localhost"));
        let date = response.headers().get(DATE).and_then(|value| value.to_str().ok());
        let ended = Instant::now();
        if let Some(date) = date.and_then(wire::http_date).filter(|_| is_proven) {
            self.dates.send_replace(Some(Heard { began, ended, date }));
        }
    }

    fn note_reachable(&self, is_reachable: bool) {
        let was_reachable = self.is_reachable.swap(is_reachable, Ordering::Relaxed);
        if is_reachable && !was_reachable {
            self.recovered.notify_waiters();
        }
    }

    /// Between two signs of life on a stream.
    pub(super) fn keep_alive_interval(&self) -> Duration {
        self.cloud.keep_alive_interval
    }

    /// Makes a call and gives its successful answer with its status. A token that is no longer good is renewed once.
    pub(super) async fn call(&self, request: &Request) -> Result<(u16, Bytes), Error> {
        let action = request.action().name();
        let response = self.open(request, "application/json").await?;
        let status = response.status().as_u16();
        let read = tokio::time::timeout(self.cloud.request_timeout, read_body(response, action));
        let body = read.await.map_err(|_| timed_out(action))??;
        Ok((status, body))
    }

    /// Makes a call up to the head of its successful answer.
    pub(super) async fn open(
        &self,
        request: &Request,
        accept: &'static str,
    ) -> Result<Response, Error> {
        let action = request.action().name();
        let granted = self.granted(None).await?;
        let response = self.send(request, accept, &granted).await?;
        if response.status().as_u16() != 401 {
            return self.checked(response, action).await;
        }
        let renewed = self.granted(Some(&granted)).await?;
        let response = self.send(request, accept, &renewed).await?;
        if response.status().as_u16() == 401 {
            give_up_renewing(&mut *self.session.lock().await);
        }
        self.checked(response, action).await
    }

    async fn send(
        &self,
        request: &Request,
        accept: &'static str,
        granted: &Granted,
    ) -> Result<Response, Error> {
        let action = request.action().name();
        let url = request.url(&self.cloud.url, &granted.application.to_string());
        let mut sending = self.http.request(request.method(), url).header(ACCEPT, accept);
        sending = sending.bearer_auth(granted.token.expose());
        if let Some(id) = request.event_id() {
            sending = sending.header(LAST_EVENT_ID, id);
        }
        if let Some(body) = request.content() {
            sending = sending.header(CONTENT_TYPE, "application/json").body(body.clone());
        }
        let began = Instant::now();
        let sent = tokio::time::timeout(self.cloud.request_timeout, sending.send()).await;
        if let Ok(Ok(response)) = &sent {
            self.note_date(response, began);
        }
        let is_taken = matches!(&sent, Ok(Ok(response)) if response.status().as_u16() != 401);
        granted.is_taken.fetch_or(is_taken, Ordering::Relaxed);
        self.note_reachable(matches!(sent, Ok(Ok(_))));
        sent.map_err(|_| timed_out(action))?.map_err(|error| Error::no_answer(action, &error))
    }

    /// The application that the credentials belong to; asks the cloud if it is not known yet.
    ///
    /// # Errors
    /// When the cloud cannot be asked or refuses.
    pub async fn application(&self) -> Result<ApplicationId, Error> {
        self.granted(None).await.map(|granted| granted.application)
    }

    /// Lets a 2xx through and turns all else into an error with the server's words, if these come in time.
    async fn checked(&self, response: Response, action: &'static str) -> Result<Response, Error> {
        let status = response.status();
        if status.is_success() {
            return Ok(response);
        }
        if status.is_redirection() {
            let message = "it leads elsewhere, where no token is sent".to_owned();
            return Err(Error::NotLosant { action, status: status.as_u16(), message });
        }
        let retry_after =
            response.headers().get(RETRY_AFTER).and_then(|value| value.to_str().ok()?.parse().ok());
        let read = tokio::time::timeout(self.cloud.request_timeout, read_body(response, action));
        let body = read.await.ok().and_then(Result::ok).unwrap_or_default();
        let words: ErrorBody = serde_json::from_slice(&body).unwrap_or_default();
        let message = match (words.kind.as_str(), words.message.as_str()) {
            ("", "") if body.is_empty() => status.canonical_reason().unwrap_or_default().to_owned(),
            ("", "") => shorten(&String::from_utf8_lossy(&body)),
            (kind, message) => shorten(&format!("{kind}: {message}")),
        };
        let retry_after = retry_after.map(Duration::from_secs);
        Err(Error::Refused { action, status: status.as_u16(), message, retry_after })
    }

    /// The session's grant. `spent` is one that the cloud no longer takes.
    async fn granted(&self, spent: Option<&Granted>) -> Result<Granted, Error> {
        let mut session = self.session.lock().await;
        let is_spent = |granted: &Granted| spent.is_some_and(|spent| spent.token == granted.token);
        let held = session.granted.clone().filter(|granted| !is_spent(granted));
        let is_due = |granted: &Granted| granted.renew_at.is_some_and(|at| at <= Instant::now());
        if let Some(granted) = held.as_ref().filter(|granted| !is_due(granted)) {
            return Ok(granted.clone());
        }
        // Another call is about to find the same: the token was renewed, and the new one is not taken either.
        if spent.is_some_and(Granted::is_in_vain) && held.is_none() && session.refused.is_none() {
            give_up_renewing(&mut session);
        }
        let asked = self.ask(&mut session).await;
        match (asked, held) {
            (Ok(granted), _) => {
                let granted = Granted { is_renewed: spent.is_some(), ..granted };
                session.granted = Some(granted.clone());
                Ok(granted)
            }
            // It is still good for a while; when it no longer is, a 401 will tell.
            (Err(_), Some(held)) => {
                let held = Granted { renew_at: None, ..held };
                session.granted = Some(held.clone());
                Ok(held)
            }
            (Err(error), None) => Err(error),
        }
    }

    /// Asks for a token, if it is time to ask, and remembers how it went.
    async fn ask(&self, session: &mut Session) -> Result<Granted, Error> {
        let CloudCredentials::AccessKey { key, secret } = &self.cloud.credentials else {
            let message = "the token is not taken, and a token cannot be renewed; put a new one into its file";
            return Err(refused_by_401(message));
        };
        if let Some((message, until)) =
            session.refused.clone().filter(|(_, until)| *until > Instant::now())
        {
            let wait = until.saturating_duration_since(Instant::now());
            return Err(Error::Unauthenticated { message, wait });
        }
        if let Some((error, _)) =
            session.failed.as_ref().filter(|(_, until)| *until > Instant::now())
        {
            return Err(error.clone());
        }
        let asked = self.authenticate(key, secret).await;
        session.failed =
            asked.as_ref().err().map(|error| (error.clone(), Instant::now() + FAILED_WAIT));
        session.granted = asked.as_ref().ok().cloned();
        match &asked {
            Ok(_) => {
                session.refused = None;
                session.backoff.reset();
            }
            Err(error) => {
                let Session { backoff, rng, .. } = session;
                let wait = match ResponseClass::of(Asked::Token, &error.answer()) {
                    ResponseClass::Unauthorized => backoff.next_delay(rng),
                    ResponseClass::Throttled(wait) => {
                        wait.unwrap_or_default().clamp(THROTTLE_WAIT, REFUSED_WAIT.1)
                    }
                    ResponseClass::Stored
                    | ResponseClass::TooLarge
                    | ResponseClass::Malformed
                    | ResponseClass::Blocked
                    | ResponseClass::ServerError(_)
                    | ResponseClass::Offline => return asked,
                };
                session.refused = Some((error.to_string(), Instant::now() + wait));
                warn!(%error, retry_s = wait.as_secs(), "Losant refuses the credentials; check their file");
            }
        }
        asked
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
        let asked_at = Instant::now();
        let url = format!("{}/auth/device", self.cloud.url);
        let request = self.http.post(url).header(ACCEPT, "application/json").json(&body);
        let request = request.timeout(self.cloud.request_timeout);
        let response =
            request.send().await.map_err(|error| Error::no_answer(AUTHENTICATE, &error))?;
        self.note_date(&response, asked_at);
        let status = response.status().as_u16();
        let body = read_body(self.checked(response, AUTHENTICATE).await?, AUTHENTICATE).await?;
        let not_losant = |what: &str| Error::NotLosant {
            action: AUTHENTICATE,
            status,
            message: what.to_owned(),
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
        let renew_at = self.cloud.token_ttl.map(|ttl| asked_at + ttl.mul_f64(LIFE_TO_USE));
        Ok(Granted::new(Secret::from(authed.token), application, renew_at))
    }
}

/// A token was given and is not taken: another would not be either, so none is asked for in the next minute or more.
fn give_up_renewing(session: &mut Session) {
    let Session { refused, backoff, rng, .. } = session;
    let now = Instant::now();
    if refused.as_ref().is_none_or(|(_, until)| *until <= now) {
        let wait = backoff.next_delay(rng);
        warn!(retry_s = wait.as_secs(), "Losant does not take the token that it gave");
        *refused = Some(("401, also with a new token".to_owned(), now + wait));
    }
}

/// The connections: HTTP/2 where the other side offers it in TLS, else HTTP/1.1.
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

fn refused_by_401(message: &str) -> Error {
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

/// The first words of a text, on one line, without control characters.
pub(super) fn shorten(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).take(MESSAGE_CHARS_MAX).collect()
}

#[cfg(test)]
mod tests;
