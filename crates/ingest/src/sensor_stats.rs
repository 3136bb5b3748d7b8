//! Statistics of one sensor for the status document: counts, rate, last value and last error.

use std::collections::BTreeMap;
use std::time::Instant;

use tidegate_model::{AttributeName, Misfit, Reason, Value};
use tidegate_timing::rate_meter::RateMeter;

/// The longest text value to keep, in bytes. The rest is cut.
const VALUE_BYTES_MAX: usize = 64;

/// The longest error text to keep, in bytes. The rest is cut.
const ERROR_BYTES_MAX: usize = 200;

/// The most attributes to keep whose values Losant would ignore.
pub const MISFITS_MAX: usize = 16;

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
}

impl SensorStats {
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
    fn truncates_long_texts() {
        let mut stats = SensorStats::default();
        let text = Value::Text("ä".repeat(1_000));
        stats.record_value(&"t".parse().unwrap(), &text);
        assert_eq!(stats.last_value.unwrap().1, Value::Text("ä".repeat(32)));
        assert_eq!(truncate("aä", 2), "a");
        assert_eq!(truncate("aä", 3), "aä");
    }
}
