//! The client of the socket: one request, one answer.

use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::header::HOST;
use hyper::{Method, Request, StatusCode};
use hyper_util::rt::TokioIo;
use tokio::net::UnixStream;

/// The longest wait for an answer; the limit of the server is the same.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(60);

/// The largest accepted answer, in bytes.
const ANSWER_BYTES_MAX: usize = 16 << 20;

/// The file with the names of groups (`group(5)`).
const GROUP_FILE: &str = "/etc/group";

/// An error of a request.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// No process listens on the socket.
    #[error("the daemon is not running (no answer at {}); try: systemctl status \
        tidegate", path.display())]
    NotRunning {
        /// The socket.
        path: PathBuf,
    },
    /// The user may not open the socket.
    #[error("no permission to connect to the daemon at {}: {cure}", path.display())]
    NoPermission {
        /// The socket.
        path: PathBuf,
        /// The cure, with the name of the group.
        cure: String,
    },
    /// The connection broke, or the answer is not HTTP.
    #[error("the daemon did not answer at {}", path.display())]
    Broken {
        /// The socket.
        path: PathBuf,
        /// The cause.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// The answer took too long.
    #[error("the daemon at {} did not answer in {ANSWER_TIMEOUT:?}", path.display())]
    TimedOut {
        /// The socket.
        path: PathBuf,
    },
    /// The daemon answered with an error.
    #[error("the daemon refused ({status}): {message}")]
    Refused {
        /// The HTTP status, 400 or more.
        status: StatusCode,
        /// The message of the daemon.
        message: String,
    },
}

/// An answer of the daemon.
#[derive(Debug)]
pub struct Reply {
    /// The HTTP status, below 400.
    pub status: StatusCode,
    /// The body, at most 16 MiB.
    pub body: Bytes,
}

/// Sends a request to the daemon at `socket`. The path may have a query.
///
/// # Errors
/// If there is no answer, or the answer is an error.
pub async fn ask(
    socket: &Path,
    method: Method,
    path: &str,
    body: impl Into<Bytes> + Send,
) -> Result<Reply, Error> {
    let stream = UnixStream::connect(socket).await.map_err(|error| unreachable(socket, error))?;
    let broken = |source| Error::Broken { path: socket.to_owned(), source };
    let request = Request::builder()
        .method(method)
        .uri(path)
        // HTTP requires the header; a socket has no name.
        .header(HOST, "tidegate")
        .body(Full::new(body.into()))
        .map_err(|error| broken(error.into()))?;
    let asked = tokio::time::timeout(ANSWER_TIMEOUT, exchange(stream, request)).await;
    let timed_out = |_| Error::TimedOut { path: socket.to_owned() };
    let Reply { status, body } = asked.map_err(timed_out)?.map_err(broken)?;
    if status.is_client_error() || status.is_server_error() {
        return Err(Error::Refused { status, message: message(&body) });
    }
    Ok(Reply { status, body })
}

async fn exchange(
    stream: UnixStream,
    request: Request<Full<Bytes>>,
) -> Result<Reply, Box<dyn std::error::Error + Send + Sync>> {
    let (mut sender, connection) =
        hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
    let answer = async {
        let response = sender.send_request(request).await?;
        let status = response.status();
        let body = Limited::new(response.into_body(), ANSWER_BYTES_MAX).collect().await?;
        Ok(Reply { status, body: body.to_bytes() })
    };
    tokio::pin!(answer, connection);
    tokio::select! {
        answer = &mut answer => answer,
        // The server may close after its answer, even before it has read the whole request.
        closed = &mut connection => match (answer.await, closed) {
            (Err(_), Err(error)) => Err(error.into()),
            (answer, _) => answer,
        }
    }
}

/// Returns the message in an error answer.
fn message(body: &[u8]) -> String {
    let document: Option<serde_json::Value> = serde_json::from_slice(body).ok();
    let error = document.as_ref().and_then(|document| document.get("error")?.as_str());
    error.map_or_else(|| String::from_utf8_lossy(body).trim().to_owned(), ToOwned::to_owned)
}

fn unreachable(socket: &Path, error: io::Error) -> Error {
    let path = socket.to_owned();
    let kind = error.kind();
    if matches!(kind, io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused) {
        Error::NotRunning { path }
    } else if kind == io::ErrorKind::PermissionDenied {
        Error::NoPermission { cure: cure(socket), path }
    } else {
        Error::Broken { path, source: error.into() }
    }
}

/// Returns how to get the permission. The group of the directory can be read even if the socket
/// cannot.
fn cure(socket: &Path) -> String {
    let seen = [Some(socket), socket.parent()].into_iter().flatten();
    let group = seen.filter_map(|path| std::fs::metadata(path).ok()).map(|seen| seen.gid()).next();
    match group {
        // Joining the group of root is no cure.
        None | Some(0) => "use sudo".to_owned(),
        Some(id) => {
            let groups = std::fs::read_to_string(GROUP_FILE).unwrap_or_default();
            let group = group_name(&groups, id).unwrap_or_else(|| id.to_string());
            format!(
                "use sudo, or join the group {group} (sudo adduser $USER {group}, then log in \
                 again)"
            )
        }
    }
}

/// Finds the name of a group in the text of `group(5)`.
fn group_name(groups: &str, id: u32) -> Option<String> {
    groups.lines().find_map(|line| {
        let mut fields = line.split(':');
        let name = fields.next()?;
        (fields.nth(1)?.parse() == Ok(id)).then(|| name.to_owned())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn group_name_comes_from_group_file() {
        let groups = "root:x:0:\ndialout:x:20:pi\ntidegate:x:995:\nbroken\n";
        assert_eq!(group_name(groups, 995).as_deref(), Some("tidegate"));
        assert_eq!(group_name(groups, 20).as_deref(), Some("dialout"));
        assert_eq!(group_name(groups, 7), None);
    }

    #[test]
    fn error_has_the_message_of_the_daemon() {
        assert_eq!(message(br#"{"error": "there is no such device"}"#), "there is no such device");
        assert_eq!(message(b"Bad Gateway\n"), "Bad Gateway");
    }

    #[tokio::test]
    async fn socket_without_daemon_is_not_running() {
        let directory = tempfile::tempdir().unwrap();
        let socket = directory.path().join("s");
        let asked = || ask(&socket, Method::GET, "/status", "");
        assert!(matches!(asked().await, Err(Error::NotRunning { .. })), "no file");
        drop(tokio::net::UnixListener::bind(&socket).unwrap());
        assert!(matches!(asked().await, Err(Error::NotRunning { .. })), "left behind by a crash");
    }
}
