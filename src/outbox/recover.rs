//! What is done when an outbox is opened.

use super::group::Group;
use super::store::{Store, number};
use super::{COMMIT_KEY, DAMAGED_MAX, Error, Inner, LEDGER_KEY, Lane, Outbox};
use crate::model::{Account, DeviceId, Name, Reason};

impl Outbox {
    /// Counts what is there, and sets aside what cannot be understood.
    pub(super) fn recover(&self) -> Result<(), Error> {
        let Store { groups, meta, damaged, .. } = &self.store;
        let mut inner = Inner {
            ledger: meta
                .get(LEDGER_KEY)?
                .and_then(|bytes| serde_json::from_slice(&bytes).ok())
                .unwrap_or_default(),
            commit: meta.get(COMMIT_KEY)?.map_or(0, |bytes| number(&bytes)),
            ..Inner::default()
        };
        for item in meta.scan_prefix(b"lane/") {
            let (key, value) = item?;
            let device: Option<&[u8; 12]> = key.last_chunk();
            if let (Some(device), Some(lane)) = (device, Lane::decode(&value)) {
                inner.lanes.insert(DeviceId::from(*device), lane);
            }
        }
        for item in groups {
            let (key, value) = item?;
            let Ok(group) = Group::decode(&value) else {
                if damaged.len() < DAMAGED_MAX {
                    damaged.insert(&key, &value)?;
                }
                groups.remove(&key)?;
                continue;
            };
            let lane = inner.lanes.entry(group.device).or_default();
            lane.last = lane.last.max(group.last());
            for (sequence, record) in (group.first..).zip(&group.records) {
                if sequence > lane.cursor {
                    lane.amount.add(record);
                }
            }
        }
        inner.count_damage();
        *self.inner() = inner;
        Ok(())
    }
}

impl Inner {
    /// Readings that the ledger expects here and that are not here were damaged. Nothing tells any more which bus they came
    /// from, so the buses bear the loss in the order of their names.
    fn count_damage(&mut self) {
        let waiting: u64 = self.lanes.values().map(|lane| lane.amount.readings).sum();
        let expected: u64 = self.ledger.values().map(Account::waiting).sum();
        let mut missing = expected.saturating_sub(waiting);
        let buses: Vec<Name> = self.ledger.keys().cloned().collect();
        for bus in buses {
            let Some(account) = self.ledger.get_mut(&bus) else { continue };
            let lost = account.waiting().min(missing);
            if lost > 0 {
                *account.dropped.entry(Reason::Damaged).or_default() += lost;
                missing -= lost;
            }
        }
    }
}
