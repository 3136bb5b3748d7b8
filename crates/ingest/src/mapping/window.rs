//! Aggregation of the values in a time window: their mean, sum, median and so on.

use std::time::{Duration, Instant};

use super::conversion::number;
use super::counter_record::WindowRecord;
use super::derive::sum;
use super::sample::Sample;
use super::window_clock::WindowStart;
use tidegate_model::{ReadingTime, Value, WallTime};
use tidegate_timing::machine::Machine;

/// The most values in one window of a median, which needs all of them. A full window closes early.
const VALUES_MAX: usize = 1_024;

/// The shortest mean vector of directions that has a direction itself: opposite ones have none.
const VECTOR_MIN: f64 = 1e-9;

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
    /// The mean of directions in degrees, 0 to 360: of 350 and 20 it is 5.
    MeanDirection,
}

/// The settings of a window.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WindowSettings {
    /// The function that aggregates the values.
    pub aggregate: Aggregate,
    /// The time from the start to the end.
    pub length: Duration,
    /// The start.
    pub start: WindowStart,
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
    /// The first time of the next window, if windows follow the clock and the clock is known.
    end_time: Option<WallTime>,
    values: Values,
    last: Value,
    /// The time of the last value.
    time: ReadingTime,
}

/// What the aggregates need of the values.
#[derive(Debug)]
struct Values {
    count: u64,
    sum: f64,
    min: f64,
    max: f64,
    /// The sum of the directions as vectors: to the north, to the east.
    north: f64,
    east: f64,
    /// All values, for a median.
    all: Vec<f64>,
}

impl Aggregate {
    /// Returns the aggregate with this name.
    pub fn named(name: &str) -> Option<Self> {
        Self::NAMES.iter().find(|(one, _)| *one == name).map(|(_, aggregate)| *aggregate)
    }

    /// All names.
    pub const NAMES: [(&str, Self); 8] = [
        ("mean", Self::Mean),
        ("min", Self::Min),
        ("max", Self::Max),
        ("last", Self::Last),
        ("sum", Self::Sum),
        ("count", Self::Count),
        ("median", Self::Median),
        ("mean-direction", Self::MeanDirection),
    ];

    /// Returns whether the function accepts this value.
    pub(super) fn accepts(self, value: &Value) -> bool {
        match self {
            Self::Last | Self::Count => true,
            Self::Mean | Self::Min | Self::Max | Self::Sum | Self::Median | Self::MeanDirection => {
                number(value).is_some()
            }
        }
    }
}

impl WindowSettings {
    /// Creates a window of this length that starts with its first value.
    pub fn new(aggregate: Aggregate, length: Duration) -> Self {
        Self { aggregate, length, start: WindowStart::default() }
    }
}

impl Window {
    pub(super) fn new(settings: WindowSettings) -> Self {
        Self { settings, open: None, result: None }
    }

    /// Ends the open window now if a value of this time belongs to a later one.
    ///
    /// The owner calls [`Machine::handle_timeout`] after it.
    pub(super) fn handle_time(&mut self, time: ReadingTime, now: Instant) {
        let Some(open) = &mut self.open else { return };
        if time.wall().zip(open.end_time).is_some_and(|(time, end)| time >= end) {
            open.end = now;
        }
    }

    /// Adds a value that the aggregate accepts.
    pub(super) fn handle_sample(&mut self, Sample { time, value }: Sample, now: Instant) {
        let WindowSettings { aggregate, length, start } = &self.settings;
        let open = self.open.get_or_insert_with(|| {
            let end_time = start.end_after(time, *length);
            let rest = time.wall().zip(end_time).map(|(time, end)| end.since(time));
            OpenWindow {
                end: now + rest.unwrap_or(*length),
                end_time,
                values: Values::default(),
                last: value.clone(),
                time,
            }
        });
        open.values.add(number(&value).unwrap_or(0.0), *aggregate);
        (open.last, open.time) = (value, time);
        if open.values.all.len() >= VALUES_MAX {
            open.end = now;
        }
    }

    /// Closes the window early.
    pub(super) fn handle_stop(&mut self) {
        let aggregate = self.settings.aggregate;
        self.result = self.open.take().and_then(|open| open.close(aggregate));
    }

    /// Returns the open window, to continue it after a restart.
    pub(super) fn record(&self) -> Option<WindowRecord> {
        let open = self.open.as_ref()?;
        Some(WindowRecord::new(open.values.sum, open.time, open.end_time))
    }

    /// Continues with the window of an earlier run. It ends with the first value of a later window,
    /// or after the rest of its length.
    pub(super) fn restore(&mut self, record: &WindowRecord, now: Instant) {
        let rest = record.time.wall().zip(record.end).map(|(time, end)| end.since(time));
        let rest = rest.unwrap_or(self.settings.length).min(self.settings.length);
        let mut values = Values::default();
        values.add(record.sum(), self.settings.aggregate);
        self.open = Some(OpenWindow {
            end: now + rest,
            end_time: record.end,
            values,
            last: Value::Float(record.sum()),
            time: record.time,
        });
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
    fn close(self, aggregate: Aggregate) -> Option<Sample> {
        let time = self.time;
        let Values { count, min, max, .. } = self.values;
        #[expect(clippy::cast_precision_loss, reason = "exact up to 2^53 values")]
        let divisor = count as f64;
        let number = match aggregate {
            Aggregate::Last => return Some(Sample { time, value: self.last }),
            Aggregate::Count => {
                let value = Value::Integer(i64::try_from(count).unwrap_or(i64::MAX));
                return Some(Sample { time, value });
            }
            Aggregate::Mean => self.values.sum / divisor,
            Aggregate::Sum => self.values.sum,
            Aggregate::Min => min,
            Aggregate::Max => max,
            Aggregate::Median => self.values.median(),
            Aggregate::MeanDirection => self.values.direction(divisor),
        };
        Value::float(number).ok().map(|value| Sample { time, value })
    }
}

impl Default for Values {
    fn default() -> Self {
        let (min, max) = (f64::INFINITY, f64::NEG_INFINITY);
        Self { count: 0, sum: 0.0, min, max, north: 0.0, east: 0.0, all: Vec::new() }
    }
}

impl Values {
    fn add(&mut self, number: f64, aggregate: Aggregate) {
        self.count += 1;
        self.sum = sum(self.sum, number);
        self.min = self.min.min(number);
        self.max = self.max.max(number);
        if aggregate == Aggregate::MeanDirection {
            let (east, north) = number.to_radians().sin_cos();
            self.north += north;
            self.east += east;
        }
        if aggregate == Aggregate::Median {
            self.all.push(number);
        }
    }

    fn median(mut self) -> f64 {
        self.all.sort_by(f64::total_cmp);
        let at = |index: usize| self.all.get(index).copied().unwrap_or(f64::NAN);
        let count = self.all.len();
        f64::midpoint(at(count.saturating_sub(1) / 2), at(count / 2))
    }

    /// Returns the mean direction; not a number if the directions cancel each other out.
    fn direction(&self, divisor: f64) -> f64 {
        if self.north.hypot(self.east) < VECTOR_MIN * divisor {
            return f64::NAN;
        }
        let degrees = self.east.atan2(self.north).to_degrees().rem_euclid(360.0);
        // A double has 15 digits, and the sine of one of them fewer.
        let rounded = format!("{degrees:.9}").parse().unwrap_or(degrees);
        if rounded >= 360.0 { 0.0 } else { rounded }
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
            let mut window = Window::new(WindowSettings::new(aggregate, Duration::ZERO));
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
        assert_eq!(of("mean-direction", &[350.0, 20.0]), Value::Float(5.0));
        assert_eq!(of("mean-direction", &[359.0, 1.0, 0.0]), Value::Float(0.0));
        assert_eq!(of("mean-direction", &[90.0, 180.0]), Value::Float(135.0));
        assert_eq!(of("sum", &[0.1; 3]), Value::Float(0.3));
        assert_eq!(Aggregate::named("average"), None);
    }
}
