//! Rules for a full outbox: which states it removes first.

use serde::{Deserialize, Serialize};

/// Orders states for removal from a full outbox: low first, high last.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Priority {
    /// Removed first.
    Low,
    /// The default.
    #[default]
    Normal,
    /// Removed only if no other state is left.
    High,
}

/// Selects how a full outbox makes room.
///
/// States of a lower [`Priority`] are removed first in each mode.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum WhenFull {
    /// Removes the oldest states.
    #[default]
    DropOldest,
    /// Merges old states of numbers into one state per period. Removes the oldest states if that
    /// is not enough.
    Downsample,
    /// Drops new states, unless a state of lower priority waits in the outbox.
    DropNewest,
}
