//! What goes when there is no room for all.

use serde::{Deserialize, Serialize};

/// Who goes first when there is no room: low before normal, high last.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Priority {
    /// Goes first.
    Low,
    /// As most.
    #[default]
    Normal,
    /// Goes when nothing else is left.
    High,
}

/// What makes room in a full outbox. What is worth less goes first either way.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum WhenFull {
    /// The oldest states, for what is new.
    #[default]
    DropOldest,
    /// Old states of numbers become one for each stretch of time; where that is not enough, the oldest states.
    Downsample,
    /// New states, unless they are worth more than something that waits.
    DropNewest,
}
