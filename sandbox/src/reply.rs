//! What is answered: JSON of Losant's shapes, refusals as `{"type", "message"}`.

use axum::body::Body;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde_json::{Value, json};

use crate::builder::JobAnswer;

/// What a successful action answers.
#[derive(Debug)]
pub(crate) enum Reply {
    /// JSON, with Losant's name of its shape.
    Json(&'static str, Value),
    /// 202: a job was started, and this is its id.
    Enqueued(String),
    /// Server-sent events.
    Events(Body),
}

impl Reply {
    /// What export and removeData answer.
    pub(crate) fn started(answer: JobAnswer, job_id: String) -> Self {
        match answer {
            JobAnswer::Success => Self::success(),
            JobAnswer::Enqueued => Self::Enqueued(job_id),
        }
    }

    /// `{"success": true}`.
    pub(crate) fn success() -> Self {
        Self::Json("success", json!({"success": true}))
    }

    /// The HTTP response. With `links` every object carries the extra keys that Losant adds when a
    /// client asks for `_links=true`, as its official clients do.
    pub(crate) fn into_response(self, links: bool, path: &str) -> Response {
        match self {
            Self::Json(shape, mut value) => {
                if links {
                    decorate(&mut value, shape, path);
                }
                json_response(StatusCode::OK, &value)
            }
            Self::Enqueued(id) => {
                let mut value = json!({"jobQueued": true, "jobId": id, "success": true});
                if links {
                    decorate(&mut value, "jobEnqueuedResult", path);
                }
                json_response(StatusCode::ACCEPTED, &value)
            }
            Self::Events(body) => events_response(body),
        }
    }
}

fn decorate(value: &mut Value, shape: &str, path: &str) {
    if let Some(elements) = value.as_array_mut() {
        for element in elements {
            decorate(element, shape, path);
        }
    } else if let Some(object) = value.as_object_mut() {
        object.insert("_type".to_owned(), json!(shape));
        object.insert("_links".to_owned(), json!({"self": {"href": path}}));
    }
}

/// Why a call is not done.
#[derive(Debug)]
pub(crate) struct Refusal {
    pub(crate) status: StatusCode,
    kind: &'static str,
    message: String,
}

impl Refusal {
    fn new(status: StatusCode, kind: &'static str, message: impl Into<String>) -> Self {
        Self { status, kind, message: message.into() }
    }

    /// 400: the body, the query or the credentials are not well-formed.
    pub(crate) fn validation(message: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "Validation", message)
    }

    /// 401: no token, or not a valid one; or wrong credentials.
    pub(crate) fn unauthorized(message: impl Into<String>) -> Self {
        Self::new(StatusCode::UNAUTHORIZED, "Unauthorized", message)
    }

    /// 403, or the status chosen for it: the token is valid, but not for this.
    pub(crate) fn forbidden(status: u16, message: impl Into<String>) -> Self {
        let status = StatusCode::from_u16(status).unwrap_or(StatusCode::FORBIDDEN);
        let kind = if status == StatusCode::NOT_FOUND { "NotFound" } else { "Forbidden" };
        Self::new(status, kind, message)
    }

    /// 404: no such application or device.
    pub(crate) fn not_found(what: &str) -> Self {
        Self::new(StatusCode::NOT_FOUND, "NotFound", format!("{what} was not found"))
    }

    /// 405, for all that is not mapped, in the words of the live service.
    pub(crate) fn method_not_allowed(method: &str) -> Self {
        let message = format!("{method} is not allowed");
        Self::new(StatusCode::METHOD_NOT_ALLOWED, "MethodNotAllowed", message)
    }

    /// 413: the body is larger than the limit.
    pub(crate) fn too_large(bytes_max: usize) -> Self {
        let message = format!("body is larger than {bytes_max} bytes");
        Self::new(StatusCode::PAYLOAD_TOO_LARGE, "PayloadTooLarge", message)
    }

    /// 429, without `Retry-After`: Losant sends none (rest-api/overview).
    pub(crate) fn throttled(message: &str) -> Self {
        Self::new(StatusCode::TOO_MANY_REQUESTS, "TooManyRequests", message)
    }

    /// 503: the system gives no random numbers.
    pub(crate) fn no_randomness() -> Self {
        Self::unavailable("the system has no random numbers")
    }

    /// 503: the sandbox itself is at its limit.
    pub(crate) fn unavailable(message: impl Into<String>) -> Self {
        Self::new(StatusCode::SERVICE_UNAVAILABLE, "Unavailable", message)
    }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        json_response(self.status, &json!({"type": self.kind, "message": self.message}))
    }
}

/// A JSON answer.
pub(crate) fn json_response(status: StatusCode, value: &Value) -> Response {
    let json = HeaderValue::from_static("application/json; charset=utf-8");
    (status, [(header::CONTENT_TYPE, json)], value.to_string()).into_response()
}

/// An answer that goes on for as long as the body does.
pub(crate) fn events_response(body: Body) -> Response {
    let headers = [
        (header::CONTENT_TYPE, HeaderValue::from_static("text/event-stream")),
        (header::CACHE_CONTROL, HeaderValue::from_static("no-cache")),
    ];
    (headers, body).into_response()
}
