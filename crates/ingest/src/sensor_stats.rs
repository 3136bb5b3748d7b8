//! What one sensor said lately, for those who look at the gateway.

use std::time::Instant;

use tidegate_model::{AttributeName, Value};
use tidegate_timing::rate_meter::RateMeter;

/// How much of a text value is kept, in bytes.
const VALUE_BYTES_MAX: usize = 64;

/// How much of an error is kept, in bytes.
const ERROR_BYTES_MAX: usize = 200;

/// What one sensor said lately.
#[derive(Debug, Clone, Default)]
pub struct Vitals {
    /// Messages that it read, and could use at least in part.
    pub messages: u64,
    /// Messages and values that it could not use.
    pub errors: u64,
    /// How often messages come.
    pub frequency: RateMeter,
    /// When the last came.
    pub heard: Option<Instant>,
    /// When the first came.
    pub began: Option<Instant>,
    /// States that it began, each a payload that Losant counts; less what happens to have the millisecond of another.
    pub payloads: u64,
    /// The last value, as it is before any averaging, and whose it is. A text is cut at 64 bytes.
    pub value: Option<(AttributeName, Value)>,
    /// The last error, cut at 200 bytes.
    pub error: Option<(Instant, String)>,
    /// Whether a device of this sensor has been silent for too long; `None` where its silence is not to be told.
    pub is_stale: Option<bool>,
}

impl Vitals {
    /// A message came.
    pub(super) fn hear(&mut self, now: Instant) {
        self.messages += 1;
        self.frequency.count(1, now);
        self.heard = Some(now);
        self.began.get_or_insert(now);
    }

    /// A value was in it.
    pub(super) fn note(&mut self, attribute: &AttributeName, value: &Value) {
        let value = match value {
            Value::Text(text) => Value::Text(cut(text, VALUE_BYTES_MAX).to_owned()),
            Value::Integer(_) | Value::Float(_) | Value::Boolean(_) => value.clone(),
        };
        self.value = Some((attribute.clone(), value));
    }

    /// Something in it, or all of it, is of no use.
    pub(super) fn fail(&mut self, error: &str, now: Instant) {
        self.errors += 1;
        self.error = Some((now, cut(error, ERROR_BYTES_MAX).to_owned()));
    }
}

/// The beginning of a text, at most so many bytes of it.
fn cut(text: &str, bytes_max: usize) -> &str {
    let mut ends = (0..=bytes_max.min(text.len())).rev();
    ends.find_map(|end| text.get(..end)).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_kept_of_a_text_is_bounded() {
        let mut vitals = Vitals::default();
        let text = Value::Text("ä".repeat(1_000));
        vitals.note(&"t".parse().unwrap(), &text);
        assert_eq!(vitals.value.unwrap().1, Value::Text("ä".repeat(32)));
        assert_eq!(cut("aä", 2), "a");
        assert_eq!(cut("aä", 3), "aä");
    }
}
