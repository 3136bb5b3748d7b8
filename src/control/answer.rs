//! Answers a request of the control server from the routes.

use hyper::body::Incoming;
use hyper::header::{ALLOW, CACHE_CONTROL, CONTENT_TYPE, HeaderValue};
use hyper::{Response, StatusCode};

use super::routes::{Answer, Audience, Body, Request, RouteError, Routes};
use tidegate_runtime::http_server::{BodyError, read_body};

/// The most bytes of a request's body.
const BODY_BYTES_MAX: usize = 512 << 10;

/// Answers one request. An error becomes a JSON document.
pub(super) async fn answer(
    request: hyper::Request<Incoming>,
    routes: &Routes,
    audience: Audience,
) -> Response<Body> {
    route(request, routes, audience).await.unwrap_or_else(|error| error_response(&error))
}

/// Why a request has no answer from a route.
#[derive(Debug, thiserror::Error)]
enum RequestError {
    #[error("unknown path; try /metrics or, on the socket, /status")]
    NotFound,
    #[error("use {0}")]
    WrongMethod(String),
    #[error(transparent)]
    Body(#[from] BodyError),
}

async fn route(
    request: hyper::Request<Incoming>,
    routes: &Routes,
    audience: Audience,
) -> Result<Response<Body>, RequestError> {
    let (head, body) = request.into_parts();
    let found = routes.find(audience, &head.method, head.uri.path());
    let handler = found.map_err(|error| match error {
        RouteError::NotFound => RequestError::NotFound,
        RouteError::WrongMethod(methods) => RequestError::WrongMethod(methods),
    })?;
    let body = read_body(body, BODY_BYTES_MAX).await?;
    let query = head.uri.query().unwrap_or_default().to_owned();
    Ok(response(handler(Request { query, body }).await))
}

fn response(answer: Answer) -> Response<Body> {
    let mut response = Response::new(answer.body);
    *response.status_mut() = answer.status;
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(answer.content_type));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

fn error_response(error: &RequestError) -> Response<Body> {
    let status = match error {
        RequestError::NotFound => StatusCode::NOT_FOUND,
        RequestError::WrongMethod(_) => StatusCode::METHOD_NOT_ALLOWED,
        RequestError::Body(BodyError::TooLarge { .. }) => StatusCode::PAYLOAD_TOO_LARGE,
        RequestError::Body(BodyError::Incomplete) => StatusCode::BAD_REQUEST,
    };
    let mut response = response(Answer::error(status, error));
    if let RequestError::WrongMethod(methods) = error
        && let Ok(methods) = HeaderValue::from_str(methods)
    {
        response.headers_mut().insert(ALLOW, methods);
    }
    response
}
