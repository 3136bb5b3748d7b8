//! The values of a stretch of time as one: their mean, sum, median and so on.

use std::time::{Duration, Instant};

use super::conversion::number;
use tidegate_model::{ReadingTime, Value};

/// The most values in one window: a full one closes early.
const VALUES_MAX: usize = 1_024;

/// What a window makes of its values.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Aggregate {
    /// The arithmetic mean.
    Mean,
    /// The smallest.
    Min,
    /// The largest.
    Max,
    /// The latest, of any type.
    Last,
    /// The sum.
    Sum,
    /// How many there were, of any type.
    Count,
    /// The one in the middle; of an even number, the mean of the two in the middle.
    Median,
}

/// Its configuration.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct WindowSettings {
    /// What it makes of its values.
    pub aggregate: Aggregate,
    /// From its first value to its end.
    pub length: Duration,
}

/// An open window; it has at least one value.
#[derive(Debug)]
pub(super) struct Window {
    settings: WindowSettings,
    end: Instant,
    /// All values as numbers; zeros where the aggregate does not ask for numbers.
    numbers: Vec<f64>,
    last: Value,
    /// When the last value was measured.
    time: ReadingTime,
}

impl Aggregate {
    /// The aggregate of this name.
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

    /// Whether it can be made of this value.
    pub(super) fn takes(self, value: &Value) -> bool {
        match self {
            Self::Last | Self::Count => true,
            Self::Mean | Self::Min | Self::Max | Self::Sum | Self::Median => {
                number(value).is_some()
            }
        }
    }
}

impl Window {
    pub(super) fn open(
        settings: WindowSettings,
        now: Instant,
        time: ReadingTime,
        value: Value,
    ) -> Self {
        let numbers = vec![number(&value).unwrap_or(0.0)];
        Self { settings, end: now + settings.length, numbers, last: value, time }
    }

    pub(super) fn add(&mut self, time: ReadingTime, value: Value) {
        self.numbers.push(number(&value).unwrap_or(0.0));
        (self.last, self.time) = (value, time);
    }

    pub(super) fn end(&self) -> Instant {
        self.end
    }

    pub(super) fn is_full(&self) -> bool {
        self.numbers.len() >= VALUES_MAX
    }

    /// What it comes to, and when that was measured: at its last value. `None` if a sum is no finite number.
    pub(super) fn close(mut self) -> Option<(ReadingTime, Value)> {
        let count = self.numbers.len();
        #[expect(clippy::cast_precision_loss, reason = "1024 at most")]
        let divisor = count as f64;
        let sum: f64 = self.numbers.iter().sum();
        let number = match self.settings.aggregate {
            Aggregate::Last => return Some((self.time, self.last)),
            Aggregate::Count => {
                return Some((self.time, Value::Integer(i64::try_from(count).unwrap_or(i64::MAX))));
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
        Value::float(number).ok().map(|value| (self.time, value))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tidegate_model::WallTime;

    #[test]
    fn each_aggregate_is_what_its_name_says() {
        let of = |name: &str, numbers: &[f64]| {
            let aggregate = Aggregate::named(name).unwrap();
            let settings = WindowSettings { aggregate, length: Duration::from_secs(1) };
            let now = tokio::time::Instant::now().into_std();
            let time = |millis| ReadingTime::from(WallTime::from_millis(millis));
            let mut window = Window::open(settings, now, time(1), Value::Float(numbers[0]));
            for number in &numbers[1..] {
                window.add(time(2), Value::Float(*number));
            }
            let (time, value) = window.close().unwrap();
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
