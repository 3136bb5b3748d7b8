//! Statistics of one sensor for the status document: counts, rate, last value and last error.

use std::collections::BTreeMap;
use std::time::Instant;

use tidegate_model::{AttributeName, DeviceId, Misfit, Reason, Value};
use tidegate_timing::rate_meter::RateMeter;

/// The longest text value to keep, in bytes. The rest is cut.
const VALUE_BYTES_MAX: usize = 64;

/// The longest error text to keep, in bytes. The rest is cut.
const ERROR_BYTES_MAX: usize = 200;

/// The most attributes to keep whose values Losant would ignore.
pub const MISFITS_MAX: usize = 16;

/// The most silent devices of one sensor to keep.
pub const SILENT_MAX: usize = 8;

/// An error of a message or of a value.
#[derive(Debug, Clone, PartialEq)]
pub struct SensorError {
    /// The arrival of the message.
    pub at: Instant,
    /// The reason in the ledger.
    pub reason: Reason,
    /// The description, cut at 200 bytes.
    pub detail: String,
}

/// The statistics of one sensor since the start.
#[derive(Debug, Clone, Default)]
pub struct SensorStats {
    /// The number of messages with at least one valid value.
    pub messages: u64,
    /// The number of messages and values with an error.
    pub errors: u64,
    /// The number of messages and values that have nothing to send. See [`Reason::is_skip`].
    pub skipped: u64,
    /// The number of values that were mapped, before any filter.
    pub values: u64,
    /// The attributes whose last value Losant would have ignored, each with the reason. At most
    /// [`MISFITS_MAX`].
    pub misfits: BTreeMap<AttributeName, Misfit>,
    /// The rate of messages.
    pub rate: RateMeter,
    /// The arrival of the first message.
    pub first_message_at: Option<Instant>,
    /// The arrival of the last message.
    pub last_message_at: Option<Instant>,
    /// The number of states, each a payload in Losant's count.
    ///
    /// A state that is merged into another one of the same millisecond does not count.
    pub payloads: u64,
    /// The last value before any aggregation, with its attribute. A text is cut at 64 bytes.
    pub last_value: Option<(AttributeName, Value)>,
    /// The last error.
    pub last_error: Option<SensorError>,
    /// Why the last skipped message or value was skipped.
    pub last_skip: Option<SensorError>,
    /// Whether a device of the sensor is silent for too long. `None` without a `stale` setting.
    pub is_stale: Option<bool>,
    /// The devices that are silent for too long. At most [`SILENT_MAX`].
    pub silent: Vec<SilentDevice>,
    /// The messages since the last value.
    pub without_value: WithoutValue,
    /// The last value whose attribute another value of its message already had.
    pub last_duplicate: Option<Duplicate>,
    /// The counts at the start of the present message; `None` if the sensor does not read it.
    pub before: Option<Before>,
}

/// A device that is silent for too long.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SilentDevice {
    /// The device.
    pub device: DeviceId,
    /// The arrival of its last message, or the start of the sensor.
    pub since: Instant,
}

/// Counts the messages of a sensor since its last value, and stops each count at that value.
///
/// Messages that the sensor ignores, and empty ones, do not count.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct WithoutValue {
    /// Messages whose values were all rejected, or that could not be decoded.
    pub rejected: u64,
    /// Messages that have none of the channels that the sensor maps.
    pub unmapped: u64,
    /// The arrival of the first of these messages.
    pub since: Option<Instant>,
}

/// A value that was rejected because its message already had a value of its attribute.
#[derive(Debug, Clone, PartialEq)]
pub struct Duplicate {
    /// The error.
    pub error: SensorError,
    /// The number of messages of the sensor at that time.
    pub messages: u64,
}

/// The counts of a sensor before the present message.
#[derive(Debug, Clone, Copy)]
pub struct Before {
    values: u64,
    errors: u64,
    is_unmapped: bool,
}

impl SensorStats {
    /// Notes that the sensor reads the present message.
    pub(super) fn begin_message(&mut self) {
        let Self { values, errors, .. } = *self;
        self.before = Some(Before { values, errors, is_unmapped: false });
    }

    /// Notes that the present message, or a part of it, has none of the mapped channels.
    pub(super) fn note_unmapped(&mut self) {
        if let Some(before) = &mut self.before {
            before.is_unmapped = true;
        }
    }

    /// Counts whether the present message had a value, after all sensors have read it.
    pub(super) fn end_message(&mut self, now: Instant) {
        let Some(before) = self.before.take() else { return };
        let counts = &mut self.without_value;
        if self.values > before.values {
            *counts = WithoutValue::default();
        } else if self.errors > before.errors {
            counts.rejected += 1;
            counts.since.get_or_insert(now);
        } else if before.is_unmapped {
            counts.unmapped += 1;
            counts.since.get_or_insert(now);
        }
    }

    /// Removes the misfits that no longer hold for the attributes of the sensor's only device.
    pub(super) fn retain_misfits(&mut self, still_holds: impl Fn(&Misfit) -> bool) {
        self.misfits.retain(|_, misfit| still_holds(misfit));
    }

    /// Counts a message.
    pub(super) fn record_message(&mut self, now: Instant) {
        self.messages += 1;
        self.rate.count(1, now);
        self.last_message_at = Some(now);
        self.first_message_at.get_or_insert(now);
    }

    /// Counts and keeps a value of a message.
    pub(super) fn record_value(&mut self, attribute: &AttributeName, value: &Value) {
        self.values += 1;
        self.misfits.remove(attribute);
        let value = match value {
            Value::Text(text) => Value::Text(truncate(text, VALUE_BYTES_MAX).to_owned()),
            Value::Integer(_) | Value::Float(_) | Value::Boolean(_) => value.clone(),
        };
        self.last_value = Some((attribute.clone(), value));
    }

    /// Counts and keeps an error of a message or of a value, or counts it as skipped.
    pub(super) fn record_rejection(&mut self, reason: Reason, detail: &str, now: Instant) {
        let detail = truncate(detail, ERROR_BYTES_MAX).to_owned();
        let error = SensorError { at: now, reason, detail };
        if reason.is_skip() {
            self.skipped += 1;
            self.last_skip = Some(error);
        } else {
            self.errors += 1;
            if reason == Reason::DuplicateAttribute {
                let messages = self.messages;
                self.last_duplicate = Some(Duplicate { error: error.clone(), messages });
            }
            self.last_error = Some(error);
        }
    }

    /// Keeps that Losant would ignore the last value of an attribute.
    pub(super) fn record_misfit(&mut self, misfit: &Misfit) {
        let attribute = misfit.attribute();
        if self.misfits.len() < MISFITS_MAX || self.misfits.contains_key(attribute) {
            self.misfits.insert(attribute.clone(), misfit.clone());
        }
    }
}

/// Returns the longest prefix with at most `bytes_max` bytes.
fn truncate(text: &str, bytes_max: usize) -> &str {
    let mut ends = (0..=bytes_max.min(text.len())).rev();
    ends.find_map(|end| text.get(..end)).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_messages_without_value_until_a_value() {
        let (mut stats, now) = (SensorStats::default(), tokio::time::Instant::now().into_std());
        let mut message = |change: &dyn Fn(&mut SensorStats)| {
            stats.begin_message();
            change(&mut stats);
            stats.end_message(now);
            stats.end_message(now);
            (stats.without_value.rejected, stats.without_value.unmapped)
        };
        let reject = |stats: &mut SensorStats| {
            stats.record_rejection(Reason::OutOfRange, "", now);
            stats.record_rejection(Reason::OutOfRange, "", now);
        };
        assert_eq!(message(&reject), (1, 0), "two values of one message");
        assert_eq!(message(&SensorStats::note_unmapped), (1, 1));
        assert_eq!(message(&|_| {}), (1, 1), "ignored");
        let value = |stats: &mut SensorStats| {
            stats.record_value(&"n".parse().unwrap(), &Value::Integer(1));
            stats.record_rejection(Reason::OutOfRange, "", now);
        };
        assert_eq!(message(&value), (0, 0), "one value is enough");
    }

    #[test]
    fn truncates_long_texts() {
        let mut stats = SensorStats::default();
        let text = Value::Text("ä".repeat(1_000));
        stats.record_value(&"t".parse().unwrap(), &text);
        assert_eq!(stats.last_value.unwrap().1, Value::Text("ä".repeat(32)));
        assert_eq!(truncate("aä", 2), "a");
        assert_eq!(truncate("aä", 3), "aä");
    }
}
