//! Chooses the lane of the next probe while the link is down.
//!
//! The same few lanes take turns, so their batches can stay in memory and a probe reads nothing
//! from the outbox. After each [`PROBES_PER_LANE`] failures the lane that waits longest joins them.

use std::collections::VecDeque;

use super::LaneId;

/// The most lanes that take turns. Their batches stay in memory.
pub const PROBE_LANES_MAX: usize = 8;

/// The number of failures after which another lane joins those that take turns.
pub const PROBES_PER_LANE: u32 = 16;

/// The lanes that probe the link.
#[derive(Debug, Default)]
pub(super) struct Probes {
    /// The lanes that failed, the one with the latest failure last. At most [`PROBE_LANES_MAX`].
    lanes: VecDeque<LaneId>,
    /// The failures since a lane joined.
    failures: u32,
}

impl Probes {
    /// Returns the lane that probes next, if it is one of those that take turns.
    ///
    /// `None` means that the schedule decides.
    pub(super) fn next(&self, is_due: impl Fn(LaneId) -> bool) -> Option<LaneId> {
        let is_complete = self.lanes.len() >= PROBE_LANES_MAX && self.failures < PROBES_PER_LANE;
        self.lanes.iter().copied().filter(|_| is_complete).find(|id| is_due(*id))
    }

    /// Records a failed probe.
    pub(super) fn add(&mut self, id: LaneId) {
        let before = self.lanes.len();
        self.lanes.retain(|lane| *lane != id);
        let is_new = self.lanes.len() == before;
        self.failures = if is_new { 0 } else { self.failures.saturating_add(1) };
        self.lanes.push_back(id);
        if self.lanes.len() > PROBE_LANES_MAX {
            self.lanes.pop_front();
        }
    }

    /// Ends the probes: the link is up.
    pub(super) fn clear(&mut self) {
        *self = Self::default();
    }
}
