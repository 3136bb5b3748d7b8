//! Answers one push when its messages are on the disk.

use std::time::Duration;

use bytes::Bytes;
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::header::{ALLOW, AUTHORIZATION, CONTENT_TYPE, HeaderValue};
use hyper::{Method, Request, Response, StatusCode};
use serde_json::value::RawValue;
use subtle::ConstantTimeEq as _;
use tokio::sync::oneshot;

use crate::{Ack, BusContext};
use tidegate_config::HttpBus;
use tidegate_model::Reason;
use tidegate_model::topic::check_topic;
use tidegate_runtime::http_server::{BodyError, read_body};

/// The path of pushes.
const PATH: &str = "/push";

/// The scheme before the token.
const SCHEME: &[u8] = b"Bearer ";

/// The most messages in one push: fewer than the collector's queue takes, so that one client cannot
/// fill it.
const MESSAGES_MAX: usize = 256;

/// The longest time until the messages are on the disk. After that the client must push again.
const COMMIT_TIMEOUT: Duration = Duration::from_secs(15);

/// Why a push is refused.
#[derive(Debug, thiserror::Error)]
enum PushError {
    #[error("push to {PATH} or {PATH}/TOPIC")]
    NotFound,
    #[error("use POST")]
    NotPost,
    #[error("the token is missing or wrong; send the header Authorization: Bearer TOKEN")]
    NotAuthorized,
    #[error("the topic in the path has a wildcard, a control character or an invalid % escape")]
    BadTopic,
    #[error(transparent)]
    Body(#[from] BodyError),
    #[error("the body is not a JSON object or a list of at most {MESSAGES_MAX} of them: {0}")]
    NotJson(JsonError),
    #[error("the gateway cannot write to its disk now; push again later")]
    NotStored,
}

/// Why a body has no messages.
#[derive(Debug, thiserror::Error)]
enum JsonError {
    #[error(transparent)]
    Syntax(#[from] serde_json::Error),
    #[error("it has {0} entries")]
    Entries(usize),
    #[error("entry {0} is not an object")]
    NotObject(usize),
}

/// Answers a push when its messages are on the disk.
pub(super) async fn answer(
    request: Request<Incoming>,
    settings: &HttpBus,
    context: &BusContext,
) -> Response<Full<Bytes>> {
    let (status, text) = match store(request, settings, context).await {
        Ok(messages) => (StatusCode::OK, format!("{{\"messages\":{messages}}}\n")),
        Err(error) => {
            let status = error.status();
            let error = serde_json::Value::from(error.to_string());
            (status, format!("{{\"error\":{error}}}\n"))
        }
    };
    let mut response = Response::new(Full::from(text));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    if status == StatusCode::METHOD_NOT_ALLOWED {
        headers.insert(ALLOW, HeaderValue::from_static("POST"));
    }
    response
}

/// Stores the messages of a push and returns their number.
async fn store(
    request: Request<Incoming>,
    settings: &HttpBus,
    context: &BusContext,
) -> Result<usize, PushError> {
    authorize(&request, settings)?;
    let topic = topic(request.uri().path())?;
    if request.method() != Method::POST {
        return Err(PushError::NotPost);
    }
    let body = read_body(request.into_body(), settings.body_bytes_max).await;
    let messages = body.map_err(PushError::Body).and_then(|body| split(&body));
    let messages = messages.inspect_err(|error| match error {
        PushError::Body(BodyError::TooLarge { .. }) => context.reject(Reason::TooLong),
        PushError::NotJson(_) => context.reject(Reason::Malformed),
        // An incomplete body has not arrived, so it is not counted.
        PushError::Body(BodyError::Incomplete)
        | PushError::NotFound
        | PushError::NotPost
        | PushError::NotAuthorized
        | PushError::BadTopic
        | PushError::NotStored => {}
    })?;
    let count = messages.len();
    let acknowledged = deliver(messages, &topic, context);
    match tokio::time::timeout(COMMIT_TIMEOUT, acknowledged).await {
        Ok(Ok(())) => Ok(count),
        Ok(Err(_)) | Err(_) => Err(PushError::NotStored),
    }
}

/// Passes on the messages. Returns when the last of them, and so all, are on the disk.
async fn deliver(
    messages: Vec<Bytes>,
    topic: &str,
    context: &BusContext,
) -> Result<(), oneshot::error::RecvError> {
    let (ack, acknowledged) = Ack::caller();
    let last = messages.len().saturating_sub(1);
    let mut ack = Some(ack);
    for (index, message) in messages.into_iter().enumerate() {
        let ack = if index == last { ack.take() } else { None };
        context.deliver(topic, message, ack).await;
    }
    acknowledged.await
}

fn authorize(request: &Request<Incoming>, settings: &HttpBus) -> Result<(), PushError> {
    let header = request.headers().get(AUTHORIZATION).map(HeaderValue::as_bytes);
    let token = header.and_then(|value| {
        let (scheme, token) = value.split_at_checked(SCHEME.len())?;
        // The scheme is case-insensitive (RFC 9110, section 11.1).
        scheme.eq_ignore_ascii_case(SCHEME).then_some(token)
    });
    let token = token.unwrap_or_default();
    let expected = settings.token.expose().as_bytes();
    if bool::from(token.ct_eq(expected)) { Ok(()) } else { Err(PushError::NotAuthorized) }
}

/// Returns the topic in a path; empty without one.
fn topic(path: &str) -> Result<String, PushError> {
    let rest = path.strip_prefix(PATH).ok_or(PushError::NotFound)?;
    match rest.strip_prefix('/') {
        Some("") => Ok(String::new()),
        Some(topic) => percent_decode(topic)
            .filter(|topic| check_topic(topic).is_ok())
            .ok_or(PushError::BadTopic),
        None if rest.is_empty() => Ok(String::new()),
        None => Err(PushError::NotFound),
    }
}

/// Decodes `%20` and the like in a part of a URL.
fn percent_decode(text: &str) -> Option<String> {
    let mut parts = text.split('%');
    let mut bytes = parts.next()?.as_bytes().to_vec();
    for part in parts {
        let (digits, rest) = part.split_at_checked(2)?;
        let is_hex = digits.bytes().all(|byte| byte.is_ascii_hexdigit());
        bytes.push(u8::from_str_radix(digits, 16).ok().filter(|_| is_hex)?);
        bytes.extend_from_slice(rest.as_bytes());
    }
    String::from_utf8(bytes).ok()
}

/// Splits a body into its objects, without changing their text.
fn split(body: &Bytes) -> Result<Vec<Bytes>, PushError> {
    let not_json = |error: serde_json::Error| PushError::NotJson(error.into());
    let texts: Vec<&RawValue> = if body.trim_ascii_start().starts_with(b"[") {
        serde_json::from_slice(body).map_err(not_json)?
    } else {
        vec![serde_json::from_slice(body).map_err(not_json)?]
    };
    if texts.is_empty() || texts.len() > MESSAGES_MAX {
        return Err(PushError::NotJson(JsonError::Entries(texts.len())));
    }
    if let Some(at) = texts.iter().position(|text| !text.get().starts_with('{')) {
        return Err(PushError::NotJson(JsonError::NotObject(at)));
    }
    Ok(texts.iter().map(|text| body.slice_ref(text.get().as_bytes())).collect())
}

impl PushError {
    fn status(&self) -> StatusCode {
        match self {
            Self::NotFound => StatusCode::NOT_FOUND,
            Self::NotPost => StatusCode::METHOD_NOT_ALLOWED,
            Self::NotAuthorized => StatusCode::UNAUTHORIZED,
            Self::Body(BodyError::TooLarge { .. }) => StatusCode::PAYLOAD_TOO_LARGE,
            Self::Body(BodyError::Incomplete) | Self::BadTopic | Self::NotJson(_) => {
                StatusCode::BAD_REQUEST
            }
            Self::NotStored => StatusCode::SERVICE_UNAVAILABLE,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn accepts_only_an_object_or_a_list_of_objects() {
        let split = |body: &'static str| split(&Bytes::from_static(body.as_bytes()));
        assert_eq!(split(" {\"t\": 1.10}\n").unwrap(), ["{\"t\": 1.10}"]);
        assert_eq!(split("[{\"t\":1}, {\"t\":2}]").unwrap(), ["{\"t\":1}", "{\"t\":2}"]);
        for body in ["", "[]", "1", "[1]", "[[{}]]", "{", "{} {}", "[{},", "\"{}\"", "null"] {
            assert!(matches!(split(body), Err(PushError::NotJson(_))), "{body} was taken");
        }
        let many = format!("[{}{{}}]", "{},".repeat(MESSAGES_MAX));
        assert!(super::split(&many.into()).is_err());
    }

    #[test]
    fn path_contains_the_topic() {
        assert_eq!(topic("/push").unwrap(), "");
        assert_eq!(topic("/push/").unwrap(), "");
        assert_eq!(topic("/push/door/front").unwrap(), "door/front");
        assert_eq!(topic("/push/gr%C3%B6%c3%9fe/living%20room").unwrap(), "größe/living room");
        for path in
            ["/push/+", "/push/%2B", "/push/%", "/push/%2", "/push/%+1", "/push/%ff", "/push/%ö"]
        {
            assert!(matches!(topic(path), Err(PushError::BadTopic)), "{path} was taken");
        }
        for path in ["/", "/pushy", "/other"] {
            assert!(matches!(topic(path), Err(PushError::NotFound)), "{path} was found");
        }
    }
}
