//! What goes into the outbox, and what comes out.

use std::collections::BTreeMap;
use std::time::Duration;

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use super::block::Record;
use tidegate_model::{
    DeviceId, FingerprintChanges, Ledger, Name, Priority, ReadingTime, Reason, WhenFull,
};

/// What an outbox is set to.
#[derive(Debug, Clone, Copy)]
pub struct Options {
    /// The most bytes of states.
    pub bytes_max: u64,
    /// What goes when an append would go over it; it is counted.
    pub when_full: WhenFull,
    /// The stretch of time of which [`WhenFull::Downsample`] leaves one state.
    pub downsample_bucket: Duration,
    /// While the file system has less free space than so many bytes, what is there is the most that is kept.
    pub free_bytes_min: u64,
    /// The usual size of a segment of the journal, in bytes: [`super::SEGMENT_BYTES`], except in tests.
    pub segment_bytes: u64,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            bytes_max: u64::MAX,
            when_full: WhenFull::default(),
            downsample_bucket: Duration::from_secs(600),
            free_bytes_min: 0,
            segment_bytes: super::SEGMENT_BYTES,
        }
    }
}

/// What one commit brings.
#[derive(Debug, Clone, Default)]
pub struct Commit {
    /// The states, in order.
    pub states: Vec<Pending>,
    /// What to add to the ledger.
    pub ledger: Ledger,
    /// What changes of the origins of each bus.
    pub origins: BTreeMap<Name, FingerprintChanges>,
    /// Notes to change, by their table.
    pub notes: BTreeMap<&'static str, Vec<NoteChange>>,
}

/// The key of a note, and what it is to be; `None` removes it.
pub type NoteChange = (Vec<u8>, Option<Vec<u8>>);

/// The key of a note, and what it is.
pub type Note = (Vec<u8>, Vec<u8>);

/// A state that is to be stored.
#[derive(Debug, Clone)]
pub struct Pending {
    /// Whose state it is.
    pub device: DeviceId,
    /// Where it came from.
    pub bus: Name,
    /// When it was measured.
    pub moment: ReadingTime,
    /// Whether it goes early or late when there is no room.
    pub priority: Priority,
    /// How many values it has.
    pub readings: u16,
    /// The state exactly as it will be sent; for [`ReadingTime::Boot`] its `data` object alone.
    pub json: Bytes,
}

/// A state that waits.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// Its place among the states of its device.
    pub sequence: u64,
    /// When it was measured.
    pub moment: ReadingTime,
    /// How many values it has.
    pub readings: u16,
    /// The state exactly as it will be sent; for [`ReadingTime::Boot`] its `data` object alone.
    pub json: Bytes,
}

/// A state that the cloud refused, or would ignore.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Reject {
    /// Its place among the rejects, which no other ever has.
    #[serde(default)]
    pub number: u64,
    /// Whose state it is.
    pub device: DeviceId,
    /// Where it came from.
    pub bus: Name,
    /// When it was measured.
    pub moment: ReadingTime,
    /// Whether it goes early or late when there is no room.
    pub priority: Priority,
    /// How many values it has.
    pub readings: u16,
    /// [`Reason::RefusedByCloud`] or [`Reason::TimeRefused`].
    pub reason: Reason,
    /// The server's words, or ours.
    pub why: String,
    /// When it was refused, ISO 8601.
    pub time: String,
    /// The state.
    pub state: String,
}

impl From<Reject> for Pending {
    fn from(reject: Reject) -> Self {
        let Reject { device, bus, moment, priority, readings, state, .. } = reject;
        Self { device, bus, moment, priority, readings, json: state.into() }
    }
}

/// What left the outbox.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Removed {
    /// States.
    pub states: u64,
    /// Readings in them.
    pub readings: u64,
}

impl Removed {
    pub(super) fn add(&mut self, other: Self) {
        self.states += other.states;
        self.readings += other.readings;
    }
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
    /// The last sequence number that each of them was given.
    pub last: BTreeMap<DeviceId, u64>,
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

    pub(super) fn minus(self, other: Self) -> Self {
        Self {
            states: self.states.saturating_sub(other.states),
            readings: self.readings.saturating_sub(other.readings),
            bytes: self.bytes.saturating_sub(other.bytes),
        }
    }
}
