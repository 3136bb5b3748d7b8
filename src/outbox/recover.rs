//! What is done when an outbox is opened.

use std::collections::BTreeMap;

use tracing::warn;

use super::group::{Damage, Group};
use super::queue::group_key;
use super::store::{Store, number};
use super::{COMMIT_KEY, DAMAGED_MAX, Error, Inner, LEDGER_KEY, Lane};
use crate::model::{DeviceId, Name, Reason};

/// Counts what is there, and sets aside what cannot be understood.
pub(super) fn recover(store: &Store) -> Result<Inner, Error> {
    let mut inner = stored(store)?;
    let mut waiting = BTreeMap::new();
    let mut reached = BTreeMap::<DeviceId, u64>::new();
    for item in &store.groups {
        let (key, value) = item?;
        match understand(&key, &value) {
            Ok(group) => {
                let reached = reached.entry(group.device).or_default();
                inner.skip(group.device, *reached + 1, group.first.saturating_sub(1));
                *reached = group.last();
                inner.count(&group, &mut waiting);
            }
            Err(damage) => {
                warn!(%damage, "a part of the outbox cannot be understood and is set aside");
                set_aside(store, &key, &value)?;
            }
        }
    }
    let ends: Vec<_> = inner.lanes.iter().map(|(device, lane)| (*device, lane.last)).collect();
    for (device, last) in ends {
        inner.skip(device, reached.get(&device).copied().unwrap_or_default() + 1, last);
    }
    inner.balance(&waiting);
    Ok(inner)
}

/// The ledger and the cursors as they were stored.
fn stored(store: &Store) -> Result<Inner, Error> {
    let ledger = match store.meta.get(LEDGER_KEY)? {
        Some(bytes) => serde_json::from_slice(&bytes).unwrap_or_else(|error| {
            warn!(%error, "the ledger cannot be understood; it starts again");
            BTreeMap::new()
        }),
        None => BTreeMap::new(),
    };
    let commit = store.meta.get(COMMIT_KEY)?.map_or(0, |bytes| number(&bytes));
    let mut lanes = BTreeMap::new();
    for item in store.meta.scan_prefix(b"lane/") {
        let (key, value) = item?;
        if let (Some(device), Some(lane)) = (key.last_chunk::<12>(), Lane::decode(&value)) {
            lanes.insert(DeviceId::from(*device), lane);
        }
    }
    Ok(Inner { lanes, ledger, commit })
}

/// A group is only what stands under its own key.
fn understand(key: &[u8], value: &[u8]) -> Result<Group, Damage> {
    let group = Group::decode(value)?;
    if key == group_key(group.device, group.first) { Ok(group) } else { Err(Damage::Form) }
}

fn set_aside(store: &Store, key: &[u8], value: &[u8]) -> Result<(), Error> {
    if store.damaged.len() < DAMAGED_MAX {
        store.damaged.insert(key, value)?;
    }
    store.groups.remove(key)?;
    Ok(())
}

impl Inner {
    /// Notes that nothing is stored from `first` through `last`; so ranges on both sides of what was damaged can touch.
    fn skip(&mut self, device: DeviceId, first: u64, last: u64) {
        self.lanes.entry(device).or_default().gone.merge(first, last);
    }

    fn count(&mut self, group: &Group, waiting: &mut BTreeMap<Name, u64>) {
        let lane = self.lanes.entry(group.device).or_default();
        lane.last = lane.last.max(group.last());
        self.commit = self.commit.max(group.commit);
        for (sequence, record) in (group.first..).zip(&group.records) {
            if !lane.gone.covers(sequence, sequence) {
                lane.amount.add(record);
                *waiting.entry(record.bus.clone()).or_default() += u64::from(record.readings);
            }
        }
    }

    /// Makes the ledger agree with what waits: readings that it expects here and that are not here were damaged; readings that
    /// it does not know were received, and their entry was lost.
    fn balance(&mut self, waiting: &BTreeMap<Name, u64>) {
        for bus in waiting.keys() {
            self.ledger.entry(bus.clone()).or_default();
        }
        for (bus, account) in &mut self.ledger {
            let (here, expected) = (waiting.get(bus).copied().unwrap_or(0), account.waiting());
            if here < expected {
                *account.dropped.entry(Reason::Damaged).or_default() += expected - here;
            } else {
                account.received += here - expected;
                account.outbox_in += here - expected;
            }
        }
    }
}
