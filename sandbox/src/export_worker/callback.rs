//! The only call that the sandbox makes: a POST of JSON over plain HTTP/1.1.

use std::io;
use std::time::Duration;

use axum::http::Uri;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;
use tokio::time::timeout;

/// The reason why a callback failed.
#[derive(Debug, thiserror::Error)]
pub(super) enum CallbackError {
    /// The URL is not an `http` URL.
    #[error("the sandbox calls only http URLs")]
    Scheme,
    /// The server cannot be reached, or the connection broke.
    #[error(transparent)]
    Io(#[from] io::Error),
    /// The server did not respond within [`RESPONSE_MAX`].
    #[error("no response within {} s", RESPONSE_MAX.as_secs())]
    Timeout,
    /// The server responded with a status other than 2xx.
    #[error("the server answered {0}")]
    Status(u16),
    /// The response is not HTTP.
    #[error("the response is not HTTP")]
    Response,
}

/// Posts `body` to an `http` URL.
///
/// # Errors
///
/// Unless the server responds with a 2xx status within [`RESPONSE_MAX`].
pub(super) async fn post(url: &Uri, body: &str) -> Result<(), CallbackError> {
    if url.scheme_str() != Some("http") {
        return Err(CallbackError::Scheme);
    }
    timeout(RESPONSE_MAX, exchange(url, body)).await.unwrap_or(Err(CallbackError::Timeout))
}

async fn exchange(url: &Uri, body: &str) -> Result<(), CallbackError> {
    let host = url.host().unwrap_or_default();
    let path = url.path_and_query().map_or("/", |path| path.as_str());
    let authority = url.authority().map_or(host, |authority| authority.as_str());
    let address = (host.trim_matches(['[', ']']), url.port_u16().unwrap_or(80));
    let mut stream = TcpStream::connect(address).await?;
    let request = format!(
        "POST {path} HTTP/1.1\r\nHost: {authority}\r\nContent-Type: application/json\r\n\
         Content-Length: {}\r\nConnection: close\r\n\r\n{body}",
        body.len()
    );
    stream.write_all(request.as_bytes()).await?;
    let mut status = String::new();
    BufReader::new(stream.take(STATUS_LINE_BYTES_MAX)).read_line(&mut status).await?;
    let code = status.split(' ').nth(1).and_then(|code| code.parse::<u16>().ok());
    match code {
        Some(200..=299) => Ok(()),
        Some(code) => Err(CallbackError::Status(code)),
        None => Err(CallbackError::Response),
    }
}

/// Longest time from the connection to the status line of the response.
const RESPONSE_MAX: Duration = Duration::from_secs(10);
/// Enough for `HTTP/1.1 200` and a reason phrase.
const STATUS_LINE_BYTES_MAX: u64 = 1024;
