//! Replies and errors as HTTP responses: JSON in Losant's shapes, errors as `{"type", "message"}`.

use axum::body::Body;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde_json::{Value, json};

use crate::settings::JobResponse;

/// The result of a successful action.
#[derive(Debug)]
pub(crate) enum Reply {
    /// 200 and a JSON value.
    Json {
        /// Losant's name for the shape of the value.
        shape: &'static str,
        /// The value.
        value: Value,
    },
    /// 201 and the JSON value of a new resource.
    Created {
        /// Losant's name for the shape of the value.
        shape: &'static str,
        /// The value.
        value: Value,
    },
    /// 202 and the id of a queued job.
    Enqueued(String),
    /// Server-sent events.
    Events(Body),
}

impl Reply {
    pub(crate) fn json(shape: &'static str, value: Value) -> Self {
        Self::Json { shape, value }
    }

    /// Returns the reply of export and removeData.
    pub(crate) fn job(response: JobResponse, job_id: String) -> Self {
        match response {
            JobResponse::Success => Self::success(),
            JobResponse::Enqueued => Self::Enqueued(job_id),
        }
    }

    /// Returns `{"success": true}`.
    pub(crate) fn success() -> Self {
        Self::json("success", json!({"success": true}))
    }

    /// Renders the HTTP response. With `links` each object has the keys that Losant adds for
    /// `_links=true`, which its official clients request.
    pub(crate) fn into_response(self, links: bool, path: &str) -> Response {
        match self {
            Self::Json { shape, mut value } => {
                if links {
                    add_links(&mut value, shape, path);
                }
                json_response(StatusCode::OK, &value)
            }
            Self::Created { shape, mut value } => {
                if links {
                    add_links(&mut value, shape, path);
                }
                json_response(StatusCode::CREATED, &value)
            }
            Self::Enqueued(id) => {
                let mut value = json!({"jobQueued": true, "jobId": id, "success": true});
                if links {
                    add_links(&mut value, "jobEnqueuedResult", path);
                }
                json_response(StatusCode::ACCEPTED, &value)
            }
            Self::Events(body) => events_response(body),
        }
    }
}

fn add_links(value: &mut Value, shape: &str, path: &str) {
    if let Some(elements) = value.as_array_mut() {
        for element in elements {
            add_links(element, shape, path);
        }
    } else if let Some(object) = value.as_object_mut() {
        object.insert("_type".to_owned(), json!(shape));
        object.insert("_links".to_owned(), json!({"self": {"href": path}}));
    }
}

/// The reason why a call was rejected.
#[derive(Debug)]
pub(crate) struct ApiError {
    status: StatusCode,
    kind: &'static str,
    message: String,
}

impl ApiError {
    fn new(status: StatusCode, kind: &'static str, message: impl Into<String>) -> Self {
        Self { status, kind, message: message.into() }
    }

    /// 400: the body, the query or the credentials are malformed.
    pub(crate) fn validation(message: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "Validation", message)
    }

    /// 401: the token is missing or invalid, or the credentials are wrong.
    pub(crate) fn unauthorized(message: impl Into<String>) -> Self {
        Self::new(StatusCode::UNAUTHORIZED, "Unauthorized", message)
    }

    /// 403, or the given status: the token is valid, but does not allow the call.
    pub(crate) fn forbidden(status: u16, message: impl Into<String>) -> Self {
        let status = StatusCode::from_u16(status).unwrap_or(StatusCode::FORBIDDEN);
        let kind = if status == StatusCode::NOT_FOUND { "NotFound" } else { "Forbidden" };
        Self::new(status, kind, message)
    }

    /// 404: `what` does not exist.
    pub(crate) fn not_found(what: &str) -> Self {
        Self::new(StatusCode::NOT_FOUND, "NotFound", format!("{what} was not found"))
    }

    /// 405: the method or the path is unknown. The message is that of the live service.
    pub(crate) fn method_not_allowed(method: &str) -> Self {
        let message = format!("{method} is not allowed");
        Self::new(StatusCode::METHOD_NOT_ALLOWED, "MethodNotAllowed", message)
    }

    /// 413: the body is larger than the limit.
    pub(crate) fn too_large(bytes_max: usize) -> Self {
        let message = format!("body is larger than {bytes_max} bytes");
        Self::new(StatusCode::PAYLOAD_TOO_LARGE, "PayloadTooLarge", message)
    }

    /// 429, without `Retry-After`, which Losant does not send (rest-api/overview).
    pub(crate) fn throttled(message: &str) -> Self {
        Self::new(StatusCode::TOO_MANY_REQUESTS, "TooManyRequests", message)
    }

    /// 503: the operating system provides no random numbers.
    pub(crate) fn no_randomness() -> Self {
        Self::unavailable("the operating system provides no random numbers")
    }

    /// 503: the sandbox has reached a limit of its own.
    pub(crate) fn unavailable(message: impl Into<String>) -> Self {
        Self::new(StatusCode::SERVICE_UNAVAILABLE, "Unavailable", message)
    }
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        json_response(self.status, &json!({"type": self.kind, "message": self.message}))
    }
}

/// Returns a JSON response.
pub(crate) fn json_response(status: StatusCode, value: &Value) -> Response {
    let json = HeaderValue::from_static("application/json; charset=utf-8");
    (status, [(header::CONTENT_TYPE, json)], value.to_string()).into_response()
}

/// Returns an event stream that lasts as long as the body.
pub(crate) fn events_response(body: Body) -> Response {
    let headers = [
        (header::CONTENT_TYPE, HeaderValue::from_static("text/event-stream")),
        (header::CACHE_CONTROL, HeaderValue::from_static("no-cache")),
    ];
    (headers, body).into_response()
}
