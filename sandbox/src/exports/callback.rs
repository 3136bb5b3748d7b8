//! The one call that the sandbox makes: a POST of JSON over plain HTTP/1.1.

use std::io;
use std::time::Duration;

use axum::http::Uri;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;
use tokio::time::timeout;

/// Posts `body` to an `http` address; an error unless it is answered with a success.
pub(super) async fn post(url: &Uri, body: &str) -> io::Result<()> {
    if url.scheme_str() != Some("http") {
        return Err(io::Error::other("the sandbox calls http only"));
    }
    timeout(ANSWER_MAX, exchange(url, body)).await?
}

async fn exchange(url: &Uri, body: &str) -> io::Result<()> {
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
        Some(code) => Err(io::Error::other(format!("answered {code}"))),
        None => Err(io::ErrorKind::InvalidData.into()),
    }
}

/// From the connection to the status of the answer.
const ANSWER_MAX: Duration = Duration::from_secs(10);
/// `HTTP/1.1 200` and a reason.
const STATUS_LINE_BYTES_MAX: u64 = 1024;
