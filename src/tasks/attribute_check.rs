//! Compares what the devices declare in Losant with what the configuration gives them: what does not fit would be refused, or
//! ignored without a word.
//!
//! After the start, with each reload, and once an hour, for attributes are changed in Losant, too. A mismatch is told when it is
//! found and when it is gone.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tracing::{debug, info, warn};

use tidegate_ingest::mapping::{
    AttributeProblem, AttributeType, ProducedAttributes, check_attributes,
};
use tidegate_losant::Client;
use tidegate_losant::query::Shape;
use tidegate_model::{AttributeName, DeviceId};
use tidegate_runtime::liveness;
use tidegate_runtime::random;
use tidegate_timing::backoff::Backoff;

/// The first and the longest wait before a device is asked again: nothing waits for the answer.
const RETRY_WAIT: (Duration, Duration) = (Duration::from_secs(5), Duration::from_secs(600));

/// Between two comparisons: a call for each device is nothing beside 30 in 15 s, and an hour of values that nobody sees is
/// soon enough told.
const INTERVAL: Duration = Duration::from_secs(3_600);

/// The task.
pub struct AttributeCheckTask {
    /// To the cloud.
    pub client: Arc<Client>,
    /// What the configuration gives to each device; sent anew with each reload.
    pub produced: watch::Receiver<BTreeMap<DeviceId, ProducedAttributes>>,
    /// Ends the task.
    pub stop: CancellationToken,
}

impl AttributeCheckTask {
    /// Runs until it is stopped.
    pub async fn run(self) {
        let Self { client, mut produced, stop } = self;
        let mut told = Told::default();
        let compare = async {
            loop {
                let now = produced.borrow_and_update().clone();
                tokio::select! {
                    () = compare_all(&client, &now, &mut told) => wait(&mut produced).await,
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

/// Waits for a reload; for ever when there will be none.
async fn changed(produced: &mut watch::Receiver<BTreeMap<DeviceId, ProducedAttributes>>) {
    if produced.changed().await.is_err() {
        std::future::pending::<()>().await;
    }
}

/// The mismatches that were told, by the device.
type Told = BTreeMap<DeviceId, Vec<AttributeProblem>>;

/// Asks for each device until all have answered; one that is refused holds up no other.
async fn compare_all(
    client: &Client,
    produced: &BTreeMap<DeviceId, ProducedAttributes>,
    told: &mut Told,
) {
    let mut rng = random::seeded();
    let mut backoff = Backoff::new(RETRY_WAIT.0, RETRY_WAIT.1);
    told.retain(|device, _| produced.contains_key(device));
    let mut left: Vec<_> = produced.iter().collect();
    while !left.is_empty() {
        let mut failed = Vec::new();
        for (device, produced) in left {
            match declared(client, *device).await {
                Ok(declared) => {
                    let found = check_attributes(&declared, produced);
                    tell(*device, found, told.entry(*device).or_default());
                }
                Err(error) => {
                    debug!(%error, device_id = %device, "could not read the device");
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

/// Tells what was not told before, and that all of that is gone.
fn tell(device: DeviceId, found: Vec<AttributeProblem>, told: &mut Vec<AttributeProblem>) {
    for mismatch in found.iter().filter(|mismatch| !told.contains(mismatch)) {
        warn!(device_id = %device, %mismatch, "the device does not take what the configuration gives it");
    }
    if found.is_empty() && !told.is_empty() {
        info!(device_id = %device, "the device takes what the configuration gives it");
    }
    *told = found;
}

async fn declared(
    client: &Client,
    device: DeviceId,
) -> Result<BTreeMap<AttributeName, AttributeType>, tidegate_losant::Error> {
    let shape = Shape { exclude_connection_info: true, ..Shape::default() };
    let asking = client.get(device, shape).into_future();
    let device = liveness::with_deadline(liveness::CALL_MAX, "asking for a device", asking).await?;
    let typed = device
        .attributes
        .iter()
        .filter_map(|(name, word)| Some((name.parse().ok()?, AttributeType::named(word)?)));
    Ok(typed.collect())
}

#[cfg(test)]
mod tests {
    use tokio::time::Instant;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn the_next_comparison_is_after_an_hour_or_with_a_reload() {
        let (sender, mut produced) = watch::channel(BTreeMap::new());
        let begin = Instant::now();
        wait(&mut produced).await;
        assert_eq!(begin.elapsed(), INTERVAL);
        sender.send_replace(BTreeMap::new());
        wait(&mut produced).await;
        assert_eq!(begin.elapsed(), INTERVAL, "at once");
        drop(sender);
        wait(&mut produced).await;
        assert_eq!(begin.elapsed(), 2 * INTERVAL);
    }
}
