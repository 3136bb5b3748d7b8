//! What one push is answered.

use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt as _, Full, LengthLimitError, Limited};
use hyper::body::Incoming;
use hyper::header::{ALLOW, AUTHORIZATION, CONTENT_TYPE, HeaderValue};
use hyper::{Method, Request, Response, StatusCode};
use serde_json::value::RawValue;
use subtle::ConstantTimeEq as _;
use tokio::sync::oneshot;

use crate::{Ack, Feed};
use tidegate_config::HttpBus;
use tidegate_model::Reason;
use tidegate_model::topic::check_topic;

/// Where pushes go to.
const PATH: &str = "/push";

/// What stands before the token.
const SCHEME: &[u8] = b"Bearer ";

/// Readings in one push: less than may wait for the collector, so that one client cannot fill its queue.
const READINGS_MAX: usize = 256;

/// How long a client waits for the disk. Behind it the outbox takes nothing, and the client should come again later.
const COMMIT_TIMEOUT: Duration = Duration::from_secs(15);

/// Why a push is not taken.
#[derive(Debug, thiserror::Error)]
enum Refusal {
    #[error("push to {PATH} or {PATH}/TOPIC")]
    NotFound,
    #[error("use POST")]
    NotPost,
    #[error("show the token: Authorization: Bearer …")]
    NotAuthorized,
    #[error("the path holds a wildcard, a control character, or a % that stands for none")]
    BadTopic,
    #[error("the body is too large")]
    TooLarge,
    #[error("the body broke off")]
    BrokenOff,
    #[error("the body is not a JSON object or a list of at most {READINGS_MAX} of them: {0}")]
    NotJson(String),
    #[error("the gateway's disk takes nothing now; push again later")]
    NotStored,
}

/// Takes a push, and answers when it is on the disk.
pub(super) async fn answer(
    request: Request<Incoming>,
    settings: &HttpBus,
    feed: &Feed,
) -> Response<Full<Bytes>> {
    let (status, text) = match take(request, settings, feed).await {
        Ok(readings) => (StatusCode::OK, format!("{{\"readings\":{readings}}}\n")),
        Err(refusal) => {
            let error = serde_json::Value::from(refusal.to_string());
            (refusal.status(), format!("{{\"error\":{error}}}\n"))
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

/// How many readings are on the disk.
async fn take(
    request: Request<Incoming>,
    settings: &HttpBus,
    feed: &Feed,
) -> Result<usize, Refusal> {
    authorize(&request, settings)?;
    let topic = topic(request.uri().path())?;
    if request.method() != Method::POST {
        return Err(Refusal::NotPost);
    }
    let body = Limited::new(request.into_body(), settings.body_bytes_max).collect().await;
    let body = body.map_err(|error| {
        if error.is::<LengthLimitError>() { Refusal::TooLarge } else { Refusal::BrokenOff }
    });
    let readings = body.and_then(|body| split(&body.to_bytes())).inspect_err(|refusal| {
        // What broke off on its way never arrived.
        match refusal {
            Refusal::TooLarge => feed.reject(Reason::TooLong),
            Refusal::NotJson(_) => feed.reject(Reason::Malformed),
            Refusal::NotFound
            | Refusal::NotPost
            | Refusal::NotAuthorized
            | Refusal::BadTopic
            | Refusal::BrokenOff
            | Refusal::NotStored => {}
        }
    })?;
    let count = readings.len();
    let acknowledged = deliver(readings, &topic, feed);
    match tokio::time::timeout(COMMIT_TIMEOUT, acknowledged).await {
        Ok(Ok(())) => Ok(count),
        Ok(Err(_)) | Err(_) => Err(Refusal::NotStored),
    }
}

/// Passes the readings on; ends when the last of them, and so all, are on the disk.
async fn deliver(
    readings: Vec<Bytes>,
    topic: &str,
    feed: &Feed,
) -> Result<(), oneshot::error::RecvError> {
    let (ack, acknowledged) = Ack::caller();
    let last = readings.len().saturating_sub(1);
    let mut ack = Some(ack);
    for (index, reading) in readings.into_iter().enumerate() {
        let ack = if index == last { ack.take() } else { None };
        feed.deliver(topic, reading, ack).await;
    }
    acknowledged.await
}

fn authorize(request: &Request<Incoming>, settings: &HttpBus) -> Result<(), Refusal> {
    let header = request.headers().get(AUTHORIZATION).map(HeaderValue::as_bytes);
    let shown = header.and_then(|value| {
        let (scheme, shown) = value.split_at_checked(SCHEME.len())?;
        // Its case does not matter (RFC 9110, section 11.1).
        scheme.eq_ignore_ascii_case(SCHEME).then_some(shown)
    });
    let shown = shown.unwrap_or_default();
    let wanted = settings.token.expose().as_bytes();
    if bool::from(shown.ct_eq(wanted)) { Ok(()) } else { Err(Refusal::NotAuthorized) }
}

/// The topic that a path names; empty for the bare one.
fn topic(path: &str) -> Result<String, Refusal> {
    let rest = path.strip_prefix(PATH).ok_or(Refusal::NotFound)?;
    match rest.strip_prefix('/') {
        Some("") => Ok(String::new()),
        Some(topic) => {
            decoded(topic).filter(|topic| check_topic(topic).is_ok()).ok_or(Refusal::BadTopic)
        }
        None if rest.is_empty() => Ok(String::new()),
        None => Err(Refusal::NotFound),
    }
}

/// A part of a URL with its `%20` and the like as what they stand for.
fn decoded(text: &str) -> Option<String> {
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

/// The objects of a body, each as it was written.
fn split(body: &Bytes) -> Result<Vec<Bytes>, Refusal> {
    let not_json = |error: serde_json::Error| Refusal::NotJson(error.to_string());
    let texts: Vec<&RawValue> = if body.trim_ascii_start().starts_with(b"[") {
        serde_json::from_slice(body).map_err(not_json)?
    } else {
        vec![serde_json::from_slice(body).map_err(not_json)?]
    };
    if texts.is_empty() || texts.len() > READINGS_MAX {
        return Err(Refusal::NotJson(format!("it has {} entries", texts.len())));
    }
    if let Some(at) = texts.iter().position(|text| !text.get().starts_with('{')) {
        return Err(Refusal::NotJson(format!("entry {at} is no object")));
    }
    Ok(texts.iter().map(|text| body.slice_ref(text.get().as_bytes())).collect())
}

impl Refusal {
    fn status(&self) -> StatusCode {
        match self {
            Self::NotFound => StatusCode::NOT_FOUND,
            Self::NotPost => StatusCode::METHOD_NOT_ALLOWED,
            Self::NotAuthorized => StatusCode::UNAUTHORIZED,
            Self::TooLarge => StatusCode::PAYLOAD_TOO_LARGE,
            Self::BadTopic | Self::BrokenOff | Self::NotJson(_) => StatusCode::BAD_REQUEST,
            Self::NotStored => StatusCode::SERVICE_UNAVAILABLE,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_body_is_an_object_or_a_list_of_objects_and_nothing_else() {
        let split = |body: &'static str| split(&Bytes::from_static(body.as_bytes()));
        assert_eq!(split(" {\"t\": 1.10}\n").unwrap(), ["{\"t\": 1.10}"]);
        assert_eq!(split("[{\"t\":1}, {\"t\":2}]").unwrap(), ["{\"t\":1}", "{\"t\":2}"]);
        for body in ["", "[]", "1", "[1]", "[[{}]]", "{", "{} {}", "[{},", "\"{}\"", "null"] {
            assert!(matches!(split(body), Err(Refusal::NotJson(_))), "{body} was taken");
        }
        let many = format!("[{}{{}}]", "{},".repeat(READINGS_MAX));
        assert!(super::split(&many.into()).is_err());
    }

    #[test]
    fn the_path_names_the_topic() {
        assert_eq!(topic("/push").unwrap(), "");
        assert_eq!(topic("/push/").unwrap(), "");
        assert_eq!(topic("/push/door/front").unwrap(), "door/front");
        assert_eq!(topic("/push/gr%C3%B6%c3%9fe/living%20room").unwrap(), "größe/living room");
        for path in
            ["/push/+", "/push/%2B", "/push/%", "/push/%2", "/push/%+1", "/push/%ff", "/push/%ö"]
        {
            assert!(matches!(topic(path), Err(Refusal::BadTopic)), "{path} was taken");
        }
        for path in ["/", "/pushy", "/other"] {
            assert!(matches!(topic(path), Err(Refusal::NotFound)), "{path} was found");
        }
    }
}
