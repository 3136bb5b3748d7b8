//! Real clients on a real socket.

use std::os::unix::fs::PermissionsExt as _;

use futures_util::stream;
use tempfile::TempDir;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::UnixStream;
use tokio::task::JoinHandle;

use bytes::Bytes;

use super::*;

struct Open {
    directory: TempDir,
    stop: CancellationToken,
    task: JoinHandle<()>,
}

impl Open {
    fn socket(&self) -> PathBuf {
        self.directory.path().join("run/s")
    }

    async fn connect(&self) -> UnixStream {
        UnixStream::connect(self.socket()).await.unwrap()
    }

    /// Sends bytes and returns the whole answer.
    async fn send(&self, request: &str) -> String {
        let mut stream = self.connect().await;
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut answer = Vec::new();
        // A request that the server did not read to its end causes an error after the answer.
        stream.read_to_end(&mut answer).await.ok();
        String::from_utf8(answer).unwrap()
    }

    async fn get(&self, path: &str) -> Result<Reply, Error> {
        ask(&self.socket(), Method::GET, path, "").await
    }
}

#[expect(clippy::disallowed_methods, reason = "a test may have a task of its own")]
fn open() -> Open {
    let directory = tempfile::tempdir().unwrap();
    let mut routes = Routes::default();
    routes.put(Method::GET, "/status", |_| async { Answer::json(&"well") });
    routes.put(Method::POST, "/echo", |request| async move {
        Answer::text("text/plain", String::from_utf8_lossy(&request.body).into_owned())
    });
    routes.put(Method::GET, "/many", |_| async {
        let chunks = (0..1000).map(|number| Bytes::from(format!("{number}\n")));
        Answer::stream("application/x-ndjson", stream::iter(chunks))
    });
    routes.put(Method::GET, "/never", |_| std::future::pending());
    let stop = CancellationToken::new();
    let server = ControlServer::open(&directory.path().join("run/s")).unwrap();
    let task = tokio::spawn(server.run(routes, stop.clone()));
    Open { directory, stop, task }
}

#[tokio::test]
async fn answers_a_request() {
    let open = open();
    let reply = open.get("/status?brief").await.unwrap();
    assert_eq!((reply.status, &*reply.body), (StatusCode::OK, &b"\"well\"\n"[..]));
    let reply = ask(&open.socket(), Method::POST, "/echo", "back").await.unwrap();
    assert_eq!(&*reply.body, b"back");
}

#[tokio::test]
async fn streams_arrive_whole() {
    let open = open();
    let body = open.get("/many").await.unwrap().body;
    assert_eq!(String::from_utf8_lossy(&body).lines().count(), 1000);
}

#[tokio::test]
async fn errors_are_json() {
    let open = open();
    let error = open.get("/stauts").await.unwrap_err().to_string();
    assert_eq!(
        error,
        "the daemon refused (404 Not Found): unknown path; try /metrics or, on the socket, /status"
    );
    let answer = open.send("DELETE /status HTTP/1.1\r\nHost: tidegate\r\n\r\n").await;
    assert!(answer.starts_with("HTTP/1.1 405 "), "{answer}");
    assert!(answer.contains("\r\nallow: GET\r\n"), "{answer}");
    assert!(answer.ends_with("{\"error\":\"use GET\"}\n"), "{answer}");
}

#[tokio::test]
async fn refuses_large_bodies() {
    let open = open();
    let error = ask(&open.socket(), Method::POST, "/echo", vec![b'x'; 600_000]).await.unwrap_err();
    let is_too_large =
        matches!(&error, Error::Refused { status: StatusCode::PAYLOAD_TOO_LARGE, .. });
    assert!(is_too_large, "{error}");
    let largest = vec![b'x'; 512 << 10];
    ask(&open.socket(), Method::POST, "/echo", largest).await.unwrap();
}

#[tokio::test]
async fn refuses_large_headers() {
    let open = open();
    let header = "x".repeat(20_000);
    let answer = open.send(&format!("GET /status HTTP/1.1\r\nX: {header}\r\n\r\n")).await;
    assert!(answer.starts_with("HTTP/1.1 431 "), "{answer}");
    let headers = "X: y\r\n".repeat(33);
    let answer = open.send(&format!("GET /status HTTP/1.1\r\n{headers}\r\n")).await;
    assert!(answer.starts_with("HTTP/1.1 431 "), "{answer}");
}

#[tokio::test(start_paused = true)]
async fn silent_clients_time_out_and_delay_no_others() {
    let open = open();
    let mut silent = open.connect().await;
    let mut waiting = open.connect().await;
    waiting.write_all(b"GET /never HTTP/1.1\r\n\r\n").await.unwrap();
    for answered in futures_util::future::join_all((0..10).map(|_| open.get("/status"))).await {
        answered.unwrap();
    }
    let mut rest = Vec::new();
    silent.read_to_end(&mut rest).await.unwrap();
    waiting.read_to_end(&mut rest).await.unwrap();
    assert_eq!(String::from_utf8_lossy(&rest), "");
}

#[tokio::test(start_paused = true)]
async fn connection_beyond_the_limit_waits() {
    let open = open();
    let mut taken = Vec::new();
    for _ in 0..LIMITS.connections_max {
        taken.push(open.connect().await);
    }
    open.get("/status").await.unwrap();
    assert_eq!(taken.len(), LIMITS.connections_max, "they are held until here");
}

#[tokio::test]
async fn socket_has_mode_0660_and_is_removed_at_stop() {
    let open = open();
    let mode = std::fs::metadata(open.socket()).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o660);
    let socket = open.socket();
    open.stop.cancel();
    open.task.await.unwrap();
    assert!(!socket.exists());
    drop(UnixListener::bind(&socket).unwrap());
    ControlServer::open(&socket).unwrap();
}
