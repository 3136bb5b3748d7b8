//! Compares the attributes that devices declare in Losant with those that the configuration
//! produces.
//!
//! Losant refuses or silently ignores values that do not match. The task compares after the start,
//! after each reload and once an hour, because attributes can also change in Losant. It logs each
//! mismatch when it starts and when all of a device's mismatches are gone.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tracing::{debug, info, warn};

use tidegate_ingest::mapping::{AttributeProblem, ProducedAttributes, check_attributes};
use tidegate_losant::Client;
use tidegate_losant::query::Shape;
use tidegate_model::{AttributeType, DeclaredAttributes, DeviceId};
use tidegate_runtime::liveness;
use tidegate_runtime::random;
use tidegate_timing::backoff::Backoff;

/// The first wait before a device that could not be read is read again.
const RETRY_WAIT_MIN: Duration = Duration::from_secs(5);

/// The longest wait before a device that could not be read is read again.
const RETRY_WAIT_MAX: Duration = Duration::from_secs(600);

/// The time between two comparisons, each of which makes one call per device.
const INTERVAL: Duration = Duration::from_secs(3_600);

/// The task that compares attributes.
pub struct AttributeCheckTask {
    /// The connection to Losant.
    pub client: Arc<Client>,
    /// The attributes that the configuration produces for each device. Each reload sends them
    /// again.
    pub produced: watch::Receiver<BTreeMap<DeviceId, ProducedAttributes>>,
    /// Stops the task.
    pub stop: CancellationToken,
}

impl AttributeCheckTask {
    /// Runs until it is stopped.
    pub async fn run(self) {
        let Self { client, mut produced, stop } = self;
        let mut logged = Logged::default();
        let compare = async {
            loop {
                let now = produced.borrow_and_update().clone();
                tokio::select! {
                    () = compare_all(&client, &now, &mut logged) => wait(&mut produced).await,
                    () = changed(&mut produced) => {}
                }
            }
        };
        stop.run_until_cancelled(compare).await;
    }
}

/// Waits for the next comparison.
async fn wait(produced: &mut watch::Receiver<BTreeMap<DeviceId, ProducedAttributes>>) {
    tokio::select! {
        () = tokio::time::sleep(INTERVAL) => {}
        () = changed(produced) => {}
    }
}

/// Waits for a reload; forever once the sender is dropped.
async fn changed(produced: &mut watch::Receiver<BTreeMap<DeviceId, ProducedAttributes>>) {
    if produced.changed().await.is_err() {
        std::future::pending::<()>().await;
    }
}

/// The mismatches of each device that were logged last.
type Logged = BTreeMap<DeviceId, Vec<AttributeProblem>>;

/// Compares all devices, and retries those that cannot be read.
async fn compare_all(
    client: &Client,
    produced: &BTreeMap<DeviceId, ProducedAttributes>,
    logged: &mut Logged,
) {
    let mut rng = random::seeded();
    let mut backoff = Backoff::new(RETRY_WAIT_MIN, RETRY_WAIT_MAX);
    logged.retain(|device, _| produced.contains_key(device));
    let mut left: Vec<_> = produced.iter().collect();
    while !left.is_empty() {
        let mut failed = Vec::new();
        for (device, produced) in left {
            match declared(client, *device).await {
                Ok(declared) => {
                    let found = check_attributes(&declared, produced);
                    log_changes(*device, found, logged.entry(*device).or_default());
                }
                Err(error) => {
                    debug!(%error, device_id = %device, "cannot read the device");
                    failed.push((device, produced));
                }
            }
        }
        left = failed;
        if !left.is_empty() {
            tokio::time::sleep(backoff.next_delay(&mut rng)).await;
        }
    }
}

/// Logs new mismatches, and the end of all mismatches.
fn log_changes(device: DeviceId, found: Vec<AttributeProblem>, logged: &mut Vec<AttributeProblem>) {
    for mismatch in found.iter().filter(|mismatch| !logged.contains(mismatch)) {
        warn!(device_id = %device, %mismatch, "attribute does not match the device in Losant");
    }
    if found.is_empty() && !logged.is_empty() {
        info!(device_id = %device, "all attributes match the device in Losant");
    }
    *logged = found;
}

/// Reads the attributes that a device declares in Losant.
async fn declared(
    client: &Client,
    device: DeviceId,
) -> Result<DeclaredAttributes, tidegate_losant::Error> {
    let shape = Shape { exclude_connection_info: true, ..Shape::default() };
    let request = client.get(device, shape).into_future();
    let device = liveness::with_deadline(liveness::CALL_MAX, "reading a device", request).await?;
    let typed = device
        .attributes
        .iter()
        .filter_map(|(name, word)| Some((name.parse().ok()?, AttributeType::named(word))));
    Ok(typed.collect())
}

#[cfg(test)]
mod tests {
    use tokio::time::Instant;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn compares_after_an_hour_or_a_reload() {
        let (sender, mut produced) = watch::channel(BTreeMap::new());
        let start = Instant::now();
        wait(&mut produced).await;
        assert_eq!(start.elapsed(), INTERVAL);
        sender.send_replace(BTreeMap::new());
        wait(&mut produced).await;
        assert_eq!(start.elapsed(), INTERVAL, "at once");
        drop(sender);
        wait(&mut produced).await;
        assert_eq!(start.elapsed(), 2 * INTERVAL);
    }
}
