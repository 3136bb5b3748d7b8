//! An HTTP endpoint that scripts and webhooks push to: `POST /push` or `POST /push/TOPIC`, with a bearer token and a JSON
//! object, or a list of them, as its body.
//!
//! `200` says that the readings are on the disk, or were counted as rejected: it is the acknowledgement. Anything else, or
//! no answer, says that they may not be, and that they should be pushed again.

mod answer;

use std::convert::Infallible;
use std::time::Duration;

use futures_util::StreamExt as _;
use futures_util::stream::FuturesUnordered;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};
use tracing::{debug, info, warn};

use super::{Feed, RECONNECT_WAIT};
use tidegate_config::HttpBus;
use tidegate_runtime::random;
use tidegate_timing::backoff::Backoff;

/// How long one connection, with its one request, may take.
const CONNECTION_TIMEOUT: Duration = Duration::from_secs(30);

/// How long the head of its request may take: one that says nothing must not keep others out for longer.
const HEAD_TIMEOUT: Duration = Duration::from_secs(5);

/// After an accept that failed, as when there are no file descriptors left.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// The task that listens.
pub struct HttpTask {
    /// Where, and for whom.
    pub settings: HttpBus,
    /// To the collector.
    pub feed: Feed,
}

impl HttpTask {
    /// Runs until it is stopped. A port that is taken is no fault: it is waited for.
    pub async fn run(self) {
        let listen = self.settings.listen;
        let mut rng = random::seeded();
        let mut backoff = Backoff::new(RECONNECT_WAIT.0, RECONNECT_WAIT.1);
        let mut troubles = self.feed.troubles();
        let listener = loop {
            match TcpListener::bind(listen).await {
                Ok(listener) => break listener,
                Err(error) => {
                    troubles.begin(&listen.to_string(), &format!("cannot listen: {error}"));
                }
            }
            if !self.feed.pause(backoff.next_delay(&mut rng)).await {
                return;
            }
        };
        self.feed.connected();
        info!(bus = %self.feed.bus(), %listen, "listening for pushes");
        if !listen.ip().is_loopback() {
            warn!(bus = %self.feed.bus(), %listen, "other computers can push, and see the token on its way");
        }
        self.serve(&listener).await;
    }

    /// A connection that is open at the stop is dropped: without an answer its client pushes again.
    async fn serve(&self, listener: &TcpListener) {
        let mut connections = FuturesUnordered::new();
        loop {
            let has_room = connections.len() < self.settings.connections_max;
            tokio::select! {
                () = self.feed.stopped() => return,
                accepted = listener.accept(), if has_room => match accepted {
                    Ok((stream, _)) => connections.push(self.connection(stream)),
                    Err(error) => {
                        debug!(bus = %self.feed.bus(), %error, "cannot accept a connection");
                        tokio::time::sleep(ACCEPT_PAUSE).await;
                    }
                },
                Some(()) = connections.next() => {}
            }
        }
    }

    async fn connection(&self, stream: TcpStream) {
        let answer = service_fn(async |request| {
            Ok::<_, Infallible>(answer::answer(request, &self.settings, &self.feed).await)
        });
        let connection = hyper::server::conn::http1::Builder::new()
            .timer(TokioTimer::new())
            .keep_alive(false)
            .header_read_timeout(HEAD_TIMEOUT)
            .serve_connection(TokioIo::new(stream), answer);
        match tokio::time::timeout(CONNECTION_TIMEOUT, connection).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => debug!(bus = %self.feed.bus(), %error, "a push broke off"),
            Err(_) => debug!(bus = %self.feed.bus(), "a push took too long"),
        }
    }
}
