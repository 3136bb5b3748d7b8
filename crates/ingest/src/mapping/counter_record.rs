//! The state of a counter that is kept over a restart.

use serde::{Deserialize, Serialize};

use tidegate_model::{ReadingTime, WallTime};

/// The state of one counter: its last value, its total, and the open window of its increases.
///
/// Numbers are stored as their bits, so that they are the same after a restart.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct CounterRecord {
    number: u64,
    time: ReadingTime,
    total: u64,
    /// The open window; `None` if there is none.
    pub(super) window: Option<WindowRecord>,
}

/// The sum of a window that is open.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct WindowRecord {
    sum: u64,
    /// The time of the last value.
    pub(super) time: ReadingTime,
    /// The end; `None` if the time of day was unknown.
    pub(super) end: Option<WallTime>,
}

impl CounterRecord {
    pub(super) fn new(number: f64, time: ReadingTime, total: f64) -> Self {
        Self { number: number.to_bits(), time, total: total.to_bits(), window: None }
    }

    /// Returns the last value of the counter.
    pub(super) fn number(&self) -> f64 {
        f64::from_bits(self.number)
    }

    /// Returns the time of the last value.
    pub(super) fn time(&self) -> ReadingTime {
        self.time
    }

    /// Returns the total of all runs.
    pub(super) fn total(&self) -> f64 {
        f64::from_bits(self.total)
    }

    /// Returns whether all numbers are finite, as those of a record that is not damaged.
    pub(super) fn is_valid(&self) -> bool {
        let sum = self.window.map_or(0.0, |window| window.sum());
        [self.number(), self.total(), sum].iter().all(|number| number.is_finite())
    }
}

impl WindowRecord {
    pub(super) fn new(sum: f64, time: ReadingTime, end: Option<WallTime>) -> Self {
        Self { sum: sum.to_bits(), time, end }
    }

    /// Returns the sum so far.
    pub(super) fn sum(&self) -> f64 {
        f64::from_bits(self.sum)
    }
}
