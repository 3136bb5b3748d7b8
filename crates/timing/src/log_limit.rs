//! Limits log lines: one line per key and interval.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

/// The usual interval between two lines about one subject.
pub const LOG_INTERVAL: Duration = Duration::from_secs(60);

/// The usual number of subjects per interval.
const KEYS_MAX: usize = 1_024;

/// Admits one log line per key and interval, for a bounded number of keys.
///
/// With more keys than that in one interval, lines with further keys are not admitted.
#[derive(Debug)]
pub struct LogLimit<K> {
    interval: Duration,
    keys_max: usize,
    admitted: BTreeMap<K, Instant>,
}

impl<K: Ord> LogLimit<K> {
    /// Creates a limit of one line per key and `interval`, for at most `keys_max` keys.
    pub fn new(interval: Duration, keys_max: usize) -> Self {
        Self { interval, keys_max, admitted: BTreeMap::new() }
    }

    /// Returns whether a line about `key` may be logged at `now`, and counts it if so.
    pub fn admit(&mut self, key: K, now: Instant) -> bool {
        let interval = self.interval;
        let is_recent = |at: &Instant| now.saturating_duration_since(*at) < interval;
        if self.admitted.get(&key).is_some_and(is_recent) {
            return false;
        }
        if self.admitted.len() >= self.keys_max {
            self.admitted.retain(|_, at| is_recent(at));
        }
        let has_room = self.admitted.len() < self.keys_max;
        if has_room {
            self.admitted.insert(key, now);
        }
        has_room
    }
}

/// One line per key and minute, for at most 1,024 keys.
impl<K: Ord> Default for LogLimit<K> {
    fn default() -> Self {
        Self::new(LOG_INTERVAL, KEYS_MAX)
    }
}

#[cfg(test)]
#[expect(clippy::disallowed_methods, reason = "a test needs some instant to start from")]
mod tests {
    use super::*;

    #[test]
    fn admits_one_line_per_key_and_minute() {
        let (mut limit, start) = (LogLimit::default(), Instant::now());
        let after = |seconds| start + Duration::from_secs(seconds);
        assert!(limit.admit("pump", start));
        assert!(limit.admit("valve", after(1)));
        assert!(!limit.admit("pump", after(59)));
        assert!(limit.admit("pump", after(60)));
        assert!(!limit.admit("pump", after(119)));
    }

    #[test]
    fn bounds_the_number_of_keys() {
        let (mut limit, start) = (LogLimit::new(LOG_INTERVAL, 2), Instant::now());
        assert!(limit.admit(1, start) && limit.admit(2, start));
        assert!(!limit.admit(3, start));
        assert!(limit.admit(3, start + LOG_INTERVAL));
        assert_eq!(limit.admitted.len(), 1, "expired keys are removed");
    }
}
