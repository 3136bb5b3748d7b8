//! The reasons for which a command is refused.

use std::time::Duration;

use crate::actuator::WriteError;
use crate::arguments::ArgumentError;
use tidegate_model::PAYLOAD_BYTES_MAX;

/// Why a command does not run.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RefusalReason {
    /// No actuator of the device has a command of this name.
    #[error("no actuator accepts this command")]
    Unknown,
    /// The payload names a device that the configuration does not have.
    #[error("this gateway has no device \"{0}\"")]
    UnknownDevice(String),
    /// The command exceeds its maximum age: a late "open valve" does harm.
    #[error("the command is {} s old; see commands.age_max", .0.as_secs())]
    Stale(Duration),
    /// The command is dated more than [`AHEAD_MAX`](crate::history::AHEAD_MAX) ahead.
    #[error("its timestamp is {} s in the future", .0.as_secs())]
    Ahead(Duration),
    /// The command has a timestamp, but the gateway does not know the time of day.
    #[error("the clock is not synchronised, so the age of the command is unknown")]
    NoTime,
    /// The command is not newer than the newest record that the history removed.
    #[error("the history no longer reaches back to this command, so it may have run before")]
    Forgotten,
    /// The payload is too large.
    #[error("the payload has more than {PAYLOAD_BYTES_MAX} bytes")]
    TooLarge,
    /// The payload cannot be parsed.
    #[error("the payload is nested too deeply, or has an invalid string or number")]
    Malformed,
    /// The payload does not match the arguments of the actuator.
    #[error(transparent)]
    Arguments(#[from] ArgumentError),
    /// The template cannot be rendered, or its result could do harm.
    #[error(transparent)]
    Unwritable(#[from] WriteError),
    /// The actuator has reached its rate limit.
    #[error("the actuator has reached its rate limit; see rate_max and rate_window")]
    TooOften,
    /// The queue of the actuator, or the memory for commands of the device, is full.
    #[error("too many commands are waiting for the actuator")]
    Busy,
}

impl RefusalReason {
    /// The stable text of [`RefusalReason::Stale`]. A command can also become stale later, in the
    /// queue of its actuator.
    pub const STALE: &str = "stale";

    /// Returns the stable text for logs, counts and labels.
    pub fn as_str(&self) -> &'static str {
        match self {
            Self::Unknown => "unknown",
            Self::UnknownDevice(_) => "unknown_device",
            Self::Stale(_) => Self::STALE,
            Self::Ahead(_) => "ahead",
            Self::NoTime => "no_time",
            Self::Forgotten => "forgotten",
            Self::TooLarge => "too_large",
            Self::Malformed => "malformed",
            Self::Arguments(_) => "arguments",
            Self::Unwritable(_) => "unwritable",
            Self::TooOften => "too_often",
            Self::Busy => "busy",
        }
    }
}
