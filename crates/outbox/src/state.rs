//! What the outbox knows besides the states themselves, and the changes that lead from one condition to the next.
//!
//! A change is applied in the same way when it is made and when the journal is read back. The whole state stands at the begin
//! of each segment.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::fingerprints;
use super::ranges::Ranges;
use super::{Amount, REJECTS_MAX};
use tidegate_model::{Ledger, Name};

/// The bytes of a device's id.
pub(super) type Device = [u8; 12];

/// The state.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(super) struct State {
    pub(super) lanes: BTreeMap<Device, Lane>,
    #[serde(with = "json")]
    pub(super) ledger: Ledger,
    pub(super) origins: BTreeMap<Name, Vec<u8>>,
    pub(super) notes: BTreeMap<String, BTreeMap<Vec<u8>, Vec<u8>>>,
    /// Each as JSON, by its number, which grows.
    pub(super) rejects: BTreeMap<u64, Vec<u8>>,
    /// The last number that a reject was given.
    pub(super) reject_last: u64,
    /// The full segments of which something waits, and where what counts in them ends.
    pub(super) segments: BTreeMap<u64, u64>,
    /// The generations, and how many groups were put into each.
    pub(super) generations: BTreeMap<u64, u64>,
    /// The number of the last commit.
    pub(super) commit: u64,
}

/// The queue of one device.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(super) struct Lane {
    /// What is gone: acknowledged, rejected or dropped.
    pub(super) gone: Ranges,
    /// The last number that was given.
    pub(super) last: u64,
    /// The latest time of day of any state that was put here, in milliseconds since the Unix epoch.
    pub(super) latest_ms: i64,
    /// What waits; counted afresh at each start.
    #[serde(skip)]
    pub(super) amount: Amount,
}

/// One step from a state to the next.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(super) struct Change {
    /// Devices that got states: the last number, and their latest time.
    pub(super) put: BTreeMap<Device, (u64, i64)>,
    /// Ranges that are gone.
    pub(super) gone: Vec<(Device, u64, u64)>,
    /// The accounts that changed, as they are then.
    #[serde(with = "json")]
    pub(super) ledger: Ledger,
    /// In the form of [`origins`].
    pub(super) origins: BTreeMap<Name, Vec<u8>>,
    pub(super) notes: Vec<(String, Vec<u8>, Option<Vec<u8>>)>,
    /// Each as JSON.
    pub(super) rejects: Vec<Vec<u8>>,
    /// The numbers of those that are no longer kept.
    pub(super) rejects_gone: Vec<u64>,
    pub(super) generations: BTreeMap<u64, u64>,
    pub(super) generations_gone: Vec<u64>,
    pub(super) segments_gone: Vec<u64>,
    pub(super) commit: u64,
}

impl State {
    pub(super) fn apply(&mut self, change: &Change) {
        for (device, (last, latest_ms)) in &change.put {
            let lane = self.lanes.entry(*device).or_default();
            lane.last = lane.last.max(*last);
            lane.latest_ms = lane.latest_ms.max(*latest_ms);
        }
        for (device, first, last) in &change.gone {
            self.lanes.entry(*device).or_default().gone.merge(*first, *last);
        }
        self.ledger.extend(change.ledger.clone());
        for (bus, change) in &change.origins {
            fingerprints::apply(self.origins.entry(bus.clone()).or_default(), change);
        }
        for (table, key, value) in &change.notes {
            let table = self.notes.entry(table.clone()).or_default();
            match value {
                Some(value) => drop(table.insert(key.clone(), value.clone())),
                None => drop(table.remove(key)),
            }
        }
        for number in &change.rejects_gone {
            self.rejects.remove(number);
        }
        for reject in &change.rejects {
            self.reject_last += 1;
            self.rejects.insert(self.reject_last, reject.clone());
        }
        while self.rejects.len() > REJECTS_MAX {
            self.rejects.pop_first();
        }
        self.generations.extend(change.generations.clone());
        self.generations.retain(|number, _| !change.generations_gone.contains(number));
        self.segments.retain(|number, _| !change.segments_gone.contains(number));
        self.commit = self.commit.max(change.commit);
    }

    pub(super) fn bytes(&self) -> u64 {
        self.lanes.values().map(|lane| lane.amount.bytes).sum()
    }

    /// How many bytes the notes of a table take.
    pub(super) fn notes_bytes(&self, table: &str) -> usize {
        let notes = self.notes.get(table).into_iter().flatten();
        notes.map(|(key, value)| key.len() + value.len()).sum()
    }
}

/// What has names and optional parts is stored as JSON, so that later versions can add to it.
mod json {
    use serde::de::{DeserializeOwned, Error as _};
    use serde::ser::Error as _;
    use serde::{Deserialize as _, Deserializer, Serialize, Serializer};

    pub(super) fn serialize<T: Serialize, S: Serializer>(
        value: &T,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        serde_json::to_vec(value).map_err(S::Error::custom)?.serialize(serializer)
    }

    pub(super) fn deserialize<'de, T: DeserializeOwned, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<T, D::Error> {
        let bytes = Vec::<u8>::deserialize(deserializer)?;
        serde_json::from_slice(&bytes).map_err(D::Error::custom)
    }
}
