//! One connection with its one request, all of it bounded.

use std::convert::Infallible;
use std::time::Duration;

use http_body_util::{BodyExt as _, LengthLimitError, Limited};
use hyper::body::Incoming;
use hyper::header::{ALLOW, CACHE_CONTROL, CONTENT_TYPE, HeaderValue};
use hyper::service::service_fn;
use hyper::{Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite};
use tracing::debug;

use super::routes::{Answer, Audience, Body, Request, Routes, Stray};

/// How long a connection may take from its first byte to its last.
const CONNECTION_TIMEOUT: Duration = Duration::from_secs(60);

/// How long a client may take to say what it wants.
const HEADER_TIMEOUT: Duration = Duration::from_secs(5);

/// Headers of a request.
const HEADERS_MAX: usize = 32;

/// What hyper buffers of a connection, in bytes, and so the largest header; hyper's smallest is 8
/// KiB.
const BUFFER_BYTES_MAX: usize = 16 << 10;

/// The body of a request, in bytes.
const BODY_BYTES_MAX: usize = 512 << 10;

/// Answers one connection.
pub(super) async fn answer(
    stream: impl AsyncRead + AsyncWrite + Unpin,
    routes: &Routes,
    audience: Audience,
) {
    let service = service_fn(async |request| {
        let answer =
            route(request, routes, audience).await.unwrap_or_else(|refusal| refuse(&refusal));
        Ok::<_, Infallible>(answer)
    });
    let connection = hyper::server::conn::http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEADER_TIMEOUT)
        .max_headers(HEADERS_MAX)
        .max_buf_size(BUFFER_BYTES_MAX)
        .keep_alive(false)
        .serve_connection(TokioIo::new(stream), service);
    match tokio::time::timeout(CONNECTION_TIMEOUT, connection).await {
        Ok(Ok(())) => {}
        Ok(Err(error)) => debug!(%error, "a request broke off"),
        Err(_) => debug!("a request took too long"),
    }
}

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
enum Refusal {
    #[error("unknown path; try /metrics or, on the socket, /status")]
    NotFound,
    #[error("use {0}")]
    WrongMethod(String),
    #[error("the body is larger than {BODY_BYTES_MAX} bytes")]
    TooLarge,
    #[error("the body broke off")]
    BrokenOff,
}

async fn route(
    request: hyper::Request<Incoming>,
    routes: &Routes,
    audience: Audience,
) -> Result<Response<Body>, Refusal> {
    let (head, body) = request.into_parts();
    let found = routes.find(audience, &head.method, head.uri.path());
    let handler = found.map_err(|stray| match stray {
        Stray::NotFound => Refusal::NotFound,
        Stray::WrongMethod(methods) => Refusal::WrongMethod(methods),
    })?;
    let body = Limited::new(body, BODY_BYTES_MAX).collect().await.map_err(|error| {
        if error.is::<LengthLimitError>() { Refusal::TooLarge } else { Refusal::BrokenOff }
    })?;
    let query = head.uri.query().unwrap_or_default().to_owned();
    Ok(response(handler(Request { query, body: body.to_bytes() }).await))
}

fn response(answer: Answer) -> Response<Body> {
    let mut response = Response::new(answer.body);
    *response.status_mut() = answer.status;
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(answer.content_type));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

fn refuse(refusal: &Refusal) -> Response<Body> {
    let status = match refusal {
        Refusal::NotFound => StatusCode::NOT_FOUND,
        Refusal::WrongMethod(_) => StatusCode::METHOD_NOT_ALLOWED,
        Refusal::TooLarge => StatusCode::PAYLOAD_TOO_LARGE,
        Refusal::BrokenOff => StatusCode::BAD_REQUEST,
    };
    let mut response = response(Answer::error(status, refusal));
    if let Refusal::WrongMethod(methods) = refusal
        && let Ok(methods) = HeaderValue::from_str(methods)
    {
        response.headers_mut().insert(ALLOW, methods);
    }
    response
}
