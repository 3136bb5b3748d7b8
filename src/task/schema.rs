//! Compares what the devices declare in Losant with what the configuration gives them, once after the start: what does not
//! fit would be refused, or ignored without a word.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use tokio_util::sync::CancellationToken;
use tracing::{debug, warn};

use crate::logic::backoff::Backoff;
use crate::logic::mapping::{AttributeType, Produced, mismatches};
use crate::losant::Client;
use crate::losant::query::Shape;
use crate::model::{AttributeName, DeviceId};
use crate::random;

/// The first and the longest wait before a device is asked again: nothing waits for the answer.
const RETRY_WAIT: (Duration, Duration) = (Duration::from_secs(5), Duration::from_secs(600));

/// The task.
pub struct SchemaTask {
    /// To the cloud.
    pub client: Arc<Client>,
    /// What the configuration gives to each device.
    pub produced: BTreeMap<DeviceId, Produced>,
    /// Ends the task.
    pub stop: CancellationToken,
}

impl SchemaTask {
    /// Runs until it is stopped.
    pub async fn run(self) {
        let stop = self.stop.clone();
        stop.run_until_cancelled(self.compare_all()).await;
        stop.cancelled().await;
    }

    async fn compare_all(self) {
        let mut rng = random::seeded();
        for (device, produced) in &self.produced {
            let mut backoff = Backoff::new(RETRY_WAIT.0, RETRY_WAIT.1);
            let declared = loop {
                match self.declared(*device).await {
                    Ok(declared) => break declared,
                    Err(error) => debug!(%error, device_id = %device, "could not read the device"),
                }
                tokio::time::sleep(backoff.next_delay(&mut rng)).await;
            };
            for mismatch in mismatches(&declared, produced) {
                warn!(device_id = %device, %mismatch, "the device does not take what the configuration gives it");
            }
        }
    }

    async fn declared(
        &self,
        device: DeviceId,
    ) -> Result<BTreeMap<AttributeName, AttributeType>, crate::losant::Error> {
        let shape = Shape { exclude_connection_info: true, ..Shape::default() };
        let device = self.client.get(device, shape).await?;
        let typed = device
            .attributes
            .iter()
            .filter_map(|(name, word)| Some((name.parse().ok()?, AttributeType::named(word)?)));
        Ok(typed.collect())
    }
}
