//! A small HTTP/1.1 server with bounds on everything: the control server and the HTTP bus use it.
//!
//! Each connection carries one request. All connections of a server run in the task that calls
//! [`serve`], so that their cost is bounded and dropping the future closes them.

use std::convert::Infallible;
use std::time::Duration;

use bytes::Bytes;
use futures_util::StreamExt as _;
use futures_util::stream::FuturesUnordered;
use http_body_util::{BodyExt as _, LengthLimitError, Limited};
use hyper::body::{Body, Incoming};
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_util::net::Listener;
use tracing::debug;

/// The pause after a failed accept, for example without free file descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// The bounds of a server.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// The most connections at a time. Further clients wait to be accepted.
    pub connections_max: usize,
    /// The longest time from accepting a connection to its end.
    pub connection_timeout: Duration,
    /// The longest time until a request's headers are complete, so that a silent client does not
    /// keep its place for longer.
    pub header_timeout: Duration,
    /// The most headers of a request.
    pub headers_max: usize,
    /// The bytes that are buffered for a connection, and so the largest header. At least 8 KiB.
    pub buffer_bytes_max: usize,
}

/// Why the body of a request cannot be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum BodyError {
    /// The body is larger than the bound.
    #[error("the body is larger than {bytes_max} bytes")]
    TooLarge {
        /// The bound.
        bytes_max: usize,
    },
    /// The client closed the connection within the body.
    #[error("the body is incomplete")]
    Incomplete,
}

/// Accepts connections and answers their requests, for ever. `name` is for the log.
pub async fn serve<B, F>(
    name: &str,
    mut listener: impl Listener<Io: Send + Unpin>,
    limits: Limits,
    answer: impl Fn(Request<Incoming>) -> F,
) where
    B: Body<Data: Send, Error: std::error::Error + Send + Sync + 'static> + 'static,
    F: Future<Output = Response<B>>,
{
    let mut connections = FuturesUnordered::new();
    loop {
        let has_room = connections.len() < limits.connections_max;
        tokio::select! {
            accepted = listener.accept(), if has_room => match accepted {
                Ok((stream, _)) => connections.push(connection(name, stream, limits, &answer)),
                Err(error) => {
                    debug!(server = name, %error, "cannot accept a connection; retrying");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
            },
            Some(()) = connections.next() => {}
        }
    }
}

/// Answers the request of one connection.
async fn connection<B, F>(
    name: &str,
    stream: impl AsyncRead + AsyncWrite + Unpin,
    limits: Limits,
    answer: &impl Fn(Request<Incoming>) -> F,
) where
    B: Body<Data: Send, Error: std::error::Error + Send + Sync + 'static> + 'static,
    F: Future<Output = Response<B>>,
{
    let service = service_fn(async |request| Ok::<_, Infallible>(answer(request).await));
    let connection = hyper::server::conn::http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(limits.header_timeout)
        .max_headers(limits.headers_max)
        .max_buf_size(limits.buffer_bytes_max)
        .keep_alive(false)
        .serve_connection(TokioIo::new(stream), service);
    match tokio::time::timeout(limits.connection_timeout, connection).await {
        Ok(Ok(())) => {}
        Ok(Err(error)) => debug!(server = name, %error, "request failed"),
        Err(_) => debug!(server = name, "request timed out"),
    }
}

/// Reads the body of a request, of at most `bytes_max`.
///
/// # Errors
/// If the body is larger or incomplete.
pub async fn read_body(body: Incoming, bytes_max: usize) -> Result<Bytes, BodyError> {
    match Limited::new(body, bytes_max).collect().await {
        Ok(body) => Ok(body.to_bytes()),
        Err(error) if error.is::<LengthLimitError>() => Err(BodyError::TooLarge { bytes_max }),
        Err(_) => Err(BodyError::Incomplete),
    }
}
