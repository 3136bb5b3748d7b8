//! What goes into the outbox, and what comes out.

use std::collections::BTreeMap;

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use super::group::Record;
use crate::model::{DeviceId, Ledger, Name, Origin, Timestamp};

/// What an outbox is set to.
#[derive(Debug, Clone, Copy)]
pub struct Options {
    /// The most bytes of states; when an append would go over it, the oldest groups are dropped and counted.
    pub bytes_max: u64,
    /// sled's cache in bytes.
    pub cache_bytes: u64,
}

/// What one commit brings.
#[derive(Debug, Clone, Default)]
pub struct Commit {
    /// The states, in order.
    pub states: Vec<Pending>,
    /// What to add to the ledger.
    pub ledger: Ledger,
    /// The origins of each bus, which replace the earlier ones.
    pub origins: BTreeMap<Name, Vec<Origin>>,
}

/// A state that is to be stored.
#[derive(Debug, Clone)]
pub struct Pending {
    /// Whose state it is.
    pub device: DeviceId,
    /// Where it came from.
    pub bus: Name,
    /// Its time.
    pub time: Timestamp,
    /// How many values it has.
    pub readings: u16,
    /// The state exactly as it will be sent.
    pub json: Bytes,
}

/// A state that waits.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// Its place among the states of its device.
    pub sequence: u64,
    /// How many values it has.
    pub readings: u16,
    /// The state exactly as it will be sent.
    pub json: Bytes,
}

/// A state that the cloud refused.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Reject {
    /// Whose state it is.
    pub device: String,
    /// The server's words.
    pub why: String,
    /// When it was refused, ISO 8601.
    pub time: String,
    /// The state.
    pub state: String,
}

/// What left the outbox.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Removed {
    /// States.
    pub states: u64,
    /// Readings in them.
    pub readings: u64,
}

/// How much waits.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Amount {
    /// States.
    pub states: u64,
    /// Readings in them.
    pub readings: u64,
    /// Bytes of their JSON.
    pub bytes: u64,
}

/// How much waits, in all and for each device.
#[derive(Debug, Clone, Default)]
pub struct Backlog {
    /// In all.
    pub total: Amount,
    /// For each device that ever had a state here.
    pub devices: BTreeMap<DeviceId, Amount>,
}

impl Amount {
    pub(super) fn plus(self, other: Self) -> Self {
        Self {
            states: self.states + other.states,
            readings: self.readings + other.readings,
            bytes: self.bytes + other.bytes,
        }
    }

    pub(super) fn add(&mut self, record: &Record) {
        self.states += 1;
        self.readings += u64::from(record.readings);
        self.bytes += record.json.len() as u64;
    }

    pub(super) fn subtract(&mut self, record: &Record) {
        self.states = self.states.saturating_sub(1);
        self.readings = self.readings.saturating_sub(u64::from(record.readings));
        self.bytes = self.bytes.saturating_sub(record.json.len() as u64);
    }
}
