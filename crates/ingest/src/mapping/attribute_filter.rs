//! What of the values of one attribute is worth sending: a machine for each attribute of each device.
//!
//! A value goes through the stages in this order: rate of change, window, rounding, hold-off, deadband, smallest interval.
//! One that a stage keeps back is *filtered*; what a stage lets go later is *made*. Time is an argument.

use std::time::{Duration, Instant};

use super::Rejection;
use super::conversion::number;
use super::window::{Aggregate, Window, WindowSettings};
use tidegate_model::{ReadingTime, Reason, Value};

/// What of the values of an attribute is worth sending. The default is all of them.
#[derive(Debug, Clone, Default)]
pub struct Flow {
    /// The fastest change, in units per second; a value that is further away is rejected.
    pub rate_max: Option<f64>,
    /// Many values become one.
    pub window: Option<WindowSettings>,
    /// Digits behind the point, to which numbers are rounded.
    pub decimals: Option<u8>,
    /// How long a change must last before it counts.
    pub stable_for: Option<Duration>,
    /// The largest difference from what was sent last that is not sent.
    pub deadband: Option<Deadband>,
    /// How long the deadband keeps values back at most.
    pub heartbeat: Option<Duration>,
    /// The shortest time from one value that is sent to the next. The last one that came meanwhile is sent at its end.
    pub interval_min: Option<Duration>,
}

/// How much of a difference makes no difference. Texts and booleans differ or do not.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Deadband {
    /// In units of the value; 0 keeps equal values back.
    Absolute(f64),
    /// In percent of what was sent last.
    Percent(f64),
}

/// The state of one attribute.
#[derive(Debug, Default)]
pub(super) struct AttributeFilter {
    accepted: Option<(ReadingTime, Instant, f64)>,
    window: Option<Window>,
    candidate: Option<Waiting>,
    sent: Option<(Instant, Value)>,
    late: Option<(ReadingTime, Value)>,
}

/// A change that has not lasted long enough.
#[derive(Debug)]
struct Waiting {
    since: Instant,
    time: ReadingTime,
    value: Value,
}

/// What became of a value.
#[derive(Debug, PartialEq)]
pub(super) enum Outcome {
    /// It is to be sent.
    Send(Value),
    /// It is not.
    Filtered(Reason),
}

impl Flow {
    /// Whether every value is sent as it is, so that nothing need be remembered.
    pub(super) fn is_plain(&self) -> bool {
        self.rate_max.is_none()
            && self.window.is_none()
            && self.stable_for.is_none()
            && self.deadband.is_none()
            && self.interval_min.is_none()
    }

    /// Whether it does something that only a number can have done to it.
    pub(super) fn wants_number(&self) -> bool {
        let aggregate = self.window.map(|window| window.aggregate);
        let is_computed =
            aggregate.is_some_and(|one| !matches!(one, Aggregate::Last | Aggregate::Count));
        is_computed || self.rate_max.is_some() || self.decimals.is_some()
    }

    pub(super) fn round(&self, value: Value) -> Value {
        match (value, self.decimals) {
            (Value::Float(number), Some(decimals)) => {
                let digits = usize::from(decimals);
                // No -0.0, which -0.04 would be.
                Value::Float(format!("{number:.digits$}").parse().unwrap_or(number) + 0.0)
            }
            (value, _) => value,
        }
    }
}

impl AttributeFilter {
    /// Takes a value that was measured at `time` and came at `now`.
    pub(super) fn take(
        &mut self,
        flow: &Flow,
        value: Value,
        time: ReadingTime,
        now: Instant,
    ) -> Result<Outcome, Rejection> {
        self.check_rate(flow, &value, time, now)?;
        let Some(settings) = flow.window else {
            let value = flow.round(value);
            return Ok(self.hold(flow, value, time, now));
        };
        if !settings.aggregate.takes(&value) {
            let why = "only numbers can be aggregated; map a number, or take aggregate = \"last\"";
            return Err((Reason::Malformed, why.to_owned()));
        }
        match &mut self.window {
            Some(window) => window.add(time, value),
            None => self.window = Some(Window::open(settings, now, time, value)),
        }
        Ok(Outcome::Filtered(Reason::Aggregated))
    }

    /// When [`AttributeFilter::handle_timeout`] has something to do next.
    pub(super) fn poll_timeout(&self, flow: &Flow, now: Instant) -> Option<Instant> {
        let window =
            self.window.as_ref().map(|window| if window.is_full() { now } else { window.end() });
        let stable_for = self.candidate.as_ref().zip(flow.stable_for);
        let stable_for = stable_for.map(|(candidate, stable_for)| candidate.since + stable_for);
        let late = self.late.as_ref().and_then(|_| self.interval_end(flow));
        [window, stable_for, late].into_iter().flatten().min()
    }

    /// A value that is made at `now`, if there is one, with the time at which it was measured.
    pub(super) fn handle_timeout(
        &mut self,
        flow: &Flow,
        now: Instant,
    ) -> Option<(ReadingTime, Value)> {
        let window = self.window.take_if(|window| window.is_full() || window.end() <= now);
        if let Some((time, value)) = window.and_then(Window::close) {
            let value = flow.round(value);
            if let Outcome::Send(value) = self.hold(flow, value, time, now) {
                return Some((time, value));
            }
        }
        let is_due = |candidate: &mut Waiting| {
            flow.stable_for.is_some_and(|stable_for| candidate.since + stable_for <= now)
        };
        if let Some(Waiting { time, value, .. }) = self.candidate.take_if(is_due)
            && let Outcome::Send(value) = self.differ(flow, value, time, now)
        {
            return Some((time, value));
        }
        let is_due = self.interval_end(flow).is_some_and(|end| end <= now);
        let (time, value) = self.late.take_if(|_| is_due)?;
        self.sent = Some((now, value.clone()));
        Some((time, value))
    }

    /// Ends what is open, as at a stop: the window, and a value that waits for its interval.
    pub(super) fn finish(&mut self, flow: &Flow) -> Option<(ReadingTime, Value)> {
        let window = self.window.take().and_then(Window::close);
        window.map(|(time, value)| (time, flow.round(value))).or_else(|| self.late.take())
    }

    fn check_rate(
        &mut self,
        flow: &Flow,
        value: &Value,
        time: ReadingTime,
        now: Instant,
    ) -> Result<(), Rejection> {
        let Some((rate_max, number)) = flow.rate_max.zip(number(value)) else { return Ok(()) };
        if let Some((before, at, accepted)) = self.accepted {
            // A sensor's clock that was put back must not stop all change until it is where it was.
            let measured = time.since(before).unwrap_or_default();
            let seconds = measured.max(now.saturating_duration_since(at)).as_secs_f64();
            let change = (number - accepted).abs();
            if change > rate_max * seconds {
                let why =
                    format!("a change of {change} within {seconds} s is faster than rate_max");
                return Err((Reason::TooFast, why));
            }
        }
        self.accepted = Some((time, now, number));
        Ok(())
    }

    fn hold(&mut self, flow: &Flow, value: Value, time: ReadingTime, now: Instant) -> Outcome {
        let is_news = self.sent.as_ref().is_none_or(|(_, sent)| *sent != value);
        let Some(stable_for) = flow.stable_for.filter(|_| is_news) else {
            self.candidate = None;
            return self.differ(flow, value, time, now);
        };
        match &self.candidate {
            Some(candidate) if candidate.value == value => {
                if candidate.since + stable_for > now {
                    return Outcome::Filtered(Reason::HeldOff);
                }
                self.candidate = None;
                self.differ(flow, value, time, now)
            }
            Some(_) | None => {
                self.candidate = Some(Waiting { since: now, time, value });
                Outcome::Filtered(Reason::HeldOff)
            }
        }
    }

    fn differ(&mut self, flow: &Flow, value: Value, time: ReadingTime, now: Instant) -> Outcome {
        if let (Some(deadband), Some((at, sent))) = (flow.deadband, &self.sent) {
            let is_due = flow.heartbeat.is_some_and(|heartbeat| *at + heartbeat <= now);
            if !is_due && deadband.covers(sent, &value) {
                // It came back to what the cloud knows.
                self.late = None;
                return Outcome::Filtered(Reason::Unchanged);
            }
        }
        if self.interval_end(flow).is_some_and(|end| now < end) {
            self.late = Some((time, value));
            return Outcome::Filtered(Reason::TooSoon);
        }
        self.late = None;
        self.sent = Some((now, value.clone()));
        Outcome::Send(value)
    }

    fn interval_end(&self, flow: &Flow) -> Option<Instant> {
        let (at, _) = self.sent.as_ref()?;
        flow.interval_min.map(|interval| *at + interval)
    }
}

impl Deadband {
    fn covers(self, sent: &Value, value: &Value) -> bool {
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
