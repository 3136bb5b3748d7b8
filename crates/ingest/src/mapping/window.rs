//! Aggregation of the values in a time window: their mean, sum, median and so on.

use std::time::{Duration, Instant};

use super::conversion::number;
use super::sample::Sample;
use tidegate_model::{ReadingTime, Value};
use tidegate_timing::machine::Machine;

/// The most values in one window. A full window closes early.
const VALUES_MAX: usize = 1_024;

/// The function that aggregates the values of a window.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Aggregate {
    /// The arithmetic mean.
    Mean,
    /// The smallest value.
    Min,
    /// The largest value.
    Max,
    /// The last value, of any type.
    Last,
    /// The sum.
    Sum,
    /// The number of values, of any type.
    Count,
    /// The middle value, or the mean of the two middle values.
    Median,
}

/// The settings of a window.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct WindowSettings {
    /// The function that aggregates the values.
    pub aggregate: Aggregate,
    /// The time from the first value to the end.
    pub length: Duration,
}

/// Aggregates the values of consecutive windows. A window opens with its first value.
#[derive(Debug)]
pub(super) struct Window {
    settings: WindowSettings,
    open: Option<OpenWindow>,
    result: Option<Sample>,
}

/// A window with at least one value.
#[derive(Debug)]
struct OpenWindow {
    end: Instant,
    /// All values as numbers; zeros for values that are not numbers.
    numbers: Vec<f64>,
    last: Value,
    /// The time of the last value.
    time: ReadingTime,
}

impl Aggregate {
    /// Returns the aggregate with this name.
    pub fn named(name: &str) -> Option<Self> {
        Self::NAMES.iter().find(|(one, _)| *one == name).map(|(_, aggregate)| *aggregate)
    }

    /// All names.
    pub const NAMES: [(&str, Self); 7] = [
        ("mean", Self::Mean),
        ("min", Self::Min),
        ("max", Self::Max),
        ("last", Self::Last),
        ("sum", Self::Sum),
        ("count", Self::Count),
        ("median", Self::Median),
    ];

    /// Returns whether the function accepts this value.
    pub(super) fn accepts(self, value: &Value) -> bool {
        match self {
            Self::Last | Self::Count => true,
            Self::Mean | Self::Min | Self::Max | Self::Sum | Self::Median => {
                number(value).is_some()
            }
        }
    }
}

impl Window {
    pub(super) fn new(settings: WindowSettings) -> Self {
        Self { settings, open: None, result: None }
    }

    /// Adds a value that the aggregate accepts.
    pub(super) fn handle_sample(&mut self, Sample { time, value }: Sample, now: Instant) {
        let length = self.settings.length;
        let open = self.open.get_or_insert_with(|| OpenWindow {
            end: now + length,
            numbers: Vec::new(),
            last: value.clone(),
            time,
        });
        debug_assert!(open.numbers.len() < VALUES_MAX, "a full window must be closed first");
        open.numbers.push(number(&value).unwrap_or(0.0));
        (open.last, open.time) = (value, time);
        if open.numbers.len() >= VALUES_MAX {
            open.end = now;
        }
    }

    /// Closes the window early.
    pub(super) fn handle_stop(&mut self) {
        let aggregate = self.settings.aggregate;
        self.result = self.open.take().and_then(|open| open.close(aggregate));
    }
}

/// The action is the aggregate of a closed window, with the time of its last value.
impl Machine for Window {
    type Action = Sample;

    fn handle_timeout(&mut self, now: Instant) {
        if self.poll_timeout().is_some_and(|end| end <= now) {
            self.handle_stop();
        }
    }

    fn poll_timeout(&self) -> Option<Instant> {
        self.open.as_ref().map(|open| open.end)
    }

    fn poll_action(&mut self) -> Option<Sample> {
        self.result.take()
    }
}

impl OpenWindow {
    /// Returns the aggregate; `None` if it is not a finite number.
    fn close(mut self, aggregate: Aggregate) -> Option<Sample> {
        let time = self.time;
        let count = self.numbers.len();
        #[expect(clippy::cast_precision_loss, reason = "1024 at most")]
        let divisor = count as f64;
        let sum: f64 = self.numbers.iter().sum();
        let number = match aggregate {
            Aggregate::Last => return Some(Sample { time, value: self.last }),
            Aggregate::Count => {
                let value = Value::Integer(i64::try_from(count).unwrap_or(i64::MAX));
                return Some(Sample { time, value });
            }
            Aggregate::Mean => sum / divisor,
            Aggregate::Sum => sum,
            Aggregate::Min => self.numbers.iter().copied().fold(f64::INFINITY, f64::min),
            Aggregate::Max => self.numbers.iter().copied().fold(f64::NEG_INFINITY, f64::max),
            Aggregate::Median => {
                self.numbers.sort_by(f64::total_cmp);
                let at = |index: usize| self.numbers.get(index).copied().unwrap_or(f64::NAN);
                f64::midpoint(at((count - 1) / 2), at(count / 2))
            }
        };
        Value::float(number).ok().map(|value| Sample { time, value })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tidegate_model::WallTime;

    #[test]
    fn computes_each_aggregate() {
        let of = |name: &str, numbers: &[f64]| {
            let aggregate = Aggregate::named(name).unwrap();
            let mut window = Window::new(WindowSettings { aggregate, length: Duration::ZERO });
            let now = tokio::time::Instant::now().into_std();
            let time = |millis| ReadingTime::from(WallTime::from_millis(millis));
            let sample =
                |millis, number| Sample { time: time(millis), value: Value::Float(number) };
            window.handle_sample(sample(1, numbers[0]), now);
            for number in &numbers[1..] {
                window.handle_sample(sample(2, *number), now);
            }
            window.handle_timeout(now);
            let Sample { time, value } = window.poll_action().unwrap();
            assert_eq!(time, WallTime::from_millis(2).into());
            value
        };
        let numbers = [4.0, 1.0, 3.0, 2.5];
        assert_eq!(of("mean", &numbers), Value::Float(2.625));
        assert_eq!(of("min", &numbers), Value::Float(1.0));
        assert_eq!(of("max", &numbers), Value::Float(4.0));
        assert_eq!(of("last", &numbers), Value::Float(2.5));
        assert_eq!(of("sum", &numbers), Value::Float(10.5));
        assert_eq!(of("count", &numbers), Value::Integer(4));
        assert_eq!(of("median", &numbers), Value::Float(2.75));
        assert_eq!(of("median", &numbers[..3]), Value::Float(3.0));
        assert_eq!(Aggregate::named("average"), None);
    }
}
