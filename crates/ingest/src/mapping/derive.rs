//! Values over time: the difference to the value before, rates, and counters.

use std::time::{Duration, Instant};

use super::conversion::number;
use super::counter_record::CounterRecord;
use super::rejection::Rejection;
use super::sample::Sample;
use tidegate_model::{ReadingTime, Reason};

/// The value that follows from a value and the one before.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Derive {
    /// The difference, which may be negative.
    Delta,
    /// The difference in a unit of time, which may be negative.
    Rate,
    /// The increase of a counter, which is never negative.
    Increase,
    /// The increase of a counter in a unit of time.
    IncreaseRate,
    /// The count of a counter that continues after a reset or a wrap.
    Total,
}

/// The settings of a derived value.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct DeriveSettings {
    /// The derived value.
    pub kind: Derive,
    /// The unit of time of rates.
    pub per: Duration,
    /// The number that a counter reaches by one step more than its largest value, when it becomes
    /// 0; in the unit of the attribute. `None` for a counter without an overflow.
    pub range: Option<f64>,
}

/// Derives the values of one attribute of one device.
#[derive(Debug)]
pub(super) struct Deriver {
    settings: DeriveSettings,
    last: Option<Last>,
    total: f64,
}

/// The value before.
#[derive(Debug, Clone, Copy)]
struct Last {
    number: f64,
    time: ReadingTime,
    /// The arrival; `None` before the start of the daemon.
    at: Option<Instant>,
}

/// The significant digits of a double that are always right.
const DIGITS: i32 = 15;

impl Derive {
    /// Returns the derived value with this name.
    pub fn named(name: &str) -> Option<Self> {
        Self::NAMES.iter().find(|(one, _)| *one == name).map(|(_, derive)| *derive)
    }

    /// All names.
    pub const NAMES: [(&str, Self); 5] = [
        ("delta", Self::Delta),
        ("rate", Self::Rate),
        ("increase", Self::Increase),
        ("increase-rate", Self::IncreaseRate),
        ("total", Self::Total),
    ];

    /// Returns whether the values are those of a counter, whose state is kept over a restart.
    pub fn is_counter(self) -> bool {
        match self {
            Self::Increase | Self::IncreaseRate | Self::Total => true,
            Self::Delta | Self::Rate => false,
        }
    }

    /// Returns whether the unit of time has an effect.
    pub fn is_rate(self) -> bool {
        matches!(self, Self::Rate | Self::IncreaseRate)
    }
}

impl Deriver {
    pub(super) fn new(settings: DeriveSettings) -> Self {
        Self { settings, last: None, total: 0.0 }
    }

    /// Returns the derived value; `None` for the first value, with which later ones are compared.
    ///
    /// # Errors
    /// If the value is not a number, above the range of the counter, or if the counter increased
    /// faster than `rate_max`. Later values are then compared with it.
    pub(super) fn handle_sample(
        &mut self,
        sample: &Sample,
        rate_max: Option<f64>,
        now: Instant,
    ) -> Result<Option<f64>, Rejection> {
        let number = number(&sample.value).ok_or_else(|| {
            let detail = "only numbers have differences; map a number, or remove derive";
            Rejection::new(Reason::Malformed, detail)
        })?;
        let DeriveSettings { kind, range, .. } = self.settings;
        if kind.is_counter() && range.is_some_and(|range| number >= range) {
            let detail = format!("{number} is above counter_max");
            return Err(Rejection::new(Reason::OutOfRange, detail));
        }
        let this = Last { number, time: sample.time, at: Some(now) };
        let Some(last) = self.last else {
            self.last = Some(this);
            self.total = number;
            return Ok((kind == Derive::Total).then_some(number));
        };
        let elapsed = this.since(last);
        if kind.is_rate() && elapsed.is_some_and(|elapsed| elapsed.is_zero()) {
            // Two values of one time have no rate. The first one stays the value before.
            return Ok(None);
        }
        self.last = Some(this);
        let change = match kind {
            Derive::Delta | Derive::Rate => difference(number, last.number),
            Derive::Increase | Derive::IncreaseRate | Derive::Total => {
                let increase = increase(last.number, number, range);
                check_rate(increase, elapsed, rate_max)?;
                increase
            }
        };
        Ok(match kind {
            Derive::Delta | Derive::Increase => Some(change),
            Derive::Rate | Derive::IncreaseRate => elapsed
                .map(|elapsed| change * self.settings.per.as_secs_f64() / elapsed.as_secs_f64()),
            Derive::Total => {
                self.total = sum(self.total, change);
                Some(self.total)
            }
        })
    }

    /// Returns the state to keep over a restart; `None` if there is none.
    pub(super) fn record(&self) -> Option<CounterRecord> {
        let last = self.last.filter(|_| self.settings.kind.is_counter())?;
        Some(CounterRecord::new(last.number, last.time, self.total))
    }

    /// Continues with a state of an earlier run.
    pub(super) fn restore(&mut self, record: &CounterRecord) {
        self.last = Some(Last { number: record.number(), time: record.time(), at: None });
        self.total = record.total();
    }
}

impl Last {
    /// Returns the time since the value before: that of the measurements, or else of the arrivals.
    fn since(self, before: Self) -> Option<Duration> {
        let arrivals = || self.at.zip(before.at).map(|(at, before)| at - before);
        self.time.since(before.time).or_else(arrivals)
    }
}

/// Returns the increase of a counter.
///
/// A lower value is a wrap if the counter has a range and the increase over its end is at most half
/// of the range. Any other lower value is a reset: the counter has counted from 0 since.
fn increase(before: f64, value: f64, range: Option<f64>) -> f64 {
    if value >= before {
        return difference(value, before);
    }
    let wrapped = range.map(|range| sum(difference(range, before), value));
    let is_wrap = |increase: &f64| range.is_some_and(|range| *increase <= range / 2.0);
    wrapped.filter(is_wrap).unwrap_or(value.max(0.0))
}

fn check_rate(
    increase: f64,
    elapsed: Option<Duration>,
    rate_max: Option<f64>,
) -> Result<(), Rejection> {
    let Some((rate_max, elapsed)) = rate_max.zip(elapsed) else { return Ok(()) };
    let seconds = elapsed.as_secs_f64();
    if increase > rate_max * seconds {
        let detail = format!("an increase of {increase} within {seconds} s is above rate_max");
        return Err(Rejection::new(Reason::TooFast, detail));
    }
    Ok(())
}

/// Returns the difference with the digits that are right: 0.007, not 0.006999999999607.
fn difference(number: f64, other: f64) -> f64 {
    rounded(number - other, number.abs().max(other.abs()))
}

/// Returns the sum with the digits that are right.
pub(super) fn sum(number: f64, other: f64) -> f64 {
    let exact = number + other;
    rounded(exact, number.abs().max(other.abs()).max(exact.abs()))
}

/// Rounds to the digits that are right in numbers up to `largest`.
fn rounded(number: f64, largest: f64) -> f64 {
    if !number.is_finite() || largest == 0.0 {
        return number;
    }
    #[expect(clippy::cast_possible_truncation, reason = "a double has 308 digits at most")]
    let before_point = largest.log10().floor() as i32 + 1;
    let decimals = usize::try_from(DIGITS - before_point).unwrap_or(0);
    // The addition turns -0.0 into 0.0.
    format!("{number:.decimals$}").parse().unwrap_or(number) + 0.0
}

#[cfg(test)]
mod tests;
