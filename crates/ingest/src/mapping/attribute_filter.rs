//! Decides which values of one attribute of one device to send.
//!
//! A value passes the stages in this order: rate of change, derived value, window, rounding,
//! stability, deadband, smallest interval. A value that a stage holds back is *filtered*. A value
//! that a stage releases later is *generated*: it is an action of the machine.

use std::time::{Duration, Instant};

use super::conversion::number;
use super::counter_record::CounterRecord;
use super::derive::{Derive, DeriveSettings, Deriver};
use super::rejection::Rejection;
use super::sample::Sample;
use super::window::{Aggregate, Window, WindowSettings};
use tidegate_model::{ReadingTime, Reason, Value};
use tidegate_timing::machine::Machine;

/// The stages of a filter. The default sends all values.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct FilterSettings {
    /// The fastest accepted change, in units per second. Faster changes are rejected.
    pub rate_max: Option<f64>,
    /// The value that follows from a value and the one before.
    pub derive: Option<DeriveSettings>,
    /// The window that aggregates values to one.
    pub window: Option<WindowSettings>,
    /// The number of decimals to which floats are rounded.
    pub decimals: Option<u8>,
    /// The time for which a change must last.
    pub stable_for: Option<Duration>,
    /// The largest difference from the last sent value that is not sent.
    pub deadband: Option<Deadband>,
    /// The longest time for which the deadband holds values back.
    pub heartbeat: Option<Duration>,
    /// The shortest time between two sent values. The last value is sent at its end.
    pub interval_min: Option<Duration>,
}

/// The largest difference without effect. Texts and booleans are equal or different.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Deadband {
    /// In units of the value. 0 holds back equal values.
    Absolute(f64),
    /// In percent of the last sent value.
    Percent(f64),
}

/// Filters the values of one attribute of one device.
#[derive(Debug)]
pub(super) struct AttributeFilter {
    settings: FilterSettings,
    last_accepted: Option<Accepted>,
    deriver: Option<Deriver>,
    window: Option<Window>,
    /// A change that has not lasted long enough.
    candidate: Option<Candidate>,
    last_sent: Option<Sent>,
    /// The value to send at the end of the interval.
    delayed: Option<Sample>,
    generated: Option<Sample>,
}

/// The last number that passed the check of the rate.
#[derive(Debug)]
struct Accepted {
    time: ReadingTime,
    at: Instant,
    number: f64,
}

#[derive(Debug)]
struct Candidate {
    since: Instant,
    sample: Sample,
}

#[derive(Debug)]
struct Sent {
    at: Instant,
    value: Value,
}

/// The immediate result for a value.
#[derive(Debug, PartialEq)]
pub(super) enum FilterResult {
    /// Send the value.
    Send(Value),
    /// The value is not sent, at least not now.
    Filtered(Reason),
}

impl FilterSettings {
    /// Returns whether each value is sent, so that no state is necessary.
    pub(super) fn passes_all(&self) -> bool {
        self.rate_max.is_none()
            && self.derive.is_none()
            && self.window.is_none()
            && self.stable_for.is_none()
            && self.deadband.is_none()
            && self.interval_min.is_none()
    }

    /// Returns whether a stage needs a number.
    pub(super) fn needs_number(&self) -> bool {
        let aggregate = self.window.as_ref().map(|window| window.aggregate);
        let is_computed =
            aggregate.is_some_and(|one| !matches!(one, Aggregate::Last | Aggregate::Count));
        is_computed || self.derive.is_some() || self.rate_max.is_some() || self.decimals.is_some()
    }

    /// Returns whether the state is kept over a restart: that of a counter.
    pub(super) fn is_kept(&self) -> bool {
        self.counter().is_some()
    }

    fn counter(&self) -> Option<Derive> {
        self.derive.map(|derive| derive.kind).filter(|kind| kind.is_counter())
    }

    /// Returns whether an open window is kept over a restart: the sum of a counter's increases.
    fn keeps_window(&self) -> bool {
        let aggregate = self.window.as_ref().map(|window| window.aggregate);
        self.counter() == Some(Derive::Increase) && aggregate == Some(Aggregate::Sum)
    }

    /// Rounds a float to the configured number of decimals.
    pub(super) fn round(&self, value: Value) -> Value {
        match (value, self.decimals) {
            (Value::Float(number), Some(decimals)) => {
                let digits = usize::from(decimals);
                // The addition turns -0.0, for example from -0.04, into 0.0.
                Value::Float(format!("{number:.digits$}").parse().unwrap_or(number) + 0.0)
            }
            (value, _) => value,
        }
    }
}

impl AttributeFilter {
    pub(super) fn new(settings: FilterSettings) -> Self {
        let window = settings.window.clone().map(Window::new);
        let deriver = settings.derive.map(Deriver::new);
        Self {
            settings,
            last_accepted: None,
            deriver,
            window,
            candidate: None,
            last_sent: None,
            delayed: None,
            generated: None,
        }
    }

    /// Returns the state to keep over a restart; `None` if there is none.
    pub(super) fn record(&self) -> Option<CounterRecord> {
        let mut record = self.deriver.as_ref()?.record()?;
        let window = self.window.as_ref().filter(|_| self.settings.keeps_window());
        record.window = window.and_then(Window::record);
        Some(record)
    }

    /// Continues with the state of an earlier run.
    pub(super) fn restore(&mut self, record: &CounterRecord, now: Instant) {
        if let Some(deriver) = &mut self.deriver {
            deriver.restore(record);
        }
        if self.settings.keeps_window()
            && let (Some(window), Some(record)) = (&mut self.window, &record.window)
        {
            window.restore(record, now);
        }
    }

    /// Ends a window that follows the clock, if a value of this time belongs to a later one.
    ///
    /// The owner calls [`Machine::handle_timeout`] after it.
    pub(super) fn handle_time(&mut self, time: ReadingTime, now: Instant) {
        if let Some(window) = &mut self.window {
            window.handle_time(time, now);
        }
    }

    /// Processes a value that arrived at `now`.
    ///
    /// The owner calls [`Machine::handle_timeout`] before, so that generated values come first.
    pub(super) fn handle_sample(
        &mut self,
        sample: Sample,
        now: Instant,
    ) -> Result<FilterResult, Rejection> {
        if self.settings.counter().is_none() {
            self.check_rate(&sample, now)?;
        }
        let sample = match &mut self.deriver {
            None => sample,
            Some(deriver) => match deriver.handle_sample(&sample, self.settings.rate_max, now)? {
                Some(number) => Sample { time: sample.time, value: Value::float(number)? },
                None => return Ok(FilterResult::Filtered(Reason::Baseline)),
            },
        };
        let (Some(window), Some(settings)) = (&mut self.window, &self.settings.window) else {
            return Ok(self.check_stability(sample, now));
        };
        if !settings.aggregate.accepts(&sample.value) {
            let detail =
                "only numbers can be aggregated; map a number, or set aggregate = \"last\"";
            return Err(Rejection::new(Reason::Malformed, detail));
        }
        window.handle_sample(sample, now);
        Ok(FilterResult::Filtered(Reason::Aggregated))
    }

    /// Closes the window, or releases the delayed value. A window that is kept stays open.
    pub(super) fn handle_stop(&mut self) {
        let mut aggregate = None;
        let is_kept = self.settings.keeps_window();
        if let Some(window) = self.window.as_mut().filter(|_| !is_kept) {
            window.handle_stop();
            aggregate = window.poll_action();
        }
        let aggregate = aggregate.map(|sample| self.round(sample));
        self.generated = aggregate.or_else(|| self.delayed.take());
    }

    fn round(&self, Sample { time, value }: Sample) -> Sample {
        Sample { time, value: self.settings.round(value) }
    }

    fn check_rate(&mut self, sample: &Sample, now: Instant) -> Result<(), Rejection> {
        let Some((rate_max, number)) = self.settings.rate_max.zip(number(&sample.value)) else {
            return Ok(());
        };
        if let Some(last) = &self.last_accepted {
            // The larger of both times counts, so that a sensor whose clock was set back continues.
            let measured = sample.time.since(last.time).unwrap_or_default();
            let seconds = measured.max(now.saturating_duration_since(last.at)).as_secs_f64();
            let change = (number - last.number).abs();
            if change > rate_max * seconds {
                let detail =
                    format!("a change of {change} within {seconds} s is faster than rate_max");
                return Err(Rejection::new(Reason::TooFast, detail));
            }
        }
        self.last_accepted = Some(Accepted { time: sample.time, at: now, number });
        Ok(())
    }

    /// Rounds the value, and holds a change back until it has lasted long enough.
    fn check_stability(&mut self, sample: Sample, now: Instant) -> FilterResult {
        let sample = self.round(sample);
        let is_change = self.last_sent.as_ref().is_none_or(|sent| sent.value != sample.value);
        let Some(stable_for) = self.settings.stable_for.filter(|_| is_change) else {
            self.candidate = None;
            return self.check_difference(sample, now);
        };
        match &self.candidate {
            Some(candidate) if candidate.sample.value == sample.value => {
                if candidate.since + stable_for > now {
                    return FilterResult::Filtered(Reason::HeldOff);
                }
                self.candidate = None;
                self.check_difference(sample, now)
            }
            Some(_) | None => {
                self.candidate = Some(Candidate { since: now, sample });
                FilterResult::Filtered(Reason::HeldOff)
            }
        }
    }

    /// Holds the value back within the deadband, or until the end of the interval.
    fn check_difference(&mut self, sample: Sample, now: Instant) -> FilterResult {
        if let (Some(deadband), Some(sent)) = (self.settings.deadband, &self.last_sent) {
            let heartbeat = self.settings.heartbeat;
            let is_due = heartbeat.is_some_and(|heartbeat| sent.at + heartbeat <= now);
            if !is_due && deadband.contains(&sent.value, &sample.value) {
                // The value is again the one that the cloud has.
                self.delayed = None;
                return FilterResult::Filtered(Reason::Unchanged);
            }
        }
        if self.interval_end().is_some_and(|end| now < end) {
            self.delayed = Some(sample);
            return FilterResult::Filtered(Reason::TooSoon);
        }
        self.delayed = None;
        self.last_sent = Some(Sent { at: now, value: sample.value.clone() });
        FilterResult::Send(sample.value)
    }

    fn interval_end(&self) -> Option<Instant> {
        let sent = self.last_sent.as_ref()?;
        self.settings.interval_min.map(|interval| sent.at + interval)
    }

    /// Returns the instant at which the candidate has lasted long enough.
    fn candidate_end(&self) -> Option<Instant> {
        let since = self.candidate.as_ref()?.since;
        self.settings.stable_for.map(|stable_for| since + stable_for)
    }

    /// Returns the aggregate of a window that ends at `now`, if it is sent.
    fn close_window(&mut self, now: Instant) -> Option<Sample> {
        let window = self.window.as_mut()?;
        window.handle_timeout(now);
        let sample = window.poll_action()?;
        let time = sample.time;
        match self.check_stability(sample, now) {
            FilterResult::Send(value) => Some(Sample { time, value }),
            FilterResult::Filtered(_) => None,
        }
    }

    /// Returns a change that has lasted long enough at `now`, if it is sent.
    fn release_candidate(&mut self, now: Instant) -> Option<Sample> {
        let is_due = self.candidate_end().is_some_and(|end| end <= now);
        let sample = self.candidate.take_if(|_| is_due)?.sample;
        let time = sample.time;
        match self.check_difference(sample, now) {
            FilterResult::Send(value) => Some(Sample { time, value }),
            FilterResult::Filtered(_) => None,
        }
    }

    /// Returns the delayed value if the interval ends at `now`.
    fn release_delayed(&mut self, now: Instant) -> Option<Sample> {
        let is_due = self.interval_end().is_some_and(|end| end <= now);
        let sample = self.delayed.take_if(|_| is_due)?;
        self.last_sent = Some(Sent { at: now, value: sample.value.clone() });
        Some(sample)
    }
}

/// The action is a generated value. A time-out generates at most one.
impl Machine for AttributeFilter {
    type Action = Sample;

    fn handle_timeout(&mut self, now: Instant) {
        debug_assert!(self.generated.is_none(), "the last action was not polled");
        self.generated = self
            .close_window(now)
            .or_else(|| self.release_candidate(now))
            .or_else(|| self.release_delayed(now));
    }

    fn poll_timeout(&self) -> Option<Instant> {
        let window = self.window.as_ref().and_then(Window::poll_timeout);
        let delayed = self.delayed.as_ref().and_then(|_| self.interval_end());
        [window, self.candidate_end(), delayed].into_iter().flatten().min()
    }

    fn poll_action(&mut self) -> Option<Sample> {
        self.generated.take()
    }
}

impl Deadband {
    /// Returns whether the value differs too little from the sent one.
    fn contains(self, sent: &Value, value: &Value) -> bool {
        let Some((sent, value)) = number(sent).zip(number(value)) else { return sent == value };
        let width = match self {
            Self::Absolute(width) => width,
            Self::Percent(percent) => sent.abs() * percent / 100.0,
        };
        (value - sent).abs() <= width
    }
}

#[cfg(test)]
mod tests;
