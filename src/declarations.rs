//! The attributes that devices declare in Losant: read there, enforced by the collector, and kept
//! in the outbox for starts without a connection.
//!
//! A change takes this way: [`DeclarationReader`] reads a device, the collector commits the states
//! that it mapped before, then checks new values against the change and publishes it. A state up
//! to [`Declaration::unchecked_through`] is checked when it is sent.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::{Notify, watch};
use tracing::{debug, warn};

use tidegate_delivery::response::{CallOutcome, ResponseClass};
use tidegate_losant::query::Shape;
use tidegate_losant::{Client, Error};
use tidegate_model::{DeclaredAttributes, DeclaredDevices, DeviceId};
use tidegate_outbox::{ROW_BYTES_MAX, Row, RowChange};
use tidegate_runtime::liveness;

/// The table of the outbox that keeps the declarations.
pub const TABLE: &str = "declarations";

/// The most states that one request to the outbox can queue.
const REQUEST_STATES_MAX: u64 = 10_000;

/// The longest wait until the collector enforces a declaration that was just read. The collector
/// may wait for a disk that stalls.
const ENFORCE_TIMEOUT: Duration = Duration::from_secs(10);

/// The declaration of one device.
#[derive(Debug, Clone, PartialEq)]
pub struct Declaration {
    /// The attributes with their types.
    pub attributes: Arc<DeclaredAttributes>,
    /// The sequence number of the last state that was queued before these attributes were known.
    pub unchecked_through: u64,
}

/// The declarations of all devices that are known.
pub type Declarations = BTreeMap<DeviceId, Declaration>;

/// Reads declarations from Losant.
#[derive(Debug)]
pub struct DeclarationReader {
    client: Arc<Client>,
    read: watch::Sender<DeclaredDevices>,
    enforced: watch::Sender<Arc<Declarations>>,
    /// The devices that Losant refuses to show.
    refused: Mutex<BTreeSet<DeviceId>>,
    /// Notified when Losant shows a device that it refused to show before.
    shown_again: Notify,
}

/// The collector's end: receives what was read, and publishes what it enforces.
#[derive(Debug)]
pub struct DeclarationUpdates {
    /// The declarations that were read.
    pub read: watch::Receiver<DeclaredDevices>,
    /// The declarations that the collector enforces.
    pub enforced: watch::Sender<Arc<Declarations>>,
}

impl DeclarationReader {
    /// Creates the reader with the declarations of earlier runs.
    pub fn new(client: Arc<Client>, stored: Declarations) -> (Arc<Self>, DeclarationUpdates) {
        let attributes = stored.iter().map(|(id, one)| (*id, Arc::clone(&one.attributes)));
        let (read, changes) = watch::channel(attributes.collect());
        let enforced = watch::Sender::new(Arc::new(stored));
        let updates = DeclarationUpdates { read: changes, enforced: enforced.clone() };
        let (refused, shown_again) = (Mutex::default(), Notify::new());
        (Arc::new(Self { client, read, enforced, refused, shown_again }), updates)
    }

    /// Waits until Losant shows a device that it refused to show before. For one waiting task.
    pub async fn shown_again(&self) {
        self.shown_again.notified().await;
    }

    /// Returns the declarations that the collector enforces.
    pub fn enforced(&self) -> Arc<Declarations> {
        Arc::clone(&self.enforced.borrow())
    }

    /// Reads the attributes of a device, and passes a change on to the collector.
    ///
    /// # Errors
    /// If Losant cannot be reached or does not show the device.
    pub async fn read(&self, device: DeviceId) -> Result<Arc<DeclaredAttributes>, Error> {
        let shape = Shape { exclude_connection_info: true, ..Shape::default() };
        let request = self.client.get(device, shape).into_future();
        let request = liveness::with_deadline(liveness::CALL_MAX, "reading a device", request);
        let answer = request.await.inspect_err(|error| {
            if error.response_class() == ResponseClass::Blocked {
                self.refused().insert(device);
            }
        })?;
        if self.refused().remove(&device) {
            self.shown_again.notify_one();
        }
        let attributes = Arc::new(answer.declared_attributes());
        self.read.send_if_modified(|read| {
            let has_changed = read.get(&device) != Some(&attributes);
            if has_changed {
                read.insert(device, Arc::clone(&attributes));
            }
            has_changed
        });
        Ok(attributes)
    }

    /// Ensures that states of a device can be checked before they are sent: reads the device if it
    /// is not known yet.
    ///
    /// If Losant does not show the device, for example because the access key has no scope for it,
    /// its states are sent unchecked.
    ///
    /// # Errors
    /// The outcome of the call, if Losant cannot be reached.
    pub async fn ensure(&self, device: DeviceId) -> Result<(), CallOutcome> {
        if self.enforced.borrow().contains_key(&device) || self.refused().contains(&device) {
            return Ok(());
        }
        match self.read(device).await {
            Ok(_) => {
                let mut enforced = self.enforced.subscribe();
                let known = enforced.wait_for(|enforced| enforced.contains_key(&device));
                // If the collector has ended or waits for the disk, the answer is used as it is.
                tokio::select! {
                    _ = known => {}
                    () = self.read.closed() => {}
                    () = tokio::time::sleep(ENFORCE_TIMEOUT) => {}
                }
                Ok(())
            }
            Err(error) if error.response_class().is_temporary() => Err(error.outcome()),
            Err(error) => {
                warn!(
                    %error, device_id = %device,
                    "cannot read the attributes of the device; sending its states unchecked"
                );
                self.refused().insert(device);
                Ok(())
            }
        }
    }

    /// Requires that queued states are checked when they are sent, and as many that follow as a
    /// request can requeue or import. `last` has the last sequence number of each device.
    pub fn mark_unchecked(&self, last: &BTreeMap<DeviceId, u64>) {
        self.enforced.send_modify(|enforced| {
            for (device, declaration) in Arc::make_mut(enforced) {
                let last = last.get(device).copied().unwrap_or_default();
                let through = last + REQUEST_STATES_MAX;
                declaration.unchecked_through = declaration.unchecked_through.max(through);
            }
        });
    }

    /// Returns what the states of a device are checked against; `None` if that is not known.
    pub fn declaration(&self, device: DeviceId) -> Option<Declaration> {
        let enforced = self.enforced.borrow().get(&device).cloned();
        enforced.or_else(|| {
            // The collector does not enforce it yet: every state is unchecked.
            let attributes = self.read.borrow().get(&device).cloned()?;
            Some(Declaration { attributes, unchecked_through: u64::MAX })
        })
    }

    fn refused(&self) -> std::sync::MutexGuard<'_, BTreeSet<DeviceId>> {
        self.refused.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Decodes the rows of [`TABLE`]. A row that cannot be decoded is left out: its device is read
/// again.
///
/// All queued states are unchecked, because they may have been requeued or imported while the
/// daemon did not run. `last` has the last sequence number of each device.
pub fn stored(rows: Vec<Row>, last: &BTreeMap<DeviceId, u64>) -> Declarations {
    let decode = |(key, value): Row| {
        let device = DeviceId::from(<[u8; 12]>::try_from(key).ok()?);
        let attributes = Arc::new(serde_json::from_slice(&value).ok()?);
        let unchecked_through = last.get(&device).copied().unwrap_or_default();
        Some((device, Declaration { attributes, unchecked_through }))
    };
    rows.into_iter().filter_map(decode).collect()
}

/// Returns the row of a device. A declaration that is too large for a row is not kept over a
/// restart.
pub fn row(device: DeviceId, declaration: &Declaration) -> RowChange {
    let value = serde_json::to_vec(&*declaration.attributes);
    let value = value.ok().filter(|value| value.len() <= ROW_BYTES_MAX);
    if value.is_none() {
        debug!(device_id = %device, "too many attributes to keep; reading them at each start");
    }
    (device.as_bytes().to_vec(), value)
}

#[cfg(test)]
mod tests {
    use super::*;
    use tidegate_model::AttributeType;

    fn declaration(attributes: usize) -> Declaration {
        let names = (0..attributes).map(|number| format!("attribute{number:06}"));
        let typed = names.map(|name| (name.parse().unwrap(), AttributeType::Number));
        Declaration { attributes: Arc::new(typed.collect()), unchecked_through: 7 }
    }

    #[test]
    fn rows_survive_a_restart() {
        let (device, declaration) = (DeviceId::from([1; 12]), declaration(2));
        let (key, value) = row(device, &declaration);
        let rows = vec![(key, value.unwrap()), (vec![1], vec![]), (vec![2; 12], b"{".to_vec())];
        let unchecked = Declaration { unchecked_through: 9, ..declaration };
        assert_eq!(stored(rows, &[(device, 9)].into()), [(device, unchecked)].into());
    }

    #[test]
    fn large_declarations_are_not_kept() {
        let (_, value) = row(DeviceId::from([1; 12]), &declaration(5_000));
        assert_eq!(value, None);
    }
}
