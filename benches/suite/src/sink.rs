//! The sink: an HTTP server that accepts readings, and counts them by their sequence number.
//!
//! It answers the login, the device and the state calls of a Losant client, without a throttle and
//! without a check of the attributes. It accepts readings at every other path, too.

use std::convert::Infallible;
use std::net::{Ipv4Addr, SocketAddr};
use std::ops::Range;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use anyhow::Context as _;
use bytes::Bytes;
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::body::Incoming;
use hyper::header::{CONTENT_TYPE, HeaderValue};
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use serde_json::json;
use tokio::net::TcpListener;
use tokio::sync::Notify;
use tokio::task::JoinSet;
use tokio::time::Instant;

use crate::sequence::{self, Tally};

/// The id of the gateway in the configuration of tidegate.
const GATEWAY: &str = "575ecf887ae143cd83dc4a00";

/// The attributes of a message that are numbers.
const NUMBERS: [&str; 5] = ["seq", "temperature", "humidity", "pressure", "battery"];

/// The longest body that the sink reads, in bytes.
const BODY_BYTES_MAX: usize = 64 << 20;

/// The most connections at a time.
const CONNECTIONS_MAX: usize = 512;

/// The time for which a stream of commands stays open without an event.
const STREAM_TIME: Duration = Duration::from_secs(3_600);

/// A running sink. It ends when it is dropped.
pub(crate) struct Sink {
    address: SocketAddr,
    shared: Arc<Shared>,
}

struct Shared {
    tally: Mutex<Tally>,
    unique: Arc<AtomicU64>,
    is_away: AtomicBool,
    stop: Notify,
}

impl Drop for Sink {
    fn drop(&mut self) {
        self.shared.stop.notify_one();
    }
}

impl Sink {
    /// Starts a sink on a free local port.
    pub(crate) fn start() -> anyhow::Result<Self> {
        let listener = std::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0))
            .context("cannot listen for the sink")?;
        listener.set_nonblocking(true)?;
        let shared = Arc::new(Shared {
            tally: Mutex::new(Tally::new()),
            unique: Arc::default(),
            is_away: AtomicBool::new(false),
            stop: Notify::new(),
        });
        let sink = Self { address: listener.local_addr()?, shared: Arc::clone(&shared) };
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        thread::Builder::new()
            .name("sink".to_owned())
            .spawn(move || runtime.block_on(serve(listener, shared)))?;
        Ok(sink)
    }

    /// Returns the port.
    pub(crate) fn port(&self) -> u16 {
        self.address.port()
    }

    /// Answers 503 to every call from here on, or accepts calls again.
    pub(crate) fn set_away(&self, is_away: bool) {
        self.shared.is_away.store(is_away, Ordering::Relaxed);
    }

    /// Returns how many different readings arrived, without those of the warm-up.
    pub(crate) fn unique(&self) -> u64 {
        self.shared.unique.load(Ordering::Relaxed)
    }

    /// Returns the count of [`Sink::unique`], to follow it from another thread.
    pub(crate) fn progress(&self) -> Arc<AtomicU64> {
        Arc::clone(&self.shared.unique)
    }

    /// Waits until so many messages arrived, or until none came for `patience`.
    pub(crate) fn wait_for(&self, messages: u64, patience: Duration) {
        let (mut last, mut changed) = (self.unique(), Instant::now());
        while last < messages && changed.elapsed() < patience {
            thread::sleep(Duration::from_millis(20));
            let count = self.unique();
            if count != last {
                (last, changed) = (count, Instant::now());
            }
        }
    }

    /// Returns how many arrivals repeated a reading.
    pub(crate) fn twice(&self) -> u64 {
        self.shared.tally().twice()
    }

    /// Returns how many readings of a range did not arrive.
    pub(crate) fn missing(&self, range: Range<u64>) -> u64 {
        self.shared.tally().missing(range)
    }
}

impl Shared {
    fn tally(&self) -> std::sync::MutexGuard<'_, Tally> {
        self.tally.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn count(&self, body: &[u8]) {
        let mut tally = self.tally();
        sequence::in_body(body).for_each(|number| tally.add(number));
        self.unique.store(tally.unique(), Ordering::Relaxed);
    }
}

async fn serve(listener: std::net::TcpListener, shared: Arc<Shared>) {
    let Ok(listener) = TcpListener::from_std(listener) else { return };
    let mut connections = JoinSet::new();
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            () = shared.stop.notified() => return,
        };
        let Ok((stream, _)) = accepted else { continue };
        while connections.try_join_next().is_some() {}
        if connections.len() >= CONNECTIONS_MAX {
            continue;
        }
        let shared = Arc::clone(&shared);
        connections.spawn(async move {
            let service = service_fn(move |request| answer(request, Arc::clone(&shared)));
            // A peer that is killed breaks its connections; that is no error of the sink.
            let connection = hyper::server::conn::http1::Builder::new()
                .serve_connection(TokioIo::new(stream), service);
            connection.await.ok()
        });
    }
}

async fn answer(
    request: Request<Incoming>,
    shared: Arc<Shared>,
) -> Result<Response<Full<Bytes>>, Infallible> {
    let (head, body) = request.into_parts();
    let body = Limited::new(body, BODY_BYTES_MAX).collect().await;
    let Ok(body) = body.map(http_body_util::Collected::to_bytes) else {
        return Ok(reply(StatusCode::PAYLOAD_TOO_LARGE, "{}".to_owned()));
    };
    if shared.is_away.load(Ordering::Relaxed) {
        return Ok(reply(StatusCode::SERVICE_UNAVAILABLE, "{}".to_owned()));
    }
    let path = head.uri.path();
    let json = if path.ends_with("/auth/device") {
        login()
    } else if path.ends_with("/commandStream") {
        tokio::time::sleep(STREAM_TIME).await;
        String::new()
    } else if head.method == Method::GET && path.contains("/devices/") {
        device(path)
    } else {
        shared.count(&body);
        r#"{"success":true}"#.to_owned()
    };
    Ok(reply(StatusCode::OK, json))
}

fn login() -> String {
    let application = "575ec8687ae143cd83dc4a97";
    format!(r#"{{"applicationId":"{application}","token":"bench","deviceClass":"gateway"}}"#)
}

/// Describes a device that declares the attributes of all messages.
fn device(path: &str) -> String {
    let id = path.rsplit('/').next().unwrap_or_default();
    let class = if id == GATEWAY { "gateway" } else { "peripheral" };
    let types = [("status", "string")].into_iter().chain(NUMBERS.map(|name| (name, "number")));
    let attribute = |(name, data_type)| json!({ "name": name, "dataType": data_type });
    let attributes: Vec<_> = types.map(attribute).collect();
    let name = "bench";
    json!({ "deviceId": id, "name": name, "deviceClass": class, "attributes": attributes })
        .to_string()
}

fn reply(status: StatusCode, json: String) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(Bytes::from(json)));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}
