//! An HTTP endpoint for scripts and webhooks: `POST /push` or `POST /push/TOPIC` with a bearer
//! token and a JSON object, or a list of JSON objects, as the body.
//!
//! `200` is the acknowledgement: the messages are on the disk, or counted as rejected. After any
//! other answer, or none, the client must push again.

mod push;

use std::time::Duration;

use tokio::net::TcpListener;
use tracing::{info, warn};

use crate::{BusContext, BusDriver, BusTask, RECONNECT_DELAY_MAX, RECONNECT_DELAY_MIN, WriteQueue};
use tidegate_config::HttpBus;
use tidegate_model::io_problem;
use tidegate_runtime::http_server::{self, Limits};
use tidegate_runtime::random;
use tidegate_timing::backoff::Backoff;

impl BusDriver for HttpBus {
    fn describe(&self) -> String {
        format!("HTTP pushes to http://{}/push", self.listen)
    }

    fn task(&self, context: BusContext, _: WriteQueue) -> BusTask {
        let settings = self.clone();
        Box::pin(async move {
            tokio::select! {
                () = context.stopped() => {}
                () = run(&settings, &context) => {}
            }
        })
    }
}

/// Listens until it is dropped. A client whose connection is dropped pushes again.
async fn run(settings: &HttpBus, context: &BusContext) {
    let (bus, listen) = (&context.bus, settings.listen);
    let listener = open(settings, context).await;
    context.report_connected();
    info!(%bus, %listen, "listening for pushes");
    if !listen.ip().is_loopback() {
        warn!(%bus, %listen, "other computers can push; the token is not encrypted on the network");
    }
    let limits = Limits {
        connections_max: settings.connections_max,
        connection_timeout: Duration::from_secs(30),
        header_timeout: Duration::from_secs(5),
        headers_max: 100,
        buffer_bytes_max: 408 << 10,
    };
    http_server::serve(bus, listener, limits, |request| push::answer(request, settings, context))
        .await;
}

/// Opens the port. Retries while another program uses it.
async fn open(settings: &HttpBus, context: &BusContext) -> TcpListener {
    let mut rng = random::seeded();
    let mut backoff = Backoff::new(RECONNECT_DELAY_MIN, RECONNECT_DELAY_MAX);
    let mut problems = context.problems();
    let subject = settings.listen.to_string();
    loop {
        match TcpListener::bind(settings.listen).await {
            Ok(listener) => {
                problems.end(&subject);
                return listener;
            }
            Err(error) => {
                problems.begin(&subject, &format!("cannot listen: {}", io_problem(&error)));
            }
        }
        tokio::time::sleep(backoff.next_delay(&mut rng)).await;
    }
}
