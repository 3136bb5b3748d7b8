//! The inputs and outputs of the reporter.

use std::time::{Duration, Instant};

use crate::response::ResponseClass;
use tidegate_model::DeviceId;

/// The settings of the reporter.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Limits {
    /// The most states in one call, 1 or more.
    pub batch_states_max: usize,
    /// The most bytes in one call.
    pub batch_bytes_max: usize,
    /// The longest time that the oldest new state waits for a full batch.
    pub batch_age_max: Duration,
    /// Readings of a device within this time after the first become one state.
    ///
    /// With 0, only readings of one millisecond are merged.
    pub merge_window: Duration,
    /// Whether backlog states carry the backfill mark.
    pub backfill_meta: bool,
    /// The shortest wait for the link.
    pub retry_min: Duration,
    /// The longest wait for the link.
    pub retry_max: Duration,
}

/// The states of a device in the outbox.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Waiting {
    /// States.
    pub states: u64,
    /// Bytes of their JSON.
    pub bytes: u64,
    /// The last assigned sequence number.
    pub last: u64,
}

/// One of a device's two queues.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Lane {
    /// New states.
    Live,
    /// States from before the start, or from a time without a connection.
    Backlog,
}

/// A lane of a device.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct LaneId {
    /// The device.
    pub device: DeviceId,
    /// The lane.
    pub lane: Lane,
}

/// A call to make: the oldest states of a device in a range of sequence numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Call {
    /// The device.
    pub device: DeviceId,
    /// The lane of the device.
    pub lane: Lane,
    /// The states start after this sequence number.
    pub after: u64,
    /// The states end at this sequence number.
    pub through: u64,
    /// The most states to send.
    pub states_max: usize,
    /// Identifies the call.
    pub(super) number: u64,
    pub(super) began: Instant,
}

impl Call {
    /// Returns the lane of the call.
    pub fn lane_id(&self) -> LaneId {
        LaneId { device: self.device, lane: self.lane }
    }
}

/// A call that has finished, with the class of its response.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FinishedCall {
    /// The number of states in the call. With 0 none were found, and no call was made.
    pub states: usize,
    /// The sequence number of the last of them.
    pub last: u64,
    /// The class of the response.
    pub response: ResponseClass,
    /// Whether the call may count in Losant's throttle.
    pub may_count: bool,
}

impl FinishedCall {
    /// Returns the instruction for the states of the call.
    pub fn disposal(&self) -> Disposal {
        match &self.response {
            ResponseClass::Stored if self.states > 0 => Disposal::Delete,
            ResponseClass::TooLarge | ResponseClass::Malformed if self.states == 1 => {
                Disposal::Reject
            }
            ResponseClass::Stored
            | ResponseClass::TooLarge
            | ResponseClass::Malformed
            | ResponseClass::Throttled(_)
            | ResponseClass::Unauthorized
            | ResponseClass::Blocked
            | ResponseClass::ServerError(_)
            | ResponseClass::Offline => Disposal::Keep,
        }
    }
}

/// The instruction for the states of a call that ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Disposal {
    /// Delete them.
    Delete,
    /// Keep them.
    Keep,
    /// Move the one state to the rejects.
    Reject,
}
