//! Answers as they should not be: [`Fault`](crate::Fault)s on their way out.

use std::time::Duration;

use axum::body::{Body, BodyDataStream, Bytes};
use axum::http::{HeaderName, HeaderValue, StatusCode, header};
use axum::response::{Html, IntoResponse, Response};
use futures_util::{StreamExt, stream};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use serde_json::Value;
use tokio::task;
use tokio::time::sleep;

/// An answer that no action made.
pub(crate) fn answer(status: u16, headers: &[(String, String)], body: String) -> Response {
    let status = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let is_json = serde_json::from_str::<Value>(&body).is_ok();
    let content_type = if is_json { "application/json" } else { "text/html" };
    let mut response = (status, [(header::CONTENT_TYPE, content_type)], body).into_response();
    for (name, value) in headers {
        if let (Ok(name), Ok(value)) = (HeaderName::try_from(name), HeaderValue::try_from(value)) {
            response.headers_mut().insert(name, value);
        }
    }
    response
}

/// What a network shows to those who have not signed in, whatever they asked for.
pub(crate) fn captive_portal() -> Response {
    Html(PORTAL).into_response()
}

/// The same answer, under another media type.
pub(crate) fn retyped(mut response: Response, media_type: &str) -> Response {
    if let Ok(media_type) = HeaderValue::try_from(media_type) {
        response.headers_mut().insert(header::CONTENT_TYPE, media_type);
    }
    response
}

/// The same answer, in pieces that break anywhere.
pub(crate) fn split(response: Response, seed: u64) -> Response {
    in_pieces(response, Pieces::Random(Box::new(StdRng::seed_from_u64(seed))))
}

/// The same answer, `bytes` at a time.
pub(crate) fn slow(response: Response, bytes: usize, pause: Duration) -> Response {
    in_pieces(response, Pieces::Slow { bytes: bytes.max(1), pause })
}

/// How a body is broken up.
enum Pieces {
    Random(Box<StdRng>),
    Slow { bytes: usize, pause: Duration },
}

impl Pieces {
    /// The length of the next piece, when it is due.
    async fn next(&mut self) -> usize {
        match self {
            Self::Random(rng) => {
                // What was sent before goes out on its own.
                task::yield_now().await;
                rng.random_range(1..=PIECE_BYTES_MAX)
            }
            Self::Slow { bytes, pause } => {
                sleep(*pause).await;
                *bytes
            }
        }
    }
}

fn in_pieces(response: Response, pieces: Pieces) -> Response {
    let (parts, body) = response.into_parts();
    let whole = (body.into_data_stream(), Bytes::new(), pieces);
    Response::from_parts(parts, Body::from_stream(stream::unfold(whole, next)))
}

type Whole = (BodyDataStream, Bytes, Pieces);

async fn next(
    (mut body, mut rest, mut pieces): Whole,
) -> Option<(Result<Bytes, axum::Error>, Whole)> {
    while rest.is_empty() {
        match body.next().await? {
            Ok(chunk) => rest = chunk,
            Err(error) => return Some((Err(error), (body, rest, pieces))),
        }
    }
    let length = pieces.next().await.min(rest.len());
    let piece = rest.split_to(length);
    Some((Ok(piece), (body, rest, pieces)))
}

/// Short enough to break most lines and many letters.
const PIECE_BYTES_MAX: usize = 7;

const PORTAL: &str = "<!DOCTYPE html><title>Welcome</title><h1>Welcome to the guest network</h1>\
    <form method=post>Room <input name=room><button>Sign in</button></form>\n";
