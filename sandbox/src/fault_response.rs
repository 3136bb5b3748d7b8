//! The responses of injected [`Fault`](crate::Fault)s.

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

/// Returns a response with this status, these headers and this body.
pub(crate) fn custom(status: u16, headers: &[(String, String)], body: String) -> Response {
    let status = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let is_json = serde_json::from_str::<Value>(&body).is_ok();
    let content_type = if is_json { "application/json" } else { "text/html" };
    let mut response = if body.is_empty() {
        status.into_response()
    } else {
        (status, [(header::CONTENT_TYPE, content_type)], body).into_response()
    };
    for (name, value) in headers {
        if let (Ok(name), Ok(value)) = (HeaderName::try_from(name), HeaderValue::try_from(value)) {
            response.headers_mut().insert(name, value);
        }
    }
    response
}

/// Returns the sign-in page of a captive portal.
pub(crate) fn captive_portal() -> Response {
    Html(PORTAL).into_response()
}

/// Replaces the content type of a response.
pub(crate) fn with_content_type(mut response: Response, media_type: &str) -> Response {
    if let Ok(media_type) = HeaderValue::try_from(media_type) {
        response.headers_mut().insert(header::CONTENT_TYPE, media_type);
    }
    response
}

/// Splits the body of a response into pieces of 1 to 7 bytes.
pub(crate) fn split(response: Response, seed: u64) -> Response {
    in_pieces(response, Pieces::Random(Box::new(StdRng::seed_from_u64(seed))))
}

/// Sends the body of a response `bytes` at a time, with a pause before each piece.
pub(crate) fn slow(response: Response, bytes: usize, pause: Duration) -> Response {
    in_pieces(response, Pieces::Slow { bytes: bytes.max(1), pause })
}

/// The lengths of the pieces into which a body is split.
enum Pieces {
    Random(Box<StdRng>),
    Slow { bytes: usize, pause: Duration },
}

impl Pieces {
    /// Waits until the next piece is due and returns its length.
    async fn next_length(&mut self) -> usize {
        match self {
            Self::Random(rng) => {
                // Yielding lets hyper send the previous piece on its own.
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
    let rest = Rest { body: body.into_data_stream(), chunk: Bytes::new(), pieces };
    Response::from_parts(parts, Body::from_stream(stream::unfold(rest, Rest::next)))
}

/// The part of a body that is not sent yet.
struct Rest {
    body: BodyDataStream,
    chunk: Bytes,
    pieces: Pieces,
}

impl Rest {
    /// Returns the next piece, or `None` when the body is sent.
    async fn next(mut self) -> Option<(Result<Bytes, axum::Error>, Self)> {
        while self.chunk.is_empty() {
            match self.body.next().await? {
                Ok(chunk) => self.chunk = chunk,
                Err(error) => return Some((Err(error), self)),
            }
        }
        let length = self.pieces.next_length().await.min(self.chunk.len());
        let piece = self.chunk.split_to(length);
        Some((Ok(piece), self))
    }
}

/// Small enough to split most lines and many characters.
const PIECE_BYTES_MAX: usize = 7;

const PORTAL: &str = "<!DOCTYPE html><title>Welcome</title><h1>Welcome to the guest network</h1>\
    <form method=post>Room <input name=room><button>Sign in</button></form>\n";
