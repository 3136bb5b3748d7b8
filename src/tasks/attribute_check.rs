//! Compares the attributes that devices declare in Losant with those that the configuration
//! produces.
//!
//! Losant ignores values that do not match. The task compares after the start, after each reload
//! and once an hour, because attributes can also change in Losant. While there is a mismatch it
//! compares more often, so that a change in Losant is noticed within minutes. It logs each mismatch
//! when it starts and when all of a device's mismatches are gone.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tracing::{debug, info, warn};

use crate::declarations::DeclarationReader;
use crate::status::StatusRegistry;
use tidegate_delivery::response::ResponseClass;
use tidegate_ingest::mapping::{AttributeProblem, ProducedAttributes, check_attributes};
use tidegate_model::DeviceId;
use tidegate_runtime::random;
use tidegate_timing::backoff::Backoff;

/// The first wait before a device that could not be read is read again.
const RETRY_WAIT_MIN: Duration = Duration::from_secs(5);

/// The longest wait before a device that could not be read is read again.
const RETRY_WAIT_MAX: Duration = Duration::from_secs(600);

/// The time between two comparisons, each of which makes one call per device.
const INTERVAL: Duration = Duration::from_secs(3_600);

/// The first wait before the next comparison while there is a mismatch. It doubles up to
/// [`MISMATCH_WAIT_MAX`].
const MISMATCH_WAIT_MIN: Duration = Duration::from_secs(20);

/// The longest wait before the next comparison while there is a mismatch.
const MISMATCH_WAIT_MAX: Duration = Duration::from_secs(15 * 60);

/// How often the task looks for new mismatches between two comparisons.
const LOOK_INTERVAL: Duration = Duration::from_secs(20);

/// The attributes that the configuration produces, by device.
pub type Produced = BTreeMap<DeviceId, ProducedAttributes>;

/// The task that compares attributes.
pub struct AttributeCheckTask {
    /// Reads the devices.
    pub reader: Arc<DeclarationReader>,
    /// The attributes that the configuration produces for each device. Each reload sends them
    /// again.
    pub produced: watch::Receiver<Produced>,
    /// Receives the mismatches.
    pub status: StatusRegistry,
    /// Stops the task.
    pub stop: CancellationToken,
}

impl AttributeCheckTask {
    /// Runs until it is stopped.
    pub async fn run(self) {
        let stop = self.stop.clone();
        stop.run_until_cancelled(self.compare()).await;
    }

    async fn compare(mut self) {
        let mut logged = Logged::default();
        let mut wait = MISMATCH_WAIT_MIN;
        loop {
            let produced = self.produced.borrow_and_update().clone();
            let mut receiver = self.produced.clone();
            tokio::select! {
                () = self.compare_all(&produced, &mut logged) => {}
                () = changed(&mut receiver) => {
                    wait = MISMATCH_WAIT_MIN;
                    continue;
                }
            }
            let status = self.status.clone();
            let has_mismatch = || status.has_attribute_problems();
            if wait_for_next(&mut self.produced, wait, has_mismatch).await {
                wait = (wait * 2).min(MISMATCH_WAIT_MAX);
            } else {
                wait = MISMATCH_WAIT_MIN;
            }
        }
    }

    /// Compares all devices, and retries those that cannot be read.
    async fn compare_all(&self, produced: &Produced, logged: &mut Logged) {
        let mut rng = random::seeded();
        let mut backoff = Backoff::new(RETRY_WAIT_MIN, RETRY_WAIT_MAX);
        let known: Vec<_> = self.reader.enforced().keys().copied().collect();
        let configured = self.status.device_ids();
        let known = known.into_iter().filter(|device| configured.contains(device));
        let mut left: BTreeSet<DeviceId> = known.chain(produced.keys().copied()).collect();
        logged.retain(|device, _| left.contains(device));
        self.status.retain_device_problems(&left);
        while !left.is_empty() {
            let mut failed = BTreeSet::new();
            for device in left {
                let nothing = ProducedAttributes::new();
                let produced = produced.get(&device).unwrap_or(&nothing);
                if !self.compare_device(device, produced, logged).await {
                    failed.insert(device);
                }
            }
            left = failed;
            if !left.is_empty() {
                tokio::time::sleep(backoff.next_delay(&mut rng)).await;
            }
        }
    }

    /// Compares one device. Returns false if it must be read again.
    async fn compare_device(
        &self,
        device: DeviceId,
        produced: &ProducedAttributes,
        logged: &mut Logged,
    ) -> bool {
        match self.reader.read(device).await {
            Ok(declared) => {
                let found = check_attributes(&declared, produced);
                self.status.set_attribute_problems(device, found.clone());
                log_changes(device, found, logged.entry(device).or_default());
                true
            }
            Err(error) => {
                debug!(%error, device_id = %device, "cannot read the device");
                let is_refused = error.response_class() == ResponseClass::Blocked;
                if is_refused {
                    self.status.set_device_error(device, &error);
                }
                is_refused
            }
        }
    }
}

/// Waits for the next comparison: for an hour, for a reload, or while there is a mismatch for
/// `wait`. Returns whether there is a mismatch.
async fn wait_for_next(
    produced: &mut watch::Receiver<Produced>,
    wait: Duration,
    has_mismatch: impl Fn() -> bool,
) -> bool {
    let mut waited = Duration::ZERO;
    while waited < INTERVAL {
        tokio::select! {
            () = tokio::time::sleep(LOOK_INTERVAL) => waited += LOOK_INTERVAL,
            () = changed(produced) => return false,
        }
        if has_mismatch() && waited >= wait {
            return true;
        }
    }
    has_mismatch()
}

/// Waits for a reload; forever once the sender is dropped.
async fn changed(produced: &mut watch::Receiver<Produced>) {
    if produced.changed().await.is_err() {
        std::future::pending::<()>().await;
    }
}

/// The mismatches of each device that were logged last.
type Logged = BTreeMap<DeviceId, Vec<AttributeProblem>>;

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

#[cfg(test)]
mod tests {
    use tokio::time::Instant;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn compares_after_an_hour_or_a_reload() {
        let (sender, mut produced) = watch::channel(BTreeMap::new());
        let start = Instant::now();
        assert!(!wait_for_next(&mut produced, MISMATCH_WAIT_MIN, || false).await);
        assert_eq!(start.elapsed(), INTERVAL);
        sender.send_replace(BTreeMap::new());
        wait_for_next(&mut produced, MISMATCH_WAIT_MIN, || false).await;
        assert_eq!(start.elapsed(), INTERVAL, "at once");
        drop(sender);
        wait_for_next(&mut produced, MISMATCH_WAIT_MIN, || false).await;
        assert_eq!(start.elapsed(), 2 * INTERVAL);
    }

    #[tokio::test(start_paused = true)]
    async fn compares_sooner_while_there_is_a_mismatch() {
        let (_sender, mut produced) = watch::channel(BTreeMap::new());
        let start = Instant::now();
        assert!(wait_for_next(&mut produced, MISMATCH_WAIT_MIN * 4, || true).await);
        assert_eq!(start.elapsed(), MISMATCH_WAIT_MIN * 4);
    }
}
