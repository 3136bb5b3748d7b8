//! Statistics of one sensor for the status document: counts, rate, last value and last error.

use std::time::Instant;

use tidegate_model::{AttributeName, Value};
use tidegate_timing::rate_meter::RateMeter;

/// The longest text value to keep, in bytes. The rest is cut.
const VALUE_BYTES_MAX: usize = 64;

/// The longest error text to keep, in bytes. The rest is cut.
const ERROR_BYTES_MAX: usize = 200;

/// The statistics of one sensor since the start.
#[derive(Debug, Clone, Default)]
pub struct SensorStats {
    /// The number of messages with at least one valid value.
    pub messages: u64,
    /// The number of messages and values with an error.
    pub errors: u64,
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
    /// The last error, cut at 200 bytes, and its time.
    pub last_error: Option<(Instant, String)>,
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

    /// Keeps a value of a message.
    pub(super) fn record_value(&mut self, attribute: &AttributeName, value: &Value) {
        let value = match value {
            Value::Text(text) => Value::Text(truncate(text, VALUE_BYTES_MAX).to_owned()),
            Value::Integer(_) | Value::Float(_) | Value::Boolean(_) => value.clone(),
        };
        self.last_value = Some((attribute.clone(), value));
    }

    /// Counts and keeps an error of a message or of a value.
    pub(super) fn record_error(&mut self, error: &str, now: Instant) {
        self.errors += 1;
        self.last_error = Some((now, truncate(error, ERROR_BYTES_MAX).to_owned()));
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
