//! Reports the connection status of the gateway to Losant: connected after the start, disconnected
//! after a clean stop.
//!
//! A device that uses the REST API has no session, so Losant cannot determine the status itself
//! (devices/overview). States never wait for a status.

mod rival;

use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tracing::{debug, info, warn};

use crate::status::StatusRegistry;
use rival::{Advice, RivalDetector};
use tidegate_delivery::response::ResponseClass;
use tidegate_losant::body::ConnectionStatus;
use tidegate_losant::query::Shape;
use tidegate_losant::{Client, DeviceDescription, Error, Success};
use tidegate_model::WallTime;
use tidegate_runtime::clock::{Clock as _, TrustedClock};
use tidegate_runtime::liveness;
use tidegate_runtime::random;
use tidegate_timing::backoff::Backoff;

/// The first wait before a failed report is repeated.
const RETRY_WAIT_MIN: Duration = Duration::from_secs(1);

/// The longest wait before a failed report is repeated.
const RETRY_WAIT_MAX: Duration = Duration::from_secs(300);

/// The first wait before the time is requested from Losant again.
const TIME_WAIT_MIN: Duration = Duration::from_secs(1);

/// The longest wait before the time is requested from Losant again.
const TIME_WAIT_MAX: Duration = Duration::from_secs(60);

/// The wait before the first report.
///
/// A daemon that crashes and restarts without a pause then makes no more than the 30 calls in 15 s
/// that Losant allows (rest-api/overview, "Throttles And Limits").
const FIRST_WAIT: Duration = Duration::from_millis(550);

/// How long a stop waits for the last report.
const DISCONNECT_TIMEOUT: Duration = Duration::from_secs(2);

/// The task that reports the connection status.
pub struct ConnectionStatusTask {
    /// The connection to Losant.
    pub client: Arc<Client>,
    /// Provides the times of the reports.
    pub clock: Arc<TrustedClock>,
    /// Receives that the cloud is online, before the first state is sent.
    pub status: StatusRegistry,
    /// Cancelled when the daemon starts to stop.
    pub stop: CancellationToken,
    /// Cancelled when the reporter has ended, so that the last states come before the last report.
    pub reported: CancellationToken,
}

impl ConnectionStatusTask {
    /// Runs until the disconnection is reported.
    pub async fn run(self) {
        let Some(connected_at) = self.stop.run_until_cancelled(self.wall_time()).await else {
            return;
        };
        let gateway = self.client.gateway();
        if self
            .stop
            .run_until_cancelled(
                self.report_until_accepted(ConnectionStatus::connected(connected_at)),
            )
            .await
            .is_none()
        {
            return;
        }
        if self.status.data().cloud.online != Some(true) {
            self.status.set_cloud_link(Some(true), "");
        }
        info!(device_id = %gateway, "reported the gateway as connected");
        self.stop.run_until_cancelled(self.watch_for_rivals()).await;
        self.reported.cancelled().await;
        let now = self.clock.wall_time().unwrap_or(connected_at);
        let status = ConnectionStatus::disconnected(connected_at, now, "shutdown");
        let reported = tokio::time::timeout(
            DISCONNECT_TIMEOUT,
            self.client.set_connection_status(gateway, &status),
        );
        match reported.await {
            Ok(Ok(Success)) => {
                info!(device_id = %gateway, "reported the gateway as disconnected");
            }
            Ok(Err(error)) => {
                warn!(%error, "cannot report the gateway as disconnected");
            }
            Err(_) => warn!("cannot report the gateway as disconnected in time"),
        }
    }

    /// Returns the time of day as soon as it is known.
    async fn wall_time(&self) -> WallTime {
        self.wait_for_time().await;
        loop {
            match self.clock.wall_time() {
                Some(time) => return time,
                None => tokio::time::sleep(TIME_WAIT_MIN).await,
            }
        }
    }

    /// Waits until the time of day is known, since each report has a time.
    ///
    /// Any answer of Losant has a date, so this requests the gateway device. Errors are retried:
    /// the certificate of the server may seem not valid yet because the clock here is wrong.
    async fn wait_for_time(&self) {
        let mut anchor = self.clock.anchor();
        let mut backoff = Backoff::new(TIME_WAIT_MIN, TIME_WAIT_MAX);
        let (mut rng, mut is_logged) = (random::seeded(), false);
        let shape = Shape { exclude_connection_info: true, ..Shape::default() };
        while anchor.borrow().is_none() {
            let request = self.client.get(self.client.gateway(), shape);
            let request =
                liveness::with_deadline(liveness::CALL_MAX, "requesting the time", request);
            let answer = tokio::select! {
                answer = request => answer,
                _ = anchor.wait_for(Option::is_some) => return,
            };
            if let Err(error) = answer {
                self.record_unreachable(&error);
                if !std::mem::replace(&mut is_logged, true) {
                    info!(%error, "cannot request the time of day from Losant; retrying");
                }
            }
            let delay = backoff.next_delay(&mut rng);
            tokio::select! {
                () = tokio::time::sleep(delay) => {}
                () = self.client.recovered() => {}
                _ = anchor.wait_for(Option::is_some) => return,
            }
        }
    }

    /// Reports a status, and retries until Losant accepts it.
    async fn report_until_accepted(&self, status: ConnectionStatus) {
        tokio::time::sleep(FIRST_WAIT).await;
        let mut rng = random::seeded();
        let mut backoff = Backoff::new(RETRY_WAIT_MIN, RETRY_WAIT_MAX);
        let mut last_error = String::new();
        let gateway = self.client.gateway();
        let report = || {
            let reporting = self.client.set_connection_status(gateway, &status);
            liveness::with_deadline(
                liveness::CALL_MAX,
                "reporting the connection \
                status",
                reporting,
            )
        };
        while let Err(error) = report().await {
            let text = error.to_string();
            if text == last_error {
                debug!(%error, "still cannot report the gateway as connected");
            } else {
                warn!(%error, "cannot report the gateway as connected; retrying");
                last_error = text;
            }
            let delay = backoff.next_delay(&mut rng);
            tokio::select! {
                () = tokio::time::sleep(delay) => {}
                () = self.client.recovered() => {}
            }
        }
    }

    /// Records that Losant cannot be reached, before the reporter makes its first call.
    fn record_unreachable(&self, error: &Error) {
        if error.response_class() == ResponseClass::Offline && !self.status.is_online() {
            self.status.set_cloud_link(Some(false), &error.to_string());
        }
    }

    /// Reads the connection log of the gateway again and again, and publishes whether another
    /// client reports for its device. Reports the gateway as connected again if that is due.
    async fn watch_for_rivals(&self) {
        let mut detector = RivalDetector::new(Instant::now());
        let mut is_class_checked = false;
        loop {
            if let Some(device) = self.read_gateway().await {
                if !std::mem::replace(&mut is_class_checked, true) {
                    self.check_class(&device);
                }
                let advice = device
                    .connection
                    .map_or(Advice::Wait, |entry| detector.handle_read(entry, Instant::now()));
                if advice == Advice::Report && self.report_again().await {
                    detector.handle_report(Instant::now());
                    continue;
                }
                self.publish_evidence(detector.evidence());
            }
            tokio::time::sleep(detector.read_interval(Instant::now())).await;
        }
    }

    async fn read_gateway(&self) -> Option<DeviceDescription> {
        let get = self.client.get(self.client.gateway(), Shape::default()).into_future();
        let get = liveness::with_deadline(liveness::CALL_MAX, "reading the gateway", get);
        get.await.inspect_err(|error| debug!(%error, "cannot read the gateway device")).ok()
    }

    /// Reports the gateway as connected because another client has reported. Returns whether
    /// Losant has accepted it.
    async fn report_again(&self) -> bool {
        let Some(now) = self.clock.wall_time() else { return false };
        let (gateway, status) = (self.client.gateway(), ConnectionStatus::connected(now));
        let report = self.client.set_connection_status(gateway, &status).into_future();
        let report =
            liveness::with_deadline(liveness::CALL_MAX, "reporting the connection status", report);
        let reported = report.await;
        if let Err(error) = &reported {
            debug!(%error, "cannot report the gateway as connected again");
        }
        reported.is_ok()
    }

    /// Publishes how it shows that another client reports for the device. Logs each change.
    fn publish_evidence(&self, evidence: Option<String>) {
        let device_id = self.client.gateway();
        let mut data = self.status.data();
        match (&data.cloud.device_id_shared, &evidence) {
            (None, Some(evidence)) => warn!(%device_id, evidence, "device id is used twice"),
            (Some(_), None) => info!(%device_id, "no other client uses the device id"),
            (Some(_), Some(_)) | (None, None) => {}
        }
        data.cloud.device_id_shared = evidence;
    }

    /// Warns if the device is not a gateway.
    ///
    /// Losant then accepts no states for its peripherals (devices/gateways-peripherals).
    fn check_class(&self, device: &DeviceDescription) {
        let class = &device.device_class;
        if !matches!(class.as_str(), "gateway" | "edgeCompute" | "") {
            let gateway = self.client.gateway();
            warn!(device_id = %gateway, class, "device is not a gateway; Losant refuses states of \
                its peripherals");
        }
    }
}
