//! The values that callers pass to the outbox and get from it.

use std::collections::BTreeMap;
use std::time::Duration;

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use tidegate_model::{
    DeviceId, FingerprintChanges, Ledger, Name, Priority, ReadingTime, Reason, WhenFull,
};

/// The usual size of a segment of the journal, in bytes. The outbox always has one active segment
/// and at most one spare segment; each store takes about as much.
pub const SEGMENT_BYTES: u64 = 2 << 20;

/// The most bytes of full segments that wait in the journal, by default. A running flow of 50
/// devices writes about this much until its states are sent.
pub const JOURNAL_BYTES: u64 = 4 * SEGMENT_BYTES;

/// The largest value of a table row, in bytes.
pub const ROW_BYTES_MAX: usize = 64 * 1024;

/// The largest size of one table, in bytes of keys and values.
pub const TABLE_BYTES_MAX: usize = 16 << 20;

/// The settings of an outbox.
#[derive(Debug, Clone, Copy)]
pub struct Options {
    /// The most bytes of states.
    pub bytes_max: u64,
    /// How the outbox makes room when an append would exceed `bytes_max`. All losses are counted.
    pub when_full: WhenFull,
    /// The span of time whose states [`WhenFull::Downsample`] replaces by their mean.
    pub downsample_bucket: Duration,
    /// The outbox stops growing while the file system has less free space than this, in bytes.
    pub free_bytes_min: u64,
    /// The usual size of a segment of the journal, in bytes: [`SEGMENT_BYTES`], except in tests.
    pub segment_bytes: u64,
    /// The most bytes of full segments that wait in the journal before the oldest is packed into a
    /// store: [`JOURNAL_BYTES`], except in tests. States that leave before that are written once.
    pub journal_bytes: u64,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            bytes_max: u64::MAX,
            when_full: WhenFull::default(),
            downsample_bucket: Duration::from_secs(600),
            free_bytes_min: 0,
            segment_bytes: SEGMENT_BYTES,
            journal_bytes: JOURNAL_BYTES,
        }
    }
}

/// The content of one commit.
#[derive(Debug, Clone, Default)]
pub struct Commit {
    /// The states, in order.
    pub states: Vec<NewState>,
    /// The counts to add to the ledger. They must account for each reading of `states`; a debug
    /// build checks that.
    pub ledger: Ledger,
    /// The changes of the MQTT fingerprints of each bus.
    pub fingerprints: BTreeMap<Name, FingerprintChanges>,
    /// The rows to change, by table.
    pub rows: BTreeMap<&'static str, Vec<RowChange>>,
}

/// The key of a row and its new value; `None` removes the row.
pub type RowChange = (Vec<u8>, Option<Vec<u8>>);

/// The key and the value of a row.
pub type Row = (Vec<u8>, Vec<u8>);

/// A state that is to be queued.
#[derive(Debug, Clone)]
pub struct NewState {
    /// The device that the state belongs to.
    pub device: DeviceId,
    /// The bus that the readings came from.
    pub bus: Name,
    /// The time of the measurement.
    pub moment: ReadingTime,
    /// A full outbox removes states of low priority first.
    pub priority: Priority,
    /// The number of values in the state.
    pub readings: u16,
    /// The state exactly as it will be sent; for [`ReadingTime::Boot`] its `data` object alone.
    pub json: Bytes,
}

/// A state in the queue of its device.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct QueuedState {
    /// The sequence number of the state within its device.
    pub sequence: u64,
    /// The time of the measurement.
    pub moment: ReadingTime,
    /// The number of values in the state.
    pub readings: u16,
    /// The state exactly as it will be sent; for [`ReadingTime::Boot`] its `data` object alone.
    pub json: Bytes,
}

/// The values of queued states that Losant would ignore: their numbers by reason, by the sequence
/// number of the state.
pub type IgnoredValues = BTreeMap<u64, BTreeMap<Reason, u64>>;

/// A state that Losant rejected or would ignore.
///
/// It is stored as JSON, and `tidegate outbox list --rejects --json` prints it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Reject {
    /// The number of the reject; numbers are never reused.
    #[serde(default)]
    pub number: u64,
    /// The device that the state belongs to.
    pub device: DeviceId,
    /// The bus that the readings came from.
    pub bus: Name,
    /// The time of the measurement.
    pub moment: ReadingTime,
    /// The priority of the state, which it keeps when it is requeued.
    pub priority: Priority,
    /// The number of values in the state.
    pub readings: u16,
    /// [`Reason::RefusedByCloud`], [`Reason::TimeRefused`], [`Reason::Undeclared`] or
    /// [`Reason::WrongType`]: that of the first value.
    pub reason: Reason,
    /// The numbers of the values that have another reason.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub other_reasons: BTreeMap<Reason, u64>,
    /// The message of the server or of tidegate.
    pub why: String,
    /// The time of the rejection, ISO 8601.
    pub time: String,
    /// The JSON of the state.
    pub state: String,
}

impl Reject {
    /// Returns the numbers of the values by reason. Their sum is `readings`.
    pub(super) fn values_by_reason(&self) -> BTreeMap<Reason, u64> {
        let mut rest = u64::from(self.readings);
        let mut values = BTreeMap::new();
        for (reason, others) in &self.other_reasons {
            let others = (*others).min(rest);
            rest -= others;
            values.insert(*reason, others);
        }
        *values.entry(self.reason).or_default() += rest;
        values
    }
}

impl From<Reject> for NewState {
    fn from(reject: Reject) -> Self {
        let Reject { device, bus, moment, priority, readings, state, .. } = reject;
        Self { device, bus, moment, priority, readings, json: state.into() }
    }
}

/// A commit that was stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Appended {
    /// The number of the commit; numbers only grow.
    pub commit: u64,
    /// The states that a full outbox dropped for the commit.
    pub dropped: Removed,
}

/// How many states and readings left the outbox.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Removed {
    /// States.
    pub states: u64,
    /// Readings in them.
    pub readings: u64,
}

impl Removed {
    pub(crate) fn add(&mut self, other: Self) {
        self.states += other.states;
        self.readings += other.readings;
    }
}

impl From<Amount> for Removed {
    fn from(amount: Amount) -> Self {
        Self { states: amount.states, readings: amount.readings }
    }
}

/// The size of a queue.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Amount {
    /// States.
    pub states: u64,
    /// Readings in them.
    pub readings: u64,
    /// Bytes of their JSON.
    pub bytes: u64,
}

impl Amount {
    pub(crate) fn plus(self, other: Self) -> Self {
        Self {
            states: self.states + other.states,
            readings: self.readings + other.readings,
            bytes: self.bytes + other.bytes,
        }
    }

    /// Subtracts, and stops at zero.
    pub(crate) fn minus(self, other: Self) -> Self {
        Self {
            states: self.states.saturating_sub(other.states),
            readings: self.readings.saturating_sub(other.readings),
            bytes: self.bytes.saturating_sub(other.bytes),
        }
    }
}

/// The sizes of all queues.
#[derive(Debug, Clone, Default)]
pub struct QueueSizes {
    /// The sum over all devices.
    pub total: Amount,
    /// The queue of each device that ever had a state here.
    pub devices: BTreeMap<DeviceId, Amount>,
    /// The last sequence number of each of these devices.
    pub last: BTreeMap<DeviceId, u64>,
}

/// The queues that changed.
#[derive(Debug, Clone, Default)]
pub struct QueueChanges {
    /// The version of these sizes, for the next call of [`crate::Outbox::queue_changes`].
    pub version: u64,
    /// The sum over all devices.
    pub total: Amount,
    /// The changed queues, in the order of their last change.
    pub queues: Vec<QueueChange>,
}

/// The present size of a queue that changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct QueueChange {
    /// The device.
    pub device: DeviceId,
    /// The size of its queue.
    pub amount: Amount,
    /// The last sequence number that was assigned.
    pub last: u64,
}
