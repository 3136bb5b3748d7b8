//! Tells Losant that the gateway is connected, and at a clean stop that it is not.
//!
//! The platform knows only what it is told here: a device that talks REST has no session that it could watch
//! (devices/overview). A status never holds up a state.

use std::sync::Arc;
use std::time::Duration;

use tokio_util::sync::CancellationToken;
use tracing::{debug, info, warn};

use crate::status::StatusRegistry;
use tidegate_losant::body::ConnectionStatus;
use tidegate_losant::query::Shape;
use tidegate_losant::{Client, Success};
use tidegate_model::WallTime;
use tidegate_runtime::clock::{Clock as _, TrustedClock};
use tidegate_runtime::liveness;
use tidegate_runtime::random;
use tidegate_timing::backoff::Backoff;

/// The first and the longest wait before the connection is told again.
const RETRY_WAIT: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(300));

/// The first and the longest wait before the cloud is asked for the time again.
const TIME_WAIT: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(60));

/// A daemon that does not live so long tells nothing. So one that crashes and is started again without a pause does not tell
/// more often than Losant allows, 30 times in 15 s (rest-api/overview, "Throttles And Limits").
const FIRST_WAIT: Duration = Duration::from_millis(550);

/// How long a stop waits for the last word.
const FAREWELL_TIMEOUT: Duration = Duration::from_secs(2);

/// The presence task.
pub struct ConnectionStatusTask {
    /// To the cloud.
    pub client: Arc<Client>,
    /// The clock that gives the statuses their times.
    pub clock: Arc<TrustedClock>,
    /// Where it is told that the cloud is there, before the first state is sent.
    pub board: StatusRegistry,
    /// Cancelled when the daemon begins to stop.
    pub stop: CancellationToken,
    /// Cancelled when the reporter is done, so that the last states come before the last word.
    pub reported: CancellationToken,
}

impl ConnectionStatusTask {
    /// Runs until the last word is said.
    pub async fn run(self) {
        let Some(connected_at) = self.stop.run_until_cancelled(self.wall_time()).await else {
            return;
        };
        let gateway = self.client.gateway();
        if self
            .stop
            .run_until_cancelled(self.announce(ConnectionStatus::connected(connected_at)))
            .await
            .is_none()
        {
            return;
        }
        if self.board.data().cloud.online.is_none() {
            self.board.link(Some(true), "");
        }
        info!(device_id = %gateway, "told Losant that the gateway is connected");
        self.check_class().await;
        self.stop.cancelled().await;
        self.reported.cancelled().await;
        let now = self.clock.wall_time().unwrap_or(connected_at);
        let farewell = ConnectionStatus::disconnected(connected_at, now, "shutdown");
        let told = tokio::time::timeout(
            FAREWELL_TIMEOUT,
            self.client.set_connection_status(gateway, &farewell),
        );
        match told.await {
            Ok(Ok(Success)) => {
                info!(device_id = %gateway, "told Losant that the gateway is disconnected");
            }
            Ok(Err(error)) => {
                warn!(%error, "could not tell Losant that the gateway is disconnected");
            }
            Err(_) => warn!("could not tell Losant in time that the gateway is disconnected"),
        }
    }

    /// Returns the time of day as soon as it is known.
    async fn wall_time(&self) -> WallTime {
        self.wait_for_time().await;
        loop {
            match self.clock.wall_time() {
                Some(time) => return time,
                None => tokio::time::sleep(TIME_WAIT.0).await,
            }
        }
    }

    /// Nothing is told with a time that may be wrong. The date of any answer tells the time of day, so one is asked for; a
    /// certificate that is not valid yet is only a clock that is wrong.
    async fn wait_for_time(&self) {
        let mut learned = self.clock.anchor();
        let mut backoff = Backoff::new(TIME_WAIT.0, TIME_WAIT.1);
        let (mut rng, mut is_told) = (random::seeded(), false);
        let shape = Shape { exclude_connection_info: true, ..Shape::default() };
        while learned.borrow().is_none() {
            let asked = self.client.get(self.client.gateway(), shape);
            let asked = liveness::with_deadline(liveness::CALL_MAX, "asking for the time", asked);
            let asked = tokio::select! {
                asked = asked => asked,
                _ = learned.wait_for(Option::is_some) => return,
            };
            if let Err(error) = asked
                && !std::mem::replace(&mut is_told, true)
            {
                info!(%error, "waiting for the time of day; the cloud cannot be asked for it yet");
            }
            let delay = backoff.next_delay(&mut rng);
            tokio::select! {
                () = tokio::time::sleep(delay) => {}
                () = self.client.recovered() => {}
                _ = learned.wait_for(Option::is_some) => return,
            }
        }
    }

    async fn announce(&self, status: ConnectionStatus) {
        tokio::time::sleep(FIRST_WAIT).await;
        let mut rng = random::seeded();
        let mut backoff = Backoff::new(RETRY_WAIT.0, RETRY_WAIT.1);
        let mut told = String::new();
        let gateway = self.client.gateway();
        let tell = || {
            let telling = self.client.set_connection_status(gateway, &status);
            liveness::with_deadline(liveness::CALL_MAX, "telling the connection status", telling)
        };
        while let Err(error) = tell().await {
            let words = error.to_string();
            if words == told {
                debug!(%error, "still cannot tell Losant that the gateway is connected");
            } else {
                warn!(%error, "cannot tell Losant that the gateway is connected; trying again");
                told = words;
            }
            let delay = backoff.next_delay(&mut rng);
            tokio::select! {
                () = tokio::time::sleep(delay) => {}
                () = self.client.recovered() => {}
            }
        }
    }

    /// A device of another class may not report for peripherals (devices/gateways-peripherals).
    async fn check_class(&self) {
        let gateway = self.client.gateway();
        let shape = Shape { exclude_connection_info: true, ..Shape::default() };
        let get = self.client.get(gateway, shape).into_future();
        let got = self.stop.run_until_cancelled(get).await;
        match got {
            Some(Ok(device))
                if matches!(device.device_class.as_str(), "gateway" | "edgeCompute" | "") => {}
            Some(Ok(device)) => {
                let class = device.device_class;
                warn!(device_id = %gateway, class, "this device is no gateway: Losant takes nothing for peripherals");
            }
            Some(Err(error)) => debug!(%error, "could not read the gateway device"),
            None => {}
        }
    }
}
