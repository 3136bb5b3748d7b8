//! A value with its time.

use tidegate_model::{ReadingTime, Value};

/// A value with the time of its measurement.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Sample {
    pub(super) time: ReadingTime,
    pub(super) value: Value,
}
